//! Sessions without a socket, for the program around the daemon and for its bots.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};
use snug_protocol::Request;

use crate::net::listen;
use crate::net::runtime::Runtime;
use crate::origin::Origin;

/// How many bytes may be on their way in each direction before one side waits for the other.
const PIPE: usize = 64 << 10;

/// A session of the daemon within the same process: the same protocol, through memory.
///
/// Dropping it ends the session as closing a socket does.
pub struct LocalSession {
    hearer: Hearer,
    writer: piper::Writer,
}

impl LocalSession {
    /// Opens a session with the daemon of this runtime, past its greeting.
    pub(crate) fn open(runtime: &Arc<Runtime>, origin: Origin) -> LocalSession {
        let (daemon_reader, writer) = piper::pipe(PIPE);
        let (reader, daemon_writer) = piper::pipe(PIPE);
        listen::serve(runtime, Duplex { reader: daemon_reader, writer: daemon_writer }, origin);
        let hearer = Hearer { put_back: VecDeque::new(), begun: Vec::new(), reader: BufReader::new(reader) };
        LocalSession { hearer, writer }
    }

    /// The two halves, for two tasks: one that hears, and one that says.
    pub fn split(self) -> (Hearer, Sayer) {
        (self.hearer, Sayer(self.writer))
    }

    /// Says a line, given without its end.
    ///
    /// # Errors
    /// The session is over.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        self.writer.write_all(line.as_bytes()).await?;
        self.writer.write_all(b"\n").await
    }

    /// Says a command.
    ///
    /// # Errors
    /// The session is over.
    pub async fn request(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        request.write(&mut line);
        self.writer.write_all(&line).await
    }

    /// The next line of the daemon, without its end; `None` when the session is over.
    ///
    /// # Errors
    /// The line is not UTF-8, which the daemon never sends.
    pub async fn hear(&mut self) -> io::Result<Option<String>> {
        self.hearer.hear().await
    }

    /// Lines that were heard and are to be heard again, before all others.
    pub(crate) fn put_back(&mut self, lines: impl IntoIterator<Item = String>) {
        self.hearer.put_back.extend(lines);
    }
}

/// The half of a local session that hears.
pub struct Hearer {
    put_back: VecDeque<String>,
    begun: Vec<u8>,
    reader: BufReader<piper::Reader>,
}

impl Hearer {
    /// The next line of the daemon, without its end; `None` when the session is over. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The line is not UTF-8, which the daemon never sends.
    pub async fn hear(&mut self) -> io::Result<Option<String>> {
        if let Some(line) = self.put_back.pop_front() {
            return Ok(Some(line));
        }
        // What has come of a line stays, should nobody wait for the rest just now.
        self.reader.read_until(b'\n', &mut self.begun).await?;
        if self.begun.is_empty() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.begun);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        String::from_utf8(line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// The half of a local session that says. When it is dropped, the daemon answers what was said and ends the session.
pub struct Sayer(piper::Writer);

impl Sayer {
    /// Says lines that are written already, with their ends.
    pub(crate) async fn raw(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines).await
    }

    /// Says a command.
    ///
    /// # Errors
    /// The session is over.
    pub async fn request(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        request.write(&mut line);
        self.0.write_all(&line).await
    }
}

/// The daemon's end of a local session: what it reads, and the pipe it writes.
pub(crate) struct Duplex<R> {
    pub(crate) reader: R,
    pub(crate) writer: piper::Writer,
}

impl<R: AsyncRead + Unpin> AsyncRead for Duplex<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl<R: Unpin> AsyncWrite for Duplex<R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_close(cx)
    }
}
