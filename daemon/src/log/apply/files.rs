//! Files: the rules for uploads, quotas and recipients' reports.

use std::borrow::Cow;

use rusqlite::{OptionalExtension, params};
use snug_protocol::{Code, ContentHash, EntryKind, FileState, Role, Timestamp};

use super::{authority, refuse};
use crate::log::files::{HashColumn, UPLOAD, bytes_kept, content_of, stored_file, upload_of, visible_file};
use crate::log::transaction::Transaction;
use crate::log::{
    Access, AuditNote, Author, Conversation, Ends, FileAct, Finished, Meta, NewEntry, NewUpload, Outcome,
    Party, Quotas, StoredUpload, audit,
};
use crate::refusal::Refusal;
use crate::retention::Retention;

/// Maximum number of unfinished uploads of one identity.
const UPLOADS: u64 = 100;

/// Maximum number of expired files, and of expired uploads, that are removed at once.
const EXPIRED_AT_ONCE: u64 = 100;

/// The same text whether a file is no longer kept, never existed, or is not for the user who asks.
pub(crate) const NO_SUCH_FILE: &str =
    "there is no such file that is kept and that you may fetch; FILE LIST shows them";

/// The media type of a file whose sender states none.
const ANY_TYPE: &str = "application/octet-stream";

pub(super) fn decide(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    act: &FileAct,
) -> rusqlite::Result<Outcome> {
    match act {
        FileAct::Offer(new) => offer(tx, meta, author, new),
        FileAct::Cancel { handle } => cancel(tx, author, *handle),
        FileAct::Say { entry, state, arrived } => say(tx, meta, author, *entry, *state, *arrived),
        FileAct::Expire { keep, abandoned, alive } => expire(tx, meta, ends, *keep, *abandoned, alive),
        FileAct::Swept(hashes) => {
            for hash in hashes {
                tx.prepare_cached("DELETE FROM unstored WHERE hash = ?1")?.execute([HashColumn(*hash)])?;
            }
            Ok(Outcome::Done)
        }
    }
}

fn offer(tx: &Transaction<'_>, meta: &Meta, author: &Author, new: &NewUpload) -> rusqlite::Result<Outcome> {
    if let Some(key) = &new.key
        && let Some(earlier) = by_key(tx, author, key)?
        && !is_forgotten(tx, &earlier)?
    {
        let is_same = earlier.to == new.to
            && earlier.name == new.name
            && earlier.size == new.size
            && earlier.hash == new.hash
            && earlier.re == new.re
            && earlier.tags == new.tags;
        if !is_same {
            return refuse(Code::KeyReused, "this key was used for another file; take a new one");
        }
        tx.prepare_cached("UPDATE upload SET time = ?2 WHERE handle = ?1")?
            .execute(params![earlier.handle, meta.time.millis()])?;
        return Ok(Outcome::Upload(Box::new(earlier)));
    }
    let room = new.to.room();
    if let Some(room) = room {
        let is_there: bool = tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM room WHERE number = ?1)")?
            .query_row([room], |row| row.get(0))?;
        if !is_there {
            return refuse(Code::NoSuchRoom, "the room is gone; JOIN makes it again");
        }
    }
    let file = NewEntry::new(EntryKind::File, Conversation::Room(room.unwrap_or_default()));
    if let Some(refusal) = authority::silence(tx, meta, room, author, &file)? {
        return Ok(Outcome::Refused(refusal));
    }
    if let Some(re) = new.re
        && !answers_what_is_seen(tx, author, new.to, re)?
    {
        return refuse(Code::NoSuchEntry, "there is no such entry in this conversation that re could answer");
    }
    let count: u64 = tx
        .prepare_cached("SELECT count(*) FROM upload WHERE author = ?1 AND entry IS NULL")?
        .query_row([author.number], |row| row.get(0))?;
    if count >= UPLOADS {
        return refuse(
            Code::TooMany,
            "you have 100 uploads on their way; go on with one (FILE LIST), or give it up",
        );
    }
    let Allowances { now, ever } = match allowances(tx, author, room, new.kind.as_deref(), &new.quotas, 0)? {
        Ok(allowances) => allowances,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    if let Some(refusal) = now.refuses(new.size) {
        return Ok(Outcome::Refused(refusal));
    }
    let peer = new.to.other();
    let upload = tx
        .prepare_cached(&format!(
            "INSERT INTO upload (author, room, peer, peer_nick, name, size, hash, kind, most, key, time, re, tags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING {UPLOAD}"
        ))?
        .query_row(
            params![
                author.number,
                room,
                peer,
                new.addressee_nick,
                new.name,
                new.size,
                new.hash.map(HashColumn),
                new.kind,
                ever.bytes,
                new.key,
                meta.time.millis(),
                new.re,
                new.tags
            ],
            upload_of,
        )?;
    Ok(Outcome::Upload(Box::new(upload)))
}

