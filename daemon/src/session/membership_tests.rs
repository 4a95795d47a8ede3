//! Rooms follow an account: what it is in, it is in after it has been away, and from another machine.

use super::authority_tests::PASSWORD;
use super::tests::{Person, World};
use super::*;

impl World {
    /// Logs in to an account from a fresh connection, and forgets what it is told with that.
    fn log_in(&mut self, name: &str) -> Person {
        let mut person = self.connect(Origin::Tcp([127, 0, 0, 1].into()));
        let heard = self.ask(&mut person, &format!("AUTH PASSWORD {name} {PASSWORD}"));
        assert!(heard.contains(&format!("OK AUTH {name}")), "{heard}");
        person
    }

    /// The rooms that INBOX lists.
    fn rooms_in_inbox(&mut self, person: &mut Person) -> Vec<String> {
        let heard = self.ask(person, "INBOX");
        let rows = heard.lines().filter_map(|line| line.split("CONVERSATION ").nth(1));
        let mut rooms: Vec<String> = rows
            .filter(|row| row.starts_with('#'))
            .map(|row| row.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        rooms.sort();
        rooms
    }
}

#[test]
fn an_account_is_in_its_rooms_again_and_sees_what_is_unread() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for person in [&mut alice, &mut bob] {
        world.say(person, "JOIN #ops");
    }
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "MSG #ops are you there?");
    world.say(&mut bob, "MSG #lobby hello");
    bob.heard();
    let mut alice = world.log_in("alice");
    let heard = bob.heard();
    assert!(heard.contains(":alice JOIN #lobby\n") && heard.contains(":alice JOIN #ops\n"), "{heard}");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#lobby", "#ops"]);
    let inbox = world.ask(&mut alice, "INBOX");
    assert!(inbox.contains("CONVERSATION #ops 1 1 0"), "{inbox}");
    // She hears what is said there, in each of her sessions.
    let mut phone = world.log_in("alice");
    world.say(&mut bob, "MSG #ops welcome back");
    assert!(
        alice.heard().contains("MSG #ops welcome back") && phone.heard().contains("MSG #ops welcome back")
    );
    // A script's session is in nothing.
    let mut script = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut script, &format!("@quiet AUTH PASSWORD alice {PASSWORD}"));
    world.say(&mut bob, "MSG #ops for people");
    assert!(!script.heard().contains("for people"));
}

#[test]
fn leave_kick_ban_and_close_take_an_account_out_also_while_it_is_away() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    for room in ["#left", "#kicked", "#banned", "#closed", "#private", "#stays"] {
        world.say(&mut bob, &format!("JOIN {room}"));
        world.say(&mut bob, &format!("MSG {room} hello"));
        world.say(&mut alice, &format!("JOIN {room}"));
    }
    assert!(world.ask(&mut alice, "LEAVE #left").contains("OK LEAVE #left"));
    assert!(world.ask(&mut alice, "LEAVE #lobby").contains("OK LEAVE #lobby"));
    world.leave(alice, Ending::Closed);
    for line in ["KICK #kicked alice", "BAN #banned alice", "CLOSE #closed", "SET #private access invite"] {
        assert!(world.ask(&mut bob, line).contains("OK "), "{line}");
    }
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#private", "#stays"], "who was in it is a member of it");
    assert!(
        !world.ask(&mut alice, "WHO #lobby").contains("USER alice"),
        "the lobby is joined only the first time"
    );
    // What is taken back while she is away is not hers any more.
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "ROLE #private alice none");
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#stays"]);
    assert!(world.ask(&mut alice, "HISTORY #private LATEST").contains("no-such-room"));
}

#[test]
fn the_rooms_of_a_guest_become_those_of_the_account() {
    let mut world = World::new();
    let mut carl = world.enter("carl");
    world.say(&mut carl, "JOIN #ops");
    world.say(&mut carl, "MSG #ops mine");
    assert!(world.ask(&mut carl, &format!("REGISTER carl {PASSWORD}")).contains("OK REGISTER carl"));
    world.leave(carl, Ending::Closed);
    let mut carl = world.log_in("carl");
    assert_eq!(world.rooms_in_inbox(&mut carl), ["#lobby", "#ops"]);
    // A guest without an account begins anew.
    let mut dora = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut dora, "@token=dora-comes-again-and-again NICK dora");
    world.say(&mut dora, "JOIN #ops");
    world.leave(dora, Ending::Closed);
    let mut dora = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut dora, "@token=dora-comes-again-and-again NICK dora");
    assert_eq!(world.rooms_in_inbox(&mut dora), ["#lobby"]);
}

