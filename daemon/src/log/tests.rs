use super::*;

const LIMITS: LogLimits = LogLimits { entries: 100, key_window: 1_000 };

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
    Draft { author: Author { number, nick: format!("n{number}"), bot: false }, newcomers: Vec::new(), act }
}

/// A room as it is made.
fn room(number: u64, generation: u64, name: &str) -> Outcome {
    let name = name.to_owned();
    Outcome::Room(StoredRoom { number, generation, name, history: Readers::All, keep: None, topic: None })
}

/// Entry `id` of the first room.
fn applied(id: u64, millis: i64) -> Outcome {
    Outcome::Applied { id, time: at(millis), conversation: 1, edits: None }
}

fn make(name: &'static str) -> Draft {
    by(1, Act::MakeRoom { name: RoomName::parse(name).expect("a room"), most: 4 })
}

fn entry(to: Conversation, text: &str) -> NewEntry {
    let kind = if matches!(to, Conversation::Room(_)) { EntryKind::Msg } else { EntryKind::Priv };
    NewEntry {
        kind,
        to,
        peer_nick: String::new(),
        about: None,
        text: Some(text.to_owned()),
        original: None,
        key: None,
        re: None,
        replace: None,
        may_moderate: false,
        tags: String::new(),
    }
}

fn say(author: u64, text: &str) -> Draft {
    by(author, Act::Enter(entry(Conversation::Room(1), text)))
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
    assert_eq!(world.one(by(1, Act::RetireRoom { room: 1, generation: 1 })), Outcome::Kept);
    world.one(make("#A"));
    let retire = |generation| by(1, Act::RetireRoom { room: 2, generation });
    assert_eq!(world.one(retire(1)), Outcome::Kept, "somebody has come back since");
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
    assert_eq!((left("entry"), left("key"), left("room")), (3, 3, 1));
}
