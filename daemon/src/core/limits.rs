//! Limits that refuse: rate limits and bans, and the audit log's rows about refusals.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Size;
use crate::core::Core;
use crate::log::{AuditNote, Author, BanRow, Mutes, Storage, TokenHash, View};
use crate::origin::Source;
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::throttle::{Quota, Throttle};
use snug_protocol::{Code, Role, Verb};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The state of the rate limits.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    accounts: Throttle<u64>,
    addresses: Throttle<IpAddr>,
    rooms: Throttle<u64>,
    /// The same for bytes, and for those of all guests.
    account_bytes: Throttle<u64>,
    address_bytes: Throttle<IpAddr>,
    room_bytes: Throttle<u64>,
    guest_bytes: Throttle<()>,
    pub(crate) tokens: Throttle<TokenHash>,
    pub(crate) connections: Throttle<()>,
    /// Lines in the daemon's own log about connections that could not be taken.
    pub(crate) accept_errors: Throttle<()>,
    /// Attempts to log in: to an account from an address, to an account from addresses that it has never come from,
    /// and from an address to any account.
    pub(crate) logins: Throttle<(String, Source)>,
    pub(crate) strangers: Throttle<String>,
    pub(crate) login_addresses: Throttle<Source>,
    pub(crate) registrations: Throttle<Source>,
    /// Logins, by address.
    pub(crate) entrances: Throttle<IpAddr>,
    /// Joins and leaves, by identity.
    pub(crate) moves: Throttle<u64>,
    /// Rooms that guests make, by address.
    pub(crate) new_rooms: Throttle<IpAddr>,
    /// Errors of all sessions without a name together.
    strangers_noise: Throttle<()>,
    /// The addresses that accounts have come from.
    known: Mutex<HashSet<(u64, IpAddr)>>,
}

/// The rate limit for audit rows about errors of sessions without a name.
const NOISE: Quota = Quota { burst: 100, interval: Duration::from_secs(1) };

/// How many seconds' worth of bytes may come at once.
const BURST: u64 = 16;

/// Maximum number of remembered addresses of accounts.
const KNOWN: usize = 100_000;

impl Throttles {
    /// Notes that an account has come from an address.
    pub(crate) fn came_from(&self, account: u64, address: IpAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            // An account that comes again is noted again.
            known.clear();
        }
        known.insert((account, address));
    }

    /// Returns whether an account has ever come from an address.
    pub(crate) fn is_known(&self, account: u64, address: IpAddr) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&(account, address))
    }
}

impl Core {
    /// Returns whether a session's error is recorded. All sessions without a name share a rate limit, because they
    /// could fill a disk with their errors.
    pub(crate) fn is_noted(&self, peer: &Peer) -> bool {
        let now = self.environment.clock.elapsed();
        peer.identity() != 0 || self.throttles.strangers_noise.take((), NOISE, now).is_ok()
    }

    /// Counts a refusal, and records it in the audit log unless there are too many.
    pub(crate) fn note_refusal(&self, peer: &Peer, author: Author, verb: &str, code: Code) {
        self.counters.refused.count(code);
        if !self.is_noted(peer) {
            return;
        }
        if let Some(passed_over) = peer.notes_error(self.now()) {
            let more = if passed_over > 0 { format!(", {passed_over} more before") } else { String::new() };
            // A word that is no verb may be something that was typed into the wrong window.
            let verb = Verb::find(verb).map_or("-", Verb::word);
            self.audit(author, AuditNote::new("error", "", format!("{verb} {code}{more}")));
        }
    }

    /// Refuses a message of `size` bytes that exceeds the rate limits of an identity in all its sessions, of an address, or
    /// of a room; or what guests may write.
    pub(crate) fn check_rates(
        &self,
        peer: &Peer,
        role: Role,
        room: Option<u64>,
        size: usize,
    ) -> Result<(), Refusal> {
        if !peer.origin.is_throttled() {
            return Ok(());
        }
        let config = self.config();
        let limits = &config.limits;
        let now = self.environment.clock.elapsed();
        let slow_down = |what: &str| {
            let text = format!("{what} at once; wait, and send it again");
            move |wait| Refusal::new(Code::SlowDown, text).after(wait)
        };
        if let Some(quota) = Quota::per_second(limits.account_rate, limits.account_burst) {
            self.throttles
                .accounts
                .take(peer.identity(), quota, now)
                .map_err(slow_down("you send too much"))?;
        }
        if let (Some(address), Some(quota)) =
            (peer.origin.counted_address(), Quota::per_second(limits.address_rate, limits.address_burst))
        {
            self.throttles
                .addresses
                .take(address, quota, now)
                .map_err(slow_down("too much is sent from your address"))?;
        }
        if let (Some(room), Some(quota)) = (room, Quota::per_second(limits.room_rate, limits.room_burst)) {
            self.throttles.rooms.take(room, quota, now).map_err(slow_down("too much is said in the room"))?;
        }
        self.check_bytes(peer, role, room, size as u64)
    }

