//! Sessions without a socket, for the embedding program and for bots.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};
use snug_protocol::{Request, Scope};

use crate::net::listen;
use crate::net::runtime::Runtime;
use crate::origin::Origin;

/// Bytes that may be in flight in each direction before one side waits for the other.
const PIPE: usize = 64 << 10;

/// A session with the daemon within the same process: the same protocol, through memory.
///
/// It starts with the daemon's greeting, as a socket does. Dropping it ends the session, as closing a socket does. As a
/// byte stream it can be handed to the client library, which resumes by opening another one.
///
/// ```
/// # use snug_daemon::{Config, Daemon, SessionRole};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut config = Config::default();
/// # config.listen.tcp = Vec::new();
/// # smol::block_on(async {
/// let daemon = Daemon::bind(config).await?;
/// let handle = daemon.handle();
/// let work = async {
///     let mut session = handle.open_session(SessionRole::Guest);
///     assert!(session.next_line().await?.expect("a greeting").starts_with("SNUG/1 "));
///     session.send_line("NICK builder").await?;
///     assert!(session.next_line().await?.expect("an answer").ends_with("OK NICK builder"));
///     handle.stop();
///     Ok(())
/// };
/// futures_lite::future::zip(daemon.run(), work).await.1
/// # })
/// # }
/// ```
pub struct LocalSession {
    reader: LocalReader,
    writer: LocalWriter,
}

impl LocalSession {
    /// Opens a session with the daemon of this runtime.
    pub(crate) fn open(runtime: &Arc<Runtime>, origin: Origin) -> LocalSession {
        LocalSession::open_within(runtime, origin, None)
    }

    /// Does the same for a bot that is confined to the rooms of a scope.
    pub(crate) fn open_within(runtime: &Arc<Runtime>, origin: Origin, scope: Option<&Scope>) -> LocalSession {
        let (daemon_reader, writer) = piper::pipe(PIPE);
        let (reader, daemon_writer) = piper::pipe(PIPE);
        listen::serve_within(
            runtime,
            Duplex { reader: daemon_reader, writer: daemon_writer },
            origin,
            scope.cloned(),
        );
        let reader = LocalReader { put_back: Vec::new(), begun: Vec::new(), reader: BufReader::new(reader) };
        LocalSession { reader, writer: LocalWriter(writer) }
    }

    /// Splits the session into two halves, so that one task can read while another one writes.
    ///
    /// ```
    /// # use snug_daemon::{Config, Daemon, SessionRole};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = Config::default();
    /// # config.listen.tcp = Vec::new();
    /// # smol::block_on(async {
    /// # let daemon = Daemon::bind(config).await?;
    /// # let handle = daemon.handle();
    /// # let work = async {
    /// let (mut reader, mut writer) = handle.open_session(SessionRole::Guest).split();
    /// writer.send_line("NICK alice").await?;
    /// drop(writer); // the daemon answers, and ends the session
    /// let mut lines = Vec::new();
    /// while let Some(line) = reader.next_line().await? {
    ///     lines.push(line);
    /// }
    /// assert!(lines.iter().any(|line| line.ends_with("OK NICK alice")));
    /// # handle.stop();
    /// # Ok(())
    /// # };
    /// # futures_lite::future::zip(daemon.run(), work).await.1
    /// # })
    /// # }
    /// ```
    pub fn split(self) -> (LocalReader, LocalWriter) {
        (self.reader, self.writer)
    }

    /// Sends a line, given without its end.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.writer.send_line(line).await
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn request(&mut self, request: &Request<'_>) -> io::Result<()> {
        self.writer.request(request).await
    }

    /// Returns the daemon's next line without its end; `None` when the session has ended.
    ///
    /// # Errors
    /// The line is not UTF-8, which the daemon never sends.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        self.reader.next_line().await
    }

    /// Puts lines back that were read, to be read again before all others.
    pub(crate) fn put_back(&mut self, lines: impl IntoIterator<Item = String>) {
        let mut bytes: Vec<u8> = lines.into_iter().flat_map(|line| (line + "\n").into_bytes()).collect();
        bytes.append(&mut self.reader.put_back);
        self.reader.put_back = bytes;
    }
}

