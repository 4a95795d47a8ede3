//! The audit log. It is append-only, and each row has a hash over itself and the row before.
//!
//! It never contains messages, passwords, tokens or keys.

use std::net::IpAddr;

use ring::digest;
use rusqlite::{Connection, OptionalExtension, params};
use snug_protocol::{Body, ServerLine, TagBuilder, Timestamp};

use super::transaction::Transaction;
use super::{Author, Ends, View};

/// An event for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditNote {
    /// The kind of event, as one word.
    pub(crate) event: &'static str,
    /// The user or thing that it affects; empty for none.
    pub(crate) whom: String,
    /// More details; nothing secret.
    pub(crate) detail: String,
}

impl AuditNote {
    pub(crate) fn new(event: &'static str, whom: &str, detail: impl Into<String>) -> AuditNote {
        AuditNote { event, whom: whom.to_owned(), detail: detail.into() }
    }
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRow {
    pub(crate) id: u64,
    pub(crate) time: Timestamp,
    pub(crate) event: String,
    /// The acting identity's number; 0 for none.
    pub(crate) number: u64,
    pub(crate) who: String,
    pub(crate) whom: String,
    /// The address it came from, if over a network; otherwise empty.
    pub(crate) address: String,
    pub(crate) detail: String,
}

impl AuditRow {
    /// Writes the row as a line, with a label if it answers a command.
    pub(crate) fn write(&self, label: Option<&str>, out: &mut Vec<u8>) {
        let mut tags = TagBuilder::default();
        tags.display("id", Some(self.id));
        tags.display("time", Some(self.time));
        tags.value("address", Some(&*self.address).filter(|address| !address.is_empty()));
        tags.value("ref", label);
        fn or_nobody(name: &str) -> String {
            // A name is one word. Text with blanks was never a valid name.
            if name.is_empty() { "-".to_owned() } else { name.replace([' ', '\t'], "_") }
        }
        let (who, whom) = (or_nobody(&self.who), or_nobody(&self.whom));
        let detail = (!self.detail.is_empty()).then(|| self.detail.as_str().into());
        let body = Body::Audit { event: &self.event, who: &who, whom: &whom, detail };
        ServerLine::new(body).with_tags(tags.tags()).write(out);
    }
}

/// A filter for rows of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditFilter {
    pub(crate) user: Option<String>,
    pub(crate) event: Option<String>,
}

impl AuditFilter {
    /// Returns whether a row matches.
    pub(crate) fn has(&self, row: &AuditRow) -> bool {
        let is_user =
            |user: &String| row.who.eq_ignore_ascii_case(user) || row.whom.eq_ignore_ascii_case(user);
        self.user.as_ref().is_none_or(is_user) && self.event.as_ref().is_none_or(|event| row.event == *event)
    }
}

/// The part of the audit log that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditPart {
    Before(u64),
    After(u64),
    Since(Timestamp),
}

/// The result of verifying the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// The audit log is intact. It has this many rows; `last` and `hash` are the id and hash of the newest.
    Yes { rows: u64, last: u64, hash: [u8; 32] },
    /// The row with this id was altered, or a row is missing before it.
    No { id: u64 },
}

