//! What all parts of a running daemon share.

pub(crate) mod queue;

pub(crate) mod reply;

pub(crate) mod writer;

pub(crate) mod deliver;

pub(crate) mod effects;

pub(crate) mod recall;

pub(crate) mod files;

pub(crate) mod filters;

pub(crate) mod passwords;

pub(crate) mod roster;

pub(crate) mod shutdown;

pub(crate) mod stats;

#[cfg(test)]
pub(crate) mod follower_tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ring::rand::SystemRandom;
use snug_bots::Filter;
use snug_protocol::envelope::{ServerKey, ServerOptions};
use snug_protocol::{Code, LogName, Role, Timestamp, Verb};

use crate::Environment;
use crate::Keep;
use crate::config::Config;
use crate::core::files::Files;
use crate::core::filters::Filters;
use crate::core::passwords::Passwords;
use crate::core::queue::{Queue, Submission};
use crate::core::reply::{Call, Reply};
use crate::core::roster::Roster;
use crate::core::shutdown::Control;
use crate::core::stats::{Histogram, Refused};
use crate::log::{
    Act, AuditFilter, AuditNote, Author, BanRow, Draft, FileAct, Look, NewEntry, Outcome, Place, Reads,
    Search, Store, TokenHash, View, search_in_memory,
};
use crate::origin::{Origin, Source};
use crate::platform;
use crate::refusal::Refusal;
use crate::registry::peer::{Budget, Ending, Peer};
use crate::registry::{Registry, Room};
use crate::throttle::{Quota, Throttle};

/// See the module.
pub(crate) struct Core {
    config: RwLock<Arc<Config>>,
    pub(crate) environment: Environment,
    pub(crate) registry: Registry,
    /// What waits for the log's writer.
    pub(crate) queue: Queue,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Counters,
    pub(crate) filters: RwLock<Arc<Filters>>,
    pub(crate) roster: Roster,
    /// The log's random name.
    pub(crate) log_name: LogName,
    /// Where the log is.
    pub(crate) place: Place,
    /// What waits to be read beside the writer, if the log can be read so.
    pub(crate) reads: Arc<Reads>,
    /// The newest entry that was delivered, and the one that is being delivered, if that is another.
    pub(crate) delivered: AtomicU64,
    pub(crate) delivering: AtomicU64,
    /// The user whom the daemon runs as: an operator.
    pub(crate) operator: u32,
    /// What it takes to seal a connection.
    pub(crate) seal: Seal,
    pub(crate) passwords: Passwords,
    pub(crate) files: Files,
    pub(crate) throttles: Throttles,
    /// What keeps people off the server, as the log has it.
    bans: RwLock<Arc<Vec<BanRow>>>,
    /// Operators' sessions that hear the audit trail as it grows, with what they want of it and the label of the command.
    followers: Mutex<Vec<Follower>>,
    /// How the daemon is stopped, and how its settings are read again.
    pub(crate) control: Control,
    /// When it was made, in milliseconds of its clock.
    pub(crate) started: u64,
    last_session: AtomicU64,
    /// Another core that is given what the log decides for this one.
    #[cfg(test)]
    pub(crate) second: std::sync::OnceLock<Arc<Core>>,
}

/// A session that follows the audit trail.
struct Follower {
    peer: std::sync::Weak<Peer>,
    filter: AuditFilter,
    label: Option<String>,
    /// Whether it is an operator's by the way it came, whatever becomes of its account.
    is_operator: bool,
    /// The last row that it was given.
    seen: u64,
}

/// Limits that refuse.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    accounts: Throttle<u64>,
    addresses: Throttle<IpAddr>,
    rooms: Throttle<u64>,
    pub(crate) tokens: Throttle<TokenHash>,
    pub(crate) connections: Throttle<()>,
    /// Tries to log in: to an account from an address, to an account from addresses that it has never come from, and from
    /// an address to whatever account.
    pub(crate) logins: Throttle<(String, Source)>,
    pub(crate) strangers: Throttle<String>,
    pub(crate) login_addresses: Throttle<Source>,
    pub(crate) registrations: Throttle<Source>,
    /// Who comes in, by address.
    pub(crate) entrances: Throttle<IpAddr>,
    /// Who enters and leaves rooms, by identity.
    pub(crate) moves: Throttle<u64>,
    /// What those without a name do wrong.
    strangers_noise: Throttle<()>,
    /// From where accounts have come.
    known: Mutex<HashSet<(u64, IpAddr)>>,
}

