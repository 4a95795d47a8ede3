//! What somebody with bad intentions tries, each as a test that is named for it. Those that need real connections are in
//! tests/attacks.rs.

use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::envelope::{ClientKey, encode_public_key, encode_signature};
use snug_protocol::{ServerLine, Timestamp};

use crate::log::Store;

use super::authority_tests::BINDING;
use super::tests::{Person, TestClock, World};
use super::*;
use crate::steady_clock::SteadyClock;

const PASSWORD: &str = "Pa55word of a test";

fn try_password(world: &mut World, from: [u8; 4], name: &str, password: &str) -> String {
    let mut person = world.from(from);
    let heard = world.ask(&mut person, &format!("AUTH PASSWORD {name} {password}"));
    world.leave(person, Ending::Closed);
    heard
}

#[test]
fn guessing_a_password_is_slowed_down_and_locks_nobody_out() {
    let mut world = World::new();
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    // She has been here, from home.
    let home = [198, 51, 100, 7];
    assert!(try_password(&mut world, home, "alice", PASSWORD).contains("OK AUTH alice"));
    let attacker = [203, 0, 113, 1];
    let mut wrong = 0;
    for guess in 0..20 {
        let heard = try_password(&mut world, attacker, "alice", &format!("Pa55guess {guess}"));
        wrong += usize::from(heard.contains("bad-login"));
        assert!(heard.contains("bad-login") || heard.contains("@retry=30 ERR AUTH slow-down"), "{heard}");
    }
    assert_eq!(wrong, 5, "the others were not even compared");
    assert!(
        try_password(&mut world, attacker, "alice", PASSWORD).contains("slow-down"),
        "also if it is right"
    );
    assert!(try_password(&mut world, home, "alice", PASSWORD).contains("OK AUTH alice"));

    // From a thousand addresses, each with a few guesses: strangers have a limit together, and she has none of it.
    let before = world.core.passwords.count();
    for address in 0..1_000_u32 {
        let [.., high, low] = address.to_be_bytes();
        try_password(&mut world, [10, 9, high, low], "alice", "Pa55guess");
    }
    assert!(world.core.passwords.count() - before <= 20);
    assert!(try_password(&mut world, home, "alice", PASSWORD).contains("OK AUTH alice"));

    // To many names from one address.
    let mut slowed = false;
    for name in 0..40 {
        slowed |=
            try_password(&mut world, attacker, &format!("name{name}"), "Pa55guess").contains("slow-down");
    }
    assert!(slowed);
    // Time heals: the limits are no lock.
    world.clock.0.fetch_add(3_600_000, Relaxed);
    assert!(try_password(&mut world, attacker, "alice", "Pa55guess").contains("bad-login"));
}

#[test]
fn wrong_passwords_from_one_s_own_address_do_not_lock_out_a_key() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    let key = ClientKey::from_seed(&[5; 32]).expect("a key");
    let public = encode_public_key(&key.public_key());
    world.ask(&mut alice, &format!("KEY ADD {public} laptop"));
    let nat = [198, 51, 100, 7];
    for name in 0..60 {
        try_password(&mut world, nat, &format!("name{name}"), "Pa55guess");
        try_password(&mut world, nat, "alice", "Pa55guess");
    }
    assert!(try_password(&mut world, nat, "alice", PASSWORD).contains("slow-down"));
    let mut laptop = world.from(nat);
    let signature = encode_signature(&key.sign_login(&BINDING, "alice"));
    assert!(
        world.ask(&mut laptop, &format!("AUTH KEY alice {public} {signature}")).contains("OK AUTH alice")
    );
    // Signatures that are wrong are not all of them written down.
    let mut refused = String::new();
    for _ in 0..40 {
        let mut guest = world.from(nat);
        refused = world.ask(&mut guest, &format!("AUTH KEY bob {public} {signature}"));
    }
    assert!(refused.contains("slow-down"), "{refused}");
}

