use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use proptest::prelude::*;

use super::schema::MIGRATIONS;
use super::*;
use crate::Clock;
use crate::Retention;
use crate::config::Durability;
use rusqlite::Connection;
use snug_protocol::{Code, EntryKind, LogName, Role, RoomName, Timestamp};

const LIMITS: LogLimits = LogLimits { entries: 100, key_window: 1_000 };

/// Four rooms are the limit in the tests of this file; of these, guests have three.
const QUOTAS: RoomQuotas = RoomQuotas { all: 5, account: 9, guest: 9 };

/// A log with the room of number 1, and a clock that the test moves.
struct World {
    log: Log,
    now: i64,
}

impl World {
    fn new(limits: LogLimits) -> World {
        let mut world = World { log: Log::in_memory(LogName(7), limits).expect("a database"), now: 1_000 };
        assert_eq!(world.one(make("#lobby")), room(1, 1, "#lobby"));
        world
    }

    fn one(&mut self, draft: Draft) -> Outcome {
        let mut outcomes = self.pack(&[draft]);
        outcomes.remove(0)
    }

    fn pack(&mut self, drafts: &[Draft]) -> Vec<Outcome> {
        let drafts: Vec<&Draft> = drafts.iter().collect();
        self.log.commit(Timestamp::from_millis(self.now), &drafts).expect("a commit")
    }
}

fn by(number: u64, act: Act) -> Draft {
    Draft::new(Author { number, nick: format!("n{number}"), ..Author::default() }, act)
}

/// A room as it is made.
fn room(number: u64, generation: u64, name: &str) -> Outcome {
    let (name, settings) = (name.to_owned(), RoomSettings::default());
    Outcome::Room(StoredRoom { number, generation, name, owner: 1, persists: false, settings, topic: None })
}

/// Entry `id` of the first room.
fn applied(id: u64, millis: i64) -> Outcome {
    Outcome::Applied { id, time: at(millis), conversation: 1, addressee: None, edits: None, tag: "" }
}

fn make(name: &'static str) -> Draft {
    by(1, Act::MakeRoom { name: RoomName::parse(name).expect("a room"), quotas: QUOTAS, stays: true })
}

fn entry(to: Conversation, text: &str) -> NewEntry {
    let kind = if matches!(to, Conversation::Room(_)) { EntryKind::Msg } else { EntryKind::Priv };
    NewEntry { text: Some(text.to_owned()), ..NewEntry::new(kind, to) }
}

fn say(author: u64, text: &str) -> Draft {
    by(author, Act::Enter(entry(Conversation::Room(1), text)))
}

/// A change of a room's setting, as SET makes it.
fn change(author: u64, room: u64, setting: RoomSetting, members: Vec<u64>) -> Draft {
    let (name, value) = RoomSettings::default().set(&setting);
    let entry = NewEntry {
        text: Some(format!("{name}={value}")),
        moderation: Some(Moderation::Set { setting, members }),
        ..NewEntry::new(EntryKind::Set, Conversation::Room(room))
    };
    by(author, Act::Enter(entry))
}

fn keyed(author: u64, to: Conversation, key: &str, text: &str) -> Draft {
    by(author, Act::Enter(NewEntry { key: Some(key.to_owned()), ..entry(to, text) }))
}

fn code(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Refused(refusal) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn ids_are_dense_and_a_refusal_in_the_middle_takes_none() {
    let mut world = World::new(LIMITS);
    let nowhere = by(1, Act::Enter(entry(Conversation::Room(9), "lost")));
    let outcomes = world.pack(&[say(1, "a"), nowhere, say(2, "b")]);
    assert_eq!(outcomes[0], applied(1, 1_000));
    assert_eq!(code(outcomes[1].clone()), Code::NoSuchRoom);
    assert_eq!(outcomes[2], applied(2, 1_000));
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new(LIMITS);
    world.now = 5_000;
    world.one(say(1, "a"));
    world.now = 3_000;
    assert_eq!(world.one(say(1, "b")), applied(2, 5_000));
}

#[test]
fn a_key_makes_a_repeat_harmless() {
    let mut world = World::new(LIMITS);
    let room = Conversation::Room(1);
    let first = applied(1, 1_000);
    assert_eq!(world.one(keyed(1, room, "k", "hi")), first);
    world.now = 1_500;
    assert_eq!(world.one(keyed(1, room, "k", "hi")), Outcome::Duplicate { id: 1, time: at(1_000) });
    assert_eq!(code(world.one(keyed(1, room, "k", "ho"))), Code::KeyReused);
    // Its scope is sender and target.
    assert_eq!(world.one(keyed(2, room, "k", "ho")), applied(2, 1_500));
    let private = world.one(keyed(1, Conversation::With(2), "k", "ho"));
    assert!(matches!(private, Outcome::Applied { id: 3, .. }));
}

#[test]
fn a_key_counts_within_one_pack_and_compares_what_was_said_before_filters() {
    let mut world = World::new(LIMITS);
    let filtered = |text: &str| {
        let mut draft = keyed(1, Conversation::Room(1), "k", text);
        if let Act::Enter(entry) = &mut draft.act {
            entry.original = Some(":smile:".to_owned());
        }
        draft
    };
    let outcomes = world.pack(&[filtered("\u{1f604}"), filtered("\u{1f603}")]);
    assert_eq!(outcomes[1], Outcome::Duplicate { id: 1, time: at(1_000) });
}

#[test]
fn a_key_is_forgotten_when_its_window_is_over() {
    let mut world = World::new(LIMITS);
    world.one(keyed(1, Conversation::Room(1), "k", "hi"));
    world.now = 2_001;
    assert_eq!(world.one(keyed(1, Conversation::Room(1), "k", "ho")), applied(2, 2_001));
    world.now = 9_999;
    world.one(say(1, "later"));
    let keys: u64 =
        world.log.database.query_row("SELECT count(*) FROM key", [], |row| row.get(0)).expect("a count");
    assert_eq!(keys, 0);
}

#[test]
fn an_answer_stays_in_its_conversation() {
    let mut world = World::new(LIMITS);
    let answer = |author, to, re| by(author, Act::Enter(NewEntry { re: Some(re), ..entry(to, "re") }));
    world.pack(&[say(1, "public"), by(1, Act::Enter(entry(Conversation::With(2), "private")))]);
    assert!(matches!(world.one(answer(3, Conversation::Room(1), 1)), Outcome::Applied { .. }));
    assert!(matches!(world.one(answer(2, Conversation::With(1), 2)), Outcome::Applied { .. }));
    for (author, to, re) in [
        (3, Conversation::Room(1), 2),
        (3, Conversation::With(1), 2),
        (3, Conversation::With(2), 2),
        (1, Conversation::With(2), 1),
        (1, Conversation::Room(1), 99),
        (1, Conversation::Room(1), snug_protocol::Cursor::LARGEST),
    ] {
        assert_eq!(code(world.one(answer(author, to, re))), Code::NoSuchEntry, "{author} {to:?} {re}");
    }
    let pairs = world.log.database.query_row("SELECT count(*) FROM pair", [], |row| row.get::<_, u64>(0));
    assert_eq!(pairs.expect("a count"), 1, "a refusal leaves no conversation behind");
}

#[test]
fn rooms_are_made_once_and_look_alikes_and_too_many_are_refused() {
    let mut world = World::new(LIMITS);
    assert_eq!(world.one(make("#LOBBY")), room(1, 2, "#lobby"));
    assert_eq!(code(world.one(make("#l\u{43e}bby"))), Code::LooksAlike);
    for name in ["#a", "#b", "#c"] {
        assert!(matches!(world.one(make(name)), Outcome::Room { .. }));
    }
    assert_eq!(code(world.one(make("#d"))), Code::TooMany);
}

#[test]
fn only_a_room_in_which_nobody_wrote_is_retired() {
    let mut world = World::new(LIMITS);
    assert_eq!(world.one(make("#a")), room(2, 1, "#a"));
    world.one(say(1, "hi"));
    assert_eq!(world.one(by(1, Act::RetireRoom { room: 1, generation: 1, upto: 0 })), Outcome::Kept);
    world.one(make("#A"));
    let retire = |generation| by(1, Act::RetireRoom { room: 2, generation, upto: 0 });
    assert_eq!(world.one(retire(1)), Outcome::Done, "somebody has come back since");
    assert_eq!(world.one(retire(2)), Outcome::Retired);
}

#[test]
fn the_oldest_entries_are_forgotten_and_the_room_stays() {
    let mut world = World::new(LogLimits { entries: 3, ..LIMITS });
    for n in 0..10 {
        world.one(keyed(1, Conversation::Room(1), &format!("k{n}"), "hi"));
    }
    let left = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        world.log.database.query_row(&sql, [], |row| row.get::<_, u64>(0)).expect("a count")
    };
    assert_eq!((left("entry"), left("key"), left("room")), (3, 10, 1), "keys are kept for their time");
}

