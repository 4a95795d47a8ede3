//! What a token may do: some verbs, perhaps only in some rooms, perhaps only so often.

use std::fmt::Write;

use crate::{RoomName, Target, Verb};

/// What the bearer of a token may do of what its account may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The verbs; `None` for all but those about the account itself.
    verbs: Option<Vec<Verb>>,
    /// The rooms; none is every place, private messages among them.
    rooms: Vec<RoomName<'static>>,
    /// Commands per minute; `None` for no limit of its own.
    rate: Option<u32>,
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A word that is neither a verb nor a group of them.
    #[error("{0:?} is no verb and none of all, send, read and edit")]
    Verb(String),
    /// A verb about the account itself: whoever has a token could make himself a wider one.
    #[error("no token can {0}: the account itself is looked after with its password or a key")]
    Account(&'static str),
    /// A word that is no room.
    #[error("{0:?} is no room")]
    Room(String),
    /// A rate that is no number of commands.
    #[error("a rate is a number of commands per minute, from 1 to 1000000")]
    Rate,
}

/// Verbs that go together: a word for them in the scope of a token.
const GROUPS: [(&str, &[Verb]); 3] = [
    ("send", &[Verb::Msg, Verb::Priv, Verb::File]),
    (
        "read",
        &[
            Verb::Join,
            Verb::Leave,
            Verb::Rooms,
            Verb::Who,
            Verb::Watch,
            Verb::History,
            Verb::Search,
            Verb::Sync,
            Verb::Ack,
            Verb::Read,
            Verb::Inbox,
            Verb::File,
            Verb::Commands,
        ],
    ),
    ("edit", &[Verb::Edit, Verb::Delete, Verb::React, Verb::Unreact]),
];

/// What every connection may say.
const FREE: [Verb; 8] =
    [Verb::Hello, Verb::Nick, Verb::Quit, Verb::Ping, Verb::Pong, Verb::Help, Verb::Info, Verb::Auth];

/// What no token can do.
const ACCOUNT: [Verb; 5] = [Verb::Register, Verb::Password, Verb::Unregister, Verb::Key, Verb::Token];

impl Scope {
    /// Reads a scope: comma lists of verbs (and `all`, `send`, `read`, `edit`) and of rooms, and commands per minute.
    /// An empty list of verbs is `all`.
    ///
    /// # Errors
    /// The word that is wrong.
    pub fn parse(may: &str, rooms: &str, rate: &str) -> Result<Scope, ScopeError> {
        let words = |list: &str| {
            let words = list.split(',').map(|word| word.trim().to_owned());
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        let mut verbs: Vec<Verb> = Vec::new();
        if words(may).is_empty() && !may.is_empty() {
            return Err(ScopeError::Verb(may.to_owned()));
        }
        if words(rooms).is_empty() && !rooms.is_empty() {
            return Err(ScopeError::Room(rooms.to_owned()));
        }
        let mut is_all = may.is_empty();
        for word in words(may) {
            if word.eq_ignore_ascii_case("all") {
                is_all = true;
            } else if let Some((_, group)) = GROUPS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word))
            {
                verbs.extend(*group);
            } else {
                let verb = Verb::find(&word).ok_or(ScopeError::Verb(word))?;
                if ACCOUNT.contains(&verb) {
                    return Err(ScopeError::Account(verb.word()));
                }
                verbs.push(verb);
            }
        }
        let mut known = Vec::new();
        verbs.retain(|verb| {
            !known.contains(verb) && {
                known.push(*verb);
                true
            }
        });
        let room = |word: String| match RoomName::parse(&word) {
            Ok(room) => Ok(room.into_owned()),
            Err(_) => Err(ScopeError::Room(word)),
        };
        let rate = match rate {
            "" => None,
            text => Some(
                text.parse().ok().filter(|rate| (1..=1_000_000).contains(rate)).ok_or(ScopeError::Rate)?,
            ),
        };
        Ok(Scope {
            verbs: (!is_all).then_some(verbs),
            rooms: words(rooms).into_iter().map(room).collect::<Result<_, _>>()?,
            rate,
        })
    }

    /// The verbs as a comma list.
    pub fn may(&self) -> String {
        match &self.verbs {
            None => "all".to_owned(),
            Some(verbs) => verbs.iter().map(|verb| verb.word()).collect::<Vec<_>>().join(","),
        }
    }

    /// The rooms as a comma list; empty for every place.
    pub fn rooms(&self) -> String {
        let mut list = String::new();
        for room in &self.rooms {
            // Writing to a String cannot fail.
            let _ = write!(list, "{}{room}", if list.is_empty() { "" } else { "," });
        }
        list
    }

    /// Commands per minute, if there is a limit.
    pub fn rate(&self) -> Option<u32> {
        self.rate
    }

    /// Whether it has these rooms and no other place.
    pub fn is_confined(&self) -> bool {
        !self.rooms.is_empty()
    }

    /// Whether a verb is in it.
    pub fn has_verb(&self, verb: Verb) -> bool {
        FREE.contains(&verb)
            || !ACCOUNT.contains(&verb) && self.verbs.as_ref().is_none_or(|verbs| verbs.contains(&verb))
    }

    /// Whether a room is in it.
    pub fn has_room(&self, room: &RoomName<'_>) -> bool {
        self.rooms.is_empty() || self.rooms.iter().any(|own| own.fold() == room.fold())
    }

    /// Whether what is said to, or about, a target is in it.
    pub fn has_target(&self, target: &Target<'_>) -> bool {
        match target {
            Target::Room(room) => self.has_room(room),
            Target::Nick(_) | Target::Person { .. } => self.rooms.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_what_it_names_and_no_more() {
        let scope = Scope::parse("send, history", "#ops", "60").expect("a scope");
        assert_eq!(
            (scope.may(), scope.rooms(), scope.rate()),
            ("MSG,PRIV,FILE,HISTORY".into(), "#ops".into(), Some(60))
        );
        assert!(scope.has_verb(Verb::Msg) && scope.has_verb(Verb::Ping) && !scope.has_verb(Verb::Join));
        let target = |word| Target::parse(word).expect("a target").into_owned();
        assert!(scope.has_target(&target("#OPS")));
        assert!(!scope.has_target(&target("#lobby")) && !scope.has_target(&target("bob")));
        let all = Scope::parse("", "", "").expect("a scope");
        assert!(all.has_verb(Verb::Join) && all.has_target(&target("bob")));
        assert!(!all.has_verb(Verb::Token) && !all.has_verb(Verb::Password), "none widens itself");
        assert_eq!(Scope::parse(&scope.may(), &scope.rooms(), "60"), Ok(scope));
    }

    #[test]
    fn what_is_no_scope_is_told() {
        assert_eq!(Scope::parse("shout", "", ""), Err(ScopeError::Verb("shout".into())));
        assert_eq!(Scope::parse("token", "", ""), Err(ScopeError::Account("TOKEN")));
        assert!(
            Scope::parse(",", "", "").is_err() && Scope::parse("send", ",", "").is_err(),
            "nothing is not all"
        );
        assert_eq!(Scope::parse("send", "ops", ""), Err(ScopeError::Room("ops".into())));
        for rate in ["0", "fast", "-1", "1000001"] {
            assert_eq!(Scope::parse("send", "", rate), Err(ScopeError::Rate));
        }
    }
}
