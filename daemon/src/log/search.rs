//! The search index: the words of messages, in a separate database that lags behind the log.
//!
//! It uses SQLite's FTS5 (<https://sqlite.org/fts5.html>). Everything in it comes from the log and can be rebuilt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use snug_protocol::{Folded, Nick, Target, Timestamp};

use super::view::{Row, Rows, View};
use super::{Access, Party};
use crate::Clock;

/// Number of entries that are indexed in one transaction.
const BATCH: u64 = 10_000;

/// Maximum number of different words and phrases in a query, and of words in a phrase. The time of a search grows with
/// both.
const TERMS: usize = 16;
const PHRASE: usize = 8;

/// How long one search may take in all. What it has not looked at by then is for the next page.
const DEADLINE: Duration = Duration::from_millis(250);

/// How long a search may take before those of others have their turn.
const TURN: Duration = Duration::from_millis(20);

/// The number of entries that a search looks at first in one step, and the least number.
const STEP: u64 = 16_384;
const SMALLEST_STEP: u64 = 1_024;

/// Bytes of words that FTS5 gathers before it writes them. It holds most of a batch, so that few segments have to be
/// merged.
const GATHERED: u64 = 4 << 20;

/// The tables of the index. `upto` is the watermark: the last entry that is in the index.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS search.state (
        one  INTEGER PRIMARY KEY CHECK (one = 1),
        log  INTEGER NOT NULL,
        upto INTEGER NOT NULL,
        form INTEGER NOT NULL DEFAULT 2
    ) STRICT;
    -- `place` has words for where a message is and whose: cNUMBER its conversation, `open` if it is in a room that
    -- everybody might read then, iNUMBER the two of a private message, aHASH its author's nick. How long texts are matters only where results are ranked.
    CREATE VIRTUAL TABLE IF NOT EXISTS search.words USING fts5 (
        text, place, prefix = '1 2', columnsize = 0, tokenize = \"unicode61 remove_diacritics 2\"
    );
";

/// Returns whether the index in a file has an older form. Such an index is deleted and rebuilt.
pub(super) fn is_outdated(file: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let outdated = Connection::open_with_flags(file, flags).and_then(|index| {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'state' AND sql NOT LIKE '%form%'";
        index.query_row(sql, [], |row| row.get::<_, u64>(0))
    });
    // An unreadable file is reported when it is used.
    outdated.is_ok_and(|count| count > 0)
}

/// Attaches the index in `file`, or one in memory, and creates its tables if they are missing.
pub(super) fn attach(database: &Connection, file: Option<&Path>) -> rusqlite::Result<()> {
    match file {
        None => database.execute("ATTACH ':memory:' AS search", [])?,
        Some(file) => database.execute("ATTACH ?1 AS search", [file.to_string_lossy()])?,
    };
    if file.is_some() {
        database.pragma_update_and_check(Some("search"), "journal_mode", "wal", |_| Ok(()))?;
        database.pragma_update(Some("search"), "synchronous", "NORMAL")?;
        // With fewer checkpoints, a page that changes often is written to the database less often.
        database.pragma_update(Some("search"), "wal_autocheckpoint", 4_000)?;
        database.pragma_update(Some("search"), "journal_size_limit", 64 << 20)?;
    }
    database.pragma_update(Some("search"), "secure_delete", true)?;
    database.execute_batch(SCHEMA)?;
    database.execute("INSERT INTO search.words (words, rank) VALUES ('secure-delete', 1)", [])?;
    database.execute("INSERT INTO search.words (words, rank) VALUES ('hashsize', ?1)", [GATHERED])?;
    // Segments are merged sixteen at a time instead of four. That halves the work, and a search reads a few more
    // segments. Merges run in small steps, because one large merge would hold up searches for seconds.
    database.execute("INSERT INTO search.words (words, rank) VALUES ('automerge', 16)", [])?;
    database.execute("INSERT INTO search.words (words, rank) VALUES ('crisismerge', 64)", [])?;
    Ok(())
}

/// The index, through a connection to the log with the index attached.
pub(crate) struct Index<'c> {
    database: &'c Connection,
}

/// A parsed search query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The FTS5 expression for the text; empty matches everything.
    words: String,
    /// What was added to it, in lower case, and whether as a beginning.
    terms: Vec<(String, bool)>,
    from: Option<Folded>,
    within: Option<SearchTarget>,
    /// Entries must be earlier than `before`, and at or later than `after`.
    before: Option<Timestamp>,
    after: Option<Timestamp>,
}

