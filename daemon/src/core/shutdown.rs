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

    /// Notes that the daemon is to stop in so many seconds, counted from `now` in milliseconds of its clock.
    fn set_countdown(&self, seconds: u64, now: u64, from: &str, reason: Option<&str>) {
        let half = seconds / 2;
        let notices = [half, 60, 10, 5].into_iter().filter(|left| *left > 0 && *left < seconds);
        let mut notices: Vec<u64> = notices.collect();
        notices.sort_unstable_by_key(|left| std::cmp::Reverse(*left));
        notices.dedup();
        self.state().countdown = Some(Countdown {
            at: now.saturating_add(seconds.saturating_mul(1_000)),
            notices,
            from: from.to_owned(),
            reason: reason.map(str::to_owned),
        });
    }

    /// Takes a stop back that was to come, and says whether there was one.
    fn take_countdown(&self) -> bool {
        self.state().countdown.take().is_some()
    }

    /// What is to be said at `now`, if it is time to say it again. When it is time to stop, stops.
    fn due(&self, now: u64) -> Option<Notice> {
        let mut state = self.state();
        let countdown = state.countdown.as_mut()?;
        let left = countdown.at.saturating_sub(now).div_ceil(1_000);
        if left == 0 {
            state.countdown = None;
            if let Some(stop) = &state.stop {
                stop.close();
            }
            return None;
        }
        let mut is_due = false;
        while countdown.notices.first().is_some_and(|notice| left <= *notice) {
            countdown.notices.remove(0);
            is_due = true;
        }
        is_due.then(|| Notice { left, from: countdown.from.clone(), reason: countdown.reason.clone() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That the daemon stops in so many seconds.
struct Notice {
    left: u64,
    from: String,
    reason: Option<String>,
}

impl Core {
    /// Lets the daemon stop in so many seconds, and tells everybody.
    pub(crate) fn shut_down(&self, seconds: u64, from: &str, reason: Option<&str>) {
        self.announce_stop(from, &seconds.to_string(), reason);
        self.control.set_countdown(seconds, self.now(), from, reason);
        self.count_down();
    }

    /// Calls a stop off, and tells everybody. False if there was none to come.
    pub(crate) fn cancel_stop(&self, from: &str) -> bool {
        let was_coming = self.control.take_countdown();
        if was_coming {
            self.announce_stop(from, "off", None);
        }
        was_coming
    }

    /// Announces a stop again when that is due, and stops when it is time.
    pub(crate) fn count_down(&self) {
        if let Some(Notice { left, from, reason }) = self.control.due(self.now()) {
            self.announce_stop(&from, &left.to_string(), reason.as_deref());
        }
    }

    /// Tells every session with a name.
    fn announce_stop(&self, from: &str, seconds: &str, reason: Option<&str>) {
        let mut line = Vec::new();
        let text = reason.map(Into::into);
        ServerLine::new(Body::Shutdown { seconds, text }).with_from(from).write(&mut line);
        self.registry.for_each_peer(|peer| {
            if peer.identity() != 0 {
                peer.push(&line);
            }
        });
    }
}
