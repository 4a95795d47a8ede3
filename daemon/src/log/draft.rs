//! Drafts, the changes that the log is asked to make, and their outcomes.

use std::borrow::Cow;

use snug_protocol::{EntryKind, RoomName, Timestamp};

use super::entry::ACCOUNT;
use super::{
    AccountAct, AuditNote, Author, Conversation, Entry, FileAct, Finished, Grant, IdentityRecord, Moderation,
    RoomQuotas, ServerModeration, StoredAccount, StoredFile, StoredRoom, StoredUpload, TokenHash,
};
use crate::refusal::Refusal;
use crate::retention::Retention;

/// A change that is submitted to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The identity that makes the change.
    pub(crate) author: Author,
    /// Identities that the act refers to and that the log may not know yet.
    pub(crate) records: Vec<IdentityRecord>,
    /// The change itself.
    pub(crate) act: Act,
}

impl Draft {
    /// Makes a draft that refers only to identities that the log knows.
    pub(crate) fn new(author: Author, act: Act) -> Draft {
        Draft { author, records: Vec::new(), act }
    }

    /// Returns the entry that the draft has become, if it has become one.
    pub(crate) fn entry(&self, outcome: &Outcome) -> Option<Entry<'_>> {
        let (Act::Enter(new), &Outcome::Applied { id, time, conversation, addressee, edits, tag }) =
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
            addressee: addressee.map(|number| (number, Cow::Borrowed(new.addressee_nick.as_str()))),
            text: new.text.as_deref().map(Cow::Borrowed),
            re: new.re,
            about: edits.or(new.about),
            tags: new.tags_by(&self.author, tag),
            edited: None,
            deleted: None,
            reactions: Cow::Borrowed(""),
        })
    }
}

/// The progress of a built-in bot: its cursor and what it keeps. They are committed together, so that nothing is done
/// twice or forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BotStep {
    pub(crate) bot: String,
    pub(crate) cursor: u64,
    /// Names with their new values; `None` removes a value.
    pub(crate) changes: Vec<(String, Option<String>)>,
}

/// A change that a draft can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly every draft is an entry")]
pub(crate) enum Act {
    /// A new entry.
    Enter(NewEntry),
    /// Makes a room, or finds the one of that name. Making one is refused beyond the quotas. If the room's history is for
    /// those who were present, a stay of the author begins.
    /// An account stays a member if it `stays`.
    MakeRoom { name: RoomName<'static>, quotas: RoomQuotas, stays: bool },
    /// Removes a room in which nothing was written after the entry `upto`. What was written before has to be a guest's
    /// room and guests' words. The room stays if it was found again since `generation`, the one that the submitter saw.
    RetireRoom { room: u64, generation: u64, upto: u64 },
    /// Ends a room with all that was said in it.
    CloseRoom { room: u64, reason: Option<String> },
    /// The author has left a room whose history is for those who were present.
    EndStay { room: u64 },
    /// The author has left a room on purpose, rather than by disconnecting. In a hidden room this ends the
    /// membership.
    Leave { room: u64 },
    /// An action on an account.
    Account(Box<AccountAct>),
    /// A built-in bot has handled everything up to an entry and keeps these values.
    Bot(BotStep),
    /// An action on a file or upload.
    File(FileAct),
    /// A moderation action on the whole server.
    Moderate(ServerModeration),
    /// A note for the audit log.
    Audit(AuditNote),
    /// The author has read a conversation up to an entry. With `receipt`, the other party of private messages is
    /// told. `nick` is the other party's nick in private messages.
    Read { of: Conversation, nick: String, id: u64, receipt: bool },
    /// A session of the author has acknowledged everything up to an entry.
    Acknowledge { id: u64 },
    /// Private messages up to an entry were delivered to a session of the author.
    Deliver { id: u64 },
    /// The author has another nick and another proof.
    Rename(IdentityRecord),
    /// No session can prove to be the author any more.
    Forget,
    /// Removes entries that are past their retention, in some of the conversations after the number `behind`.
    Purge { behind: u64, rooms: Retention, private: Retention, audit: Retention },
    /// The search index has removed these entries.
    Unindexed(Vec<u64>),
    /// Changes nothing. It is submitted to get a turn in the order.
    Pass,
}

/// An entry that has no id and time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryKind,
    pub(crate) to: Conversation,
    /// The nick that a private message is addressed to; empty in a room.
    pub(crate) addressee_nick: String,
    /// The entry that an edit, deletion or reaction refers to.
    pub(crate) about: Option<u64>,
    /// The text, after the filters.
    pub(crate) text: Option<String>,
    /// The text before the filters, if they changed it.
    pub(crate) original: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) re: Option<u64>,
    /// The word under which it edits an earlier message.
    pub(crate) replace: Option<String>,
    /// The moderation action, if the entry is one.
    pub(crate) moderation: Option<Moderation>,
    /// The finished upload, if the entry is a file.
    pub(crate) file: Option<Box<Finished>>,
    /// The tags that are relayed, as written on the line.
    pub(crate) tags: String,
}

