//! Where the server is and who one is: flags, then the environment, then what is there.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use snug_client::{
    Address, Client, ConnectError, DEFAULT_PORT, Event, FileKnownServers, FileTokens, KnownServers, Link,
    MemoryKnownServers, MemoryTokens, Name, Options, Tokens, Trust,
};
use snug_protocol::{Cursor, RoomName, Target};

use crate::failure::{Exit, Failure};
use crate::{Common, trust};

/// How a command takes part.
pub(crate) enum Part {
    /// Joins nothing and is not announced: asks one thing.
    Asker,
    /// Joins nothing and is not announced: says what it has, also over a short break.
    Sender,
    /// Is in these rooms, and comes back whenever the connection is lost; hears what came after `since` first. Without
    /// `follows` it wants no more than that.
    Listener { rooms: Vec<RoomName<'static>>, since: Option<Cursor>, follows: bool },
}

/// How long a sender tries to come back.
const BREAK: Duration = Duration::from_secs(30);

/// Connects as the flags and the environment say. The driver runs by itself.
pub(crate) async fn connect(common: &Common, part: Part) -> Result<(Client, Receiver<Event>), Failure> {
    let mut options = Options::new(addresses(common)?, name(common)?);
    options.tokens = tokens();
    options.trust = trust(common)?;
    // Most commands look at no messages.
    options.acknowledge = false;
    match part {
        Part::Asker => (options.quiet, options.reconnect) = (true, Duration::ZERO),
        Part::Sender => (options.quiet, options.reconnect) = (true, BREAK),
        Part::Listener { rooms, since, follows } => {
            options.quiet = !rooms.is_empty();
            options.rooms = rooms;
            options.since = since;
            options.acknowledge = true;
            if !follows {
                options.reconnect = BREAK;
            }
        }
    }
    let known = Arc::clone(&options.trust.known);
    let (client, events, driver) = asking(&*known, || Client::connect(options.clone())).await?;
    smol::spawn(driver.run()).detach();
    Ok((client, events))
}

/// The newest entry of the daemon's log when the connection was made.
pub(crate) async fn newest(events: &Receiver<Event>) -> Cursor {
    while let Ok(event) = events.recv().await {
        if let Event::Connected { cursor, .. } = event {
            return cursor;
        }
    }
    Cursor::at(0)
}

/// A room or a person, as an argument.
pub(crate) fn target(word: &str) -> Result<Target<'_>, Failure> {
    Target::parse(word)
        .map_err(|error| Failure::new(Exit::Usage, format!("{word:?} is no room or person: {error}")))
}

/// A connection that carries lines and nothing else.
pub(crate) async fn link(common: &Common) -> Result<Link, Failure> {
    let (addresses, trust) = (addresses(common)?, trust(common)?);
    asking(&*trust.known, || async { Link::reach(&addresses, &trust).await.map(|(_, link)| link) }).await
}

/// Connects; if the server is not known and there is somebody to ask, asks, and connects again. Meanwhile there is no
/// connection: a person's time is not a handshake's.
async fn asking<T, F: Future<Output = Result<T, ConnectError>>>(
    known: &dyn KnownServers,
    connect: impl Fn() -> F,
) -> Result<T, Failure> {
    match connect().await {
        Err(ConnectError::Unknown { address, offered }) if trust::ask(&address, offered) => {
            trust::remember(known, &address, offered)?;
            Ok(connect().await?)
        }
        connected => Ok(connected?),
    }
}

/// Says on stderr when the connection is lost and made again, for commands that look at no other events.
pub(crate) fn tell_breaks(events: Receiver<Event>) {
    let tell = async move {
        let mut is_broken = false;
        while let Ok(event) = events.recv().await {
            match event {
                Event::Disconnected { reason } => {
                    is_broken = true;
                    say(&format!("disconnected ({reason}); trying again"));
                }
                Event::Connected { .. } if is_broken => say("connected again"),
                _ => {}
            }
        }
    };
    smol::spawn(tell).detach();
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "snug: {}", crate::output::visible(text));
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
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("snug/known_hosts"))
}

fn name(common: &Common) -> Result<Name, Failure> {
    match common.nick.clone().or_else(|| variable("SNUG_NICK")) {
        Some(nick) => Name::exactly(&nick)
            .map_err(|error| Failure::new(Exit::Usage, format!("{nick:?} is no name to go by: {error}"))),
        None => Ok(Name::or_numbered(&variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_default())),
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
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

fn tokens() -> Arc<dyn Tokens> {
    match state_folder() {
        Some(folder) => Arc::new(FileTokens::new(folder.join("tokens"))),
        None => Arc::new(MemoryTokens::default()),
    }
}

fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".local/state")))
        .map(|state| state.join("snug"))
}

/// An absolute folder from the environment.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
