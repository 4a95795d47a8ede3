//! The one writer: takes what waits, commits it as a pack, delivers it, answers it.
//!
//! It is a thread of its own, because a commit may wait for the disk. Whatever comes in while it is busy goes into
//! the next pack, so that the more there is to do, the less each costs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use snug_protocol::Code;

use crate::core::{Core, Counters};
use crate::deliver::{self, Reply};
use crate::log::{Draft, Log, Outcome, Refusal};

/// A draft, and what is to be done when it is decided.
pub(crate) struct Submission {
    pub(crate) draft: Draft,
    /// Its weight in a pack and in what its session has under way, in bytes.
    pub(crate) size: usize,
    pub(crate) reply: Reply,
}

/// What waits for the writer, in order.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    closed: bool,
}

impl Queue {
    /// The most drafts and bytes in one pack.
    const PACK_DRAFTS: usize = 256;
    const PACK_BYTES: usize = 256 << 10;

    /// Puts a submission at the end, unless the queue is closed, and says whether it did. It bears no limit of its
    /// own: sessions have only so much under way.
    #[must_use]
    pub(crate) fn push(&self, submission: Submission) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        let was_empty = waiting.submissions.is_empty();
        waiting.submissions.push_back(submission);
        drop(waiting);
        if was_empty {
            self.changed.notify_one();
        }
        true
    }

    /// Takes no more; what waits is still done.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    /// Waits for something to do and takes a pack. `None` when the queue is closed and empty.
    fn take(&self) -> Option<Vec<Submission>> {
        let mut waiting = self.waiting();
        while waiting.submissions.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let fits = |submission: &&Submission| {
            bytes += submission.size;
            bytes <= Queue::PACK_BYTES
        };
        let count = waiting.submissions.iter().take(Queue::PACK_DRAFTS).take_while(fits).count().max(1);
        Some(waiting.submissions.drain(..count).collect())
    }

    /// How many drafts wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting().submissions.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until the queue is closed and empty.
pub(crate) fn run(core: &Arc<Core>, mut log: Log) {
    while let Some(pack) = core.queue.take() {
        work_off(core, &mut log, pack);
    }
}

/// Commits a pack, delivers it and answers it.
fn work_off(core: &Arc<Core>, log: &mut Log, pack: Vec<Submission>) {
    let outcomes = commit(core, log, &pack);
    for (submission, outcome) in pack.into_iter().zip(outcomes) {
        deliver::deliver(core, submission, outcome);
    }
}

/// Works off a pack of what waits now, on the caller's thread.
#[cfg(test)]
pub(crate) fn run_once(core: &Arc<Core>, log: &mut Log) {
    run_some(core, log, Queue::PACK_DRAFTS);
}

/// Works off at most so many drafts, on the caller's thread.
#[cfg(test)]
pub(crate) fn run_some(core: &Arc<Core>, log: &mut Log, most: usize) {
    let pack: Vec<Submission> = {
        let mut waiting = core.queue.waiting();
        let count = waiting.submissions.len().min(most);
        waiting.submissions.drain(..count).collect()
    };
    work_off(core, log, pack);
}

/// Commits a pack. If the database fails, each draft is tried alone, so that a bad one costs its neighbours nothing.
fn commit(core: &Core, log: &mut Log, pack: &[Submission]) -> Vec<Outcome> {
    let now = core.environment.clock.now();
    Counters::add(&core.counters.commits, 1);
    let drafts: Vec<&Draft> = pack.iter().map(|submission| &submission.draft).collect();
    match log.commit(now, &drafts) {
        Ok(outcomes) => outcomes,
        Err(error) if drafts.len() == 1 => {
            tracing::error!(%error, "an entry could not be committed");
            vec![unavailable()]
        }
        Err(error) => {
            tracing::warn!(%error, drafts = drafts.len(), "a pack could not be committed; trying its entries alone");
            let alone = |draft| match log.commit(now, &[draft]) {
                Ok(mut outcomes) => outcomes.pop().unwrap_or_else(unavailable),
                Err(error) => {
                    tracing::error!(%error, "an entry could not be committed");
                    unavailable()
                }
            };
            drafts.into_iter().map(alone).collect()
        }
    }
}

fn unavailable() -> Outcome {
    let text = "the log did not take it; repeat it later with the same key".to_owned();
    Outcome::Refused(Refusal { code: Code::Unavailable, text })
}
