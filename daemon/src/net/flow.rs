//! Flood control: a client that sends lines too fast, or lines that are too much work, is read more slowly, and loses
//! none.

use std::time::Duration;

use crate::cost::Cost;

/// How long a session has to wait at most for what it has spent.
const DEBT: Duration = Duration::from_secs(10);

/// A token bucket of work, in short messages. The caller passes in the time.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The messages that may be taken now; `None` if there is no limit.
    tokens: Option<f64>,
    filled: Duration,
    /// Messages that were spent and not taken from the tokens yet.
    spent: f64,
}

impl Flow {
    /// Takes what commands have cost beside their lines. It may leave less than nothing.
    pub(crate) fn spend(&mut self, cost: Cost) {
        self.spent += cost.in_messages();
    }

    /// Adds the messages that a rate of `rate` per second allows since the last call, up to `burst`. A `rate` of 0 is no
    /// limit.
    ///
    /// Returns the time to wait if no line may be taken now.
    pub(crate) fn refill(&mut self, now: Duration, burst: u64, rate: u64) -> Option<Duration> {
        let spent = std::mem::take(&mut self.spent);
        if rate == 0 {
            self.tokens = None;
            return None;
        }
        let brought = now.saturating_sub(self.filled).as_secs_f64() * rate as f64;
        let tokens = (self.tokens.unwrap_or(burst as f64) + brought).min(burst as f64);
        let tokens = (tokens - spent).max(-(rate as f64) * DEBT.as_secs_f64());
        self.tokens = Some(tokens);
        self.filled = now;
        // Waiting until there are several lines to take costs less than waking up for each.
        let batch = (rate as f64 / 20.0).clamp(1.0, (burst as f64).max(1.0));
        (tokens < 1.0).then(|| Duration::from_secs_f64((batch - tokens) / rate as f64))
    }

    /// Returns how many messages may be taken now; `None` if there is no limit.
    pub(crate) fn allowance(&self) -> Option<f64> {
        self.tokens
    }

    /// Returns whether a line may be taken.
    pub(crate) fn may_take(&self) -> bool {
        self.tokens.is_none_or(|tokens| tokens >= 1.0)
    }

    /// Takes a line.
    pub(crate) fn take(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            *tokens -= Cost::LINE.in_messages();
        }
    }

    /// Gives back a line that does not count.
    pub(crate) fn give_back(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            *tokens += Cost::LINE.in_messages();
        }
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::Verb;

    use super::*;

    #[test]
    fn what_a_command_cost_is_waited_for_but_not_for_ever() {
        let mut flow = Flow::default();
        let second = Duration::from_secs(1);
        assert_eq!(flow.refill(second, 10, 5), None);
        (0..4).for_each(|_| flow.take());
        (0..14).for_each(|_| flow.spend(Cost::of_verb(Verb::Msg).plus(Cost::LINE)));
        let wait = flow.refill(second, 10, 5).expect("it has to wait");
        assert_eq!(wait, Duration::from_millis(1_200), "for five messages of debt, and one to take");
        assert_eq!(flow.refill(second + wait, 10, 5), None);
        flow.spend(Cost::rows(10_000_000));
        let wait = flow.refill(2 * second + wait, 10, 5).expect("it has to wait");
        assert_eq!(wait, DEBT + Duration::from_millis(200));
    }

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut flow = Flow::default();
        let second = Duration::from_secs(1);
        assert_eq!(flow.refill(second, 10, 5), None);
        for _ in 0..37 {
            assert!(flow.may_take());
            flow.take();
        }
        assert!(!flow.may_take(), "a line may become a message, and there is less than one left");
        let wait = flow.refill(second, 10, 5).expect("it has to wait");
        assert_eq!(wait, Duration::from_millis(50));
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
