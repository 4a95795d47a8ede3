//! The rules of a session, without I/O: a world with a clock that the test moves and a writer that it runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proptest::prelude::*;
use ring::rand::SystemRandom;
use snug_protocol::envelope::{ServerKey, ServerOptions};
use snug_protocol::{LogName, Timestamp};

use super::*;
use crate::Clock;
use crate::Environment;
use crate::Random;
use crate::config::Config;
use crate::core::Handshake;
use crate::core::recall;
use crate::core::writer;
use crate::log::{Log, LogLimits, Storage};

const TEST_LOG: LogName = LogName(0x7e57);

pub(super) struct World {
    pub(super) core: Arc<Core>,
    pub(super) log: Log,
    pub(super) clock: Arc<TestClock>,
}

/// The milliseconds that have passed, and how far the date is off.
#[derive(Default)]
pub(super) struct TestClock(pub(super) AtomicU64, pub(super) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.load(Relaxed)).expect("a test is short");
        Timestamp::from_millis(1_000_000 + passed + self.1.load(Relaxed))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// Counts up, so that every run is the same.
#[derive(Default)]
struct TestRandom(Mutex<u32>);

impl Random for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0.lock().expect("no test panics here");
        *next += 1;
        // No two the same, and short ones still easy to tell in a test that fails.
        let counted = next.to_le_bytes();
        bytes.fill(counted[0]);
        for (byte, counted) in bytes.iter_mut().zip(&counted).filter(|(_, counted)| **counted > 0) {
            *byte = *counted;
        }
    }
}

pub(super) struct Person {
    pub(super) session: Session,
}

impl World {
    pub(super) fn new() -> World {
        World::with("")
    }

    /// A world with these settings.
    pub(super) fn with(toml: &str) -> World {
        let clock = Arc::new(TestClock::default());
        World::over(toml, clock.clone(), clock)
    }

    /// A world in which dates come from `seen`, which looks at `clock`.
    pub(super) fn over(toml: &str, clock: Arc<TestClock>, seen: Arc<dyn Clock>) -> World {
        let config = Config::from_toml(toml).expect("a configuration");
        let environment = Environment { clock: seen, random: Arc::new(TestRandom::default()) };
        let filters = snug_bots::load(&config.bots, &[]).filters;
        let limits = LogLimits { entries: 5_000, key_window: 60_000 };
        let mut log = Log::in_memory(TEST_LOG, limits).expect("a database");
        let handshake = || Handshake {
            key: ServerKey::from_seed(&[7; 32]).expect("a key"),
            options: ServerOptions::default(),
            random: SystemRandom::new(),
        };
        let place = (TEST_LOG, Storage::Memory);
        let second = Core::new(config.clone(), environment.clone(), Vec::new(), place.clone(), handshake());
        recall::at_start(&second, &mut log).expect("a lobby");
        let core = Arc::new(Core::new(config, environment, filters, place, handshake()));
        core.passwords.set_inline();
        recall::at_start(&core, &mut log).expect("a lobby");
        let _ = core.second.set(Arc::new(second));
        World { core, log, clock }
    }

    pub(super) fn connect(&self, origin: Origin) -> Person {
        let peer = self.core.new_peer(origin);
        let limits = &self.core.config().limits;
        self.core.registry.admit(&peer, limits).expect("there is room");
        Person { session: Session::new(Arc::clone(&self.core), peer, origin) }
    }

    /// Somebody over TCP from this machine, who has said NICK and heard the answer.
    pub(super) fn enter(&mut self, nick: &str) -> Person {
        let mut person = self.connect(Origin::Tcp([127, 0, 0, 1].into()));
        assert!(self.ask(&mut person, &format!("NICK {nick}")).contains(&format!("OK NICK {nick}")));
        person
    }

    /// Says a line, lets the log work, and gives what was heard since the last time.
    pub(super) fn ask(&mut self, person: &mut Person, line: &str) -> String {
        self.say(person, line);
        person.heard()
    }

    pub(super) fn say(&mut self, person: &mut Person, line: &str) {
        while person.session.line(line, person.session.peer.in_flight()) == Step::Hold {
            writer::run_once(&self.core, &mut self.log);
        }
        self.work();
    }

    /// Lets the log do all that waits.
    pub(super) fn work(&mut self) {
        // What is read at the end of one turn may be finished in the next.
        while !self.core.queue.is_empty() {
            writer::run_once(&self.core, &mut self.log);
        }
    }

    /// Lets the log decide one draft.
    fn run_one(&mut self) {
        writer::run_some(&self.core, &mut self.log, 1);
    }

    /// Says a line and leaves what it hands to the log there.
    pub(super) fn ask_without_log(&self, person: &mut Person, line: &str) -> String {
        assert_eq!(person.session.line(line, person.session.peer.in_flight()), DONE);
        person.heard()
    }

    pub(super) fn leave(&mut self, mut person: Person, ending: Ending) {
        person.session.finish(&ending);
        writer::run_once(&self.core, &mut self.log);
    }

    pub(super) fn pass(&self, millis: u64) {
        self.clock.0.fetch_add(millis, Relaxed);
        self.core.look_after_sessions();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.work();
        self.core.note_delivered();
        self.work();
        crate::core::follower_tests::assert_alike(&self.core);
    }
}

impl Person {
    /// All lines since the last call.
    pub(super) fn heard(&mut self) -> String {
        String::from_utf8(self.session.peer.drain()).expect("UTF-8")
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.peer.may_go_on().is_none()
    }
}

#[test]
fn what_a_pack_says_in_a_room_reaches_everyone_as_it_is_theirs_to_hear() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    // She speaks into a room that she is not in.
    let mut cron = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut cron, "@quiet NICK cron");
    for person in [&mut alice, &mut bob, &mut cron] {
        person.heard();
    }
    // All of it is one pack.
    assert_eq!(world.ask_without_log(&mut alice, "@key=a MSG #lobby 1"), "");
    assert_eq!(world.ask_without_log(&mut cron, "@key=c MSG #lobby 2"), "");
    assert_eq!(world.ask_without_log(&mut bob, "MSG #lobby 3"), "");
    assert_eq!(world.ask_without_log(&mut alice, "MSG #lobby 4"), "");
    writer::run_once(&world.core, &mut world.log);
    let words = |person: &mut Person| -> Vec<String> {
        let tidy = |line: &str| line.replace("time=1970-01-01T00:16:40.000Z", "t").replace(" #lobby", "");
        person.heard().lines().map(tidy).collect()
    };
    let [one, two, three, four] =
        ["@id=1;t :alice MSG 1", "@id=2;t :cron MSG 2", "@id=3;t :bob MSG 3", "@id=4;t :alice MSG 4"];
    let (own_one, own_two) = ("@id=1;t;key=a :alice MSG 1", "@id=2;t;key=c :cron MSG 2");
    assert_eq!(words(&mut alice), [own_one, two, three, four, "@id=1;t OK MSG", "@id=4;t OK MSG"]);
    assert_eq!(words(&mut bob), [one, two, three, four, "@id=3;t OK MSG"]);
    assert_eq!(words(&mut cron), [own_two, "@id=2;t OK MSG"]);
    // Who comes later is told where the room begins, not where the pack ended.
    assert!(
        world.ask(&mut cron, "JOIN #lobby").ends_with("@first=1;last=4;protection=readable OK JOIN #lobby\n")
    );
}

