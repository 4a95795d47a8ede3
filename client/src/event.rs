//! The events of a connection, and the answers to commands.

use std::sync::Arc;
use std::time::Instant;

use snug_protocol::{Cursor, LogName, ServerLine, Timestamp};

use crate::Address;
use crate::error::{ConnectError, Loss, RequestError};

/// An event of a connection. Events come in the order in which they happen.
///
/// ```
/// use snug_client::{Event, Loss};
///
/// fn describe(event: &Event) -> String {
///     match event {
///         Event::Connected { nick, .. } => format!("connected as {nick}"),
///         Event::Gap { target, from, to } => format!("{target}: entries {from} to {to} are missing"),
///         Event::Disconnected { loss } => format!("connection lost: {loss}"),
///         Event::Line(received) => received.as_str().to_owned(),
///         _ => String::new(),
///     }
/// }
///
/// let event = Event::Disconnected { loss: Loss::Silent };
/// assert_eq!(describe(&event), "connection lost: the server gives no sign of life");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The client tries to connect.
    Connecting,
    /// There is no connection. The client tries again by itself at a moment, or at
    /// [`Client::retry_now`](crate::Client::retry_now).
    Waiting {
        /// When the next attempt is made.
        until: Instant,
        /// Why the last attempt failed; `None` if a connection has just been lost.
        error: Option<Arc<ConnectError>>,
    },
    /// The client has connected or reconnected, and holds a nickname.
    Connected {
        /// The server's address.
        address: Address,
        /// The nickname.
        nick: String,
        /// The newest entry of the server's log at that moment. If the name of the log has changed, it is another
        /// log, with ids of its own.
        cursor: Cursor,
    },
    /// The client is up to date: everything up to the cursor was an event. From now on, events come as they happen.
    Live {
        /// The cursor from which to resume another time.
        cursor: Cursor,
    },
    /// What was missed is being fetched: entries up to this point were events.
    CatchingUp {
        /// How far it is, counted in ids of the log.
        done: u64,
        /// How far it was to go.
        of: u64,
    },
    /// More was missed than [`Options::catch_up`](crate::Options::catch_up) lets be fetched. These entries are no events; HISTORY
    /// has them.
    Skipped {
        /// The place after which they are.
        after: Cursor,
        /// The last of them.
        upto: Cursor,
    },
    /// Entries that you would have seen are not available any more.
    Gap {
        /// The room or user, or `*` for the whole log.
        target: String,
        /// The first missing id. If the target is `*`, it is a cursor.
        from: String,
        /// The last missing id. If the target is `*`, it is the cursor after which events continue.
        to: String,
    },
    /// The server does not let the client into a room that it was to join, or was in before the connection was lost. It is
    /// not joined again.
    RoomRefused {
        /// The room.
        room: String,
        /// The word of the code. Parse it as a [`Code`](snug_protocol::Code) to match on it.
        code: String,
        /// Why, and what to do.
        text: String,
    },
    /// The connection is lost. If the options say so, the client reconnects.
    Disconnected {
        /// Why the connection was lost.
        loss: Loss,
    },
    /// The client has given up reconnecting: another attempt cannot succeed, the time for it is over, or the server has put
    /// the client out (`kicked`, `banned`): then somebody has to decide to come back.
    GaveUp {
        /// Why the last attempt failed.
        error: Arc<ConnectError>,
    },
    /// The answer to a command of [`Client::tell`](crate::Client::tell), at its place among the other events.
    Answered {
        /// The command.
        ticket: Ticket,
        /// Its answer.
        answer: Result<Answer, RequestError>,
    },
    /// The server sent a line that answers no command: an entry, presence, or a notice that it ends the connection.
    Line(Received),
}

