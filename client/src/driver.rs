//! The one task that owns a connection. It carries lines between the [`Exchange`] and the [`Link`], connects, and
//! reconnects after a loss.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::FutureExt;
use ring::rand::{SecureRandom, SystemRandom};
use smol::Timer;
use snug_protocol::{Command, Nick, Request};

use crate::Link;
use crate::control::{Control, Shared};
use crate::entrance::{Back, Entered, enter_in_time};
use crate::error::{ConnectError, Loss, RequestError};
use crate::event::Event;
use crate::events::EventSink;
use crate::exchange::{Exchange, News, Output, Settings, is_passing};
use crate::options::Options;
use crate::request::{Job, Reply};
use crate::whereabouts::Whereabouts;

/// The task that runs a connection, made by [`Client::connect`](crate::Client::connect) and
/// [`Client::start`](crate::Client::start).
///
/// ```no_run
/// use snug_client::{Client, Name, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// let options = Options::new(["chat.example".parse()?], Name::or_numbered("alice"));
/// let (client, events, driver) = Client::connect(options).await?;
/// println!("connected as {:?}", driver.nick());
/// let driver = smol::spawn(driver.run()); // Any executor will do.
/// drop((client, events));
/// driver.await; // Stops, because there is no client any more.
/// # Ok(()) })
/// # }
/// ```
pub struct Driver {
    options: Options,
    jobs: Receiver<Job<Reply>>,
    controls: Receiver<Control>,
    shared: Arc<Shared>,
    events: EventSink,
    /// Whether the program follows how the connection is.
    is_watched: bool,
    /// The first connection, until it runs.
    first: Option<Box<Connection>>,
}

/// A connection, and those that follow it.
struct Connection {
    link: Link,
    nick: Nick<'static>,
    /// The token with which the next connection gets the same identity.
    token: Option<String>,
    exchange: Exchange<Reply>,
    /// When the server last sent something.
    heard: Instant,
    /// When it was asked for the signs of life that it has not given yet, the oldest first.
    pinged: VecDeque<Instant>,
    /// Until when it has to say something, if somebody wants to know whether it is still there; and how many bytes were sent
    /// when that was asked.
    overdue: Option<(Instant, u64)>,
    /// Bytes that the connections before this one have received and sent.
    before: (u64, u64),
}

/// What the driver has waited for.
enum Input {
    Moved(io::Result<bool>),
    Job(Result<Job<Reply>, async_channel::RecvError>),
    Control(Control),
    Silence,
    /// The server has said nothing although it was asked to.
    Overdue,
    /// Events were received, so that more can be read.
    Room,
}

/// Why a connection ended.
enum End {
    /// Every command is answered, and no more will come.
    Finished,
    Lost(Loss),
}

/// The waits between attempts.
struct Backoff {
    wait: Duration,
    began: Instant,
}

impl Backoff {
    /// The wait before the first attempt to reconnect. Each further one is twice as long.
    const FIRST: Duration = Duration::from_millis(250);

    fn new() -> Backoff {
        Backoff { wait: Backoff::FIRST, began: Instant::now() }
    }

    /// The next wait, varied by a quarter, so that not all clients of a server come back at the same moment.
    fn next(&mut self, longest: Duration) -> Duration {
        let mut byte = [0];
        let _ = SystemRandom::new().fill(&mut byte);
        let wait = self.wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0);
        self.wait = (self.wait * 2).min(longest.max(Backoff::FIRST));
        wait
    }
}

impl Driver {
    /// Bytes that wait to be written. While there are so many, the driver takes no more commands.
    const QUEUED: usize = 256 << 10;

    /// How long the server may take for a sign of life when somebody asks whether it is still there.
    const CHECK: Duration = Duration::from_secs(5);

    pub(crate) fn new(
        options: Options,
        (jobs, controls): (Receiver<Job<Reply>>, Receiver<Control>),
        shared: Arc<Shared>,
        events: EventSink,
    ) -> Driver {
        Driver { options, jobs, controls, shared, events, is_watched: true, first: None }
    }

    /// Makes the first connection.
    pub(crate) async fn connect(&mut self) -> Result<(), ConnectError> {
        let entered = enter_in_time(&self.options, None, self.options.since).await?;
        self.first = Some(Box::new(self.begin(entered)));
        self.is_watched = false;
        Ok(())
    }