const QUIET_START: &str = "@time=1970-01-01T00:16:40.000Z ";

#[test]
fn a_message_reaches_the_room_and_then_its_sender_is_answered() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    assert_eq!(without_who(&alice.heard()), format!("{QUIET_START}:bob JOIN #lobby\n"));
    let heard = world.ask(&mut alice, "@ref=7;+x=1 MSG #LOBBY :wave: two\\nlines");
    let tags = "@id=1;time=1970-01-01T00:16:40.000Z";
    let event = format!("{tags};+x=1 :alice MSG #lobby \u{1f44b} two\\nlines\n");
    let own = event.replace(" :alice", ";ref=7 :alice");
    assert_eq!(heard, format!("{own}{tags};ref=7 OK MSG #lobby\n"));
    assert_eq!(bob.heard(), event);
}

#[test]
fn verbatim_keeps_filters_away() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    assert!(world.ask(&mut alice, "@verbatim MSG #lobby :wave:").contains(":alice MSG #lobby :wave:\n"));
}

#[test]
fn a_private_message_reaches_its_two_people_alone() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.enter("alice"), world.enter("bob"), world.enter("carol"));
    bob.heard();
    carol.heard();
    let heard = world.ask(&mut alice, "PRIV BOB hi");
    assert!(
        heard.ends_with(":alice PRIV bob hi\n@id=1;time=1970-01-01T00:16:40.000Z OK PRIV bob\n"),
        "{heard}"
    );
    assert_eq!(without_who(&bob.heard()), "@id=1;time=1970-01-01T00:16:40.000Z :alice PRIV bob hi\n");
    assert_eq!(carol.heard(), "");
    let heard = world.ask(&mut alice, "PRIV alice note to self");
    assert_eq!(heard.matches(":alice PRIV alice").count(), 1, "{heard}");
}

#[test]
fn answers_keep_the_order_of_their_commands() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    for line in ["MSG #lobby one", "MSG #lobby two", "PRIV nobody x", "MSG #lobby three", "PING 4"] {
        while alice.session.line(line, alice.session.peer.in_flight()) == Step::Hold {
            writer::run_once(&world.core, &mut world.log);
        }
    }
    let heard = alice.heard();
    let answers: Vec<&str> = heard.lines().filter_map(|line| line.split(['O', 'E']).nth(1)).collect();
    assert_eq!(
        answers,
        [
            "K MSG #lobby",
            "K MSG #lobby",
            "RR PRIV no-such-nick nobody here is called nobody; WH",
            "K MSG #lobby",
            "K PING 4"
        ],
        "{heard}"
    );
}

#[test]
fn a_room_that_is_just_made_can_be_spoken_in_at_once() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    assert_eq!(alice.session.line("JOIN #ops", InFlight::default()), DONE);
    assert_eq!(alice.session.line("MSG #ops hi", alice.session.peer.in_flight()), Step::Hold);
    writer::run_once(&world.core, &mut world.log);
    assert_eq!(
        without_who(&alice.heard()),
        format!("{QUIET_START}:alice JOIN #ops\n@protection=readable OK JOIN #ops\n")
    );
    assert!(world.ask(&mut alice, "MSG #ops hi").ends_with("OK MSG #ops\n"));
}

#[test]
fn only_so_much_is_under_way() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    let mut taken = 0;
    while alice.session.line("MSG #lobby hi", alice.session.peer.in_flight()) != Step::Hold {
        taken += 1;
    }
    assert_eq!(taken, 256);
    writer::run_once(&world.core, &mut world.log);
    assert_eq!(alice.heard().matches("OK MSG").count(), 256);
}

#[test]
fn a_name_is_held_and_its_token_joins_it() {
    let mut world = World::new();
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut alice, "NICK alice");
    let token =
        heard.strip_prefix("@token=").and_then(|rest| rest.split(';').next()).expect("a token").to_owned();
    assert_eq!(without_who(&heard), format!("@token={token};log=0000000000007e57;last=0 OK NICK alice\n"));

    let mut other = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut other, "NICK Alice").starts_with("ERR NICK nick-taken "));
    assert!(world.ask(&mut other, "NICK \u{430}lice").starts_with("ERR NICK looks-alike "));
    assert!(world.ask(&mut other, "@token=wrong NICK alice").starts_with("ERR NICK nick-taken "));
    assert!(world.ask(&mut other, &format!("@token={token} NICK alice")).ends_with("OK NICK alice\n"));
    assert_eq!(alice.heard(), "", "nobody came: she was here");

    // What is said to her, and what she says, both her sessions hear; nobody else sees her keys.
    let mut bob = world.enter("bob");
    alice.heard();
    other.heard();
    world.say(&mut alice, "@key=k MSG #lobby hi");
    assert!(other.heard().contains(";key=k :alice MSG #lobby hi\n"));
    assert!(!bob.heard().contains("key="));
    assert!(
        world.ask(&mut other, "@key=k MSG #lobby hi").contains("dup OK MSG #lobby"),
        "one identity, one scope"
    );

    // The quit is announced when the last session ends.
    world.leave(alice, Ending::Lost);
    assert_eq!(bob.heard(), "");
    world.leave(other, Ending::Quit(Some("bye".to_owned())));
    assert_eq!(bob.heard(), format!("{QUIET_START}:alice QUIT bye\n"));
}

#[test]
fn a_guest_comes_back_for_some_hours_and_a_new_holder_inherits_nothing() {
    let mut world = World::with("[guests]\nlinger = \"1h\"\n");
    let guest = |world: &mut World, line: &str| {
        let mut person = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
        let heard = world.ask(&mut person, line);
        (person, heard)
    };
    let (mut alice, heard) = guest(&mut world, "NICK alice");
    let token = heard[7..39].to_owned();
    world.say(&mut alice, "@key=k MSG #lobby hi");
    world.leave(alice, Ending::Closed);

    // The name is free for another, and what the first one sent is not hers.
    let (mut other, heard) = guest(&mut world, "NICK alice");
    assert!(heard.contains("OK NICK alice") && !heard.contains(&token));
    assert!(!world.ask(&mut other, "@key=k MSG #lobby other").contains("key-reused"));
    assert!(guest(&mut world, &format!("@token={token} NICK alice")).1.contains("nick-taken"));
    let (mut back, heard) = guest(&mut world, &format!("@token={token} NICK alice2"));
    assert!(heard.contains(&format!("token={token}")), "{heard}");
    assert!(world.ask(&mut back, "@key=k MSG #lobby hi").contains("dup"));
    world.leave(back, Ending::Closed);

    world.pass(3_600_001);
    let (mut late, heard) = guest(&mut world, &format!("@token={token} NICK alice2"));
    assert!(heard.contains("OK NICK alice2"), "{heard}");
    assert!(!world.ask(&mut late, "@key=k MSG #lobby hi").contains("dup"), "it is somebody new");
}

