//! The registry's rooms and their members.

use super::{Departure, Inhabited, Person, Registry, Room, State, presence, refuse};
use crate::config::Limits;
use crate::log::{Rank, Readers, StoredRoom};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::retention::Retention;
use snug_protocol::{Body, Code, Folded, Role, RoomName, ServerLine, TagBuilder, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// How a session brings its identity into a room.
#[derive(Clone, Copy)]
pub(super) enum Joins<'a> {
    /// It has said JOIN, and hears of it as the others do.
    ByCommand(&'a Arc<Peer>),
    /// It has come in, which brings it into its rooms.
    WithLogin(&'a Arc<Peer>),
    /// The log says that it is in the room, and none of its sessions has had an answer.
    Found,
}

impl Registry {
    /// Adds a room that the log has created or found. If it is new to the registry, `ends` are the ids of its oldest
    /// and newest entry, and `listed` are the identities on its list.
    pub(crate) fn open_room(
        &self,
        stored: &StoredRoom,
        name: &RoomName<'_>,
        ends: (u64, u64),
        listed: &[(u64, Role)],
    ) {
        let mut state = self.state();
        if let Some(inhabited) = state.rooms.get(&name.fold()) {
            inhabited.room.generation.fetch_max(stored.generation, Relaxed);
            return;
        }
        state.insert_room(Arc::new(Room::new(stored, name, ends, listed)));
    }

    /// Removes a room that the log has retired, if it is still there.
    pub(crate) fn close_room(&self, number: u64) {
        let mut state = self.state();
        if let Some(fold) = state.room_numbers.get(&number).cloned() {
            state.remove_room(&fold);
        }
    }

    /// Returns a room by its number.
    pub(crate) fn room_numbered(&self, number: u64) -> Option<Arc<Room>> {
        let state = self.state();
        let fold = state.room_numbers.get(&number)?;
        state.rooms.get(fold).map(|inhabited| Arc::clone(&inhabited.room))
    }

    /// Returns whether any room has its own retention, other than forever.
    pub(crate) fn has_rooms_of_few_entries(&self) -> bool {
        let is_one = |inhabited: &Inhabited| {
            let keep = inhabited.room.settings().keep;
            keep.is_some_and(|keep| keep != Retention::Forever)
        };
        self.state().rooms.values().any(is_one)
    }

    /// Removes the rooms without members whose owner is no account and which have no entry after `upto`, and returns them.
    /// Whether the log lets them go is for the caller to ask.
    pub(crate) fn take_quiet_rooms(&self, upto: u64) -> Vec<Arc<Room>> {
        let mut state = self.state();
        let lobby = RoomName::LOBBY.fold();
        // An operator who asks for all is answered anew.
        let is_every = upto == u64::MAX >> 1;
        let is_quiet = |(fold, inhabited): &(&Folded, &Inhabited)| {
            let room = &inhabited.room;
            inhabited.members.is_empty()
                && room.ends().1 <= upto
                && room.owner() != 0
                && !room.persists.load(Relaxed)
                && (is_every || !room.is_kept.load(Relaxed))
                && **fold != lobby
        };
        let quiet: Vec<Folded> = state.rooms.iter().filter(is_quiet).map(|(fold, _)| fold.clone()).collect();
        quiet.iter().filter_map(|fold| state.remove_room(fold)).collect()
    }

    /// Stores the id of the oldest entry that a conversation still has; 0 if it has none.
    pub(crate) fn set_oldest(&self, conversation: u64, oldest: u64) {
        if let Some(room) = self.room_numbered(conversation) {
            room.first.store(oldest, Relaxed);
            room.is_kept.store(false, Relaxed);
            if oldest == 0 {
                room.last.store(0, Relaxed);
            }
        }
    }

    /// Returns the number and name of each room that a session receives entries of.
    pub(crate) fn heard_rooms(&self, peer: &Arc<Peer>) -> Vec<(u64, Arc<str>)> {
        let state = self.state();
        let Some(person) = state.people.get(&peer.identity()) else { return Vec::new() };
        if !person.hearing.iter().any(|other| Arc::ptr_eq(other, peer)) {
            return Vec::new();
        }
        state.rooms_of(person, peer)
    }

    /// Returns the number and name of each room that the session's identity is in and its token covers.
    pub(crate) fn joined_rooms(&self, peer: &Peer) -> Vec<(u64, Arc<str>)> {
        let state = self.state();
        state.people.get(&peer.identity()).map(|person| state.rooms_of(person, peer)).unwrap_or_default()
    }

    /// Returns the identities in a room.
    pub(crate) fn members(&self, room: &Room) -> Vec<u64> {
        let state = self.state();
        let members =
            state.rooms.get(&room.fold).map(|inhabited| inhabited.members.iter().copied().collect());
        members.unwrap_or_default()
    }

    /// Returns the number of identities in a room.
    pub(crate) fn count_in(&self, room: &Room) -> usize {
        self.state().rooms.get(&room.fold).map_or(0, |inhabited| inhabited.members.len())
    }

    /// Returns the rooms that an identity is in, by name.
    pub(crate) fn rooms_of(&self, number: u64) -> Vec<Arc<Room>> {
        let state = self.state();
        let mut folds = state.people.get(&number).map(|person| person.rooms.clone()).unwrap_or_default();
        folds.sort();
        folds.iter().filter_map(|fold| Some(Arc::clone(&state.rooms.get(fold)?.room))).collect()
    }

    /// Returns the rooms that the session's identity is in.
    pub(crate) fn rooms_of_peer(&self, peer: &Peer) -> Vec<Arc<Room>> {
        let state = self.state();
        let folds =
            state.people.get(&peer.identity()).map(|person| person.rooms.as_slice()).unwrap_or_default();
        folds.iter().filter_map(|fold| Some(Arc::clone(&state.rooms.get(fold)?.room))).collect()
    }

    /// Closes a room that was created for a user who did not get in, if it is empty. Returns it if the log should
    /// retire it.
    pub(crate) fn abandon_room(&self, name: &RoomName<'_>) -> Option<Arc<Room>> {
        self.state().close_if_empty(&name.fold())
    }

    /// Returns the room with that name.
    pub(crate) fn room(&self, name: &RoomName<'_>) -> Option<Arc<Room>> {
        self.state().rooms.get(&name.fold()).map(|inhabited| Arc::clone(&inhabited.room))
    }

    /// Returns the rank of an identity in a room, in the terms of the room's settings.
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

    /// Adds the identity of `peer` to an existing room. If the session is `quiet`, it receives from its rooms from
    /// now on. Returns the room, or `None` if there is no such room or the session has ended.
    ///
    /// # Errors
    /// The identity is in too many rooms.
    pub(crate) fn join(
        &self,
        peer: &Arc<Peer>,
        room: &RoomName<'_>,
        (time, stays): (Timestamp, bool),
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
            state.hear(number, peer, time);
        }
        let was_in = state.people[&number].rooms.contains(&fold);
        state.join(number, Joins::ByCommand(peer), &fold, time, limits.announce_members);
        if let Some(person) = state.people.get_mut(&number) {
            match stays {
                true => person.passing.retain(|other| *other != fold),
                false if !was_in => person.passing.push(fold),
                false => {}
            }
        }
        Ok(Some(room))
    }

    /// Takes the identity of `peer` out of a room. Returns the room's name, and the consequences for the log.
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
        let mut own = state.people[&number].hearing.clone();
        own.push(Arc::clone(peer));
        inhabited.announce(&line, &own, HashSet::new(), limits.announce_members);
        let departure = state.take_out(number, std::slice::from_ref(&fold));
        if let Some(person) = state.people.get_mut(&number) {
            person.rooms.retain(|other| *other != fold);
            person.passing.retain(|other| *other != fold);
        }
        Ok((name, departure))
    }

    /// Adds an identity to an existing room, if sessions of it are here that hear its rooms.
    pub(crate) fn join_others(&self, number: u64, room: &RoomName<'_>, time: Timestamp, limits: &Limits) {
        let mut state = self.state();
        if state.people.get(&number).is_some_and(|person| !person.hearing.is_empty()) {
            state.join(number, Joins::Found, &room.fold(), time, limits.announce_members);
        }
    }

    /// Returns whether the identity of `peer` is in a room that is not remembered for its account.
    pub(crate) fn is_passing(&self, peer: &Peer, room: &RoomName<'_>) -> bool {
        let state = self.state();
        state.people.get(&peer.identity()).is_some_and(|person| person.passing.contains(&room.fold()))
    }

    /// Brings an account that is here into the rooms, by number, in which the log has it, and out of all others but those that
    /// are not remembered: after a commit whose outcome was not known. Tells the others.
    pub(crate) fn reconcile(
        &self,
        number: u64,
        rooms: &[u64],
        time: Timestamp,
        limits: &Limits,
    ) -> Departure {
        let mut state = self.state();
        let own: Vec<Folded> =
            rooms.iter().filter_map(|number| state.room_numbers.get(number).cloned()).collect();
        let Some(person) = state.people.get(&number).filter(|person| !person.hearing.is_empty()) else {
            return Departure::default();
        };
        let is_over = |fold: &&Folded| !own.contains(fold) && !person.passing.contains(fold);
        let over: Vec<Folded> = person.rooms.iter().filter(is_over).cloned().collect();
        let (nick, hearing) = (person.nick.clone(), person.hearing.clone());
        for fold in &over {
            if let Some(inhabited) = state.rooms.get(fold) {
                let line = presence(Body::Leave { room: &inhabited.room.name, text: None }, &nick, time);
                inhabited.announce(&line, &hearing, HashSet::new(), limits.announce_members);
            }
        }
        let departure = state.take_out(number, &over);
        if let Some(person) = state.people.get_mut(&number) {
            person.rooms.retain(|fold| !over.contains(fold));
        }
        for fold in &own {
            state.join(number, Joins::Found, fold, time, limits.announce_members);
        }
        departure
    }

    /// Returns whether the identity of `peer` is in a room.
    pub(crate) fn is_in(&self, peer: &Peer, room: &Room) -> bool {
        let state = self.state();
        state.rooms.get(&room.fold).is_some_and(|inhabited| inhabited.members.contains(&peer.identity()))
    }

    /// Removes an identity from a room without announcing it, because the moderation entry tells the members.
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
            person.passing.retain(|other| *other != fold);
        }
        departure
    }
}

