//! The settings of a daemon: a [`Config`] that any program can make, or that it reads from TOML.
//!
//! Every setting has a default. `config.toml` in the repository's root shows all settings with their defaults; a test
//! compares the two.

mod scripts;
pub use scripts::{ScriptBot, ScriptCommand, ScriptLimits};

mod values;
pub(crate) use values::SOCKET_PATH;
pub use values::{Fallback, Plaintext, Size, Span};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Retention;
use serde::{Deserialize, Serialize};
use snug_bots::BotsConfig;
use snug_protocol::limits;
use values::{between, data_folder, socket_path, users};

/// The settings of a daemon.
///
/// [`Config::from_toml`] refuses numbers that are out of bounds. Numbers that you set in a field are not checked.
///
/// ```
/// use snug_daemon::Config;
///
/// let mut config = Config::from_toml("[limits]\nrate = 9\n")?;
/// config.listen.tcp = Vec::new();
/// assert_eq!((config.limits.rate, config.limits.burst), (9, 2_000)); // the burst is the default
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Data folder. With [`Fallback::Auto`], `snugd` chooses one, and the library keeps nothing on disk.
    #[serde(deserialize_with = "data_folder")]
    pub data: Fallback<PathBuf>,
    /// Number of threads that serve connections, including the caller's thread; 1 to 256. The log has more threads.
    #[serde(deserialize_with = "between::<_, 1, 256>")]
    pub threads: u64,
    /// Addresses that the daemon listens on.
    pub listen: Listen,
    /// Maximum sizes, counts and rates.
    pub limits: Limits,
    /// Detection of dead peers.
    pub heartbeat: Heartbeat,
    /// Accounts, and access without an account.
    pub accounts: Accounts,
    /// Identities of guests.
    pub guests: Guests,
    /// Log of entries, and its retention.
    pub log: Log,
    /// Files that users send, and their quotas.
    pub files: Files,
    /// How the daemon stops.
    pub shutdown: Shutdown,
    /// Output of the daemon's own log.
    pub logging: Logging,
    /// Built-in bots.
    pub bots: BotsConfig,
    /// External bots, `[[bot]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bot: Vec<ScriptBot>,
    /// External commands, `[[command]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<ScriptCommand>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: Fallback::default(),
            threads: 1,
            listen: Listen::default(),
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            accounts: Accounts::default(),
            guests: Guests::default(),
            log: Log::default(),
            files: Files::default(),
            shutdown: Shutdown::default(),
            logging: Logging::default(),
            bots: BotsConfig::default(),
            bot: Vec::new(),
            command: Vec::new(),
        }
    }
}

/// The table `[listen]`: where the daemon accepts connections.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::Plaintext;
///
/// let config = Config::from_toml("[listen]\nplaintext = \"never\"\n")?;
/// assert_eq!(config.listen.plaintext, Plaintext::Never);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Listen {
    /// TCP addresses as `host:port`, with a numeric host; none for no TCP. For port 0, the system chooses a port.
    pub tcp: Vec<SocketAddr>,
    /// Path of the Unix socket, at most 107 bytes; empty for none. With [`Fallback::Auto`], `snugd` chooses one, and
    /// the library has none.
    #[serde(deserialize_with = "socket_path")]
    pub unix: Fallback<PathBuf>,
    /// Where plaintext connections are accepted from.
    pub plaintext: Plaintext,
    /// File with the server-wide pre-shared key; empty for none. With a key, the daemon refuses sealed connections of
    /// clients that do not have it. It cannot be combined with [`Plaintext::Anywhere`].
    pub psk_file: PathBuf,
    /// Address that invites contain, as `host` or `host:port`; empty for the first of `tcp`.
    pub public: String,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            tcp: vec![SocketAddr::from(([127, 0, 0, 1], 7684))],
            unix: Fallback::Auto,
            plaintext: Plaintext::Loopback,
            psk_file: PathBuf::new(),
            public: String::new(),
        }
    }
}

