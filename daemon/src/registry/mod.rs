//! Who is here, under which names, and in which rooms: what a daemon knows only while it runs.
//!
//! One lock guards it all, taken for short moments; lines are put into outboxes under it, so that what different
//! sessions are told about comings and goings is in one order. Deliveries of entries do not take it: they walk a
//! room's or an identity's [`Audience`]. Locks nest in this order: registry, audience, outbox.

mod accounts;

pub(crate) mod peer;

pub(crate) mod responder;

mod identity;
pub(crate) use identity::{Identity, Proof, Standing};

mod looks;
use looks::LookIndex;

mod room;
pub(crate) use room::Room;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snug_protocol::{Body, Code, Folded, Nick, Presence, Role, RoomName, ServerLine, TagBuilder, Timestamp};

use crate::config::Limits;
use crate::log::{Newcomer, Rank, Readers, StoredRoom};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::retention::Keep;

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

/// How a session comes in.
pub(crate) struct Entrance<'a> {
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) nick: &'a Nick<'a>,
    /// Joins nothing and is not announced.
    pub(crate) quiet: bool,
    /// Whether it is a bot of the daemon's own.
    pub(crate) bot: bool,
    /// What it can show for an identity that may exist, the best first.
    pub(crate) shows: Vec<Proof>,
    /// What a new identity would be known by.
    pub(crate) proof: Proof,
    /// The number of a new identity.
    pub(crate) number: u64,
    /// What a new one is on the server.
    pub(crate) role: Role,
    pub(crate) time: Timestamp,
}

/// Who a session became.
#[derive(Clone)]
pub(crate) struct Entered {
    pub(crate) identity: Arc<Identity>,
    /// What proved that the session may speak for an identity that was there; `None` if it is new.
    pub(crate) proved: Option<Proof>,
    /// Whether an identity that was there has come back under another nick.
    pub(crate) is_renamed: bool,
}

/// A row of WHO.
pub(crate) struct Present {
    pub(crate) nick: String,
    pub(crate) bot: bool,
    pub(crate) since: Timestamp,
    pub(crate) standing: Standing,
    /// What it is in the room that was asked about.
    pub(crate) role: Option<Role>,
}

/// A row of SESSIONS.
pub(crate) struct SessionRow {
    pub(crate) peer: Arc<Peer>,
    pub(crate) nick: Option<String>,
}

