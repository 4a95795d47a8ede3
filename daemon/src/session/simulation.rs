//! Sessions, log and fan-out under faults, all of it from a seed: packs that fail, are delayed, are applied without
//! anybody knowing, a full disk, connections that break with what was not read yet, and the end of the process.
//!
//! Whatever happens: what was acknowledged is in the log once, and everybody who comes back with a cursor has seen
//! every entry that is theirs once and in order.
//!
//! `SNUG_SEEDS=20000 cargo test -p snug-daemon simulation` runs more of it; a failure names its seed, and
//! `SNUG_SEED=<seed>` runs that one alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ring::rand::SystemRandom;
use snug_protocol::envelope::{ServerKey, ServerOptions};
use snug_protocol::{Body, EntryKind, LogName, Timestamp};

use super::*;
use crate::Clock;
use crate::Environment;
use crate::Random;
use crate::config::Config;
use crate::core::Handshake;
use crate::core::recall;
use crate::core::writer::Writer;
use crate::log::{CommitError, Index, Log, LogError, LogLimits, Outcome, Storage, Store, View};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.roll() % most as u64).expect("it is small")
    }

    pub(super) fn is_one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

pub(super) struct SimulatedClock(pub(super) AtomicU64);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.load(Relaxed)).expect("a simulation is short"))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

struct SimulatedRandom(Mutex<Dice>);

impl Random for SimulatedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().expect("nothing panics here");
        bytes.fill_with(|| dice.roll().to_le_bytes()[0]);
    }
}

/// A log that fails when the dice say so.
pub(super) struct Faulty {
    pub(super) log: Option<Log>,
    dice: Dice,
    /// Faults come once in so many packs; 0 for none.
    pub(super) rate: usize,
    pub(super) cannot_reopen: usize,
}

impl Faulty {
    /// A new log, with a fault once in so many packs from now on.
    pub(super) fn new(seed: u64) -> Faulty {
        let limits = LogLimits { entries: 1 << 40, key_window: 1 << 40 };
        let log = Log::in_memory(LOG, limits).expect("a database");
        Faulty { log: Some(log), dice: Dice(seed ^ 1), rate: 0, cannot_reopen: 0 }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is taken only for a moment")
    }
}

fn broken() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None)
}

impl Store for Faulty {
    fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> Result<Vec<Outcome>, CommitError> {
        let log = self.log.as_mut().expect("it is taken only for a moment");
        if self.rate == 0 || !self.dice.is_one_in(self.rate) {
            return log.commit(now, drafts);
        }
        match self.dice.below(4) {
            0 => Err(CommitError::Full(broken())),
            1 => Err(CommitError::Failed(broken())),
            // Nothing was applied, or everything was: nobody can tell which.
            2 => {
                self.cannot_reopen = self.dice.below(3);
                Err(CommitError::Broken(broken()))
            }
            _ => {
                log.commit(now, drafts)?;
                self.cannot_reopen = self.dice.below(3);
                Err(CommitError::Broken(broken()))
            }
        }
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        if self.cannot_reopen > 0 {
            self.cannot_reopen -= 1;
            return Err(LogError::at(&Storage::Memory, &"not now"));
        }
        Ok(())
    }

    fn last_id(&self) -> u64 {
        self.log().last_id()
    }

    fn view(&self) -> View<'_> {
        self.log().view()
    }

    fn index(&self) -> Option<Index<'_>> {
        self.log().index()
    }
}

/// Somebody who keeps a cursor, and repeats what was not acknowledged.
struct Client {
    nick: &'static str,
    rooms: Vec<&'static str>,
    cursor: Cursor,
    connection: Option<Connection>,
    /// What is to be said, by key, until it is acknowledged.
    unacknowledged: BTreeMap<String, String>,
    /// What was acknowledged: key, id and text.
    acknowledged: Vec<(String, u64, String)>,
    /// Entries in the order in which they were seen.
    seen: Vec<(u64, String)>,
    is_live: bool,
    said: usize,
}

