//! The log: everything durable, in one order.
//!
//! A change is a [`Draft`]; [`Log::commit`] applies a pack of them in one transaction and says what became of each.
//! The rules are in `apply`, which looks at the database and its arguments alone: no clock, no randomness, no I/O.
//! What is read goes through a [`View`], which asks `access` who may see what.

mod access;
use access::Access;
pub(crate) use access::Party;

mod apply;
pub(crate) use apply::{BAD_LOGIN, NO_SUCH_FILE, token_name};

mod audit;
pub(crate) use audit::{AuditFilter, AuditNote, AuditPart, Whole};

mod backup;
pub(crate) use backup::back_up;

mod check;
pub use check::{Finding, Report, check_data};

mod entry;
pub(crate) use entry::Entry;

mod open;
pub use open::LogError;
pub(crate) use open::Place;
use open::{discard_index, indexer, reader};

mod readers;
pub(crate) use readers::{Look, Reads, Search, search as search_in_memory, start as start_readers};

mod schema;

mod search;
pub(crate) use search::{Index, Place as SearchPlace, Query};

mod transaction;
use transaction::Transaction;

mod view;
pub(crate) use view::{Part, Remembered, Row, Rows, View};

mod accounts;
pub(crate) use accounts::{AccountAct, Grant, Proven, StoredAccount, TokenHash};

mod authority;
pub(crate) use authority::{BanRow, Banned, Measure, Server};

mod files;
pub(crate) use files::{FileAct, Finished, NewUpload, Quotas, StoredFile, StoredUpload};

mod wal;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use snug_protocol::{EntryKind, LogName, Period, Role, RoomName, Timestamp};

use crate::keep::Keep;
use crate::refusal::Refusal;

/// Something that somebody wants to become part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Whose doing it is.
    pub(crate) author: Author,
    /// Identities that the log may not know yet and that the act is about.
    pub(crate) newcomers: Vec<Newcomer>,
    /// What is to be done.
    pub(crate) act: Act,
}

impl Draft {
    /// A draft about nobody whom the log may not know.
    pub(crate) fn new(author: Author, act: Act) -> Draft {
        Draft { author, newcomers: Vec::new(), act }
    }

    /// The entry that it has become, if it has become one.
    pub(crate) fn entry(&self, outcome: &Outcome) -> Option<Entry<'_>> {
        let (Act::Enter(new), &Outcome::Applied { id, time, conversation, peer, edits }) =
            (&self.act, outcome)
        else {
            return None;
        };
        Some(Entry {
            id,
            time,
            kind: if edits.is_some() { EntryKind::Edit } else { new.kind },
            conversation,
            author: Cow::Borrowed(&self.author),
            peer: peer.map(|peer| (peer, Cow::Borrowed(new.peer_nick.as_str()))),
            text: new.text.as_deref().map(Cow::Borrowed),
            re: new.re,
            about: edits.or(new.about),
            tags: Cow::Borrowed(&new.tags),
            edited: None,
            deleted: None,
            reactions: Cow::Borrowed(""),
        })
    }
}

/// Who wrote an entry, as it will be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Author {
    /// The identity's number; 0 for the daemon itself.
    pub(crate) number: u64,
    /// Its nick at that time.
    pub(crate) nick: String,
    /// Whether it is a bot.
    pub(crate) bot: bool,
    /// What it is by the way it came, whatever its account says.
    pub(crate) by_origin: Role,
    /// From where it came, if over a network.
    pub(crate) address: Option<IpAddr>,
}

/// An identity as the log remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newcomer {
    pub(crate) number: u64,
    pub(crate) nick: String,
    /// The form in which nicks are compared.
    pub(crate) fold: String,
    /// What shows that a session is theirs, as `registry` writes it.
    pub(crate) proof: String,
    pub(crate) bot: bool,
}

/// What a bot has done about what it was told: committed together, so that nothing is done twice or forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BotStep {
    pub(crate) bot: String,
    pub(crate) cursor: u64,
    /// Names with their values; `None` for what is kept no longer.
    pub(crate) changes: Vec<(String, Option<String>)>,
}

