//! Presence: WATCH, the rooms of a login and of WHO.

use super::tests::{Person, World, plain, without_who};
use super::*;

fn local(world: &mut World, user: u32, line: &str) -> Person {
    let mut person = world.connect(Origin::Unix(user));
    let heard = world.ask(&mut person, line);
    assert!(heard.contains(" OK NICK "), "{heard}");
    person
}

#[test]
fn who_is_watched_is_seen_without_a_common_room() {
    let mut world = World::new();
    let mut alice = local(&mut world, 1, "@rooms= NICK alice");
    let heard = without_who(&world.ask(&mut alice, "WATCH Bob carol"));
    assert_eq!(heard, "USER Bob offline -\nUSER carol offline -\nOK WATCH 2\n");
    let mut bob = local(&mut world, 2, "@rooms= NICK bob");
    let heard = plain(&alice.heard());
    assert_eq!(heard, ["@time=1970-01-01T00:16:40.000Z :bob STATUS online"], "he has come");
    world.say(&mut bob, "STATUS away lunch");
    assert!(alice.heard().ends_with(" :bob STATUS away lunch\n"));
    // Where both are in a room, nothing comes twice.
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "JOIN #ops");
    alice.heard();
    world.say(&mut bob, "STATUS busy");
    assert_eq!(alice.heard().matches(":bob STATUS busy").count(), 1);
    let heard = world.ask(&mut alice, "WATCH");
    assert!(heard.contains(" USER bob busy ") && heard.contains("USER carol offline -\n"), "{heard}");
    // A second session is no news, and neither is the end of one of two.
    let second = local(&mut world, 2, "NICK bob");
    world.leave(second, Ending::Closed);
    assert!(!alice.heard().contains("STATUS"));
    world.say(&mut bob, "QUIT good night");
    world.leave(bob, Ending::Quit(Some("good night".to_owned())));
    let heard = alice.heard();
    assert_eq!(heard.matches(" :bob QUIT good night\n").count(), 1, "{heard}");
    // Who comes in quietly cannot be seen by WHO, nor by this.
    let mut quiet = local(&mut world, 3, "@quiet NICK carol");
    assert_eq!(alice.heard(), "");
    world.say(&mut quiet, "JOIN #elsewhere");
    assert!(alice.heard().contains(":carol STATUS online\n"));
    assert_eq!(world.ask(&mut alice, "@clear WATCH carol"), "OK WATCH 0\n");
    world.leave(quiet, Ending::Closed);
    assert_eq!(alice.heard(), "");
    assert_eq!(world.ask(&mut alice, "@clear WATCH"), "OK WATCH 0\n");
    assert_eq!(world.ask(&mut alice, "WATCH"), "OK WATCH 0\n");
}

#[test]
fn a_watched_name_is_followed_from_one_person_to_another() {
    let mut world = World::new();
    let mut alice = local(&mut world, 1, "@rooms= NICK alice");
    world.say(&mut alice, "WATCH bob robert");
    let mut bob = local(&mut world, 2, "@rooms= NICK bob");
    alice.heard();
    world.say(&mut bob, "NICK robert");
    assert_eq!(alice.heard().matches(" :bob NICK robert\n").count(), 1, "of both names, once");
    let heard = world.ask(&mut alice, "WATCH");
    assert!(heard.contains("USER bob offline -\n") && heard.contains(" USER robert online "), "{heard}");
    world.say(&mut alice, "@clear WATCH robert");
    let _other = local(&mut world, 3, "@rooms= NICK bob");
    assert!(alice.heard().contains(" :bob STATUS online\n"));
    // It ends with the session, and nobody is told anything then.
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "NICK bobby");
    let mut alice = local(&mut world, 1, "@rooms= NICK alice");
    assert_eq!(world.ask(&mut alice, "WATCH"), "OK WATCH 0\n");
}

#[test]
fn a_hundred_names_are_watched_and_no_more() {
    let mut world = World::new();
    let mut alice = local(&mut world, 1, "@rooms= NICK alice");
    let names =
        |range: std::ops::Range<u32>| range.map(|n| format!("ghost{n}")).collect::<Vec<_>>().join(" ");
    let heard = world.ask(&mut alice, &format!("WATCH {}", names(0..101)));
    assert!(heard.starts_with("ERR WATCH too-many"), "{heard}");
    assert_eq!(world.ask(&mut alice, "WATCH"), "OK WATCH 0\n", "none of them");
    let heard = world.ask(&mut alice, &format!("WATCH {}", names(0..100)));
    assert!(heard.ends_with("OK WATCH 100\n"), "{heard}");
    // The same ones again are no more.
    assert!(world.ask(&mut alice, "WATCH ghost0 GHOST1").ends_with("OK WATCH 2\n"));
    assert!(world.ask(&mut alice, "WATCH alice").starts_with("ERR WATCH too-many"));
    assert_eq!(world.ask(&mut alice, "@clear WATCH ghost7"), "OK WATCH 0\n");
    let heard = world.ask(&mut alice, "WATCH alice");
    assert!(heard.contains(" USER alice online "), "one's own name is one, too: {heard}");
    assert!(world.ask(&mut alice, "WATCH #lobby").starts_with("ERR WATCH bad-nick"));
}

