//! Accounts, roles and moderation, without I/O; and every verb as every role, held against the table.

use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::envelope::{ClientKey, encode_public_key, encode_signature};

use super::tests::{Person, World, without_who};
use super::*;

/// Some password.
pub(super) const PASSWORD: &str = "Pa55word of a test";

/// A channel that a test says is sealed.
pub(super) const BINDING: [u8; 32] = [9; 32];

impl World {
    /// Somebody over TCP who has registered.
    pub(super) fn member(&mut self, name: &str) -> Person {
        let mut person = self.connect(Origin::Tcp([127, 0, 0, 1].into()));
        let heard = self.ask(&mut person, &format!("REGISTER {name} {PASSWORD}"));
        assert!(heard.contains(&format!("OK REGISTER {name}")), "{heard}");
        person.heard();
        person
    }

    /// The same with a key and no password, which takes less time.
    pub(super) fn keyed_member(&mut self, name: &str) -> Person {
        let mut person = self.from([127, 0, 0, 1]);
        let key = encode_public_key(&ClientKey::from_seed(&[6; 32]).expect("a key").public_key());
        assert!(self.ask(&mut person, &format!("@key={key} REGISTER {name}")).contains("OK REGISTER"));
        person.heard();
        person
    }

    /// The daemon's own user.
    /// Somebody with an account.
    pub(super) fn account(&mut self, name: &str) -> Person {
        let mut person = self.enter(name);
        let heard = self.ask(&mut person, &format!("REGISTER {name} correct horse battery"));
        assert!(heard.contains(&format!("OK REGISTER {name}")), "{heard}");
        person
    }

    pub(super) fn operator(&mut self) -> Person {
        let mut person = self.connect(Origin::Unix(self.core.operator));
        assert!(self.ask(&mut person, "NICK root").contains("OK NICK root"));
        person.heard();
        person
    }

    /// A connection from an address, over a channel that counts as sealed.
    pub(super) fn from(&mut self, address: [u8; 4]) -> Person {
        let mut person = self.connect(Origin::Tcp(address.into()));
        person.session.set_binding(BINDING);
        person
    }

    /// A scoped session of a new token of this account.
    pub(super) fn bearer(&mut self, owner: &mut Person, label: &str, tags: &str) -> Person {
        let heard = self.ask(owner, &format!("{tags} TOKEN ADD {label}"));
        let token = heard.trim_end().rsplit(' ').next().expect("a token").to_owned();
        assert!(token.starts_with("snugt_"), "{heard}");
        let mut person = self.from([127, 0, 0, 1]);
        let heard = self.ask(&mut person, &format!("AUTH TOKEN {token}"));
        assert!(heard.contains(" OK AUTH "), "{heard}");
        person
    }
}

pub(super) fn code_of(heard: &str) -> Option<&str> {
    let line = heard.lines().rev().find(|line| line.contains("ERR "))?;
    line.split("ERR ").nth(1)?.split(' ').nth(1)
}

#[test]
fn an_account_is_made_and_come_back_to() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    alice.heard();
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "MSG #ops before");
    alice.heard();
    // A guest keeps everything.
    assert!(world.ask(&mut alice, &format!("REGISTER Alice {PASSWORD}")).contains("OK REGISTER Alice\n"));
    assert!(world.ask(&mut alice, "EDIT #ops 1 after").ends_with("OK EDIT #ops\n"), "it is still her own");
    assert!(world.ask(&mut alice, "NICK bob").starts_with("ERR NICK denied"));
    assert!(world.ask(&mut alice, &format!("REGISTER twice {PASSWORD}")).contains("ERR REGISTER too-late"));

    // The name is hers, here or away.
    let mut thief = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut thief, "NICK alice").starts_with("ERR NICK login-needed"));
    world.leave(alice, Ending::Closed);
    assert!(world.ask(&mut thief, "NICK ALICE").starts_with("ERR NICK login-needed"));
    assert!(world.ask(&mut thief, "NICK \u{430}lice").starts_with("ERR NICK looks-alike"));
    assert!(world.ask(&mut thief, &format!("REGISTER alice {PASSWORD}")).contains("nick-taken"));

    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut alice, "AUTH PASSWORD alice wrong password").contains("ERR AUTH bad-login"));
    let heard = world.ask(&mut alice, &format!("@ref=1 AUTH PASSWORD ALICE {PASSWORD}"));
    assert!(heard.contains("ref=1 OK AUTH Alice\n"), "{heard}");
    // A second session joins the first.
    let mut phone = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut phone, &format!("AUTH PASSWORD alice {PASSWORD}")).contains("OK AUTH Alice\n"));
    alice.heard();
    world.say(&mut phone, "JOIN #ops");
    world.say(&mut phone, "MSG #ops from the phone");
    assert!(alice.heard().contains(":Alice MSG #ops from the phone"));
}

#[test]
fn private_messages_wait_for_an_account() {
    let mut world = World::new();
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    let mut bob = world.enter("bob");
    assert!(world.ask(&mut bob, "PRIV alice are you there?").ends_with("OK PRIV alice\n"));
    let mut alice = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut alice, &format!("AUTH PASSWORD alice {PASSWORD}"));
    let place = |text: &str| heard.find(text).unwrap_or_else(|| panic!("{text} in {heard}"));
    assert!(place("OK AUTH alice") < place(":bob PRIV alice are you there?"));
}

#[test]
fn a_key_logs_in_over_its_channel_alone() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    let key = ClientKey::from_seed(&[5; 32]).expect("a key");
    let public = encode_public_key(&key.public_key());
    assert_eq!(world.ask(&mut alice, &format!("KEY ADD {public} laptop")), "OK KEY laptop\n");
    assert!(world.ask(&mut alice, &format!("KEY ADD {public} again")).starts_with("ERR KEY nick-taken"));
    assert!(world.ask(&mut alice, &format!("KEY ADD {} weak", "A".repeat(43) + "=")).contains("bad-secret"));
    assert!(
        world.ask(&mut alice, "KEY").starts_with(&format!("KEY laptop {}", key.public_key().fingerprint()))
    );

    let login = |binding: &[u8; 32], name: &str| {
        format!("AUTH KEY {name} {public} {}", encode_signature(&key.sign_login(binding, name)))
    };
    let mut other = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut other, &login(&BINDING, "alice")).contains("ERR AUTH clear-text"));
    let mut laptop = world.from([127, 0, 0, 1]);
    assert!(world.ask(&mut laptop, &login(&[8; 32], "alice")).contains("bad-login"), "of another channel");
    assert!(world.ask(&mut laptop, &login(&BINDING, "alice")).contains("OK AUTH alice\n"));
    assert_eq!(world.ask(&mut alice, "KEY REMOVE laptop"), "OK KEY laptop\n");
    let mut laptop = world.from([127, 0, 0, 1]);
    assert!(world.ask(&mut laptop, &login(&BINDING, "alice")).contains("bad-login"), "revoked");
}

