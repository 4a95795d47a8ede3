//! Accounts from the shell: `snug register`, `join`, `invite`, `login`, `logout`, `passwd`, `unregister`, `key`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use snug_client::{Address, Client, FileAccounts, Invite, Login};
use snug_protocol::envelope::{decode_public_key, encode_public_key};
use snug_protocol::{Body, Code, Command, KeyChange, Nick, Period};
use zeroize::Zeroizing;

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::{environment, output};

/// Make an account on the server, with a key of this machine; from then on `snug` is that account there
///
/// The key is made in ~/.config/snug/key if there is none. `snug passwd` adds a password, for other devices.
#[derive(Args)]
pub(crate) struct Register {
    /// The account's name
    name: String,

    /// Ask for a password as well, or read it from the first line of stdin if that is no terminal
    #[arg(long)]
    password: bool,

    /// The token of an invite (`snug join` takes the whole line)
    #[arg(long, value_name = "TOKEN")]
    invite: Option<String>,

    #[command(flatten)]
    label: Label,
}

#[derive(Args)]
struct Label {
    /// What this machine's key is called in the account [default: its host name]
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
}

impl Label {
    fn get(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let label: String = self.label.clone().unwrap_or_else(host);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let label: String = label.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect();
        if label.is_empty() { "key".to_owned() } else { label }
    }
}

impl Register {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let address = first_address(common)?;
        let password = if self.password { Some(new_password()?) } else { None };
        make_account(common, &address, &self.name, self.invite.as_deref(), password, &self.label.get()).await
    }
}

/// Use an invite: trust the server that it names, and make an account there
#[derive(Args)]
pub(crate) struct Join {
    /// The line that `snug invite` printed
    invite: String,

    /// The account's name [default: --nick, $SNUG_NICK, $USER]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Ask for a password as well
    #[arg(long)]
    password: bool,

    #[command(flatten)]
    label: Label,
}

impl Join {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        // Not by the arguments' own parser, which would repeat it.
        let Invite { address, token } = self
            .invite
            .parse()
            .map_err(|error: snug_client::InviteError| Failure::new(Exit::Usage, error.to_string()))?;
        let name = match self.name {
            Some(name) => name,
            None => environment::wanted_name(common).ok_or_else(|| {
                Failure::new(Exit::Usage, "say how you want to be called: snug join --name NAME <invite>")
            })?,
        };
        let password = if self.password { Some(new_password()?) } else { None };
        let Address::Tcp { pin: Some(pin), .. } = &address else {
            return Err(Failure::new(Exit::Usage, "the invite names no fingerprint"));
        };
        let trust = environment::trust(common)?;
        let server = address.to_string();
        if let Some(known) = trust.known.find(&server)?
            && known != *pin
        {
            return Err(Failure::changed(&address, known, *pin));
        }
        make_account(common, &address, &name, Some(&token), password, &self.label.get()).await?;
        // It has shown the key that the invite names.
        connect::remember(&*trust.known, &address, *pin)?;
        Ok(output::print(&format!("from now on: snug --server {server} tail '#lobby'"))?)
    }
}

async fn make_account(
    common: &Common,
    address: &Address,
    name: &str,
    invite: Option<&str>,
    password: Option<Zeroizing<String>>,
    label: &str,
) -> Result<(), Failure> {
    let nick = Nick::parse(name)
        .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no name to go by: {error}")))?;
    let accounts = accounts()?;
    if let Some(account) = account_on(&accounts, address)? {
        let text =
            format!("you are {account} on {address} already; `snug logout` first, to be somebody else there");
        return Err(Failure::new(Exit::Identity, text));
    }
    let key = accounts.key().map_err(|error| key_failure(&accounts, &error))?;
    let trust = environment::trust(common)?;
    let secrets = (password.as_ref().map(|password| password.as_str()), Some((&key, label)));
    connect::asking(&*trust.known, || snug_client::register(address, &trust, (&nick, invite), secrets))
        .await?;
    remember(&accounts, address, Some(nick.as_str()))?;
    output::print(&format!("you are {nick} on {address}"))?;
    if let Some(other) = environment::named(common)
        .filter(|other| Nick::parse(other).is_ok_and(|other| other.fold() != nick.fold()))
    {
        let _ = writeln!(
            io::stderr(),
            "snug: as long as the name {} is asked for (--nick, SNUG_NICK), you are that guest and not {nick}",
            output::visible(&other)
        );
    }
    Ok(())
}

/// Writes down which account one has on a server.
fn remember(accounts: &FileAccounts, address: &Address, account: Option<&str>) -> Result<(), Failure> {
    accounts.remember(address, account).map_err(|error| accounts_failure(accounts, &error))
}

/// Which account one has on a server.
fn account_on(accounts: &FileAccounts, address: &Address) -> Result<Option<String>, Failure> {
    accounts.account(address).map_err(|error| accounts_failure(accounts, &error))
}

