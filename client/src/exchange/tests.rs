//! The exchange with a daemon that is a few lines of model: connections break anywhere, with what was on its way in either
//! direction, and everything that can be repeated is answered once, everything said is in the log once, and every
//! entry is an event once and in order.

use std::collections::{BTreeMap, HashSet, VecDeque};

use proptest::prelude::*;
use snug_protocol::{Command, Cursor, Line, LogName, Nick, Request};

use super::*;

const LOG: LogName = LogName(7);

/// The daemon: a log, and one connection.
#[derive(Default)]
struct Server {
    /// Texts with their keys, if they have some; the id is the place, from 1.
    log: Vec<(Option<String>, String)>,
    is_live: bool,
    /// Lines on their way to the client.
    sent: VecDeque<String>,
}

impl Server {
    fn line_of(&self, id: usize) -> String {
        let (_, text) = &self.log[id - 1];
        format!("@id={id} :bob MSG #lobby {text}")
    }

    fn append(&mut self, key: Option<String>, text: String) -> usize {
        self.log.push((key, text));
        let id = self.log.len();
        if self.is_live {
            self.sent.push_back(self.line_of(id));
        }
        id
    }

    fn hear(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).expect("UTF-8").trim_end_matches('\n');
        let parsed = Line::parse(text).expect("a line");
        let request = Request::parse(&parsed).expect("a command");
        let label = parsed.tags.get("ref").expect("each has a label").into_owned();
        match request.command {
            Command::Sync { cursor, .. } => {
                let end = self.log.len().min(usize::try_from(cursor.id).expect("it is small") + 3);
                for id in usize::try_from(cursor.id).expect("it is small") + 1..=end {
                    let row = self.line_of(id);
                    self.sent.push_back(format!("@ref={label};{}", &row[1..]));
                }
                let goes_on = if end < self.log.len() { "more" } else { "live" };
                self.is_live |= goes_on == "live";
                self.sent.push_back(format!("@ref={label} OK SYNC {}.{end} {goes_on}", LOG));
            }
            Command::Msg { text, tags, .. } => {
                let key = tags.key.map(|key| key.into_owned());
                let before = self.log.iter().position(|(other, _)| key.is_some() && *other == key);
                let id = match before {
                    Some(at) => at + 1,
                    None => self.append(key, text.into_owned()),
                };
                self.sent.push_back(format!("@ref={label};id={id} OK MSG #lobby"));
            }
            Command::Who { .. } => {
                self.sent.push_back(format!("@ref={label} USER bob online 2026-01-01T00:00:00.000Z"));
                self.sent.push_back(format!("@ref={label} OK WHO 1"));
            }
            other => panic!("the model does not know {other:?}"),
        }
    }
}

/// What happens, in an order that the test makes up.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client says a message with a key, one without, or asks something.
    Say,
    SayOnce,
    Ask,
    /// Somebody else says something.
    Other,
    /// The daemon takes a line, or the client does.
    ToServer,
    ToClient,
    /// The connection breaks and is made again.
    Break,
}

struct World {
    server: Server,
    exchange: Exchange<usize>,
    /// Lines on their way to the daemon.
    sent: VecDeque<Vec<u8>>,
    said: usize,
    once: HashSet<usize>,
    answers: BTreeMap<usize, Result<Answer, RequestError>>,
    seen: Vec<u64>,
}

impl World {
    fn new() -> World {
        World::with((None, 0), u64::MAX, Vec::new())
    }

