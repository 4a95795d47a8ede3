//! A connection: carries bytes from a stream to a session, and lines from the session's outbox to the stream.
//!
//! One future does both, so that a connection costs one task. It reads into a buffer of its thread and builds what it
//! writes in others. It owns memory only for an incomplete line, for lines that have to wait, and for bytes that the
//! stream does not take yet.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Timer;
use snug_protocol::envelope::ServerOptions;
use snug_protocol::{Code, Codec, End, Fault, Item, Opening, envelope, limits};

use crate::config::Plaintext;
use crate::core::{Core, Counters};
use crate::net::flow::Flow;
use crate::net::turn::Turn;
use crate::origin::Origin;
use crate::registry::ending::Ending;
use crate::registry::outbox::{Chunk, Chunks, OutboxState};
use crate::registry::peer::Peer;
use crate::session::{Session, Step};

/// The greeting of every connection. It says what a client may send first.
pub(crate) const GREETING: &str =
    "SNUG/1 HELLO seals this connection; NICK <name> talks in the clear; HELP lists the verbs\n";

/// Maximum number of bytes that are read at once.
const READ_SIZE: usize = 256 << 10;

/// How long an ended connection may take to receive what is left, and to close its side; and the latter when the daemon
/// stops, which waits for it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_AT_STOP: Duration = Duration::from_millis(250);

/// Maximum number of bytes of lines, roughly, that are written at once.
const WRITE_SIZE: usize = 64 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
    static WRITE_BUFFERS: RefCell<WriteBuffers> = RefCell::default();
}

/// The buffers of a write: for joined chunks, an envelope's inside, and the stream's bytes.
#[derive(Default)]
struct WriteBuffers {
    lines: Vec<u8>,
    inner: Vec<u8>,
    sealed: Vec<u8>,
}

/// Both directions of a stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection: its stream, its session and the bytes between them. The future completes when the stream is done.
pub(crate) struct Connection<S> {
    core: Arc<Core>,
    stream: S,
    session: Session,
    is_new: bool,
    is_first_byte_judged: bool,
    opening: Option<Opening>,
    codec: Codec,
    /// A line that waits until everything in flight is answered.
    held: Option<Held>,
    /// Input that waits behind it.
    input: Vec<u8>,
    input_ended: Option<Ending>,
    /// Chunks that were taken from the outbox and are not being written yet.
    taken: Chunks,
    /// Bytes that the stream did not take at once, and how many of them it has taken since.
    output: Vec<u8>,
    written: usize,
    flow: Flow,
    origin: Origin,
    /// The connection's only timer: when it may read again, or when its end is overdue.
    timer: Option<Timer>,
    stage: Stage,
    ending: Option<Ending>,
    is_finished: bool,
}

enum Held {
    Line(String),
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Lines go both ways.
    Talking,
    /// The session has ended. The lines that wait are still written.
    Flushing,
    /// Everything is written. The connection waits for the peer to close, so that the peer can read it.
    Draining,
}

/// Whether a step of the connection's work achieved something.
#[derive(PartialEq, Eq)]
enum Progress {
    Made,
    Stuck,
}

