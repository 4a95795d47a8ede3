//! The client library with a real daemon: what a program that shows a chat stands on.

use std::time::Duration;

use futures_lite::FutureExt;
use snug_client::{Client, Event, Name, Options};
use snug_protocol::{Body, Command, Cursor, Entrance, EntryKind, MessageTags, RoomName};

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

/// Waits for an event.
async fn wait_for(events: &snug_client::Events, mut is_it: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = events.recv().await.expect("it comes");
        if is_it(&event) {
            return event;
        }
    }
}

/// Whether somebody is in a room.
fn is_in(asker: &mut Raw, room: &str, nick: &str) -> bool {
    asker.say(&format!("WHO {room}"));
    let mut is_there = false;
    loop {
        let line = asker.hear();
        is_there |= line.contains(&format!("USER {nick} "));
        if line.contains("OK WHO") || line.contains("ERR WHO") {
            return is_there;
        }
    }
}

fn join(room: &str) -> Command<'_> {
    Command::Join { room: RoomName::parse(room).expect("a room") }
}

#[test]
fn after_a_restart_a_client_is_who_and_where_it_was() {
    let daemon = Daemon::with(UNLIMITED);
    let (client, events, driver) = in_time(Client::connect(options(&daemon, "alice"))).expect("a daemon");
    let driving = smol::spawn(driver.run());
    in_time(async {
        client.ask(join("#ops")).await.expect("a room");
        client.ask(join("#gone")).await.expect("a room");
        client
            .ask(Command::Leave { room: RoomName::parse("#gone").expect("a room"), text: None })
            .await
            .expect("left");
        client.ask(Command::Leave { room: RoomName::LOBBY, text: None }).await.expect("left");
        let nick = snug_protocol::Nick::parse("alicia").expect("a nick");
        client.ask(Command::Nick { nick, token: None, entrance: Entrance::default() }).await.expect("a name");
        let away = Command::Status { presence: snug_protocol::Presence::Away, text: Some("lunch".into()) };
        client.ask(away).await.expect("a status");
        client.ask(say("before")).await.expect("said");
    });
    let daemon = daemon.kill_and_restart(UNLIMITED);
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
        client.ask(Command::Ping { label: None }).await.expect("an answer");
    });
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("WHO #ops");
    let row = bob.wait_for("USER ");
    assert!(row.contains("text=lunch") && row.contains("USER alicia away"), "{row}");
    assert!(!is_in(&mut bob, "#lobby", "alicia") && !is_in(&mut bob, "#gone", "alicia"));
    client.finish();
    in_time(driving);
}

#[test]
fn a_room_that_refuses_is_an_event_and_who_is_put_out_stays_out() {
    let daemon = Daemon::with(UNLIMITED);
    let mut root = Raw::enter(&daemon, "owner");
    for room in ["#one", "#two", "#three"] {
        root.say(&format!("JOIN {room}"));
        root.wait_for("OK JOIN");
        root.say(&format!("MSG {room} mine"));
        root.wait_for("OK MSG");
    }
    let mut options = options(&daemon, "alice");
    options.rooms = ["#one", "#two", "#three"].map(|room| RoomName::parse(room).expect("a room")).to_vec();
    let (client, events, driver) = in_time(Client::connect(options.clone())).expect("a daemon");
    let driving = smol::spawn(driver.run());
    in_time(client.ask(say("here"))).expect("said");
    // While she is away; a guest's ban holds for whoever shows the token.
    let daemon = daemon.restart_after(UNLIMITED, |_| {});
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
    });
    let mut operator = daemon.snug();
    operator.env("SNUG_SERVER", format!("unix:{}", daemon.socket.display()));
    operator.args(["room", "ban", "#two", "alice"]);
    assert!(operator.output().expect("snug runs").status.success());
    in_time(wait_for(
        &events,
        |event| matches!(event, Event::Line(line) if line.as_str().contains("BAN #two alice")),
    ));
    let daemon = daemon.restart(UNLIMITED);
    in_time(wait_for(&events, |event| matches!(event, Event::Live { .. })));
    let mut bob = Raw::enter(&daemon, "bob");
    for (room, there) in [("#one", true), ("#two", false), ("#three", true)] {
        assert_eq!(is_in(&mut bob, room, "alice"), there, "{room}");
    }
    // One of the first rooms that refuses is an event, if the program wants that.
    let mut more = options.clone();
    more.name = Name::exactly("carol").expect("a nick");
    more.rooms = vec![RoomName::parse("#closed").expect("a room"), RoomName::parse("#one").expect("a room")];
    bob.say("JOIN #closed");
    bob.wait_for("OK JOIN");
    bob.say("SET #closed access invite");
    bob.wait_for("OK SET");
    assert!(in_time(Client::connect(more.clone())).is_err());
    more.needs_rooms = false;
    let (carol, heard, other) = in_time(Client::connect(more)).expect("a daemon");
    let other = smol::spawn(other.run());
    in_time(wait_for(
        &heard,
        |event| matches!(event, Event::RoomRefused { room, code, .. } if room == "#closed" && code == "denied"),
    ));
    carol.finish();
    in_time(other);
    // Who is kicked does not come back by itself.
    let mut operator = daemon.snug();
    operator.env("SNUG_SERVER", format!("unix:{}", daemon.socket.display()));
    operator.args(["admin", "kick", "alice"]);
    let kicked = operator.output().expect("snug runs");
    assert!(kicked.status.success(), "{}", String::from_utf8_lossy(&kicked.stderr));
    in_time(wait_for(&events, |event| matches!(event, Event::GaveUp { .. })));
    in_time(driving);
    drop(client);
}