/// Returns whether an entry is in a conversation, and its author may see it.
fn answers_what_is_seen(
    tx: &Transaction<'_>,
    author: &Author,
    to: Conversation,
    re: u64,
) -> rusqlite::Result<bool> {
    let conversation = match to {
        Conversation::Room(room) => Some(room),
        Conversation::With(other) | Conversation::Pair(other) => {
            Party::between(tx, author.number, other)?.map(|party| party.conversation)
        }
    };
    let Some(conversation) = conversation else { return Ok(false) };
    let is_there: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entry WHERE id = ?1 AND conversation = ?2)")?
        .query_row([re, conversation], |row| row.get(0))?;
    Ok(is_there && Access::of(tx, author.number, conversation)?.covers(re))
}

/// Returns whether an upload became a file that is no longer kept. If so, deletes the upload's row, which frees its
/// key.
fn is_forgotten(tx: &Transaction<'_>, upload: &StoredUpload) -> rusqlite::Result<bool> {
    let Some(entry) = upload.entry else { return Ok(false) };
    if content_of(tx, entry)?.is_some() {
        return Ok(false);
    }
    tx.prepare_cached("DELETE FROM upload WHERE handle = ?1")?.execute([upload.handle])?;
    Ok(true)
}

fn by_key(tx: &Transaction<'_>, author: &Author, key: &str) -> rusqlite::Result<Option<StoredUpload>> {
    tx.prepare_cached(&format!("SELECT {UPLOAD} FROM upload WHERE author = ?1 AND key = ?2"))?
        .query_row(params![author.number, key], upload_of)
        .optional()
}

/// The maximum size of a file in bytes, and the reason for that limit.
#[derive(Clone)]
struct Allowance {
    bytes: u64,
    because: Cow<'static, str>,
}

impl Allowance {
    /// Returns the smaller of both.
    fn or_less(self, other: Allowance) -> Allowance {
        if other.bytes < self.bytes { other } else { self }
    }

    /// Returns the refusal if a file of this size is too large. One of unknown size has at least a byte.
    fn refuses(&self, size: Option<u64>) -> Option<Refusal> {
        let Allowance { bytes, because } = self;
        let text = match size {
            Some(size) if size > *bytes => {
                format!("the file has {size} bytes, and {bytes} are left: {because}")
            }
            None if *bytes == 0 => format!("no bytes are left: {because}"),
            _ => return None,
        };
        Some(Refusal::new(Code::OverQuota, text))
    }
}

/// How many bytes a file may have now; and however much its author and all others take back meanwhile, which is looked at
/// again with each piece.
struct Allowances {
    now: Allowance,
    ever: Allowance,
}

