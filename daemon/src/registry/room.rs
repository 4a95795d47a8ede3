//! A room as the daemon knows it while it runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use snug_protocol::{Folded, Role, RoomName};

use crate::log::{RoomAccess, RoomSettings, StoredRoom, Topic};
use crate::registry::peer::Audience;

/// A room.
pub(crate) struct Room {
    /// Its number in the log.
    pub(crate) number: u64,
    /// Its name as it is shown.
    pub(crate) name: String,
    pub(super) fold: Folded,
    /// The sessions that hear what is said in it.
    pub(crate) audience: Audience,
    /// How often the log has made or found it: tells an order to retire it that came too late.
    pub(crate) generation: AtomicU64,
    /// Whether it is no more in the registry: a session that remembers it has to look again.
    pub(crate) gone: AtomicBool,
    /// The oldest and the newest entry that the log has of it; 0 if there is none.
    pub(super) first: AtomicU64,
    pub(super) last: AtomicU64,
    settings: Mutex<Arc<RoomSettings>>,
    /// Whether everybody finds it: what is asked with each message.
    is_public: AtomicBool,
    roster: Mutex<Roster>,
    /// Whether somebody may be banned from it.
    has_bans: AtomicBool,
    /// Whether it stays when everybody has left.
    pub(super) persists: AtomicBool,
    /// The line of the entry that set the topic.
    topic: Mutex<Option<Topic>>,
}

/// Who is what in a room.
#[derive(Clone, Debug, Default)]
struct Roster {
    owner: u64,
    /// Moderators and members on its list.
    listed: HashMap<u64, Role>,
}

impl Room {
    /// A room that the log has. `ends` are its oldest and its newest entry.
    pub(super) fn new(
        stored: &StoredRoom,
        name: &RoomName<'_>,
        ends: (u64, u64),
        listed: &[(u64, Role)],
    ) -> Room {
        Room {
            number: stored.number,
            name: name.as_str().to_owned(),
            fold: name.fold(),
            audience: Audience::default(),
            gone: AtomicBool::new(false),
            first: AtomicU64::new(ends.0),
            last: AtomicU64::new(ends.1),
            is_public: AtomicBool::new(stored.settings.access == RoomAccess::Public),
            settings: Mutex::new(Arc::new(stored.settings.clone())),
            roster: Mutex::new(Roster { owner: stored.owner, listed: listed.iter().copied().collect() }),
            // Nobody has looked yet.
            has_bans: AtomicBool::new(true),
            persists: AtomicBool::new(stored.persists),
            topic: Mutex::new(stored.topic.clone()),
            generation: AtomicU64::new(stored.generation),
        }
    }

    /// What somebody is in it: `Owner`, `Moderator`, or `Member` for who is on its list.
    pub(crate) fn role_of(&self, identity: u64) -> Option<Role> {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if roster.owner == identity && identity != 0 {
            return Some(Role::Owner);
        }
        roster.listed.get(&identity).copied()
    }

    /// Whose it is; 0 for nobody's.
    pub(crate) fn owner(&self) -> u64 {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).owner
    }

    /// Everybody on its list, its owner among them.
    pub(crate) fn roles(&self) -> Vec<(u64, Role)> {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = (roster.owner != 0).then_some((roster.owner, Role::Owner));
        let mut roles: Vec<_> = owner
            .into_iter()
            .chain(roster.listed.iter().map(|(identity, role)| (*identity, *role)))
            .collect();
        roles.sort_by_key(|(identity, role)| (std::cmp::Reverse(*role), *identity));
        roles
    }

    /// Takes over what the log has made somebody.
    pub(crate) fn set_role(&self, identity: u64, role: Option<Role>) {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if role == Some(Role::Owner) {
            let before = std::mem::replace(&mut roster.owner, identity);
            if before != 0 && before != identity {
                roster.listed.insert(before, Role::Moderator);
            }
            roster.listed.remove(&identity);
            return;
        }
        if roster.owner == identity {
            roster.owner = 0;
        }
        match role {
            Some(role) => roster.listed.insert(identity, role),
            None => roster.listed.remove(&identity),
        };
    }

    /// Takes over whose it is and who is on its list.
    pub(crate) fn set_roster(&self, owner: u64, listed: Vec<(u64, Role)>) {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        *roster = Roster { owner, listed: listed.into_iter().collect() };
    }

    /// Puts somebody on its list who is not yet on it.
    pub(crate) fn admit(&self, identity: u64) {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if roster.owner != identity {
            roster.listed.entry(identity).or_insert(Role::Member);
        }
    }

    /// Whether somebody may be banned from it, so that the log is asked who comes in.
    pub(crate) fn has_bans(&self) -> bool {
        self.has_bans.load(Relaxed)
    }

    /// Notes whether somebody is banned from it.
    pub(crate) fn set_has_bans(&self, has_bans: bool) {
        self.has_bans.store(has_bans, Relaxed);
    }

    /// Whether somebody may know that it is there.
    pub(crate) fn is_known_to(&self, identity: u64) -> bool {
        self.is_public.load(Relaxed) || self.role_of(identity).is_some()
    }

    /// Whether it stays when everybody has left.
    pub(crate) fn set_persists(&self, persists: bool) {
        self.persists.store(persists, Relaxed);
    }

    /// Notes that the log has more entries of it, from one to another.
    pub(crate) fn written(&self, first: u64, last: u64) {
        if self.first.load(Relaxed) == 0 {
            self.first.store(first, Relaxed);
        }
        self.last.store(last, Relaxed);
    }

    /// The ids of the oldest and the newest entry that the log has of it; 0 if there is none.
    pub(crate) fn ends(&self) -> (u64, u64) {
        (self.first.load(Relaxed), self.last.load(Relaxed))
    }

    /// Its settings.
    pub(crate) fn settings(&self) -> Arc<RoomSettings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what the log has decided.
    pub(crate) fn set_settings(&self, settings: RoomSettings) {
        self.is_public.store(settings.access == RoomAccess::Public, Relaxed);
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// What it is about.
    pub(crate) fn topic(&self) -> Option<Topic> {
        self.topic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the log has decided.
    pub(crate) fn set_topic(&self, topic: Option<Topic>) {
        *self.topic.lock().unwrap_or_else(PoisonError::into_inner) = topic;
    }
}
