//! The life of a daemon: it is bound, runs, and stops.

mod builder;
pub use builder::Builder;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use ring::rand::SystemRandom;
use smol::{Executor, Timer};
use snug_protocol::envelope::{Fingerprint, ServerKey, ServerOptions};
use snug_protocol::{Code, ContentHash, Role};

use crate::Clock;
use crate::Config;
use crate::bots;
use crate::config::{Durability, History};
use crate::content_store::ContentStore;
use crate::core::writer;
use crate::core::{Core, Handshake, millis};
use crate::core::{recall, upkeep};
use crate::keys;
use crate::log;
use crate::log::{Act, Author, Log, LogError, LogLimits, Storage, Store};
use crate::net::listen::{self, BindError, Listeners};
use crate::net::local::LocalSession;
use crate::net::runtime::Runtime;
use crate::origin::{Origin, Payer};
use crate::platform::{self, FolderLock};
use crate::registry::ending::Ending;
use crate::steady_clock::SteadyClock;
use snug_bots::Hosted;

/// A daemon that is bound to its addresses and does not run yet.
///
/// ```
/// use snug_daemon::{Config, Daemon};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.listen.tcp = vec!["127.0.0.1:0".parse()?];
/// # smol::block_on(async {
/// let daemon = Daemon::bind(config).await?;
/// let handle = daemon.handle();
/// handle.stop(); // usually called by another task, while the daemon runs
/// daemon.run().await;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Daemon {
    runtime: Arc<Runtime>,
    executor: Arc<Executor<'static>>,
    listeners: Listeners,
    log: Log,
    handle: Handle,
    stopped: Receiver<()>,
    /// Bots of the embedding program.
    bots: Vec<Hosted>,
    _lock: Option<FolderLock>,
}

/// A handle on a daemon, for before, while and after it runs. Clones refer to the same daemon.
///
/// ```
/// # use snug_daemon::{Config, Daemon};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut config = Config::default();
/// config.listen.tcp = vec!["127.0.0.1:0".parse()?];
/// # smol::block_on(async {
/// let daemon = Daemon::bind(config).await?;
/// let handle = daemon.handle();
/// assert_ne!(handle.addresses()[0].port(), 0, "the system chose one");
/// assert_eq!(handle.socket(), None);
/// assert!(handle.fingerprint().to_string().starts_with("SHA256:"));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct Handle {
    runtime: Arc<Runtime>,
    stop: Sender<()>,
    addresses: Arc<[SocketAddr]>,
    socket: Option<Arc<PathBuf>>,
    fingerprint: Fingerprint,
}

/// The reason why a daemon cannot start.
///
/// ```
/// use snug_daemon::{Config, Daemon, StartError};
///
/// let mut config = Config::default();
/// config.listen.tcp = Vec::new();
/// config.listen.psk_file = "/nowhere/psk".into();
/// let error = smol::block_on(Daemon::bind(config)).err().expect("there is no such file");
/// assert!(matches!(error, StartError::Key { .. }));
/// assert!(error.to_string().contains("/nowhere/psk"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The daemon cannot listen on a TCP address.
    #[error("cannot listen on tcp {address}: {error}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The daemon cannot listen on the Unix socket.
    #[error("cannot listen on unix {}: {error}", path.display())]
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The data folder cannot be made or used.
    #[error("cannot use the data folder {}: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another daemon uses the data folder.
    #[error("another daemon (process {pid}) uses the data folder {}; stop it, or give this one a folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other daemon's process id, as its lock file says.
        pid: String,
    },
    /// The identity key or the pre-shared key cannot be used.
    #[error("cannot use the key in {}: {error}", path.display())]
    Key {
        /// The key's file; empty if a key without a file cannot be made.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> StartError {
        match error {
            BindError::Tcp { address, error } => StartError::Tcp { address, error },
            BindError::Unix { path, error } => StartError::Unix { path, error },
        }
    }
}

impl Daemon {
    /// Returns a daemon with the system's clock and random source, bound to its addresses and with its log open.
    ///
    /// # Errors
    /// A [`StartError`] that names the address, file or folder that the daemon cannot use.
    pub async fn bind(config: Config) -> Result<Daemon, StartError> {
        Daemon::builder(config).bind().await
    }

