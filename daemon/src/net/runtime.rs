//! A daemon's tasks. They run on the daemon's own executor, which knows all of them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_channel::{Receiver, Sender};
use smol::Executor;

use crate::core::Core;

/// A daemon's core, with the way to its executor.
pub(crate) struct Runtime {
    pub(crate) core: Arc<Core>,
    /// Owned by the daemon alone: all tasks end with the daemon, even if a handle is left.
    executor: Weak<Executor<'static>>,
    /// Every connection's task holds a copy. [`Runtime::wind_up`] drops the original, and the channel closes with the
    /// last copy.
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
    /// The task is detached: the executor owns it and drops it in the end. A panic ends only that task.
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

    /// Runs a task that ends with the daemon: it is then dropped, whatever it is doing.
    pub(crate) fn spawn_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }

    /// Accepts no more connections, and waits until the existing ones have ended.
    pub(crate) async fn wind_up(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nothing is ever sent: this returns when the channel closes.
        let _ = self.all_gone.recv().await;
    }
}
