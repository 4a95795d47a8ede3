//! Connecting: from an address to a connection that holds a nickname and has joined its rooms.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;
use ring::rand::{SecureRandom, SystemRandom};
use smol::Timer;
use snug_protocol::envelope::{ClientKey, encode_public_key, encode_signature};
use snug_protocol::{Body, Code, Command, Credential, Cursor, Entrance, LogName, Nick, Request, RoomName};

use crate::error::ConnectError;
use crate::event::{Event, Received};
use crate::options::Options;
use crate::{Address, Link, Login, Trust};

/// Who and where a lost connection was.
pub(crate) struct Back<'b> {
    pub(crate) nick: Nick<'static>,
    /// A guest's token.
    pub(crate) token: Option<&'b str>,
    pub(crate) rooms: &'b [RoomName<'static>],
}

/// A connection that holds a nickname.
pub(crate) struct Entered {
    pub(crate) link: Link,
    pub(crate) nick: Nick<'static>,
    pub(crate) token: Option<String>,
    /// Whether the server itself brings it into its rooms.
    pub(crate) has_its_rooms: bool,
    /// The newest entry of the server's log.
    pub(crate) cursor: Cursor,
    /// [`Event::Connected`], and the lines that arrived while the rooms were joined.
    pub(crate) events: Vec<Event>,
}

/// Connects to the first address that serves, takes a nickname and joins the rooms. Each address has
/// [`Options::patience`]. On a reconnect, `back` is who and where the lost one was. Then no other nickname is tried: the
/// guest gets the same identity or none.
pub(crate) async fn enter_in_time(
    options: &Options,
    back: Option<&Back<'_>>,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    if let Some(connector) = &options.connector {
        let address = Address::Unix("".into());
        let entering = async {
            let link = Link::over(connector()).await?;
            enter_over(options, &address, link, back, since).await
        };
        return in_time(options.patience, &address, entering).await;
    }
    let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "no address was given");
    let mut failed = ConnectError::NoServer { address: Address::Unix("".into()), error: no_address() };
    for address in &options.addresses {
        let entering = enter_at(options, address, back, since);
        match in_time(options.patience, address, entering).await {
            Err(error) if may_serve_elsewhere(&error) => {
                // Of an address at which somebody was there, more can be said.
                if matches!(failed, ConnectError::NoServer { .. }) {
                    failed = error;
                }
            }
            entered => return entered,
        }
    }
    Err(failed)
}

/// Returns whether another address of the server may take a connection that this one has not taken.
fn may_serve_elsewhere(error: &ConnectError) -> bool {
    match error {
        ConnectError::NoServer { .. } | ConnectError::Lost { .. } => true,
        ConnectError::Refused { code, .. } => {
            matches!(code.parse(), Ok(Code::ShuttingDown | Code::Unavailable | Code::StorageFull))
        }
        _ => false,
    }
}

/// Fails after some time.
async fn in_time<T>(
    patience: Duration,
    address: &Address,
    entering: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let overdue = async {
        Timer::after(patience).await;
        Err(ConnectError::Lost { address: address.clone(), error: io::ErrorKind::TimedOut.into() })
    };
    entering.or(overdue).await
}

/// Connects to one address, takes a nickname and joins the rooms.
async fn enter_at(
    options: &Options,
    address: &Address,
    back: Option<&Back<'_>>,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    let found = find_login(options, address).await;
    let seals = matches!(found, Ok(Some(Login::Key { .. })));
    let (_, link) = Link::reach_sealed(std::slice::from_ref(address), &options.trust, &|_| seals).await?;
    match found.map_err(|error| ConnectError::Key { error })? {
        Some(login) => log_in(options, address.clone(), link, &login, (back, since)).await,
        None => enter_over(options, address, link, back, since).await,
    }
}

/// Looks up the login for an address. That reads files, which others may hold, and so never waits on the thread that
/// drives the connection.
async fn find_login(options: &Options, address: &Address) -> io::Result<Option<Login>> {
    let (accounts, name, address) = (Arc::clone(&options.accounts), options.name.clone(), address.clone());
    smol::unblock(move || accounts.find(&address, &name)).await
}

