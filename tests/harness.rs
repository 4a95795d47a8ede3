//! Starts the programs, and talks to them over raw sockets.
//!
//! Nothing here sleeps: every wait is for an event, with a time after which the test fails instead of hanging.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long an event may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What is in every password of the tests, and what tokens and invites begin with.
pub(crate) const SECRETS: [&str; 3] = ["Pa55", "snugt_", "snugi_"];

/// A running `snugd` in a folder of its own, on a port of its own.
pub(crate) struct Daemon {
    child: Running,
    folder: Option<TempDir>,
    stdout: Lines,
    log: Lines,
    pub(crate) tcp: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) fingerprint: String,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::with("")
    }

    /// A daemon with these settings, and listening where the test says.
    pub(crate) fn with(settings: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        write_config(folder.path(), settings);
        Daemon::start_in(folder).unwrap_or_else(|failed| panic!("snugd did not start: {failed}"))
    }

    /// Starts with the `config.toml` in `folder`.
    pub(crate) fn start_in(folder: TempDir) -> Result<Daemon, String> {
        Daemon::start_by(program("snugd", folder.path()), folder)
    }

    /// The same, by a command that only lacks its arguments.
    pub(crate) fn start_by(mut command: Command, folder: TempDir) -> Result<Daemon, String> {
        let mut child = Running::spawn(
            command
                .arg("--config")
                .arg(folder.path().join("config.toml"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let stdout = Lines::of(child.0.stdout.take().expect("a pipe"));
        let log = Lines::of(child.0.stderr.take().expect("a pipe"));
        let (mut tcp, mut socket, mut fingerprint) = (None, None, String::new());
        loop {
            let Some(line) = stdout.next() else {
                let _ = child.0.wait();
                return Err(log.rest());
            };
            if let Some(address) = line.strip_prefix("listening tcp ") {
                tcp = Some(address.parse().expect("an address"));
            } else if let Some(path) = line.strip_prefix("listening unix ") {
                socket = Some(PathBuf::from(path));
            } else if let Some(text) = line.strip_prefix("fingerprint ") {
                fingerprint = text.to_owned();
            } else if line == "ready" {
                break;
            }
        }
        let tcp = tcp.expect("a daemon listens on TCP");
        Ok(Daemon {
            child,
            folder: Some(folder),
            stdout,
            log,
            tcp,
            socket: socket.unwrap_or_default(),
            fingerprint,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is there until the end").path()
    }

    /// The address that is safe at first sight.
    pub(crate) fn pinned(&self) -> String {
        format!("snug://{}/#{}", self.tcp, self.fingerprint)
    }

    /// `snug` with this daemon as its server, pinned, and a home of its own.
    pub(crate) fn snug(&self) -> Command {
        let mut command = program("snug", self.folder());
        command.env("SNUG_SERVER", self.pinned());
        command
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child.0);
        kill_process(pid, signal).expect("the daemon runs");
    }

    /// Waits for a line of the log that has `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// Waits until the daemon says that one of its bots has ended.
    pub(crate) fn wait_for_bot_end(&self, name: &str) {
        loop {
            let line = self.log.wait_for("it ended with");
            if line.contains(&format!("bot=\"{name}\"")) || line.contains(&format!("bot={name}")) {
                return;
            }
        }
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// What the kernel says about the daemon's memory: the peak, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).expect("the daemon runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Stops the daemon and starts it again in the same folder, on the same port, with these settings.
    pub(crate) fn restart(self, settings: &str) -> Daemon {
        self.restart_after(settings, |_| {})
    }

    /// As [`Daemon::restart`], and in between something happens to the folder.
    pub(crate) fn restart_after(mut self, settings: &str, meanwhile: impl FnOnce(&Path)) -> Daemon {
        let folder = self.folder.take().expect("it is there until the end");
        self.signal(Signal::TERM);
        self.child.0.wait().expect("it was started");
        meanwhile(folder.path());
        write_config(folder.path(), &format!("[listen]\ntcp = [\"{}\"]\n{settings}", self.tcp));
        Daemon::start_in(folder).unwrap_or_else(|failed| panic!("snugd did not start again: {failed}"))
    }

    /// Kills the daemon without warning and starts it again in the same folder, on the same port, with these settings.
    pub(crate) fn kill_and_restart(self, settings: &str) -> Daemon {
        self.kill_and_restart_after(settings, |_| {})
    }

    /// As [`Daemon::kill_and_restart`], and in between something happens to the folder.
    pub(crate) fn kill_and_restart_after(mut self, settings: &str, meanwhile: impl FnOnce(&Path)) -> Daemon {
        let folder = self.folder.take().expect("it is there until the end");
        self.signal(Signal::KILL);
        self.child.0.wait().expect("it was started");
        meanwhile(folder.path());
        write_config(folder.path(), &format!("[listen]\ntcp = [\"{}\"]\n{settings}", self.tcp));
        Daemon::start_in(folder).unwrap_or_else(|failed| panic!("snugd did not start again: {failed}"))
    }

    /// Stops the daemon in order, and gives its folder and how it ended.
    pub(crate) fn stop_and_keep(mut self) -> (TempDir, ExitStatus) {
        self.signal(Signal::TERM);
        let status = self.child.0.wait().expect("it was started");
        (self.folder.take().expect("it is there until the end"), status)
    }

    /// Stops the daemon in order, and gives how it ended and what it still said.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let status = self.child.0.wait().expect("it was started");
        assert_eq!(status.signal(), None);
        (status, self.log.rest() + &self.stdout.rest())
    }

    /// Waits for the daemon to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.0.wait().expect("it was started")
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// What the kernel holds a daemon in whose bots fork without end, so that they are no load to the machine.
pub(crate) enum Cage {
    /// A control group that has so many processes and no more: what root can have.
    Group(PathBuf),
    /// A process namespace, which ends with its first process, in a user namespace, in which a user's processes are counted
    /// anew: what ordinary users can have on most systems.
    Namespace,
}

impl Cage {
    /// The most processes in it.
    const PROCESSES: usize = 150;

    const UNSHARE: [&str; 7] =
        ["--user", "--map-current-user", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];

    /// What there is here. If there is nothing, says so: the test is skipped.
    pub(crate) fn new() -> Option<Cage> {
        static CAGES: AtomicUsize = AtomicUsize::new(0);
        let number = format!("{}-{}", std::process::id(), CAGES.fetch_add(1, Relaxed));
        for root in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let group = Path::new(root).join(format!("snug-tests-{number}"));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let cage = Cage::Group(group);
            if cage.limit().is_ok() {
                return Some(cage);
            }
            drop(cage);
        }
        let mut can = Command::new("unshare");
        can.args(Cage::UNSHARE).arg("true").stderr(Stdio::null());
        if !rustix::process::getuid().is_root() && can.status().is_ok_and(|status| status.success()) {
            return Some(Cage::Namespace);
        }
        skip("bots that fork without end", "neither a control group nor a process namespace can be had");
        None
    }

    /// Whether its control group is of version 2, which nobody has handed over to the daemon, and its user has no limits.
    pub(crate) fn is_of_root_alone(&self) -> bool {
        matches!(self, Cage::Group(group) if !group.starts_with("/sys/fs/cgroup/pids"))
    }

    fn limit(&self) -> std::io::Result<()> {
        match self {
            Cage::Group(group) => {
                // The file is there already, unless this is no control group.
                let mut file = fs::OpenOptions::new().write(true).open(group.join("pids.max"))?;
                file.write_all(Cage::PROCESSES.to_string().as_bytes())
            }
            Cage::Namespace => Ok(()),
        }
    }

    /// A daemon in the cage.
    pub(crate) fn daemon(&self, settings: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        write_config(folder.path(), settings);
        let plain = program("snugd", folder.path());
        let mut command = match self {
            // It goes into the group before it is what it is to be.
            Cage::Group(group) => {
                let mut command = Command::new("sh");
                command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.join("cgroup.procs"));
                command
            }
            Cage::Namespace => {
                let mut command = Command::new("unshare");
                command.args(Cage::UNSHARE).arg("prlimit").arg(format!("--nproc={}", Cage::PROCESSES));
                command
            }
        };
        command.arg(plain.get_program()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Daemon::start_by(command, folder).unwrap_or_else(|failed| panic!("snugd did not start: {failed}"))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if let Cage::Group(group) = self {
            // Those that were killed just now may still be counted, and a guard that was killed leaves its group.
            until("the control group is empty", || {
                let within = fs::read_dir(&*group).into_iter().flatten().filter_map(Result::ok);
                within.for_each(|inner| drop(fs::remove_dir(inner.path())));
                match fs::remove_dir(&*group) {
                    Ok(()) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::NotFound,
                }
            });
        }
    }
}

/// Says that something is not tested here, and why.
#[allow(clippy::print_stderr, reason = "whoever runs the tests is to read it")]
pub(crate) fn skip(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
}

/// A program that ends with the test, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}")))
    }

    /// Ends it now, and waits for that.
    pub(crate) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.end();
        let Some(folder) = &self.folder else { return };
        if thread::panicking() {
            return;
        }
        // Nor is any secret in what it wrote. Tests take passwords with this word in them; tokens and invites have their
        // prefixes.
        for entry in fs::read_dir(folder.path().join("data")).into_iter().flatten().map_while(Result::ok) {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            for secret in SECRETS {
                let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!is_there, "{secret} is in {}", entry.path().display());
            }
        }
        // Whatever a test made the daemon say: no key and no text of a message is in it.
        let said = self.log.rest() + &self.stdout.rest();
        let key = fs::read_to_string(folder.path().join("data/identity.key")).unwrap_or_default();
        if let Some(seed) = key.split_whitespace().nth(1) {
            assert!(!said.contains(seed), "the daemon's key is in what it said");
        }
        for secret in SECRETS {
            assert!(!said.contains(secret), "{secret} is in what it said: {said}");
        }
        assert!(
            !said.contains("MSG #") && !said.contains("token="),
            "somebody's words are in what it said: {said}"
        );
    }
}

