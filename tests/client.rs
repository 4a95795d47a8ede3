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
    // More of them by hand: SNUG_EVENTS=100000 takes half a minute.
    let many = std::env::var("SNUG_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(6_000);
    let daemon = Daemon::with(&format!("{UNLIMITED}account_rate = 0\naddress_rate = 0\nroom_rate = 0\n"));
    let mut bob = Raw::enter(&daemon, "bob");
    for _ in 0..many / 500 {
        bob.send("MSG #lobby more than anybody reads\n".repeat(500).as_bytes());
        (0..500).for_each(|_| drop(bob.wait_for("OK MSG")));
    }
    in_time(async {
        let mut options = options(&daemon, "alice");
        options.since = Some(Cursor::at(0));
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        let driving = smol::spawn(driver.run());
        let mut heard = 0;
        while heard < many {
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

#[test]
fn the_first_connection_is_tried_like_every_other() {
    let daemon = Daemon::with(UNLIMITED);
    let mut options = options(&daemon, "alice");
    options.longest_wait = Duration::from_secs(3_600);
    let (client, events, driver) = Client::start(options);
    let (mut driving, mut asked) = (None, None);
    let daemon = daemon.restart_after(UNLIMITED, |_| {
        driving = Some(smol::spawn(driver.run()));
        // What is asked for meanwhile waits.
        asked = client.tell(say("first")).ok();
        in_time(async {
            wait_for(&events, |event| matches!(event, Event::Connecting)).await;
            // The waits grow until nobody would wait for them; a person need not.
            loop {
                match wait_for(&events, |event| matches!(event, Event::Waiting { .. })).await {
                    Event::Waiting { until, error: Some(error) } => {
                        assert!(matches!(*error, snug_client::ConnectError::NoServer { .. }), "{error}");
                        if until > std::time::Instant::now() + Duration::from_secs(60) {
                            break;
                        }
                    }
                    other => panic!("{other:?}"),
                }
                client.retry_now();
            }
        });
    });
    client.retry_now();
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Connected { .. })).await;
        let is_answer = |event: &Event| matches!(event, Event::Answered { ticket, answer: Ok(_) } if Some(*ticket) == asked);
        wait_for(&events, is_answer).await;
    });
    let counters = client.counters();
    assert!(counters.sent > 0 && counters.received > 0, "{counters:?}");
    // Its last word is seen by the others.
    let mut bob = Raw::enter(&daemon, "bob");
    client.finish_with("good night");
    in_time(driving.expect("it runs"));
    bob.wait_for(":alice QUIT good night");
}

#[test]
fn a_client_that_is_let_go_of_does_not_go_on_trying() {
    let daemon = Daemon::with(UNLIMITED);
    let mut options = options(&daemon, "alice");
    options.longest_wait = Duration::from_secs(3_600);
    daemon.stop();
    let (client, events, driver) = Client::start(options);
    let driving = smol::spawn(driver.run());
    for _ in 0..12 {
        in_time(wait_for(&events, |event| matches!(event, Event::Waiting { .. })));
        client.retry_now();
    }
    in_time(wait_for(&events, |event| matches!(event, Event::Waiting { .. })));
    client.finish();
    in_time(driving);
}

#[test]
fn several_addresses_are_one_server_and_one_identity() {
    let daemon = Daemon::with(UNLIMITED);
    let mut options = options(&daemon, "alice");
    let gone = Daemon::with(UNLIMITED);
    let nobody = gone.pinned().parse().expect("an address");
    drop(gone);
    // Nobody listens at the first, so the second is taken; later they change places.
    options.addresses.insert(0, nobody);
    let (client, events, driver) = in_time(Client::connect(options)).expect("the second");
    let driving = smol::spawn(driver.run());
    in_time(client.ask(say("one"))).expect("said");
    let daemon = daemon.kill_and_restart(UNLIMITED);
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
        client.ask(say("two")).await.expect("said");
    });
    // One person has said both.
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("PRIV alice hi");
    bob.wait_for("OK PRIV");
    bob.say("INBOX");
    let rows = std::iter::from_fn(|| Some(bob.hear()).filter(|line| !line.contains("OK INBOX")));
    assert_eq!(rows.filter(|row| row.contains("CONVERSATION alice ")).count(), 1);
    client.finish();
    in_time(driving);
}