/// A row of ROOMS.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) members: usize,
    pub(crate) topic: Option<String>,
    pub(crate) room: Arc<Room>,
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
    looks: LookIndex,
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

    /// Gives a session a name. Unless it is `quiet`, it joins the lobby.
    ///
    /// # Errors
    /// The name is somebody else's, or looks like it is.
    pub(crate) fn enter(&self, entrance: &Entrance<'_>, limits: &Limits) -> Result<Entered, Refusal> {
        let mut state = self.state();
        if !state.peers.contains_key(&entrance.peer.id) {
            // It has gone while a password was compared or the log decided.
            return refuse(Code::Unavailable, "the connection is over");
        }
        let shown = entrance.shows.iter().find_map(|proof| Some((*state.proofs.get(proof)?, proof.clone())));
        let mut is_renamed = false;
        let (number, proved) = match shown {
            Some((number, proof)) => {
                let before = state.people.get(&number).map(|person| person.nick.as_str());
                is_renamed = before != Some(entrance.nick.as_str());
                let line = state.take_name(number, entrance.nick, entrance.time)?;
                state.tell_observers(number, &line, None, limits.announce_members);
                (number, Some(proof))
            }
            None => (state.create(entrance)?, None),
        };
        entrance.peer.set_identity(number);
        state.name_taken(entrance.peer);
        let person = state.people.get_mut(&number).expect("it was found or made above");
        if entrance.peer.hears_private() {
            person.identity.audience.add(entrance.peer);
        }
        person.sessions.push(Arc::clone(entrance.peer));
        person.away_since = None;
        person.was_here = true;
        let was_fading = std::mem::take(&mut person.is_fading);
        if person.sessions.len() == 1 {
            person.since = entrance.time;
        }
        let entered = Entered { identity: Arc::clone(&person.identity), proved, is_renamed };
        state.away_count -= u64::from(was_fading);
        if !entrance.quiet {
            state.hear(number, entrance.peer);
            let lobby = RoomName::LOBBY.fold();
            state.join(number, entrance.peer, &lobby, entrance.time, limits.announce_members);
        }
        Ok(entered)
    }

    /// Gives an identity that is here another name, and tells the others.
    ///
    /// # Errors
    /// The name is somebody else's, or looks like it is.
    pub(crate) fn rename(
        &self,
        peer: &Arc<Peer>,
        nick: &Nick<'_>,
        time: Timestamp,
        limits: &Limits,
    ) -> Result<String, Refusal> {
        let mut state = self.state();
        let number = peer.identity();
        let line = state.take_name(number, nick, time)?;
        // The session that asked is answered; it needs no event.
        state.tell_observers(number, &line, Some(peer), limits.announce_members);
        Ok(nick.as_str().to_owned())
    }

    /// Brings a room that the log has made or found into the registry. If it is new there, `ends` are the ids of its
    /// oldest and newest entry, and `listed` is who is on its list.
    pub(crate) fn open_room(
        &self,
        stored: &StoredRoom,
        name: &RoomName<'_>,
        ends: (u64, u64),
        listed: &[(u64, Role)],
    ) {
        let mut state = self.state();
        if let Some(inhabited) = state.rooms.get(&name.fold()) {
            inhabited.room.generation.store(stored.generation, Relaxed);
            return;
        }
        state.insert_room(Arc::new(Room::new(stored, name, ends, listed)));
    }

    /// Takes a room away that the log has retired, if it is still there.
    pub(crate) fn close_room(&self, number: u64) {
        let mut state = self.state();
        if let Some(fold) = state.room_numbers.get(&number).cloned() {
            state.remove_room(&fold);
        }
    }

    /// Brings identities that the log remembers into the registry, as they were away since `now` milliseconds.
    pub(crate) fn recall(&self, identities: Vec<(Newcomer, u64)>, now: u64) {
        let mut state = self.state();
        for (known, delivered) in identities {
            state.recall(&known, delivered, now);
        }
    }

    /// Notes that the log knows these identities; `now` is since when those are away that nobody here has seen.
    pub(crate) fn learn(&self, records: &[Newcomer], now: u64) {
        let mut state = self.state();
        for record in records {
            match state.people.get(&record.number) {
                Some(person) => person.identity.is_recorded.store(true, Relaxed),
                None => state.recall(record, 0, now),
            }
        }
    }

    /// Takes over another nick and proof of an identity, unless that was decided here.
    pub(crate) fn take_over_name(&self, record: &Newcomer) {
        let (Some(proof), Ok(nick)) = (Proof::read(&record.proof), Nick::parse(&record.nick)) else { return };
        let mut state = self.state();
        let Some(person) = state.people.get_mut(&record.number).filter(|person| !person.was_here) else {
            return;
        };
        person.set_nick(&nick);
        let old = std::mem::replace(&mut person.proof, proof.clone());
        state.proofs.remove(&old);
        state.proofs.insert(proof, record.number);
    }

    /// Forgets an identity that the log has forgotten, unless it is one that was here: of such it is decided here.
    pub(crate) fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.people.get(&number).is_some_and(|person| !person.was_here) {
            state.remove_person(number);
        }
    }

    /// What the log has to know of an identity, if it does not yet.
    pub(crate) fn newcomer(&self, identity: &Identity) -> Option<Newcomer> {
        if identity.is_recorded() {
            return None;
        }
        self.describe(identity.number, |newcomer| newcomer)
    }

    /// What the log has to know of an identity.
    ///
    /// `tell` is called before it can change, so that the log hears of changes in their order; it must not come back here.
    pub(crate) fn describe<T>(&self, number: u64, tell: impl FnOnce(Newcomer) -> T) -> Option<T> {
        let state = self.state();
        let person = state.people.get(&number)?;
        Some(tell(Newcomer {
            number,
            nick: person.nick.clone(),
            fold: person.fold.as_str().to_owned(),
            proof: person.proof.write(),
            bot: person.bot,
        }))
    }

    /// The identities that have been given private messages of which the log does not know, and the newest of each.
    pub(crate) fn newly_delivered(&self) -> Vec<(u64, u64)> {
        let state = self.state();
        let news = |person: &Person| {
            let identity = &person.identity;
            let id = identity.delivered.load(Relaxed);
            (identity.is_recorded() && identity.noted.swap(id, Relaxed) != id)
                .then_some((identity.number, id))
        };
        state.people.values().filter_map(news).collect()
    }

    /// An identity by its number.
    pub(crate) fn identity(&self, number: u64) -> Option<Arc<Identity>> {
        self.state().people.get(&number).map(|person| Arc::clone(&person.identity))
    }

    /// The identities that the log knows, a line each: what of them the log decides.
    #[cfg(test)]
    pub(crate) fn recorded(&self) -> Vec<String> {
        let state = self.state();
        let recorded = state.people.values().filter(|person| person.identity.is_recorded());
        let line = |person: &Person| {
            let standing = person.identity.standing();
            let role = standing.is_account.then_some(standing.role);
            let profile = (standing.display, standing.colour, standing.avatar);
            format!(
                "person {} {} {:?}, delivered {}, {role:?} {profile:?} {}",
                person.identity.number,
                person.nick,
                person.proof,
                person.identity.delivered.load(Relaxed),
                person.bot
            )
        };
        recorded.map(line).collect()
    }

    /// A room by its number.
    pub(crate) fn room_numbered(&self, number: u64) -> Option<Arc<Room>> {
        let state = self.state();
        let fold = state.room_numbers.get(&number)?;
        state.rooms.get(fold).map(|inhabited| Arc::clone(&inhabited.room))
    }

    /// Whether there are rooms with a setting of their own of how long entries are kept.
    pub(crate) fn has_rooms_of_few_entries(&self) -> bool {
        let is_one = |inhabited: &Inhabited| {
            let keep = inhabited.room.settings().keep;
            keep.is_some_and(|keep| keep != Keep::Forever)
        };
        self.state().rooms.values().any(is_one)
    }

    /// Notes which entry of a conversation is the oldest now; 0 if there is none left.
    pub(crate) fn set_oldest(&self, conversation: u64, oldest: u64) {
        if let Some(room) = self.room_numbered(conversation) {
            room.first.store(oldest, Relaxed);
            if oldest == 0 {
                room.last.store(0, Relaxed);
            }
        }
    }

    /// The rooms that a session hears, by number and name.
    pub(crate) fn heard_rooms(&self, peer: &Arc<Peer>) -> Vec<(u64, Arc<str>)> {
        let state = self.state();
        let Some(person) = state.people.get(&peer.identity()) else { return Vec::new() };
        if !person.hearing.iter().any(|other| Arc::ptr_eq(other, peer)) {
            return Vec::new();
        }
        state.rooms_of(person, peer)
    }

    /// The rooms that the identity of a session is in, by number and name.
    pub(crate) fn joined_rooms(&self, peer: &Peer) -> Vec<(u64, Arc<str>)> {
        let state = self.state();
        state.people.get(&peer.identity()).map(|person| state.rooms_of(person, peer)).unwrap_or_default()
    }

    /// The identities in a room.
    pub(crate) fn members(&self, room: &Room) -> Vec<u64> {
        let state = self.state();
        let members =
            state.rooms.get(&room.fold).map(|inhabited| inhabited.members.iter().copied().collect());
        members.unwrap_or_default()
    }

    /// Whoever holds that name, else an account or a user of this machine who goes by it and is away; and the name as it
    /// is shown.
    pub(crate) fn addressee(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        if let Some(present) = self.person(nick) {
            return Some(present);
        }
        let fold = nick.fold();
        let state = self.state();
        if let Some(person) = state.reserved.get(&fold).and_then(|number| state.people.get(number)) {
            return Some((Arc::clone(&person.identity), person.nick.clone()));
        }
        let is_meant = |person: &&Person| {
            person.fold == fold && matches!(person.proof, Proof::User(..)) && person.identity.is_recorded()
        };
        let person = state.people.values().filter(is_meant).max_by_key(|person| person.away_since)?;
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Whoever goes by that name, here or away; and the name as it is shown.
    pub(crate) fn known(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        if let Some(addressee) = self.addressee(nick) {
            return Some(addressee);
        }
        let fold = nick.fold();
        let state = self.state();
        let person =
            state.people.values().filter(|person| person.fold == fold).max_by_key(|p| p.away_since)?;
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Gives a room up that was made for somebody who did not come. Gives it if it is one to retire.
    pub(crate) fn abandon_room(&self, name: &RoomName<'_>) -> Option<Arc<Room>> {
        self.state().close_if_empty(&name.fold())
    }

    /// Puts a room back that the log would not retire.
    pub(crate) fn restore_room(&self, room: &Arc<Room>) {
        let mut state = self.state();
        if !state.rooms.contains_key(&room.fold) {
            room.gone.store(false, Relaxed);
            state.insert_room(Arc::clone(room));
        }
    }

    /// The room of that name.
    pub(crate) fn room(&self, name: &RoomName<'_>) -> Option<Arc<Room>> {
        self.state().rooms.get(&name.fold()).map(|inhabited| Arc::clone(&inhabited.room))
    }

    /// Where somebody stands in a room, as its settings see it.
    pub(crate) fn rank_in(&self, room: &Room, number: u64) -> Rank {
        match room.role_of(number) {
            Some(Role::Owner) => Rank::Owner,
            Some(Role::Moderator) => Rank::Moderators,
            Some(_) => Rank::Members,
            None => match self.identity(number) {
                Some(identity) if identity.role() >= Role::Bot => Rank::Accounts,
                _ => Rank::All,
            },
        }
    }

    /// Whoever holds that name, and the name as it is shown.
    pub(crate) fn person(&self, nick: &Nick<'_>) -> Option<(Arc<Identity>, String)> {
        let state = self.state();
        let person = &state.people[state.names.get(&nick.fold())?];
        Some((Arc::clone(&person.identity), person.nick.clone()))
    }

    /// Brings the identity of `peer` into a room that exists, and the session to hear its rooms if it came `quiet`.
    /// Gives the room, or `None` if there is no such room or the session has ended.
    ///
    /// # Errors
    /// The identity is in too many rooms.
    pub(crate) fn join(
        &self,
        peer: &Arc<Peer>,
        room: &RoomName<'_>,
        time: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Arc<Room>>, Refusal> {
        let mut state = self.state();
        let fold = room.fold();
        let number = peer.identity();
        if !state.peers.contains_key(&peer.id) {
            return Ok(None);
        }
        let Some(person) = state.people.get(&number) else { return Ok(None) };
        if !person.rooms.contains(&fold) && person.rooms.len() as u64 >= limits.rooms_per_identity {
            return refuse(Code::TooMany, "you are in as many rooms as one can be; LEAVE some");
        }
        let Some(inhabited) = state.rooms.get(&fold) else { return Ok(None) };
        let room = Arc::clone(&inhabited.room);
        peer.set_quiet(false);
        if !person.hearing.iter().any(|other| Arc::ptr_eq(other, peer)) {
            state.hear(number, peer);
        }
        state.join(number, peer, &fold, time, limits.announce_members);
        Ok(Some(room))
    }

    /// Takes the identity of `peer` out of a room. Gives its name, and what goes with that.
    ///
    /// # Errors
    /// There is no such room, or the identity is not in it.
    pub(crate) fn leave(
        &self,
        peer: &Arc<Peer>,
        room: &RoomName<'_>,
        text: Option<&str>,
        time: Timestamp,
        limits: &Limits,
    ) -> Result<(String, Departure), Refusal> {
        let mut state = self.state();
        let fold = room.fold();
        let number = peer.identity();
        let Some(inhabited) = state.rooms.get(&fold) else {
            return refuse(Code::NoSuchRoom, &format!("there is no room {room}; ROOMS lists them"));
        };
        let name = inhabited.room.name.clone();
        if !inhabited.members.contains(&number) {
            return refuse(Code::NotInRoom, &format!("you are not in {name}"));
        }
        let body = Body::Leave { room: &name, text: text.map(Into::into) };
        let line = presence(body, &state.people[&number].nick, time);
        inhabited.announce(&line, Some(peer), limits.announce_members);
        let departure = state.take_out(number, std::slice::from_ref(&fold));
        if let Some(person) = state.people.get_mut(&number) {
            person.rooms.retain(|other| *other != fold);
        }
        Ok((name, departure))
    }

    /// Whether the identity of `peer` is in a room.
    pub(crate) fn is_in(&self, peer: &Peer, room: &Room) -> bool {
        let state = self.state();
        state.rooms.get(&room.fold).is_some_and(|inhabited| inhabited.members.contains(&peer.identity()))
    }

    /// Everybody who is here or in a room, in the order of their names. `None` if there is no such room.
    pub(crate) fn who(&self, room: Option<&RoomName<'_>>) -> Option<Vec<Present>> {
        let state = self.state();
        let Some(room) = room else {
            let here = state.people.values().filter(|person| !person.hearing.is_empty());
            return Some(in_order(here.collect(), None));
        };
        let inhabited = state.rooms.get(&room.fold())?;
        let members = inhabited.members.iter().filter_map(|number| state.people.get(number));
        Some(in_order(members.collect(), Some(&inhabited.room)))
    }

    /// One person, if here and not `quiet`.
    pub(crate) fn who_is(&self, nick: &Nick<'_>) -> Option<Present> {
        let state = self.state();
        let person = &state.people[state.names.get(&nick.fold())?];
        (!person.hearing.is_empty()).then(|| person.present(None))
    }

    /// The rooms, in the order of their names.
    pub(crate) fn rooms(&self) -> Vec<Listed> {
        let state = self.state();
        let listed = |inhabited: &Inhabited| Listed {
            name: inhabited.room.name.clone(),
            members: inhabited.members.len(),
            topic: inhabited.room.topic().map(|topic| topic.text),
            room: Arc::clone(&inhabited.room),
        };
        state.rooms.values().map(listed).collect()
    }

    /// Every session with the name it holds, the oldest first.
    pub(crate) fn sessions(&self) -> Vec<SessionRow> {
        let state = self.state();
        let mut rows: Vec<SessionRow> = state
            .peers
            .values()
            .map(|peer| SessionRow {
                peer: Arc::clone(peer),
                nick: state.people.get(&peer.identity()).map(|person| person.nick.clone()),
            })
            .collect();
        rows.sort_by_key(|row| row.peer.id);
        rows
    }

    /// All sessions of an identity, also those that hear nothing.
    pub(crate) fn sessions_of(&self, number: u64) -> Vec<Arc<Peer>> {
        let state = self.state();
        state.people.get(&number).map(|person| person.sessions.clone()).unwrap_or_default()
    }

    /// Puts an identity out of a room, without a word: its entry says it.
    pub(crate) fn put_out(&self, number: u64, room: &Room) -> Departure {
        let mut state = self.state();
        let is_in = state.rooms.get(&room.fold).is_some_and(|inhabited| inhabited.members.contains(&number));
        if !is_in {
            return Departure::default();
        }
        let fold = room.fold.clone();
        let departure = state.take_out(number, std::slice::from_ref(&fold));
        if let Some(person) = state.people.get_mut(&number) {
            person.rooms.retain(|other| *other != fold);
        }
        departure
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

    /// How many sessions, people with a name, and rooms there are.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.state();
        (state.peers.len(), state.names.len(), state.rooms.len())
    }

    /// Forgets identities that were away for `linger` milliseconds, and the oldest of more than `most`. Gives those
    /// of them that the log knows.
    pub(crate) fn forget_guests(&self, now: u64, linger: u64, most: u64) -> Vec<u64> {
        // Nothing that happened before the daemon's clock began is too old.
        let Some(oldest) = now.checked_sub(linger) else { return self.state().forget_guests(0, most) };
        self.state().forget_guests(oldest, most)
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

    /// Makes an identity that holds its name.
    fn create(&mut self, entrance: &Entrance<'_>) -> Result<u64, Refusal> {
        self.check_free(entrance.nick, None)?;
        let (number, nick) = (entrance.number, entrance.nick);
        let identity = Identity::new(number, nick.as_str(), entrance.role, 0, false);
        let mut person = Person::new(identity, nick, entrance.proof.clone(), entrance.bot);
        person.since = entrance.time;
        self.names.insert(person.fold.clone(), number);
        self.looks.add(&person.nick);
        self.proofs.insert(person.proof.clone(), number);
        self.people.insert(number, person);
        Ok(number)
    }

    /// Gives an identity a name, which may be the one it has. Gives the line that tells the others; it is empty if
    /// nothing they could have seen has changed.
    fn take_name(&mut self, number: u64, nick: &Nick<'_>, time: Timestamp) -> Result<Vec<u8>, Refusal> {
        let (old, is_held) = match self.people.get(&number) {
            Some(person) => (person.nick.clone(), self.names.get(&person.fold) == Some(&number)),
            None => return refuse(Code::NickNeeded, "say NICK first"),
        };
        let fold = nick.fold();
        if let Proof::User(user, _) = &self.people[&number].proof
            && let Some(other) = self.proofs.get(&Proof::User(*user, fold))
            && *other != number
            && self.people.get(other).is_some_and(|person| person.identity.is_recorded())
        {
            let text = format!("{nick} is somebody you have been before; connect anew to be that one again");
            return refuse(Code::NickTaken, &text);
        }
        if is_held {
            if old == nick.as_str() {
                return Ok(Vec::new());
            }
            // Its own old name is not in the way of its new one.
            self.release_name(number);
        }
        let is_free = self.check_free(nick, Some(number));
        let person = self.people.get_mut(&number).expect("it was found above");
        if is_free.is_ok() {
            person.set_nick(nick);
        }
        let is_reserved = self.reserved.get(&person.fold) == Some(&number);
        if is_free.is_ok() || is_held {
            self.names.insert(person.fold.clone(), number);
            if !is_reserved {
                self.looks.add(&person.nick);
            }
        }
        is_free?;
        if let Proof::User(user, fold) = &person.proof
            && *fold != person.fold
        {
            let proof = Proof::User(*user, person.fold.clone());
            let old = std::mem::replace(&mut person.proof, proof.clone());
            self.proofs.remove(&old);
            self.proofs.insert(proof, number);
        }
        if !is_held || old == nick.as_str() {
            return Ok(Vec::new());
        }
        Ok(presence(Body::Nick { nick: nick.as_str() }, &old, time))
    }

    /// Whether a name can be taken by an identity, or by a new one.
    fn check_free(&self, nick: &Nick<'_>, by: Option<u64>) -> Result<(), Refusal> {
        if self.names.contains_key(&nick.fold()) {
            return match self.reserved.contains_key(&nick.fold()) {
                true => login_needed(nick),
                false => refuse(
                    Code::NickTaken,
                    &format!("{nick} is somebody else; take another name, or show its token"),
                ),
            };
        }
        match (self.reserved.get(&nick.fold()), by) {
            // Its own name is not in its way.
            (Some(account), Some(by)) if *account == by => return Ok(()),
            (Some(_), _) => return login_needed(nick),
            (None, _) => {}
        }
        if self.looks.has_alike(nick.as_str()) {
            return refuse(
                Code::LooksAlike,
                &format!("{nick} can be taken for somebody who is here; take another name"),
            );
        }
        Ok(())
    }

    fn release_name(&mut self, number: u64) {
        let person = &self.people[&number];
        if self.names.get(&person.fold) != Some(&number) {
            return;
        }
        self.names.remove(&person.fold);
        if self.reserved.get(&person.fold) != Some(&number) {
            self.looks.remove(&person.nick);
        }
    }

    /// Lets a session hear all rooms of its identity, now and later.
    fn hear(&mut self, number: u64, peer: &Arc<Peer>) {
        let Some(person) = self.people.get_mut(&number) else { return };
        person.hearing.push(Arc::clone(peer));
        for fold in &person.rooms {
            let room = &self.rooms[fold].room;
            if peer.may_hear(&room.name) {
                room.audience.add(peer);
            }
        }
    }

    /// Lets a session hear none of its identity's rooms any more.
    fn deafen(&mut self, number: u64, peer: &Arc<Peer>) {
        for fold in &self.people[&number].rooms {
            self.rooms[fold].room.audience.remove(peer);
        }
    }

    /// Brings an identity into a room that exists, if it is not there, and tells the others.
    fn join(&mut self, number: u64, by: &Arc<Peer>, fold: &Folded, time: Timestamp, announce: u64) {
        let (Some(person), Some(inhabited)) = (self.people.get_mut(&number), self.rooms.get_mut(fold)) else {
            return;
        };
        if !inhabited.members.insert(number) {
            return;
        }
        person.rooms.push(fold.clone());
        for peer in person.hearing.iter().filter(|peer| peer.may_hear(&inhabited.room.name)) {
            inhabited.room.audience.add(peer);
        }
        let line = presence(Body::Join { room: &inhabited.room.name }, &person.nick, time);
        inhabited.announce(&line, Some(by), announce);
    }

    fn rooms_of(&self, person: &Person, peer: &Peer) -> Vec<(u64, Arc<str>)> {
        let rooms = person.rooms.iter().filter_map(|fold| self.rooms.get(fold));
        let rooms = rooms.filter(|inhabited| peer.may_hear(&inhabited.room.name));
        rooms.map(|inhabited| (inhabited.room.number, Arc::from(inhabited.room.name.as_str()))).collect()
    }

    /// Takes an identity out of rooms. Those in which nobody is left and nothing was ever written go.
    fn take_out(&mut self, number: u64, folds: &[Folded]) -> Departure {
        let mut departure = Departure::default();
        for fold in folds {
            let Some(inhabited) = self.rooms.get_mut(fold) else { continue };
            inhabited.members.remove(&number);
            for peer in &self.people[&number].hearing {
                inhabited.room.audience.remove(peer);
            }
            if inhabited.room.settings().history == Readers::Joined {
                departure.stays.push(inhabited.room.number);
            }
            departure.retire.extend(self.close_if_empty(fold));
        }
        departure
    }

    /// Takes a room away in which nobody is and nobody wrote, and gives it.
    fn close_if_empty(&mut self, fold: &Folded) -> Option<Arc<Room>> {
        let inhabited = self.rooms.get(fold)?;
        let is_over = inhabited.members.is_empty()
            && inhabited.room.ends().1 == 0
            && !inhabited.room.persists.load(Relaxed)
            && *fold != RoomName::LOBBY.fold();
        if !is_over {
            return None;
        }
        self.remove_room(fold)
    }

    /// Takes in a room that nobody is in.
    fn insert_room(&mut self, room: Arc<Room>) {
        self.room_numbers.insert(room.number, room.fold.clone());
        self.rooms.insert(room.fold.clone(), Inhabited { room, members: HashSet::new() });
    }

    /// Takes a room away. A session that remembers it has to look again.
    fn remove_room(&mut self, fold: &Folded) -> Option<Arc<Room>> {
        let room = self.rooms.remove(fold)?.room;
        self.room_numbers.remove(&room.number);
        room.gone.store(true, Relaxed);
        Some(room)
    }

    /// Takes in an identity as the log knows it: away since `now`.
    fn recall(&mut self, record: &Newcomer, delivered: u64, now: u64) {
        let (Some(proof), Ok(nick)) = (Proof::read(&record.proof), Nick::parse(&record.nick)) else { return };
        let identity = Identity::new(record.number, &record.nick, role_of(&proof), delivered, true);
        let person = Person::new(identity, &nick, proof.clone(), record.bot);
        self.proofs.insert(proof, record.number);
        self.people.insert(record.number, person);
        self.fade(record.number, now);
    }

    /// Takes an identity away that has no session and no name. Gives whether the log knows it.
    fn remove_person(&mut self, number: u64) -> bool {
        let Some(person) = self.people.remove(&number) else { return false };
        self.away_count -= u64::from(person.is_fading);
        // Another of the same user and name may have come after it.
        if self.proofs.get(&person.proof) == Some(&number) {
            self.proofs.remove(&person.proof);
        }
        person.identity.is_recorded()
    }

    /// Takes an identity whose last hearing session ended out of all its rooms, and tells the others once.
    fn quit(&mut self, number: u64, farewell: Option<&str>, time: Timestamp, announce: u64) -> Departure {
        let line = presence(Body::Quit { text: farewell.map(Into::into) }, &self.people[&number].nick, time);
        self.tell_observers(number, &line, None, announce);
        let rooms =
            self.people.get_mut(&number).map(|person| std::mem::take(&mut person.rooms)).unwrap_or_default();
        self.take_out(number, &rooms)
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

    /// Lets an identity without a session go: its name is free, and it waits for its guest.
    fn go_away(&mut self, number: u64, now: u64) {
        self.release_name(number);
        if let Some(person) = self.people.get(&number) {
            person.identity.set_presence(Presence::Online, None);
        }
        self.fade(number, now);
    }

    /// Notes that an identity is away from now on, and will be forgotten unless it is one to be kept.
    fn fade(&mut self, number: u64, now: u64) {
        let Some(person) = self.people.get_mut(&number) else { return };
        person.away_since = Some(now);
        if !person.is_kept() {
            person.is_fading = true;
            self.away.push_back((number, now));
            self.away_count += 1;
        }
    }

    /// Forgets the identities that went away before `oldest`, and the longest away of more than `most`.
    fn forget_guests(&mut self, oldest: u64, most: u64) -> Vec<u64> {
        let mut forgotten = Vec::new();
        while let Some(&(number, since)) = self.away.front() {
            let is_away = self
                .people
                .get(&number)
                .is_some_and(|person| person.is_fading && person.away_since == Some(since));
            if is_away && since >= oldest && self.away_count <= most {
                break;
            }
            self.away.pop_front();
            if is_away && self.remove_person(number) {
                forgotten.push(number);
            }
        }
        forgotten
    }
}

impl Person {
    /// Its row; `room` is the one that was asked about.
    fn present(&self, room: Option<&Room>) -> Present {
        Present {
            nick: self.nick.clone(),
            bot: self.bot,
            since: self.since,
            standing: self.identity.standing(),
            role: room.and_then(|room| room.role_of(self.identity.number)),
        }
    }
}

/// The rows of people, in the order of their names.
fn in_order(mut people: Vec<&Person>, room: Option<&Arc<Room>>) -> Vec<Present> {
    people.sort_by(|a, b| a.fold.cmp(&b.fold));
    people.into_iter().map(|person| person.present(room.map(Arc::as_ref))).collect()
}

/// What somebody is who has shown this, and no account.
fn role_of(proof: &Proof) -> Role {
    match proof {
        Proof::User(..) => Role::Member,
        Proof::Bot(_) => Role::Bot,
        Proof::Token(_) | Proof::Account(_) | Proof::Gone(_) => Role::Guest,
    }
}

fn login_needed<T>(nick: &Nick<'_>) -> Result<T, Refusal> {
    refuse(
        Code::LoginNeeded,
        &format!("{nick} has an account: come in with AUTH if it is you, else take another name"),
    )
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