/// The table `[limits]`: maximum sizes, counts and rates.
///
/// A rate limit is a pair: the burst that is allowed at once, 1 to 1,000,000, and the rate per second in the long
/// run, 0 to 1,000,000, where 0 is no limit. Sessions of the embedding program and of bots have no rate limits.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[limits]\noutbox = \"64 KiB\"\nhandshake = \"5s\"\n")?;
/// assert_eq!(config.limits.outbox.bytes(), 65_536);
/// assert_eq!(config.limits.handshake.duration().as_secs(), 5);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum length of a line in bytes, without its LF; 512 to 16384.
    #[serde(deserialize_with = "between::<_, 512, { limits::LINE as u64 }>")]
    pub line: u64,
    /// Maximum length of a text in bytes, as it is escaped on the line; 1 to 8192.
    #[serde(deserialize_with = "between::<_, 1, { limits::TEXT as u64 }>")]
    pub text: u64,
    /// Maximum length of a room's topic in bytes, as it is escaped on the line; 1 to 8192.
    #[serde(deserialize_with = "between::<_, 1, { limits::TEXT as u64 }>")]
    pub topic: u64,
    /// Maximum number of sessions, 1 to 1,000,000.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub sessions: u64,
    /// Maximum number of sessions of one address, or of one /64 network of IPv6; 1 to 1,000,000. Loopback and the
    /// Unix socket are exempt.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub sessions_per_address: u64,
    /// Maximum number of rooms, 1 to 1,000,000.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms: u64,
    /// Maximum number of rooms that one account, or user of this machine, has made; 1 to 1,000,000. Operators have no limit.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms_per_account: u64,
    /// Maximum number of rooms that one guest has made, 1 to 1,000,000. All guests together have three quarters of `rooms`.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms_per_guest: u64,
    /// Maximum number of rooms that one identity is in, 1 to 1,000,000.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms_per_identity: u64,
    /// Maximum number of members of a room that announces joins and leaves; 0 to 1,000,000.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub announce_members: u64,
    /// Maximum size of the lines that wait for one session, at least 64 KiB. Beyond it, the session falls behind: it gets
    /// no more entries until SYNC.
    pub outbox: Size<{ 64 << 10 }>,
    /// Maximum size of the lines that wait for all sessions, at least 1 MiB. Beyond it, the slowest are closed.
    pub outboxes: Size<{ 1 << 20 }>,
    /// Maximum number of sessions over TCP that have no nickname yet, 1 to 1,000,000. Beyond it, the oldest of them ends for
    /// each new one.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub nameless: u64,
    /// Maximum number of such sessions of one address, or of one /64 network of IPv6; 1 to 1,000,000. Loopback is
    /// exempt.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub nameless_per_address: u64,
    /// Time from the connection to the first envelope, for a client that sends HELLO or must seal; at least 100 ms.
    pub handshake: Span<100>,
    /// Time from the connection to NICK, AUTH or REGISTER; at least 100 ms.
    pub registration: Span<100>,
    /// Burst of messages that a session may send. Other lines count by the work that they make. Beyond it the daemon
    /// reads more slowly, and loses nothing.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub burst: u64,
    /// Messages per second that a session may send in the long run.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub rate: u64,
    /// Burst of messages and changes of them that an account or guest may send in all its sessions. Beyond this limit
    /// and those of an address and a room, the server refuses messages with `slow-down`.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub account_burst: u64,
    /// Messages per second that an account or guest may send in the long run.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub account_rate: u64,
    /// Burst of messages that may come from one address, or from one /64 network of IPv6. Loopback is exempt.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub address_burst: u64,
    /// Messages per second that may come from one address in the long run.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub address_rate: u64,
    /// Burst of messages that all users together may send to one room.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub room_burst: u64,
    /// Messages per second that all users together may send to one room in the long run.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub room_rate: u64,
    /// Bytes of messages per second that a guest may send in the long run, and sixteen times as many at once; 0 is no limit,
    /// here and below.
    pub guest_bytes: Size<0>,
    /// Bytes per second that an account, or user of this machine, may send.
    pub account_bytes: Size<0>,
    /// Bytes per second that may come from one address, or from one /64 network of IPv6. Loopback is exempt.
    pub address_bytes: Size<0>,
    /// Bytes per second that all users together may send to one room.
    pub room_bytes: Size<0>,
    /// Connections over TCP that the daemon accepts per second, 0 to 1,000,000, where 0 is no limit. Others wait,
    /// and addresses take turns.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub connections: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line: limits::LINE as u64,
            text: limits::TEXT as u64,
            topic: 1_024,
            sessions: 20_000,
            sessions_per_address: 64,
            rooms: 10_000,
            rooms_per_account: 200,
            rooms_per_guest: 10,
            rooms_per_identity: 200,
            announce_members: 100,
            outbox: Size::from_bytes(1 << 20),
            outboxes: Size::from_bytes(256 << 20),
            nameless: 1_000,
            nameless_per_address: 16,
            handshake: Span::from_millis(10_000),
            registration: Span::from_millis(30_000),
            burst: 2_000,
            rate: 500,
            account_burst: 10_000,
            account_rate: 1_000,
            address_burst: 20_000,
            address_rate: 2_000,
            room_burst: 20_000,
            room_rate: 5_000,
            guest_bytes: Size::from_bytes(64 << 10),
            account_bytes: Size::from_bytes(1 << 20),
            address_bytes: Size::from_bytes(1 << 20),
            room_bytes: Size::from_bytes(4 << 20),
            connections: 1_000,
        }
    }
}