#[test]
fn an_address_that_takes_a_connection_and_says_nothing_is_not_the_last_one_tried() {
    let daemon = Daemon::with(UNLIMITED);
    let mut options = options(&daemon, "alice");
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = mute.local_addr().expect("bound").port();
    let address = format!("snug://127.0.0.1:{port}/#{}", daemon.fingerprint);
    options.addresses.insert(0, address.parse().expect("an address"));
    // So long the first one is waited for, and not the second as well.
    options.patience = Duration::from_secs(2);
    let (client, _events, driver) = in_time(Client::connect(options)).expect("the second");
    let driving = smol::spawn(driver.run());
    in_time(client.ask(say("one"))).expect("said");
    client.finish();
    in_time(driving);
    drop(mute);
}

/// An account everywhere.
struct Everywhere(snug_client::Login);

impl snug_client::Accounts for Everywhere {
    fn find(&self, _: &snug_client::Address, _: &Name) -> std::io::Result<Option<snug_client::Login>> {
        Ok(Some(self.0.clone()))
    }
}

#[test]
fn what_was_asked_of_a_connection_that_never_came_is_answered() {
    let daemon = Daemon::with(UNLIMITED);
    let mut options = options(&daemon, "alice");
    options.accounts =
        std::sync::Arc::new(Everywhere(snug_client::Login::Token("snugt_wrong".to_owned().into())));
    let (client, events, driver) = Client::start(options);
    let asked = client.tell(say("first")).expect("it has room");
    let driving = smol::spawn(driver.run());
    let answered = in_time(wait_for(&events, |event| matches!(event, Event::Answered { .. })));
    let Event::Answered { ticket, answer: Err(snug_client::RequestError::GaveUp(error)) } = answered else {
        panic!("{answered:?}")
    };
    assert_eq!(ticket, asked);
    let is_meant = matches!(&*error, snug_client::ConnectError::Refused { code, .. } if code == "bad-login");
    assert!(is_meant, "{error}");
    in_time(wait_for(&events, |event| matches!(event, Event::GaveUp { .. })));
    in_time(driving);
}

#[test]
fn a_script_with_a_token_is_in_its_rooms_again_after_a_loss() {
    let daemon = Daemon::with(UNLIMITED);
    let mut alice = Raw::connect(&daemon);
    alice.say("REGISTER alice correct horse battery");
    alice.wait_for("OK REGISTER");
    alice.say("TOKEN ADD script");
    let made = alice.wait_for("OK TOKEN script");
    let token = made.trim_end().rsplit(' ').next().expect("a token").to_owned();
    let mut options = options(&daemon, "alice");
    options.accounts = std::sync::Arc::new(Everywhere(snug_client::Login::Token(token.into())));
    options.rooms = vec![RoomName::parse("#ops").expect("a room")];
    let (client, events, driver) = in_time(Client::connect(options)).expect("a daemon");
    let driving = smol::spawn(driver.run());
    let daemon = daemon.kill_and_restart(UNLIMITED);
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
    });
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("JOIN #ops");
    bob.wait_for("OK JOIN");
    bob.say("MSG #ops hello");
    let is_hello =
        |event: &Event| matches!(event, Event::Line(line) if line.as_str().ends_with(":bob MSG #ops hello"));
    in_time(wait_for(&events, is_hello));
    client.finish();
    in_time(driving);
}

