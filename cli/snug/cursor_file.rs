//! Where a script has got to, in a file of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use snug_protocol::Cursor;

use crate::failure::{Exit, Failure};

/// A file with a cursor. It is replaced as a whole, so that it is never half written.
pub(crate) struct CursorFile {
    path: PathBuf,
    next: PathBuf,
    kept: Option<Cursor>,
}

impl CursorFile {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// It is no file of a cursor, or cannot be read.
    pub(crate) fn open(path: &Path) -> Result<CursorFile, Failure> {
        let kept = match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(text.trim().parse().map_err(|_| {
                let text = format!("{} holds no cursor; remove it, or name another file", path.display());
                Failure::new(Exit::Usage, text)
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::from(error).at(&path.display().to_string())),
        };
        let mut next = path.as_os_str().to_owned();
        next.push(".new");
        Ok(CursorFile { path: path.to_owned(), next: next.into(), kept })
    }

    /// What was in it.
    pub(crate) fn read(&self) -> Option<Cursor> {
        self.kept
    }

    /// Notes a cursor.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&mut self, cursor: Cursor) -> Result<(), Failure> {
        if self.kept == Some(cursor) {
            return Ok(());
        }
        let failed = |error: io::Error| Failure::from(error).at(&self.path.display().to_string());
        fs::write(&self.next, format!("{cursor}\n")).map_err(failed)?;
        fs::rename(&self.next, &self.path).map_err(failed)?;
        self.kept = Some(cursor);
        Ok(())
    }
}
