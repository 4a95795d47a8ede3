//! Acts of authority: who is kept out, silenced, put out, or made something.

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, params};
use snug_protocol::{Period, Role, Timestamp};

use super::View;

/// Something that is done about somebody in a room. Its entry's text says it for people.
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
    },
    Unban {
        whom: Banned,
        shown: String,
    },
    Mute {
        whom: u64,
        time: Option<Period>,
    },
    /// `None` is off the list.
    Role {
        whom: u64,
        role: Option<Role>,
    },
}

/// Something that is done about somebody on the whole server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerModeration {
    Kick { whom: u64, nick: String, reason: Option<String> },
    Ban { whom: Banned, shown: String, reason: Option<String>, time: Option<Period> },
    Unban { whom: Banned, shown: String },
    Mute { whom: u64, nick: String, time: Option<Period>, reason: Option<String> },
    Role { whom: u64, nick: String, role: Role },
}

/// Who is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Banned {
    Identity(u64),
    Address(IpNet),
    /// By account, in its folded form, and label: `alice/deploy`.
    Token(String),
}

impl Banned {
    /// Kind and value as the log has them.
    pub(super) fn write(&self) -> (&'static str, String) {
        match self {
            Banned::Identity(number) => ("identity", number.to_string()),
            Banned::Address(net) => ("address", net.trunc().to_string()),
            Banned::Token(name) => ("token", name.clone()),
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
    /// Whether it still holds.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// The addresses that it is about, if it is about some.
    pub(crate) fn network(&self) -> Option<IpNet> {
        if self.kind == "address" { self.value.parse().ok() } else { None }
    }

    /// What the one who is kept out is told.
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

/// One ban of a room, or of the server (0).
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

/// The bans of a room, or of the server (0).
pub(super) fn bans(database: &Connection, room: u64) -> rusqlite::Result<Vec<BanRow>> {
    let mut statement =
        database.prepare_cached(&format!("SELECT {COLUMNS} FROM ban WHERE room = ?1 ORDER BY shown"))?;
    statement.query_map([room], row_of)?.collect()
}

impl View<'_> {
    /// The bans of a room, or of the server (0), also those whose time is over and that nobody has looked at since.
    pub(crate) fn bans(&self, room: u64) -> rusqlite::Result<Vec<BanRow>> {
        bans(self.database(), room)
    }

    /// Who is on a room's list, beside its owner.
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