    /// Returns a [`Builder`], which adds your own bots, filters, policy, login check or clock to a daemon.
    ///
    /// ```
    /// use snug_daemon::{Config, Daemon, Environment};
    ///
    /// let builder = Daemon::builder(Config::default()).environment(Environment::default());
    /// # drop(builder);
    /// ```
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    async fn build(builder: Builder) -> Result<Daemon, StartError> {
        let Builder { config, mut environment, hooks, bots } = builder;
        let lock = match config.data.as_set() {
            None => None,
            Some(folder) => {
                let failed = |error| StartError::Folder { folder: folder.clone(), error };
                platform::make_folder(folder).map_err(failed)?;
                platform::check_folder(folder).map_err(failed)?;
                match FolderLock::take(folder).map_err(failed)? {
                    Ok(lock) => Some(lock),
                    Err(pid) => return Err(StartError::InUse { folder: folder.clone(), pid }),
                }
            }
        };
        let unix = config.listen.unix.as_set().filter(|path| !path.as_os_str().is_empty());
        let listeners = Listeners::bind(&config.listen.tcp, unix.map(PathBuf::as_path)).await?;

        let limits = LogLimits {
            entries: config.log.memory_entries,
            key_window: i64::try_from(millis(config.log.key_window.duration())).unwrap_or(i64::MAX),
        };
        let place = match (config.log.history, config.data.as_set()) {
            (History::Disk, Some(folder)) => {
                Storage::Folder { folder: folder.clone(), durability: config.log.durability }
            }
            _ => Storage::Memory,
        };
        let mut log = Log::open(place, environment.log_name(), limits)?;
        let files = open_files(&log)?;
        let loaded = snug_bots::load(&config.bots, &[]);
        let handshake = seal(&config)?;
        let fingerprint = handshake.key.public_key().fingerprint();
        let filters = hooks.with_filters(loaded.filters);
        let place = (log.name(), log.place().clone());
        let clock = Arc::new(SteadyClock::new(Arc::clone(&environment.clock), log.last_time()));
        environment.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let mut core = Core::new(config, environment, filters, place, handshake);
        core.hooks = hooks;
        core.steady_clock = Some(clock);
        if let Some(files) = files {
            core.files.set_store(files);
        }
        recall::at_start(&core, &mut log)?;

        let (stop, stopped) = async_channel::bounded(1);
        core.control.set_stop(stop.clone());
        core.control.set_addresses(listeners.addresses());
        let executor = Arc::new(Executor::new());
        let runtime = Arc::new(Runtime::new(Arc::new(core), &executor));
        let handle = Handle {
            runtime: Arc::clone(&runtime),
            stop,
            addresses: listeners.addresses().into(),
            socket: listeners.unix.as_ref().map(|socket| Arc::new(socket.path.clone())),
            fingerprint,
        };
        Ok(Daemon { runtime, executor, listeners, log, handle, stopped, bots, _lock: lock })
    }

