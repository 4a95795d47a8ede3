//! The place of the database, and how it is opened.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::process::{Resource, getrlimit};
use snug_protocol::{LogName, Timestamp};

use super::accounts::hash_avatars;
use super::schema::{self, MigrationError};
use super::{Ends, Log, LogLimits, search, view::View, wal};
use crate::config::Durability;

/// The log's file in the data folder.
pub(crate) const LOG_FILE: &str = "log.db";

/// SQLite's write-ahead log: what is committed but not yet in the log's file.
pub(super) const WAL_FILE: &str = "log.db-wal";

/// Length in bytes from which a write-ahead log is long: four times the length at which SQLite restarts it.
pub(super) const LONG_WAL: u64 = 64 << 20;

/// The search index's file in the data folder. It can be rebuilt from the log.
pub(crate) const INDEX_FILE: &str = "search.db";

/// Where a log lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In memory, for as long as the daemon runs.
    Memory,
    /// In this folder.
    Folder { folder: PathBuf, durability: Durability },
}

impl Storage {
    /// Returns whether there is no room for even a small file.
    pub(super) fn has_no_room(&self) -> bool {
        let Storage::Folder { folder, .. } = self else { return false };
        // The process's limit on file sizes (`RLIMIT_FSIZE`) counts as well if the log is close to it.
        let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        let longest = [LOG_FILE, WAL_FILE].map(|name| fs::metadata(folder.join(name)).map_or(0, |m| m.len()));
        if longest.iter().any(|length| length.saturating_add(1 << 20) > limit) {
            return true;
        }
        let probe = folder.join("probe");
        let written = fs::write(&probe, [0; 8_192]);
        let _ = fs::remove_file(probe);
        written.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        })
    }

    /// Returns the path of the log's file; `None` in memory.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Storage::Memory => None,
            Storage::Folder { folder, .. } => Some(folder.join(LOG_FILE)),
        }
    }
}

/// The reason why a log cannot be used. Its text names the file, the problem and the remedy.
///
/// ```
/// use snug_daemon::config::Fallback;
/// use snug_daemon::{Config, Daemon, StartError};
///
/// # let folder = tempfile::tempdir()?;
/// # let mut config = Config::default();
/// # config.listen.tcp = Vec::new();
/// config.data = Fallback::Set(folder.path().to_owned());
/// std::fs::write(folder.path().join("log.db"), "no database")?;
/// let error = smol::block_on(Daemon::bind(config)).err().expect("it cannot read the log");
/// assert!(matches!(error, StartError::Log(_)));
/// assert!(error.to_string().contains("log.db"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("cannot use the log {}: {what}", file.display())]
pub struct LogError {
    file: PathBuf,
    what: String,
}

/// The remedy for a damaged log.
const REMEDY: &str = "`snugd check-data` says what is left; stop the daemon, keep a copy of the data folder, and put a \
                      backup of log.db in its place (without log.db-wal, log.db-shm and search.db)";

impl LogError {
    pub(super) fn new(file: impl Into<PathBuf>, what: impl Into<String>) -> LogError {
        LogError { file: file.into(), what: what.into() }
    }

    /// Makes an error about the log at `place`.
    pub(crate) fn at(place: &Storage, what: &dyn std::fmt::Display) -> LogError {
        LogError { file: place.file().unwrap_or_else(|| "(in memory)".into()), what: what.to_string() }
    }

    /// Makes an error about the log at `place` from an error of the database.
    pub(super) fn of(place: &Storage, error: &rusqlite::Error) -> LogError {
        let file = place.file().unwrap_or_else(|| "(in memory)".into());
        LogError { file, what: explain(error) }
    }
}

/// Explains an error of the database and says what helps.
pub(super) fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("it is damaged ({error}); {REMEDY}")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!("{error}; the folder and its files have to be writable by the daemon's user")
        }
        Some(ErrorCode::DiskFull) => format!("{error}; make room on its disk"),
        _ => error.to_string(),
    }
}

impl Log {
    /// Opens an empty log in memory, called `name`.
    #[cfg(test)]
    pub(crate) fn in_memory(name: LogName, limits: LogLimits) -> Result<Log, LogError> {
        Log::open(Storage::Memory, name, limits)
    }

