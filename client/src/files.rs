//! Small files that several programs of one person share.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a small file that is nobody else's: no link, and closed to others.
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
        // What was opened is what was looked at: nobody has put a link there in between.
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

/// Makes what is opened its owner's alone, where the system has such a thing.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Waits for the right to replace a file, and makes its folder. The right is given back when the result is dropped.
///
/// The lock is on a file of its own, because the file itself is replaced and never half-written.
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
