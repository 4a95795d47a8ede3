//! Reads from the log: pages of history, missed entries, unread messages.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use snug_protocol::Timestamp;

use super::entry::{COLUMNS, Stored};
use super::{Access, Entry, IdentityRecord, Party, StoredRoom, rooms};

/// A view of the committed log. It is a consistent snapshot only within one method.
pub(crate) struct View<'c> {
    database: &'c Connection,
}

/// A page of rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The rows, oldest first.
    pub(crate) rows: Vec<Row>,
    /// Whether there are more rows in the direction of paging.
    pub(crate) more: bool,
    /// Everything up to this entry is in the rows or before the page.
    pub(crate) cursor: u64,
}

/// A row of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// An entry, the name of its room, its key if the reader wrote it, and the reader's own reactions to it.
    Entry {
        entry: Box<Entry<'static>>,
        room: Arc<str>,
        key: Option<String>,
        mine: Option<String>,
        /// Who reads it.
        reader: u64,
    },
    Gap(Gap),
}

/// The stored state of a built-in bot when it starts.
pub(crate) struct Remembered {
    /// The last entry that the bot has handled; `None` if it has never run.
    pub cursor: Option<u64>,
    /// The values that the bot keeps, by name.
    pub kept: Vec<(String, String)>,
}

/// A gap: entries that have been removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The name of the conversation.
    pub(crate) target: Arc<str>,
    /// First and last id, inclusive.
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A conversation in a user's inbox, and how far the user has read it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conversed {
    pub(crate) target: Arc<str>,
    /// The other identity, if it is private.
    pub(crate) who: Option<u64>,
    pub(crate) last: u64,
    pub(crate) unread: u64,
    pub(crate) mentions: u64,
    pub(crate) read: u64,
    /// The newest of the user's own private messages that the other party has received, and has read.
    pub(crate) delivered: u64,
    pub(crate) seen: u64,
}

/// A user's conversations, and what it took to find them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) conversations: Vec<Conversed>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<u64>,
    /// The number of unread messages up to which each was counted.
    pub(crate) most: u64,
    /// The rows that were read, and the bytes of their texts.
    pub(crate) rows: u64,
    pub(crate) bytes: usize,
}

/// The part of a conversation that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Before(u64),
    After(u64),
    Around(u64),
    /// By time, from a moment on or up to it: such a page does not end inside a millisecond.
    Since(Timestamp),
    Until(Timestamp),
}

/// What a page is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// Messages and files alone.
    Messages,
}

/// Approximate maximum size of a page in bytes.
const PAGE_BYTES: usize = 256 << 10;

/// Maximum number of unread messages that are counted in a conversation; in all of them together, roughly; and what is
/// counted in each in any case.
pub(crate) const UNREAD: u64 = 1_000;
const UNREAD_IN_ALL: u64 = 4_000;
const UNREAD_LEAST: u64 = 20;

impl<'c> View<'c> {
    pub(crate) fn new(database: &'c Connection) -> View<'c> {
        View { database }
    }

    /// Returns the database that this view reads.
    pub(super) fn database(&self) -> &'c Connection {
        self.database
    }

    /// Returns all rooms.
    pub(crate) fn rooms(&self) -> rusqlite::Result<Vec<StoredRoom>> {
        rooms::rooms(self.database)
    }

    /// Returns the identities that a session can prove to be, each with the newest private message delivered to it.
    pub(crate) fn identities(&self) -> rusqlite::Result<Vec<(IdentityRecord, u64)>> {
        let mut statement = self.database.prepare(
            "SELECT number, nick, fold, proof, bot, delivered FROM identity WHERE proof IS NOT NULL ORDER BY number",
        )?;
        let identities = statement.query_map([], |row| {
            let identity = IdentityRecord {
                number: row.get(0)?,
                nick: row.get(1)?,
                fold: row.get(2)?,
                proof: row.get(3)?,
                bot: row.get(4)?,
            };
            Ok((identity, row.get(5)?))
        })?;
        identities.collect()
    }

