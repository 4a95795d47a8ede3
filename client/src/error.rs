//! What can go wrong with a connection and with a command.

use std::io;
use std::sync::Arc;

use snug_protocol::envelope::{Fingerprint, HandshakeError};

use crate::Address;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing takes connections at any of the addresses.
    #[error("no server at {address}: {error}")]
    NoServer {
        /// The last address that was tried.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
    /// What is there is no snug daemon.
    #[error("{address} is no snug server; it says {said:?}")]
    NotSnug {
        /// The address.
        address: Address,
        /// What it said.
        said: String,
    },
    /// The server's key is neither pinned nor known.
    #[error("{address} is not known; its fingerprint is {offered}")]
    Unknown {
        /// The address.
        address: Address,
        /// The fingerprint of the key that it has proved to hold.
        offered: Fingerprint,
    },
    /// The server's key is another one than was pinned or known: it was changed, or somebody is in the middle.
    #[error("{address} has another key than before: {offered} instead of {expected}")]
    Changed {
        /// The address.
        address: Address,
        /// The fingerprint that it should have.
        expected: Fingerprint,
        /// The fingerprint of the key that it has proved to hold.
        offered: Fingerprint,
    },
    /// The connection could not be sealed.
    #[error("the connection to {address} could not be sealed: {error}")]
    Handshake {
        /// The address.
        address: Address,
        /// Why. What the server said about it is not authenticated.
        error: HandshakeError,
    },
    /// The daemon refused the connection or the name.
    #[error("{text}")]
    Refused {
        /// The code's word.
        code: String,
        /// What is wrong and what to do.
        text: String,
    },
    /// There is an account, and its key cannot be used.
    #[error("{error}")]
    Key {
        /// What is wrong with it.
        error: io::Error,
    },
    /// The connection broke while it was made.
    #[error("the connection to {address} broke: {error}")]
    Lost {
        /// The address.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a command has no OK.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection was lost before the answer came, and could not be made again.
    #[error("the connection was lost before the answer came, and {0}")]
    GaveUp(Arc<ConnectError>),
    /// The daemon refused it.
    #[error("{text}")]
    Refused {
        /// The code's word.
        code: String,
        /// What is wrong and what to do.
        text: String,
        /// After how many seconds to try again, if the daemon says so.
        retry: Option<u64>,
        /// Where in a file to go on, if it is about that.
        offset: Option<u64>,
    },
    /// The connection was lost before the answer came, and is not made again or the command cannot be repeated.
    #[error("the connection was lost before the answer came ({reason})")]
    Lost {
        /// Why.
        reason: String,
    },
    /// It is no command that can be said in a line: a word of it holds a space or a newline. It was not sent.
    #[error("a word of it holds a space, a newline or nothing at all")]
    Malformed,
    /// It does not fit a line, so that it was not sent.
    #[error("the line has {length} bytes, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