    /// Returns a handle on this daemon. Take it before [`Daemon::run`], which consumes the daemon.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs the daemon until [`Handle::stop`] or SHUTDOWN stops it, or until its log fails for good.
    ///
    /// When it stops, the daemon
    ///
    /// 1. accepts no more connections,
    /// 2. commits and answers the commands that it has received,
    /// 3. tells every session that it is stopping,
    /// 4. waits until every session has read its lines, for at most `shutdown.grace`.
    ///
    /// Dropping the future stops the daemon at once. Acknowledged entries stay committed.
    pub async fn run(self) {
        let Daemon { runtime, executor, listeners, log, stopped, bots: hosted, _lock, .. } = self;
        let core = &runtime.core;
        let (alive, reading) = async_channel::bounded(1);
        if let Storage::Folder { folder, .. } = &core.place
            && let Err(error) = start_readers(core, folder, &alive)
        {
            tracing::error!(%error, "there are no threads to read the log with; history cannot be asked for");
            core.reads.close();
        }
        drop(alive);
        let writer = Writer::start(Arc::clone(core), Box::new(log), reading.clone());
        let helpers = Helpers::start(&executor, core.config().threads.clamp(1, 256) - 1);
        // Bots come first, so that nobody takes their names, and are there for the first who comes.
        executor.run(bots::arrive(bots::start(&runtime, &core.config(), hosted))).await;
        let mut acceptors: Vec<_> = Vec::new();
        for listener in listeners.tcp {
            acceptors.push(executor.spawn(listen::accept_tcp(Arc::clone(&runtime), listener)));
        }
        if let Some(socket) = listeners.unix {
            acceptors.push(executor.spawn(listen::accept_unix(Arc::clone(&runtime), socket)));
        }
        let keeper = executor.spawn(upkeep::keep_up(Arc::clone(core)));

        let life = async {
            // Nothing is ever sent: this ends when the channel is closed. A daemon whose log has gone is of no use, either.
            let broken = async {
                let _ = writer.idle.recv().await;
                tracing::error!("the log's thread is gone; the daemon ends");
            };
            async {
                let _ = stopped.recv().await;
            }
            .or(broken)
            .await;
            for acceptor in acceptors {
                // Also one that another thread is busy with takes no more when this is done.
                acceptor.cancel().await;
            }
            drop(keeper);
            core.note_delivered();
            core.queue.close();
            writer.idle.recv().await.unwrap_or_default();
            core.reads.close();
            reading.recv().await.unwrap_or_default();
            let end = || {
                Ending::Dismissed(
                    Code::ShuttingDown,
                    "the daemon is stopping; connect again later".to_owned(),
                )
            };
            bots::stop(core);
            core.registry.for_each_peer(|peer| peer.end(end()));
            let grace = core.config().shutdown.grace.duration();
            let overdue = async {
                Timer::after(grace).await;
                let (sessions, ..) = core.registry.counts();
                tracing::warn!(
                    sessions,
                    "the time to end is over; some sessions did not take what was theirs"
                );
            };
            runtime.wind_up().or(overdue).await;
        };
        executor.run(life).await;
        drop(helpers);
        drop(writer);
    }
}

/// Starts the threads that read the log. What the index has forgotten the log need not tell it again.
fn start_readers(core: &Arc<Core>, folder: &Path, alive: &Sender<()>) -> io::Result<()> {
    let shared = Arc::clone(core);
    let forgotten = move |entries| shared.note(Author::default(), Act::Unindexed(entries));
    log::start_readers(&core.reads, folder, alive, forgotten)
}

/// Where files are kept, if the log is on disk; without what nothing refers to.
fn open_files(log: &Log) -> Result<Option<ContentStore>, StartError> {
    let Storage::Folder { folder, durability } = log.place() else { return Ok(None) };
    let failed = |error| StartError::Folder { folder: folder.join("files"), error };
    let store = ContentStore::open(folder, *durability == Durability::PowerLoss).map_err(failed)?;
    let unreadable = |error: rusqlite::Error| failed(io::Error::other(error));
    let view = log.view();
    let kept: HashSet<ContentHash> =
        view.contents().map_err(unreadable)?.into_iter().map(|(hash, ..)| hash).collect();
    let in_flight: HashSet<u64> =
        view.open_uploads().map_err(unreadable)?.into_iter().map(|(handle, _)| handle).collect();
    store.sweep(|hash| kept.contains(&hash), |handle| in_flight.contains(&handle));
    Ok(Some(store))
}

/// The identity in the data folder, or one that lives as long as the daemon; and the pre-shared key.
fn seal(config: &Config) -> Result<Handshake, StartError> {
    let random = SystemRandom::new();
    let key = match config.data.as_set() {
        Some(folder) => {
            let failed = |error| StartError::Key { path: folder.join(keys::KEY_FILE), error };
            keys::server_key(folder).map_err(failed)?
        }
        None => ServerKey::generate(&random)
            .map_err(|error| StartError::Key { path: PathBuf::new(), error: io::Error::other(error) })?,
    };
    let psk_file = &config.listen.psk_file;
    let psk = match psk_file.as_os_str().is_empty() {
        true => None,
        false => Some(
            keys::read_psk(psk_file).map_err(|error| StartError::Key { path: psk_file.clone(), error })?,
        ),
    };
    Ok(Handshake { key, options: ServerOptions { psk }, random })
}

