//! A session as the rest of the daemon sees it: its outbox and its state.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;

use snug_protocol::{Body, Code, Cursor, RoomName, Scope, ServerLine};

use super::ending::Ending;
use super::outbox::{Budget, Chunks, InFlight, Outbox, OutboxState, Piece, Shared};
use crate::cost::{Cost, Spent};
use crate::log::Grant;
use crate::origin::{Origin, Payer};

/// A session's shared half. Every method may be called from any thread and takes a short lock at most.
pub(crate) struct Peer {
    /// The session's number, unique in this run of the daemon.
    pub(crate) id: u64,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// When it connected, in milliseconds of [`Clock::elapsed`](crate::Clock::elapsed).
    came: u64,
    /// The number of the identity it speaks for; 0 before NICK.
    identity: AtomicU64,
    /// When it last showed activity, by the same clock.
    heard: AtomicU64,
    /// When the daemon last sent it a PING; 0 for never.
    pinged: AtomicU64,
    /// Whether it is known to answer a PING.
    answers_pings: AtomicBool,
    /// Whether it has sent HELLO.
    has_greeted: AtomicBool,
    /// Whether the daemon has opened an envelope from it, which proves that it has the keys.
    has_proved: AtomicBool,
    /// Whether the daemon has stopped reading from it, so that its silence means nothing.
    held_up: AtomicBool,
    /// Whether it receives entries as they are delivered; not while it is catching up.
    is_live: AtomicBool,
    /// Whether it has fallen behind what is delivered, and whether it has read anything since that was last looked at.
    is_behind: AtomicBool,
    has_read: AtomicBool,
    /// Since when it has read nothing while it was behind, by the same clock; 0 if that is not so.
    stalled: AtomicU64,
    /// Whether it logged in with `quiet`, to send rather than to listen.
    is_quiet: AtomicBool,
    /// The grant of the access token that it logged in with, if any.
    grant: OnceLock<Box<Grant>>,
    /// The scope of the bot whose session it is. It says which rooms the bot may fetch files of.
    bot_scope: OnceLock<Box<Scope>>,
    /// How many of its errors were recorded recently.
    errors: Mutex<Errors>,
    /// What its commands have cost.
    pub(crate) spent: Spent,
    budget: Arc<Budget>,
    outbox: Mutex<Outbox>,
}

/// The number of a session's errors recorded recently, so that a flood is not recorded one by one.
#[derive(Clone, Copy, Debug, Default)]
struct Errors {
    since: u64,
    count: u32,
    passed_over: u32,
}

impl Peer {
    pub(crate) fn new(id: u64, origin: Origin, now: u64, budget: Arc<Budget>) -> Peer {
        Peer {
            id,
            origin,
            came: now,
            identity: AtomicU64::new(0),
            heard: AtomicU64::new(now),
            pinged: AtomicU64::new(0),
            answers_pings: AtomicBool::new(false),
            has_greeted: AtomicBool::new(false),
            has_proved: AtomicBool::new(false),
            held_up: AtomicBool::new(false),
            is_live: AtomicBool::new(true),
            is_behind: AtomicBool::new(false),
            has_read: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
            is_quiet: AtomicBool::new(false),
            grant: OnceLock::new(),
            bot_scope: OnceLock::new(),
            errors: Mutex::default(),
            spent: Spent::default(),
            budget,
            outbox: Mutex::default(),
        }
    }

    /// Returns the number of the identity it speaks for; 0 before NICK.
    pub(crate) fn identity(&self) -> u64 {
        self.identity.load(Relaxed)
    }

    pub(crate) fn set_identity(&self, number: u64) {
        self.identity.store(number, Relaxed);
    }

    /// Returns whose turn its work takes.
    pub(crate) fn payer(&self) -> Payer {
        match self.origin.counted_address() {
            Some(address) => Payer::Network(address),
            None => Payer::Identity(self.identity()),
        }
    }