#[test]
fn over_the_unix_socket_the_user_is_the_proof() {
    let mut world = World::new();
    let user = |world: &mut World, user, line: &str| {
        let mut person = world.connect(Origin::Unix(user));
        let heard = world.ask(&mut person, line);
        (person, heard)
    };
    let (_alice, heard) = user(&mut world, 1000, "NICK alice");
    assert_eq!(without_who(&heard), "@log=0000000000007e57;last=0 OK NICK alice\n");
    assert!(user(&mut world, 1000, "NICK Alice").1.contains("OK NICK Alice"), "the same user, the same name");
    assert!(user(&mut world, 1000, "NICK bob").1.contains("OK NICK bob"), "and may be others as well");
    assert!(user(&mut world, 1001, "NICK alice").1.contains("nick-taken"));
    assert_eq!(world.core.registry.counts().1, 2);
}

#[test]
fn renaming_tells_those_who_know_and_frees_the_old_name() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    assert!(world.ask(&mut alice, "NICK bob").starts_with("ERR NICK nick-taken"));
    // She hears of it as the others do, before the answer.
    let own = format!("{QUIET_START}:alice NICK alicia\nOK NICK alicia\n");
    assert_eq!(world.ask(&mut alice, "NICK alicia"), own);
    assert_eq!(bob.heard(), format!("{QUIET_START}:alice NICK alicia\n"));
    assert!(world.ask(&mut alice, "MSG #lobby hi").contains(":alicia MSG"));
    assert!(bob.heard().contains(":alicia MSG"));
    assert!(world.ask(&mut bob, "PRIV alice x").starts_with("ERR PRIV no-such-nick"));
    world.enter("alice");
}

#[test]
fn quiet_joins_nothing_is_not_announced_and_may_speak() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut cron = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut cron, "@quiet NICK cron");
    cron.heard();
    assert_eq!(bob.heard(), "");
    let heard = world.ask(&mut cron, "MSG #lobby disk full");
    assert!(heard.contains(":cron MSG #lobby disk full\n") && heard.ends_with("OK MSG #lobby\n"), "{heard}");
    assert!(bob.heard().contains(":cron MSG #lobby disk full\n"));
    world.say(&mut bob, "MSG #lobby really?");
    assert_eq!(cron.heard(), "", "it hears nothing of the room");
    world.say(&mut bob, "PRIV cron really?");
    assert!(cron.heard().contains(":bob PRIV cron really?"));
    bob.heard();
    assert!(!world.ask(&mut bob, "WHO").contains("cron"));
    // Until it joins.
    assert!(
        world.ask(&mut cron, "JOIN #lobby").ends_with("@first=1;last=2;protection=readable OK JOIN #lobby\n")
    );
    assert!(bob.heard().contains(":cron JOIN #lobby"));
    assert!(world.ask(&mut bob, "WHO #lobby").contains("USER cron online"));
    world.leave(cron, Ending::Closed);
    assert!(bob.heard().contains(":cron QUIT\n"));
}

#[test]
fn rooms_come_and_go() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    assert!(world.ask(&mut alice, "MSG #ops hi").starts_with("ERR MSG no-such-room"));
    assert!(world.ask(&mut alice, "JOIN #Ops").ends_with("OK JOIN #Ops\n"));
    assert!(world.ask(&mut bob, "JOIN #ops").ends_with("OK JOIN #Ops\n"));
    assert!(alice.heard().ends_with(":bob JOIN #Ops\n"));
    assert_eq!(world.ask(&mut alice, "ROOMS"), "ROOM #lobby 2\nROOM #Ops 2\nOK ROOMS 2\n");
    assert!(world.ask(&mut alice, "JOIN #\u{43e}ps").starts_with("ERR JOIN looks-alike"));
    assert!(world.ask(&mut bob, "LEAVE #ops so long").ends_with(":bob LEAVE #Ops so long\nOK LEAVE #Ops\n"));
    assert!(alice.heard().ends_with(":bob LEAVE #Ops so long\n"));
    assert!(world.ask(&mut bob, "LEAVE #ops").starts_with("ERR LEAVE not-in-room"));
    assert!(world.ask(&mut bob, "TYPING #ops on").starts_with("ERR TYPING not-in-room"));
    assert!(world.ask(&mut bob, "TOPIC #ops x").starts_with("ERR TOPIC not-in-room"));
    // Nobody wrote in it: it goes with its last member, also from the log.
    world.leave(alice, Ending::Closed);
    bob.heard();
    assert!(world.ask(&mut bob, "WHO #ops").starts_with("ERR WHO no-such-room"));
    assert!(world.ask(&mut bob, "JOIN #OPS").ends_with("OK JOIN #OPS\n"));
    // Somebody wrote in it: it stays.
    world.say(&mut bob, "MSG #ops hi");
    world.say(&mut bob, "LEAVE #ops");
    bob.heard();
    assert!(world.ask(&mut bob, "MSG #ops still there").ends_with("OK MSG #OPS\n"));
    assert!(world.ask(&mut bob, "ROOMS").contains("ROOM #OPS 0\n"));
}

#[test]
fn a_topic_is_an_entry_and_is_shown() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    assert_eq!(world.ask(&mut alice, "TOPIC #lobby"), "OK TOPIC #lobby\n");
    let entry = "@id=1;time=1970-01-01T00:16:40.000Z :alice TOPIC #lobby all about snug\n";
    assert!(world.ask(&mut alice, "TOPIC #lobby all about snug").starts_with(entry));
    assert_eq!(world.ask(&mut alice, "TOPIC #lobby"), format!("{entry}OK TOPIC #lobby\n"));
    assert_eq!(world.ask(&mut alice, "ROOMS"), "ROOM #lobby 1 all about snug\nOK ROOMS 1\n");
    world.say(&mut alice, "@clear TOPIC #lobby");
    assert!(alice.heard().starts_with("@id=2;time=1970-01-01T00:16:40.000Z :alice TOPIC #lobby\n"));
    assert_eq!(world.ask(&mut alice, "TOPIC #lobby"), "OK TOPIC #lobby\n");
}