/// A search that is under way.
pub(crate) struct Scan {
    me: u64,
    /// The FTS5 expression.
    matching: String,
    /// Entries after `lower` and up to `upper` have to be looked at, `step` at a time.
    lower: u64,
    upper: u64,
    step: u64,
    limit: u64,
    /// What was found. Everything from its cursor on was looked at.
    rows: Rows,
    bytes: usize,
    accesses: HashMap<u64, Access>,
    took: Duration,
    /// The newest entry that the index has.
    at: u64,
}

impl Scan {
    /// Returns the number of the newest entry that was searched.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Returns what was found, the newest first, and how long that took.
    pub(crate) fn finish(self) -> (Rows, Duration) {
        (self.rows, self.took)
    }
}

/// The conversation that a search is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchTarget {
    Room(Folded),
    Person(Folded),
    /// Exactly one identity, by its number.
    Identity(u64),
}

impl SearchTarget {
    pub(crate) fn of(target: &Target<'_>) -> SearchTarget {
        match target {
            Target::Room(room) => SearchTarget::Room(room.fold()),
            Target::Nick(nick) => SearchTarget::Person(nick.fold()),
            Target::Person { who, .. } => SearchTarget::Identity(who.0),
        }
    }
}

impl Query {
    /// Parses the query language.
    ///
    /// # Errors
    /// The problem with the query, as a sentence.
    pub(crate) fn parse(text: &str) -> Result<Query, String> {
        let mut query = Query::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let Some((phrase, behind)) = quoted.split_once('"') else {
                    return Err("a phrase has no \" at its end".to_owned());
                };
                let (is_prefix, behind) = match behind.strip_prefix('*') {
                    Some(behind) => (true, behind),
                    None => (false, behind),
                };
                query.add(phrase, is_prefix)?;
                rest = behind.trim_start();
                continue;
            }
            let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match word.split_once(':') {
                Some((name @ ("from" | "in" | "before" | "after"), value)) => query.filter(name, value)?,
                _ => match word.strip_suffix('*') {
                    Some(word) => query.add(word, true)?,
                    None => query.add(word, false)?,
                },
            }
            rest = behind.trim_start();
        }
        if query == Query::default() {
            return Err("there is nothing to search for".to_owned());
        }
        Ok(query)
    }

    /// Limits the search to one conversation.
    ///
    /// # Errors
    /// The query names another conversation.
    pub(crate) fn narrow(&mut self, place: SearchTarget) -> Result<(), String> {
        if self.within.as_ref().is_some_and(|within| *within != place) {
            return Err("in: names another place than the one that is searched".to_owned());
        }
        self.within = Some(place);
        Ok(())
    }

    /// Returns the conversation that the search is limited to, if any.
    pub(crate) fn place(&self) -> Option<&SearchTarget> {
        self.within.as_ref()
    }

    fn add(&mut self, words: &str, is_prefix: bool) -> Result<(), String> {
        if !words.chars().any(char::is_alphanumeric) {
            return Err(format!("{words:?} has no letter or digit, and only words are found"));
        }
        let parts = words.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        if parts.count() > PHRASE {
            return Err(format!("a phrase has at most {PHRASE} words"));
        }
        let term = (words.to_lowercase(), is_prefix);
        if self.terms.contains(&term) {
            return Ok(());
        }
        if self.terms.len() >= TERMS {
            return Err(format!("a query has at most {TERMS} different words and phrases"));
        }
        self.terms.push(term);
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push('"');
        self.words.push_str(&words.replace('"', "\"\""));
        self.words.push('"');
        if is_prefix {
            self.words.push('*');
        }
        Ok(())
    }

    fn filter(&mut self, name: &str, value: &str) -> Result<(), String> {
        let is_set = match name {
            "from" => {
                let nick = Nick::parse(value.trim_start_matches('@'));
                let nick = nick.map_err(|error| format!("from: takes a nick: {error}"))?;
                self.from.replace(nick.fold()).is_some()
            }
            "in" => {
                let target =
                    Target::parse(value).map_err(|error| format!("in: takes a #room or a nick: {error}"))?;
                self.within.replace(SearchTarget::of(&target)).is_some()
            }
            _ => {
                let time = Timestamp::parse_moment_or_day(value)
                    .ok_or_else(|| format!("{name}: takes a day or a time, as in {name}:2026-11-21"))?;
                let place = if name == "before" { &mut self.before } else { &mut self.after };
                place.replace(time).is_some()
            }
        };
        if is_set {
            return Err(format!("{name}: stands twice"));
        }
        Ok(())
    }
}