impl<S: Stream> Connection<S> {
    /// Returns a connection for an admitted peer.
    pub(crate) fn new(core: Arc<Core>, stream: S, peer: Arc<Peer>, origin: Origin) -> Connection<S> {
        let session = Session::new(Arc::clone(&core), peer, origin);
        Connection {
            // A HELLO may be longer than the configured maximum of a line.
            codec: Codec::plain(limits::LINE_BEFORE_NAME),
            core,
            stream,
            session,
            is_new: true,
            is_first_byte_judged: false,
            opening: None,
            held: None,
            input: Vec::new(),
            input_ended: None,
            taken: Chunks::new(),
            output: GREETING.as_bytes().to_vec(),
            written: 0,
            flow: Flow::default(),
            origin,
            timer: None,
            stage: Stage::Talking,
            ending: None,
            is_finished: false,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut turn = Turn::default();
        if std::mem::take(&mut self.is_new) {
            // A client that does not wait for the greeting gets it in one write with the answer to its HELLO.
            let outbox = self.session.peer().turn(cx, &mut self.taken, false);
            if self.listen(cx, &outbox, &mut turn).is_err() {
                return self.over(Ending::Lost);
            }
        }
        loop {
            let outbox = self.session.peer().turn(cx, &mut self.taken, self.output.is_empty());
            let wrote = match self.write(cx) {
                Ok(progress) => progress,
                // A client that has sent QUIT need not wait for the answer.
                Err(_) => return self.over(outbox.ending.unwrap_or(Ending::Lost)),
            };
            let flushed = self.is_flushed() && outbox.empty;
            if let (Stage::Talking, Some(ending)) = (self.stage, &outbox.ending) {
                self.ending = Some(ending.clone());
                self.stage = Stage::Flushing;
                self.input = Vec::new();
                self.held = None;
                self.timer = Some(Timer::after(LINGER));
            }
            let progress = match self.stage {
                Stage::Talking => match self.listen(cx, &outbox, &mut turn) {
                    Ok(progress) => progress,
                    Err(_) => return self.over(Ending::Lost),
                },
                Stage::Flushing if flushed => {
                    // The end is sealed too: a stream without it was cut off.
                    let reason = self.ending.as_ref().map(Ending::reason).unwrap_or_default();
                    self.output = self.codec.close(reason);
                    if !self.output.is_empty() {
                        continue;
                    }
                    let _ = ready!(Pin::new(&mut self.stream).poll_close(cx));
                    self.stage = Stage::Draining;
                    // The peer has the end. Its name is free, whenever it closes its side.
                    self.finish();
                    if matches!(self.ending, Some(Ending::Dismissed(Code::ShuttingDown, _))) {
                        self.timer = Some(Timer::after(LINGER_AT_STOP));
                    }
                    Progress::Made
                }
                Stage::Flushing => Progress::Stuck,
                Stage::Draining => match self.drain(cx, &mut turn) {
                    Some(progress) => progress,
                    None => return self.over(Ending::Closed),
                },
            };
            if self.stage != Stage::Talking && self.overdue(cx) == Progress::Made {
                return self.over(Ending::Lost);
            }
            if turn.is_over(&*self.core.environment.clock) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // After a write, a connection that was held up may be read from again. Otherwise there is nothing to do
            // but to process what has arrived meanwhile.
            let goes_on = match wrote {
                Progress::Made => self.session.peer().wrote() || outbox.crowded,
                Progress::Stuck => false,
            };
            if !goes_on && progress == Progress::Stuck {
                return Poll::Pending;
            }
        }
    }

    /// Returns whether everything taken from the outbox is written.
    fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.taken.is_empty()
    }

