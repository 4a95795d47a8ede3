//! Periodic work on sessions, entries and files.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::core::{Core, millis};
use crate::log::{Act, Author, FileAct, Outcome, View};
use crate::origin::Payer;
use crate::registry::ending::Ending;
use crate::retention::Retention;
use smol::Timer;
use snug_protocol::{Code, Timestamp};
use std::sync::Arc;

/// How often the log and the files are searched for what retention no longer keeps.
const PURGE: Duration = Duration::from_secs(10);

/// By how much the periodic work is late if the daemon did not run in between.
const LATE: Duration = Duration::from_millis(500);

/// How long a session that has fallen behind may read nothing, in milliseconds.
const STALL: u64 = 10_000;

/// How long a room of a guest is left alone in any case.
const DAY: Duration = Duration::from_secs(86_400);

/// Runs the periodic work. Checks sessions as often as the shortest time in the configuration requires.
pub(crate) async fn keep_up(core: Arc<Core>) {
    let mut purged = core.now();
    let mut day = String::new();
    core.look_after_disk();
    loop {
        let config = core.config();
        let shortest = config.heartbeat.ping.duration().min(config.limits.registration.duration());
        let pause = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let before = core.now();
        Timer::after(pause).await;
        let late = core.now().saturating_sub(before + millis(pause));
        if late > millis(LATE) {
            // This process was stopped, or the machine slept.
            core.registry.for_each_peer(|peer| peer.pardon(late));
        }
        core.look_after_sessions();
        if core.now().saturating_sub(purged) >= millis(PURGE) {
            purged = core.now();
            core.note_delivered();
            core.purge(0);
            core.look_after_files();
            core.retire_quiet_rooms();
            core.look_after_disk();
            let today = core.environment.clock.now().to_string()[..10].to_owned();
            if today != day {
                day = today;
                core.tell_audit_head();
            }
        }
    }
}

impl Core {
    /// Records in the log which private messages were delivered since the last call.
    pub(crate) fn note_delivered(&self) {
        for (number, id) in self.registry.newly_delivered() {
            self.note(Author { number, ..Author::default() }, Act::Deliver { id });
        }
    }

    /// Removes entries that retention no longer keeps, in the conversations after the number `behind`.
    pub(crate) fn purge(self: &Arc<Core>, behind: u64) {
        let config = self.config();
        let (rooms, private, audit) = (config.log.keep, config.log.keep_private, config.log.keep_audit);
        // A room that is closed from now on is for the next purge, which begins anew.
        let has_closed = behind > 0 || self.has_closed_rooms.swap(false, Relaxed);
        let keeps_everything = rooms == Retention::Forever
            && private == Retention::Forever
            && audit == Retention::Forever
            && !self.registry.has_rooms_of_few_entries()
            && !has_closed;
        // The writer also tidies its files with a purge, even if there is nothing to remove.
        let behind = if keeps_everything { u64::MAX >> 1 } else { behind };
        let core = Arc::clone(self);
        self.submit(Act::Purge { behind, rooms, private, audit }, move |_, outcome| match outcome {
            Outcome::Purged { next: Some(behind), .. } => core.purge(behind),
            Outcome::Purged { next: None, .. } => {}
            _ => core.has_closed_rooms.store(true, Relaxed),
        });
    }

    /// Ends the rooms of guests in which nobody is and nothing was said for the time in the settings; if such rooms use up
    /// the share of guests, for a day.
    pub(crate) fn retire_quiet_rooms(self: &Arc<Core>) {
        let config = self.config();
        let share = config.limits.rooms - config.limits.rooms / 4;
        let mut time = config.guests.rooms.duration();
        if self.registry.counts().2 as u64 >= share {
            time = time.min(DAY);
        }
        let now = self.environment.clock.now().millis();
        let before =
            Timestamp::from_millis(now.saturating_sub(i64::try_from(millis(time)).unwrap_or(i64::MAX)));
        let core = Arc::clone(self);
        let _ = self.read(
            Payer::Daemon,
            Box::new(move |view| {
                if let Some(Ok(last)) = view.map(|view| view.last_before(before)) {
                    core.retire_rooms(last);
                }
            }),
        );
    }

