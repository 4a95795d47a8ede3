//! The one task that owns a connection: sends commands, matches answers, comes back after a loss.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use ring::rand::{SecureRandom, SystemRandom};
use smol::Timer;
use snug_protocol::envelope::{ClientKey, encode_public_key, encode_signature};
use snug_protocol::{Body, Code, Command, Credential, Cursor, Entrance, EntryKind, LogName, Nick, Request};

use crate::client::{Answer, ConnectError, Event, Options, Received, RequestError};
use crate::{Address, Link, Login, Trust};

/// A command to be said, written without tags of its own.
pub(crate) struct Job {
    /// The line, with its end.
    pub(crate) request: Vec<u8>,
    /// What stands behind the line, which has announced it.
    pub(crate) bytes: Option<Arc<Vec<u8>>>,
    /// Whether it may be said again when its answer is lost.
    pub(crate) is_repeatable: bool,
    pub(crate) reply: Reply,
}

/// Where an answer goes.
pub(crate) struct Reply {
    pub(crate) answer: Sender<Result<Answer, RequestError>>,
    /// Dropped when the answer is there.
    pub(crate) _unanswered: Sender<Infallible>,
}

impl Reply {
    /// Gives the answer. Whoever asked may have lost interest.
    fn give(self, answer: Result<Answer, RequestError>) {
        let _ = self.answer.try_send(answer);
    }
}

/// Runs a connection. Made by [`Client::connect`](crate::Client::connect).
pub struct Driver {
    options: Options,
    jobs: Receiver<Job>,
    events: Sender<Event>,
    link: Link,
    nick: Nick<'static>,
    /// What makes the next connection the same person.
    token: Option<String>,
    /// Commands that were said, in order.
    under_way: VecDeque<UnderWay>,
    /// The label of the first of them.
    first_label: u64,
    /// When something last came from the daemon.
    heard: Instant,
    /// The log of the connection, and the last entry that has been an event, or lies before all that will be.
    log: LogName,
    seen: u64,
    /// The newest private message of others that has been an event, while the daemon has not been told.
    unacknowledged: Option<u64>,
    /// Whether SYNC is something that one may do: a token may not cover it.
    may_sync: bool,
    /// What the daemon said before it ended the connection.
    dismissed: Option<(String, String)>,
    /// Why the connection is of no use any more.
    failed: Option<String>,
    /// What happened while the connection was made.
    untold: Vec<Event>,
}

/// A command that was said.
enum UnderWay {
    /// Somebody's, with the rows that have come.
    Job(Job, Vec<Received>),
    /// The driver's own, to be brought up to date: its rows are events.
    Sync,
    /// The driver's own, to say what has arrived.
    Ack,
}

enum Happening {
    Moved(io::Result<bool>),
    Job(Result<Job, async_channel::RecvError>),
    Silence,
}

/// Why a connection ended.
enum End {
    /// All is said and answered.
    Finished,
    Lost(String),
}

impl Driver {
    /// How many commands may be under way. The daemon has a limit of its own.
    const WINDOW: usize = 256;

    /// How many bytes may wait to be written before no more commands are taken.
    const QUEUED: usize = 256 << 10;

    /// Rows of a page of what was missed.
    const PAGE: u64 = 500;

    /// The first wait before coming back; each further one is twice as long.
    const FIRST_WAIT: Duration = Duration::from_millis(250);

    pub(crate) async fn connect(
        options: Options,
        jobs: Receiver<Job>,
        events: Sender<Event>,
    ) -> Result<Driver, ConnectError> {
        let since = options.since;
        let entered = enter_in_time(&options, None, since).await?;
        let began = since.unwrap_or(entered.cursor);
        let mut driver = Driver {
            options,
            jobs,
            events,
            link: entered.link,
            nick: entered.nick,
            token: entered.token,
            under_way: VecDeque::new(),
            first_label: 0,
            heard: Instant::now(),
            log: began.log.or(entered.cursor.log).unwrap_or_default(),
            seen: began.id,
            unacknowledged: None,
            may_sync: true,
            dismissed: None,
            failed: None,
            untold: entered.events,
        };
        if since.is_some() {
            driver.sync();
            driver.log = entered.cursor.log.unwrap_or_default();
        } else {
            driver.untold.push(Event::Live { cursor: entered.cursor });
        }
        Ok(driver)
    }

