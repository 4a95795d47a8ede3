//! Moderation: invitations, kicks, bans, mutes, roles and changed settings.

use std::collections::HashMap;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, params};
use snug_protocol::{Nick, Period, Role, Timestamp};

use super::{RoomSetting, View};

/// A moderation action in a room. The text of its entry states it for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moderation {
    Invite {
        whom: u64,
    },
    Kick {
        whom: u64,
    },
    Ban {
        whom: Banned,
        shown: String,
        reason: Option<String>,
        time: Option<Period>,
        /// Whether they are in the room now.
        is_in: bool,
    },
    Unban {
        whom: Banned,
        shown: String,
    },
    Mute {
        whom: u64,
        time: Option<Period>,
    },
    /// `None` takes the user off the room's list.
    Role {
        whom: u64,
        role: Option<Role>,
    },
    /// A change of a setting. `members` are the identities that are in the room now.
    Set {
        setting: RoomSetting,
        members: Vec<u64>,
    },
}

/// Until when users are muted in rooms, or on the server (room 0): identities, and the folded names of deleted accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mutes {
    identities: HashMap<(u64, u64), Timestamp>,
    names: HashMap<(u64, String), Timestamp>,
}

impl Mutes {
    /// Returns whether a user is muted in a room, or on the server (0).
    pub(crate) fn holds(&self, room: u64, identity: u64, nick: &str, now: Timestamp) -> bool {
        let is_muted = self.identities.get(&(room, identity)).is_some_and(|until| *until > now);
        is_muted || !self.names.is_empty() && self.holds_name(room, nick, now)
    }

    fn holds_name(&self, room: u64, nick: &str, now: Timestamp) -> bool {
        let Ok(nick) = Nick::parse(nick) else { return false };
        let fold = nick.fold().as_str().to_owned();
        self.names.get(&(room, fold)).is_some_and(|until| *until > now)
    }

    /// Returns whether nobody is muted anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.names.is_empty()
    }
}

/// A moderation action on the whole server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerModeration {
    Kick { whom: u64, nick: String, reason: Option<String> },
    Ban { whom: Banned, shown: String, reason: Option<String>, time: Option<Period> },
    Unban { whom: Banned, shown: String },
    Mute { whom: u64, nick: String, time: Option<Period>, reason: Option<String> },
    Role { whom: u64, nick: String, role: Role },
}

/// The target of a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Banned {
    Identity(u64),
    /// The folded form of a name that nobody has now: whoever takes it.
    Name(String),
    /// A guest who is away, and whoever takes their name, in folded form, before they come again.
    Away(u64, String),
    Address(IpNet),
    /// A token, by its account in folded form and its label: `alice/deploy`.
    Token(String),
}

impl Banned {
    /// Returns kind and value of its bans as they are stored.
    pub(super) fn write(&self) -> Vec<(&'static str, String)> {
        match self {
            Banned::Identity(number) => vec![("identity", number.to_string())],
            Banned::Name(fold) => vec![("name", fold.clone())],
            Banned::Away(number, fold) => vec![("identity", number.to_string()), ("name", fold.clone())],
            Banned::Address(net) => vec![("address", net.trunc().to_string())],
            Banned::Token(name) => vec![("token", name.clone())],
        }
    }

    /// Returns the number of the identity that it bans, if it does.
    pub(crate) fn identity(&self) -> Option<u64> {
        match self {
            Banned::Identity(number) | Banned::Away(number, _) => Some(*number),
            Banned::Name(_) | Banned::Address(_) | Banned::Token(_) => None,
        }
    }
}

/// A ban as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BanRow {
    pub(crate) kind: String,
    pub(crate) value: String,
    pub(crate) shown: String,
    pub(crate) reason: Option<String>,
    pub(crate) author: String,
    pub(crate) time: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

impl BanRow {
    /// Returns whether the ban is still in force.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Returns whether it is a ban of an identity, or of the name that a deleted account had.
    pub(crate) fn is_of(&self, identity: u64, nick: &str) -> bool {
        match self.kind.as_str() {
            "identity" => identity.to_string() == self.value,
            "name" => Nick::parse(nick).is_ok_and(|nick| nick.fold().as_str() == self.value),
            _ => false,
        }
    }

    /// Returns the address range that the ban applies to, if it is a ban of addresses.
    pub(crate) fn network(&self) -> Option<IpNet> {
        if self.kind == "address" { self.value.parse().ok() } else { None }
    }

    /// Returns the text that tells the banned user about the ban.
    pub(crate) fn notice(&self, from: &str) -> String {
        let until = self.until.map_or_else(String::new, |until| format!(" until {until}"));
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("you are banned from {from}{until}{reason}")
    }
}

const COLUMNS: &str = "kind, value, shown, reason, author, time, until";

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<BanRow> {
    Ok(BanRow {
        kind: row.get(0)?,
        value: row.get(1)?,
        shown: row.get(2)?,
        reason: row.get(3)?,
        author: row.get(4)?,
        time: Timestamp::from_millis(row.get(5)?),
        until: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
    })
}

/// Returns one ban of a room, or of the server (0).
pub(super) fn ban(
    database: &Connection,
    room: u64,
    kind: &str,
    value: &str,
) -> rusqlite::Result<Option<BanRow>> {
    database
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ban WHERE room = ?1 AND kind = ?2 AND value = ?3"))?
        .query_row(params![room, kind, value], row_of)
        .optional()
}

/// Returns the bans of a room, or of the server (0).
pub(super) fn bans(database: &Connection, room: u64) -> rusqlite::Result<Vec<BanRow>> {
    let mut statement =
        database.prepare_cached(&format!("SELECT {COLUMNS} FROM ban WHERE room = ?1 ORDER BY shown"))?;
    statement.query_map([room], row_of)?.collect()
}

impl View<'_> {
    /// Returns the bans of a room, or of the server (0). Some may have expired, since they are deleted only at the
    /// next ban.
    pub(crate) fn bans(&self, room: u64) -> rusqlite::Result<Vec<BanRow>> {
        bans(self.database(), room)
    }

    /// Returns all mutes, some of which may be over.
    pub(crate) fn mutes(&self) -> rusqlite::Result<Mutes> {
        let mut mutes = Mutes::default();
        let mut statement = self.database().prepare_cached("SELECT room, identity, until FROM mute")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            mutes.identities.insert((row.get(0)?, row.get(1)?), Timestamp::from_millis(row.get(2)?));
        }
        let mut statement = self.database().prepare_cached("SELECT room, fold, until FROM muted_name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            mutes.names.insert((row.get(0)?, row.get(1)?), Timestamp::from_millis(row.get(2)?));
        }
        Ok(mutes)
    }

    /// Returns a room's owner, if it has one.
    pub(crate) fn owner(&self, room: u64) -> rusqlite::Result<Option<u64>> {
        let owner: Option<u64> = self
            .database()
            .prepare_cached("SELECT owner FROM room WHERE number = ?1")?
            .query_row([room], |row| row.get(0))
            .optional()?;
        Ok(owner.filter(|owner| *owner != 0))
    }

    /// Returns the users on a room's list, except its owner.
    pub(crate) fn members(&self, room: u64) -> rusqlite::Result<Vec<(u64, Role)>> {
        let mut statement = self
            .database()
            .prepare_cached("SELECT identity, role FROM member WHERE room = ?1 ORDER BY role, identity")?;
        let rows = statement.query_map([room], |row| {
            let role: String = row.get(1)?;
            Ok((row.get(0)?, role.parse().unwrap_or(Role::Member)))
        })?;
        rows.collect()
    }
}
