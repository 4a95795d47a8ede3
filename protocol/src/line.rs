//! The grammar of a line, before any verb gives it a meaning:
//! `[@tag=value;tag=value ][:source ]VERB[ parameter…][ text]`, exactly one space between.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::{escape_tag, limits, unescape_tag};

/// A line taken apart, borrowing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The tags before the verb; empty if there are none.
    pub tags: Tags<'a>,
    /// The name behind the `:`, without it.
    pub source: Option<&'a str>,
    /// The verb as typed: 1 to 32 ASCII letters.
    pub verb: &'a str,
    /// What stands behind the verb.
    pub params: Params<'a>,
}

/// Why a line does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Nothing stands on the line.
    #[error("the line is empty; HELP lists the verbs")]
    Empty,
    /// Where the verb should stand is something else.
    #[error("a line begins with a verb of ASCII letters, with exactly one space between its words")]
    NoVerb,
    /// A tag section or a source without a verb behind it.
    #[error("tags and source are followed by one space and a verb")]
    NothingBehind,
    /// A tag's name is empty, too long or has characters that names do not have.
    #[error("a tag's name is 1 to 32 of a-z, 0-9 and -, or + and up to 63 of a-z, A-Z, 0-9, -, / and .")]
    TagName,
    /// One tag stands twice on the line.
    #[error("a tag stands only once on a line")]
    TagTwice,
    /// The tags are more than the limit.
    #[error("the tags are at most 32")]
    TagsTooLong,
}

impl<'a> Line<'a> {
    /// Begins a written line with its tags and its source, up to the place of the verb.
    pub(crate) fn write_head(tags: Tags<'_>, source: Option<&str>, out: &mut Vec<u8>) {
        if let Some(section) = tags.0 {
            out.push(b'@');
            out.extend_from_slice(section.as_bytes());
            out.push(b' ');
        }
        if let Some(source) = source {
            out.push(b':');
            out.extend_from_slice(source.as_bytes());
            out.push(b' ');
        }
    }

    /// Takes a line apart. The line has passed the decoder: UTF-8, no control characters, no line end.
    ///
    /// # Errors
    /// A [`LineError`] that names the rule that is broken. Nothing of the verb's own rules is looked at.
    pub fn parse(line: &'a str) -> Result<Line<'a>, LineError> {
        if line.is_empty() {
            return Err(LineError::Empty);
        }
        let mut rest = line;
        let mut tags = Tags(None);
        if let Some(tagged) = rest.strip_prefix('@') {
            let (section, behind) = tagged.split_once(' ').ok_or(LineError::NothingBehind)?;
            tags = Tags::parse(section)?;
            rest = behind;
        }
        let mut source = None;
        if let Some(sourced) = rest.strip_prefix(':') {
            let (name, behind) = sourced.split_once(' ').ok_or(LineError::NothingBehind)?;
            source = Some(name);
            rest = behind;
        }
        let (verb, params) = match rest.split_once(' ') {
            Some((verb, params)) => (verb, Some(params)),
            None => (rest, None),
        };
        let is_word = !verb.is_empty() && verb.bytes().all(|b| b.is_ascii_alphabetic());
        if !is_word {
            return Err(LineError::NoVerb);
        }
        Ok(Line { tags, source, verb, params: Params(params) })
    }
}

/// The words behind a verb, taken from the front; what is left can be taken as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a>(Option<&'a str>);

impl<'a> Params<'a> {
    /// Takes the next word. An empty one (two spaces, or a space at the end) is given as such.
    pub fn word(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let (word, rest) = match rest.split_once(' ') {
            Some((word, rest)) => (word, Some(rest)),
            None => (rest, None),
        };
        self.0 = rest;
        Some(word)
    }

    /// All that is left, verbatim.
    pub fn rest(self) -> Option<&'a str> {
        self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

/// The tag section of a line: names with values still escaped, in the order written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags<'a>(Option<&'a str>);

impl<'a> Tags<'a> {
    /// Checks a tag section as it stands between `@` and the space.
    fn parse(section: &'a str) -> Result<Tags<'a>, LineError> {
        let tags = Tags(Some(section));
        for (position, (name, _)) in tags.iter().enumerate() {
            if !is_tag_name(name) {
                return Err(LineError::TagName);
            }
            if tags.iter().take(position).any(|(earlier, _)| earlier == name) {
                return Err(LineError::TagTwice);
            }
            if position >= limits::TAG_COUNT {
                return Err(LineError::TagsTooLong);
            }
        }
        Ok(tags)
    }

    /// Names and values as written; a tag without `=` has no value.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.0.into_iter().flat_map(|section| section.split(';')).map(|tag| match tag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (tag, None),
        })
    }

