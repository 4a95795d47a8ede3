//! The client library with a real daemon: what a program that shows a chat stands on.

use std::time::Duration;

use futures_lite::FutureExt;
use snug_client::{Client, Event, Name, Options};
use snug_protocol::{Body, Command, Cursor, EntryKind, MessageTags, RoomName};

use crate::harness::{Daemon, PATIENCE, Raw};

fn options(daemon: &Daemon, nick: &str) -> Options {
    let address = daemon.pinned().parse().expect("an address");
    let mut options = Options::new([address], Name::exactly(nick).expect("a nick"));
    options.longest_wait = Duration::from_millis(200);
    options
}

fn say(text: &str) -> Command<'static> {
    Command::Msg { room: RoomName::LOBBY, text: text.to_owned().into(), tags: MessageTags::default() }
}

/// Runs something that must end.
fn in_time<T>(what: impl Future<Output = T>) -> T {
    let overdue = async {
        smol::Timer::after(PATIENCE).await;
        panic!("it stands still")
    };
    smol::block_on(what.or(overdue))
}

const UNLIMITED: &str = "[limits]\nrate = 0\nguest_bytes = \"0 B\"\n";

#[test]
fn a_loop_that_asks_for_each_event_goes_on() {
    const MANY: usize = 6_000;
    let daemon = Daemon::with(UNLIMITED);
    let mut bob = Raw::enter(&daemon, "bob");
    for _ in 0..MANY / 500 {
        bob.send("MSG #lobby more than anybody reads\n".repeat(500).as_bytes());
        (0..500).for_each(|_| drop(bob.wait_for("OK MSG")));
    }
    in_time(async {
        let mut options = options(&daemon, "alice");
        options.since = Some(Cursor::at(0));
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        let driving = smol::spawn(driver.run());
        let mut heard = 0;
        while heard < MANY {
            let event = events.recv().await.expect("an event");
            if matches!(event, Event::Line(line) if matches!(line.line().body, Body::Entry { .. })) {
                heard += 1;
                client.ask(Command::Ping { label: None }).await.expect("an answer");
            }
        }
        client.finish();
        driving.await;
    });
}

#[test]
fn answers_stand_among_the_events_where_they_came() {
    let daemon = Daemon::with(UNLIMITED);
    in_time(async {
        let (client, events, driver) = Client::connect(options(&daemon, "alice")).await.expect("a daemon");
        let driving = smol::spawn(driver.run());
        let told: Vec<_> =
            (0..100).map(|n| client.tell(say(&format!("{n}"))).expect("there is room")).collect();
        let (mut own, mut answered) = (Vec::new(), Vec::new());
        while answered.len() < told.len() {
            match events.recv().await.expect("an event") {
                Event::Line(line) if matches!(line.line().body, Body::Entry { kind: EntryKind::Msg, .. }) => {
                    own.push(line.line().id().expect("an id"));
                }
                Event::Answered { ticket, answer } => {
                    let id = answer.expect("it was said").id().expect("an id");
                    assert!(own.contains(&id), "its own event comes before the answer");
                    assert_eq!(ticket, told[answered.len()], "in order");
                    answered.push(id);
                }
                _ => {}
            }
        }
        assert_eq!(own, answered);
        client.finish();
        driving.await;
    });
}
