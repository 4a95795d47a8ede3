//! Statistics for operators: how long things take, and how often which code was answered.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use snug_protocol::Code;

use crate::core::Core;

/// A histogram of durations. Its buckets are about a fifth wide: small, and exact enough for percentiles.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; Histogram::BUCKETS],
}

impl Histogram {
    /// Four for each power of two, up to 2^30 microseconds (18 minutes).
    const BUCKETS: usize = 4 * 30;

    /// Records a duration.
    pub(crate) fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.buckets[Histogram::bucket(micros)].fetch_add(1, Relaxed);
    }

    fn bucket(micros: u64) -> usize {
        let power = micros.ilog2();
        // The two bits after the highest one.
        let part = if power >= 2 { (micros >> (power - 2)) & 3 } else { (micros << (2 - power)) & 3 };
        let index = 4 * power as usize + usize::try_from(part).unwrap_or(0);
        index.min(Histogram::BUCKETS - 1)
    }

    /// Returns roughly the microseconds that the fraction `part` of all durations took at most; 0 if there are none.
    pub(crate) fn percentile(&self, part: f64) -> u64 {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let mut left = (all as f64 * part).ceil() as u64;
        for (at, count) in counts.iter().enumerate() {
            if left <= *count && *count > 0 {
                let (power, part) = (at as u32 / 4, at as u64 % 4);
                return ((5 + part) << power) / 4;
            }
            left = left.saturating_sub(*count);
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// How often each error code was answered.
#[derive(Debug)]
pub(crate) struct Refused(Vec<AtomicU64>);

impl Default for Refused {
    fn default() -> Refused {
        Refused(Code::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl Refused {
    pub(crate) fn count(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|other| *other == code) {
            self.0[at].fetch_add(1, Relaxed);
        }
    }

    /// Returns the codes that were answered at least once, with their counts.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = Code::ALL.iter().zip(&self.0).map(|(code, count)| (*code, count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}

impl Core {
    /// Returns the statistics as names and values, in the order in which they are shown. `files` is the number of
    /// files and of their bytes, if the log was asked.
    pub(crate) fn stats(&self, files: Option<(u64, u64)>) -> Vec<(String, u64)> {
        let counters = &self.counters;
        let (sessions, names, rooms) = self.registry.counts();
        let uptime = Duration::from_millis(self.now().saturating_sub(self.started)).as_secs();
        let mut items: Vec<(String, u64)> = [
            ("uptime", uptime),
            ("sessions", sessions as u64),
            ("users", names as u64),
            ("rooms", rooms as u64),
            ("connections", counters.connections.load(Relaxed)),
            ("messages", counters.entries.load(Relaxed)),
            ("commits", counters.commits.load(Relaxed)),
            ("deliveries", counters.deliveries.load(Relaxed)),
            ("bytes-in", counters.bytes_in.load(Relaxed)),
            ("bytes-out", counters.bytes_out.load(Relaxed)),
            ("queue", self.queue.len() as u64),
            ("outboxes", self.budget.used() as u64),
            ("last", self.delivered.load(Relaxed)),
            ("passwords", self.passwords.count()),
            ("uploads", self.files.open_count() as u64),
            ("commit-p50", counters.commit.percentile(0.5)),
            ("commit-p99", counters.commit.percentile(0.99)),
            ("delivery-p50", counters.delivery.percentile(0.5)),
            ("delivery-p99", counters.delivery.percentile(0.99)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some((files, bytes)) = files {
            items.extend(
                [("files", files), ("file-bytes", bytes)].map(|(name, value)| (name.to_owned(), value)),
            );
        }
        items.extend(counters.refused.all().map(|(code, count)| (format!("refused-{code}"), count)));
        items
    }

    /// Returns the address that invites name: the configured one, else the first TCP address.
    pub(crate) fn public_address(&self) -> Option<String> {
        let config = self.config();
        let public = config.listen.public.clone();
        if !public.is_empty() {
            return Some(public);
        }
        self.control.addresses().first().map(std::string::ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_quarter() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), 0);
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (part, exact) in [(0.5, 500), (0.99, 990)] {
            let found = histogram.percentile(part);
            assert!((exact..=exact * 5 / 4 + 1).contains(&found), "{part}: {found}");
        }
        histogram.record(Duration::MAX);
    }
}
