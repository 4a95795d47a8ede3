//! The in-memory state of a room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use snug_protocol::{Folded, Role, RoomName, Timestamp};

use crate::log::{BanRow, RoomAccess, RoomSettings, StoredRoom, Topic, View};
use crate::registry::peer::Audience;

/// A room.
pub(crate) struct Room {
    /// Its number in the log.
    pub(crate) number: u64,
    /// Its name as displayed.
    pub(crate) name: String,
    pub(super) fold: Folded,
    /// The sessions that receive its entries.
    pub(crate) audience: Audience,
    /// How often the log has created or found it. It exposes an order to retire the room that came too late.
    pub(crate) generation: AtomicU64,
    /// Whether it is no longer in the registry, so that a session that has cached it must look it up again.
    pub(crate) gone: AtomicBool,
    /// The ids of its oldest and newest entry in the log; 0 if there is none.
    pub(super) first: AtomicU64,
    pub(super) last: AtomicU64,
    settings: Mutex<Arc<RoomSettings>>,
    /// Whether its access is public. It is outside the settings' lock because each message checks it.
    is_public: AtomicBool,
    roster: Mutex<Roster>,
    /// Its bans; `None` until the log has told them.
    bans: Mutex<Option<Vec<BanRow>>>,
    /// Whether it stays when everybody has left.
    pub(super) persists: AtomicBool,
    /// Whether the log has said that it keeps the room, whoever owns it.
    pub(super) is_kept: AtomicBool,
    /// The topic, with the sender and the tags of the entry that set it.
    topic: Mutex<Option<Topic>>,
}

/// The roles in a room.
#[derive(Clone, Debug, Default)]
struct Roster {
    owner: u64,
    /// The moderators and members on its list.
    listed: HashMap<u64, Role>,
}

impl Room {
    /// Creates a room that the log has. `ends` are the ids of its oldest and newest entry.
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
            bans: Mutex::new(None),
            persists: AtomicBool::new(stored.persists),
            topic: Mutex::new(stored.topic.clone()),
            is_kept: AtomicBool::new(false),
            generation: AtomicU64::new(stored.generation),
        }
    }

    /// Returns the role of an identity in it: `Owner`, `Moderator`, or `Member` if it is on the list.
    pub(crate) fn role_of(&self, identity: u64) -> Option<Role> {
        let roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if roster.owner == identity && identity != 0 {
            return Some(Role::Owner);
        }
        roster.listed.get(&identity).copied()
    }

    /// Returns the number of its owner; 0 if it has none.
    pub(crate) fn owner(&self) -> u64 {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).owner
    }

    /// Returns its owner and everybody on its list, the highest role first.
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

    /// Applies a role that the log has decided. A replaced owner becomes a moderator.
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

    /// Replaces its owner and its list.
    pub(crate) fn set_roster(&self, owner: u64, listed: Vec<(u64, Role)>) {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        *roster = Roster { owner, listed: listed.into_iter().collect() };
    }

    /// Puts an identity on its list as a member, unless it is on the list or the owner.
    pub(crate) fn admit(&self, identity: u64) {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        if roster.owner != identity {
            roster.listed.entry(identity).or_insert(Role::Member);
        }
    }

    /// Returns whether it may have bans, so that the log must decide each JOIN.
    pub(crate) fn has_bans(&self) -> bool {
        self.bans().as_ref().is_none_or(|bans| !bans.is_empty())
    }

    /// Returns whether somebody is banned from it, as far as that is known.
    pub(crate) fn is_banned(&self, identity: u64, nick: &str, now: Timestamp) -> bool {
        let bans = self.bans();
        bans.iter().flatten().any(|ban| ban.holds(now) && ban.is_of(identity, nick))
    }

    /// Returns its bans as far as they are known.
    #[cfg(test)]
    pub(crate) fn known_bans(&self) -> Vec<BanRow> {
        self.bans().clone().unwrap_or_default()
    }

    /// Takes its bans over from the log. If they cannot be read, the log decides each JOIN.
    pub(crate) fn learn_bans(&self, view: &View<'_>) {
        let bans = view.bans(self.number);
        if let Err(error) = &bans {
            tracing::error!("the bans of {} cannot be read: {error}", self.name);
        }
        *self.bans() = bans.ok();
    }

    fn bans(&self) -> MutexGuard<'_, Option<Vec<BanRow>>> {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether an identity may know that it exists.
    pub(crate) fn is_known_to(&self, identity: u64) -> bool {
        self.is_public.load(Relaxed) || self.role_of(identity).is_some()
    }

    /// Sets whether it stays when everybody has left.
    pub(crate) fn set_persists(&self, persists: bool) {
        self.persists.store(persists, Relaxed);
    }

    /// Notes that the log has refused to forget it: users who are known have spoken in it.
    pub(crate) fn set_kept(&self) {
        self.is_kept.store(true, Relaxed);
    }

    /// Notes that the log has new entries of it, with ids from `first` to `last`.
    pub(crate) fn written(&self, first: u64, last: u64) {
        if self.first.load(Relaxed) == 0 {
            self.first.store(first, Relaxed);
        }
        self.last.store(last, Relaxed);
    }

    /// Returns the ids of its oldest and newest entry in the log; 0 if there is none.
    pub(crate) fn ends(&self) -> (u64, u64) {
        (self.first.load(Relaxed), self.last.load(Relaxed))
    }

    /// Returns its settings.
    pub(crate) fn settings(&self) -> Arc<RoomSettings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies settings that the log has decided.
    pub(crate) fn set_settings(&self, settings: RoomSettings) {
        self.is_public.store(settings.access == RoomAccess::Public, Relaxed);
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Returns its topic.
    pub(crate) fn topic(&self) -> Option<Topic> {
        self.topic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Applies a topic that the log has decided.
    pub(crate) fn set_topic(&self, topic: Option<Topic>) {
        *self.topic.lock().unwrap_or_else(PoisonError::into_inner) = topic;
    }
}
