//! The errors of connections and of commands.

use std::io;
use std::sync::Arc;

use snug_protocol::envelope::{Fingerprint, HandshakeError};

use crate::Address;

/// The reason why there is no connection.
///
/// ```
/// use snug_client::{Client, ConnectError, Name, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// let options = Options::new(["unix:/no/such/snug.sock".parse()?], Name::exactly("alice")?);
/// match Client::connect(options).await.err() {
///     Some(ConnectError::NoServer { address, .. }) => {
///         assert_eq!(address.to_string(), "unix:/no/such/snug.sock");
///     }
///     Some(ConnectError::Unknown { offered, .. }) => println!("is {offered} the right server?"),
///     other => panic!("unexpected: {other:?}"),
/// }
/// # Ok(()) })
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// None of the addresses accepted a connection.
    #[error("no server at {address}: {error}")]
    NoServer {
        /// The last address that was tried.
        address: Address,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The program that listens at the address is not a snug server.
    #[error("{address} is no snug server; it says {said:?}")]
    NotSnug {
        /// The address.
        address: Address,
        /// The line it sent, or a note that it sent no text.
        said: String,
    },
    /// The server's key is neither pinned nor remembered.
    #[error("{address} is not known; its fingerprint is {offered}")]
    Unknown {
        /// The address.
        address: Address,
        /// The fingerprint of the key that the server has proved to hold.
        offered: Fingerprint,
    },
    /// The server's key is not the one that is pinned or remembered. Either the server has a new key, or the
    /// connection is intercepted.
    #[error("{address} has another key than before: {offered} instead of {expected}")]
    Changed {
        /// The address.
        address: Address,
        /// The fingerprint that is pinned or remembered.
        expected: Fingerprint,
        /// The fingerprint of the key that the server has proved to hold.
        offered: Fingerprint,
    },
    /// The connection could not be sealed.
    #[error("the connection to {address} could not be sealed: {error}")]
    Handshake {
        /// The address.
        address: Address,
        /// The reason. If the server sent one, it is not authenticated.
        error: HandshakeError,
    },
    /// The server refused the connection, the nickname, the login or a room to join.
    #[error("{text}")]
    Refused {
        /// The word of the code. Parse it as a [`Code`](snug_protocol::Code) to match on it.
        code: String,
        /// What is wrong and what to do.
        text: String,
    },
    /// There is an account but its key cannot be used, or the lookup of the account failed.
    #[error("{error}")]
    Key {
        /// What is wrong with the key or the lookup.
        error: io::Error,
    },
    /// The connection broke, or timed out, while it was being made.
    #[error("the connection to {address} broke: {error}")]
    Lost {
        /// The address.
        address: Address,
        /// What went wrong, in most cases as the operating system reports it.
        error: io::Error,
    },
}

/// Why a connection ended.
///
/// ```
/// use snug_client::Loss;
///
/// let loss = Loss::Dismissed { code: "shutting-down".to_owned(), text: "the daemon is stopping".to_owned() };
/// assert_eq!(loss.to_string(), "the daemon is stopping");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The server closed the connection, and said nothing about it.
    #[error("the server closed the connection")]
    Closed,
    /// The server said why it ends the connection.
    #[error("{text}")]
    Dismissed {
        /// The word of the code. Parse it as a [`Code`](snug_protocol::Code) to match on it.
        code: String,
        /// Why, for people.
        text: String,
    },
    /// The server gave no sign of life in time.
    #[error("the server gives no sign of life")]
    Silent,
    /// The connection broke, or something on the way changed what was sent.
    #[error("{0}")]
    Broken(String),
    /// The server said something that this client cannot go on with.
    #[error("{0}")]
    Unusable(String),
}

/// The reason why a command was not answered with OK.
///
/// ```
/// use std::time::Duration;
///
/// use snug_client::RequestError;
///
/// /// Returns how long to wait before the command can be sent again.
/// fn wait_before_retry(error: &RequestError) -> Option<Duration> {
///     match error {
///         RequestError::Refused { retry: Some(seconds), .. } => Some(Duration::from_secs(*seconds)),
///         _ => None,
///     }
/// }
///
/// let (code, text) = ("slow-down".to_owned(), "too many messages; wait 3 seconds".to_owned());
/// let error = RequestError::Refused { code, text, retry: Some(3), offset: None };
/// assert_eq!(wait_before_retry(&error), Some(Duration::from_secs(3)));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection was lost before the answer came, and the client has given up reconnecting.
    #[error("the connection was lost before the answer came, and {0}")]
    GaveUp(Arc<ConnectError>),
    /// The server refused the command.
    #[error("{text}")]
    Refused {
        /// The word of the code. Parse it as a [`Code`](snug_protocol::Code) to match on it.
        code: String,
        /// What is wrong and what to do.
        text: String,
        /// Seconds to wait before the command is sent again, if the server gives them.
        retry: Option<u64>,
        /// The byte offset at which an upload has to continue, if the server gives one.
        offset: Option<u64>,
    },
    /// The connection was lost before the answer came, and the client does not reconnect or must not repeat the
    /// command.
    #[error("the connection was lost before the answer came ({reason})")]
    Lost {
        /// Why the connection was lost.
        reason: String,
    },
    /// The command does not make a line: one of its words is empty or contains a space or a newline. It was not sent.
    #[error("a word of it holds a space, a newline or nothing at all")]
    Malformed,
    /// The command does not fit a line. It was not sent.
    #[error("the line has {length} bytes, the limit is {limit}")]
    TooLong {
        /// The length of the line in bytes.
        length: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
}

/// Why [`Client::tell`](crate::Client::tell) did not take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TellError {
    /// 256 commands wait to be sent. Take events, and try again.
    #[error("too many commands wait to be sent; try again when some are answered")]
    Full,
    /// The driver has stopped.
    #[error("the connection is closed")]
    Closed,
    /// The command does not make a line: one of its words is empty or contains a space or a newline.
    #[error("a word of it holds a space, a newline or nothing at all")]
    Malformed,
}