    /// Whether the tag `name` is there, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.iter().any(|(tag, _)| tag == name)
    }

    /// The value of the tag `name`, unescaped; empty if it has none.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.iter().find(|(tag, _)| *tag == name).map(|(_, value)| unescape_tag(value.unwrap_or_default()))
    }

    /// Takes over a section that was written by a [`TagBuilder`] or checked before.
    pub fn trusted(section: &'a str) -> Tags<'a> {
        Tags(if section.is_empty() { None } else { Some(section) })
    }

    /// The section as it stands on the line; empty if there is none.
    pub fn as_str(self) -> &'a str {
        self.0.unwrap_or_default()
    }

    /// The section's length in bytes as it stands on the line.
    pub fn len(self) -> usize {
        self.0.map_or(0, str::len)
    }

    /// Whether there is no tag at all.
    pub fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

/// Whether a word is the name of a tag: the protocol's own, or with a `+` a client's.
fn is_tag_name(name: &str) -> bool {
    match name.strip_prefix('+') {
        Some(word) => {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.');
            !word.is_empty() && name.len() <= 2 * limits::TAG_NAME && word.bytes().all(is_plain)
        }
        None => {
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !name.is_empty() && name.len() <= limits::TAG_NAME && name.bytes().all(is_plain)
        }
    }
}

/// Gathers tags for a line that is to be written.
///
/// ```
/// use snug_protocol::TagBuilder;
///
/// let mut tags = TagBuilder::default();
/// tags.flag("quiet", true);
/// tags.value("title", Some("two words"));
/// assert_eq!(tags.tags().get("title").as_deref(), Some("two words"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagBuilder(String);

impl TagBuilder {
    /// Adds a tag without a value if `is_there`.
    pub fn flag(&mut self, name: &str, is_there: bool) {
        if is_there {
            self.raw(name);
        }
    }

    /// Adds a tag with its value, if there is one.
    pub fn value(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.raw(name);
            self.0.push('=');
            self.0.push_str(&escape_tag(value));
        }
    }

    /// Adds a tag whose value needs no escaping: a number or a time.
    pub fn display(&mut self, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.raw(name);
            // Writing to a String cannot fail.
            let _ = write!(self.0, "={value}");
        }
    }

    /// Adds tags that are written already; nothing if `tags` is empty.
    pub fn raw(&mut self, tags: &str) {
        if !tags.is_empty() && !self.0.is_empty() {
            self.0.push(';');
        }
        self.0.push_str(tags);
    }

    /// The tags gathered so far.
    pub fn tags(&self) -> Tags<'_> {
        Tags(if self.0.is_empty() { None } else { Some(&self.0) })
    }

    /// The tags gathered so far, as they stand on a line.
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_full_line_apart() {
        let line = Line::parse("@id=7;quiet;+x=a\\sb :alice MSG #lobby :wave: hi  there ").expect("a line");
        assert_eq!(line.tags.get("id").as_deref(), Some("7"));
        assert!(line.tags.has("quiet") && !line.tags.has("x"));
        assert_eq!(line.tags.get("+x").as_deref(), Some("a b"));
        assert_eq!((line.source, line.verb), (Some("alice"), "MSG"));
        let mut params = line.params;
        assert_eq!(params.word(), Some("#lobby"));
        assert_eq!(params.rest(), Some(":wave: hi  there "));
    }

    #[test]
    fn a_client_s_own_tags_have_names_as_of_vendors() {
        let line = Line::parse("@+draft/React=x;+Vendor.example/a-B2 MSG").expect("a line");
        assert_eq!(line.tags.get("+draft/React").as_deref(), Some("x"));
        assert!(line.tags.has("+Vendor.example/a-B2"));
        let long = |length: usize| format!("@+{} MSG", "x".repeat(length - 1));
        assert!(Line::parse(&long(64)).is_ok() && Line::parse(&long(65)).is_err());
    }

    #[test]
    fn two_spaces_make_an_empty_word() {
        let mut params = Line::parse("WHO  #lobby").expect("a line").params;
        assert_eq!(params.word(), Some(""));
        assert_eq!(params.word(), Some("#lobby"));
        assert_eq!(params.word(), None);
    }

    #[test]
    fn each_broken_rule_is_named() {
        for (line, error) in [
            ("", LineError::Empty),
            (" NICK a", LineError::NoVerb),
            ("N1CK a", LineError::NoVerb),
            ("\u{fc}ber", LineError::NoVerb),
            ("@id=1", LineError::NothingBehind),
            ("@id=1  MSG", LineError::NoVerb),
            (":alice", LineError::NothingBehind),
            ("@ MSG", LineError::TagName),
            ("@ID=1 MSG", LineError::TagName),
            ("@a;;b MSG", LineError::TagName),
            ("@+=1 MSG", LineError::TagName),
            ("@+a_b MSG", LineError::TagName),
            ("@a/b MSG", LineError::TagName),
            ("@a=1;a=2 MSG", LineError::TagTwice),
        ] {
            assert_eq!(Line::parse(line), Err(error), "{line:?}");
        }
        let many: Vec<String> = (0..=limits::TAG_COUNT).map(|n| format!("t{n}")).collect();
        assert_eq!(Line::parse(&format!("@{} MSG", many.join(";"))), Err(LineError::TagsTooLong));
    }
}