#[test]
fn a_password_is_changed_by_who_knows_it_and_by_operators() {
    let mut world = World::new();
    let (mut alice, mut bob, mut root) = (world.member("alice"), world.member("bob"), world.operator());
    assert!(world.ask(&mut alice, "PASSWORD Pa55word too").contains("ERR PASSWORD bad-login"));
    assert!(world.ask(&mut alice, "@old=wrong PASSWORD Pa55word too").contains("ERR PASSWORD bad-login"));
    let old = PASSWORD.replace(' ', "\\s");
    assert_eq!(world.ask(&mut alice, &format!("@old={old} PASSWORD Pa55word two")), "OK PASSWORD alice\n");
    assert!(world.ask(&mut alice, "@old=Pa55word\\stwo PASSWORD short").contains("ERR PASSWORD bad-secret"));
    assert!(world.ask(&mut bob, "@account=alice PASSWORD Pa55word bob").contains("ERR PASSWORD denied"));
    assert_eq!(world.ask(&mut root, "@account=alice PASSWORD Pa55word three"), "OK PASSWORD alice\n");
    let mut phone = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut phone, "AUTH PASSWORD alice Pa55word two").contains("bad-login"));
    assert!(world.ask(&mut phone, "AUTH PASSWORD alice Pa55word three").contains("OK AUTH alice"));
}

#[test]
fn an_account_is_deleted_also_where_folding_has_made_its_name_too_long() {
    let mut world = World::new();
    let name = "\u{df}".repeat(snug_protocol::limits::NICK);
    let mut long = world.member(&name);
    let heard = world.ask(&mut long, &format!("UNREGISTER {name}"));
    assert!(heard.contains("OK UNREGISTER") && heard.contains("ERR - kicked"), "{heard}");
    assert!(long.is_over());
    world.leave(long, Ending::Closed);
    let mut guest = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut guest, &format!("NICK {name}")).contains("OK NICK"));
}

#[test]
fn a_deleted_account_leaves_its_words_and_nothing_else() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    let mut bob = world.member("bob");
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "MSG #ops hello");
    assert!(world.ask(&mut bob, "UNREGISTER alice").contains("ERR UNREGISTER denied"));
    assert!(world.ask(&mut alice, "UNREGISTER bob").contains("ERR UNREGISTER denied"));
    let heard = world.ask(&mut alice, "UNREGISTER alice");
    assert!(heard.contains("OK UNREGISTER alice\n") && heard.contains("ERR - kicked"), "{heard}");
    assert!(alice.is_over());
    world.leave(alice, Ending::Closed);
    let mut phone = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut phone, &format!("AUTH PASSWORD alice {PASSWORD}")).contains("bad-login"));
    // Who takes the name is somebody else.
    assert!(world.ask(&mut phone, "NICK alice").contains("OK NICK alice"));
    assert!(world.ask(&mut phone, "HISTORY #ops LATEST").contains(":alice MSG #ops hello"));
    assert!(world.ask(&mut phone, "EDIT #ops 1 mine").starts_with("ERR EDIT denied"));
}

#[test]
fn registration_is_open_by_invite_or_closed() {
    let mut world = World::with("[accounts]\nregistration = \"invite\"\n");
    let mut stranger = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let register = format!("REGISTER alice {PASSWORD}");
    assert!(world.ask(&mut stranger, &register).contains("ERR REGISTER invite-needed"));
    assert!(world.ask(&mut stranger, &format!("@invite=snugi_x {register}")).contains("invite-needed"));
    let mut root = world.operator();
    let invite = |heard: String| heard.trim_end().rsplit(' ').next().expect("a token").to_owned();
    let heard = world.ask(&mut root, "INVITE");
    assert!(heard.contains("fingerprint=SHA256:"), "{heard}");
    let token = invite(heard);
    assert!(world.ask(&mut stranger, &format!("@invite={token} {register}")).contains("OK REGISTER alice"));
    // It is used up; but a member may invite as well.
    let mut next = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let register = format!("REGISTER bob {PASSWORD}");
    assert!(world.ask(&mut next, &format!("@invite={token} {register}")).contains("invite-needed"));
    let token = invite(world.ask(&mut stranger, "@expires=1h INVITE"));
    world.clock.0.fetch_add(3_600_001, Relaxed);
    assert!(
        world.ask(&mut next, &format!("@invite={token} {register}")).contains("invite-needed"),
        "too old"
    );
    let token = invite(world.ask(&mut stranger, "@expires=1h INVITE"));
    assert!(world.ask(&mut next, &format!("@invite={token} {register}")).contains("OK REGISTER bob"));

    let mut world = World::with("[accounts]\nregistration = \"closed\"\nguests = false\n");
    let mut stranger = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut stranger, &register).contains("ERR REGISTER denied"));
    assert!(world.ask(&mut stranger, "NICK alice").contains("ERR NICK login-needed"));
    assert!(
        world.ask(&mut world_local(&world), "NICK local").contains("OK NICK local"),
        "users of the machine may"
    );
}

fn world_local(world: &World) -> Person {
    world.connect(Origin::Unix(4_242))
}

#[test]
fn a_user_of_the_machine_has_an_account_by_the_settings_or_because_he_made_it() {
    let mut world = World::with("[accounts.users]\n4242 = \"alice\"\n");
    let alice = world.member("alice");
    world.leave(alice, Ending::Closed);
    let mut local = world_local(&world);
    assert!(world.ask(&mut local, "@ref=7 NICK Alice").contains("ref=7 OK NICK alice\n"));
    assert!(world.ask(&mut local, "KEY").contains("OK KEY 0"), "it is the account");
    let mut other = world.connect(Origin::Unix(4_243));
    assert!(world.ask(&mut other, "NICK alice").contains("ERR NICK login-needed"));
    assert!(world.ask(&mut other, &format!("REGISTER carol {PASSWORD}")).contains("OK REGISTER carol"));
    world.leave(other, Ending::Closed);
    let mut again = world.connect(Origin::Unix(4_243));
    assert!(world.ask(&mut again, "@quiet NICK carol").contains("OK NICK carol\n"));
}

