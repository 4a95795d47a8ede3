//! The rules that hold in log order. Read as a whole, this is the rulebook of the chat.
//!
//! Each rule is checked before anything is written, so that a refusal leaves nothing behind.

use rusqlite::{OptionalExtension, Transaction, params};
use snug_protocol::{Code, Looks, RoomName, Timestamp};

use super::{Act, Author, Conversation, Draft, Meta, NewEntry, Outcome, Refusal};

/// Decides one draft. `last_id` is the newest entry's id, and grows with each entry: ids are dense.
pub(super) fn apply(
    tx: &Transaction<'_>,
    meta: &Meta,
    last_id: &mut u64,
    draft: &Draft,
) -> rusqlite::Result<Outcome> {
    match &draft.act {
        Act::Enter(entry) => enter(tx, meta, last_id, &draft.author, entry),
        Act::MakeRoom { name, most } => make_room(tx, name, *most),
        Act::RetireRoom { room, generation } => retire_room(tx, *room, *generation),
    }
}

/// Forgets the oldest entries beyond the newest `keep`, and the keys whose time is over or whose entry is gone.
pub(super) fn forget(tx: &Transaction<'_>, meta: &Meta, last_id: u64, keep: u64) -> rusqlite::Result<()> {
    let oldest = last_id.saturating_sub(keep);
    tx.prepare_cached("DELETE FROM entry WHERE id <= ?1")?.execute([oldest])?;
    tx.prepare_cached("DELETE FROM key WHERE entry <= ?1")?.execute([oldest])?;
    // Times grow with ids, so that only the oldest keys need to be looked at.
    let over = meta.time.millis() - meta.key_window;
    while tx
        .prepare_cached(
            "DELETE FROM key WHERE entry = (SELECT entry FROM key ORDER BY entry LIMIT 1) AND time < ?1",
        )?
        .execute([over])?
        > 0
    {}
    Ok(())
}

fn enter(
    tx: &Transaction<'_>,
    meta: &Meta,
    last_id: &mut u64,
    author: &Author,
    entry: &NewEntry,
) -> rusqlite::Result<Outcome> {
    let (room, peer) = match entry.to {
        Conversation::Room(room) => (Some(room), None),
        Conversation::With(peer) => (None, Some(peer)),
    };
    if let Some(room) = room
        && !room_exists(tx, room)?
    {
        return refuse(Code::NoSuchRoom, "the room is gone; JOIN makes it again");
    }
    if let Some(key) = &entry.key
        && let Some(outcome) = entered_before(tx, meta, author, (room, peer), key, entry)?
    {
        return Ok(outcome);
    }
    if let Some(re) = entry.re
        && !is_in_conversation(tx, re, author, (room, peer))?
    {
        return refuse(Code::NoSuchEntry, "there is no such entry in this conversation that re could answer");
    }

    let id = *last_id + 1;
    tx.prepare_cached(
        "INSERT INTO entry (id, time, kind, author, nick, bot, room, peer, text, original, re, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        id,
        meta.time.millis(),
        entry.kind.word(),
        author.number,
        author.nick,
        author.bot,
        room,
        peer,
        entry.text,
        entry.original,
        entry.re,
        entry.tags,
    ])?;
    if let Some(key) = &entry.key {
        tx.prepare_cached("INSERT OR REPLACE INTO key (author, room, peer, key, entry, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![author.number, room.unwrap_or(0), peer.unwrap_or(0), key, id, meta.time.millis()])?;
    }
    *last_id = id;
    Ok(Outcome::Applied { id, time: meta.time })
}

