//! A socket that is read only when there is something to read.
//!
//! A connection is woken mostly because it has something to write. Asking the system each time whether there is also
//! something to read was two system calls of three under load. The reactor knows without one.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

/// A socket that asks the reactor before it reads.
pub(crate) struct Socket<T> {
    inner: Arc<Async<T>>,
    /// Whether the last read took everything that had arrived.
    is_drained: bool,
}

impl<T> Socket<T> {
    pub(crate) fn new(inner: Arc<Async<T>>) -> Socket<T> {
        Socket { inner, is_drained: false }
    }
}

impl<T> AsyncRead for Socket<T>
where
    for<'s> &'s Async<T>: AsyncRead,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_drained {
            ready!(self.inner.poll_readable(cx))?;
        }
        let polled = Pin::new(&mut &*self.inner).poll_read(cx, buffer);
        // A read that does not fill the buffer has taken everything. At its end, a stream stays readable.
        self.is_drained = match &polled {
            Poll::Ready(Ok(count)) => *count > 0 && *count < buffer.len(),
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        polled
    }
}

impl<T: AsFd> AsyncWrite for Socket<T>
where
    for<'s> &'s Async<T>: AsyncWrite,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.inner).poll_write(cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.inner).poll_flush(cx)
    }

    /// Shuts down the write side, so that the peer sees the end at once. `Async` itself would only flush.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut &*self.inner).poll_flush(cx))?;
        match rustix::net::shutdown(&*self.inner, rustix::net::Shutdown::Write) {
            // The peer has closed already.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use futures_lite::AsyncWriteExt;

    use super::*;

    #[test]
    fn closing_tells_the_peer_while_the_socket_is_still_there() {
        let (own, mut peer) = UnixStream::pair().expect("a pair");
        // This timeout is what fails the test if the end does not arrive.
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let mut socket = Socket::new(Arc::new(Async::new(own).expect("a socket")));
        smol::block_on(async {
            socket.write_all(b"OK QUIT\n").await.expect("room");
            socket.close().await.expect("an end");
            socket.close().await.expect("once more does no harm");
        });
        let mut heard = String::new();
        peer.read_to_string(&mut heard).expect("an end in time");
        assert_eq!(heard, "OK QUIT\n");
        drop(peer);
        smol::block_on(socket.close()).expect("the peer has gone");
    }
}