#[test]
fn in_a_room_for_who_was_there_a_member_was_there_while_away() {
    let mut world = World::new();
    let (mut alice, mut bob, mut guest) = (world.member("alice"), world.member("bob"), world.enter("guest"));
    for person in [&mut bob, &mut alice, &mut guest] {
        world.say(person, "JOIN #ops");
    }
    assert!(world.ask(&mut bob, "SET #ops history joined").contains("OK SET"));
    world.leave(alice, Ending::Closed);
    world.leave(guest, Ending::Closed);
    world.say(&mut bob, "MSG #ops while you were away");
    let mut alice = world.log_in("alice");
    assert!(world.ask(&mut alice, "HISTORY #ops LATEST").contains("while you were away"));
    assert!(world.ask(&mut alice, "SEARCH #ops away").contains("while you were away"));
    // One who has left was not there.
    world.say(&mut alice, "LEAVE #ops");
    world.say(&mut bob, "MSG #ops without you");
    assert!(!world.ask(&mut alice, "HISTORY #ops LATEST").contains("without you"));
    world.say(&mut alice, "JOIN #ops");
    assert!(!world.ask(&mut alice, "HISTORY #ops LATEST").contains("without you"));
    let mut other = world.enter("guest");
    world.say(&mut other, "JOIN #ops");
    assert!(!world.ask(&mut other, "HISTORY #ops LATEST").contains("while you were away"), "a guest was not");
    // It begins for who is away, too.
    world.say(&mut bob, "SET #ops history all");
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "SET #ops history joined");
    world.say(&mut bob, "MSG #ops once more");
    let mut alice = world.log_in("alice");
    assert!(world.ask(&mut alice, "HISTORY #ops LATEST").contains("once more"));
}

#[test]
fn who_is_put_out_while_away_was_not_there_after_that() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    for person in [&mut bob, &mut alice] {
        world.say(person, "JOIN #ops");
    }
    world.say(&mut bob, "SET #ops history joined");
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "MSG #ops with her");
    assert!(world.ask(&mut bob, "KICK #ops alice").contains("OK KICK"));
    world.say(&mut bob, "MSG #ops without her");
    let mut alice = world.log_in("alice");
    let page = world.ask(&mut alice, "HISTORY #ops LATEST");
    assert!(page.contains("with her") && !page.contains("without her"), "{page}");
    assert!(!world.ask(&mut alice, "SEARCH * without").contains("without her"));
    // The same in a private room, from whose list she is taken.
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "SET #ops access invite");
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "ROLE #ops alice none");
    world.say(&mut bob, "MSG #ops among us");
    world.say(&mut bob, "ROLE #ops alice member");
    let mut alice = world.log_in("alice");
    assert!(!world.ask(&mut alice, "HISTORY #ops LATEST").contains("among us"));
}

#[test]
fn a_role_that_is_given_or_taken_changes_nothing_about_being_there() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut bob, "MSG #ops mine");
    world.say(&mut alice, "JOIN #ops");
    for line in ["ROLE #ops alice moderator", "ROLE #ops alice none", "ROLE #ops alice owner"] {
        assert!(world.ask(&mut bob, line).contains("OK ROLE"), "{line}");
    }
    world.leave(alice, Ending::Closed);
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#lobby", "#ops"]);
}

