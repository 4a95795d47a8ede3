//! Time and randomness as arguments, so that a test runs years in a millisecond and repeats a failure from its seed.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::time::{ClockId, clock_gettime};
use snug_protocol::{LogName, Timestamp};

/// The clock and the random source of a daemon; by default the system's.
///
/// ```
/// use std::sync::Arc;
/// # use std::time::Duration;
///
/// # use snug_daemon::protocol::Timestamp;
/// use snug_daemon::{Clock, Config, Daemon, Environment};
///
/// # struct Frozen;
/// # impl Clock for Frozen {
/// #     fn now(&self) -> Timestamp {
/// #         Timestamp::default()
/// #     }
/// #     fn elapsed(&self) -> Duration {
/// #         Duration::ZERO
/// #     }
/// # }
/// let environment = Environment { clock: Arc::new(Frozen), ..Environment::default() };
/// let builder = Daemon::builder(Config::default()).environment(environment);
/// # drop(builder);
/// ```
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of tokens, salts and numbers that nobody can guess. Keys are made from the system's in any case.
    pub random: Arc<dyn Random>,
}

/// A clock.
///
/// ```
/// use std::time::Duration;
///
/// use snug_daemon::Clock;
/// use snug_daemon::protocol::Timestamp;
///
/// struct Frozen;
///
/// impl Clock for Frozen {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_millis(1_700_000_000_000)
///     }
///     fn elapsed(&self) -> Duration {
///         Duration::ZERO
///     }
/// }
/// assert_eq!(Frozen.now().to_string(), "2023-11-14T22:13:20.000Z");
/// ```
pub trait Clock: Send + Sync {
    /// Returns the date and time. It may go back; the times of the log's entries do not. A jump ahead of more than an hour
    /// is doubted.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment. It must not go back.
    fn elapsed(&self) -> Duration;

    /// Returns the time since a fixed moment, with the time for which the machine slept. It must not go back.
    fn since_boot(&self) -> Duration {
        self.elapsed()
    }
}

/// A source of random bytes. Except in tests, nobody may be able to guess them.
///
/// ```
/// use snug_daemon::Random;
///
/// struct Sevens;
///
/// impl Random for Sevens {
///     fn fill(&self, bytes: &mut [u8]) {
///         bytes.fill(7);
///     }
/// }
/// let mut bytes = [0; 4];
/// Sevens.fill(&mut bytes);
/// assert_eq!(bytes, [7; 4]);
/// ```
pub trait Random: Send + Sync {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

impl Default for Environment {
    /// Returns the system's clock and random source.
    fn default() -> Environment {
        Environment { clock: Arc::new(SystemClock(Instant::now())), random: Arc::new(SystemRandom::new()) }
    }
}

impl Environment {
    /// Returns a number from 1 to 2^53 - 1, so that every language's numbers hold it.
    pub(crate) fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11).max(1)
    }

    /// Returns a name for a new log.
    pub(crate) fn log_name(&self) -> LogName {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        LogName(u64::from_le_bytes(bytes))
    }

    /// Returns a salt, which makes two hashes of the same password different.
    pub(crate) fn salt(&self) -> [u8; 16] {
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        salt
    }

    /// Returns `2 * BYTES` random hexadecimal digits.
    pub(crate) fn hex<const BYTES: usize>(&self) -> String {
        let mut bytes = [0; BYTES];
        self.random.fill(&mut bytes);
        bytes.iter().fold(String::with_capacity(2 * BYTES), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn since_boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness, tokens could be guessed. No daemon is better than that.
        SecureRandom::fill(self, bytes).expect("the system has a random source");
    }
}