#[test]
fn an_invite_only_room_is_there_for_who_is_on_its_list() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.member("alice"), world.member("bob"), world.enter("carol"));
    world.say(&mut alice, "JOIN #board");
    assert!(world.ask(&mut alice, "SET #board access invite").contains("SET #board access=invite\n"));
    world.say(&mut alice, "MSG #board the numbers");
    for person in [&mut bob, &mut carol] {
        person.heard();
        assert!(world.ask(person, "JOIN #board").contains("ERR JOIN denied"));
        for line in [
            "MSG #board let me in",
            "HISTORY #board LATEST",
            "WHO #board",
            "SET #board",
            "TOPIC #board",
            "TYPING #board on",
            "SEARCH #board numbers",
            "SEARCH * in:#board numbers",
            "READ #board 1",
            "REACT #board 1 +1",
            "ROLE #board",
        ] {
            assert_eq!(code_of(&world.ask(person, line)), Some("no-such-room"), "{line}");
        }
        assert!(!world.ask(person, "ROOMS").contains("#board"));
    }
    let heard = world.ask(&mut alice, "INVITE #board carol");
    assert!(
        heard.contains(":alice INVITE #board carol\n") && heard.ends_with("OK INVITE #board\n"),
        "{heard}"
    );
    assert!(carol.heard().contains(":alice INVITE #board carol\n"));
    assert!(world.ask(&mut carol, "JOIN #board").contains("OK JOIN #board\n"));
    assert!(world.ask(&mut carol, "HISTORY #board LATEST").contains(":alice MSG #board the numbers"));
    assert!(world.ask(&mut carol, "MSG #board thanks").ends_with("OK MSG #board\n"));
    // Who is put out hears that, and nothing behind it.
    world.say(&mut alice, "KICK #board carol too curious");
    world.say(&mut alice, "MSG #board now to business");
    let heard = carol.heard();
    assert!(
        heard.contains(":alice KICK #board carol too curious\n") && !heard.contains("business"),
        "{heard}"
    );
    assert_eq!(code_of(&world.ask(&mut carol, "HISTORY #board LATEST")), Some("no-such-room"));
    assert!(world.ask(&mut carol, "JOIN #board").contains("ERR JOIN denied"));
}

#[test]
fn a_hidden_room_is_found_by_its_name_alone() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #den");
    world.say(&mut alice, "SET #den access hidden");
    world.say(&mut alice, "MSG #den shh");
    assert!(!world.ask(&mut bob, "ROOMS").contains("#den"));
    assert_eq!(code_of(&world.ask(&mut bob, "HISTORY #den LATEST")), Some("no-such-room"));
    assert_eq!(code_of(&world.ask(&mut bob, "MSG #den hi")), Some("no-such-room"));
    assert!(world.ask(&mut bob, "JOIN #den").contains("OK JOIN #den\n"));
    assert!(world.ask(&mut bob, "HISTORY #den LATEST").contains("shh"));
    assert!(world.ask(&mut bob, "ROOMS").contains("@access=hidden ROOM #den 2"));
    assert!(world.ask(&mut bob, "LEAVE #den").ends_with("OK LEAVE #den\n"));
    assert_eq!(code_of(&world.ask(&mut bob, "HISTORY #den LATEST")), Some("no-such-room"));
}

#[test]
fn a_room_says_who_speaks_and_how_often() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.member("alice"), world.member("bob"), world.enter("carol"));
    world.say(&mut alice, "JOIN #news");
    world.say(&mut alice, "SET #news send accounts");
    assert!(world.ask(&mut carol, "MSG #news hi").contains("ERR MSG login-needed"));
    assert!(world.ask(&mut bob, "MSG #news hi").ends_with("OK MSG #news\n"));
    world.say(&mut alice, "SET #news send moderators");
    assert!(world.ask(&mut bob, "MSG #news hi").contains("ERR MSG denied"));
    assert!(world.ask(&mut bob, "EDIT #news 1 hi again").contains("ERR EDIT denied"), "no way around it");
    world.say(&mut alice, "ROLE #news bob moderator");
    assert!(world.ask(&mut bob, "MSG #news hi").ends_with("OK MSG #news\n"));

    world.say(&mut alice, "SET #news send all");
    world.say(&mut alice, "SET #news slow 10s");
    assert!(world.ask(&mut carol, "MSG #news one").ends_with("OK MSG #news\n"));
    assert!(world.ask(&mut carol, "MSG #news two").contains("@retry=10 ERR MSG slow-down"));
    world.pass(9_001);
    assert!(world.ask(&mut carol, "MSG #news two").contains("@retry=1 ERR MSG slow-down"));
    world.pass(999);
    assert!(world.ask(&mut carol, "MSG #news two").ends_with("OK MSG #news\n"));
    for _ in 0..3 {
        assert!(world.ask(&mut bob, "MSG #news as often as I like").ends_with("OK MSG #news\n"));
    }
}

