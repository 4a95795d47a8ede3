//! A second core, without a session of its own, that is given what the log has decided: what is decided takes effect on
//! every daemon that applies it, and not only where it was asked for.
//!
//! Each world of the session tests has one, and compares it with the first in the end.

use std::sync::Arc;

use snug_protocol::Timestamp;

use crate::core::Core;
use crate::core::deliver;
use crate::core::queue::Submission;
use crate::core::reply::Reply;
use crate::log::{CommitError, Draft, Index, LogError, Outcome, Store, View};

/// A store that remembers what it has decided.
pub(crate) struct Recorder<'s> {
    store: &'s mut dyn Store,
    decided: Vec<(Draft, Outcome)>,
}

impl<'s> Recorder<'s> {
    pub(crate) fn new(store: &'s mut dyn Store) -> Recorder<'s> {
        Recorder { store, decided: Vec::new() }
    }

    /// Lets the second core of `core`, if it has one, do what was decided.
    pub(crate) fn follow(self, core: &Core) {
        let Some(second) = core.second.get() else { return };
        let decided = self.decided.into_iter().map(|(draft, outcome)| {
            (Submission { draft, size: 0, sender: None, reply: Reply::Nobody }, outcome)
        });
        deliver::deliver_all(second, self.store, decided);
    }
}

impl Store for Recorder<'_> {
    fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> Result<Vec<Outcome>, CommitError> {
        let outcomes = self.store.commit(now, drafts)?;
        self.decided.extend(drafts.iter().copied().cloned().zip(outcomes.iter().cloned()));
        Ok(outcomes)
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        self.store.reopen()
    }

    fn tidy(&mut self) -> bool {
        self.store.tidy()
    }

    fn last_id(&self) -> u64 {
        self.store.last_id()
    }

    fn view(&self) -> View<'_> {
        self.store.view()
    }

    fn index(&self) -> Option<Index<'_>> {
        self.store.index()
    }
}

/// What a core knows that the log decides, a line each.
fn decided(core: &Core) -> Vec<String> {
    let mut lines = Vec::new();
    for listed in core.registry.rooms() {
        let room = &listed.room;
        lines.push(format!(
            "room {} {}: {:?}, owner {}, {:?}, topic {:?}, ends {:?}, bans {:?}",
            room.number,
            room.name,
            room.settings(),
            room.owner(),
            room.roles(),
            room.topic(),
            room.ends(),
            room.known_bans()
        ));
    }
    let mut people = core.registry.recorded();
    people.sort_unstable();
    lines.extend(people);
    lines.push(format!("bans {:?}", core.bans()));
    lines
}

/// Compares a core with its second, when all that was asked for is decided.
pub(crate) fn assert_alike(core: &Arc<Core>) {
    let Some(second) = core.second.get() else { return };
    let (first, second) = (decided(core), decided(second));
    assert!(!first.is_empty());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second, "where it was asked, and on another daemon");
    }
    assert_eq!(first.len(), second.len(), "{first:#?} {second:#?}");
}