    /// The name that is held.
    pub fn nick(&self) -> &Nick<'static> {
        &self.nick
    }

    /// Runs until the client is finished or dropped, or the connection is lost for good.
    pub async fn run(mut self) {
        loop {
            let reason = match self.talk().await {
                End::Finished => return,
                End::Lost(reason) => reason,
            };
            self.link.give_up();
            self.drop_what_cannot_be_repeated(&reason);
            let _ = self.events.send(Event::Disconnected { reason: reason.clone() }).await;
            let back = if self.options.reconnect.is_zero() { Err(None) } else { self.come_back().await };
            if let Err(error) = back {
                for under_way in self.under_way.drain(..) {
                    let UnderWay::Job(job, _) = under_way else { continue };
                    job.reply.give(Err(match &error {
                        Some(error) => RequestError::GaveUp(Arc::clone(error)),
                        None if self.dismissed.is_some() => {
                            let (code, text) = self.dismissed.clone().unwrap_or_default();
                            RequestError::Refused { code, text, retry: None, offset: None }
                        }
                        None => RequestError::Lost { reason: reason.clone() },
                    }));
                }
                if let Some(error) = error {
                    let _ = self.events.send(Event::GaveUp { error }).await;
                }
                return;
            }
        }
    }

    /// Carries commands and lines until the connection ends.
    async fn talk(&mut self) -> End {
        for event in std::mem::take(&mut self.untold) {
            match event {
                Event::Line(received) => {
                    self.event(Received { log: self.log, ..received }).await;
                }
                event => {
                    let _ = self.events.send(event).await;
                }
            }
        }
        loop {
            loop {
                match self.link.take_line() {
                    Ok(Some(line)) => {
                        self.heard = Instant::now();
                        self.line(line).await;
                    }
                    Ok(None) => break,
                    Err(error) => return End::Lost(error.to_string()),
                }
            }
            if let Some(reason) = self.failed.take() {
                return End::Lost(reason);
            }
            if let Some(id) = self.unacknowledged.take_if(|_| !self.under_way.iter().any(UnderWay::is_ack)) {
                let cursor = Cursor { log: Some(self.log), id };
                self.say_own(UnderWay::Ack, Command::Ack { cursor });
            }
            if self.is_done() {
                self.say_goodbye().await;
                return End::Finished;
            }
            match self.next().await {
                Happening::Moved(Ok(true)) => {}
                Happening::Moved(Ok(false)) => {
                    return End::Lost("the server closed the connection".to_owned());
                }
                Happening::Moved(Err(error)) => return End::Lost(error.to_string()),
                Happening::Job(Ok(job)) => self.say(job),
                // All clients are gone: what is under way is still answered.
                Happening::Job(Err(_)) => {}
                Happening::Silence if self.heard.elapsed() >= 2 * self.options.ping => {
                    return End::Lost("the server gives no sign of life".to_owned());
                }
                Happening::Silence => self.link.queue(b"PING\n"),
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let has_room = self.under_way.len() < Driver::WINDOW && self.link.queued() < Driver::QUEUED;
        // With nothing under way, the end of the jobs is what is waited for; it may have come just now.
        let is_idle = !self.is_waited_for();
        let jobs = &self.jobs;
        let job = async {
            let is_over = jobs.is_closed() && jobs.is_empty();
            if !has_room || is_over && !is_idle {
                return futures_lite::future::pending().await;
            }
            Happening::Job(jobs.recv().await)
        };
        let ping = self.options.ping;
        let silence = async move {
            Timer::after(ping).await;
            Happening::Silence
        };
        let link = &mut self.link;
        let moved = async move { Happening::Moved(link.advance().await) };
        moved.or(job).or(silence).await
    }

    /// Whether somebody waits for an answer.
    fn is_waited_for(&self) -> bool {
        self.under_way.iter().any(|under_way| matches!(under_way, UnderWay::Job(..)))
    }

    /// Whether all is said and answered, and nothing more will be said.
    fn is_done(&self) -> bool {
        !self.is_waited_for() && self.jobs.is_closed() && self.jobs.is_empty()
    }

    fn say(&mut self, job: Job) {
        let length = job.request.len() - 1;
        let limit = snug_protocol::limits::LINE - 32;
        if length > limit {
            job.reply.give(Err(RequestError::TooLong { length, limit }));
            return;
        }
        self.link.queue(&labelled(self.next_label(), &job.request));
        if let Some(bytes) = &job.bytes {
            self.link.queue_bytes(bytes);
        }
        self.under_way.push_back(UnderWay::Job(job, Vec::new()));
    }

    /// Says a command of the driver's own.
    fn say_own(&mut self, what: UnderWay, command: Command<'_>) {
        let mut line = Vec::new();
        Request { label: None, command }.write(&mut line);
        self.link.queue(&labelled(self.next_label(), &line));
        self.under_way.push_back(what);
    }

    fn next_label(&self) -> u64 {
        self.first_label + self.under_way.len() as u64
    }

    /// Asks for the next page of what was missed.
    fn sync(&mut self) {
        let cursor = Cursor { log: Some(self.log), id: self.seen };
        self.say_own(UnderWay::Sync, Command::Sync { cursor, limit: Some(Driver::PAGE) });
    }

    /// Takes a line: an answer goes to who asked, everything else is an event.
    async fn line(&mut self, line: String) {
        let received = Received { text: line, bytes: self.link.take_bytes(), log: self.log };
        let parsed = received.line();
        if let Body::Ping { label } = parsed.body {
            let label = label.map(|label| format!(" {label}")).unwrap_or_default();
            self.link.queue(format!("PONG{label}\n").as_bytes());
            return;
        }
        if matches!(parsed.body, Body::Ok { verb: "PING", .. }) && !parsed.tags.has("ref") {
            return;
        }
        let label: Option<u64> = parsed.tags.get("ref").and_then(|label| label.parse().ok());
        // A line that the daemon could not read has no label; answers come in order, so it is the oldest one's.
        let is_unread =
            matches!(parsed.body, Body::Err { verb: "-", code: "bad-line" | "line-too-long", .. });
        if let Body::Err { verb: "-", code, text } = parsed.body
            && label.is_none()
            && !is_unread
        {
            self.dismissed = Some((code.to_owned(), text.to_owned()));
        }
        let is_first = (label == Some(self.first_label) || is_unread) && !self.under_way.is_empty();
        if !is_first {
            self.event(received).await;
            return;
        }
        if !matches!(parsed.body, Body::Ok { .. } | Body::Err { .. }) {
            match self.under_way.front_mut() {
                Some(UnderWay::Job(_, rows)) => rows.push(received),
                Some(UnderWay::Sync) => self.event(received).await,
                Some(UnderWay::Ack) | None => {}
            }
            return;
        }
        let Some(answered) = self.under_way.pop_front() else { return };
        self.first_label += 1;
        match answered {
            UnderWay::Ack => {}
            UnderWay::Sync => self.synced(received).await,
            UnderWay::Job(job, rows) => job.reply.give(match received.line().body {
                Body::Err { code, text, .. } => Err(RequestError::Refused {
                    code: code.to_owned(),
                    text: text.to_owned(),
                    retry: received.line().tags.get("retry").and_then(|retry| retry.parse().ok()),
                    offset: received.line().tags.get("offset").and_then(|offset| offset.parse().ok()),
                }),
                _ => Ok(Answer { rows, ok: received }),
            }),
        }
    }

    /// Goes on after a page of what was missed.
    async fn synced(&mut self, answer: Received) {
        if let Body::Err { code, .. } = answer.line().body
            && !is_passing(code)
        {
            // It will not be allowed another time, either. What was missed is not had, and what comes is.
            self.may_sync = false;
        }
        let Body::Ok { params: Some(params), .. } = answer.line().body else {
            // The log cannot be read now, and without that nothing more would come: it has to be tried again.
            self.failed = Some(format!("what was missed cannot be had: {}", answer.text));
            return;
        };
        let (cursor, goes_on) = params.split_once(' ').unwrap_or((params, ""));
        if let Ok(cursor) = cursor.parse::<Cursor>() {
            self.seen = cursor.id;
        }
        if goes_on == "more" {
            self.sync();
        } else {
            let cursor = Cursor { log: Some(self.log), id: self.seen };
            let _ = self.events.send(Event::Live { cursor }).await;
        }
    }

    /// Hands an event over, an entry only once.
    async fn event(&mut self, received: Received) {
        let line = received.line();
        if let Body::Gap { target, from, to } = line.body {
            if target == "*"
                && let Ok(cursor) = to.parse::<Cursor>()
            {
                self.seen = cursor.id;
            }
            let [target, from, to] = [target, from, to].map(str::to_owned);
            let _ = self.events.send(Event::Gap { target, from, to }).await;
            return;
        }
        if let (Some(id), Body::Entry { kind, .. }) = (line.id(), &line.body) {
            if id <= self.seen {
                return;
            }
            self.seen = id;
            if self.options.acknowledge && *kind == EntryKind::Priv && line.from != Some(self.nick.as_str()) {
                self.unacknowledged = Some(id);
            }
        }
        let _ = self.events.send(Event::Line(received)).await;
    }

    /// After a loss, what may have happened and cannot be said again is given up.
    fn drop_what_cannot_be_repeated(&mut self, reason: &str) {
        for under_way in std::mem::take(&mut self.under_way) {
            let UnderWay::Job(job, _) = under_way else { continue };
            if job.is_repeatable && !self.options.reconnect.is_zero() {
                self.under_way.push_back(UnderWay::Job(job, Vec::new()));
            } else {
                job.reply.give(Err(match self.dismissed.clone() {
                    Some((code, text)) => RequestError::Refused { code, text, retry: None, offset: None },
                    None => RequestError::Lost { reason: reason.to_owned() },
                }));
            }
        }
    }

    /// Connects again, with longer and longer waits, and repeats what was not answered.
    ///
    /// # Errors
    /// The last try's error, if trying again makes no difference or takes too long; `None` if nobody waits for it any
    /// more.
    async fn come_back(&mut self) -> Result<(), Option<Arc<ConnectError>>> {
        let random = SystemRandom::new();
        let mut wait = Driver::FIRST_WAIT;
        let lost = Instant::now();
        loop {
            // Some more or less, so that not all clients of a daemon come back at the same moment.
            let mut byte = [0];
            let _ = random.fill(&mut byte);
            Timer::after(wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)).await;
            if self.jobs.is_closed() && self.under_way.is_empty() {
                return Err(None);
            }
            let since = self.may_sync.then_some(Cursor { log: Some(self.log), id: self.seen });
            let held = Some((&self.nick, self.token.as_deref()));
            match enter_in_time(&self.options, held, since).await {
                Ok(entered) => {
                    self.untold = entered.events;
                    self.link = entered.link;
                    self.nick = entered.nick;
                    self.token = entered.token;
                    self.heard = Instant::now();
                    let jobs = std::mem::take(&mut self.under_way);
                    if self.may_sync {
                        // The cursor is one of the log that it was: only the daemon knows whether that is still the same.
                        self.sync();
                    } else {
                        let from = Cursor { log: Some(self.log), id: self.seen };
                        let (from, to) = (from.to_string(), entered.cursor.to_string());
                        self.untold.push(Event::Gap { target: "*".to_owned(), from, to });
                        self.untold.push(Event::Live { cursor: entered.cursor });
                        self.seen = entered.cursor.id;
                    }
                    self.log = entered.cursor.log.unwrap_or_default();
                    for under_way in jobs {
                        if let UnderWay::Job(job, _) = under_way {
                            self.say(job);
                        }
                    }
                    return Ok(());
                }
                Err(error) if is_final(&error) || lost.elapsed() >= self.options.reconnect => {
                    return Err(Some(Arc::new(error)));
                }
                Err(_) => wait = (wait * 2).min(self.options.longest_wait),
            }
        }
    }

    /// Ends the connection in order. Whether the daemon hears it makes no difference any more.
    async fn say_goodbye(&mut self) {
        self.link.queue(b"QUIT\n");
        // Sealed, the end is sealed as well; then the daemon closes its side.
        if self.link.finish_writing().await.is_err() {
            return;
        }
        while self.link.queued() > 0 {
            if !self.link.advance().await.unwrap_or(false) {
                return;
            }
            while matches!(self.link.take_line(), Ok(Some(_))) {}
        }
    }
}

