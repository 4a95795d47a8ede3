//! Sessions without a socket, for the program around the daemon and for its bots.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};
use snug_protocol::Request;

use crate::listen;
use crate::runtime::Runtime;
use crate::session::Origin;

/// How many bytes may be on their way in each direction before one side waits for the other.
const PIPE: usize = 64 << 10;

/// A session of the daemon within the same process: the same protocol, through memory.
///
/// Dropping it ends the session as closing a socket does.
pub struct LocalSession {
    reader: BufReader<piper::Reader>,
    writer: piper::Writer,
}

impl LocalSession {
    /// Opens a session with the daemon of this runtime, past its greeting.
    pub(crate) fn open(runtime: &Arc<Runtime>, origin: Origin) -> LocalSession {
        let (daemon_reader, writer) = piper::pipe(PIPE);
        let (reader, daemon_writer) = piper::pipe(PIPE);
        listen::serve(runtime, Duplex { reader: daemon_reader, writer: daemon_writer }, origin);
        LocalSession { reader: BufReader::new(reader), writer }
    }

    /// The two halves, for two tasks: one that hears, and one that says.
    pub fn split(self) -> (Hearer, Sayer) {
        (Hearer(self.reader), Sayer(self.writer))
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
        hear(&mut self.reader).await
    }
}

/// The half of a local session that hears.
pub struct Hearer(BufReader<piper::Reader>);

impl Hearer {
    /// The next line of the daemon, without its end; `None` when the session is over.
    ///
    /// # Errors
    /// The line is not UTF-8, which the daemon never sends.
    pub async fn hear(&mut self) -> io::Result<Option<String>> {
        hear(&mut self.0).await
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

async fn hear(reader: &mut BufReader<piper::Reader>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    line.truncate(line.trim_end_matches('\n').len());
    Ok(Some(line))
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