#[test]
fn typing_is_told_to_the_others() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    assert_eq!(world.ask(&mut alice, "TYPING #lobby on"), "OK TYPING #lobby\n");
    assert_eq!(world.ask(&mut alice, "TYPING bob off"), "OK TYPING bob\n");
    assert_eq!(bob.heard(), ":alice TYPING #lobby on\n:alice TYPING bob off\n");
}

#[test]
fn a_large_room_announces_nobody() {
    let mut world = World::with("[limits]\nannounce_members = 2\n");
    let mut alice = world.enter("alice");
    let bob = world.enter("bob");
    let carol = world.enter("carol");
    assert_eq!(alice.heard().matches("JOIN").count(), 1);
    world.leave(carol, Ending::Closed);
    assert_eq!(alice.heard(), "");
    world.leave(bob, Ending::Closed);
    assert_eq!(alice.heard().matches("QUIT").count(), 1);
}

#[test]
fn limits_are_refused_with_their_codes() {
    let mut world =
        World::with("[limits]\ntext = 5\nrooms_per_identity = 2\nsessions_per_address = 1\nsessions = 3\n");
    let mut alice = world.enter("alice");
    assert!(world.ask(&mut alice, "MSG #lobby 12345").contains("OK MSG"));
    assert!(world.ask(&mut alice, "MSG #lobby 123456").starts_with("ERR MSG too-long"));
    assert!(
        world.ask(&mut alice, "MSG #lobby 123\\n4").starts_with("ERR MSG too-long"),
        "as it stands on the line"
    );
    assert!(world.ask(&mut alice, "JOIN #a").ends_with("OK JOIN #a\n"));
    assert!(world.ask(&mut alice, "JOIN #b").starts_with("ERR JOIN too-many"));
    assert_eq!(world.ask(&mut alice, "JOIN #lobby"), "@first=1;last=1;protection=readable OK JOIN #lobby\n");

    // One of an address, an IPv6 network being one, and three in all; alice is one of them.
    let limits = &world.core.config().limits;
    let admit = |address: &str| {
        let origin = Origin::Tcp(address.parse().expect("an address"));
        world.core.registry.admit(&world.core.new_peer(origin), limits).is_ok()
    };
    let admitted = ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.9"].map(admit);
    assert_eq!(admitted, [true, false, true, false, false]);
}

#[test]
fn an_emoji_that_makes_a_text_too_long_is_left_as_it_was() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    let text = ":a:".repeat(limits::TEXT / 3);
    assert!(world.ask(&mut alice, &format!("MSG #lobby {text}")).contains(&text));
}

#[test]
fn before_a_name_little_can_be_said_and_a_second_bad_line_ends_it() {
    let mut world = World::new();
    let mut nobody = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut nobody, "MSG #lobby hi").starts_with("ERR MSG nick-needed"));
    assert_eq!(world.ask(&mut nobody, "ping 1"), "OK PING 1\n");
    assert!(world.ask(&mut nobody, "HELP").contains("HELP MSG <room> <text>: "));
    assert!(world.ask(&mut nobody, "INFO").contains("INFO line=16384\n"));
    assert!(world.ask(&mut nobody, "\u{1f600}").starts_with("ERR - bad-line"));
    assert!(!nobody.is_over());
    assert!(world.ask(&mut nobody, "FOO").contains("ERR - bad-line two lines"));
    assert!(nobody.is_over());

    let mut alice = world.enter("alice");
    for _ in 0..5 {
        assert!(world.ask(&mut alice, "FOO").starts_with("ERR FOO unknown-verb"));
    }
    assert!(!alice.is_over());
}

#[test]
fn announced_bytes_are_passed_over_whatever_the_verb() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    let mut discard = |line: &str| {
        let step = alice.session.line(line, InFlight::default());
        (step, alice.heard())
    };
    for (line, code) in [
        ("@bytes=9 FOO", "ERR FOO unknown-verb"),
        ("@bytes=9 MSG #lobby hi", "ERR MSG no-bytes"),
        ("@bytes=9 MSG", "ERR MSG missing-parameter"),
    ] {
        let (step, heard) = discard(line);
        assert_eq!(step, Step::Done { bytes: Some(9), is_piece: false }, "{line}");
        assert!(heard.starts_with(code), "{heard}");
    }
    assert!(discard("@bytes=99999999 FOO").1.starts_with("ERR FOO too-large"));
    assert!(alice.is_over(), "what follows cannot be told from lines");
    let mut bob = world.enter("bob");
    assert!(world.ask(&mut bob, "@bytes=9;BAD FOO").starts_with("ERR - bad-line"));
    assert!(bob.is_over());
}

#[test]
fn who_takes_no_name_is_not_kept() {
    let world = World::with("[limits]\nregistration = \"10s\"\n");
    let mut nobody = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.pass(9_000);
    nobody.session.peer.heard_at(9_000);
    assert!(!nobody.is_over());
    world.pass(1_000);
    assert_eq!(nobody.heard(), "ERR - timeout no NICK came within 10 s\n");
    assert!(nobody.is_over());
}

#[test]
fn who_has_no_name_gives_way_to_who_comes() {
    let world = World::with("[limits]\nnameless = 3\nnameless_per_address = 2\n");
    let limits = &world.core.config().limits;
    let admit = |origin| {
        let peer = world.core.new_peer(origin);
        assert!(world.core.registry.admit(&peer, limits).is_ok());
        peer
    };
    let over = |peers: &[Arc<Peer>]| -> Vec<bool> { peers.iter().map(|peer| peer.is_over()).collect() };
    let (one, other) = (Origin::Tcp([192, 0, 2, 1].into()), Origin::Tcp([192, 0, 2, 2].into()));
    // Beyond the share of an address its own oldest goes, and beyond that of all the oldest of who has most.
    let mut peers = vec![admit(one), admit(one), admit(one)];
    assert_eq!(over(&peers), [true, false, false]);
    peers.push(admit(other));
    assert_eq!(over(&peers), [true, false, false, false]);
    peers.push(admit(other));
    assert_eq!(over(&peers), [true, true, false, false, false]);
    // This machine is not counted.
    peers.extend([Origin::Unix(7), Origin::Bot, Origin::Embedder(Role::Operator)].map(admit));
    assert_eq!(over(&peers).iter().filter(|is_over| **is_over).count(), 2);
}

#[test]
fn a_full_server_takes_its_operator() {
    let mut world = World::with("[limits]\nsessions = 40\n");
    let people: Vec<Person> = (0..35).map(|number| world.enter(&format!("p{number}"))).collect();
    let limits = &world.core.config().limits;
    let admit = |origin| world.core.registry.admit(&world.core.new_peer(origin), limits).is_ok();
    assert!(!admit(Origin::Tcp([127, 0, 0, 1].into())));
    assert!(admit(Origin::Unix(world.core.operator)));
    drop(people);
}

