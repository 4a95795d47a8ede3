//! Looks whether a log is what was written: `snugd check-data`.

use std::fs::File;
use std::path::Path;

use ring::digest;
use rusqlite::Connection;
use snug_protocol::LogName;

use super::open::{self, LOG_FILE, explain};
use super::schema;
use super::view::View;
use super::wal;
use crate::content_store;

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The log's name.
    pub name: String,
    /// Entries that were read.
    pub entries: u64,
    /// The ids of the oldest and the newest; 0 if there is none.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// Contents of files that were read.
    pub files: u64,
    /// What is wrong; nothing if all is well.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The file cannot be used: why, and what helps.
    Unusable(String),
    /// The database's own structure is broken, as SQLite says.
    Structure(String),
    /// An entry is not what was written.
    Entry(u64),
    /// The content of a file, by one of its entries, is not what was sent: why.
    File(u64, String),
    /// So many commits at the end of the write-ahead log are lost.
    Tail(u64),
    /// The last entry is beyond the end that the log knows.
    End {
        /// The last entry there is.
        found: u64,
        /// The last one there should be.
        expected: u64,
    },
}

/// Reads a whole log, which may be in use, and compares everything with its checksums. `progress` hears from time to
/// time how many entries were read.
///
/// What is wrong is in the report.
pub fn check_data(folder: &Path, progress: impl FnMut(u64)) -> Report {
    let mut report = Report::default();
    let file = folder.join(LOG_FILE);
    if !file.exists() {
        report.findings.push(Finding::Unusable(format!("there is no log {}", file.display())));
        return report;
    }
    match wal::lost_commits(&folder.join("log.db-wal")) {
        Ok(lost) if lost >= 2 => report.findings.push(Finding::Tail(lost)),
        Ok(_) => {}
        Err(error) => report.findings.push(Finding::Unusable(format!("log.db-wal: {error}"))),
    }
    if let Err(error) = look(folder, &mut report, progress) {
        report.findings.push(Finding::Unusable(explain(&error)));
    }
    report
}

fn look(folder: &Path, report: &mut Report, mut progress: impl FnMut(u64)) -> rusqlite::Result<()> {
    let database = open::reader(folder)?;
    let pragma = |name| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != schema::APPLICATION {
        report.findings.push(Finding::Unusable("it is no log of snugd".to_owned()));
        return Ok(());
    }
    let (version, known) = (pragma("user_version")?, schema::MIGRATIONS.len());
    if usize::try_from(version) != Ok(known) {
        let text = format!("it is of version {version}, and this snugd knows version {known}");
        report.findings.push(Finding::Unusable(text));
        return Ok(());
    }
    // All that is read is of one moment, whatever a daemon does meanwhile.
    let database = database.unchecked_transaction()?;
    structure(&database, report)?;
    let (name, expected): (i64, u64) =
        database.query_row("SELECT name, last_id FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    report.name = LogName(name.cast_unsigned()).to_string();
    let ends = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM entry";
    (report.first, report.last) = database.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if report.last > expected {
        report.findings.push(Finding::End { found: report.last, expected });
    }
    let damaged = View::new(&database).damaged(0, |count| {
        report.entries = count;
        if count.is_multiple_of(10_000) {
            progress(count);
        }
    })?;
    report.findings.extend(damaged.into_iter().map(Finding::Entry));
    files(folder, &View::new(&database), report)
}

/// Reads every content that is kept, and compares it with its hash.
fn files(folder: &Path, view: &View<'_>, report: &mut Report) -> rusqlite::Result<()> {
    for (hash, size, entry) in view.contents()? {
        report.files += 1;
        let mut found = digest::Context::new(&digest::SHA256);
        let path = content_store::content_path(folder, hash);
        let read =
            File::open(path).and_then(|file| content_store::read_all(&file, |piece| found.update(piece)));
        let wrong = match read {
            Err(error) => Some(error.to_string()),
            Ok(length) if length != size => Some(format!("it has {length} bytes instead of {size}")),
            Ok(_) if found.finish().as_ref() != hash.0 => Some("its bytes are others".to_owned()),
            Ok(_) => None,
        };
        report.findings.extend(wrong.map(|why| Finding::File(entry, why)));
    }
    Ok(())
}

fn structure(database: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = database.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            report.findings.push(Finding::Structure(line));
        }
    }
    let mut statement = database.prepare("PRAGMA foreign_key_check")?;
    let lost = statement.query_map([], |row| row.get::<_, String>(0))?;
    for table in lost.take(20) {
        report.findings.push(Finding::Structure(format!("a row of {} refers to nothing", table?)));
    }
    Ok(())
}