impl AuditRow {
    /// Returns the SHA-256 over the hash of the row before and all columns, each text with its length.
    fn hash(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(before);
        context.update(&self.id.to_le_bytes());
        context.update(&self.time.millis().to_le_bytes());
        context.update(&self.number.to_le_bytes());
        for text in [&self.event, &self.who, &self.whom, &self.address, &self.detail] {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

/// Appends a row.
pub(super) fn record(
    tx: &Transaction<'_>,
    time: Timestamp,
    ends: &mut Ends,
    author: &Author,
    note: &AuditNote,
) -> rusqlite::Result<AuditRow> {
    let row = AuditRow {
        id: ends.audit_id + 1,
        time,
        event: note.event.to_owned(),
        number: author.number,
        who: author.nick.clone(),
        whom: note.whom.clone(),
        address: author.address.as_ref().map(IpAddr::to_string).unwrap_or_default(),
        detail: note.detail.clone(),
    };
    let hash = row.hash(&ends.audit_hash);
    tx.prepare_cached(
        "INSERT INTO audit (id, time, event, number, who, whom, address, detail, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        row.id,
        row.time.millis(),
        row.event,
        row.number,
        row.who,
        row.whom,
        row.address,
        row.detail,
        hash
    ])?;
    (ends.audit_id, ends.audit_hash) = (row.id, hash);
    Ok(row)
}

/// Removes the rows up to `upto`. The hash of the last one is kept, so that the rest can still be verified. Returns
/// false if there is no row `upto`.
pub(super) fn purge(tx: &Transaction<'_>, upto: u64) -> rusqlite::Result<bool> {
    let hash: Option<[u8; 32]> = tx
        .prepare_cached("SELECT hash FROM audit WHERE id = ?1")?
        .query_row([upto], |row| row.get(0))
        .optional()?;
    let Some(hash) = hash else { return Ok(false) };
    tx.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute([upto])?;
    tx.prepare_cached("UPDATE state SET audit_gone = ?1, audit_gone_hash = ?2")?
        .execute(params![upto, hash])?;
    Ok(true)
}

const COLUMNS: &str = "id, time, event, number, who, whom, address, detail";

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        id: row.get(0)?,
        time: Timestamp::from_millis(row.get(1)?),
        event: row.get(2)?,
        number: row.get(3)?,
        who: row.get(4)?,
        whom: row.get(5)?,
        address: row.get(6)?,
        detail: row.get(7)?,
    })
}

impl View<'_> {
    /// Returns a page of the audit log, oldest first, and whether there is more in the direction of paging.
    pub(crate) fn audit(
        &self,
        filter: &AuditFilter,
        part: AuditPart,
        limit: u64,
    ) -> rusqlite::Result<(Vec<AuditRow>, bool)> {
        let (condition, order, bound) = match part {
            AuditPart::Before(id) => ("id < ?1", "DESC", i64::try_from(id).unwrap_or(i64::MAX)),
            AuditPart::After(id) => ("id > ?1", "ASC", i64::try_from(id).unwrap_or(i64::MAX)),
            AuditPart::Since(time) => ("time >= ?1", "ASC", time.millis()),
        };
        let mut statement = self.database().prepare_cached(&format!(
            "SELECT {COLUMNS} FROM audit WHERE {condition}
                 AND (?2 IS NULL OR who = ?2 COLLATE NOCASE OR whom = ?2 COLLATE NOCASE)
                 AND (?3 IS NULL OR event = ?3) ORDER BY id {order} LIMIT ?4"
        ))?;
        let rows = statement.query_map(params![bound, filter.user, filter.event, limit + 1], row_of)?;
        let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let more = rows.len() as u64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        if matches!(part, AuditPart::Before(_)) {
            rows.reverse();
        }
        Ok((rows, more))
    }

    /// Reads the whole audit log and compares the hashes.
    pub(crate) fn verify_audit(&self) -> rusqlite::Result<Whole> {
        verify(self.database())
    }

    /// Returns the id and hash of the newest row.
    pub(crate) fn audit_head(&self) -> rusqlite::Result<(u64, [u8; 32])> {
        self.database()
            .query_row("SELECT audit_id, audit_hash FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Returns the accounts that have logged in over a network within the newest `most` rows, with their addresses.
    pub(crate) fn logins(&self, most: u64) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement = self.database().prepare(
            "SELECT DISTINCT number, address FROM audit
             WHERE id > (SELECT audit_id FROM state) - ?1 AND event IN ('login', 'register') AND address != ''",
        )?;
        statement.query_map([most], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }
}

/// Reads the whole audit log and compares the hashes.
pub(super) fn verify(database: &Connection) -> rusqlite::Result<Whole> {
    let (mut id, mut hash, last, last_hash): (u64, [u8; 32], u64, [u8; 32]) = database.query_row(
        "SELECT audit_gone, audit_gone_hash, audit_id, audit_hash FROM state",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let mut statement = database.prepare(&format!("SELECT {COLUMNS}, hash FROM audit ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let stored: Option<[u8; 32]> = row.get(8).ok();
        let found: u64 = row.get(0)?;
        // An unreadable row counts as altered.
        let expected = row_of(row).ok().map(|row| row.hash(&hash));
        if found != id + 1 || expected.is_none() || expected != stored {
            return Ok(Whole::No { id: found });
        }
        (id, hash) = (found, expected.unwrap_or_default());
        count += 1;
    }
    if (id, hash) != (last, last_hash) {
        return Ok(Whole::No { id: id + 1 });
    }
    Ok(Whole::Yes { rows: count, last, hash })
}