impl NewEntry {
    /// Returns whether it puts something of its author's before the room, so that a slow room counts it.
    pub(crate) fn is_spoken(&self) -> bool {
        matches!(
            self.kind,
            EntryKind::Msg
                | EntryKind::Priv
                | EntryKind::Topic
                | EntryKind::Edit
                | EntryKind::React
                | EntryKind::File
        )
    }

    /// Returns the tags that are stored with it. The log decides on `tag`, if there is one.
    pub(crate) fn tags_by(&self, author: &Author, tag: &'static str) -> Cow<'_, str> {
        let account = if author.account { ACCOUNT } else { "" };
        match [account, tag, &self.tags].into_iter().filter(|part| !part.is_empty()).count() {
            0 => Cow::Borrowed(""),
            1 if !self.tags.is_empty() => Cow::Borrowed(&self.tags),
            _ => {
                let parts = [account, tag, &self.tags].into_iter().filter(|part| !part.is_empty());
                Cow::Owned(parts.collect::<Vec<_>>().join(";"))
            }
        }
    }

    /// Returns whether it has words of its author's. An emoji as a reaction is none.
    pub(crate) fn has_words(&self) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        self.is_spoken() && (self.kind != EntryKind::React || text.chars().any(char::is_alphabetic))
    }

    /// Makes an entry with nothing but its kind and conversation.
    pub(crate) fn new(kind: EntryKind, to: Conversation) -> NewEntry {
        NewEntry {
            kind,
            to,
            addressee_nick: String::new(),
            about: None,
            text: None,
            original: None,
            key: None,
            re: None,
            replace: None,
            moderation: None,
            file: None,
            tags: String::new(),
        }
    }
}

/// The outcome of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The draft became entry `id` of a conversation, with an `addressee` if it is private. A message that replaced
    /// an earlier one is an edit of `edits`.
    /// `tag` is one that only the log can tell, or empty.
    Applied {
        id: u64,
        time: Timestamp,
        conversation: u64,
        addressee: Option<u64>,
        edits: Option<u64>,
        tag: &'static str,
    },
    /// The draft was entered before, as entry `id`.
    Duplicate { id: u64, time: Timestamp },
    /// The room exists; it was made now or before.
    Room(StoredRoom),
    /// The room is gone. What was said in it goes with the next purges.
    Retired,
    /// The room stays, because it has or had entries that count, or its owner has an account.
    Kept,
    /// The account that was made, changed or logged in to; the grant of the token that was used, if any.
    Account(Box<StoredAccount>, Option<Box<Grant>>),
    /// The change was made, and sessions have to end: those of this token, or with `None` those of the account.
    Revoked(Option<TokenHash>),
    /// The upload exists; it was made now or before.
    Upload(Box<StoredUpload>),
    /// The author's report about a file is stored. `is_new` is false if it changed nothing.
    Said { file: Box<StoredFile>, is_new: bool },
    /// These uploads have expired and were removed.
    Expired { uploads: Vec<u64> },
    /// The marker is at `id` now. It may have `moved`. `told` is the identity to tell besides the author.
    /// `other` is the other one of a private conversation.
    Read { id: u64, moved: bool, told: Option<u64>, other: Option<u64> },
    /// Everything up to `upto` has arrived. `arrived` has for each sender: its number, the nick it wrote to, and its
    /// newest entry that arrived.
    Acknowledged { upto: u64, arrived: Vec<(u64, String, u64)> },
    /// Entries were removed: conversation, the oldest entry left (0 if none), and the last entry removed.
    /// Conversations after `next` still have to be checked.
    Purged { gone: Vec<(u64, u64, u64)>, next: Option<u64> },
    /// The change was made, or there was nothing left to do.
    Done,
    /// The draft is refused. Nothing has changed, except that a refused login is in the audit log.
    Refused(Refusal),
}
