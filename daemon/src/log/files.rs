//! Files in the log: uploads, offered files, and the recipients' reports. Their contents are not in the log.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};
use snug_protocol::{ContentHash, FileState, Timestamp};

use super::view::{Row, View};
use super::{Access, Conversation};
use crate::retention::Retention;

/// An action on a file or upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAct {
    /// Starts an upload, or resumes the one with the same key.
    Offer(Box<NewUpload>),
    /// Cancels an upload.
    Cancel { handle: u64 },
    /// The author reports the state of a file. If the file has arrived, `arrived` is its size and hash.
    Say { entry: u64, state: FileState, arrived: Option<(u64, ContentHash)> },
    /// Removes files that are past their retention, and uploads without progress since `abandoned`. The uploads in
    /// `alive` are still in progress.
    Expire { keep: Retention, abandoned: Timestamp, alive: Vec<u64> },
    /// These contents were removed from the store, unless a file still refers to them.
    Swept(Vec<ContentHash>),
}

/// A new upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewUpload {
    pub(crate) to: Conversation,
    /// The nick that the file is addressed to; empty in a room.
    pub(crate) addressee_nick: String,
    pub(crate) name: String,
    pub(crate) size: Option<u64>,
    pub(crate) hash: Option<ContentHash>,
    pub(crate) kind: Option<String>,
    pub(crate) key: Option<String>,
    /// The entry that it answers.
    pub(crate) re: Option<u64>,
    /// The tags that are relayed, as written on the line.
    pub(crate) tags: String,
    pub(crate) quotas: Quotas,
}

/// A finished upload: its whole content is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) handle: u64,
    pub(crate) size: u64,
    pub(crate) hash: ContentHash,
    pub(crate) quotas: Quotas,
}

/// The quotas of files, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// Maximum size of one file.
    pub(crate) file: u64,
    /// All files of one account or user of this machine, and all files of one guest.
    pub(crate) account: u64,
    pub(crate) guest: u64,
    /// All files in one room.
    pub(crate) room: u64,
    /// All files on the server.
    pub(crate) total: u64,
    /// How many bytes of unfinished uploads count in these quotas: of its author, and in all.
    pub(crate) arrived: (u64, u64),
}

impl Quotas {
    /// Returns what one author's files may have.
    pub(crate) fn own(&self, is_guest: bool) -> u64 {
        if is_guest { self.guest } else { self.account }
    }

    /// Returns what all files may have for an author to add one: guests leave a quarter to accounts.
    pub(crate) fn all(&self, is_guest: bool) -> u64 {
        if is_guest { self.total - self.total / 4 } else { self.total }
    }
}

/// An upload as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredUpload {
    pub(crate) handle: u64,
    pub(crate) author: u64,
    pub(crate) to: Conversation,
    pub(crate) addressee_nick: String,
    pub(crate) name: String,
    pub(crate) size: Option<u64>,
    pub(crate) hash: Option<ContentHash>,
    pub(crate) kind: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) re: Option<u64>,
    pub(crate) tags: String,
    /// Maximum size in bytes.
    pub(crate) most: u64,
    /// The file's entry, once the upload is complete.
    pub(crate) entry: Option<u64>,
}

/// A file that was offered and is still kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFile {
    pub(crate) entry: u64,
    pub(crate) author: u64,
    pub(crate) conversation: u64,
    /// The name of its room, if it is in one.
    pub(crate) room: Option<String>,
    /// The addressee of a private file: number, and nick at that time.
    pub(crate) peer: Option<(u64, String)>,
    pub(crate) size: u64,
    pub(crate) hash: ContentHash,
    /// Its entry's text, tags and author's nick.
    pub(crate) name: String,
    pub(crate) tags: String,
    pub(crate) from: String,
}

/// The recipients' reports about a file, for a row of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Number of recipients in each [`FileState`], for the sender.
    pub(crate) counts: [u64; 3],
    /// The reader's own report, if the file is someone else's.
    pub(crate) own: Option<FileState>,
}

/// A page of files, newest first, and whether there are more.
pub(crate) struct Listed {
    pub(crate) rows: Vec<(Row, Taken)>,
    pub(crate) more: bool,
}

pub(super) const UPLOAD: &str =
    "handle, author, room, peer, peer_nick, name, size, hash, kind, most, entry, key, re, tags";

pub(super) fn upload_of(row: &SqlRow<'_>) -> rusqlite::Result<StoredUpload> {
    let (room, peer): (Option<u64>, Option<u64>) = (row.get(2)?, row.get(3)?);
    Ok(StoredUpload {
        handle: row.get(0)?,
        author: row.get(1)?,
        to: room.map_or(Conversation::With(peer.unwrap_or_default()), Conversation::Room),
        addressee_nick: row.get(4)?,
        name: row.get(5)?,
        size: row.get(6)?,
        hash: row.get::<_, Option<HashColumn>>(7)?.map(|column| column.0),
        kind: row.get(8)?,
        most: row.get(9)?,
        entry: row.get(10)?,
        key: row.get(11)?,
        re: row.get(12)?,
        tags: row.get(13)?,
    })
}

