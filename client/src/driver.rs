//! The one task that owns a connection. It carries lines between the [`Exchange`] and the [`Link`], and reconnects
//! after a loss.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::FutureExt;
use ring::rand::{SecureRandom, SystemRandom};
use smol::Timer;
use snug_protocol::Nick;

use crate::Link;
use crate::entrance::{Back, enter_in_time};
use crate::error::ConnectError;
use crate::event::Event;
use crate::events::EventSink;
use crate::exchange::{Exchange, News, Output, Settings, is_passing};
use crate::options::Options;
use crate::request::{Job, Reply};
use crate::whereabouts::Whereabouts;

/// The task that runs a connection, made by [`Client::connect`](crate::Client::connect).
///
/// ```no_run
/// use snug_client::{Client, Name, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// let options = Options::new(["chat.example".parse()?], Name::or_numbered("alice"));
/// let (client, events, driver) = Client::connect(options).await?;
/// println!("connected as {}", driver.nick());
/// let driver = smol::spawn(driver.run()); // Any executor will do.
/// drop((client, events));
/// driver.await; // Stops, because there is no client any more.
/// # Ok(()) })
/// # }
/// ```
pub struct Driver {
    options: Options,
    jobs: Receiver<Job<Reply>>,
    events: EventSink,
    link: Link,
    nick: Nick<'static>,
    /// The token with which the next connection gets the same identity.
    token: Option<String>,
    exchange: Exchange<Reply>,
    /// When the server last sent something.
    heard: Instant,
}

/// What the driver has waited for.
enum Input {
    Moved(io::Result<bool>),
    Job(Result<Job<Reply>, async_channel::RecvError>),
    Silence,
    /// Events were received, so that more can be read.
    Room,
}

/// Why a connection ended.
enum End {
    /// Every command is answered, and no more will come.
    Finished,
    Lost(String),
}

impl Driver {
    /// Bytes that wait to be written. While there are so many, the driver takes no more commands.
    const QUEUED: usize = 256 << 10;

    /// The wait before the first attempt to reconnect. Each further one is twice as long.
    const FIRST_WAIT: Duration = Duration::from_millis(250);

    pub(crate) async fn connect(
        options: Options,
        jobs: Receiver<Job<Reply>>,
        events: EventSink,
    ) -> Result<Driver, ConnectError> {
        let since = options.since;
        let entered = enter_in_time(&options, None, since).await?;
        let settings =
            Settings { acknowledges: options.acknowledge, comes_back: !options.reconnect.is_zero() };
        let nick = entered.nick;
        let place = Whereabouts::new(nick.as_str(), &options.rooms);
        let exchange = Exchange::begin(settings, place, (since, entered.cursor), entered.events);
        let (link, token, heard) = (entered.link, entered.token, Instant::now());
        Ok(Driver { options, jobs, events, link, nick, token, exchange, heard })
    }

