//! The envelope: how a connection is sealed. Sans-IO: lines in, lines out, randomness as an argument, no clock.
//!
//! `PROTOCOL.md` has the specification, section by section; the project carries its test vectors. Stages are types:
//!
//! ```text
//!   client                                                    server
//!   ClientHandshake::start ── HELLO … ──────────────────────> accept
//!   AwaitingIdentity <──────── HELLO …, envelope(IDENTITY) ──    │
//!   Offered: whose key is it? ── trust ──> Channel            Channel
//! ```
//!
//! A [`Channel`] is two halves, a [`Sealer`] and an [`Opener`], that can go to two tasks.
//!
//! The server proves with its Ed25519 key that it took part in this very handshake. Who was in the middle the first
//! time could have offered a key of his own: a client closes that gap with a pinned [`Fingerprint`], with the key it
//! remembers, by asking a person, or with a [`Psk`]. Nothing is sent before that.

mod base64;

mod secret;
pub use secret::{Binding, Psk};

mod hello;

mod identity;
pub use identity::{ClientKey, Fingerprint, IdentityError, PublicKey, ServerKey};

mod kem;

mod handshake;
pub use handshake::{
    AwaitingIdentity, Channel, ClientHandshake, ClientOptions, Offered, ServerOptions, accept,
};

mod record;
pub use record::{Opened, Opener, Padding, Sealer};

use zeroize::Zeroizing;

/// The version that both hellos name.
const VERSION: &str = "snug/1";

/// Longest line in bytes, without its LF, before the channel is open and until the client is authenticated.
pub const LINE_BEFORE_OPEN: usize = 4_096;

/// Longest line in bytes, without its LF, of an open channel: base64 of a full record.
pub const LINE_OPEN: usize = 87_404;

/// Most bytes of a record's payload: what is left of 65,536 for the payload's type.
pub const PAYLOAD: usize = 65_535;

/// Records that one key may seal; the last is a key update (or the end).
pub const RECORDS_PER_KEY: u64 = 1 << 20;

/// Doors to the inside for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod hazmat {
    use super::{Opened, hello, record};

    /// Reads a hello as either side does; gives whether it is one.
    pub fn is_hello(line: &str) -> bool {
        hello::Hello::parse(line).is_ok()
    }

    /// Takes an inner text apart, as if it had just been opened.
    pub fn parse_inner(inner: Vec<u8>) -> Option<Opened> {
        record::parse_inner(inner)
    }
}

/// Writes 32 bytes of a key as files and lines have them. The text is wiped when it goes.
pub fn encode_key(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(base64::encode_string(bytes))
}

/// Reads what [`encode_key`] wrote, in that spelling and no other.
pub fn decode_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    base64::decode(text).map(Zeroizing::new)
}

/// Writes a public key as lines have it.
pub fn encode_public_key(key: &PublicKey) -> String {
    base64::encode_string(key.as_bytes())
}

/// Reads a public key from a line; `None` if it is none, or a weak one.
pub fn decode_public_key(text: &str) -> Option<PublicKey> {
    base64::decode(text).and_then(|bytes| PublicKey::new(bytes).ok())
}

/// Writes a signature as lines have it.
pub fn encode_signature(signature: &[u8; 64]) -> String {
    base64::encode_string(signature)
}

/// Reads a signature from a line.
pub fn decode_signature(text: &str) -> Option<[u8; 64]> {
    base64::decode(text)
}

/// Why a handshake fails at the server. The code goes to the client as `ERR HELLO <code> <text>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// No version in common.
    #[error("this daemon speaks snug/1")]
    Version,
    /// Malformed, or its share cannot be used.
    #[error("the hello is malformed: HELLO snug/1 <base64 of an X25519 key> [options]")]
    Hello,
    /// The server-wide key is missing or another one.
    #[error("this server asks for its pre-shared key")]
    Psk,
}

impl AcceptError {
    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            AcceptError::Version => "version",
            AcceptError::Hello => "hello",
            AcceptError::Psk => "psk",
        }
    }
}

/// Why a handshake fails at the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server refused. It is not authenticated: show it, and never act on it.
    #[error("whoever answers refuses, and is not authenticated: {code} ({text})")]
    Refused {
        /// Its code, as it stood on the line.
        code: String,
        /// Its text, as it stood on the line.
        text: String,
    },
    /// The server's hello is malformed or has what was not offered.
    #[error("the server's hello is malformed")]
    Hello,
    /// An option that this client insists on is not in the server's hello.
    #[error("the server does not answer the option {0}, which this client insists on")]
    Missing(&'static str),
    /// The server's identity does not open or its signature is wrong: somebody is in the middle, or the pre-shared
    /// key is another one.
    #[error("the server could not prove its identity")]
    Identity,
    /// The random source failed.
    #[error("the system's random source failed")]
    Random,
}

/// Why a record cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The payload has more than [`PAYLOAD`] bytes, or lines that the record's type does not allow.
    #[error("the payload does not fit a record")]
    Payload,
    /// The direction was closed.
    #[error("the channel is closed")]
    Closed,
}

/// Why a record does not open. One opaque reason: whoever made it learns nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an envelope could not be opened")]
pub struct OpenError;

#[cfg(test)]
mod tests;