impl<'c> Index<'c> {
    pub(crate) fn new(database: &'c Connection) -> Index<'c> {
        Index { database }
    }

    /// Indexes the entries that the index lacks. Returns the entries that the index has removed, of which the log has
    /// to be told.
    pub(crate) fn catch_up(&self) -> rusqlite::Result<Vec<u64>> {
        loop {
            let is_done = self.in_transaction(|index| index.take_in())?;
            if is_done {
                break;
            }
        }
        let ids: Vec<u64> = self
            .database
            .prepare_cached("SELECT id FROM main.unindexed LIMIT 10000")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !ids.is_empty() {
            self.in_transaction(|index| {
                for id in &ids {
                    index
                        .database
                        .prepare_cached("DELETE FROM search.words WHERE rowid = ?1")?
                        .execute([id])?;
                }
                Ok(())
            })?;
            // The write-ahead log still has their words. A reader may keep it from being emptied now.
            let _ = self.database.query_row("PRAGMA search.wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        Ok(ids)
    }

    fn in_transaction<T>(&self, work: impl FnOnce(&Index<'c>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let transaction = Transaction::new_unchecked(self.database, rusqlite::TransactionBehavior::Deferred)?;
        let done = work(self)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Indexes one batch and returns whether it was the last one. An index of another log is emptied first.
    fn take_in(&self) -> rusqlite::Result<bool> {
        let database = self.database;
        let log: i64 = database.query_row("SELECT name FROM main.state", [], |row| row.get(0))?;
        let known = database
            .query_row("SELECT log, upto FROM search.state", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?))
            })
            .optional()?;
        let last: u64 = database.query_row("SELECT last_id FROM main.state", [], |row| row.get(0))?;
        let upto = match known {
            Some((known, upto)) if known == log && upto <= last => upto,
            _ => {
                database.execute("DELETE FROM search.words", [])?;
                0
            }
        };
        let mut statement = database.prepare_cached(
            "SELECT entry.id, entry.kind, entry.conversation, entry.author, entry.nick, entry.peer, entry.text,
                 entry.about, about.text,
                 CASE WHEN entry.id >= room.since THEN room.history = 'all' ELSE EXISTS (
                     SELECT 1 FROM main.span WHERE span.room = room.number AND entry.id BETWEEN span.first AND span.last) END
                 AND CASE WHEN entry.id >= room.read_since THEN room.access = 'public' AND room.may_read = 'all'
                     ELSE NOT EXISTS (SELECT 1 FROM main.closed_span closed
                         WHERE closed.room = room.number AND entry.id BETWEEN closed.first AND closed.last) END
             FROM main.entry LEFT JOIN main.entry about ON about.id = entry.about AND entry.kind = 'EDIT'
                 LEFT JOIN main.room ON room.number = entry.conversation
             WHERE entry.id > ?1 ORDER BY entry.id LIMIT ?2",
        )?;
        let mut insert =
            database.prepare_cached("INSERT INTO search.words (rowid, text, place) VALUES (?1, ?2, ?3)")?;
        let mut rows = statement.query([upto, BATCH])?;
        let mut reached = upto;
        let mut count = 0;
        let mut place = String::new();
        let mut author_words: HashMap<String, String> = HashMap::new();
        while let Some(row) = rows.next()? {
            count += 1;
            reached = row.get(0)?;
            match row.get_ref(1)?.as_str()? {
                "MSG" | "PRIV" | "TOPIC" | "FILE" => {
                    let Some(text) = row.get_ref(6)?.as_str_or_null()? else { continue };
                    let (conversation, author): (u64, u64) = (row.get(2)?, row.get(3)?);
                    let nick = row.get_ref(4)?.as_str()?;
                    if !author_words.contains_key(nick) {
                        author_words.insert(nick.to_owned(), author_word(nick));
                    }
                    place.clear();
                    // Writing to a String cannot fail.
                    let _ = write!(place, "c{conversation} {}", author_words[nick]);
                    let _ = match row.get::<_, Option<u64>>(5)? {
                        // Other rooms are found by their numbers alone, so that the time of a search says nothing about
                        // rooms that one may not read.
                        None if row.get::<_, Option<bool>>(9)? == Some(true) => write!(place, " open"),
                        None => Ok(()),
                        Some(peer) => write!(place, " i{author} i{peer}"),
                    };
                    insert.execute(params![reached, text, place])?;
                }
                "EDIT" => {
                    let (about, text): (Option<u64>, Option<String>) = (row.get(7)?, row.get(8)?);
                    if let (Some(about), Some(text)) = (about, text) {
                        database
                            .prepare_cached("UPDATE search.words SET text = ?2 WHERE rowid = ?1")?
                            .execute(params![about, text])?;
                    }
                }
                // Deleted messages leave the index through the table `unindexed`.
                _ => {}
            }
        }
        let is_done = count < BATCH;
        let reached = if is_done { last.max(reached) } else { reached };
        if known != Some((log, reached)) {
            database
                .prepare_cached("INSERT OR REPLACE INTO search.state (one, log, upto) VALUES (1, ?1, ?2)")?
                .execute(params![log, reached])?;
        }
        Ok(is_done)
    }

    /// Returns the number of the newest entry that is in the index.
    fn upto(&self) -> rusqlite::Result<u64> {
        let upto = self
            .database
            .prepare_cached("SELECT upto FROM search.state")?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(upto.unwrap_or(0))
    }

    /// Begins a search for the newest messages before an entry that match a query and that `me` may see. `within` is the
    /// number of the conversation to search.
    pub(crate) fn begin(
        &self,
        view: &View<'_>,
        me: u64,
        query: &Query,
        within: Option<u64>,
        (before, limit): (Option<u64>, u64),
    ) -> rusqlite::Result<Scan> {
        let mut places = Vec::new();
        match within {
            Some(conversation) => places.push(format!("c{conversation}")),
            None => {
                let own = self.own_rooms(me)?.into_iter().map(|room| format!(" OR c{room}"));
                places.push(format!("(open OR i{me}{})", own.collect::<String>()));
            }
        }
        places.extend(query.from.as_ref().map(|from| author_hash(from.as_str())));
        let mut matching = format!("place : ({})", places.join(" AND "));
        if !query.words.is_empty() {
            matching.push_str(&format!(" AND text : ({})", query.words));
        }
        let last = view.last_id()?;
        let mut upper = before.map_or(last, |before| before.saturating_sub(1).min(last));
        if let Some(time) = query.before {
            upper = upper.min(view.last_before(time)?);
        }
        let lower = query.after.map(|time| view.last_before(time)).transpose()?.unwrap_or(0);
        let mut accesses = HashMap::new();
        if let Some(conversation) = within {
            let access = Access::of(self.database, me, conversation)?;
            if access == Access::Nothing {
                upper = lower;
            }
            accesses.insert(conversation, access);
        }
        let rows = Rows { cursor: upper + 1, ..Rows::default() };
        Ok(Scan {
            me,
            matching,
            lower,
            upper,
            limit,
            step: STEP,
            rows,
            bytes: 0,
            accesses,
            took: Duration::ZERO,
            at: self.upto()?,
        })
    }

    /// Goes on with a search for a turn. Returns whether it is done.
    pub(crate) fn go_on(
        &self,
        view: &View<'_>,
        scan: &mut Scan,
        clock: &dyn Clock,
    ) -> rusqlite::Result<bool> {
        let begun = clock.elapsed();
        let before = scan.took;
        loop {
            let step = clock.elapsed();
            let is_done = self.step(view, scan)?;
            let now = clock.elapsed();
            scan.took = before + now.saturating_sub(begun);
            if is_done {
                return Ok(true);
            }
            if scan.took >= DEADLINE {
                scan.rows.more = true;
                return Ok(true);
            }
            // Common words make small steps, rare ones large steps.
            match now.saturating_sub(step) {
                took if took < TURN / 4 => scan.step = scan.step.saturating_mul(2),
                took if took > TURN => scan.step = (scan.step / 2).max(SMALLEST_STEP),
                _ => {}
            }
            if now.saturating_sub(begun) >= TURN {
                return Ok(false);
            }
        }
    }

    /// Looks at the next entries. Returns whether the search is done.
    fn step(&self, view: &View<'_>, scan: &mut Scan) -> rusqlite::Result<bool> {
        let Scan { me, limit, lower, .. } = *scan;
        let from = scan.upper.saturating_sub(scan.step).max(lower);
        if scan.upper <= lower {
            return Ok(true);
        }
        let mut statement = self.database.prepare_cached(
            "SELECT words.rowid, entry.conversation, room.name FROM search.words
                 JOIN main.entry ON entry.id = words.rowid
                 LEFT JOIN main.room ON room.number = entry.conversation
             WHERE words MATCH ?1 AND words.rowid > ?2 AND words.rowid <= ?3 AND entry.text IS NOT NULL
             ORDER BY words.rowid DESC",
        )?;
        let mut found = statement.query(params![scan.matching, from, scan.upper])?;
        while let Some(row) = found.next()? {
            let (id, conversation): (u64, u64) = (row.get(0)?, row.get(1)?);
            let access = match scan.accesses.entry(conversation) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Access::of(self.database, me, conversation)?),
            };
            if !access.covers(id) {
                continue;
            }
            if scan.rows.rows.len() as u64 >= limit || scan.bytes > 256 << 10 {
                scan.rows.more = true;
                return Ok(true);
            }
            let name: Option<String> = row.get(2)?;
            if let Some(row @ Row::Entry { .. }) = view.row(me, id, &Arc::from(name.unwrap_or_default()))? {
                scan.bytes += row.size();
                scan.rows.rows.push(row);
                scan.rows.cursor = id;
            }
        }
        scan.upper = from;
        scan.rows.cursor = from + 1;
        Ok(from <= lower)
    }