/// Threads that serve connections beside the caller's. Dropping them ends them.
struct Helpers {
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Helpers {
    fn start(executor: &Arc<Executor<'static>>, count: u64) -> Helpers {
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let mut helpers = Helpers { stop: Some(stop), threads: Vec::new() };
        for _ in 0..count {
            let (executor, stopped) = (Arc::clone(executor), stopped.clone());
            // Nothing is ever sent: this ends when the channel is closed.
            let work = move || {
                let _ = smol::block_on(executor.run(stopped.recv()));
            };
            match std::thread::Builder::new().name("snug-worker".to_owned()).spawn(work) {
                Ok(thread) => helpers.threads.push(thread),
                Err(error) => tracing::error!(%error, "there is a thread less than `threads` asks for"),
            }
        }
        helpers
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.stop.take();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that serves connections panicked");
            }
        }
    }
}

/// The writer's thread. Dropping it lets it finish what waits, and waits for it.
struct Writer {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread has done its last pack.
    idle: Receiver<()>,
}

impl Writer {
    /// `reading` is closed when nobody reads the log any more: whoever closes it last puts its files in order, and that
    /// takes the right to write.
    fn start(core: Arc<Core>, mut log: Box<dyn Store>, reading: Receiver<()>) -> Writer {
        let (busy, idle) = async_channel::bounded::<()>(1);
        let shared = Arc::clone(&core);
        let work = move || {
            writer::run(&shared, &mut *log);
            drop(busy);
            let _ = reading.recv_blocking();
            drop(log);
        };
        let thread = std::thread::Builder::new().name("snug-writer".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::error!(%error, "there is no thread for the log; nothing can be said");
            core.queue.close();
        }
        Writer { core, thread: thread.ok(), idle }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.core.queue.close();
        self.core.reads.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl Handle {
    /// Stops the daemon as [`Daemon::run`] describes, and does not wait until it has stopped. If the daemon does not
    /// run yet, it stops as soon as it has started.
    pub fn stop(&self) {
        self.stop.close();
    }

    /// Returns the TCP addresses that the daemon listens on, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the path of the Unix socket, or `None` if there is none.
    pub fn socket(&self) -> Option<&std::path::Path> {
        self.socket.as_deref().map(PathBuf::as_path)
    }

    /// Returns the fingerprint of the identity key, which users compare to make sure that they talk to this server.
    /// Without a data folder, the key is a new one at each start.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Applies the settings of `config` that a running daemon can change, and returns the names of those that differ
    /// and need a restart.
    ///
    /// ```
    /// # use snug_daemon::{Config, Daemon};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = Config::default();
    /// # config.listen.tcp = Vec::new();
    /// # smol::block_on(async {
    /// # let daemon = Daemon::bind(config.clone()).await?;
    /// # let handle = daemon.handle();
    /// config.limits.rate = 9;
    /// config.threads = 2;
    /// assert_eq!(handle.reconfigure(config), ["threads"]); // the rate has changed
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn reconfigure(&self, config: Config) -> Vec<&'static str> {
        let core = &self.runtime.core;
        let filters_differ = core.config().bots.emoji != config.bots.emoji;
        let fixed = core.reconfigure(config);
        let config = core.config();
        if filters_differ {
            core.set_filters(snug_bots::load(&config.bots, &[]).filters);
        }
        if core.roster.has_started() {
            drop(bots::apply(&self.runtime, &config));
        }
        fixed
    }

    /// Sets what happens when an operator sends RELOAD. Without it, RELOAD is refused.
    ///
    /// `reload` reads the settings again and applies them, usually with [`Handle::reconfigure`]. It returns the names
    /// of the settings that need a restart, or a text that says what is wrong. It runs on a thread of its own and may
    /// block.
    ///
    /// ```
    /// # use snug_daemon::{Config, Daemon};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = Config::default();
    /// # config.listen.tcp = Vec::new();
    /// # smol::block_on(async {
    /// # let daemon = Daemon::bind(config).await?;
    /// # let handle = daemon.handle();
    /// let same = handle.clone();
    /// handle.on_reload(move || {
    ///     let text = std::fs::read_to_string("/etc/chat.toml").map_err(|error| error.to_string())?;
    ///     let config = Config::from_toml(&text).map_err(|error| error.to_string())?;
    ///     Ok(same.reconfigure(config))
    /// });
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn on_reload(&self, reload: impl Fn() -> Result<Vec<&'static str>, String> + Send + Sync + 'static) {
        self.runtime.core.control.set_reload(Arc::new(reload));
    }

    /// Opens a session within this process, without a socket. It is served while the daemon runs.
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
    /// let mut bot = handle.open_session(SessionRole::Bot);
    /// bot.send_line("NICK robot").await?;
    /// bot.send_line("MSG #lobby beep").await?;
    /// while let Some(line) = bot.next_line().await? {
    ///     if line.contains(":robot MSG #lobby beep") {
    ///         assert!(line.contains(";bot"), "the tag of a bot's messages");
    ///         break;
    ///     }
    /// }
    /// # handle.stop();
    /// # Ok(())
    /// # };
    /// # futures_lite::future::zip(daemon.run(), work).await.1
    /// # })
    /// # }
    /// ```
    pub fn open_session(&self, role: SessionRole) -> LocalSession {
        let origin = match role {
            SessionRole::Guest => Origin::Embedder(Role::Guest),
            SessionRole::Member => Origin::Embedder(Role::Member),
            SessionRole::Bot => Origin::Bot,
        };
        LocalSession::open(&self.runtime, origin)
    }

    /// Opens an operator's session within this process. It may send every command, whatever its nickname is.
    ///
    /// ```
    /// # use snug_daemon::{Config, Daemon};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = Config::default();
    /// # config.listen.tcp = Vec::new();
    /// # smol::block_on(async {
    /// # let daemon = Daemon::bind(config).await?;
    /// # let handle = daemon.handle();
    /// # let work = async {
    /// let mut operator = handle.open_operator_session();
    /// operator.send_line("NICK op").await?;
    /// operator.send_line("ANNOUNCE back in five minutes").await?;
    /// while let Some(line) = operator.next_line().await? {
    ///     if line.contains("OK ANNOUNCE") {
    ///         break;
    ///     }
    /// }
    /// # handle.stop();
    /// # Ok(())
    /// # };
    /// # futures_lite::future::zip(daemon.run(), work).await.1
    /// # })
    /// # }
    /// ```
    pub fn open_operator_session(&self) -> LocalSession {
        LocalSession::open(&self.runtime, Origin::Embedder(Role::Operator))
    }

    /// Returns the figures that STATS shows, as names with values. Only a running daemon has `files` and
    /// `file-bytes`, which its log counts.
    ///
    /// ```
    /// # use snug_daemon::{Config, Daemon};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut config = Config::default();
    /// # config.listen.tcp = Vec::new();
    /// # smol::block_on(async {
    /// # let daemon = Daemon::bind(config).await?;
    /// # let handle = daemon.handle();
    /// let stats = handle.stats().await;
    /// assert!(stats.contains(&("sessions".to_owned(), 0)));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn stats(&self) -> Vec<(String, u64)> {
        let core = &self.runtime.core;
        let (sender, totals) = async_channel::bounded(1);
        let is_asked = core.roster.has_started()
            && core.read(
                Payer::Daemon,
                Box::new(move |view| {
                    let _ = sender.try_send(view.and_then(|view| view.file_totals().ok()));
                }),
            );
        let totals = if is_asked { totals.recv().await.ok().flatten() } else { None };
        core.stats(totals)
    }
}

/// The role of a session that the embedding program opens.
///
/// ```
/// use snug_daemon::SessionRole;
///
/// assert_ne!(SessionRole::Guest, SessionRole::Bot);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionRole {
    /// A guest, like a client that connects over TCP and has no account.
    Guest,
    /// A member, with the rights of a user of this machine. Like a guest, it proves its nickname with the token that
    /// answers NICK.
    Member,
    /// A bot of this daemon. Its messages have the tag `bot`.
    Bot,
}