#[test]
fn a_ban_keeps_out_and_ends_by_itself_or_by_unban() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    for person in [&mut alice, &mut bob] {
        world.say(person, "JOIN #ops");
        person.heard();
    }
    world.say(&mut alice, "MSG #ops hello");
    let heard = world.ask(&mut alice, "@expires=1h BAN #ops bob spam");
    assert!(heard.contains(":alice BAN #ops bob spam\n"), "{heard}");
    assert!(bob.heard().contains(":alice BAN #ops bob spam\n"));
    for line in ["JOIN #ops", "MSG #ops hi", "REACT #ops 1 +1", "TOPIC #ops mine"] {
        let heard = world.ask(&mut bob, line);
        assert!(matches!(code_of(&heard), Some("banned" | "not-in-room")), "{line}: {heard}");
    }
    assert!(!world.ask(&mut bob, "HISTORY #ops LATEST").contains("hello"));
    assert!(world.ask(&mut alice, "BAN #ops").contains(" BAN #ops bob 1970-01-01T01:16:40.000Z spam\n"));
    world.pass(3_600_001);
    assert!(world.ask(&mut bob, "JOIN #ops").contains("OK JOIN #ops"), "its time is over");
    world.say(&mut alice, "BAN #ops bob");
    assert!(world.ask(&mut bob, "JOIN #ops").contains("ERR JOIN banned"));
    assert!(world.ask(&mut alice, "UNBAN #ops bob").ends_with("OK UNBAN #ops\n"));
    assert!(world.ask(&mut bob, "JOIN #ops").contains("OK JOIN #ops"));
    assert!(world.ask(&mut alice, "UNBAN #ops bob").contains("ERR UNBAN no-such-entry"));
    // From the lobby, too, into which everybody comes.
    let mut root = world.operator();
    world.say(&mut root, "BAN #lobby bob");
    bob.heard();
    world.say(&mut root, "MSG #lobby for the others");
    assert!(!bob.heard().contains("for the others"));
    // Nor does anybody there see them come.
    let token = "bob-comes-again-and-again";
    let mut carl = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    world.say(&mut carl, &format!("@token={token} NICK carl"));
    world.say(&mut root, "BAN #lobby carl");
    world.leave(carl, Ending::Closed);
    root.heard();
    let mut carl = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut carl, &format!("@token={token} NICK carl")).contains("OK NICK carl"));
    assert_eq!(root.heard(), "", "he is not in it");
    assert!(!world.ask(&mut carl, "WHO #lobby").contains("USER carl"));
    world.say(&mut root, "UNBAN #lobby carl");
    assert!(world.ask(&mut carl, "JOIN #lobby").contains("OK JOIN"));
}

#[test]
fn a_muted_one_hears_and_does_not_speak() {
    let mut world = World::new();
    let (mut alice, mut bob, mut root) = (world.member("alice"), world.enter("bob"), world.operator());
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut alice, "MUTE #ops bob 10m shouting");
    assert!(bob.heard().contains(":alice MUTE #ops bob 10m shouting\n"));
    assert!(world.ask(&mut bob, "MSG #ops HEY").contains("@retry=600 ERR MSG muted"));
    assert!(world.ask(&mut bob, "MSG #lobby elsewhere").ends_with("OK MSG #lobby\n"));
    world.say(&mut alice, "MSG #ops now listen");
    assert!(bob.heard().contains("now listen"));
    world.say(&mut alice, "MUTE #ops bob off");
    assert!(world.ask(&mut bob, "MSG #ops sorry").ends_with("OK MSG #ops\n"));
    world.say(&mut root, "MUTE * bob 1h");
    for line in ["MSG #ops a", "MSG #lobby b", "PRIV alice c"] {
        assert_eq!(code_of(&world.ask(&mut bob, line)), Some("muted"), "{line}");
    }
    world.pass(3_600_001);
    assert!(world.ask(&mut bob, "PRIV alice d").ends_with("OK PRIV alice\n"));
}

#[test]
fn nobody_takes_back_what_others_did_about_him() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.member("bob"));
    for person in [&mut alice, &mut bob] {
        world.say(person, "JOIN #ops");
    }
    world.say(&mut alice, "ROLE #ops bob moderator");
    world.say(&mut alice, "MUTE #ops bob 1h");
    bob.heard();
    assert_eq!(code_of(&world.ask(&mut bob, "MUTE #ops bob off")), Some("muted"));
    assert_eq!(code_of(&world.ask(&mut bob, "MSG #ops hello")), Some("muted"));
    world.say(&mut alice, "MUTE #ops bob off");
    assert!(world.ask(&mut bob, "MSG #ops hello").ends_with("OK MSG #ops\n"));
    world.say(&mut alice, "BAN #ops bob");
    bob.heard();
    let heard = world.ask(&mut bob, "UNBAN #ops bob");
    assert!(matches!(code_of(&heard), Some("denied" | "banned")), "{heard}");
    assert_eq!(code_of(&world.ask(&mut bob, "JOIN #ops")), Some("banned"));
}

#[test]
fn who_has_gone_can_be_let_in_again() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    let mut bob = world.from([192, 0, 2, 7]);
    assert!(world.ask(&mut bob, "NICK bob").contains("OK NICK bob"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut alice, "BAN #ops bob");
    assert!(world.ask(&mut alice, "BAN #ops").contains(" BAN #ops bob "));
    world.leave(bob, Ending::Closed);
    world.pass(100_000_000);
    assert!(world.ask(&mut alice, "UNBAN #ops bob").ends_with("OK UNBAN #ops\n"));
    assert!(!world.ask(&mut alice, "BAN #ops").contains("bob"));
}

#[test]
fn a_room_that_shuts_puts_out_who_may_not_stay() {
    let mut world = World::new();
    let (mut alice, mut bob, mut carol) = (world.member("alice"), world.member("bob"), world.enter("carol"));
    for person in [&mut alice, &mut bob, &mut carol] {
        world.say(person, "JOIN #ops");
    }
    world.say(&mut alice, "INVITE #ops bob");
    assert!(world.ask(&mut alice, "SET #ops read members").contains("SET #ops read=members\n"));
    bob.heard();
    carol.heard();
    world.say(&mut alice, "MSG #ops for members");
    assert!(bob.heard().contains("for members"));
    assert!(!carol.heard().contains("for members"));
    assert!(world.ask(&mut carol, "JOIN #ops").contains("ERR JOIN denied"));
}

#[test]
fn a_role_that_is_lost_takes_along_what_it_followed() {
    let mut world = World::new();
    let (mut root, mut alice) = (world.operator(), world.member("alice"));
    assert!(world.ask(&mut root, "ROLE * alice operator").contains("OK ROLE"));
    assert!(world.ask(&mut alice, "AUDIT FOLLOW").ends_with("OK AUDIT follow\n"));
    world.say(&mut root, "JOIN #one");
    assert!(alice.heard().contains(" AUDIT join root #one\n"));
    assert!(world.ask(&mut root, "ROLE * alice member").contains("OK ROLE"));
    alice.heard();
    world.say(&mut root, "JOIN #two");
    assert!(!alice.heard().contains("#two"));
    assert_eq!(code_of(&world.ask(&mut alice, "AUDIT LATEST")), Some("denied"));
}

#[test]
fn a_name_is_no_address() {
    let mut world = World::new();
    let mut person = world.from([192, 0, 2, 7]);
    for name in ["NICK 192.0.2.1", "NICK ::1"] {
        assert_eq!(code_of(&world.ask(&mut person, name)), Some("bad-nick"), "{name}");
    }
}

