//! Threads that read and write files, so that no connection waits for a disk but the one whose file it is.
//!
//! What one session asks for is done in order, in one lane. A thread lives as long as its lane has something to do, and a
//! little longer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::Core;

/// Something that takes a disk's time.
pub(crate) type Work = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// Lanes for what is quick, by the number of the session.
const QUICK: usize = 2;

/// The lanes: those for pieces, and one for what waits until all is on the disk.
const LANES: usize = QUICK + 1;

/// How long a thread waits for more.
const LINGER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
    /// Whether all is done at once, by whoever asks: in tests.
    is_inline: AtomicBool,
}

#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    is_running: bool,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// Lets whoever asks do the work.
    #[cfg(test)]
    pub(crate) fn set_inline(&self) {
        self.is_inline.store(true, Relaxed);
    }
}

/// Does something quick for a session, behind what it has asked for before.
pub(crate) fn submit(core: &Arc<Core>, session: u64, work: Work) {
    put(core, usize::try_from(session % QUICK as u64).unwrap_or(0), work);
}

/// Does something that may take seconds.
pub(crate) fn submit_slow(core: &Arc<Core>, work: Work) {
    put(core, QUICK, work);
}

fn put(core: &Arc<Core>, at: usize, work: Work) {
    let lanes = &core.files.lanes;
    if lanes.is_inline.load(Relaxed) {
        return work(core);
    }
    let lane = &lanes.lanes[at];
    let mut state = lane.state();
    state.waiting.push_back(work);
    if state.is_running {
        lane.more.notify_one();
        return;
    }
    let shared = Arc::clone(core);
    match std::thread::Builder::new().name("snug-files".to_owned()).spawn(move || run(&shared, at)) {
        Ok(_) => state.is_running = true,
        // The next one tries again.
        Err(error) => tracing::error!(%error, "there is no thread for files"),
    }
}

fn run(core: &Arc<Core>, at: usize) {
    let lane = &core.files.lanes.lanes[at];
    loop {
        let mut state = lane.state();
        if state.waiting.is_empty() {
            state = lane.more.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(work) = state.waiting.pop_front() else {
            state.is_running = false;
            return;
        };
        drop(state);
        // What panics costs its own answer and no thread.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(core))).is_err() {
            tracing::error!("something about a file went wrong");
        }
    }
}
