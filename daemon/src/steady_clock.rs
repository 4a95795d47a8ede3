//! A clock that a wrong date does not lead astray.
//!
//! Dates decide what is old enough to be removed, and until when somebody is muted. A machine whose date jumps by months,
//! because its time server is wrong or its battery empty, must not lose its log over that. So the date is compared with the
//! time that has passed. If it jumps, time goes on as it passes, until the date is right again or an operator says that it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snug_protocol::Timestamp;

use crate::Clock;

/// How far the date may be from where it should be. Clocks are corrected by less.
const DOUBT: i64 = 3_600_000;

/// How far it may be from the last date in the log at the start. Machines are off for days, and a clock that is wrong is
/// mostly wrong by more.
const DOUBT_AT_START: i64 = 30 * 86_400_000;

/// 2024-01-01. Before this program was written, no date is right.
const WRITTEN: i64 = 19_723 * 86_400_000;

/// A clock whose dates go on as time passes.
pub(crate) struct SteadyClock {
    inner: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// A date that was right, and when that was.
    date: Timestamp,
    at: Duration,
    /// Whether the date was behind the log's at the start, or behind this program's, as that of a machine without a battery
    /// is. Then it has still to be set.
    is_unset: bool,
    /// The last date in the log at the start.
    last: Timestamp,
    is_doubted: bool,
}

impl State {
    /// Returns the date as it should be now.
    fn expected(&self, now: Duration) -> Timestamp {
        let passed = now.saturating_sub(self.at).as_millis();
        Timestamp::from_millis(self.date.millis().saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }
}

impl SteadyClock {
    /// Makes a clock from another one. `last` is the last date in the log; the Unix epoch if it is empty.
    pub(crate) fn new(inner: Arc<dyn Clock>, last: Timestamp) -> SteadyClock {
        let (date, at) = (inner.now(), inner.since_boot());
        let is_new = last.millis() == 0;
        let ahead = date.millis().saturating_sub(last.millis());
        let is_doubted = !is_new && ahead > DOUBT_AT_START;
        let mut state = State { date, at, is_unset: ahead < 0 || date.millis() < WRITTEN, last, is_doubted };
        if is_doubted {
            complain(date, last);
            state.date = last;
        } else if ahead < 0 {
            tracing::warn!("the date is {date}, before that of the log's last entry, {last}");
            state.date = last;
        }
        SteadyClock { inner, state: Mutex::new(state) }
    }

    /// Takes the date for right.
    pub(crate) fn accept(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (date, at) = (self.inner.now(), self.inner.since_boot());
        *state = State { date, at, is_unset: false, is_doubted: false, ..*state };
        tracing::info!("an operator has taken the date {date} for right");
    }