#[test]
fn the_slowest_are_shed_when_all_together_hold_too_much() {
    let mut world = World::with("[limits]\noutboxes = \"1 MiB\"\n");
    let (mut alice, mut slow) = (world.enter("alice"), world.enter("slow"));
    slow.session.peer.push(&[b'x'; 900 << 10]);
    alice.session.peer.push(&[b'x'; 200 << 10]);
    world.pass(1);
    assert!(slow.heard().starts_with("ERR - too-slow"));
    assert!(!alice.is_over());
    assert_eq!(alice.heard().len() >> 10, 200);
}

#[test]
fn a_join_under_way_of_somebody_who_is_gone_leaves_no_ghost() {
    let mut world = World::new();
    let mut ghost = world.enter("ghost");
    assert_eq!(ghost.session.line("JOIN #x", InFlight::default()), DONE);
    ghost.session.finish(&Ending::Lost);
    writer::run_once(&world.core, &mut world.log);
    writer::run_once(&world.core, &mut world.log);
    let mut alice = world.enter("alice");
    assert_eq!(world.ask(&mut alice, "ROOMS"), "ROOM #lobby 1\nOK ROOMS 1\n");
}

#[test]
fn a_room_that_is_joined_while_it_is_retired_can_be_spoken_in() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    // Bob's JOIN waits for the log while alice makes the room and leaves it again.
    alice.session.line("JOIN #x", InFlight::default());
    bob.session.line("JOIN #x", InFlight::default());
    let drafts = world.core.queue.len();
    assert_eq!(drafts, 2);
    world.run_one();
    let left = world.ask_without_log(&mut alice, "LEAVE #x");
    assert!(left.contains("OK JOIN #x\n") && left.ends_with(":alice LEAVE #x\nOK LEAVE #x\n"), "{left}");
    while !world.core.queue.is_empty() {
        world.run_one();
    }
    assert!(bob.heard().ends_with("OK JOIN #x\n"));
    assert!(world.ask(&mut bob, "MSG #x hi").ends_with("OK MSG #x\n"));
}

#[test]
fn a_refused_join_makes_no_room() {
    let mut world = World::with("[limits]\nrooms_per_identity = 1\n");
    let mut alice = world.enter("alice");
    assert!(world.ask(&mut alice, "JOIN #x").starts_with("ERR JOIN too-many"));
    assert_eq!(world.ask(&mut alice, "ROOMS"), "ROOM #lobby 1\nOK ROOMS 1\n");
}

#[test]
fn a_new_name_is_the_name_of_all_sessions() {
    let mut world = World::new();
    let mut first = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut first, "NICK alice");
    let token = heard[7..39].to_owned();
    let mut second = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut second, &format!("@token={token} NICK alice"));
    world.say(&mut first, "NICK alicia");
    let mut stranger = world.enter("alice");
    second.heard();
    assert!(world.ask(&mut second, "MSG #lobby hi").contains(":alicia MSG #lobby hi"));
    assert!(world.ask(&mut stranger, "MSG #lobby hi").contains(":alice MSG #lobby hi"));
}

/// What was heard, without the ids of people.
pub(super) fn without_who(heard: &str) -> String {
    let mut plain = String::new();
    let mut rest = heard;
    while let Some((before, after)) = rest.split_once("who=") {
        plain.push_str(before);
        rest = &after[16..];
        // The separator goes too, and the sign of tags where there are no others.
        match rest.strip_prefix(';') {
            Some(behind) => rest = behind,
            None if plain.ends_with(';') => drop(plain.pop()),
            None => {
                plain.pop();
                rest = &rest[1..];
            }
        }
    }
    plain + rest
}

/// The parts of what was heard that a test compares: lines without their times and ids of people.
pub(super) fn plain(heard: &str) -> Vec<String> {
    without_who(heard)
        .lines()
        .map(|line| {
            line.replace("time=1970-01-01T00:16:40.000Z;", "").replace(";time=1970-01-01T00:16:40.000Z", "")
        })
        .collect()
}

#[test]
fn who_comes_back_with_a_cursor_gets_what_was_missed_and_then_what_comes() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    for n in 1..=5 {
        world.say(&mut bob, &format!("MSG #lobby {n}"));
    }
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "@since=0000000000007e57.2 NICK alice");
    world.say(&mut bob, "MSG #lobby 6");
    assert_eq!(plain(&alice.heard()), ["@log=0000000000007e57;last=5 OK NICK alice"], "nothing before SYNC");
    let page = plain(&world.ask(&mut alice, "@ref=s SYNC 0000000000007e57.2 2"));
    assert_eq!(
        page,
        [
            "@id=3;ref=s :bob MSG #lobby 3",
            "@id=4;ref=s :bob MSG #lobby 4",
            "@ref=s OK SYNC 0000000000007e57.4 more"
        ]
    );
    // Between the page that reaches the end and its answer, somebody speaks.
    assert_eq!(alice.session.line("SYNC 4", alice.session.peer.in_flight()), DONE);
    world.run_one();
    bob.session.line("MSG #lobby 7", bob.session.peer.in_flight());
    bob.session.line("MSG #lobby 8", bob.session.peer.in_flight());
    while !world.core.queue.is_empty() {
        world.run_one();
    }
    let heard = plain(&alice.heard());
    let expected = [
        "@id=5 :bob MSG #lobby 5",
        "@id=6 :bob MSG #lobby 6",
        "OK SYNC 0000000000007e57.6 live",
        "@id=7 :bob MSG #lobby 7",
        "@id=8 :bob MSG #lobby 8",
    ];
    assert_eq!(heard, expected);
    // To who is live, SYNC is a plain page.
    assert_eq!(
        plain(&world.ask(&mut alice, "SYNC 7")),
        ["@id=8 :bob MSG #lobby 8", "OK SYNC 0000000000007e57.8 live"]
    );
}

#[test]
fn a_cursor_of_another_log_or_of_a_lost_future_is_a_gap() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    world.say(&mut bob, "MSG #lobby one");
    bob.heard();
    let heard = plain(&world.ask(&mut bob, "SYNC 00000000000000aa.9"));
    assert_eq!(
        heard,
        [
            "GAP * 00000000000000aa.9 0000000000007e57.0",
            "@id=1 :bob MSG #lobby one",
            "OK SYNC 0000000000007e57.1 live"
        ]
    );
    let heard = plain(&world.ask(&mut bob, "SYNC 99"));
    assert_eq!(heard, ["GAP * 99 0000000000007e57.1", "OK SYNC 0000000000007e57.1 live"]);
    assert!(
        world
            .ask(&mut bob, "HISTORY #lobby AFTER 00000000000000aa.9")
            .starts_with("ERR HISTORY no-such-entry")
    );
}