    /// Returns the rooms whose entries not everybody may read and of which `me` may read some.
    fn own_rooms(&self, me: u64) -> rusqlite::Result<Vec<u64>> {
        let mut statement = self.database.prepare_cached(
            "WITH near (number) AS (
                 SELECT number FROM main.room WHERE owner = ?1
                 UNION SELECT room FROM main.member WHERE identity = ?1
                 UNION SELECT room FROM main.stay WHERE identity = ?1
                 UNION SELECT number FROM main.room WHERE may_read = 'accounts'
                 UNION SELECT room FROM main.closed_span WHERE may_read = 'accounts')
             SELECT number FROM near JOIN main.room USING (number)
             WHERE access != 'public' OR may_read != 'all' OR history != 'all' OR since > 0 OR read_since > 0",
        )?;
        let rooms = statement.query_map([me], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u64>>>()?;
        let mut own = Vec::new();
        for room in rooms {
            if Access::of(self.database, me, room)? != Access::Nothing {
                own.push(room);
            }
        }
        Ok(own)
    }

    /// Returns the number of the conversation that `place` names. `None` if there is none that `me` may know of.
    pub(crate) fn conversation(
        &self,
        me: u64,
        place: &SearchTarget,
        online: Option<u64>,
    ) -> rusqlite::Result<Option<u64>> {
        match place {
            SearchTarget::Room(fold) => self
                .database
                .prepare_cached("SELECT number FROM main.room WHERE fold = ?1")?
                .query_row([fold.as_str()], |row| row.get(0))
                .optional(),
            SearchTarget::Person(fold) => {
                let party = Party::find(self.database, me, online, fold.as_str())?;
                Ok(party.map(|party| party.conversation))
            }
            SearchTarget::Identity(number) => {
                let party = Party::between(self.database, me, *number)?;
                Ok(party.map(|party| party.conversation))
            }
        }
    }
}

