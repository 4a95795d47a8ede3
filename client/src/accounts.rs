//! Accounts: how a client logs in (by password, key or token), which account it uses on which server, and invites to
//! create new ones.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::SystemRandom;
use snug_protocol::envelope::{ClientKey, Fingerprint, decode_key, encode_key};
use zeroize::Zeroizing;

use crate::name::Name;
use crate::{Address, files};

/// The credentials with which a client logs in to an account. The debug output never contains a secret.
///
/// ```
/// use snug_client::Login;
///
/// let password = "correct horse battery".to_owned().into();
/// let login = Login::Password { account: "alice".to_owned(), password };
/// assert_eq!(format!("{login:?}"), "Password(alice)");
/// ```
#[derive(Clone)]
pub enum Login {
    /// The account's password.
    Password {
        /// The account's name.
        account: String,
        /// The password. It is wiped from memory when it is dropped.
        password: Zeroizing<String>,
    },
    /// One of the account's keys. The connection is then sealed, even over a Unix socket, because the login's
    /// signature covers the sealed channel.
    Key {
        /// The account's name.
        account: String,
        /// The key.
        key: Arc<ClientKey>,
    },
    /// One of the account's access tokens. It is wiped from memory when it is dropped.
    Token(Zeroizing<String>),
}

/// Shows the kind of login and the account's name, but no secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { account, .. } => write!(f, "Password({account})"),
            Login::Key { account, .. } => write!(f, "Key({account})"),
            Login::Token(_) => f.write_str("Token"),
        }
    }
}

/// A source of logins: which account to use on which server.
///
/// Set one in [`Options::accounts`](crate::Options::accounts). [`FileAccounts`] keeps accounts in a file,
/// [`OneLogin`] and [`NoAccounts`] are for programs that need no file. Implement the trait to look accounts up
/// elsewhere:
///
/// ```
/// use std::io;
///
/// use snug_client::{Accounts, Address, Login, Name};
///
/// /// Uses a token at work, and no account anywhere else.
/// struct AtWork {
///     token: String,
/// }
///
/// impl Accounts for AtWork {
///     fn find(&self, server: &Address, _: &Name) -> io::Result<Option<Login>> {
///         let is_work = server.to_string() == "chat.example:7684";
///         Ok(is_work.then(|| Login::Token(self.token.clone().into())))
///     }
/// }
///
/// let accounts = AtWork { token: "snugt_0a1b".to_owned() };
/// let (work, home): (Address, Address) = ("chat.example".parse()?, "home.example".parse()?);
/// assert!(accounts.find(&work, &Name::or_numbered("alice"))?.is_some());
/// assert!(accounts.find(&home, &Name::or_numbered("alice"))?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Accounts: Send + Sync {
    /// Returns the login to use on a server when the client asks for this nickname. If it is `None`, the
    /// client connects as a guest.
    ///
    /// # Errors
    /// Fails if there is an account but its key cannot be used, or if the lookup fails. The attempt to connect then
    /// fails.
    fn find(&self, server: &Address, name: &Name) -> io::Result<Option<Login>>;
}

/// No accounts: every connection is a guest's. This is the default of [`Options`](crate::Options).
///
/// ```
/// use snug_client::{Accounts, Address, Name, NoAccounts};
///
/// let server: Address = "chat.example".parse()?;
/// assert!(NoAccounts.find(&server, &Name::exactly("alice")?)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccounts;

impl Accounts for NoAccounts {
    fn find(&self, _: &Address, _: &Name) -> io::Result<Option<Login>> {
        Ok(None)
    }
}

/// The same login for every server.
///
/// ```
/// use std::sync::Arc;
///
/// use snug_client::{Login, Name, OneLogin, Options};
///
/// let mut options = Options::new(["chat.example".parse()?], Name::or_numbered("deploy"));
/// options.accounts = Arc::new(OneLogin(Login::Token("snugt_0a1b".to_owned().into())));
///
/// let found = options.accounts.find(&options.addresses[0], &options.name)?;
/// assert!(matches!(found, Some(Login::Token(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OneLogin(pub Login);

