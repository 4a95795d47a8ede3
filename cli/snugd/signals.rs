//! SIGTERM and SIGINT stop the daemon, a second one ends it at once, SIGHUP reads the configuration again.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use snug_daemon::Handle;

/// Watches for signals on a thread of its own, until the process ends.
pub(crate) fn watch(handle: Handle, reload: impl Fn() + Send + 'static) -> io::Result<()> {
    // A limit on the size of files is an error of writing, which has its answer, and not the end.
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), Arc::default())?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
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
