//! The one notation of time on the wire: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Timelike, Utc};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. The daemon makes it at commit and it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment that RFC 3339 can write: the end of the year 9999.
    const LAST: i64 = 253_402_300_799_999;

    /// The moment `millis` milliseconds after the epoch, moved into the years 1970 to 9999.
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.clamp(0, Timestamp::LAST))
    }

    /// Reads a moment or a day (`2026-11-01`, its beginning in UTC).
    pub fn parse_moment_or_day(text: &str) -> Option<Timestamp> {
        text.parse().ok().or_else(|| format!("{text}T00:00:00Z").parse().ok())
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// Every line of a message has one, so that it is written digit by digit: chrono's own way doubles what the whole
    /// line takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut write = |at: std::ops::Range<usize>, number: u32| {
            let mut rest = number;
            for place in text[at].iter_mut().rev() {
                *place += (rest % 10) as u8;
                rest /= 10;
            }
        };
        write(0..4, moment.year().unsigned_abs());
        write(5..7, moment.month());
        write(8..10, moment.day());
        write(11..13, moment.hour());
        write(14..16, moment.minute());
        write(17..19, moment.second());
        write(20..23, moment.timestamp_subsec_millis());
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = chrono::ParseError;

    /// Reads any RFC 3339 date and time; other offsets are taken to UTC, finer fractions are cut.
    fn from_str(text: &str) -> Result<Timestamp, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|moment| Timestamp::from_millis(moment.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_design_shows() {
        let time: Timestamp = "2026-11-21T10:15:07.020Z".parse().expect("a moment");
        assert_eq!(time.to_string(), "2026-11-21T10:15:07.020Z");
        assert_eq!("2026-11-21T11:15:07.0209+01:00".parse(), Ok(time));
        assert!("yesterday".parse::<Timestamp>().is_err());
        let day = Timestamp::parse_moment_or_day("2026-11-21").expect("a day");
        assert_eq!(day.to_string(), "2026-11-21T00:00:00.000Z");
        assert_eq!(Timestamp::parse_moment_or_day("2026-11-31"), None);
    }

    proptest! {
        #[test]
        fn every_moment_comes_back(millis in 0i64..=Timestamp::LAST) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
