//! Lines over a stream, without meaning: what `snug pipe` needs, and what the driver is built on.
//!
//! Over TCP a link is always sealed. It is made only to a server whose key is pinned or known.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use ring::rand::SystemRandom;
use smol::Timer;
use snug_protocol::envelope::{
    ClientHandshake, ClientOptions, Fingerprint, HandshakeError, LINE_BEFORE_OPEN, Offered,
};
use snug_protocol::{CarriageReturn, Codec, Decoded, End, Item, LineDecoder, limits};

use crate::error::ConnectError;
use crate::{Address, Stream, Trust};

/// How many bytes are read at once.
const READ_SIZE: usize = 256 << 10;

/// The longest line that is taken: the daemon keeps to the limit, and one of the future may have another.
const LINE: usize = 2 * limits::LINE;

/// How long a connection may take to be made, without the time for a name.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that carries lines.
pub struct Link {
    reader: Stream,
    writer: Stream,
    codec: Codec,
    /// What stands for the channel, if it is sealed.
    binding: Option<[u8; 32]>,
    /// A line that has announced bytes, and how many are still to come; then the bytes.
    announced: Option<(String, u64)>,
    bytes: Option<Vec<u8>>,
    buffer: Vec<u8>,
    /// What was read and not taken yet stands in `buffer[from..to]`.
    from: usize,
    to: usize,
    outgoing: Vec<u8>,
    written: usize,
    /// What an envelope is made in.
    inner: Vec<u8>,
    started: Instant,
    is_named: bool,
    /// Why the daemon says nothing more, if it has said so.
    closed: Option<String>,
    /// Bytes that were received and sent.
    traffic: (u64, u64),
}

