//! Copies of the log, made while it is in use.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rusqlite::Connection;
use snug_protocol::Code;

use super::open;
use crate::refusal::Refusal;

/// Writes everything committed so far to a new file. The file appears under its name only when it is complete. It is
/// marked as a copy, so that a daemon that opens it gives the log another name: under the present name, clients may
/// have seen entries that the copy lacks.
///
/// # Errors
/// The problem, as a sentence. No file is left behind.
pub(crate) fn back_up(folder: &Path, to: &Path) -> Result<(), Refusal> {
    let refused = |code, text: String| Refusal::new(code, text);
    if fs::symlink_metadata(to).is_ok() {
        let text = format!("{} exists; a backup is a new file", to.display());
        return Err(refused(Code::BadParameter, text));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&name);
    let done = copy(folder, part)
        .and_then(|()| put_in_place(part, to).map_err(|error| format!("{}: {error}", to.display())));
    let _ = fs::remove_file(part);
    done.map_err(|text| refused(Code::Unavailable, text))
}

fn copy(folder: &Path, part: &Path) -> Result<(), String> {
    let of_file = |error: io::Error| format!("{}: {error}", part.display());
    let of_database = |error: rusqlite::Error| format!("{}: {error}", part.display());
    // The copy contains the daemon's secrets, so nobody else may read it, from the first byte on.
    open::make_private(part).map_err(of_file)?;
    let source = open::reader(folder).map_err(of_database)?;
    source.execute("VACUUM INTO ?1", [part.to_string_lossy()]).map_err(of_database)?;
    drop(source);
    let database = Connection::open(part).map_err(of_database)?;
    database.execute("UPDATE state SET is_copy = 1", []).map_err(of_database)?;
    drop(database);
    File::open(part).and_then(|file| file.sync_all()).map_err(of_file)
}

/// Gives the file its final name, unless another file has that name by now. The name survives a loss of power.
fn put_in_place(part: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        part,
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::NOREPLACE,
    )?;
    match to.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
