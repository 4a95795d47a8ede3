//! Ids of people: who is meant, whatever the name.

use super::tests::{Person, World};
use super::*;

/// Returns the value of a tag on the first line that has it.
fn tag(heard: &str, name: &str) -> String {
    let tag = heard.lines().find_map(|line| Line::parse(line).ok()?.tags.get(name));
    tag.unwrap_or_else(|| panic!("no {name} in {heard}")).into_owned()
}

fn id_of(world: &mut World, asks: &mut Person, nick: &str) -> String {
    tag(&world.ask(asks, &format!("WHO {nick}")), "who")
}

/// Alice, and the ids of two guests who were called bob one after the other and each wrote her; the second is here.
fn two_bobs(world: &mut World) -> (Person, Person, [String; 2]) {
    let mut alice = world.enter("alice");
    let mut first = world.enter("bob");
    world.say(&mut first, "PRIV alice from the first");
    let one = id_of(world, &mut alice, "bob");
    world.leave(first, Ending::Closed);
    let mut second = world.enter("bob");
    world.say(&mut second, "PRIV alice from the second");
    let two = id_of(world, &mut alice, "bob");
    assert_ne!(one, two);
    alice.heard();
    second.heard();
    (alice, second, [one, two])
}

#[test]
fn two_who_had_one_name_are_two_conversations_that_can_both_be_read() {
    let mut world = World::new();
    let (mut alice, _second, [one, two]) = two_bobs(&mut world);
    let inbox = world.ask(&mut alice, "INBOX");
    for who in [&one, &two] {
        assert!(
            inbox.contains(&format!("@who={who};protection=readable CONVERSATION bob ")),
            "{who}: {inbox}"
        );
    }
    for (who, says, not) in [(&one, "from the first", "second"), (&two, "from the second", "first")] {
        let page = world.ask(&mut alice, &format!("@who={who} HISTORY bob LATEST"));
        assert!(page.contains(says) && !page.contains(not), "{who}: {page}");
        assert!(page.contains(&format!("who={who}")) && page.contains("OK HISTORY bob end"), "{page}");
        let found = world.ask(&mut alice, &format!("@who={who} SEARCH bob from"));
        assert!(found.contains(says) && !found.contains(not), "{who}: {found}");
        assert_eq!(found.matches(" PRIV ").count(), 1, "{found}");
        let id = tag(&page, "id");
        assert!(
            world
                .ask(&mut alice, &format!("@who={who} READ bob {id}"))
                .ends_with("OK READ bob {id}\n".replace("{id}", &id).as_str())
        );
    }
    let inbox = world.ask(&mut alice, "INBOX");
    assert_eq!(inbox.matches(" CONVERSATION bob ").count(), 2, "{inbox}");
    assert_eq!(inbox.matches(" 0 0\n").count(), 2 + 1, "both are read, and the lobby is empty: {inbox}");
    // The name alone is who has it now.
    let page = world.ask(&mut alice, "HISTORY bob LATEST");
    assert!(page.contains("from the second") && !page.contains("from the first"), "{page}");
}

#[test]
fn what_is_said_to_an_id_reaches_that_person_under_any_name() {
    let mut world = World::new();
    let (mut alice, mut second, [one, two]) = two_bobs(&mut world);
    // An entry is of the first's conversation for one who names that, and never of the second's.
    let edited = world.ask(&mut alice, &format!("@who={one} REACT bob 2 +1"));
    assert!(edited.starts_with("ERR REACT no-such-entry"), "{edited}");
    assert!(world.ask(&mut alice, &format!("@who={one} REACT bob 1 +1")).ends_with("OK REACT bob\n"));
    assert_eq!(second.heard(), "", "he is somebody else");
    // The first was heard by the log and may come back with his token: it reaches him then.
    let said = world.ask(&mut alice, &format!("@who={one} PRIV bob are you there?"));
    assert!(said.contains(&format!("who={one};own :alice PRIV bob are you there?")), "{said}");
    assert_eq!(second.heard(), "");
    // Another name makes no difference.
    world.say(&mut second, "NICK robert");
    second.heard();
    alice.heard();
    let said = world.ask(&mut alice, &format!("@who={two} PRIV bob hello"));
    assert!(said.ends_with("OK PRIV robert\n"), "{said}");
    let heard = second.heard();
    let own = id_of(&mut world, &mut second, "alice");
    assert!(heard.contains(&format!("who={own} :alice PRIV robert hello")), "{heard}");
    assert!(world.ask(&mut alice, &format!("@who={two} TYPING bob on")).contains("OK TYPING robert"));
    assert_eq!(second.heard(), ":alice TYPING robert on\n");
    // Both sessions of a conversation see whose it is, also in markers.
    let mut other = world.connect(Origin::Unix(7));
    world.say(&mut other, "NICK dora");
    world.say(&mut other, "PRIV alice hi");
    let dora = tag(&alice.heard(), "who");
    let id = tag(&world.ask(&mut alice, "HISTORY dora LATEST"), "id");
    other.heard();
    world.say(&mut alice, &format!("@receipt READ dora {id}"));
    let heard = other.heard();
    assert!(heard.contains(&format!("@who={own} :alice READ dora {id}")), "{heard}");
    assert_ne!(dora, own);
}