    /// Returns a built-in bot's cursor, if it has ever run, and the values it keeps.
    pub(crate) fn bot(&self, name: &str) -> rusqlite::Result<Remembered> {
        let cursor = self
            .database
            .prepare_cached("SELECT cursor FROM bot WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let mut statement =
            self.database.prepare_cached("SELECT name, value FROM bot_state WHERE bot = ?1")?;
        let kept = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Remembered { cursor, kept: kept.collect::<rusqlite::Result<_>>()? })
    }

    /// Returns the ids of the oldest and the newest entry of a conversation; 0 if there is none.
    pub(crate) fn ends(&self, conversation: u64) -> rusqlite::Result<(u64, u64)> {
        let end = |sql| -> rusqlite::Result<u64> {
            let id: Option<u64> =
                self.database.prepare_cached(sql)?.query_row([conversation], |row| row.get(0))?;
            Ok(id.unwrap_or(0))
        };
        Ok((
            end("SELECT min(id) FROM entry WHERE conversation = ?1")?,
            end("SELECT max(id) FROM entry WHERE conversation = ?1")?,
        ))
    }

    /// Finds the private conversation of `me` with another identity: by number, or else by a remembered folded nick.
    pub(crate) fn party(&self, me: u64, other: Option<u64>, fold: &str) -> rusqlite::Result<Option<Party>> {
        Party::find(self.database, me, other, fold)
    }

    /// Finds the private conversation of `me` with exactly this other identity.
    pub(crate) fn pair(&self, me: u64, other: u64) -> rusqlite::Result<Option<Party>> {
        Party::between(self.database, me, other)
    }

    /// Returns the id of the newest entry that was committed.
    pub(crate) fn last_id(&self) -> rusqlite::Result<u64> {
        self.database.prepare_cached("SELECT last_id FROM state")?.query_row([], |row| row.get(0))
    }