    /// Opens the log at `place`, or makes one called `name`. A log of an older version is migrated.
    ///
    /// # Errors
    /// The log cannot be used; the text names the file and what helps.
    pub(crate) fn open(place: Storage, name: LogName, limits: LogLimits) -> Result<Log, LogError> {
        let loss = match &place {
            Storage::Memory => false,
            Storage::Folder { folder, .. } => {
                check_witness(folder)?;
                check_length(&folder.join(LOG_FILE))?;
                check_wal(folder)?
            }
        };
        let (database, is_new) = connect(&place)?;
        #[cfg_attr(not(test), expect(unused_mut, reason = "a test records what is done to it"))]
        let mut log = Log::begin(place, database, name, limits, loss)?;
        #[cfg(test)]
        if is_new {
            log.tape = super::tape_tests::Tape::default();
        }
        if let Storage::Folder { folder, .. } = &log.place {
            if is_new {
                // From here on, an empty file no longer means a log that has just been made.
                let failed = |error: rusqlite::Error| LogError::of(&log.place, &error);
                log.database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
            }
            leave_witness(folder, log.name).map_err(|error| LogError::at(&log.place, &error))?;
        }
        Ok(log)
    }

    /// Reopens a log that is in use. Unlike after a restart, the users in rooms are still there.
    ///
    /// # Errors
    /// The log cannot be used; the text names the file and what helps.
    pub(super) fn reopen_at(place: Storage, limits: LogLimits) -> Result<Log, LogError> {
        let (database, _) = connect(&place)?;
        let (name, ends, last_time) = state(&database).map_err(|error| LogError::of(&place, &error))?;
        check_end(&database, &place, ends.last_id)?;
        Ok(Log::over(place, database, limits, (name, ends, last_time)))
    }

    /// Makes a log over a database that is in order, with the state that it holds.
    fn over(
        place: Storage,
        database: Connection,
        limits: LogLimits,
        (name, ends, last_time): (LogName, Ends, Timestamp),
    ) -> Log {
        Log {
            place,
            database,
            name,
            ends,
            last_time,
            limits,
            looks: 0,
            longest_wal: LONG_WAL,
            #[cfg(test)]
            tape: super::tape_tests::Tape::void(),
        }
    }

    /// Makes a log from a database that has all its tables. After a `loss` the log gets another name.
    fn begin(
        place: Storage,
        mut database: Connection,
        name: LogName,
        limits: LogLimits,
        loss: bool,
    ) -> Result<Log, LogError> {
        let failed = |error: rusqlite::Error| LogError::of(&place, &error);
        begin(&mut database, name, loss).map_err(failed)?;
        let (mut name, ends, last_time) = state(&database).map_err(failed)?;
        if let Storage::Folder { folder, .. } = &place
            && let Some(indexed) = indexed(folder, name)
            && indexed > ends.last_id
        {
            let last_id = ends.last_id;
            tracing::error!(
                "{} ends with entry {last_id}, and there was an entry {indexed}: what came behind it is lost, and the \
                 log goes on under a new name; a backup may have it",
                folder.join(LOG_FILE).display()
            );
            name = LogName(name.0 ^ last_id ^ indexed.rotate_left(32));
            database.execute("UPDATE state SET name = ?1", [name.0.cast_signed()]).map_err(failed)?;
        }
        check_end(&database, &place, ends.last_id)?;
        Ok(Log::over(place, database, limits, (name, ends, last_time)))
    }

    /// Returns a log with the same database, as if the process had been killed and restarted.
    #[cfg(test)]
    pub(crate) fn crash(self) -> Log {
        let mut old = self;
        let nothing = Connection::open_in_memory().expect("a database");
        let database = std::mem::replace(&mut old.database, nothing);
        let mut tape = std::mem::replace(&mut old.tape, super::tape_tests::Tape::void());
        let mut log = Log::begin(old.place.clone(), database, LogName(0), old.limits, false)
            .expect("the database is as it was");
        tape.crash();
        log.tape = tape;
        log
    }
}

/// Keeps so many statements prepared. Without the guarantee of stable plans (<https://sqlite.org/qpsg.html>) SQLite plans a
/// statement anew whenever a value that it compares with is another one, which takes several times as long as running it.
fn prepare_once(database: &Connection, statements: usize) -> rusqlite::Result<()> {
    database.set_prepared_statement_cache_capacity(statements);
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Opens a read-only connection to the log in `folder`, beside the writer's.
pub(crate) fn reader(folder: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(folder.join(LOG_FILE), flags)?;
    database.busy_timeout(BUSY)?;
    database.pragma_update(None, "cache_size", -1024)?;
    prepare_once(&database, 32)?;
    Ok(database)
}

/// Opens a connection for the search index: the log to read from, with the index attached.
pub(crate) fn indexer(folder: &Path) -> rusqlite::Result<Connection> {
    // The attached index is opened with the same flags, and may have to be created.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if search::is_outdated(&folder.join(INDEX_FILE)) {
        tracing::info!("the search index has the form of an earlier version, and is made anew");
        discard_index(folder);
    }
    // If the file cannot be made, opening it reports why.
    let _ = make_private(&folder.join(INDEX_FILE));
    let database = Connection::open_with_flags(folder.join(LOG_FILE), flags)?;
    database.busy_timeout(BUSY)?;
    let file = folder.join(INDEX_FILE);
    if let Err(error) = search::attach(&database, Some(&file)) {
        // Only a damaged index is rebuilt. An error such as a full disk says nothing about the index.
        if !matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        ) {
            return Err(error);
        }
        tracing::warn!("the search index {} is made anew: {error}", file.display());
        let _ = database.execute("DETACH search", []);
        discard_index(folder);
        search::attach(&database, Some(&file))?;
    }
    prepare_once(&database, 32)?;
    Ok(database)
}