#[test]
fn names_are_not_enumerated_by_the_time_or_the_words_of_a_login() {
    let mut world = World::new();
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    // Whether there is such an account or not: the same words, after the same work.
    let before = world.core.passwords.count();
    let there = try_password(&mut world, [192, 0, 2, 1], "alice", "Pa55guess");
    let between = world.core.passwords.count();
    let not_there = try_password(&mut world, [192, 0, 2, 1], "nobody", "Pa55guess");
    let after = world.core.passwords.count();
    assert_eq!(there, not_there);
    assert_eq!((between - before, after - between), (1, 1));
    // Also when it becomes too much.
    for _ in 0..4 {
        try_password(&mut world, [192, 0, 2, 1], "alice", "Pa55guess");
        try_password(&mut world, [192, 0, 2, 1], "nobody", "Pa55guess");
    }
    let there = try_password(&mut world, [192, 0, 2, 1], "alice", "Pa55guess");
    assert_eq!(there, try_password(&mut world, [192, 0, 2, 1], "nobody", "Pa55guess"));
    assert!(there.contains("slow-down"));
}

#[test]
fn a_flood_of_registrations_is_slowed_down_and_has_an_end() {
    let mut world = World::with("[accounts]\nmost = 60\n");
    let mut made = 0;
    let mut last = String::new();
    for n in 0..80 {
        let mut person = world.from([192, 0, 2, 1]);
        let key = "2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=";
        last = world.ask(&mut person, &format!("@key={key} REGISTER name{n}"));
        made += usize::from(last.contains("OK REGISTER"));
        world.leave(person, Ending::Closed);
    }
    assert_eq!(made, 50);
    assert!(last.contains("ERR REGISTER slow-down") && last.contains("retry="), "{last}");
    for n in 0..20 {
        let mut person = world.from([192, 0, 2, 100 + n]);
        let key = "2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=";
        last = world.ask(&mut person, &format!("@key={key} REGISTER other{n}"));
        world.leave(person, Ending::Closed);
    }
    assert!(last.contains("ERR REGISTER too-many"), "{last}");
}

#[test]
fn a_token_does_what_it_is_for_and_nothing_else() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    for room in ["#ops", "#private"] {
        world.say(&mut alice, &format!("JOIN {room}"));
    }
    world.say(&mut alice, "SET #private access invite");
    world.say(&mut alice, "MSG #private hush");
    let mut script = world.bearer(&mut alice, "deploy", "@may=send;rooms=#ops;rate=5");
    assert!(world.ask(&mut script, "MSG #ops done").ends_with("OK MSG #ops\n"));
    for line in [
        "MSG #lobby hi",
        "MSG #private hi",
        "PRIV bob hi",
        "HISTORY #ops LATEST",
        "SEARCH * hush",
        "JOIN #ops",
        "SYNC 0",
        "INBOX",
        "EDIT #ops 3 other",
        "DELETE #ops 3",
        "TOPIC #ops mine",
        "SET #ops access hidden",
        "WHO",
        "TOKEN",
        "TOKEN ADD more",
        "KEY",
        "PASSWORD Pa55word anew",
        "UNREGISTER alice",
        "PROFILE alice colour #000000",
        "STATUS away",
        "INVITE",
        "ROLE #ops bob owner",
        "KICK #ops bob",
        "STATS",
    ] {
        let heard = world.ask(&mut script, line);
        assert!(heard.contains(" out-of-scope "), "{line}: {heard}");
    }
    assert!(world.ask(&mut script, "AUTH TOKEN other").contains("ERR AUTH too-late"));
    assert!(world.ask(&mut script, "@bytes=3 PROFILE alice avatar image/png").contains(" out-of-scope "));
    // It hears nothing of what its account hears.
    world.say(&mut bob, "PRIV alice for your eyes");
    world.say(&mut alice, "MSG #private for ours");
    world.say(&mut bob, "MSG #ops in the room");
    assert_eq!(script.heard(), "");
    // And it is slowed down.
    let mut slowed = String::new();
    for _ in 0..6 {
        slowed = world.ask(&mut script, "MSG #ops again");
    }
    assert!(slowed.contains("retry=12 ERR MSG slow-down"), "{slowed}");

    // One that may read in one room reads in that one alone.
    let mut reader = world.bearer(&mut alice, "reader", "@may=read;rooms=#ops");
    assert!(world.ask(&mut reader, "JOIN #ops").contains("OK JOIN #ops"));
    reader.heard();
    for line in [
        "JOIN #private",
        "HISTORY #private LATEST",
        "SEARCH #ops in:#private hush",
        "SEARCH * hush",
        "HISTORY bob LATEST",
        "INBOX",
        "ROOMS",
    ] {
        let heard = world.ask(&mut reader, line);
        assert!(heard.contains(" out-of-scope ") || heard.contains(" bad-query "), "{line}: {heard}");
    }
    world.say(&mut bob, "PRIV alice psst");
    world.say(&mut alice, "MSG #private once more");
    world.say(&mut bob, "MSG #ops hello reader");
    let heard = reader.heard();
    assert!(
        heard.contains("hello reader") && !heard.contains("psst") && !heard.contains("once more"),
        "{heard}"
    );
    let heard = world.ask(&mut reader, "SYNC 0 1000");
    assert!(heard.contains("hello reader") && !heard.contains("psst") && !heard.contains("hush"), "{heard}");
}