impl Link {
    /// Connects to the first of some addresses that takes a connection.
    ///
    /// # Errors
    /// [`ConnectError::NoServer`] of the last one if none does; any other of the one that did.
    pub async fn reach<'a>(
        addresses: &'a [Address],
        trust: &Trust,
    ) -> Result<(&'a Address, Link), ConnectError> {
        Link::reach_sealed(addresses, trust, &|_| false).await
    }

    /// The same, and sealed also over a Unix socket where that is wanted. What answers there is trusted: whoever can put
    /// a socket into that place is.
    ///
    /// # Errors
    /// As [`Link::reach`].
    pub async fn reach_sealed<'a>(
        addresses: &'a [Address],
        trust: &Trust,
        seals: &(dyn Fn(&Address) -> bool + Sync),
    ) -> Result<(&'a Address, Link), ConnectError> {
        let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "no address was given");
        let mut failed = ConnectError::NoServer { address: Address::Unix("".into()), error: no_address() };
        for address in addresses {
            let connecting = Link::connect_at_leisure(address, trust, seals(address));
            match in_time(address, connecting).await {
                Err(error @ ConnectError::NoServer { .. }) => failed = error,
                connected => return connected.map(|link| (address, link)),
            }
        }
        Err(failed)
    }

    /// Connects, past the greeting; over TCP sealed, to a server that is trusted.
    ///
    /// # Errors
    /// A [`ConnectError`]: there is no server, or it is not known whether it is the right one.
    pub async fn connect(address: &Address, trust: &Trust) -> Result<Link, ConnectError> {
        in_time(address, Link::connect_at_leisure(address, trust, false)).await
    }

    async fn connect_at_leisure(address: &Address, trust: &Trust, seals: bool) -> Result<Link, ConnectError> {
        let failed = |error| ConnectError::NoServer { address: address.clone(), error };
        let mut stream = Stream::connect(address).await.map_err(failed)?;
        let mut opening = Opening::default();
        let mut binding = None;
        let codec = match address {
            Address::Unix(_) if seals => {
                // The pre-shared key is for networks.
                let trust = Trust { psk: None, ..trust.clone() };
                let channel = shake_hands(&mut stream, &mut opening, address, &trust).await?.trust();
                binding = Some(*channel.binding.as_bytes());
                Codec::sealed(channel, End::Client, LINE, 0)
            }
            Address::Unix(_) => {
                opening.greeting(&mut stream, address).await?;
                Codec::plain(LINE)
            }
            Address::Tcp { pin, .. } => {
                let offered = shake_hands(&mut stream, &mut opening, address, trust).await?;
                let fingerprint = offered.key().fingerprint();
                check(address, *pin, fingerprint, trust).await?;
                let channel = offered.trust();
                binding = Some(*channel.binding.as_bytes());
                Codec::sealed(channel, End::Client, LINE, 0)
            }
        };
        Ok(Link::made(stream, opening.rest, codec, binding))
    }

    /// Talks over a stream that is open, past the greeting. It is not sealed.
    ///
    /// ```
    /// use snug_client::{Link, Stream};
    ///
    /// # futures_lite::future::block_on(async {
    /// let greeting = b"SNUG/1 hello\nOK PING 1\n".to_vec();
    /// let mut link = Link::over(Stream::over(futures_lite::io::Cursor::new(greeting))).await?;
    /// while link.take_line()?.is_none() {
    ///     link.advance().await?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The stream ended, or what is there is no snug daemon.
    pub async fn over(mut stream: Stream) -> Result<Link, ConnectError> {
        // Such a stream has no address.
        let address = Address::Unix("".into());
        let mut opening = Opening::default();
        in_time(&address, opening.greeting(&mut stream, &address)).await?;
        Ok(Link::made(stream, opening.rest, Codec::plain(LINE), None))
    }

    /// A link over a stream of which `rest` was read already.
    fn made(stream: Stream, rest: Vec<u8>, codec: Codec, binding: Option<[u8; 32]>) -> Link {
        let mut buffer = rest;
        let to = buffer.len();
        buffer.resize(READ_SIZE.max(to), 0);
        Link {
            reader: stream.clone(),
            writer: stream,
            codec,
            binding,
            bytes: None,
            announced: None,
            buffer,
            from: 0,
            to,
            outgoing: Vec::new(),
            written: 0,
            inner: Vec::new(),
            started: Instant::now(),
            is_named: false,
            closed: None,
            traffic: (0, 0),
        }
    }

    /// Asks a server for its fingerprint, whether it is trusted or not, and says nothing to it.
    ///
    /// # Errors
    /// A [`ConnectError`]: there is no server, or it cannot prove that it has a key.
    pub async fn fingerprint(address: &Address, trust: &Trust) -> Result<Fingerprint, ConnectError> {
        let failed = |error| ConnectError::NoServer { address: address.clone(), error };
        let ask = async {
            let mut stream = Stream::connect(address).await.map_err(failed)?;
            let offered = shake_hands(&mut stream, &mut Opening::default(), address, trust).await?;
            Ok(offered.key().fingerprint())
        };
        in_time(address, ask).await
    }

    /// Puts whole lines with their ends behind what is to be written.
    pub fn queue(&mut self, lines: &[u8]) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.codec.encode(lines, now, &mut self.inner, &mut self.outgoing);
    }

    /// Puts bytes behind the line that has announced them, which was queued last.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.codec.encode_bytes(bytes, &mut self.inner, &mut self.outgoing);
    }

    /// The bytes that the line has announced which was taken last.
    pub fn take_bytes(&mut self) -> Option<Vec<u8>> {
        self.bytes.take()
    }

    /// What stands for the channel, if it is sealed: what a login by key is signed over.
    pub fn binding(&self) -> Option<[u8; 32]> {
        self.binding
    }

    /// Tells the daemon at once that the handshake is done, for those who may say nothing for a while.
    pub fn prove(&mut self) {
        self.outgoing.append(&mut self.codec.prove());
    }

    /// How many bytes were received and sent behind the opening, as they went over the network.
    pub fn traffic(&self) -> (u64, u64) {
        self.traffic
    }

    /// How many bytes are still to be written.
    pub fn queued(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Takes a line that was read already.
    ///
    /// # Errors
    /// The daemon sent something that is no line, or that was not sealed by it.
    pub fn take_line(&mut self) -> io::Result<Option<String>> {
        if self.closed.is_some() {
            return Ok(None);
        }
        let mut input = &self.buffer[self.from..self.to];
        let bad = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        let line = match self.codec.next(&mut input) {
            None => Ok(None),
            Some(Item::Line(line)) => {
                let line = line.to_owned();
                match announced_count(&line) {
                    None => Ok(Some(line)),
                    Some(count) => {
                        self.from = self.to - input.len();
                        self.codec.expect_bytes(count);
                        // A plain stream has no piece of nothing.
                        let is_empty = count == 0 && !self.codec.is_sealed();
                        self.bytes = Some(Vec::new());
                        if is_empty {
                            return Ok(Some(line));
                        }
                        self.announced = Some((line, count));
                        return self.take_line();
                    }
                }
            }
            Some(Item::Bytes { piece, last }) => {
                let Some((line, _)) = &self.announced else {
                    return bad("bytes came that nobody announced".to_owned());
                };
                let line = line.clone();
                let bytes = self.bytes.get_or_insert_default();
                if bytes.is_empty() {
                    *bytes = piece.into_owned();
                } else {
                    bytes.extend_from_slice(&piece);
                }
                self.from = self.to - input.len();
                if !last {
                    return self.take_line();
                }
                self.announced = None;
                return Ok(Some(line));
            }
            Some(Item::KeyUpdated) => {
                self.from = self.to - input.len();
                return self.take_line();
            }
            Some(Item::Closed(reason)) => {
                self.closed = Some(reason);
                Ok(None)
            }
            Some(Item::Fault(fault)) => bad(fault.to_string()),
            Some(Item::Broken(text)) => bad(text.to_owned()),
        };
        self.from = self.to - input.len();
        let is_welcome =
            |line: &str| ["OK NICK ", "OK AUTH ", "OK REGISTER "].iter().any(|ok| line.contains(ok));
        if !self.is_named && matches!(&line, Ok(Some(line)) if is_welcome(line)) {
            self.is_named = true;
            self.codec.set_limit(LINE, true);
        }
        line
    }

    /// Waits until something was read or written: [`Link::take_line`] may have a line then. `false` when the daemon
    /// has ended in order. May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke. Sealed, that is also an end of the stream that the daemon has not sealed: somebody may
    /// have cut it.
    pub async fn advance(&mut self) -> io::Result<bool> {
        if self.closed.is_some() {
            return Ok(false);
        }
        let is_sealed = self.codec.is_sealed();
        let Link { reader, writer, buffer, from, to, outgoing, written, traffic, .. } = self;
        let can_read = *from == *to;
        let read = async {
            if !can_read {
                return futures_lite::future::pending().await;
            }
            Moved::Read(reader.read(buffer).await)
        };
        let write = async {
            if outgoing.is_empty() {
                return futures_lite::future::pending().await;
            }
            Moved::Written(writer.write(&outgoing[*written..]).await)
        };
        match futures_lite::future::race(read, write).await {
            Moved::Read(count) => {
                (*from, *to) = (0, count?);
                traffic.0 += *to as u64;
                if *to == 0 && is_sealed {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection lost"));
                }
                Ok(*to > 0)
            }
            Moved::Written(count) => {
                let count = count?;
                *written += count;
                traffic.1 += count as u64;
                if *written == outgoing.len() {
                    outgoing.clear();
                    *written = 0;
                }
                Ok(true)
            }
        }
    }

    /// Why the daemon has ended the connection; empty if it was asked to, or did not say.
    pub fn reason(&self) -> &str {
        self.closed.as_deref().unwrap_or_default()
    }

    /// Gives the connection up, so that the daemon need not wait for this side to close.
    pub fn give_up(&self) {
        self.writer.shutdown();
    }

    /// Writes what waits, and says that nothing more will come.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish_writing(&mut self) -> io::Result<()> {
        self.outgoing.append(&mut self.codec.close(""));
        self.writer.write_all(&self.outgoing[self.written..]).await?;
        self.outgoing.clear();
        self.written = 0;
        self.writer.close().await
    }
}