/// What can become of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A new entry.
    Enter(NewEntry),
    /// A room is to be made, if there is none of that name and at most `most` are there already. Its author comes to
    /// stay, if the room remembers who was there when.
    MakeRoom { name: RoomName<'static>, most: u64 },
    /// A room is to go if nothing was ever written in it.
    /// It also stays if it was made or found again since the `generation` that the order speaks of.
    RetireRoom { room: u64, generation: u64 },
    /// A room gets another setting. `members` are those who are in it now.
    SetRoom { room: u64, setting: RoomSetting, members: Vec<u64> },
    /// The author has left a room that remembers who was there when.
    EndStay { room: u64 },
    /// The author has left a room of his own will: of a hidden one he is no member any more.
    Leave { room: u64 },
    /// Something about an account.
    Account(Box<AccountAct>),
    /// A bot has dealt with everything up to an entry, and keeps this from now on.
    Bot(BotStep),
    /// Something about a file.
    File(FileAct),
    /// Something that holds on the whole server.
    Rule(Server),
    /// Something for the audit trail.
    Audit(AuditNote),
    /// The author has read a conversation up to an entry. `receipt` tells the other one of a pair.
    /// `nick` is the other one's, in private messages.
    Read { of: Conversation, nick: String, id: u64, receipt: bool },
    /// A session of the author's has everything up to an entry.
    Acknowledge { id: u64 },
    /// A session of the author's was given private messages up to an entry.
    Deliver { id: u64 },
    /// The author has another nick, and is known by another proof.
    Rename(Newcomer),
    /// Nothing shows any more who is the author.
    Forget,
    /// Entries that are kept no longer are to go: of some conversations behind this number.
    Purge { behind: u64, rooms: Keep, private: Keep, audit: Keep },
    /// The search index has forgotten these entries.
    Unindexed(Vec<u64>),
    /// Nothing is to be done: whoever submits this wants its turn in the order.
    Pass,
}

/// A change of a room's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoomSetting {
    History(Readers),
    /// How long entries are kept; `None` is the daemon's own setting.
    Keep(Option<Keep>),
    Access(RoomAccess),
    Join(Rank),
    Read(Rank),
    Send(Rank),
    Invite(Rank),
    /// The time between two messages of one sender.
    Slow(Option<Period>),
    /// The largest file in bytes; 0 for none at all, `None` for the daemon's own limit.
    Files(Option<u64>),
    /// A comma list of media types; `None` for all.
    FileTypes(Option<String>),
    Description(Option<String>),
}

/// A room's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomSettings {
    pub(crate) history: Readers,
    pub(crate) keep: Option<Keep>,
    pub(crate) access: RoomAccess,
    pub(crate) join: Rank,
    pub(crate) read: Rank,
    pub(crate) send: Rank,
    pub(crate) invite: Rank,
    pub(crate) slow: Option<Period>,
    pub(crate) files: Option<u64>,
    pub(crate) file_types: Option<String>,
    pub(crate) description: Option<String>,
}

impl Default for RoomSettings {
    fn default() -> RoomSettings {
        RoomSettings {
            history: Readers::All,
            keep: None,
            access: RoomAccess::Public,
            join: Rank::All,
            read: Rank::All,
            send: Rank::All,
            invite: Rank::Members,
            slow: None,
            files: None,
            file_types: None,
            description: None,
        }
    }
}

impl RoomSettings {
    /// Whether anybody may JOIN without the log being asked.
    pub(crate) fn is_open(&self) -> bool {
        self.access == RoomAccess::Public
            && self.needed_to_join() == Rank::All
            && self.history != Readers::Joined
    }

    /// From whom on one may JOIN: whoever is in a room reads what is said.
    pub(crate) fn needed_to_join(&self) -> Rank {
        let listed = if self.access == RoomAccess::Invite { Rank::Members } else { Rank::All };
        self.join.max(self.read).max(listed)
    }
}

/// How a room is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// It is listed.
    #[default]
    Public,
    /// Who knows its name finds it.
    Hidden,
    /// Who is on its list finds it.
    Invite,
}

impl RoomAccess {
    const ALL: [RoomAccess; 3] = [RoomAccess::Public, RoomAccess::Hidden, RoomAccess::Invite];

    pub(crate) fn word(self) -> &'static str {
        match self {
            RoomAccess::Public => "public",
            RoomAccess::Hidden => "hidden",
            RoomAccess::Invite => "invite",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<RoomAccess> {
        RoomAccess::ALL.into_iter().find(|access| access.word() == word)
    }
}

/// From whom on something may be done in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    #[default]
    All,
    /// Who has an account, or is a user of this machine.
    Accounts,
    /// Who is on the room's list.
    Members,
    Moderators,
    Owner,
}

impl Rank {
    const ALL: [Rank; 5] = [Rank::All, Rank::Accounts, Rank::Members, Rank::Moderators, Rank::Owner];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Rank::All => "all",
            Rank::Accounts => "accounts",
            Rank::Members => "members",
            Rank::Moderators => "moderators",
            Rank::Owner => "owner",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Rank> {
        Rank::ALL.into_iter().find(|rank| rank.word() == word)
    }
}