/// Writes a `config.toml` with these settings that keeps everything in `folder`.
pub(crate) fn write_config(folder: &Path, settings: &str) {
    let listen = if settings.contains("[listen]") { "" } else { "[listen]\ntcp = [\"127.0.0.1:0\"]\n" };
    let text = format!("data = {:?}\n{listen}{settings}", folder.join("data"));
    fs::write(folder.join("config.toml"), text).expect("the folder can be written");
}

/// One of our programs, with nothing of the environment it is tested in.
pub(crate) fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(cargo_bin(name));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // A daemon of this machine's own is not found.
    command.env("XDG_RUNTIME_DIR", home);
    command.env("USER", "tester");
    command
}

/// The lines of a program's output, read by a thread of their own so that the program never waits for the test.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(output: impl Read + Send + 'static) -> Lines {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(receiver)
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line came"),
        }
    }

    /// The next line that has `text`; those before it are passed over.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("{text:?} never came"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Everything up to the end.
    pub(crate) fn rest(&self) -> String {
        std::iter::from_fn(|| self.next()).map(|line| line + "\n").collect()
    }
}

/// A raw connection in the clear.
pub(crate) struct Raw {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Raw {
    /// Connects, and hears the greeting.
    pub(crate) fn connect(daemon: &Daemon) -> Raw {
        let stream = TcpStream::connect(daemon.tcp).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        let reader = BufReader::new(stream.try_clone().expect("a socket"));
        let mut raw = Raw { stream, reader };
        assert!(raw.hear().starts_with("SNUG/1 "));
        raw
    }