/// Returns the word for an author in the index. It is a hash, because FTS5 would split some nicks into several words.
fn author_word(nick: &str) -> String {
    let fold = Nick::parse(nick).map_or_else(|_| nick.to_owned(), |nick| nick.fold().as_str().to_owned());
    author_hash(&fold)
}

fn author_hash(fold: &str) -> String {
    let hash = digest::digest(&digest::SHA256, fold.as_bytes());
    hash.as_ref()[..8].iter().fold("a".to_owned(), |word, byte| format!("{word}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_language_is_read() {
        let query =
            Query::parse("disk \"is full\" deplo* from:Bob in:#ops after:2026-11-01").expect("a query");
        assert_eq!(query.words, "\"disk\" \"is full\" \"deplo\"*");
        assert_eq!(query.from.as_ref().map(Folded::as_str), Some("bob"));
        assert!(matches!(&query.within, Some(SearchTarget::Room(room)) if room.as_str() == "#ops"));
        assert_eq!(query.after.map(|time| time.to_string()).as_deref(), Some("2026-11-01T00:00:00.000Z"));
        // FTS5's own syntax is treated as plain words.
        assert_eq!(Query::parse("a AND NOT (b").expect("words").words, "\"a\" \"AND\" \"NOT\" \"(b\"");
        // A word that stands there often is looked for once.
        let often = "the THE \"the\" the* ".repeat(100);
        assert_eq!(Query::parse(&often).expect("words").words, "\"the\" \"the\"*");
        assert_eq!(Query::parse("http://x.y").expect("a word").words, "\"http://x.y\"");
    }

    #[test]
    fn misuse_is_told() {
        for (text, says) in [
            ("\"open", "no \" at its end"),
            ("*", "no letter or digit"),
            ("!!!", "no letter or digit"),
            ("from:#ops", "takes a nick"),
            ("in:", "takes a #room or a nick"),
            ("after:soon", "takes a day or a time"),
            ("from:a from:b", "stands twice"),
            (" ", "nothing to search for"),
            ("a b c d e f g h i j k l m n o p q", "at most 16 different"),
            ("\"a b c d e f g h i\"", "at most 8 words"),
            ("a-b-c-d-e-f-g-h-i", "at most 8 words"),
        ] {
            let error = Query::parse(text).expect_err(text);
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