#[test]
fn a_role_is_not_raised_by_its_holder() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.member("alice"), world.member("bob"), world.member("carol"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "ROLE #ops bob moderator");
    for line in
        ["ROLE #ops bob owner", "ROLE #ops carol moderator", "ROLE * bob operator", "SET #ops send owner"]
    {
        assert!(world.ask(&mut bob, line).contains(" denied "), "{line}");
    }
    for line in
        ["ROLE #ops carol moderator", "ROLE #ops carol member", "ROLE * carol operator", "INVITE #ops carol"]
    {
        let heard = world.ask(&mut carol, line);
        assert!(heard.contains(" denied "), "{line}: {heard}");
    }
    // Nor by an invite of one's own, which would open what is for members.
    world.say(&mut alice, "SET #ops send members");
    assert!(world.ask(&mut carol, "INVITE #ops carol").contains(" denied "));
    assert!(world.ask(&mut carol, "MSG #ops let me").contains(" denied "));
    // A moderator keeps order among those below, not among those as high or above.
    for line in ["KICK #ops alice", "BAN #ops alice", "MUTE #ops alice 5m"] {
        assert!(world.ask(&mut bob, line).contains(" denied "), "{line}");
    }
    world.say(&mut alice, "ROLE #ops carol moderator");
    assert!(world.ask(&mut bob, "KICK #ops carol").contains(" denied "));
    assert!(world.ask(&mut bob, "ROLE #ops carol none").contains(" denied "));
    assert!(world.ask(&mut bob, "ROLE #ops bob none").ends_with("OK ROLE #ops\n"), "one may step down");
    assert!(world.ask(&mut alice, "ROLE #ops alice none").ends_with("OK ROLE #ops\n"), "so may the owner");
    assert!(world.ask(&mut alice, "ROLE #ops alice moderator").contains(" denied "), "for good");
    assert!(world.ask(&mut carol, "ROLE #ops carol").contains("carol owner"));
    // An operator who is no more one any more cannot do what operators do.
    let mut root = world.operator();
    world.say(&mut root, "ROLE * carol operator");
    assert!(world.ask(&mut carol, "STATS").contains("OK STATS"));
    world.say(&mut root, "ROLE * carol member");
    assert!(world.ask(&mut carol, "STATS").contains("ERR STATS denied"));
    assert!(world.ask(&mut carol, "ROLE * carol operator").contains("ERR ROLE denied"));
}

/// A room that bob has never been in, with an entry of alice's.
fn secret_room(world: &mut World) -> (Person, Person) {
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    world.say(&mut alice, "JOIN #board");
    world.say(&mut alice, "SET #board access invite");
    world.say(&mut alice, "MSG #board the takeover");
    world.say(&mut bob, "JOIN #lobby");
    world.say(&mut bob, "MSG #lobby something public");
    bob.heard();
    (alice, bob)
}