    /// Writes what was taken from the outbox. Returns `Made` when all of it is written, so that there may be more to
    /// take.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<Progress> {
        if self.is_flushed() {
            return Ok(Progress::Stuck);
        }
        while self.written < self.output.len() {
            let Poll::Ready(count) = put(&mut self.stream, cx, &self.output[self.written..]) else {
                return Ok(Progress::Stuck);
            };
            let count = count?;
            self.written += count;
            self.took(count);
        }
        // An idle connection keeps no buffer.
        self.output = Vec::new();
        self.written = 0;
        WRITE_BUFFERS.with_borrow_mut(|buffers| {
            while !self.taken.is_empty() {
                if !self.write_batch(cx, buffers)? {
                    return Ok(Progress::Stuck);
                }
            }
            Ok(Progress::Made)
        })
    }

    /// Writes some of what was taken, and returns whether the stream took it. If not, keeps the rest as the bytes
    /// that the stream must get.
    fn write_batch(&mut self, cx: &mut Context<'_>, buffers: &mut WriteBuffers) -> io::Result<bool> {
        let WriteBuffers { lines, inner, sealed } = buffers;
        let taken = std::mem::take(&mut self.taken);
        // A large chunk goes alone, which saves a copy.
        let mut room = WRITE_SIZE;
        let fits = |chunk: &&Chunk| {
            // The bytes of a piece go into an envelope of their own, after the line that announces them.
            if matches!(chunk, Chunk::Piece(_)) {
                return false;
            }
            let length = chunk.lines().len();
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        };
        let count = taken.iter().take_while(fits).count().max(1);
        let batch = match &taken[..count] {
            [alone] => alone.lines(),
            several => {
                lines.clear();
                several.iter().for_each(|chunk| lines.extend_from_slice(chunk.lines()));
                lines
            }
        };
        let bytes = if let [Chunk::Piece(piece)] = &taken[..count]
            && !piece.bytes.is_empty()
        {
            sealed.clear();
            let now = self.core.now();
            self.codec.encode(&piece.head, now, inner, sealed);
            self.codec.encode_bytes(&piece.bytes, inner, sealed);
            self.codec.encode(&piece.tail, now, inner, sealed);
            &*sealed
        } else if self.codec.is_sealed() {
            sealed.clear();
            self.codec.encode(batch, self.core.now(), inner, sealed);
            &*sealed
        } else {
            batch
        };
        let mut written = 0;
        while written < bytes.len() {
            match put(&mut self.stream, cx, &bytes[written..]) {
                Poll::Ready(count) => {
                    let count = count?;
                    written += count;
                    self.took(count);
                }
                Poll::Pending => {
                    self.output = bytes[written..].to_vec();
                    self.session.peer().holds(self.output.capacity());
                    break;
                }
            }
        }
        self.taken = taken;
        self.taken.drain(..count);
        if self.taken.is_empty() {
            self.taken = Chunks::new();
        }
        // A long list is rare, so the thread does not keep the memory for one.
        for buffer in [inner, sealed] {
            if buffer.capacity() > 4 * WRITE_SIZE {
                *buffer = Vec::new();
            }
        }
        Ok(self.output.is_empty())
    }

    /// Notes that the stream took `count` bytes.
    fn took(&mut self, count: usize) {
        Counters::add(&self.core.counters.bytes_out, count);
        self.session.peer().set_has_read();
        if self.stage == Stage::Flushing {
            // A peer that keeps reading gets everything.
            self.timer = Some(Timer::after(LINGER));
        }
    }

    /// Takes lines, the waiting ones first, unless the session has enough to do.
    fn listen(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &OutboxState,
        turn: &mut Turn,
    ) -> io::Result<Progress> {
        let is_clogged = outbox.crowded || outbox.in_flight.is_full();
        let is_waiting = self.held.is_some() && !outbox.in_flight.is_empty();
        // Otherwise the next read tells.
        let has_lines = self.held.is_some() || !self.input.is_empty() || self.codec.has_lines();
        let may_rest = self.timer.is_some() || has_lines;
        let is_resting = !is_clogged && !is_waiting && may_rest && self.rest(cx) == Progress::Stuck;
        let is_held_up = is_clogged || is_waiting || is_resting;
        self.session.peer().set_held_up(is_held_up);
        if is_held_up {
            return Ok(Progress::Stuck);
        }
        if has_lines {
            let input = std::mem::take(&mut self.input);
            let left = self.take_lines(&input, turn).len();
            self.input = keep_end(input, left);
            return Ok(Progress::Made);
        }
        if let Some(ending) = &self.input_ended {
            let is_done = outbox.in_flight.is_empty() && outbox.empty && self.is_flushed();
            if is_done {
                self.session.peer().end(ending.clone());
            }
            return Ok(if is_done { Progress::Made } else { Progress::Stuck });
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            // What is read and cannot be taken yet is memory of this server.
            let most = most_to_read(self.flow.allowance(), self.session.expects_bytes());
            let Poll::Ready(count) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer[..most]) else {
                return Ok(Progress::Stuck);
            };
            let count = count?;
            if count == 0 {
                // On a sealed connection, an end that is not sealed means that the stream was cut off.
                self.input_ended = Some(if self.codec.is_sealed() { Ending::Lost } else { Ending::Closed });
                return Ok(Progress::Made);
            }
            Counters::add(&self.core.counters.bytes_in, count);
            // Input without a complete line counts as one, so that it gets no more than its turn.
            turn.took_line(&*self.core.environment.clock);
            self.session.peer().heard_at(self.core.now());
            self.refill();
            let left = self.take_lines(&buffer[..count], turn);
            self.input = left.to_vec();
            if self.codec.has_opened() {
                self.session.peer().set_proved();
            }
            Ok(Progress::Made)
        })
    }

    /// Hands lines to the session until one has to wait, and returns the rest of the input.
    fn take_lines<'i>(&mut self, mut input: &'i [u8], turn: &mut Turn) -> &'i [u8] {
        if !self.is_first_byte_judged
            && let Some(&first) = input.first()
            && Opening::of_byte(first) == Some(Opening::NotChat)
        {
            self.refuse(Code::NotChat, "this is a chat daemon, and that is no line of text");
            return &[];
        }
        self.is_first_byte_judged = true;
        if let Some(held) = self.held.take() {
            let in_flight = self.session.peer().in_flight();
            let step = match &held {
                Held::Line(line) => self.session.line(line, in_flight),
                Held::Fault(fault) => self.session.fault(*fault, in_flight),
            };
            match step {
                Step::Done { bytes, .. } => self.line_done(bytes),
                Step::Hold => {
                    self.held = Some(held);
                    return input;
                }
            }
        }
        while !turn.is_over(&*self.core.environment.clock) && self.flow.may_take() {
            let Some(in_flight) = self.session.peer().may_go_on() else { return input };
            let Some(item) = self.codec.next(&mut input) else { return &[] };
            turn.took_line(&*self.core.environment.clock);
            let step = match item {
                Item::Bytes { piece, last } => {
                    self.session.bytes(piece, last);
                    continue;
                }
                Item::KeyUpdated => {
                    self.flow.take();
                    continue;
                }
                Item::Closed(_) => {
                    self.input_ended = Some(Ending::Closed);
                    return &[];
                }
                Item::Broken(text) => {
                    self.session.peer().end(Ending::Broken(text));
                    return &[];
                }
                Item::Line(line) => {
                    self.flow.take();
                    if self.opening.is_none() {
                        self.opening = Some(Opening::of_line(line));
                        if self.opening == Some(Opening::Hello) {
                            let mut line = line.to_owned();
                            if self.codec.had_carriage_return() {
                                // The client has hashed the carriage return too. With it, the line is not a valid
                                // HELLO.
                                line.push('\r');
                            }
                            self.shake_hands(&line);
                            continue;
                        }
                        if refuse_opening(
                            Opening::of_line(line),
                            self.origin,
                            &self.core,
                            self.session.peer(),
                        ) {
                            return &[];
                        }
                    }
                    let limit = self.session.line_limit();
                    let step = if line.len() > limit {
                        self.session.fault(Fault::TooLong { limit }, in_flight)
                    } else {
                        self.session.line(line, in_flight)
                    };
                    if step == Step::Hold {
                        self.held = Some(Held::Line(line.to_owned()));
                    }
                    step
                }
                Item::Fault(fault) => {
                    self.flow.take();
                    if self.opening.is_none() {
                        // Invalid input is unencrypted input too.
                        self.opening = Some(Opening::Plain);
                        if refuse_opening(Opening::Plain, self.origin, &self.core, self.session.peer()) {
                            return &[];
                        }
                    }
                    let step = self.session.fault(fault, in_flight);
                    if step == Step::Hold {
                        self.held = Some(Held::Fault(fault));
                    }
                    step
                }
            };
            match step {
                Step::Done { bytes, is_piece } => {
                    if is_piece {
                        self.flow.give_back();
                    }
                    self.line_done(bytes);
                }
                Step::Hold => return input,
            }
        }
        input
    }

    fn line_done(&mut self, bytes: Option<u64>) {
        let is_named = self.session.peer().identity() != 0;
        self.codec.set_limit(self.session.line_limit(), is_named);
        if let Some(count) = bytes {
            self.codec.expect_bytes(count);
        }
    }

    /// Answers a HELLO. Everything after it is sealed.
    fn shake_hands(&mut self, hello: &str) {
        let handshake = &self.core.handshake;
        let peer = Arc::clone(self.session.peer());
        // Only TCP clients need a pre-shared key. The others are on this machine.
        let near = ServerOptions::default();
        let options = if self.origin.is_tcp() { &handshake.options } else { &near };
        match envelope::accept(hello, &handshake.key, options, &handshake.random) {
            Ok((reply, channel)) => {
                // The reply goes after any unwritten rest of the greeting, and before anything sealed.
                self.output.extend_from_slice(reply.as_bytes());
                self.session.set_binding(*channel.binding.as_bytes());
                self.codec = Codec::sealed(channel, End::Server, self.session.line_limit(), self.core.now());
                peer.set_greeted();
                peer.set_answers_pings();
            }
            Err(error) => {
                let mut line = format!("ERR HELLO {} {error}\n", error.code()).into_bytes();
                self.output.append(&mut line);
                peer.end(Ending::Closed);
            }
        }
    }

    fn refuse(&mut self, code: Code, text: &str) {
        self.session.peer().end(Ending::Dismissed(code, text.to_owned()));
    }

    /// Lets a session rest that has sent too much. Returns `Stuck` while it must rest.
    fn rest(&mut self, cx: &mut Context<'_>) -> Progress {
        if let Some(timer) = &mut self.timer {
            if Pin::new(timer).poll(cx).is_pending() {
                return Progress::Stuck;
            }
            self.timer = None;
        }
        let Some(wait) = self.refill() else { return Progress::Made };
        let mut timer = Timer::after(wait);
        let is_pending = Pin::new(&mut timer).poll(cx).is_pending();
        self.timer = Some(timer);
        if is_pending { Progress::Stuck } else { Progress::Made }
    }

    /// Adds the lines that the rate limit allows by now. Returns the time to wait if none may be taken.
    fn refill(&mut self) -> Option<Duration> {
        if !self.origin.is_throttled() {
            return None;
        }
        let limits = &self.core.config().limits;
        self.flow.spend(self.session.peer().spent.take());
        self.flow.refill(self.core.environment.clock.elapsed(), limits.burst, limits.rate)
    }

    /// Returns `Made` when the time for an ended connection is over.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Progress {
        let is_pending = self.timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_pending());
        if is_pending { Progress::Stuck } else { Progress::Made }
    }

    /// Reads input and discards it. Returns `None` when the peer has closed.
    fn drain(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<Progress> {
        turn.took_line(&*self.core.environment.clock);
        READ_BUFFER.with_borrow_mut(|buffer| match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => Some(Progress::Stuck),
            Poll::Ready(Ok(1..)) => Some(Progress::Made),
            Poll::Ready(_) => None,
        })
    }

    fn over(&mut self, ending: Ending) -> Poll<()> {
        self.ending.get_or_insert(ending);
        Poll::Ready(())
    }
}