/// Rows of the audit trail about what those without a name do wrong.
const NOISE: Quota = Quota { burst: 100, interval: Duration::from_secs(1) };

/// How many addresses from which accounts have come are remembered.
const KNOWN: usize = 100_000;

impl Throttles {
    /// Notes that an account has come from an address.
    pub(crate) fn came_from(&self, account: u64, address: IpAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            // Whoever comes again is noted again.
            known.clear();
        }
        known.insert((account, address));
    }

    /// Whether an account has ever come from an address.
    pub(crate) fn is_known(&self, account: u64, address: IpAddr) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&(account, address))
    }
}

/// The daemon's identity, and what it asks of those who seal.
pub(crate) struct Seal {
    pub(crate) key: ServerKey,
    pub(crate) options: ServerOptions,
    pub(crate) random: SystemRandom,
}

/// What a daemon has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// How long a pack's commit took, and how long the oldest command of a pack took from there to the outboxes.
    pub(crate) commit: Histogram,
    pub(crate) delivery: Histogram,
    pub(crate) refused: Refused,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }
}

impl Core {
    pub(crate) fn new(
        config: Config,
        environment: Environment,
        filters: Vec<Box<dyn Filter>>,
        (log_name, place): (LogName, Place),
        seal: Seal,
    ) -> Core {
        let started = millis(environment.clock.elapsed());
        Core {
            budget: Arc::new(Budget::new(&config.limits)),
            config: RwLock::new(Arc::new(config)),
            registry: Registry::default(),
            queue: Queue::new(Arc::clone(&environment.clock)),
            environment,
            counters: Counters::default(),
            filters: RwLock::new(Arc::new(Filters::new(filters))),
            roster: Roster::default(),
            log_name,
            place,
            reads: Arc::default(),
            delivered: AtomicU64::new(0),
            delivering: AtomicU64::new(0),
            operator: platform::own_user(),
            seal,
            passwords: Passwords::default(),
            files: Files::default(),
            throttles: Throttles::default(),
            bans: RwLock::default(),
            followers: Mutex::default(),
            control: Control::default(),
            started,
            last_session: AtomicU64::new(0),
            #[cfg(test)]
            second: std::sync::OnceLock::new(),
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what can change, and gives the names of the settings that cannot.
    pub(crate) fn reconfigure(&self, new: Config) -> Vec<&'static str> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let fixed = config.needs_restart(&new);
        self.budget.set(&new.limits);
        *config = Arc::new(config.reloaded(new));
        fixed
    }

    /// The filters in force.
    pub(crate) fn filters(&self) -> Arc<Filters> {
        Arc::clone(&self.filters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over other filters.
    pub(crate) fn set_filters(&self, filters: Vec<Box<dyn Filter>>) {
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Filters::new(filters));
    }

    /// Milliseconds since some fixed moment.
    pub(crate) fn now(&self) -> u64 {
        millis(self.environment.clock.elapsed())
    }

    /// A peer that nobody knows yet.
    pub(crate) fn new_peer(&self, origin: Origin) -> Arc<Peer> {
        let id = self.last_session.fetch_add(1, Relaxed) + 1;
        Arc::new(Peer::new(id, origin, self.now(), Arc::clone(&self.budget)))
    }

    /// Lets the log forget a room that nobody is in and nobody wrote in. If it will not, the room is put back.
    pub(crate) fn retire(self: &Arc<Core>, room: Arc<Room>) {
        let generation = room.generation.load(Relaxed);
        let act = Act::RetireRoom { room: room.number, generation };
        let core = Arc::clone(self);
        self.submit(act, move |_, outcome| {
            let is_needed = match outcome {
                // Whoever has come back to it has it anew, and will see to its end.
                Outcome::Retired | Outcome::Done => false,
                // Whether it is there nobody knows: the next JOIN asks the log.
                Outcome::Refused(_) => room.ends().1 > 0,
                _ => true,
            };
            if is_needed {
                core.registry.restore_room(&room);
            }
        });
    }

    /// Lets the log note something that nobody waits for.
    pub(crate) fn note(&self, author: Author, act: Act) {
        let (draft, reply) = (Draft::new(author, act), Reply::Nobody);
        // If the daemon is stopping, it goes with it.
        let _ = self.queue.push(Submission { draft, size: 0, sender: None, reply });
    }

    /// Lets the audit trail remember something.
    pub(crate) fn audit(&self, author: Author, note: AuditNote) {
        self.note(author, Act::Audit(note));
    }

    /// Whether what a session does wrong is written down: of those without a name only so much, all together. They could
    /// fill a disk with it.
    pub(crate) fn is_noted(&self, peer: &Peer) -> bool {
        let now = self.environment.clock.elapsed();
        peer.identity() != 0 || self.throttles.strangers_noise.take((), NOISE, now).is_ok()
    }

    /// Counts what was refused, and lets the audit trail remember it unless it is one of too many.
    pub(crate) fn note_refusal(&self, peer: &Peer, author: Author, verb: &str, code: Code) {
        self.counters.refused.count(code);
        if !self.is_noted(peer) {
            return;
        }
        if let Some(passed_over) = peer.notes_error(self.now()) {
            let more = if passed_over > 0 { format!(", {passed_over} more before") } else { String::new() };
            // What is no verb may be something that was typed into the wrong window.
            let verb = Verb::find(verb).map_or("-", Verb::word);
            self.audit(author, AuditNote::new("error", "", format!("{verb} {code}{more}")));
        }
    }

    /// Whether somebody may send something now: an identity in all its sessions, an address, and a room have their limits.
    pub(crate) fn check_rates(&self, peer: &Peer, room: Option<u64>) -> Result<(), Refusal> {
        if !peer.origin.is_throttled() {
            return Ok(());
        }
        let config = self.config();
        let limits = &config.limits;
        let now = self.environment.clock.elapsed();
        let slow_down = |what: &str| {
            let text = format!("{what} at once; wait, and send it again");
            move |wait| Refusal::new(Code::SlowDown, text).after(wait)
        };
        if let Some(quota) = Quota::per_second(limits.account_rate, limits.account_burst) {
            self.throttles
                .accounts
                .take(peer.identity(), quota, now)
                .map_err(slow_down("you send too much"))?;
        }
        if let (Some(address), Some(quota)) =
            (peer.origin.counted_address(), Quota::per_second(limits.address_rate, limits.address_burst))
        {
            self.throttles
                .addresses
                .take(address, quota, now)
                .map_err(slow_down("too much is sent from your address"))?;
        }
        if let (Some(room), Some(quota)) = (room, Quota::per_second(limits.room_rate, limits.room_burst)) {
            self.throttles.rooms.take(room, quota, now).map_err(slow_down("too much is said in the room"))?;
        }
        Ok(())
    }

    /// What keeps people off the server.
    #[cfg(test)]
    pub(crate) fn bans(&self) -> Arc<Vec<BanRow>> {
        Arc::clone(&self.bans.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what the log says about who is kept off the server.
    pub(crate) fn set_bans(&self, bans: Vec<BanRow>) {
        *self.bans.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bans);
    }

    /// The ban that keeps an address, or an identity, off the server.
    pub(crate) fn ban_of(&self, address: Option<IpAddr>, identity: Option<u64>) -> Option<Refusal> {
        let bans = Arc::clone(&self.bans.read().unwrap_or_else(PoisonError::into_inner));
        if bans.is_empty() {
            return None;
        }
        let now = self.environment.clock.now();
        let concerns = |ban: &&BanRow| {
            ban.holds(now)
                && match ban.network() {
                    Some(network) => address.is_some_and(|address| network.contains(&address)),
                    None => {
                        ban.kind == "identity"
                            && identity.is_some_and(|number| number.to_string() == ban.value)
                    }
                }
        };
        bans.iter().find(concerns).map(|ban| Refusal::new(Code::Banned, ban.notice("this server")))
    }

    /// Lets a session hear the audit trail as it grows, from behind a row on.
    pub(crate) fn follow(&self, peer: &Arc<Peer>, filter: AuditFilter, label: Option<String>, seen: u64) {
        let is_operator = match peer.origin {
            Origin::Unix(user) => user == self.operator,
            Origin::Embedder => true,
            Origin::Tcp(_) | Origin::Bot => false,
        };
        let peer = Arc::downgrade(peer);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|other| !other.peer.ptr_eq(&peer));
        followers.push(Follower { peer, filter, label, is_operator, seen });
    }

    /// Tells those who follow the audit trail what is new in it. On the writer's thread.
    pub(crate) fn tell_followers(&self, view: &View<'_>) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| follower.peer.strong_count() > 0);
        for follower in followers.iter_mut() {
            let Some(peer) = follower.peer.upgrade() else { continue };
            if !follower.is_operator && !self.is_operator(&peer) {
                // Not any more: the weak reference goes with the next look.
                follower.peer = std::sync::Weak::new();
                continue;
            }
            let part = crate::log::AuditPart::After(follower.seen);
            let Ok((rows, _)) = view.audit(&AuditFilter::default(), part, 1_000) else { continue };
            let mut lines = Vec::new();
            for row in &rows {
                follower.seen = row.id;
                if follower.filter.has(row) {
                    row.write(follower.label.as_deref(), &mut lines);
                }
            }
            if !lines.is_empty() {
                peer.push(&lines);
            }
        }
    }

    /// Whoever a session speaks for, for what is written down.
    pub(crate) fn author_of(&self, peer: &Peer) -> Author {
        let identity = self.registry.identity(peer.identity());
        Author {
            number: peer.identity(),
            nick: identity.map(|identity| identity.nick()).unwrap_or_default(),
            address: peer.origin.address(),
            ..Author::default()
        }
    }

    /// Whether the identity of a session is an operator's.
    fn is_operator(&self, peer: &Peer) -> bool {
        self.registry.identity(peer.identity()).is_some_and(|identity| identity.role() == Role::Operator)
    }

    /// Lets the log know which private messages have been given to whom since the last time.
    pub(crate) fn note_delivered(&self) {
        for (number, id) in self.registry.newly_delivered() {
            self.note(Author { number, ..Author::default() }, Act::Deliver { id });
        }
    }

    /// Takes away what is kept no longer, beginning with the conversations behind this number.
    pub(crate) fn purge(self: &Arc<Core>, behind: u64) {
        let config = self.config();
        let (rooms, private, audit) = (config.log.keep, config.log.keep_private, config.log.keep_audit);
        let keeps_everything = rooms == Keep::Forever
            && private == Keep::Forever
            && audit == Keep::Forever
            && !self.registry.has_rooms_of_few_entries();
        // The writer uses the occasion to tidy, also where there is nothing to look at.
        let behind = if keeps_everything { u64::MAX >> 1 } else { behind };
        let core = Arc::clone(self);
        self.submit(Act::Purge { behind, rooms, private, audit }, move |_, outcome| {
            if let Outcome::Purged { next: Some(behind), .. } = outcome {
                core.purge(behind);
            }
        });
    }

    /// Takes away files that are kept no longer, uploads that nobody goes on with, and contents that nothing refers to.
    pub(crate) fn look_after_files(self: &Arc<Core>) {
        if self.files.store().is_err() {
            return;
        }
        let config = self.config();
        self.files.close_idle(self.now());
        let resume = i64::try_from(millis(config.files.resume.duration())).unwrap_or(i64::MAX);
        let abandoned = Timestamp::from_millis(self.environment.clock.now().millis().saturating_sub(resume));
        let alive = self.files.open_handles();
        let act = Act::File(FileAct::Expire { keep: config.files.keep, abandoned, alive });
        let core = Arc::clone(self);
        self.submit(act, move |store, outcome| {
            if let Outcome::Expired { uploads } = outcome {
                uploads.into_iter().for_each(|handle| core.files.close(handle));
            }
            let swept = core.files.sweep(&store.view());
            if !swept.is_empty() {
                core.note(Author::default(), Act::File(FileAct::Swept(swept)));
            }
            core.files.empty();
        });
    }

    /// Notes what became of a file's entry that was to be.
    pub(crate) fn settle_file(&self, new: &NewEntry, is_offered: bool, store: &dyn Store) {
        if let Some(finished) = &new.file {
            self.files.settled(finished.handle, finished.hash, is_offered, &store.view());
        }
    }

    /// Lets the log do something of the daemon's own, and goes on with what comes of it. If the daemon is stopping, it goes
    /// with it.
    fn submit(&self, act: Act, then: impl FnOnce(&dyn Store, Outcome) + Send + 'static) {
        let reply = Reply::Call(Box::new(move |store, _, outcome| then(store, outcome)));
        let draft = Draft::new(Author::default(), act);
        let _ = self.queue.push(Submission { draft, size: 0, sender: None, reply });
    }

    /// Reads from the log: beside the writer if that can be, else in its turn. False if the daemon is stopping.
    #[must_use]
    pub(crate) fn look(&self, look: Look) -> bool {
        match self.place {
            Place::Memory => self.look_in_turn(look),
            Place::Folder { .. } => self.reads.look(look),
        }
    }

    /// Reads from the log on the writer's thread: between what was delivered and what will be.
    #[must_use]
    pub(crate) fn look_in_turn(&self, look: Look) -> bool {
        self.call_in_turn(Box::new(move |store, _, _| look(Some(&store.view()))))
    }

    /// Searches in the log. False if the daemon is stopping.
    #[must_use]
    pub(crate) fn search(self: &Arc<Core>, search: Search) -> bool {
        if let Place::Folder { .. } = self.place {
            return self.reads.search(search);
        }
        let core = Arc::clone(self);
        self.call_in_turn(Box::new(move |store, _, _| match store.index() {
            Some(index) => {
                let forgotten = |entries| core.note(Author::default(), Act::Unindexed(entries));
                search_in_memory(&store.view(), &index, search, &forgotten);
            }
            None => search(None),
        }))
    }

    /// Does something on the writer's thread when it is its turn.
    fn call_in_turn(&self, call: Call) -> bool {
        let draft = Draft::new(Author::default(), Act::Pass);
        self.queue.push(Submission { draft, size: 0, sender: None, reply: Reply::Call(call) })
    }

    /// What has to be done from time to time: asks silent peers for a sign of life, ends the dead and the nameless,
    /// forgets guests, and closes the slowest readers when all outboxes together hold too much.
    pub(crate) fn look_after_sessions(&self) {
        let config = self.config();
        let now = self.now();
        let time = self.environment.clock.now();
        let [ping, dead, handshake, registration, linger] = [
            config.heartbeat.ping.duration(),
            config.heartbeat.dead.duration(),
            config.limits.handshake.duration(),
            config.limits.registration.duration(),
            config.guests.linger.duration(),
        ]
        .map(millis);
        self.registry.for_each_peer(|peer| {
            let must_seal = peer.origin.must_seal(config.listen.plaintext);
            peer.check_entrance(now, must_seal, handshake, registration);
            peer.check_pulse(now, ping, dead);
            let expires = peer.grant().and_then(|grant| grant.expires);
            if expires.is_some_and(|expires| expires <= time) {
                let text = "the token's time is over; make another one";
                peer.end(Ending::Dismissed(Code::OutOfScope, text.to_owned()));
            }
        });
        self.count_down();
        for number in self.registry.forget_guests(now, linger, config.guests.lingering) {
            self.note(Author { number, ..Author::default() }, Act::Forget);
        }
        self.shed();
    }

    /// Ends the sessions with the fullest outboxes until all together are within their limit again.
    fn shed(&self) {
        if self.budget.excess() == 0 {
            return;
        }
        let mut peers = Vec::new();
        self.registry.for_each_peer(|peer| peers.push((peer.weight(), Arc::clone(peer))));
        peers.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        for (weight, peer) in peers {
            if self.budget.excess() == 0 || weight == 0 {
                return;
            }
            let text = "the daemon is short of memory and you read slowly; connect again and resume";
            peer.end(Ending::Dismissed(Code::TooSlow, text.to_owned()));
        }
    }
}

/// A length of time in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