/// Returns a file that is kept, regardless of who may see it.
pub(super) fn stored_file(database: &Connection, entry: u64) -> rusqlite::Result<Option<StoredFile>> {
    database
        .prepare_cached(
            "SELECT file.entry, file.author, file.conversation, room.name, entry.peer, entry.peer_nick, file.size, file.hash,
                 entry.text, entry.tags, entry.nick
             FROM file JOIN entry ON entry.id = file.entry LEFT JOIN room ON room.number = file.conversation
             WHERE file.entry = ?1",
        )?
        .query_row([entry], |row| {
            let peer: Option<u64> = row.get(4)?;
            let nick: Option<String> = row.get(5)?;
            Ok(StoredFile {
                entry: row.get(0)?,
                author: row.get(1)?,
                conversation: row.get(2)?,
                room: row.get(3)?,
                peer: peer.map(|peer| (peer, nick.unwrap_or_default())),
                size: row.get(6)?,
                hash: row.get::<_, HashColumn>(7)?.0,
                name: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
                tags: row.get(9)?,
                from: row.get(10)?,
            })
        })
        .optional()
}

/// Returns the number of bytes that the files of an author or in a conversation have, or those of all.
pub(super) fn bytes_kept(database: &Connection, kind: &str, number: u64) -> rusqlite::Result<u64> {
    let bytes = database
        .prepare_cached("SELECT bytes FROM file_usage WHERE kind = ?1 AND number = ?2")?
        .query_row(params![kind, number], |row| row.get(0))
        .optional()?;
    Ok(bytes.unwrap_or(0))
}

/// Returns the size and hash of a file that is kept.
pub(super) fn content_of(database: &Connection, entry: u64) -> rusqlite::Result<Option<(u64, ContentHash)>> {
    database
        .prepare_cached("SELECT size, hash FROM file WHERE entry = ?1")?
        .query_row([entry], |row| Ok((row.get(0)?, row.get::<_, HashColumn>(1)?.0)))
        .optional()
}

/// Returns a file that is kept and that `me` may fetch.
pub(super) fn visible_file(
    database: &Connection,
    me: u64,
    entry: u64,
) -> rusqlite::Result<Option<StoredFile>> {
    let Some(file) = stored_file(database, entry)? else { return Ok(None) };
    Ok(Access::of(database, me, file.conversation)?.covers(entry).then_some(file))
}

