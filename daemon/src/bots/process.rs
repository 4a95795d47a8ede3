//! External programs: started without a shell, in a clean environment, within limits, and never left behind.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use smol::process::Child;

use crate::config::ScriptLimits;
use crate::core::Core;
use crate::log::Storage;

/// A running program. Dropping this stops it, with everything that it has started.
pub(super) struct Process {
    pub(super) child: Child,
}

/// A program to start.
pub(super) struct Program<'p> {
    pub(super) exec: &'p [String],
    pub(super) folder: &'p str,
    pub(super) env: &'p BTreeMap<String, String>,
    pub(super) limits: &'p ScriptLimits,
}

impl Process {
    /// Starts a program with pipes to its stdin, stdout and stderr.
    pub(super) fn start(
        core: &Core,
        program: &Program<'_>,
        more: &[(&str, &str)],
    ) -> std::io::Result<Process> {
        let programs = &core.hooks.programs;
        let mut command = match &programs.guard {
            // The guard sets the limits, and stops everything that the program has started, whatever happens to the
            // daemon.
            Some(guard) => {
                let limits = program.limits;
                let mut command = Command::new(guard);
                command.arg("guard");
                for (name, value) in [
                    ("--memory", limits.memory.bytes() as u64),
                    ("--processes", limits.processes),
                    ("--files", limits.files),
                    ("--file", limits.file.bytes() as u64),
                    ("--cpu", limits.cpu),
                ] {
                    command.arg(name).arg(value.to_string());
                }
                command.arg("--").args(program.exec);
                command
            }
            None => {
                let mut command = Command::new(&program.exec[0]);
                command.args(&program.exec[1..]);
                command
            }
        };
        let folder = match (program.folder, &core.place) {
            ("", Storage::Folder { folder, .. }) => Some(folder.clone()),
            ("", Storage::Memory) => None,
            (folder, _) => Some(PathBuf::from(folder)),
        };
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        command.env_clear();
        command.envs(&programs.environment).envs(program.env).envs(more.iter().copied());
        command.process_group(0);
        let mut command = smol::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(false);
        Ok(Process { child: command.spawn()? })
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_status(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = self.pid() {
            // The guard stops what it guards. Without a guard, the process group is stopped.
            if kill_process(pid, Signal::TERM).is_err() || kill_process_group(pid, Signal::TERM).is_err() {
                tracing::debug!("a program has gone before it was stopped");
            }
        }
    }
}
