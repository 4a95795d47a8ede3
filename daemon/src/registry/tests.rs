//! The registry without a daemon: names, names that look alike, guests who are forgotten, and the counts of sessions.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use snug_protocol::{Nick, Role, RoomName};

use super::outbox::Budget;
use super::*;
use crate::log::{IdentityRecord, RoomSettings, StoredAccount, StoredRoom};
use crate::origin::Origin;

const HOUR: u64 = 3_600_000;

/// A registry with a lobby, and what a daemon would number.
struct World {
    registry: Registry,
    limits: Limits,
    budget: Arc<Budget>,
    sessions: u64,
    identities: u64,
}

fn nick(name: &str) -> Nick<'_> {
    Nick::parse(name).expect("it is a nickname")
}

fn text(peer: &Peer) -> String {
    String::from_utf8(peer.drain()).expect("UTF-8")
}

impl World {
    fn new() -> World {
        let limits = Limits { sessions: 6, ..Limits::default() };
        let registry = Registry::default();
        let lobby = RoomName::LOBBY;
        let stored = stored_room(1, lobby.as_str());
        registry.open_room(&stored, &lobby, (0, 0), &[]);
        let budget = Arc::new(Budget::new(&limits));
        World { registry, limits, budget, sessions: 0, identities: 100 }
    }

    fn session(&mut self) -> Result<Arc<Peer>, Refusal> {
        self.sessions += 1;
        let address = format!("10.0.0.{}", self.sessions % 3).parse().expect("it is an address");
        let origin = Origin::Tcp(address);
        let peer = Arc::new(Peer::new(self.sessions, origin, 0, Arc::clone(&self.budget)));
        self.registry.admit(&peer, &self.limits).map(|()| peer)
    }

    fn enter(&mut self, peer: &Arc<Peer>, name: &str, shows: Vec<Proof>) -> Result<Entered, Refusal> {
        self.identities += 1;
        let nick = nick(name);
        let entrance = NewSession {
            peer,
            nick: &nick,
            quiet: false,
            bot: false,
            shows,
            proof: token(self.identities),
            number: self.identities,
            role: Role::Guest,
            rooms: None,
            time: Timestamp::default(),
        };
        self.registry.enter(&entrance, &self.limits)
    }

    /// A session that holds `name` as a new guest.
    fn guest(&mut self, name: &str) -> Arc<Peer> {
        let peer = self.session().expect("there is room");
        self.enter(&peer, name, Vec::new()).expect("the name is free");
        peer.drain();
        peer
    }

    fn refused(&mut self, name: &str) -> Code {
        let peer = self.session().expect("there is room");
        let code = match self.enter(&peer, name, Vec::new()) {
            Ok(_) => panic!("{name} is refused"),
            Err(refusal) => refusal.code,
        };
        self.leave(&peer, 0);
        code
    }

    fn leave(&mut self, peer: &Arc<Peer>, now: u64) -> Departure {
        self.registry.dismiss(peer, None, (Timestamp::default(), now), &self.limits)
    }

    fn rename(&self, peer: &Arc<Peer>, name: &str) -> Result<String, Refusal> {
        self.registry.rename(peer, &nick(name), Timestamp::default(), &self.limits)
    }
}

fn stored_room(number: u64, name: &str) -> StoredRoom {
    StoredRoom {
        number,
        generation: 1,
        name: name.to_owned(),
        owner: 0,
        persists: true,
        settings: RoomSettings::default(),
        topic: None,
    }
}

/// The proof that the guest with this number has.
fn token(number: u64) -> Proof {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    Proof::Token(hash)
}

fn account(number: u64, name: &str) -> StoredAccount {
    StoredAccount {
        number,
        name: name.to_owned(),
        role: Role::Member,
        user: None,
        display: None,
        colour: None,
        avatar: None,
        avatar_hash: None,
        delivered: 0,
        password_by: None,
        rooms: Vec::new(),
    }
}

