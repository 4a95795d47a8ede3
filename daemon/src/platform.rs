//! Calls that not every system has: credentials of a peer, probes of a connection, locks of a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::net::sockopt;

/// Returns the user and the process at the other end of a Unix socket. This works even for a process in another
/// namespace, such as outside of a container, whose process id is 0 here.
pub(crate) fn peer(stream: &UnixStream) -> io::Result<(u32, u32)> {
    let credentials = nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerCredentials)?;
    Ok((credentials.uid(), u32::try_from(credentials.pid()).unwrap_or(0)))
}

/// Returns whether a process descends from this one. Of this process's own user, one that is not found counts as such:
/// whoever connected has ended since, which an operator's program has no reason to do.
pub(crate) fn is_own_program(user: u32, process: u32) -> bool {
    // A parent may end while the way up is looked at. Then it is another way.
    for _ in 0..10 {
        if let Some(is_own) = descends(process) {
            return is_own;
        }
    }
    // Where processes of other users are hidden, the way up ends at them, and none of them was started here.
    user == own_user() && fs::metadata("/proc/1").is_ok()
}

/// Returns whether a process descends from this one, or `None` if some process on the way was not found.
fn descends(process: u32) -> Option<bool> {
    let own = std::process::id();
    let mut pid = process;
    // Longer chains of processes are not of this system.
    for _ in 0..1_000 {
        match pid {
            pid if pid == own => return Some(process != own),
            0 | 1 => return Some(false),
            _ => pid = parent_of(pid)?,
        }
    }
    Some(true)
}

/// Returns the parent of a process (proc(5)).
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may have some itself. After it come the state and the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the user that this process runs as.
pub(crate) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Maximum number of connections that wait to be accepted; the system may allow fewer. The 128 of the standard
/// library are full at once if many clients connect together, and the next client loses a second.
const BACKLOG: i32 = 4_096;

/// Lets up to [`BACKLOG`] connections wait to be accepted.
pub(crate) fn widen(listener: &impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

/// Configures a connection: it sends at once without waiting for more, and it ends if the peer is silent for `dead`
/// and answers no probe of the system.
pub(crate) fn tune(stream: &TcpStream, dead: Duration) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    // Half the time in silence, the other half in probes.
    let second = Duration::from_secs(1);
    sockopt::set_tcp_keepidle(stream, (dead / 2).max(second))?;
    sockopt::set_tcp_keepintvl(stream, (dead / 8).max(second))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    let millis = u32::try_from(dead.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, millis)?;
    Ok(())
}

/// Creates a folder, and those above it, for its owner alone.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What the daemon keeps in its data folder.
const KEPT: [&str; 9] =
    ["lock", "log.db", "log.db-wal", "log.db-shm", "search.db", "identity.key", "files", "bots", "commands"];

/// Checks that a data folder, and what the daemon keeps in it, is its user's alone: others could put links or files of
/// theirs there, and have it write or trust what they like.
///
/// # Errors
/// What is wrong, and what helps.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    let wrong = |text: String| Err(io::Error::other(text));
    let metadata = fs::metadata(folder)?;
    if !is_trusted(metadata.uid()) {
        return wrong(format!(
            "it is of another user ({}); give it to this one, or take another",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return wrong(format!("others can write it (mode {:03o}); chmod 700 it", metadata.mode() & 0o777));
    }
    for name in KEPT {
        let Ok(metadata) = fs::symlink_metadata(folder.join(name)) else { continue };
        if metadata.is_symlink() {
            return wrong(format!(
                "{name} in it is a link; put the file itself there, or make the whole folder a link"
            ));
        }
        if !is_trusted(metadata.uid()) {
            return wrong(format!(
                "{name} in it is of another user ({}); remove it, or chown it",
                metadata.uid()
            ));
        }
        if metadata.is_file() && metadata.nlink() > 1 {
            return wrong(format!(
                "{name} in it has a second name (a hard link); copy it, and remove the other"
            ));
        }
    }
    Ok(())
}

/// Returns whether a file of this user is what the daemon itself could have made.
pub(crate) fn is_trusted(user: u32) -> bool {
    user == own_user() || user == 0
}

/// A locked file in the data folder, which contains the process id. The lock ends when the value is dropped or the
/// process exits for any reason.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder.
    ///
    /// # Errors
    /// `Ok(Err(pid))` if another process has it.
    pub(crate) fn take(folder: &Path) -> io::Result<Result<FolderLock, String>> {
        let path = folder.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            return Ok(Err(pid.trim().to_owned()));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ok(FolderLock { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_started_here_is_known_however_it_hides() {
        let user = own_user();
        assert!(!is_own_program(user, std::process::id()), "nobody is started by himself");
        assert!(!is_own_program(user, 0), "outside of this container");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a program");
        assert!(is_own_program(user, child.id()));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(is_own_program(user, child.id()), "it has connected and ended");
        assert!(!is_own_program(user + 1, child.id()), "of another user, it has no power anyway");
    }
}