    /// Returns the last id before a moment. Times grow with ids.
    pub(crate) fn last_before(&self, time: Timestamp) -> rusqlite::Result<u64> {
        let (mut low, mut high) = (0, self.last_id()?);
        // Every entry up to `low` is before the moment; none after `high` is.
        let mut next =
            self.database.prepare_cached("SELECT id, time FROM entry WHERE id > ?1 ORDER BY id LIMIT 1")?;
        while low < high {
            let middle = low.midpoint(high);
            let found = next
                .query_row([middle], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            match found {
                Some((id, then)) if id <= high && then < time.millis() => low = id,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Returns a page of a conversation, as `me` may see it, and how many rows were looked at.
    pub(crate) fn history(
        &self,
        me: u64,
        (conversation, target): (u64, &Arc<str>),
        (part, wanted): (Part, Wanted),
        limit: u64,
    ) -> rusqlite::Result<(Rows, u64)> {
        let access = Access::of(self.database, me, conversation)?;
        let purged = self.purged(conversation)?;
        let mut looked_at = 0;
        let gap = |from: u64| {
            let is_gap = purged >= from && access.touches(from, purged);
            is_gap.then(|| Row::Gap(Gap { target: Arc::clone(target), from, to: purged }))
        };
        let mut page = |order, range, limit, by_time| -> rusqlite::Result<(Found, Vec<Row>)> {
            let scan = IdScan { conversation, access: &access, wanted, by_time };
            let mut found = self.ids(scan, range, limit, order)?;
            looked_at += found.looked_at;
            let rows = self.fetch(me, &found.ids, target, by_time)?;
            found.more |= rows.len() < found.ids.len();
            Ok((found, rows))
        };
        let mut older = |before: u64, limit: u64, by_time: bool| -> rusqlite::Result<Rows> {
            let range = (0, before.saturating_sub(1));
            let (found, mut rows) = page(Order::NewestFirst, range, limit, by_time)?;
            rows.extend(if found.more { None } else { gap(1) });
            rows.reverse();
            Ok(Rows { rows, more: found.more, cursor: before })
        };
        let rows = match part {
            Part::Before(id) => older(id, limit, false)?,
            Part::Until(time) => older(self.last_before(time)? + 1, limit, true)?,
            Part::Around(id) => {
                let mut rows = older(id, limit / 2, false)?;
                let there = rows.rows.len() as u64;
                let after = id.saturating_sub(1);
                let limit = limit.saturating_sub(there).max(1);
                let (found, rest) = page(Order::OldestFirst, (after, u64::MAX >> 1), limit, false)?;
                rows.rows.extend(gap(after + 1).into_iter().chain(rest));
                Rows { more: rows.more || found.more, ..rows }
            }
            Part::After(_) | Part::Since(_) => {
                let (after, by_time) = match part {
                    Part::Since(time) => (self.last_before(time)?, true),
                    Part::After(id) => (id, false),
                    _ => (0, false),
                };
                let (found, fetched) = page(Order::OldestFirst, (after, u64::MAX >> 1), limit, by_time)?;
                let cursor = found.ids.get(fetched.len().saturating_sub(1)).copied().unwrap_or(after);
                let rows = gap(after + 1).into_iter().chain(fetched).collect();
                Rows { rows, more: found.more, cursor }
            }
        };
        Ok((rows, looked_at))
    }

    /// Returns a page of what `me` missed after one entry and up to another: in these rooms, and with `private` in
    /// the private messages of `me`.
    pub(crate) fn missed(
        &self,
        me: u64,
        rooms: &[(u64, Arc<str>)],
        private: bool,
        (after, upto): (u64, u64),
        limit: u64,
    ) -> rusqlite::Result<Rows> {
        let mut found: Vec<(u64, Arc<str>)> = Vec::new();
        let mut purged = Vec::new();
        for (conversation, name) in rooms {
            let access = Access::of(self.database, me, *conversation)?;
            let gone = self.purged(*conversation)?;
            if gone > after && access.touches(after + 1, gone) {
                purged.push((gone, Arc::clone(name)));
            }
            let scan =
                IdScan { conversation: *conversation, access: &access, wanted: Wanted::All, by_time: false };
            let ids = self.ids(scan, (after, upto), limit + 1, Order::OldestFirst)?.ids;
            found.extend(ids.into_iter().map(|id| (id, Arc::clone(name))));
        }
        if private {
            let nowhere: Arc<str> = Arc::from("");
            let ids = self.private_ids(me, (after, upto), limit + 1)?;
            found.extend(ids.into_iter().map(|id| (id, Arc::clone(&nowhere))));
            purged.extend(self.purged_pairs(me, after)?);
            found.extend(self.concerning(me, (after, upto), limit + 1)?);
        }
        found.sort_unstable_by_key(|(id, _)| *id);
        // What concerns somebody may be in a room that they are in.
        found.dedup_by_key(|(id, _)| *id);
        let mut more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut rows = Vec::with_capacity(found.len());
        let mut bytes = 0;
        let mut cursor = upto;
        for (id, name) in found {
            if bytes >= PAGE_BYTES {
                more = true;
                break;
            }
            cursor = id;
            if let Some(row) = self.row(me, id, &name)? {
                bytes += row.size();
                rows.push(row);
            }
        }
        if !more {
            cursor = upto;
        }
        let gaps = purged
            .into_iter()
            .map(|(gone, target)| Row::Gap(Gap { target, from: after + 1, to: gone.min(cursor) }));
        let rows = gaps.chain(rows).collect();
        Ok(Rows { rows, more, cursor })
    }

    /// Returns a page of the conversations of `me`, the one with the newest entry first: these rooms, and the users with
    /// whom `me` has private messages. With `before` it begins with the newest whose last entry is older than that.
    pub(crate) fn inbox(
        &self,
        me: u64,
        mentions: impl Fn(&str) -> bool,
        rooms: &[(u64, Arc<str>)],
        (before, limit): (Option<u64>, u64),
    ) -> rusqlite::Result<Inbox> {
        // The last entry, the conversation, and the other one of a private conversation.
        let mut found: Vec<(u64, u64, Option<u64>)> = self.last_of_pairs(me)?;
        for (conversation, _) in rooms {
            let access = Access::of(self.database, me, *conversation)?;
            let scan =
                IdScan { conversation: *conversation, access: &access, wanted: Wanted::All, by_time: false };
            let last = self.ids(scan, (0, u64::MAX >> 1), 1, Order::NewestFirst)?.ids;
            found.push((last.first().copied().unwrap_or(0), *conversation, None));
        }
        let looked_at = found.len() as u64;
        // Rooms in which nothing was said are on the last page, in their order.
        found.sort_by_key(|(last, ..)| std::cmp::Reverse(*last));
        let names: HashMap<u64, &Arc<str>> = rooms.iter().map(|(number, name)| (*number, name)).collect();
        let mut page: Vec<(u64, u64, Option<u64>)> = Vec::new();
        let mut next = None;
        for row in found.into_iter().filter(|(last, ..)| before.is_none_or(|before| *last < before)) {
            if page.len() as u64 >= limit && row.0 > 0 {
                next = page.last().map(|(last, ..)| *last);
                break;
            }
            page.push(row);
        }
        // Texts are read to find mentions, so all conversations together have a limit, too.
        let most = (UNREAD_IN_ALL / page.len().max(1) as u64).clamp(UNREAD_LEAST, UNREAD);
        let mut inbox = Inbox { most, next, rows: looked_at, ..Inbox::default() };
        for (last, conversation, other) in page {
            let target = match (names.get(&conversation), other) {
                (Some(name), _) => Arc::clone(name),
                (None, Some(other)) => self.nick_of(other)?,
                (None, None) => continue,
            };
            self.conversed(me, &mentions, (conversation, target, last), other, &mut inbox)?;
        }
        Ok(inbox)
    }

    /// Returns the invitations that an identity has not followed: the room, from whom, and when, the oldest first.
    pub(crate) fn invitations(&self, me: u64) -> rusqlite::Result<Vec<(u64, String, String, Timestamp)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT room.number, room.name, invitation.nick, invitation.time
             FROM invitation JOIN room ON room.number = invitation.room
             WHERE invitation.identity = ?1 ORDER BY invitation.time, room.number",
        )?;
        let rows = statement.query_map([me], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, Timestamp::from_millis(row.get(3)?)))
        })?;
        rows.collect()
    }

    fn conversed(
        &self,
        me: u64,
        mentions: impl Fn(&str) -> bool,
        (conversation, target, last): (u64, Arc<str>, u64),
        other: Option<u64>,
        inbox: &mut Inbox,
    ) -> rusqlite::Result<()> {
        let access = Access::of(self.database, me, conversation)?;
        let marker = |identity: u64| -> rusqlite::Result<(u64, u64, u64)> {
            let found = self
                .database
                .prepare_cached(
                    "SELECT read, told, delivered FROM marker WHERE identity = ?1 AND conversation = ?2",
                )?
                .query_row([identity, conversation], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            Ok(found.unwrap_or_default())
        };
        let (read, ..) = marker(me)?;
        let (_, seen, delivered) = match other.filter(|other| *other != me) {
            Some(other) => marker(other)?,
            None => Default::default(),
        };
        let mut statement = self.database.prepare_cached(
            "SELECT entry.id, entry.text, answered.author FROM entry
                 LEFT JOIN entry answered ON answered.id = entry.re
             WHERE entry.conversation = ?1 AND entry.id > ?2 AND entry.author != ?3
                 AND entry.kind IN ('MSG', 'PRIV', 'FILE') AND entry.deleted IS NULL
             ORDER BY entry.id LIMIT ?4",
        )?;
        let mut rows = statement.query([conversation, read, me, inbox.most])?;
        let (mut unread, mut named) = (0, 0);
        while let Some(row) = rows.next()? {
            let (text, answered): (Option<String>, Option<u64>) = (row.get(1)?, row.get(2)?);
            inbox.rows += 1;
            inbox.bytes += text.as_deref().map_or(0, str::len);
            if access.covers(row.get(0)?) {
                unread += 1;
                named += u64::from(answered == Some(me) || text.is_some_and(|text| mentions(&text)));
            }
        }
        let who = other;
        inbox.conversations.push(Conversed {
            target,
            who,
            last,
            unread,
            mentions: named,
            read,
            delivered,
            seen,
        });
        Ok(())
    }

    /// Returns the author of an entry, if there is such an entry.
    pub(crate) fn author(&self, id: u64) -> rusqlite::Result<Option<u64>> {
        self.database
            .prepare_cached("SELECT author FROM entry WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    }

    /// Returns the row of one entry; `None` if there is no such entry. A damaged entry becomes a gap.
    pub(crate) fn row(&self, me: u64, id: u64, target: &Arc<str>) -> rusqlite::Result<Option<Row>> {
        let stored = self
            .database
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE id = ?1"))?
            .query_row([id], Entry::from_row)
            .optional()?;
        Ok(match stored {
            None => None,
            Some(Stored::Damaged { id }) => {
                tracing::error!(
                    "entry {id} of the log is not what was written; `snugd check-data` tells more"
                );
                Some(Row::Gap(Gap { target: Arc::clone(target), from: id, to: id }))
            }
            Some(Stored::Sound(entry)) => {
                let key = if entry.author.number == me { self.key(id)? } else { None };
                let mine = if entry.reactions.is_empty() { None } else { self.own_reactions(me, id)? };
                Some(Row::Entry { entry, room: Arc::clone(target), key, mine, reader: me })
            }
        })
    }

    /// Returns the reactions of an identity to an entry, as a comma list.
    fn own_reactions(&self, me: u64, id: u64) -> rusqlite::Result<Option<String>> {
        self.database
            .prepare_cached(
                "SELECT group_concat(reaction, ',') FROM
                     (SELECT reaction FROM reaction WHERE entry = ?1 AND author = ?2 ORDER BY id)",
            )?
            .query_row([id, me], |row| row.get(0))
    }

    /// Returns who has reacted to an entry of a conversation that `me` may see: reaction, nick and time, the oldest
    /// first. `None` if there is no such entry for them.
    pub(crate) fn reactions(
        &self,
        me: u64,
        conversation: u64,
        id: u64,
    ) -> rusqlite::Result<Option<Vec<(String, String, Timestamp)>>> {
        let is_there: bool = self
            .database
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM entry WHERE id = ?1 AND conversation = ?2)")?
            .query_row([id, conversation], |row| row.get(0))?;
        if !is_there || !Access::of(self.database, me, conversation)?.covers(id) {
            return Ok(None);
        }
        let mut statement = self.database.prepare_cached(
            "SELECT reaction.reaction, coalesce(identity.nick, entry.nick, '-'), coalesce(entry.time, 0)
             FROM reaction LEFT JOIN entry ON entry.id = reaction.id
                 LEFT JOIN identity ON identity.number = reaction.author
             WHERE reaction.entry = ?1 ORDER BY reaction.id",
        )?;
        let rows = statement
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, Timestamp::from_millis(row.get(2)?))))?;
        rows.collect::<rusqlite::Result<_>>().map(Some)
    }

    /// Returns the ids of the damaged entries after `from`. `progress` is called with the number of entries read.
    pub(crate) fn damaged(&self, from: u64, mut progress: impl FnMut(u64)) -> rusqlite::Result<Vec<u64>> {
        let mut statement =
            self.database.prepare(&format!("SELECT {COLUMNS} FROM entry WHERE id > ?1 ORDER BY id"))?;
        let mut rows = statement.query([from])?;
        let mut damaged = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            if let Stored::Damaged { id } = Entry::from_row(row)? {
                damaged.push(id);
            }
            count += 1;
            progress(count);
        }
        Ok(damaged)
    }

    /// Returns the entries after `after` and up to `upto`, for delivery. Damaged ones are left out.
    pub(crate) fn between(&self, after: u64, upto: u64) -> rusqlite::Result<Vec<Entry<'static>>> {
        let mut statement = self
            .database
            .prepare(&format!("SELECT {COLUMNS} FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id"))?;
        let stored = statement.query_map([after, upto], Entry::from_row)?;
        let mut entries = Vec::new();
        for stored in stored {
            if let Stored::Sound(entry) = stored? {
                entries.push(*entry);
            }
        }
        Ok(entries)
    }

    /// Returns the rows of these entries, until a page is full; by time, with all of the last one's millisecond.
    fn fetch(&self, me: u64, ids: &[u64], target: &Arc<str>, by_time: bool) -> rusqlite::Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        for &id in ids {
            if bytes >= PAGE_BYTES && !by_time {
                break;
            }
            let Some(row) = self.row(me, id, target)? else { continue };
            let is_full = bytes >= PAGE_BYTES;
            if is_full && row.time() != rows.last().and_then(Row::time) {
                break;
            }
            bytes += row.size();
            rows.push(row);
        }
        Ok(rows)
    }

    /// Returns the ids of a conversation's visible entries after `after` and up to `upto`, at most `most`; by time, all
    /// of the last one's millisecond.
    fn ids(
        &self,
        IdScan { conversation, access, wanted, by_time }: IdScan<'_>,
        (after, upto): (u64, u64),
        most: u64,
        order: Order,
    ) -> rusqlite::Result<Found> {
        let mut found = Found::default();
        let (first, last) = access.ends();
        let (after, upto) = (after.max(first.saturating_sub(1)), upto.min(last));
        if after >= upto {
            return Ok(found);
        }
        let columns = if by_time || wanted == Wanted::Messages { "id, kind, time" } else { "id, '', 0" };
        let order = match order {
            Order::OldestFirst => "id",
            Order::NewestFirst => "id DESC",
        };
        let mut statement = self.database.prepare_cached(&format!(
            "SELECT {columns} FROM entry WHERE conversation = ?1 AND id > ?2 AND id <= ?3 ORDER BY {order}"
        ))?;
        let mut rows = statement.query([conversation, after, upto])?;
        let mut last_time: i64 = 0;
        while let Some(row) = rows.next()? {
            found.looked_at += 1;
            let id = row.get(0)?;
            if wanted == Wanted::Messages && !matches!(row.get_ref(1)?.as_str()?, "MSG" | "PRIV" | "FILE") {
                continue;
            }
            if !access.covers(id) {
                continue;
            }
            let time = row.get(2)?;
            if found.ids.len() as u64 >= most && !(by_time && time == last_time) {
                found.more = true;
                break;
            }
            last_time = time;
            found.ids.push(id);
        }
        Ok(found)
    }

    /// Returns the private conversations of an identity in which something is left: the newest entry, the number, and the
    /// other identity.
    fn last_of_pairs(&self, me: u64) -> rusqlite::Result<Vec<(u64, u64, Option<u64>)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT (SELECT max(id) FROM entry WHERE conversation = number) AS last, number, other FROM (
                 SELECT number, high AS other FROM pair WHERE low = ?1
                 UNION ALL SELECT number, low FROM pair WHERE high = ?1 AND low != high)
             WHERE last IS NOT NULL",
        )?;
        let pairs = statement.query_map([me], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        pairs.collect()
    }

    /// Returns the last known nick of an identity.
    fn nick_of(&self, identity: u64) -> rusqlite::Result<Arc<str>> {
        let nick: Option<String> = self
            .database
            .prepare_cached("SELECT nick FROM identity WHERE number = ?1")?
            .query_row([identity], |row| row.get(0))
            .optional()?;
        Ok(Arc::from(nick.unwrap_or_else(|| "-".to_owned())))
    }

    /// Returns the ids of the private messages to and from `me` after `after` and up to `upto`, at most `most`.
    fn private_ids(&self, me: u64, (after, upto): (u64, u64), most: u64) -> rusqlite::Result<Vec<u64>> {
        let mut ids = Vec::new();
        for sql in [
            "SELECT id FROM entry WHERE peer = ?1 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4",
            "SELECT id FROM entry WHERE author = ?1 AND peer IS NOT NULL AND peer != ?1 AND id > ?2 AND id <= ?3
             ORDER BY id LIMIT ?4",
        ] {
            let mut statement = self.database.prepare_cached(sql)?;
            let found = statement.query_map([me, after, upto, most], |row| row.get(0))?;
            ids.extend(found.collect::<rusqlite::Result<Vec<u64>>>()?);
        }
        ids.sort_unstable();
        ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(ids)
    }

    /// Returns the entries of rooms that are in the log of `me`, wherever `me` is: the id, and the name of the room.
    fn concerning(
        &self,
        me: u64,
        (after, upto): (u64, u64),
        most: u64,
    ) -> rusqlite::Result<Vec<(u64, Arc<str>)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT concerning.entry, room.name FROM concerning JOIN entry ON entry.id = concerning.entry
                 JOIN room ON room.number = entry.conversation
             WHERE concerning.identity = ?1 AND concerning.entry > ?2 AND concerning.entry <= ?3
             ORDER BY concerning.entry LIMIT ?4",
        )?;
        let found = statement.query_map([me, after, upto, most], |row| {
            Ok((row.get(0)?, Arc::from(row.get::<_, String>(1)?)))
        })?;
        found.collect()
    }

    /// Returns the private conversations of `me` that have lost entries after `after`: the last one lost, and the
    /// other's nick.
    fn purged_pairs(&self, me: u64, after: u64) -> rusqlite::Result<Vec<(u64, Arc<str>)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT conversation.purged, other.nick FROM conversation
                 JOIN pair ON pair.number = conversation.number
                 JOIN identity other ON other.number = CASE pair.low WHEN ?1 THEN pair.high ELSE pair.low END
             WHERE conversation.purged > 0 AND conversation.purged > ?2 AND (pair.low = ?1 OR pair.high = ?1)",
        )?;
        let purged =
            statement.query_map([me, after], |row| Ok((row.get(0)?, Arc::from(row.get::<_, String>(1)?))))?;
        purged.collect()
    }

    /// Returns the newest entry of a conversation that was removed; 0 if none was.
    fn purged(&self, conversation: u64) -> rusqlite::Result<u64> {
        let purged = self
            .database
            .prepare_cached("SELECT purged FROM conversation WHERE number = ?1")?
            .query_row([conversation], |row| row.get(0))
            .optional()?;
        Ok(purged.unwrap_or(0))
    }

    fn key(&self, id: u64) -> rusqlite::Result<Option<String>> {
        self.database
            .prepare_cached("SELECT key FROM key WHERE entry = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    }
}

/// Which ids of a conversation are looked for.
#[derive(Clone, Copy)]
struct IdScan<'a> {
    conversation: u64,
    access: &'a Access,
    wanted: Wanted,
    /// Whether the last one's millisecond has to be whole.
    by_time: bool,
}

/// Ids that were found, whether there are more, and how many rows were looked at.
#[derive(Default)]
struct Found {
    ids: Vec<u64>,
    more: bool,
    looked_at: u64,
}

#[derive(Clone, Copy)]
enum Order {
    OldestFirst,
    NewestFirst,
}

impl Row {
    fn time(&self) -> Option<Timestamp> {
        match self {
            Row::Gap(_) => None,
            Row::Entry { entry, .. } => Some(entry.time),
        }
    }

    /// Returns the approximate size of the row on the wire, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Row::Gap(_) => 64,
            Row::Entry { entry, .. } => {
                128 + entry.text.as_deref().map_or(0, str::len) + entry.tags.len() + entry.reactions.len()
            }
        }
    }
}