#[test]
fn history_is_paged_and_only_one_s_own() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.enter("alice"), world.enter("bob"), world.enter("carol"));
    world.say(&mut alice, "MSG #lobby one");
    world.say(&mut alice, "@key=k PRIV bob psst");
    world.say(&mut bob, "PRIV alice what?");
    for person in [&mut alice, &mut bob, &mut carol] {
        person.heard();
    }
    let of = |world: &mut World, person: &mut Person, line: &str| plain(&world.ask(person, line));
    let private =
        ["@id=2;own;key=k :alice PRIV bob psst", "@id=3 :bob PRIV alice what?", "@at=3 OK HISTORY bob end"];
    assert_eq!(of(&mut world, &mut alice, "HISTORY BOB LATEST"), private);
    let newest = ["@id=3;own :bob PRIV alice what?", "@at=3 OK HISTORY alice more"];
    assert_eq!(of(&mut world, &mut bob, "HISTORY alice LATEST 1"), newest);
    assert!(world.ask(&mut carol, "HISTORY bob LATEST").starts_with("ERR HISTORY no-such-nick"));
    assert!(world.ask(&mut carol, "HISTORY #nowhere LATEST").starts_with("ERR HISTORY no-such-room"));
    let all = ["@id=1 :alice MSG #lobby one", "@limit=1000;at=3 OK HISTORY #lobby end"];
    assert_eq!(of(&mut world, &mut carol, "HISTORY #lobby LATEST 99999"), all);
    assert_eq!(
        of(&mut world, &mut carol, "HISTORY #lobby SINCE 2026-01-01"),
        ["@at=3 OK HISTORY #lobby end"]
    );
    // Search asks the same question.
    assert_eq!(of(&mut world, &mut carol, "SEARCH * psst"), ["@at=3 OK SEARCH end"]);
    assert_eq!(
        of(&mut world, &mut bob, "SEARCH * psst"),
        ["@id=2 :alice PRIV bob psst", "@at=3 OK SEARCH end"]
    );
    assert_eq!(of(&mut world, &mut bob, "SEARCH alice psst from:bob"), ["@at=3 OK SEARCH end"]);
    assert!(world.ask(&mut bob, "SEARCH * \"open").starts_with("ERR SEARCH bad-query a phrase"));
    assert!(
        world.ask(&mut bob, "SEARCH #lobby x in:#ops").starts_with("ERR SEARCH bad-query in: names another")
    );
    // An answer to what one may not see is an answer to nothing.
    assert!(world.ask(&mut carol, "@re=2 MSG #lobby me too").starts_with("ERR MSG no-such-entry"));
    assert!(world.ask(&mut carol, "REACT bob 2 +1").starts_with("ERR REACT no-such-entry"));
    assert!(world.ask(&mut carol, "READ bob 2").starts_with("ERR READ no-such-entry"));
}

#[test]
fn edits_deletions_and_reactions_reach_the_room() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "MSG #lobby helo");
    bob.heard();
    alice.heard();
    let heard = plain(&world.ask(&mut alice, "EDIT #lobby 1 hello :wave:"));
    assert_eq!(heard, ["@id=2 :alice EDIT #lobby 1 hello \u{1f44b}", "@id=2 OK EDIT #lobby"]);
    assert_eq!(plain(&bob.heard()), ["@id=2 :alice EDIT #lobby 1 hello \u{1f44b}"]);
    assert_eq!(plain(&world.ask(&mut bob, "REACT #lobby 1 :+1:"))[0], "@id=3 :bob REACT #lobby 1 \u{1f44d}");
    assert_eq!(plain(&world.ask(&mut bob, "REACT #lobby 1 \u{1f44d}")), ["@id=3;dup OK REACT #lobby"]);
    assert!(world.ask(&mut bob, "DELETE #lobby 1").starts_with("ERR DELETE denied"));
    alice.heard();
    assert_eq!(plain(&world.ask(&mut alice, "DELETE #lobby 1"))[0], "@id=4 :alice DELETE #lobby 1");
    let heard = plain(&world.ask(&mut alice, "@replace=s MSG #lobby 10 %"));
    assert_eq!(heard, ["@id=5 :alice MSG #lobby 10 %", "@id=5 OK MSG #lobby"]);
    let heard = plain(&world.ask(&mut alice, "@replace=s MSG #lobby 20 %"));
    assert_eq!(heard, ["@id=6 :alice EDIT #lobby 5 20 %", "@id=6;replaced=5 OK MSG #lobby"]);
    // The daemon's own user may delete what others said in rooms.
    let mut operator = world.connect(Origin::Unix(world.core.operator));
    world.say(&mut operator, "NICK op");
    assert!(world.ask(&mut operator, "DELETE #lobby 5").contains("OK DELETE #lobby"));
    assert!(world.ask(&mut operator, "EDIT #lobby 1 mine").starts_with("ERR EDIT no-such-entry"));
}

#[test]
fn where_one_stands_is_kept_and_told_to_who_may_know() {
    let mut world = World::new();
    let mut first = world.connect(Origin::Unix(1));
    let mut second = world.connect(Origin::Unix(1));
    world.say(&mut first, "NICK alice");
    world.say(&mut second, "NICK alice");
    let mut bob = world.enter("bob");
    for line in ["MSG #lobby hi @alice", "MSG #lobby malice", "PRIV alice one", "PRIV alice two"] {
        world.say(&mut bob, line);
    }
    for person in [&mut first, &mut second, &mut bob] {
        person.heard();
    }
    let inbox = [
        "@protection=readable CONVERSATION bob 4 2 0",
        "@protection=readable CONVERSATION #lobby 2 2 1",
        "@at=4 OK INBOX 2",
    ];
    assert_eq!(plain(&world.ask(&mut first, "INBOX")), inbox);
    assert_eq!(world.ask(&mut first, "READ #lobby 2"), "OK READ #lobby 2\n");
    assert_eq!(second.heard(), ":alice READ #lobby 2\n");
    assert_eq!(world.ask(&mut second, "READ #lobby 1"), "OK READ #lobby 2\n", "only forward");
    assert_eq!(world.ask(&mut first, "READ bob 3"), "OK READ bob 3\n");
    assert_eq!(bob.heard(), "", "read receipts are for who asks to give them");
    assert_eq!(world.ask(&mut first, "@receipt READ bob 3"), "OK READ bob 3\n");
    assert_eq!(plain(&bob.heard()), [":alice READ bob 3"]);
    assert!(second.heard().contains(";own :alice READ bob 3\n"), "her own, and no receipt");
    assert_eq!(world.ask(&mut first, "ACK 4"), "OK ACK\n");
    assert_eq!(plain(&bob.heard()), [":alice DELIVERED bob 4"]);
    world.say(&mut first, "ACK 4");
    assert_eq!(bob.heard(), "", "once");
    let inbox = plain(&world.ask(&mut bob, "INBOX"));
    assert_eq!(inbox[0], "@delivered=4;seen=3;protection=readable CONVERSATION alice 4 0 0");
    second.heard();
    let inbox = plain(&world.ask(&mut second, "INBOX"));
    let rows = [
        "@read=3;protection=readable CONVERSATION bob 4 1 0",
        "@read=2;protection=readable CONVERSATION #lobby 2 0 0",
    ];
    assert_eq!(inbox[..2], rows);
}