#[test]
fn a_hidden_room_is_not_read_by_the_ids_of_its_entries() {
    let mut world = World::new();
    let (mut alice, mut bob) = secret_room(&mut world);
    // Whatever names the entry through a room that he may see: it is not there, as if it had never been.
    for line in [
        "HISTORY #lobby AROUND 1",
        "EDIT #lobby 1 mine",
        "DELETE #lobby 1",
        "REACT #lobby 1 +1",
        "UNREACT #lobby 1 +1",
        "READ #lobby 1",
        "@re=1 MSG #lobby what?",
        "EDIT alice 1 mine",
        "REACT alice 1 +1",
    ] {
        let there = world.ask(&mut bob, line);
        let not_there = world.ask(&mut bob, &line.replace('1', "9999"));
        assert!(!there.contains("takeover"), "{line}: {there}");
        let code = |heard: &str| heard.lines().find(|line| line.contains("ERR ")).map(str::to_owned);
        assert_eq!(code(&there), code(&not_there), "{line}");
    }
    world.say(&mut alice, "REACT #board 1 :tada:");
    assert!(!bob.heard().contains("REACT"));
}

#[test]
fn a_hidden_room_is_not_read_by_search_history_export_or_sync() {
    let mut world = World::new();
    let (_alice, mut bob) = secret_room(&mut world);
    for line in [
        "SEARCH * takeover",
        "SEARCH * from:alice",
        "SYNC 0 1000",
        "INBOX",
        "SEARCH * \"the takeover\" after:1970-01-01",
    ] {
        let heard = world.ask(&mut bob, line);
        assert!(
            heard.contains("OK ") && !heard.contains("takeover") && !heard.contains("#board"),
            "{line}: {heard}"
        );
    }
    // What export asks for page by page.
    for line in ["HISTORY #board AFTER 0 1000", "HISTORY #board SINCE 1970-01-01", "SEARCH #board takeover"] {
        let there = world.ask(&mut bob, line);
        let not_there = world.ask(&mut bob, &line.replace("board", "nosuch"));
        assert_eq!(there, not_there.replace("nosuch", "board"), "{line}");
    }
}

#[test]
fn a_hidden_room_is_not_noticed_by_receipts_typing_or_presence() {
    let mut world = World::new();
    let (mut alice, mut bob) = secret_room(&mut world);
    let mut carol = world.member("carol");
    world.say(&mut alice, "INVITE #board carol");
    bob.heard();
    for line in ["JOIN #board", "TYPING #board on", "READ #board 1", "REACT #board 1 +1", "LEAVE #board bye"]
    {
        world.say(&mut carol, line);
    }
    assert_eq!(bob.heard(), "");
    for line in ["TYPING #board on", "READ #board 1", "WHO #board", "LEAVE #board"] {
        let there = world.ask(&mut bob, line);
        let not_there = world.ask(&mut bob, &line.replace("board", "nosuch"));
        assert_eq!(there, not_there.replace("nosuch", "board"), "{line}");
    }
}

#[test]
fn entries_of_others_are_not_edited_or_deleted() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "MSG #ops mine");
    world.say(&mut alice, "PRIV bob between us");
    assert!(world.ask(&mut bob, "EDIT #ops 1 yours").contains("ERR EDIT denied"));
    assert!(world.ask(&mut bob, "DELETE #ops 1").contains("ERR DELETE denied"));
    assert!(world.ask(&mut bob, "EDIT alice 2 yours").contains("ERR EDIT denied"));
    assert!(world.ask(&mut bob, "DELETE alice 2").contains("ERR DELETE denied"));
    // Not by operators either, where two are alone.
    let mut root = world.operator();
    assert!(world.ask(&mut root, "DELETE alice 2").contains("ERR DELETE no-such-entry"));
    // Nor under the same words: a key and a word to replace are each one's own.
    world.say(&mut alice, "@key=k;replace=w MSG #ops first");
    world.say(&mut bob, "@key=k;replace=w MSG #ops second");
    let heard = world.ask(&mut alice, "HISTORY #ops LATEST");
    assert!(heard.contains(":alice MSG #ops first") && heard.contains(":bob MSG #ops second"), "{heard}");
}