impl State {
    /// Subscribes a session to all rooms of its identity, current and future.
    pub(super) fn hear(&mut self, number: u64, peer: &Arc<Peer>, time: Timestamp) {
        let Some(person) = self.people.get_mut(&number) else { return };
        person.hearing.push(Arc::clone(peer));
        let is_first = person.hearing.len() == 1;
        for fold in &person.rooms {
            let room = &self.rooms[fold].room;
            if peer.may_hear(&room.name) {
                room.audience.add(peer);
            }
        }
        if is_first {
            self.tell_coming(number, time);
        }
    }

    /// Unsubscribes a session from all rooms of its identity.
    pub(super) fn deafen(&mut self, number: u64, peer: &Arc<Peer>) {
        for fold in &self.people[&number].rooms {
            self.rooms[fold].room.audience.remove(peer);
        }
    }

    /// Adds an identity to an existing room and tells the others, unless it is in the room already.
    pub(super) fn join(&mut self, number: u64, by: Joins<'_>, fold: &Folded, time: Timestamp, announce: u64) {
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
        let mut tags = TagBuilder::default();
        tags.display("time", Some(time));
        person.identity.profile().describe(number, person.bot, &mut tags);
        let mut line = Vec::new();
        let body = Body::Join { room: &inhabited.room.name };
        ServerLine::new(body).with_tags(tags.tags()).with_from(&person.nick).write(&mut line);
        // Its other sessions are told however large the room is. What comes with a login is in the answer's order.
        let told = match by {
            Joins::ByCommand(_) | Joins::Found => HashSet::new(),
            Joins::WithLogin(peer) => HashSet::from([peer.id]),
        };
        let own: Vec<Arc<Peer>> = match by {
            Joins::ByCommand(peer) => person.hearing.iter().chain([peer]).cloned().collect(),
            Joins::WithLogin(_) | Joins::Found => person.hearing.clone(),
        };
        inhabited.announce(&line, &own, told, announce);
    }