fn record(number: u64, name: &str, proof: &Proof) -> IdentityRecord {
    let fold = nick(name).fold().as_str().to_owned();
    IdentityRecord { number, nick: name.to_owned(), fold, proof: proof.write(), bot: false }
}

#[test]
fn a_name_has_one_holder_whatever_its_case_until_the_last_session_ends() {
    let mut world = World::new();
    let alice = world.guest("Alice");
    let bob = world.guest("bob");
    assert_eq!(text(&alice), "@time=1970-01-01T00:00:00.000Z;who=0000000000000066 :bob JOIN #lobby\n");
    assert_eq!(world.refused("aLICE"), Code::NickTaken);
    assert_eq!(world.rename(&bob, "alice").expect_err("it is taken").code, Code::NickTaken);
    assert_eq!(world.registry.who_is(&nick("bob")).expect("he keeps his name").nick, "bob");

    let second = world.session().expect("there is room");
    let number = alice.identity();
    let entered = world.enter(&second, "Alice", vec![token(number)]).expect("the token shows who it is");
    assert_eq!((entered.identity.number, entered.is_renamed), (number, false));
    assert!(world.leave(&alice, 0).away.is_none());
    assert_eq!(world.refused("alice"), Code::NickTaken);
    assert_eq!(world.leave(&second, 0).away.expect("it was the last session").number, number);
    let other = world.guest("alice");
    assert_ne!(other.identity(), number);
}

#[test]
fn whoever_is_renamed_gives_the_old_name_free_and_everybody_is_told_once() {
    let mut world = World::new();
    let alice = world.guest("alice");
    let bob = world.guest("bob");
    alice.drain();
    assert_eq!(world.rename(&alice, "Carol").expect("it is free"), "Carol");
    assert_eq!(text(&bob), "@time=1970-01-01T00:00:00.000Z :alice NICK Carol\n");
    assert_eq!(text(&alice), "@time=1970-01-01T00:00:00.000Z :alice NICK Carol\n", "who asked, too");
    assert_eq!(world.rename(&alice, "carol").expect("it is hers in any case"), "carol");
    world.guest("alice");
}

#[test]
fn names_that_look_like_one_in_use_are_refused_and_those_like_ones_own_are_not() {
    let mut world = World::new();
    let ascii = world.guest("coco");
    // The same in Cyrillic letters.
    let cyrillic = "\u{441}\u{43e}\u{441}\u{43e}";
    assert_eq!(world.refused(cyrillic), Code::LooksAlike);
    let other = world.guest("bob");
    assert_eq!(world.rename(&other, cyrillic).expect_err("it looks alike").code, Code::LooksAlike);
    world.rename(&ascii, cyrillic).expect("nobody else looks like it");
    assert_eq!(world.refused("coco"), Code::LooksAlike);
    world.leave(&ascii, 0);
    world.rename(&other, "coco").expect("nobody looks like it any more");
    // Within ASCII, people tell names apart.
    world.guest("c0co");
}

#[test]
fn the_name_of_an_account_is_reserved_while_nobody_is_here() {
    let mut world = World::new();
    let squatter = world.guest("coco");
    let in_the_way = world.registry.set_account(&account(7, "coco"), Timestamp::default(), 100);
    assert!(in_the_way.iter().any(|peer| Arc::ptr_eq(peer, &squatter)) && in_the_way.len() == 1);
    world.leave(&squatter, 0);
    assert_eq!(world.refused("Coco"), Code::LoginNeeded);
    assert_eq!(world.refused("\u{441}\u{43e}\u{441}\u{43e}"), Code::LooksAlike);

    let owner = world.session().expect("there is room");
    world.enter(&owner, "coco", vec![Proof::Account(7)]).expect("it is the account's own name");
    assert_eq!(world.refused("coco"), Code::LoginNeeded);
    world.leave(&owner, 0);
    assert_eq!(world.registry.forget_guests(100 * HOUR, HOUR, 0), [0; 0], "an account is never forgotten");

    assert!(world.registry.clear_account(&nick("coco").fold(), 0).is_empty());
    world.guest("coco");
}

