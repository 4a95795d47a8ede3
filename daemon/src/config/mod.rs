//! The settings of a daemon: a value that any program can make, and TOML that says the same.
//!
//! Every setting has a default, and `config.toml` in the repository's root shows each with it; a test holds the two
//! together.

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

/// Everything that can be set about a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The data folder. [`Fallback::Auto`] is for `snugd` to decide; the library then keeps nothing on disk.
    #[serde(deserialize_with = "data_folder")]
    pub data: Fallback<PathBuf>,
    /// Threads that serve connections, the caller's among them. The log has threads of its own.
    #[serde(deserialize_with = "between::<_, 1, 256>")]
    pub threads: u64,
    /// Where the daemon listens.
    pub listen: Listen,
    /// How many there may be of everything.
    pub limits: Limits,
    /// How dead peers are noticed.
    pub heartbeat: Heartbeat,
    /// Who may have an account, and who comes in without one.
    pub accounts: Accounts,
    /// Identities without an account.
    pub guests: Guests,
    /// The log of entries.
    pub log: Log,
    /// Files that people send each other.
    pub files: Files,
    /// The end of the daemon.
    pub shutdown: Shutdown,
    /// What the daemon tells about itself.
    pub logging: Logging,
    /// The bots of the box.
    pub bots: BotsConfig,
    /// Programs of one's own that take part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bot: Vec<ScriptBot>,
    /// Programs of one's own that run for a command.
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

/// The table `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Listen {
    /// TCP addresses, `host:port` with a numeric host. Port 0 lets the system choose.
    pub tcp: Vec<SocketAddr>,
    /// The Unix socket's path; empty for none. [`Fallback::Auto`] is for `snugd` to decide; the library then has none.
    #[serde(deserialize_with = "socket_path")]
    pub unix: Fallback<PathBuf>,
    /// From where the daemon takes connections that are not sealed.
    pub plaintext: Plaintext,
    /// The file with the server-wide pre-shared key; empty for none. With it, sealed connections without the key are
    /// refused.
    pub psk_file: PathBuf,
    /// The address that invites name, `host` or `host:port`; empty for the first of `tcp`.
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

/// The table `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a line, without its LF.
    #[serde(deserialize_with = "between::<_, 512, { limits::LINE as u64 }>")]
    pub line: u64,
    /// Bytes of a text, as it stands on the line.
    #[serde(deserialize_with = "between::<_, 1, { limits::TEXT as u64 }>")]
    pub text: u64,
    /// Bytes of a room's topic, as it stands on the line.
    #[serde(deserialize_with = "between::<_, 1, { limits::TEXT as u64 }>")]
    pub topic: u64,
    /// Sessions in all.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub sessions: u64,
    /// Sessions of one address. Loopback and the Unix socket are exempt.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub sessions_per_address: u64,
    /// Rooms in all.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms: u64,
    /// Rooms that one identity can be in.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub rooms_per_identity: u64,
    /// Members up to which a room announces who comes and goes.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub announce_members: u64,
    /// What may wait for one session before it is closed as too slow.
    pub outbox: Size<{ 64 << 10 }>,
    /// What may wait for all sessions before the slowest are closed.
    pub outboxes: Size<{ 1 << 20 }>,
    /// Sessions without a name, in all.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub nameless: u64,
    /// Sessions without a name of one address. Loopback and the Unix socket are exempt.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub nameless_per_address: u64,
    /// Time from the connection to the first envelope of who said HELLO.
    pub handshake: Span<100>,
    /// Time from the connection to its NICK.
    pub registration: Span<100>,
    /// Lines that a session may send at once before it is slowed down.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub burst: u64,
    /// Lines per second that a session may send in the long run; 0 for no limit.
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    pub rate: u64,
    /// Messages and changes of them that an account or guest may send in all its sessions: at once, and per second in the
    /// long run; 0 for no limit. The same of an address, and in a room.
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    pub account_burst: u64,
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    #[allow(missing_docs, reason = "with the one before")]
    pub account_rate: u64,
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    #[allow(missing_docs, reason = "with those before")]
    pub address_burst: u64,
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    #[allow(missing_docs, reason = "with those before")]
    pub address_rate: u64,
    #[serde(deserialize_with = "between::<_, 1, 1_000_000>")]
    #[allow(missing_docs, reason = "with those before")]
    pub room_burst: u64,
    #[serde(deserialize_with = "between::<_, 0, 1_000_000>")]
    #[allow(missing_docs, reason = "with those before")]
    pub room_rate: u64,
    /// Connections over TCP that are taken per second, in all; the others wait in the system's queue. 0 for no limit.
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
            connections: 1_000,
        }
    }
}

/// The table `[heartbeat]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Silence after which the daemon sends a PING to those that answer it.
    pub ping: Span<100>,
    /// Silence after which a peer that answers PING is gone. The system's own probes watch the others with the
    /// same limit.
    pub dead: Span<200>,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { ping: Span::from_millis(60_000), dead: Span::from_millis(150_000) }
    }
}

