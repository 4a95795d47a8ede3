//! A turn: what a connection may do before the others of its thread have theirs.

use std::time::Duration;

use crate::Clock;

/// Maximum number of lines in a turn.
const LINES: u32 = 128;

/// How long a turn lasts. A line that takes longer is the last of its turn.
const TIME: Duration = Duration::from_millis(1);

/// What is left of a turn. It ends with its lines or with its time, whichever comes first: some lines are a thousand
/// times as much work as others.
pub(crate) struct Turn<'c> {
    clock: &'c dyn Clock,
    until: Duration,
    lines: u32,
}

impl<'c> Turn<'c> {
    pub(crate) fn begin(clock: &'c dyn Clock) -> Turn<'c> {
        Turn { clock, until: clock.elapsed() + TIME, lines: LINES }
    }

    /// Counts a line, or a read without a complete one.
    pub(crate) fn took_line(&mut self) {
        self.lines = self.lines.saturating_sub(1);
    }

    /// Looks at the clock, and returns whether the turn is over.
    pub(crate) fn is_over(&mut self) -> bool {
        if self.lines > 0 && self.clock.elapsed() >= self.until {
            self.lines = 0;
        }
        self.lines == 0
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
        let mut turn = Turn::begin(&clock);
        let mut count = 0;
        while !turn.is_over() {
            turn.took_line();
            clock.0.fetch_add(micros, Relaxed);
            count += 1;
        }
        assert!(turn.is_over(), "and it stays over");
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
