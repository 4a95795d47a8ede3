//! What files are known by: the hash of what is in them, a name that is no path, and the handle of an upload.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::name::is_deceptive;
use crate::{Cursor, limits};

/// The SHA-256 of a content (FIPS 180-4), written as 64 hexadecimal digits, as `sha256sum` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; ContentHash::LENGTH]);

impl ContentHash {
    /// Its length in bytes.
    pub const LENGTH: usize = 32;
}

/// The word is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct HashError;

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContentHash {
    type Err = HashError;

    fn from_str(word: &str) -> Result<ContentHash, HashError> {
        let digits = word.as_bytes();
        if digits.len() != 2 * ContentHash::LENGTH {
            return Err(HashError);
        }
        let mut hash = [0; ContentHash::LENGTH];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or(HashError)?;
        }
        Ok(ContentHash(hash))
    }
}

/// What a file is called: something to show and to save under, never a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileName<'a>(Cow<'a, str>);

/// Why a text is no name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// It is empty, or only dots or blanks.
    #[error("it says nothing")]
    Empty,
    /// It is over [`limits::FILE_NAME`].
    #[error("it has more than {} bytes", limits::FILE_NAME)]
    TooLong,
    /// It has a `/` or `\`.
    #[error("it has a / or \\, as paths have")]
    Path,
    /// It has control characters, or some that turn text around or hide in it.
    #[error("it has characters that control, hide or turn text around")]
    Deceptive,
}

impl<'a> FileName<'a> {
    /// Checks a name.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(name: &'a str) -> Result<FileName<'a>, FileNameError> {
        if name.trim_matches(|c: char| c == '.' || c.is_whitespace()).is_empty() {
            return Err(FileNameError::Empty);
        }
        if name.len() > limits::FILE_NAME {
            return Err(FileNameError::TooLong);
        }
        if name.contains(['/', '\\']) {
            return Err(FileNameError::Path);
        }
        if name.chars().any(|c| c.is_control() || is_deceptive(c)) {
            return Err(FileNameError::Deceptive);
        }
        Ok(FileName(Cow::Borrowed(name)))
    }

    /// The nearest name to any text at all: what is forbidden becomes `_`, what is too long is cut before its extension.
    pub fn mend(text: &str) -> FileName<'static> {
        let is_bad = |c: char| c.is_control() || is_deceptive(c) || matches!(c, '/' | '\\');
        let mut name: String = text.chars().map(|c| if is_bad(c) { '_' } else { c }).collect();
        if name.len() > limits::FILE_NAME {
            let extension = name.rfind('.').map(|at| name[at..].to_owned());
            let extension = extension.filter(|extension| extension.len() <= 16).unwrap_or_default();
            let mut end = limits::FILE_NAME - extension.len();
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name.truncate(end);
            name.push_str(&extension);
        }
        match FileName::parse(&name) {
            Ok(_) => FileName(Cow::Owned(name)),
            Err(_) => FileName(Cow::Borrowed("file")),
        }
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, owning its characters.
    pub fn into_owned(self) -> FileName<'static> {
        FileName(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An upload on its way: `u17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadHandle(pub u64);

impl fmt::Display for UploadHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

impl FromStr for UploadHandle {
    type Err = ();

    fn from_str(word: &str) -> Result<UploadHandle, ()> {
        let digits = word.strip_prefix('u').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.filter(|number| *number <= Cursor::LARGEST).map(UploadHandle).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_never_a_path() {
        for (name, error) in [
            ("", FileNameError::Empty),
            (" .. ", FileNameError::Empty),
            ("..", FileNameError::Empty),
            ("../passwd", FileNameError::Path),
            ("a\\b", FileNameError::Path),
            ("a\0b", FileNameError::Deceptive),
            ("invoice\u{202e}fdp.exe", FileNameError::Deceptive),
            ("a\nb", FileNameError::Deceptive),
        ] {
            assert_eq!(FileName::parse(name), Err(error), "{name:?}");
        }
        assert_eq!(FileName::parse(&"x".repeat(300)), Err(FileNameError::TooLong));
        assert_eq!(FileName::parse("caf\u{e9} menu.pdf").expect("a name").as_str(), "caf\u{e9} menu.pdf");
        assert_eq!(FileName::mend("../../etc/passwd").as_str(), ".._.._etc_passwd");
        assert!(FileName::mend(&format!("{}.pdf", "\u{e9}".repeat(300))).as_str().ends_with(".pdf"));
    }

    proptest! {
        #[test]
        fn whatever_is_mended_is_a_name(text in "\\PC{0,300}") {
            prop_assert!(FileName::parse(FileName::mend(&text).as_str()).is_ok());
        }

        #[test]
        fn hashes_and_handles_read_back(hash in any::<[u8; 32]>(), handle in 0..=Cursor::LARGEST) {
            let hash = ContentHash(hash);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(UploadHandle(handle).to_string().parse(), Ok(UploadHandle(handle)));
        }

        #[test]
        fn no_word_panics(word in "\\PC{0,70}") {
            let _ = word.parse::<ContentHash>();
            let _ = word.parse::<UploadHandle>();
            let _ = FileName::parse(&word);
        }
    }
}
