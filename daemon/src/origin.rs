//! Where sessions come from.

use std::net::IpAddr;

use crate::config::Plaintext;
use snug_protocol::Role;

/// From where a session comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Over TCP.
    Tcp(IpAddr),
    /// Over the Unix socket, from this user.
    Unix(u32),
    /// From the program around the daemon.
    Embedder(Role),
    /// From a bot of the daemon's own.
    Bot,
}

impl Origin {
    /// The address whose sessions are counted; of IPv6 the network, which one person has all of (RFC 6177). Whoever
    /// is on this machine is exempt.
    pub(crate) fn counted_address(self) -> Option<IpAddr> {
        match self {
            Origin::Tcp(address) if address.is_loopback() => None,
            Origin::Tcp(address) => Some(network_of(address)),
            Origin::Unix(_) | Origin::Embedder(_) | Origin::Bot => None,
        }
    }

    /// Whether it may be anybody, so that few of them are let in without a name.
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Origin::Tcp(_))
    }

    /// Whether lines in the clear are not taken from there.
    pub(crate) fn must_seal(self, plaintext: Plaintext) -> bool {
        match plaintext {
            Plaintext::Never => self.is_tcp(),
            // Lines in the clear would cross a network.
            Plaintext::Loopback => self.counted_address().is_some(),
            Plaintext::Anywhere => false,
        }
    }

    /// Whether its lines per second are limited.
    pub(crate) fn is_throttled(self) -> bool {
        matches!(self, Origin::Tcp(_) | Origin::Unix(_))
    }

    /// The address, if it is one of a network.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Origin::Tcp(address) => Some(address),
            Origin::Unix(_) | Origin::Embedder(_) | Origin::Bot => None,
        }
    }

    /// From where it comes, as limits count it.
    pub(crate) fn source(self) -> Source {
        match self {
            Origin::Tcp(address) => Source::Network(network_of(address)),
            Origin::Unix(user) => Source::User(user),
            Origin::Embedder(_) | Origin::Bot => Source::Inside,
        }
    }
}

/// From where somebody tries something, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An address; of IPv6 the network.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
    /// The program around the daemon, and its bots.
    Inside,
}

/// The address as limits count it: of IPv6 the network, which one person has all of.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        IpAddr::V4(_) => address,
    }
}
