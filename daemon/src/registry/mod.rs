//! Online users, their names and their rooms: what the daemon knows only while it runs.
//!
//! One lock guards all of it, and is held briefly. Lines are put into outboxes under it, so that all sessions see
//! joins and leaves in the same order. Deliveries of entries do not take it: they walk the
//! [`Audience`](peer::Audience) of a room or an identity. Locks nest in this order: registry, audience, outbox.

mod accounts;

pub(crate) mod ending;

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

mod namesakes;
use namesakes::Namesakes;

mod watches;
use watches::Watches;

mod room;
pub(crate) use room::Room;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snug_protocol::{Body, Code, Folded, Nick, ServerLine, TagBuilder, Timestamp};

use crate::config::Limits;
use crate::cost::Cost;
use crate::refusal::Refusal;
use crate::registry::ending::Ending;
use crate::registry::peer::Peer;

/// The consequences of a LEAVE or of a session's end, which the caller reports to the log.
#[derive(Default)]
pub(crate) struct Departure {
    /// The rooms to retire: they have no members and never had an entry.
    pub(crate) retire: Vec<Arc<Room>>,
    /// The numbers of the rooms that it left and that record who was present when.
    pub(crate) stays: Vec<u64>,
    /// The identity, if its last session ended.
    pub(crate) away: Option<Arc<Identity>>,
}

/// The registry of sessions, identities, names and rooms.
#[derive(Default)]
pub(crate) struct Registry(Mutex<State>);

#[derive(Default)]
struct State {
    peers: HashMap<u64, Arc<Peer>>,
    addresses: HashMap<IpAddr, Visitors>,
    nameless: u64,
    /// The sessions over TCP that have no name, the oldest first.
    strangers: BTreeSet<u64>,
    people: HashMap<u64, Person>,
    /// The identity that holds each name: one with a session.
    names: HashMap<Folded, u64>,
    /// The names of accounts, online or offline.
    reserved: HashMap<Folded, u64>,
    /// The identities of each name, online or offline.
    namesakes: Namesakes,
    confusable: ConfusableIndex,
    proofs: HashMap<Proof, u64>,
    /// Identities without a session, the longest offline first, with the milliseconds since when.
    away: VecDeque<(u64, u64)>,
    /// How many of those rows are still valid.
    away_count: u64,
    rooms: BTreeMap<Folded, Inhabited>,
    /// The folded name of each room, by its number.
    room_numbers: HashMap<u64, Folded>,
    watches: Watches,
}

/// The number of sessions that are kept for the Unix socket and for this program.
const LOCAL_SESSIONS: u64 = 16;

/// The counts of sessions from one address.
#[derive(Default)]
struct Visitors {
    sessions: u64,
    nameless: u64,
}

/// An identity with its name, sessions and rooms.
struct Person {
    identity: Arc<Identity>,
    nick: String,
    fold: Folded,
    proof: Proof,
    bot: bool,
    since: Timestamp,
    sessions: Vec<Arc<Peer>>,
    /// The sessions that receive from its rooms; the others logged in with `quiet`.
    hearing: Vec<Arc<Peer>>,
    rooms: Vec<Folded>,
    /// The rooms among these that are not remembered for its account, because a quiet session has joined them.
    passing: Vec<Folded>,
    /// Since when it has no session, in milliseconds. It tells the row in `away` from older rows.
    away_since: Option<u64>,
    /// Whether it has a row in `away`, so that it will be forgotten.
    is_fading: bool,
    /// Whether it has had a session since the daemon started. If so, the registry decides its name and tells the log.
    was_here: bool,
}

impl Person {
    /// Creates an identity that has no session yet.
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
            passing: Vec::new(),
            away_since: None,
            is_fading: false,
            was_here: false,
        }
    }

    /// Changes the nickname without telling anybody.
    fn set_nick(&mut self, nick: &Nick<'_>) {
        self.nick = nick.as_str().to_owned();
        self.fold = nick.fold();
        *self.identity.nick.lock().unwrap_or_else(PoisonError::into_inner) = self.nick.clone();
    }

    /// Returns whether it is kept while it is offline: nobody else can ever use it, and the log refers to it.
    fn is_kept(&self) -> bool {
        !matches!(self.proof, Proof::Token(_)) && self.identity.is_recorded()
    }
}

