//! Where the server is and who one is: flags, then the environment, then what is there.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use async_channel::Receiver;
use snug_client::{Address, Client, DEFAULT_PORT, Event, FileTokens, MemoryTokens, Name, Options, Tokens};
use snug_protocol::RoomName;

use crate::Common;
use crate::failure::{Exit, Failure};

/// How a command takes part.
pub(crate) enum Part {
    /// Joins nothing, is not announced, and does not come back.
    Quiet,
    /// Is in these rooms, and comes back when the connection is lost.
    Listener(Vec<RoomName<'static>>),
}

/// Connects as the flags and the environment say. The driver runs by itself.
pub(crate) async fn connect(common: &Common, part: Part) -> Result<(Client, Receiver<Event>), Failure> {
    let mut options = Options::new(addresses(common), name(common)?);
    options.tokens = tokens();
    match part {
        Part::Quiet => options.quiet = true,
        Part::Listener(rooms) => {
            options.quiet = !rooms.is_empty();
            options.rooms = rooms;
        }
    }
    let (client, events, driver) = Client::connect(options).await?;
    smol::spawn(driver.run()).detach();
    Ok((client, events))
}

/// The server that was named, or the places where one is by default.
pub(crate) fn addresses(common: &Common) -> Vec<Address> {
    if let Some(address) = &common.server {
        return vec![address.clone()];
    }
    let sockets = socket_paths().into_iter().filter(|path| path.exists()).map(Address::Unix);
    let tcp = Address::Tcp { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT };
    sockets.chain([tcp]).collect()
}

fn name(common: &Common) -> Result<Name, Failure> {
    match &common.nick {
        Some(nick) => Name::exactly(nick)
            .map_err(|error| Failure::new(Exit::Usage, format!("{nick:?} is no name to go by: {error}"))),
        None => {
            let user = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
            Ok(Name::or_numbered(&user))
        }
    }
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
