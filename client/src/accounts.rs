//! How a client is an account: by password, key or token; which account it has where; and how one is made.

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

/// What proves that one is an account.
#[derive(Clone)]
pub enum Login {
    /// Its password.
    Password {
        /// The account's name.
        account: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A key of it. The connection is sealed for that, also over a Unix socket.
    Key {
        /// The account's name.
        account: String,
        /// The key.
        key: Arc<ClientKey>,
    },
    /// A token of it.
    Token(Zeroizing<String>),
}

/// Says which, and nothing of what is secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { account, .. } => write!(f, "Password({account})"),
            Login::Key { account, .. } => write!(f, "Key({account})"),
            Login::Token(_) => f.write_str("Token"),
        }
    }
}

/// Knows which account one has on which server.
pub trait Accounts: Send + Sync {
    /// How to log in to a server as this name, if one has an account there.
    ///
    /// # Errors
    /// There is one, and its key cannot be used.
    fn find(&self, server: &Address, name: &Name) -> io::Result<Option<Login>>;
}

/// No account anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccounts;

impl Accounts for NoAccounts {
    fn find(&self, _: &Address, _: &Name) -> io::Result<Option<Login>> {
        Ok(None)
    }
}

/// The same login everywhere.
#[derive(Clone, Debug)]
pub struct OneLogin(pub Login);

impl Accounts for OneLogin {
    fn find(&self, _: &Address, _: &Name) -> io::Result<Option<Login>> {
        Ok(Some(self.0.clone()))
    }
}

/// Accounts in a file that people can read and mend, one line `server account` for each, all with the same key.
#[derive(Debug)]
pub struct FileAccounts {
    path: PathBuf,
    key: PathBuf,
    read: Mutex<HashMap<String, String>>,
}

impl FileAccounts {
    /// Accounts in the file at `path`, with the key in the one at `key`. Neither has to exist.
    pub fn new(path: impl Into<PathBuf>, key: impl Into<PathBuf>) -> FileAccounts {
        FileAccounts { path: path.into(), key: key.into(), read: Mutex::default() }
    }

    /// Where the accounts are written down.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the key is.
    pub fn key_path(&self) -> &Path {
        &self.key
    }

    /// The account that one has on a server.
    ///
    /// # Errors
    /// The file cannot be read.
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

    /// Remembers the account that one has on a server, or that one has none there any more.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn remember(&self, server: &Address, account: Option<&str>) -> io::Result<()> {
        let server = server.to_string();
        let _lock = files::lock_for(&self.path)?;
        let text = self.text()?;
        // A socket's path may hold spaces; a name does not.
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

    /// The key, which is made if there is none.
    ///
    /// # Errors
    /// It can be neither read nor made, others can read it, or the file is a link.
    pub fn key(&self) -> io::Result<ClientKey> {
        if fs::symlink_metadata(&self.key).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let key = ClientKey::generate(&SystemRandom::new()).map_err(io::Error::other)?;
            let _lock = files::lock_for(&self.key)?;
            // Whole or not at all; and if somebody else was faster, that one's key it is.
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

/// What stands before a key in its file, so that a person sees what it is.
const KEY_PREFIX: &str = "snug-ed25519-seed ";

/// Reads a key from its file.
///
/// # Errors
/// It cannot be read, others can read it, it is a link, or it is no key.
pub fn read_key(path: &Path) -> io::Result<ClientKey> {
    let in_file =
        |error: io::Error| io::Error::new(error.kind(), format!("the key in {}: {error}", path.display()));
    let text = files::read_secret(path).map_err(in_file)?;
    let seed = text.trim_end().strip_prefix(KEY_PREFIX).and_then(decode_key);
    let no_key = || in_file(io::Error::new(io::ErrorKind::InvalidData, "this is no key of snug"));
    ClientKey::from_seed(&*seed.ok_or_else(no_key)?).map_err(io::Error::other)
}

/// Reads a token from its file: one line.
///
/// # Errors
/// It cannot be read, others can read it, or it is a link.
pub fn read_token(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = files::read_secret(path)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// An invite to a server: one line to paste. `snug://chat.example:7684/?invite=snugi_…#SHA256:…`
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// The server, with its fingerprint.
    pub address: Address,
    /// The token that makes one account.
    pub token: String,
}

/// Why a text is no invite.
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
        // An invite without a fingerprint would be one to whoever answers.
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
