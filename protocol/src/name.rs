//! Names of people and rooms, and when two of them are the same or look the same.
//!
//! A nick is 1 to 32 characters, a room is `#` and 1 to 64. Both begin with a letter or digit and go on with
//! letters, digits, combining marks, `-`, `_` and `.`. What was typed, in NFC, is what is shown; two names are the
//! same when their NFKC_Casefold forms are ([`Folded`]). [`Looks`] tells names that only look alike (UTS 39).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use caseless::Caseless;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::{PersonId, limits};

/// The name of a person, a program or a bot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nick<'a>(Cow<'a, str>);

/// The name of a room, with its `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomName<'a>(Cow<'a, str>);

/// What a line is addressed to: `#` tells the two apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// Everybody in a room.
    Room(RoomName<'a>),
    /// Who has this name now, or had it last.
    Nick(Nick<'a>),
    /// One person, whatever they are called now.
    Person {
        /// What the person was called when last heard of: for people who read the line.
        nick: Nick<'a>,
        /// Who it is.
        who: PersonId,
    },
}

/// Why a word is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A room without its `#`.
    #[error("a room's name begins with #")]
    NoHash,
    /// No character, or more than `most`.
    #[error("it has 1 to {most} characters")]
    Length {
        /// The most characters of this kind of name.
        most: usize,
    },
    /// The first character is no letter or digit.
    #[error("it begins with a letter or a digit")]
    Start,
    /// A character that names do not have.
    #[error("it has only letters, digits, combining marks, - _ and .")]
    Character,
}

