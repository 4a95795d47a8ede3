//! The id of a person, which holds while names change.

use std::fmt;
use std::str::FromStr;

use crate::cursor::sixteen_digits;

/// The id of an identity, written as 16 hexadecimal digits. A nick may be somebody else's tomorrow; an id is never given
/// twice. It proves nothing and is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u64);

/// The word is no id of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a person has 16 hexadecimal digits")]
pub struct PersonIdError;

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PersonId {
    type Err = PersonIdError;

    fn from_str(word: &str) -> Result<PersonId, PersonIdError> {
        sixteen_digits(word).map(PersonId).ok_or(PersonIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        let id = PersonId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for word in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000ab0"] {
            assert_eq!(word.parse::<PersonId>(), Err(PersonIdError), "{word}");
        }
    }
}