    /// Returns whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.outbox().is_over()
    }

    /// Returns when it connected, in milliseconds of the daemon's clock.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// Returns the bytes that wait for it or are being written.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox().total()
    }

    /// Stores the grant of its access token.
    pub(crate) fn set_grant(&self, grant: Box<Grant>) {
        let _ = self.grant.set(grant);
    }

    /// Returns the grant of its access token; `None` if it may do everything that its identity may.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.grant.get().map(|grant| &**grant)
    }

    /// Confines a bot to the rooms of its scope. It still has private messages.
    pub(crate) fn set_bot_scope(&self, scope: Scope) {
        let _ = self.bot_scope.set(Box::new(scope));
    }

    /// Returns whether its access token, or its scope as a bot, covers a room, or private messages if `room` is `None`.
    /// True without either.
    pub(crate) fn is_in_scope(&self, room: Option<&str>) -> bool {
        let has = |scope: &Scope, room| RoomName::parse(room).is_ok_and(|room| scope.has_room(&room));
        let is_granted = self.grant().is_none_or(|grant| match room {
            None => !grant.scope.is_confined(),
            Some(room) => has(&grant.scope, room),
        });
        is_granted && room.is_none_or(|room| self.bot_scope.get().is_none_or(|scope| has(scope, room)))
    }

    /// Returns whether there are rooms that it may not see.
    pub(crate) fn is_confined(&self) -> bool {
        self.bot_scope.get().is_some() || self.grant().is_some_and(|grant| grant.scope.is_confined())
    }

    /// Returns whether private messages reach it.
    pub(crate) fn hears_private(&self) -> bool {
        self.grant()
            .is_none_or(|grant| !grant.scope.is_confined() && grant.scope.has_verb(snug_protocol::Verb::Sync))
    }

    /// Returns whether messages in a room may reach it.
    pub(crate) fn may_hear(&self, room: &str) -> bool {
        self.grant().is_none_or(|grant| {
            grant.scope.has_verb(snug_protocol::Verb::Join)
                && RoomName::parse(room).is_ok_and(|room| grant.scope.has_room(&room))
        })
    }

    /// Returns `None` if an error at `now` milliseconds should not be recorded, because ten were in this minute.
    /// Otherwise returns how many were skipped before.
    pub(crate) fn notes_error(&self, now: u64) -> Option<u32> {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(errors.since) >= 60_000 {
            let passed_over = errors.passed_over;
            *errors = Errors { since: now, count: 1, passed_over: 0 };
            return Some(passed_over);
        }
        errors.count += 1;
        if errors.count > 10 {
            errors.passed_over += 1;
            return None;
        }
        Some(0)
    }

    /// Notes activity at `now` milliseconds.
    pub(crate) fn heard_at(&self, now: u64) {
        self.heard.store(now, Relaxed);
    }

    /// Moves what it was last heard of by `gap` milliseconds, in which the daemon did not run and could hear nobody.
    pub(crate) fn pardon(&self, gap: u64) {
        self.heard.fetch_add(gap, Relaxed);
    }

    /// Notes that it understands PING and PONG, so that the daemon can ping it when it is silent.
    pub(crate) fn set_answers_pings(&self) {
        self.answers_pings.store(true, Relaxed);
    }

    /// Notes whether the daemon has stopped reading from it.
    pub(crate) fn set_held_up(&self, held_up: bool) {
        if self.held_up.load(Relaxed) != held_up {
            self.held_up.store(held_up, Relaxed);
        }
    }

    /// Sends a PING after `ping` of silence, and ends the session after `dead`. All times are in milliseconds.
    pub(crate) fn check_pulse(&self, now: u64, ping: u64, dead: u64) {
        if self.held_up.load(Relaxed) {
            self.heard_at(now);
            return;
        }
        let heard = self.heard.load(Relaxed);
        let silence = now.saturating_sub(heard);
        if !self.answers_pings.load(Relaxed) || silence < ping {
            return;
        }
        if silence >= dead {
            self.end(Ending::Dismissed(Code::Timeout, "no sign of life came; connect again".to_owned()));
        } else if self.pinged.load(Relaxed) <= heard {
            self.pinged.store(now, Relaxed);
            let label = now.to_string();
            self.push_line(&ServerLine::new(Body::Ping { label: Some(&label) }));
        }
    }

    /// Notes that it has sent HELLO.
    pub(crate) fn set_greeted(&self) {
        self.has_greeted.store(true, Relaxed);
    }

    /// Notes that the daemon has opened an envelope from it.
    pub(crate) fn set_proved(&self) {
        self.has_proved.store(true, Relaxed);
    }

    /// Ends the session if it is too slow to log in. If it sent HELLO or `must_seal` is set, it must prove within
    /// `handshake` that it has the keys. It must take a name within `registration`. All times are in milliseconds.
    pub(crate) fn check_entrance(&self, now: u64, must_seal: bool, handshake: u64, registration: u64) {
        if self.identity() != 0 {
            return;
        }
        let age = now.saturating_sub(self.came);
        let is_shaking_hands =
            (must_seal || self.has_greeted.load(Relaxed)) && !self.has_proved.load(Relaxed);
        let text = if is_shaking_hands && age >= handshake {
            format!("no envelope came within {} s", handshake.div_ceil(1_000))
        } else if age >= registration {
            format!("no NICK came within {} s", registration.div_ceil(1_000))
        } else {
            return;
        };
        self.end(Ending::Dismissed(Code::Timeout, text));
    }

    /// Puts whole lines into the outbox, and returns whether it took them.
    pub(crate) fn push(&self, lines: &[u8]) -> bool {
        self.outbox().push(lines, &self.budget)
    }

    /// Puts entries into the outbox if the session is live and not too much waits, and returns whether it took them.
    pub(crate) fn push_entries(&self, lines: &[u8]) -> bool {
        self.is_live() && self.outbox().push_entries(lines, &self.budget)
    }

    /// Does the same for entries that many sessions share.
    pub(crate) fn push_shared(&self, shared: &Arc<Shared>) -> bool {
        self.is_live() && self.outbox().push_shared(shared, &self.budget)
    }

    /// Notes that it has fallen behind, because more waits for it than may: it gets no more entries until SYNC, and is told
    /// so. Everything up to `cursor` was put into its outbox. Only the writer's thread may call this.
    fn fall_behind(&self, cursor: Cursor) {
        self.set_live(false);
        self.is_behind.store(true, Relaxed);
        let cursor = cursor.to_string();
        let mut line = Vec::new();
        ServerLine::new(Body::Behind { cursor: &cursor }).write(&mut line);
        self.push_answer(&line);
    }

    /// Lets it fall behind if it is live and has not taken what was delivered after `cursor`. Only the writer's thread may
    /// call this.
    pub(crate) fn keep_up(&self, is_taken: bool, cursor: impl FnOnce() -> Cursor) {
        if !is_taken && self.is_live() && !self.is_over() {
            self.fall_behind(cursor());
        }
    }

    /// Notes that the stream has taken something.
    pub(crate) fn set_has_read(&self) {
        if !self.has_read.load(Relaxed) {
            self.has_read.store(true, Relaxed);
        }
    }

    /// Ends the session if it is behind and has read nothing for `stall`. All times are in milliseconds.
    pub(crate) fn check_reading(&self, now: u64, stall: u64) {
        let has_read = self.has_read.swap(false, Relaxed);
        if !self.is_behind.load(Relaxed) || has_read || self.waiting() == 0 {
            return self.stalled.store(0, Relaxed);
        }
        match self.stalled.load(Relaxed) {
            // Never 0, which means that it is not stalled.
            0 => self.stalled.store(now.max(1), Relaxed),
            since if now.saturating_sub(since) >= stall => {
                let text = "you read nothing, and what waited was discarded; connect again and resume";
                self.end(Ending::Dismissed(Code::TooSlow, text.to_owned()));
            }
            _ => {}
        }
    }

    /// Returns whether it logged in with `quiet`, so that nobody may be reading what it receives.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Relaxed)
    }

    pub(crate) fn set_quiet(&self, is_quiet: bool) {
        self.is_quiet.store(is_quiet, Relaxed);
    }

    /// Returns whether it receives entries as they are delivered.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(SeqCst)
    }

    /// Switches live delivery on or off. Only the writer's thread, and the session before its first entry, may call
    /// it: nobody else knows its position in the log.
    pub(crate) fn set_live(&self, is_live: bool) {
        // Sequentially consistent with `Core::delivering`, the entry being delivered: one of the two threads sees the
        // other's store.
        self.is_live.store(is_live, SeqCst);
        if is_live {
            self.is_behind.store(false, Relaxed);
        }
    }

    /// Puts one line into the outbox.
    pub(crate) fn push_line(&self, line: &ServerLine<'_>) {
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        self.push(&bytes);
    }

    /// Puts droppable lines into the outbox, if it is less than a quarter full.
    pub(crate) fn push_if_quiet(&self, lines: &[u8]) {
        self.outbox().push_if_quiet(lines, &self.budget);
    }

    /// Puts an answer into the outbox, and returns whether it took the lines. An answer never makes a session too
    /// slow: the session asked for it, and what it may have under way is bounded.
    pub(crate) fn push_answer(&self, lines: &[u8]) -> bool {
        self.pay_for(lines);
        self.outbox().push_answer(lines, &self.budget)
    }

    /// Counts an answer that is longer than most.
    fn pay_for(&self, answer: &[u8]) {
        if answer.len() > 512 {
            self.spent.add(Cost::bytes(answer.len()));
        }
    }

    /// Notes that a command of `bytes` bytes goes to the log.
    pub(crate) fn begin(&self, bytes: usize) {
        self.outbox().begin(bytes);
    }

    /// Answers a command that was noted with [`Peer::begin`].
    pub(crate) fn settle(&self, bytes: usize, answer: &[u8]) {
        self.pay_for(answer);
        self.outbox().settle(bytes, answer, &self.budget);
    }

    /// Answers a command that was noted with [`Peer::begin`] with a piece. The command counts as under way until the
    /// connection takes the piece.
    pub(crate) fn settle_with_piece(&self, size: usize, piece: Piece) {
        self.outbox().settle_with_piece(size, piece, &self.budget);
    }

    /// Ends the session; only the first reason counts. If the daemon ends it, the peer gets an ERR with the reason.
    /// If the peer read too slowly, that ERR is all it gets.
    pub(crate) fn end(&self, ending: Ending) {
        self.outbox().end(ending, &self.budget);
    }

    /// Returns the state of the outbox, and wakes `cx` when it changes. If the connection has written everything that
    /// it took, moves what waits to `into`.
    pub(crate) fn turn(&self, cx: &Context<'_>, into: &mut Chunks, has_written: bool) -> OutboxState {
        let mut outbox = self.outbox();
        if into.is_empty() && has_written {
            outbox.take(into, &self.budget);
        }
        outbox.state(cx, &self.budget)
    }

    /// Counts the bytes of memory that the connection needs for what the stream does not take.
    pub(crate) fn holds(&self, memory: usize) {
        self.outbox().holds(memory, &self.budget);
    }

    /// Notes that everything taken is written, and returns whether more waits or the session has ended.
    pub(crate) fn wrote(&self) -> bool {
        self.outbox().wrote(&self.budget)
    }

    /// Takes everything that waits, like a connection that writes it at once.
    #[cfg(test)]
    pub(crate) fn drain(&self) -> Vec<u8> {
        let mut drained = Vec::new();
        loop {
            let mut chunks = Chunks::new();
            self.turn(&Context::from_waker(std::task::Waker::noop()), &mut chunks, true);
            self.wrote();
            if chunks.is_empty() {
                return drained;
            }
            drained.extend(chunks.iter().flat_map(super::outbox::Chunk::plain));
        }
    }

    /// Returns the commands that are under way: handed to the log and not answered yet.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.outbox().in_flight()
    }

    /// Returns what is under way, or `None` if the session may not take another line, because it has ended or has too
    /// much to do.
    pub(crate) fn may_go_on(&self) -> Option<InFlight> {
        self.outbox().may_go_on(&self.budget)
    }

    /// Returns roughly how many bytes its end would free. Its own lines count twice, because shared ones may stay for
    /// other sessions.
    pub(crate) fn weight(&self) -> usize {
        self.outbox().weight()
    }

    /// Returns the bytes that wait or are being written.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> usize {
        self.outbox().total()
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No code panics while it holds the lock in a half-changed state.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.outbox().discard(&self.budget);
    }
}