/// The reading half of a [`LocalSession`], from [`LocalSession::split`].
///
/// ```
/// # use snug_daemon::{Config, Daemon, SessionRole};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut config = Config::default();
/// # config.listen.tcp = Vec::new();
/// # smol::block_on(async {
/// # let daemon = Daemon::bind(config).await?;
/// # let handle = daemon.handle();
/// # let work = async {
/// let (mut reader, _writer) = handle.open_session(SessionRole::Guest).split();
/// let greeting = reader.next_line().await?;
/// assert!(greeting.is_some_and(|line| line.starts_with("SNUG/1 ")));
/// # handle.stop();
/// # Ok(())
/// # };
/// # futures_lite::future::zip(daemon.run(), work).await.1
/// # })
/// # }
/// ```
pub struct LocalReader {
    /// Whole lines that were read and put back.
    put_back: Vec<u8>,
    /// The beginning of a line of which the rest has not come.
    begun: Vec<u8>,
    reader: BufReader<piper::Reader>,
}

impl LocalReader {
    /// Returns the daemon's next line without its end; `None` when the session has ended. If you drop the future, no
    /// bytes are lost.
    ///
    /// # Errors
    /// The line is not UTF-8, which the daemon never sends.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        if let Some(end) = self.put_back.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.put_back.drain(..=end).take(end).collect();
            return text(line).map(Some);
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
        text(line).map(Some)
    }
}

fn text(line: Vec<u8>) -> io::Result<String> {
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The writing half of a [`LocalSession`], from [`LocalSession::split`]. When it is dropped, the daemon answers the
/// commands that it has received and ends the session.
///
/// ```
/// # use snug_daemon::{Config, Daemon, SessionRole};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut config = Config::default();
/// # config.listen.tcp = Vec::new();
/// # smol::block_on(async {
/// # let daemon = Daemon::bind(config).await?;
/// # let handle = daemon.handle();
/// # let work = async {
/// use snug_daemon::protocol::{Command, Request};
///
/// let (mut reader, mut writer) = handle.open_session(SessionRole::Guest).split();
/// writer.request(&Request { label: None, command: Command::Ping { label: Some("now") } }).await?;
/// let _greeting = reader.next_line().await?;
/// assert_eq!(reader.next_line().await?.as_deref(), Some("OK PING now"));
/// # handle.stop();
/// # Ok(())
/// # };
/// # futures_lite::future::zip(daemon.run(), work).await.1
/// # })
/// # }
/// ```
pub struct LocalWriter(piper::Writer);

impl LocalWriter {
    /// Sends a line, given without its end.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.0.write_all(line.as_bytes()).await?;
        self.0.write_all(b"\n").await
    }

    /// Sends lines that are written already, with their ends.
    pub(crate) async fn raw(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines).await
    }

    /// Sends a command.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn request(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut line = Vec::new();
        request.write(&mut line);
        self.0.write_all(&line).await
    }
}

impl AsyncRead for LocalReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let first = if this.put_back.is_empty() { &mut this.begun } else { &mut this.put_back };
        if first.is_empty() {
            return Pin::new(&mut this.reader).poll_read(cx, buffer);
        }
        let count = first.len().min(buffer.len());
        buffer[..count].copy_from_slice(&first[..count]);
        first.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for LocalWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl AsyncRead for LocalSession {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LocalSession {
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

#[cfg(test)]
mod tests {
    use futures_lite::AsyncReadExt;

    use super::*;

    #[test]
    fn lines_that_were_put_back_come_first_as_lines_and_as_bytes() {
        let (reader, mut writer) = piper::pipe(100);
        let mut session = LocalSession {
            reader: LocalReader { put_back: Vec::new(), begun: Vec::new(), reader: BufReader::new(reader) },
            writer: LocalWriter(piper::pipe(1).1),
        };
        smol::block_on(async {
            writer.write_all(b"three\nfour\n").await.expect("room");
            session.put_back(["two".to_owned()]);
            session.put_back(["one".to_owned()]);
            assert_eq!(session.next_line().await.expect("a line").as_deref(), Some("one"));
            let mut bytes = [0; 6];
            session.read_exact(&mut bytes).await.expect("bytes");
            assert_eq!(&bytes, b"two\nth");
            assert_eq!(session.next_line().await.expect("a line").as_deref(), Some("ree"));
            drop(writer);
            assert_eq!(session.next_line().await.expect("a line").as_deref(), Some("four"));
            assert_eq!(session.next_line().await.expect("the end"), None);
        });
    }
}
