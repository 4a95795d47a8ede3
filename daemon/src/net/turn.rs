//! A turn: what a connection may do before the others of its thread have theirs.

use std::time::Duration;

use crate::Clock;

/// Maximum number of lines in a turn.
const LINES: u32 = 128;

/// How long a turn lasts. A line that takes longer is the last of its turn.
const TIME: Duration = Duration::from_millis(1);

/// What is left of a turn. It ends with its lines or with its time, whichever comes first: some lines are a thousand
/// times as much work as others. One that only writes does not ask for the time.
#[derive(Default)]
pub(crate) struct Turn {
    lines: u32,
    /// When it is over; `None` before the first line.
    until: Option<Duration>,
}

impl Turn {
    /// Counts a line, or a read without a complete one, before it is dealt with.
    pub(crate) fn took_line(&mut self, clock: &dyn Clock) {
        self.lines += 1;
        self.until.get_or_insert_with(|| clock.elapsed() + TIME);
    }

    /// Looks at the clock, and returns whether the turn is over.
    pub(crate) fn is_over(&mut self, clock: &dyn Clock) -> bool {
        let Some(until) = self.until else { return false };
        if self.lines < LINES && clock.elapsed() >= until {
            self.lines = LINES;
        }
        self.lines >= LINES
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use snug_protocol::Timestamp;

    use super::*;

    #[derive(Default)]
    struct Micros(AtomicU64);

    impl Clock for Micros {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn elapsed(&self) -> Duration {
            Duration::from_micros(self.0.load(Relaxed))
        }
    }

    /// Takes lines of `micros` each until the turn is over, and returns how many it took.
    fn lines_of(micros: u64) -> usize {
        let clock = Micros::default();
        let mut turn = Turn::default();
        let mut count = 0;
        while !turn.is_over(&clock) {
            turn.took_line(&clock);
            clock.0.fetch_add(micros, Relaxed);
            count += 1;
        }
        assert!(turn.is_over(&clock), "and it stays over");
        count
    }

    #[test]
    fn a_turn_ends_with_its_lines_or_with_its_time() {
        assert_eq!(lines_of(1), 128);
        assert_eq!(lines_of(100), 10);
        assert_eq!(lines_of(1_000), 1);
        assert_eq!(lines_of(5_000), 1, "one line is always taken");
    }
}