/// The table `[heartbeat]`: how the daemon detects dead peers. `dead` must be at least twice `ping`.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[heartbeat]\nping = \"10s\"\ndead = \"20s\"\n")?;
/// assert_eq!(config.heartbeat.dead.duration().as_secs(), 20);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Silence after which the daemon sends PING to a client that answers it; at least 100 ms.
    pub ping: Span<100>,
    /// Silence after which the session of a client that answers PING times out; at least 200 ms. The other clients
    /// have the same time to answer the system's TCP probes.
    pub dead: Span<200>,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { ping: Span::from_millis(60_000), dead: Span::from_millis(150_000) }
    }
}

/// The table `[accounts]`: accounts, and access without an account.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[accounts]\nguests = false\nusers = { 1001 = \"alice\" }\n")?;
/// assert_eq!(config.accounts.users["1001"], "alice");
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Accounts {
    /// Who may create an account.
    pub registration: Registration,
    /// Whether clients may connect over TCP without an account.
    pub guests: bool,
    /// Maximum number of accounts, 1 to 10,000,000.
    #[serde(deserialize_with = "between::<_, 1, 10_000_000>")]
    pub most: u64,
    /// Accounts that users of this machine have over the Unix socket without a password or key, by user id.
    #[serde(deserialize_with = "users")]
    pub users: BTreeMap<String, String>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { registration: Registration::Open, guests: true, most: 100_000, users: BTreeMap::new() }
    }
}

/// The setting that says who may create an account.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::Registration;
///
/// let config = Config::from_toml("[accounts]\nregistration = \"invite\"\n")?;
/// assert_eq!(config.accounts.registration, Registration::Invite);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// `"open"`: every user.
    Open,
    /// `"invite"`: users who have an invite of a member or an operator.
    Invite,
    /// `"closed"`: operators, and users who have an invite. Only operators make new invites.
    Closed,
}

/// The table `[guests]`: identities of users without an account.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[guests]\nlinger = \"30m\"\n")?;
/// assert_eq!(config.guests.linger.to_string(), "30m");
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Guests {
    /// Time for which a guest's identity is kept after its last session has ended.
    pub linger: Span<0>,
    /// Maximum number of identities that are kept so, 0 to 10,000,000. Beyond it, the oldest are removed first.
    #[serde(deserialize_with = "between::<_, 0, 10_000_000>")]
    pub lingering: u64,
    /// Time after which a room that a guest has made goes, if nobody is in it and nothing was said in it, and if no account
    /// and no user of this machine has ever spoken there; at least 1 min.
    pub rooms: Span<60_000>,
}

impl Default for Guests {
    fn default() -> Guests {
        Guests {
            linger: Span::from_millis(4 * 3_600_000),
            lingering: 10_000,
            rooms: Span::from_millis(30 * 86_400_000),
        }
    }
}

