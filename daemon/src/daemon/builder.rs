//! A daemon that is being put together.

use std::sync::Arc;

use snug_bots::{Filter, Hosted};

use super::{Daemon, StartError};
use crate::hooks::{Hooks, Login, Policy, Programs};
use crate::{Config, Environment};

/// A daemon that is being put together, from [`Daemon::builder`].
///
/// ```
/// use snug_daemon::protocol::{Code, Command};
/// use snug_daemon::{Config, Daemon, Refusal, SessionRole, Who};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.listen.tcp = Vec::new();
/// let no_topics = |_: &Who, command: &Command<'_>| match command {
///     Command::Topic { .. } => Err(Refusal::new(Code::Denied, "topics stay as they are")),
///     _ => Ok(()),
/// };
/// # smol::block_on(async {
/// let daemon = Daemon::builder(config).policy(no_topics).bind().await?;
/// # let handle = daemon.handle();
/// # let work = async {
/// #     let mut session = handle.open_session(SessionRole::Guest);
/// #     session.send_line("NICK alice").await?;
/// #     session.send_line("TOPIC #lobby new").await?;
/// #     while let Some(line) = session.next_line().await? {
/// #         if line.starts_with("ERR TOPIC denied topics stay") {
/// #             handle.stop();
/// #             return Ok(());
/// #         }
/// #     }
/// #     Err("the policy was not asked".into())
/// # };
/// # futures_lite::future::zip(daemon.run(), work).await.1
/// # })
/// # }
/// ```
#[must_use = "nothing is bound before `bind`"]
pub struct Builder {
    pub(super) config: Config,
    pub(super) environment: Environment,
    pub(super) hooks: Hooks,
    pub(super) bots: Vec<Hosted>,
}

impl Builder {
    pub(super) fn new(config: Config) -> Builder {
        Builder { config, environment: Environment::default(), hooks: Hooks::default(), bots: Vec::new() }
    }

    /// Takes another clock and another random source than the system's.
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.environment = environment;
        self
    }

    /// Adds a filter behind those of the settings. It stays when the settings are reloaded.
    pub fn filter(mut self, filter: Box<dyn Filter>) -> Builder {
        self.hooks.filters.push(Arc::from(filter));
        self
    }

    /// Adds a bot beside those of the settings. Its name must be unique among all of them.
    pub fn bot(mut self, bot: Hosted) -> Builder {
        self.bots.push(bot);
        self
    }

    /// Sets the rules that each command is checked against before the daemon's own.
    pub fn policy(mut self, policy: impl Policy + 'static) -> Builder {
        self.hooks.policy = Some(Box::new(policy));
        self
    }

    /// Sets who checks passwords of names that have none here.
    pub fn login(mut self, login: impl Login + 'static) -> Builder {
        self.hooks.login = Some(Box::new(login));
        self
    }

    /// Sets how external bots and commands are started.
    pub fn programs(mut self, programs: Programs) -> Builder {
        self.hooks.programs = programs;
        self
    }

    /// Binds the daemon to its addresses and opens its log.
    ///
    /// # Errors
    /// A [`StartError`] that says what it cannot have.
    pub async fn bind(self) -> Result<Daemon, StartError> {
        Daemon::build(self).await
    }
}
