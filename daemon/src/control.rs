//! How a running daemon is stopped, with notice, and how its settings are read again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::Sender;
use snug_protocol::{Body, ServerLine};

use crate::core::Core;

/// Reads the settings again. Gives the names of those that take effect at the next start, or what is wrong.
pub(crate) type Reload = dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync;

/// See the module.
#[derive(Default)]
pub(crate) struct Control(Mutex<State>);

#[derive(Default)]
struct State {
    stop: Option<Sender<()>>,
    reload: Option<Arc<Reload>>,
    countdown: Option<Countdown>,
    addresses: Vec<SocketAddr>,
}

/// A stop that is to come.
struct Countdown {
    /// When, in milliseconds of the daemon's clock.
    at: u64,
    /// Seconds before it at which it is announced again, the most first.
    notices: Vec<u64>,
    from: String,
    reason: Option<String>,
}

impl Control {
    /// Says how the daemon is stopped.
    pub(crate) fn set_stop(&self, stop: Sender<()>) {
        self.state().stop = Some(stop);
    }

    /// Says where the daemon listens.
    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.state().addresses = addresses;
    }

    /// Where the daemon listens.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.state().addresses.clone()
    }

    /// Says how the settings are read again.
    pub(crate) fn set_reload(&self, reload: Arc<Reload>) {
        self.state().reload = Some(reload);
    }

    /// What reads the settings again, if the program around the daemon has said so.
    pub(crate) fn reload(&self) -> Option<Arc<Reload>> {
        self.state().reload.clone()
    }

    /// Lets the daemon stop in so many seconds, and tells everybody.
    pub(crate) fn shut_down(&self, core: &Core, seconds: u64, from: &str, reason: Option<&str>) {
        let half = seconds / 2;
        let notices = [half, 60, 10, 5].into_iter().filter(|left| *left > 0 && *left < seconds);
        let mut notices: Vec<u64> = notices.collect();
        notices.sort_unstable_by_key(|left| std::cmp::Reverse(*left));
        notices.dedup();
        announce(core, from, &seconds.to_string(), reason);
        self.state().countdown = Some(Countdown {
            at: core.now().saturating_add(seconds.saturating_mul(1_000)),
            notices,
            from: from.to_owned(),
            reason: reason.map(str::to_owned),
        });
        self.count_down(core);
    }

    /// Calls a stop off, and tells everybody. False if there was none to come.
    pub(crate) fn cancel(&self, core: &Core, from: &str) -> bool {
        let was_coming = self.state().countdown.take().is_some();
        if was_coming {
            announce(core, from, "off", None);
        }
        was_coming
    }

    /// Announces a stop again when that is due, and stops when it is time.
    pub(crate) fn count_down(&self, core: &Core) {
        let now = core.now();
        let mut state = self.state();
        let Some(countdown) = &mut state.countdown else { return };
        let left = countdown.at.saturating_sub(now).div_ceil(1_000);
        if left == 0 {
            state.countdown = None;
            if let Some(stop) = &state.stop {
                stop.close();
            }
            return;
        }
        let mut is_due = false;
        while countdown.notices.first().is_some_and(|notice| left <= *notice) {
            countdown.notices.remove(0);
            is_due = true;
        }
        if is_due {
            let (from, reason) = (countdown.from.clone(), countdown.reason.clone());
            drop(state);
            announce(core, &from, &left.to_string(), reason.as_deref());
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells every session with a name.
fn announce(core: &Core, from: &str, seconds: &str, reason: Option<&str>) {
    let mut line = Vec::new();
    let text = reason.map(Into::into);
    ServerLine::new(Body::Shutdown { seconds, text }).with_from(from).write(&mut line);
    core.registry.for_each_peer(|peer| {
        if peer.identity() != 0 {
            peer.push(&line);
        }
    });
}