/// The sessions that receive the same entries, as a dense list that a delivery walks from front to back.
#[derive(Default)]
pub(crate) struct Audience(Mutex<Vec<Arc<Peer>>>);

impl Audience {
    pub(crate) fn add(&self, peer: &Arc<Peer>) {
        self.peers().push(Arc::clone(peer));
    }

    pub(crate) fn remove(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers();
        if let Some(at) = peers.iter().position(|other| Arc::ptr_eq(other, peer)) {
            peers.swap_remove(at);
        }
    }

    /// Calls `each` for every session, in no particular order, under the list's lock.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Arc<Peer>)) {
        for peer in self.peers().iter() {
            each(peer);
        }
    }

    fn peers(&self) -> MutexGuard<'_, Vec<Arc<Peer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::outbox::Chunk;
    use super::*;
    use crate::config::{Limits, Size};

    fn peer(outbox: u64) -> Peer {
        let limits = Limits { outbox: Size::from_bytes(outbox), ..Limits::default() };
        Peer::new(1, Origin::Embedder(snug_protocol::Role::Operator), 0, Arc::new(Budget::new(&limits)))
    }

    /// Takes what waits, like a connection that has written everything before.
    fn take(peer: &Peer) -> (OutboxState, Vec<u8>) {
        let mut chunks = Chunks::new();
        let state = peer.turn(&Context::from_waker(Waker::noop()), &mut chunks, true);
        (state, chunks.iter().flat_map(Chunk::plain).collect())
    }

    #[test]
    fn a_slow_reader_falls_behind_and_one_that_reads_nothing_is_ended() {
        let peer = peer(64 << 10);
        let line = [b'x'; 1024];
        let shared = Shared::new(line.to_vec(), &peer.budget);
        assert_eq!((0..100).filter(|_| peer.push_shared(&shared)).count(), 64);
        assert!(!peer.push_entries(&line));
        // What is for it alone has some room more.
        assert_eq!((0..100).filter(|_| peer.push(&line)).count(), 16);
        peer.fall_behind(Cursor::at(7));
        assert!(!peer.is_live());
        peer.check_reading(1_000, 10_000);
        peer.check_reading(10_999, 10_000);
        peer.set_has_read();
        peer.check_reading(12_000, 10_000);
        peer.check_reading(13_000, 10_000);
        peer.check_reading(22_999, 10_000);
        assert!(!peer.is_over(), "it reads, slowly");
        peer.check_reading(23_000, 10_000);
        let (state, taken) = take(&peer);
        assert!(taken.starts_with(b"ERR - too-slow ") && taken.ends_with(b"\n"));
        assert!(matches!(state.ending, Some(Ending::Dismissed(Code::TooSlow, _))));
        peer.push(&line);
        peer.push_shared(&shared);
        assert!(take(&peer).1.is_empty(), "nothing follows the end");
    }

    #[test]
    fn who_has_fallen_behind_and_read_what_there_was_may_stay() {
        let peer = peer(64 << 10);
        peer.fall_behind(Cursor::at(7));
        assert_eq!(take(&peer).1, b"BEHIND 7\n");
        take(&peer);
        for now in 1..100 {
            peer.check_reading(now * 1_000, 10_000);
        }
        assert!(!peer.is_over());
        peer.set_live(true);
        assert!(peer.push_entries(b"1\n"));
    }

    #[test]
    fn what_is_its_own_and_what_is_shared_come_in_order() {
        let peer = peer(64 << 10);
        let shared = Shared::new(b"2\n".to_vec(), &peer.budget);
        peer.push(b"1\n");
        peer.push_shared(&shared);
        peer.push_answer(b"3\n");
        peer.push(b"4\n");
        peer.push_shared(&shared);
        assert_eq!(take(&peer).1, b"1\n2\n3\n4\n2\n");
    }

    #[test]
    fn what_is_being_written_counts_and_presence_is_dropped_first() {
        let peer = peer(64 << 10);
        peer.push(&[b'x'; 20 << 10]);
        let (state, taken) = take(&peer);
        assert!(state.crowded);
        assert_eq!((taken.len(), peer.fill()), (20 << 10, 20 << 10));
        peer.push_if_quiet(b"presence\n");
        assert_eq!(peer.fill(), 20 << 10);
        peer.push_answer(&[b'x'; 100 << 10]);
        assert_eq!(peer.fill(), 120 << 10);
        peer.push(b"an event\n");
        assert!(take(&peer).0.ending.is_none(), "a long answer makes nobody slow");
    }

    #[test]
    fn memory_is_counted_while_it_is_held_and_no_longer() {
        let peer = peer(1 << 20);
        let budget = Arc::clone(&peer.budget);
        let counted = || budget.used();
        peer.push(&[b'x'; 10_000]);
        assert!(counted() >= 10_000);
        take(&peer);
        assert!(counted() >= 10_000, "the connection holds it now");
        take(&peer);
        assert_eq!(counted(), 0);

        let shared = Shared::new(vec![b'x'; 5_000], &budget);
        peer.push_shared(&shared);
        peer.push_shared(&shared);
        drop(shared);
        assert_eq!(counted(), 5_000, "once, however often it waits");
        take(&peer);
        assert_eq!(counted(), 0);
        peer.holds(3_000);
        assert_eq!(counted(), 3_000, "what the stream did not take");
        peer.wrote();
        assert_eq!(counted(), 0);

        let line = Shared::new(vec![b'x'; 100], &budget);
        let before = counted();
        assert!((0..1_000).all(|_| peer.push_shared(&line)));
        assert!(counted() - before >= 1_000 * size_of::<Chunk>(), "a long list is memory, too");
        take(&peer);
        take(&peer);
        drop(line);
        assert_eq!(counted(), 0);

        peer.push(b"taken and not written\n");
        take(&peer);
        peer.push(b"left behind\n");
        drop(peer);
        assert_eq!(counted(), 0);
    }

    #[test]
    fn silence_counts_only_while_the_daemon_ran() {
        let peer = peer(1 << 20);
        peer.set_answers_pings();
        peer.heard_at(500);
        peer.pardon(10_000);
        peer.check_pulse(10_550, 100, 300);
        assert!(take(&peer).1.is_empty());
        peer.check_pulse(10_700, 100, 300);
        assert_eq!(take(&peer).1, b"PING 10700\n");
        peer.check_pulse(10_800, 100, 300);
        assert!(matches!(take(&peer).0.ending, Some(Ending::Dismissed(Code::Timeout, _))));
    }

    #[test]
    fn silence_is_asked_about_once_and_then_the_end() {
        let peer = peer(1 << 20);
        peer.check_pulse(500, 100, 300);
        assert!(take(&peer).1.is_empty(), "nobody types PONG into nc");
        peer.set_answers_pings();
        peer.heard_at(500);
        peer.check_pulse(650, 100, 300);
        peer.check_pulse(700, 100, 300);
        assert_eq!(take(&peer).1, b"PING 650\n");
        peer.set_held_up(true);
        peer.check_pulse(900, 100, 300);
        peer.set_held_up(false);
        peer.check_pulse(1000, 100, 300);
        assert!(take(&peer).0.ending.is_none(), "being held up is no silence");
        peer.check_pulse(1200, 100, 300);
        assert!(matches!(take(&peer).0.ending, Some(Ending::Dismissed(Code::Timeout, _))));
    }
}