    /// The same connection, to be written from another thread.
    pub(crate) fn try_clone(&self) -> Raw {
        let stream = self.stream.try_clone().expect("a socket");
        Raw { reader: BufReader::new(stream.try_clone().expect("a socket")), stream }
    }

    /// Connects and takes a name.
    pub(crate) fn enter(daemon: &Daemon, nick: &str) -> Raw {
        let mut raw = Raw::connect(daemon);
        raw.say(&format!("NICK {nick}"));
        raw.wait_for(&format!("OK NICK {nick}"));
        raw
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the daemon reads");
    }

    /// Sends, though the daemon may close in the middle of it.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// The next line without its end; empty when the daemon has closed.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line comes in time");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// The next bytes, so many.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("they come in time");
        bytes
    }

    /// The next line that has `text`; those before it are passed over.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.hear();
            assert!(!line.is_empty(), "closed before {text:?} came");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until somebody of that name is in the lobby.
    pub(crate) fn wait_for_user(&mut self, nick: &str) {
        until(&format!("{nick} comes"), || {
            self.say("WHO #lobby");
            let mut is_there = false;
            loop {
                let line = self.hear();
                is_there |= line.contains(&format!("USER {nick} "));
                if line.contains("OK WHO") {
                    return is_there;
                }
            }
        });
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).expect("the daemon closes in time");
        rest
    }
}