    /// Ends the rooms of guests in which nobody is and nothing was said after the entry `upto`. Returns the number of those
    /// that the log has ended so far.
    pub(crate) fn retire_rooms(self: &Arc<Core>, upto: u64) -> Arc<AtomicUsize> {
        let retired = Arc::default();
        if upto > 0 {
            let quiet = self.registry.take_quiet_rooms(upto);
            quiet.into_iter().for_each(|room| self.retire_upto(room, upto, Arc::clone(&retired)));
        }
        retired
    }

    /// Removes files that retention no longer keeps, abandoned uploads, and contents that nothing refers to.
    pub(crate) fn look_after_files(self: &Arc<Core>) {
        if self.files.store().is_err() {
            return;
        }
        let config = self.config();
        self.files.close_idle(self.now());
        let resume = i64::try_from(millis(config.files.resume.duration())).unwrap_or(i64::MAX);
        let abandoned = Timestamp::from_millis(self.environment.clock.now().millis().saturating_sub(resume));
        let alive = self.files.open_handles();
        let act = Act::File(FileAct::Expire { keep: config.files.keep, abandoned, alive });
        let core = Arc::clone(self);
        self.submit(act, move |store, outcome| {
            if let Outcome::Expired { uploads } = outcome {
                uploads.into_iter().for_each(|handle| core.files.close(handle));
            }
            let swept = core.files.sweep(&store.view());
            if !swept.is_empty() {
                core.note(Author::default(), Act::File(FileAct::Swept(swept)));
            }
            core.files.empty();
        });
    }

    /// Checks the sessions: pings silent ones, ends dead and nameless ones and those with an expired token, forgets
    /// guests, and closes the slowest readers if all outboxes together hold too much.
    pub(crate) fn look_after_sessions(&self) {
        let config = self.config();
        let now = self.now();
        let time = self.environment.clock.now();
        let [ping, dead, handshake, registration, linger] = [
            config.heartbeat.ping.duration(),
            config.heartbeat.dead.duration(),
            config.limits.handshake.duration(),
            config.limits.registration.duration(),
            config.guests.linger.duration(),
        ]
        .map(millis);
        self.registry.for_each_peer(|peer| {
            let must_seal = peer.origin.must_seal(config.listen.plaintext);
            peer.check_entrance(now, must_seal, handshake, registration);
            peer.check_pulse(now, ping, dead);
            peer.check_reading(now, STALL);
            let expires = peer.grant().and_then(|grant| grant.expires);
            if expires.is_some_and(|expires| expires <= time) {
                let text = "the token's time is over; make another one";
                peer.end(Ending::Dismissed(Code::OutOfScope, text.to_owned()));
            }
        });
        self.count_down();
        for number in self.registry.forget_guests(now, linger, config.guests.lingering) {
            self.note(Author { number, ..Author::default() }, Act::Forget);
        }
        self.shed();
    }

    /// Ends the sessions with the fullest outboxes until all outboxes together are within their limit again.
    fn shed(&self) {
        if self.budget.excess() == 0 {
            return;
        }
        let mut peers = Vec::new();
        self.registry.for_each_peer(|peer| peers.push((peer.weight(), Arc::clone(peer))));
        peers.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        for (weight, peer) in peers {
            if self.budget.excess() == 0 || weight == 0 {
                return;
            }
            let text = "the daemon is short of memory and you read slowly; connect again and resume";
            peer.end(Ending::Dismissed(Code::TooSlow, text.to_owned()));
        }
    }

    /// Writes to the daemon's own log where the audit log ends. An operator who keeps that line elsewhere can tell
    /// later whether the audit log was changed.
    fn tell_audit_head(&self) {
        let _ = self.read(
            Payer::Daemon,
            Box::new(|view| {
                if let Some(Ok((id, hash))) = view.map(View::audit_head) {
                    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                    tracing::info!("the audit trail ends with row {id}, {hash}");
                }
            }),
        );
    }
}