/// Whether trying again makes no difference.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { code, .. } => !is_passing(code),
        ConnectError::Changed { .. } | ConnectError::Unknown { .. } | ConnectError::Key { .. } => true,
        _ => false,
    }
}

/// Whether what was refused may go another time.
fn is_passing(code: &str) -> bool {
    matches!(
        code.parse(),
        Ok(Code::NickTaken
            | Code::TooMany
            | Code::ShuttingDown
            | Code::SlowDown
            | Code::Timeout
            | Code::Unavailable
            | Code::StorageFull)
    )
}

impl UnderWay {
    fn is_ack(&self) -> bool {
        matches!(self, UnderWay::Ack)
    }
}

/// A connection that holds a name.
struct Entered {
    link: Link,
    nick: Nick<'static>,
    token: Option<String>,
    /// The newest entry of the daemon's log.
    cursor: Cursor,
    /// That it is made, and what was heard while the rooms were joined.
    events: Vec<Event>,
}

/// As [`enter`], and gives up when that takes too long.
async fn enter_in_time(
    options: &Options,
    held: Option<(&Nick<'static>, Option<&str>)>,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    let overdue = async {
        Timer::after(options.patience).await;
        let address = options.addresses.last().cloned().unwrap_or(Address::Unix("".into()));
        Err(ConnectError::Lost { address, error: io::ErrorKind::TimedOut.into() })
    };
    enter(options, held, since).or(overdue).await
}