    /// A connection that begins after `since`, while the log has `last` entries, in these rooms.
    fn with(
        (since, last): (Option<Cursor>, u64),
        catch_up: u64,
        rooms: Vec<snug_protocol::RoomName<'static>>,
    ) -> World {
        let settings = Settings { acknowledges: true, comes_back: true, catch_up };
        let cursor = Cursor { log: Some(LOG), id: last };
        let place = Whereabouts::new("alice", &rooms);
        World {
            server: Server { is_live: true, ..Server::default() },
            exchange: Exchange::begin(settings, place, (since, cursor), Vec::new()),
            sent: VecDeque::new(),
            said: 0,
            once: HashSet::new(),
            answers: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    fn say(&mut self, tags: &str, verb: &str, is_repeatable: bool) {
        self.said += 1;
        let tags = tags.replace("{n}", &self.said.to_string());
        let request = format!("{tags}{verb}\n").replace("{n}", &self.said.to_string()).into_bytes();
        self.exchange.say(Job {
            request,
            bytes: None,
            is_repeatable,
            causes_event: verb.starts_with("MSG"),
            is_awaited: true,
            reply: self.said,
        });
        self.take();
    }

    fn take(&mut self) {
        while let Some(output) = self.exchange.take_output() {
            match output {
                Output::Line(line) => self.sent.push_back(line),
                Output::Bytes(_) => panic!("nothing has bytes here"),
            }
        }
        while let Some((number, answer)) = self.exchange.take_answer() {
            assert!(self.answers.insert(number, answer).is_none(), "{number} is answered once");
        }
        while let Some(event) = self.exchange.take_event() {
            if let Event::Line(received) = event
                && let Some(id) = received.line().id()
            {
                self.seen.push(id);
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Say => self.say("@key=k{n} ", "MSG #lobby text {n}", true),
            Step::SayOnce => {
                self.once.insert(self.said + 1);
                self.say("", "MSG #lobby text {n}", false);
            }
            Step::Ask => self.say("", "WHO", true),
            Step::Other => {
                let number = self.server.log.len();
                self.server.append(None, format!("other {number}"));
            }
            Step::ToServer => {
                if let Some(line) = self.sent.pop_front() {
                    self.server.hear(&line);
                }
            }
            Step::ToClient => {
                if let Some(line) = self.server.sent.pop_front() {
                    self.exchange.line(line, None);
                    self.take();
                }
            }
            Step::Break => {
                // With all that was on its way.
                self.sent.clear();
                self.server.sent.clear();
                self.server.is_live = false;
                self.exchange.lost(Loss::Broken("the cable".to_owned()));
                self.take();
                let cursor = Cursor { log: Some(LOG), id: self.server.log.len() as u64 };
                self.exchange.entered(("alice", false), cursor, Vec::new());
                self.take();
            }
        }
    }

    /// Lets everything arrive that is on its way.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.sent.is_empty() && self.server.sent.is_empty() {
                break;
            }
            self.step(Step::ToServer);
            self.step(Step::ToClient);
        }
        assert!(!self.exchange.is_waited_for(), "everything is answered");
    }

    fn check(&self) {
        assert_eq!(self.answers.len(), self.said);
        for (number, answer) in &self.answers {
            match answer {
                Ok(answer) => {
                    if let Some(id) = answer.id() {
                        let (_, text) = &self.server.log[usize::try_from(id).expect("it is small") - 1];
                        assert_eq!(*text, format!("text {number}"), "the answer is that of its command");
                    }
                }
                Err(error) => {
                    assert!(matches!(error, RequestError::Lost { .. }), "{error}");
                    assert!(self.once.contains(number), "{number} could have been repeated");
                }
            }
        }
        let mut texts: Vec<&str> = self.server.log.iter().map(|(_, text)| text.as_str()).collect();
        texts.sort_unstable();
        let count = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), count, "nothing is said twice");
        let all: Vec<u64> = (1..=self.server.log.len() as u64).collect();
        assert_eq!(self.seen, all, "every entry is an event, once and in order");
    }
}

proptest! {
    #[test]
    fn whatever_breaks_everything_is_answered_and_seen_once(
        steps in prop::collection::vec(
            prop_oneof![
                3 => Just(Step::Say),
                1 => Just(Step::SayOnce),
                1 => Just(Step::Ask),
                2 => Just(Step::Other),
                6 => Just(Step::ToServer),
                6 => Just(Step::ToClient),
                1 => Just(Step::Break),
            ],
            0..200,
        )
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        world.check();
    }
}

#[test]
fn what_could_not_be_synced_is_a_gap_and_not_asked_for_again() {
    let mut world = World::new();
    world.step(Step::Break);
    let asked = world.sent.pop_front().expect("SYNC");
    assert!(asked.starts_with(b"@ref=0 SYNC "), "{asked:?}");
    world.exchange.line("@ref=0 ERR SYNC out-of-scope the token may not".to_owned(), None);
    assert!(world.exchange.take_failure().is_some(), "the connection is of no use");
    assert_eq!(world.exchange.since(), None);
    world.exchange.lost(Loss::Closed);
    world.exchange.entered(("alice", false), Cursor { log: Some(LOG), id: 5 }, Vec::new());
    let events: Vec<Event> = std::iter::from_fn(|| world.exchange.take_event()).collect();
    assert!(
        events.iter().any(|event| matches!(event, Event::Gap { target, .. } if target == "*")),
        "{events:?}"
    );
    assert!(world.exchange.take_output().is_none(), "and nothing is asked for");
}

#[test]
fn who_is_dismissed_is_told_why() {
    let mut world = World::new();
    world.say("@key=k ", "MSG #lobby hi", true);
    world.exchange.line("ERR - kicked away with you".to_owned(), None);
    world.exchange.lost(Loss::Closed);
    world.exchange.gave_up(None, "the server closed the connection");
    world.take();
    assert!(
        matches!(&world.answers[&1], Err(RequestError::Refused { code, .. }) if code == "kicked"),
        "{:?}",
        world.answers
    );
}