#[test]
fn the_server_keeps_out_people_addresses_and_tokens() {
    let mut world = World::new();
    let (mut root, mut alice) = (world.operator(), world.member("alice"));
    let script = world.bearer(&mut alice, "deploy", "@may=send");
    let mut far = world.from([192, 0, 2, 7]);
    assert!(world.ask(&mut far, "NICK far").contains("OK NICK far"));
    assert!(world.ask(&mut root, "BAN * 192.0.2.0/24 flood").ends_with("OK BAN * 192.0.2.0/24\n"));
    assert!(far.heard().contains("ERR - banned you are banned from this server: flood") && far.is_over());
    let mut again = world.from([192, 0, 2, 99]);
    assert!(world.ask(&mut again, "NICK fine").contains("ERR NICK banned"));
    assert!(world.ask(&mut again, &format!("AUTH PASSWORD alice {PASSWORD}")).contains("ERR AUTH banned"));
    assert!(world.ask(&mut root, "UNBAN * 192.0.2.0/24").contains("OK UNBAN"));
    assert!(world.ask(&mut again, "NICK fine").contains("OK NICK fine"));

    assert!(world.ask(&mut root, "BAN * alice/deploy leaked").contains("OK BAN * alice/deploy\n"));
    assert!(script.is_over() && !alice.is_over());
    assert!(world.ask(&mut root, "@expires=1h BAN * alice").contains("OK BAN * alice\n"));
    assert!(alice.is_over());
    let mut back = world.from([127, 0, 0, 1]);
    assert!(world.ask(&mut back, &format!("AUTH PASSWORD alice {PASSWORD}")).contains("ERR AUTH banned"));
    assert!(world.ask(&mut root, "BAN * root").contains("ERR BAN denied"), "not oneself");
    world.pass(3_600_001);
    let mut back = world.from([127, 0, 0, 1]);
    assert!(world.ask(&mut back, &format!("AUTH PASSWORD alice {PASSWORD}")).contains("OK AUTH alice"));
}

#[test]
fn a_token_that_ends_ends_its_sessions() {
    let mut world = World::new();
    let mut alice = world.member("alice");
    let script = world.bearer(&mut alice, "deploy", "@may=send;expires=1h");
    world.pass(3_599_000);
    assert!(!script.is_over());
    world.pass(2_000);
    assert!(script.is_over());
    let other = world.bearer(&mut alice, "other", "@may=send");
    assert_eq!(world.ask(&mut alice, "TOKEN REMOVE other"), "OK TOKEN other\n");
    assert!(other.is_over() && !alice.is_over());
}

#[test]
fn a_profile_and_a_status_are_shown_and_told() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.member("alice"), world.enter("bob"));
    alice.heard();
    bob.heard();
    assert!(
        world.ask(&mut alice, "STATUS away lunch").ends_with(":alice STATUS away lunch\nOK STATUS away\n")
    );
    assert!(bob.heard().contains(":alice STATUS away lunch\n"));
    assert!(world.ask(&mut alice, "PROFILE alice colour #3584e4").contains("OK PROFILE alice\n"));
    assert!(bob.heard().contains(":alice PROFILE alice colour=#3584e4\n"));
    assert!(world.ask(&mut alice, "PROFILE alice display Alice B.").contains("OK PROFILE alice\n"));
    bob.heard();
    let heard = without_who(&world.ask(&mut bob, "WHO alice"));
    let shown = "@account;display=Alice\\sB.;colour=#3584e4;text=lunch;rooms=#lobby USER alice away";
    assert!(heard.starts_with(shown), "{heard}");
    assert!(world.ask(&mut bob, "PROFILE bob colour #000000").contains("ERR PROFILE login-needed"));
    for line in ["colour red", "display \u{202e}evil", "shoe 44"] {
        assert!(world.ask(&mut alice, &format!("PROFILE alice {line}")).contains("bad-parameter"), "{line}");
    }
    // A picture comes and goes as bytes.
    world.say(&mut alice, "@bytes=5;ref=9 PROFILE alice avatar image/png");
    alice.session.bytes(b"pi"[..].into(), false);
    alice.session.bytes(b"xel"[..].into(), true);
    world.say(&mut alice, "PING 1");
    assert!(alice.heard().contains("@ref=9 OK PROFILE alice\n"));
    bob.heard();
    let heard = world.ask(&mut bob, "PROFILE alice avatar");
    assert_eq!(
        heard, "@avatar=3f8d7379e2f0f7d0;bytes=5 PROFILE alice avatar=image/png\npixel\nOK PROFILE alice\n",
        "as in a plain stream"
    );
    assert!(world.ask(&mut alice, "@bytes=5 PROFILE alice avatar image/svg+xml").contains("bad-parameter"));
    world.say(&mut alice, "@clear PROFILE alice avatar");
    bob.heard();
    assert!(!world.ask(&mut bob, "PROFILE alice").contains("avatar"));
}

#[test]
fn the_audit_trail_has_what_was_done_and_notices_a_change() {
    let mut world = World::new();
    let (mut alice, mut root) = (world.member("alice"), world.operator());
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "MSG #ops a secret word");
    world.say(&mut alice, "ROLE #ops root moderator");
    world.say(&mut root, "KICK #ops alice");
    let heard = world.ask(&mut root, "AUDIT LATEST 1000");
    for event in [
        "register alice alice password",
        "enter root -",
        "join alice #ops",
        "role alice root #ops moderator",
        "kick root alice #ops",
    ] {
        assert!(heard.contains(&format!(" AUDIT {event}")), "{event} in {heard}");
    }
    assert!(!heard.contains("secret word") && !heard.contains(PASSWORD), "{heard}");
    let narrowed = world.ask(&mut root, "@event=role;user=ALICE AUDIT LATEST");
    assert_eq!(narrowed.lines().count(), 2, "{narrowed}");
    assert!(world.ask(&mut root, "AUDIT VERIFY").contains("OK AUDIT "));
    // It goes on as it comes.
    assert!(world.ask(&mut root, "@event=join AUDIT FOLLOW").ends_with("OK AUDIT follow\n"));
    world.say(&mut alice, "JOIN #new");
    assert!(root.heard().contains(" AUDIT join alice #new\n"));
    world.log.tamper("UPDATE audit SET who = 'mallory' WHERE event = 'kick'");
    assert!(world.ask(&mut root, "AUDIT VERIFY").contains("ERR AUDIT hash-mismatch row"));
}