/// Connects to the first address that can be had, takes a name and joins the rooms. `held` is the name of before
/// with its token: whoever comes back is the same person, or nobody.
async fn enter(
    options: &Options,
    held: Option<(&Nick<'static>, Option<&str>)>,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    let find = |address: &Address| options.accounts.find(address, &options.name);
    let seals = |address: &Address| matches!(find(address), Ok(Some(Login::Key { .. })));
    let (address, mut link) = Link::reach_sealed(&options.addresses, &options.trust, &seals).await?;
    if let Some(login) = find(address).map_err(|error| ConnectError::Key { error })? {
        return log_in(options, address.clone(), link, &login, since).await;
    }
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let mut refused = None;
    let mut needs_login = false;
    let mut heard = Vec::new();
    let candidates: Vec<Nick<'static>> = match held {
        Some((nick, _)) => vec![nick.clone()],
        None => options.name.candidates().collect(),
    };
    for nick in candidates {
        let held_token = held.and_then(|(_, token)| token).map(str::to_owned);
        let kept = held_token.or_else(|| options.tokens.find(address, &nick));
        // Made here, it is known even if the answer to NICK is lost: what was said meanwhile can be repeated.
        let token = kept.clone().or_else(new_token);
        let shown = token.as_deref().map(Into::into);
        let command = Command::Nick { nick: nick.clone(), quiet: options.quiet, token: shown, since };
        match ask(&mut link, command, &mut heard).await.map_err(lost)? {
            Err((code, text)) => {
                let is_taken =
                    matches!(code.parse(), Ok(Code::NickTaken | Code::LooksAlike | Code::LoginNeeded));
                // A second one says that it is not about the name: there are no guests.
                let is_login = code.parse() == Ok(Code::LoginNeeded);
                let is_closed = is_login && std::mem::replace(&mut needs_login, is_login);
                refused = Some(ConnectError::Refused { code, text });
                if !is_taken || is_closed {
                    break;
                }
            }
            Ok(ok) => {
                let ok = ok.line();
                let new = ok.tags.get("token").filter(|new| Some(&**new) != kept.as_deref());
                if let Some(new) = &new {
                    options.tokens.keep(address, &nick, new);
                }
                let token = new.map(|new| new.into_owned()).or(token);
                let log = ok.tags.get("log").and_then(|log| log.parse().ok()).unwrap_or_default();
                let last = ok.tags.get("last").and_then(|last| last.parse().ok()).unwrap_or(0);
                let cursor = Cursor { log: Some(log), id: last };
                return settle_in(options, address, Entered { link, nick, token, cursor, events: heard })
                    .await;
            }
        }
    }
    Err(refused.unwrap_or_else(|| lost(io::ErrorKind::InvalidInput.into())))
}