#[test]
fn a_reply_quotes_nothing_that_one_may_not_see() {
    let mut world = World::new();
    let (mut alice, mut bob) = secret_room(&mut world);
    assert!(world.ask(&mut bob, "@re=1 MSG #lobby so?").contains("ERR MSG no-such-entry"));
    assert!(world.ask(&mut bob, "@re=1 PRIV alice so?").contains("ERR PRIV no-such-entry"));
    assert!(
        world.ask(&mut alice, "@re=1 MSG #lobby leaking").contains("ERR MSG no-such-entry"),
        "not by her, either"
    );
}

#[test]
fn look_alikes_of_accounts_and_rooms_are_refused_whoever_is_here() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    world.say(&mut alice, "JOIN #payroll");
    world.leave(alice, Ending::Closed);
    for name in ["\u{430}lice", "al\u{456}ce", "\u{ff41}lice"] {
        let mut person = world.from([127, 0, 0, 1]);
        for line in [format!("NICK {name}"), format!("REGISTER {name} {PASSWORD}")] {
            let heard = world.ask(&mut person, &line);
            let is_refused =
                [" looks-alike ", " login-needed ", " nick-taken "].iter().any(|code| heard.contains(code));
            assert!(is_refused, "{line}: {heard}");
        }
    }
    let mut bob = world.enter("bob");
    assert!(world.ask(&mut bob, "JOIN #p\u{430}yroll").contains("ERR JOIN looks-alike"));
}

#[test]
fn controls_and_what_turns_text_around_come_in_no_name() {
    let mut world = World::new();
    let mut person = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    for evil in ["a\u{202e}b", "a\u{200f}b", "a\u{200b}b", "a\u{feff}b", "a\u{2066}b", "\u{301}a"] {
        let heard = world.ask(&mut person, &format!("NICK {evil}"));
        assert!(heard.contains("ERR NICK bad-nick"), "{evil:?}: {heard}");
        person = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
        let heard = world.ask(&mut person, &format!("REGISTER {evil} {PASSWORD}"));
        assert!(heard.contains("bad-nick"), "{evil:?}: {heard}");
        person = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    }
    let mut alice = world.member("alice");
    for evil in ["a\u{202e}b", "a\u{200b}b", "a\u{2066}b"] {
        assert!(world.ask(&mut alice, &format!("JOIN #{evil}")).contains("bad-room"), "{evil:?}");
        assert!(world.ask(&mut alice, &format!("PROFILE alice display {evil}")).contains("bad-parameter"));
    }
}

#[test]
fn nothing_that_others_have_chosen_breaks_a_line_of_the_daemon() {
    let mut world = World::new();
    let (mut alice, mut root) = (world.member("alice"), world.operator());
    for line in [
        "STATUS away two\\nlines;and=more",
        "PROFILE alice display a;b=c\\\\d",
        "JOIN #ops",
        "SET #ops description x;y=z two\\nlines",
        "KICK #ops alice no\\nreason;x=y",
        "BAN #ops bob why\\nnot",
    ] {
        world.say(&mut alice, line);
    }
    for line in
        ["WHO", "ROOMS", "PROFILE alice", "SET #ops", "AUDIT LATEST 1000", "BAN #ops", "HISTORY #ops LATEST"]
    {
        let heard = world.ask(&mut root, line);
        for line in heard.lines() {
            let read = ServerLine::parse(line).unwrap_or_else(|| panic!("{line:?} is no line"));
            assert!(!matches!(read.body, snug_protocol::Body::Unknown { .. }), "{line:?}");
        }
    }
}