/// Removes an unusable search index. No connection may have it open.
pub(crate) fn discard_index(folder: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = folder.join(INDEX_FILE).into_os_string();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    let _ = make_private(&folder.join(INDEX_FILE));
}

/// Creates a file that only its owner can read or write. SQLite gives the files beside it the same mode.
///
/// # Errors
/// The file exists, or cannot be created.
pub(super) fn make_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map(drop)
}

/// How long a connection waits for a lock of another one.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// Configures a new connection of the writer.
fn prepare(database: &Connection, place: &Storage) -> rusqlite::Result<()> {
    database.busy_timeout(BUSY)?;
    database.pragma_update(None, "foreign_keys", true)?;
    // Deleted content is overwritten with zeroes.
    database.pragma_update(None, "secure_delete", true)?;
    if let Storage::Folder { durability, .. } = place {
        database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        let synchronous = match durability {
            Durability::PowerLoss => "FULL",
            Durability::Process => "NORMAL",
        };
        database.pragma_update(None, "synchronous", synchronous)?;
        // With fewer checkpoints, a page that changes often is written to the database less often.
        database.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        database.pragma_update(None, "cache_size", -8_192)?;
    }
    Ok(())
}

/// Opens the database and makes or migrates its tables. Returns whether it is new.
fn connect(place: &Storage) -> Result<(Connection, bool), LogError> {
    let failed = |error: rusqlite::Error| LogError::of(place, &error);
    let file = place.file();
    let mut database = match &file {
        None => Connection::open_in_memory().map_err(failed)?,
        Some(file) => {
            let _ = make_private(file);
            Connection::open(file).map_err(failed)?
        }
    };
    prepare(&database, place).map_err(failed)?;
    let tables: u64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if let (0, Storage::Folder { folder, .. }) = (tables, place)
        && folder.join(WITNESS).exists()
    {
        return Err(missing(folder));
    }
    match schema::migrate(&mut database, file.as_deref(), schema::MIGRATIONS) {
        Ok(None) => {}
        Ok(Some(copy)) => {
            tracing::info!("the log was brought to a new version; as it was, it is in {}", copy.display());
        }
        Err(MigrationError::Database(error)) => return Err(failed(error)),
        Err(error) => return Err(LogError::new(file.unwrap_or_default(), error.to_string())),
    }
    if *place == Storage::Memory {
        search::attach(&database, None).map_err(failed)?;
    }
    prepare_once(&database, 64).map_err(failed)?;
    Ok((database, tables == 0))
}

/// Names a new log, and renames a backup or a log that has lost entries. Ends the stays in rooms of those who
/// are no members of them, because nobody is there after a restart.
fn begin(database: &mut Connection, name: LogName, loss: bool) -> rusqlite::Result<()> {
    let tx = database.transaction()?;
    let signed = name.0.cast_signed();
    tx.execute("INSERT OR IGNORE INTO state (one, name) VALUES (1, ?1)", [signed])?;
    tx.execute("UPDATE state SET name = ?1, is_copy = 0 WHERE is_copy OR ?2", (signed, loss))?;
    hash_avatars(&tx)?;
    tx.execute(
        "UPDATE stay SET last = (SELECT last_id FROM state) WHERE last IS NULL AND NOT EXISTS
             (SELECT 1 FROM membership WHERE membership.identity = stay.identity AND membership.room = stay.room)",
        [],
    )?;
    tx.commit()
}

/// Returns the log's name, where it ends, and the time of its newest pack.
fn state(database: &Connection) -> rusqlite::Result<(LogName, Ends, Timestamp)> {
    database.query_row("SELECT name, last_id, last_time, audit_id, audit_hash FROM state", [], |row| {
        let name: i64 = row.get(0)?;
        let ends = Ends { last_id: row.get(1)?, audit_id: row.get(3)?, audit_hash: row.get(4)? };
        Ok((LogName(name.cast_unsigned()), ends, Timestamp::from_millis(row.get(2)?)))
    })
}

/// A file beside the log which shows that the folder had a log, even if the log's own file is lost.
const WITNESS: &str = "log.name";