impl Accounts for OneLogin {
    fn find(&self, _: &Address, _: &Name) -> io::Result<Option<Login>> {
        Ok(Some(self.0.clone()))
    }
}

/// Accounts in a text file that you can read and edit: one line `server account` per server. All of them use the same
/// key, from a file of its own.
///
/// Several programs can share the files: each change takes a file lock. An account that was found is cached, so a
/// change by another program needs a new `FileAccounts` to be seen.
///
/// ```
/// use snug_client::{Accounts, Address, FileAccounts, Login, Name};
///
/// let folder = tempfile::tempdir()?;
/// let accounts = FileAccounts::new(folder.path().join("accounts"), folder.path().join("key"));
/// let server: Address = "chat.example".parse()?;
/// accounts.key()?; // Generates the key. Register its public key with the server.
/// accounts.remember(&server, Some("alice"))?;
///
/// let found = accounts.find(&server, &Name::exactly("alice")?)?;
/// assert!(matches!(found, Some(Login::Key { account, .. }) if account == "alice"));
/// // If you ask for another nickname, you do not want this account.
/// assert!(accounts.find(&server, &Name::exactly("cron")?)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileAccounts {
    path: PathBuf,
    key: PathBuf,
    read: Mutex<HashMap<String, String>>,
}

impl FileAccounts {
    /// Uses the accounts file at `path` and the key file at `key`. Neither has to exist yet.
    pub fn new(path: impl Into<PathBuf>, key: impl Into<PathBuf>) -> FileAccounts {
        FileAccounts { path: path.into(), key: key.into(), read: Mutex::default() }
    }

    /// Returns the path of the accounts file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the key file.
    pub fn key_path(&self) -> &Path {
        &self.key
    }

    /// Returns the name of the account that is remembered for a server.
    ///
    /// # Errors
    /// Fails if the accounts file cannot be read.
    pub fn account(&self, server: &Address) -> io::Result<Option<String>> {
        let server = server.to_string();
        if let Some(known) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(&server) {
            return Ok(Some(known.clone()));
        }
        let text = self.text()?;
        let found = text.lines().find_map(|line| {
            let (of, account) = line.trim().rsplit_once(' ')?;
            (of == server).then(|| account.trim().to_owned())
        });
        if let Some(found) = &found {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(server, found.clone());
        }
        Ok(found)
    }

    /// Remembers the account to use on a server, replacing an earlier one. `None` forgets it.
    ///
    /// ```
    /// use snug_client::{Address, FileAccounts};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let accounts = FileAccounts::new(folder.path().join("accounts"), folder.path().join("key"));
    /// let server: Address = "chat.example".parse()?;
    /// accounts.remember(&server, Some("alice"))?;
    /// assert_eq!(accounts.account(&server)?.as_deref(), Some("alice"));
    /// accounts.remember(&server, None)?;
    /// assert_eq!(accounts.account(&server)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the accounts file cannot be read or written.
    pub fn remember(&self, server: &Address, account: Option<&str>) -> io::Result<()> {
        let server = server.to_string();
        let _lock = files::lock_for(&self.path)?;
        let text = self.text()?;
        // The path of a socket may contain spaces; the name of an account cannot.
        let of = |line: &str| line.trim().rsplit_once(' ').map(|(of, _)| of.to_owned());
        let others = text.lines().filter(|line| of(line).as_ref() != Some(&server));
        let mut lines: Vec<String> = others.map(str::to_owned).collect();
        lines.extend(account.map(|account| format!("{server} {account}")));
        let fresh = self.path.with_extension("new");
        let mut file =
            files::private(OpenOptions::new().write(true).create(true).truncate(true)).open(&fresh)?;
        for line in &lines {
            writeln!(file, "{line}")?;
        }
        fs::rename(fresh, &self.path)?;
        self.read.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
        Ok(())
    }