#[test]
fn too_much_of_one_account_address_or_room_is_refused_and_told_when() {
    let mut world = World::with("[limits]\naccount_burst = 5\naccount_rate = 1\n");
    let mut alice = world.member("alice");
    let mut phone = world.from([127, 0, 0, 1]);
    world.say(&mut phone, &format!("AUTH PASSWORD alice {PASSWORD}"));
    for n in 0..5 {
        let session = if n % 2 == 0 { &mut alice } else { &mut phone };
        assert!(world.ask(session, "MSG #lobby hi").contains("OK MSG"));
    }
    assert!(
        world.ask(&mut phone, "MSG #lobby hi").contains("@retry=1 ERR MSG slow-down"),
        "sessions share it"
    );
    world.pass(1_000);
    assert!(world.ask(&mut phone, "MSG #lobby hi").contains("OK MSG"));

    let mut world = World::with("[limits]\naddress_burst = 3\naddress_rate = 1\n");
    let mut heard = String::new();
    for n in 0..4 {
        let mut person = world.from([192, 0, 2, 7]);
        world.say(&mut person, &format!("NICK guest{n}"));
        heard = world.ask(&mut person, "MSG #lobby hi");
    }
    assert!(heard.contains("ERR MSG slow-down"), "{heard}");
    let mut world = World::with("[limits]\nroom_burst = 3\nroom_rate = 1\n");
    for n in 0..4 {
        let mut person = world.enter(&format!("guest{n}"));
        heard = world.ask(&mut person, "MSG #lobby hi");
    }
    assert!(heard.contains("ERR MSG slow-down"), "{heard}");
    let mut person = world.enter("other");
    world.say(&mut person, "JOIN #else");
    assert!(world.ask(&mut person, "MSG #else hi").contains("OK MSG #else"));
}

#[test]
fn passwords_and_tokens_cross_no_network_in_the_clear() {
    let mut world = World::with("[listen]\nplaintext = \"anywhere\"\n");
    let mut far = world.connect(Origin::Tcp([192, 0, 2, 7].into()));
    for line in [
        format!("REGISTER alice {PASSWORD}"),
        format!("AUTH PASSWORD alice {PASSWORD}"),
        "AUTH TOKEN snugt_abc".to_owned(),
    ] {
        assert!(world.ask(&mut far, &line).contains(" clear-text "), "{line}");
    }
}

#[test]
fn who_hangs_up_during_a_login_leaves_nobody_behind() {
    let mut world = World::new();
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    let mut person = world.from([127, 0, 0, 1]);
    // The log has not decided yet.
    assert_eq!(world.ask_without_log(&mut person, &format!("AUTH PASSWORD alice {PASSWORD}")), "");
    world.leave(person, Ending::Lost);
    world.core.purge(0);
    let mut bob = world.enter("bob");
    let heard = world.ask(&mut bob, "WHO");
    assert!(!heard.contains("alice"), "{heard}");
    let mut root = world.operator();
    let heard = world.ask(&mut root, "SESSIONS");
    assert!(!heard.contains(" alice "), "{heard}");
    assert!(
        world.ask(&mut root, "ACCOUNTS").contains("password ACCOUNT alice member"),
        "and it is not online"
    );
}

#[test]
fn strangers_do_not_fill_the_disk_with_what_is_written_down_about_them() {
    let mut world = World::new();
    let rows = |world: &World| world.log.view().audit_head().expect("a trail").0;
    let before = rows(&world);
    for n in 0..400_u32 {
        let mut person = world.connect(Origin::Tcp([192, 0, 2, (n % 250) as u8].into()));
        world.say(&mut person, "nonsense");
        world.say(&mut person, "more nonsense");
        world.leave(person, Ending::Broken("an envelope could not be opened"));
    }
    world.core.purge(0);
    let mut root = world.operator();
    assert!(rows(&world) - before < 200, "{}", rows(&world) - before);
    assert!(world.ask(&mut root, "STATS").contains("STAT refused-unknown-verb="), "and they are counted");
    // Nor by coming and going.
    let mut slowed = String::new();
    for n in 0..300 {
        let mut person = world.from([203, 0, 113, 9]);
        slowed = world.ask(&mut person, &format!("NICK guest{n}"));
        world.leave(person, Ending::Closed);
    }
    assert!(slowed.contains("ERR NICK slow-down"), "{slowed}");
}

