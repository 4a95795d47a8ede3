//! The queue of drafts that wait for the log's writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Clock;
use crate::core::reply::Reply;
use crate::log::Draft;
use crate::registry::peer::Peer;

/// A draft, and the work to do once it is decided.
pub(crate) struct Submission {
    pub(crate) draft: Draft,
    /// Its size in bytes, as it counts in a pack and among what its session has in flight.
    pub(crate) size: usize,
    /// The session that sent it, if any.
    pub(crate) sender: Option<Arc<Peer>>,
    pub(crate) reply: Reply,
}

/// The drafts that wait for the writer, in order.
pub(crate) struct Queue {
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    /// When the oldest of them was queued, roughly.
    since: Duration,
    closed: bool,
}

impl Queue {
    /// Maximum number of drafts, and of their bytes, in one pack.
    pub(crate) const PACK_DRAFTS: usize = 256;
    const PACK_BYTES: usize = 256 << 10;

    pub(crate) fn new(clock: Arc<dyn Clock>) -> Queue {
        Queue { clock, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Appends a submission, and returns false if the queue is closed. The queue has no limit of its own, because
    /// each session may have only so much in flight.
    #[must_use]
    pub(crate) fn push(&self, submission: Submission) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        let was_empty = waiting.submissions.is_empty();
        if was_empty {
            waiting.since = self.clock.elapsed();
        }
        waiting.submissions.push_back(submission);
        drop(waiting);
        if was_empty {
            self.changed.notify_one();
        }
        true
    }

    /// Refuses new submissions. Those that wait are still decided.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    /// Waits for submissions and takes a pack. Returns it with the time at which its oldest draft was queued, or
    /// `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<(Vec<Submission>, Duration)> {
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
        // The rest was queued later, at a time that nobody noted.
        let since = std::mem::replace(&mut waiting.since, self.clock.elapsed());
        Some((waiting.submissions.drain(..count).collect(), since))
    }

    /// Takes at most `most` drafts, without waiting for one.
    #[cfg(test)]
    pub(crate) fn take_some(&self, most: usize) -> Vec<Submission> {
        let mut waiting = self.waiting();
        let count = waiting.submissions.len().min(most);
        waiting.submissions.drain(..count).collect()
    }

    /// Returns whether no draft waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().submissions.is_empty()
    }

    /// Returns the number of drafts that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().submissions.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
