//! The tasks of a daemon: on its own executor, and all of them known.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_channel::{Receiver, Sender};
use smol::Executor;

use crate::core::Core;

/// A daemon's core, and the way to its executor.
pub(crate) struct Runtime {
    pub(crate) core: Arc<Core>,
    /// Owned by the daemon alone: when that is done, so are all tasks, whoever still has a handle.
    executor: Weak<Executor<'static>>,
    /// Every connection's task holds a copy; the original goes at shutdown, and the channel closes with the last.
    alive: Mutex<Option<Sender<Infallible>>>,
    all_gone: Receiver<Infallible>,
}

impl Runtime {
    pub(crate) fn new(core: Arc<Core>, executor: &Arc<Executor<'static>>) -> Runtime {
        let (alive, all_gone) = async_channel::bounded(1);
        Runtime { core, executor: Arc::downgrade(executor), alive: Mutex::new(Some(alive)), all_gone }
    }

    /// Runs a connection. After [`Runtime::wind_up`] it is dropped instead.
    ///
    /// The task is detached: the executor owns it and drops it in the end, and a panic in it ends it alone.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(alive) = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let Some(executor) = self.executor.upgrade() else { return };
        executor
            .spawn(async move {
                connection.await;
                drop(alive);
            })
            .detach();
    }

    /// Runs something that goes with the daemon: it is dropped in the end, in the middle of what it does.
    pub(crate) fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }

    /// Takes no more connections, and waits until those that are there have ended.
    pub(crate) async fn wind_up(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nothing is ever sent: this ends when the channel is closed.
        let _ = self.all_gone.recv().await;
    }
}