    /// Refuses bytes beyond the rate limits of an identity, an address, a room, and of all guests together.
    fn check_bytes(&self, peer: &Peer, role: Role, room: Option<u64>, size: u64) -> Result<(), Refusal> {
        let config = self.config();
        let limits = &config.limits;
        let now = self.environment.clock.elapsed();
        let is_guest = role < Role::Bot;
        if is_guest && self.is_short_of_disk.load(Relaxed) {
            let text = "the server's disk is nearly full, and only accounts write now; tell its operator";
            return Err(Refusal::new(Code::StorageFull, text));
        }
        let per_second = |limit: Size<0>| {
            let rate = limit.bytes() as u64;
            Quota::per_second(rate, rate.saturating_mul(BURST))
        };
        let slow_down = |what: &str| {
            let text = format!("{what}: too many bytes in a second; wait, and send it again");
            move |wait| Refusal::new(Code::SlowDown, text).after(wait)
        };
        let own = if is_guest { limits.guest_bytes } else { limits.account_bytes };
        if let Some(quota) = per_second(own) {
            let refused = slow_down("you send too much");
            self.throttles.account_bytes.take_many(peer.identity(), size, quota, now).map_err(refused)?;
        }
        if let (Some(address), Some(quota)) =
            (peer.origin.counted_address(), per_second(limits.address_bytes))
        {
            let refused = slow_down("too much is sent from your address");
            self.throttles.address_bytes.take_many(address, size, quota, now).map_err(refused)?;
        }
        if let (Some(room), Some(quota)) = (room, per_second(limits.room_bytes)) {
            let refused = slow_down("too much is said in the room");
            self.throttles.room_bytes.take_many(room, size, quota, now).map_err(refused)?;
        }
        let daily = config.log.guests.bytes() as u64;
        if let Some(quota) =
            Quota::per_second(daily.div_ceil(86_400), daily).filter(|_| is_guest && daily > 0)
        {
            self.throttles.guest_bytes.take_many((), size, quota, now).map_err(|wait| {
                let text = "all guests together have written what they may in a day; an account is not bound by that";
                Refusal::new(Code::SlowDown, text).after(wait)
            })?;
        }
        Ok(())
    }

    /// Looks whether guests have to leave the rest of the disk to others.
    pub(crate) fn look_after_disk(&self) {
        let Storage::Folder { folder, .. } = &self.place else { return };
        let reserve = self.config().log.reserve.bytes() as u64;
        let is_short = match rustix::fs::statvfs(folder) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize) < reserve,
            Err(error) => {
                tracing::warn!("the free space of {} is not known: {error}", folder.display());
                false
            }
        };
        if is_short && !self.is_short_of_disk.swap(is_short, Relaxed) {
            tracing::error!(
                "less than {} is free on the disk of {}: guests write no more",
                self.config().log.reserve,
                folder.display()
            );
        }
        self.is_short_of_disk.store(is_short, Relaxed);
    }

    /// Returns the server's bans.
    #[cfg(test)]
    pub(crate) fn bans(&self) -> Arc<Vec<BanRow>> {
        Arc::clone(&self.bans.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the server's bans to those of the log.
    pub(crate) fn set_bans(&self, bans: Vec<BanRow>) {
        *self.bans.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bans);
    }

    /// Returns who is muted.
    pub(crate) fn mutes(&self) -> Arc<Mutes> {
        Arc::clone(&self.mutes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the mutes over from the log. If they cannot be read, the previous ones stay in force.
    pub(crate) fn learn_mutes(&self, view: &View<'_>) {
        match view.mutes() {
            Ok(mutes) => *self.mutes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mutes),
            Err(error) => tracing::error!("the mutes cannot be read: {error}"),
        }
    }

    /// Returns the refusal for a banned address, identity or nickname; `None` if neither is banned.
    pub(crate) fn ban_of(&self, address: Option<IpAddr>, identity: Option<(u64, &str)>) -> Option<Refusal> {
        let bans = Arc::clone(&self.bans.read().unwrap_or_else(PoisonError::into_inner));
        if bans.is_empty() {
            return None;
        }
        let now = self.environment.clock.now();
        let concerns = |ban: &&BanRow| {
            ban.holds(now)
                && match ban.network() {
                    Some(network) => address.is_some_and(|address| network.contains(&address)),
                    None => identity.is_some_and(|(number, nick)| ban.is_of(number, nick)),
                }
        };
        bans.iter().find(concerns).map(|ban| Refusal::new(Code::Banned, ban.notice("this server")))
    }
}
