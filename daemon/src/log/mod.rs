//! The log: everything durable, in one order.
//!
//! A change is a [`Draft`]. [`Log::commit`] applies a pack of drafts in one transaction and returns the outcome of
//! each. The rules are in `apply`, which uses only the database and its arguments: no clock, no randomness, no I/O.
//! Reads go through a [`View`], which asks `access` who may see what.

mod access;
use access::Access;
pub(crate) use access::Party;

mod apply;
pub(crate) use apply::{BAD_LOGIN, NO_SUCH_FILE, REACTIONS, token_name};

mod audit;
pub(crate) use audit::{AuditFilter, AuditNote, AuditPart, Whole};

mod backup;
pub(crate) use backup::back_up;

mod check;
pub use check::{Finding, Report, check_data};

mod author;
pub(crate) use author::{Author, Conversation, IdentityRecord};

mod draft;
pub(crate) use draft::{Act, BotStep, Draft, NewEntry, Outcome};

mod order;
use order::{Ends, Meta};

mod entry;
pub(crate) use entry::Entry;

mod rooms;
pub(crate) use rooms::{Rank, Readers, RoomAccess, RoomQuotas, RoomSetting, RoomSettings, StoredRoom, Topic};

mod store;
pub(crate) use store::{CommitError, Store};

mod database;
pub(crate) use database::{Log, LogLimits};

mod open;
pub use open::LogError;
pub(crate) use open::Storage;
use open::{discard_index, indexer, reader};

mod readers;
pub(crate) use readers::{
    Progress, ReadJob, Reads, Search, search as search_in_memory, start as start_readers,
};

mod schema;

mod search;
pub(crate) use search::{Index, Query, Scan, SearchTarget};

mod transaction;
use transaction::Transaction;

mod view;
pub(crate) use view::{Inbox, Part, Remembered, Row, Rows, UNREAD, View, Wanted};

mod accounts;
pub(crate) use accounts::{AccountAct, ComesInto, Grant, NewAccount, Proven, StoredAccount, TokenHash};

mod authority;
pub(crate) use authority::{BanRow, Banned, Moderation, Mutes, ServerModeration};

mod files;
pub(crate) use files::{FileAct, Finished, NewUpload, Quotas, StoredFile, StoredUpload};

mod wal;

#[cfg(test)]
mod tape_tests;

#[cfg(test)]
mod tests;