/// A command that [`Client::tell`](crate::Client::tell) has handed over. Its answer is an
/// [`Event::Answered`](crate::Event::Answered) with the same ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// A line from the server, with the bytes behind it. You get it from [`Event::Line`] and in an [`Answer`].
///
/// ```
/// use snug_client::Received;
/// use snug_protocol::{Body, EntryKind};
///
/// /// Returns the sender and the text of a message to a room.
/// fn message(received: &Received) -> Option<(String, String)> {
///     let line = received.line();
///     match line.body {
///         Body::Entry { kind: EntryKind::Msg, text: Some(text), .. } => {
///             Some((line.from?.to_owned(), text.into_owned()))
///         }
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub(crate) text: String,
    /// The bytes that the line announced.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The log that the line's id belongs to.
    pub(crate) log: LogName,
}

impl Received {
    /// A line that was received before and kept, without its newline, and the log that its id belongs to.
    ///
    /// ```
    /// use snug_client::{Kind, Received, Typed};
    /// use snug_protocol::LogName;
    ///
    /// let kept = Received::kept("@id=7 :bob MSG #lobby hello", LogName(1));
    /// let Typed::Entry(entry) = kept.typed() else { panic!("an entry") };
    /// assert_eq!(entry.kind, Kind::Message { text: Some("hello".to_owned()) });
    /// ```
    pub fn kept(line: impl Into<String>, log: LogName) -> Received {
        Received { text: line.into(), bytes: None, log }
    }

    /// Parses the line. A line that does not follow the grammar is a [`Body::Unknown`](snug_protocol::Body::Unknown)
    /// without a verb.
    pub fn line(&self) -> ServerLine<'_> {
        let unknown = snug_protocol::Body::Unknown { verb: "", rest: None };
        ServerLine::parse(&self.text).unwrap_or_else(|| ServerLine::new(unknown))
    }

    /// Returns the bytes that came behind the line, if it announced some.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// Returns the line as the server sent it, without its newline.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the cursor of the entry, if the line is one. If you resume from it, you miss nothing after the entry.
    ///
    /// ```
    /// use snug_client::Event;
    /// use snug_protocol::Cursor;
    ///
    /// /// Returns the cursor to store, and to set as `Options::since` another time.
    /// fn resume_from(events: &[Event]) -> Option<Cursor> {
    ///     events.iter().rev().find_map(|event| match event {
    ///         Event::Line(received) => received.cursor(),
    ///         Event::Live { cursor } => Some(*cursor),
    ///         _ => None,
    ///     })
    /// }
    ///
    /// let cursor = Cursor::at(118);
    /// assert_eq!(resume_from(&[Event::Live { cursor }]), Some(cursor));
    /// ```
    pub fn cursor(&self) -> Option<Cursor> {
        self.line().id().map(|id| Cursor { log: Some(self.log), id })
    }
}

/// The answer to a command: its rows and its OK.
///
/// ```
/// use snug_client::Answer;
/// use snug_protocol::Body;
///
/// /// Returns the nicknames in the answer to WHO.
/// fn nicknames(answer: &Answer) -> Vec<String> {
///     let nicknames = answer.rows.iter().filter_map(|row| match row.line().body {
///         Body::User { nick, .. } => Some(nick.to_owned()),
///         _ => None,
///     });
///     nicknames.collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rows, in order.
    pub rows: Vec<Received>,
    /// The line with the OK.
    pub ok: Received,
}

impl Answer {
    /// Returns the id of the entry that the command made, if it made one.
    ///
    /// ```
    /// use snug_client::Answer;
    ///
    /// fn receipt(answer: &Answer) -> String {
    ///     match (answer.id(), answer.time()) {
    ///         (Some(id), Some(time)) => format!("entry {id}, {time}"),
    ///         _ => answer.ok.as_str().to_owned(),
    ///     }
    /// }
    /// ```
    pub fn id(&self) -> Option<u64> {
        self.ok.line().id()
    }

    /// Returns when the entry was made, if the command made one.
    pub fn time(&self) -> Option<Timestamp> {
        self.ok.line().time()
    }
}
