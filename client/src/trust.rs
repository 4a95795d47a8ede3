//! Which key a server may have: one that is pinned in its address, or one that is remembered. As with ssh, the user
//! decides about a key on first contact.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use snug_protocol::envelope::{Fingerprint, Psk};

use crate::files;

/// How a client decides whether to trust a server's key.
///
/// ```
/// use std::sync::Arc;
///
/// use snug_client::{FileKnownServers, Name, Options, Trust};
///
/// let mut options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
/// let known = Arc::new(FileKnownServers::new("/home/alice/.config/snug/known_hosts"));
/// options.trust = Trust { known, ..Trust::default() };
/// assert!(options.trust.psk.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Trust {
    /// The servers that are remembered.
    pub known: Arc<dyn KnownServers>,
    /// The server-wide pre-shared key. If it is set, the client refuses a server that does not use it.
    pub psk: Option<Psk>,
}

impl Default for Trust {
    /// Remembers no server: over TCP, only pinned servers are trusted.
    fn default() -> Trust {
        Trust { known: Arc::new(MemoryKnownServers::default()), psk: None }
    }
}

/// Reads a server-wide pre-shared key from its file.
///
/// ```
/// use std::io::Write;
///
/// use snug_client::{Trust, read_psk};
/// use snug_protocol::envelope::encode_key;
///
/// // In practice the file is a copy of the one that `snugd psk new` made. Only its owner can read a temporary file.
/// let key = encode_key(&[7; 32]);
/// let mut file = tempfile::NamedTempFile::new()?;
/// writeln!(file, "{}", key.as_str())?;
/// let trust = Trust { psk: Some(read_psk(file.path())?), ..Trust::default() };
/// assert_eq!(trust.psk.expect("a key").reveal().as_str(), key.as_str());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the file cannot be read, if other users can read it, if it is a link, or if it contains no key.
pub fn read_psk(path: &Path) -> io::Result<Psk> {
    let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let text = files::read_secret(path)?;
    Psk::parse(text.trim_end()).map_or_else(|| wrong("it holds no key of `snugd psk new`"), Ok)
}

/// A store for the fingerprints of servers, by `host:port`.
///
/// ```
/// use std::io;
///
/// use snug_client::{KnownServers, MemoryKnownServers};
/// use snug_protocol::envelope::Fingerprint;
///
/// /// Decides about a server's key. Call it after the user has confirmed a fingerprint that is new.
/// fn accept(known: &dyn KnownServers, server: &str, offered: Fingerprint) -> io::Result<bool> {
///     match known.find(server)? {
///         Some(expected) => Ok(expected == offered),
///         None => known.remember(server, offered).map(|()| true),
///     }
/// }
///
/// let offered = "SHA256:AC5jt/3F/vaDC7Lk0pLMswVCtpOd40ZuBPXtjLk285A".parse()?;
/// let known = MemoryKnownServers::default();
/// assert!(accept(&known, "chat.example:7684", offered)?);
/// assert_eq!(known.find("chat.example:7684")?, Some(offered));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KnownServers: Send + Sync {
    /// Returns the fingerprint that is remembered for a server.
    ///
    /// # Errors
    /// Fails if it is unclear whether a fingerprint is remembered. The client then does not
    /// trust the server: it might be an impostor.
    fn find(&self, server: &str) -> io::Result<Option<Fingerprint>>;

    /// Remembers a fingerprint, replacing an earlier one.
    ///
    /// # Errors
    /// Fails if the fingerprint cannot be stored.
    fn remember(&self, server: &str, fingerprint: Fingerprint) -> io::Result<()>;
}

/// Fingerprints in memory. They are lost when the value is dropped.
///
/// ```
/// use snug_client::{KnownServers, MemoryKnownServers};
///
/// let known = MemoryKnownServers::default();
/// let fingerprint = "SHA256:AC5jt/3F/vaDC7Lk0pLMswVCtpOd40ZuBPXtjLk285A".parse()?;
/// assert_eq!(known.find("chat.example:7684")?, None);
/// known.remember("chat.example:7684", fingerprint)?;
/// assert_eq!(known.find("chat.example:7684")?, Some(fingerprint));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryKnownServers(Mutex<HashMap<String, Fingerprint>>);

impl KnownServers for MemoryKnownServers {
    fn find(&self, server: &str) -> io::Result<Option<Fingerprint>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(server).copied())
    }

    fn remember(&self, server: &str, fingerprint: Fingerprint) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server.to_owned(), fingerprint);
        Ok(())
    }
}

/// Fingerprints in a text file that you can read and edit: one line `host:port fingerprint` per server. Empty lines
/// and lines that begin with `#` are ignored and kept.
///
/// ```
/// use snug_client::{FileKnownServers, KnownServers};
///
/// let folder = tempfile::tempdir()?;
/// let known = FileKnownServers::new(folder.path().join("known_hosts"));
/// let pin = "SHA256:AC5jt/3F/vaDC7Lk0pLMswVCtpOd40ZuBPXtjLk285A";
/// known.remember("chat.example:7684", pin.parse()?)?;
/// assert_eq!(std::fs::read_to_string(known.path())?, format!("chat.example:7684 {pin}\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileKnownServers {
    path: PathBuf,
}

impl FileKnownServers {
    /// Uses the file at `path`. Neither the file nor its folder has to exist yet.
    pub fn new(path: impl Into<PathBuf>) -> FileKnownServers {
        FileKnownServers { path: path.into() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }
}

impl KnownServers for FileKnownServers {
    fn find(&self, server: &str) -> io::Result<Option<Fingerprint>> {
        let text = self.read()?;
        let Some(line) = text.lines().find(|line| line.split_whitespace().next() == Some(server)) else {
            return Ok(None);
        };
        let fingerprint = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        fingerprint.map(Some).ok_or_else(|| {
            let text = format!(
                "the line of {server} in {} has no fingerprint; mend or remove it",
                self.path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn remember(&self, server: &str, fingerprint: Fingerprint) -> io::Result<()> {
        let _lock = files::lock_for(&self.path)?;
        let text = self.read()?;
        let others = text.lines().filter(|line| line.split_whitespace().next() != Some(server));
        let mut lines: Vec<String> = others.map(str::to_owned).collect();
        lines.push(format!("{server} {fingerprint}"));
        let fresh = self.path.with_extension("new");
        let mut file =
            files::private(OpenOptions::new().write(true).create(true).truncate(true)).open(&fresh)?;
        file.write_all((lines.join("\n") + "\n").as_bytes())?;
        fs::rename(fresh, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_servers_and_stays_readable() {
        let folder = tempfile::tempdir().expect("a folder");
        let known = FileKnownServers::new(folder.path().join("deep/known_hosts"));
        let print =
            |letter: &str| format!("SHA256:{}A", letter.repeat(42)).parse::<Fingerprint>().expect("a print");
        assert_eq!(known.find("a:1").expect("readable"), None);
        known.remember("a:1", print("A")).expect("written");
        let text = fs::read_to_string(known.path()).expect("a file");
        fs::write(known.path(), format!("# mine\n\n{text}")).expect("a file");
        known.remember("b:1", print("B")).expect("written");
        known.remember("a:1", print("C")).expect("written");
        assert_eq!(known.find("a:1").expect("readable"), Some(print("C")));
        assert_eq!(known.find("b:1").expect("readable"), Some(print("B")));
        assert!(fs::read_to_string(known.path()).expect("a file").starts_with("# mine\n\n"));
        fs::write(known.path(), "a:1 garbage\n").expect("a file");
        assert!(known.find("a:1").is_err(), "never taken for unknown");
    }
}
