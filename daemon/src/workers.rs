//! Threads for jobs that take time, started on demand.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A job for one of the threads.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A pool of at most `most` threads, which take jobs in the order in which they came. With one thread, jobs also run
/// in that order.
pub(crate) struct Workers {
    name: &'static str,
    most: usize,
    linger: Duration,
    state: Mutex<State>,
    more: Condvar,
    /// Whether each job runs at once on the caller's thread, for tests.
    is_inline: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    /// How many of the running threads wait for a job.
    idle: usize,
}

impl Workers {
    /// Returns a pool without threads, which starts at most `most`. A thread that has nothing to do exits after
    /// `linger`.
    pub(crate) fn new(name: &'static str, most: usize, linger: Duration) -> Arc<Workers> {
        Arc::new(Workers {
            name,
            most,
            linger,
            state: Mutex::default(),
            more: Condvar::new(),
            is_inline: AtomicBool::new(false),
        })
    }

    /// Queues a job, and starts a thread for it if none is idle. A job that panics does not end its thread.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        if self.is_inline.load(Relaxed) {
            return job();
        }
        let mut state = self.state();
        state.waiting.push_back(job);
        if state.waiting.len() <= state.idle {
            self.more.notify_one();
            return;
        }
        if state.running == self.most {
            return;
        }
        let shared = Arc::clone(self);
        match std::thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.run()) {
            Ok(_) => state.running += 1,
            // The next job tries again.
            Err(error) => tracing::error!(%error, "there is no thread {}", self.name),
        }
    }

    /// Returns the number of jobs that no thread has taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Runs each job at once on the caller's thread from now on.
    #[cfg(test)]
    pub(crate) fn set_inline(&self) {
        self.is_inline.store(true, Relaxed);
    }

    fn run(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job on thread {} panicked", self.name);
            }
        }
    }

    /// Returns the next job, or `None` if the thread must exit. The thread then counts as ended.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        if state.waiting.is_empty() && !self.linger.is_zero() {
            state.idle += 1;
            let is_empty = |state: &mut State| state.waiting.is_empty();
            let waited = self.more.wait_timeout_while(state, self.linger, is_empty);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        let job = state.waiting.pop_front();
        if job.is_none() {
            state.running -= 1;
        }
        job
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn one_thread_does_jobs_in_order_and_survives_a_panic() {
        let workers = Workers::new("test", 1, Duration::from_secs(1));
        let (sender, done) = mpsc::channel();
        for number in 0..100 {
            let sender = sender.clone();
            workers.submit(Box::new(move || {
                sender.send(number).expect("the test listens");
                assert_ne!(number, 50, "this one panics");
            }));
        }
        drop(sender);
        assert!(done.iter().eq(0..100));
    }

    #[test]
    fn jobs_run_beside_each_other_on_as_many_threads_as_there_may_be() {
        for linger in [Duration::ZERO, Duration::from_secs(1)] {
            let workers = Workers::new("test", 2, linger);
            // Each waits for the other: one thread alone would never end.
            let (to_a, a) = mpsc::channel::<()>();
            let (to_b, b) = mpsc::channel::<()>();
            let (sender, done) = mpsc::channel();
            let also = sender.clone();
            workers.submit(Box::new(move || {
                to_b.send(()).expect("b waits");
                a.recv().expect("b is there");
                sender.send('a').expect("the test listens");
            }));
            workers.submit(Box::new(move || {
                b.recv().expect("a is there");
                to_a.send(()).expect("a waits");
                also.send('b').expect("the test listens");
            }));
            let mut both: Vec<char> = done.iter().collect();
            both.sort_unstable();
            assert_eq!(both, ['a', 'b']);
            assert_eq!(workers.waiting(), 0);
        }
    }
}
