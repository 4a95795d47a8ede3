//! Memberships: the rooms that an account is in, also while none of its sessions is there and after a restart. Guests, and
//! users of the machine without an account, are in rooms as long as they are here.

use rusqlite::params;
use snug_protocol::Timestamp;

use crate::log::transaction::Transaction;

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

/// Returns how many rooms an account is in.
pub(super) fn count(tx: &Transaction<'_>, identity: u64) -> rusqlite::Result<u64> {
    tx.prepare_cached("SELECT count(*) FROM membership WHERE identity = ?1")?
        .query_row([identity], |row| row.get(0))
}

/// Returns whether an account is in a room.
pub(super) fn is_in(tx: &Transaction<'_>, room: u64, identity: u64) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM membership WHERE identity = ?1 AND room = ?2)")?
        .query_row([identity, room], |row| row.get(0))
}

/// Notes that an entry of a room is also in somebody's own log, whether they are in the room or not.
pub(super) fn concern(tx: &Transaction<'_>, identity: u64, entry: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO concerning (identity, entry) VALUES (?1, ?2)")?
        .execute([identity, entry])?;
    Ok(())
}

/// Notes that somebody was invited to a room, until they come or are put out.
pub(super) fn invite(
    tx: &Transaction<'_>,
    room: u64,
    whom: u64,
    (author, time): (&str, Timestamp),
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO invitation (identity, room, nick, time) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![whom, room, author, time.millis()])?;
    Ok(())
}

/// Notes that an invitation was followed, or holds no more.
pub(super) fn take_invitation(tx: &Transaction<'_>, room: u64, whom: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM invitation WHERE identity = ?1 AND room = ?2")?.execute([whom, room])?;
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

/// Ends the stay of an identity in a room that records who is present, unless an account stays a member.
pub(super) fn end_stay(tx: &Transaction<'_>, room: u64, identity: u64, last: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE stay SET last = ?3 WHERE room = ?1 AND identity = ?2 AND last IS NULL
             AND NOT EXISTS (SELECT 1 FROM membership WHERE membership.identity = ?2 AND membership.room = ?1)",
    )?
    .execute([room, identity, last])?;
    Ok(())
}

/// Starts a stay of an identity in a room at the entry `first`, unless it has one already.
pub(super) fn begin_stay(tx: &Transaction<'_>, room: u64, identity: u64, first: u64) -> rusqlite::Result<()> {
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