fn accounts_failure(accounts: &FileAccounts, error: &io::Error) -> Failure {
    Failure::new(Exit::Identity, format!("cannot use {}: {error}", accounts.path().display()))
}

/// Make an invite: one line that makes one account, to be pasted to a friend
#[derive(Args)]
pub(crate) struct Invitation {
    /// How long it is good for: 30m, 12h, 7d [default: 7d]
    #[arg(long, value_name = "TIME")]
    expires: Option<Period>,

    /// The address to name in it [default: what the server's settings say]
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
}

impl Invitation {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let client = client(common).await?;
        let answer = client.ask(Command::Invite { to: None, expires: self.expires }).await?;
        let line = answer.ok.line();
        let (address, fingerprint) = (line.tags.get("address"), line.tags.get("fingerprint"));
        let Body::Ok { params: Some(token), .. } = line.body else {
            return Err(Failure::new(Exit::Refused, "the server made no invite"));
        };
        let address = match self.address.or(address.map(|address| address.into_owned())) {
            Some(address) => address,
            None => {
                let text = "the server takes no connections over TCP; set listen.tcp, or name an --address";
                return Err(Failure::new(Exit::Refused, text));
            }
        };
        let address = reachable(&address);
        if ["127.", "localhost", "[::1]"].iter().any(|near| address.starts_with(near)) {
            let text = "only this machine reaches that address; set listen.tcp and listen.public for others, or give --address";
            let _ = writeln!(io::stderr(), "snug: {text}");
        }
        let pinned = format!("snug://{address}/#{}", fingerprint.unwrap_or_default());
        let address: Address = pinned
            .parse()
            .map_err(|error: snug_client::AddressError| Failure::new(Exit::Usage, error.to_string()))?;
        let invite = Invite { address, token: token.to_owned() }.to_string();
        if common.json {
            let mut object = serde_json::Map::new();
            object.insert("invite".to_owned(), invite.into());
            return Ok(output::print(&output::json(object))?);
        }
        Ok(output::print(&output::visible(&invite))?)
    }
}

/// An address that others can reach: "every address" is this machine's name.
fn reachable(address: &str) -> String {
    let port = |rest: &str| format!("{}{rest}", rustix::system::uname().nodename().to_string_lossy());
    match (address.strip_prefix("0.0.0.0:"), address.strip_prefix("[::]:")) {
        (Some(rest), _) | (_, Some(rest)) => port(&format!(":{rest}")),
        _ => address.to_owned(),
    }
}

/// Be an account of the server from now on: log in by password once, and add this machine's key to it
#[derive(Args)]
pub(crate) struct LogIn {
    /// The account's name
    name: String,

    #[command(flatten)]
    label: Label,
}

impl LogIn {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let address = first_address(common)?;
        let accounts = accounts()?;
        let key = Arc::new(accounts.key().map_err(|error| key_failure(&accounts, &error))?);
        // The key may be in the account already: added from another machine, or from the time before a logout.
        let login = Login::Key { account: self.name.clone(), key: Arc::clone(&key) };
        match connect::connect_as(common, &address, login).await {
            Ok((_client, events)) => {
                let account = connect::own_nick(&events).await.unwrap_or(self.name);
                remember(&accounts, &address, Some(&account))?;
                return Ok(output::print(&format!("you are {account} on {address}, by this machine's key"))?);
            }
            Err(failure) if failure.has_code(Code::BadLogin) => {}
            Err(failure) => return Err(failure),
        }
        let password = password_from(&format!("Password of {}: ", self.name))?;
        let login = Login::Password { account: self.name.clone(), password };
        let (client, events) = connect::connect_as(common, &address, login).await?;
        let account = connect::own_nick(&events).await.unwrap_or(self.name);
        drop(events);
        let public = encode_public_key(&key.public_key());
        let label = self.label.get();
        let added = client.ask(Command::Key { change: KeyChange::Add(&public, &label) }).await;
        match added {
            Ok(_) => {}
            // It is there already, or a key of that name is: the fingerprint tells.
            Err(error) => {
                let rows = client.ask(Command::Key { change: KeyChange::List }).await?.rows;
                let own = key.public_key().fingerprint().to_string();
                let is_there = rows.iter().any(
                    |row| matches!(row.line().body, Body::Key { fingerprint, .. } if fingerprint == own),
                );
                if !is_there {
                    return Err(error.into());
                }
            }
        }
        remember(&accounts, &address, Some(&account))?;
        Ok(output::print(&format!("you are {account} on {address}"))?)
    }
}

/// Forget which account one has on the server; its key stays in the account (`snug key remove`)
pub(crate) fn log_out(common: &Common) -> Result<(), Failure> {
    let address = first_address(common)?;
    let accounts = accounts()?;
    let Some(account) = account_on(&accounts, &address)? else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("you have no account on {address} that is written down here"),
        ));
    };
    remember(&accounts, &address, None)?;
    Ok(output::print(&format!("{account} on {address} is forgotten"))?)
}