#[test]
fn guests_are_forgotten_after_their_time_and_the_longest_offline_first() {
    let mut world = World::new();
    let peers = ["ann", "bea", "cleo"].map(|name| world.guest(name));
    let numbers = [0, 1, 2].map(|at: usize| peers[at].identity());
    // The log knows the first two.
    for at in [0, 1] {
        world.registry.learn(&[record(numbers[at], ["ann", "bea"][at], &token(numbers[at]))], 0);
    }
    for (at, peer) in peers.iter().enumerate() {
        world.leave(peer, HOUR * (1 + at as u64));
    }
    assert_eq!(world.registry.forget_guests(HOUR, 2 * HOUR, 9), [0; 0], "the clock has not run that long");
    assert_eq!(world.registry.forget_guests(3 * HOUR, 2 * HOUR, 9), [0; 0]);
    assert_eq!(world.registry.forget_guests(3 * HOUR + 1, 2 * HOUR, 9), [numbers[0]]);

    // Whoever has returned in the meantime is not forgotten, although the row is still there.
    let back = world.session().expect("there is room");
    world.enter(&back, "bea", vec![token(numbers[1])]).expect("the token shows who it is");
    assert_eq!(world.registry.forget_guests(100 * HOUR, HOUR, 0), [0; 0], "the log never knew cleo");
    assert!(world.registry.identity(numbers[2]).is_none());
    world.leave(&back, 50 * HOUR);
    assert_eq!(world.registry.forget_guests(50 * HOUR, HOUR, 0), [numbers[1]], "none may stay");
}

#[test]
fn a_machine_s_user_who_has_said_something_is_kept() {
    let mut world = World::new();
    let proof = |name| Proof::User(1_000, nick(name).fold());
    world.registry.recall(vec![(record(5, "ann", &proof("ann")), 0), (record(6, "bea", &token(6)), 0)], HOUR);
    assert_eq!(world.registry.forget_guests(100 * HOUR, HOUR, 0), [6]);
    assert_eq!(world.registry.addressee(&nick("Ann")).expect("she can be written to").1, "ann");
    assert!(world.registry.addressee(&nick("bea")).is_none());

    let peer = world.session().expect("there is room");
    let entered = world.enter(&peer, "ann", vec![proof("ann")]).expect("the user id shows who it is");
    assert_eq!(entered.identity.number, 5);
    world.registry.recall(vec![(record(8, "dora", &proof("dora")), 0)], HOUR);
    assert_eq!(world.rename(&peer, "dora").expect_err("that is somebody else").code, Code::NickTaken);
}

#[test]
fn a_proof_is_read_back_also_where_folding_has_made_the_name_too_long() {
    let name = "\u{df}".repeat(snug_protocol::limits::NICK);
    let proof = Proof::User(1_000, nick(&name).fold());
    assert!(Nick::parse(nick(&name).fold().as_str()).is_err());
    assert_eq!(Proof::read(&proof.write()), Some(proof));
}

#[test]
fn who_returned_before_the_log_had_decided_keeps_the_identity_of_then() {
    let mut world = World::new();
    let first = world.guest("ann");
    let number = first.identity();
    world.leave(&first, 0);
    world.registry.forget_guests(100 * HOUR, HOUR, 0);
    let second = world.session().expect("there is room");
    let entered = world.registry.enter(
        &NewSession {
            peer: &second,
            nick: &nick("ann"),
            quiet: false,
            bot: false,
            shows: vec![token(number)],
            proof: token(number),
            number: number + 50,
            role: Role::Guest,
            rooms: None,
            time: Timestamp::default(),
        },
        &world.limits,
    );
    assert_eq!(entered.expect("the name is free").identity.number, number + 50);
    // What the first one said is decided only now.
    world.registry.learn(&[record(number, "ann", &token(number))], HOUR);
    world.leave(&second, HOUR);
    let third = world.session().expect("there is room");
    let entered = world.enter(&third, "ann", vec![token(number)]).expect("the token shows who it is");
    assert_eq!(entered.identity.number, number + 50);
}