/// Who may read what was said in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Who may join.
    #[default]
    All,
    /// Who was there.
    Joined,
    /// Nobody.
    None,
}

impl Readers {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Readers::All => "all",
            Readers::Joined => "joined",
            Readers::None => "none",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Readers> {
        [Readers::All, Readers::Joined, Readers::None].into_iter().find(|readers| readers.word() == word)
    }
}

/// An entry that has no id and time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryKind,
    pub(crate) to: Conversation,
    /// The nick that a private message is addressed to; empty in a room.
    pub(crate) peer_nick: String,
    /// The entry that an edit, deletion or reaction speaks of.
    pub(crate) about: Option<u64>,
    /// What it says, as filters left it.
    pub(crate) text: Option<String>,
    /// What was said before filters, where they changed it.
    pub(crate) original: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) re: Option<u64>,
    /// The word under which it edits an earlier message.
    pub(crate) replace: Option<String>,
    /// What it does about somebody, if it is an act of authority.
    pub(crate) measure: Option<Measure>,
    /// The upload that it offers, if it is a file.
    pub(crate) file: Option<Box<Finished>>,
    /// The tags that are relayed, as written on the line.
    pub(crate) tags: String,
}

impl NewEntry {
    /// An entry of which nothing is said yet.
    pub(crate) fn new(kind: EntryKind, to: Conversation) -> NewEntry {
        NewEntry {
            kind,
            to,
            peer_nick: String::new(),
            about: None,
            text: None,
            original: None,
            key: None,
            re: None,
            replace: None,
            measure: None,
            file: None,
            tags: String::new(),
        }
    }
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
    /// It is entry `id`, of a conversation, with `peer` if it is private. A message that replaced an earlier one is an
    /// edit of `edits`.
    Applied { id: u64, time: Timestamp, conversation: u64, peer: Option<u64>, edits: Option<u64> },
    /// It was entered before, as entry `id`.
    Duplicate { id: u64, time: Timestamp },
    /// The room is there, made now or before.
    Room(StoredRoom),
    /// The room is gone.
    Retired,
    /// The room has entries, now or once: it stays.
    Kept,
    /// The room has these settings now.
    Set(Box<RoomSettings>),
    /// Somebody has, or is, this account.
    Account(Box<StoredAccount>, Option<Box<Grant>>),
    /// It is done, and somebody else is concerned: sessions of this token, or of this account, have to end.
    Revoked(Option<TokenHash>),
    /// The upload is there, made now or before.
    Upload(Box<StoredUpload>),
    /// It is noted what the author says of a file, and whether that is new.
    Said { file: Box<StoredFile>, is_new: bool },
    /// These uploads have gone.
    Expired { uploads: Vec<u64> },
    /// The marker stands here now; whether it has `moved`, and who is to be `told` of it beside the author.
    Read { id: u64, moved: bool, told: Option<u64> },
    /// Everything up to `upto` has arrived; of these identities up to an entry: author, nick they wrote to, entry.
    Acknowledged { upto: u64, arrived: Vec<(u64, String, u64)> },
    /// Entries have gone: conversation, the oldest one that is left, and the last one that went. Conversations behind
    /// `next` are still to be looked at.
    Purged { gone: Vec<(u64, u64, u64)>, next: Option<u64> },
    /// It is done, or was not to be done any more.
    Done,
    /// It may not be; nothing has changed.
    Refused(Refusal),
}

/// A room as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRoom {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) name: String,
    /// Whose room it is; 0 for nobody's.
    pub(crate) owner: u64,
    /// Whether it stays when everybody has left: it is an account's.
    pub(crate) persists: bool,
    pub(crate) settings: RoomSettings,
    pub(crate) topic: Option<Topic>,
}

/// What a room is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// The text.
    pub(crate) text: String,
    /// Who set it.
    pub(crate) from: String,
    /// The tags of its entry as they stand on the line.
    pub(crate) tags: String,
}

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
    place: Place,
    database: Connection,
    name: LogName,
    ends: Ends,
    last_time: Timestamp,
    limits: LogLimits,
    /// How often it was to be kept short.
    looks: u64,
    /// The length in bytes from which on the write-ahead log is to be emptied.
    longest_wal: u64,
}

/// Where the log and its audit trail end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    /// The id of the newest entry; 0 before the first.
    last_id: u64,
    /// The newest row of the audit trail and its hash.
    audit_id: u64,
    audit_hash: [u8; 32],
}

