//! Ends programs of bots whose guard is gone.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use crate::guard::children;

/// How often it is looked after a guard has ended, until what it left has ended.
const AGAIN: Duration = Duration::from_millis(20);

/// Makes this process the parent of whatever loses its own among its descendants, and ends that: a program whose guard was
/// killed. The guards themselves are this program, too.
pub(crate) fn watch() -> std::io::Result<()> {
    if std::process::id() == 1 {
        // In a container, others lose their parents too, and the container is what bounds the programs.
        return Ok(());
    }
    set_child_subreaper(Some(getpid()))?;
    let mut signals = Signals::new([SIGCHLD])?;
    thread::Builder::new().name("snug-orphans".to_owned()).spawn(move || {
        for _ in &mut signals {
            let mut ended = Vec::new();
            while end(&mut ended) {
                thread::sleep(AGAIN);
            }
        }
    })?;
    Ok(())
}

/// Ends the orphans that there are, and returns whether there were any. `ended` are the children that had ended at the last
/// look.
fn end(ended: &mut Vec<i32>) -> bool {
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let own_name = name("self");
    // A program that was replaced since is marked so.
    let program = |pid: &str| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned();
        Some(exe.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(exe))
    };
    let own = program("self");
    let before = std::mem::take(ended);
    let mut is_orphan = |pid: &i32| {
        let file = pid.to_string();
        if let Some(exe) = program(&file) {
            return own.as_ref().is_some_and(|own| *own != exe);
        }
        // It has ended, and has no program any more. If this process started it, it is waited for elsewhere, and soon.
        let is_other = name(&file).is_some_and(|name| own_name.as_ref().is_some_and(|own| *own != name));
        if is_other {
            ended.push(*pid);
        }
        is_other
    };
    let mut orphans = children(getpid().as_raw_nonzero().get());
    orphans.retain(&mut is_orphan);
    let is_there = !orphans.is_empty();
    orphans.retain(|pid| !ended.contains(pid) || before.contains(pid));
    for pid in orphans.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
    is_there
}
