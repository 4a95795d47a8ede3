//! The check of a log against its checksums: `snugd check-data`.

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

/// The result of [`check_data`].
///
/// ```
/// use snug_daemon::config::Fallback;
/// use snug_daemon::{Config, Daemon, check_data};
///
/// # let folder = tempfile::tempdir()?;
/// # let mut config = Config::default();
/// # config.listen.tcp = Vec::new();
/// config.data = Fallback::Set(folder.path().to_owned());
/// let daemon = smol::block_on(Daemon::bind(config))?; // it makes the log
/// let report = check_data(folder.path(), |_| {});
/// assert!(report.findings.is_empty());
/// assert_eq!((report.entries, report.last), (0, 0));
/// # drop(daemon);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The log's name; empty if the log cannot be read.
    pub name: String,
    /// Number of entries that were read.
    pub entries: u64,
    /// Id of the oldest entry; 0 if there is none.
    pub first: u64,
    /// Id of the newest entry; 0 if there is none.
    pub last: u64,
    /// Number of files whose contents were read.
    pub files: u64,
    /// The problems; empty if there are none.
    pub findings: Vec<Finding>,
}

/// A problem that [`check_data`] has found.
///
/// ```
/// use snug_daemon::{Finding, check_data};
///
/// let report = check_data("/nowhere".as_ref(), |_| {});
/// assert!(matches!(report.findings.as_slice(), [Finding::Unusable(_)]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A file of the log cannot be used: why, and what to do.
    Unusable(String),
    /// The database's structure is damaged, in SQLite's words.
    Structure(String),
    /// The entry with this id does not match its checksum.
    Entry(u64),
    /// A file's content is not what was sent: the id of its entry, and why.
    File(u64, String),
    /// So many commits at the end of the write-ahead log are lost. A single one is no finding: the loss of power can
    /// cut it off before it is acknowledged.
    Tail(u64),
    /// The newest entry has a greater id than the log says.
    End {
        /// Id of the newest entry.
        found: u64,
        /// Id that the log says.
        expected: u64,
    },
}

/// Reads the whole log in a data folder, with its files, and compares all of it with the checksums. A daemon may use
/// the log meanwhile.
///
/// `progress` is called every 10,000 entries with the number of entries that were read. Errors are in the report.
///
/// ```
/// use snug_daemon::check_data;
///
/// let empty = tempfile::tempdir()?;
/// let report = check_data(empty.path(), |count| println!("{count} entries read"));
/// assert_eq!((report.entries, report.findings.len()), (0, 1)); // there is no log
/// # Ok::<(), std::io::Error>(())
/// ```
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
    // A transaction, so that the check reads a consistent snapshot even if a daemon writes meanwhile.
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

/// Reads the content of every file that is kept and compares it with its hash.
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