/// How long it is waited until those leave the write-ahead log who read.
const READERS_LEAVE: Duration = Duration::from_millis(200);

/// How often is looked for keys whose time is over, in milliseconds.
const FORGET_KEYS: i64 = 10;

/// What the log keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    /// Entries, if the log lives in memory.
    pub(crate) entries: u64,
    /// Milliseconds for which a key is remembered.
    pub(crate) key_window: i64,
}

impl Log {
    /// The log's random name.
    pub(crate) fn name(&self) -> LogName {
        self.name
    }

    /// Changes the database behind the log's back.
    #[cfg(test)]
    pub(crate) fn tamper(&self, sql: &str) {
        self.database.execute_batch(sql).expect("a change");
    }

    /// Where the database is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Applies a pack and leaves the transaction to be committed.
    fn apply(
        &mut self,
        meta: &Meta,
        drafts: &[&Draft],
    ) -> rusqlite::Result<(Vec<Outcome>, Result<(), rusqlite::Error>, Ends)> {
        let mut ends = self.ends;
        let transaction = Transaction::begin(&self.database)?;
        let outcomes = drafts
            .iter()
            .map(|draft| apply::apply(&transaction, meta, &mut ends, draft))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if matches!(self.place, Place::Memory) {
            apply::forget_oldest(&transaction, &ends, self.limits.entries)?;
        }
        if meta.time.millis() / FORGET_KEYS != self.last_time.millis() / FORGET_KEYS {
            apply::forget_keys(&transaction, meta)?;
        }
        // What changes nothing writes nothing: an idle daemon leaves the disk asleep.
        if ends != self.ends {
            transaction
                .prepare_cached(
                    "UPDATE state SET last_id = ?1, last_time = ?2, audit_id = ?3, audit_hash = ?4",
                )?
                .execute((ends.last_id, meta.time.millis(), ends.audit_id, ends.audit_hash))?;
        }
        Ok((outcomes, transaction.commit(), ends))
    }
}

impl Log {
    /// Empties the write-ahead log when it has become long. SQLite begins it anew by itself as long as nobody reads just
    /// then; under load somebody always does, the search index above all, so that they are waited for once in a while.
    fn keep_wal_short(&mut self) {
        self.looks += 1;
        let Place::Folder { folder, .. } = &self.place else { return };
        // Its length is asked for with every 64th pack.
        if !self.looks.is_multiple_of(64) {
            return;
        }
        let length = std::fs::metadata(folder.join(open::WAL_FILE)).map_or(0, |file| file.len());
        if length >= self.longest_wal {
            let is_empty = self.empty_wal(READERS_LEAVE);
            self.longest_wal = if is_empty { open::LONG_WAL } else { length + open::LONG_WAL };
        }
    }

    /// Moves everything from the write-ahead log into the database and cuts it to nothing, if readers leave it in time.
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
            // An error of the commit itself, fsync's above all, leaves open what is on the disk.
            Trouble::Draft | Trouble::Database => CommitError::Broken(error),
        })?;
        if ends != self.ends {
            self.ends = ends;
            self.last_time = meta.time;
        }
        Ok(outcomes)
    }

    fn keep_short(&mut self) {
        self.keep_wal_short();
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        if matches!(self.place, Place::Memory) {
            return Ok(());
        }
        // The old connection goes first: it may hold locks.
        self.database = Connection::open_in_memory().map_err(|error| LogError::of(&self.place, &error))?;
        *self = Log::reopen_at(self.place.clone(), self.limits)?;
        Ok(())
    }

    fn tidy(&mut self) -> bool {
        // The write-ahead log still has the pages of before, until it is emptied. Whoever reads just now is not waited
        // for: meanwhile nothing could be said.
        self.empty_wal(Duration::ZERO)
    }

    fn last_id(&self) -> u64 {
        self.ends.last_id
    }

    fn view(&self) -> View<'_> {
        View::new(&self.database)
    }

    fn index(&self) -> Option<Index<'_>> {
        matches!(self.place, Place::Memory).then(|| Index::new(&self.database))
    }
}

/// What an error of the database means for those who wait.
enum Trouble {
    Full,
    Draft,
    Database,
}

fn trouble(error: &rusqlite::Error, place: &Place) -> Trouble {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        // SQLite says so only of ENOSPC; a quota that is used up is an error of writing to it.
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

/// Whether it was a write that failed, of which nothing counts (`SQLITE_IOERR_WRITE`).
fn is_write(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
}

#[cfg(test)]
mod tests;
