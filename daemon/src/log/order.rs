//! What gives entries their order: the time of a pack, and where the log ends.

use snug_protocol::Timestamp;

/// What a pack is ordered under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// The time of the whole pack; never before that of an earlier one.
    pub(super) time: Timestamp,
    /// How long before it a key is still remembered, in milliseconds.
    pub(super) key_window: i64,
}

/// Where the log and its audit trail end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// The id of the newest entry; 0 before the first.
    pub(super) last_id: u64,
    /// The newest row of the audit trail and its hash.
    pub(super) audit_id: u64,
    pub(super) audit_hash: [u8; 32],
}