/// The table `[log]`: the log of entries, and its retention.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[log]\nkeep = \"30d\"\n")?;
/// assert_eq!(config.log.keep.to_string(), "30d");
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Log {
    /// Where entries are kept. Without a data folder they are kept in memory in any case.
    pub history: History,
    /// What an acknowledged entry survives, in a log on disk.
    pub durability: Durability,
    /// Retention of entries in rooms that have no retention of their own.
    pub keep: Retention,
    /// Retention of private messages.
    pub keep_private: Retention,
    /// Retention of the audit log.
    pub keep_audit: Retention,
    /// Bytes that all guests together may write in a day; 0 for no limit.
    pub guests: Size<0>,
    /// Free disk space below which guests write nothing more, so that accounts and the log itself still can.
    pub reserve: Size<0>,
    /// Maximum number of entries, and of rows of the audit log, in a log in memory; 1 to 10,000,000.
    #[serde(deserialize_with = "between::<_, 1, 10_000_000>")]
    pub memory_entries: u64,
    /// Time for which the `key` of a message is remembered, so that a repeat is recognized; at least 1 s.
    pub key_window: Span<1_000>,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            history: History::Disk,
            durability: Durability::PowerLoss,
            keep: Retention::Forever,
            keep_private: Retention::Forever,
            keep_audit: Retention::Age(90 * 86_400_000),
            guests: Size::from_bytes(1 << 30),
            reserve: Size::from_bytes(256 << 20),
            memory_entries: 20_000,
            key_window: Span::from_millis(24 * 3_600_000),
        }
    }
}

/// The table `[files]`: quotas and retention of files that users send. They need a log on disk.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[files]\nfile = \"20 MiB\"\n")?;
/// assert_eq!(config.files.file.bytes(), 20 << 20);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Files {
    /// Maximum size of a file.
    pub file: Size<0>,
    /// Quota of an account or user of this machine: total size of the kept files that it has sent.
    pub account: Size<0>,
    /// Quota of a guest: total size of the kept files that it has sent.
    pub guest: Size<0>,
    /// Quota of a room: total size of its kept files.
    pub room: Size<0>,
    /// Quota of the server: total size of all kept files.
    pub total: Size<0>,
    /// Disk space that uploads leave free, so that the log can grow.
    pub reserve: Size<0>,
    /// Retention of files; [`Retention::Newest`] counts those of all conversations together. Their entries stay in
    /// the log.
    pub keep: Retention,
    /// Time for which an interrupted upload can be resumed; at least 1 s.
    pub resume: Span<1_000>,
}

impl Default for Files {
    fn default() -> Files {
        Files {
            file: Size::from_bytes(8 << 30),
            account: Size::from_bytes(32 << 30),
            guest: Size::from_bytes(2 << 30),
            room: Size::from_bytes(64 << 30),
            total: Size::from_bytes(128 << 30),
            reserve: Size::from_bytes(1 << 30),
            keep: Retention::Age(90 * 86_400_000),
            resume: Span::from_millis(48 * 3_600_000),
        }
    }
}

/// The place where entries are kept.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::History;
///
/// let config = Config::from_toml("[log]\nhistory = \"none\"\n")?;
/// assert_eq!(config.log.history, History::None);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// `"disk"`: in the data folder.
    Disk,
    /// `"none"`: in memory until the daemon stops, and only the newest.
    None,
}

/// The failure that an acknowledged entry survives.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::Durability;
///
/// let config = Config::from_toml("[log]\ndurability = \"process\"\n")?;
/// assert_eq!(config.log.durability, Durability::Process);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// `"power-loss"`: the loss of power. An entry is on the disk before it is acknowledged.
    PowerLoss,
    /// `"process"`: a crash of the process. The system has the entry before it is acknowledged. Faster.
    Process,
}

/// The table `[shutdown]`: how the daemon stops.
///
/// ```
/// use snug_daemon::Config;
///
/// let config = Config::from_toml("[shutdown]\ngrace = \"500ms\"\n")?;
/// assert_eq!(config.shutdown.grace.duration().as_millis(), 500);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Shutdown {
    /// Maximum time for which the daemon waits until its sessions have read their lines.
    pub grace: Span<0>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { grace: Span::from_millis(5_000) }
    }
}

/// The table `[logging]`: output of the daemon's own log. The library emits events of the crate `tracing` and writes
/// them nowhere; the embedding program applies these settings.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::Level;
///
/// let config = Config::from_toml("[logging]\nlevel = \"debug\"\n")?;
/// assert_eq!(config.logging.level, Level::Debug);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Logging {
    /// Least important level that is logged.
    pub level: Level,
    /// Format of a line.
    pub format: LogFormat,
    /// Destination of the lines.
    pub to: LogTarget,
}

