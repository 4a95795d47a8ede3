//! The tables.

use rusqlite::Connection;

/// Makes the tables of an empty database.
pub(super) fn create(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "
        -- A room, by its number. `fold` is the form in which names are compared, `look` and `look_folded` are what
        -- the name looks like (UTS 39). `generation` counts how often it was made or found.
        CREATE TABLE room (
            number      INTEGER PRIMARY KEY,
            name        TEXT NOT NULL,
            fold        TEXT NOT NULL UNIQUE,
            look        TEXT NOT NULL,
            look_folded TEXT NOT NULL,
            ascii       INTEGER NOT NULL,
            generation  INTEGER NOT NULL DEFAULT 1
        ) STRICT;
        CREATE INDEX room_look ON room (look);
        CREATE INDEX room_look_folded ON room (look_folded);

        -- Every entry. Exactly one of `room` and `peer` is set; `peer` is the other identity of a private message.
        -- `time` is in milliseconds since 1970. `original` is what was said before filters, where that differs.
        CREATE TABLE entry (
            id       INTEGER PRIMARY KEY,
            time     INTEGER NOT NULL,
            kind     TEXT NOT NULL,
            author   INTEGER NOT NULL,
            nick     TEXT NOT NULL,
            bot      INTEGER NOT NULL,
            room     INTEGER REFERENCES room (number),
            peer     INTEGER,
            text     TEXT,
            original TEXT,
            re       INTEGER,
            tags     TEXT NOT NULL
        ) STRICT;
        CREATE INDEX entry_room ON entry (room) WHERE room IS NOT NULL;

        -- The keys of messages. `room` and `peer` are 0 where the entry has none.
        CREATE TABLE key (
            author INTEGER NOT NULL,
            room   INTEGER NOT NULL,
            peer   INTEGER NOT NULL,
            key    TEXT NOT NULL,
            entry  INTEGER NOT NULL,
            time   INTEGER NOT NULL,
            PRIMARY KEY (author, room, peer, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX key_entry ON key (entry);
        ",
    )
}
