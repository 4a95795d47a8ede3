//! The tables, and the migrations from older versions.

use std::path::Path;

use rusqlite::Connection;

/// `PRAGMA application_id` of a log: `snug` in ASCII.
pub(super) const APPLICATION: i64 = 0x736e_7567;

/// The migrations. Each takes a log from one version to the next. The version is `PRAGMA user_version`.
pub(super) const MIGRATIONS: &[&str] =
    &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7];

const VERSION_1: &str = "
    -- One row: what the log is and where it ends. `last_id` and `last_time` are those of the newest entry that ever
    -- was. `is_copy` is set in a backup: who opens it gives the log a new name.
    CREATE TABLE state (
        one       INTEGER PRIMARY KEY CHECK (one = 1),
        name      INTEGER NOT NULL,
        last_id   INTEGER NOT NULL DEFAULT 0,
        last_time INTEGER NOT NULL DEFAULT 0,
        is_copy   INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- What entries belong to: a room or a pair of identities, with the same number there.
    -- Its entries up to `purged` are not all there any more.
    CREATE TABLE conversation (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        purged INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX conversation_purged ON conversation (purged) WHERE purged > 0;

    -- A room. `fold` is the form in which names are compared, `look` and `look_folded` are what the name looks like
    -- (UTS 39). `generation` counts how often it was made or found. `owner` is the identity that made it. `keep` is
    -- NULL for the daemon's own setting. `since` is the first entry under the present
    -- `history`. The topic is there with its author's nick and the tags of its entry.
    CREATE TABLE room (
        number      INTEGER PRIMARY KEY REFERENCES conversation (number),
        name        TEXT NOT NULL,
        fold        TEXT NOT NULL UNIQUE,
        look        TEXT NOT NULL,
        look_folded TEXT NOT NULL,
        ascii       INTEGER NOT NULL,
        generation  INTEGER NOT NULL DEFAULT 1,
        owner       INTEGER NOT NULL,
        history     TEXT NOT NULL DEFAULT 'all' CHECK (history IN ('all', 'joined', 'none')),
        keep        TEXT,
        since       INTEGER NOT NULL DEFAULT 0,
        topic       TEXT,
        topic_from  TEXT,
        topic_tags  TEXT
    ) STRICT;
    CREATE INDEX room_look ON room (look);
    CREATE INDEX room_look_folded ON room (look_folded);

    -- Two identities that have private messages with each other; `low` may be `high`.
    CREATE TABLE pair (
        number INTEGER PRIMARY KEY REFERENCES conversation (number),
        low    INTEGER NOT NULL,
        high   INTEGER NOT NULL,
        UNIQUE (low, high)
    ) STRICT;
    CREATE INDEX pair_high ON pair (high);

    -- Somebody who did something durable, or to whom it was done. `proof` is what shows that a session is theirs;
    -- NULL when nothing does any more. `delivered` is the newest private message that a session of theirs was given,
    -- `acknowledged` the newest that one has said to have.
    CREATE TABLE identity (
        number    INTEGER PRIMARY KEY,
        nick      TEXT NOT NULL,
        fold      TEXT NOT NULL,
        proof     TEXT UNIQUE,
        bot       INTEGER NOT NULL,
        delivered INTEGER NOT NULL DEFAULT 0,
        acknowledged INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX identity_fold ON identity (fold);

    -- Every entry. `peer` and `peer_nick` are the other one of a private message. `time` is in milliseconds since
    -- 1970. `about` is the entry that an edit, deletion or reaction speaks of. `edited` and `deleted` are the entries
    -- that last did so to this one. `reactions` is what they add up to. `sum` is the checksum of the row.
    CREATE TABLE entry (
        id           INTEGER PRIMARY KEY,
        time         INTEGER NOT NULL,
        kind         TEXT NOT NULL,
        conversation INTEGER NOT NULL REFERENCES conversation (number),
        author       INTEGER NOT NULL,
        nick         TEXT NOT NULL,
        bot          INTEGER NOT NULL,
        peer         INTEGER,
        peer_nick    TEXT,
        text         TEXT,
        re           INTEGER,
        about        INTEGER,
        tags         TEXT NOT NULL,
        edited       INTEGER,
        deleted      INTEGER,
        reactions    TEXT NOT NULL DEFAULT '',
        sum          INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX entry_conversation ON entry (conversation, id);
    CREATE INDEX entry_peer ON entry (peer, id) WHERE peer IS NOT NULL;
    CREATE INDEX entry_private ON entry (author, id) WHERE peer IS NOT NULL;
    CREATE INDEX entry_about ON entry (about) WHERE about IS NOT NULL;

    -- The keys of messages. `said` is a hash of what was said; NULL when that was deleted.
    CREATE TABLE key (
        author       INTEGER NOT NULL,
        conversation INTEGER NOT NULL,
        key          TEXT NOT NULL,
        entry        INTEGER NOT NULL,
        time         INTEGER NOT NULL,
        said         BLOB,
        PRIMARY KEY (author, conversation, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX key_entry ON key (entry);

    -- The newest message under a word that `replace` names.
    CREATE TABLE replaceable (
        author       INTEGER NOT NULL,
        conversation INTEGER NOT NULL,
        word         TEXT NOT NULL,
        entry        INTEGER NOT NULL,
        PRIMARY KEY (author, conversation, word)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replaceable_entry ON replaceable (entry);

    -- Who reacted to what how, and with which entry.
    CREATE TABLE reaction (
        entry    INTEGER NOT NULL,
        author   INTEGER NOT NULL,
        reaction TEXT NOT NULL,
        id       INTEGER NOT NULL,
        PRIMARY KEY (entry, author, reaction)
    ) STRICT, WITHOUT ROWID;

    -- Up to where an identity has read, and up to where it has told the other one of a pair so; up to where its
    -- sessions have acknowledged private messages.
    CREATE TABLE marker (
        identity     INTEGER NOT NULL,
        conversation INTEGER NOT NULL,
        read         INTEGER NOT NULL DEFAULT 0,
        told         INTEGER NOT NULL DEFAULT 0,
        delivered    INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (identity, conversation)
    ) STRICT, WITHOUT ROWID;

    -- When somebody was in a room whose history is for those who were: from one entry to another, both included;
    -- NULL while the stay goes on.
    CREATE TABLE stay (
        room     INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        first    INTEGER NOT NULL,
        last     INTEGER
    ) STRICT;
    CREATE INDEX stay_who ON stay (room, identity);

    -- What was said in a room while everybody might read it, and somebody changed that since: from one entry to another,
    -- both included.
    CREATE TABLE span (
        room  INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX span_room ON span (room);

    -- Entries whose text has to leave the search index.
    CREATE TABLE unindexed (id INTEGER PRIMARY KEY) STRICT;
";

const VERSION_2: &str = "
    -- `guard` is 1 while somebody is banned or muted on the whole server. The audit trail ends at `audit_id`; its rows up
    -- to `audit_gone` were purged, of which `audit_gone_hash` is the last one's hash.
    ALTER TABLE state ADD COLUMN guard INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN audit_id INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN audit_hash BLOB NOT NULL
        DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
    ALTER TABLE state ADD COLUMN audit_gone INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN audit_gone_hash BLOB NOT NULL
        DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';

    -- `slow` is the time between two messages of one sender in milliseconds; 0 for none. `guard` is 1 while not everybody
    -- may do everything that one does in a room.
    ALTER TABLE room ADD COLUMN access TEXT NOT NULL DEFAULT 'public';
    ALTER TABLE room ADD COLUMN may_join TEXT NOT NULL DEFAULT 'all';
    ALTER TABLE room ADD COLUMN may_read TEXT NOT NULL DEFAULT 'all';
    ALTER TABLE room ADD COLUMN may_send TEXT NOT NULL DEFAULT 'all';
    ALTER TABLE room ADD COLUMN may_invite TEXT NOT NULL DEFAULT 'members';
    ALTER TABLE room ADD COLUMN slow INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE room ADD COLUMN description TEXT;
    ALTER TABLE room ADD COLUMN guard INTEGER NOT NULL DEFAULT 0;

    -- An account is the identity of the same number. `password` is a PHC string. `user` is the user of this machine who
    -- made it over the Unix socket, and needs no other proof there.
    CREATE TABLE account (
        number      INTEGER PRIMARY KEY,
        name        TEXT NOT NULL,
        fold        TEXT NOT NULL UNIQUE,
        look        TEXT NOT NULL,
        look_folded TEXT NOT NULL,
        ascii       INTEGER NOT NULL,
        role        TEXT NOT NULL CHECK (role IN ('operator', 'member', 'bot')),
        password    TEXT,
        user        INTEGER,
        created     INTEGER NOT NULL,
        display     TEXT,
        colour      TEXT,
        avatar_type TEXT,
        avatar      BLOB
    ) STRICT;
    CREATE INDEX account_look ON account (look);
    CREATE INDEX account_look_folded ON account (look_folded);

    CREATE TABLE account_key (
        account INTEGER NOT NULL REFERENCES account (number),
        label   TEXT NOT NULL,
        key     BLOB NOT NULL,
        added   INTEGER NOT NULL,
        PRIMARY KEY (account, label),
        UNIQUE (account, key)
    ) STRICT, WITHOUT ROWID;

    -- `hash` is of the token, which is not kept. `may`, `rooms` and `rate` are its scope.
    CREATE TABLE token (
        hash    BLOB PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account (number),
        label   TEXT NOT NULL,
        may     TEXT NOT NULL,
        rooms   TEXT NOT NULL,
        rate    TEXT NOT NULL,
        added   INTEGER NOT NULL,
        expires INTEGER,
        UNIQUE (account, label)
    ) STRICT, WITHOUT ROWID;

    -- Invites to the server that nobody has used.
    CREATE TABLE invite (
        hash    BLOB PRIMARY KEY,
        author  INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Who is on a room's list, and as what. The owner is in the room's own row.
    CREATE TABLE member (
        room     INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        role     TEXT NOT NULL CHECK (role IN ('moderator', 'member')),
        PRIMARY KEY (room, identity)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX member_identity ON member (identity);

    -- Who is kept out of a room, or of the server (room 0). `value` is an identity's number, an address range or a token's
    -- account and label; `shown` is what it is called. `until` is NULL for ever.
    CREATE TABLE ban (
        room   INTEGER NOT NULL,
        kind   TEXT NOT NULL CHECK (kind IN ('identity', 'address', 'token')),
        value  TEXT NOT NULL,
        shown  TEXT NOT NULL,
        reason TEXT,
        author TEXT NOT NULL,
        time   INTEGER NOT NULL,
        until  INTEGER,
        PRIMARY KEY (room, kind, value)
    ) STRICT, WITHOUT ROWID;

    -- Who may not speak in a room, or anywhere (room 0).
    CREATE TABLE mute (
        room     INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        until    INTEGER NOT NULL,
        PRIMARY KEY (room, identity)
    ) STRICT, WITHOUT ROWID;

    -- When somebody last spoke in a room that is slow.
    CREATE TABLE spoken (
        room     INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        time     INTEGER NOT NULL,
        PRIMARY KEY (room, identity)
    ) STRICT, WITHOUT ROWID;

    -- What was done. `who` and `whom` are names of then. `hash` is over the row and the hash of the one before.
    CREATE TABLE audit (
        id      INTEGER PRIMARY KEY,
        time    INTEGER NOT NULL,
        event   TEXT NOT NULL,
        number  INTEGER NOT NULL,
        who     TEXT NOT NULL,
        whom    TEXT NOT NULL,
        address TEXT NOT NULL,
        detail  TEXT NOT NULL,
        hash    BLOB NOT NULL
    ) STRICT;
    CREATE INDEX audit_who ON audit (who, id);
    CREATE INDEX audit_event ON audit (event, id);
";

const VERSION_3: &str = "
    -- `file_size` is in bytes; NULL for the daemon's own limit. `file_types` is a comma list of media types; NULL for all.
    ALTER TABLE room ADD COLUMN file_size INTEGER;
    ALTER TABLE room ADD COLUMN file_types TEXT;

    -- A file on its way to a room or a person (`peer`). `most` is how many bytes it may have. `entry` is what it became; such
    -- a row stays a while, for who did not hear of it. `time` is when it was last asked for.
    CREATE TABLE upload (
        handle    INTEGER PRIMARY KEY AUTOINCREMENT,
        author    INTEGER NOT NULL,
        room      INTEGER,
        peer      INTEGER,
        peer_nick TEXT NOT NULL,
        name      TEXT NOT NULL,
        size      INTEGER,
        hash      BLOB,
        kind      TEXT,
        most      INTEGER NOT NULL,
        key       TEXT,
        entry     INTEGER,
        time      INTEGER NOT NULL,
        UNIQUE (author, key)
    ) STRICT;
    CREATE INDEX upload_open ON upload (author, size) WHERE entry IS NULL;
    CREATE INDEX upload_time ON upload (time);

    -- How many bytes of files there are: of an author, in a conversation, and in all (number 0).
    CREATE TABLE file_usage (
        kind   TEXT NOT NULL CHECK (kind IN ('author', 'conversation', 'all')),
        number INTEGER NOT NULL,
        bytes  INTEGER NOT NULL,
        PRIMARY KEY (kind, number)
    ) STRICT, WITHOUT ROWID;

    -- A file that was offered with an entry and is kept. `hash` is the SHA-256 of its content, under which that is stored.
    CREATE TABLE file (
        entry        INTEGER PRIMARY KEY,
        author       INTEGER NOT NULL,
        conversation INTEGER NOT NULL,
        hash         BLOB NOT NULL,
        size         INTEGER NOT NULL,
        time         INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX file_conversation ON file (conversation, entry);
    CREATE INDEX file_hash ON file (hash);
    CREATE INDEX file_time ON file (time);

    -- Who has said what about a file.
    CREATE TABLE taken (
        entry    INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('declined', 'accepted', 'done')),
        time     INTEGER NOT NULL,
        PRIMARY KEY (entry, identity)
    ) STRICT, WITHOUT ROWID;

    -- Contents that may have no file any more.
    CREATE TABLE unstored (hash BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

    CREATE TRIGGER entry_gone AFTER DELETE ON entry WHEN old.kind = 'FILE' BEGIN
        DELETE FROM file WHERE entry = old.id;
    END;
    CREATE TRIGGER file_came AFTER INSERT ON file BEGIN
        INSERT INTO file_usage (kind, number, bytes)
            VALUES ('author', new.author, new.size), ('conversation', new.conversation, new.size), ('all', 0, new.size)
            ON CONFLICT (kind, number) DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER file_gone AFTER DELETE ON file BEGIN
        UPDATE file_usage SET bytes = bytes - old.size
            WHERE (kind = 'author' AND number = old.author) OR (kind = 'conversation' AND number = old.conversation)
                OR (kind = 'all' AND number = 0);
        DELETE FROM file_usage WHERE bytes <= 0 AND kind = 'author' AND number = old.author;
        INSERT OR IGNORE INTO unstored (hash) VALUES (old.hash);
        DELETE FROM taken WHERE entry = old.entry;
    END;
";

const VERSION_4: &str = "
    -- Up to where a bot of the daemon's own has dealt with what was said.
    CREATE TABLE bot (
        name   TEXT PRIMARY KEY,
        cursor INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- What such a bot keeps.
    CREATE TABLE bot_state (
        bot   TEXT NOT NULL,
        name  TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (bot, name)
    ) STRICT, WITHOUT ROWID;
";

const VERSION_5: &str = "
    -- `read_since` is the first entry under the present rank to read (`access` and `may_read`).
    ALTER TABLE room ADD COLUMN read_since INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX room_owner ON room (owner);

    -- What was said in a room while only those of the rank `may_read` might read it, and that changed since: from one
    -- entry to another, both included.
    CREATE TABLE closed_span (
        room     INTEGER NOT NULL,
        first    INTEGER NOT NULL,
        last     INTEGER NOT NULL,
        may_read TEXT NOT NULL
    ) STRICT;
    CREATE INDEX closed_span_room ON closed_span (room);

    CREATE INDEX stay_identity ON stay (identity);
    CREATE INDEX room_may_read ON room (may_read) WHERE may_read != 'all';

    -- `password_by` is the operator who has set the password; NULL if the account itself has.
    ALTER TABLE account ADD COLUMN password_by TEXT;

    -- Bans and mutes of a deleted account stay with its folded name while they last.
    ALTER TABLE ban RENAME TO ban_of_version_4;
    CREATE TABLE ban (
        room   INTEGER NOT NULL,
        kind   TEXT NOT NULL CHECK (kind IN ('identity', 'name', 'address', 'token')),
        value  TEXT NOT NULL,
        shown  TEXT NOT NULL,
        reason TEXT,
        author TEXT NOT NULL,
        time   INTEGER NOT NULL,
        until  INTEGER,
        PRIMARY KEY (room, kind, value)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO ban SELECT * FROM ban_of_version_4;
    DROP TABLE ban_of_version_4;
    CREATE TABLE muted_name (
        room  INTEGER NOT NULL,
        fold  TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (room, fold)
    ) STRICT, WITHOUT ROWID;
";

const VERSION_6: &str = "
    -- The rooms that an account is in, whether it is there or not.
    CREATE TABLE membership (
        identity INTEGER NOT NULL,
        room     INTEGER NOT NULL,
        PRIMARY KEY (identity, room)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX membership_room ON membership (room);

    -- Invitations to rooms that nobody has followed yet: from whom, and when.
    CREATE TABLE invitation (
        identity INTEGER NOT NULL,
        room     INTEGER NOT NULL,
        nick     TEXT NOT NULL,
        time     INTEGER NOT NULL,
        PRIMARY KEY (identity, room)
    ) STRICT, WITHOUT ROWID;

    -- Whether the account has come into the lobby once.
    ALTER TABLE account ADD COLUMN has_come INTEGER NOT NULL DEFAULT 0;

    -- The first 16 hexadecimal digits of the SHA-256 of the avatar.
    ALTER TABLE account ADD COLUMN avatar_hash TEXT;
";

const VERSION_7: &str = "
    -- The entry that a file answers, and its relayed tags as written on the line, until it is an entry itself.
    ALTER TABLE upload ADD COLUMN re INTEGER;
    ALTER TABLE upload ADD COLUMN tags TEXT NOT NULL DEFAULT '';

    -- Who may set the topic.
    ALTER TABLE room ADD COLUMN may_topic TEXT NOT NULL DEFAULT 'all';

    -- The newest entry when somebody got the role.
    ALTER TABLE member ADD COLUMN since INTEGER NOT NULL DEFAULT 0;

    -- Entries of rooms that are in somebody's own log as well, because they say what was done about them.
    CREATE TABLE concerning (
        identity INTEGER NOT NULL,
        entry    INTEGER NOT NULL,
        PRIMARY KEY (identity, entry)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX concerning_entry ON concerning (entry);
    CREATE TRIGGER concerning_gone AFTER DELETE ON entry WHEN old.kind IN ('INVITE', 'KICK', 'BAN') BEGIN
        DELETE FROM concerning WHERE entry = old.id;
    END;
";

/// The reason why a log cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrationError {
    #[error("it is of version {found}, and this snugd knows versions up to {known}; use a newer snugd")]
    Newer { found: i64, known: usize },
    #[error("it is no log of snugd")]
    Foreign,
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Migrates a database to the newest version, each step in a transaction of its own. A log that is not empty is first
/// copied to a file beside it. Returns the copy's path, if one was made.
pub(super) fn migrate(
    database: &mut Connection,
    path: Option<&Path>,
    migrations: &[&str],
) -> Result<Option<std::path::PathBuf>, MigrationError> {
    let pragma = |database: &Connection, name| database.pragma_query_value(None, name, |row| row.get(0));
    let (application, found): (i64, i64) =
        (pragma(database, "application_id")?, pragma(database, "user_version")?);
    let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION {
        return Err(MigrationError::Foreign);
    }
    let known = migrations.len();
    let Some(version) = usize::try_from(found).ok().filter(|version| *version <= known) else {
        return Err(MigrationError::Newer { found, known });
    };
    if version == known {
        return Ok(None);
    }
    let mut copy = None;
    if let (Some(path), true) = (path, tables > 0) {
        let file = path.with_extension(format!("version-{version}.db"));
        // An existing copy is left from an interrupted attempt.
        let _ = std::fs::remove_file(&file);
        database.execute("VACUUM INTO ?1", [file.to_string_lossy()])?;
        copy = Some(file);
    }
    for (step, sql) in migrations.iter().enumerate().skip(version) {
        let transaction = database.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", i64::try_from(step + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_log_is_copied_and_then_brought_forward() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.db");
        let steps =
            ["CREATE TABLE a (x); INSERT INTO a VALUES (1);", "ALTER TABLE a ADD COLUMN y DEFAULT 7;"];
        let mut database = Connection::open(&path).expect("a database");
        assert_eq!(migrate(&mut database, Some(&path), &steps[..1]).expect("version 1"), None);
        assert_eq!(migrate(&mut database, Some(&path), &steps[..1]).expect("nothing to do"), None);
        let copy = migrate(&mut database, Some(&path), &steps).expect("version 2").expect("a copy");
        let sum = |database: &Connection, sql| database.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(sum(&database, "SELECT x + y FROM a"), Ok(8));
        let copy = Connection::open(copy).expect("a database");
        assert_eq!(sum(&copy, "SELECT x FROM a"), Ok(1));
        assert!(sum(&copy, "SELECT y FROM a").is_err(), "the copy is as it was");

        let newer = migrate(&mut database, Some(&path), &steps[..1]).expect_err("a newer log");
        assert!(newer.to_string().contains("version 2"), "{newer}");
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let mut database = Connection::open_in_memory().expect("a database");
        let steps = ["CREATE TABLE a (x);", "CREATE TABLE b (x); INSERT INTO nothing VALUES (1);"];
        assert!(migrate(&mut database, None, &steps).is_err());
        let version: i64 =
            database.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(version, 1);
        assert!(database.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn another_program_s_database_is_left_alone() {
        let mut database = Connection::open_in_memory().expect("a database");
        database.execute_batch("CREATE TABLE a (x)").expect("a table");
        assert!(matches!(migrate(&mut database, None, MIGRATIONS), Err(MigrationError::Foreign)));
    }
}