/// Change the account's password, or set a first one
pub(crate) async fn passwd(common: &Common, of: Option<String>) -> Result<(), Failure> {
    let client = client(common).await?;
    let account = match &of {
        Some(name) => Some(
            Nick::parse(name)
                .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no name: {error}")))?
                .into_owned(),
        ),
        None => None,
    };
    let old = match &of {
        Some(_) => None,
        None => Some(password_from("Old password (empty if there is none): ")?).filter(|old| !old.is_empty()),
    };
    let new = new_password()?;
    let command = Command::Password {
        new: new.as_str().into(),
        old: old.as_ref().map(|old| old.as_str().into()),
        account,
    };
    client.ask(command).await?;
    Ok(output::print("the password is changed")?)
}

/// Delete the account
#[derive(Args)]
pub(crate) struct Unregister {
    /// Its name, to be sure
    name: String,
}

impl Unregister {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let name = Nick::parse(&self.name)
            .map_err(|error| Failure::new(Exit::Usage, format!("{:?} is no name: {error}", self.name)))?;
        let client = client(common).await?;
        client.ask(Command::Unregister { name: name.clone() }).await?;
        for address in environment::addresses(common)? {
            if let Ok(accounts) = accounts()
                && account_on(&accounts, &address)?
                    .is_some_and(|account| Nick::parse(&account).is_ok_and(|own| own.fold() == name.fold()))
            {
                remember(&accounts, &address, None)?;
            }
        }
        Ok(output::print(&format!("the account {name} is deleted"))?)
    }
}

/// The keys that log in to the account
#[derive(Subcommand)]
pub(crate) enum Key {
    /// List them
    List,
    /// Print this machine's public key, and make the key if there is none
    Show,
    /// Add a public key, as `snug key show` prints it on another machine
    Add {
        /// The public key
        key: String,
        /// What to call it
        label: String,
    },
    /// Remove one
    Remove {
        /// What it is called
        label: String,
    },
}

impl Key {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        if matches!(self, Key::Show) {
            let accounts = accounts()?;
            let key = accounts.key().map_err(|error| key_failure(&accounts, &error))?;
            return Ok(output::print(&encode_public_key(&key.public_key()))?);
        }
        if let Key::Add { key, .. } = &self
            && decode_public_key(key).is_none()
        {
            return Err(Failure::new(Exit::Usage, "this is no public key as `snug key show` prints it"));
        }
        let client = client(common).await?;
        let change = match &self {
            Key::List | Key::Show => KeyChange::List,
            Key::Add { key, label } => KeyChange::Add(key, label),
            Key::Remove { label } => KeyChange::Remove(label),
        };
        for row in client.ask(Command::Key { change }).await?.rows {
            let line = row.line();
            let Body::Key { label, fingerprint, added } = line.body else { continue };
            output::row(
                common.json,
                &[("label", label), ("fingerprint", fingerprint), ("added", added)],
                &format!("{label:<20} {fingerprint}  {}", output::moment_of(added)),
            )?;
        }
        Ok(())
    }
}

/// A connection that asks and does not listen.
pub(crate) async fn client(common: &Common) -> Result<Client, Failure> {
    let (client, events) = connect::connect(common, Part::Asker).await?;
    drop(events);
    Ok(client)
}

/// The one server that is meant, where it matters which.
fn first_address(common: &Common) -> Result<Address, Failure> {
    // A socket that a daemon left behind is no server.
    let answers = |address: &Address| match address {
        Address::Unix(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        Address::Tcp { .. } => true,
    };
    let addresses = environment::addresses(common)?;
    let found = addresses.iter().find(|address| answers(address)).or(addresses.first());
    found.cloned().ok_or_else(|| Failure::new(Exit::NoServer, "no server is named"))
}

fn accounts() -> Result<FileAccounts, Failure> {
    environment::accounts()
        .ok_or_else(|| Failure::new(Exit::Identity, "there is no home to keep a key in; set HOME"))
}

fn key_failure(accounts: &FileAccounts, error: &io::Error) -> Failure {
    Failure::new(Exit::Identity, format!("cannot use the key in {}: {error}", accounts.key_path().display()))
}

/// A new password: asked for twice at a terminal.
fn new_password() -> Result<Zeroizing<String>, Failure> {
    let password = password_from("New password: ")?;
    if io::stdin().is_terminal() && password_from("Once more: ")? != password {
        return Err(Failure::new(Exit::Usage, "the two are not the same"));
    }
    Ok(password)
}

/// A password from the terminal, unseen; or if stdin is no terminal, the next line of it.
fn password_from(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line)?;
        return Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()));
    }
    let asked = rpassword::prompt_password(question);
    asked.map(Zeroizing::new).map_err(|error| Failure::new(Exit::Usage, format!("no password: {error}")))
}
