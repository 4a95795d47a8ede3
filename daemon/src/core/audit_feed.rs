//! Operators' sessions that follow the audit log as it grows.

use crate::core::Core;
use crate::log::{AuditFilter, AuditPart, View};
use crate::origin::Origin;
use crate::registry::peer::Peer;
use snug_protocol::Role;
use std::sync::{Arc, PoisonError, Weak};

/// A session that follows the audit log.
pub(super) struct Follower {
    peer: Weak<Peer>,
    filter: AuditFilter,
    label: Option<String>,
    /// Whether it is an operator's session by its origin, whatever happens to its account.
    is_operator: bool,
    /// The last row that was considered for it.
    seen: u64,
}

impl Core {
    /// Lets a session follow the audit log, from the row after `seen` on.
    pub(crate) fn follow(&self, peer: &Arc<Peer>, filter: AuditFilter, label: Option<String>, seen: u64) {
        let is_operator = match peer.origin {
            Origin::Unix(user) => user == self.operator,
            Origin::Embedder(role) => role == Role::Operator,
            Origin::Tcp(_) | Origin::Bot => false,
        };
        let peer = Arc::downgrade(peer);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|other| !other.peer.ptr_eq(&peer));
        followers.push(Follower { peer, filter, label, is_operator, seen });
    }

    /// Sends the new rows of the audit log to the sessions that follow it. Runs on the writer's thread.
    pub(crate) fn tell_followers(&self, view: &View<'_>) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| follower.peer.strong_count() > 0);
        for follower in followers.iter_mut() {
            let Some(peer) = follower.peer.upgrade() else { continue };
            if !follower.is_operator && !self.is_operator(&peer) {
                // It is no operator's session any more. The next call removes the dead reference.
                follower.peer = Weak::new();
                continue;
            }
            let part = AuditPart::After(follower.seen);
            let Ok((rows, _)) = view.audit(&AuditFilter::default(), part, 1_000) else { continue };
            let mut lines = Vec::new();
            for row in &rows {
                follower.seen = row.id;
                if follower.filter.has(row) {
                    row.write(follower.label.as_deref(), &mut lines);
                }
            }
            if !lines.is_empty() {
                peer.push(&lines);
            }
        }
    }

    /// Returns whether the identity of a session is an operator's.
    fn is_operator(&self, peer: &Peer) -> bool {
        self.registry.identity(peer.identity()).is_some_and(|identity| identity.role() == Role::Operator)
    }
}
