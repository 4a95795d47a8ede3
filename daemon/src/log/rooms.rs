//! Rooms: their stored form, changes of their settings, and how they are read.

use rusqlite::{Connection, OptionalExtension};
use snug_protocol::Period;

use crate::config::Size;
use crate::retention::Retention;

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRoom {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) name: String,
    /// The owner's identity; 0 if there is none.
    pub(crate) owner: u64,
    /// Whether the room stays when everybody has left: its owner has an account.
    pub(crate) persists: bool,
    pub(crate) settings: RoomSettings,
    pub(crate) topic: Option<Topic>,
}

/// A room's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// The text.
    pub(crate) text: String,
    /// The nick of the user who set it.
    pub(crate) from: String,
    /// The tags of its entry, as written on the line.
    pub(crate) tags: String,
}

/// How many rooms there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomQuotas {
    /// In all. A quarter of them is not for guests.
    pub(crate) all: u64,
    /// That one account, or user of this machine, has made; and that one guest has.
    pub(crate) account: u64,
    pub(crate) guest: u64,
}

impl RoomQuotas {
    /// For the daemon itself.
    pub(crate) const NONE: RoomQuotas =
        RoomQuotas { all: u64::MAX >> 1, account: u64::MAX >> 1, guest: u64::MAX >> 1 };
}

/// A change of a room's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoomSetting {
    History(Readers),
    /// How long entries are kept; `None` for the server's default.
    Retention(Option<Retention>),
    Access(RoomAccess),
    Join(Rank),
    Read(Rank),
    Send(Rank),
    Invite(Rank),
    Topic(Rank),
    /// Minimum time between two messages of one sender.
    Slow(Option<Period>),
    /// Maximum size of a file in bytes; 0 for no files at all, `None` for the server's limit.
    Files(Option<u64>),
    /// Media types, separated by commas; `None` for all.
    FileTypes(Option<String>),
    Description(Option<String>),
}

/// A room's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomSettings {
    pub(crate) history: Readers,
    pub(crate) keep: Option<Retention>,
    pub(crate) access: RoomAccess,
    pub(crate) join: Rank,
    pub(crate) read: Rank,
    pub(crate) send: Rank,
    pub(crate) invite: Rank,
    pub(crate) topic: Rank,
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
            topic: Rank::All,
            slow: None,
            files: None,
            file_types: None,
            description: None,
        }
    }
}

impl RoomSettings {
    /// Changes one setting. Returns its name and its value.
    pub(crate) fn set(&mut self, setting: &RoomSetting) -> (&'static str, String) {
        match setting {
            RoomSetting::Retention(to) => {
                self.keep = *to;
                ("keep", to.map_or_else(|| "default".to_owned(), |keep| keep.to_string()))
            }
            RoomSetting::History(to) => {
                self.history = *to;
                ("history", to.word().to_owned())
            }
            RoomSetting::Access(to) => {
                self.access = *to;
                ("access", to.word().to_owned())
            }
            RoomSetting::Join(to) => {
                self.join = *to;
                ("join", to.word().to_owned())
            }
            RoomSetting::Read(to) => {
                self.read = *to;
                ("read", to.word().to_owned())
            }
            RoomSetting::Send(to) => {
                self.send = *to;
                ("send", to.word().to_owned())
            }
            RoomSetting::Invite(to) => {
                self.invite = *to;
                ("invite", to.word().to_owned())
            }
            RoomSetting::Topic(to) => {
                self.topic = *to;
                ("topic", to.word().to_owned())
            }
            RoomSetting::Slow(to) => {
                self.slow = *to;
                ("slow", to.map_or_else(|| "off".to_owned(), |slow| slow.to_string()))
            }
            RoomSetting::Files(to) => {
                self.files = *to;
                let value = match to {
                    None => "default".to_owned(),
                    Some(0) => "off".to_owned(),
                    Some(bytes) => Size::<1>::from_bytes(*bytes).to_string(),
                };
                ("files", value)
            }
            RoomSetting::FileTypes(to) => {
                self.file_types.clone_from(to);
                ("file-types", to.clone().unwrap_or_else(|| "all".to_owned()))
            }
            RoomSetting::Description(to) => {
                self.description.clone_from(to);
                ("description", to.clone().unwrap_or_default())
            }
        }
    }