/// How many bytes follow a line.
fn announced_count(line: &str) -> Option<u64> {
    let line = snug_protocol::Line::parse(line).ok()?;
    snug_protocol::announced_bytes(line.tags).ok().flatten()
}

enum Moved {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
}

/// Gives up when a connection takes too long to be made.
async fn in_time<T>(
    address: &Address,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let overdue = async {
        Timer::after(PATIENCE).await;
        Err(ConnectError::Lost { address: address.clone(), error: io::ErrorKind::TimedOut.into() })
    };
    connecting.or(overdue).await
}

/// Lines before there is a link.
#[derive(Default)]
struct Opening {
    /// What was read behind the lines that were taken.
    rest: Vec<u8>,
}

impl Opening {
    /// Takes the daemon's greeting.
    async fn greeting(&mut self, stream: &mut Stream, address: &Address) -> Result<(), ConnectError> {
        let said = self.line(stream, address).await?;
        if said.starts_with("SNUG/1 ") {
            return Ok(());
        }
        Err(ConnectError::NotSnug { address: address.clone(), said })
    }

    async fn line(&mut self, stream: &mut Stream, address: &Address) -> Result<String, ConnectError> {
        let lost = |error| ConnectError::Lost { address: address.clone(), error };
        // A CR would be part of what both sides hash.
        let mut decoder = LineDecoder::new(LINE_BEFORE_OPEN).carriage_return(CarriageReturn::Refused);
        let mut input = std::mem::take(&mut self.rest);
        loop {
            let mut left = &input[..];
            if let Some(decoded) = decoder.next(&mut left) {
                let line = match decoded {
                    Decoded::Line(line) => Ok(line.to_owned()),
                    _ => Err(ConnectError::NotSnug {
                        address: address.clone(),
                        said: "no line of text".to_owned(),
                    }),
                };
                self.rest = left.to_vec();
                return line;
            }
            input.resize(4_096, 0);
            let count = stream.read(&mut input).await.map_err(lost)?;
            if count == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
            input.truncate(count);
        }
    }
}

