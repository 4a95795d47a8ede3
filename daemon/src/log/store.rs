//! Where packs go: the seam at which the simulation puts its faults.

use snug_protocol::Timestamp;

use super::{Draft, Index, LogError, Outcome, View};

/// Why a pack was not committed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// There is no room on the disk. Nothing was applied.
    Full(rusqlite::Error),
    /// One of the drafts cannot be applied, nobody knows which. Nothing was applied.
    Failed(rusqlite::Error),
    /// The database is in doubt: it has to be opened anew, and what was applied has to be looked up.
    Broken(rusqlite::Error),
}

/// Where packs go: the log, or in a simulation one that fails at will.
pub(crate) trait Store: Send {
    /// Applies a pack of drafts, in order, in one transaction. When it returns, all of them are decided.
    ///
    /// # Errors
    /// What is known of what was applied.
    fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> Result<Vec<Outcome>, CommitError>;

    /// Opens the database anew after it broke.
    ///
    /// # Errors
    /// It cannot be had now.
    fn reopen(&mut self) -> Result<(), LogError>;

    /// Takes what was deleted out of the files for good, and says whether that could be done now.
    fn tidy(&mut self) -> bool {
        true
    }

    /// Keeps what lies beside the database from growing without end; it may take a moment.
    fn keep_short(&mut self) {}

    /// The id of the newest entry that was committed; 0 before the first.
    fn last_id(&self) -> u64;

    /// What is committed, to read from.
    fn view(&self) -> View<'_>;

    /// The search index, where it has no thread of its own.
    fn index(&self) -> Option<Index<'_>>;
}