#[test]
fn a_room_that_is_closed_under_its_members_is_none_of_their_rooms_any_more() {
    let mut world = World::new();
    let ops = RoomName::parse("#ops").expect("it is a room's name");
    let stored = stored_room(2, "#ops");
    world.registry.open_room(&stored, &ops, (0, 0), &[]);
    let alice = world.guest("alice");
    let joined = world.registry.join(&alice, &ops, (Timestamp::default(), true), &world.limits);
    assert!(joined.expect("there is room").is_some());
    // An older opening does not undo a newer one.
    world.registry.open_room(&StoredRoom { generation: 0, ..stored }, &ops, (0, 0), &[]);
    assert_eq!(world.registry.room(&ops).expect("it is open").generation.load(Relaxed), 1);

    world.registry.close_room(2);
    let joined = world.registry.join(&alice, &ops, (Timestamp::default(), true), &world.limits);
    assert!(joined.expect("no limit is reached").is_none());
    assert_eq!(world.registry.heard_rooms(&alice).len(), 1, "the lobby");
    world.rename(&alice, "anna").expect("it is free");
    assert_eq!(world.leave(&alice, 0).stays, [0; 0]);
}

#[test]
fn sessions_are_counted_in_all_by_address_and_without_a_name() {
    let mut world = World::new();
    world.limits = Limits {
        sessions: 4,
        nameless: 3,
        sessions_per_address: 2,
        nameless_per_address: 1,
        ..Limits::default()
    };
    // Three addresses take turns.
    let first = world.session().expect("there is room");
    let second = world.session().expect("there is room");
    world.session().expect("there is room");
    world.enter(&first, "ann", Vec::new()).expect("the name is free");
    world.sessions = 3;
    let fourth = world.session().expect("its address has no session without a name");
    assert_eq!(world.registry.counts().0, 4);
    assert_eq!(world.session().err().expect("that is all").code, Code::TooMany);
    world.leave(&fourth, 0);
    world.leave(&first, 0);
    world.leave(&first, 0);
    assert_eq!(world.registry.counts().0, 2, "the second end of a session counts nothing");
    world.sessions = 3;
    let again = world.session().expect("there is room");
    assert_eq!(world.registry.state().addresses[&again.origin.counted_address().expect("TCP")].sessions, 1);
    assert!(!second.is_over());
    world.session().expect("who was there before gives way");
    assert!(second.is_over());
}

/// Checks that everything in the registry that follows from the sessions, people and rooms does follow.
fn check(world: &World, now_alive: &[Arc<Peer>]) {
    let state = world.registry.state();
    assert_eq!(state.peers.len(), now_alive.len());
    let nameless = now_alive.iter().filter(|peer| peer.identity() == 0 && !peer.is_over());
    assert_eq!(state.nameless, nameless.count() as u64);
    let mut by_address: HashMap<IpAddr, (u64, u64)> = HashMap::new();
    for peer in now_alive {
        let row = by_address.entry(peer.origin.counted_address().expect("TCP")).or_default();
        *row = (row.0 + 1, row.1 + u64::from(peer.identity() == 0 && !peer.is_over()));
    }
    let counted = state.addresses.iter().map(|(address, row)| (*address, (row.sessions, row.nameless)));
    assert_eq!(counted.collect::<HashMap<_, _>>(), by_address);

    assert_eq!(state.away_count, state.people.values().filter(|person| person.is_fading).count() as u64);
    let mut index = ConfusableIndex::default();
    for (fold, number) in &state.names {
        let person = &state.people[number];
        assert_eq!(person.fold, *fold);
        assert!(!person.sessions.is_empty(), "{} holds a name without a session", person.nick);
        if state.reserved.get(fold) != Some(number) {
            index.add(&person.nick);
        }
    }
    for number in state.reserved.values() {
        index.add(&state.people[number].nick);
    }
    assert_eq!(state.confusable.sizes(), index.sizes(), "the index of names that look alike");
    for (proof, number) in &state.proofs {
        assert_eq!(state.people[number].proof, *proof);
    }
    let lobby = &state.rooms[&RoomName::LOBBY.fold()];
    let mut reached = Vec::new();
    lobby.room.audience.for_each(|peer| reached.push(peer.id));
    let mut hearing: Vec<u64> =
        state.people.values().flat_map(|person| person.hearing.iter().map(|peer| peer.id)).collect();
    reached.sort_unstable();
    hearing.sort_unstable();
    assert_eq!(reached, hearing);
    for person in state.people.values() {
        assert_eq!(person.rooms.len(), usize::from(!person.hearing.is_empty()), "{}", person.nick);
        let held: Vec<u64> = person.sessions.iter().map(|peer| peer.identity()).collect();
        assert!(held.iter().all(|number| *number == person.identity.number));
    }
}

