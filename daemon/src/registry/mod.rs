//! Who is here, under which names, and in which rooms: what a daemon knows only while it runs.
//!
//! One lock guards it all, taken for short moments; lines are put into outboxes under it, so that what different
//! sessions are told about comings and goings is in one order. Deliveries of entries do not take it: they walk a
//! room's or an identity's [`Audience`]. Locks nest in this order: registry, audience, outbox.

mod accounts;

pub(crate) mod outbox;

pub(crate) mod peer;

pub(crate) mod responder;

mod lists;
pub(crate) use lists::Present;

mod names;
pub(crate) use names::{Entered, NewSession};

mod rooms;

mod identity;
pub(crate) use identity::{Identity, Proof, PublicProfile};

mod confusable;
use confusable::ConfusableIndex;

mod room;
pub(crate) use room::Room;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snug_protocol::{Body, Code, Folded, Nick, ServerLine, TagBuilder, Timestamp};

use crate::config::Limits;
use crate::refusal::Refusal;
use crate::registry::peer::Peer;

/// What goes with a session that has ended.
#[derive(Default)]
pub(crate) struct Departure {
    /// Rooms in which nobody is and nobody wrote.
    pub(crate) retire: Vec<Arc<Room>>,
    /// Rooms that the identity left and that remember who was there when.
    pub(crate) stays: Vec<u64>,
    /// The identity, if it was its last session.
    pub(crate) away: Option<Arc<Identity>>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Registry(Mutex<State>);

#[derive(Default)]
struct State {
    peers: HashMap<u64, Arc<Peer>>,
    addresses: HashMap<IpAddr, Visitors>,
    nameless: u64,
    people: HashMap<u64, Person>,
    /// Who holds a name: identities with a session.
    names: HashMap<Folded, u64>,
    /// Names that are accounts', whether they are here or not.
    reserved: HashMap<Folded, u64>,
    confusable: ConfusableIndex,
    proofs: HashMap<Proof, u64>,
    /// Identities without a session, the longest first, with the milliseconds since when.
    away: VecDeque<(u64, u64)>,
    /// How many of those rows are still true.
    away_count: u64,
    rooms: BTreeMap<Folded, Inhabited>,
    /// Which of them has which number.
    room_numbers: HashMap<u64, Folded>,
}

/// The sessions of one address.
#[derive(Default)]
struct Visitors {
    sessions: u64,
    nameless: u64,
}

/// An identity and how it is here.
struct Person {
    identity: Arc<Identity>,
    nick: String,
    fold: Folded,
    proof: Proof,
    bot: bool,
    since: Timestamp,
    sessions: Vec<Arc<Peer>>,
    /// The sessions that joined something; the others came `quiet`.
    hearing: Vec<Arc<Peer>>,
    rooms: Vec<Folded>,
    /// Since when it has no session, in milliseconds: tells its row in `away` from older ones.
    away_since: Option<u64>,
    /// Whether it has a row in `away`: it will be forgotten.
    is_fading: bool,
    /// Whether it has been here since the daemon started: then its name is decided here, and the log hears of it.
    was_here: bool,
}

impl Person {
    /// Somebody who has no session yet.
    fn new(identity: Identity, nick: &Nick<'_>, proof: Proof, bot: bool) -> Person {
        Person {
            identity: Arc::new(identity),
            nick: nick.as_str().to_owned(),
            fold: nick.fold(),
            proof,
            bot,
            since: Timestamp::default(),
            sessions: Vec::new(),
            hearing: Vec::new(),
            rooms: Vec::new(),
            away_since: None,
            is_fading: false,
            was_here: false,
        }
    }

    /// Gives it a nick, without a word to anybody.
    fn set_nick(&mut self, nick: &Nick<'_>) {
        self.nick = nick.as_str().to_owned();
        self.fold = nick.fold();
        *self.identity.nick.lock().unwrap_or_else(PoisonError::into_inner) = self.nick.clone();
    }

    /// Whether it stays known when it is away, because nobody else can ever be it and the log has something of it.
    fn is_kept(&self) -> bool {
        !matches!(self.proof, Proof::Token(_)) && self.identity.is_recorded()
    }
}

/// A room and who is in it.
struct Inhabited {
    room: Arc<Room>,
    members: HashSet<u64>,
}

impl Registry {
    /// Takes a new session in.
    ///
    /// # Errors
    /// There are too many, in all or of its address.
    pub(crate) fn admit(&self, peer: &Arc<Peer>, limits: &Limits) -> Result<(), Refusal> {
        let address = peer.origin.counted_address();
        let mut state = self.state();
        if state.peers.len() as u64 >= limits.sessions
            || peer.origin.is_tcp() && state.nameless >= limits.nameless
        {
            return refuse(Code::TooMany, "the daemon is full; try again later");
        }
        if let Some(address) = address {
            let visitors = state.addresses.entry(address).or_default();
            let is_full = visitors.sessions >= limits.sessions_per_address;
            if is_full || visitors.nameless >= limits.nameless_per_address {
                return refuse(Code::TooMany, "there are too many sessions of your address; close some");
            }
            visitors.sessions += 1;
            visitors.nameless += 1;
        }
        state.nameless += u64::from(peer.origin.is_tcp());
        state.peers.insert(peer.id, Arc::clone(peer));
        Ok(())
    }