#[test]
fn a_part_of_the_audit_trail_goes_and_the_rest_can_be_verified() {
    let mut world = World::with("[log]\nkeep_audit = \"10\"\n");
    let (mut alice, mut root) = (world.enter("alice"), world.operator());
    for n in 0..30 {
        world.say(&mut alice, &format!("JOIN #r{n}"));
    }
    world.core.purge(0);
    world.say(&mut alice, "PING 1");
    let heard = world.ask(&mut root, "AUDIT LATEST 1000");
    assert!(heard.lines().count() < 20, "{heard}");
    assert!(heard.contains(" AUDIT purge - - rows 1 to "), "{heard}");
    assert!(world.ask(&mut root, "AUDIT VERIFY").contains("OK AUDIT "));
    world.log.tamper("DELETE FROM audit WHERE id = (SELECT min(id) FROM audit)");
    assert!(world.ask(&mut root, "AUDIT VERIFY").contains("hash-mismatch"));
}

#[test]
fn a_shutdown_is_announced_counted_down_and_can_be_called_off() {
    let mut world = World::new();
    let (mut root, mut alice) = (world.operator(), world.enter("alice"));
    let (stop, stopped) = async_channel::bounded(1);
    world.core.control.set_stop(stop);
    alice.heard();
    assert!(world.ask(&mut root, "SHUTDOWN 30s a new version").ends_with("OK SHUTDOWN 30\n"));
    assert_eq!(alice.heard(), ":root SHUTDOWN 30 a new version\n");
    world.pass(15_000);
    assert_eq!(alice.heard(), ":root SHUTDOWN 15 a new version\n");
    assert!(world.ask(&mut root, "SHUTDOWN CANCEL").ends_with("OK SHUTDOWN off\n"));
    assert_eq!(alice.heard(), ":root SHUTDOWN off\n");
    world.pass(60_000);
    assert!(!stopped.is_closed());
    assert!(world.ask(&mut alice, "SHUTDOWN NOW").contains("ERR SHUTDOWN denied"));
    assert!(world.ask(&mut root, "SHUTDOWN NOW").ends_with("OK SHUTDOWN 0\n"));
    assert!(stopped.is_closed());
}

#[test]
fn nobody_acts_against_themselves_or_against_who_runs_the_server() {
    let mut world = World::new();
    let (mut owner, mut root) = (world.keyed_member("owner"), world.operator());
    for person in [&mut owner, &mut root] {
        world.say(person, "JOIN #ops");
    }
    for line in ["BAN #ops owner", "KICK #ops owner", "MUTE #ops owner 5m"] {
        let heard = world.ask(&mut owner, line);
        assert!(heard.contains("denied that is you"), "{line}: {heard}");
    }
    for line in ["BAN #ops root", "KICK #ops root", "MUTE #ops root 5m"] {
        let heard = world.ask(&mut owner, line);
        assert!(heard.contains("denied they run this server"), "{line}: {heard}");
    }
    assert!(world.ask(&mut root, "BAN * root").contains("denied that is you"));
    assert!(world.ask(&mut root, "KICK * root").contains("denied that is you"));
    assert!(world.ask(&mut root, "KICK #ops owner").contains("OK KICK"));
    // With an account as well, and while they are away.
    world.say(&mut owner, "JOIN #ops");
    let key = encode_public_key(&ClientKey::from_seed(&[8; 32]).expect("a key").public_key());
    assert!(world.ask(&mut root, &format!("@key={key} REGISTER root")).contains("OK REGISTER"));
    assert!(world.ask(&mut owner, "KICK #ops root").contains("denied they run this server"));
    world.leave(root, Ending::Closed);
    assert!(world.ask(&mut owner, "BAN #ops root").contains("denied they run this server"));
}

#[test]
fn a_role_does_not_go_with_a_name() {
    let mut world = World::new();
    let (mut bob, mut alice) = (world.enter("bob"), world.enter("alice"));
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "MSG #ops mine");
    alice.heard();
    assert!(world.ask(&mut alice, "ROLE #ops").starts_with("ROLE #ops bob owner\n"));
    world.leave(bob, Ending::Closed);
    let mut other = world.enter("bob");
    let listed = world.ask(&mut alice, "ROLE #ops");
    assert!(listed.contains("@former ROLE #ops bob owner\n"), "{listed}");
    assert!(world.ask(&mut other, "ROLE #ops bob").contains("ROLE #ops bob none\n"));
}

#[test]
fn a_look_alike_gives_no_hidden_room_away() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #scope");
    world.say(&mut alice, "MSG #scope hello");
    let public = world.ask(&mut bob, "JOIN #\u{455}\u{441}\u{43e}\u{440}\u{435}");
    assert!(public.contains("looks-alike") && public.contains("#scope"), "{public}");
    world.say(&mut alice, "SET #scope access hidden");
    let hidden = world.ask(&mut bob, "JOIN #\u{455}\u{441}\u{43e}\u{440}\u{435}");
    assert!(hidden.contains("looks-alike") && !hidden.contains("#scope"), "{hidden}");
}

#[test]
fn whoever_joins_is_described_and_an_avatar_has_a_hash() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.keyed_member("alice"), world.enter("bob"));
    world.say(&mut alice, "PROFILE alice display Alice B.");
    world.say(&mut alice, "@bytes=3 PROFILE alice avatar image/png");
    alice.session.bytes(b"abc"[..].into(), true);
    world.work();
    // The beginning of the SHA-256 of abc.
    let hash = "ba7816bf8f01cfea";
    let heard = bob.heard();
    assert!(heard.contains(&format!("avatar={hash} :alice PROFILE alice avatar=image/png\n")), "{heard}");
    world.say(&mut bob, "JOIN #ops");
    bob.heard();
    world.say(&mut alice, "JOIN #ops");
    let heard = bob.heard();
    let described = format!("account;display=Alice\\sB.;avatar={hash} :alice JOIN #ops\n");
    assert!(heard.ends_with(&described), "{heard}");
    assert!(world.ask(&mut bob, "WHO alice").contains(&format!("avatar={hash};")));
    assert!(
        world
            .ask(&mut bob, "PROFILE alice")
            .contains(&format!("@avatar={hash} PROFILE alice avatar=image/png"))
    );
    // Another picture has another one, and none has none.
    world.say(&mut alice, "@bytes=3 PROFILE alice avatar image/png");
    alice.session.bytes(b"abd"[..].into(), true);
    world.work();
    assert!(!world.ask(&mut bob, "WHO alice").contains(hash));
    world.say(&mut alice, "@clear PROFILE alice avatar");
    bob.heard();
    assert!(!world.ask(&mut bob, "WHO alice").contains("avatar"));
}

