//! The log as a [`Store`]: its database, commits, and the length of the write-ahead log.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use snug_protocol::{LogName, Timestamp};

use super::{
    CommitError, Draft, Ends, Index, LogError, Meta, Outcome, Storage, Store, Transaction, View, apply, open,
};

/// The database, and where the log ends.
pub(crate) struct Log {
    pub(super) place: Storage,
    pub(super) database: Connection,
    pub(super) name: LogName,
    pub(super) ends: Ends,
    pub(super) last_time: Timestamp,
    pub(super) limits: LogLimits,
    /// Number of calls of `keep_wal_short`.
    pub(super) looks: u64,
    /// Length in bytes from which the write-ahead log is emptied.
    pub(super) longest_wal: u64,
    #[cfg(test)]
    pub(super) tape: super::tape_tests::Tape,
}

/// How long to wait for readers to leave the write-ahead log.
const READERS_LEAVE: Duration = Duration::from_millis(200);

/// Interval between two searches for expired keys, in milliseconds.
const FORGET_KEYS: i64 = 10;

/// The limits of what the log keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    /// Maximum number of entries, if the log is in memory.
    pub(crate) entries: u64,
    /// How long a key is remembered, in milliseconds.
    pub(crate) key_window: i64,
}

impl Log {
    /// Returns the time of the newest entry that ever was; the Unix epoch if there was none.
    pub(crate) fn last_time(&self) -> Timestamp {
        self.last_time
    }
}

impl Log {
    /// Returns the log's random name.
    pub(crate) fn name(&self) -> LogName {
        self.name
    }

    /// Changes the database without the log knowing.
    #[cfg(test)]
    pub(crate) fn tamper(&mut self, sql: &str) {
        self.database.execute_batch(sql).expect("a change");
        self.tape = super::tape_tests::Tape::void();
    }

    /// Returns where the database is.
    pub(crate) fn place(&self) -> &Storage {
        &self.place
    }

    /// Applies a pack in a transaction and advances `ends`. `last_time` is the time of the pack before.
    pub(super) fn apply_pack(
        &self,
        transaction: &Transaction<'_>,
        meta: &Meta,
        drafts: &[&Draft],
        (ends, last_time): (&mut Ends, Timestamp),
    ) -> rusqlite::Result<Vec<Outcome>> {
        let before = *ends;
        let outcomes = drafts
            .iter()
            .map(|draft| apply::apply(transaction, meta, ends, draft))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if matches!(self.place, Storage::Memory) {
            apply::forget_oldest(transaction, ends, self.limits.entries)?;
        }
        if meta.time.millis() / FORGET_KEYS != last_time.millis() / FORGET_KEYS {
            apply::forget_keys(transaction, meta)?;
        }
        // A pack that changes nothing writes nothing, so an idle daemon does not wake the disk.
        if *ends != before {
            transaction
                .prepare_cached(
                    "UPDATE state SET last_id = ?1, last_time = ?2, audit_id = ?3, audit_hash = ?4",
                )?
                .execute((ends.last_id, meta.time.millis(), ends.audit_id, ends.audit_hash))?;
        }
        Ok(outcomes)
    }

    /// Applies a pack in a transaction of its own. An error before the commit is the outer one; an error of the
    /// commit itself is returned separately.
    fn apply(
        &self,
        meta: &Meta,
        drafts: &[&Draft],
    ) -> rusqlite::Result<(Vec<Outcome>, Result<(), rusqlite::Error>, Ends)> {
        let mut ends = self.ends;
        let transaction = Transaction::begin(&self.database)?;
        let outcomes = self.apply_pack(&transaction, meta, drafts, (&mut ends, self.last_time))?;
        Ok((outcomes, transaction.commit(), ends))
    }
}

impl Log {
    /// Empties the write-ahead log when it has become long. SQLite restarts it by itself only while there are no
    /// readers. Under load there is always one, usually the search index, so this waits for the readers from time to
    /// time.
    fn keep_wal_short(&mut self) {
        self.looks += 1;
        let Storage::Folder { folder, .. } = &self.place else { return };
        // The length is checked on every 64th call.
        if !self.looks.is_multiple_of(64) {
            return;
        }
        let length = std::fs::metadata(folder.join(open::WAL_FILE)).map_or(0, |file| file.len());
        if length >= self.longest_wal {
            let is_empty = self.empty_wal(READERS_LEAVE);
            self.longest_wal = if is_empty { open::LONG_WAL } else { length + open::LONG_WAL };
        }
    }

    /// Moves everything from the write-ahead log into the database and truncates it. Returns false if readers do not
    /// leave it in time.
    fn empty_wal(&self, patience: Duration) -> bool {
        let done = self.database.busy_timeout(patience).and_then(|()| {
            self.database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        let restored = self.database.busy_timeout(open::BUSY);
        matches!((done, restored), (Ok(0), Ok(())))
    }
}

impl Store for Log {
    fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> Result<Vec<Outcome>, CommitError> {
        let meta = Meta { time: now.max(self.last_time), key_window: self.limits.key_window };
        let place = self.place.clone();
        let (outcomes, committed, ends) =
            self.apply(&meta, drafts).map_err(|error| match trouble(&error, &place) {
                Trouble::Full => CommitError::Full(error),
                Trouble::Draft => CommitError::Failed(error),
                Trouble::Database => CommitError::Broken(error),
            })?;
        committed.map_err(|error| match trouble(&error, &self.place) {
            Trouble::Full => CommitError::Full(error),
            // After an error of the commit itself, above all of fsync, it is unknown what is on the disk.
            Trouble::Draft | Trouble::Database => CommitError::Broken(error),
        })?;
        if ends != self.ends {
            self.ends = ends;
            self.last_time = meta.time;
        }
        #[cfg(test)]
        self.tape.record(now, drafts, &outcomes);
        Ok(outcomes)
    }

    fn keep_short(&mut self) {
        self.keep_wal_short();
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        if matches!(self.place, Storage::Memory) {
            return Ok(());
        }
        #[cfg(test)]
        {
            self.tape = super::tape_tests::Tape::void();
        }
        // The old connection goes first: it may hold locks.
        self.database = Connection::open_in_memory().map_err(|error| LogError::of(&self.place, &error))?;
        *self = Log::reopen_at(self.place.clone(), self.limits)?;
        Ok(())
    }

    fn tidy(&mut self) -> bool {
        // The write-ahead log holds the old pages until it is emptied. This does not wait for readers, because no
        // message could be sent meanwhile.
        self.empty_wal(Duration::ZERO)
    }

    fn last_id(&self) -> u64 {
        self.ends.last_id
    }

    fn view(&self) -> View<'_> {
        View::new(&self.database)
    }

    fn index(&self) -> Option<Index<'_>> {
        matches!(self.place, Storage::Memory).then(|| Index::new(&self.database))
    }
}

/// The consequence of a database error for the drafts that wait.
enum Trouble {
    Full,
    Draft,
    Database,
}

fn trouble(error: &rusqlite::Error, place: &Storage) -> Trouble {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        // SQLite reports DiskFull only for ENOSPC. An exhausted quota appears as a write error.
        Some(ErrorCode::SystemIoFailure) if is_write(error) && place.has_no_room() => Trouble::Full,
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed,
        ) => Trouble::Database,
        _ => Trouble::Draft,
    }
}

/// Returns whether a write failed (`SQLITE_IOERR_WRITE`). Then nothing of it counts.
fn is_write(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
}