    pub(super) fn rooms_of(&self, person: &Person, peer: &Peer) -> Vec<(u64, Arc<str>)> {
        let rooms = person.rooms.iter().filter_map(|fold| self.rooms.get(fold));
        let rooms = rooms.filter(|inhabited| peer.may_hear(&inhabited.room.name));
        rooms.map(|inhabited| (inhabited.room.number, Arc::from(inhabited.room.name.as_str()))).collect()
    }

    /// Takes an identity out of rooms. Closes those that have no members left and never had an entry.
    pub(super) fn take_out(&mut self, number: u64, folds: &[Folded]) -> Departure {
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

    /// Removes a room without members and entries, and returns it. Persistent rooms and the lobby stay.
    pub(super) fn close_if_empty(&mut self, fold: &Folded) -> Option<Arc<Room>> {
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

    /// Inserts a room without members.
    pub(super) fn insert_room(&mut self, room: Arc<Room>) {
        self.room_numbers.insert(room.number, room.fold.clone());
        self.rooms.insert(room.fold.clone(), Inhabited { room, members: HashSet::new() });
    }

    /// Removes a room, and marks it as gone so that sessions that have cached it look it up again.
    pub(super) fn remove_room(&mut self, fold: &Folded) -> Option<Arc<Room>> {
        let Inhabited { room, members } = self.rooms.remove(fold)?;
        self.room_numbers.remove(&room.number);
        for member in members {
            if let Some(person) = self.people.get_mut(&member) {
                person.rooms.retain(|other| other != fold);
                person.passing.retain(|other| other != fold);
            }
        }
        room.gone.store(true, Relaxed);
        Some(room)
    }

    /// Takes an identity out of all its rooms, because its last session that received from them ended. Tells each of
    /// the others once.
    pub(super) fn quit(
        &mut self,
        number: u64,
        farewell: Option<&str>,
        time: Timestamp,
        announce: u64,
    ) -> Departure {
        let line = presence(Body::Quit { text: farewell.map(Into::into) }, &self.people[&number].nick, time);
        let person = &self.people[&number];
        self.tell_observers_of(person, &[&person.fold], &line, None, announce);
        let person = self.people.get_mut(&number);
        let rooms = person.map(|person| {
            person.passing.clear();
            std::mem::take(&mut person.rooms)
        });
        let rooms = rooms.unwrap_or_default();
        self.take_out(number, &rooms)
    }
}
