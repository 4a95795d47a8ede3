//! A socket that is read only when there is something to read.
//!
//! A connection is woken mostly because it has something to write. Asking the system each time whether there is also
//! something to read was two system calls of three under load. The reactor knows without one: it wakes a connection
//! through [`News`] when something has arrived, and through nothing else.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

/// A socket that asks the reactor before it reads.
pub(crate) struct Socket<T> {
    inner: Arc<Async<T>>,
    /// Whether the last read took everything that had arrived.
    is_drained: bool,
    /// The waker that the reactor calls; `None` before the first wait.
    news: Option<Arc<News>>,
    /// Whether the reactor holds that waker.
    is_registered: bool,
}

/// Wakes the task of a connection, and notes that something has arrived for it.
///
/// `Async::poll_readable` alone cannot tell: it takes an event for old if the reactor was already waiting when the
/// interest was registered. A connection that asked it again at each wake, on a busy thread, never read at all.
struct News {
    task: Waker,
    has_arrived: AtomicBool,
}

impl Wake for News {
    fn wake(self: Arc<News>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<News>) {
        self.has_arrived.store(true, Release);
        self.task.wake_by_ref();
    }
}

impl<T> Socket<T> {
    pub(crate) fn new(inner: Arc<Async<T>>) -> Socket<T> {
        Socket { inner, is_drained: false, news: None, is_registered: false }
    }

    /// Returns the waker to give to the reactor for the task of `cx`. A task keeps its waker, so it is made once.
    fn news(&mut self, cx: &Context<'_>) -> Arc<News> {
        match &self.news {
            Some(news) if news.task.will_wake(cx.waker()) => Arc::clone(news),
            _ => {
                let news = Arc::new(News { task: cx.waker().clone(), has_arrived: AtomicBool::new(false) });
                self.is_registered = false;
                self.news = Some(Arc::clone(&news));
                news
            }
        }
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
        let news = self.news(cx);
        let has_arrived = news.has_arrived.swap(false, AcqRel);
        if has_arrived {
            // The reactor has given the waker back.
            self.is_registered = false;
        }
        if self.is_drained && self.is_registered && !has_arrived {
            return Poll::Pending;
        }
        let waker = Waker::from(news);
        let mut cx = Context::from_waker(&waker);
        if self.is_drained {
            match self.inner.poll_readable(&mut cx) {
                Poll::Ready(readable) => readable?,
                Poll::Pending => {
                    self.is_registered = true;
                    // What has arrived is read, whatever the reactor takes it for.
                    if !has_arrived {
                        return Poll::Pending;
                    }
                }
            }
        }
        let polled = Pin::new(&mut &*self.inner).poll_read(&mut cx, buffer);
        // A read that does not fill the buffer has taken everything. At its end, a stream stays readable.
        self.is_drained = match &polled {
            Poll::Ready(Ok(count)) => *count > 0 && *count < buffer.len(),
            Poll::Ready(Err(_)) => false,
            Poll::Pending => {
                self.is_registered = true;
                true
            }
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
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use futures_lite::AsyncWriteExt;

    use super::*;

    /// A task that is polled by hand. It says when it is woken.
    struct Task(std::sync::mpsc::SyncSender<()>);

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            // A wake that is already noted says it all.
            let _ = self.0.try_send(());
        }
    }

    #[test]
    fn what_arrives_is_read_at_the_first_wake_however_often_it_was_asked_for_before() {
        let (own, mut peer) = UnixStream::pair().expect("a pair");
        let mut socket = Socket::new(Arc::new(Async::new(own).expect("a socket")));
        let (woken, wakes) = std::sync::mpsc::sync_channel(1);
        let waker = Waker::from(Arc::new(Task(woken)));
        let mut cx = Context::from_waker(&waker);
        let mut buffer = [0; 64];
        let mut read = move || Pin::new(&mut socket).poll_read(&mut cx, &mut buffer);
        let mut in_vain = 0;
        for round in 0..100 {
            // A busy thread polls it because there is something to write.
            for _ in 0..3 {
                assert!(read().is_pending(), "{round}");
            }
            peer.write_all(b"PING\n").expect("room");
            loop {
                wakes.recv_timeout(Duration::from_secs(10)).expect("a wake");
                match read() {
                    Poll::Ready(count) => break assert!(matches!(count, Ok(5)), "{round}"),
                    // A late wake for what was read before, which is rare.
                    Poll::Pending => in_vain += 1,
                }
            }
        }
        assert!(in_vain < 20, "{in_vain} of 100 wakes led to no read");
    }

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