/// Comes in as an account.
async fn log_in(
    options: &Options,
    address: Address,
    mut link: Link,
    login: &Login,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let entrance = Entrance { quiet: options.quiet, since };
    let mut heard = Vec::new();
    let answered = match login {
        Login::Password { account, password } => {
            let name = Nick::parse(account).map_err(|error| ConnectError::Refused {
                code: Code::BadNick.word().to_owned(),
                text: format!("{account} is no account's name: {error}"),
            })?;
            let credential = Credential::Password { name, password: password.as_str().into() };
            ask(&mut link, Command::Auth { credential, entrance }, &mut heard).await
        }
        Login::Token(token) => {
            ask(&mut link, Command::Auth { credential: Credential::Token(token), entrance }, &mut heard).await
        }
        Login::Key { account, key } => {
            let Some(binding) = link.binding() else {
                return Err(lost(io::Error::other("the connection is not sealed")));
            };
            let signature = encode_signature(&key.sign_login(&binding, account));
            let public = encode_public_key(&key.public_key());
            let credential = Credential::Key { name: account, key: &public, signature: &signature };
            ask(&mut link, Command::Auth { credential, entrance }, &mut heard).await
        }
    };
    let ok = answered.map_err(lost)?.map_err(|(code, text)| ConnectError::Refused { code, text })?;
    let line = ok.line();
    let Body::Ok { params: Some(name), .. } = line.body else {
        return Err(lost(io::Error::other("the daemon did not say who one is")));
    };
    let nick = Nick::parse(name).map_err(|error| lost(io::Error::other(error)))?.into_owned();
    let log = line.tags.get("log").and_then(|log| log.parse().ok()).unwrap_or_default();
    let last = line.tags.get("last").and_then(|last| last.parse().ok()).unwrap_or(0);
    let cursor = Cursor { log: Some(log), id: last };
    settle_in(options, &address, Entered { link, nick, token: None, cursor, events: heard }).await
}

