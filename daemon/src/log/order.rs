//! The order of entries: the time of a pack, and where the log ends.

use snug_protocol::Timestamp;

/// The time and limits that apply to a whole pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// The time of the pack. It is never before that of an earlier pack.
    pub(super) time: Timestamp,
    /// How long a key is remembered before `time`, in milliseconds.
    pub(super) key_window: i64,
}

/// The ends of the log and of its audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// The id of the newest entry; 0 before the first.
    pub(super) last_id: u64,
    /// The id of the newest row of the audit log, and its hash.
    pub(super) audit_id: u64,
    pub(super) audit_hash: [u8; 32],
}