    /// Returns the nickname that the connection holds. It may be a numbered one, or the name of the account.
    pub fn nick(&self) -> &Nick<'static> {
        &self.nick
    }

    /// Runs the connection, reconnecting after losses as the options say. Returns when
    /// [`Client::finish`](crate::Client::finish) was called or all clients were dropped, and the commands in flight
    /// are answered; or when the connection is lost for good.
    pub async fn run(mut self) {
        loop {
            let reason = match self.talk().await {
                End::Finished => return,
                End::Lost(reason) => reason,
            };
            self.link.give_up();
            self.exchange.lost(&reason);
            self.hand_over();
            let back = match self.exchange.banishment() {
                _ if self.options.reconnect.is_zero() => Err(None),
                Some((code, text)) => Err(Some(Arc::new(ConnectError::Refused { code, text }))),
                None => self.come_back().await,
            };
            if let Err(error) = back {
                self.exchange.gave_up(error, &reason);
                self.hand_over();
                return;
            }
        }
    }

    /// Hands over the output of the exchange: bytes to the link, answers to their callers, and events to their
    /// receiver, in the order of the wire.
    fn hand_over(&mut self) {
        while let Some(output) = self.exchange.take_output() {
            match output {
                Output::Line(line) => self.link.queue(&line),
                Output::Bytes(bytes) => self.link.queue_bytes(&bytes),
            }
        }
        while let Some(news) = self.exchange.take_news() {
            let event = match news {
                News::Event(event) => Some(event),
                News::Answer(reply, answer) => reply.give(answer),
            };
            event.into_iter().for_each(|event| self.events.send(event));
        }
    }

    /// Carries commands and lines until the connection ends or is lost.
    async fn talk(&mut self) -> End {
        self.hand_over();
        loop {
            loop {
                match self.link.take_line() {
                    Ok(Some(line)) => {
                        self.heard = Instant::now();
                        let bytes = self.link.take_bytes();
                        self.exchange.line(line, bytes);
                        self.hand_over();
                    }
                    Ok(None) => break,
                    Err(error) => return End::Lost(error.to_string()),
                }
            }
            if let Some(reason) = self.exchange.take_failure() {
                return End::Lost(reason);
            }
            self.exchange.acknowledge();
            self.hand_over();
            if self.is_done() {
                self.say_goodbye().await;
                return End::Finished;
            }
            match self.next().await {
                Input::Moved(Ok(true)) => {}
                // Nothing was read meanwhile, so that silence means nothing.
                Input::Room => self.heard = Instant::now(),
                Input::Moved(Ok(false)) => {
                    return End::Lost("the server closed the connection".to_owned());
                }
                Input::Moved(Err(error)) => return End::Lost(error.to_string()),
                Input::Job(Ok(job)) => {
                    self.exchange.say(job);
                    self.hand_over();
                }
                // No more commands will come. Those in flight are still answered.
                Input::Job(Err(_)) => {}
                Input::Silence if self.heard.elapsed() >= 2 * self.options.ping => {
                    return End::Lost("the server gives no sign of life".to_owned());
                }
                Input::Silence => self.link.queue(b"PING\n"),
            }
        }
    }

    async fn next(&mut self) -> Input {
        let has_room = self.exchange.has_room() && self.link.queued() < Driver::QUEUED;
        // While no caller waits for an answer, the driver waits for the end of the jobs. It may have come just now.
        let is_idle = !self.exchange.is_waited_for();
        let jobs = &self.jobs;
        let job = async {
            let is_over = jobs.is_closed() && jobs.is_empty();
            if !has_room || is_over && !is_idle {
                return futures_lite::future::pending().await;
            }
            Input::Job(jobs.recv().await)
        };
        let ping = self.options.ping;
        // A program that reads no events is noticed by the server, unless it waits for an answer, which stands behind them.
        let may_read = self.events.has_room() || self.exchange.is_awaited();
        let silence = async move {
            if !may_read {
                // Nothing is heard because nothing is read.
                return futures_lite::future::pending().await;
            }
            Timer::after(ping).await;
            Input::Silence
        };
        let (link, room) = (&mut self.link, &self.events.room);
        let moved = async move {
            match may_read {
                true => Input::Moved(link.advance().await),
                false => {
                    let _ = room.recv().await;
                    Input::Room
                }
            }
        };
        moved.or(job).or(silence).await
    }

    /// Returns whether every command is answered and no more will come.
    fn is_done(&self) -> bool {
        !self.exchange.is_waited_for() && self.jobs.is_closed() && self.jobs.is_empty()
    }

    /// Reconnects, with a growing wait before each attempt, and repeats the commands that were not answered.
    ///
    /// # Errors
    /// Returns the last attempt's error if another attempt cannot succeed or the time for it is over. Returns `None`
    /// if every command is answered and no more will come, so that nobody waits for the connection.
    async fn come_back(&mut self) -> Result<(), Option<Arc<ConnectError>>> {
        let random = SystemRandom::new();
        let mut wait = Driver::FIRST_WAIT;
        let lost = Instant::now();
        loop {
            // Varies the wait by a quarter, so that not all clients of a server reconnect at the same moment.
            let mut byte = [0];
            let _ = random.fill(&mut byte);
            Timer::after(wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)).await;
            if self.is_done() {
                return Err(None);
            }
            let since = self.exchange.since();
            let place = self.exchange.place();
            if let Ok(nick) = Nick::parse(place.nick()) {
                self.nick = nick.into_owned();
            }
            let rooms = place.rooms().to_vec();
            let back = Back { nick: self.nick.clone(), token: self.token.as_deref(), rooms: &rooms };
            match enter_in_time(&self.options, Some(&back), since).await {
                Ok(entered) => {
                    self.link = entered.link;
                    self.nick = entered.nick;
                    self.token = entered.token;
                    self.heard = Instant::now();
                    for event in &entered.events {
                        if let Event::RoomRefused { room, .. } = event {
                            self.exchange.place().leave(room);
                        }
                    }
                    self.exchange.entered(self.nick.as_str(), entered.cursor, entered.events);
                    return Ok(());
                }
                Err(error) if is_final(&error) || lost.elapsed() >= self.options.reconnect => {
                    return Err(Some(Arc::new(error)));
                }
                Err(_) => wait = (wait * 2).min(self.options.longest_wait),
            }
        }
    }

    /// Ends the connection in order. Failures are ignored, because every command is answered.
    async fn say_goodbye(&mut self) {
        self.link.queue(b"QUIT\n");
        // On a sealed connection the end is sealed as well. Then the server closes its side.
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

/// Returns whether another attempt to connect cannot succeed.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { code, .. } => !is_passing(code),
        ConnectError::Changed { .. } | ConnectError::Unknown { .. } | ConnectError::Key { .. } => true,
        _ => false,
    }
}
