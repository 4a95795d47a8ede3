//! The output that waits for one session, and the memory that all sessions share for it.

use super::ending::Ending;
use crate::config::Limits;
use smallvec::SmallVec;
use snug_protocol::{Code, ServerLine};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};

/// The output that waits for one session: whole lines, in order.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Chunks,
    /// The bytes that wait, and those that the connection has taken and not written yet.
    fill: usize,
    writing: usize,
    /// The memory counted for its own chunks, and for what the connection has taken of them or made from them.
    memory: usize,
    writing_memory: usize,
    /// How many of the bytes that wait, and of those being written, answer the session's own commands.
    answers: usize,
    writing_answers: usize,
    /// Pieces of files, each with the bytes noted for it as under way. They go one at a time, and only when nothing
    /// else waits, so that no file delays a message.
    pieces: VecDeque<(usize, Box<Piece>)>,
    in_flight: InFlight,
    ending: Option<Ending>,
    waker: Option<Waker>,
}

/// Lines that wait, in order.
pub(crate) type Chunks = SmallVec<[Chunk; 2]>;

/// Whole lines.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// For this session only.
    Own(Vec<u8>),
    /// Shared by many sessions.
    Shared(Arc<Shared>),
    /// Lines with bytes between them.
    Piece(Box<Piece>),
}

/// An answer with bytes in it, such as a piece of a file; or an answer without bytes that waits behind one.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Lines, the last of which announces the bytes.
    pub(crate) head: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    /// The rest of the answer.
    pub(crate) tail: Vec<u8>,
}

impl Piece {
    /// Returns roughly how many bytes of an outbox it takes.
    fn len(&self) -> usize {
        self.head.len() + self.bytes.len() + self.tail.len()
    }

    fn memory(&self) -> usize {
        self.head.capacity() + self.bytes.capacity() + self.tail.capacity()
    }
}

impl Chunk {
    /// Returns its lines; of a piece, those before the bytes.
    pub(crate) fn lines(&self) -> &[u8] {
        match self {
            Chunk::Own(lines) => lines,
            Chunk::Shared(shared) => &shared.lines,
            Chunk::Piece(piece) => &piece.head,
        }
    }

    /// Returns all of it as an unencrypted stream carries it.
    #[cfg(test)]
    pub(super) fn plain(&self) -> Vec<u8> {
        match self {
            Chunk::Piece(piece) if piece.bytes.is_empty() => piece.head.clone(),
            Chunk::Piece(piece) => [&piece.head, &piece.bytes, &b"\n"[..], &piece.tail].concat(),
            lines => lines.lines().to_vec(),
        }
    }
}

/// Lines for many sessions, written once. A delivery puts a reference into each outbox and copies nothing. All
/// connections write from the same memory, which is in the processor's cache from the second one on.
#[derive(Debug)]
pub(crate) struct Shared {
    lines: Vec<u8>,
    budget: Arc<Budget>,
}

impl Shared {
    pub(crate) fn new(lines: Vec<u8>, budget: &Arc<Budget>) -> Arc<Shared> {
        budget.take(lines.capacity());
        Arc::new(Shared { lines, budget: Arc::clone(budget) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.lines
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.give_back(self.lines.capacity());
    }
}

/// The commands that a session has handed to the log and that are not answered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InFlight {
    entries: usize,
    bytes: usize,
}

impl InFlight {
    const MOST_ENTRIES: usize = 256;
    const MOST_BYTES: usize = 256 << 10;

    fn settle(&mut self, bytes: usize) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Returns whether everything has been answered.
    pub(crate) fn is_empty(self) -> bool {
        self.entries == 0
    }

    /// Returns whether the session must wait before it hands over more.
    pub(crate) fn is_full(self) -> bool {
        self.entries >= InFlight::MOST_ENTRIES || self.bytes >= InFlight::MOST_BYTES
    }
}

/// The state of a session's outbox, as its connection sees it.
#[derive(Clone, Debug)]
pub(crate) struct OutboxState {
    /// Whether nothing waits.
    pub(crate) empty: bool,
    /// Whether so much waits that the session should not produce more.
    pub(crate) crowded: bool,
    pub(crate) in_flight: InFlight,
    pub(crate) ending: Option<Ending>,
}

impl Outbox {
    /// Adds droppable lines, if it is less than a quarter full.
    pub(super) fn push_if_quiet(&mut self, lines: &[u8], budget: &Budget) {
        if self.total() + lines.len() <= budget.quarter() {
            self.push(lines, budget);
        }
    }

    /// Adds an answer unless the session has ended, and returns whether it did.
    pub(super) fn push_answer(&mut self, lines: &[u8], budget: &Budget) -> bool {
        let is_open = self.ending.is_none();
        if is_open {
            self.append(lines, budget);
            self.answers += lines.len();
            self.wake();
        }
        is_open
    }

    /// Notes that a command of `bytes` bytes is under way.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.in_flight.entries += 1;
        self.in_flight.bytes += bytes;
    }

