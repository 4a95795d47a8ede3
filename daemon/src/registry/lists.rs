//! Rows of WHO, ROOMS and SESSIONS.

use super::{Inhabited, Person, PublicProfile, Registry, Room};
use crate::registry::peer::Peer;
use snug_protocol::{Nick, Role, RoomName, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A row of WHO.
pub(crate) struct Present {
    /// The identity's number.
    pub(crate) number: u64,
    pub(crate) nick: String,
    pub(crate) bot: bool,
    pub(crate) since: Timestamp,
    pub(crate) profile: PublicProfile,
    /// Its role in the room that was asked about.
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

impl Registry {
    /// Returns the identities whose newest delivered private message the log does not know yet, with the id of that
    /// message, and marks it as noted.
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

    /// Describes each identity that the log knows in one line, with everything about it that the log decides.
    #[cfg(test)]
    pub(crate) fn recorded(&self) -> Vec<String> {
        let state = self.state();
        let recorded = state.people.values().filter(|person| person.identity.is_recorded());
        let line = |person: &Person| {
            let profile = person.identity.profile();
            let role = profile.is_account.then_some(profile.role);
            let profile = (profile.display, profile.colour, profile.avatar);
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

    /// Returns the users who are online, or the members of `room`, sorted by name. `None` if there is no such room.
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

    /// Returns one user, if online and not `quiet`.
    pub(crate) fn who_is(&self, nick: &Nick<'_>) -> Option<Present> {
        let state = self.state();
        let person = &state.people[state.names.get(&nick.fold())?];
        (!person.hearing.is_empty()).then(|| person.present(None))
    }

    /// Returns the user with a number, if online and not `quiet`.
    pub(crate) fn who_has_id(&self, number: u64) -> Option<Present> {
        let state = self.state();
        let person = state.people.get(&number)?;
        (!person.hearing.is_empty()).then(|| person.present(None))
    }

    /// Returns the rooms, sorted by name.
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

    /// Returns every session with the name it holds, oldest first.
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

    /// Returns all sessions of an identity, including those that receive nothing.
    pub(crate) fn sessions_of(&self, number: u64) -> Vec<Arc<Peer>> {
        let state = self.state();
        state.people.get(&number).map(|person| person.sessions.clone()).unwrap_or_default()
    }

    /// Returns the numbers of sessions, of users with a name, and of rooms.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.state();
        (state.peers.len(), state.names.len(), state.rooms.len())
    }
}

impl Person {
    /// Returns its row of WHO; `room` is the room that was asked about.
    pub(super) fn present(&self, room: Option<&Room>) -> Present {
        Present {
            number: self.identity.number,
            nick: self.nick.clone(),
            bot: self.bot,
            since: self.since,
            profile: self.identity.profile(),
            role: room.and_then(|room| room.role_of(self.identity.number)),
        }
    }
}

/// Returns the rows of `people`, sorted by name.
fn in_order(mut people: Vec<&Person>, room: Option<&Arc<Room>>) -> Vec<Present> {
    people.sort_by(|a, b| a.fold.cmp(&b.fold));
    people.into_iter().map(|person| person.present(room.map(Arc::as_ref))).collect()
}
