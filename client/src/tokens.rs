//! Guests' tokens, by server and name: what makes a second connection the same person.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use snug_protocol::{Folded, Nick};

use crate::{Address, files};

/// Keeps tokens.
pub trait Tokens: Send + Sync {
    /// The token under which this name was last held there.
    fn find(&self, server: &Address, nick: &Nick<'_>) -> Option<String>;

    /// Remembers a token instead of an earlier one. Losing it costs the identity and nothing else, so that there is
    /// no error to report.
    fn keep(&self, server: &Address, nick: &Nick<'_>, token: &str);
}

/// Keeps tokens as long as it lives.
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

/// Keeps tokens in a file that is its owner's alone: lines of server, name and token, the newest last.
#[derive(Debug)]
pub struct FileTokens {
    path: PathBuf,
}

impl FileTokens {
    /// The most lines that are kept; the oldest go first.
    const MOST: usize = 1_000;

    /// Tokens in the file at `path`, which need not exist, nor its folder.
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