/// Greets, and lets the server prove that it has a key. Nothing that matters is said before it is trusted.
async fn shake_hands(
    stream: &mut Stream,
    opening: &mut Opening,
    address: &Address,
    trust: &Trust,
) -> Result<Offered, ConnectError> {
    let failed = |error| ConnectError::Handshake { address: address.clone(), error };
    let options = ClientOptions { psk: trust.psk.clone(), insist_on_mlkem768: false };
    let handshake = ClientHandshake::start(options, &SystemRandom::new()).map_err(failed)?;
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    stream.write_all(handshake.hello().as_bytes()).await.map_err(lost)?;
    opening.greeting(stream, address).await?;
    let hello = opening.line(stream, address).await?;
    if let Some(refused) = hello.strip_prefix("ERR - ") {
        let (code, text) = refused.split_once(' ').unwrap_or((refused, ""));
        let refused = HandshakeError::Refused { code: code.to_owned(), text: text.to_owned() };
        return Err(failed(refused));
    }
    let waiting = handshake.server_hello(&hello).map_err(failed)?;
    let identity = opening.line(stream, address).await?;
    waiting.identity(&identity).map_err(failed)
}

/// Whether a server with this key is the one that is meant.
async fn check(
    address: &Address,
    pin: Option<Fingerprint>,
    offered: Fingerprint,
    trust: &Trust,
) -> Result<(), ConnectError> {
    let expected = match pin {
        Some(pin) => Some(pin),
        None => {
            // That reads a file, which others may hold.
            let (known, server) = (Arc::clone(&trust.known), address.to_string());
            let found = smol::unblock(move || known.find(&server)).await;
            found.map_err(|error| ConnectError::Lost { address: address.clone(), error })?
        }
    };
    match expected {
        Some(expected) if expected == offered => Ok(()),
        Some(expected) => Err(ConnectError::Changed { address: address.clone(), expected, offered }),
        None => Err(ConnectError::Unknown { address: address.clone(), offered }),
    }
}
