//! The example of the client library keeps a sidebar right, whatever happens to its connection.

#[path = "../client/examples/sidebar.rs"]
#[allow(missing_docs, reason = "it is an example")]
mod example;

use std::sync::Arc;
use std::time::Duration;

use example::Sidebar;
use futures_lite::FutureExt;
use snug_client::{Client, Events, Login, Name, OneLogin, Options};
use snug_protocol::Presence;

use crate::harness::{Daemon, PATIENCE, Raw};

const SETTINGS: &str = "[limits]\nrate = 0\n";

/// Says a line and waits for its OK.
fn ask(person: &mut Raw, line: &str) {
    person.say(line);
    let verb = line.split(' ').find(|word| !word.starts_with('@')).expect("a verb");
    person.wait_for(&format!("OK {verb}"));
}

/// Takes events until the sidebar is as it should be.
fn until(sidebar: &mut Sidebar, (client, events): (&Client, &Events), is_right: impl Fn(&Sidebar) -> bool) {
    let right = async {
        while !is_right(sidebar) {
            let event = events.recv().await.expect("an event");
            sidebar.take(client, event);
        }
        true
    };
    let overdue = async {
        smol::Timer::after(PATIENCE).await;
        false
    };
    let is_right = smol::block_on(right.or(overdue));
    assert!(is_right, "{sidebar:?}");
}

/// What is unread, and how much of it mentions one.
fn row(sidebar: &Sidebar, name: &str) -> Option<(u64, u64)> {
    sidebar.unread.get(name).copied()
}

#[test]
fn a_sidebar_stays_right_through_all_that_happens() {
    let daemon = Daemon::with(SETTINGS);
    let mut bob = Raw::enter(&daemon, "bob");
    ["#one", "#two", "#three", "#board"].iter().for_each(|room| ask(&mut bob, &format!("JOIN {room}")));
    ask(&mut bob, "SET #board access invite");
    let mut second = Raw::enter(&daemon, "alice");
    ask(&mut second, "REGISTER alice correct horse battery");
    ["#one", "#two", "#three"].iter().for_each(|room| ask(&mut second, &format!("JOIN {room}")));
    ask(&mut second, "PRIV bob hello");
    drop(second);
    bob.wait_for(":alice QUIT");
    // While she is away: something new, and an invitation.
    ask(&mut bob, "MSG #one hi alice");
    ask(&mut bob, "INVITE #board alice");

    let mut options =
        Options::new([daemon.pinned().parse().expect("an address")], Name::exactly("alice").expect("a nick"));
    options.longest_wait = Duration::from_millis(200);
    let (account, password) = ("alice".to_owned(), "correct horse battery".to_owned());
    options.accounts = Arc::new(OneLogin(Login::Password { account, password: password.into() }));
    let (client, events, driver) = Client::start(options);
    let driving = smol::spawn(driver.run());
    let mut sidebar = Sidebar::default();
    let hers = (&client, &events);
    // She comes into her rooms, with what is unread, and is invited.
    until(&mut sidebar, hers, |it| {
        row(it, "#one") == Some((1, 1)) && row(it, "#two") == Some((0, 0)) && row(it, "bob") == Some((0, 0))
    });
    until(&mut sidebar, hers, |it| it.invitations.contains("#board") && row(it, "#board").is_none());
    until(&mut sidebar, hers, |it| it.present.get("bob") == Some(&Presence::Online));
    // Typing begins and ends; a status is seen.
    ask(&mut bob, "TYPING #one on");
    until(&mut sidebar, hers, |it| it.typing.contains_key("bob"));
    ask(&mut bob, "TYPING #one off");
    ask(&mut bob, "STATUS away lunch");
    until(&mut sidebar, hers, |it| it.typing.is_empty() && it.present.get("bob") == Some(&Presence::Away));
    // A second machine reads.
    let mut second = Raw::connect(&daemon);
    second.say("AUTH PASSWORD alice correct horse battery");
    second.wait_for("OK AUTH");
    second.say("HISTORY #one LATEST 1");
    let newest = second.wait_for(":bob MSG #one");
    let id = newest.split("id=").nth(1).and_then(|rest| rest.split(';').next()).expect("an id").to_owned();
    ask(&mut second, &format!("READ #one {id}"));
    until(&mut sidebar, hers, |it| row(it, "#one") == Some((0, 0)));
    // It accepts the invitation, and leaves a room; both are hers as well.
    ask(&mut second, "JOIN #board");
    ask(&mut second, "LEAVE #three");
    until(&mut sidebar, hers, |it| {
        row(it, "#board").is_some() && it.invitations.is_empty() && row(it, "#three").is_none()
    });
    // A rename: the other one keeps the conversation.
    ask(&mut bob, "NICK robert");
    ask(&mut bob, "PRIV alice it is still me");
    until(&mut sidebar, hers, |it| {
        row(it, "robert") == Some((1, 0)) && row(it, "bob").is_none() && it.present.contains_key("robert")
    });
    // The daemon is killed, and she is put out of a room before her client is back.
    drop((second, bob));
    let daemon = daemon.kill_and_restart(SETTINGS);
    until(&mut sidebar, hers, |it| !it.present.contains_key("robert") && row(it, "#two").is_some());
    let mut operator = daemon.snug();
    operator.env("SNUG_SERVER", format!("unix:{}", daemon.socket.display()));
    operator.args(["room", "ban", "#two", "alice"]);
    assert!(operator.output().expect("snug runs").status.success());
    until(&mut sidebar, hers, |it| row(it, "#two").is_none() && row(it, "#one") == Some((0, 0)));
    let mut carol = Raw::enter(&daemon, "carol");
    ask(&mut carol, "JOIN #one");
    ask(&mut carol, "MSG #two you do not hear this, alice");
    ask(&mut carol, "MSG #one and this you do, alice");
    until(&mut sidebar, hers, |it| row(it, "#one") == Some((1, 1)) && it.present.contains_key("carol"));
    assert_eq!(row(&sidebar, "#two"), None);
    client.finish();
    smol::block_on(driving);
}