#[test]
fn an_invitation_waits_for_who_was_away() {
    let mut world = World::new();
    let (alice, mut bob) = (world.member("alice"), world.member("bob"));
    world.leave(alice, Ending::Closed);
    for room in ["#plan", "#gone", "#taken"] {
        world.say(&mut bob, &format!("JOIN {room}"));
        world.say(&mut bob, &format!("SET {room} access invite"));
        assert!(world.ask(&mut bob, &format!("INVITE {room} alice")).contains("OK INVITE"));
    }
    world.say(&mut bob, "CLOSE #gone");
    world.say(&mut bob, "KICK #taken alice");
    let mut alice = world.log_in("alice");
    let inbox = world.ask(&mut alice, "INBOX");
    assert!(inbox.contains("INVITATION #plan bob 1970-01-01T00:16:40.000Z\n"), "{inbox}");
    assert!(!inbox.contains("#gone") && !inbox.contains("#taken"), "{inbox}");
    assert!(inbox.ends_with(" OK INBOX 2\n"), "{inbox}");
    assert!(!world.ask(&mut bob, "INBOX").contains("INVITATION"), "it is hers");
    world.say(&mut alice, "JOIN #plan");
    assert!(!world.ask(&mut alice, "INBOX").contains("INVITATION"), "it was followed");
    world.say(&mut alice, "LEAVE #plan");
    assert!(!world.ask(&mut alice, "INBOX").contains("INVITATION"));
}

#[test]
fn a_room_that_one_could_not_come_into_is_not_one_s_own() {
    let mut world = World::with("[limits]\nrooms_per_identity = 2\n");
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for room in ["#one", "#two"] {
        world.say(&mut bob, "LEAVE #lobby");
        world.say(&mut bob, &format!("JOIN {room}"));
        world.say(&mut bob, &format!("MSG {room} hello"));
    }
    assert!(world.ask(&mut alice, "JOIN #one").contains("OK JOIN"));
    assert!(world.ask(&mut alice, "JOIN #two").contains("ERR JOIN too-many"));
    world.say(&mut alice, "LEAVE #lobby");
    world.leave(alice, Ending::Closed);
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#one"]);
}

#[test]
fn what_a_quiet_session_joins_is_not_remembered() {
    let mut world = World::new();
    let (alice, mut bob) = (world.member("alice"), world.enter("bob"));
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "JOIN #ops");
    let mut script = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut script, &format!("@quiet AUTH PASSWORD alice {PASSWORD}"));
    assert!(world.ask(&mut script, "JOIN #ops").contains("OK JOIN #ops"));
    world.say(&mut bob, "MSG #ops hello");
    assert!(script.heard().contains("MSG #ops hello"));
    world.leave(script, Ending::Closed);
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#lobby"]);
}

#[test]
fn a_room_stays_while_an_account_is_in_it() {
    let mut world = World::new();
    let (mut guest, mut alice) = (world.enter("guest"), world.member("alice"));
    world.say(&mut guest, "JOIN #new");
    world.say(&mut alice, "JOIN #new");
    world.leave(guest, Ending::Closed);
    world.leave(alice, Ending::Closed);
    world.work();
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#lobby", "#new"]);
}

#[test]
fn a_cursor_from_before_a_membership_brings_what_one_may_see_and_no_more() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for line in ["JOIN #open", "JOIN #joined", "SET #joined history joined"] {
        world.say(&mut bob, line);
    }
    let before = world.core.delivered.load(std::sync::atomic::Ordering::Relaxed);
    world.say(&mut bob, "MSG #open before");
    world.say(&mut bob, "MSG #joined before");
    world.say(&mut alice, "JOIN #open");
    world.say(&mut alice, "JOIN #joined");
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "MSG #open while away");
    world.say(&mut bob, "MSG #joined while away");
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut alice, &format!("@since={before} AUTH PASSWORD alice {PASSWORD}"));
    let page = world.ask(&mut alice, &format!("SYNC {before}"));
    let said: Vec<&str> = page.lines().filter_map(|line| Some(line.split_once(" MSG ")?.1)).collect();
    assert_eq!(said, ["#open before", "#open while away", "#joined while away"], "{page}");
}

#[test]
fn an_avatar_may_change_often_and_the_last_one_is_told() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    bob.heard();
    let mut hashes = std::collections::BTreeSet::new();
    for number in 0..100u8 {
        world.say(&mut alice, "@bytes=3 PROFILE alice avatar image/png");
        alice.session.bytes(std::borrow::Cow::Owned(vec![number; 3]), true);
        world.work();
        assert!(alice.heard().contains("OK PROFILE alice"), "{number}");
    }
    let heard = bob.heard();
    let hash = |line: &str| Line::parse(line).ok()?.tags.get("avatar").map(|hash| hash.into_owned());
    hashes.extend(heard.lines().filter_map(hash));
    assert_eq!(hashes.len(), 100, "each has its hash");
    let last = heard.lines().last().and_then(hash).expect("a change");
    assert!(world.ask(&mut bob, "WHO alice").contains(&format!("avatar={last}")));
}

