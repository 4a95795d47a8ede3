//! Where the server is and who one is: flags, then the environment, then what is there.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_channel::Receiver;
use futures_lite::FutureExt;
use snug_client::{
    Accounts, Address, Client, ConnectError, DEFAULT_PORT, Event, FileAccounts, FileKnownServers, FileTokens,
    KnownServers, Link, Login, MemoryKnownServers, MemoryTokens, Name, NoAccounts, OneLogin, Options, Tokens,
    Trust,
};
use snug_protocol::{Code, Command, Cursor, MessageTags, RoomName, Target};

use crate::failure::{Exit, Failure};
use crate::{Common, trust};

/// How a command takes part.
#[derive(Clone)]
pub(crate) enum Part {
    /// Joins nothing and is not announced: asks one thing.
    Asker,
    /// Joins nothing and is not announced: says what it has, also over a short break.
    Sender,
    /// As a sender, with much to carry: goes on also after a long break.
    Carrier,
    /// Is in these rooms, and comes back whenever the connection is lost; hears what came after `since` first. Without
    /// `follows` it wants no more than that.
    Listener { rooms: Vec<RoomName<'static>>, since: Option<Cursor>, follows: bool },
}

/// How long a sender tries to come back, and who carries a file.
const BREAK: Duration = Duration::from_secs(30);
const LONG_BREAK: Duration = Duration::from_secs(600);

/// Connects as the flags and the environment say. The driver runs by itself.
pub(crate) async fn connect(common: &Common, part: Part) -> Result<(Client, Receiver<Event>), Failure> {
    let mut options = Options::new(addresses(common)?, name(common)?);
    options.accounts = logins(common)?;
    begin(options, common, part).await
}

/// Connects to one server with a login that was just given.
pub(crate) async fn connect_as(
    common: &Common,
    address: &Address,
    login: Login,
) -> Result<(Client, Receiver<Event>), Failure> {
    let mut options = Options::new([address.clone()], name(common)?);
    options.accounts = Arc::new(OneLogin(login));
    begin(options, common, Part::Asker).await
}

async fn begin(
    mut options: Options,
    common: &Common,
    part: Part,
) -> Result<(Client, Receiver<Event>), Failure> {
    options.tokens = tokens();
    options.trust = trust(common)?;
    // Most commands look at no messages.
    options.acknowledge = false;
    match part {
        Part::Asker => (options.quiet, options.reconnect) = (true, Duration::ZERO),
        Part::Sender => (options.quiet, options.reconnect) = (true, BREAK),
        Part::Carrier => (options.quiet, options.reconnect) = (true, LONG_BREAK),
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
    let connected = asking(&*known, || Client::connect(options.clone())).await;
    let (client, events, driver) = connected.map_err(|failure| explain_login(failure, common))?;
    let driving = TASKS.spawn(driver.run());
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).push((client.clone(), driving));
    Ok((client, events))
}

/// Says what to do about an account or token that is not good any more.
fn explain_login(failure: Failure, common: &Common) -> Failure {
    if !failure.has_code(Code::BadLogin) {
        return failure;
    }
    let by_token = common.token_file.is_some()
        || ["SNUG_TOKEN", "SNUG_TOKEN_FILE"].iter().any(|name| variable(name).is_some());
    failure.and(match by_token {
        true => "the token (--token-file, SNUG_TOKEN) was revoked, has ended or is none",
        false => {
            "if it was this machine's key: `snug login NAME` adds it again, `snug logout` goes on as a guest"
        }
    })
}

/// What runs beside the command, on the same thread: handing each line from one thread to another costs more than the line.
pub(crate) static TASKS: smol::Executor<'static> = smol::Executor::new();

/// The connections that are open, to be ended in order.
static OPEN: Mutex<Vec<(Client, smol::Task<()>)>> = Mutex::new(Vec::new());

/// How long the end of a connection may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Ends the connections in order, so that the others see that one has left, and not that one was lost.
pub(crate) async fn say_goodbye() {
    let open = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
    for (client, driving) in open {
        client.finish();
        let overdue = async {
            smol::Timer::after(GOODBYE).await;
        };
        driving.or(overdue).await;
    }
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

/// What says a text to a target.
pub(crate) fn message<'t>(target: &Target<'_>, text: String, tags: MessageTags<'t>) -> Command<'t> {
    match target.clone().into_owned() {
        Target::Room(room) => Command::Msg { room, text: text.into(), tags },
        Target::Nick(nick) => Command::Priv { nick, text: text.into(), tags },
    }
}

/// A connection that carries lines and nothing else.
pub(crate) async fn link(common: &Common) -> Result<Link, Failure> {
    let (addresses, trust) = (addresses(common)?, trust(common)?);
    asking(&*trust.known, || async { Link::reach(&addresses, &trust).await.map(|(_, link)| link) }).await
}

/// The name that one has, as soon as there is a connection.
pub(crate) async fn own_nick(events: &Receiver<Event>) -> Option<String> {
    while let Ok(event) = events.recv().await {
        if let Event::Connected { nick, .. } = event {
            return Some(nick);
        }
    }
    None
}

/// Connects; if the server is not known and there is somebody to ask, asks, and connects again. Meanwhile there is no
/// connection: a person's time is not a handshake's.
pub(crate) async fn asking<T, F: Future<Output = Result<T, ConnectError>>>(
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
    TASKS.spawn(tell).detach();
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
    Some(config_folder()?.join("known_hosts"))
}

fn config_folder() -> Option<PathBuf> {
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("snug"))
}

/// Which account one has where: by a token that is named, else by what is written down.
fn logins(common: &Common) -> Result<Arc<dyn Accounts>, Failure> {
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

pub(crate) fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".local/state")))
        .map(|state| state.join("snug"))
}

/// An absolute folder from the environment.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
