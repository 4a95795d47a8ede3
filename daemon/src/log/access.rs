//! The rules for who may see an entry. History, resume, search, replies, edits, reactions and markers all ask here.

use rusqlite::{Connection, OptionalExtension};

use super::{Rank, Readers};

/// The part of a conversation that an identity may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    All,
    Nothing,
    /// The entries from the identity's stays in the room, and from times when everybody could read it: first and last
    /// entry of each part.
    Parts(Vec<(u64, u64)>),
}

impl Access {
    /// Returns whether the entry `id` is visible.
    pub(crate) fn covers(&self, id: u64) -> bool {
        match self {
            Access::All => true,
            Access::Nothing => false,
            Access::Parts(parts) => parts.iter().any(|(first, last)| (*first..=*last).contains(&id)),
        }
    }

    /// Returns whether any id between `from` and `to`, both inclusive, is visible.
    pub(crate) fn touches(&self, from: u64, to: u64) -> bool {
        match self {
            Access::All => true,
            Access::Nothing => false,
            Access::Parts(parts) => parts.iter().any(|(first, last)| *first <= to && *last >= from),
        }
    }

    /// Returns the first and the last id that can be visible.
    pub(super) fn ends(&self) -> (u64, u64) {
        match self {
            Access::All => (0, u64::MAX >> 1),
            Access::Nothing => (1, 0),
            Access::Parts(parts) => {
                let first = parts.iter().map(|(first, _)| *first).min();
                let last = parts.iter().map(|(_, last)| *last).max();
                first.zip(last).unwrap_or((1, 0))
            }
        }
    }

    /// Returns what `identity` may see of a conversation.
    pub(crate) fn of(database: &Connection, identity: u64, conversation: u64) -> rusqlite::Result<Access> {
        let room: Option<(String, u64, bool)> = database
            .prepare_cached("SELECT history, since, guard FROM room WHERE number = ?1")?
            .query_row([conversation], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if matches!(room, Some((.., true))) && !Access::may_read(database, identity, conversation)? {
            return Ok(Access::Nothing);
        }
        match room.map(|(history, since, _)| (Readers::of_word(&history).unwrap_or(Readers::None), since)) {
            Some((Readers::All, 0)) => Ok(Access::All),
            Some((history, since)) => {
                let mut statement = database.prepare_cached(
                    "SELECT first, last FROM span WHERE room = ?1
                     UNION ALL SELECT first, coalesce(last, 9007199254740991) FROM stay
                         WHERE room = ?1 AND identity = ?2",
                )?;
                let parts =
                    statement.query_map([conversation, identity], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let mut parts = parts.collect::<rusqlite::Result<Vec<_>>>()?;
                if history == Readers::All {
                    parts.push((since, u64::MAX >> 1));
                }
                Ok(if parts.is_empty() { Access::Nothing } else { Access::Parts(parts) })
            }
            None => {
                let is_party: bool = database
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM pair WHERE number = ?1 AND ?2 IN (low, high))",
                    )?
                    .query_row([conversation, identity], |row| row.get(0))?;
                Ok(if is_party { Access::All } else { Access::Nothing })
            }
        }
    }
}

impl Access {
    /// Returns whether a restricted room lets an identity read it.
    fn may_read(database: &Connection, identity: u64, room: u64) -> rusqlite::Result<bool> {
        // There is no clock here, so an expired ban may hold until the log's `last_time` has passed its end, at the
        // latest until the next ban. The user can JOIN meanwhile.
        let is_banned: bool = database
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM ban WHERE room = ?1 AND kind = 'identity' AND value = ?2
                     AND (until IS NULL OR until > (SELECT last_time FROM state)))",
            )?
            .query_row((room, identity.to_string()), |row| row.get(0))?;
        if is_banned {
            return Ok(false);
        }
        let (access, read, owner): (String, String, u64) = database
            .prepare_cached("SELECT access, may_read, owner FROM room WHERE number = ?1")?
            .query_row([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let listed: Option<String> = database
            .prepare_cached("SELECT role FROM member WHERE room = ?1 AND identity = ?2")?
            .query_row([room, identity], |row| row.get(0))
            .optional()?;
        let rank = match listed.as_deref() {
            _ if owner == identity && identity != 0 => Rank::Owner,
            Some("moderator") => Rank::Moderators,
            Some(_) => Rank::Members,
            None => {
                let is_known: bool = database
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM identity WHERE number = ?1 AND proof NOT LIKE 'token:%')
                             OR EXISTS (SELECT 1 FROM account WHERE number = ?1)",
                    )?
                    .query_row([identity], |row| row.get(0))?;
                if is_known { Rank::Accounts } else { Rank::All }
            }
        };
        let needed = Rank::of_word(&read).unwrap_or(Rank::Owner);
        Ok(rank >= needed && (access == "public" || rank >= Rank::Members))
    }
}

/// The other party of an identity's private messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) number: u64,
    pub(crate) conversation: u64,
}

impl Party {
    /// Returns the pair of two identities, as seen by `identity`.
    pub(crate) fn between(
        database: &Connection,
        identity: u64,
        other: u64,
    ) -> rusqlite::Result<Option<Party>> {
        let (low, high) = (identity.min(other), identity.max(other));
        let conversation = database
            .prepare_cached("SELECT number FROM pair WHERE low = ?1 AND high = ?2")?
            .query_row([low, high], |row| row.get(0))
            .optional()?;
        Ok(conversation.map(|conversation| Party { number: other, conversation }))
    }

    /// Finds the pair of an identity with another: by number, or else by a remembered folded nick.
    pub(crate) fn find(
        database: &Connection,
        identity: u64,
        other: Option<u64>,
        fold: &str,
    ) -> rusqlite::Result<Option<Party>> {
        let known = match other {
            Some(other) => Party::between(database, identity, other)?,
            None => None,
        };
        match known {
            Some(party) => Ok(Some(party)),
            None => Party::called(database, identity, fold),
        }
    }

    /// Finds the pair by the other's folded nick. If there are several, the one with the newest message is returned.
    fn called(database: &Connection, identity: u64, fold: &str) -> rusqlite::Result<Option<Party>> {
        database
            .prepare_cached(
                "SELECT other.number, pair.number FROM identity other JOIN pair
                     ON pair.low = min(other.number, ?1) AND pair.high = max(other.number, ?1)
                 WHERE other.fold = ?2
                 ORDER BY (SELECT max(id) FROM entry WHERE conversation = pair.number) DESC LIMIT 1",
            )?
            .query_row((identity, fold), |row| Ok(Party { number: row.get(0)?, conversation: row.get(1)? }))
            .optional()
    }
}