/// The format of a line of the daemon's own log.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::LogFormat;
///
/// let config = Config::from_toml("[logging]\nformat = \"json\"\n")?;
/// assert_eq!(config.logging.format, LogFormat::Json);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `"human"`: text for people.
    #[default]
    Human,
    /// `"json"`: one object per line.
    Json,
}

/// The destination of the daemon's own log.
///
/// ```
/// use snug_daemon::Config;
/// use snug_daemon::config::LogTarget;
///
/// let config = Config::from_toml("[logging]\nto = \"journald\"\n")?;
/// assert_eq!(config.logging.to, LogTarget::Journald);
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// `"stderr"`: standard error.
    #[default]
    Stderr,
    /// `"journald"`: the journal of systemd, with its fields.
    Journald,
}

/// The importance of an event in the daemon's own log, from `"error"` to `"trace"`.
///
/// ```
/// use snug_daemon::config::Level;
///
/// assert_eq!(Level::default(), Level::Info);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the usual levels")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// An error in a config file, with its position.
///
/// ```
/// use snug_daemon::Config;
///
/// let error = Config::from_toml("[limits]\nline = 99999\n").expect_err("it is too long");
/// assert_eq!(error.position, (2, 8));
/// assert!(error.to_string().starts_with("2:8: "));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line and column of the error, both counted from 1; `(1, 1)` if the position is unknown.
    pub position: (usize, usize),
    /// Text that says what is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position;
        write!(f, "{line}:{column}: {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads settings from TOML. Settings that are missing have their defaults.
    ///
    /// # Errors
    /// The first error that is found: invalid TOML, an unknown key, a value out of bounds, or settings that
    /// contradict each other.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            ConfigError { position: (line, column), message: error.message().to_owned() }
        })?;
        let heartbeat = &config.heartbeat;
        if heartbeat.dead.duration() < 2 * heartbeat.ping.duration() {
            let message = "[heartbeat] dead has to be at least twice ping, so that a PING can be answered";
            return Err(ConfigError { position: (1, 1), message: message.to_owned() });
        }
        let listen = &config.listen;
        if listen.plaintext == Plaintext::Anywhere && !listen.psk_file.as_os_str().is_empty() {
            let message = "[listen] psk_file hides the server from strangers, and plaintext = \"anywhere\" lets them in";
            return Err(ConfigError { position: (1, 1), message: message.to_owned() });
        }
        let mut names: Vec<&str> = config.bot.iter().map(|bot| bot.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let failed = |message| Err(ConfigError { position: (1, 1), message });
        if let Some(name) = twice {
            return failed(format!("[[bot]] {name} is there twice"));
        }
        for command in &config.command {
            if let Err(error) = command.spec() {
                return failed(format!("[[command]] {}: {error}", command.name));
            }
        }
        Ok(config)
    }

    /// Returns the names of the settings that differ in `new` and that a running daemon cannot change.
    ///
    /// ```
    /// use snug_daemon::Config;
    ///
    /// let new = Config::from_toml("threads = 2\n[limits]\nrate = 9\n")?;
    /// assert_eq!(Config::default().needs_restart(&new), ["threads"]);
    /// # Ok::<(), snug_daemon::config::ConfigError>(())
    /// ```
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let fixed = [
            ("data", self.data != new.data),
            ("threads", self.threads != new.threads),
            ("listen.tcp", self.listen.tcp != new.listen.tcp),
            ("listen.unix", self.listen.unix != new.listen.unix),
            ("listen.psk_file", self.listen.psk_file != new.listen.psk_file),
            ("log.history", self.log.history != new.log.history),
            ("log.durability", self.log.durability != new.log.durability),
            ("log.memory_entries", self.log.memory_entries != new.log.memory_entries),
            ("log.key_window", self.log.key_window != new.log.key_window),
            ("logging.format", self.logging.format != new.logging.format),
            ("logging.to", self.logging.to != new.logging.to),
        ];
        fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Returns the settings of a running daemon after a reload of `new`: those that need a restart keep their values.
    ///
    /// ```
    /// use snug_daemon::Config;
    ///
    /// let new = Config::from_toml("threads = 2\n[limits]\nrate = 9\n")?;
    /// let merged = Config::default().reloaded(new);
    /// assert_eq!((merged.threads, merged.limits.rate), (1, 9));
    /// # Ok::<(), snug_daemon::config::ConfigError>(())
    /// ```
    pub fn reloaded(&self, new: Config) -> Config {
        Config {
            data: self.data.clone(),
            threads: self.threads,
            listen: Listen {
                plaintext: new.listen.plaintext,
                public: new.listen.public.clone(),
                ..self.listen.clone()
            },
            log: Log {
                keep: new.log.keep,
                keep_private: new.log.keep_private,
                keep_audit: new.log.keep_audit,
                ..self.log.clone()
            },
            logging: Logging { level: new.logging.level, ..self.logging },
            ..new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../../../config.toml");

    #[test]
    fn config_toml_shows_every_setting_with_its_default() {
        let documented = Config::from_toml(DOCUMENTED).expect("config.toml is a configuration");
        assert_eq!(documented, Config::default());
        let shown: toml::Table = DOCUMENTED.parse().expect("config.toml is TOML");
        let all = toml::Table::try_from(Config::default()).expect("the defaults can be written");
        assert_eq!(keys(&shown), keys(&all), "config.toml shows each setting, and no other");
    }

    fn keys(table: &toml::Table) -> Vec<String> {
        let nested = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::Table(table) if !table.is_empty() => {
                keys(table).into_iter().map(|inner| format!("{key}.{inner}")).collect()
            }
            _ => vec![key.clone()],
        };
        let mut keys: Vec<String> = table.iter().flat_map(nested).collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_mistake_is_shown_with_its_place_and_what_is_allowed() {
        for (text, position, says) in [
            ("[limits]\nlines = 7\n", (2, 1), "expected one of `line`, `text`"),
            ("[limits]\nline = 99999\n", (2, 8), "512 to 16384"),
            ("[limits]\n  line = \"long\"\n", (2, 10), "512 to 16384"),
            ("[listen]\nplaintext = \"yes\"\n", (2, 13), "one of `never`, `loopback`, `anywhere`"),
            ("[listen]\ntcp = [\"localhost\"]\n", (2, 8), "socket address"),
            ("[heartbeat]\nping = \"soon\"\n", (2, 8), "\"500ms\", \"30s\", \"5m\", \"4h\" or \"30d\""),
            ("[limits]\noutbox = \"1 kB\"\n", (2, 10), "at least"),
            ("[heartbeat]\nping = \"30s\"\ndead = \"31s\"\n", (1, 1), "twice"),
            ("[log]\nkeep = \"a while\"\n", (2, 8), "\"forever\", for a time such as"),
            ("[log]\ndurability = \"none\"\n", (2, 14), "expected `power-loss` or `process`"),
            ("data = [\n", (1, 9), "unclosed"),
            ("data = \"\"\n", (1, 8), "has no name"),
            ("[bots.emoji]\nnick = \"bad nick\"\n", (2, 8), "is no nick"),
            ("[bots.emoji]\nrooms = [\"nohash\"]\n", (2, 9), "is no room's name"),
            ("[bots.emoji.aliases]\nx = \"a\\u0007b\"\n", (1, 1), "neither has controls"),
            ("[[bot]]\nname = \"b\"\nexec = [\"./b\"]\nmay = [\"\"]\n", (4, 7), "of no use"),
            ("[listen]\nplaintext = \"anywhere\"\npsk_file = \"/k\"\n", (1, 1), "lets them in"),
        ] {
            let error = Config::from_toml(text).expect_err(text);
            assert!(error.message.contains(says), "{text:?}: {error}");
            assert_eq!(error.position, position, "{text:?}: {error}");
        }
    }

    #[test]
    fn a_reload_changes_what_can_change_and_names_the_rest() {
        let old = Config::default();
        let new = Config::from_toml("[listen]\ntcp = []\nplaintext = \"never\"\n[limits]\nrate = 9\n")
            .expect("TOML");
        assert_eq!(old.needs_restart(&new), ["listen.tcp"]);
        let merged = old.reloaded(new);
        assert_eq!(merged.listen.tcp, old.listen.tcp);
        assert_eq!((merged.listen.plaintext, merged.limits.rate), (Plaintext::Never, 9));
    }
}