/// A room and its members.
struct Inhabited {
    room: Arc<Room>,
    members: HashSet<u64>,
}

impl Registry {
    /// Admits a new session. If there are too many without a name, the oldest of them gives way: of its own address, if
    /// that has its share; else of the address that has most.
    ///
    /// # Errors
    /// There are too many sessions with a name, in total or from its address.
    pub(crate) fn admit(&self, peer: &Arc<Peer>, limits: &Limits) -> Result<(), Refusal> {
        let address = peer.origin.counted_address();
        let mut state = self.state();
        // The last sessions are kept for this machine, so that its operator gets in.
        let reserve = if peer.origin.is_tcp() { LOCAL_SESSIONS.min(limits.sessions / 8) } else { 0 };
        if state.peers.len() as u64 + reserve >= limits.sessions {
            return refuse(Code::TooMany, "the daemon is full; try again later");
        }
        if let Some(address) = address {
            let visitors = state.addresses.entry(address).or_default();
            if visitors.sessions >= limits.sessions_per_address {
                return refuse(Code::TooMany, "there are too many sessions of your address; close some");
            }
            if visitors.nameless >= limits.nameless_per_address {
                state.make_way(Some(address));
            }
        }
        if peer.origin.is_tcp() {
            if state.nameless >= limits.nameless {
                let most = state.addresses.iter().max_by_key(|(_, visitors)| visitors.nameless);
                let most = most.filter(|(_, visitors)| visitors.nameless > 1).map(|(address, _)| *address);
                state.make_way(most);
            }
            state.nameless += 1;
            state.strangers.insert(peer.id);
        }
        if let Some(address) = address {
            let visitors = state.addresses.entry(address).or_default();
            visitors.sessions += 1;
            visitors.nameless += 1;
        }
        state.peers.insert(peer.id, Arc::clone(peer));
        Ok(())
    }

    /// Removes an admitted session, and tells the others if it was its identity's last one.
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
        state.watches.end(peer.id);
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

    /// Returns an identity by its number.
    pub(crate) fn identity(&self, number: u64) -> Option<Arc<Identity>> {
        self.state().people.get(&number).map(|person| Arc::clone(&person.identity))
    }

    /// Sends an event about an identity to each session that shares a room with it, and to its own sessions, above all
    /// to `by`, which has caused it.
    pub(crate) fn tell_about(
        &self,
        number: u64,
        body: Body<'_>,
        time: Timestamp,
        by: Option<&Arc<Peer>>,
        announce: u64,
    ) {
        let state = self.state();
        let Some(person) = state.people.get(&number) else { return };
        let mut tags = TagBuilder::default();
        tags.display("time", Some(time));
        if let Body::Profile { item, .. } = &body
            && item.starts_with("avatar=")
        {
            tags.value("avatar", person.identity.profile().avatar_hash.as_deref());
        }
        let mut line = Vec::new();
        ServerLine::new(body).with_tags(tags.tags()).with_from(&person.nick).write(&mut line);
        let cost = state.tell_observers(number, &line, by, announce);
        if let Some(by) = by {
            by.spent.add(cost);
        }
    }