/// Takes a nickname as a guest, over an open link, and joins the rooms.
async fn enter_over(
    options: &Options,
    address: &Address,
    mut link: Link,
    back: Option<&Back<'_>>,
    since: Option<Cursor>,
) -> Result<Entered, ConnectError> {
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let mut refused = None;
    let mut needs_login = false;
    let mut heard = Vec::new();
    let candidates: Vec<Nick<'static>> = match back {
        Some(back) => vec![back.nick.clone()],
        None => options.name.candidates().collect(),
    };
    for nick in candidates {
        let held = back.and_then(|back| back.token).map(str::to_owned);
        let kept = match held {
            Some(held) => Some(held),
            None => {
                let (tokens, address, nick) = (Arc::clone(&options.tokens), address.clone(), nick.clone());
                smol::unblock(move || tokens.find(&address, &nick)).await
            }
        };
        // The client makes the token, to have it even if the answer to NICK is lost. Then it gets the same identity
        // again, and can repeat its messages.
        let token = kept.clone().or_else(new_token);
        let shown = token.as_deref().map(Into::into);
        let entrance = Entrance { quiet: options.quiet, since, rooms: None };
        let command = Command::Nick { nick: nick.clone(), token: shown, entrance };
        match ask(&mut link, command, &mut heard).await.map_err(lost)? {
            Err((code, text)) => {
                let is_taken =
                    matches!(code.parse(), Ok(Code::NickTaken | Code::LooksAlike | Code::LoginNeeded));
                // A second refusal means that the nickname is not the reason: the server admits no guests.
                let is_login = code.parse() == Ok(Code::LoginNeeded);
                let is_closed = is_login && std::mem::replace(&mut needs_login, is_login);
                refused = Some(ConnectError::Refused { code, text });
                if !is_taken || is_closed {
                    break;
                }
            }
            Ok(ok) => {
                let ok = ok.line();
                let new = ok.tags.get("token").filter(|new| Some(&**new) != kept.as_deref());
                if let Some(new) = &new {
                    let (tokens, address) = (Arc::clone(&options.tokens), address.clone());
                    let (nick, new) = (nick.clone(), new.clone().into_owned());
                    smol::unblock(move || tokens.keep(&address, &nick, &new)).await;
                }
                let token = new.map(|new| new.into_owned()).or(token);
                let log = ok.tags.get("log").and_then(|log| log.parse().ok()).unwrap_or_default();
                let last = ok.tags.get("last").and_then(|last| last.parse().ok()).unwrap_or(0);
                let cursor = Cursor { log: Some(log), id: last };
                let entered = Entered { link, nick, token, has_its_rooms: false, cursor, events: heard };
                let rooms = back.map_or(&options.rooms[..], |back| back.rooms);
                return settle_in(options, address, entered, (rooms, back.is_some())).await;
            }
        }
    }
    Err(refused.unwrap_or_else(|| lost(io::ErrorKind::InvalidInput.into())))
}

