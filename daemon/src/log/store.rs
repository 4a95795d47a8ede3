//! The store that packs are committed to: the seam at which the simulation injects faults.

use snug_protocol::Timestamp;

use super::{Draft, Index, LogError, Outcome, View};

/// The reason why a pack was not committed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The disk is full. Nothing was applied.
    Full(rusqlite::Error),
    /// One of the drafts cannot be applied; it is unknown which. Nothing was applied.
    Failed(rusqlite::Error),
    /// The state of the database is unknown. It has to be reopened, and what was applied has to be looked up.
    Broken(rusqlite::Error),
}

/// A store for packs: the log, or in a simulation a log that fails at will.
pub(crate) trait Store: Send {
    /// Applies a pack of drafts, in order, in one transaction. When it returns without an error, all of them are
    /// decided.
    ///
    /// # Errors
    /// The error says what is known about the drafts: not applied, or unknown.
    fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> Result<Vec<Outcome>, CommitError>;

    /// Reopens the database after [`CommitError::Broken`].
    ///
    /// # Errors
    /// The database cannot be opened now.
    fn reopen(&mut self) -> Result<(), LogError>;

    /// Removes deleted content from the files for good. Returns whether that was possible now.
    fn tidy(&mut self) -> bool {
        true
    }

    /// Keeps the files beside the database from growing without bound. It may take a moment.
    fn keep_short(&mut self) {}

    /// Returns the id of the newest entry that was committed; 0 before the first.
    fn last_id(&self) -> u64;

    /// Returns a view of what is committed.
    fn view(&self) -> View<'_>;

    /// Returns the search index, if it has no thread of its own.
    fn index(&self) -> Option<Index<'_>>;
}
