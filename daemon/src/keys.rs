//! The daemon's secrets on disk: its identity key, and the server-wide pre-shared key.
//!
//! A file that other users can read, or that is a symbolic link, is refused: others may know the key or exchange it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use ring::rand::SystemRandom;
use snug_protocol::envelope::{Psk, ServerKey, decode_key, encode_key};
use zeroize::Zeroizing;

use crate::platform;

/// The text before the key in its file, which tells a reader what it is.
const KEY_PREFIX: &str = "snug-ed25519-seed ";

/// The name of the identity key's file in the data folder.
///
/// ```
/// use std::path::Path;
///
/// use snug_daemon::keys::KEY_FILE;
///
/// assert_eq!(Path::new("/var/lib/snug").join(KEY_FILE), Path::new("/var/lib/snug/identity.key"));
/// ```
pub const KEY_FILE: &str = "identity.key";

/// Reads the identity key in a data folder. If there is none, makes one with mode 600.
///
/// ```
/// use snug_daemon::keys;
///
/// let folder = tempfile::tempdir()?;
/// let made = keys::server_key(folder.path())?;
/// let read = keys::server_key(folder.path())?;
/// assert_eq!(read.public_key(), made.public_key());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The file can be neither read nor made, is refused, or contains no identity key.
pub fn server_key(folder: &Path) -> io::Result<ServerKey> {
    let path = folder.join(KEY_FILE);
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let key = ServerKey::generate(&SystemRandom::new()).map_err(io::Error::other)?;
        match write_secret(&path, &[KEY_PREFIX, &encode_key(key.reveal_seed()), "\n"]) {
            // Another process was faster, and its key counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => return written.map(|()| key),
        }
    }
    let text = read_secret(&path)?;
    let seed = text.trim_end().strip_prefix(KEY_PREFIX).and_then(decode_key);
    let seed =
        seed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no identity of snug"))?;
    ServerKey::from_seed(&seed).map_err(io::Error::other)
}

/// Reads a pre-shared key from its file.
///
/// ```
/// use snug_daemon::keys;
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("psk");
/// let made = keys::make_psk(&file)?;
/// assert_eq!(keys::read_psk(&file)?.id(), made.id());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, is refused, or contains no pre-shared key.
pub fn read_psk(path: &Path) -> io::Result<Psk> {
    let text = read_secret(path)?;
    Psk::parse(text.trim_end()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "this is no key; `snugd psk new FILE` makes one")
    })
}

/// Makes a pre-shared key in a new file with mode 600. A file that exists is never overwritten.
///
/// ```
/// use std::io::ErrorKind;
///
/// use snug_daemon::keys;
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("psk");
/// keys::make_psk(&file)?;
/// assert_eq!(keys::make_psk(&file).err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The file exists already, or cannot be written; or the random source failed.
pub fn make_psk(path: &Path) -> io::Result<Psk> {
    let psk =
        Psk::generate(&SystemRandom::new()).ok_or_else(|| io::Error::other("the random source failed"))?;
    write_secret(path, &[&psk.reveal(), "\n"])?;
    Ok(psk)
}

fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    // O_NOFOLLOW: a user who can put a link there could choose the key.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if is_link {
            io::Error::new(io::ErrorKind::InvalidInput, "it is a link; put the file itself there")
        } else {
            error
        }
    })?;
    let metadata = file.metadata()?;
    if !platform::is_trusted(metadata.uid()) {
        let text = format!("it is of another user ({}); chown it, or make a new one", metadata.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if metadata.mode() & 0o077 != 0 {
        let text = format!(
            "others can read it (mode {:03o}); chmod 600 it, or make a new one",
            metadata.mode() & 0o777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut text = Zeroizing::new(String::with_capacity(256));
    (&file).take(256).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a new file completely or not at all. Never overwrites a file.
fn write_secret(path: &Path, parts: &[&str]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = Path::new(&draft);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).and_then(|mut file| {
            // Part by part: joining them would make one more copy of the secret.
            parts.iter().try_for_each(|part| file.write_all(part.as_bytes()))?;
            file.sync_all()?;
            fs::hard_link(draft, path)
        });
    let _ = fs::remove_file(draft);
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = server_key(folder.path()).expect("a key").public_key();
        let path = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert_eq!(server_key(folder.path()).expect("a key").public_key(), first);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a file");
        let error = server_key(folder.path()).err().expect("refused");
        assert!(error.to_string().contains("others can read it (mode 640)"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file");
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("a file");
        symlink(&elsewhere, &path).expect("a link");
        let error = server_key(folder.path()).err().expect("refused");
        assert!(error.to_string().contains("it is a link"), "{error}");
        fs::remove_file(&path).expect("a link");
        fs::write(&path, "garbage").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file");
        assert!(server_key(folder.path()).is_err());
    }

    #[test]
    fn a_pre_shared_key_is_kept_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("psk");
        let made = make_psk(&path).expect("a key");
        assert_eq!(read_psk(&path).expect("a key").id(), made.id());
        assert!(make_psk(&path).is_err(), "it is not overwritten");
    }
}
