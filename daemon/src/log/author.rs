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
    /// The author and one other identity, by the other's number.
    With(u64),
}