const NAMES: [&str; 5] = ["coco", "Coco", "\u{441}\u{43e}\u{441}\u{43e}", "c0co", "bob"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever sessions, accounts and time do, each index agrees with what it is an index of.
    #[test]
    fn the_indexes_agree(steps in prop::collection::vec((0..9_u8, any::<prop::sample::Index>(), 0..5_usize), 0..40)) {
        let mut world = World::new();
        let mut alive: Vec<Arc<Peer>> = Vec::new();
        let mut known: Vec<u64> = Vec::new();
        let mut now = 0;
        for (step, which, at) in steps {
            now += HOUR / 4;
            let name = NAMES[at];
            match step {
                0 | 1 => alive.extend(world.session().ok()),
                2 | 3 if !alive.is_empty() => {
                    let peer = Arc::clone(which.get(&alive));
                    if peer.identity() == 0 {
                        // Every other session returns as somebody who was here. An account comes under its name.
                        let back = known.get(which.index(known.len().max(1))).filter(|_| step == 3);
                        let back = back.and_then(|number| world.registry.identity(*number));
                        let (name, shows) = match back {
                            Some(one) if one.is_account() => (one.nick(), vec![Proof::Account(one.number)]),
                            Some(one) => (name.to_owned(), vec![token(one.number)]),
                            None => (name.to_owned(), Vec::new()),
                        };
                        let entered = world.enter(&peer, &name, shows);
                        known.extend(entered.ok().map(|entered| entered.identity.number));
                    }
                }
                4 if !alive.is_empty() => {
                    let peer = which.get(&alive);
                    let one = world.registry.identity(peer.identity());
                    if one.is_some_and(|one| !one.is_account()) {
                        let _ = world.rename(peer, name);
                    }
                }
                5 if !alive.is_empty() => {
                    let peer = alive.swap_remove(which.index(alive.len()));
                    world.leave(&peer, now);
                }
                6 => {
                    world.registry.forget_guests(now, HOUR, 2);
                }
                7 if !known.is_empty() => {
                    // The log says that a guest has registered, and the daemon ends the sessions in the way.
                    let number = *which.get(&known);
                    let taken = world.registry.account(&nick(name)).is_some_and(|held| held.number != number);
                    let is_account = world.registry.identity(number).is_some_and(|one| one.is_account());
                    if !taken && !is_account && world.registry.identity(number).is_some() {
                        let ended = world.registry.set_account(&account(number, name), Timestamp::default(), 9);
                        for peer in ended {
                            world.leave(&peer, now);
                            alive.retain(|other| !Arc::ptr_eq(other, &peer));
                        }
                    }
                }
                8 => {
                    for peer in world.registry.clear_account(&nick(name).fold(), now) {
                        world.leave(&peer, now);
                        alive.retain(|other| !Arc::ptr_eq(other, &peer));
                    }
                }
                _ => {}
            }
            check(&world, &alive);
        }
        for peer in alive.drain(..) {
            world.leave(&peer, now);
        }
        check(&world, &alive);
    }
}
