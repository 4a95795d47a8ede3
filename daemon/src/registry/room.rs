//! A room as the daemon knows it while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use snug_protocol::Folded;

use crate::keep::Keep;
use crate::log::{Readers, Topic};
use crate::peer::Audience;

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
    /// Who may read what was said, and how long it is kept.
    pub(super) policy: Mutex<(Readers, Option<Keep>)>,
    /// The line of the entry that set the topic.
    pub(super) topic: Mutex<Option<Topic>>,
}

impl Room {
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

    /// Who may read what was said in it, and how long that is kept.
    pub(crate) fn policy(&self) -> (Readers, Option<Keep>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the log has decided.
    pub(crate) fn set_policy(&self, history: Readers, keep: Option<Keep>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = (history, keep);
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
