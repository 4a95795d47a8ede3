//! Threads that read from the log beside the writer, so that neither a long page nor a search holds up a message.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::{Index, View, discard_index, indexer, reader};
use crate::fair_queue::FairQueue;
use crate::origin::Payer;

/// A job that reads from the log. It sends its answer itself, even if it gets `None` because the log cannot be read.
pub(crate) type ReadJob = Box<dyn FnOnce(Option<&View<'_>>) + Send>;

/// A job that searches the index after it has caught up. It gets `None` if the index cannot be used. It is called again,
/// after the searches of others, until it is done.
pub(crate) type Search = Box<dyn FnMut(Option<(&View<'_>, &Index<'_>)>) -> Progress + Send>;

/// Whether a search is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    GoesOn,
}

/// Number of reader threads.
const READERS: usize = 2;

/// How long the index may lag behind the log while nobody searches.
const LAG: Duration = Duration::from_secs(1);

/// The queues of these threads.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<Waiting>,
    job_came: Condvar,
    search: Condvar,
    /// Whether the index lags behind the log. The writer sets it for each entry, without a lock.
    is_behind: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// Jobs that come before all others, because somebody is waiting to be let in.
    logins: VecDeque<ReadJob>,
    jobs: FairQueue<Payer, ReadJob>,
    searches: FairQueue<Payer, Search>,
    closed: bool,
}

/// A task for the index's thread.
enum Task {
    Search(Payer, Search),
    CatchUp,
}

impl Reads {
    /// Queues a job that reads for a payer. Returns false if the queues are closed.
    #[must_use]
    pub(crate) fn read(&self, payer: Payer, job: ReadJob) -> bool {
        self.add(|waiting| waiting.jobs.push(payer, job))
    }

    /// Queues a short job that a login waits for. Returns false if the queues are closed.
    #[must_use]
    pub(crate) fn read_for_login(&self, job: ReadJob) -> bool {
        self.add(|waiting| waiting.logins.push_back(job))
    }

