//! Guests' tokens, by server and nickname. A later connection with the same token has the same identity.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use snug_protocol::{Folded, Nick};

use crate::{Address, files};

/// A store for guests' tokens. With its token a guest gets the same identity again.
///
/// Set one in [`Options::tokens`](crate::Options::tokens): [`FileTokens`], [`MemoryTokens`] or your own:
///
/// ```
/// use std::sync::Arc;
///
/// use snug_client::{Address, Name, Options, Tokens};
/// use snug_protocol::Nick;
///
/// /// Stores no tokens, so that every new client is a new guest.
/// struct NoTokens;
///
/// impl Tokens for NoTokens {
///     fn find(&self, _: &Address, _: &Nick<'_>) -> Option<String> {
///         None
///     }
///     fn keep(&self, _: &Address, _: &Nick<'_>, _: &str) {}
/// }
///
/// let mut options = Options::new(["chat.example".parse()?], Name::or_numbered("alice"));
/// options.tokens = Arc::new(NoTokens);
/// assert_eq!(options.tokens.find(&options.addresses[0], &Nick::parse("alice")?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Tokens: Send + Sync {
    /// Returns the token with which this nickname was last held on a server.
    fn find(&self, server: &Address, nick: &Nick<'_>) -> Option<String>;

    /// Stores a token, replacing an earlier one. Losing a token costs the guest's identity and nothing else, so there
    /// is no error to report.
    fn keep(&self, server: &Address, nick: &Nick<'_>, token: &str);
}

/// Tokens in memory. They are lost when the value is dropped.
///
/// ```
/// use snug_client::{Address, MemoryTokens, Tokens};
/// use snug_protocol::Nick;
///
/// let tokens = MemoryTokens::default();
/// let (server, alice): (Address, _) = ("chat.example".parse()?, Nick::parse("alice")?);
/// tokens.keep(&server, &alice, "one");
/// tokens.keep(&server, &Nick::parse("ALICE")?, "two"); // The same nickname.
/// assert_eq!(tokens.find(&server, &alice).as_deref(), Some("two"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryTokens(Mutex<HashMap<(Address, Folded), String>>);

impl Tokens for MemoryTokens {
    fn find(&self, server: &Address, nick: &Nick<'_>) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&(server.clone(), nick.fold())).cloned()
    }

    fn keep(&self, server: &Address, nick: &Nick<'_>, token: &str) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert((server.clone(), nick.fold()), token.to_owned());
    }
}

/// Tokens in a file that only its owner can read: lines of server, nickname and token, the newest last. The file
/// keeps at most 1,000 lines; the oldest are removed first.
///
/// ```
/// use snug_client::{Address, FileTokens, Tokens};
/// use snug_protocol::Nick;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("tokens");
/// let (server, alice): (Address, _) = ("chat.example".parse()?, Nick::parse("alice")?);
/// FileTokens::new(&path).keep(&server, &alice, "one");
/// assert_eq!(FileTokens::new(&path).find(&server, &alice).as_deref(), Some("one"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileTokens {
    path: PathBuf,
}

impl FileTokens {
    /// Maximum number of lines. The oldest are removed first.
    const MOST: usize = 1_000;

    /// Uses the file at `path`. Neither the file nor its folder has to exist yet.
    pub fn new(path: impl Into<PathBuf>) -> FileTokens {
        FileTokens { path: path.into() }
    }

    fn add(&self, server: &str, nick: &str, token: &str) -> io::Result<()> {
        let _lock = files::lock_for(&self.path)?;
        let old = fs::read_to_string(&self.path).unwrap_or_default();
        let start = format!("{server} {nick} ");
        let mut lines: Vec<&str> = old.lines().filter(|line| !line.starts_with(&start)).collect();
        let new = format!("{start}{token}");
        lines.push(&new);
        let kept = &lines[lines.len().saturating_sub(FileTokens::MOST)..];
        let fresh = self.path.with_extension("new");
        let mut file =
            files::private(OpenOptions::new().write(true).create(true).truncate(true)).open(&fresh)?;
        file.write_all(kept.join("\n").as_bytes())?;
        file.write_all(b"\n")?;
        fs::rename(fresh, &self.path)
    }
}

impl Tokens for FileTokens {
    fn find(&self, server: &Address, nick: &Nick<'_>) -> Option<String> {
        let mut text = String::new();
        File::open(&self.path).ok()?.read_to_string(&mut text).ok()?;
        let start = format!("{server} {} ", nick.fold().as_str());
        text.lines().rev().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
    }

    fn keep(&self, server: &Address, nick: &Nick<'_>, token: &str) {
        let _ = self.add(&server.to_string(), nick.fold().as_str(), token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_the_newest_token_of_each_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = FileTokens::new(folder.path().join("deep/tokens"));
        let here: Address = "127.0.0.1:7684".parse().expect("an address");
        let there: Address = "chat.example".parse().expect("an address");
        let alice = Nick::parse("alice").expect("a nick");
        assert_eq!(tokens.find(&here, &alice), None);
        tokens.keep(&here, &alice, "one");
        tokens.keep(&there, &alice, "two");
        tokens.keep(&here, &Nick::parse("ALICE").expect("a nick"), "three");
        assert_eq!(tokens.find(&here, &alice).as_deref(), Some("three"));
        assert_eq!(tokens.find(&there, &alice).as_deref(), Some("two"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&tokens.path).expect("the file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
