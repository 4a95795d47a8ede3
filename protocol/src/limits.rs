//! The limits of the wire. The daemon announces them in its `INFO` answer; each is a ceiling of the format, and
//! a daemon's configuration may only go below it.

/// Longest line in bytes, both ways, without its LF.
pub const LINE: usize = 16_384;

/// Longest line in bytes while the connection holds no name.
pub const LINE_BEFORE_NAME: usize = 4_096;

/// Longest text in bytes, counted as it stands on the line (newlines and backslashes escaped), so that a relayed
/// message with all its tags always fits a line.
pub const TEXT: usize = 8_192;

/// Longest tag section of a client's line in bytes, without the `@` and the space behind it.
pub const TAGS: usize = 4_094;

/// Most tags on a client's line.
pub const TAG_COUNT: usize = 32;

/// Longest tag name in bytes; one with a leading `+` may be twice as long.
pub const TAG_NAME: usize = 32;

/// Most names that one WATCH holds.
pub const WATCHED: usize = 100;

/// Most bans that one room holds.
pub const BANS: usize = 1_000;

/// Longest nick in characters (after NFC).
pub const NICK: usize = 32;

/// Longest room name in characters without its `#` (after NFC).
pub const ROOM: usize = 64;

/// Longest `key`, `ref` or token tag in bytes.
pub const LABEL: usize = 64;

/// Most bytes that may follow one line with the tag `bytes=`: what fits one sealed record.
pub const BYTES: u64 = 65_535;

/// Longest echo of a verb in an `ERR`, in ASCII characters.
pub const ECHO: usize = 32;

/// Longest reaction in bytes.
pub const REACTION: usize = 64;

/// Rows of a page of history where the client does not say how many.
pub const PAGE: u64 = 50;

/// Conversations of a page of INBOX where the client does not say how many.
pub const INBOX: u64 = 200;

/// Most rows of a page of history.
pub const PAGE_MOST: u64 = 1_000;

/// Bytes of a file that go in one piece: a sealed record of it is a line below every buffer's 64 KiB and a bit.
pub const FILE_CHUNK: u64 = 48 << 10;

/// Longest name of a file in bytes: what file systems take.
pub const FILE_NAME: usize = 255;