impl<S: Stream> Future for Connection<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().turn(cx)
    }
}

impl<S> Connection<S> {
    /// Ends the session. From here on, nothing is put into its outbox.
    fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            let ending = self.ending.clone().unwrap_or(Ending::Lost);
            self.session.peer().end(Ending::Closed);
            self.session.finish(&ending);
        }
    }
}

impl<S> Drop for Connection<S> {
    /// Ends the session properly, even if the daemon drops the connection halfway.
    fn drop(&mut self) {
        self.finish();
    }
}

/// Ends a connection that may not open this way, and tells the client why. Returns whether it did.
fn refuse_opening(opening: Opening, origin: Origin, core: &Core, peer: &Peer) -> bool {
    let plaintext = core.config().listen.plaintext;
    let (code, text) = match opening {
        Opening::NotChat => (Code::NotChat, "this is a chat daemon, not a web server"),
        Opening::Plain if origin.must_seal(plaintext) => match plaintext {
            Plaintext::Never => {
                (Code::Plaintext, "this daemon takes only sealed connections; use snug, or the Unix socket")
            }
            _ => {
                (Code::Plaintext, "in the clear this daemon talks only to its own machine; use the envelope")
            }
        },
        Opening::Hello | Opening::Plain => return false,
    };
    peer.end(Ending::Dismissed(code, text.to_owned()));
    true
}