/// An act about an entry of the first room.
fn about(author: u64, kind: EntryKind, id: u64, text: Option<&str>) -> Draft {
    let text = text.map(str::to_owned);
    by(author, Act::Enter(NewEntry { kind, about: Some(id), text, ..entry(Conversation::Room(1), "") }))
}

impl World {
    fn texts(&self, me: u64, conversation: u64) -> Vec<String> {
        let name: Arc<str> = Arc::from("x");
        let part = (Part::After(0), Wanted::All);
        let (page, _) = self.log.view().history(me, (conversation, &name), part, 100).expect("a page");
        page.rows.iter().map(shown).collect()
    }
}

/// A row as a few words.
fn shown(row: &Row) -> String {
    match row {
        Row::Gap(gap) => format!("gap {}-{}", gap.from, gap.to),
        Row::Entry { entry, .. } => {
            let mut words = vec![entry.id.to_string(), entry.kind.word().to_owned()];
            words.extend(entry.about.map(|id| id.to_string()));
            words.extend(entry.text.as_deref().map(str::to_owned));
            words.extend(entry.edited.map(|id| format!("edited={id}")));
            words.extend(entry.deleted.map(|id| format!("deleted={id}")));
            words.extend(Some(entry.reactions.to_string()).filter(|reactions| !reactions.is_empty()));
            words.join(" ")
        }
    }
}

#[test]
fn an_edit_is_an_entry_and_changes_the_message() {
    let mut world = World::new(LIMITS);
    world.one(say(1, "helo"));
    assert_eq!(code(world.one(about(2, EntryKind::Edit, 1, Some("mine now")))), Code::Denied);
    assert_eq!(code(world.one(about(1, EntryKind::Edit, 9, Some("nothing")))), Code::NoSuchEntry);
    let edited = Outcome::Applied {
        id: 2,
        time: at(1_000),
        conversation: 1,
        addressee: None,
        edits: Some(1),
        tag: "",
    };
    assert_eq!(world.one(about(1, EntryKind::Edit, 1, Some("hello"))), edited);
    assert_eq!(world.texts(1, 1), ["1 MSG hello edited=2", "2 EDIT 1 hello"]);
    assert_eq!(code(world.one(about(1, EntryKind::Edit, 2, Some("an edit")))), Code::NoSuchEntry);
}