    /// Returns whether anybody may JOIN without asking the log.
    pub(crate) fn is_open(&self) -> bool {
        self.access == RoomAccess::Public
            && self.needed_to_join() == Rank::All
            && self.history != Readers::Joined
    }

    /// Returns the minimum rank to read. Only users on its list may know a room that is not public.
    pub(crate) fn needed_to_read(&self) -> Rank {
        let listed = if self.access == RoomAccess::Public { Rank::All } else { Rank::Members };
        self.read.max(listed)
    }

    /// Returns the minimum rank to JOIN. Everyone in a room reads its messages, so the rank to read counts as well.
    pub(crate) fn needed_to_join(&self) -> Rank {
        let listed = if self.access == RoomAccess::Invite { Rank::Members } else { Rank::All };
        self.join.max(self.read).max(listed)
    }
}

/// The users who can find a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// Everybody: the room is listed.
    #[default]
    Public,
    /// Users who know its name.
    Hidden,
    /// Users on its member list.
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

/// The minimum rank for an action in a room, in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    #[default]
    All,
    /// Accounts, and users of this machine.
    Accounts,
    /// Users on the room's member list.
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

/// The users who may read a room's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Users who may join.
    #[default]
    All,
    /// Users who were in the room at the time.
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

/// The columns that [`room_of`] reads, in its order.
pub(super) const ROOM: &str = "number, generation, name, history, keep, topic, topic_from, topic_tags, owner, \
     EXISTS (SELECT 1 FROM account WHERE account.number = room.owner), access, may_join, may_read, may_send, may_invite, \
     slow, description, file_size, file_types, may_topic";

pub(super) fn room_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRoom> {
    let (history, keep): (String, Option<String>) = (row.get(3)?, row.get(4)?);
    // An unreadable value lets nobody in.
    let rank = |at: usize| -> rusqlite::Result<Rank> {
        let word: String = row.get(at)?;
        Ok(Rank::of_word(&word).unwrap_or(Rank::Owner))
    };
    let access: String = row.get(10)?;
    let slow: u64 = row.get(15)?;
    let settings = RoomSettings {
        history: Readers::of_word(&history).unwrap_or(Readers::None),
        keep: keep.and_then(|keep| keep.parse().ok()),
        access: RoomAccess::of_word(&access).unwrap_or(RoomAccess::Invite),
        join: rank(11)?,
        read: rank(12)?,
        send: rank(13)?,
        invite: rank(14)?,
        slow: (slow > 0).then(|| Period::from_secs(slow / 1_000)),
        description: row.get(16)?,
        files: row.get(17)?,
        file_types: row.get(18)?,
        topic: rank(19)?,
    };
    Ok(StoredRoom {
        number: row.get(0)?,
        generation: row.get(1)?,
        name: row.get(2)?,
        owner: row.get(8)?,
        persists: row.get(9)?,
        settings,
        topic: match (row.get(5)?, row.get(6)?, row.get(7)?) {
            (Some(text), Some(from), Some(tags)) => Some(Topic { text, from, tags }),
            _ => None,
        },
    })
}

/// Returns a room by its number.
pub(super) fn room(database: &Connection, number: u64) -> rusqlite::Result<Option<StoredRoom>> {
    database
        .prepare_cached(&format!("SELECT {ROOM} FROM room WHERE number = ?1"))?
        .query_row([number], room_of)
        .optional()
}

/// Returns all rooms.
pub(super) fn rooms(database: &Connection) -> rusqlite::Result<Vec<StoredRoom>> {
    let mut statement = database.prepare(&format!("SELECT {ROOM} FROM room"))?;
    let rooms = statement.query_map([], room_of)?;
    rooms.collect()
}

impl super::View<'_> {
    /// Returns the rooms that an account is in, by number.
    pub(crate) fn memberships(&self, identity: u64) -> rusqlite::Result<Vec<u64>> {
        let mut statement = self
            .database()
            .prepare_cached("SELECT room FROM membership WHERE identity = ?1 ORDER BY room")?;
        let rooms = statement.query_map([identity], |row| row.get(0))?;
        rooms.collect()
    }

    /// Returns whether an account is in a room, whether it is here or not.
    #[cfg(test)]
    pub(crate) fn is_member(&self, room: u64, identity: u64) -> rusqlite::Result<bool> {
        self.database()
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM membership WHERE room = ?1 AND identity = ?2)")?
            .query_row([room, identity], |row| row.get(0))
    }
}
