//! Memberships: the rooms that an account is in, also while none of its sessions is there and after a restart. Guests, and
//! users of the machine without an account, are in rooms as long as they are here.

use rusqlite::params;
use snug_protocol::RoomName;

use super::rooms::{begin_stay, refuse_entrance};
use crate::log::rooms::{ROOM, room_of};
use crate::log::transaction::Transaction;
use crate::log::{Author, Ends, Meta, Readers, StoredRoom};

/// Notes that an account is in a room. Others are not noted.
pub(super) fn join(tx: &Transaction<'_>, room: u64, identity: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO membership (identity, room)
             SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM account WHERE number = ?1)",
    )?
    .execute([identity, room])?;
    Ok(())
}

/// Notes that an account is in a room no more.
pub(super) fn leave(tx: &Transaction<'_>, room: u64, identity: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM membership WHERE identity = ?1 AND room = ?2")?
        .execute([identity, room])?;
    Ok(())
}

/// Notes the rooms of a guest who has made an account.
pub(super) fn register(tx: &Transaction<'_>, identity: u64, rooms: &[u64]) -> rusqlite::Result<()> {
    for room in rooms {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO membership (identity, room)
                 SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM room WHERE number = ?2)",
        )?
        .execute([identity, *room])?;
    }
    if !rooms.is_empty() {
        tx.prepare_cached("UPDATE account SET has_come = 1 WHERE number = ?1")?.execute([identity])?;
    }
    Ok(())
}

/// Returns the numbers of the rooms that an account comes into when it logs in: those it is in, and the lobby when it
/// comes for the first time. It loses the rooms that it could not JOIN now.
pub(super) fn come_in(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &Ends,
    who: &Author,
) -> rusqlite::Result<Vec<u64>> {
    let is_first = tx
        .prepare_cached("UPDATE account SET has_come = 1 WHERE number = ?1 AND has_come = 0")?
        .execute([who.number])?
        > 0;
    if is_first {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO membership (identity, room) SELECT ?1, number FROM room WHERE fold = ?2",
        )?
        .execute(params![who.number, RoomName::LOBBY.fold().as_str()])?;
    }
    let rooms: Vec<StoredRoom> = tx
        .prepare_cached(&format!(
            "SELECT {ROOM} FROM room WHERE number IN (SELECT room FROM membership WHERE identity = ?1)
             ORDER BY number"
        ))?
        .query_map([who.number], room_of)?
        .collect::<rusqlite::Result<_>>()?;
    let mut numbers = Vec::with_capacity(rooms.len());
    for room in rooms {
        if refuse_entrance(tx, meta, &room, who)?.is_some() {
            leave(tx, room.number, who.number)?;
            end_stay(tx, room.number, who.number, ends.last_id)?;
            continue;
        }
        if room.settings.history == Readers::Joined {
            begin_stay(tx, room.number, who.number, ends.last_id + 1)?;
        }
        numbers.push(room.number);
    }
    Ok(numbers)
}

/// Ends the stay of an identity in a room that records who is present, unless an account stays a member.
pub(super) fn end_stay(tx: &Transaction<'_>, room: u64, identity: u64, last: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE stay SET last = ?3 WHERE room = ?1 AND identity = ?2 AND last IS NULL
             AND NOT EXISTS (SELECT 1 FROM membership WHERE membership.identity = ?2 AND membership.room = ?1)",
    )?
    .execute([room, identity, last])?;
    Ok(())
}