#[test]
fn a_deletion_leaves_nothing_of_what_was_said() {
    let mut world = World::new(LIMITS);
    let room = Conversation::Room(1);
    world.one(keyed(1, room, "k", "first secret"));
    world.one(about(1, EntryKind::Edit, 1, Some("second secret")));
    world.one(about(2, EntryKind::React, 1, Some("+1")));
    assert_eq!(code(world.one(about(2, EntryKind::Delete, 1, None))), Code::Denied);
    assert_eq!(world.one(about(1, EntryKind::Delete, 1, None)), applied(4, 1_000));
    assert_eq!(world.texts(2, 1), ["1 MSG edited=2 deleted=4", "2 EDIT 1", "3 REACT 1 +1", "4 DELETE 1"]);
    assert_eq!(
        world.one(about(1, EntryKind::Delete, 1, None)),
        Outcome::Duplicate { id: 4, time: at(1_000) }
    );
    assert_eq!(code(world.one(about(1, EntryKind::Edit, 1, Some("again")))), Code::NoSuchEntry);
    // Its key is still known, whatever is said under it.
    assert_eq!(world.one(keyed(1, room, "k", "other")), Outcome::Duplicate { id: 1, time: at(1_000) });
    let secrets: u64 = world
        .log
        .database
        .query_row("SELECT count(*) FROM entry WHERE text LIKE '%secret%'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(secrets, 0);

    world.one(say(1, "rude"));
    let mut moderates = about(2, EntryKind::Delete, 5, None);
    moderates.author.by_origin = Role::Operator;
    assert_eq!(world.one(moderates), applied(6, 1_000));
}

#[test]
fn reactions_add_up_once_for_each_person() {
    let mut world = World::new(LIMITS);
    world.one(say(1, "lunch?"));
    world.one(about(1, EntryKind::React, 1, Some("+1")));
    world.one(about(2, EntryKind::React, 1, Some("+1")));
    let again = world.one(about(2, EntryKind::React, 1, Some("+1")));
    assert_eq!(again, Outcome::Duplicate { id: 3, time: at(1_000) });
    world.one(about(2, EntryKind::React, 1, Some("yes")));
    assert_eq!(world.texts(1, 1)[0], "1 MSG lunch? +1=2,yes=1");
    world.one(about(1, EntryKind::Unreact, 1, Some("+1")));
    assert_eq!(world.texts(1, 1)[0], "1 MSG lunch? +1=1,yes=1");
    assert_eq!(code(world.one(about(1, EntryKind::Unreact, 1, Some("+1")))), Code::NoSuchEntry);
    for n in 0..48 {
        world.one(about(3, EntryKind::React, 1, Some(&format!("r{n}"))));
    }
    assert_eq!(code(world.one(about(3, EntryKind::React, 1, Some("one more")))), Code::TooMany);
}

#[test]
fn replace_edits_the_newest_under_its_word() {
    let mut world = World::new(LIMITS);
    let status = |author, text: &str| {
        let replace = Some("status".to_owned());
        by(author, Act::Enter(NewEntry { replace, ..entry(Conversation::Room(1), text) }))
    };
    assert_eq!(world.one(status(1, "10 %")), applied(1, 1_000));
    let edits = |id, of| Outcome::Applied {
        id,
        time: at(1_000),
        conversation: 1,
        addressee: None,
        edits: Some(of),
        tag: "",
    };
    assert_eq!(world.one(status(1, "20 %")), edits(2, 1));
    assert_eq!(world.one(status(2, "mine")), applied(3, 1_000), "the word is one's own");
    world.one(about(1, EntryKind::Delete, 1, None));
    assert_eq!(world.one(status(1, "anew")), applied(5, 1_000));
    assert_eq!(world.one(status(1, "newest")), edits(6, 5));
}

#[test]
fn who_may_read_a_room_is_its_setting() {
    let mut world = World::new(LIMITS);
    world.one(make("#team"));
    let team = 2;
    let tell = |text: &str| by(1, Act::Enter(entry(Conversation::Room(team), text)));
    let set = |author, readers, members: &[u64]| {
        let (setting, members) = (RoomSetting::History(readers), members.to_vec());
        change(author, team, setting, members)
    };
    world.one(tell("to all"));
    assert_eq!(code(world.one(set(7, Readers::None, &[]))), Code::Denied);
    world.one(set(1, Readers::Joined, &[1]));
    world.one(tell("before 2 came"));
    let join = |author| {
        by(
            author,
            Act::MakeRoom { name: RoomName::parse("#team").expect("a room"), quotas: QUOTAS, stays: true },
        )
    };
    world.one(join(2));
    world.one(join(2));
    world.one(tell("2 is here"));
    world.one(by(2, Act::EndStay { room: team }));
    world.one(tell("2 has left"));
    world.one(join(2));
    world.one(tell("2 is back"));
    assert_eq!(world.texts(2, team), ["1 MSG to all", "4 MSG 2 is here", "6 MSG 2 is back"]);
    assert_eq!(world.texts(1, team).len(), 6, "whoever set it was there");
    assert_eq!(world.texts(3, team), ["1 MSG to all"]);
    // What one may not see can be answered, edited and reacted to no more than what does not exist.
    let react = |author, id| {
        let kind = EntryKind::React;
        let entry = NewEntry { kind, about: Some(id), ..entry(Conversation::Room(team), "+1") };
        by(author, Act::Enter(entry))
    };
    assert_eq!(code(world.one(react(2, 5))), Code::NoSuchEntry);
    assert!(matches!(world.one(react(2, 4)), Outcome::Applied { .. }));
    world.one(set(1, Readers::None, &[]));
    world.one(tell("nobody's"));
    world.one(set(1, Readers::All, &[]));
    world.one(tell("to all again"));
    // What was said among some stays among them, and what was said to all stays everybody's.
    assert_eq!(world.texts(3, team), ["1 MSG to all", "10 SET history=all", "11 MSG to all again"]);
    assert_eq!(world.texts(2, team).len(), 6);
    // Its author can take back what nobody may read.
    let take_back =
        NewEntry { kind: EntryKind::Delete, about: Some(9), ..entry(Conversation::Room(team), "") };
    assert!(matches!(world.one(by(1, Act::Enter(take_back))), Outcome::Applied { .. }));
}

#[test]
fn opening_a_room_opens_nothing_that_was_said_before() {
    let mut world = World::new(LIMITS);
    world.one(make("#team"));
    let team = 2;
    let tell = |text: &str| by(1, Act::Enter(entry(Conversation::Room(team), text)));
    let set = |setting| change(1, team, setting, vec![1]);
    let texts = |world: &World, number| -> Vec<String> {
        world.texts(number, team).into_iter().filter(|text| text.contains("MSG")).collect()
    };
    world.one(tell("open"));
    world.one(set(RoomSetting::Access(RoomAccess::Invite)));
    world.one(tell("among members"));
    assert_eq!(texts(&world, 3), [""; 0], "outside, nothing is there any more");
    world.one(set(RoomSetting::Read(Rank::Moderators)));
    world.one(tell("among moderators"));
    world.one(set(RoomSetting::Access(RoomAccess::Public)));
    world.one(set(RoomSetting::Read(Rank::All)));
    world.one(tell("open again"));
    assert_eq!(texts(&world, 3), ["1 MSG open", "8 MSG open again"]);
    assert_eq!(texts(&world, 1).len(), 4, "its owner may read all of it");
    // Whoever gets a place later has that place in what was said before, too: members see that act.
    let role = |role| {
        let moderation = Some(Moderation::Role { whom: 3, role: Some(role) });
        let kind = EntryKind::Role;
        by(1, Act::Enter(NewEntry { moderation, kind, ..entry(Conversation::Room(team), "n3 role") }))
    };
    world.one(role(Role::Member));
    assert_eq!(texts(&world, 3), ["1 MSG open", "3 MSG among members", "8 MSG open again"]);
    world.one(role(Role::Moderator));
    assert_eq!(texts(&world, 3).len(), 4);
    // Its old entries cannot be answered or searched either.
    let answer = NewEntry { re: Some(3), ..entry(Conversation::Room(team), "what?") };
    assert_eq!(code(world.one(by(4, Act::Enter(answer)))), Code::NoSuchEntry);
}

#[test]
fn an_operator_without_a_place_opens_no_private_room() {
    let mut world = World::new(LIMITS);
    world.one(make("#team"));
    let team = 2;
    let operator = |draft: Draft| {
        let author =
            Author { number: 9, nick: "root".to_owned(), by_origin: Role::Operator, ..Author::default() };
        Draft { author, ..draft }
    };
    world.one(operator(change(9, team, RoomSetting::Access(RoomAccess::Invite), vec![1])));
    for setting in [
        RoomSetting::Access(RoomAccess::Public),
        RoomSetting::Access(RoomAccess::Hidden),
        RoomSetting::Read(Rank::All),
        RoomSetting::Join(Rank::All),
        RoomSetting::Invite(Rank::Members),
        RoomSetting::History(Readers::All),
    ] {
        assert_eq!(code(world.one(operator(change(9, team, setting, vec![])))), Code::Denied);
    }
    // What opens nothing is still an operator's.
    assert!(matches!(
        world.one(operator(change(9, team, RoomSetting::Slow(None), vec![]))),
        Outcome::Applied { .. }
    ));
    let moderation = Some(Moderation::Role { whom: 9, role: Some(Role::Member) });
    let kind = EntryKind::Role;
    let place = NewEntry { moderation, kind, ..entry(Conversation::Room(team), "root member") };
    assert!(matches!(world.one(operator(by(9, Act::Enter(place)))), Outcome::Applied { .. }));
    let opened = world.one(operator(change(9, team, RoomSetting::Access(RoomAccess::Public), vec![])));
    assert!(matches!(opened, Outcome::Applied { .. }));
}

#[test]
fn markers_only_go_forward_and_receipts_are_told_once() {
    let mut world = World::new(LIMITS);
    let known = IdentityRecord {
        number: 2,
        nick: "n2".to_owned(),
        fold: "n2".to_owned(),
        proof: "user:1:n2".to_owned(),
        bot: false,
    };
    for text in ["one", "two", "three"] {
        world.one(Draft { records: vec![known.clone()], ..keyed(1, Conversation::With(2), text, text) });
    }
    let of = Conversation::With(1);
    let read = |id, receipt| by(2, Act::Read { of, nick: "n1".to_owned(), id, receipt });
    assert_eq!(world.one(read(2, false)), Outcome::Read { id: 2, moved: true, told: None, other: Some(1) });
    assert_eq!(
        world.one(read(1, true)),
        Outcome::Read { id: 2, moved: false, told: Some(1), other: Some(1) }
    );
    assert_eq!(world.one(read(1, true)), Outcome::Read { id: 2, moved: false, told: None, other: Some(1) });
    assert_eq!(code(world.one(read(9, true))), Code::NoSuchEntry);
    let acknowledge = |id| by(2, Act::Acknowledge { id });
    let arrived = |upto, newest: Option<u64>| {
        let arrived = newest.map(|id| (1, String::new(), id)).into_iter().collect();
        Outcome::Acknowledged { upto, arrived }
    };
    assert_eq!(world.one(acknowledge(2)), arrived(2, Some(2)));
    assert_eq!(world.one(acknowledge(2)), arrived(2, None));
    assert_eq!(world.one(acknowledge(99)), arrived(3, Some(3)));
}

#[test]
fn what_is_kept_no_longer_goes_in_small_steps_and_is_told() {
    let mut world = World::new(LogLimits { entries: 1_000, ..LIMITS });
    for n in 0..450 {
        world.now = 1_000 + n;
        world.one(say(1, &format!("text {n}")));
    }
    let purge = |keep| {
        by(0, Act::Purge { behind: 0, rooms: keep, private: Retention::Forever, audit: Retention::Forever })
    };
    let Outcome::Purged { gone, next } = world.one(purge(Retention::Newest(100))) else { panic!("a purge") };
    assert_eq!((gone, next), (vec![(1, 201, 200)], Some(0)), "a step is small");
    while matches!(world.one(purge(Retention::Newest(100))), Outcome::Purged { next: Some(_), .. }) {}
    assert_eq!(world.texts(1, 1)[..2], ["gap 1-350", "351 MSG text 350"]);
    // By age, and a room has a setting of its own.
    world.now = 2_440;
    world.one(purge(Retention::Age(1_000)));
    assert_eq!(world.texts(1, 1)[..2], ["gap 1-440", "441 MSG text 440"]);
    let setting = RoomSetting::Retention(Some(Retention::Newest(1)));
    world.one(change(1, 1, setting, Vec::new()));
    world.one(purge(Retention::Forever));
    assert_eq!(world.texts(1, 1), ["gap 1-450", "451 SET keep=1"]);
    assert_eq!(world.one(say(1, "next")), applied(452, 2_440));
}

#[test]
fn pages_go_both_ways_and_say_whether_there_is_more() {
    let mut world = World::new(LIMITS);
    for n in 1..=10 {
        world.now = 1_000 * n;
        world.one(say(1, "x"));
    }
    let name: Arc<str> = Arc::from("#lobby");
    let page = |part, limit| {
        let part = (part, Wanted::All);
        let (page, _) = world.log.view().history(1, (1, &name), part, limit).expect("a page");
        let ids: Vec<u64> = page
            .rows
            .iter()
            .map(|row| shown(row).split(' ').next().and_then(|id| id.parse().ok()).expect("an id"))
            .collect();
        (ids, page.more)
    };
    assert_eq!(page(Part::Before(u64::MAX >> 1), 3), (vec![8, 9, 10], true));
    assert_eq!(page(Part::Before(4), 3), (vec![1, 2, 3], false));
    assert_eq!(page(Part::After(0), 3), (vec![1, 2, 3], true));
    assert_eq!(page(Part::After(8), 3), (vec![9, 10], false));
    assert_eq!(page(Part::Around(5), 4), (vec![3, 4, 5, 6], true));
    assert_eq!(page(Part::Around(1), 3), (vec![1, 2, 3], true));
    let view = world.log.view();
    for (millis, last) in [(0, 0), (1_000, 0), (1_001, 1), (5_500, 5), (99_000, 10)] {
        assert_eq!(view.last_before(at(millis)), Ok(last), "{millis}");
    }
}

/// Searches by the steps of a clock, and returns all rows.
fn scan(world: &World, me: u64, text: &str, before: Option<u64>, clock: &dyn Clock) -> Rows {
    let index = Index::new(&world.log.database);
    index.catch_up().expect("an index");
    let query = Query::parse(text).expect("a query");
    let within = query.place().and_then(|place| index.conversation(me, place, None).expect("a place"));
    let view = world.log.view();
    let mut scan = index.begin(&view, me, &query, within, (before, 10)).expect("a search");
    while !index.go_on(&view, &mut scan, clock).expect("rows") {}
    scan.finish().0
}

fn ids(rows: &Rows) -> Vec<u64> {
    let id = |row| shown(row).split(' ').next().and_then(|id| id.parse().ok()).expect("an id");
    rows.rows.iter().map(id).collect()
}

fn find(world: &World, me: u64, text: &str) -> Vec<u64> {
    ids(&scan(world, me, text, None, &*crate::Environment::default().clock))
}

/// A clock that moves on by itself, so much at each look.
struct Running(AtomicU64, u64);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(self.1, Relaxed))
    }
}

