//! What waits for the log's writer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Clock;
use crate::core::reply::Reply;
use crate::log::Draft;
use crate::registry::peer::Peer;

/// A draft, and what is to be done when it is decided.
pub(crate) struct Submission {
    pub(crate) draft: Draft,
    /// Its weight in a pack and in what its session has under way, in bytes.
    pub(crate) size: usize,
    /// The session that asked for it, if one did.
    pub(crate) sender: Option<Arc<Peer>>,
    pub(crate) reply: Reply,
}

/// What waits for the writer, in order.
pub(crate) struct Queue {
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    /// Since when the oldest of them waits, about.
    since: Duration,
    closed: bool,
}

impl Queue {
    /// The most drafts and bytes in one pack.
    pub(crate) const PACK_DRAFTS: usize = 256;
    const PACK_BYTES: usize = 256 << 10;

    pub(crate) fn new(clock: Arc<dyn Clock>) -> Queue {
        Queue { clock, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Puts a submission at the end, unless the queue is closed, and says whether it did. It bears no limit of its
    /// own: sessions have only so much under way.
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

    /// Takes no more; what waits is still done.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    /// Waits for something to do and takes a pack, with the time since when its oldest draft waits. `None` when the queue is
    /// closed and empty.
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
        // What is left has waited less long, nobody knows how much.
        let since = std::mem::replace(&mut waiting.since, self.clock.elapsed());
        Some((waiting.submissions.drain(..count).collect(), since))
    }

    /// Takes at most so many drafts, without waiting for one.
    #[cfg(test)]
    pub(crate) fn take_some(&self, most: usize) -> Vec<Submission> {
        let mut waiting = self.waiting();
        let count = waiting.submissions.len().min(most);
        waiting.submissions.drain(..count).collect()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().submissions.is_empty()
    }

    /// How many drafts wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().submissions.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
