//! The rules that apply in log order. This file has the rules for entries; those for rooms, users, files and
//! retention are in the modules below.
//!
//! Every rule is checked before anything is written, so that a refusal leaves nothing behind.

use std::borrow::Cow;

use ring::digest;
use rusqlite::{OptionalExtension, params};
use snug_protocol::{Action, Code, EntryKind, Nick, Timestamp};

mod accounts;
pub(crate) use accounts::{BAD_LOGIN, token_name};
mod authority;
mod files;
pub(crate) use files::NO_SUCH_FILE;
mod keep;
mod memberships;
pub(super) use keep::{forget_keys, forget_oldest};
mod people;
mod rooms;

use super::entry::{COLUMNS, Stored};
use super::transaction::Transaction;
use super::{
    Access, Act, AuditNote, Author, Conversation, Draft, Ends, Entry, Meta, Moderation, NewEntry, Outcome,
    Party, audit,
};
use crate::refusal::Refusal;

/// Maximum number of different reactions to an entry.
pub(crate) const REACTIONS: usize = 50;

/// Decides one draft. `ends` advances with each entry and each row of the audit log, so that ids are dense.
pub(super) fn apply(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    draft: &Draft,
) -> rusqlite::Result<Outcome> {
    let author = &draft.author;
    let outcome = match &draft.act {
        Act::Enter(entry) => Turn { tx, meta, ends, author, addressee: None, tag: "" }.enter(entry)?,
        Act::MakeRoom { name, quotas, stays } => {
            rooms::make_room(tx, meta, name, (quotas, *stays), author, ends)?
        }
        Act::RetireRoom { room, generation, upto } => rooms::retire_room(tx, *room, *generation, *upto)?,
        Act::CloseRoom { room, reason } => {
            rooms::close_room(tx, meta, author, *room, reason.as_deref(), ends)?
        }
        Act::EndStay { room } => {
            memberships::end_stay(tx, *room, author.number, ends.last_id)?;
            Outcome::Done
        }
        Act::Read { of, nick, id, receipt } => {
            people::read(tx, author, (*of, nick), *id, *receipt, ends.last_id)?
        }
        Act::Acknowledge { id } => people::acknowledge(tx, author, (*id).min(ends.last_id))?,
        Act::Deliver { id } => {
            tx.prepare_cached("UPDATE identity SET delivered = max(delivered, ?2) WHERE number = ?1")?
                .execute([author.number, (*id).min(ends.last_id)])?;
            Outcome::Done
        }
        Act::Rename(identity) => people::rename(tx, identity)?,
        Act::Forget => people::forget(tx, author.number)?,
        Act::Leave { room } => rooms::leave(tx, *room, author.number, ends.last_id)?,
        Act::Account(act) => accounts::decide(tx, meta, ends, author, act)?,
        Act::Bot(step) => {
            people::step(tx, step)?;
            Outcome::Done
        }
        Act::File(act) => files::decide(tx, meta, ends, author, act)?,
        Act::Moderate(rule) => authority::moderate_server(tx, meta, ends, author, rule)?,
        Act::Audit(note) => {
            audit::record(tx, meta.time, ends, author, note)?;
            Outcome::Done
        }
        Act::Purge { behind, rooms, private, audit } => {
            keep::purge(tx, meta, ends, *behind, (*rooms, *private, *audit))?
        }
        Act::Unindexed(ids) => {
            for id in ids {
                tx.prepare_cached("DELETE FROM unindexed WHERE id = ?1")?.execute([id])?;
            }
            Outcome::Done
        }
        Act::Pass => Outcome::Done,
    };
    if !matches!(outcome, Outcome::Refused(_)) {
        for record in &draft.records {
            // An earlier identity with the same proof loses it.
            tx.prepare_cached("UPDATE identity SET proof = NULL WHERE proof = ?1 AND number != ?2")?
                .execute(params![record.proof, record.number])?;
            tx.prepare_cached(
                "INSERT OR IGNORE INTO identity (number, nick, fold, proof, bot) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                record.number,
                record.nick,
                record.fold,
                record.proof,
                record.bot
            ])?;
        }
    }
    Ok(outcome)
}

