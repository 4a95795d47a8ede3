//! The cost of commands: what flow control counts beside lines.
//!
//! A limit that counted lines alone was passed by lines that take a thousand times the work of others. So a command
//! pays for what it makes the daemon read, write and reach, wherever that work is done. The unit is the work of one
//! short message, some 5 µs of a processor. A test of the session compares what is paid with what is used.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use snug_protocol::Verb;

/// An amount of work, in fractions of a short message's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost(u64);

impl Cost {
    /// The fractions of a message.
    const MESSAGE: u64 = 1_024;
    /// Any line.
    pub(crate) const LINE: Cost = Cost(Cost::MESSAGE / 4);
    /// The microseconds that a message takes, roughly.
    const MICROS: u64 = 5;
    /// A row read from the log.
    const ROW: u64 = 240;
    /// A row of a list in memory.
    const LISTED: u64 = 24;
    /// A number of bytes written to the client.
    const BYTES: usize = 8;
    /// A session that an event is put before.
    const HEARER: u64 = 12;

    /// Returns the cost of a verb by itself, beside that of its line.
    pub(crate) fn of_verb(verb: Verb) -> Cost {
        Cost(u64::from(verb.spec().cost.saturating_sub(1)) * Cost::LINE.0)
    }

    /// Returns the cost of reading so many rows of the log.
    pub(crate) fn rows(count: u64) -> Cost {
        Cost(count.saturating_mul(Cost::ROW))
    }

    /// Returns the cost of so many rows of a list in memory.
    pub(crate) fn listed(count: usize) -> Cost {
        Cost((count as u64).saturating_mul(Cost::LISTED))
    }

    /// Returns the cost of writing so many bytes.
    pub(crate) fn bytes(count: usize) -> Cost {
        Cost((count / Cost::BYTES) as u64)
    }

    /// Returns the cost of an event that reaches so many sessions.
    pub(crate) fn hearers(count: usize) -> Cost {
        Cost((count as u64).saturating_mul(Cost::HEARER))
    }

    /// Returns the cost of work whose steps nobody can count, such as a search: by the time it took.
    pub(crate) fn time(time: Duration) -> Cost {
        let messages = time.as_micros() as u64 / Cost::MICROS;
        Cost(messages.saturating_mul(Cost::MESSAGE))
    }

    /// Returns the sum.
    pub(crate) fn plus(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }

    /// Returns the cost in messages.
    pub(crate) fn in_messages(self) -> f64 {
        self.0 as f64 / Cost::MESSAGE as f64
    }
}

/// What a session has spent and flow control has not counted yet. Any thread that works for it adds to it.
#[derive(Debug, Default)]
pub(crate) struct Spent(AtomicU64);

impl Spent {
    pub(crate) fn add(&self, cost: Cost) {
        if cost.0 > 0 {
            self.0.fetch_add(cost.0, Relaxed);
        }
    }

    /// Returns what was spent since the last call.
    pub(crate) fn take(&self) -> Cost {
        if self.0.load(Relaxed) == 0 {
            return Cost::default();
        }
        Cost(self.0.swap(0, Relaxed))
    }
}