/// Writes as many bytes as the stream takes now, at least one.
fn put(stream: &mut (impl Stream + ?Sized), cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}

/// Returns how many bytes to read at once from a client that may say so many messages now.
fn most_to_read(allowance: Option<f64>, expects_bytes: bool) -> usize {
    const LEAST: f64 = 4_096.0;
    /// Roughly the shortest message.
    const MESSAGE: f64 = 16.0;
    match allowance {
        Some(messages) if !expects_bytes => (messages * MESSAGE).clamp(LEAST, READ_SIZE as f64) as usize,
        _ => READ_SIZE,
    }
}

/// Returns the last `left` bytes of `input`, in a buffer of that size.
fn keep_end(input: Vec<u8>, left: usize) -> Vec<u8> {
    if left == input.len() { input } else { input[input.len() - left..].to_vec() }
}

#[cfg(test)]
mod tests {
    use futures_lite::io::{AsyncReadExt, AsyncWriteExt, Cursor};
    use ring::rand::SystemRandom;
    use snug_protocol::LogName;
    use snug_protocol::envelope::{ServerKey, ServerOptions};

    use super::*;
    use crate::Environment;
    use crate::config::Config;
    use crate::core::Handshake;
    use crate::log::Storage;
    use crate::net::local::Duplex;