#[test]
fn a_script_that_is_gone_before_its_join_is_written_takes_nobody_out() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for line in ["JOIN #ops", "SET #ops history joined", "JOIN #back", "SET #back history joined"] {
        world.say(&mut bob, line);
    }
    world.say(&mut alice, "JOIN #ops");
    for room in ["#ops", "#back"] {
        let mut script = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
        world.say(&mut script, &format!("@quiet AUTH PASSWORD alice {PASSWORD}"));
        script.heard();
        assert_eq!(world.ask_without_log(&mut script, &format!("JOIN {room}")), "");
        world.leave(script, Ending::Lost);
        world.work();
    }
    alice.heard();
    world.say(&mut bob, "MSG #ops still here?");
    assert!(alice.heard().contains("MSG #ops still here?"));
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "MSG #ops and now?");
    let mut alice = world.log_in("alice");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#lobby", "#ops"]);
    let page = world.ask(&mut alice, "HISTORY #ops LATEST");
    assert!(page.contains("still here?") && page.contains("and now?"), "her stay has not ended: {page}");
}

#[test]
fn a_login_brings_an_account_into_no_more_rooms_than_it_may_be_in() {
    let mut world = World::with("[limits]\nrooms_per_identity = 3\n");
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    let mut others: Vec<Person> = (0..2).map(|number| world.enter(&format!("guest{number}"))).collect();
    for (other, room) in others.iter_mut().zip([["#a", "#b"], ["#c", "#d"]]) {
        room.iter().for_each(|room| world.say(other, &format!("JOIN {room}")));
    }
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut alice, &format!("@rooms=#a,#b,#c,#d AUTH PASSWORD alice {PASSWORD}"));
    assert!(heard.contains(";rooms=#lobby,#a,#b OK AUTH alice"), "{heard}");
    assert_eq!(world.rooms_in_inbox(&mut alice), ["#a", "#b", "#lobby"]);
    assert!(world.ask(&mut alice, "JOIN #d").contains("ERR JOIN too-many"));
    assert!(world.ask(&mut alice, "LEAVE #a").contains("OK LEAVE"));
    assert!(world.ask(&mut alice, "JOIN #d").contains("OK JOIN #d"));
}

#[test]
fn what_one_was_told_of_a_room_does_not_come_again_with_the_next_login() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for line in ["JOIN #ops", "JOIN #plan", "SET #plan access invite"] {
        world.say(&mut bob, line);
    }
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "KICK #ops alice");
    world.say(&mut bob, "INVITE #plan alice");
    world.say(&mut alice, "JOIN #ops");
    let heard = alice.heard();
    assert!(heard.contains(" KICK #ops alice") && heard.contains(" INVITE #plan alice"), "{heard}");
    world.leave(alice, Ending::Closed);
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut alice, &format!("AUTH PASSWORD alice {PASSWORD}"));
    assert!(
        heard.contains("OK AUTH alice") && !heard.contains("KICK") && !heard.contains("INVITE"),
        "{heard}"
    );
    world.leave(alice, Ending::Closed);
    // What was said of her while she was away does.
    world.say(&mut bob, "KICK #ops alice");
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut alice, &format!("AUTH PASSWORD alice {PASSWORD}"));
    assert_eq!(heard.matches(" KICK #ops alice").count(), 1, "{heard}");
}

#[test]
fn an_invitation_does_not_overtake_what_a_session_has_still_to_catch_up_with() {
    let mut world = World::new();
    let (alice, mut bob) = (world.member("alice"), world.enter("bob"));
    world.leave(alice, Ending::Closed);
    world.say(&mut bob, "JOIN #plan");
    world.say(&mut bob, "PRIV alice first");
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.ask(&mut alice, &format!("@since=0 AUTH PASSWORD alice {PASSWORD}"));
    world.say(&mut bob, "INVITE #plan alice");
    assert_eq!(alice.heard(), "", "she has not said SYNC");
    let page = world.ask(&mut alice, "SYNC 0");
    let (first, invited) = (page.find("PRIV alice first"), page.find("INVITE #plan alice"));
    assert!(first.is_some() && first < invited, "{page}");
}