    /// Does the same for a status. Rooms in `silent`, by their numbers, get the second body, without a text.
    pub(crate) fn tell_status(
        &self,
        number: u64,
        (spoken, plain): (Body<'_>, Body<'_>),
        time: Timestamp,
        by: &Arc<Peer>,
        (silent, announce): (&HashSet<u64>, u64),
    ) {
        let state = self.state();
        let Some(person) = state.people.get(&number) else { return };
        let [spoken, plain] = [spoken, plain].map(|body| presence(body, &person.nick, time));
        let mut told = HashSet::new();
        let mut told_now = 0;
        tell_once(by, &spoken, &mut told);
        person.identity.audience.for_each(|peer| tell_once(peer, &spoken, &mut told));
        for is_silent in [false, true] {
            let line = if is_silent { &plain } else { &spoken };
            for fold in &person.rooms {
                let Inhabited { room, members } = &state.rooms[fold];
                if members.len() as u64 > announce || silent.contains(&room.number) != is_silent {
                    continue;
                }
                room.audience.for_each(|peer| {
                    told_now += 1;
                    tell_once(peer, line, &mut told);
                });
            }
        }
        if !person.hearing.is_empty() {
            told_now += state.tell_watchers(&person.fold, &spoken, &mut told);
        }
        by.spent.add(Cost::hearers(told_now + person.rooms.len()));
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
    /// Ends the oldest session without a name, of an address if one is given.
    fn make_way(&mut self, address: Option<IpAddr>) {
        let is_meant = |id: &&u64| {
            let peer = self.peers.get(id);
            peer.is_some_and(|peer| address.is_none() || peer.origin.counted_address() == address)
        };
        let Some(oldest) = self.strangers.iter().find(is_meant).and_then(|id| self.peers.get(id)).cloned()
        else {
            return;
        };
        self.name_taken(&oldest);
        let text = "others want to come in, and you have not said who you are";
        oldest.end(Ending::Dismissed(Code::TooMany, text.to_owned()));
    }

    /// Counts one nameless session fewer, unless that was done before.
    fn name_taken(&mut self, peer: &Peer) {
        if peer.origin.is_tcp() && !self.strangers.remove(&peer.id) {
            return;
        }
        self.nameless = self.nameless.saturating_sub(u64::from(peer.origin.is_tcp()));
        let address = peer.origin.counted_address();
        if let Some(visitors) = address.and_then(|address| self.addresses.get_mut(&address)) {
            visitors.nameless = visitors.nameless.saturating_sub(1);
        }
    }

    /// Sends a line once to each session that shares a room with an identity, and to its own sessions, `by` among them.
    /// Skips rooms with more than `announce` members. Returns what that cost.
    fn tell_observers(&self, number: u64, line: &[u8], by: Option<&Arc<Peer>>, announce: u64) -> Cost {
        let Some(person) = self.people.get(&number).filter(|_| !line.is_empty()) else {
            return Cost::default();
        };
        let names = if person.hearing.is_empty() { vec![] } else { vec![&person.fold] };
        self.tell_observers_of(person, &names, line, by, announce)
    }

    /// Does the same about a new name, for those who watch it or the one before.
    fn tell_rename(
        &self,
        number: u64,
        before: Option<&Folded>,
        line: &[u8],
        by: Option<&Arc<Peer>>,
        announce: u64,
    ) -> Cost {
        let Some(person) = self.people.get(&number).filter(|_| !line.is_empty()) else {
            return Cost::default();
        };
        let names = before.into_iter().chain([&person.fold]);
        let names: Vec<&Folded> = names.filter(|_| !person.hearing.is_empty()).collect();
        self.tell_observers_of(person, &names, line, by, announce)
    }

    /// Does the same, with those who watch these names.
    fn tell_observers_of(
        &self,
        person: &Person,
        names: &[&Folded],
        line: &[u8],
        by: Option<&Arc<Peer>>,
        announce: u64,
    ) -> Cost {
        let mut told = HashSet::new();
        let mut looked_at = person.rooms.len();
        by.into_iter().for_each(|by| tell_once(by, line, &mut told));
        let mut tell = |peer: &Arc<Peer>| {
            looked_at += 1;
            tell_once(peer, line, &mut told);
        };
        person.identity.audience.for_each(&mut tell);
        for fold in &person.rooms {
            let inhabited = &self.rooms[fold];
            if inhabited.members.len() as u64 <= announce {
                inhabited.room.audience.for_each(&mut tell);
            }
        }
        for name in names {
            looked_at += self.tell_watchers(name, line, &mut told);
        }
        Cost::hearers(looked_at)
    }
}

/// Puts a line into the outbox of a session that is not among those who were told.
fn tell_once(peer: &Arc<Peer>, line: &[u8], told: &mut HashSet<u64>) {
    if told.insert(peer.id) {
        peer.push_if_quiet(line);
    }
}

impl Inhabited {
    /// Sends a line about a join or leave to the identity's `own` sessions, and to the others in the room if it has at
    /// most `most` members.
    fn announce(&self, line: &[u8], own: &[Arc<Peer>], mut told: HashSet<u64>, most: u64) {
        own.iter().for_each(|peer| tell_once(peer, line, &mut told));
        if self.members.len() as u64 <= most {
            self.room.audience.for_each(|peer| tell_once(peer, line, &mut told));
        }
    }
}

/// Returns a line about a user who joins, leaves or changes, with its time.
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
