//! The handle through which a program uses a connection.

use std::sync::Arc;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_channel::{Sender, TrySendError};
use ring::rand::{SecureRandom, SystemRandom};
use snug_protocol::Command;

use crate::control::{Control, Counters, Shared};
use crate::driver::Driver;
use crate::error::{ConnectError, RequestError, TellError};
use crate::event::{Answer, Received, Ticket};
use crate::events::{self, Events};
use crate::options::Options;
use crate::request::{Job, Pending, Reply};

/// A handle on a connection. Clones share the same connection.
///
/// This program sends one message and stops:
///
/// ```no_run
/// use snug_client::{Client, Name, Options};
/// use snug_protocol::{Command, MessageTags, RoomName};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// let mut options = Options::new(["chat.example".parse()?], Name::or_numbered("builder"));
/// options.acknowledge = false; // The program reads no events.
/// let (client, _, driver) = Client::connect(options).await?;
/// let driver = smol::spawn(driver.run());
/// let (room, text) = (RoomName::LOBBY, "build 17 passed".into());
/// client.ask(Command::Msg { room, text, tags: MessageTags::default() }).await?;
/// client.finish();
/// driver.await;
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    jobs: Sender<Job<Reply>>,
    controls: Sender<Control>,
    shared: Arc<Shared>,
    /// The number of the last ticket.
    tickets: Arc<AtomicU64>,
    random: SystemRandom,
}

impl Client {
    /// Maximum number of commands that wait for the driver. While there are so many, [`Client::begin`] waits.
    const JOBS: usize = 256;

    /// Maximum number of requests that wait for the driver. More of them ask for nothing new.
    const CONTROLS: usize = 4;

    /// Connects, takes the nickname and joins the rooms of the options. After that, nothing is sent or received
    /// unless [`Driver::run`] runs.
    ///
    /// Receive the events, or drop them ([`Events`]).
    ///
    /// ```no_run
    /// use snug_client::{Client, Event, Name, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// let options = Options::new(["unix:/run/user/1000/snug.sock".parse()?], Name::exactly("alice")?);
    /// let (client, events, driver) = Client::connect(options).await?;
    /// smol::spawn(driver.run()).detach();
    /// while let Ok(event) = events.recv().await {
    ///     if let Event::Connected { nick, address, .. } = event {
    ///         println!("connected to {address} as {nick}");
    ///     }
    /// }
    /// # drop(client);
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if no connection can be made. A later loss is an event instead.
    pub async fn connect(options: Options) -> Result<(Client, Events, Driver), ConnectError> {
        let (client, events, mut driver) = Client::start(options);
        driver.connect().await?;
        Ok((client, events, driver))
    }

    /// Begins without a connection: the driver makes the first one like every other, and goes on trying as the options say.
    /// [`Event::Connecting`](crate::Event::Connecting), [`Event::Waiting`](crate::Event::Waiting) and
    /// [`Event::GaveUp`](crate::Event::GaveUp) tell how that goes. What is asked for meanwhile waits. For programs that people look at.
    ///
    /// ```no_run
    /// use snug_client::{Client, Event, Name, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// let (client, events, driver) = Client::start(options);
    /// smol::spawn(driver.run()).detach();
    /// while let Ok(event) = events.recv().await {
    ///     match event {
    ///         Event::Waiting { until, error } => println!("no connection until {until:?}: {error:?}"),
    ///         Event::Connected { nick, .. } => println!("connected as {nick}"),
    ///         _ => {}
    ///     }
    /// }
    /// # drop(client);
    /// # Ok(()) })
    /// # }
    /// ```
    pub fn start(options: Options) -> (Client, Events, Driver) {
        let (jobs, waiting) = async_channel::bounded(Client::JOBS);
        let (controls, asked) = async_channel::bounded(Client::CONTROLS);
        let (events, receiver) = events::channel();
        let shared: Arc<Shared> = Arc::default();
        let driver = Driver::new(options, (waiting, asked), Arc::clone(&shared), events);
        let client = Client { jobs, controls, shared, tickets: Arc::default(), random: SystemRandom::new() };
        (client, receiver, driver)
    }