/// Logs in to an account and joins the rooms.
async fn log_in(
    options: &Options,
    address: Address,
    mut link: Link,
    login: &Login,
    (back, since): (Option<&Back<'_>>, Option<Cursor>),
) -> Result<Entered, ConnectError> {
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let entrance = Entrance { quiet: options.quiet, since, rooms: None };
    let mut heard = Vec::new();
    let answered = match login {
        Login::Password { account, password } => {
            let name = Nick::parse(account).map_err(|error| ConnectError::Refused {
                code: Code::BadNick.word().to_owned(),
                text: format!("{account} is no account's name: {error}"),
            })?;
            let credential = Credential::Password { name, password: password.as_str().into() };
            ask(&mut link, Command::Auth { credential, entrance }, &mut heard).await
        }
        Login::Token(token) => {
            ask(&mut link, Command::Auth { credential: Credential::Token(token), entrance }, &mut heard).await
        }
        Login::Key { account, key } => {
            let Some(binding) = link.binding() else {
                return Err(lost(io::Error::other("the connection is not sealed")));
            };
            let signature = encode_signature(&key.sign_login(&binding, account));
            let public = encode_public_key(&key.public_key());
            let credential = Credential::Key { name: account, key: &public, signature: &signature };
            ask(&mut link, Command::Auth { credential, entrance }, &mut heard).await
        }
    };
    let ok = answered.map_err(lost)?.map_err(|(code, text)| ConnectError::Refused { code, text })?;
    let line = ok.line();
    let Body::Ok { params: Some(name), .. } = line.body else {
        return Err(lost(io::Error::other("the daemon did not say who one is")));
    };
    let nick = Nick::parse(name).map_err(|error| lost(io::Error::other(error)))?.into_owned();
    let log = line.tags.get("log").and_then(|log| log.parse().ok()).unwrap_or_default();
    let last = line.tags.get("last").and_then(|last| last.parse().ok()).unwrap_or(0);
    let cursor = Cursor { log: Some(log), id: last };
    // A login by token is a script's: it comes into nothing by itself.
    let has_its_rooms = !options.quiet && !matches!(login, Login::Token(_));
    let entered = Entered { link, nick, token: None, has_its_rooms, cursor, events: heard };
    let rooms = match back {
        None => &options.rooms[..],
        // Another machine may have left some of them.
        Some(_) if has_its_rooms => &[],
        Some(back) => back.rooms,
    };
    settle_in(options, &address, entered, (rooms, back.is_some())).await
}

/// Adds the event for the connection, and joins the rooms.
async fn settle_in(
    options: &Options,
    address: &Address,
    mut entered: Entered,
    (rooms, is_back): (&[RoomName<'static>], bool),
) -> Result<Entered, ConnectError> {
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let (nick, cursor) = (entered.nick.as_str().to_owned(), entered.cursor);
    entered.events.insert(0, Event::Connected { address: address.clone(), nick, cursor });
    // All at once: of many rooms, each would else take as long as a line to the server and back.
    for room in rooms {
        send(&mut entered.link, Command::Join { room: room.clone() });
    }
    for room in rooms {
        let joined = hear_answer(&mut entered.link, "JOIN", &mut entered.events).await;
        if let Err((code, text)) = joined.map_err(lost)? {
            if options.needs_rooms && !is_back {
                return Err(ConnectError::Refused { code, text });
            }
            let room = room.as_str().to_owned();
            entered.events.push(Event::RoomRefused { room, code, text });
        }
    }
    Ok(entered)
}

/// Creates an account on a server, then closes the connection, which is sealed even over a Unix socket.
///
/// The account gets a password (8 to 512 bytes), a key with a label, or both. `invite` is the token of an
/// [`Invite`](crate::Invite); whether the server requires one is a setting of the server. The attempt times out after
/// 30 seconds.
///
/// ```no_run
/// use snug_client::{Invite, Trust};
/// use snug_protocol::Nick;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// let text = std::fs::read_to_string("invite.txt")?;
/// let invite: Invite = text.parse()?;
/// let name = (&Nick::parse("alice")?, Some(invite.token.as_str()));
/// let secrets = (Some("correct horse battery"), None);
/// // The address has the server's fingerprint, so the server need not be remembered.
/// snug_client::register(&invite.address, &Trust::default(), name, secrets).await?;
/// # Ok(()) })
/// # }
/// ```
///
/// # Errors
/// Returns a [`ConnectError`] if there is no connection, or if the server refuses.
pub async fn register(
    address: &Address,
    trust: &Trust,
    (name, invite): (&Nick<'_>, Option<&str>),
    (password, key): (Option<&str>, Option<(&ClientKey, &str)>),
) -> Result<(), ConnectError> {
    let addresses = [address.clone()];
    let registering = register_at_leisure(address, &addresses, trust, (name, invite), (password, key));
    let overdue = async {
        Timer::after(REGISTERING).await;
        Err(ConnectError::Lost { address: address.clone(), error: io::ErrorKind::TimedOut.into() })
    };
    registering.or(overdue).await
}

/// Maximum time to create an account. The server takes a while to hash a password, and may have others to hash first.
const REGISTERING: Duration = Duration::from_secs(30);

async fn register_at_leisure(
    address: &Address,
    addresses: &[Address],
    trust: &Trust,
    (name, invite): (&Nick<'_>, Option<&str>),
    (password, key): (Option<&str>, Option<(&ClientKey, &str)>),
) -> Result<(), ConnectError> {
    let (_, mut link) = Link::reach_sealed(addresses, trust, &|_| true).await?;
    let lost = |error| ConnectError::Lost { address: address.clone(), error };
    let public =
        key.map(|(key, label)| (encode_public_key(&key.public_key()).into(), label.to_owned().into()));
    let command = Command::Register {
        name: name.clone(),
        password: password.map(Into::into),
        invite: invite.map(Into::into),
        key: public,
        entrance: Entrance { quiet: true, since: None, rooms: None },
    };
    let mut heard = Vec::new();
    let answered = ask(&mut link, command, &mut heard).await.map_err(lost)?;
    answered.map_err(|(code, text)| ConnectError::Refused { code, text })?;
    // The account exists, whether QUIT arrives or not.
    link.queue(b"QUIT\n");
    let _ = link.finish_writing().await;
    Ok(())
}

/// Sends one command while no other is in flight. Returns its OK, or the code and the text of its ERR. Other lines
/// that arrive meanwhile go to `heard`.
async fn ask(
    link: &mut Link,
    command: Command<'_>,
    heard: &mut Vec<Event>,
) -> io::Result<Result<Received, (String, String)>> {
    let verb = command.verb().word();
    send(link, command);
    hear_answer(link, verb, heard).await
}

fn send(link: &mut Link, command: Command<'_>) {
    let mut line = Vec::new();
    Request { label: None, command }.write(&mut line);
    link.queue(&line);
}

/// Waits for the answer to the oldest command that has none.
async fn hear_answer(
    link: &mut Link,
    verb: &str,
    heard: &mut Vec<Event>,
) -> io::Result<Result<Received, (String, String)>> {
    loop {
        let text = read_line(link).await?;
        let received = Received { text, bytes: link.take_bytes(), log: LogName::default() };
        match received.line().body {
            Body::Ok { verb: answered, .. } if answered == verb => return Ok(Ok(received)),
            Body::Err { code, text, .. } => return Ok(Err((code.to_owned(), text.to_owned()))),
            _ => heard.push(Event::Line(received)),
        }
    }
}

/// Returns 128 random bits in hexadecimal, or `None` if the random source fails.
fn new_token() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn read_line(link: &mut Link) -> io::Result<String> {
    loop {
        if let Some(line) = link.take_line()? {
            return Ok(line);
        }
        if !link.advance().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
