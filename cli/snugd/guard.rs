//! `snugd guard`: what stands between the daemon and a program of one's own.
//!
//! It sets limits, runs the program, and ends it with all that it has started: when it is told to, when the program ends,
//! when there are too many processes, and when the daemon is gone, however that came.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::cgroup::ControlGroup;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getrlimit, getuid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, setrlimit,
};

/// Run a program of one's own within limits, and end all of it
#[derive(clap::Args)]
pub(crate) struct Guard {
    /// Address space of a process in bytes
    #[arg(long)]
    memory: u64,
    /// Processes
    #[arg(long)]
    processes: u64,
    /// Open files of a process
    #[arg(long)]
    files: u64,
    /// The largest file in bytes; 0 for no limit
    #[arg(long)]
    file: u64,
    /// Seconds of processor time of a process; 0 for no limit
    #[arg(long)]
    cpu: u64,
    /// The user that the program runs as, by name or number
    #[arg(long)]
    user: Option<String>,
    /// The daemon's data folder, which is closed to the program
    #[arg(long)]
    closed: Option<PathBuf>,
    /// The program's own folder
    #[arg(long)]
    open: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    exec: Vec<String>,
}

/// How many threads a process may have on average. The kernel counts them like processes, and what it bounds is this many
/// times what is allowed; beyond what is allowed, the program is ended.
const TASKS_EACH: u64 = 4;

/// How often the processes are counted: often when something has changed, and less so while nothing does.
const OFTEN: Duration = Duration::from_millis(5);
const SELDOM: Duration = Duration::from_millis(100);

impl Guard {
    pub(crate) fn run(&self) -> ExitCode {
        let parent = rustix::process::getppid();
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
        // Whoever loses its parent becomes a child of this one, and is found.
        let _ = set_child_subreaper(Some(getpid()));
        if rustix::process::getppid() != parent {
            return ExitCode::from(143);
        }
        let is_told = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP]
        {
            let _ = signal_hook::flag::register(signal, Arc::clone(&is_told));
        }
        let mut command = match self.command() {
            Ok(command) => command,
            Err(text) => {
                complain(&text);
                return ExitCode::from(126);
            }
        };
        // Landlock closes the files by which the program could leave the group (confine.rs).
        let tasks = self.processes.saturating_mul(TASKS_EACH);
        let group = ControlGroup::enter(tasks.saturating_add(1));
        self.set_limits();
        // The kernel counts all processes and threads of the user: so many more. Root has no such limit.
        let user = command.user.unwrap_or_else(|| getuid().as_raw());
        match (&group, user) {
            (Some(_), _) => {}
            (None, 0) => complain("no control group can be had, so its processes are only counted"),
            (None, user) => limit(Resource::Nproc, tasks_of(user).saturating_add(tasks).saturating_add(1)),
        }
        let mut child = match command.command.spawn() {
            Ok(child) => child,
            Err(error) => {
                complain(&format!("{} cannot be run: {error}", self.exec[0]));
                return ExitCode::from(126);
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let end_all = || end_all(group);
        let (mut wait, mut before) = (OFTEN, 0);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    end_all();
                    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
                    return ExitCode::from(u8::try_from(code).unwrap_or(1));
                }
                Ok(None) => {}
                Err(_) => {
                    end_all();
                    return ExitCode::FAILURE;
                }
            }
            if is_told.load(SeqCst) {
                end_all();
                return ExitCode::from(143);
            }
            let count = descendants().len() as u64;
            if count > self.processes {
                end_all();
                complain(&format!(
                    "it had {count} processes, and may have {}; all were ended",
                    self.processes
                ));
                return ExitCode::from(137);
            }
            reap(child.id());
            wait = if count == before { (wait * 2).min(SELDOM) } else { OFTEN };
            before = count;
            std::thread::sleep(wait);
        }
    }

    /// Returns the command that confines the program and becomes it.
    fn command(&self) -> Result<Confined, String> {
        // Also if it was replaced since.
        let mut command = Command::new("/proc/self/exe");
        command.arg("confine").process_group(0);
        for (name, folder) in [("--closed", &self.closed), ("--open", &self.open)] {
            if let Some(folder) = folder {
                command.arg(name).arg(folder);
            }
        }
        let mut other_user = None;
        if let Some(user) = &self.user {
            let (uid, gid) = user_of(user).ok_or_else(|| format!("there is no user {user}"))?;
            if uid != getuid().as_raw() {
                if !getuid().is_root() {
                    return Err(format!("only a daemon of root runs a program as {user}"));
                }
                // The groups of root go with it.
                command.uid(uid).gid(gid);
                other_user = Some(uid);
                if let Some(folder) = &self.open {
                    let owned = std::os::unix::fs::chown(folder, Some(uid), Some(gid));
                    owned.map_err(|error| format!("{}: {error}", folder.display()))?;
                }
            }
        }
        command.arg("--").args(&self.exec);
        Ok(Confined { command, user: other_user })
    }

    /// What a program may use. It, and all that it starts, inherit it.
    fn set_limits(&self) {
        for (resource, most) in [
            (Resource::As, self.memory),
            (Resource::Nofile, self.files),
            (Resource::Fsize, self.file),
            (Resource::Cpu, self.cpu),
        ] {
            if most > 0 {
                limit(resource, most);
            }
        }
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// Sets a limit, or leaves a lower one.
fn limit(resource: Resource, most: u64) {
    let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    let _ = setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) });
}

/// The command that becomes the program.
struct Confined {
    command: Command,
    /// Whom it runs as, if that is not the daemon's user.
    user: Option<u32>,
}

/// Returns the numbers of a user and its group, by its name or number in /etc/passwd (passwd(5)).
fn user_of(word: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut users = fields.filter_map(|fields| match fields.as_slice() {
        [name, _, uid, gid, ..] => Some((*name, uid.parse().ok()?, gid.parse().ok()?)),
        _ => None,
    });
    let number: Option<u32> = word.parse().ok();
    users.find(|(name, uid, _)| *name == word || number == Some(*uid)).map(|(_, uid, gid)| (uid, gid))
}

pub(crate) fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "guard: {text}");
}

/// Returns the number of threads in all processes of a user, as the kernel counts them (proc(5)).
fn tasks_of(user: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let tasks = |entry: fs::DirEntry| -> Option<u64> {
        entry.file_name().to_string_lossy().parse::<i32>().ok()?;
        // The owner of the files is not the user if nobody is to read the process's memory.
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        (field("Uid:")?.parse() == Ok(user)).then(|| field("Threads:")?.parse().ok()).flatten()
    };
    entries.filter_map(tasks).sum()
}

/// Everything that this process, or what it has started, has started, and what of it has ended and was not asked for.
fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut next = vec![getpid().as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        for child in children(pid) {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            let has_ended = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
            if !has_ended {
                found.extend(Pid::from_raw(child));
            }
            next.push(child);
        }
    }
    found
}

/// The children of a process (proc(5): the list of each of its threads).
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Takes what has lost its parent and ended; the program itself is asked for elsewhere.
fn reap(program: u32) {
    for child in children(getpid().as_raw_nonzero().get()) {
        if u32::try_from(child) != Ok(program)
            && let Some(pid) = Pid::from_raw(child)
        {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
    }
}

/// Ends everything: the program's group at once, which leaves nobody the time to start more; then who has left it. Those that
/// are stopped start nothing, so that one is not faster at starting than this at ending.
fn end_all(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    for _ in 0..200 {
        let all = descendants();
        // Take what has ended, so that it goes.
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        if all.is_empty() {
            return;
        }
        for pid in &all {
            let _ = kill_process(*pid, Signal::STOP);
        }
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
