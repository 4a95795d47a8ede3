//! What can be asked of the log, and what can become of it.

use std::borrow::Cow;

use snug_protocol::{EntryKind, RoomName, Timestamp};

use super::{
    AccountAct, AuditNote, Author, Conversation, Entry, FileAct, Finished, Grant, IdentityRecord, Moderation,
    RoomSetting, RoomSettings, ServerModeration, StoredAccount, StoredFile, StoredRoom, StoredUpload,
    TokenHash,
};
use crate::refusal::Refusal;
use crate::retention::Retention;

/// Something that somebody wants to become part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Whose doing it is.
    pub(crate) author: Author,
    /// Identities that the log may not know yet and that the act is about.
    pub(crate) records: Vec<IdentityRecord>,
    /// What is to be done.
    pub(crate) act: Act,
}

impl Draft {
    /// A draft about nobody whom the log may not know.
    pub(crate) fn new(author: Author, act: Act) -> Draft {
        Draft { author, records: Vec::new(), act }
    }

    /// The entry that it has become, if it has become one.
    pub(crate) fn entry(&self, outcome: &Outcome) -> Option<Entry<'_>> {
        let (Act::Enter(new), &Outcome::Applied { id, time, conversation, addressee, edits }) =
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
            tags: Cow::Borrowed(&new.tags),
            edited: None,
            deleted: None,
            reactions: Cow::Borrowed(""),
        })
    }
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
    Moderate(ServerModeration),
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
    Rename(IdentityRecord),
    /// Nothing shows any more who is the author.
    Forget,
    /// Entries that are kept no longer are to go: of some conversations behind this number.
    Purge { behind: u64, rooms: Retention, private: Retention, audit: Retention },
    /// The search index has forgotten these entries.
    Unindexed(Vec<u64>),
    /// Nothing is to be done: whoever submits this wants its turn in the order.
    Pass,
}

/// An entry that has no id and time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryKind,
    pub(crate) to: Conversation,
    /// The nick that a private message is addressed to; empty in a room.
    pub(crate) addressee_nick: String,
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
    pub(crate) moderation: Option<Moderation>,
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

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is entry `id`, of a conversation, with `addressee` if it is private. A message that replaced an earlier one is an
    /// edit of `edits`.
    Applied { id: u64, time: Timestamp, conversation: u64, addressee: Option<u64>, edits: Option<u64> },
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
