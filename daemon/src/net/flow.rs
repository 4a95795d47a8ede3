//! Flood control: a client that sends lines too fast is read more slowly, and loses none.

use std::time::Duration;

/// A token bucket of lines. The caller passes in the time.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The lines that may be taken now; `None` if there is no limit.
    tokens: Option<f64>,
    filled: Duration,
}

impl Flow {
    /// Adds the lines that a rate of `rate` per second allows since the last call, up to `burst`. A `rate` of 0 is no
    /// limit.
    ///
    /// Returns the time to wait if no line may be taken now.
    pub(crate) fn refill(&mut self, now: Duration, burst: u64, rate: u64) -> Option<Duration> {
        if rate == 0 {
            self.tokens = None;
            return None;
        }
        let brought = now.saturating_sub(self.filled).as_secs_f64() * rate as f64;
        let tokens = (self.tokens.unwrap_or(burst as f64) + brought).min(burst as f64);
        self.tokens = Some(tokens);
        self.filled = now;
        // Waiting until there are several lines to take costs less than waking up for each.
        let batch = (rate as f64 / 20.0).clamp(1.0, (burst as f64).max(1.0));
        (tokens < 1.0).then(|| Duration::from_secs_f64((batch - tokens) / rate as f64))
    }

    /// Returns whether a line may be taken.
    pub(crate) fn may_take(&self) -> bool {
        self.tokens.is_none_or(|tokens| tokens >= 1.0)
    }

    /// Takes a line.
    pub(crate) fn take(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            *tokens -= 1.0;
        }
    }

    /// Gives back a line that does not count.
    pub(crate) fn give_back(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            *tokens += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut flow = Flow::default();
        let second = Duration::from_secs(1);
        assert_eq!(flow.refill(second, 10, 5), None);
        for _ in 0..10 {
            assert!(flow.may_take());
            flow.take();
        }
        assert!(!flow.may_take());
        let wait = flow.refill(second, 10, 5).expect("it has to wait");
        assert_eq!(wait, Duration::from_millis(200));
        assert_eq!(flow.refill(second + wait, 10, 5), None);
        flow.take();
        assert!(!flow.may_take());
        assert_eq!(flow.refill(100 * second, 10, 5), None);
        assert_eq!(flow.tokens, Some(10.0), "no more than a burst is saved up");
        assert_eq!(flow.refill(100 * second, 10, 0), None);
        assert!(
            (0..1000).all(|_| {
                flow.take();
                flow.may_take()
            }),
            "no limit"
        );
    }
}
