//! The retention of entries, files and audit rows.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use snug_protocol::Timestamp;

/// The retention of entries, files or audit rows.
///
/// ```
/// use snug_daemon::Retention;
///
/// assert_eq!("30d".parse(), Ok(Retention::Age(30 * 86_400_000)));
/// assert_eq!("1000".parse(), Ok(Retention::Newest(1_000)));
/// assert_eq!(Retention::Age(90_000).to_string(), "90s");
/// assert_eq!(Retention::default(), Retention::Forever);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// `"forever"`: until a user deletes them.
    #[default]
    Forever,
    /// `"12h"`, `"30d"`: for so many milliseconds, at most 400 years.
    Age(u64),
    /// `"1000"`: only so many, the newest, at most 2^53. Each conversation is counted on its own.
    Newest(u64),
}

/// A text that is no retention.
///
/// ```
/// use snug_daemon::{Retention, RetentionError};
///
/// assert_eq!("a while".parse::<Retention>(), Err(RetentionError));
/// assert_eq!("0d".parse::<Retention>(), Err(RetentionError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "entries are kept \"forever\", for a time such as \"12h\" or \"30d\", or the newest, such as \"1000\""
)]
pub struct RetentionError;

/// The units of an age, the largest last.
const UNITS: [(&str, u64); 4] = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Maximum age, about 400 years, and maximum count.
const MOST_AGE: u64 = 400 * 366 * 86_400_000;
const MOST_COUNT: u64 = 1 << 53;

impl Retention {
    /// Returns the moment before which entries are too old at `now`; `None` if their age does not matter.
    pub(crate) fn oldest(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Retention::Age(millis) => {
                let millis = i64::try_from(millis).unwrap_or(i64::MAX);
                Some(Timestamp::from_millis(now.millis().saturating_sub(millis)))
            }
            Retention::Forever | Retention::Newest(_) => None,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Retention::Forever => f.write_str("forever"),
            Retention::Newest(count) => write!(f, "{count}"),
            Retention::Age(millis) => {
                let fits = |(_, unit): &&(&str, u64)| millis.is_multiple_of(*unit);
                let (name, unit) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
                write!(f, "{}{name}", millis / unit)
            }
        }
    }
}

impl FromStr for Retention {
    type Err = RetentionError;

    fn from_str(text: &str) -> Result<Retention, RetentionError> {
        if text == "forever" {
            return Ok(Retention::Forever);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or(RetentionError)?;
        if unit.is_empty() {
            return if number <= MOST_COUNT { Ok(Retention::Newest(number)) } else { Err(RetentionError) };
        }
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(RetentionError)?;
        number.checked_mul(*millis).filter(|age| *age <= MOST_AGE).map(Retention::Age).ok_or(RetentionError)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_back_and_nonsense_is_refused() {
        for text in ["forever", "1000", "90s", "12h", "30d", "1d"] {
            assert_eq!(text.parse::<Retention>().expect(text).to_string(), text);
        }
        assert_eq!("24h".parse::<Retention>().expect("a day").to_string(), "1d");
        for text in ["", "0", "0d", "-1", "30 d", "30y", "ever", "99999999999999999999", "999999999999d"] {
            assert_eq!(text.parse::<Retention>(), Err(RetentionError), "{text:?}");
        }
    }
}
