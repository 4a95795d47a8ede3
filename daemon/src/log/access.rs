//! The rules for who may see an entry. History, resume, search, replies, edits, reactions and markers all ask here.

use rusqlite::{Connection, OptionalExtension};

use super::{Rank, Readers};

/// The part of a conversation that an identity may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    All,
    Nothing,
    /// Parts of it, each with its first and last entry: in order, and apart from each other.
    Parts(Vec<(u64, u64)>),
}

/// The last id of a part that has no end.
const OPEN_END: u64 = u64::MAX >> 1;

impl Access {
    /// Returns whether the entry `id` is visible.
    pub(crate) fn covers(&self, id: u64) -> bool {
        self.touches(id, id)
    }

    /// Returns whether any id between `from` and `to`, both inclusive, is visible.
    pub(crate) fn touches(&self, from: u64, to: u64) -> bool {
        match self {
            Access::All => true,
            Access::Nothing => false,
            Access::Parts(parts) => {
                let next = parts.partition_point(|(_, last)| *last < from);
                parts.get(next).is_some_and(|(first, _)| *first <= to)
            }
        }
    }

    /// Returns the first and the last id that can be visible.
    pub(super) fn ends(&self) -> (u64, u64) {
        match self {
            Access::All => (0, OPEN_END),
            Access::Nothing => (1, 0),
            Access::Parts(parts) => match (parts.first(), parts.last()) {
                (Some((first, _)), Some((_, last))) => (*first, *last),
                _ => (1, 0),
            },
        }
    }

    /// Returns what `identity` may see of a conversation.
    pub(crate) fn of(database: &Connection, identity: u64, conversation: u64) -> rusqlite::Result<Access> {
        let room: Option<(String, u64, bool, u64)> = database
            .prepare_cached("SELECT history, since, guard, read_since FROM room WHERE number = ?1")?
            .query_row([conversation], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((history, since, is_guarded, read_since)) = room else {
            let is_party: bool = database
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM pair WHERE number = ?1 AND ?2 IN (low, high))")?
                .query_row([conversation, identity], |row| row.get(0))?;
            return Ok(if is_party { Access::All } else { Access::Nothing });
        };
        if is_guarded && !may_read(database, identity, conversation)? {
            return Ok(Access::Nothing);
        }
        let history = Readers::of_word(&history).unwrap_or(Readers::None);
        let mut parts = if (history, since) == (Readers::All, 0) {
            vec![(0, OPEN_END)]
        } else {
            let mut statement = database.prepare_cached(
                "SELECT first, last FROM span WHERE room = ?1
                 UNION ALL SELECT first, coalesce(last, 9007199254740991) FROM stay
                     WHERE room = ?1 AND identity = ?2",
            )?;
            let parts =
                statement.query_map([conversation, identity], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut parts = parts.collect::<rusqlite::Result<Vec<_>>>()?;
            if history == Readers::All {
                parts.push((since, OPEN_END));
            }
            joined(parts)
        };
        if read_since > 0 {
            parts = without(parts, &closed_to(database, identity, conversation)?);
        }
        Ok(match parts.as_slice() {
            [] => Access::Nothing,
            [(0, OPEN_END)] => Access::All,
            _ => Access::Parts(parts),
        })
    }
}

/// Puts parts in order, and joins those that overlap.
fn joined(mut parts: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    parts.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(parts.len());
    for (first, last) in parts.into_iter().filter(|(first, last)| first <= last) {
        match joined.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Returns what is left of parts outside of the spans `taken`. Both are in order and do not overlap.
fn without(parts: Vec<(u64, u64)>, taken: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::with_capacity(parts.len());
    for (mut first, last) in parts {
        for &(from, to) in taken {
            if to < first || from > last {
                continue;
            }
            if from > first {
                left.push((first, from - 1));
            }
            first = to + 1;
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

/// Returns the spans of a room that were closed to users of an identity's rank when they were written.
fn closed_to(database: &Connection, identity: u64, room: u64) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut statement =
        database.prepare_cached("SELECT first, last, may_read FROM closed_span WHERE room = ?1")?;
    let spans = statement.query_map([room], |row| {
        let word: String = row.get(2)?;
        Ok(((row.get(0)?, row.get(1)?), Rank::of_word(&word).unwrap_or(Rank::Owner)))
    })?;
    let spans = spans.collect::<rusqlite::Result<Vec<((u64, u64), Rank)>>>()?;
    let rank = rank(database, identity, room)?;
    Ok(joined(spans.into_iter().filter(|(_, needed)| rank < *needed).map(|(span, _)| span).collect()))
}

/// Returns whether a restricted room lets an identity read it.
fn may_read(database: &Connection, identity: u64, room: u64) -> rusqlite::Result<bool> {
    // There is no clock here, so an expired ban may hold until the log's `last_time` has passed its end, at the
    // latest until the next ban. The user can JOIN meanwhile.
    let is_banned: bool = database
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM ban WHERE room = ?1 AND (until IS NULL OR until > (SELECT last_time FROM state))
                 AND (kind = 'identity' AND value = ?2
                     OR kind = 'name' AND value = (SELECT fold FROM identity WHERE number = ?3)))",
        )?
        .query_row((room, identity.to_string(), identity), |row| row.get(0))?;
    if is_banned {
        return Ok(false);
    }
    let (access, read): (String, String) = database
        .prepare_cached("SELECT access, may_read FROM room WHERE number = ?1")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rank = rank(database, identity, room)?;
    let needed = Rank::of_word(&read).unwrap_or(Rank::Owner);
    Ok(rank >= needed && (access == "public" || rank >= Rank::Members))
}

/// Returns an identity's rank in a room.
fn rank(database: &Connection, identity: u64, room: u64) -> rusqlite::Result<Rank> {
    let (owner, listed): (u64, Option<String>) = database
        .prepare_cached(
            "SELECT owner, (SELECT role FROM member WHERE room = ?1 AND identity = ?2) FROM room
             WHERE number = ?1",
        )?
        .query_row([room, identity], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match listed.as_deref() {
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
    })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..40, 0u64..12).prop_map(|(first, more)| (first, first + more)), 0..6)
    }

    proptest! {
        #[test]
        fn parts_and_what_is_taken_from_them_are_sets_of_ids(some in parts(), taken in parts()) {
            let has = |parts: &[(u64, u64)], id| parts.iter().any(|(first, last)| (*first..=*last).contains(&id));
            let access = Access::Parts(without(joined(some.clone()), &joined(taken.clone())));
            for id in 0..60 {
                prop_assert_eq!(access.covers(id), has(&some, id) && !has(&taken, id), "{}", id);
                let touches = (id..id + 5).any(|id| access.covers(id));
                prop_assert_eq!(access.touches(id, id + 4), touches);
            }
        }
    }
}
