//! Rooms: how they come and go, and who may read what is said in them.

use rusqlite::{OptionalExtension, params};
use snug_protocol::{Code, Looks, RoomName};

use super::{new_conversation, refuse};
use crate::log::transaction::Transaction;
use crate::log::{Author, Outcome, Readers, RoomSetting, StoredRoom, Topic};

/// The columns that [`room_of`] reads, in its order.
const ROOM: &str = "number, generation, name, history, keep, topic, topic_from, topic_tags";

fn room_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRoom> {
    let (history, keep): (String, Option<String>) = (row.get(3)?, row.get(4)?);
    Ok(StoredRoom {
        number: row.get(0)?,
        generation: row.get(1)?,
        name: row.get(2)?,
        history: Readers::of_word(&history).unwrap_or(Readers::None),
        keep: keep.and_then(|keep| keep.parse().ok()),
        topic: match (row.get(5)?, row.get(6)?, row.get(7)?) {
            (Some(text), Some(from), Some(tags)) => Some(Topic { text, from, tags }),
            _ => None,
        },
    })
}

/// All rooms.
pub(in crate::log) fn rooms(database: &rusqlite::Connection) -> rusqlite::Result<Vec<StoredRoom>> {
    let mut statement = database.prepare(&format!("SELECT {ROOM} FROM room"))?;
    let rooms = statement.query_map([], room_of)?;
    rooms.collect()
}

pub(super) fn make_room(
    tx: &Transaction<'_>,
    name: &RoomName<'_>,
    most: u64,
    author: &Author,
    last_id: u64,
) -> rusqlite::Result<Outcome> {
    let fold = name.fold();
    let there = tx
        .prepare_cached(&format!(
            "UPDATE room SET generation = generation + 1 WHERE fold = ?1 RETURNING {ROOM}"
        ))?
        .query_row([fold.as_str()], room_of)
        .optional()?;
    if let Some(there) = there {
        if there.history == Readers::Joined {
            begin_stay(tx, there.number, author.number, last_id + 1)?;
        }
        return Ok(Outcome::Room(there));
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
    let number = new_conversation(tx)?;
    tx.prepare_cached(
        "INSERT INTO room (number, name, fold, look, look_folded, ascii, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        number,
        name.as_str(),
        fold.as_str(),
        look.as_str(),
        look_folded.as_str(),
        looks.ascii,
        author.number
    ])?;
    let name = name.as_str().to_owned();
    Ok(Outcome::Room(StoredRoom {
        number,
        generation: 1,
        name,
        history: Readers::All,
        keep: None,
        topic: None,
    }))
}

/// Lets somebody be in a room from the entry `first` on, unless they are already.
fn begin_stay(tx: &Transaction<'_>, room: u64, identity: u64, first: u64) -> rusqlite::Result<()> {
    let is_there: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM stay WHERE room = ?1 AND identity = ?2 AND last IS NULL)",
        )?
        .query_row([room, identity], |row| row.get(0))?;
    if !is_there {
        tx.prepare_cached("INSERT INTO stay (room, identity, first) VALUES (?1, ?2, ?3)")?
            .execute([room, identity, first])?;
    }
    Ok(())
}

pub(super) fn retire_room(tx: &Transaction<'_>, room: u64, generation: u64) -> rusqlite::Result<Outcome> {
    let is_needed: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE conversation = ?1)
                 OR EXISTS (SELECT 1 FROM conversation WHERE number = ?1 AND purged > 0)",
        )?
        .query_row([room], |row| row.get(0))?;
    if is_needed {
        return Ok(Outcome::Kept);
    }
    let has_changed: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM room WHERE number = ?1 AND generation != ?2)")?
        .query_row([room, generation], |row| row.get(0))?;
    if has_changed {
        return Ok(Outcome::Done);
    }
    for sql in [
        "DELETE FROM stay WHERE room = ?1",
        "DELETE FROM span WHERE room = ?1",
        "DELETE FROM marker WHERE conversation = ?1",
        "DELETE FROM room WHERE number = ?1",
        "DELETE FROM conversation WHERE number = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([room])?;
    }
    Ok(Outcome::Retired)
}

pub(super) fn set_room(
    tx: &Transaction<'_>,
    author: &Author,
    room: u64,
    setting: RoomSetting,
    members: &[u64],
    may: bool,
    last_id: u64,
) -> rusqlite::Result<Outcome> {
    let found = tx
        .prepare_cached(&format!("SELECT {ROOM}, owner FROM room WHERE number = ?1"))?
        .query_row([room], |row| Ok((room_of(row)?, row.get::<_, u64>(8)?)))
        .optional()?;
    let Some((stored, owner)) = found else {
        return refuse(Code::NoSuchRoom, "the room is gone; JOIN makes it again");
    };
    if !may && owner != author.number {
        return refuse(Code::Denied, "only who made the room, and operators, can change its settings");
    }
    let (mut history, mut keep) = (stored.history, stored.keep);
    match setting {
        RoomSetting::Keep(to) => keep = to,
        RoomSetting::History(to) => {
            if to != history {
                change_readers(tx, room, (history, to), members, last_id)?;
            }
            history = to;
        }
    }
    tx.prepare_cached("UPDATE room SET history = ?2, keep = ?3 WHERE number = ?1")?.execute(params![
        room,
        history.word(),
        keep.map(|keep| keep.to_string())
    ])?;
    Ok(Outcome::Set { history, keep })
}

/// Lets other people read what will be said in a room. What was said before stays with those who could read it then: a
/// promise is not taken back.
fn change_readers(
    tx: &Transaction<'_>,
    room: u64,
    (from, to): (Readers, Readers),
    members: &[u64],
    last_id: u64,
) -> rusqlite::Result<()> {
    match from {
        Readers::All => {
            tx.prepare_cached(
                "INSERT INTO span (room, first, last) SELECT number, since, ?2 FROM room WHERE number = ?1 AND since <= ?2",
            )?
            .execute([room, last_id])?;
        }
        Readers::Joined => {
            tx.prepare_cached("UPDATE stay SET last = ?2 WHERE room = ?1 AND last IS NULL")?
                .execute([room, last_id])?;
        }
        Readers::None => {}
    }
    if to == Readers::Joined {
        for member in members {
            begin_stay(tx, room, *member, last_id + 1)?;
        }
    }
    tx.prepare_cached("UPDATE room SET since = ?2 WHERE number = ?1")?.execute([room, last_id + 1])?;
    Ok(())
}