    /// Returns the key. If the key file does not exist, this generates a key and creates the file.
    ///
    /// ```
    /// use snug_client::FileAccounts;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let accounts = FileAccounts::new(folder.path().join("accounts"), folder.path().join("key"));
    /// let generated = accounts.key()?.public_key();
    /// assert_eq!(accounts.key()?.public_key(), generated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the key can be neither read nor created, if other users can read the file, or if the file is a link.
    pub fn key(&self) -> io::Result<ClientKey> {
        if fs::symlink_metadata(&self.key).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let key = ClientKey::generate(&SystemRandom::new()).map_err(io::Error::other)?;
            let _lock = files::lock_for(&self.key)?;
            // A hard link puts the whole key in place or nothing, and it replaces no key: if another process was
            // faster, its key is used.
            let fresh = self.key.with_extension("new");
            let _ = fs::remove_file(&fresh);
            let mut file = files::private(OpenOptions::new().write(true).create_new(true)).open(&fresh)?;
            for part in [KEY_PREFIX, &encode_key(key.reveal_seed()), "\n"] {
                file.write_all(part.as_bytes())?;
            }
            file.sync_all()?;
            let linked = fs::hard_link(&fresh, &self.key);
            let _ = fs::remove_file(&fresh);
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => return linked.map(|()| key),
            }
        }
        read_key(&self.key)
    }

    fn text(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }
}

impl Accounts for FileAccounts {
    fn find(&self, server: &Address, name: &Name) -> io::Result<Option<Login>> {
        let in_file =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        let Some(account) = self.account(server).map_err(in_file)? else { return Ok(None) };
        if !name.may_be(&account) {
            return Ok(None);
        }
        let key = Arc::new(read_key(&self.key)?);
        Ok(Some(Login::Key { account, key }))
    }
}

/// The prefix of a key in its file, so that a reader can tell what the file is.
const KEY_PREFIX: &str = "snug-ed25519-seed ";

/// Reads a key from its file, as [`FileAccounts::key`] writes it.
///
/// ```
/// use snug_client::{FileAccounts, read_key};
///
/// let folder = tempfile::tempdir()?;
/// let accounts = FileAccounts::new(folder.path().join("accounts"), folder.path().join("key"));
/// let generated = accounts.key()?;
/// assert_eq!(read_key(accounts.key_path())?.public_key(), generated.public_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the file cannot be read, if other users can read it, if it is a link, or if it contains no key.
pub fn read_key(path: &Path) -> io::Result<ClientKey> {
    let in_file =
        |error: io::Error| io::Error::new(error.kind(), format!("the key in {}: {error}", path.display()));
    let text = files::read_secret(path).map_err(in_file)?;
    let seed = text.trim_end().strip_prefix(KEY_PREFIX).and_then(decode_key);
    let no_key = || in_file(io::Error::new(io::ErrorKind::InvalidData, "this is no key of snug"));
    ClientKey::from_seed(&*seed.ok_or_else(no_key)?).map_err(io::Error::other)
}

/// Reads an access token from a file that contains nothing else. White space around the token is ignored.
///
/// ```
/// use std::io::Write;
///
/// // Only its owner can read a temporary file.
/// let mut file = tempfile::NamedTempFile::new()?;
/// writeln!(file, "snugt_0a1b")?;
/// assert_eq!(snug_client::read_token(file.path())?.as_str(), "snugt_0a1b");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the file cannot be read, if other users can read it, or if it is a link.
pub fn read_token(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = files::read_secret(path)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// An invite to a server, as one line to paste: `snug://chat.example:7684/?invite=snugi_…#SHA256:…`
///
/// The fragment is the server's fingerprint: if you use the invite, you trust that server and no other. The debug
/// output does not contain the token.
///
/// ```
/// use snug_client::{Address, Invite, InviteError};
///
/// let pin = "SHA256:AC5jt/3F/vaDC7Lk0pLMswVCtpOd40ZuBPXtjLk285A";
/// let text = format!("snug://chat.example:7684/?invite=snugi_33fe114c#{pin}");
/// let invite: Invite = text.parse()?;
/// assert_eq!(invite.token, "snugi_33fe114c");
/// assert!(matches!(&invite.address, Address::Tcp { host, pin: Some(_), .. } if host == "chat.example"));
/// assert_eq!(invite.to_string(), text);
/// # Ok::<(), InviteError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// The server's address, with its fingerprint as the pin.
    pub address: Address,
    /// The invite's token, which creates one account.
    pub token: String,
}

