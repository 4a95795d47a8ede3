//! A fresh server, and what the kernel says about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

/// A running `snugd`. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Gives the last line of the log when the server has ended.
    log: Option<JoinHandle<String>>,
    _folder: TempDir,
}

impl Server {
    /// Starts the `snugd` beside this program with the settings of bench/snug.toml.
    /// `durability` is log.durability.
    pub(crate) fn start(durability: &str) -> anyhow::Result<Server> {
        let program = std::env::current_exe()?.with_file_name("snugd");
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("snug.toml");
        let data = folder.path().join("data");
        let settings = include_str!("../snug.toml");
        fs::write(&config, format!("data = {data:?}\n{settings}\n[log]\ndurability = {durability:?}\n"))?;
        let mut child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("cannot run {}; build it first: cargo build --release", program.display())
            })?;
        let stdout = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut address = None;
        for line in stdout.lines() {
            let line = line?;
            if let Some(listening) = line.strip_prefix("listening tcp ") {
                address = Some(listening.parse()?);
            }
            if line == "ready" {
                break;
            }
        }
        let address = address.ok_or_else(|| anyhow!("snugd did not start"))?;
        let stderr = BufReader::new(child.stderr.take().context("a pipe")?);
        let log = std::thread::spawn(move || stderr.lines().map_while(Result::ok).last().unwrap_or_default());
        Ok(Server { child, address, log: Some(log), _folder: folder })
    }

    /// Processor time so far, user and system, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name in parentheses, user and system time are the 12th and 13th field (proc(5)).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || times.next().context("a field")?.context("a number");
        Ok((next()? + next()?) as f64 / clock_ticks_per_second() as f64)
    }

    /// Bytes that went to the disk so far, or will.
    pub(crate) fn written(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("a field")?;
        Ok(value.parse()?)
    }

    /// Stops the server, and gives the commits that it made.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        let last = self.log.take().context("a log")?.join().map_err(|_| anyhow!("the log is lost"))?;
        let commits = last.strip_suffix(" commits").and_then(|line| line.rsplit(' ').next());
        commits.and_then(|count| count.parse().ok()).with_context(|| format!("no commits in {last:?}"))
    }

    /// A line of /proc/PID/`file` in KiB.
    pub(crate) fn memory(&self, file: &str, field: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)).context("a field")?;
        Ok(value.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets this process have as many open files as the system allows.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
