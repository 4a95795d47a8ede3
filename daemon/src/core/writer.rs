//! The writer: takes a pack of drafts from the queue, commits it, delivers it and answers it.
//!
//! It has a thread of its own, because a commit may wait for the disk. Drafts that arrive while it is busy go into
//! the next pack, so the more there is to do, the less each draft costs.

use std::sync::Arc;

use snug_protocol::{Code, EntryKind};

use crate::config::Durability;
use crate::core::deliver;
use crate::core::queue::{Queue, Submission};
use crate::core::recall;
use crate::core::{Core, Counters};
use crate::log::{Act, CommitError, Draft, Outcome, Storage, Store};
use crate::refusal::Refusal;
use crate::registry::outbox;

/// Works until the queue is closed and empty.
pub(crate) fn run(core: &Arc<Core>, store: &mut dyn Store) {
    let mut writer = Writer::default();
    let waits_for_disk = matches!(core.place, Storage::Folder { durability: Durability::PowerLoss, .. });
    let mut gathered = 0;
    while let Some((pack, since)) = core.queue.take() {
        gathered += pack.len();
        writer.work_off(core, store, pack);
        core.counters.delivery.record(core.environment.clock.elapsed().saturating_sub(since));
        core.tell_followers(&store.view());
        // If commits do not wait for the disk and more drafts are here already, connections are woken only after the
        // next pack, and write both packs at once. This costs them the time of a commit, and gathers at most a full
        // pack.
        if waits_for_disk || gathered >= Queue::PACK_DRAFTS || core.queue.is_empty() {
            outbox::wake_held();
            gathered = 0;
            store.keep_short();
        }
    }
}

/// Processes a pack of what waits now, on the caller's thread.
#[cfg(test)]
pub(crate) fn run_once(core: &Arc<Core>, store: &mut dyn Store) {
    run_some(core, store, Queue::PACK_DRAFTS);
}

/// Processes at most `most` drafts, on the caller's thread.
#[cfg(test)]
pub(crate) fn run_some(core: &Arc<Core>, store: &mut dyn Store, most: usize) {
    Writer::default().work(core, store, most);
}

/// The state of the storage, as the writer knows it.
#[derive(Default)]
pub(crate) struct Writer {
    /// The trouble that was last logged, so that a full disk does not fill the daemon's own log too.
    trouble: Option<Trouble>,
    /// Whether the database must be reopened before anything else.
    is_broken: bool,
    /// Whether something was deleted since the files were last tidied.
    has_deleted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Full,
    Broken,
}

impl Writer {
    /// Processes at most `most` of the drafts that wait.
    #[cfg(test)]
    pub(crate) fn work(&mut self, core: &Arc<Core>, store: &mut dyn Store, most: usize) {
        let pack = core.queue.take_some(most);
        let mut recorder = crate::core::follower_tests::Recorder::new(store);
        self.work_off(core, &mut recorder, pack);
        recorder.follow(core);
        core.tell_followers(&store.view());
        outbox::wake_held();
    }

    /// Commits a pack, delivers it and answers it.
    fn work_off(&mut self, core: &Arc<Core>, store: &mut dyn Store, pack: Vec<Submission>) {
        if self.is_broken && !self.reopen(core, store) {
            let decided = pack.into_iter().map(|submission| (submission, unavailable()));
            deliver::deliver_all(core, store, decided);
            return;
        }
        let begun = core.environment.clock.elapsed();
        let outcomes = self.commit(core, store, &pack);
        if pack.iter().any(|submission| submission.draft.act != Act::Pass) {
            core.counters.commit.record(core.environment.clock.elapsed().saturating_sub(begun));
        }
        let (mut is_time_to_tidy, mut pack_deletes) = (false, false);
        for Submission { draft, .. } in &pack {
            match &draft.act {
                Act::Enter(entry) => pack_deletes |= entry.kind == EntryKind::Delete,
                Act::Purge { .. } => is_time_to_tidy = true,
                _ => {}
            }
        }
        self.has_deleted |= pack_deletes;
        outbox::hold_wakes(|| deliver::deliver_all(core, store, pack.into_iter().zip(outcomes)));
        if pack_deletes {
            // A file that was taken back makes room for an upload.
            core.files.count_kept(&store.view());
        }
        if is_time_to_tidy && self.has_deleted {
            self.has_deleted = !store.tidy();
        }
        if self.is_broken {
            self.reopen(core, store);
        }
    }

    /// Commits a pack. If one of its drafts cannot be applied, tries each alone, so that a bad draft costs the others
    /// nothing.
    fn commit(&mut self, core: &Core, store: &mut dyn Store, pack: &[Submission]) -> Vec<Outcome> {
        let now = core.environment.clock.now();
        let drafts: Vec<&Draft> = pack.iter().map(|submission| &submission.draft).collect();
        let is_change = drafts.iter().any(|draft| draft.act != Act::Pass);
        Counters::add(&core.counters.commits, usize::from(is_change));
        let error = match store.commit(now, &drafts) {
            Ok(outcomes) => {
                self.is_well();
                return outcomes;
            }
            Err(error) => error,
        };
        if drafts.len() == 1 || !matches!(error, CommitError::Failed(_)) {
            let outcome = self.failed(&error);
            return vec![outcome; drafts.len()];
        }
        tracing::warn!(
            ?error,
            drafts = drafts.len(),
            "a pack could not be committed; trying its entries alone"
        );
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            outcomes.push(match store.commit(now, &[draft]) {
                _ if self.is_broken => unavailable(),
                Ok(mut outcomes) => outcomes.pop().unwrap_or_else(unavailable),
                Err(error) => self.failed(&error),
            });
        }
        outcomes
    }

    /// Returns the outcome for drafts that were not committed, and logs the error.
    fn failed(&mut self, error: &CommitError) -> Outcome {
        let (trouble, outcome) = match error {
            CommitError::Failed(error) => {
                tracing::error!(%error, "an entry could not be committed");
                return unavailable();
            }
            CommitError::Full(_) => {
                let text =
                    "the server's disk is full; nothing was done; tell its operator, and repeat it later";
                let refusal = Refusal::new(Code::StorageFull, text);
                (Trouble::Full, Outcome::Refused(refusal))
            }
            CommitError::Broken(_) => {
                self.is_broken = true;
                (Trouble::Broken, unavailable())
            }
        };
        if self.trouble.replace(trouble) != Some(trouble) {
            match error {
                CommitError::Full(error) => {
                    tracing::error!("the log cannot grow: {error}; make room on the disk of the data folder");
                }
                CommitError::Failed(error) | CommitError::Broken(error) => {
                    tracing::error!("the log broke: {error}; it is opened anew");
                }
            }
        }
        outcome
    }

    fn is_well(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the log takes entries again");
        }
    }

    /// Reopens the log, and delivers what had been committed without the daemon knowing. Returns whether the log is
    /// open.
    fn reopen(&mut self, core: &Arc<Core>, store: &mut dyn Store) -> bool {
        if let Err(error) = store.reopen() {
            if self.trouble.replace(Trouble::Broken) != Some(Trouble::Broken) || !self.is_broken {
                tracing::error!("{error}");
            }
            return false;
        }
        self.is_broken = false;
        let view = store.view();
        deliver::deliver_unknown(core, &view, store.last_id());
        recall::after_doubt(core, &view);
        true
    }
}

fn unavailable() -> Outcome {
    let text = "the log did not take it; repeat it later with the same key";
    Outcome::Refused(Refusal::new(Code::Unavailable, text))
}
