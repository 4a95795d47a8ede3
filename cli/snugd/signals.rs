//! SIGTERM and SIGINT stop the daemon, a second one ends it at once, SIGHUP reads the configuration again.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use snug_daemon::Handle;

/// Takes the signals. From here on they wait until somebody watches for them: one that comes while the daemon starts is
/// heeded when it is ready.
pub(crate) fn take() -> io::Result<Signals> {
    // A limit on the size of files is an error of writing, which has its answer, and not the end.
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), Arc::default())?;
    Signals::new([SIGHUP, SIGINT, SIGTERM])
}

/// Watches for signals on a thread of its own, until the process ends.
pub(crate) fn watch(
    mut signals: Signals,
    handle: Handle,
    reload: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut stopping = false;
        for signal in &mut signals {
            match signal {
                SIGHUP => reload(),
                _ if stopping => {
                    tracing::warn!("a second signal: ending at once");
                    process::exit(128 + signal);
                }
                _ => {
                    tracing::info!("stopping");
                    stopping = true;
                    handle.stop();
                }
            }
        }
    };
    thread::Builder::new().name("snug-signals".to_owned()).spawn(work)?;
    Ok(())
}
