//! Listeners, which accept connections.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_net::TcpListener;
use async_net::unix::UnixListener;
use futures_lite::FutureExt;
use smol::{Async, Timer};
use snug_protocol::{Code, Scope, ServerLine};

use crate::config::SOCKET_PATH;
use crate::core::Core;
use crate::fair_queue::FairQueue;
use crate::net::connection::{Connection, GREETING, Stream};
use crate::net::runtime::Runtime;
use crate::net::socket::Socket;
use crate::origin::{Origin, network_of};
use crate::platform;
use crate::refusal::Refusal;
use crate::throttle::Quota;

/// How long to wait if the system has no room for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// An address or path that the daemon cannot listen on, with the system's error.
#[derive(Debug)]
pub(crate) enum BindError {
    Tcp { address: SocketAddr, error: io::Error },
    Unix { path: PathBuf, error: io::Error },
}

/// The sockets that a daemon listens on.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) unix: Option<UnixSocket>,
}

/// A bound Unix socket. Its file is removed when this is dropped.
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
}

impl Listeners {
    /// Binds all addresses.
    pub(crate) async fn bind(tcp: &[SocketAddr], unix: Option<&Path>) -> Result<Listeners, BindError> {
        let mut listeners = Listeners::default();
        for &address in tcp {
            let failed = |error| BindError::Tcp { address, error };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            platform::widen(&listener).map_err(failed)?;
            listeners.tcp.push(listener);
        }
        if let Some(path) = unix {
            listeners.unix = Some(UnixSocket::bind(path)?);
        }
        Ok(listeners)
    }

    /// Returns the addresses, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

impl UnixSocket {
    fn bind(path: &Path) -> Result<UnixSocket, BindError> {
        let failed = |error| BindError::Unix { path: path.to_owned(), error };
        if path.as_os_str().len() > SOCKET_PATH {
            let text = format!("the path has more than {} bytes; choose a shorter one", SOCKET_PATH);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        UnixSocket::clear(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // The folder decides which users may connect. The socket tells which user does.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
        Ok(UnixSocket { listener, path: path.to_owned() })
    }

    /// Removes a socket that an earlier daemon left behind. Keeps one that answers, and a file that is no socket.
    fn clear(path: &Path) -> io::Result<()> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
        }
        fs::remove_file(path)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // The file may have been removed by hand; then there is nothing to do.
        let _ = fs::remove_file(&self.path);
    }
}

/// Maximum number of connections that wait for their turn, of one address and in all. Others are closed.
const WAITING_OF_ONE: usize = 512;
const WAITING: usize = 2_048;

/// Accepts TCP connections for ever.
///
/// The rate is limited, and so is the burst. So the cost of strangers is bounded, whether they send HELLO or hang up
/// at once, and a user in a room waits for only a few of them. The others wait, and addresses take turns.
pub(crate) async fn accept_tcp(runtime: Arc<Runtime>, listener: TcpListener) {
    let core = &runtime.core;
    let mut waiting: FairQueue<IpAddr, Arc<Async<std::net::TcpStream>>> = FairQueue::default();
    let mut wait: Option<Timer> = None;
    loop {
        let arrives = async { Some(listener.accept().await) };
        let is_due = async {
            match &mut wait {
                _ if waiting.is_empty() => futures_lite::future::pending().await,
                Some(timer) => {
                    timer.await;
                }
                None => {}
            }
            None
        };
        let next = match is_due.or(arrives).await {
            // Nobody waits, and nobody has to.
            Some(Ok((stream, address))) if waiting.is_empty() && wait.is_none() => {
                Some((stream.into(), address))
            }
            Some(Ok((stream, address))) => {
                let address = network_of(address.ip().to_canonical());
                let (all, own) = waiting.len(address);
                if own < WAITING_OF_ONE {
                    waiting.push(address, stream.into());
                    if all >= WAITING {
                        waiting.shed();
                    }
                }
                continue;
            }
            Some(Err(error)) => {
                back_off(core, &error).await;
                continue;
            }
            None => waiting.pop().and_then(|(_, stream)| {
                // One that has hung up meanwhile costs nothing more.
                let address = stream.get_ref().peer_addr().ok()?;
                Some((stream, address))
            }),
        };
        if let Some((stream, address)) = next {
            begin(&runtime, stream, address).await;
        }
        let limit = core.config().limits.connections;
        let quota = Quota::per_second(limit, (limit / 100).max(4));
        let now = core.environment.clock.elapsed();
        let pause = quota.map(|quota| core.throttles.connections.reserve((), quota, now));
        wait = pause.filter(|pause| !pause.is_zero()).map(Timer::after);
    }
}

/// Begins to serve a TCP connection.
async fn begin(runtime: &Arc<Runtime>, stream: Arc<Async<std::net::TcpStream>>, address: SocketAddr) {
    let core = &runtime.core;
    if is_short_of_files(stream.get_ref()) {
        let refusal = Refusal::new(Code::TooMany, "the daemon is full; try again later");
        turn_away(Arc::clone(core), Socket::new(stream), refusal).await;
        return back_off(core, &io::Error::other("too few files are left to open")).await;
    }
    let dead = core.config().heartbeat.dead.duration();
    if let Err(error) = platform::tune(stream.as_ref().as_ref(), dead) {
        tracing::debug!(%address, %error, "a connection could not be set up");
    }
    serve(runtime, Socket::new(stream), Origin::Tcp(address.ip().to_canonical()));
}

/// Accepts connections on the Unix socket for ever.
pub(crate) async fn accept_unix(runtime: Arc<Runtime>, socket: UnixSocket) {
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                let inner: Arc<Async<std::os::unix::net::UnixStream>> = stream.into();
                match platform::peer(inner.as_ref().as_ref()) {
                    Ok((user, process)) => {
                        let origin = origin_of(&runtime.core, user, process);
                        serve(&runtime, Socket::new(inner), origin);
                    }
                    Err(error) => tracing::warn!(%error, "the user of a local connection is not known"),
                }
            }
            Err(error) => back_off(&runtime.core, &error).await,
        }
    }
}