    /// Answers a command that was under way.
    pub(super) fn settle(&mut self, bytes: usize, answer: &[u8], budget: &Budget) {
        if !self.pieces.is_empty() && self.ending.is_none() {
            // It stays behind the pieces that answer earlier commands.
            let piece = Piece { head: answer.to_vec(), bytes: Vec::new(), tail: Vec::new() };
            return self.queue_piece(bytes, piece, budget);
        }
        self.in_flight.settle(bytes);
        if self.ending.is_none() {
            self.append(answer, budget);
            self.answers += answer.len();
        }
        self.wake();
    }

    /// Answers a command that was under way with a piece. The command counts as under way until the connection takes
    /// the piece.
    pub(super) fn settle_with_piece(&mut self, size: usize, piece: Piece, budget: &Budget) {
        if self.ending.is_some() {
            return self.in_flight.settle(size);
        }
        self.queue_piece(size, piece, budget);
    }

    fn queue_piece(&mut self, size: usize, piece: Piece, budget: &Budget) {
        self.fill += piece.len();
        self.answers += piece.len();
        self.memory += piece.memory();
        budget.take(piece.memory());
        self.pieces.push_back((size, Box::new(piece)));
        self.wake();
    }

    /// Moves all waiting lines to `into`; if there are none, one piece of a file.
    pub(super) fn take(&mut self, into: &mut Chunks, budget: &Budget) {
        let (memory, fill, answers) = if self.waiting.is_empty() {
            let Some((size, piece)) = self.pieces.pop_front() else {
                budget.give_back(std::mem::take(&mut self.writing_memory));
                (self.writing, self.writing_answers) = (0, 0);
                return;
            };
            self.in_flight.settle(size);
            let taken = (piece.memory(), piece.len(), piece.len());
            into.push(Chunk::Piece(piece));
            taken
        } else {
            // An idle session keeps no memory.
            *into = std::mem::take(&mut self.waiting);
            let pieces = self.pieces.iter().map(|(_, piece)| (piece.memory(), piece.len()));
            let (memory, length) = pieces.fold((0, 0), |sum, piece| (sum.0 + piece.0, sum.1 + piece.1));
            (self.memory - memory, self.fill - length, self.answers - length)
        };
        self.memory -= memory;
        self.fill -= fill;
        self.answers -= answers;
        budget.give_back(std::mem::replace(&mut self.writing_memory, memory));
        self.writing = fill;
        self.writing_answers = answers;
    }

