//! The origins of sessions.

use std::net::IpAddr;

use crate::config::Plaintext;
use snug_protocol::Role;

/// The origin of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Over TCP.
    Tcp(IpAddr),
    /// Over the Unix socket, from the user with this id.
    Unix(u32),
    /// From the embedding program.
    Embedder(Role),
    /// From a bot of this daemon.
    Bot,
}

impl Origin {
    /// Returns the address under which its sessions are counted. For IPv6 that is the /64 network, because one user
    /// has all of it (RFC 6177). `None` for sessions from this machine, which are exempt.
    pub(crate) fn counted_address(self) -> Option<IpAddr> {
        match self {
            Origin::Tcp(address) if address.is_loopback() => None,
            Origin::Tcp(address) => Some(network_of(address)),
            Origin::Unix(_) | Origin::Embedder(_) | Origin::Bot => None,
        }
    }

    /// Returns whether it may be anybody, so that only few sessions without a name are admitted.
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Origin::Tcp(_))
    }

    /// Returns whether unencrypted lines are refused from there.
    pub(crate) fn must_seal(self, plaintext: Plaintext) -> bool {
        match plaintext {
            Plaintext::Never => self.is_tcp(),
            // Unencrypted lines would cross a network.
            Plaintext::Loopback => self.counted_address().is_some(),
            Plaintext::Anywhere => false,
        }
    }

    /// Returns whether its lines per second are limited.
    pub(crate) fn is_throttled(self) -> bool {
        matches!(self, Origin::Tcp(_) | Origin::Unix(_))
    }

    /// Returns the address, if it came over TCP.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Origin::Tcp(address) => Some(address),
            Origin::Unix(_) | Origin::Embedder(_) | Origin::Bot => None,
        }
    }

    /// Returns the source as which limits count it.
    pub(crate) fn source(self) -> Source {
        match self {
            Origin::Tcp(address) => Source::Network(network_of(address)),
            Origin::Unix(user) => Source::User(user),
            Origin::Embedder(_) | Origin::Bot => Source::Inside,
        }
    }
}

/// Whose turn it is where users take turns. All guests of one address are one, because one person can be all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// An address; for IPv6 the network.
    Network(IpAddr),
    /// An identity, on this machine.
    Identity(u64),
    /// The daemon itself.
    Daemon,
}

/// The source of an attempt, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An address; for IPv6 the network.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
    /// The embedding program, and bots.
    Inside,
}

/// Returns the address as limits count it. For IPv6 that is the /64 network, because one user has all of it.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        IpAddr::V4(_) => address,
    }
}