/// Returns where a process of this machine comes from. A program that the daemon itself runs for a bot is nobody in
/// particular, whoever's user it runs as: it has the power that its settings give its own session, and no other.
fn origin_of(core: &Core, user: u32, process: u32) -> Origin {
    let runs_programs = core.hooks.programs.guard.is_some();
    match runs_programs && platform::is_own_program(user, process) {
        true => Origin::Tcp(std::net::Ipv4Addr::LOCALHOST.into()),
        false => Origin::Unix(user),
    }
}

/// Waits after a connection could not be taken, and says why, once a minute.
async fn back_off(core: &Core, error: &io::Error) {
    let quota = Quota { burst: 1, interval: Duration::from_secs(60) };
    if core.throttles.accept_errors.take((), quota, core.environment.clock.elapsed()).is_ok() {
        tracing::warn!(%error, "a connection could not be taken, and perhaps more since; is LimitNOFILE too small?");
    }
    Timer::after(BACK_OFF).await;
}

/// Files that are left for the Unix socket and for the daemon's own work, when connections over TCP use up all others.
const RESERVED_FILES: u64 = 64;

/// Returns whether so few files are left to open that a connection over TCP is not taken.
fn is_short_of_files(stream: &impl std::os::fd::AsRawFd) -> bool {
    // Asked once, because each connection needs it.
    static MOST: OnceLock<u64> = OnceLock::new();
    let limit = || rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = *MOST.get_or_init(limit);
    // The system gives out the lowest number that is free.
    let number = u64::try_from(stream.as_raw_fd()).unwrap_or(0);
    number.saturating_add(RESERVED_FILES.min(most / 8)) >= most
}

/// Gives a stream its session, if there is room for one. Otherwise turns it away.
pub(crate) fn serve<S: Stream + 'static>(runtime: &Arc<Runtime>, stream: S, origin: Origin) {
    serve_within(runtime, stream, origin, None);
}

/// Does the same for a bot that is confined to the rooms of a scope.
pub(crate) fn serve_within<S: Stream + 'static>(
    runtime: &Arc<Runtime>,
    stream: S,
    origin: Origin,
    scope: Option<Scope>,
) {
    let core = &runtime.core;
    core.counters.connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let peer = core.new_peer(origin);
    if let Some(scope) = scope {
        peer.set_bot_scope(scope);
    }
    match core.registry.admit(&peer, &core.config().limits) {
        Ok(()) => runtime.spawn(Connection::new(Arc::clone(core), stream, peer, origin)),
        Err(refusal) => runtime.spawn(turn_away(Arc::clone(core), stream, refusal)),
    }
}

/// Tells a client why it gets no session.
async fn turn_away<S: Stream>(core: Arc<Core>, mut stream: S, refusal: Refusal) {
    use futures_lite::AsyncWriteExt;
    tracing::debug!(code = %refusal.code, "a connection was turned away");
    let mut lines = GREETING.as_bytes().to_vec();
    ServerLine::err("-", refusal.code, &refusal.text).write(&mut lines);
    // A new connection takes a few bytes at once. One that does not is not worth waiting for.
    if stream.write_all(&lines).await.is_ok() {
        let _ = stream.close().await;
    }
    drop(core);
}