struct Connection {
    session: Session,
    lines: VecDeque<String>,
    /// The keys of the messages under way, oldest first.
    answers: VecDeque<String>,
    /// Whether the client has given it up.
    is_void: bool,
}

const LOG: LogName = LogName(0x51);

struct Simulation {
    core: Arc<Core>,
    store: Faulty,
    writer: Writer,
    clock: Arc<SimulatedClock>,
    clients: Vec<Client>,
    dice: Dice,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let clock = Arc::new(SimulatedClock(AtomicU64::new(1_000)));
        let mut store = Faulty::new(seed);
        let core = core(&clock, seed, &mut store);
        let rooms: [&[&str]; 3] = [&["#lobby"], &["#lobby", "#a"], &["#a", "#b"]];
        let clients = ["ann", "bob", "cat"].into_iter().zip(rooms);
        let clients = clients.map(|(nick, rooms)| Client {
            nick,
            rooms: rooms.to_vec(),
            cursor: Cursor::at(0),
            connection: None,
            unacknowledged: BTreeMap::new(),
            acknowledged: Vec::new(),
            seen: Vec::new(),
            is_live: false,
            said: 0,
        });
        let clients = clients.collect();
        Simulation { core, store, writer: Writer::default(), clock, clients, dice: Dice(seed) }
    }

    /// One thing happens.
    fn step(&mut self) {
        self.clock.0.fetch_add(self.dice.roll() % 50, Relaxed);
        let who = self.dice.below(self.clients.len());
        match self.dice.below(40) {
            0 => self.break_off(who),
            1 if self.dice.is_one_in(4) => self.crash(),
            2..=3 => {
                self.core.look_after_sessions();
            }
            4..=11 => {
                let most = 1 + self.dice.below(6);
                self.writer.work(&self.core, &mut self.store, most);
            }
            12..=19 => self.say_something(who),
            20..=27 => self.read(who),
            _ if self.clients[who].connection.is_none() => self.connect(who),
            _ => self.send(who),
        }
    }

    fn connect(&mut self, who: usize) {
        let peer = self.core.new_peer(Origin::Tcp([127, 0, 0, 1].into()));
        self.core.registry.admit(&peer, &self.core.config().limits).expect("there is room");
        let client = &mut self.clients[who];
        let (cursor, nick) = (client.cursor, client.nick);
        let own = format!("token-that-only-{nick}-knows");
        let mut lines = VecDeque::from([format!("@quiet;since={cursor};token={own} NICK {nick}")]);
        lines.extend(client.rooms.iter().map(|room| format!("JOIN {room}")));
        lines.push_back(format!("SYNC {} 3", client.cursor));
        let mut connection = Connection {
            session: Session::new(Arc::clone(&self.core), peer, Origin::Embedder(Role::Operator)),
            lines,
            answers: VecDeque::new(),
            is_void: false,
        };
        connection.session.origin = Origin::Tcp([127, 0, 0, 1].into());
        for (key, line) in &client.unacknowledged {
            connection.lines.push_back(line.clone());
            connection.answers.push_back(key.clone());
        }
        client.is_live = false;
        client.connection = Some(connection);
    }

    fn say_something(&mut self, who: usize) {
        let others: Vec<&str> = self.clients.iter().map(|client| client.nick).collect();
        let other = others[self.dice.below(others.len())];
        let choice = self.dice.below(4);
        let client = &mut self.clients[who];
        client.said += 1;
        let key = format!("k{:05}", client.said);
        let text = format!("{} says {}", client.nick, client.said);
        let target = match choice {
            0 => format!("PRIV {other}"),
            choice => format!("MSG {}", client.rooms[choice % client.rooms.len()]),
        };
        let line = format!("@key={key} {target} {text}");
        if let Some(connection) = &mut client.connection {
            connection.lines.push_back(line.clone());
            connection.answers.push_back(key.clone());
        }
        client.unacknowledged.insert(key, line);
    }

    /// Hands over lines until one has to wait.
    fn send(&mut self, who: usize) {
        let Some(connection) = &mut self.clients[who].connection else { return };
        while let Some(line) = connection.lines.front() {
            let in_flight = connection.session.peer.in_flight();
            if connection.session.line(line, in_flight) == Step::Hold {
                return;
            }
            connection.lines.pop_front();
        }
    }

    /// Takes what has come.
    fn read(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let Some(connection) = &mut client.connection else { return };
        let taken = String::from_utf8(connection.session.peer.drain()).expect("UTF-8");
        for line in taken.lines() {
            client.hear(line);
        }
        if let Some(connection) = &client.connection
            && connection.session.peer.may_go_on().is_none()
            && connection.session.peer.in_flight().is_empty()
        {
            self.break_off(who);
        }
    }

    /// The connection is lost, with all that was not read.
    fn break_off(&mut self, who: usize) {
        if let Some(mut connection) = self.clients[who].connection.take() {
            connection.session.peer.end(Ending::Lost);
            connection.session.finish(&Ending::Lost);
        }
    }

    /// The process is gone, and another one comes.
    fn crash(&mut self) {
        for client in &mut self.clients {
            client.connection = None;
        }
        self.store.log = self.store.log.take().map(Log::crash);
        let (rate, seed) = (std::mem::take(&mut self.store.rate), self.dice.roll());
        self.core = core(&self.clock, seed, &mut self.store);
        self.writer = Writer::default();
        self.store.rate = rate;
    }

    /// Without further faults everybody gets what is theirs.
    fn settle(&mut self) {
        self.store.rate = 0;
        self.store.cannot_reopen = 0;
        for round in 0.. {
            assert!(round < 1_000, "it does not come to rest: {}", self.standing());
            for who in 0..self.clients.len() {
                if self.clients[who].connection.is_none() {
                    self.connect(who);
                }
                self.send(who);
            }
            self.writer.work(&self.core, &mut self.store, 256);
            for who in 0..self.clients.len() {
                self.read(who);
            }
            let is_done = |client: &Client| {
                client.unacknowledged.is_empty()
                    && client.is_live
                    && client.connection.as_ref().is_some_and(|connection| connection.lines.is_empty())
            };
            if self.clients.iter().all(is_done) && self.core.queue.is_empty() {
                return;
            }
        }
    }

    fn standing(&self) -> String {
        let standing = |client: &Client| {
            let lines = client.connection.as_ref().map(|connection| connection.lines.clone());
            format!("{}: live {}, {:?}, {lines:?}; ", client.nick, client.is_live, client.unacknowledged)
        };
        self.clients.iter().map(standing).collect()
    }

    fn check(&self) {
        let view = self.store.view();
        let entries = view.between(0, u64::MAX >> 1).expect("entries");
        let rooms: HashMap<u64, String> =
            view.rooms().expect("rooms").into_iter().map(|room| (room.number, room.name)).collect();
        let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, (1..=entries.len() as u64).collect::<Vec<_>>(), "ids are dense");
        for client in &self.clients {
            for (key, id, text) in &client.acknowledged {
                let said: Vec<u64> = entries
                    .iter()
                    .filter(|entry| entry.text.as_deref() == Some(text) && entry.author.nick == client.nick)
                    .map(|entry| entry.id)
                    .collect();
                assert_eq!(said, [*id], "{key} of {} is in the log once", client.nick);
            }
            let is_theirs = |entry: &&crate::log::Entry<'_>| match &entry.addressee {
                Some((_, peer)) => *peer == client.nick || entry.author.nick == client.nick,
                None => client.rooms.contains(&rooms[&entry.conversation].as_str()),
            };
            let theirs: Vec<(u64, String)> = entries
                .iter()
                .filter(is_theirs)
                .map(|entry| (entry.id, entry.text.as_deref().unwrap_or_default().to_owned()))
                .collect();
            assert_eq!(client.seen, theirs, "what {} has seen, and what was theirs", client.nick);
        }
        let acknowledged: usize = self.clients.iter().map(|client| client.acknowledged.len()).sum();
        let texts: BTreeSet<_> = entries.iter().filter_map(|entry| entry.text.as_deref()).collect();
        assert_eq!((acknowledged, texts.len()), (entries.len(), entries.len()), "everything was said once");
    }
}

