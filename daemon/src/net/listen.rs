//! Listeners, which accept connections.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_net::TcpListener;
use async_net::unix::UnixListener;
use smol::{Async, Timer};
use snug_protocol::{Scope, ServerLine};

use crate::config::SOCKET_PATH;
use crate::core::Core;
use crate::net::connection::{Connection, GREETING, Stream};
use crate::net::runtime::Runtime;
use crate::net::socket::Socket;
use crate::origin::Origin;
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

/// Accepts TCP connections for ever.
///
/// The rate is limited, and so is the burst. So the cost of strangers is bounded, whether they send HELLO or hang up
/// at once, and a user in a room waits for only a few of them. The others wait in the system's queue.
pub(crate) async fn accept_tcp(runtime: Arc<Runtime>, listener: TcpListener) {
    loop {
        let core = &runtime.core;
        let limit = core.config().limits.connections;
        if let Some(quota) = Quota::per_second(limit, (limit / 100).max(4)) {
            let now = core.environment.clock.elapsed();
            let wait = core.throttles.connections.reserve((), quota, now);
            if !wait.is_zero() {
                Timer::after(wait).await;
            }
        }
        match listener.accept().await {
            Ok((stream, address)) => {
                let dead = runtime.core.config().heartbeat.dead.duration();
                let inner: Arc<Async<std::net::TcpStream>> = stream.into();
                if let Err(error) = platform::tune(inner.as_ref().as_ref(), dead) {
                    tracing::debug!(%address, %error, "a connection could not be set up");
                }
                serve(&runtime, Socket::new(inner), Origin::Tcp(address.ip().to_canonical()));
            }
            Err(error) => back_off(&error).await,
        }
    }
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
            Err(error) => back_off(&error).await,
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

async fn back_off(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be taken");
    Timer::after(BACK_OFF).await;
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
