//! Who has written something, and where it belongs.

use std::net::IpAddr;

use snug_protocol::Role;

/// Who wrote an entry, as it will be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Author {
    /// The identity's number; 0 for the daemon itself.
    pub(crate) number: u64,
    /// Its nick at that time.
    pub(crate) nick: String,
    /// Whether it is a bot.
    pub(crate) bot: bool,
    /// What it is by the way it came, whatever its account says.
    pub(crate) by_origin: Role,
    /// From where it came, if over a network.
    pub(crate) address: Option<IpAddr>,
}

/// An identity as the log remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityRecord {
    pub(crate) number: u64,
    pub(crate) nick: String,
    /// The form in which nicks are compared.
    pub(crate) fold: String,
    /// What shows that a session is theirs, as `registry` writes it.
    pub(crate) proof: String,
    pub(crate) bot: bool,
}

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversation {
    /// In a room, by its number.
    Room(u64),
    /// Between its author and one other identity, by that one's number.
    With(u64),
}