#[test]
fn a_search_that_takes_long_ends_and_goes_on_where_it_was() {
    let mut world = World::new(LogLimits { entries: 50_000, ..LIMITS });
    world.one(say(1, "needle"));
    for _ in 0..20 {
        let drafts: Vec<Draft> = (0..1_000).map(|n| say(1, &format!("straw {n}"))).collect();
        world.pack(&drafts);
    }
    // Each look at the clock takes 130 ms, so one step is all there is time for.
    let mut before = None;
    let mut pages = 0;
    let found = loop {
        let rows = scan(&world, 1, "needle", before, &Running(AtomicU64::new(0), 130));
        pages += 1;
        assert!(before.is_none_or(|before| rows.cursor < before), "it gets on");
        if !rows.more {
            break ids(&rows);
        }
        before = Some(rows.cursor);
    };
    assert_eq!(found, [1]);
    assert!(pages > 1, "it was more than one page");
    assert_eq!(find(&world, 1, "needle"), [1], "with time enough, one is");
}

#[test]
fn a_search_matches_only_where_one_may_read() {
    let mut world = World::new(LIMITS);
    world.one(make("#team"));
    let tell = |text: &str| by(1, Act::Enter(entry(Conversation::Room(2), text)));
    let matches = |world: &World, word: &str| -> Vec<u64> {
        Index::new(&world.log.database).catch_up().expect("an index");
        let sql = "SELECT rowid FROM search.words WHERE words MATCH ?1 ORDER BY rowid";
        let mut statement = world.log.database.prepare(sql).expect("a statement");
        let rows = statement.query_map([word], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("numbers")
    };
    world.one(tell("swordfish in the open"));
    world.one(change(1, 2, RoomSetting::Access(RoomAccess::Invite), vec![1]));
    world.one(tell("swordfish among members"));
    // What one may not read is not even compared: the time that takes would tell.
    assert_eq!(matches(&world, "swordfish AND place : open"), [1]);
    assert_eq!((find(&world, 1, "swordfish"), find(&world, 3, "swordfish")), (vec![3, 1], vec![]));
    world.one(change(1, 2, RoomSetting::Access(RoomAccess::Public), vec![1]));
    world.one(tell("swordfish in the open again"));
    assert_eq!((find(&world, 1, "swordfish"), find(&world, 3, "swordfish")), (vec![5, 3, 1], vec![5, 1]));
    assert_eq!(matches(&world, "swordfish AND place : open"), [1, 5]);
    // Who was there finds what only those who were may read.
    world.one(change(1, 2, RoomSetting::History(Readers::Joined), vec![1]));
    world.one(tell("swordfish for who is here"));
    assert_eq!((find(&world, 1, "swordfish")[0], find(&world, 3, "swordfish")), (7, vec![5, 1]));
}

#[test]
fn the_index_follows_edits_and_deletions() {
    let mut world = World::new(LIMITS);
    world.one(say(1, "The disk of caf\u{e9} is FULL"));
    world.one(say(2, "full moon"));
    world.one(keyed(1, Conversation::With(2), "k", "full of secrets"));
    assert_eq!(find(&world, 1, "full"), [3, 2, 1], "the newest first");
    assert_eq!(find(&world, 3, "full"), [2, 1], "others' private messages are theirs");
    assert_eq!(find(&world, 3, "\"is full\""), [1]);
    assert_eq!(find(&world, 3, "cafe disk"), [1]);
    assert_eq!(find(&world, 3, "ful* from:n2"), [2]);
    assert_eq!(find(&world, 1, "full in:#lobby"), [2, 1]);
    assert_eq!(find(&world, 3, "full OR moon"), Vec::<u64>::new(), "OR is a word");
    world.one(about(1, EntryKind::Edit, 1, Some("the disk is fine")));
    assert_eq!(find(&world, 3, "full"), [2]);
    assert_eq!(find(&world, 3, "fine"), [1]);
    world.one(about(2, EntryKind::Delete, 2, None));
    assert_eq!(find(&world, 3, "full"), Vec::<u64>::new());
    let index = Index::new(&world.log.database);
    let forgotten = index.catch_up().expect("an index");
    world.one(by(0, Act::Unindexed(forgotten)));
    assert_eq!(Index::new(&world.log.database).catch_up(), Ok(Vec::new()));
    let left: u64 = world
        .log
        .database
        .query_row("SELECT count(*) FROM search.words WHERE words MATCH 'moon'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 0);
}

fn on_disk(folder: &Path) -> Result<Log, LogError> {
    let place = Storage::Folder { folder: folder.to_owned(), durability: Durability::Process };
    Log::open(place, LogName(7), LIMITS)
}

/// A log on disk in which something was said, closed again.
fn written(folder: &Path) {
    let mut world = World { log: on_disk(folder).expect("a log"), now: 1_000 };
    world.one(make("#lobby"));
    world.one(keyed(1, Conversation::Room(1), "k", "needle in the haystack"));
    for n in 0..200 {
        world.one(say(1, &format!("straw {n}")));
    }
}

#[test]
fn a_log_on_disk_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let mut world = World { log: on_disk(folder.path()).expect("the log"), now: 500 };
    assert_eq!(world.log.name(), LogName(7));
    let again = world.one(keyed(1, Conversation::Room(1), "k", "needle in the haystack"));
    assert_eq!(again, Outcome::Duplicate { id: 1, time: at(1_000) });
    assert_eq!(world.one(say(1, "later")), applied(202, 1_000), "neither ids nor time go back");
}

#[test]
fn a_flipped_byte_is_found_and_costs_one_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let file = folder.path().join(super::open::LOG_FILE);
    let mut bytes = fs::read(&file).expect("the file");
    let place = bytes.windows(6).position(|window| window == b"needle").expect("the text is there");
    bytes[place] ^= 1;
    fs::write(&file, bytes).expect("the file");
    let world = World { log: on_disk(folder.path()).expect("it is still of use"), now: 1_000 };
    assert_eq!(world.texts(1, 1)[..2], ["gap 1-1", "2 MSG straw 0"]);
    let report = check_data(folder.path(), |_| {});
    assert_eq!(report.findings, [Finding::Entry(1)]);
    assert_eq!((report.entries, report.first, report.last), (201, 1, 201));
}