#[test]
fn a_user_of_this_machine_who_is_away_gets_private_messages_at_the_return() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "MSG #lobby I am known now");
    world.say(&mut bob, "PRIV alice seen");
    world.leave(alice, Ending::Closed);
    bob.heard();
    for text in ["one", "two"] {
        assert!(world.ask(&mut bob, &format!("PRIV Alice {text}")).ends_with("OK PRIV alice\n"));
    }
    assert!(world.ask(&mut bob, "PRIV carol hi").starts_with("ERR PRIV no-such-nick"));
    // A script of hers that only speaks does not take them away.
    let mut script = world.connect(Origin::Unix(1));
    assert_eq!(plain(&world.ask(&mut script, "@quiet NICK alice")).len(), 1);
    world.leave(script, Ending::Closed);
    // Nor does somebody else who takes the name.
    let mut other = world.connect(Origin::Unix(2));
    assert_eq!(plain(&world.ask(&mut other, "NICK alice")).len(), 1);
    world.leave(other, Ending::Closed);
    let mut alice = world.connect(Origin::Unix(1));
    let heard = plain(&world.ask(&mut alice, "NICK alice"));
    let news = ["@id=3 :bob PRIV alice one", "@id=4 :bob PRIV alice two"];
    assert_eq!(heard[1..], news, "{heard:?}");
    world.leave(alice, Ending::Closed);
    let mut alice = world.connect(Origin::Unix(1));
    assert_eq!(plain(&world.ask(&mut alice, "NICK alice")).len(), 1, "once");
}

#[test]
fn however_many_messages_wait_all_of_them_come() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "MSG #lobby hi");
    world.leave(alice, Ending::Closed);
    for n in 0..1_200 {
        world.say(&mut bob, &format!("PRIV alice {n}"));
        bob.heard();
    }
    let mut alice = world.connect(Origin::Unix(1));
    let heard = world.ask(&mut alice, "NICK alice");
    let texts: Vec<&str> = heard.lines().filter_map(|line| line.split(" PRIV alice ").nth(1)).collect();
    assert!(texts == (0..1_200).map(|n| n.to_string()).collect::<Vec<_>>(), "{} came", texts.len());
}

#[test]
fn who_has_said_goodbye_gets_nothing_any_more() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "MSG #lobby hi");
    // The connection is still there, and nothing is written to it.
    world.say(&mut alice, "QUIT");
    world.say(&mut bob, "PRIV alice too late");
    world.leave(alice, Ending::Quit(None));
    let mut alice = world.connect(Origin::Unix(1));
    assert!(world.ask(&mut alice, "NICK alice").contains(":bob PRIV alice too late"));
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "MSG #lobby hi");
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "PRIV alice one");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "@since=0 NICK alice");
    world.say(&mut alice, "SYNC 0");
    world.say(&mut alice, "ACK 2");
    world.leave(alice, Ending::Closed);
    let mut alice = world.connect(Origin::Unix(1));
    assert_eq!(plain(&world.ask(&mut alice, "NICK alice")).len(), 1);
}

#[test]
fn an_acknowledgement_of_the_future_changes_nothing() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "MSG #lobby hi");
    assert!(world.ask(&mut alice, "ACK 9000000000000000").ends_with("OK ACK\n"));
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "PRIV alice two");
    let mut alice = world.connect(Origin::Unix(1));
    assert!(world.ask(&mut alice, "NICK alice").contains(":bob PRIV alice two"));
}

#[test]
fn one_cannot_rename_oneself_over_who_one_was_before() {
    let mut world = World::new();
    let mut bob = world.connect(Origin::Unix(1));
    world.say(&mut bob, "NICK bob");
    world.say(&mut bob, "MSG #lobby hi");
    world.leave(bob, Ending::Closed);
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    alice.heard();
    assert!(
        world.ask(&mut alice, "NICK bob").starts_with("ERR NICK nick-taken bob is somebody you have been")
    );
    assert!(world.ask(&mut alice, "NICK carol").ends_with("OK NICK carol\n"));
}

#[test]
fn what_was_said_to_who_is_forgotten_is_still_one_s_own() {
    let mut world = World::with("[guests]\nlinger = \"1h\"\n");
    let (mut alice, mut gary) = (world.enter("alice"), world.enter("gary"));
    world.say(&mut alice, "PRIV gary a secret");
    world.say(&mut gary, "PRIV alice really?");
    world.leave(gary, Ending::Closed);
    world.pass(3_600_001);
    while !world.core.queue.is_empty() {
        world.run_one();
    }
    alice.heard();
    assert_eq!(plain(&world.ask(&mut alice, "READ gary 2")), ["OK READ gary 2"]);
    assert!(world.ask(&mut alice, "EDIT gary 1 nothing").ends_with(" OK EDIT gary\n"));
    // Another of that name changes nothing about it.
    let mut other = world.enter("gary");
    alice.heard();
    assert!(world.ask(&mut alice, "DELETE gary 1").ends_with(" OK DELETE gary\n"));
    assert!(!other.heard().contains("DELETE"), "it is none of theirs");
    assert!(world.ask(&mut alice, "REACT nobody 1 +1").starts_with("ERR REACT no-such-entry"));
}

#[test]
fn a_room_s_settings_are_for_who_made_it() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #team");
    alice.heard();
    world.say(&mut bob, "JOIN #team");
    bob.heard();
    alice.heard();
    assert!(world.ask(&mut bob, "SET #team history none").starts_with("ERR SET denied"));
    let shown = [
        "SET #team access=public",
        "SET #team join=all",
        "SET #team read=all",
        "SET #team send=all",
        "SET #team invite=members",
        "SET #team topic=all",
        "SET #team slow=off",
        "SET #team history=joined",
        "SET #team keep=default",
        "SET #team files=default",
        "SET #team file-types=all",
        "OK SET #team",
    ];
    let changed = ["@id=1 :alice SET #team history=joined", "@id=1 OK SET #team"];
    assert_eq!(plain(&world.ask(&mut alice, "SET #team history joined")), changed);
    assert_eq!(plain(&bob.heard()), ["@id=1 :alice SET #team history=joined"], "its members see it");
    assert_eq!(plain(&world.ask(&mut alice, "SET #team")), shown);
    assert!(world.ask(&mut alice, "SET #team history some").starts_with("ERR SET bad-parameter"));
    assert!(world.ask(&mut alice, "SET #team colour red").starts_with("ERR SET bad-parameter"));
    assert!(world.ask(&mut alice, "SET #team keep 30d").contains(" :alice SET #team keep=30d\n"));
    world.say(&mut alice, "MSG #team for us");
    let mut carol = world.enter("carol");
    assert_eq!(
        plain(&world.ask(&mut carol, "JOIN #team"))[1..],
        ["@first=1;last=3;history=joined;keep=30d;protection=readable OK JOIN #team"]
    );
    alice.heard();
    bob.heard();
    world.say(&mut alice, "MSG #team with carol");
    carol.heard();
    assert_eq!(plain(&world.ask(&mut carol, "HISTORY #team LATEST"))[0], "@id=4 :alice MSG #team with carol");
    assert_eq!(plain(&world.ask(&mut bob, "HISTORY #team LATEST")).len(), 6, "he was there");
    world.leave(carol, Ending::Closed);
    world.say(&mut alice, "MSG #team about carol");
    let mut carol = world.enter("carol");
    world.say(&mut carol, "JOIN #team");
    carol.heard();
    assert_eq!(
        plain(&world.ask(&mut carol, "HISTORY #team LATEST")),
        ["@at=5 OK HISTORY #team end"],
        "another carol"
    );
}

