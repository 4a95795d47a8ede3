//! A place in a log: an entry's id, with the log's name where it has to be told from another's.

use std::fmt;
use std::str::FromStr;

/// The name of a log: 64 random bits, written as 16 hexadecimal digits. A restored backup gets a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogName(pub u64);

/// `<id>`, or `<log>.<id>`. Everything up to and with the entry of this id lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The log that the id belongs to; `None` is the daemon's own, whichever that is.
    pub log: Option<LogName>,
    /// The entry's id, below 2^53; 0 is before the first.
    pub id: u64,
}

/// The word is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is an entry's id, or <log>.<id> with the log's 16 hexadecimal digits")]
pub struct CursorError;

impl Cursor {
    /// The largest id: what every language's numbers hold.
    pub const LARGEST: u64 = (1 << 53) - 1;

    /// The entry `id` of the daemon's own log.
    pub fn at(id: u64) -> Cursor {
        Cursor { log: None, id }
    }

    /// The id, if the cursor is one of the log `name`.
    pub fn within(self, name: LogName) -> Option<u64> {
        self.log.is_none_or(|log| log == name).then_some(self.id)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for LogName {
    type Err = CursorError;

    fn from_str(word: &str) -> Result<LogName, CursorError> {
        sixteen_digits(word).map(LogName).ok_or(CursorError)
    }
}

/// Returns a number that is written as 16 hexadecimal digits in lower case.
pub(crate) fn sixteen_digits(word: &str) -> Option<u64> {
    let is_hex = word.len() == 16 && word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    is_hex.then(|| u64::from_str_radix(word, 16).ok())?
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(log) = self.log {
            write!(f, "{log}.")?;
        }
        write!(f, "{}", self.id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(word: &str) -> Result<Cursor, CursorError> {
        let (log, id) = match word.split_once('.') {
            Some((log, id)) => (Some(log.parse()?), id),
            None => (None, word),
        };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CursorError);
        }
        let id = id.parse().ok().filter(|id| *id <= Cursor::LARGEST).ok_or(CursorError)?;
        Ok(Cursor { log, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        for word in
            ["", "x", "-1", "+1", "1.1", ".1", "0123456789abcdef.", "0123456789ABCDEF.1", "9007199254740992"]
        {
            assert_eq!(word.parse::<Cursor>(), Err(CursorError), "{word:?}");
        }
        assert_eq!("9007199254740991".parse(), Ok(Cursor::at(Cursor::LARGEST)));
    }

    #[test]
    fn an_id_counts_in_its_own_log() {
        let ours = LogName(7);
        assert_eq!(Cursor::at(5).within(ours), Some(5));
        assert_eq!(Cursor { log: Some(ours), id: 5 }.within(ours), Some(5));
        assert_eq!(Cursor { log: Some(LogName(8)), id: 5 }.within(ours), None);
    }

    proptest! {
        #[test]
        fn every_cursor_reads_back(log in prop::option::of(any::<u64>()), id in 0..=Cursor::LARGEST) {
            let cursor = Cursor { log: log.map(LogName), id };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}
