//! Lengths of time as people write them on the line: `30s`, `10m`, `4h`, `90d`.

use std::fmt;
use std::str::FromStr;

/// A length of time of at least a second, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

/// The text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a number and s, m, h or d, such as 30s, 10m, 4h or 90d")]
pub struct PeriodError;

/// The units, the largest last.
const UNITS: [(&str, u64); 4] = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Period {
    /// The longest: some centuries.
    const MOST: u64 = 400 * 366 * 86_400_000;

    /// So many seconds.
    pub fn from_secs(seconds: u64) -> Period {
        Period(seconds.saturating_mul(1_000).clamp(1_000, Period::MOST))
    }

    /// The length in milliseconds.
    pub fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Period, PeriodError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or(PeriodError)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(PeriodError)?;
        number.checked_mul(*millis).filter(|length| *length <= Period::MOST).map(Period).ok_or(PeriodError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_back_in_their_largest_unit() {
        for (text, shown) in [("90s", "90s"), ("60s", "1m"), ("24h", "1d"), ("90d", "90d")] {
            assert_eq!(text.parse::<Period>().expect(text).to_string(), shown);
        }
        for text in ["", "0s", "5", "s", "-1s", "1 d", "1y", "99999999999999999999d", "999999999999d"] {
            assert_eq!(text.parse::<Period>(), Err(PeriodError), "{text:?}");
        }
    }
}