#[test]
fn a_name_that_nobody_has_now_is_banned_for_who_takes_it() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    let mut bob = world.enter("bob");
    world.say(&mut bob, "JOIN #ops");
    world.leave(bob, Ending::Closed);
    alice.heard();
    // He has gone, and whoever comes by this name is another one.
    assert!(world.ask(&mut alice, "BAN #ops Bob spam").contains(":alice BAN #ops bob spam"));
    assert!(world.ask(&mut alice, "BAN #ops never-seen").ends_with("OK BAN #ops\n"));
    assert!(world.ask(&mut alice, "BAN #ops").contains("BAN #ops bob - spam"));
    let mut second = world.enter("bob");
    assert!(world.ask(&mut second, "JOIN #ops").starts_with("ERR JOIN banned"));
    assert!(world.ask(&mut second, "MSG #ops hi").starts_with("ERR MSG banned"));
    // Nor does one get around it by a new name, in the room or before.
    let mut carol = world.enter("carol");
    world.say(&mut carol, "JOIN #ops");
    let heard = world.ask(&mut carol, "NICK Never-Seen");
    assert!(heard.contains("ERR NICK banned") && heard.contains("#ops"), "{heard}");
    assert!(world.ask(&mut carol, "NICK caroline").contains("OK NICK caroline"));
    world.say(&mut carol, "LEAVE #ops");
    assert!(world.ask(&mut carol, "NICK never-seen").contains("OK NICK never-seen"));
    assert!(world.ask(&mut carol, "JOIN #ops").starts_with("ERR JOIN banned"));
    // It is taken back by the name.
    assert!(world.ask(&mut alice, "UNBAN #ops bob").ends_with("OK UNBAN #ops\n"));
    assert!(world.ask(&mut second, "JOIN #ops").ends_with("OK JOIN #ops\n"));
    // The same holds on the server.
    let mut root = world.operator();
    assert!(world.ask(&mut root, "BAN * dave").ends_with("OK BAN * dave\n"));
    let mut dave = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    assert!(world.ask(&mut dave, "NICK Dave").contains(" banned "));
    assert!(world.ask(&mut second, "NICK dave").contains("ERR NICK banned"));
}

#[test]
fn a_guest_who_is_away_is_banned_with_and_without_the_name() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    for line in ["JOIN #ops", "SET #ops access invite"] {
        world.say(&mut alice, line);
    }
    let token = "0123456789abcdef0123456789abcdef";
    let come = |world: &mut World, nick: &str| {
        let mut bob = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
        let heard = world.ask(&mut bob, &format!("@token={token} NICK {nick}"));
        assert!(heard.contains(&format!("OK NICK {nick}")), "{heard}");
        bob
    };
    let mut bob = come(&mut world, "bob");
    world.say(&mut alice, "INVITE #ops bob");
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut bob, "MSG #ops spam");
    world.leave(bob, Ending::Closed);
    assert!(world.ask(&mut alice, "BAN #ops bob spam").ends_with("OK BAN #ops\n"));
    let listed = world.ask(&mut alice, "BAN #ops");
    assert!(listed.matches("BAN #ops bob - spam").count() == 1 && listed.contains("OK BAN 1"), "{listed}");
    // By another name he is the same.
    let mut bob = come(&mut world, "bobby");
    assert!(world.ask(&mut bob, "JOIN #ops").contains("ERR JOIN "));
    world.say(&mut alice, "SET #ops access public");
    assert!(world.ask(&mut bob, "JOIN #ops").contains("ERR JOIN banned"));
    let mut other = world.enter("bob");
    assert!(world.ask(&mut other, "JOIN #ops").contains("ERR JOIN banned"));
    assert!(world.ask(&mut alice, "UNBAN #ops bob").ends_with("OK UNBAN #ops\n"));
    for who in [&mut bob, &mut other] {
        assert!(world.ask(who, "JOIN #ops").ends_with("OK JOIN #ops\n"));
    }
}

#[test]
fn unban_lifts_the_ban_of_who_has_the_name_now_and_no_other() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    let mut first = world.enter("bob");
    world.say(&mut alice, "BAN #ops bob");
    world.say(&mut first, "NICK rob");
    let mut second = world.enter("bob");
    world.pass(1_000);
    world.say(&mut alice, "BAN #ops bob");
    assert!(world.ask(&mut alice, "BAN #ops").contains("OK BAN 2"));
    assert!(world.ask(&mut alice, "UNBAN #ops bob").contains("OK UNBAN #ops"));
    assert!(world.ask(&mut second, "JOIN #ops").contains("OK JOIN #ops"));
    assert!(world.ask(&mut first, "JOIN #ops").contains("ERR JOIN banned"));
    assert!(world.ask(&mut alice, "UNBAN #ops rob").contains("OK UNBAN #ops"));
    assert!(world.ask(&mut first, "JOIN #ops").contains("OK JOIN #ops"));
}

#[test]
fn a_room_holds_so_many_bans_and_no_more() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    for number in 0..snug_protocol::limits::BANS {
        let mut heard = world.ask(&mut alice, &format!("BAN #ops nobody{number}"));
        while heard.contains("slow-down") {
            world.pass(60_000);
            heard = world.ask(&mut alice, &format!("BAN #ops nobody{number}"));
        }
        assert!(heard.contains("OK BAN #ops"), "{heard}");
    }
    world.pass(60_000);
    assert!(world.ask(&mut alice, "BAN #ops one-more").contains("ERR BAN too-many"));
    assert!(world.ask(&mut alice, "@expires=1h BAN #ops nobody8").contains("OK BAN"), "it is there already");
    assert!(world.ask(&mut alice, "UNBAN #ops nobody7").contains("OK UNBAN"));
    assert!(world.ask(&mut alice, "BAN #ops one-more").contains("OK BAN #ops"));
}