#[test]
fn a_line_that_does_not_fit_is_never_sent() {
    let mut world = World::new();
    let nick = Nick::parse("alice").expect("a nick");
    let long = format!("@key=k PRIV {nick} {}", "x".repeat(snug_protocol::limits::LINE));
    world.say("", &long, true);
    assert!(world.sent.is_empty());
    assert!(matches!(&world.answers[&1], Err(RequestError::TooLong { .. })), "{:?}", world.answers);
    // Nor does it stand in the way of what comes behind it.
    world.step(Step::Say);
    world.settle();
    assert!(world.answers[&2].is_ok());
}

#[test]
fn private_messages_of_others_are_acknowledged_one_at_a_time() {
    let mut world = World::new();
    for id in 1..=3 {
        world.exchange.line(format!("@id={id} :bob PRIV alice hi"), None);
    }
    world.exchange.line("@id=4 :alice PRIV bob hi".to_owned(), None);
    world.exchange.acknowledge();
    world.exchange.acknowledge();
    let said: Vec<Output> = std::iter::from_fn(|| world.exchange.take_output()).collect();
    assert_eq!(said, [Output::Line(format!("@ref=0 ACK {LOG}.3\n").into_bytes())]);
    world.exchange.line("@id=5 :bob PRIV alice more".to_owned(), None);
    world.exchange.acknowledge();
    assert!(world.exchange.take_output().is_none(), "one is under way");
    world.exchange.line("@ref=0 OK ACK".to_owned(), None);
    world.exchange.acknowledge();
    assert!(world.exchange.take_output().is_some());
}

#[test]
fn a_session_that_has_fallen_behind_asks_for_what_it_missed() {
    let settings = Settings { acknowledges: false, comes_back: true, catch_up: u64::MAX };
    let cursor: Cursor = "000000000000000a.7".parse().expect("a cursor");
    let mut exchange: Exchange<()> =
        Exchange::begin(settings, Whereabouts::new("me", &[]), (None, cursor), Vec::new());
    exchange.line("@id=8 :bob MSG #a one".to_owned(), None);
    exchange.line("BEHIND 000000000000000a.8".to_owned(), None);
    let asked = exchange.take_output();
    assert_eq!(asked, Some(Output::Line(b"@ref=0 SYNC 000000000000000a.8 500\n".to_vec())));
    exchange.line("@id=9;ref=0 :bob MSG #a two".to_owned(), None);
    exchange.line("@ref=0 OK SYNC 000000000000000a.9 live".to_owned(), None);
    let events: Vec<Event> = std::iter::from_fn(|| exchange.take_event()).collect();
    let ids: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Line(received) => received.line().id(),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [8, 9]);
    assert!(matches!(events.last(), Some(Event::Live { cursor }) if cursor.id == 9));
}

#[test]
fn an_answer_without_end_ends_the_connection_and_not_the_memory() {
    let settings = Settings { acknowledges: false, comes_back: false, catch_up: u64::MAX };
    let cursor: Cursor = "000000000000000a.7".parse().expect("a cursor");
    let mut exchange: Exchange<()> =
        Exchange::begin(settings, Whereabouts::new("me", &[]), (None, cursor), Vec::new());
    exchange.say(Job {
        request: b"ROOMS\n".to_vec(),
        bytes: None,
        is_repeatable: true,
        causes_event: false,
        is_awaited: true,
        reply: (),
    });
    let row = format!("@ref=0 ROOM #a 1 {}", "x".repeat(1_000));
    let taken = (0..2_000).take_while(|_| {
        exchange.line(row.clone(), None);
        exchange.take_failure().is_none()
    });
    assert!(taken.count() < 1_100);
}

