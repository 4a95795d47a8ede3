//! Users: their read and delivery markers, and the proofs of their identities. Also the state of built-in bots.

use rusqlite::{OptionalExtension, params};
use snug_protocol::Code;

use super::{party, refuse};
use crate::log::transaction::Transaction;
use crate::log::{Access, Author, BotStep, Conversation, IdentityRecord, Outcome};

pub(super) fn read(
    tx: &Transaction<'_>,
    author: &Author,
    (of, nick): (Conversation, &str),
    id: u64,
    receipt: bool,
    last_id: u64,
) -> rusqlite::Result<Outcome> {
    let (conversation, other) = match of {
        Conversation::Room(room) => (Some(room), None),
        Conversation::With(_) | Conversation::Pair(_) => {
            let party = party(tx, author.number, of, nick)?;
            (party.as_ref().map(|party| party.conversation), party.map(|party| party.number))
        }
    };
    let is_seen = match conversation {
        None => false,
        Some(conversation) => {
            Access::of(tx, author.number, conversation)?.covers(id)
                && tx
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM entry WHERE id = ?1 AND conversation = ?2)",
                    )?
                    .query_row([id, conversation], |row| row.get(0))?
        }
    };
    let Some(conversation) = conversation.filter(|_| is_seen && id <= last_id) else {
        return refuse(Code::NoSuchEntry, "there is no such entry in this conversation");
    };
    let (before, told): (u64, u64) = tx
        .prepare_cached("SELECT read, told FROM marker WHERE identity = ?1 AND conversation = ?2")?
        .query_row([author.number, conversation], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or_default();
    let stands = before.max(id);
    let tells = receipt && other.is_some() && stands > told;
    if stands > before || tells {
        tx.prepare_cached(
            "INSERT INTO marker (identity, conversation, read, told) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (identity, conversation) DO UPDATE SET read = excluded.read, told = excluded.told",
        )?
        .execute([author.number, conversation, stands, if tells { stands } else { told }])?;
    }
    Ok(Outcome::Read { id: stands, moved: stands > before, told: other.filter(|_| tells), other })
}

/// Records up to which entry an identity has received its private messages, and finds their authors.
pub(super) fn acknowledge(tx: &Transaction<'_>, author: &Author, id: u64) -> rusqlite::Result<Outcome> {
    let before: u64 = tx
        .prepare_cached("SELECT acknowledged FROM identity WHERE number = ?1")?
        .query_row([author.number], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    let arrived: Vec<(u64, u64, String, u64)> = tx
        .prepare_cached(
            "SELECT author, conversation, peer_nick, max(id) FROM entry
             WHERE peer = ?1 AND id > ?2 AND id <= ?3 AND author != ?1 AND kind = 'PRIV' GROUP BY author",
        )?
        .query_map([author.number, before, id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (_, pair, _, newest) in &arrived {
        tx.prepare_cached(
            "INSERT INTO marker (identity, conversation, delivered) VALUES (?1, ?2, ?3)
             ON CONFLICT (identity, conversation) DO UPDATE SET delivered = max(delivered, excluded.delivered)",
        )?
        .execute([author.number, *pair, *newest])?;
    }
    if id > before {
        tx.prepare_cached("UPDATE identity SET acknowledged = ?2 WHERE number = ?1")?
            .execute([author.number, id])?;
    }
    let arrived = arrived.into_iter().map(|(other, _, nick, newest)| (other, nick, newest)).collect();
    tx.prepare_cached("UPDATE identity SET delivered = max(delivered, ?2) WHERE number = ?1")?
        .execute([author.number, id])?;
    Ok(Outcome::Acknowledged { upto: id, arrived })
}

pub(super) fn rename(tx: &Transaction<'_>, identity: &IdentityRecord) -> rusqlite::Result<Outcome> {
    // An earlier identity may have the same proof. It loses it.
    tx.prepare_cached("UPDATE identity SET proof = NULL WHERE proof = ?1 AND number != ?2")?
        .execute(params![identity.proof, identity.number])?;
    tx.prepare_cached(
        "UPDATE identity SET nick = ?2, fold = ?3, proof = ?4
         WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM account WHERE number = ?1)",
    )?
    .execute(params![identity.number, identity.nick, identity.fold, identity.proof])?;
    Ok(Outcome::Done)
}

/// Forgets an identity. As long as others have private messages with it, its nick is kept.
pub(super) fn forget(tx: &Transaction<'_>, number: u64) -> rusqlite::Result<Outcome> {
    let is_party: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pair WHERE low = ?1 OR high = ?1)")?
        .query_row([number], |row| row.get(0))?;
    let sql = match is_party {
        true => "UPDATE identity SET proof = NULL WHERE number = ?1",
        false => "DELETE FROM identity WHERE number = ?1",
    };
    tx.prepare_cached(sql)?.execute([number])?;
    for sql in [
        "DELETE FROM marker WHERE identity = ?1",
        "DELETE FROM member WHERE identity = ?1",
        "DELETE FROM invitation WHERE identity = ?1",
        "DELETE FROM concerning WHERE identity = ?1",
        "DELETE FROM mute WHERE identity = ?1",
        "DELETE FROM spoken WHERE identity = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([number])?;
    }
    Ok(Outcome::Done)
}

/// Stores a built-in bot's cursor and the values it keeps.
pub(super) fn step(tx: &Transaction<'_>, step: &BotStep) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO bot (name, cursor) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET cursor = max(cursor, excluded.cursor)",
    )?
    .execute(params![step.bot, step.cursor])?;
    for (name, value) in &step.changes {
        match value {
            Some(value) => tx
                .prepare_cached("INSERT OR REPLACE INTO bot_state (bot, name, value) VALUES (?1, ?2, ?3)")?
                .execute(params![step.bot, name, value])?,
            None => tx
                .prepare_cached("DELETE FROM bot_state WHERE bot = ?1 AND name = ?2")?
                .execute(params![step.bot, name])?,
        };
    }
    Ok(())
}
