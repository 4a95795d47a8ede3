//! A folder as one stream: what it has, in the order of the names, as .tar.zst.

use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// The stream. It ends with an error if the folder could not be read to its end: half an archive is none.
pub(super) struct Archive {
    stream: PipeReader,
    packer: Option<JoinHandle<io::Result<()>>>,
}

impl Archive {
    /// Packs a folder, under the name that it has there.
    pub(super) fn of(folder: PathBuf, name: String) -> io::Result<Archive> {
        let (stream, into) = io::pipe()?;
        let packer = std::thread::spawn(move || pack(&folder, &name, into));
        Ok(Archive { stream, packer: Some(packer) })
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(packer) = self.packer.take()
        {
            packer.join().unwrap_or_else(|_| Err(io::Error::other("the folder could not be packed")))?;
        }
        Ok(count)
    }
}

fn pack(folder: &Path, name: &str, into: impl Write) -> io::Result<()> {
    let compressed = zstd::Encoder::new(into, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    let mut archive = tar::Builder::new(compressed);
    archive.follow_symlinks(false);
    add(&mut archive, folder, Path::new(name))?;
    archive.into_inner()?.finish()?.flush()
}

/// Adds a folder and all that is in it, always in the same order, so that an upload that broke off can go on.
fn add(archive: &mut tar::Builder<impl Write>, folder: &Path, name: &Path) -> io::Result<()> {
    let at =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    archive.append_dir(name, folder).map_err(|error| at(folder, error))?;
    let mut entries: Vec<_> = fs::read_dir(folder)
        .and_then(Iterator::collect::<io::Result<_>>)
        .map_err(|error| at(folder, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type().map_err(|error| at(&path, error))?;
        if kind.is_dir() {
            add(archive, &path, &name)?;
        } else if kind.is_file() || kind.is_symlink() {
            archive.append_path_with_name(&path, &name).map_err(|error| at(&path, error))?;
        }
        // Sockets, pipes and devices are nothing that could be sent.
    }
    Ok(())
}
