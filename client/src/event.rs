//! What happens on a connection, and what commands are answered.

use std::sync::Arc;

use snug_protocol::{Cursor, LogName, ServerLine, Timestamp};

use crate::Address;
use crate::error::ConnectError;

/// What happens on a connection, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A name is held, at first or again.
    Connected {
        /// The address that was connected to.
        address: Address,
        /// The name.
        nick: String,
        /// The newest entry of the daemon's log at that moment. Another log than before has ids of its own.
        cursor: Cursor,
    },
    /// Everything up to this cursor has been an event; what comes now comes as it happens.
    Live {
        /// The cursor to go on from another time.
        cursor: Cursor,
    },
    /// Entries are not there any more that one would have seen.
    Gap {
        /// The room or person, or `*` for the whole log.
        target: String,
        /// The first id, or where the target is `*` a cursor.
        from: String,
        /// The last id, or where the target is `*` the cursor from which it goes on.
        to: String,
    },
    /// The connection is lost. If the options say so, the client comes back.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// The client does not try to come back any more: that makes no difference, or takes too long.
    GaveUp {
        /// Why the last try failed.
        error: Arc<ConnectError>,
    },
    /// The daemon said something that answers nothing: an entry, presence, a notice that it ends the connection.
    Line(Received),
}

/// A line of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub(crate) text: String,
    /// The bytes that it has announced.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The log that its id belongs to.
    pub(crate) log: LogName,
}

impl Received {
    /// What it says.
    pub fn line(&self) -> ServerLine<'_> {
        let unknown = snug_protocol::Body::Unknown { verb: "", rest: None };
        ServerLine::parse(&self.text).unwrap_or_else(|| ServerLine::new(unknown))
    }

    /// The bytes that came behind the line, if it has announced some.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The line as it came, without its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The place of the entry, if it is one: whoever goes on from there misses nothing after it.
    pub fn cursor(&self) -> Option<Cursor> {
        self.line().id().map(|id| Cursor { log: Some(self.log), id })
    }
}

/// What a command was answered: its rows and its OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rows, in order.
    pub rows: Vec<Received>,
    /// The OK.
    pub ok: Received,
}

impl Answer {
    /// The id of the entry that the command made.
    pub fn id(&self) -> Option<u64> {
        self.ok.line().id()
    }

    /// When the entry was made.
    pub fn time(&self) -> Option<Timestamp> {
        self.ok.line().time()
    }
}