/// Joins the rooms.
async fn settle_in(
    options: &Options,
    address: &Address,
    mut entered: Entered,
) -> Result<Entered, ConnectError> {
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let (nick, cursor) = (entered.nick.as_str().to_owned(), entered.cursor);
    entered.events.insert(0, Event::Connected { address: address.clone(), nick, cursor });
    for room in &options.rooms {
        let joined = ask(&mut entered.link, Command::Join { room: room.clone() }, &mut entered.events).await;
        if let Err((code, text)) = joined.map_err(lost)? {
            return Err(ConnectError::Refused { code, text });
        }
    }
    Ok(entered)
}

/// Makes an account on a server, and ends the connection. `secret` is a password, a key, or both.
///
/// # Errors
/// A [`ConnectError`]: there is no connection, or the daemon refuses.
pub async fn register(
    address: &Address,
    trust: &Trust,
    (name, invite): (&Nick<'_>, Option<&str>),
    (password, key): (Option<&str>, Option<(&ClientKey, &str)>),
) -> Result<(), ConnectError> {
    let addresses = [address.clone()];
    let registering = register_at_leisure(address, &addresses, trust, (name, invite), (password, key));
    let overdue = async {
        Timer::after(REGISTERING).await;
        Err(ConnectError::Lost { address: address.clone(), error: io::ErrorKind::TimedOut.into() })
    };
    registering.or(overdue).await
}

/// How long it may take to make an account: the daemon works on a password for a while, and others' may come first.
const REGISTERING: Duration = Duration::from_secs(30);

async fn register_at_leisure(
    address: &Address,
    addresses: &[Address],
    trust: &Trust,
    (name, invite): (&Nick<'_>, Option<&str>),
    (password, key): (Option<&str>, Option<(&ClientKey, &str)>),
) -> Result<(), ConnectError> {
    let (_, mut link) = Link::reach_sealed(addresses, trust, &|_| true).await?;
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let public =
        key.map(|(key, label)| (encode_public_key(&key.public_key()).into(), label.to_owned().into()));
    let command = Command::Register {
        name: name.clone(),
        password: password.map(Into::into),
        invite: invite.map(Into::into),
        key: public,
        entrance: Entrance { quiet: true, since: None },
    };
    let mut heard = Vec::new();
    let answered = ask(&mut link, command, &mut heard).await.map_err(lost)?;
    answered.map_err(|(code, text)| ConnectError::Refused { code, text })?;
    // It is made, whether the goodbye arrives or not.
    link.queue(b"QUIT\n");
    let _ = link.finish_writing().await;
    Ok(())
}

/// Says one command while nothing else is under way, and gives its OK, or code and text of its ERR. What happens
/// meanwhile goes to `heard`.
async fn ask(
    link: &mut Link,
    command: Command<'_>,
    heard: &mut Vec<Event>,
) -> io::Result<Result<Received, (String, String)>> {
    let verb = command.verb().word();
    let mut line = Vec::new();
    Request { label: None, command }.write(&mut line);
    link.queue(&line);
    loop {
        let text = read_line(link).await?;
        let received = Received { text, bytes: link.take_bytes(), log: LogName::default() };
        match received.line().body {
            Body::Ok { verb: answered, .. } if answered == verb => return Ok(Ok(received)),
            Body::Err { code, text, .. } => return Ok(Err((code.to_owned(), text.to_owned()))),
            _ => heard.push(Event::Line(received)),
        }
    }
}

/// 128 random bits in hexadecimal.
fn new_token() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn read_line(link: &mut Link) -> io::Result<String> {
    loop {
        if let Some(line) = link.take_line()? {
            return Ok(line);
        }
        if !link.advance().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A written command with its label in front.
fn labelled(label: u64, request: &[u8]) -> Vec<u8> {
    let tagged = request.strip_prefix(b"@");
    let (between, rest) = tagged.map_or((b' ', request), |rest| (b';', rest));
    let mut line = format!("@ref={label}").into_bytes();
    line.push(between);
    line.extend_from_slice(rest);
    line
}
