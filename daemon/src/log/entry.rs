//! An entry as a row of the log, and as a line of the protocol.

use std::borrow::Cow;

use ring::digest;
use rusqlite::{Row, ToSql, params};
use snug_protocol::{Body, EntryKind, PersonId, ServerLine, TagBuilder, Tags, Timestamp};

use super::Author;
use super::transaction::Transaction;

/// An entry with its id and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) id: u64,
    pub(crate) time: Timestamp,
    pub(crate) kind: EntryKind,
    /// The number of its room or pair.
    pub(crate) conversation: u64,
    pub(crate) author: Cow<'a, Author>,
    /// The addressee of a private message: number, and nick at that time.
    pub(crate) addressee: Option<(u64, Cow<'a, str>)>,
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) re: Option<u64>,
    pub(crate) about: Option<u64>,
    /// The tags that are relayed, as written on the line, and `account` if its author had one.
    pub(crate) tags: Cow<'a, str>,
    pub(crate) edited: Option<u64>,
    pub(crate) deleted: Option<u64>,
    /// `reaction=count,…`
    pub(crate) reactions: Cow<'a, str>,
}

/// The tag of an entry whose author has an account.
pub(crate) const ACCOUNT: &str = "account";

/// A row of the table: an entry, if its checksum is right.
pub(crate) enum Stored {
    Sound(Box<Entry<'static>>),
    /// The row differs from what was written.
    Damaged {
        id: u64,
    },
}

/// The columns that [`Entry::from_row`] reads, in its order.
pub(super) const COLUMNS: &str = "entry.id, entry.time, entry.kind, entry.conversation, entry.author, entry.nick, \
     entry.bot, entry.peer, entry.peer_nick, entry.text, entry.re, entry.about, entry.tags, entry.edited, \
     entry.deleted, entry.reactions, entry.sum";

impl Entry<'_> {
    /// Reads a row of [`COLUMNS`] and compares its checksum. An unreadable row counts as damaged.
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Stored> {
        let id: u64 = row.get(0)?;
        let read = || -> rusqlite::Result<Option<(Entry<'static>, i64)>> {
            let kind: String = row.get(2)?;
            let Some(kind) = EntryKind::of_word(&kind) else { return Ok(None) };
            let peer: Option<u64> = row.get(7)?;
            let peer_nick: Option<String> = row.get(8)?;
            let author =
                Author { number: row.get(4)?, nick: row.get(5)?, bot: row.get(6)?, ..Author::default() };
            let entry = Entry {
                id,
                time: Timestamp::from_millis(row.get(1)?),
                kind,
                conversation: row.get(3)?,
                author: Cow::Owned(author),
                addressee: peer.map(|peer| (peer, Cow::Owned(peer_nick.unwrap_or_default()))),
                text: row.get::<_, Option<String>>(9)?.map(Cow::Owned),
                re: row.get(10)?,
                about: row.get(11)?,
                tags: Cow::Owned(row.get(12)?),
                edited: row.get(13)?,
                deleted: row.get(14)?,
                reactions: Cow::Owned(row.get(15)?),
            };
            Ok(Some((entry, row.get(16)?)))
        };
        Ok(match read() {
            Ok(Some((entry, sum))) if entry.sum() == sum => Stored::Sound(Box::new(entry)),
            _ => Stored::Damaged { id },
        })
    }

