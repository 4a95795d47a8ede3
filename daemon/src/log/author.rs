//! The author of an entry, and the conversation it belongs to.

use std::net::IpAddr;

use snug_protocol::Role;

/// The author of an entry, as other users see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Author {
    /// The identity's number; 0 for the daemon itself.
    pub(crate) number: u64,
    /// Its nick at that time.
    pub(crate) nick: String,
    /// Whether the identity is a bot.
    pub(crate) bot: bool,
    /// Whether it has an account; not known of an author of a stored entry, whose tags say it.
    pub(crate) account: bool,
    /// The role that its connection gives it, whatever its account's role is.
    pub(crate) by_origin: Role,
    /// The address it connected from, if over a network.
    pub(crate) address: Option<IpAddr>,
}

/// An identity as the log remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityRecord {
    pub(crate) number: u64,
    pub(crate) nick: String,
    /// The form in which nicks are compared.
    pub(crate) fold: String,
    /// The proof that a session belongs to this identity, as `registry` writes it.
    pub(crate) proof: String,
    pub(crate) bot: bool,
}

/// The conversation that an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversation {
    /// A room, by its number.
    Room(u64),
    /// The author and one other identity, by the other's number. Where they have no private messages, it may be
    /// one who had the same name.
    With(u64),
    /// The author and exactly this other identity.
    Pair(u64),
}

impl Conversation {
    /// Returns the number of the room, if it is one.
    pub(crate) fn room(self) -> Option<u64> {
        match self {
            Conversation::Room(room) => Some(room),
            Conversation::With(_) | Conversation::Pair(_) => None,
        }
    }

    /// Returns the number of the other identity, if it is private.
    pub(crate) fn other(self) -> Option<u64> {
        match self {
            Conversation::Room(_) => None,
            Conversation::With(other) | Conversation::Pair(other) => Some(other),
        }
    }
}