#[test]
fn a_wrong_id_is_nobody() {
    let mut world = World::new();
    let (mut alice, _second, _) = two_bobs(&mut world);
    let mut carol = world.enter("carol");
    let mut dave = world.enter("dave");
    world.say(&mut carol, "PRIV dave between us");
    let (carols, daves) = (id_of(&mut world, &mut alice, "carol"), id_of(&mut world, &mut alice, "dave"));
    let nobody = "0123456789abcdef";
    for who in [&*carols, &*daves, nobody] {
        for line in ["HISTORY bob LATEST", "SEARCH bob us", "READ bob 1", "EDIT bob 1 x", "REACT bob 1"] {
            let heard = world.ask(&mut alice, &format!("@who={who} {line}"));
            assert!(heard.contains("no-such-"), "{line}: {heard}");
        }
    }
    for line in ["PRIV bob hi", "TYPING bob on", "WHO bob"] {
        let heard = world.ask(&mut alice, &format!("@who={nobody} {line}"));
        assert!(heard.contains("no-such-nick"), "{line}: {heard}");
    }
    for who in ["", "bob", "0123456789ABCDEF", "0123456789abcdef0"] {
        let heard = world.ask(&mut alice, &format!("@who={who} HISTORY bob LATEST"));
        assert!(heard.starts_with("ERR HISTORY bad-tag"), "{who}: {heard}");
    }
    // A room is a room.
    assert!(
        world.ask(&mut alice, &format!("@who={nobody} HISTORY #lobby LATEST")).contains("OK HISTORY #lobby")
    );
    dave.heard();
}

#[test]
fn the_id_of_an_account_holds_from_guest_to_account_and_over_sessions() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    let mut carol = world.enter("carol");
    let before = id_of(&mut world, &mut alice, "carol");
    let registered = world.ask(&mut carol, "REGISTER carol correct horse battery");
    assert_eq!(tag(&registered, "who"), before, "{registered}");
    world.leave(carol, Ending::Closed);
    let mut carol = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let came = world.ask(&mut carol, "AUTH PASSWORD carol correct horse battery");
    assert_eq!(tag(&came, "who"), before, "{came}");
    let joined = alice.heard();
    assert!(joined.contains(&format!("who={before};account :carol JOIN #lobby")), "{joined}");
    // What an account says has the tag, then and later.
    world.say(&mut carol, "@title=x MSG #lobby hi");
    world.say(&mut alice, "MSG #lobby ho");
    alice.heard();
    let page = world.ask(&mut alice, "HISTORY #lobby LATEST");
    assert!(page.contains(";account;title=x :carol MSG #lobby hi"), "{page}");
    assert_eq!(page.matches("account").count(), 1, "{page}");
    world.say(&mut carol, "DELETE #lobby 1");
    let page = world.ask(&mut alice, "HISTORY #lobby LATEST");
    assert!(page.contains(";account :carol MSG #lobby\n") && !page.contains("title"), "{page}");
}

#[test]
fn one_s_own_event_has_the_label_of_its_command_for_the_session_that_said_it() {
    let mut world = World::new();
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    let mut second = world.connect(Origin::Unix(1));
    world.say(&mut second, "NICK alice");
    let mut bob = world.enter("bob");
    for person in [&mut alice, &mut second, &mut bob] {
        person.heard();
    }
    // One after the other, without waiting.
    for line in [
        "@ref=a\\sb;key=k MSG #lobby one",
        "MSG #lobby two",
        "@ref=3 PRIV bob three",
        "@ref=4 REACT #lobby 1 +1",
    ] {
        assert_eq!(alice.session.line(line, alice.session.peer.in_flight()), DONE);
    }
    world.work();
    let heard = alice.heard();
    let refs = |heard: &str| -> Vec<Option<String>> {
        let events =
            heard.lines().filter_map(|line| Line::parse(line).ok().filter(|line| line.source.is_some()));
        events.map(|line| line.tags.get("ref").map(Cow::into_owned)).collect()
    };
    let labels = [Some("a b"), None, Some("3"), Some("4")].map(|label| label.map(str::to_owned));
    assert_eq!(refs(&heard), labels, "{heard}");
    assert!(heard.contains("key=k"), "{heard}");
    for others in [&mut second, &mut bob] {
        let heard = others.heard();
        assert!(!refs(&heard).is_empty() && !heard.contains("ref="), "{heard}");
    }
    // Also where one does not hear the room.
    let mut quiet = world.connect(Origin::Unix(2));
    world.say(&mut quiet, "@quiet NICK cron");
    quiet.heard();
    let heard = world.ask(&mut quiet, "@ref=9 MSG #lobby done");
    assert_eq!(refs(&heard), [Some("9".to_owned())], "{heard}");
}
