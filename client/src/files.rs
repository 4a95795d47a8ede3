//! Small files that several programs of one user share.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a small file that holds a secret: at most 4,096 bytes, not a link, and closed to other users.
pub(crate) fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let named = fs::symlink_metadata(path)?;
    if !named.is_file() {
        return wrong("it is a link or no file; name the file itself");
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The opened file is the one that was checked, so that no link was put in its place in between.
        if (metadata.dev(), metadata.ino()) != (named.dev(), named.ino()) {
            return wrong("it was changed while it was opened; try again");
        }
        if metadata.mode() & 0o077 != 0 {
            return wrong("others can read it; chmod 600 it");
        }
    }
    if metadata.len() > 4_096 {
        return wrong("it is too long to be what it should");
    }
    let mut text = Zeroizing::new(String::with_capacity(4_096));
    file.take(4_096).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a file that is created with these options private to its owner, where the system supports that.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Creates a file's folder, and waits for the lock under which the file may be replaced. Dropping the result releases
/// the lock.
///
/// The lock is on a separate file, because the file itself is replaced, so that it is never half-written.
pub(crate) fn lock_for(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
        .open(path.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}
