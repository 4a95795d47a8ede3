//! Hooks for the embedding program: its own policy, its own login check, and how external programs are started.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use snug_bots::Filter;
use snug_protocol::{Command, Role};

use crate::refusal::Refusal;

/// The user behind a command, as a [`Policy`] sees it.
///
/// ```
/// use snug_daemon::protocol::{Code, Command};
/// use snug_daemon::{Config, Daemon, Refusal, Who};
///
/// let from_here = |who: &Who, _: &Command<'_>| match who.address {
///     Some(address) if !address.is_loopback() => Err(Refusal::new(Code::Denied, "connect from this machine")),
///     _ => Ok(()),
/// };
/// let builder = Daemon::builder(Config::default()).policy(from_here);
/// # drop(builder);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Who {
    /// The nickname; `None` before NICK or AUTH.
    pub nick: Option<String>,
    /// Whether the user has logged in to an account.
    pub has_account: bool,
    /// The role on the server.
    pub role: Role,
    /// The IP address; `None` for a session that does not come over TCP.
    pub address: Option<IpAddr>,
    /// The user id on this machine; `None` for a session that does not come over the Unix socket.
    pub user: Option<u32>,
}

/// Rules of the embedding program, asked for each command before the daemon's own.
///
/// It is called on the threads that serve connections and must not block. A closure is one as well:
///
/// ```
/// use snug_daemon::protocol::{Code, Command};
/// use snug_daemon::{Config, Daemon, Refusal, Who};
///
/// let read_only = |who: &Who, command: &Command<'_>| match command {
///     Command::Msg { .. } if !who.has_account => {
///         Err(Refusal::new(Code::Denied, "only accounts write here; REGISTER makes one"))
///     }
///     _ => Ok(()),
/// };
/// let builder = Daemon::builder(Config::default()).policy(read_only);
/// # drop(builder);
/// ```
pub trait Policy: Send + Sync {
    /// Decides whether `who` may send `command`.
    ///
    /// # Errors
    /// The refusal that the user is answered with. It is noted in the audit log.
    fn allow(&self, who: &Who, command: &Command<'_>) -> Result<(), Refusal>;
}

impl<F: Fn(&Who, &Command<'_>) -> Result<(), Refusal> + Send + Sync> Policy for F {
    fn allow(&self, who: &Who, command: &Command<'_>) -> Result<(), Refusal> {
        self(who, command)
    }
}

/// Passwords that the embedding program checks, for names that have no password here.
///
/// A name that it vouches for and that has no account yet gets one, whatever `accounts.registration` says. A closure is
/// one as well:
///
/// ```
/// use snug_daemon::{Config, Daemon};
///
/// let directory = |name: &str, password: &str| name == "alice" && password == "from the directory";
/// let builder = Daemon::builder(Config::default()).login(directory);
/// # drop(builder);
/// ```
pub trait Login: Send + Sync {
    /// Returns whether `password` is the one of `name`. It is called on a thread for passwords, of which there are two, and
    /// may block. The daemon limits the tries per account and address.
    fn verify(&self, name: &str, password: &str) -> bool;
}

impl<F: Fn(&str, &str) -> bool + Send + Sync> Login for F {
    fn verify(&self, name: &str, password: &str) -> bool {
        self(name, password)
    }
}

/// How external bots and commands are started.
///
/// ```
/// use snug_daemon::{Config, Daemon, Programs};
///
/// let mut programs = Programs::default();
/// programs.environment.insert("PATH".into(), "/usr/bin:/bin".into());
/// let builder = Daemon::builder(Config::default()).programs(programs);
/// # drop(builder);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Programs {
    /// The program that runs them within limits and ends all of them, as `snugd guard` does. Without it they run without
    /// limits.
    pub guard: Option<PathBuf>,
    /// Their environment variables; they get no others but those of their own settings.
    pub environment: BTreeMap<String, String>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) policy: Option<Box<dyn Policy>>,
    pub(crate) login: Option<Box<dyn Login>>,
    pub(crate) programs: Programs,
    /// Filters that stand behind those of the settings.
    pub(crate) filters: Vec<Arc<dyn Filter>>,
}

impl Hooks {
    /// Returns filters of the settings with those of the embedding program behind them.
    pub(crate) fn with_filters(&self, mut loaded: Vec<Box<dyn Filter>>) -> Vec<Box<dyn Filter>> {
        loaded.extend(
            self.filters.iter().map(|filter| Box::new(Shared(Arc::clone(filter))) as Box<dyn Filter>),
        );
        loaded
    }
}

/// A filter that outlives a change of the settings.
struct Shared(Arc<dyn Filter>);

impl Filter for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn rewrite(&self, text: &str) -> Option<String> {
        self.0.rewrite(text)
    }
}