#[test]
fn what_is_no_log_any_more_is_refused_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let file = folder.path().join(super::open::LOG_FILE);
    let whole = fs::read(&file).expect("the file");
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("the file");
        let said = on_disk(folder.path()).err().expect("it is refused").to_string();
        assert!(said.contains("log.db: it is") && said.contains("check-data"), "{said}");
        assert!(fs::read(&file).expect("the file") == bytes, "it is left as it was");
        assert!(!check_data(folder.path(), |_| {}).findings.is_empty());
        said
    };
    assert!(refused(&whole[..whole.len() / 2]).contains("cut off"));
    assert!(refused(&whole[..50]).contains("cut off"));
    assert!(refused(&[7; 4_096]).contains("damaged"));
    let mut middle = whole.clone();
    middle[100..8_000].fill(0x55);
    assert!(refused(&middle).contains("damaged"));

    fs::write(&file, &whole).expect("the file");
    let newer = Connection::open(&file).expect("a database");
    newer.pragma_update(None, "user_version", MIGRATIONS.len() + 1).expect("a pragma");
    drop(newer);
    let said = on_disk(folder.path()).err().expect("it is refused").to_string();
    let version = format!("log.db: it is of version {}", MIGRATIONS.len() + 1);
    assert!(said.contains(&version) && said.contains("newer snugd"), "{said}");
}