    /// Returns whether the date is in doubt.
    #[cfg(test)]
    pub(crate) fn is_doubted(&self) -> bool {
        self.now();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_doubted
    }
}

fn complain(date: Timestamp, expected: Timestamp) {
    tracing::error!(
        "the date is {date}, and should be about {expected}; time goes on from there, until the date is right or an \
         operator takes it for right (RELOAD clock, `snug admin reload --clock`)"
    );
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let (date, now) = (self.inner.now(), self.inner.since_boot());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = state.expected(now);
        let ahead = date.millis().saturating_sub(expected.millis());
        let is_set = state.is_unset
            && ahead > DOUBT
            && (state.last.millis() == 0 || date.millis() - state.last.millis() <= DOUBT_AT_START);
        if ahead.abs() <= DOUBT || is_set {
            if state.is_doubted {
                tracing::info!("the date is right again: {date}");
            }
            *state =
                State { date, at: now, is_doubted: false, is_unset: state.is_unset && !is_set, ..*state };
            return date;
        }
        if ahead > 0 && !state.is_doubted {
            state.is_doubted = true;
            complain(date, expected);
        }
        expected
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    fn since_boot(&self) -> Duration {
        self.inner.since_boot()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

    use super::*;

    const DAY: i64 = 86_400_000;
    const START: i64 = 20_000 * DAY;

    /// A machine whose date and time are set by hand.
    #[derive(Default)]
    struct Machine {
        date: AtomicI64,
        passed: AtomicU64,
    }

    impl Machine {
        fn pass(&self, millis: i64) {
            self.date.fetch_add(millis, Relaxed);
            self.passed.fetch_add(millis.unsigned_abs(), Relaxed);
        }

        fn jump(&self, millis: i64) {
            self.date.fetch_add(millis, Relaxed);
        }
    }

    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.date.load(Relaxed))
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.passed.load(Relaxed))
        }
    }

    fn clock(date: i64, last: i64) -> (Arc<Machine>, SteadyClock) {
        let machine = Arc::new(Machine::default());
        machine.jump(date);
        let steady = SteadyClock::new(Arc::clone(&machine) as Arc<dyn Clock>, Timestamp::from_millis(last));
        (machine, steady)
    }

    fn millis(clock: &SteadyClock) -> i64 {
        clock.now().millis()
    }

    #[test]
    fn a_date_that_jumps_ahead_is_doubted_until_it_is_right_again() {
        let (machine, clock) = clock(START, START - DAY);
        machine.pass(1_000);
        assert_eq!(millis(&clock), START + 1_000);
        // For 15 seconds, a date of three months later.
        machine.jump(91 * DAY);
        for second in 1..=15 {
            machine.pass(1_000);
            assert_eq!(millis(&clock), START + 1_000 + second * 1_000);
        }
        assert!(clock.is_doubted());
        machine.jump(-91 * DAY);
        assert_eq!(millis(&clock), START + 16_000);
        assert!(!clock.is_doubted());
    }

    #[test]
    fn it_is_doubted_also_while_the_log_is_new() {
        let (machine, clock) = clock(START, 0);
        machine.jump(91 * DAY);
        machine.pass(1_000);
        assert_eq!((millis(&clock), clock.is_doubted()), (START + 1_000, true));
    }

    #[test]
    fn small_corrections_are_followed() {
        let (machine, clock) = clock(START, START);
        machine.jump(59 * 60_000);
        assert_eq!(millis(&clock), START + 59 * 60_000);
        machine.jump(-20 * 60_000);
        assert_eq!(millis(&clock), START + 39 * 60_000);
        assert!(!clock.is_doubted());
    }

    #[test]
    fn an_operator_takes_it_for_right() {
        let (machine, clock) = clock(START, START);
        machine.jump(400 * DAY);
        assert_eq!(millis(&clock), START);
        clock.accept();
        assert_eq!(millis(&clock), START + 400 * DAY);
        assert!(!clock.is_doubted());
        machine.pass(DAY);
        assert_eq!(millis(&clock), START + 401 * DAY);
    }

    #[test]
    fn a_start_years_later_is_doubted_and_one_some_days_later_is_not() {
        let (_, today) = clock(START + 20 * DAY, START);
        assert_eq!((millis(&today), today.is_doubted()), (START + 20 * DAY, false));
        let (machine, later) = clock(START + 3_650 * DAY, START);
        assert_eq!((millis(&later), later.is_doubted()), (START, true));
        machine.pass(5_000);
        assert_eq!(millis(&later), START + 5_000);
        // There is nothing to compare with in an empty log.
        let (_, new) = clock(START + 3_650 * DAY, 0);
        assert!(!new.is_doubted());
    }

    #[test]
    fn a_machine_without_a_battery_gets_its_date_after_the_start() {
        for last in [START, 0] {
            let (machine, clock) = clock(1_000, last);
            assert_eq!(millis(&clock), last.max(1_000));
            machine.pass(10_000);
            machine.jump(START + DAY);
            assert_eq!(millis(&clock), START + DAY + 11_000);
            assert!(!clock.is_doubted());
            // That was once.
            machine.jump(DAY);
            assert_eq!(millis(&clock), START + DAY + 11_000);
            assert!(clock.is_doubted());
        }
    }

    #[test]
    fn a_date_that_goes_back_changes_nothing() {
        let (machine, clock) = clock(START, START);
        machine.jump(-5 * DAY);
        machine.pass(7_000);
        assert_eq!(millis(&clock), START + 7_000);
        machine.jump(5 * DAY);
        assert_eq!(millis(&clock), START + 7_000);
    }
}
