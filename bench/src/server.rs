//! A fresh server, and what the kernel says about it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::options::{Kind, Options};
use crate::peers;
use crate::wire::{Dialect, Wire};

/// A running server. It is killed when it is dropped.
pub(crate) struct Server {
    child: Option<Process>,
    pid: u32,
    /// Whether it is a snugd, which indexes behind the messages.
    has_index: bool,
    pub(crate) address: SocketAddr,
    /// From the start of the process to the moment at which it takes connections.
    pub(crate) starting: Duration,
    /// Gives the last line of snugd's log when the server has ended.
    log: Option<JoinHandle<String>>,
    _folder: TempDir,
}

/// The server that runs now, for whoever has to end everything at once.
static RUNNING: Mutex<Option<u32>> = Mutex::new(None);

impl Server {
    /// Starts a server.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Server> {
        let folder = tempfile::tempdir()?;
        if let (Some(address), Some(pid)) = (options.attach, options.pid) {
            return Ok(Server {
                child: None,
                pid,
                has_index: false,
                address,
                starting: Duration::ZERO,
                log: None,
                _folder: folder,
            });
        }
        match options.server {
            Kind::Snug => Server::start_snug(options, folder),
            _ => Server::start_peer(options, folder),
        }
    }

    fn start_snug(options: &Options, folder: TempDir) -> anyhow::Result<Server> {
        let beside = std::env::current_exe()?.with_file_name("snugd");
        let program = options.program.as_ref().unwrap_or(&beside);
        let config = folder.path().join("snug.toml");
        let data = options.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let threads = options.threads.map(|threads| format!("threads = {threads}\n")).unwrap_or_default();
        let connections = format!("connections = {}", options.pace);
        let settings = include_str!("../snug.toml").replace("connections = 0", &connections);
        let durability = &options.durability;
        let others = match &options.settings {
            Some(path) => {
                fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => String::new(),
        };
        fs::write(
            &config,
            format!(
                "data = {data:?}\n{threads}{settings}\n[log]\ndurability = {durability:?}\nguests = \"0 B\"\n{others}"
            ),
        )?;
        let begun = Instant::now();
        let mut child = spawn(Command::new(program).arg("--config").arg(&config))?;
        let stdout = BufReader::new(child.0.stdout.take().context("a pipe")?);
        let mut address = None;
        let mut is_ready = false;
        for line in stdout.lines() {
            let line = line?;
            if let Some(listening) = line.strip_prefix("listening tcp ") {
                address = Some(listening.parse()?);
            }
            is_ready = line == "ready";
            if is_ready {
                break;
            }
        }
        let starting = begun.elapsed();
        let stderr = BufReader::new(child.0.stderr.take().context("a pipe")?);
        let log = std::thread::spawn(move || stderr.lines().map_while(Result::ok).last().unwrap_or_default());
        let mut server = Server {
            pid: child.0.id(),
            child: Some(child),
            has_index: true,
            address: ([127, 0, 0, 1], 0).into(),
            starting,
            log: Some(log),
            _folder: folder,
        };
        let Some(address) = address.filter(|_| is_ready) else {
            let last = server.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
            bail!("snugd did not start: {last}");
        };
        server.address = address;
        Ok(server)
    }

    fn start_peer(options: &Options, folder: TempDir) -> anyhow::Result<Server> {
        let address = peers::free_address()?;
        let mut command = peers::command(options, folder.path(), address)?;
        let begun = Instant::now();
        let mut child = spawn(&mut command)?;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.0.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            ensure!(begun.elapsed() < Duration::from_secs(20), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        // What it prints is nobody's business, but must not make it wait.
        for pipe in
            [child.0.stdout.take().map(Pipe::Out), child.0.stderr.take().map(Pipe::Err)].into_iter().flatten()
        {
            std::thread::spawn(move || match pipe {
                Pipe::Out(mut pipe) => std::io::copy(&mut pipe, &mut std::io::sink()),
                Pipe::Err(mut pipe) => std::io::copy(&mut pipe, &mut std::io::sink()),
            });
        }
        let (pid, starting) = (child.0.id(), begun.elapsed());
        Ok(Server {
            child: Some(child),
            pid,
            has_index: false,
            address,
            starting,
            log: None,
            _folder: folder,
        })
    }

    /// Waits until snugd has also done what it does behind the messages: the search index. It belongs to what they
    /// cost.
    pub(crate) fn catch_up(&self) -> anyhow::Result<()> {
        if self.has_index {
            let mut wire = Wire::connect(self.address, Dialect::Clear)?;
            wire.enter("bench-catches-up", false)?;
            wire.ask("SEARCH * nothing", |_| ())?;
        }
        Ok(())
    }

    /// Processor time so far, user and system, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_of(&format!("/proc/{}", self.pid))
    }

    /// Processor time so far of the threads of this name, in seconds.
    pub(crate) fn cpu_of_thread(&self, name: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let path = task?.path();
            if fs::read_to_string(path.join("comm"))?.trim_end() == name {
                sum += cpu_of(&path.to_string_lossy())?;
            }
        }
        Ok(sum)
    }

    /// Bytes that went to the disk so far, or will.
    pub(crate) fn written(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.pid))?;
        let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("a field")?;
        Ok(value.parse()?)
    }

    /// Stops snugd, and gives the commits that it made.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child.0), Signal::TERM)?;
            child.0.wait()?;
        }
        let last = self.log.take().context("a log")?.join().map_err(|_| anyhow!("the log is lost"))?;
        let commits = last.strip_suffix(" commits").and_then(|line| line.rsplit(' ').next());
        commits.and_then(|count| count.parse().ok()).with_context(|| format!("no commits in {last:?}"))
    }

    /// A line of /proc/PID/`file` in KiB.
    pub(crate) fn memory(&self, file: &str, field: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid))
            .context("snugd lets nobody read its memory, so this has to be measured as root")?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)).context("a field")?;
        Ok(value.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    }
}

enum Pipe {
    Out(std::process::ChildStdout),
    Err(std::process::ChildStderr),
}

/// A server's process. It is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(mut running) = RUNNING.lock() {
            *running = None;
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<Process> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}; see bench/README.md"))?;
    if let Ok(mut running) = RUNNING.lock() {
        *running = Some(child.id());
    }
    Ok(Process(child))
}

/// Behind the name in parentheses, user and system time are the 12th and 13th field (proc(5)).
fn cpu_of(path: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("{path}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut next = || times.next().context("a field")?.context("a number");
    Ok((next()? + next()?) as f64 / clock_ticks_per_second() as f64)
}

/// Ends this process and the server after so many seconds, whatever happens, or when it is told to.
pub(crate) fn watch(seconds: u64) -> anyhow::Result<()> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        end(&format!("not done after {seconds} s"));
    });
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            end("ended by a signal");
        }
    });
    Ok(())
}

fn end(why: &str) {
    let running = RUNNING.lock().ok().and_then(|running| *running);
    if let Some(pid) = running.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = writeln!(std::io::stderr(), "{why}");
    std::process::exit(1);
}

/// Lets this process and the servers have as many open files as the system allows, and leave no cores behind.
pub(crate) fn set_limits() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// A folder's size on the disk, in bytes.
pub(crate) fn size_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