impl View<'_> {
    /// Returns a file that is kept and that `me` may fetch. A file that `me` may not see looks like one that does not
    /// exist.
    pub(crate) fn file(&self, me: u64, entry: u64) -> rusqlite::Result<Option<StoredFile>> {
        visible_file(self.database(), me, entry)
    }

    /// Returns an upload of `author`.
    pub(crate) fn upload(&self, author: u64, handle: u64) -> rusqlite::Result<Option<StoredUpload>> {
        self.database()
            .prepare_cached(&format!("SELECT {UPLOAD} FROM upload WHERE handle = ?1 AND author = ?2"))?
            .query_row([handle, author], upload_of)
            .optional()
    }

    /// Returns the size and hash of a file that is kept.
    pub(crate) fn content_of(&self, entry: u64) -> rusqlite::Result<Option<(u64, ContentHash)>> {
        content_of(self.database(), entry)
    }

    /// Returns the unfinished uploads of `author`, each with the name of the room it is for.
    pub(crate) fn uploads(&self, author: u64) -> rusqlite::Result<Vec<(StoredUpload, Option<String>)>> {
        let mut statement = self.database().prepare_cached(&format!(
            "SELECT {UPLOAD}, (SELECT room.name FROM room WHERE room.number = upload.room) FROM upload
             WHERE author = ?1 AND entry IS NULL ORDER BY handle"
        ))?;
        let uploads = statement.query_map([author], |row| Ok((upload_of(row)?, row.get(12)?)))?;
        uploads.collect()
    }

    /// Returns the newest files before an entry in these conversations that are kept and that `me` may fetch.
    pub(crate) fn files(
        &self,
        me: u64,
        conversations: &[(u64, std::sync::Arc<str>)],
        before: u64,
        limit: u64,
    ) -> rusqlite::Result<Listed> {
        let mut ids: Vec<(u64, &std::sync::Arc<str>)> = Vec::new();
        for (conversation, name) in conversations {
            let access = Access::of(self.database(), me, *conversation)?;
            let mut statement = self.database().prepare_cached(
                "SELECT entry FROM file WHERE conversation = ?1 AND entry < ?2 ORDER BY entry DESC",
            )?;
            let mut rows = statement.query([*conversation, before])?;
            let mut found = 0;
            while found <= limit
                && let Some(row) = rows.next()?
            {
                let id = row.get(0)?;
                if access.covers(id) {
                    found += 1;
                    ids.push((id, name));
                }
            }
        }
        ids.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        let more = ids.len() as u64 > limit;
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut rows = Vec::with_capacity(ids.len());
        for (id, name) in ids {
            let Some(row) = self.row(me, id, name)? else { continue };
            rows.push((row, self.taken(me, id)?));
        }
        Ok(Listed { rows, more })
    }

    /// Returns the conversations that have files: number, and name if it is a room.
    pub(crate) fn places_with_files(&self) -> rusqlite::Result<Vec<(u64, Option<String>)>> {
        let mut statement = self.database().prepare_cached(
            "SELECT DISTINCT file.conversation, room.name FROM file LEFT JOIN room ON room.number = file.conversation",
        )?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn taken(&self, me: u64, entry: u64) -> rusqlite::Result<Taken> {
        let mut taken = Taken::default();
        let author: u64 = self
            .database()
            .prepare_cached("SELECT author FROM file WHERE entry = ?1")?
            .query_row([entry], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        let mut statement =
            self.database().prepare_cached("SELECT identity, state FROM taken WHERE entry = ?1")?;
        let mut rows = statement.query([entry])?;
        while let Some(row) = rows.next()? {
            let (identity, state): (u64, String) = (row.get(0)?, row.get(1)?);
            let Some(state) = FileState::of_word(&state) else { continue };
            if author == me {
                taken.counts[state as usize] += 1;
            } else if identity == me {
                taken.own = Some(state);
            }
        }
        Ok(taken)
    }

    /// Returns the recipients' reports about a file, oldest first: nick, state, time.
    pub(crate) fn takers(&self, entry: u64) -> rusqlite::Result<Vec<(String, FileState, Timestamp)>> {
        let mut statement = self.database().prepare_cached(
            "SELECT identity.nick, taken.state, taken.time FROM taken JOIN identity ON identity.number = taken.identity
             WHERE taken.entry = ?1 ORDER BY taken.time, identity.number",
        )?;
        let rows = statement.query_map([entry], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, Timestamp::from_millis(row.get(2)?)))
        })?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let known = |(nick, state, time): (_, String, _)| Some((nick, FileState::of_word(&state)?, time));
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// Returns contents that may have lost their last file, at most `most`.
    pub(crate) fn unstored(&self, most: u64) -> rusqlite::Result<Vec<ContentHash>> {
        let mut statement = self.database().prepare_cached("SELECT hash FROM unstored LIMIT ?1")?;
        statement.query_map([most], |row| Ok(row.get::<_, HashColumn>(0)?.0))?.collect()
    }

    /// Returns whether a file that is kept has this content.
    pub(crate) fn has_content(&self, hash: ContentHash) -> rusqlite::Result<bool> {
        self.database()
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM file WHERE hash = ?1)")?
            .query_row([HashColumn(hash)], |row| row.get(0))
    }

    /// Returns the handles of all unfinished uploads, with their authors.
    pub(crate) fn open_uploads(&self) -> rusqlite::Result<Vec<(u64, u64)>> {
        let mut statement =
            self.database().prepare("SELECT handle, author FROM upload WHERE entry IS NULL")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Returns the number of bytes that the files of an author have, or those of all.
    pub(crate) fn bytes_kept(&self, author: Option<u64>) -> rusqlite::Result<u64> {
        let (kind, number) = author.map_or(("all", 0), |author| ("author", author));
        bytes_kept(self.database(), kind, number)
    }

    /// Returns the number of files that are kept, and their total size in bytes.
    pub(crate) fn file_totals(&self) -> rusqlite::Result<(u64, u64)> {
        self.database()
            .prepare_cached("SELECT count(*), coalesce(sum(size), 0) FROM file")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Returns every content that is kept: hash, size, and its oldest entry.
    pub(crate) fn contents(&self) -> rusqlite::Result<Vec<(ContentHash, u64, u64)>> {
        let mut statement =
            self.database().prepare("SELECT hash, size, min(entry) FROM file GROUP BY hash")?;
        statement
            .query_map([], |row| Ok((row.get::<_, HashColumn>(0)?.0, row.get(1)?, row.get(2)?)))?
            .collect()
    }
}

/// A content hash as a column of a table.
pub(super) struct HashColumn(pub(super) ContentHash);

impl ToSql for HashColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0.0)))
    }
}

impl FromSql for HashColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<HashColumn> {
        let bytes = value.as_blob()?;
        bytes.try_into().map(|hash| HashColumn(ContentHash(hash))).map_err(|_| FromSqlError::InvalidType)
    }
}