    type Piped = Connection<Duplex<Cursor<Vec<u8>>>>;

    /// Returns the connection of a client at `origin` that sends `bytes` and closes.
    fn connection(settings: &str, origin: Origin, bytes: &[u8], writer: piper::Writer) -> Piped {
        connection_over(settings, origin, Duplex { reader: Cursor::new(bytes.to_vec()), writer })
    }

    fn connection_over<S: Stream>(settings: &str, origin: Origin, stream: S) -> Connection<S> {
        let config = Config::from_toml(settings).expect("a configuration");
        let key = ServerKey::from_seed(&[7; 32]).expect("a key");
        let handshake = Handshake { key, options: ServerOptions::default(), random: SystemRandom::new() };
        let place = (LogName::default(), Storage::Memory);
        let core = Arc::new(Core::new(config, Environment::default(), Vec::new(), place, handshake));
        let peer = core.new_peer(origin);
        core.registry.admit(&peer, &core.config().limits).expect("there is room");
        Connection::new(core, stream, peer, origin)
    }

    /// Returns what such a client receives after the greeting.
    fn hears(settings: &str, origin: Origin, bytes: &[u8]) -> String {
        let (mut hearing, writer) = piper::pipe(1 << 20);
        let connection = connection(settings, origin, bytes, writer);
        smol::block_on(async {
            connection.await;
            let mut heard = String::new();
            hearing.read_to_string(&mut heard).await.expect("text");
            heard.split_once('\n').expect("a greeting").1.to_owned()
        })
    }

    /// Returns the number of answers to `count` PINGs in one envelope, of a client that then waits.
    fn answers_to_pings(settings: &str, count: usize) -> usize {
        use snug_protocol::envelope::{ClientHandshake, ClientOptions, Padding};
        let random = SystemRandom::new();
        let client = ClientHandshake::start_classical(ClientOptions::default(), &random).expect("a client");
        let (reader, mut said) = piper::pipe(1 << 20);
        let (mut hearing, writer) = piper::pipe(1 << 20);
        let connection = connection_over(settings, NEAR, Duplex { reader, writer });
        let talk = async {
            said.write_all(client.hello().as_bytes()).await.expect("room");
            let mut heard = String::new();
            while heard.matches('\n').count() < 3 {
                let mut byte = [0];
                hearing.read_exact(&mut byte).await.expect("text");
                heard.push(char::from(byte[0]));
            }
            let mut lines = heard.lines().skip(1);
            let mut next = || lines.next().expect("a line");
            let client = client.server_hello(next()).expect("a hello").identity(next()).expect("an identity");
            let mut channel = client.trust();
            let mut stream = Vec::new();
            let pings = "PING 1\n".repeat(count);
            channel.sealer.seal_lines(&pings, Padding::Buckets, &mut stream).expect("sealed");
            said.write_all(&stream).await.expect("room");
            let mut codec = Codec::sealed(channel, End::Client, limits::LINE, 0);
            let (mut answers, mut bytes) = (0, [0; 4_096]);
            while answers < count {
                let read = hearing.read(&mut bytes).await.expect("bytes");
                let mut input = &bytes[..read];
                while let Some(item) = codec.next(&mut input) {
                    answers += usize::from(matches!(item, Item::Line("OK PING 1")));
                }
            }
            answers
        };
        let ended = async {
            connection.await;
            0
        };
        let overdue = async {
            Timer::after(Duration::from_secs(30)).await;
            0
        };
        smol::block_on(futures_lite::FutureExt::or(talk, futures_lite::FutureExt::or(ended, overdue)))
    }