#[test]
fn a_role_s_entry_says_what_it_was_and_a_ban_s_whether_somebody_was_put_out() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    let mut bob = world.enter("bob");
    world.say(&mut bob, "JOIN #ops");
    let mut carol = world.account("carol");
    world.say(&mut carol, "JOIN #ops");
    world.leave(carol, Ending::Closed);
    for (line, tag) in [
        ("ROLE #ops bob moderator", ";was=none :alice ROLE"),
        ("ROLE #ops bob member", ";was=moderator :alice ROLE"),
        ("ROLE #ops bob none", ";was=member :alice ROLE"),
        ("BAN #ops bob", ";out :alice BAN"),
        ("BAN #ops bob", "Z :alice BAN"),
        ("BAN #ops carol", ";out :alice BAN"),
        ("BAN #ops nobody", "Z :alice BAN"),
    ] {
        let heard = world.ask(&mut alice, line);
        assert!(heard.contains(tag), "{line}: {heard}");
    }
    let page = world.ask(&mut alice, "HISTORY #ops LATEST");
    assert_eq!((page.matches("was=").count(), page.matches(";out ").count()), (3, 2), "{page}");
}

#[test]
fn who_sets_the_topic_is_a_setting() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    let mut bob = world.enter("bob");
    world.say(&mut bob, "JOIN #ops");
    assert!(world.ask(&mut bob, "TOPIC #ops one").ends_with("OK TOPIC #ops\n"));
    assert!(world.ask(&mut alice, "SET #ops topic nobody").contains("ERR SET bad-parameter"));
    assert!(world.ask(&mut alice, "SET #ops topic moderators").ends_with("OK SET #ops\n"));
    assert!(bob.heard().contains(":alice SET #ops topic=moderators"), "the room hears of it");
    assert!(world.ask(&mut bob, "SET #ops").contains("SET #ops topic=moderators\n"));
    assert!(world.ask(&mut bob, "TOPIC #ops two").starts_with("ERR TOPIC denied"));
    assert!(world.ask(&mut bob, "@clear TOPIC #ops").starts_with("ERR TOPIC denied"));
    assert!(world.ask(&mut bob, "MSG #ops hi").ends_with("OK MSG #ops\n"), "words are something else");
    world.say(&mut alice, "ROLE #ops bob moderator");
    bob.heard();
    assert!(world.ask(&mut bob, "TOPIC #ops two").ends_with("OK TOPIC #ops\n"));
    assert!(world.ask(&mut alice, "SET #ops topic accounts").ends_with("OK SET #ops\n"));
    let mut carol = world.enter("carol");
    world.say(&mut carol, "JOIN #ops");
    assert!(world.ask(&mut carol, "TOPIC #ops three").contains("ERR TOPIC login-needed"));
}

#[test]
fn an_owner_may_step_down_and_the_first_moderator_follows() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    let people: Vec<Person> = ["bob", "carol", "dora"].into_iter().map(|nick| world.enter(nick)).collect();
    for (nick, role) in [("dora", "member"), ("carol", "moderator"), ("bob", "moderator")] {
        assert!(world.ask(&mut alice, &format!("ROLE #ops {nick} {role}")).ends_with("OK ROLE #ops\n"));
    }
    let heard = world.ask(&mut alice, "ROLE #ops alice none");
    assert!(heard.contains(";was=owner :alice ROLE #ops alice none"), "{heard}");
    let rows = |world: &mut World, alice: &mut Person| {
        let heard = world.ask(alice, "ROLE #ops");
        heard.lines().filter(|line| line.starts_with("ROLE")).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = ["ROLE #ops carol owner", "ROLE #ops bob moderator", "ROLE #ops dora member"];
    assert_eq!(rows(&mut world, &mut alice), expected);
    assert!(world.ask(&mut alice, "KICK #ops bob").starts_with("ERR KICK denied"));
    // As a moderator one stays, and without another moderator it has no owner.
    let mut erin = world.enter("erin");
    world.say(&mut erin, "JOIN #solo");
    assert!(world.ask(&mut erin, "ROLE #solo erin moderator").ends_with("OK ROLE #solo\n"));
    assert!(world.ask(&mut erin, "ROLE #solo").contains("ROLE #solo erin moderator\nOK ROLE 1\n"));
    drop(people);
}

#[test]
fn an_invitation_and_being_put_out_are_in_one_s_own_log() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    for line in ["JOIN #board", "SET #board access invite", "JOIN #club"] {
        world.say(&mut alice, line);
    }
    let mut carol = world.account("carol");
    world.say(&mut carol, "JOIN #club");
    world.leave(carol, Ending::Closed);
    let before = world.core.delivered.load(Relaxed);
    for line in ["MSG #board secret", "INVITE #board carol", "KICK #club carol too quiet", "MSG #club gone"] {
        assert!(world.ask(&mut alice, line).contains("OK "), "{line}");
    }
    // She was away: both are in what she missed, and nothing else of these rooms.
    let mut carol = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut carol, &format!("@since={before} AUTH PASSWORD carol correct horse battery"));
    assert!(heard.contains("OK AUTH carol"), "{heard}");
    let page = world.ask(&mut carol, &format!("SYNC {before}"));
    let entries: Vec<&str> =
        page.lines().filter_map(|line| line.split_once(" :")).map(|(_, said)| said).collect();
    assert_eq!(entries, ["alice INVITE #board carol", "alice KICK #club carol too quiet"], "{page}");
    // Without a cursor, they follow the OK of the login.
    world.leave(carol, Ending::Closed);
    world.say(&mut alice, "INVITE #club carol");
    let mut carol = world.connect(Origin::Tcp([127, 0, 0, 1].into()));
    let heard = world.ask(&mut carol, "AUTH PASSWORD carol correct horse battery");
    assert!(heard.contains(":alice INVITE #club carol"), "{heard}");
    // In the room, it is there once.
    world.say(&mut carol, "JOIN #board");
    world.say(&mut carol, "JOIN #club");
    let page = world.ask(&mut carol, &format!("SYNC {before}"));
    assert_eq!(page.matches(" INVITE ").count(), 2, "{page}");
    assert_eq!(page.matches(" KICK ").count(), 1, "{page}");
    // Who has nothing to do with it sees nothing of it.
    let mut dora = world.enter("dora");
    let page = world.ask(&mut dora, &format!("SYNC {before}"));
    assert!(!page.contains("INVITE") && !page.contains("KICK"), "{page}");
}