    fn begin(&self, entered: Entered) -> Connection {
        let options = &self.options;
        let settings = Settings {
            acknowledges: options.acknowledge,
            comes_back: !options.reconnect.is_zero(),
            catch_up: options.catch_up,
        };
        let mut place = Whereabouts::new(entered.nick.as_str(), &options.rooms);
        place.leave_refused(&entered.events);
        let exchange = Exchange::begin(settings, place, (options.since, entered.cursor), entered.events);
        Connection {
            link: entered.link,
            nick: entered.nick,
            token: entered.token,
            exchange,
            heard: Instant::now(),
            pinged: VecDeque::new(),
            overdue: None,
            before: (0, 0),
        }
    }

    /// Returns the nickname that the first connection holds, if it was made by
    /// [`Client::connect`](crate::Client::connect) and does not run yet. It may be a numbered one, or the name of the account.
    pub fn nick(&self) -> Option<&Nick<'static>> {
        self.first.as_ref().map(|connection| &connection.nick)
    }

    /// Runs the connection, connecting and reconnecting as the options say. Returns when
    /// [`Client::finish`](crate::Client::finish) was called or all clients were dropped, and the commands in flight
    /// are answered; or when there is no connection for good.
    pub async fn run(mut self) {
        let mut connection = match self.first.take() {
            Some(connection) => connection,
            None => match self.come(None, None).await {
                Ok(entered) => Box::new(self.begin(*entered)),
                Err(error) => {
                    self.refuse_jobs(error.as_ref());
                    if let Some(error) = error {
                        self.events.send(Event::GaveUp { error });
                    }
                    return;
                }
            },
        };
        loop {
            let loss = match self.talk(&mut connection).await {
                End::Finished => return,
                End::Lost(loss) => loss,
            };
            connection.link.give_up();
            let (received, sent) = connection.link.traffic();
            connection.before = (connection.before.0 + received, connection.before.1 + sent);
            let reason = loss.to_string();
            connection.exchange.lost(loss);
            self.hand_over(&mut connection);
            let back = match connection.exchange.banishment() {
                _ if self.options.reconnect.is_zero() => Err(None),
                Some((code, text)) => Err(Some(Arc::new(ConnectError::Refused { code, text }))),
                None => self.come_back(&mut connection).await,
            };
            if let Err(error) = back {
                connection.exchange.gave_up(error.as_ref(), &reason);
                self.hand_over(&mut connection);
                self.refuse_jobs(error.as_ref());
                if let Some(error) = error {
                    self.events.send(Event::GaveUp { error });
                }
                return;
            }
        }
    }

    /// Answers the commands that were given to the driver and not sent, because there is no connection for them any more.
    fn refuse_jobs(&self, error: Option<&Arc<ConnectError>>) {
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            let refused = match error {
                Some(error) => RequestError::GaveUp(Arc::clone(error)),
                None => RequestError::Lost { reason: "the connection is closed".to_owned() },
            };
            job.reply.give(Err(refused)).into_iter().for_each(|event| self.events.send(event));
        }
    }

    /// Hands over the output of the exchange: bytes to the link, answers to their callers, and events to their
    /// receiver, in the order of the wire.
    fn hand_over(&self, connection: &mut Connection) {
        while let Some(output) = connection.exchange.take_output() {
            match output {
                Output::Line(line) => connection.link.queue(&line),
                Output::Bytes(bytes) => connection.link.queue_bytes(&bytes),
            }
        }
        while let Some(news) = connection.exchange.take_news() {
            let event = match news {
                News::Event(event) => Some(event),
                News::Answer(reply, answer) => reply.give(answer),
            };
            event.into_iter().for_each(|event| self.events.send(event));
        }
    }

    /// Carries commands and lines until the connection ends or is lost.
    async fn talk(&self, connection: &mut Connection) -> End {
        self.hand_over(connection);
        if self.is_watched {
            // For the round trip, which people look at.
            connection.ping();
        }
        loop {
            loop {
                match connection.link.take_line() {
                    Ok(Some(line)) => {
                        connection.heard = Instant::now();
                        connection.overdue = None;
                        let bytes = connection.link.take_bytes();
                        connection.exchange.line(line, bytes);
                        self.hand_over(connection);
                    }
                    Ok(None) => break,
                    Err(error) => return End::Lost(Loss::Broken(error.to_string())),
                }
            }
            for _ in 0..connection.exchange.take_pongs() {
                if let Some(pinged) = connection.pinged.pop_front() {
                    self.shared.set_round_trip(pinged.elapsed());
                }
            }
            let ((received, sent), before) = (connection.link.traffic(), connection.before);
            self.shared.set_traffic(before.0 + received, before.1 + sent);
            if let Some(reason) = connection.exchange.take_failure() {
                return End::Lost(Loss::Unusable(reason));
            }
            connection.exchange.acknowledge();
            self.hand_over(connection);
            if self.is_done(&connection.exchange) {
                self.say_goodbye(connection).await;
                return End::Finished;
            }
            match self.next(connection).await {
                Input::Moved(Ok(true)) => {}
                // Nothing was read meanwhile, so that silence means nothing.
                Input::Room => connection.heard = Instant::now(),
                Input::Moved(Ok(false)) => return End::Lost(Loss::Closed),
                Input::Moved(Err(error)) => return End::Lost(Loss::Broken(error.to_string())),
                Input::Job(Ok(job)) => {
                    connection.exchange.say(job);
                    self.hand_over(connection);
                }
                // No more commands will come. Those in flight are still answered.
                Input::Job(Err(_)) | Input::Control(Control::RetryNow) => {}
                Input::Control(Control::Check) => {
                    connection.ping();
                    if connection.overdue.is_none() {
                        self.expect_something(connection);
                    }
                }
                Input::Silence if connection.heard.elapsed() >= 2 * self.options.ping => {
                    return End::Lost(Loss::Silent);
                }
                // The PING stands behind what is still on its way.
                Input::Overdue if connection.is_making_way() => self.expect_something(connection),
                Input::Overdue => return End::Lost(Loss::Silent),
                Input::Silence => {
                    if connection.pinged.is_empty() {
                        connection.ping();
                    }
                }
            }
        }
    }

    /// Sets until when the server has to say something.
    fn expect_something(&self, connection: &mut Connection) {
        let patience = Driver::CHECK.min(self.options.patience);
        connection.overdue = Some((Instant::now() + patience, connection.link.traffic().1));
    }

    async fn next(&self, connection: &mut Connection) -> Input {
        let Connection { link, exchange, overdue, heard, .. } = connection;
        let has_room = exchange.has_room() && link.queued() < Driver::QUEUED;
        // While no caller waits for an answer, the driver waits for the end of the jobs. It may have come just now.
        let is_idle = !exchange.is_waited_for();
        let (jobs, controls) = (&self.jobs, &self.controls);
        let job = async {
            let is_over = jobs.is_closed() && jobs.is_empty();
            if !has_room || is_over && !is_idle {
                return futures_lite::future::pending().await;
            }
            Input::Job(jobs.recv().await)
        };
        let control = async {
            match controls.recv().await {
                Ok(control) => Input::Control(control),
                Err(_) => futures_lite::future::pending().await,
            }
        };
        // After the first silence the server is asked, after the second one it is gone.
        let ping = self.options.ping;
        let silent_at = match heard.elapsed() < ping {
            true => heard.checked_add(ping),
            false => heard.checked_add(ping.saturating_mul(2)),
        };
        // A program that reads no events is noticed by the server, unless it waits for an answer, which stands behind them.
        let may_read = self.events.has_room() || exchange.is_awaited();
        let overdue = *overdue;
        let silence = async move {
            if !may_read {
                // Nothing is heard because nothing is read.
                return futures_lite::future::pending().await;
            }
            match (overdue, silent_at) {
                (Some((until, _)), _) => {
                    Timer::at(until).await;
                    Input::Overdue
                }
                (None, Some(at)) => {
                    Timer::at(at).await;
                    Input::Silence
                }
                (None, None) => futures_lite::future::pending().await,
            }
        };
        let room = &self.events.room;
        let moved = async move {
            match may_read {
                true => Input::Moved(link.advance().await),
                false => {
                    let _ = room.recv().await;
                    Input::Room
                }
            }
        };
        moved.or(control).or(job).or(silence).await
    }

    /// Returns whether every command is answered and no more will come.
    fn is_done(&self, exchange: &Exchange<Reply>) -> bool {
        !exchange.is_waited_for() && self.has_no_jobs()
    }

    fn has_no_jobs(&self) -> bool {
        self.jobs.is_closed() && self.jobs.is_empty()
    }

    /// Reconnects, and repeats the commands that were not answered.
    ///
    /// # Errors
    /// As [`Driver::come`].
    async fn come_back(&self, connection: &mut Connection) -> Result<(), Option<Arc<ConnectError>>> {
        let entered = self.come(Some(connection), Some(Backoff::new())).await?;
        connection.link = entered.link;
        connection.nick = entered.nick;
        connection.token = entered.token;
        connection.heard = Instant::now();
        connection.pinged.clear();
        connection.overdue = None;
        connection.exchange.place().leave_refused(&entered.events);
        let who = (connection.nick.as_str(), entered.has_its_rooms);
        connection.exchange.entered(who, entered.cursor, entered.events);
        Ok(())
    }

    /// Connects, after a loss as who and where the lost connection was, with a growing wait between attempts. With a
    /// `backoff` it waits before the first one, too.
    ///
    /// # Errors
    /// Returns the last attempt's error if another attempt cannot succeed or the time for it is over. Returns `None`
    /// if every command is answered and no more will come, so that nobody waits for the connection.
    async fn come(
        &self,
        mut lost: Option<&mut Connection>,
        backoff: Option<Backoff>,
    ) -> Result<Box<Entered>, Option<Arc<ConnectError>>> {
        let mut waits = backoff.is_some();
        let mut backoff = backoff.unwrap_or_else(Backoff::new);
        let mut error = None;
        loop {
            let is_over = |lost: &Option<&mut Connection>| match lost {
                Some(connection) => self.is_done(&connection.exchange),
                None => self.has_no_jobs(),
            };
            if std::mem::replace(&mut waits, true) {
                let wait = backoff.next(self.options.longest_wait);
                let until = Instant::now() + wait;
                self.events.send(Event::Waiting { until, error: error.take() });
                self.wait(until, || is_over(&lost)).await;
            }
            if is_over(&lost) {
                return Err(None);
            }
            self.events.send(Event::Connecting);
            let since = match &lost {
                Some(connection) => connection.exchange.since(),
                None => self.options.since,
            };
            let (mut rooms, mut token) = (Vec::new(), None);
            if let Some(connection) = &mut lost {
                let place = connection.exchange.place();
                if let Ok(nick) = Nick::parse(place.nick()) {
                    connection.nick = nick.into_owned();
                }
                rooms = place.rooms().to_vec();
                token.clone_from(&connection.token);
            }
            let back = lost.as_ref().map(|connection| Back {
                nick: connection.nick.clone(),
                token: token.as_deref(),
                rooms: &rooms,
            });
            match enter_in_time(&self.options, back.as_ref(), since).await {
                Ok(entered) => return Ok(Box::new(entered)),
                Err(failed) if is_final(&failed) || self.is_too_late(&backoff) => {
                    return Err(Some(Arc::new(failed)));
                }
                Err(failed) => error = Some(Arc::new(failed)),
            }
        }
    }

    fn is_too_late(&self, backoff: &Backoff) -> bool {
        backoff.began.elapsed() >= self.options.reconnect
    }

    /// Waits until a moment, or until somebody wants another attempt now, or none at all.
    async fn wait(&self, until: Instant, is_over: impl Fn() -> bool) {
        let asked = async {
            loop {
                // The program has let go of the client, or asks for a connection.
                match self.controls.recv().await {
                    Ok(Control::RetryNow | Control::Check) => return,
                    Err(_) if is_over() => return,
                    Err(_) => futures_lite::future::pending().await,
                }
            }
        };
        let time = async {
            Timer::at(until).await;
        };
        asked.or(time).await;
    }

    /// Ends the connection in order. Failures are ignored, because every command is answered.
    async fn say_goodbye(&self, connection: &mut Connection) {
        let mut line = Vec::new();
        let text = self.shared.farewell().map(Into::into);
        Request { label: None, command: Command::Quit { text } }.write(&mut line);
        let link = &mut connection.link;
        link.queue(&line);
        // On a sealed connection the end is sealed as well. Then the server closes its side.
        if link.finish_writing().await.is_err() {
            return;
        }
        while link.queued() > 0 {
            if !link.advance().await.unwrap_or(false) {
                return;
            }
            while matches!(link.take_line(), Ok(Some(_))) {}
        }
    }
}

impl Connection {
    /// Asks the server for a sign of life.
    fn ping(&mut self) {
        self.pinged.push_back(Instant::now());
        self.link.queue(b"PING\n");
    }

    /// Returns whether bytes have gone out since a sign of life was asked for that did not all fit.
    fn is_making_way(&self) -> bool {
        self.overdue.is_some_and(|(_, sent)| self.link.traffic().1 > sent) && self.link.queued() > 0
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