#[test]
fn a_log_that_is_cut_to_nothing_is_not_begun_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let file = folder.path().join(super::open::LOG_FILE);
    let refused = || {
        let said = on_disk(folder.path()).err().expect("it is refused").to_string();
        assert!(said.contains("log.db: it is empty or gone") && said.contains("log.name"), "{said}");
    };
    fs::write(&file, b"").expect("a file");
    refused();
    fs::remove_file(&file).expect("a file");
    refused();
    // A database without a table in it is no better.
    let shell = Connection::open(&file).expect("a database");
    shell.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("a pragma");
    drop(shell);
    refused();
    fs::remove_file(&file).expect("a file");
    fs::remove_file(folder.path().join("log.name")).expect("a file");
    assert_eq!(on_disk(folder.path()).expect("a new one").last_id(), 0);
}

/// What the folder of a daemon looks like that was killed: the copy of one whose connections are open.
fn killed(folder: &Path) -> tempfile::TempDir {
    let mut world = World { log: on_disk(folder).expect("a log"), now: 1_000 };
    world.one(make("#lobby"));
    for n in 0..50 {
        world.one(say(1, &format!("entry {n}")));
    }
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["log.db", "log.db-wal", "log.name"] {
        fs::copy(folder.join(name), copy.path().join(name)).expect("a file");
    }
    copy
}

#[test]
fn what_is_lost_from_the_write_ahead_log_is_noticed_and_ends_the_log_s_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = killed(folder.path());
    let wal = copy.path().join("log.db-wal");
    let whole = fs::read(&wal).expect("the write-ahead log");
    let open = |folder: &Path| {
        let place = Storage::Folder { folder: folder.to_owned(), durability: Durability::Process };
        Log::open(place, LogName(9), LIMITS).expect("it is of use")
    };
    // What was half written when the power went has not been acknowledged, and is no loss.
    fs::write(&wal, &whole[..whole.len() - 100]).expect("a file");
    assert_eq!(super::wal::lost_commits(&wal).expect("a file"), 0);
    assert_eq!(open(copy.path()).name(), LogName(7));

    let copy = killed(tempfile::tempdir().expect("a folder").path());
    let wal = copy.path().join("log.db-wal");
    let mut flipped = fs::read(&wal).expect("the write-ahead log");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&wal, &flipped).expect("a file");
    let lost = super::wal::lost_commits(&wal).expect("a file");
    assert!(lost > 10, "{lost}");
    let report = check_data(copy.path(), |_| {});
    assert!(report.findings.contains(&Finding::Tail(lost)), "{report:?}");
    let log = open(copy.path());
    assert_eq!(log.name(), LogName(9), "what was seen under the old name is not all there");
    assert!(log.last_id() < 50);
    assert!(copy.path().join("log.damaged-1.db-wal").exists(), "what was found is kept");
    drop(log);
    assert_eq!(open(copy.path()).name(), LogName(9), "once");
}

