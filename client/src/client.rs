//! The handle on a connection, and what comes of it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use ring::rand::{SecureRandom, SystemRandom};
use snug_protocol::envelope::{Fingerprint, HandshakeError};
use snug_protocol::{Command, Cursor, LogName, NameError, Nick, RoomName, ServerLine, Timestamp};

use crate::driver::{Driver, Job, Reply};
use crate::{Accounts, Address, MemoryTokens, NoAccounts, Tokens, Trust};

/// How a client connects.
#[derive(Clone)]
pub struct Options {
    /// Where the daemon may be; the first that takes a connection is it.
    pub addresses: Vec<Address>,
    /// The name to hold.
    pub name: Name,
    /// Whether to join nothing and not be announced.
    pub quiet: bool,
    /// Rooms to join, now and after each reconnect.
    pub rooms: Vec<RoomName<'static>>,
    /// The entry after which events begin; `None` for what comes from now on. After a reconnect they go on where they
    /// broke off, whatever this says.
    pub since: Option<Cursor>,
    /// Whether to tell the daemon that private messages have arrived: not if nobody reads the events.
    pub acknowledge: bool,
    /// Which account one has where. Without one the name is a guest's.
    pub accounts: Arc<dyn Accounts>,
    /// Where guests' tokens are kept.
    pub tokens: Arc<dyn Tokens>,
    /// Which servers are the right ones. Over TCP a server that is neither pinned nor known is refused.
    pub trust: Trust,
    /// How long to try to come back when the connection is lost, to repeat what was not answered. Zero is not at all.
    pub reconnect: Duration,
    /// How long a connection may take to be made.
    pub patience: Duration,
    /// The longest wait between two tries to come back.
    pub longest_wait: Duration,
    /// Silence after which the daemon is asked for a sign of life; twice that, and the connection is lost.
    pub ping: Duration,
}

impl Options {
    /// Connects to the first of `addresses` that can be had, as `name`, and comes back when the connection is lost.
    pub fn new(addresses: impl IntoIterator<Item = Address>, name: Name) -> Options {
        Options {
            addresses: addresses.into_iter().collect(),
            name,
            quiet: false,
            rooms: Vec::new(),
            since: None,
            acknowledge: true,
            accounts: Arc::new(NoAccounts),
            tokens: Arc::new(MemoryTokens::default()),
            trust: Trust::default(),
            reconnect: Duration::MAX,
            patience: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            ping: Duration::from_secs(45),
        }
    }
}

/// The name a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(crate) nick: Nick<'static>,
    pub(crate) numbered: bool,
}

impl Name {
    /// How many numbers are tried.
    const NUMBERS: u32 = 99;

    /// This name and no other.
    ///
    /// # Errors
    /// It is no nick.
    pub fn exactly(nick: &str) -> Result<Name, NameError> {
        Ok(Name { nick: Nick::parse(nick)?.into_owned(), numbered: false })
    }

    /// This name, or if somebody else has it `name-2`, `name-3` and so on. What is no nick becomes `guest`.
    pub fn or_numbered(nick: &str) -> Name {
        let nick = Nick::parse(nick).or_else(|_| Nick::parse("guest")).expect("guest is a nick");
        Name { nick: nick.into_owned(), numbered: true }
    }

    /// Whether an account of that name is who is meant: it is the name, or no name was asked for in particular.
    pub(crate) fn may_be(&self, account: &str) -> bool {
        self.numbered || Nick::parse(account).is_ok_and(|account| account.fold() == self.nick.fold())
    }

    /// The nicks to try, in order.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Nick<'static>> {
        let last = if self.numbered { Name::NUMBERS } else { 1 };
        let base: String = self.nick.as_str().chars().take(snug_protocol::limits::NICK - 3).collect();
        let numbered = (2..=last)
            .filter_map(move |number| Nick::parse(&format!("{base}-{number}")).ok().map(Nick::into_owned));
        std::iter::once(self.nick.clone()).chain(numbered)
    }
}

/// A connection, from outside. Clones are the same connection's.
#[derive(Clone)]
pub struct Client {
    jobs: Sender<Job>,
    random: SystemRandom,
}

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

impl Client {
    /// How many commands may wait for the driver before the next one waits for them.
    const JOBS: usize = 256;

    /// How many events may wait to be taken before the driver reads no more.
    const EVENTS: usize = 1_024;

