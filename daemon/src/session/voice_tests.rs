//! Who may not speak does not speak, in any verb; and what mutes, bans and passwords of others do to an account.

use super::tests::{Person, World};
use super::*;

const PASSWORD: &str = "Pa55word of a test";

/// Every line with a text of one's own, each with the same word in it. EDIT and REACT are about entry 1.
const SPEECH: [&str; 9] = [
    "MSG #room shibboleth",
    "TOPIC #room shibboleth",
    "EDIT #room 1 shibboleth",
    "REACT #room 1 shibboleth",
    "STATUS away shibboleth",
    "TYPING #room on",
    "NICK shibboleth",
    "LEAVE #room shibboleth",
    "QUIT shibboleth",
];

/// What the others hear of somebody who says all of this, and is silenced by these lines of the room's owner or, with
/// `OP` in front, of an operator.
fn heard_of_silenced(orders: &[&str]) -> Vec<String> {
    let mut world = World::new();
    let (mut owner, mut operator) = (world.enter("owner"), world.operator());
    world.say(&mut owner, "JOIN #room");
    let (mut bob, mut other) = (world.enter("bob"), world.enter("other"));
    for person in [&mut bob, &mut other] {
        world.say(person, "JOIN #room");
    }
    world.say(&mut bob, "MSG #room before");
    for order in orders {
        let heard = match order.strip_prefix("OP ") {
            Some(order) => world.ask(&mut operator, order),
            None => world.ask(&mut owner, order),
        };
        assert!(
            heard.lines().any(|line| line.starts_with("OK ") || line.contains(" OK ")),
            "{order}: {heard}"
        );
    }
    if orders.iter().any(|order| order.contains("slow")) {
        world.say(&mut bob, "MSG #room once an hour");
    }
    // Only what the room hears counts here.
    world.say(&mut other, "LEAVE #lobby");
    other.heard();
    for line in SPEECH {
        let step = bob.session.line(line, bob.session.peer.in_flight());
        assert_ne!(step, Step::Hold, "{line}");
        world.work();
    }
    let ending = Ending::Quit(Some("shibboleth".to_owned()));
    bob.session.finish(&ending);
    world.work();
    let heard = other.heard();
    // His new name is no text of his later lines.
    let heard = heard.replace(":shibboleth ", ":bob ");
    heard
        .lines()
        .filter(|line| line.contains("shibboleth") || line.contains("TYPING"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn who_may_not_speak_speaks_in_no_verb() {
    let free = heard_of_silenced(&[]);
    for word in ["MSG", "TOPIC", "EDIT", "REACT", "STATUS", "TYPING", "NICK", "LEAVE"] {
        assert!(free.iter().any(|line| line.contains(&format!(" {word} "))), "{word} in {free:?}");
    }
    let none: [String; 0] = [];
    assert_eq!(heard_of_silenced(&["MUTE #room bob 1h"]), none, "muted in the room");
    assert_eq!(heard_of_silenced(&["OP MUTE * bob 1h"]), none, "muted on the server");
    // Where few may speak, the others still have a name.
    let renamed = |heard: Vec<String>| heard.iter().all(|line| line.ends_with(":bob NICK shibboleth"));
    assert!(renamed(heard_of_silenced(&["SET #room send moderators"])), "an audience");
    assert!(renamed(heard_of_silenced(&["SET #room slow 1h"])), "a slow room");
}

#[test]
fn a_slow_room_counts_every_kind_of_word() {
    for line in ["MSG #room x", "TOPIC #room x", "EDIT #room 1 x", "REACT #room 1 x"] {
        let mut world = World::new();
        let (mut owner, mut bob) = (world.enter("owner"), world.enter("bob"));
        world.say(&mut owner, "JOIN #room");
        world.say(&mut bob, "JOIN #room");
        world.say(&mut bob, "MSG #room before");
        world.say(&mut owner, "SET #room slow 1h");
        bob.heard();
        assert!(world.ask(&mut bob, line).contains(" OK "), "{line}");
        for second in ["MSG #room y", "TOPIC #room y", "EDIT #room 1 y", "REACT #room 1 y"] {
            assert!(world.ask(&mut bob, second).contains(" slow-down "), "{line}, then {second}");
        }
    }
}

#[test]
fn where_one_may_not_speak_an_emoji_is_no_word() {
    let mut world = World::new();
    let (mut owner, mut bob) = (world.enter("owner"), world.enter("bob"));
    world.say(&mut owner, "JOIN #news");
    world.say(&mut bob, "JOIN #news");
    world.say(&mut owner, "MSG #news version 2 is out");
    world.say(&mut owner, "SET #news send moderators");
    bob.heard();
    assert!(world.ask(&mut bob, "REACT #news 1 \u{1f389}").contains(" OK REACT #news"));
    assert!(world.ask(&mut bob, "REACT #news 1 +1").contains(" OK REACT #news"));
    assert!(world.ask(&mut bob, "REACT #news 1 badly").contains("ERR REACT denied"));
}

#[test]
fn a_large_room_is_not_told_who_types() {
    let mut world = World::with("[limits]\nannounce_members = 2\n");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    assert_eq!(world.ask(&mut bob, "TYPING #lobby on"), "OK TYPING #lobby\n");
    assert_eq!(alice.heard(), ":bob TYPING #lobby on\n");
    let _carol = world.enter("carol");
    alice.heard();
    assert_eq!(world.ask(&mut bob, "TYPING #lobby on"), "OK TYPING #lobby\n");
    assert_eq!(alice.heard(), "");
}

fn log_in(world: &mut World, name: &str) -> (Person, String) {
    let mut person = world.from([127, 0, 0, 1]);
    let heard = world.ask(&mut person, &format!("AUTH PASSWORD {name} {PASSWORD}"));
    (person, heard)
}

#[test]
fn deleting_an_account_sheds_no_mute_and_no_ban() {
    let mut world = World::new();
    let (mut owner, mut operator) = (world.enter("owner"), world.operator());
    world.say(&mut owner, "JOIN #room");
    world.say(&mut owner, "JOIN #other");
    for (order, place) in
        [("MUTE * bob 30d", "#room"), ("MUTE #room bob 30d", "#room"), ("BAN #room bob", "#room")]
    {
        let mut bob = world.member("bob");
        world.say(&mut bob, "JOIN #room");
        let heard = match order.contains('*') {
            true => world.ask(&mut operator, order),
            false => world.ask(&mut owner, order),
        };
        assert!(heard.contains("OK "), "{heard}");
        world.say(&mut bob, "UNREGISTER bob");
        world.leave(bob, Ending::Closed);
        // As a guest of that name, and with an account of that name again.
        let mut guest = world.enter("bob");
        world.say(&mut guest, "JOIN #room");
        let heard = world.ask(&mut guest, &format!("MSG {place} hello"));
        assert!(heard.contains("ERR MSG muted") || heard.contains("ERR MSG banned"), "{order}: {heard}");
        world.leave(guest, Ending::Closed);
        let mut again = world.member("bob");
        let heard = world.ask(&mut again, &format!("MSG {place} hello"));
        assert!(heard.contains("ERR MSG muted") || heard.contains("ERR MSG banned"), "{order}: {heard}");
        // It can be taken back, by that name.
        let lift = order.replace("30d", "off").replace("BAN", "UNBAN");
        let heard = match order.contains('*') {
            true => world.ask(&mut operator, &lift),
            false => world.ask(&mut owner, &lift),
        };
        assert!(heard.contains("OK "), "{lift}: {heard}");
        assert!(world.ask(&mut again, "MSG #room hello").contains("OK MSG #room"), "{lift}");
        world.say(&mut again, "UNREGISTER bob");
        world.leave(again, Ending::Closed);
    }
    // A ban from the server too.
    let bob = world.member("bob");
    assert!(world.ask(&mut operator, "BAN * bob").contains("OK BAN"));
    world.leave(bob, Ending::Closed);
    assert!(world.ask(&mut operator, "UNREGISTER bob").contains("OK UNREGISTER"));
    let mut guest = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut guest, "NICK bob");
    assert!(heard.contains(" banned "), "{heard} {:?}", world.core.bans());
    world.leave(guest, Ending::Closed);
    let mut guest = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut guest, "NICK bobby").contains("OK NICK bobby"), "it is the name's");
}

#[test]
fn a_password_that_an_operator_sets_is_told_to_its_owner() {
    let mut world = World::new();
    let (mut operator, mut bob) = (world.operator(), world.member("bob"));
    assert!(
        world.ask(&mut operator, &format!("@account=bob PASSWORD {PASSWORD}")).contains("OK PASSWORD bob")
    );
    let heard = bob.heard();
    assert!(heard.contains("ERR - kicked root, an operator, has set another password"), "{heard}");
    world.leave(bob, Ending::Closed);
    // Every login says so, until the account sets one itself.
    for _ in 0..2 {
        let (bob, heard) = log_in(&mut world, "bob");
        assert!(heard.contains(";password-by=root OK AUTH bob"), "{heard}");
        world.leave(bob, Ending::Closed);
    }
    let (mut bob, _) = log_in(&mut world, "bob");
    let old = PASSWORD.replace(' ', "\\s");
    assert!(world.ask(&mut bob, &format!("@old={old} PASSWORD {PASSWORD}")).contains("OK PASSWORD bob"));
    let (_, heard) = log_in(&mut world, "bob");
    assert!(heard.contains(" OK AUTH bob") && !heard.contains("password-by"), "{heard}");
}