/// The turn of one entry in log order.
struct Turn<'t> {
    tx: &'t Transaction<'t>,
    meta: &'t Meta,
    ends: &'t mut Ends,
    author: &'t Author,
    /// The other identity, if the entry is private.
    addressee: Option<u64>,
    /// A tag of the entry that only the log can tell.
    tag: &'static str,
}

impl Turn<'_> {
    fn enter(&mut self, new: &NewEntry) -> rusqlite::Result<Outcome> {
        if let Some(finished) = &new.file
            && let Some(outcome) = files::check_finished(self.tx, self.author, new.to, finished)?
        {
            return Ok(outcome);
        }
        if let Some(refused) = self.silenced_in_private(new)? {
            return Ok(refused);
        }
        let Some((conversation, addressee, is_guarded)) = self.conversation(new)? else {
            return match new.to {
                Conversation::Room(_) => refuse(Code::NoSuchRoom, "the room is gone; JOIN makes it again"),
                _ => refuse(Code::NoSuchEntry, "you have no private messages with them"),
            };
        };
        self.addressee = addressee;
        // A repeated message is answered as a duplicate, even if it would be refused now.
        if let Some(key) = &new.key
            && let Some(outcome) = self.entered_before(conversation, key, new)?
        {
            return Ok(outcome);
        }
        if is_guarded
            && let Some(refusal) =
                authority::silence(self.tx, self.meta, Some(conversation), self.author, new)?
        {
            return Ok(Outcome::Refused(refusal));
        }
        if let Some(re) = new.re
            && self.seen(conversation, re)?.is_none()
        {
            let text = "there is no such entry in this conversation that re could answer";
            return refuse(Code::NoSuchEntry, text);
        }
        if let Some(moderation) = &new.moderation {
            let Turn { tx, meta, author, .. } = *self;
            let refused = match moderation {
                Moderation::Set { setting, members } => {
                    rooms::set_room(tx, author, conversation, (setting, members), self.ends)?
                }
                _ => None,
            };
            let decided = match refused {
                None => authority::moderate(tx, meta, self.ends, author, (conversation, new), moderation)?,
                Some(refusal) => Err(refusal),
            };
            return match decided {
                Err(refusal) => Ok(Outcome::Refused(refusal)),
                Ok(tag) => {
                    self.tag = tag;
                    self.append(conversation, new.kind, None, new)
                }
            };
        }
        let outcome = self.write(conversation, new)?;
        if is_guarded && addressee.is_none() && new.is_spoken() && matches!(outcome, Outcome::Applied { .. })
        {
            authority::spoke(self.tx, self.meta, conversation, self.author.number)?;
        }
        Ok(outcome)
    }

    fn write(&mut self, conversation: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        match (new.kind, new.about) {
            (EntryKind::Edit, Some(about)) => self.edit(conversation, about, new),
            (EntryKind::Delete, Some(about)) => self.delete(conversation, about, new),
            (EntryKind::React, Some(about)) => self.react(conversation, about, new),
            (EntryKind::Unreact, Some(about)) => self.unreact(conversation, about, new),
            _ => self.say(conversation, new),
        }
    }

    /// Returns the refusal if the author may not send a private message, before a conversation is made for it.
    fn silenced_in_private(&self, new: &NewEntry) -> rusqlite::Result<Option<Outcome>> {
        let Some(other) = new.to.other() else { return Ok(None) };
        let is_guarded: bool =
            self.tx.prepare_cached("SELECT guard FROM state")?.query_row([], |row| row.get(0))?;
        if !is_guarded {
            return Ok(None);
        }
        let Some(refusal) = authority::silence(self.tx, self.meta, None, self.author, new)? else {
            return Ok(None);
        };
        // A repeated message is answered as a duplicate, even if it would be refused now.
        if let Some(key) = &new.key
            && let Some(party) = Party::between(self.tx, self.author.number, other)?
            && let Some(outcome) = self.entered_before(party.conversation, key, new)?
        {
            return Ok(Some(outcome));
        }
        Ok(Some(Outcome::Refused(refusal)))
    }

    /// Returns the number of the conversation, the other identity's number if it is private, and whether it is
    /// guarded: it restricts what some users may send. If there is no such private conversation, a message or file
    /// makes one.
    fn conversation(&self, new: &NewEntry) -> rusqlite::Result<Option<(u64, Option<u64>, bool)>> {
        let other = match new.to {
            Conversation::Room(room) => {
                return self
                    .tx
                    .prepare_cached(
                        "SELECT number, guard OR (SELECT guard FROM state) FROM room WHERE number = ?1",
                    )?
                    .query_row([room], |row| Ok((row.get(0)?, None, row.get(1)?)))
                    .optional();
            }
            Conversation::With(other) | Conversation::Pair(other) => other,
        };
        if !matches!(new.kind, EntryKind::Priv | EntryKind::File) {
            let party = party(self.tx, self.author.number, new.to, &new.addressee_nick)?;
            return Ok(party.map(|party| (party.conversation, Some(party.number), false)));
        }
        if let Some(party) = Party::between(self.tx, self.author.number, other)? {
            return Ok(Some((party.conversation, Some(other), false)));
        }
        if new.re.is_some() {
            // It answers an entry that cannot be there: a refusal must leave nothing behind.
            return Ok(None);
        }
        let (low, high) = (self.author.number.min(other), self.author.number.max(other));
        let number = new_conversation(self.tx)?;
        self.tx
            .prepare_cached("INSERT INTO pair (number, low, high) VALUES (?1, ?2, ?3)")?
            .execute([number, low, high])?;
        Ok(Some((number, Some(other), false)))
    }

    /// Returns the outcome of a draft whose key was used before: a repetition is a duplicate, anything else is
    /// refused.
    fn entered_before(
        &self,
        conversation: u64,
        key: &str,
        new: &NewEntry,
    ) -> rusqlite::Result<Option<Outcome>> {
        let earlier = self
            .tx
            .prepare_cached(
                "SELECT entry, time, said FROM key
                 WHERE author = ?1 AND conversation = ?2 AND key = ?3 AND time >= ?4",
            )?
            .query_row(
                params![
                    self.author.number,
                    conversation,
                    key,
                    self.meta.time.millis() - self.meta.key_window
                ],
                |row| {
                    let said: Option<Vec<u8>> = row.get(2)?;
                    Ok((row.get::<_, u64>(0)?, Timestamp::from_millis(row.get(1)?), said))
                },
            )
            .optional()?;
        Ok(earlier.map(|(id, time, before)| {
            if before.is_none_or(|before| before == said(new)) {
                Outcome::Duplicate { id, time }
            } else {
                let text = "this key was used for another text; take a new one";
                Outcome::Refused(Refusal::new(Code::KeyReused, text))
            }
        }))
    }

    /// Returns an entry of a conversation, if it exists and the author may see it.
    fn seen(&self, conversation: u64, id: u64) -> rusqlite::Result<Option<Entry<'static>>> {
        if !Access::of(self.tx, self.author.number, conversation)?.covers(id) {
            return Ok(None);
        }
        self.stored(conversation, id)
    }

    /// Removes the text and tags of an edit that is superseded or deleted.
    fn forget_text(&self, id: u64) -> rusqlite::Result<()> {
        let stored = self
            .tx
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE id = ?1"))?
            .query_row([id], Entry::from_row)
            .optional()?;
        if let Some(Stored::Sound(mut edit)) = stored {
            edit.text = None;
            edit.tags = edit.kept_tags().into();
            edit.update(self.tx)?;
        }
        Ok(())
    }

    /// Returns an entry of a conversation, regardless of who may see it.
    fn stored(&self, conversation: u64, id: u64) -> rusqlite::Result<Option<Entry<'static>>> {
        let stored = self
            .tx
            .prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE id = ?1 AND conversation = ?2"))?
            .query_row([id, conversation], Entry::from_row)
            .optional()?;
        Ok(match stored {
            Some(Stored::Sound(entry)) => Some(*entry),
            Some(Stored::Damaged { .. }) | None => None,
        })
    }

    /// Returns a message that the author may see and that was not deleted.
    fn message(&self, conversation: u64, id: u64) -> rusqlite::Result<Option<Entry<'static>>> {
        let entry = self.seen(conversation, id)?;
        Ok(entry.filter(|entry| {
            matches!(entry.kind, EntryKind::Msg | EntryKind::Priv) && entry.deleted.is_none()
        }))
    }

    /// Writes a new entry and stores its key.
    fn append(
        &mut self,
        conversation: u64,
        kind: EntryKind,
        about: Option<u64>,
        new: &NewEntry,
    ) -> rusqlite::Result<Outcome> {
        let id = self.ends.last_id + 1;
        let addressee = self.addressee.map(|number| (number, Cow::Borrowed(new.addressee_nick.as_str())));
        let entry = Entry {
            id,
            time: self.meta.time,
            kind,
            conversation,
            author: Cow::Borrowed(self.author),
            addressee,
            text: new.text.as_deref().map(Cow::Borrowed),
            re: new.re,
            about,
            tags: new.tags_by(self.author, self.tag),
            edited: None,
            deleted: None,
            reactions: Cow::Borrowed(""),
        };
        entry.insert(self.tx)?;
        if kind == EntryKind::Topic {
            let topic = entry.text.as_deref();
            let from = topic.map(|_| self.author.nick.as_str());
            let tags = topic.map(|_| entry.tags(0, None).into_string());
            self.tx
                .prepare_cached(
                    "UPDATE room SET topic = ?2, topic_from = ?3, topic_tags = ?4 WHERE number = ?1",
                )?
                .execute(params![conversation, topic, from, tags])?;
        }
        self.ends.last_id = id;
        if let Some(finished) = &new.file {
            files::enter(self.tx, self.meta, self.ends, self.author, (id, conversation), finished)?;
        }
        if let Some(key) = &new.key {
            self.tx
                .prepare_cached(
                    "INSERT OR REPLACE INTO key (author, conversation, key, entry, time, said)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    self.author.number,
                    conversation,
                    key,
                    id,
                    self.meta.time.millis(),
                    said(new)
                ])?;
        }
        Ok(Outcome::Applied {
            id,
            time: self.meta.time,
            conversation,
            addressee: self.addressee,
            edits: None,
            tag: self.tag,
        })
    }

    fn say(&mut self, conversation: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let Some(word) = &new.replace else { return self.append(conversation, new.kind, None, new) };
        let earlier: Option<u64> = self
            .tx
            .prepare_cached(
                "SELECT entry FROM replaceable WHERE author = ?1 AND conversation = ?2 AND word = ?3",
            )?
            .query_row(params![self.author.number, conversation, word], |row| row.get(0))
            .optional()?;
        if let Some(earlier) = earlier
            && let Some(message) = self.message(conversation, earlier)?
        {
            return self.rewrite(message, new);
        }
        let outcome = self.append(conversation, new.kind, None, new)?;
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO replaceable (author, conversation, word, entry) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.author.number, conversation, word, self.ends.last_id])?;
        Ok(outcome)
    }

    fn edit(&mut self, conversation: u64, about: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let Some(message) = self.message(conversation, about)? else {
            return refuse(Code::NoSuchEntry, "there is no such message in this conversation");
        };
        if message.author.number != self.author.number {
            return refuse(Code::Denied, "it is somebody else's message; only its author can edit it");
        }
        self.rewrite(message, new)
    }

    /// Changes the text of a message, with an entry for the edit.
    fn rewrite(&mut self, mut message: Entry<'static>, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let outcome = self.append(message.conversation, EntryKind::Edit, Some(message.id), new)?;
        if let Some(earlier) = message.edited {
            // The text of the edit before is not kept.
            self.forget_text(earlier)?;
        }
        if new.kind != EntryKind::Edit {
            message.tags = Cow::Owned(new.tags_by(self.author, "").into_owned());
        }
        message.text = new.text.clone().map(Cow::Owned);
        message.edited = Some(self.ends.last_id);
        message.update(self.tx)?;
        Ok(match outcome {
            Outcome::Applied { id, time, conversation, addressee, tag, .. } => {
                Outcome::Applied { id, time, conversation, addressee, edits: Some(message.id), tag }
            }
            other => other,
        })
    }

    fn delete(&mut self, conversation: u64, about: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let may_moderate = self.addressee.is_none()
            && authority::role_in(self.tx, conversation, self.author)? >= Action::DeleteOthers.least();
        // The author and moderators may delete a message even if they can no longer read it.
        let message = self
            .stored(conversation, about)?
            .filter(|message| message.author.number == self.author.number || may_moderate);
        let message = match message {
            Some(message) => Some(message),
            None => self.seen(conversation, about)?,
        };
        let Some(mut message) =
            message.filter(|entry| matches!(entry.kind, EntryKind::Msg | EntryKind::Priv | EntryKind::File))
        else {
            return refuse(Code::NoSuchEntry, "there is no such message in this conversation");
        };
        let is_own = message.author.number == self.author.number;
        if !is_own && !may_moderate {
            return refuse(Code::Denied, "it is somebody else's message; only its author can delete it");
        }
        if let Some(id) = message.deleted {
            let time = self
                .tx
                .prepare_cached("SELECT time FROM entry WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let time = time.map_or(self.meta.time, Timestamp::from_millis);
            return Ok(Outcome::Duplicate { id, time });
        }
        if !is_own {
            let note = AuditNote::new("delete", &message.author.nick, format!("entry {about}"));
            audit::record(self.tx, self.meta.time, self.ends, self.author, &note)?;
        }
        let outcome = self.append(conversation, EntryKind::Delete, Some(about), new)?;
        message.deleted = Some(self.ends.last_id);
        scrub(self.tx, message)?;
        // The texts of its edits, and the hashes that keys were compared with.
        let edits: Vec<u64> = self
            .tx
            .prepare_cached("SELECT id FROM entry WHERE about = ?1 AND kind = 'EDIT' AND text IS NOT NULL")?
            .query_map([about], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for edit in edits {
            self.forget_text(edit)?;
        }
        self.tx
            .prepare_cached(
                "UPDATE key SET said = NULL WHERE entry IN (SELECT id FROM entry WHERE about = ?1 AND kind = 'EDIT')",
            )?
            .execute([about])?;
        self.tx.prepare_cached("UPDATE key SET said = NULL WHERE entry = ?1")?.execute([about])?;
        self.tx.prepare_cached("DELETE FROM replaceable WHERE entry = ?1")?.execute([about])?;
        Ok(outcome)
    }

    fn react(&mut self, conversation: u64, about: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let Some(entry) = self.reacted_to(conversation, about)? else {
            return refuse(Code::NoSuchEntry, "there is no such entry in this conversation");
        };
        let reaction = new.text.as_deref().unwrap_or_default();
        let earlier = self
            .tx
            .prepare_cached(
                "SELECT reaction.id, entry.time FROM reaction LEFT JOIN entry ON entry.id = reaction.id
                 WHERE reaction.entry = ?1 AND reaction.author = ?2 AND reaction.reaction = ?3",
            )?
            .query_row(params![about, self.author.number, reaction], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, Option<i64>>(1)?))
            })
            .optional()?;
        if let Some((id, time)) = earlier {
            let time = time.map_or(self.meta.time, Timestamp::from_millis);
            return Ok(Outcome::Duplicate { id, time });
        }
        let is_new = !entry.reactions.split(',').any(|shown| shown.split('=').next() == Some(reaction));
        if is_new && entry.reactions.split(',').count() >= REACTIONS {
            return refuse(Code::TooMany, "the entry has as many different reactions as one can have");
        }
        let outcome = self.append(conversation, EntryKind::React, Some(about), new)?;
        self.tx
            .prepare_cached("INSERT INTO reaction (entry, author, reaction, id) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![about, self.author.number, reaction, self.ends.last_id])?;
        self.add_up_reactions(entry)?;
        Ok(outcome)
    }

    fn unreact(&mut self, conversation: u64, about: u64, new: &NewEntry) -> rusqlite::Result<Outcome> {
        let reaction = new.text.as_deref().unwrap_or_default();
        let entry = self.reacted_to(conversation, about)?;
        let is_there = entry.is_some()
            && self
                .tx
                .prepare_cached("DELETE FROM reaction WHERE entry = ?1 AND author = ?2 AND reaction = ?3")?
                .execute(params![about, self.author.number, reaction])?
                > 0;
        let Some(entry) = entry.filter(|_| is_there) else {
            return refuse(Code::NoSuchEntry, "there is no such reaction of yours");
        };
        let outcome = self.append(conversation, EntryKind::Unreact, Some(about), new)?;
        self.add_up_reactions(entry)?;
        Ok(outcome)
    }

    /// Returns an entry, if the author may react to it.
    fn reacted_to(&self, conversation: u64, about: u64) -> rusqlite::Result<Option<Entry<'static>>> {
        let entry = self.seen(conversation, about)?;
        Ok(entry.filter(|entry| entry.about.is_none() && entry.deleted.is_none()))
    }

    fn add_up_reactions(&self, mut entry: Entry<'static>) -> rusqlite::Result<()> {
        let sums: Vec<String> = self
            .tx
            .prepare_cached(
                "SELECT reaction, count(*) FROM reaction WHERE entry = ?1 GROUP BY reaction ORDER BY min(id)",
            )?
            .query_map([entry.id], |row| {
                Ok(format!("{}={}", row.get::<_, String>(0)?, row.get::<_, u64>(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        entry.reactions = sums.join(",").into();
        entry.update(self.tx)
    }
}

/// Returns the hash that is compared when a key is used again.
fn said(new: &NewEntry) -> Vec<u8> {
    let text = new.original.as_ref().or(new.text.as_ref());
    let what = format!("{}\n{:?}\n{:?}", new.kind.word(), new.about, text);
    digest::digest(&digest::SHA256, what.as_bytes()).as_ref()[..16].to_vec()
}

/// Finds the private conversation with another identity: by number, or else by a remembered nick.
fn party(tx: &Transaction<'_>, me: u64, with: Conversation, nick: &str) -> rusqlite::Result<Option<Party>> {
    match with {
        Conversation::Room(_) => Ok(None),
        Conversation::Pair(other) => Party::between(tx, me, other),
        Conversation::With(other) => {
            let fold = Nick::parse(nick).map(|nick| nick.fold());
            Party::find(tx, me, Some(other), fold.as_ref().map_or("", |fold| fold.as_str()))
        }
    }
}

/// Removes the content of an entry: text, tags, reactions and file.
fn scrub(tx: &Transaction<'_>, mut entry: Entry<'static>) -> rusqlite::Result<()> {
    entry.text = None;
    entry.tags = entry.kept_tags().into();
    entry.reactions = "".into();
    entry.update(tx)?;
    tx.prepare_cached("DELETE FROM reaction WHERE entry = ?1")?.execute([entry.id])?;
    if entry.kind == EntryKind::File {
        tx.prepare_cached("DELETE FROM file WHERE entry = ?1")?.execute([entry.id])?;
    }
    tx.prepare_cached("INSERT OR IGNORE INTO unindexed (id) VALUES (?1)")?.execute([entry.id])?;
    Ok(())
}

fn new_conversation(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    tx.prepare_cached("INSERT INTO conversation (purged) VALUES (0) RETURNING number")?
        .query_row([], |row| row.get(0))
}

fn refuse(code: Code, text: &str) -> rusqlite::Result<Outcome> {
    Ok(Outcome::Refused(Refusal::new(code, text)))
}
