//! A connection's bytes, over whatever they go.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_net::TcpStream;
use async_net::unix::UnixStream;
use futures_lite::{AsyncRead, AsyncWrite};

use crate::Address;

/// A byte stream to a daemon. A clone is the same stream, so that one can be read while the other is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over anything else, from [`Stream::over`].
    Other(OtherStream),
}

/// A stream that is no socket. A clone is the same stream.
#[derive(Clone)]
pub struct OtherStream(Arc<Mutex<Option<Box<dyn Transport>>>>);

/// What a connection can go over.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

impl Stream {
    /// Connects to an address.
    ///
    /// # Errors
    /// As the system says.
    pub async fn connect(address: &Address) -> io::Result<Stream> {
        match address {
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Goes over any byte stream within this process, such as a `LocalSession` of the daemon that this program embeds.
    ///
    /// ```
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt};
    /// use snug_client::Stream;
    ///
    /// # futures_lite::future::block_on(async {
    /// let mut stream = Stream::over(futures_lite::io::Cursor::new(b"SNUG/1 hello\n".to_vec()));
    /// let mut greeting = [0; 6];
    /// stream.read_exact(&mut greeting).await?;
    /// assert_eq!(&greeting, b"SNUG/1");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Stream {
        Stream::Other(OtherStream(Arc::new(Mutex::new(Some(Box::new(stream))))))
    }
}

impl OtherStream {
    /// Polls the stream; one that was shut down is broken.
    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut Box<dyn Transport>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl fmt::Debug for OtherStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtherStream")
    }
}

impl Stream {
    /// Closes both directions at once. A connection that is broken already stays so.
    pub fn shutdown(&self) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
            Stream::Other(stream) => {
                stream.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(())
            }
        };
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Other(stream) => stream.poll(|stream| stream.poll_read(cx, buffer)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buffer),
            Stream::Other(stream) => stream.poll(|stream| stream.poll_write(cx, buffer)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Other(stream) => stream.poll(|stream| stream.poll_flush(cx)),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_close(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_close(cx),
            Stream::Other(stream) => stream.poll(|stream| stream.poll_close(cx)),
        }
    }
}