    /// Connects and takes the name. The driver has to run for anything to happen after that. Events have to be
    /// taken, or their receiver dropped: a connection whose events pile up is not read.
    ///
    /// # Errors
    /// A [`ConnectError`] that says why there is no connection. Later losses are events.
    pub async fn connect(options: Options) -> Result<(Client, Receiver<Event>, Driver), ConnectError> {
        let (jobs, waiting) = async_channel::bounded(Client::JOBS);
        let (events, receiver) = async_channel::bounded(Client::EVENTS);
        let driver = Driver::connect(options, waiting, events).await?;
        Ok((Client { jobs, random: SystemRandom::new() }, receiver, driver))
    }

    /// Says a command and waits for its answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn ask(&self, command: Command<'_>) -> Result<Answer, RequestError> {
        self.begin(command).await.answer().await
    }

    /// Hands a command to the driver without waiting for its answer, so that many can be under way. They take
    /// effect, and are answered, in the order in which they were handed over. Waits while too many are.
    ///
    /// A message without a key gets one, so that it can be repeated after a loss without being said twice.
    pub async fn begin(&self, command: Command<'_>) -> Pending {
        self.begin_with(command, None).await
    }

    /// Says a command with bytes behind it, and waits for its answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn ask_with(&self, command: Command<'_>, bytes: Vec<u8>) -> Result<Answer, RequestError> {
        self.begin_with(command, Some(Arc::new(bytes))).await.answer().await
    }

    pub(crate) async fn begin_with(&self, mut command: Command<'_>, bytes: Option<Arc<Vec<u8>>>) -> Pending {
        if let Command::Msg { tags, .. } | Command::Priv { tags, .. } = &mut command
            && tags.key.is_none()
        {
            tags.key = Some(self.random_key().into());
        }
        if let Command::Edit { key: key @ None, .. } = &mut command {
            *key = Some(self.random_key().into());
        }
        let (reply, answer) = async_channel::bounded(1);
        let (unanswered, answered) = async_channel::bounded(1);
        let reply = Reply { answer: reply, _unanswered: unanswered };
        // Words are written as they are; those of messages are checked by their types.
        let is_message = matches!(command, Command::Msg { .. } | Command::Priv { .. });
        if !is_message && !reads_back(&command) {
            let _ = reply.answer.try_send(Err(RequestError::Malformed));
            drop(reply);
            return Pending { answer, answered };
        }
        let request = match &bytes {
            None => write(&command),
            Some(bytes) => {
                let mut request = format!("@bytes={}", bytes.len()).into_bytes();
                let written = write(&command);
                request.push(if written.starts_with(b"@") { b';' } else { b' ' });
                request.extend_from_slice(written.strip_prefix(b"@").unwrap_or(&written));
                request
            }
        };
        let job = Job { request, bytes, is_repeatable: command.is_repeatable(), reply };
        // If the driver is gone, so is the reply's sender: the answer says so.
        let _ = self.jobs.send(job).await;
        Pending { answer, answered }
    }

    /// Takes no more commands; the driver ends when the last one is answered.
    pub fn finish(&self) {
        self.jobs.close();
    }

    fn random_key(&self) -> String {
        let mut bytes = [0; 10];
        // Without randomness the key is a constant, and the daemon refuses the second text under it.
        let _ = self.random.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A command whose answer is still to come.
pub struct Pending {
    answer: Receiver<Result<Answer, RequestError>>,
    /// Closed when the answer is there.
    answered: Receiver<Infallible>,
}

impl Pending {
    /// The answer to nothing: there is none.
    pub(crate) fn nothing() -> Pending {
        Pending { answer: async_channel::bounded(1).1, answered: async_channel::bounded(1).1 }
    }

    /// As [`Pending::answer`]; what answers nothing is done.
    pub(crate) async fn answer_if_any(self) -> Result<(), RequestError> {
        match self.answer.recv().await {
            Ok(answer) => answer.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the answer is there, without taking it.
    pub async fn ready(&self) {
        // Nothing is ever sent: this ends when the channel is closed.
        let _ = self.answered.recv().await;
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn answer(self) -> Result<Answer, RequestError> {
        let lost = |_| Err(RequestError::Lost { reason: "the connection is closed".to_owned() });
        self.answer.recv().await.unwrap_or_else(lost)
    }
}

/// Whether what would be said is what is meant.
fn reads_back(command: &Command<'_>) -> bool {
    let written = write(command);
    let Ok(line) = std::str::from_utf8(&written[..written.len() - 1]) else { return false };
    let Ok(line) = snug_protocol::Line::parse(line) else { return false };
    !written[..written.len() - 1].contains(&b'\n')
        && snug_protocol::Request::parse(&line).is_ok_and(|read| read.command == *command)
}

/// The command as a line, without tags of the whole request: the driver adds those.
fn write(command: &Command<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    snug_protocol::Request { label: None, command: command.clone() }.write(&mut line);
    line
}