/// Returns how many bytes a file from `author` may have, in a room or in private. The upload `but` does not count.
fn allowances(
    tx: &Transaction<'_>,
    author: &Author,
    room: Option<u64>,
    kind: Option<&str>,
    quotas: &Quotas,
    but: u64,
) -> rusqlite::Result<Result<Allowances, Refusal>> {
    // An unfinished upload counts with its announced size, but only for its sender: an announcement alone must not
    // use up the quota of others. For all it counts with what has arrived.
    let in_flight: u64 = tx
        .prepare_cached(
            "SELECT coalesce(sum(size), 0) FROM upload WHERE author = ?1 AND entry IS NULL AND handle != ?2",
        )?
        .query_row([author.number, but], |row| row.get(0))?;
    let (own_arrived, all_arrived) = quotas.arrived;
    let own = bytes_kept(tx, "author", author.number)? + in_flight.max(own_arrived);
    let all = bytes_kept(tx, "all", 0)? + all_arrived;
    let is_guest = authority::server_role(tx, author)? <= Role::Guest;
    let own_quota = quotas.own(is_guest);
    let mut ever = Allowance { bytes: quotas.file, because: "the daemon takes no larger files".into() };
    let own_left = Allowance {
        bytes: own_quota.saturating_sub(own),
        because: format!("one may have {own_quota} bytes of files here, and you have {own}").into(),
    };
    let all_left = Allowance {
        bytes: quotas.all(is_guest).saturating_sub(all),
        because: match is_guest {
            true => "the daemon keeps no more files of guests; its operator can change that".into(),
            false => "the daemon keeps no more files; its operator can change that".into(),
        },
    };
    if let Some(room) = room {
        let used = bytes_kept(tx, "conversation", room)?;
        ever = ever.or_less(Allowance {
            bytes: quotas.room.saturating_sub(used),
            because: format!("a room may have {} bytes of files, and this one has {used}", quotas.room)
                .into(),
        });
        let (size, types): (Option<u64>, Option<String>) = tx
            .prepare_cached("SELECT file_size, file_types FROM room WHERE number = ?1")?
            .query_row([room], |row| Ok((row.get(0)?, row.get(1)?)))?;
        match size {
            Some(0) => {
                return Ok(Err(Refusal::new(
                    Code::Denied,
                    "this room takes no files; SET shows its settings",
                )));
            }
            Some(bytes) => {
                ever = ever.or_less(Allowance { bytes, because: "this room takes no larger files".into() })
            }
            None => {}
        }
        let kind = kind.unwrap_or(ANY_TYPE);
        if let Some(types) = types.filter(|types| !is_among(kind, types)) {
            let text = format!("this room takes files of these types: {types}; this one is {kind}");
            return Ok(Err(Refusal::new(Code::Denied, text)));
        }
    }
    let now = own_left.or_less(all_left).or_less(ever.clone());
    Ok(Ok(Allowances { now, ever }))
}

/// Returns whether a media type is in a comma-separated list, which may contain patterns such as `image/*`.
fn is_among(kind: &str, types: &str) -> bool {
    types.split(',').any(|pattern| match pattern.strip_suffix("/*") {
        Some(family) => kind.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(family)),
        None => kind.eq_ignore_ascii_case(pattern),
    })
}

/// Returns the outcome if an upload cannot become a new entry; `None` if it can.
pub(super) fn check_finished(
    tx: &Transaction<'_>,
    author: &Author,
    conversation: Conversation,
    finished: &Finished,
) -> rusqlite::Result<Option<Outcome>> {
    let Some(upload) = open_upload(tx, author, finished.handle)? else {
        return Ok(Some(refuse(
            Code::NoSuchFile,
            "there is no such upload of yours; FILE OFFER begins one",
        )?));
    };
    if let Some(id) = upload.entry {
        if content_of(tx, id)? != Some((finished.size, finished.hash)) {
            return Ok(Some(refuse(Code::KeyReused, "this upload is complete, and was another file")?));
        }
        let time: Option<i64> = tx
            .prepare_cached("SELECT time FROM entry WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let time = Timestamp::from_millis(time.unwrap_or_default());
        return Ok(Some(Outcome::Duplicate { id, time }));
    }
    let room = conversation.room();
    Ok(match allowances(tx, author, room, upload.kind.as_deref(), &finished.quotas, finished.handle)? {
        Ok(most) => most.now.refuses(Some(finished.size)).map(Outcome::Refused),
        Err(refusal) => Some(Outcome::Refused(refusal)),
    })
}

fn open_upload(tx: &Transaction<'_>, author: &Author, handle: u64) -> rusqlite::Result<Option<StoredUpload>> {
    tx.prepare_cached(&format!("SELECT {UPLOAD} FROM upload WHERE handle = ?1 AND author = ?2"))?
        .query_row([handle, author.number], upload_of)
        .optional()
}

/// Records the file of a new entry, and completes its upload.
pub(super) fn enter(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    (entry, conversation): (u64, u64),
    finished: &Finished,
) -> rusqlite::Result<()> {
    let Finished { handle, size, hash, .. } = finished;
    tx.prepare_cached(
        "INSERT INTO file (entry, author, conversation, hash, size, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        entry,
        author.number,
        conversation,
        HashColumn(*hash),
        size,
        meta.time.millis()
    ])?;
    tx.prepare_cached("UPDATE upload SET entry = ?2, time = ?3 WHERE handle = ?1")?.execute(params![
        handle,
        entry,
        meta.time.millis()
    ])?;
    let whom = stored_file(tx, entry)?.and_then(|file| file.room.or(file.peer.map(|(_, nick)| nick)));
    let detail = format!("entry {entry}, {size} bytes, sha256 {hash}");
    audit::record(tx, meta.time, ends, author, &AuditNote::new("file", &whom.unwrap_or_default(), detail))?;
    Ok(())
}