/// What a key that was used before makes of a draft: the same text again is the first entry, another is refused.
fn entered_before(
    tx: &Transaction<'_>,
    meta: &Meta,
    author: &Author,
    (room, peer): (Option<u64>, Option<u64>),
    key: &str,
    entry: &NewEntry,
) -> rusqlite::Result<Option<Outcome>> {
    let earlier = tx
        .prepare_cached(
            "SELECT entry.id, entry.time, entry.kind, coalesce(entry.original, entry.text)
             FROM key JOIN entry ON entry.id = key.entry
             WHERE key.author = ?1 AND key.room = ?2 AND key.peer = ?3 AND key.key = ?4 AND key.time >= ?5",
        )?
        .query_row(
            params![
                author.number,
                room.unwrap_or(0),
                peer.unwrap_or(0),
                key,
                meta.time.millis() - meta.key_window
            ],
            |row| {
                let said: (String, Option<String>) = (row.get(2)?, row.get(3)?);
                Ok((row.get::<_, u64>(0)?, Timestamp::from_millis(row.get(1)?), said))
            },
        )
        .optional()?;
    let said = entry.original.as_ref().or(entry.text.as_ref());
    Ok(earlier.map(|(id, time, (kind, text))| {
        if kind == entry.kind.word() && text.as_ref() == said {
            Outcome::Duplicate { id, time }
        } else {
            let text = "this key was used for another text; take a new one".to_owned();
            Outcome::Refused(Refusal { code: Code::KeyReused, text })
        }
    }))
}

/// Whether an entry belongs to the same conversation, so that its answer's author may see it.
fn is_in_conversation(
    tx: &Transaction<'_>,
    id: u64,
    author: &Author,
    (room, peer): (Option<u64>, Option<u64>),
) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM entry WHERE id = ?1 AND (room = ?2
             OR peer = ?3 AND author = ?4 OR peer = ?4 AND author = ?3))",
    )?
    .query_row(params![i64::try_from(id).unwrap_or(-1), room, peer, author.number], |row| row.get(0))
}

fn room_exists(tx: &Transaction<'_>, room: u64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM room WHERE number = ?1)")?
        .query_row([room], |row| row.get(0))
}

fn make_room(tx: &Transaction<'_>, name: &RoomName<'_>, most: u64) -> rusqlite::Result<Outcome> {
    let fold = name.fold();
    let there = tx
        .prepare_cached(
            "UPDATE room SET generation = generation + 1 WHERE fold = ?1 RETURNING number, generation, name",
        )?
        .query_row([fold.as_str()], |row| {
            Ok(Outcome::Room { number: row.get(0)?, generation: row.get(1)?, name: row.get(2)? })
        })
        .optional()?;
    if let Some(there) = there {
        return Ok(there);
    }
    let looks = Looks::of(name.as_str());
    let [look, look_folded] = &looks.skeletons;
    let alike: Option<String> = tx
        .prepare_cached(
            "SELECT name FROM room
             WHERE (look IN (?1, ?2) OR look_folded IN (?1, ?2)) AND NOT (ascii AND ?3) LIMIT 1",
        )?
        .query_row(params![look.as_str(), look_folded.as_str(), looks.ascii], |row| row.get(0))
        .optional()?;
    if let Some(alike) = alike {
        return refuse(Code::LooksAlike, &format!("the name can be taken for {alike}, which exists"));
    }
    let count: u64 = tx.prepare_cached("SELECT count(*) FROM room")?.query_row([], |row| row.get(0))?;
    if count >= most {
        return refuse(
            Code::TooMany,
            &format!("there are {most} rooms, which is the limit; JOIN one of them"),
        );
    }
    tx.prepare_cached("INSERT INTO room (name, fold, look, look_folded, ascii) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![name.as_str(), fold.as_str(), look.as_str(), look_folded.as_str(), looks.ascii])?;
    let number = u64::try_from(tx.last_insert_rowid()).unwrap_or_default();
    Ok(Outcome::Room { number, generation: 1, name: name.as_str().to_owned() })
}

fn retire_room(tx: &Transaction<'_>, room: u64, generation: u64) -> rusqlite::Result<Outcome> {
    let is_needed: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE room = ?1)
                 OR EXISTS (SELECT 1 FROM room WHERE number = ?1 AND generation != ?2)",
        )?
        .query_row([room, generation], |row| row.get(0))?;
    if is_needed {
        return Ok(Outcome::Kept);
    }
    tx.prepare_cached("DELETE FROM room WHERE number = ?1")?.execute([room])?;
    Ok(Outcome::Retired)
}

fn refuse(code: Code, text: &str) -> rusqlite::Result<Outcome> {
    Ok(Outcome::Refused(Refusal { code, text: text.to_owned() }))
}