#[test]
fn backups_are_for_operators() {
    let mut world = World::new();
    let mut bob = world.enter("bob");
    assert!(world.ask(&mut bob, "BACKUP /tmp/x").starts_with("ERR BACKUP denied"));
    let mut other = world.connect(Origin::Unix(world.core.operator + 1));
    world.say(&mut other, "NICK other");
    assert!(world.ask(&mut other, "BACKUP /tmp/x").contains("ERR BACKUP denied"));
    let mut operator = world.connect(Origin::Unix(world.core.operator));
    world.say(&mut operator, "NICK op");
    assert!(
        world.ask(&mut operator, "BACKUP /tmp/x").contains("ERR BACKUP unavailable the log lives in memory")
    );
}

/// One step of somebody in a random story.
fn step() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let room = prop_oneof![Just("#lobby"), Just("#x"), Just("#y")];
    prop_oneof![
        name.clone().prop_map(|name| format!("NICK {name}")),
        room.clone().prop_map(|room| format!("JOIN {room}")),
        room.clone().prop_map(|room| format!("LEAVE {room}")),
        room.prop_map(|room| format!("MSG {room} hi")),
        name.prop_map(|name| format!("PRIV {name} hi")),
        Just("CLOSE".to_owned()),
    ]
}

proptest! {
    /// Whatever people do: every command has one answer, ids grow for everyone, and who has gone leaves nothing.
    #[test]
    fn any_story_leaves_a_consistent_world(story in prop::collection::vec((0usize..4, step()), 1..60)) {
        let mut world = World::new();
        let mut people: Vec<Option<Person>> = (0..4).map(|_| None).collect();
        let mut last_ids = [0u64; 4];
        for (who, line) in story {
            if line == "CLOSE" {
                if let Some(person) = people[who].take() {
                    world.leave(person, Ending::Closed);
                }
                continue;
            }
            let mut person = people[who].take().unwrap_or_else(|| {
                last_ids[who] = 0;
                world.connect(Origin::Tcp([127, 0, 0, 1].into()))
            });
            let heard = world.ask(&mut person, &line);
            let answers = heard.lines().filter(|line| {
                let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
                [*line, rest].iter().any(|line| line.starts_with("OK ") || line.starts_with("ERR "))
            });
            prop_assert_eq!(answers.count(), 1, "{} -> {}", line, heard);
            for line in heard.lines().filter_map(snug_protocol::ServerLine::parse) {
                if let (Some(id), Some(_)) = (line.id(), line.from) {
                    prop_assert!(id > last_ids[who]);
                    last_ids[who] = id;
                }
            }
            people[who] = Some(person);
        }
        for person in people.into_iter().flatten() {
            world.leave(person, Ending::Closed);
        }
        let (sessions, names, _) = world.core.registry.counts();
        prop_assert_eq!((sessions, names), (0, 0));
        prop_assert!(world.core.registry.who(None).expect("everybody").is_empty());
    }
}

#[test]
fn who_has_reacted_is_told_to_who_may_see_the_entry() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.enter("alice"), world.enter("bob"), world.enter("carol"));
    world.say(&mut alice, "MSG #lobby lunch?");
    world.say(&mut bob, "REACT #lobby 1 :+1:");
    world.say(&mut carol, "REACT #lobby 1 :pizza:");
    world.say(&mut bob, "REACT #lobby 1 :pizza:");
    bob.heard();
    alice.heard();
    let listed = world.ask(&mut alice, "REACT #lobby 1");
    let rows: Vec<_> =
        listed.lines().map(|row| row.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        rows,
        [
            "REACTION 1 \u{1f44d} bob",
            "REACTION 1 \u{1f355} carol",
            "REACTION 1 \u{1f355} bob",
            "OK REACT #lobby 3"
        ]
    );
    // A page says which of them are one's own.
    let page = world.ask(&mut bob, "HISTORY #lobby BEFORE 2");
    assert!(page.contains("reactions=\u{1f44d}=1,\u{1f355}=2;mine=\u{1f44d},\u{1f355} :alice MSG"), "{page}");
    assert!(page.ends_with("@at=4 OK HISTORY #lobby end\n"), "{page}");
    assert!(!world.ask(&mut alice, "HISTORY #lobby BEFORE 2").contains("mine="));
    world.say(&mut alice, "PRIV bob psst");
    assert!(world.ask(&mut carol, "REACT bob 5").contains("ERR REACT no-such-"), "it is not hers");
    assert!(world.ask(&mut carol, "REACT #lobby 5").contains("ERR REACT no-such-entry"));
    assert!(world.ask(&mut carol, "REACT #lobby 99").contains("ERR REACT no-such-entry"));
    world.say(&mut alice, "MSG #lobby dessert");
    carol.heard();
    assert_eq!(world.ask(&mut carol, "REACT #lobby 6"), "OK REACT #lobby 0\n");
}

#[test]
fn typing_ends_with_the_session() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "TYPING #lobby on");
    world.say(&mut alice, "TYPING bob on");
    bob.heard();
    world.leave(alice, Ending::Closed);
    let heard = bob.heard();
    assert!(heard.starts_with(":alice TYPING #lobby off\n:alice TYPING bob off\n"), "{heard}");
    // Not what was ended, or has ended by itself.
    let mut carol = world.enter("carol");
    world.say(&mut carol, "TYPING #lobby on");
    world.say(&mut carol, "TYPING #lobby off");
    world.say(&mut carol, "TYPING bob on");
    world.pass(6_000);
    bob.heard();
    world.leave(carol, Ending::Closed);
    assert!(!bob.heard().contains("TYPING"));
}
