//! Connections: how a command takes part, and what is said when one cannot be made.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_lite::FutureExt;
use snug_client::{
    Address, Client, ConnectError, Event, Events, KnownServers, Link, Login, OneLogin, Options,
};
use snug_protocol::{Code, Command, Cursor, MessageTags, RoomName, Target};

use crate::environment;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use snug_protocol::envelope::Fingerprint;
use std::fs::OpenOptions;

/// How a command takes part.
#[derive(Clone)]
pub(crate) enum Part {
    /// Joins nothing and is not announced: asks one thing.
    Asker,
    /// Joins nothing and is not announced: says what it has, also over a short break.
    Sender,
    /// As a sender, with much to carry: goes on also after a long break.
    Carrier,
    /// Is here as a person is: in the lobby or the account's rooms, and announced. `waits` for the server for as long as it takes
    /// to come back.
    Person { waits: bool },
    /// Is in these rooms, and comes back whenever the connection is lost; hears what came after `since` first. Without
    /// `follows` it wants no more than that.
    Listener { rooms: Vec<RoomName<'static>>, since: Option<Cursor>, follows: bool },
}

/// How long a sender tries to come back, and who carries a file.
const BREAK: Duration = Duration::from_secs(30);
const LONG_BREAK: Duration = Duration::from_secs(600);

/// Connects as the flags and the environment say. The driver runs by itself.
pub(crate) async fn connect(common: &Common, part: Part) -> Result<(Client, Events), Failure> {
    let mut options = Options::new(environment::addresses(common)?, environment::name(common)?);
    options.accounts = environment::logins(common)?;
    begin(options, common, part).await
}

/// Connects to one server with a login that was just given.
pub(crate) async fn connect_as(
    common: &Common,
    address: &Address,
    login: Login,
) -> Result<(Client, Events), Failure> {
    let mut options = Options::new([address.clone()], environment::name(common)?);
    options.accounts = Arc::new(OneLogin(login));
    begin(options, common, Part::Asker).await
}

async fn begin(mut options: Options, common: &Common, part: Part) -> Result<(Client, Events), Failure> {
    options.tokens = environment::tokens();
    options.trust = environment::trust(common)?;
    // Most commands look at no messages.
    options.acknowledge = false;
    match part {
        Part::Asker => (options.quiet, options.reconnect) = (true, Duration::ZERO),
        Part::Sender => (options.quiet, options.reconnect) = (true, BREAK),
        Part::Carrier => (options.quiet, options.reconnect) = (true, LONG_BREAK),
        Part::Person { waits } => {
            options.acknowledge = true;
            if !waits {
                options.reconnect = BREAK;
            }
        }
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
        || ["SNUG_TOKEN", "SNUG_TOKEN_FILE"].iter().any(|name| environment::variable(name).is_some());
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
pub(crate) async fn newest(events: &Events) -> Cursor {
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
    Command::say(target.clone().into_owned(), text, tags)
}

/// A connection that carries lines and nothing else.
pub(crate) async fn link(common: &Common) -> Result<Link, Failure> {
    let (addresses, trust) = (environment::addresses(common)?, environment::trust(common)?);
    asking(&*trust.known, || async { Link::reach(&addresses, &trust).await.map(|(_, link)| link) }).await
}

/// The name that one has, as soon as there is a connection.
pub(crate) async fn own_nick(events: &Events) -> Option<String> {
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
        Err(ConnectError::Unknown { address, offered }) if ask(&address, offered) => {
            remember(known, &address, offered)?;
            Ok(connect().await?)
        }
        connected => Ok(connected?),
    }
}

/// Says on stderr when the connection is lost and made again, for commands that look at no other events.
pub(crate) fn tell_breaks(events: Events) {
    let tell = async move {
        let mut is_broken = false;
        while let Ok(event) = events.recv().await {
            match event {
                Event::Disconnected { loss } => {
                    is_broken = true;
                    say(&format!("disconnected ({loss}); trying again"));
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

/// Writes down that a server is trusted.
pub(crate) fn remember(
    known: &dyn KnownServers,
    address: &Address,
    fingerprint: Fingerprint,
) -> Result<(), Failure> {
    let failed =
        |error| Failure::new(Exit::Identity, format!("cannot write down that {address} is trusted: {error}"));
    known.remember(&address.to_string(), fingerprint).map_err(failed)
}

/// Asks the person at the terminal, if there is one, whether a server is the right one.
fn ask(address: &Address, offered: Fingerprint) -> bool {
    if !io::stderr().is_terminal() {
        return false;
    }
    // Not stdin: that may be what is to be sent.
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return false };
    let question = format!(
        "The server {address} is not known.\nIts fingerprint is {offered}\n\
         (`snugd fingerprint` prints it there.) Is that the right one? [yes/no] "
    );
    if terminal.write_all(question.as_bytes()).is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = BufReader::new(terminal).read_line(&mut answer);
    read.is_ok() && answer.trim().eq_ignore_ascii_case("yes")
}