#[test]
fn a_login_says_which_rooms_it_comes_into() {
    let mut world = World::new();
    let mut owner = world.account("owner");
    for line in [
        "JOIN #open",
        "JOIN #closed",
        "SET #closed access invite",
        "JOIN #guests-out",
        "SET #guests-out join accounts",
    ] {
        world.say(&mut owner, line);
    }
    // In no room, and visible nevertheless.
    let mut bob = local(&mut world, 2, "@rooms= NICK bob");
    let heard = world.ask(&mut owner, "WHO bob");
    assert!(heard.contains(";rooms= USER bob online"), "{heard}");
    assert!(!world.ask(&mut owner, "WHO #lobby").contains("USER bob"));
    assert!(
        world.ask(&mut owner, "PRIV bob hi").ends_with("OK PRIV bob\n")
            && bob.heard().contains("PRIV bob hi")
    );
    // In these, as far as they are open and there.
    let mut carol = world.enter("someone");
    world.leave(carol, Ending::Closed);
    carol = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut carol, "@rooms=#OPEN,#closed,#guests-out,#nowhere NICK carol");
    assert!(heard.contains(";rooms=#open OK NICK carol"), "{heard}");
    assert!(owner.heard().contains(":carol JOIN #open"));
    assert!(!world.ask(&mut owner, "WHO #lobby").contains("USER carol"));
    // An account comes into its own besides, also private ones, and not into the lobby.
    let mut dora = world.account("dora");
    world.say(&mut owner, "INVITE #closed dora");
    world.say(&mut dora, "LEAVE #lobby");
    world.say(&mut dora, "JOIN #own");
    world.leave(dora, Ending::Closed);
    let mut dora = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut dora, "@rooms=#closed,#guests-out AUTH PASSWORD dora correct horse battery");
    let ok = heard.lines().find(|line| line.contains(" OK AUTH dora")).expect("she is let in");
    let rooms = Line::parse(ok).ok().and_then(|line| line.tags.get("rooms").map(Cow::into_owned));
    let mut rooms: Vec<&str> = rooms.as_deref().expect("rooms").split(',').collect();
    rooms.sort_unstable();
    assert_eq!(rooms, ["#closed", "#guests-out", "#own"]);
    // They are hers from then on, and an invitation that was followed is none any more.
    assert!(!world.ask(&mut dora, "INBOX").contains("INVITATION"));
    world.leave(dora, Ending::Closed);
    let mut dora = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut dora, "AUTH PASSWORD dora correct horse battery");
    assert!(world.ask(&mut dora, "INBOX").contains("CONVERSATION #closed "));
    // Misuse.
    for line in ["@quiet;rooms=#open NICK erin", "@rooms=open NICK erin"] {
        let mut erin = world.connect(Origin::Unix(9));
        assert!(world.ask(&mut erin, line).starts_with("ERR NICK bad-tag"), "{line}");
    }
}

#[test]
fn who_tells_of_one_person_the_rooms_that_the_asker_may_know() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    for line in
        ["JOIN #open", "JOIN #hidden", "SET #hidden access hidden", "JOIN #board", "SET #board access invite"]
    {
        world.say(&mut alice, line);
    }
    let rooms = |world: &mut World, person: &mut Person| {
        let heard = world.ask(person, "WHO alice");
        let line = heard.lines().find(|line| line.contains(" USER alice")).expect("a row").to_owned();
        Line::parse(&line).expect("a line").tags.get("rooms").expect("rooms").into_owned()
    };
    assert_eq!(rooms(&mut world, &mut alice), "#board,#hidden,#lobby,#open");
    assert_eq!(rooms(&mut world, &mut bob), "#lobby,#open");
    world.say(&mut alice, "INVITE #board bob");
    assert_eq!(rooms(&mut world, &mut bob), "#board,#lobby,#open");
    assert!(!world.ask(&mut bob, "WHO #lobby").contains("rooms="), "only of one person");
}