    /// Returns its state, and wakes `cx` when it changes.
    pub(super) fn state(&mut self, cx: &Context<'_>, budget: &Budget) -> OutboxState {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        OutboxState {
            empty: self.is_empty(),
            crowded: self.total() > budget.quarter(),
            in_flight: self.in_flight,
            ending: self.ending.clone(),
        }
    }

    /// Counts the bytes of memory that the connection needs for what the stream does not take.
    pub(super) fn holds(&mut self, memory: usize, budget: &Budget) {
        budget.take(memory);
        self.writing_memory += memory;
    }

    /// Notes that everything taken is written, and returns whether more waits or the session has ended.
    pub(super) fn wrote(&mut self, budget: &Budget) -> bool {
        self.writing = 0;
        self.writing_answers = 0;
        budget.give_back(std::mem::take(&mut self.writing_memory));
        !self.is_empty() || self.ending.is_some()
    }

    /// Returns whether the session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns the commands that are under way: handed to the log and not answered yet.
    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// Returns what is under way, or `None` if the session may not take another line, because it has ended or has too
    /// much to do.
    pub(super) fn may_go_on(&self, budget: &Budget) -> Option<InFlight> {
        let is_crowded = self.total() > budget.quarter();
        let may = self.ending.is_none() && !self.in_flight.is_full() && !is_crowded;
        may.then_some(self.in_flight)
    }

    /// Returns roughly how many bytes the end of its session would free. Its own lines count twice, because shared
    /// ones may stay for other sessions.
    pub(super) fn weight(&self) -> usize {
        self.total() + self.memory + self.writing_memory
    }

    /// Gives its memory back to the budget.
    pub(super) fn discard(&self, budget: &Budget) {
        budget.give_back(self.memory + self.writing_memory);
    }

    /// Returns whether nothing waits.
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.pieces.is_empty()
    }

    /// Returns the bytes that wait or are being written.
    pub(super) fn total(&self) -> usize {
        self.fill + self.writing
    }

    /// Returns whether `bytes` more may wait, if `most` is the limit.
    fn has_room(&self, bytes: usize, most: usize) -> bool {
        // A client that asked for a long list is not slow because the list is long.
        let events = self.total() - self.answers - self.writing_answers;
        self.ending.is_none() && events + bytes <= most
    }

    /// Adds an event for this session alone, unless it has ended, and returns whether it did. There is a quarter of the
    /// limit more for them, because SYNC does not bring them again.
    pub(super) fn push(&mut self, lines: &[u8], budget: &Budget) -> bool {
        let most = budget.per_session.load(Relaxed);
        let has_room = self.has_room(lines.len(), most + most / 4);
        if has_room {
            self.append(lines, budget);
            self.wake();
        }
        has_room
    }

    /// Adds entries unless the session has ended or too much waits already, and returns whether it did.
    pub(super) fn push_entries(&mut self, lines: &[u8], budget: &Budget) -> bool {
        let has_room = self.has_room(lines.len(), budget.per_session.load(Relaxed));
        if has_room {
            self.append(lines, budget);
            self.wake();
        }
        has_room
    }

    /// Does the same for entries that many sessions share.
    pub(super) fn push_shared(&mut self, shared: &Arc<Shared>, budget: &Budget) -> bool {
        let has_room = self.has_room(shared.lines.len(), budget.per_session.load(Relaxed));
        if has_room {
            self.fill += shared.lines.len();
            self.add(Chunk::Shared(Arc::clone(shared)), budget);
            self.wake();
        }
        has_room
    }

    /// Appends a chunk. Counts the list of chunks too, because a long one takes memory.
    fn add(&mut self, chunk: Chunk, budget: &Budget) {
        let size =
            |chunks: &Chunks| if chunks.spilled() { chunks.capacity() * size_of::<Chunk>() } else { 0 };
        let before = size(&self.waiting);
        self.waiting.push(chunk);
        let grown = size(&self.waiting) - before;
        if grown > 0 {
            self.memory += grown;
            budget.take(grown);
        }
    }

    fn append(&mut self, lines: &[u8], budget: &Budget) {
        if lines.is_empty() {
            return;
        }
        if !matches!(self.waiting.last(), Some(Chunk::Own(_))) {
            self.add(Chunk::Own(Vec::new()), budget);
        }
        if let Some(Chunk::Own(own)) = self.waiting.last_mut() {
            let before = own.capacity();
            own.extend_from_slice(lines);
            let grown = own.capacity() - before;
            if grown > 0 {
                self.memory += grown;
                budget.take(grown);
            }
        }
        self.fill += lines.len();
    }

    pub(super) fn end(&mut self, ending: Ending, budget: &Budget) {
        if self.ending.is_some() {
            return;
        }
        if let Ending::Dismissed(code, text) = &ending {
            if *code == Code::TooSlow {
                budget.give_back(std::mem::take(&mut self.memory));
                self.waiting = Chunks::new();
                self.pieces = VecDeque::new();
                self.fill = 0;
                self.answers = 0;
            }
            let mut line = Vec::new();
            ServerLine::err("-", *code, text).write(&mut line);
            self.append(&line, budget);
        }
        self.ending = Some(ending);
        self.wake();
    }

    fn wake(&mut self) {
        let Some(waker) = self.waker.take() else { return };
        let now = HELD.with_borrow_mut(|held| match held {
            Some(held) => {
                held.push(waker);
                None
            }
            None => Some(waker),
        });
        if let Some(waker) = now {
            waker.wake();
        }
    }
}

thread_local! {
    /// The connections to wake when the current work is done; `None` while wakes are not held.
    static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Runs `work`, which puts lines into many outboxes, and leaves their connections asleep until [`wake_held`]. Each
/// connection then writes everything it got at once, instead of the first line while others are still to come.
pub(crate) fn hold_wakes(work: impl FnOnce()) {
    HELD.with_borrow_mut(|held| {
        held.get_or_insert_default();
    });
    work();
}

/// Wakes the connections that were left asleep on this thread.
pub(crate) fn wake_held() {
    for waker in HELD.take().unwrap_or_default() {
        waker.wake();
    }
}

/// The memory that outboxes may hold, each and all together.
///
/// Memory is counted when a buffer grows, not for each line, and shared memory is counted once. So a delivery costs
/// nothing here.
#[derive(Debug)]
pub(crate) struct Budget {
    per_session: AtomicUsize,
    total: AtomicUsize,
    most: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Budget {
        let budget = Budget { per_session: 0.into(), total: 0.into(), most: 0.into() };
        budget.set(limits);
        budget
    }

    /// Returns the bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Returns a quarter of a session's limit, in bytes. If more waits, the session produces no more and presence is
    /// dropped.
    fn quarter(&self) -> usize {
        self.per_session.load(Relaxed) / 4
    }

    /// Applies changed limits.
    pub(crate) fn set(&self, limits: &Limits) {
        self.per_session.store(limits.outbox.bytes(), Relaxed);
        self.most.store(limits.outboxes.bytes(), Relaxed);
    }

    /// Returns the bytes by which all outboxes together exceed their limit.
    pub(crate) fn excess(&self) -> usize {
        self.total.load(Relaxed).saturating_sub(self.most.load(Relaxed))
    }

    fn take(&self, bytes: usize) {
        self.total.fetch_add(bytes, Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.total.fetch_sub(bytes, Relaxed);
        }
    }
}