pub(super) fn core(clock: &Arc<SimulatedClock>, seed: u64, store: &mut Faulty) -> Arc<Core> {
    let environment = Environment {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(SimulatedRandom(Mutex::new(Dice(seed ^ 2)))),
    };
    let key = ServerKey::from_seed(&[7; 32]).expect("a key");
    let handshake = Handshake { key, options: ServerOptions::default(), random: SystemRandom::new() };
    let place = (store.log().name(), Storage::Memory);
    let core = Arc::new(Core::new(Config::default(), environment, Vec::new(), place, handshake));
    recall::at_start(&core, store).expect("a lobby");
    core
}

impl Client {
    fn hear(&mut self, line: &str) {
        if self.connection.as_ref().is_some_and(|connection| connection.is_void) {
            return;
        }
        let said = snug_protocol::ServerLine::parse(line).expect("a line");
        match &said.body {
            Body::Entry { kind: EntryKind::Msg | EntryKind::Priv, text, .. } => {
                let id = said.id().expect("an id");
                assert!(id > self.cursor.id, "{} sees {id} after {}", self.nick, self.cursor);
                self.cursor = Cursor { log: Some(LOG), id };
                self.seen.push((id, text.as_deref().expect("a text").to_owned()));
            }
            Body::Ok { verb: "SYNC", params: Some(params) } => {
                let (cursor, goes_on) = params.split_once(' ').expect("a cursor and a word");
                self.cursor = cursor.parse().expect("a cursor");
                self.is_live = goes_on == "live";
                if !self.is_live {
                    self.say(format!("SYNC {cursor} 3"));
                }
            }
            Body::Ok { verb: "MSG" | "PRIV", .. } => {
                let id = said.id().expect("an id");
                let key = self.answered();
                if let Some(line) = self.unacknowledged.remove(&key) {
                    let text = line.splitn(4, ' ').nth(3).expect("a text").to_owned();
                    self.acknowledged.push((key, id, text));
                }
            }
            // It has to be said again, as has everything whose outcome is not known.
            Body::Err { verb: "MSG" | "PRIV", code, .. } => {
                let is_passing =
                    ["unavailable", "storage-full", "no-such-nick", "no-such-room", "nick-needed"]
                        .contains(code);
                assert!(is_passing, "{line}");
                let key = self.answered();
                if let Some(line) = self.unacknowledged.get(&key).cloned() {
                    self.say(line);
                    if let Some(connection) = &mut self.connection {
                        connection.answers.push_back(key);
                    }
                }
            }
            // Whoever cannot come in comes again, and takes nothing for true that came behind it.
            Body::Err { .. } => {
                if let Some(connection) = &mut self.connection {
                    connection.session.peer.end(Ending::Closed);
                    connection.is_void = true;
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self) -> String {
        let connection = self.connection.as_mut().expect("an answer comes from somewhere");
        connection.answers.pop_front().expect("it was said")
    }

    fn say(&mut self, line: String) {
        if let Some(connection) = &mut self.connection {
            connection.lines.push_back(line);
        }
    }
}

fn run(seed: u64) {
    let mut simulation = Simulation::new(seed);
    simulation.store.rate = [0, 3, 8, 20][simulation.dice.below(4)];
    for _ in 0..150 {
        simulation.step();
    }
    simulation.settle();
    simulation.check();
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_everybody_sees_everything_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SNUG_SEED") {
        return run(seed);
    }
    for seed in 0..number("SNUG_SEEDS").unwrap_or(400) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "SNUG_SEED={seed} shows it again");
    }
}