#[test]
fn bytes_are_limited_beside_messages() {
    let mut world =
        World::with("[limits]\nguest_bytes = \"1 KiB\"\naccount_bytes = \"4 KiB\"\nroom_bytes = \"6 KiB\"\n");
    let long = "x".repeat(1_000);
    let say = |world: &mut World, person: &mut Person, room: &str, most: usize| {
        let line = format!("MSG {room} {long}");
        let answers = (0..most).map(|_| world.ask(person, &line)).collect::<Vec<_>>();
        let refused = answers.iter().find(|heard| heard.contains("ERR MSG slow-down")).cloned();
        (answers.iter().filter(|heard| heard.contains(" OK MSG")).count(), refused.unwrap_or_default())
    };
    let (mut guest, mut member) = (world.enter("guest"), world.member("member"));
    let (taken, refused) = say(&mut world, &mut guest, "#lobby", 40);
    assert_eq!(taken, 17, "16 KiB at once");
    assert!(refused.contains("retry=") && refused.contains("you send too much: too many bytes"), "{refused}");
    assert!(world.ask(&mut guest, "PING 1").contains("OK PING 1"), "and everything else goes on");
    // An account may send more, and a room bears less than two of them.
    let (taken, _) = say(&mut world, &mut member, "#lobby", 60);
    assert_eq!(taken, 60);
    let mut second = world.member("second");
    let (taken, refused) = say(&mut world, &mut second, "#lobby", 60);
    assert!(taken < 30 && refused.contains("too much is said in the room"), "{taken} {refused}");
    // A second later there is one second's worth more.
    world.pass(1_000);
    assert_eq!(say(&mut world, &mut guest, "#lobby", 5).0, 1);
}

#[test]
fn all_guests_together_write_so_much_in_a_day() {
    let mut world = World::with("[limits]\nguest_bytes = \"0 B\"\n[log]\nguests = \"100 KiB\"\n");
    let long = "x".repeat(1_000);
    let mut taken = 0;
    let mut last = String::new();
    for number in 0..4 {
        let mut guest = world.enter(&format!("guest{number}"));
        for _ in 0..50 {
            last = world.ask(&mut guest, &format!("MSG #lobby {long}"));
            taken += usize::from(last.contains(" OK MSG"));
        }
    }
    assert!((100..=102).contains(&taken), "{taken}");
    assert!(last.contains("all guests together have written what they may in a day"), "{last}");
    let mut member = world.member("member");
    assert!(world.ask(&mut member, "MSG #lobby hello").contains(" OK MSG"), "accounts go on");
}

#[test]
fn a_wrong_date_removes_nothing_and_frees_nobody() {
    const DAY: i64 = 86_400_000;
    let clock = Arc::new(TestClock::default());
    let seen = Arc::new(SteadyClock::new(clock.clone(), Timestamp::from_millis(900_000)));
    let mut world = World::over("[log]\nkeep = \"30d\"\nkeep_private = \"30d\"\n", clock, seen);
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut bob, "MSG #ops to be kept");
    world.say(&mut alice, "MUTE #ops bob 1h");
    world.say(&mut alice, "SET #ops slow 1h");
    bob.heard();
    // The date jumps by three months for a quarter of a minute.
    world.clock.1.store(91 * DAY, Relaxed);
    for _ in 0..15 {
        world.pass(1_000);
        world.core.purge(0);
        world.core.retire_quiet_rooms();
        world.work();
    }
    assert!(world.ask(&mut bob, "HISTORY #ops LATEST").contains(":bob MSG #ops to be kept"));
    assert!(world.ask(&mut bob, "MSG #ops am I free?").contains("ERR MSG muted"));
    let heard = world.ask(&mut alice, "MSG #ops what day is it?");
    assert!(heard.contains("time=1970-01-01T00:16:55.000Z"), "{heard}");
    world.clock.1.store(0, Relaxed);
    assert!(world.ask(&mut alice, "MSG #ops the right one").contains("time=1970-01-01T00:16:55.000Z"));
    // Time that has passed counts as ever.
    world.pass(3_600_000);
    world.say(&mut alice, "SET #ops slow off");
    bob.heard();
    assert!(world.ask(&mut bob, "MSG #ops now I am").contains("OK MSG #ops"));
}
