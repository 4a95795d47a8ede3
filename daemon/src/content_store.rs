//! The store of file contents: `files/` in the data folder.
//!
//! ```text
//! files/part/17              an upload in progress: the bytes that have arrived
//! files/content/ab/cdef…     a content, named by its SHA-256
//! files/gone/…               discarded, and about to be deleted
//! ```
//!
//! No path contains a name that a user has given to a file.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use snug_protocol::ContentHash;

use crate::platform;

/// The folder with all contents and uploads.
#[derive(Debug)]
pub(crate) struct ContentStore {
    folder: PathBuf,
    /// Whether a stored content survives a loss of power.
    syncs: bool,
    /// Whether there may be something in `gone`.
    has_gone: AtomicBool,
}

impl ContentStore {
    /// Opens the store in a data folder, and creates missing folders.
    pub(crate) fn open(data: &Path, syncs: bool) -> io::Result<ContentStore> {
        let folder = data.join("files");
        for part in ["", "part", "content", "gone"] {
            platform::make_folder(&folder.join(part))?;
        }
        Ok(ContentStore { folder, syncs, has_gone: AtomicBool::new(true) })
    }

    /// Returns whether a stored content survives a loss of power.
    pub(crate) fn syncs(&self) -> bool {
        self.syncs
    }

    fn part(&self, handle: u64) -> PathBuf {
        self.folder.join("part").join(handle.to_string())
    }

    /// Returns the path of a content, which may not exist.
    fn content(&self, hash: ContentHash) -> PathBuf {
        content_in(&self.folder, hash)
    }

    /// Opens the file of an upload, or creates it.
    pub(crate) fn open_part(&self, handle: u64) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.part(handle))
    }

    /// Returns how many bytes of an upload have arrived.
    pub(crate) fn part_length(&self, handle: u64) -> io::Result<u64> {
        match fs::metadata(self.part(handle)) {
            Ok(part) => Ok(part.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Discards an upload at once. Code that has it open goes on with a file that nobody else sees.
    pub(crate) fn discard_part(&self, handle: u64) {
        let gone = self.folder.join("gone").join(format!("u{handle}"));
        self.has_gone.store(true, Relaxed);
        warn_unless_missing(fs::rename(self.part(handle), gone), "an upload");
    }

    /// Stores an upload as a content, which appears as a whole. The part stays until it is discarded.
    pub(crate) fn adopt(&self, handle: u64, part: &File, hash: ContentHash) -> io::Result<()> {
        let content = self.content(hash);
        if content.exists() {
            return Ok(());
        }
        let folder = content.parent().unwrap_or(&self.folder);
        platform::make_folder(folder)?;
        if self.syncs {
            part.sync_data()?;
        }
        match fs::hard_link(self.part(handle), &content) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // The file system has no hard links, so the part is moved.
            Err(_) => fs::rename(self.part(handle), &content)?,
        }
        if self.syncs {
            File::open(folder)?.sync_all()?;
            File::open(self.folder.join("content"))?.sync_all()?;
        }
        Ok(())
    }

    /// Opens a content for reading.
    pub(crate) fn open_content(&self, hash: ContentHash) -> io::Result<File> {
        File::open(self.content(hash))
    }

    /// Discards a content at once. [`ContentStore::empty`] frees its space.
    pub(crate) fn discard_content(&self, hash: ContentHash) {
        let gone = self.folder.join("gone").join(hash.to_string());
        self.has_gone.store(true, Relaxed);
        warn_unless_missing(fs::rename(self.content(hash), gone), "a content");
    }

    /// Returns whether the space of something discarded may not be free yet.
    pub(crate) fn has_gone(&self) -> bool {
        self.has_gone.load(Relaxed)
    }

    /// Frees the space of what was discarded. This may take a while.
    pub(crate) fn empty(&self) {
        self.has_gone.store(false, Relaxed);
        for name in names(&self.folder.join("gone")) {
            warn_unless_missing(fs::remove_file(self.folder.join("gone").join(name)), "a discarded content");
        }
    }

    /// Deletes contents and uploads that nothing refers to: those of the moment before a crash. Then frees what was
    /// discarded.
    pub(crate) fn sweep(&self, is_kept: impl Fn(ContentHash) -> bool, is_under_way: impl Fn(u64) -> bool) {
        let contents = self.folder.join("content");
        for first in names(&contents) {
            for rest in names(&contents.join(&first)) {
                let hash = format!("{}{}", first.to_string_lossy(), rest.to_string_lossy()).parse();
                if hash.is_ok_and(|hash| !is_kept(hash)) {
                    warn_unless_missing(fs::remove_file(contents.join(&first).join(rest)), "a content");
                }
            }
        }
        for name in names(&self.folder.join("part")) {
            let handle = name.to_string_lossy().parse();
            if handle.is_ok_and(|handle| !is_under_way(handle)) {
                warn_unless_missing(fs::remove_file(self.folder.join("part").join(name)), "an upload");
            }
        }
        self.empty();
    }

    /// Returns the bytes that are free on its disk, if the system says so.
    pub(crate) fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Returns the path of a content in a data folder, which may not exist.
pub(crate) fn content_path(data: &Path, hash: ContentHash) -> PathBuf {
    content_in(&data.join("files"), hash)
}

fn content_in(folder: &Path, hash: ContentHash) -> PathBuf {
    let hash = hash.to_string();
    folder.join("content").join(&hash[..2]).join(&hash[2..])
}

/// Returns whether a file has another name too, as an upload has that is a content.
pub(crate) fn has_other_links(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() > 1)
}

/// Returns the names in a folder; none if it cannot be read.
fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
        .filter(|name| name != OsStr::new("."))
        .collect()
}

fn warn_unless_missing(done: io::Result<()>, what: &str) {
    if let Err(error) = done.as_ref()
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{what} cannot be taken out of the store: {error}");
    }
}

/// Reads a file from its beginning, passes each piece to `each`, and returns the number of bytes.
pub(crate) fn read_all(file: &File, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0;
    let mut reader = file;
    io::Seek::seek(&mut reader, io::SeekFrom::Start(0))?;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(count),
            read => {
                each(&buffer[..read]);
                count += read as u64;
            }
        }
    }
}