impl<'a> Nick<'a> {
    /// Reads a nick.
    ///
    /// # Errors
    /// A [`NameError`] that says which rule the word breaks.
    pub fn parse(word: &'a str) -> Result<Nick<'a>, NameError> {
        let name = normalize(word);
        check(&name, limits::NICK)?;
        Ok(Nick(name))
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names are compared.
    pub fn fold(&self) -> Folded {
        Folded::of(&self.0)
    }

    /// The same nick, owning its characters.
    pub fn into_owned(self) -> Nick<'static> {
        Nick(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> RoomName<'a> {
    /// The room that always exists.
    pub const LOBBY: RoomName<'static> = RoomName(Cow::Borrowed("#lobby"));

    /// Reads a room's name.
    ///
    /// # Errors
    /// A [`NameError`] that says which rule the word breaks.
    pub fn parse(word: &'a str) -> Result<RoomName<'a>, NameError> {
        let name = normalize(word);
        check(name.strip_prefix('#').ok_or(NameError::NoHash)?, limits::ROOM)?;
        Ok(RoomName(name))
    }

    /// The name as it is shown, with its `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names are compared.
    pub fn fold(&self) -> Folded {
        Folded::of(&self.0)
    }

    /// The same name, owning its characters.
    pub fn into_owned(self) -> RoomName<'static> {
        RoomName(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> Target<'a> {
    /// Reads a room's name if the word begins with `#`, a nick otherwise.
    ///
    /// # Errors
    /// A [`NameError`] that says which rule the word breaks.
    pub fn parse(word: &'a str) -> Result<Target<'a>, NameError> {
        if word.starts_with('#') {
            RoomName::parse(word).map(Target::Room)
        } else {
            Nick::parse(word).map(Target::Nick)
        }
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        match self {
            Target::Room(room) => room.as_str(),
            Target::Nick(nick) | Target::Person { nick, .. } => nick.as_str(),
        }
    }

    /// Who a line is addressed to, if it says so by more than a name.
    pub fn who(&self) -> Option<PersonId> {
        match self {
            Target::Person { who, .. } => Some(*who),
            Target::Room(_) | Target::Nick(_) => None,
        }
    }

    /// The person with this id, by the name of the target. A room, or anything without an id, stays what it is.
    #[must_use]
    pub fn with_who(self, who: Option<PersonId>) -> Target<'a> {
        match (self, who) {
            (Target::Nick(nick), Some(who)) => Target::Person { nick, who },
            (same, _) => same,
        }
    }

    /// The same target, owning its characters.
    pub fn into_owned(self) -> Target<'static> {
        match self {
            Target::Room(room) => Target::Room(room.into_owned()),
            Target::Nick(nick) => Target::Nick(nick.into_owned()),
            Target::Person { nick, who } => Target::Person { nick: nick.into_owned(), who },
        }
    }
}

impl fmt::Display for Nick<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoomName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name's NFKC_Casefold form (Unicode 3.13, D147): equal forms are the same name. Copies share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folded(Arc<str>);

impl Folded {
    /// The folded form of a name, which need not be a valid one; a folded form is its own.
    ///
    /// ```
    /// use snug_protocol::{Folded, Nick};
    ///
    /// let nick = Nick::parse("Stra\u{df}e")?;
    /// assert_eq!(Folded::of("STRASSE"), nick.fold());
    /// assert_eq!(Folded::of(nick.fold().as_str()), nick.fold());
    /// # Ok::<(), snug_protocol::NameError>(())
    /// ```
    pub fn of(name: &str) -> Folded {
        if name.is_ascii() {
            return Folded(name.to_ascii_lowercase().into());
        }
        // Default-ignorable characters, which D147 also removes, are not let into names at all.
        let folded: String =
            name.chars().nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect();
        Folded(folded.into())
    }

    /// The folded characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a name looks like: its UTS 39 skeletons. Two names that share one can be taken for each other.
///
/// The skeleton is taken before and after folding the case, because capitals and small letters have different
/// look-alikes. Names of ASCII letters alone are never held against each other: `rn` and `m` may both live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeletons {
    /// The folded skeletons of the name as typed and of its folded form; often the same.
    pub skeletons: [Folded; 2],
    /// Whether the name is ASCII throughout.
    pub ascii: bool,
}

impl Skeletons {
    /// The looks of a nick or a room's name.
    pub fn of(name: &str) -> Skeletons {
        let skeleton = |name: &str| Folded::of(&unicode_security::skeleton(name).collect::<String>());
        Skeletons { skeletons: [skeleton(name), skeleton(Folded::of(name).as_str())], ascii: name.is_ascii() }
    }

    /// Whether one may be taken for the other.
    pub fn like(&self, other: &Skeletons) -> bool {
        !(self.ascii && other.ascii) && self.skeletons.iter().any(|s| other.skeletons.contains(s))
    }
}

fn normalize(word: &str) -> Cow<'_, str> {
    if is_nfc(word) { Cow::Borrowed(word) } else { Cow::Owned(word.nfc().collect()) }
}

/// Holds a name, without a room's `#`, against the rules of its characters.
fn check(name: &str, most: usize) -> Result<(), NameError> {
    if !(1..=most).contains(&name.chars().count()) {
        return Err(NameError::Length { most });
    }
    if !name.starts_with(is_letter_or_digit) {
        return Err(NameError::Start);
    }
    if !name.chars().all(|c| is_letter_or_digit(c) || is_mark(c) || matches!(c, '-' | '_' | '.')) {
        return Err(NameError::Character);
    }
    Ok(())
}

fn is_letter_or_digit(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || !c.is_ascii()
            && !is_invisible(c)
            && (c.general_category_group() == GeneralCategoryGroup::Letter
                || c.general_category() == unicode_properties::GeneralCategory::DecimalNumber)
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && !is_invisible(c) && c.general_category_group() == GeneralCategoryGroup::Mark
}

/// The letters and marks among the Default_Ignorable_Code_Points (Unicode's DerivedCoreProperties): they show
/// nothing, so a name with one would look like the name without. The others are no letters or marks.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a character turns text around or hides in it (UAX 9, and the byte-order mark): nothing for names that people
/// are to recognise.
pub fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nick(word: &str) -> Nick<'_> {
        Nick::parse(word).unwrap_or_else(|error| panic!("{word:?}: {error}"))
    }

    #[test]
    fn people_of_the_world_have_names() {
        for name in [
            "alice",
            "Zo\u{eb}",
            "\u{5c71}\u{7530}",
            "\u{928}\u{940}\u{932}",
            "\u{5d0}\u{5d1}",
            "7of9",
            "a.b-c_d",
        ] {
            assert_eq!(nick(name).as_str(), name);
        }
        assert_eq!(nick("Zoe\u{308}").as_str(), "Zo\u{eb}", "shown in NFC");
    }

    #[test]
    fn each_broken_rule_is_named() {
        let long = "x".repeat(33);
        for (word, error) in [
            ("", NameError::Length { most: 32 }),
            (&long, NameError::Length { most: 32 }),
            ("-dash", NameError::Start),
            ("\u{301}x", NameError::Start),
            ("#room", NameError::Start),
            ("a b", NameError::Character),
            ("a:b", NameError::Character),
            ("bob\u{202e}", NameError::Character),
            ("bob\u{200d}", NameError::Character),
            ("bob\u{fe0f}", NameError::Character),
            ("bob\u{1f600}", NameError::Character),
            ("\u{3164}", NameError::Start),
        ] {
            assert_eq!(Nick::parse(word), Err(error), "{word:?}");
        }
        assert_eq!(RoomName::parse("lobby"), Err(NameError::NoHash));
        assert_eq!(RoomName::parse("#"), Err(NameError::Length { most: 64 }));
    }

    #[test]
    fn case_and_compatibility_make_no_difference() {
        for (a, b) in [
            ("Alice", "aLICE"),
            ("STRASSE", "stra\u{df}e"),
            ("\u{ff21}lice", "alice"),
            ("Zoe\u{308}", "ZO\u{cb}"),
        ] {
            assert_eq!(nick(a).fold(), nick(b).fold(), "{a} and {b}");
        }
        assert_ne!(nick("alice").fold(), nick("alic3").fold());
    }

    #[test]
    fn look_alikes_are_told_in_both_orders() {
        let looks = |name| Skeletons::of(nick(name).as_str());
        for (real, fake) in
            [("alice", "\u{430}lice"), ("bob", "\u{412}OB"), ("scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}")]
        {
            assert!(looks(real).like(&looks(fake)) && looks(fake).like(&looks(real)), "{real} and {fake}");
        }
        assert!(!looks("corn").like(&looks("com")), "ASCII names are told by reading");
        assert!(!looks("alice").like(&looks("\u{5c71}")));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(word in "\\PC{1,12}") {
            if let Ok(nick) = Nick::parse(&word) {
                let folded = nick.fold();
                prop_assert_eq!(Folded::of(folded.as_str()), folded);
                prop_assert_eq!(Nick::parse(nick.as_str()).expect("still a nick"), nick.clone());
            }
        }
    }
}