/// The table `[accounts]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Accounts {
    /// Who may make one.
    pub registration: Registration,
    /// Whether one may come in over TCP without one.
    pub guests: bool,
    /// How many there are at most.
    #[serde(deserialize_with = "between::<_, 1, 10_000_000>")]
    pub most: u64,
    /// Which account a user of this machine has over the Unix socket without any other proof: user id and name.
    #[serde(deserialize_with = "users")]
    pub users: BTreeMap<String, String>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { registration: Registration::Open, guests: true, most: 100_000, users: BTreeMap::new() }
    }
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Everybody.
    Open,
    /// Who has an invite.
    Invite,
    /// Nobody but operators.
    Closed,
}

/// The table `[guests]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Guests {
    /// How long an identity waits for its guest after the last session ended.
    pub linger: Span<0>,
    /// How many identities wait at most; the oldest go first.
    #[serde(deserialize_with = "between::<_, 0, 10_000_000>")]
    pub lingering: u64,
}

impl Default for Guests {
    fn default() -> Guests {
        Guests { linger: Span::from_millis(4 * 3_600_000), lingering: 10_000 }
    }
}

/// The table `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Log {
    /// Where entries are kept. Without a data folder it is in memory whatever this says.
    pub history: History,
    /// What an acknowledged entry survives.
    pub durability: Durability,
    /// How long entries of rooms are kept that have no setting of their own.
    pub keep: Retention,
    /// How long private messages are kept.
    pub keep_private: Retention,
    /// How long the audit trail is kept.
    pub keep_audit: Retention,
    /// Entries that a log in memory keeps, and rows of the audit trail.
    #[serde(deserialize_with = "between::<_, 1, 10_000_000>")]
    pub memory_entries: u64,
    /// How long a `key` is remembered.
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
            memory_entries: 20_000,
            key_window: Span::from_millis(24 * 3_600_000),
        }
    }
}

/// The table `[files]`. They are kept in the data folder; without one there are none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Files {
    /// The largest file.
    pub file: Size<0>,
    /// What one account, or user of the machine, may have sent that is kept.
    pub account: Size<0>,
    /// What one guest may have sent that is kept.
    pub guest: Size<0>,
    /// What a room may have.
    pub room: Size<0>,
    /// What there may be in all.
    pub total: Size<0>,
    /// What uploads leave free on the disk, for the log above all.
    pub reserve: Size<0>,
    /// How long files are kept, or how many of all; their entries stay.
    pub keep: Retention,
    /// How long an upload can be gone on with.
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

/// Where entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// In the data folder.
    Disk,
    /// In memory, the newest, as long as the daemon runs.
    None,
}

/// What an acknowledged entry survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The loss of power: it is on the disk before it is acknowledged.
    PowerLoss,
    /// The end of the process, however it ends: the system has it.
    Process,
}

/// The table `[shutdown]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Shutdown {
    /// How long the daemon waits for its sessions to take what is theirs.
    pub grace: Span<0>,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { grace: Span::from_millis(5_000) }
    }
}

/// The table `[logging]`: for the program around the library, which logs nowhere by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Logging {
    /// The least important thing that is logged.
    pub level: Level,
    /// How a line of the log looks.
    pub format: LogFormat,
    /// Where the log goes.
    pub to: LogTarget,
}

/// How a line of the daemon's own log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// An object per line.
    Json,
}

/// Where the daemon's own log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// The journal of systemd, with its fields.
    Journald,
}

/// How important something in the log is.
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

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line and column, both counted from 1, where the text is wrong; of its start where that is not known.
    pub position: (usize, usize),
    /// What is wrong and what is allowed.
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
    /// Reads TOML. What it does not set has its default.
    ///
    /// # Errors
    /// The first thing that is wrong: syntax, an unknown key, a value that is not allowed.
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

    /// The settings in which `new` differs and that a running daemon cannot change.
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

    /// What a running daemon with this configuration becomes when it reads `new`.
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
            ("[heartbeat]\nping = \"soon\"\n", (2, 8), "\"500ms\", \"30s\", \"5m\" or \"4h\""),
            ("[limits]\noutbox = \"1 kB\"\n", (2, 10), "at least"),
            ("[heartbeat]\nping = \"30s\"\ndead = \"31s\"\n", (1, 1), "twice"),
            ("[log]\nkeep = \"a while\"\n", (2, 8), "\"forever\", for a time such as"),
            ("[log]\ndurability = \"none\"\n", (2, 14), "expected `power-loss` or `process`"),
            ("data = [\n", (1, 9), "unclosed"),
            ("data = \"\"\n", (1, 8), "has no name"),
            ("[bots.emoji]\nnick = \"bad nick\"\n", (2, 8), "is no nick"),
            ("[bots.emoji]\nrooms = [\"nohash\"]\n", (2, 9), "is no room's name"),
            ("[bots.emoji.aliases]\nx = \"a\\u0007b\"\n", (1, 1), "neither has controls"),
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