#[test]
fn private_messages_that_waited_are_events_of_a_connection_that_begins_with_what_is_new() {
    let mut world = World::with((None, 9), u64::MAX, Vec::new());
    for id in [4, 6, 10] {
        world.exchange.line(format!("@id={id} :bob PRIV alice hi"), None);
    }
    world.exchange.line("@id=6 :bob PRIV alice hi".to_owned(), None);
    world.take();
    assert_eq!(world.seen, [4, 6, 10]);
    assert_eq!(world.exchange.since().map(|cursor| cursor.id), Some(10));
    // If the connection breaks while they come, the next one goes on behind the last that has.
    let mut world = World::with((None, 9), u64::MAX, Vec::new());
    world.exchange.line("@id=4 :bob PRIV alice hi".to_owned(), None);
    world.exchange.lost(Loss::Closed);
    assert_eq!(world.exchange.since().map(|cursor| cursor.id), Some(4));
    world.exchange.entered(("alice", false), Cursor { log: Some(LOG), id: 9 }, Vec::new());
    world.exchange.line("@ref=0;id=6 :bob PRIV alice hi".to_owned(), None);
    world.take();
    assert_eq!(world.seen, [4, 6]);
    // Before anything new has come, the next connection begins where this one did.
    // An answer stands behind all that waited.
    let mut world = World::with((None, 9), u64::MAX, Vec::new());
    world.exchange.line("@id=4 :bob PRIV alice hi".to_owned(), None);
    world.say("", "WHO", true);
    world.exchange.line("@ref=0 OK WHO 0".to_owned(), None);
    assert_eq!(world.exchange.since().map(|cursor| cursor.id), Some(9));
}

#[test]
fn private_messages_that_waited_reach_a_session_that_may_not_sync() {
    let mut world = World::with((None, 9), u64::MAX, Vec::new());
    world.exchange.may_sync = false;
    world.exchange.line("@id=10 :bob PRIV alice hi".to_owned(), None);
    world.exchange.lost(Loss::Closed);
    world.exchange.entered(("alice", false), Cursor { log: Some(LOG), id: 14 }, Vec::new());
    for id in [10, 12, 15] {
        world.exchange.line(format!("@id={id} :bob PRIV alice hi"), None);
    }
    world.take();
    assert_eq!(world.seen, [10, 12, 15]);
}

#[test]
fn what_is_fetched_of_before_changes_no_room() {
    let ops = RoomName::parse("#ops").expect("a room");
    let mut world = World::with((Some(Cursor { log: Some(LOG), id: 2 }), 9), u64::MAX, vec![ops]);
    world.exchange.line("@ref=0;id=5 :bob KICK #ops alice".to_owned(), None);
    world.exchange.line(format!("@ref=0 OK SYNC {LOG}.9 live"), None);
    assert_eq!(world.exchange.place().rooms().len(), 1, "she has joined since");
    world.exchange.line("@id=10 :bob KICK #ops alice".to_owned(), None);
    assert!(world.exchange.place().rooms().is_empty());
}

#[test]
fn of_another_log_no_more_is_fetched_than_of_the_same() {
    let other = LogName(8);
    let old = Cursor { log: Some(other), id: 900 };
    for (newest, is_fetched) in [(1_000, true), (1_001, false)] {
        let mut world = World::with((Some(old), newest), 1_000, Vec::new());
        let events: Vec<Event> = std::iter::from_fn(|| world.exchange.take_event()).collect();
        let Some(Output::Line(asked)) = world.exchange.take_output() else { panic!("it asks") };
        let asked = String::from_utf8(asked).expect("UTF-8");
        let gap = events.iter().find_map(|event| match event {
            Event::Gap { from, to, .. } => Some((from.clone(), to.clone())),
            _ => None,
        });
        match is_fetched {
            true => {
                assert!(asked.contains(&format!("SYNC {old} ")) && gap.is_none(), "{asked}{events:?}");
                world.exchange.line(format!("@ref=0 GAP * {old} {LOG}.0"), None);
                world.exchange.line("@ref=0;id=250 :bob MSG #lobby hi".to_owned(), None);
                world.exchange.line(format!("@ref=0 OK SYNC {LOG}.250 more"), None);
                let events: Vec<Event> = std::iter::from_fn(|| world.exchange.take_event()).collect();
                let is_quarter = |event: &Event| matches!(event, Event::CatchingUp { done: 250, of: 1_000 });
                assert!(events.iter().any(is_quarter), "{events:?}");
            }
            false => {
                assert!(asked.contains(&format!("SYNC {LOG}.{newest} ")), "{asked}");
                assert_eq!(gap, Some((old.to_string(), format!("{LOG}.{newest}"))));
            }
        }
    }
}

#[test]
fn a_room_that_an_account_has_left_is_left_to_the_server() {
    for (has_its_rooms, leaves) in [(false, true), (true, false)] {
        let mut world = World::new();
        world.exchange.line(":alice LEAVE #lobby".to_owned(), None);
        world.exchange.lost(Loss::Closed);
        world.exchange.entered(("alice", has_its_rooms), Cursor { log: Some(LOG), id: 0 }, Vec::new());
        let output: Vec<Output> = std::iter::from_fn(|| world.exchange.take_output()).collect();
        let is_leave =
            |output: &Output| matches!(output, Output::Line(line) if line.ends_with(b"LEAVE #lobby\n"));
        assert_eq!(output.iter().any(is_leave), leaves);
    }
}