    /// Lets a session go that was admitted, and tells the others if it was its identity's last one.
    pub(crate) fn dismiss(
        &self,
        peer: &Arc<Peer>,
        farewell: Option<&str>,
        (time, now): (Timestamp, u64),
        limits: &Limits,
    ) -> Departure {
        let mut state = self.state();
        if state.peers.remove(&peer.id).is_none() {
            return Departure::default();
        }
        if peer.identity() == 0 {
            state.name_taken(peer);
        }
        if let Some(address) = peer.origin.counted_address()
            && let Some(visitors) = state.addresses.get_mut(&address)
        {
            visitors.sessions -= 1;
            if visitors.sessions == 0 {
                state.addresses.remove(&address);
            }
        }
        let number = peer.identity();
        let Some(person) = state.people.get_mut(&number) else { return Departure::default() };
        person.identity.audience.remove(peer);
        person.sessions.retain(|other| !Arc::ptr_eq(other, peer));
        let was_hearing = person.hearing.iter().any(|other| Arc::ptr_eq(other, peer));
        person.hearing.retain(|other| !Arc::ptr_eq(other, peer));
        let mut departure = Departure::default();
        if was_hearing {
            state.deafen(number, peer);
            if state.people[&number].hearing.is_empty() {
                departure = state.quit(number, farewell, time, limits.announce_members);
            }
        }
        if state.people[&number].sessions.is_empty() {
            state.go_away(number, now);
            departure.away = state.people.get(&number).map(|person| Arc::clone(&person.identity));
        }
        departure
    }

    /// An identity by its number.
    pub(crate) fn identity(&self, number: u64) -> Option<Arc<Identity>> {
        self.state().people.get(&number).map(|person| Arc::clone(&person.identity))
    }

    /// Tells something about somebody to who shares a room with them, and to their own sessions but `except`.
    pub(crate) fn tell_about(
        &self,
        number: u64,
        body: Body<'_>,
        time: Timestamp,
        except: Option<&Arc<Peer>>,
        announce: u64,
    ) {
        let state = self.state();
        let Some(person) = state.people.get(&number) else { return };
        let line = presence(body, &person.nick, time);
        state.tell_observers(number, &line, except, announce);
    }

    /// Calls `each` for every session.
    pub(crate) fn for_each_peer(&self, each: impl FnMut(&Arc<Peer>)) {
        let peers: Vec<Arc<Peer>> = self.state().peers.values().cloned().collect();
        peers.iter().for_each(each);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts one nameless session less.
    fn name_taken(&mut self, peer: &Peer) {
        self.nameless = self.nameless.saturating_sub(u64::from(peer.origin.is_tcp()));
        let address = peer.origin.counted_address();
        if let Some(visitors) = address.and_then(|address| self.addresses.get_mut(&address)) {
            visitors.nameless = visitors.nameless.saturating_sub(1);
        }
    }

    /// Tells a line to each session that shares a room with an identity, once, and to its own.
    fn tell_observers(&self, number: u64, line: &[u8], except: Option<&Arc<Peer>>, announce: u64) {
        let Some(person) = self.people.get(&number).filter(|_| !line.is_empty()) else { return };
        let mut told: HashSet<u64> = except.map(|peer| peer.id).into_iter().collect();
        let mut tell = |peer: &Arc<Peer>| {
            if told.insert(peer.id) {
                peer.push_if_quiet(line);
            }
        };
        person.identity.audience.for_each(&mut tell);
        for fold in &person.rooms {
            let inhabited = &self.rooms[fold];
            if inhabited.members.len() as u64 <= announce {
                inhabited.room.audience.for_each(&mut tell);
            }
        }
    }
}

impl Inhabited {
    /// Tells a line about somebody's coming or going to those who hear the room, if it is small enough.
    fn announce(&self, line: &[u8], except: Option<&Arc<Peer>>, most: u64) {
        if self.members.len() as u64 > most {
            return;
        }
        self.room.audience.for_each(|peer| {
            if !except.is_some_and(|except| Arc::ptr_eq(except, peer)) {
                peer.push_if_quiet(line);
            }
        });
    }
}

/// A line about somebody's coming, going or change, with its time.
fn presence(body: Body<'_>, nick: &str, time: Timestamp) -> Vec<u8> {
    let mut tags = TagBuilder::default();
    tags.display("time", Some(time));
    let mut line = Vec::new();
    ServerLine::new(body).with_tags(tags.tags()).with_from(nick).write(&mut line);
    line
}

fn refuse<T>(code: Code, text: &str) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}