/// A store of each kind that is held by somebody else until the program's own thread lets go of it.
struct Held(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Held {
    fn wait(&self) {
        let released = self.0.lock().expect("nobody panics").recv_timeout(PATIENCE);
        assert!(released.is_ok(), "it was waited for on the thread that would have let go of it");
    }
}

impl snug_client::Tokens for Held {
    fn find(&self, _: &snug_client::Address, _: &snug_protocol::Nick<'_>) -> Option<String> {
        self.wait();
        None
    }

    fn keep(&self, _: &snug_client::Address, _: &snug_protocol::Nick<'_>, _: &str) {
        self.wait();
    }
}

impl snug_client::Accounts for Held {
    fn find(&self, _: &snug_client::Address, _: &Name) -> std::io::Result<Option<snug_client::Login>> {
        self.wait();
        Ok(None)
    }
}

impl snug_client::KnownServers for Held {
    fn find(&self, _: &str) -> std::io::Result<Option<snug_protocol::envelope::Fingerprint>> {
        self.wait();
        Ok(None)
    }

    fn remember(&self, _: &str, _: snug_protocol::envelope::Fingerprint) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_file_is_waited_for_on_the_caller_s_thread() {
    use std::sync::{Arc, Mutex, mpsc};
    let daemon = Daemon::with(UNLIMITED);
    let held = || {
        let (release, waits) = mpsc::channel();
        (release, Arc::new(Held(Mutex::new(waits))))
    };
    let ((tokens, kept), (accounts, found), (known, remembered)) = (held(), held(), held());
    let mut options = options(&daemon, "alice");
    options.tokens = kept;
    options.accounts = found;
    // This thread drives the client and is the only one that lets go.
    in_time(async {
        let connecting = Client::connect(options.clone());
        let letting_go = async {
            for release in [&accounts, &tokens, &tokens] {
                smol::future::yield_now().await;
                release.send(()).expect("it waits");
            }
        };
        let (connected, ()) = futures_lite::future::zip(connecting, letting_go).await;
        let (client, events, driver) = connected.expect("a daemon");
        drop((client, events));
        driver.run().await;
        // A server that is not pinned is looked up.
        let bare = daemon.pinned().split('#').next().expect("an address").to_owned();
        options.addresses = vec![bare.parse().expect("an address")];
        options.trust.known = remembered;
        let connecting = Client::connect(options);
        let letting_go = async {
            smol::future::yield_now().await;
            accounts.send(()).expect("it waits");
            known.send(()).expect("it waits");
        };
        let (connected, ()) = futures_lite::future::zip(connecting, letting_go).await;
        assert!(matches!(connected.err(), Some(snug_client::ConnectError::Unknown { .. })));
    });
}

#[test]
fn what_was_missed_is_fetched_up_to_a_limit_and_with_progress() {
    let daemon = Daemon::with(UNLIMITED);
    let mut bob = Raw::enter(&daemon, "bob");
    for _ in 0..3 {
        bob.send("MSG #lobby missed\n".repeat(500).as_bytes());
        (0..500).for_each(|_| drop(bob.wait_for("OK MSG")));
    }
    let mut options = options(&daemon, "alice");
    options.since = Some(Cursor::at(100));
    in_time(async {
        let (client, events, driver) = Client::connect(options.clone()).await.expect("a daemon");
        let driving = smol::spawn(driver.run());
        let (mut entries, mut progress) = (0, Vec::new());
        loop {
            match events.recv().await.expect("an event") {
                Event::Line(line) if line.cursor().is_some() => entries += 1,
                Event::CatchingUp { done, of } => progress.push((done, of)),
                Event::Live { cursor } => break assert_eq!(cursor.id, 1_500),
                _ => {}
            }
        }
        assert_eq!((entries, progress), (1_400, vec![(500, 1_400), (1_000, 1_400)]));
        client.finish();
        driving.await;
        options.catch_up = 1_000;
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        let driving = smol::spawn(driver.run());
        let skipped = wait_for(&events, |event| matches!(event, Event::Skipped { .. })).await;
        assert!(matches!(skipped, Event::Skipped { after, upto } if (after.id, upto.id) == (100, 1_500)));
        let next = wait_for(&events, |event| {
            matches!(event, Event::Live { .. })
                || matches!(event, Event::Line(line) if line.cursor().is_some())
        });
        assert!(matches!(next.await, Event::Live { cursor } if cursor.id == 1_500), "live at once");
        client.ask(say("here")).await.expect("said");
        client.finish();
        driving.await;
    });
}

#[test]
fn a_connection_that_gives_no_sign_of_life_when_it_is_asked_is_made_anew() {
    use snug_client::{Loss, Stream};
    let daemon = Daemon::with(UNLIMITED);
    let path = daemon.socket.clone();
    // The first connection answers nothing but the name; those behind it are the daemon's.
    let opened = std::sync::atomic::AtomicUsize::new(0);
    let open = move || {
        if opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("a pair");
            std::io::Write::write_all(
                &mut far,
                b"SNUG/1 hello\n@log=000000000000000a;last=0 OK NICK alice\n",
            )
            .expect("it is open");
            // It stays open, and says no more.
            std::mem::forget(far);
            return Stream::over(smol::net::unix::UnixStream::from(
                smol::Async::new(near).expect("a stream"),
            ));
        }
        let real = std::os::unix::net::UnixStream::connect(&path).expect("a daemon");
        Stream::over(smol::net::unix::UnixStream::from(smol::Async::new(real).expect("a stream")))
    };
    let mut options = Options::over(open, Name::exactly("alice").expect("a nick"));
    options.patience = Duration::from_millis(200);
    options.ping = Duration::from_secs(3_600);
    options.longest_wait = Duration::from_millis(200);
    let (client, events, driver) = Client::start(options);
    let driving = smol::spawn(driver.run());
    in_time(async {
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
        assert_eq!(client.counters().round_trip, None);
        client.check();
        let lost = wait_for(&events, |event| matches!(event, Event::Disconnected { .. })).await;
        assert!(matches!(lost, Event::Disconnected { loss: Loss::Silent }));
        wait_for(&events, |event| matches!(event, Event::Live { .. })).await;
        client.ask(say("back")).await.expect("said");
        assert!(client.counters().round_trip.is_some(), "it was asked for when it came back");
    });
    client.finish();
    in_time(driving);
}