fn cancel(tx: &Transaction<'_>, author: &Author, handle: u64) -> rusqlite::Result<Outcome> {
    match open_upload(tx, author, handle)? {
        Some(StoredUpload { entry: None, .. }) => {
            tx.prepare_cached("DELETE FROM upload WHERE handle = ?1")?.execute([handle])?;
            Ok(Outcome::Done)
        }
        Some(StoredUpload { entry: Some(entry), .. }) => refuse(
            Code::TooLate,
            &format!("the upload is complete, as entry {entry}; FILE CANCEL {entry} takes it back"),
        ),
        None => refuse(Code::NoSuchFile, "there is no such upload of yours; FILE LIST shows them"),
    }
}

fn say(
    tx: &Transaction<'_>,
    meta: &Meta,
    author: &Author,
    entry: u64,
    state: FileState,
    arrived: Option<(u64, ContentHash)>,
) -> rusqlite::Result<Outcome> {
    let Some(file) = visible_file(tx, author.number, entry)? else {
        return refuse(Code::NoSuchFile, NO_SUCH_FILE);
    };
    if arrived.is_some_and(|arrived| arrived != (file.size, file.hash)) {
        let text = format!("it has {} bytes, and the sha256 {}; fetch it again", file.size, file.hash);
        return refuse(Code::HashMismatch, &text);
    }
    let earlier: Option<String> = tx
        .prepare_cached("SELECT state FROM taken WHERE entry = ?1 AND identity = ?2")?
        .query_row([entry, author.number], |row| row.get(0))
        .optional()?;
    let earlier = earlier.and_then(|word| FileState::of_word(&word));
    // `Done` is final, and senders do not report on their own files.
    let is_new = file.author != author.number && earlier != Some(state) && earlier != Some(FileState::Done);
    if is_new {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO taken (entry, identity, state, time) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![entry, author.number, state.word(), meta.time.millis()])?;
    }
    Ok(Outcome::Said { file: Box::new(file), is_new })
}

fn expire(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    keep: Retention,
    abandoned: Timestamp,
    alive: &[u64],
) -> rusqlite::Result<Outcome> {
    for handle in alive {
        // An upload that still receives pieces is not abandoned. To save writes, its time is updated only when it
        // would expire.
        tx.prepare_cached("UPDATE upload SET time = ?2 WHERE handle = ?1 AND time < ?3")?
            .execute(params![handle, meta.time.millis(), abandoned.millis()])?;
    }
    let gone = match keep {
        Retention::Forever => 0,
        Retention::Age(_) => {
            let oldest = keep.oldest(meta.time).unwrap_or_default();
            tx.prepare_cached(
                "DELETE FROM file WHERE entry IN (SELECT entry FROM file WHERE time < ?1 ORDER BY entry LIMIT ?2)",
            )?
            .execute(params![oldest.millis(), EXPIRED_AT_ONCE])?
        }
        Retention::Newest(count) => tx
            .prepare_cached(
                "DELETE FROM file WHERE entry IN
                     (SELECT entry FROM file ORDER BY entry DESC LIMIT ?2 OFFSET ?1)",
            )?
            .execute(params![count, EXPIRED_AT_ONCE])?,
    };
    if gone > 0 {
        let note = AuditNote::new("expire", "", format!("{gone} files, kept {keep}"));
        audit::record(tx, meta.time, ends, &Author::default(), &note)?;
    }
    let handles: Vec<u64> = tx
        .prepare_cached(
            "DELETE FROM upload WHERE handle IN (SELECT handle FROM upload WHERE time < ?1 LIMIT ?2) RETURNING handle",
        )?
        .query_map(params![abandoned.millis(), EXPIRED_AT_ONCE], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Outcome::Expired { uploads: handles })
}
