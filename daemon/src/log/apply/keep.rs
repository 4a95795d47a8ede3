//! Retention: removes entries, audit rows and keys whose time is over.

use rusqlite::OptionalExtension;

use crate::log::transaction::Transaction;
use crate::log::{AuditNote, Author, Ends, Meta, Outcome, audit};
use crate::retention::Retention;

/// Maximum number of entries that one purge removes, and of conversations that it checks.
const PURGED_AT_ONCE: u64 = 200;
const LOOKED_AT_ONCE: u64 = 50;

/// Removes entries that are past their retention. Each call is a small step through some conversations after
/// `behind`.
pub(super) fn purge(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    behind: u64,
    (rooms, private, audit): (Retention, Retention, Retention),
) -> rusqlite::Result<Outcome> {
    if behind == 0 {
        purge_audit(tx, meta, ends, audit)?;
    }
    let conversations: Vec<(u64, Retention)> = tx
        .prepare_cached(
            "SELECT conversation.number, room.number IS NOT NULL, room.keep, pair.number IS NOT NULL
             FROM conversation LEFT JOIN room ON room.number = conversation.number
                 LEFT JOIN pair ON pair.number = conversation.number
             WHERE conversation.number > ?1 ORDER BY conversation.number LIMIT ?2",
        )?
        .query_map([behind, LOOKED_AT_ONCE], |row| {
            let (is_room, own): (bool, Option<String>) = (row.get(1)?, row.get(2)?);
            let default = match (is_room, row.get(3)?) {
                (true, _) => rooms,
                (false, true) => private,
                // Its room was closed.
                (false, false) => Retention::Newest(0),
            };
            Ok((row.get(0)?, own.and_then(|own| own.parse().ok()).unwrap_or(default)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let is_last_page = (conversations.len() as u64) < LOOKED_AT_ONCE;
    let mut gone = Vec::new();
    let mut left = PURGED_AT_ONCE;
    let mut done = behind;
    for (number, keep) in conversations {
        let ids = surplus(tx, meta, number, keep, left)?;
        left -= ids.len() as u64;
        for &id in &ids {
            remove(tx, id, number)?;
        }
        if let Some(&last) = ids.last() {
            let oldest = tx
                .prepare_cached("SELECT coalesce(min(id), 0) FROM entry WHERE conversation = ?1")?
                .query_row([number], |row| row.get(0))?;
            if oldest == 0 && keep == Retention::Newest(0) {
                tx.prepare_cached("DELETE FROM key WHERE conversation = ?1")?.execute([number])?;
                tx.prepare_cached("DELETE FROM conversation WHERE number = ?1")?.execute([number])?;
            }
            gone.push((number, oldest, last));
        }
        if left == 0 {
            // This conversation may have more to remove.
            return Ok(Outcome::Purged { gone, next: Some(done) });
        }
        done = number;
    }
    Ok(Outcome::Purged { gone, next: (!is_last_page).then_some(done) })
}

/// Removes audit rows that are past their retention, and records that in the audit log.
fn purge_audit(tx: &Transaction<'_>, meta: &Meta, ends: &mut Ends, keep: Retention) -> rusqlite::Result<()> {
    let upto: Option<u64> = match keep {
        Retention::Forever => None,
        Retention::Age(_) => {
            let oldest = keep.oldest(meta.time).unwrap_or_default();
            // Times grow with ids.
            let first_kept: Option<u64> = tx
                .prepare_cached("SELECT id FROM audit WHERE time >= ?1 ORDER BY id LIMIT 1")?
                .query_row([oldest.millis()], |row| row.get(0))
                .optional()?;
            Some(first_kept.map_or(ends.audit_id, |id| id - 1))
        }
        Retention::Newest(count) => Some(ends.audit_id.saturating_sub(count)),
    };
    let gone: u64 = tx.prepare_cached("SELECT audit_gone FROM state")?.query_row([], |row| row.get(0))?;
    let Some(upto) = upto.map(|upto| upto.min(gone + PURGED_ROWS)).filter(|upto| *upto > gone) else {
        return Ok(());
    };
    // A purge adds a row itself, so a few rows are not worth one unless they are long overdue.
    let is_due = match keep {
        Retention::Newest(count) => upto - gone >= (count / 10).clamp(2, FEW_ROWS),
        _ => upto - gone >= FEW_ROWS || is_overdue(tx, meta, keep)?,
    };
    if !is_due {
        return Ok(());
    }
    if audit::purge(tx, upto)? {
        let detail = format!("rows {} to {upto}, kept {keep}", gone + 1);
        audit::record(tx, meta.time, ends, &Author::default(), &AuditNote::new("purge", "", detail))?;
    }
    Ok(())
}

/// Returns whether the oldest row is overdue by more than a day.
fn is_overdue(tx: &Transaction<'_>, meta: &Meta, keep: Retention) -> rusqlite::Result<bool> {
    let oldest: Option<i64> = tx
        .prepare_cached("SELECT time FROM audit ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let day = 86_400_000;
    let limit = keep.oldest(meta.time).unwrap_or_default().millis().saturating_sub(day);
    Ok(oldest.is_some_and(|oldest| oldest < limit))
}

/// Maximum number of audit rows that one purge removes, and the number of rows that is worth a purge.
const PURGED_ROWS: u64 = 1_000;
const FEW_ROWS: u64 = 100;

/// Returns the oldest entries of a conversation that are past their retention, at most `most`.
fn surplus(
    tx: &Transaction<'_>,
    meta: &Meta,
    conversation: u64,
    keep: Retention,
    most: u64,
) -> rusqlite::Result<Vec<u64>> {
    match keep {
        Retention::Forever => Ok(Vec::new()),
        Retention::Age(_) => {
            let oldest = keep.oldest(meta.time).unwrap_or_default();
            let mut statement =
                tx.prepare_cached("SELECT id, time FROM entry WHERE conversation = ?1 ORDER BY id LIMIT ?2")?;
            let rows = statement
                .query_map([conversation, most], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, i64>(1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let is_old = |(_, time): &(u64, i64)| *time < oldest.millis();
            Ok(rows.into_iter().take_while(is_old).map(|(id, _)| id).collect())
        }
        Retention::Newest(count) => {
            let newest_surplus: Option<u64> = tx
                .prepare_cached(
                    "SELECT id FROM entry WHERE conversation = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
                )?
                .query_row([conversation, count], |row| row.get(0))
                .optional()?;
            let mut statement = tx.prepare_cached(
                "SELECT id FROM entry WHERE conversation = ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            )?;
            statement
                .query_map([conversation, newest_surplus.unwrap_or(0), most], |row| row.get(0))?
                .collect()
        }
    }
}

/// Removes one entry from the log, with everything that depends on it.
fn remove(tx: &Transaction<'_>, id: u64, conversation: u64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM entry WHERE id = ?1",
        "DELETE FROM reaction WHERE entry = ?1",
        "DELETE FROM replaceable WHERE entry = ?1",
        "INSERT OR IGNORE INTO unindexed (id) VALUES (?1)",
    ] {
        tx.prepare_cached(sql)?.execute([id])?;
    }
    tx.prepare_cached("UPDATE conversation SET purged = max(purged, ?2) WHERE number = ?1")?
        .execute([conversation, id])?;
    Ok(())
}

/// Removes all but the newest `keep` entries and audit rows from a log in memory.
pub(in crate::log) fn forget_oldest(tx: &Transaction<'_>, ends: &Ends, keep: u64) -> rusqlite::Result<()> {
    let oldest_row = ends.audit_id.saturating_sub(keep);
    // Not for every row, because each purge updates `state`.
    let gone: u64 = tx.prepare_cached("SELECT audit_gone FROM state")?.query_row([], |row| row.get(0))?;
    if oldest_row >= gone + 64 {
        audit::purge(tx, oldest_row)?;
    }
    let oldest = ends.last_id.saturating_sub(keep);
    let surplus: Vec<(u64, u64)> = tx
        .prepare_cached("SELECT id, conversation FROM entry WHERE id <= ?1")?
        .query_map([oldest], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, conversation) in surplus {
        remove(tx, id, conversation)?;
    }
    Ok(())
}

/// Deletes expired keys.
pub(in crate::log) fn forget_keys(tx: &Transaction<'_>, meta: &Meta) -> rusqlite::Result<()> {
    // Times grow with ids, so only the oldest keys need to be checked, and only a few per pack.
    let over = meta.time.millis() - meta.key_window;
    for _ in 0..512 {
        let is_gone = tx
            .prepare_cached(
                "DELETE FROM key WHERE entry = (SELECT entry FROM key ORDER BY entry LIMIT 1) AND time < ?1",
            )?
            .execute([over])?
            > 0;
        if !is_gone {
            break;
        }
    }
    Ok(())
}