    /// If there is no connection and the client waits before another attempt, lets it make one now. Never waits.
    pub fn retry_now(&self) {
        let _ = self.controls.try_send(Control::RetryNow);
    }

    /// Finds out whether the connection still is one, for a machine that has slept or changed its network: the server has 5
    /// seconds for a sign of life, and if it gives none, the client reconnects. If it waits before an attempt, it makes it now.
    /// Never waits itself.
    pub fn check(&self) {
        let _ = self.controls.try_send(Control::Check);
    }

    /// Returns what the connections have carried so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// As [`Client::finish`], with a text that the others see, at most 512 bytes of it.
    pub fn finish_with(&self, text: &str) {
        let mut end = text.len().min(512);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.shared.set_farewell(&text[..end]);
        self.finish();
    }

    /// Sends a command and waits for its answer.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_protocol::{Body, Command};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, _events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let answer = client.ask(Command::Who { of: None }).await?;
    /// for row in &answer.rows {
    ///     if let Body::User { nick, status, .. } = row.line().body {
    ///         println!("{nick} is {status}");
    ///     }
    /// }
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`RequestError`] if the command is not answered with OK.
    pub async fn ask(&self, command: Command<'_>) -> Result<Answer, RequestError> {
        self.begin(command).await.answer().await
    }

    /// Hands a command to the driver without waiting for its answer, so that many commands can be in flight. They
    /// take effect, and are answered, in the order in which you hand them over. Waits while too many commands wait
    /// for the driver.
    ///
    /// A message or edit without a `key` gets a random one, so that it can be repeated after a loss without being
    /// posted twice.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_protocol::{Command, MessageTags, RoomName};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, _events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let mut in_flight = Vec::new();
    /// for text in ["one", "two", "three"] {
    ///     let (text, tags) = (text.into(), MessageTags::default());
    ///     in_flight.push(client.begin(Command::Msg { room: RoomName::LOBBY, text, tags }).await);
    /// }
    /// for pending in in_flight {
    ///     println!("entry {:?}", pending.answer().await?.id());
    /// }
    /// # Ok(()) })
    /// # }
    /// ```
    pub async fn begin(&self, command: Command<'_>) -> Pending {
        self.begin_with(command, None).await
    }

    /// Sends a command with bytes behind its line, and waits for its answer. At most 65,535 bytes
    /// ([`limits::BYTES`](snug_protocol::limits::BYTES)) fit behind a line.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_protocol::{Command, Nick, ProfileChange};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, _events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let picture = std::fs::read("alice.png")?;
    /// let change = ProfileChange::Set("avatar", "image/png".into());
    /// client.ask_with(Command::Profile { nick: Nick::parse("alice")?, change }, picture).await?;
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`RequestError`] if the command is not answered with OK.
    pub async fn ask_with(&self, command: Command<'_>, bytes: Vec<u8>) -> Result<Answer, RequestError> {
        self.begin_with(command, Some(Arc::new(bytes))).await.answer().await
    }

    /// Hands a command to the driver without waiting for anything. Its answer is an
    /// [`Event::Answered`](crate::Event::Answered) with the ticket, at its place among the events: what came over the wire
    /// before it is an event before it.
    ///
    /// As with [`Client::begin`], a message or edit without a `key` gets a random one.
    ///
    /// ```no_run
    /// # use snug_client::{Client, Name, Options};
    /// use snug_client::Event;
    /// use snug_protocol::Command;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # smol::block_on(async {
    /// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
    /// # let (client, events, driver) = Client::connect(options).await?;
    /// # smol::spawn(driver.run()).detach();
    /// let asked = client.tell(Command::Inbox { before: None, limit: None })?;
    /// while let Ok(event) = events.recv().await {
    ///     match event {
    ///         Event::Answered { ticket, answer } if ticket == asked => println!("{} rows", answer?.rows.len()),
    ///         event => println!("{event:?}"),
    ///     }
    /// }
    /// # Ok(()) })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [`TellError`] if 256 commands wait already, if the driver has stopped, or if the command makes no line.
    pub fn tell(&self, command: Command<'_>) -> Result<Ticket, TellError> {
        let ticket = Ticket(self.tickets.fetch_add(1, Relaxed) + 1);
        let job = self.job(command, None, Reply::Event(ticket)).map_err(|_| TellError::Malformed)?;
        match self.jobs.try_send(job) {
            Ok(()) => Ok(ticket),
            Err(TrySendError::Full(_)) => Err(TellError::Full),
            Err(TrySendError::Closed(_)) => Err(TellError::Closed),
        }
    }

    pub(crate) async fn begin_with(&self, command: Command<'_>, bytes: Option<Arc<Vec<u8>>>) -> Pending {
        let (reply, pending) = Pending::new();
        match self.job(command, bytes, reply) {
            // If the driver has stopped, the job is dropped with its reply, and `pending` reports the loss.
            Ok(job) => drop(self.jobs.send(job).await),
            Err(reply) => drop(reply.give(Err(RequestError::Malformed))),
        }
        pending
    }

    /// Asks for all of one's conversations, page by page: the rows `CONVERSATION` and `INVITATION` of INBOX.
    ///
    /// # Errors
    /// Returns a [`RequestError`] if a page is not answered with OK.
    pub async fn inbox(&self) -> Result<Vec<Received>, RequestError> {
        let mut rows = Vec::new();
        let mut before = None;
        loop {
            let limit = Some(snug_protocol::limits::PAGE_MOST);
            let answer = self.ask(Command::Inbox { before, limit }).await?;
            let next = answer.ok.line().tags.get("next").and_then(|next| next.parse().ok());
            rows.extend(answer.rows);
            match next {
                Some(next) => before = Some(next),
                None => return Ok(rows),
            }
        }
    }

    /// Makes a job of a command, or returns the reply if the command makes no line.
    fn job(
        &self,
        mut command: Command<'_>,
        bytes: Option<Arc<Vec<u8>>>,
        reply: Reply,
    ) -> Result<Job<Reply>, Reply> {
        if let Command::Msg { tags, .. } | Command::Priv { tags, .. } = &mut command
            && tags.key.is_none()
        {
            tags.key = Some(self.random_key().into());
        }
        if let Command::Edit { key: key @ None, .. } = &mut command {
            *key = Some(self.random_key().into());
        }
        // Words are written unescaped, so a command is sent only if it reads back unchanged. The words of messages
        // are checked by their types already.
        let is_message = matches!(command, Command::Msg { .. } | Command::Priv { .. });
        if !is_message && !reads_back(&command) {
            return Err(reply);
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
        let is_awaited = matches!(reply, Reply::Awaited { .. });
        let (is_repeatable, causes_event) = (command.is_repeatable(), command.is_event());
        Ok(Job { request, bytes, is_repeatable, causes_event, is_awaited, reply })
    }

    /// Takes no more commands, of this handle and all its clones. The driver stops when the last command is answered.
    /// [`Client`] has an example.
    pub fn finish(&self) {
        self.jobs.close();
        self.controls.close();
    }

    fn random_key(&self) -> String {
        let mut bytes = [0; 10];
        // If the random source fails, the key is a constant, and the server refuses the second text under it.
        let _ = self.random.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns whether the line of a command is read as that same command.
fn reads_back(command: &Command<'_>) -> bool {
    let written = write(command);
    let Ok(line) = std::str::from_utf8(&written[..written.len() - 1]) else { return false };
    let Ok(line) = snug_protocol::Line::parse(line) else { return false };
    !written[..written.len() - 1].contains(&b'\n')
        && snug_protocol::Request::parse(&line).is_ok_and(|read| read.command == *command)
}

/// Returns a command as a line, without the tags of the whole request: those are added when it is sent.
fn write(command: &Command<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    snug_protocol::Request { label: None, command: command.clone() }.write(&mut line);
    line
}