/// The error for a text that is not an invite.
///
/// ```
/// use snug_client::{Invite, InviteError};
///
/// // An invite has a token and a fingerprint.
/// assert_eq!("snug://chat.example/".parse::<Invite>(), Err(InviteError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an invite is one line of the form snug://host:port/?invite=…#SHA256:…, as `snug invite` prints it")]
pub struct InviteError;

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite({})", self.address)
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pin = match &self.address {
            Address::Tcp { pin: Some(pin), .. } => format!("#{pin}"),
            _ => String::new(),
        };
        write!(f, "snug://{}/?invite={}{pin}", self.address, self.token)
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Invite, InviteError> {
        let rest = text.trim().strip_prefix("snug://").ok_or(InviteError)?;
        let (place, query) = rest.split_once("/?invite=").ok_or(InviteError)?;
        let (token, pin) = query.split_once('#').ok_or(InviteError)?;
        // Without a fingerprint, any server that answers at the address would be trusted.
        let pin: Fingerprint = pin.parse().map_err(|_| InviteError)?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if token.is_empty() || !token.chars().all(is_word) {
            return Err(InviteError);
        }
        let address = format!("snug://{place}/#{pin}").parse().map_err(|_| InviteError)?;
        Ok(Invite { address, token: token.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_one_line_and_names_the_server_s_key() {
        let pin = format!("SHA256:{}A", "A".repeat(42));
        let text = format!("snug://chat.example:7684/?invite=snugi_0a1b#{pin}");
        let invite: Invite = text.parse().expect("an invite");
        assert_eq!(invite.to_string(), text);
        assert!(matches!(&invite.address, Address::Tcp { host, pin: Some(_), .. } if host == "chat.example"));
        let v6: Invite = format!("snug://[::1]:99/?invite=x#{pin}").parse().expect("an invite");
        assert_eq!(v6.to_string(), format!("snug://[::1]:99/?invite=x#{pin}"));
        for bad in [
            "",
            "snug://chat.example/",
            "snug://chat.example/?invite=x",
            "snug:///?invite=x#SHA256:short",
            &format!("snug://h/?invite=#{pin}"),
        ] {
            assert_eq!(bad.parse::<Invite>(), Err(InviteError), "{bad:?}");
        }
    }

    #[test]
    fn an_account_is_remembered_by_server_and_used_for_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let accounts = FileAccounts::new(folder.path().join("accounts"), folder.path().join("key"));
        let here: Address = "127.0.0.1:7684".parse().expect("an address");
        let there: Address = "chat.example".parse().expect("an address");
        accounts.key().expect("a key");
        accounts.remember(&here, Some("alice")).expect("written");
        accounts.remember(&there, Some("bob")).expect("written");
        let found = |server: &Address, name: Name| match accounts.find(server, &name).expect("readable") {
            Some(Login::Key { account, .. }) => Some(account),
            _ => None,
        };
        assert_eq!(found(&here, Name::or_numbered("tester")).as_deref(), Some("alice"));
        assert_eq!(found(&here, Name::exactly("ALICE").expect("a nick")).as_deref(), Some("alice"));
        assert_eq!(
            found(&here, Name::exactly("cron").expect("a nick")),
            None,
            "who asks for another name gets it"
        );
        accounts.remember(&here, None).expect("written");
        assert_eq!(found(&here, Name::or_numbered("tester")), None);
        assert_eq!(found(&there, Name::or_numbered("tester")).as_deref(), Some("bob"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_or_token_that_others_can_read_or_that_is_a_link_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let accounts = FileAccounts::new(folder.path().join("accounts"), &path);
        let made = accounts.key().expect("a key").public_key();
        assert_eq!(accounts.key().expect("the same").public_key(), made);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a file");
        let refused = |path: &Path| read_key(path).err().expect("refused").to_string();
        assert!(refused(&path).contains("others can read it"), "{}", refused(&path));
        assert!(read_token(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file");
        let link = folder.path().join("link");
        symlink(&path, &link).expect("a link");
        assert!(refused(&link).contains("link"), "{}", refused(&link));
        assert!(read_token(&link).is_err());
    }
}