#[test]
fn an_index_that_knows_more_than_the_log_shows_that_something_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = killed(folder.path());
    let earlier = fs::read(copy.path().join("log.db-wal")).expect("the write-ahead log");
    drop(open::indexer(copy.path()).map(|database| Index::new(&database).catch_up()).expect("an index"));
    // All of the write-ahead log's last half is gone, cleanly.
    fs::write(copy.path().join("log.db-wal"), &earlier[..earlier.len() / 2]).expect("a file");
    for name in ["log.db", "log.db-shm"] {
        let _ = fs::remove_file(copy.path().join(name));
    }
    fs::copy(folder.path().join("log.db"), copy.path().join("log.db")).expect("a file");
    let log = on_disk(copy.path()).expect("it is of use");
    assert!(log.last_id() < 50 && log.name() != LogName(7), "{} {}", log.last_id(), log.name());
}

#[test]
fn an_index_of_an_older_form_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World { log: on_disk(folder.path()).expect("a log"), now: 1_000 };
    world.one(make("#lobby"));
    world.one(say(1, "found again"));
    let name = world.log.name().0.cast_signed();
    let older = Connection::open(folder.path().join("search.db")).expect("a database");
    older
        .execute_batch(&format!(
            "CREATE TABLE state (one INTEGER PRIMARY KEY, log INTEGER NOT NULL, upto INTEGER NOT NULL);
             CREATE VIRTUAL TABLE words USING fts5 (text, place, prefix = '1 2');
             INSERT INTO state VALUES (1, {name}, 1);"
        ))
        .expect("an older index");
    drop(older);
    let database = open::indexer(folder.path()).expect("an index");
    Index::new(&database).catch_up().expect("it catches up");
    let found: u64 = database
        .query_row("SELECT count(*) FROM search.words WHERE words MATCH 'found'", [], |row| row.get(0))
        .expect("a search");
    assert_eq!(found, 1, "what it knew by its own account is taken in again");
}

#[test]
fn a_log_that_is_opened_again_leaves_everybody_where_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World { log: on_disk(folder.path()).expect("a log"), now: 1_000 };
    world.one(make("#lobby"));
    let setting = RoomSetting::History(Readers::Joined);
    world.one(change(1, 1, setting, vec![1, 2]));
    world.one(say(1, "before"));
    world.log.reopen().expect("it is there");
    world.one(say(1, "after"));
    let all = ["1 SET history=joined", "2 MSG before", "3 MSG after"];
    assert_eq!(world.texts(2, 1), all);
    drop(world);
    let mut world = World { log: on_disk(folder.path()).expect("a log"), now: 1_000 };
    world.one(say(1, "in another life"));
    assert_eq!(world.texts(2, 1), all);
}

#[test]
fn a_key_outlives_its_entry() {
    let mut world = World::new(LIMITS);
    world.one(keyed(1, Conversation::Room(1), "k", "one"));
    world.one(say(1, "two"));
    world.one(by(
        0,
        Act::Purge {
            behind: 0,
            rooms: Retention::Newest(1),
            private: Retention::Forever,
            audit: Retention::Forever,
        },
    ));
    assert_eq!(world.texts(1, 1)[0], "gap 1-1");
    let again = world.one(keyed(1, Conversation::Room(1), "k", "one"));
    assert_eq!(again, Outcome::Duplicate { id: 1, time: at(1_000) });
}

#[test]
fn an_edit_takes_the_text_of_the_one_before_it() {
    let mut world = World::new(LIMITS);
    world.one(say(1, "v1"));
    world.one(about(1, EntryKind::Edit, 1, Some("v2 secret")));
    world.one(about(1, EntryKind::Edit, 1, Some("v3")));
    assert_eq!(world.texts(2, 1), ["1 MSG v3 edited=3", "2 EDIT 1", "3 EDIT 1 v3"]);
}

#[test]
fn a_backup_is_a_log_with_a_name_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    let to = copy.join(super::open::LOG_FILE);
    assert_eq!(back_up(folder.path(), &to), Ok(()));
    assert_eq!(back_up(folder.path(), &to).map_err(|refusal| refusal.code), Err(Code::BadParameter));
    let nowhere = folder.path().join("nowhere/log.db");
    assert_eq!(back_up(folder.path(), &nowhere).map_err(|refusal| refusal.code), Err(Code::Unavailable));
    assert_eq!(fs::read_dir(&copy).expect("a folder").count(), 1, "nothing is left behind");
    assert!(check_data(&copy, |_| {}).findings.is_empty());

    let place = Storage::Folder { folder: copy, durability: Durability::Process };
    let log = Log::open(place.clone(), LogName(8), LIMITS).expect("the copy");
    assert_eq!(log.name(), LogName(8), "what was seen after the copy was made was seen in another log");
    let mut world = World { log, now: 1_000 };
    assert_eq!(world.one(say(1, "on")), applied(202, 1_000));
    drop(world);
    assert_eq!(Log::open(place, LogName(9), LIMITS).expect("the copy").name(), LogName(8), "and keeps it");
}

#[test]
fn a_full_disk_refuses_and_takes_entries_again() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let mut log = on_disk(folder.path()).expect("the log");
    let pages: i64 = log.database.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a count");
    log.database.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).expect("a limit");
    let long = say(1, &"x".repeat(8_000));
    let full = loop {
        match log.commit(at(1_000), &[&long]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(full, CommitError::Full(_)), "{full:?}");
    let last = log.last_id();
    log.database.pragma_update_and_check(None, "max_page_count", pages + 100, |_| Ok(())).expect("a limit");
    let outcomes = log.commit(at(1_000), &[&long]).expect("there is room again");
    assert_eq!(outcomes, [applied(last + 1, 1_000)], "what was refused has left nothing behind");
}

