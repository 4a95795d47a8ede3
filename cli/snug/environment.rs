//! Where the server is and who one is: flags, then the environment, then what is there.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use snug_client::{
    Accounts, Address, DEFAULT_PORT, FileAccounts, FileKnownServers, FileTokens, KnownServers, Login,
    MemoryKnownServers, MemoryTokens, Name, NoAccounts, OneLogin, Tokens, Trust,
};

use crate::failure::{Exit, Failure};

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// The server: host[:port], snug://host[:port][/#SHA256:…] or unix:/path [default: $SNUG_SERVER, then the Unix
    /// socket, then 127.0.0.1:7684]
    #[arg(long, short, global = true, value_name = "ADDRESS")]
    pub(crate) server: Option<snug_client::Address>,

    /// The name to go by [default: $SNUG_NICK, then $USER, or $USER-2 and so on if that is taken]
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) nick: Option<String>,

    /// The file with the server's pre-shared key [default: $SNUG_PSK_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) psk_file: Option<std::path::PathBuf>,

    /// A file with a token, to be who made it as far as the token allows [default: $SNUG_TOKEN_FILE, or the token itself
    /// in $SNUG_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<std::path::PathBuf>,

    /// Print JSON, one object per line, also for errors
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Whether the terminal is a chat's: what else is done is told in one line, without a bar that moves.
    #[arg(skip)]
    pub(crate) is_chat: bool,
}

/// The server that was named, or the places where one is by default.
pub(crate) fn addresses(common: &Common) -> Result<Vec<Address>, Failure> {
    if let Some(address) = &common.server {
        return Ok(vec![address.clone()]);
    }
    if let Some(text) = variable("SNUG_SERVER") {
        let address = text.parse().map_err(|error: snug_client::AddressError| {
            Failure::new(Exit::Usage, format!("SNUG_SERVER: {error}"))
        })?;
        return Ok(vec![address]);
    }
    let sockets = socket_paths().into_iter().filter(|path| path.exists()).map(Address::Unix);
    Ok(sockets.chain([default_address()]).collect())
}

/// The TCP address of a daemon on this machine.
pub(crate) fn default_address() -> Address {
    Address::Tcp { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT, pin: None }
}

/// Which servers are the right ones: what is known, and the pre-shared key if there is one.
pub(crate) fn trust(common: &Common) -> Result<Trust, Failure> {
    let known: Arc<dyn KnownServers> = match known_hosts() {
        Some(path) => Arc::new(FileKnownServers::new(path)),
        None => Arc::new(MemoryKnownServers::default()),
    };
    let file = common.psk_file.clone().or_else(|| variable("SNUG_PSK_FILE").map(PathBuf::from));
    let psk = match file {
        None => None,
        Some(file) => {
            let failed = |what: &dyn std::fmt::Display| {
                Failure::new(Exit::Identity, format!("cannot use the key in {}: {what}", file.display()))
            };
            Some(snug_client::read_psk(&file).map_err(|error| failed(&error))?)
        }
    };
    Ok(Trust { known, psk })
}

/// Where servers that are trusted are written down.
pub(crate) fn known_hosts() -> Option<PathBuf> {
    Some(config_folder()?.join("known_hosts"))
}

fn config_folder() -> Option<PathBuf> {
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("snug"))
}

/// Which account one has where: by a token that is named, else by what is written down.
pub(crate) fn logins(common: &Common) -> Result<Arc<dyn Accounts>, Failure> {
    let file = common.token_file.clone().or_else(|| variable("SNUG_TOKEN_FILE").map(PathBuf::from));
    let token = match (file, variable("SNUG_TOKEN")) {
        (Some(file), _) => {
            let failed = |what: &dyn std::fmt::Display| {
                Failure::new(Exit::Identity, format!("cannot use the token in {}: {what}", file.display()))
            };
            Some(snug_client::read_token(&file).map_err(|error| failed(&error))?)
        }
        (None, token) => token.map(Into::into),
    };
    if let Some(token) = token {
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(Failure::new(Exit::Identity, "a token is one word; this one is not"));
        }
        return Ok(Arc::new(OneLogin(Login::Token(token))));
    }
    Ok(match accounts() {
        Some(accounts) => Arc::new(accounts),
        None => Arc::new(NoAccounts),
    })
}

/// What is written down of one's accounts.
pub(crate) fn accounts() -> Option<FileAccounts> {
    let folder = config_folder()?;
    Some(FileAccounts::new(folder.join("accounts"), folder.join("key")))
}

/// The name that was asked for in particular.
pub(crate) fn named(common: &Common) -> Option<String> {
    common.nick.clone().or_else(|| variable("SNUG_NICK"))
}

/// The name that was asked for, or that one has on this machine.
pub(crate) fn wanted_name(common: &Common) -> Option<String> {
    named(common).or_else(|| variable("USER"))
}

pub(crate) fn name(common: &Common) -> Result<Name, Failure> {
    match common.nick.clone().or_else(|| variable("SNUG_NICK")) {
        Some(nick) => Name::exactly(&nick)
            .map_err(|error| Failure::new(Exit::Usage, format!("{nick:?} is no name to go by: {error}"))),
        None => Ok(Name::or_numbered(&variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_default())),
    }
}

/// A variable of the environment that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The places where `snugd` has its socket by default, in its order.
fn socket_paths() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    paths.extend(folder("XDG_RUNTIME_DIR").map(|folder| folder.join("snug.sock")));
    paths.push("/run/snug/snug.sock".into());
    paths.extend(state_folder().map(|folder| folder.join("snug.sock")));
    paths
}

pub(crate) fn tokens() -> Arc<dyn Tokens> {
    match state_folder() {
        Some(folder) => Arc::new(FileTokens::new(folder.join("tokens"))),
        None => Arc::new(MemoryTokens::default()),
    }
}

pub(crate) fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".local/state")))
        .map(|state| state.join("snug"))
}

/// An absolute folder from the environment.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