    /// Writes a new row. The entry must not have been edited, deleted or reacted to.
    pub(super) fn insert(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        debug_assert!(self.edited.is_none() && self.deleted.is_none() && self.reactions.is_empty());
        let (peer, peer_nick) = match &self.addressee {
            Some((peer, nick)) => (Some(*peer), Some(&**nick)),
            None => (None, None),
        };
        tx.prepare_cached(
            "INSERT INTO entry (id, time, kind, conversation, author, nick, bot, peer, peer_nick, text, re, about,
                 tags, sum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            self.id,
            self.time.millis(),
            self.kind.word(),
            self.conversation,
            self.author.number,
            self.author.nick,
            self.author.bot,
            peer,
            peer_nick,
            self.text.as_deref(),
            self.re,
            self.about,
            &*self.tags,
            self.sum()
        ])?;
        Ok(())
    }

    /// Writes the columns of a row that can change: text, tags, `edited`, `deleted` and reactions.
    pub(super) fn update(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let values: [&dyn ToSql; 7] = [
            &self.id,
            &self.text.as_deref(),
            &&*self.tags,
            &self.edited,
            &self.deleted,
            &&*self.reactions,
            &self.sum(),
        ];
        tx.prepare_cached(
            "UPDATE entry SET text = ?2, tags = ?3, edited = ?4, deleted = ?5, reactions = ?6, sum = ?7 WHERE id = ?1",
        )?
        .execute(values)?;
        Ok(())
    }

    /// Returns the first 64 bits of the SHA-256 of all columns. Each text has its length before it, so that no two
    /// rows hash the same bytes.
    fn sum(&self) -> i64 {
        let mut bytes = Vec::with_capacity(160 + self.text.as_deref().map_or(0, str::len));
        let number = |bytes: &mut Vec<u8>, number: Option<u64>| {
            bytes.push(u8::from(number.is_some()));
            bytes.extend_from_slice(&number.unwrap_or_default().to_le_bytes());
        };
        let string = |bytes: &mut Vec<u8>, text: Option<&str>| {
            number(bytes, text.map(|text| text.len() as u64));
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        };
        number(&mut bytes, Some(self.id));
        bytes.extend_from_slice(&self.time.millis().to_le_bytes());
        string(&mut bytes, Some(self.kind.word()));
        number(&mut bytes, Some(self.conversation));
        number(&mut bytes, Some(self.author.number));
        string(&mut bytes, Some(&self.author.nick));
        bytes.push(u8::from(self.author.bot));
        number(&mut bytes, self.addressee.as_ref().map(|(peer, _)| *peer));
        string(&mut bytes, self.addressee.as_ref().map(|(_, nick)| &**nick));
        string(&mut bytes, self.text.as_deref());
        number(&mut bytes, self.re);
        number(&mut bytes, self.about);
        string(&mut bytes, Some(&self.tags));
        number(&mut bytes, self.edited);
        number(&mut bytes, self.deleted);
        string(&mut bytes, Some(&self.reactions));
        let hash = digest::digest(&digest::SHA256, &bytes);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_ref()[..8]);
        i64::from_le_bytes(first)
    }

    /// Returns the other identity of a private conversation, for one of the two.
    pub(crate) fn other(&self, reader: u64) -> Option<u64> {
        let (addressee, _) = self.addressee.as_ref()?;
        Some(if self.author.number == reader { *addressee } else { self.author.number })
    }

    /// Returns the tags that stay when the content is deleted.
    pub(crate) fn kept_tags(&self) -> &'static str {
        if Tags::trusted(&self.tags).has(ACCOUNT) { ACCOUNT } else { "" }
    }

    /// Returns the tags of the entry's line for the sessions of an identity. `key` is only for the author's own.
    pub(crate) fn tags(&self, reader: u64, key: Option<&str>) -> TagBuilder {
        let mut tags = TagBuilder::default();
        tags.display("id", Some(self.id));
        tags.display("time", Some(self.time));
        tags.flag("bot", self.author.bot);
        tags.display("who", self.other(reader).map(PersonId));
        tags.flag("own", self.addressee.is_some() && self.author.number == reader);
        tags.display("re", self.re);
        tags.display("edited", self.edited);
        tags.display("deleted", self.deleted);
        if !self.reactions.is_empty() {
            tags.value("reactions", Some(&self.reactions));
        }
        tags.raw(&self.tags);
        tags.value("key", key);
        tags
    }

    /// Returns the entry's line. `room` is the name of its room, if it is in one.
    pub(crate) fn line<'s>(&'s self, room: &'s str, tags: &'s TagBuilder) -> ServerLine<'s> {
        let target = self.addressee.as_ref().map_or(room, |(_, nick)| nick);
        let text = self.text.as_deref().map(Cow::Borrowed);
        ServerLine::new(Body::Entry { kind: self.kind, target, about: self.about, text })
            .with_tags(tags.tags())
            .with_from(&self.author.nick)
    }
}