/// Refuses to start a new log where there was one. Without this check, a log cut to zero bytes would look like a new
/// one.
fn check_witness(folder: &Path) -> Result<(), LogError> {
    let length = |name: &str| fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.len());
    let is_there = length(LOG_FILE) > 0;
    let was_there = folder.join(WITNESS).exists() || length(WAL_FILE) > 0;
    if was_there && !is_there { Err(missing(folder)) } else { Ok(()) }
}

fn missing(folder: &Path) -> LogError {
    let what = format!(
        "it is empty or gone, and there was a log in this folder; {REMEDY}; to begin a new log, remove {WITNESS} and \
         all log.db files"
    );
    LogError::new(folder.join(LOG_FILE), what)
}

fn leave_witness(folder: &Path, name: LogName) -> std::io::Result<()> {
    let file = folder.join(WITNESS);
    let text = format!("{name}\n");
    if fs::read_to_string(&file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let _ = make_private(&file);
    fs::write(&file, text)?;
    fs::File::open(&file)?.sync_all()?;
    fs::File::open(folder)?.sync_all()
}

/// Returns whether the write-ahead log has lost commits. If so, copies of the damaged files are kept beside those
/// that the daemon continues with.
fn check_wal(folder: &Path) -> Result<bool, LogError> {
    let (file, wal) = (folder.join(LOG_FILE), folder.join(WAL_FILE));
    let failed = |error: std::io::Error| LogError::new(&wal, error.to_string());
    let lost = wal::lost_commits(&wal).map_err(failed)?;
    if lost < 2 {
        return Ok(false);
    }
    let name = |number| folder.join(format!("log.damaged-{number}.db"));
    let number = (1..).find(|number| !name(*number).exists()).unwrap_or_default();
    let copy = name(number);
    fs::copy(&file, &copy).map_err(failed)?;
    fs::copy(&wal, folder.join(format!("log.damaged-{number}.db-wal"))).map_err(failed)?;
    tracing::error!(
        "{} is damaged, and {lost} commits at its end are lost; the log goes on under a new name with what is left, a \
         backup may have more, and {} is what was found",
        wal.display(),
        copy.display()
    );
    Ok(true)
}

/// Returns the last entry of the log called `name` that the search index has seen.
fn indexed(folder: &Path, name: LogName) -> Option<u64> {
    let file = folder.join(INDEX_FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let index = Connection::open_with_flags(file, flags).ok()?;
    index.query_row("SELECT upto FROM state WHERE log = ?1", [name.0.cast_signed()], |row| row.get(0)).ok()
}

/// Compares the length of a database's file with the length in its header
/// (<https://sqlite.org/fileformat.html#the_database_header>). If there is a write-ahead log, the header may be out
/// of date, so nothing is compared.
fn check_length(file: &Path) -> Result<(), LogError> {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    let has_wal = fs::metadata(wal).is_ok_and(|wal| wal.len() > 0);
    let Ok(metadata) = fs::metadata(file) else { return Ok(()) };
    if has_wal || metadata.len() == 0 {
        return Ok(());
    }
    let mut header = [0; 100];
    let read = fs::File::open(file).and_then(|mut file| file.read_exact(&mut header));
    if let Err(error) = read {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Err(LogError::new(file, format!("it is cut off; {REMEDY}"))),
            _ => Err(LogError::new(file, error.to_string())),
        };
    }
    let big_endian =
        |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page_size = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        size => size,
    };
    let is_counted = big_endian(24) == big_endian(92);
    let expected = u64::from(big_endian(28)) * page_size;
    if header.starts_with(b"SQLite format 3\0") && is_counted && metadata.len() < expected {
        let what = format!("it is cut off: {} bytes instead of {expected}; {REMEDY}", metadata.len());
        return Err(LogError::new(file, what));
    }
    Ok(())
}

/// How many of the newest entries are compared with their checksums at startup.
const CHECKED: u64 = 100;

/// Checks that the log ends where its state says, and that its newest entries are undamaged.
fn check_end(database: &Connection, place: &Storage, last_id: u64) -> Result<(), LogError> {
    let failed = |error: rusqlite::Error| LogError::of(place, &error);
    let damaged = |what: String| LogError::new(place.file().unwrap_or_default(), format!("{what}; {REMEDY}"));
    let newest: u64 =
        database.query_row("SELECT coalesce(max(id), 0) FROM entry", [], |row| row.get(0)).map_err(failed)?;
    if newest > last_id {
        return Err(damaged(format!("its last entry should be {last_id} and is {newest}")));
    }
    let bad = View::new(database).damaged(last_id.saturating_sub(CHECKED), |_| {}).map_err(failed)?;
    match bad.first() {
        None => Ok(()),
        Some(id) => {
            tracing::error!("entry {id} of the log is not what was written; {REMEDY}");
            Ok(())
        }
    }
}