    #[test]
    fn a_client_is_read_as_far_as_it_may_speak() {
        assert_eq!(most_to_read(None, false), READ_SIZE);
        assert_eq!(most_to_read(Some(2_000.0), false), 32_000);
        assert_eq!(most_to_read(Some(-500.0), false), 4_096);
        assert_eq!(most_to_read(Some(1e9), false), READ_SIZE);
        assert_eq!(most_to_read(Some(1.0), true), READ_SIZE, "bytes of files are not messages");
    }

    #[test]
    fn all_lines_of_an_envelope_are_taken_however_many_turns_that_takes() {
        assert_eq!(answers_to_pings("", 400), 400);
        assert_eq!(answers_to_pings("[limits]\nburst = 2\nrate = 1000\n", 100), 100, "and however slowly");
    }

    const NEAR: Origin = Origin::Tcp(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const FAR: Origin = Origin::Tcp(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    #[test]
    fn plain_lines_are_taken_only_from_where_the_settings_say() {
        for (plaintext, origin, is_taken) in [
            ("never", NEAR, false),
            ("never", Origin::Unix(1000), true),
            ("loopback", NEAR, true),
            ("loopback", FAR, false),
            ("anywhere", FAR, true),
        ] {
            let settings = format!("[listen]\nplaintext = \"{plaintext}\"\n");
            // An invalid first line does not open the way for plaintext.
            for first in [&b""[..], b"\xff\n", b"\x7f\n", &[b'x'; 5_000], b"\r\n"] {
                let end = if first.len() > 100 { &b"\n"[..] } else { b"" };
                let stream = [first, end, b"PING 1\n"].concat();
                let heard = hears(&settings, origin, &stream);
                assert_eq!(
                    heard.contains("OK PING 1"),
                    is_taken,
                    "{plaintext} {origin:?} {first:?}: {heard}"
                );
                assert_eq!(
                    heard.contains("ERR - plaintext "),
                    !is_taken,
                    "{plaintext} {origin:?} {first:?}: {heard}"
                );
            }
        }
    }

    #[test]
    fn a_hello_is_answered_before_any_policy_and_only_in_its_one_spelling() {
        let share = "2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=";
        let heard =
            hears("[listen]\nplaintext = \"never\"\n", FAR, format!("HELLO snug/1 {share}\n").as_bytes());
        assert!(heard.starts_with("HELLO snug/1 "), "{heard}");
        for (hello, answer) in [
            (format!("HELLO snug/1 {share}\r\n"), "ERR HELLO hello "),
            (format!("HELLO snug/2 {share}\n"), "ERR HELLO version "),
            ("HELLO\n".to_owned(), "ERR HELLO hello "),
            (format!("HELLO snug/1 {share} x={}\n", "y".repeat(5_000)), "ERR - "),
        ] {
            let heard = hears("", FAR, hello.as_bytes());
            assert!(heard.starts_with(answer), "{hello:?}: {heard}");
        }
    }

    #[test]
    fn what_is_not_sealed_after_a_hello_is_never_a_command() {
        let share = "2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=";
        let stream = format!("HELLO snug/1 {share}\nNICK evil\nPING 1\n");
        let heard = hears("", NEAR, stream.as_bytes());
        let mut lines = heard.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("HELLO snug/1 ")));
        assert!(lines.all(|line| !line.contains(' ')), "nothing in the clear: {heard}");
    }

    #[test]
    fn who_says_quit_and_does_not_wait_for_the_answer_has_quit() {
        for (bytes, quits) in [(&b"QUIT bye\n"[..], true), (b"PING 1\n", false)] {
            let (hearing, writer) = piper::pipe(1 << 20);
            drop(hearing);
            let mut connection = connection("", NEAR, bytes, writer);
            smol::block_on(&mut connection);
            assert_eq!(matches!(connection.ending, Some(Ending::Quit(_))), quits, "{:?}", connection.ending);
        }
    }

    #[test]
    fn a_first_byte_of_a_later_piece_decides_nothing() {
        assert!(hears("", NEAR, b"PING a\n\tb\nPING 2\n").contains("OK PING 2"));
    }
}
