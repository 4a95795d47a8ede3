//! The log: everything durable, in one order.
//!
//! A change is a [`Draft`]; [`Log::commit`] applies a pack of them in one transaction and says what became of each.
//! The rules are in `apply`, which looks at the database and its arguments alone: no clock, no randomness, no I/O.

mod apply;
mod schema;

use rusqlite::Connection;
use snug_protocol::{Code, EntryKind, RoomName, Timestamp};

/// Something that somebody wants to become part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Whose doing it is.
    pub(crate) author: Author,
    /// What is to be done.
    pub(crate) act: Act,
}

/// Who wrote an entry, as it will be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    /// The identity's number.
    pub(crate) number: u64,
    /// Its nick at that time.
    pub(crate) nick: String,
    /// Whether it is a bot.
    pub(crate) bot: bool,
}

/// What can become of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A new entry.
    Enter(NewEntry),
    /// A room is to be made, if there is none of that name and at most `most` are there already.
    MakeRoom { name: RoomName<'static>, most: u64 },
    /// A room is to go if nothing was ever written in it.
    /// It also stays if it was made or found again since the `generation` that the order speaks of.
    RetireRoom { room: u64, generation: u64 },
}

/// An entry that has no id and time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryKind,
    pub(crate) to: Conversation,
    /// What it says, as filters left it. `None` only for a cleared topic.
    pub(crate) text: Option<String>,
    /// What was said before filters, where they changed it.
    pub(crate) original: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) re: Option<u64>,
    /// The tags that are relayed, as written on the line.
    pub(crate) tags: String,
}

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversation {
    /// In a room, by its number.
    Room(u64),
    /// Between its author and one other identity, by that one's number.
    With(u64),
}

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is entry `id`.
    Applied { id: u64, time: Timestamp },
    /// It was entered before, as entry `id`.
    Duplicate { id: u64, time: Timestamp },
    /// The room is there, made now or before, under this number and name.
    /// `generation` grows with each time.
    Room { number: u64, generation: u64, name: String },
    /// The room is gone.
    Retired,
    /// The room has entries, or somebody has come back to it: it stays.
    Kept,
    /// It may not be; nothing has changed.
    Refused(Refusal),
}

/// Why a draft may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) text: String,
}

/// What a pack is ordered under.
#[derive(Clone, Copy, Debug)]
struct Meta {
    /// The time of the whole pack; never before that of an earlier one.
    time: Timestamp,
    /// How long before it a key is still remembered, in milliseconds.
    key_window: i64,
}

/// The database and what is to be known of its end.
pub(crate) struct Log {
    database: Connection,
    name: String,
    /// The id of the newest entry; 0 before the first.
    last_id: u64,
    last_time: Timestamp,
    limits: LogLimits,
}

/// What the log keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    /// Entries.
    pub(crate) entries: u64,
    /// Milliseconds for which a key is remembered.
    pub(crate) key_window: i64,
}

impl Log {
    /// An empty log in memory, called `name`.
    pub(crate) fn in_memory(name: String, limits: LogLimits) -> rusqlite::Result<Log> {
        let database = Connection::open_in_memory()?;
        schema::create(&database)?;
        Ok(Log { database, name, last_id: 0, last_time: Timestamp::default(), limits })
    }

    /// The log's random name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Applies a pack of drafts, in order, in one transaction. When it returns, all of them are decided.
    ///
    /// # Errors
    /// The database failed; nothing of the pack has been applied.
    pub(crate) fn commit(&mut self, now: Timestamp, drafts: &[&Draft]) -> rusqlite::Result<Vec<Outcome>> {
        let meta = Meta { time: now.max(self.last_time), key_window: self.limits.key_window };
        let mut last_id = self.last_id;
        let transaction = self.database.transaction()?;
        let outcomes = drafts
            .iter()
            .map(|draft| apply::apply(&transaction, &meta, &mut last_id, draft))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        apply::forget(&transaction, &meta, last_id, self.limits.entries)?;
        transaction.commit()?;
        self.last_id = last_id;
        self.last_time = meta.time;
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests;
