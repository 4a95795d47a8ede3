//! What a program and the driver tell each other besides commands and events.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A request to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// If it waits before another attempt, the attempt is made now.
    RetryNow,
    /// Finds out whether the connection still is one.
    Check,
}

/// What a connection has carried, for people who look at it. From [`Client::counters`](crate::Client::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that were sent, over all connections of the client, as they went over the network.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// How long the server took for the last sign of life that it was asked for; `None` if it has given none yet.
    pub round_trip: Option<Duration>,
}

/// The same, as the driver counts it, and what it is to say at the end.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds; 0 for none.
    round_trip: AtomicU64,
    farewell: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn counters(&self) -> Counters {
        let round_trip = Some(self.round_trip.load(Relaxed)).filter(|micros| *micros > 0);
        Counters {
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            round_trip: round_trip.map(Duration::from_micros),
        }
    }

    pub(crate) fn set_traffic(&self, received: u64, sent: u64) {
        self.received.store(received, Relaxed);
        self.sent.store(sent, Relaxed);
    }

    pub(crate) fn set_round_trip(&self, took: Duration) {
        self.round_trip.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    pub(crate) fn set_farewell(&self, text: &str) {
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    pub(crate) fn farewell(&self) -> Option<String> {
        self.farewell.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