/// Something that happens in a small world of three rooms and three people.
#[derive(Clone, Debug)]
enum Deed {
    Say { author: u64, room: u64 },
    Tell { author: u64, to: u64 },
    Retention { newest: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1u64..4, 1u64..4).prop_map(|(author, room)| Deed::Say { author, room }),
        2 => (1u64..4, 1u64..4).prop_map(|(author, to)| Deed::Tell { author, to }),
        1 => (1u64..6).prop_map(|newest| Deed::Retention { newest }),
    ]
}

proptest! {
    /// What somebody missed is what a plain list of all entries says, page by page, each once and in order, and
    /// everything of it that is gone lies in a gap.
    #[test]
    fn sync_gives_what_a_plain_model_gives(
        deeds in prop::collection::vec(deed(), 1..40),
        me in 1u64..4,
        rooms in prop::collection::btree_set(1u64..4, 0..4),
        after in 0u64..30,
        limit in 1u64..8,
    ) {
        let mut world = World::new(LIMITS);
        for name in ["#a", "#b"] {
            world.one(make(name));
        }
        // All that ever was: id, where, and whether it is still there.
        let mut model: Vec<(u64, Deed, bool)> = Vec::new();
        for deed in deeds {
            let id = model.len() as u64 + 1;
            match deed {
                Deed::Say { author, room } => {
                    let said = world.one(by(author, Act::Enter(entry(Conversation::Room(room), "x"))));
                    let is_applied = matches!(said, Outcome::Applied { .. });
                    prop_assert!(is_applied);
                    model.push((id, deed, true));
                }
                Deed::Tell { author, to } => {
                    let known = |number: u64| IdentityRecord {
                        number,
                        nick: format!("n{number}"),
                        fold: format!("n{number}"),
                        proof: format!("user:{number}:n"),
                        bot: false,
                    };
                    let act = Act::Enter(entry(Conversation::With(to), "x"));
                    world.one(Draft { records: vec![known(author), known(to)], ..by(author, act) });
                    model.push((id, deed, true));
                }
                Deed::Retention { newest } => {
                    let rooms = Retention::Newest(newest);
                    world.one(by(0, Act::Purge { behind: 0, rooms, private: Retention::Forever, audit: Retention::Forever }));
                    for room in 1..4 {
                        let of_room = |(_, deed, is_there): &&mut (u64, Deed, bool)| {
                            *is_there && matches!(deed, Deed::Say { room: of, .. } if *of == room)
                        };
                        let mut there: Vec<_> = model.iter_mut().filter(of_room).collect();
                        let surplus = there.len().saturating_sub(usize::try_from(newest).expect("small"));
                        there.iter_mut().take(surplus).for_each(|(.., is_there)| *is_there = false);
                    }
                }
            }
        }
        let is_mine = |deed: &Deed| match deed {
            Deed::Say { room, .. } => rooms.contains(room),
            Deed::Tell { author, to } => *author == me || *to == me,
            Deed::Retention { .. } => false,
        };
        let expected: Vec<u64> = model
            .iter()
            .filter(|(id, deed, is_there)| *id > after && *is_there && is_mine(deed))
            .map(|(id, ..)| *id)
            .collect();

        let rooms: Vec<(u64, Arc<str>)> =
            rooms.iter().map(|room| (*room, Arc::from(room.to_string()))).collect();
        let (mut seen, mut gaps) = (Vec::new(), Vec::new());
        let mut cursor = after;
        let last = world.log.last_id().max(after);
        loop {
            let page = world.log.view().missed(me, &rooms, true, (cursor, last), limit).expect("a page");
            let entries = page.rows.iter().filter(|row| matches!(row, Row::Entry { .. })).count();
            prop_assert!(entries as u64 <= limit);
            for row in page.rows {
                match row {
                    Row::Entry { entry, .. } => seen.push(entry.id),
                    Row::Gap(gap) => gaps.push((gap.target.to_string(), gap.from, gap.to)),
                }
            }
            prop_assert!(page.cursor > cursor || !page.more);
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(cursor, last);
        for (id, deed, is_there) in &model {
            let Deed::Say { room, .. } = deed else { continue };
            let is_told = gaps.iter().any(|(of, from, to)| *of == room.to_string() && from <= id && id <= to);
            if *id > after && is_mine(deed) {
                prop_assert_eq!(!*is_there, is_told, "{} of {}", id, room);
            }
        }
    }
}

#[test]
fn a_log_of_the_version_before_accounts_is_brought_forward() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log.db");
    let mut old = Connection::open(&file).expect("a database");
    schema::migrate(&mut old, None, &MIGRATIONS[..1]).expect("the first version");
    old.execute_batch(
        "INSERT INTO state (one, name) VALUES (1, 7);
         INSERT INTO conversation (number) VALUES (1);
         INSERT INTO room (number, name, fold, look, look_folded, ascii, owner)
             VALUES (1, '#lobby', '#lobby', '#lobby', '#lobby', 1, 0);",
    )
    .expect("a room");
    drop(old);
    let mut log = on_disk(folder.path()).expect("a log");
    let rooms = log.view().rooms().expect("rooms");
    assert_eq!((rooms.len(), &rooms[0].settings), (1, &RoomSettings::default()));
    let note = AuditNote::new("enter", "", "");
    log.commit(Timestamp::from_millis(5), &[&by(1, Act::Audit(note))]).expect("a commit");
    let whole = log.view().verify_audit().expect("a trail");
    assert!(matches!(whole, Whole::Yes { rows: 1, last: 1, .. }), "{whole:?}");
    assert!(folder.path().join("log.version-1.db").exists(), "a copy of before");
    // What is there is there again after the next start.
    drop(log);
    let log = on_disk(folder.path()).expect("a log");
    assert_eq!(log.view().verify_audit().expect("a trail"), whole);
}