    fn add(&self, push: impl FnOnce(&mut Waiting)) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        push(&mut waiting);
        self.job_came.notify_one();
        true
    }

    /// Queues a search of a payer. Returns false if the queues are closed.
    #[must_use]
    pub(crate) fn search(&self, payer: Payer, search: Search) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        waiting.searches.push(payer, search);
        self.search.notify_one();
        true
    }

    /// Queues a search again that is not done. While the queues are closing, too: it was accepted.
    fn go_on(&self, payer: Payer, search: Search) {
        self.waiting().searches.push(payer, search);
    }

    /// Notes that the log has grown, and wakes the index's thread if needed.
    pub(crate) fn set_behind(&self) {
        if !self.is_behind.load(Relaxed) && !self.is_behind.swap(true, Relaxed) {
            let _waiting = self.waiting();
            self.search.notify_one();
        }
    }

    /// Closes the queues. What is queued already is still done.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.job_came.notify_all();
        self.search.notify_all();
    }

    fn next_job(&self) -> Option<ReadJob> {
        let mut waiting = self.waiting();
        loop {
            if let Some(job) = waiting.logins.pop_front() {
                return Some(job);
            }
            if let Some((_, job)) = waiting.jobs.pop() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.job_came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_task(&self) -> Option<Task> {
        let mut waiting = self.waiting();
        let mut has_waited = false;
        loop {
            if let Some((payer, search)) = waiting.searches.pop() {
                return Some(Task::Search(payer, search));
            }
            if waiting.closed {
                return None;
            }
            if has_waited && self.is_behind.swap(false, Relaxed) {
                return Some(Task::CatchUp);
            }
            // Everything that arrives within the lag goes into one batch.
            waiting = if self.is_behind.load(Relaxed) {
                let (waiting, result) =
                    self.search.wait_timeout(waiting, LAG).unwrap_or_else(PoisonError::into_inner);
                has_waited = result.timed_out();
                waiting
            } else {
                self.search.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads for the log in `folder`. Each holds a clone of `alive` until it ends. `forgotten` is called
/// with the entries that the index has removed.
pub(crate) fn start(
    reads: &Arc<Reads>,
    folder: &Path,
    alive: &async_channel::Sender<()>,
    forgotten: impl Fn(Vec<u64>) + Send + 'static,
) -> std::io::Result<()> {
    for _ in 0..READERS {
        spawn("snug-reader", reads, folder, alive, run_reader)?;
    }
    spawn("snug-search", reads, folder, alive, move |reads, folder| run_search(reads, folder, &forgotten))
}

fn spawn(
    name: &str,
    reads: &Arc<Reads>,
    folder: &Path,
    alive: &async_channel::Sender<()>,
    run: impl FnOnce(&Reads, &Path) + Send + 'static,
) -> std::io::Result<()> {
    let (reads, folder, alive) = (Arc::clone(reads), folder.to_owned(), alive.clone());
    let work = move || {
        run(&reads, &folder);
        drop(alive);
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Returns the connection in `kept`, or opens one.
fn connection(
    kept: &mut Option<Connection>,
    open: impl FnOnce() -> rusqlite::Result<Connection>,
) -> Option<&Connection> {
    if kept.is_none() {
        match open() {
            Ok(opened) => *kept = Some(opened),
            Err(error) => tracing::error!("the log cannot be read: {error}"),
        }
    }
    kept.as_ref()
}

fn run_reader(reads: &Reads, folder: &Path) {
    let mut kept = None;
    while let Some(job) = reads.next_job() {
        let database = connection(&mut kept, || reader(folder));
        // A transaction, so that everything one job reads is a consistent snapshot.
        let moment = database.and_then(|database| database.unchecked_transaction().ok());
        let is_well = moment.is_some();
        job(moment.as_deref().map(View::new).as_ref());
        drop(moment);
        if !is_well {
            kept = None;
        }
    }
}

fn run_search(reads: &Reads, folder: &Path, forgotten: &dyn Fn(Vec<u64>)) {
    let mut kept = None;
    while let Some(task) = reads.next_task() {
        let database = connection(&mut kept, || indexer(folder));
        let (state, search) = match (task, database) {
            (Task::Search(_, mut search), None) => {
                search(None);
                continue;
            }
            (Task::CatchUp, None) => continue,
            (Task::Search(payer, search), Some(database)) => {
                (catch_up(&Index::new(database), forgotten), Some((payer, search)))
            }
            (Task::CatchUp, Some(database)) => (catch_up(&Index::new(database), forgotten), None),
        };
        let database = kept.as_ref().filter(|_| state == State::Well);
        if let Some((payer, mut search)) = search {
            let progress = match database {
                Some(database) => search(Some((&View::new(database), &Index::new(database)))),
                None => search(None),
            };
            if progress == Progress::GoesOn {
                reads.go_on(payer, search);
            }
        }
        if state != State::Well {
            kept = None;
        }
        if state == State::Damaged {
            tracing::warn!("the search index is damaged and is made anew");
            discard_index(folder);
            reads.set_behind();
        }
    }
}

/// The state of the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// The index could not be brought up to date this time.
    Failed,
    /// The index differs from what was written.
    Damaged,
}

/// Brings an index in memory up to date and searches it. `forgotten` is called with the entries that it has removed.
pub(crate) fn search(view: &View<'_>, index: &Index<'_>, mut search: Search, forgotten: &dyn Fn(Vec<u64>)) {
    let is_well = catch_up(index, forgotten) == State::Well;
    while search(is_well.then_some((view, index))) == Progress::GoesOn {}
}

fn catch_up(index: &Index<'_>, forgotten: &dyn Fn(Vec<u64>)) -> State {
    match index.catch_up() {
        Ok(entries) => {
            if !entries.is_empty() {
                forgotten(entries);
            }
            State::Well
        }
        Err(error) => {
            tracing::error!("the search index cannot be brought up to date: {error}");
            match error.sqlite_error_code() {
                // A constraint violation means that the index has a row that it should not have.
                Some(
                    ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation,
                ) => State::Damaged,
                _ => State::Failed,
            }
        }
    }
}
