//! Whose key a server may have: pinned in its address, or known from before. As with ssh, the first time is for a
//! person to decide.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use snug_protocol::envelope::{Fingerprint, Psk};

use crate::files;

/// How a client decides about a server's key.
#[derive(Clone)]
pub struct Trust {
    /// The servers known from before.
    pub known: Arc<dyn KnownServers>,
    /// The server-wide pre-shared key. A server that does not use it is refused.
    pub psk: Option<Psk>,
}

impl Default for Trust {
    /// Knows no server.
    fn default() -> Trust {
        Trust { known: Arc::new(MemoryKnownServers::default()), psk: None }
    }
}

/// Reads a server-wide pre-shared key from its file.
///
/// # Errors
/// It cannot be read, others can read it, it is a link, or it is no key.
pub fn read_psk(path: &Path) -> io::Result<Psk> {
    let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let text = files::read_secret(path)?;
    Psk::parse(text.trim_end()).map_or_else(|| wrong("it holds no key of `snugd psk new`"), Ok)
}

/// Remembers the fingerprints of servers, by `host:port`.
pub trait KnownServers: Send + Sync {
    /// The fingerprint of a server.
    ///
    /// # Errors
    /// It is not known whether there is one: better no connection than one to somebody else.
    fn find(&self, server: &str) -> io::Result<Option<Fingerprint>>;

    /// Remembers a fingerprint, instead of an earlier one.
    ///
    /// # Errors
    /// It cannot be written down.
    fn remember(&self, server: &str, fingerprint: Fingerprint) -> io::Result<()>;
}

/// Remembers as long as it lives.
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

/// Remembers in a file that people can read and mend: one line `host:port fingerprint` per server. Empty lines and
/// those that begin with `#` are kept and mean nothing.
#[derive(Debug)]
pub struct FileKnownServers {
    path: PathBuf,
}

impl FileKnownServers {
    /// The file at `path`, which need not exist, nor its folder.
    pub fn new(path: impl Into<PathBuf>) -> FileKnownServers {
        FileKnownServers { path: path.into() }
    }

    /// Where the file is.
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
