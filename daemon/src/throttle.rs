//! Rate limits that refuse: so many actions in a time, for each key. The caller passes in the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A rate limit: `burst` at once, and one more after each `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) burst: u64,
    pub(crate) interval: Duration,
}

impl Quota {
    /// Returns a quota of `rate` per second in the long run, after a burst; `None` if `rate` is 0, which is no limit.
    pub(crate) fn per_second(rate: u64, burst: u64) -> Option<Quota> {
        (rate > 0)
            .then(|| Quota { burst: burst.max(1), interval: Duration::from_nanos(1_000_000_000 / rate) })
    }

    /// Returns how far ahead of the rate a key may be.
    fn allowed(self) -> Duration {
        self.interval.saturating_mul(u32::try_from(self.burst - 1).unwrap_or(u32::MAX))
    }
}

/// The generic cell rate algorithm (ITU-T I.371) for each key. It remembers a single moment of each.
#[derive(Debug)]
pub(crate) struct Throttle<K>(Mutex<Cells<K>>);

#[derive(Debug)]
struct Cells<K> {
    /// When each key has its whole burst again.
    full: HashMap<K, Duration>,
    /// The number of keys at which those that have their whole burst are forgotten.
    most: usize,
}

impl<K> Default for Throttle<K> {
    fn default() -> Throttle<K> {
        Throttle(Mutex::new(Cells { full: HashMap::new(), most: 1_024 }))
    }
}

impl<K: Eq + Hash> Throttle<K> {
    /// Takes one, or returns the milliseconds after which there is one to take.
    pub(crate) fn take(&self, key: K, quota: Quota, now: Duration) -> Result<(), u64> {
        self.take_many(key, 1, quota, now)
    }

    /// Takes so many at once, or none of them and returns the milliseconds after which to try again. As long as there is
    /// one, all of them can be taken, and then the next ones take longer.
    pub(crate) fn take_many(&self, key: K, count: u64, quota: Quota, now: Duration) -> Result<(), u64> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.full.len() >= cells.most {
            cells.full.retain(|_, full| *full > now);
            // If many keys are in use, all of them are looked at only now and then.
            cells.most = (2 * cells.full.len()).max(1_024);
        }
        let full = cells.full.entry(key).or_insert(now);
        let begin = (*full).max(now);
        let ahead = begin - now;
        let allowed = quota.allowed();
        if ahead > allowed {
            return Err(u64::try_from((ahead - allowed).as_millis()).unwrap_or(u64::MAX).max(1));
        }
        *full = begin + quota.interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Takes one now or in advance, and returns how long to wait for it.
    pub(crate) fn reserve(&self, key: K, quota: Quota, now: Duration) -> Duration {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = cells.full.entry(key).or_insert(now);
        let begin = (*full).max(now);
        *full = begin + quota.interval;
        (begin - now).saturating_sub(quota.allowed())
    }

    /// Gives back one that was taken.
    pub(crate) fn give_back(&self, key: &K, quota: Quota) {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full) = cells.full.get_mut(key) {
            *full = full.saturating_sub(quota.interval);
        }
    }

    /// Forgets what was taken with a key.
    pub(crate) fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).full.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_free_and_then_one_comes_with_each_interval() {
        let throttle = Throttle::default();
        let quota = Quota { burst: 3, interval: Duration::from_secs(10) };
        let at = Duration::from_secs;
        for _ in 0..3 {
            assert_eq!(throttle.take("a", quota, at(100)), Ok(()));
        }
        assert_eq!(throttle.take("a", quota, at(100)), Err(10_000));
        assert_eq!(throttle.take("b", quota, at(100)), Ok(()), "each has its own");
        assert_eq!(throttle.take("a", quota, at(109)), Err(1_000), "and asking costs nothing");
        assert_eq!(throttle.take("a", quota, at(110)), Ok(()));
        throttle.forget(&"a");
        assert_eq!(throttle.take("a", quota, at(110)), Ok(()));
    }

    #[test]
    fn bytes_are_taken_many_at_once() {
        let throttle = Throttle::default();
        let quota = Quota::per_second(1_000, 16_000).expect("a limit");
        let at = Duration::from_secs;
        for _ in 0..2 {
            assert_eq!(throttle.take_many("a", 8_000, quota, at(100)), Ok(()));
        }
        assert_eq!(throttle.take_many("a", 8_000, quota, at(100)), Err(1));
        assert_eq!(throttle.take_many("a", 8_000, quota, at(101)), Ok(()), "as there is one");
        assert_eq!(throttle.take_many("a", 8_000, quota, at(102)), Err(6_001));
        assert_eq!(throttle.take_many("a", 8_000, quota, at(109)), Ok(()));
    }

    #[test]
    fn what_is_taken_in_advance_comes_one_by_one() {
        let throttle = Throttle::default();
        let quota = Quota { burst: 2, interval: Duration::from_secs(1) };
        let now = Duration::from_secs(100);
        let waits: Vec<_> = (0..4).map(|_| throttle.reserve((), quota, now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn no_more_than_the_burst_and_the_rate_ever_come_through(
            waits in prop::collection::vec(0u64..4_000, 1..200),
            burst in 1u64..6,
        ) {
            let throttle = Throttle::default();
            let quota = Quota { burst, interval: Duration::from_secs(1) };
            let (mut now, mut taken) = (0, 0);
            for wait in waits {
                now += wait;
                let took = throttle.take(0, quota, Duration::from_millis(now));
                taken += u64::from(took.is_ok());
                prop_assert!(taken <= burst + now / 1_000);
                if let Err(wait) = took {
                    let then = Duration::from_millis(now + wait);
                    prop_assert_eq!(throttle.take(1, quota, then), Ok(()), "it is another's");
                    let early = Duration::from_millis((now + wait).saturating_sub(1));
                    prop_assert!(throttle.take(0, quota, early).is_err(), "not before");
                    prop_assert_eq!(throttle.take(0, quota, then), Ok(()));
                    taken += 1;
                    now += wait;
                }
            }
        }
    }
}
