//! How text that may hold newlines is written on one line.
//!
//! In text a newline is `\n`. In a tag's value a space is `\s` and a semicolon `\:` as well. A backslash is
//! doubled only where it would otherwise be read as the start of one of these, so `C:\Users` stays readable.

use std::borrow::Cow;

/// Writes `text` as it stands on a line: newlines as `\n`, backslashes doubled where they must be.
pub fn escape_text(text: &str) -> Cow<'_, str> {
    if is_plain_text(text) { Cow::Borrowed(text) } else { escape(text, text_letter) }
}

/// Reads what [`escape_text`] wrote. A backslash before any other character stands for itself.
pub fn unescape_text(text: &str) -> Cow<'_, str> {
    unescape(text, |letter| if letter == b'n' { Some('\n') } else { None })
}

/// Writes a tag's value: as [`escape_text`], and space as `\s`, semicolon as `\:`.
pub fn escape_tag(value: &str) -> Cow<'_, str> {
    escape(value, tag_letter)
}

/// Reads what [`escape_tag`] wrote.
pub fn unescape_tag(value: &str) -> Cow<'_, str> {
    unescape(value, |letter| match letter {
        b'n' => Some('\n'),
        b's' => Some(' '),
        b':' => Some(';'),
        _ => None,
    })
}

/// The length in bytes of [`escape_text`]'s result, without making it.
pub fn escaped_text_len(text: &str) -> usize {
    if is_plain_text(text) {
        return text.len();
    }
    let bytes = text.as_bytes();
    let extra = (0..bytes.len())
        .filter(|&at| bytes[at] == b'\n' || bytes[at] == b'\\' && must_double(bytes, at, text_letter))
        .count();
    bytes.len() + extra
}

/// Whether a text stands on a line as it is, which most do.
fn is_plain_text(text: &str) -> bool {
    memchr::memchr2(b'\n', b'\\', text.as_bytes()).is_none()
}

/// The letter that stands for `byte` behind a backslash, where it has one.
type Letter = fn(u8) -> Option<u8>;

fn text_letter(byte: u8) -> Option<u8> {
    (byte == b'\n').then_some(b'n')
}

fn tag_letter(byte: u8) -> Option<u8> {
    match byte {
        b'\n' => Some(b'n'),
        b' ' => Some(b's'),
        b';' => Some(b':'),
        _ => None,
    }
}

/// Whether the backslash at `at` would be read as an escape if it stood alone: because of what follows it as
/// typed, or because what follows is itself written with a backslash.
fn must_double(bytes: &[u8], at: usize, letter: Letter) -> bool {
    match bytes.get(at + 1) {
        None => false,
        Some(b'\\') => true,
        Some(&next) => letter(next).is_some() || [b'\n', b' ', b';'].iter().any(|&b| letter(b) == Some(next)),
    }
}

fn escape(text: &str, letter: Letter) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|&b| b == b'\\' || letter(b).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for (at, character) in text.char_indices() {
        let escaped = u8::try_from(character).ok().and_then(letter);
        if let Some(letter) = escaped {
            out.push('\\');
            out.push(letter.into());
            continue;
        }
        out.push(character);
        if character == '\\' && must_double(bytes, at, letter) {
            out.push('\\');
        }
    }
    Cow::Owned(out)
}

fn unescape(text: &str, meaning: fn(u8) -> Option<char>) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().and_then(|&c| u8::try_from(c).ok());
        match (character, next) {
            ('\\', Some(b'\\')) => {
                characters.next();
                out.push('\\');
            }
            ('\\', Some(next)) if meaning(next).is_some() => {
                characters.next();
                out.extend(meaning(next));
            }
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_readable_where_it_can() {
        for (raw, written) in [
            ("hello", "hello"),
            ("C:\\Users", "C:\\Users"),
            ("C:\\new", "C:\\\\new"),
            ("two\nlines", "two\\nlines"),
            ("\\\n", "\\\\\\n"),
            ("ends in \\", "ends in \\"),
            ("\\\\", "\\\\\\"),
        ] {
            assert_eq!(escape_text(raw), written, "{raw:?}");
            assert_eq!(unescape_text(written), raw, "{written:?}");
        }
        assert_eq!(escape_tag("a b;c\\s"), "a\\sb\\:c\\\\s");
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing(raw in "[a-z\\\\n:; \\n\u{e9}]{0,24}") {
            let text = escape_text(&raw);
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(unescape_text(&text), raw.as_str());
            prop_assert_eq!(text.len(), escaped_text_len(&raw));
            let tag = escape_tag(&raw);
            prop_assert!(!tag.contains([' ', ';', '\n']));
            prop_assert_eq!(unescape_tag(&tag), raw.as_str());
        }
    }
}
