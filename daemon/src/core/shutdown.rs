//! Shutdown of a running daemon, with notice, and reload of its config file.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::Sender;
use snug_protocol::{Body, ServerLine};

use crate::core::Core;

/// A function that reloads the config file. It returns the names of the settings that take effect only at the next
/// start, or an error text.
pub(crate) type Reload = dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync;

/// The controls of a running daemon: how it stops, how it reloads, and where it listens.
#[derive(Default)]
pub(crate) struct Control(Mutex<State>);

#[derive(Default)]
struct State {
    stop: Option<Sender<()>>,
    reload: Option<Arc<Reload>>,
    countdown: Option<Countdown>,
    addresses: Vec<SocketAddr>,
}

/// A scheduled stop.
struct Countdown {
    /// When the daemon stops, in milliseconds of its clock.
    at: u64,
    /// How many seconds before the stop it is announced again, the largest first.
    notices: Vec<u64>,
    from: String,
    reason: Option<String>,
}

impl Control {
    /// Sets the channel that stops the daemon when it is closed.
    pub(crate) fn set_stop(&self, stop: Sender<()>) {
        self.state().stop = Some(stop);
    }

    /// Sets the addresses that the daemon listens on.
    pub(crate) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.state().addresses = addresses;
    }

    /// Returns the addresses that the daemon listens on.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.state().addresses.clone()
    }

    /// Sets the function that reloads the config file.
    pub(crate) fn set_reload(&self, reload: Arc<Reload>) {
        self.state().reload = Some(reload);
    }

    /// Returns the function that reloads the config file, if the embedding program has set one.
    pub(crate) fn reload(&self) -> Option<Arc<Reload>> {
        self.state().reload.clone()
    }

    /// Schedules a stop in `seconds`, counted from `now` in milliseconds of the daemon's clock.
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

    /// Cancels a scheduled stop, and returns whether there was one.
    fn take_countdown(&self) -> bool {
        self.state().countdown.take().is_some()
    }

    /// Returns the announcement that is due at `now`, if there is one. If the stop itself is due, stops the daemon.
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

/// An announcement that the daemon stops in `left` seconds.
struct Notice {
    left: u64,
    from: String,
    reason: Option<String>,
}

impl Core {
    /// Schedules a stop in `seconds`, and announces it.
    pub(crate) fn shut_down(&self, seconds: u64, from: &str, reason: Option<&str>) {
        self.announce_stop(from, &seconds.to_string(), reason);
        self.control.set_countdown(seconds, self.now(), from, reason);
        self.count_down();
    }

    /// Cancels a scheduled stop, and announces that. Returns false if there was none.
    pub(crate) fn cancel_stop(&self, from: &str) -> bool {
        let was_coming = self.control.take_countdown();
        if was_coming {
            self.announce_stop(from, "off", None);
        }
        was_coming
    }

    /// Announces a scheduled stop again if that is due. If the stop itself is due, stops the daemon.
    pub(crate) fn count_down(&self) {
        if let Some(Notice { left, from, reason }) = self.control.due(self.now()) {
            self.announce_stop(&from, &left.to_string(), reason.as_deref());
        }
    }

    /// Sends the announcement to every session with a name.
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
