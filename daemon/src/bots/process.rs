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
use crate::platform;

/// A running program. Dropping this stops it, with everything that it has started.
pub(super) struct Process {
    pub(super) child: Child,
}

/// A program to start.
pub(super) struct Program<'p> {
    pub(super) exec: &'p [String],
    /// The working directory; empty for `own` in the data folder.
    pub(super) folder: &'p str,
    pub(super) own: (&'static str, &'p str),
    /// The user that it runs as; empty for the daemon's.
    pub(super) user: &'p str,
    pub(super) env: &'p BTreeMap<String, String>,
    pub(super) limits: &'p ScriptLimits,
}

impl Program<'_> {
    /// Returns the working directory; `None` for the daemon's own. Makes one in the data folder.
    fn folder(&self, core: &Core) -> std::io::Result<Option<PathBuf>> {
        let (kind, name) = self.own;
        Ok(match (self.folder, &core.place) {
            ("", Storage::Folder { folder, .. }) => {
                let own = std::path::absolute(folder)?.join(kind).join(file_name(name));
                platform::make_folder(&own)?;
                Some(own)
            }
            ("", Storage::Memory) => None,
            (folder, _) => Some(PathBuf::from(folder)),
        })
    }
}

/// Returns a bot's name as a file's: no dots, and nothing that leads elsewhere.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
}

impl Process {
    /// Starts a program with pipes to its stdin, stdout and stderr.
    pub(super) fn start(
        core: &Core,
        program: &Program<'_>,
        more: &[(&str, &str)],
    ) -> std::io::Result<Process> {
        let programs = &core.hooks.programs;
        let folder = program.folder(core)?;
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
                if !program.user.is_empty() {
                    command.arg("--user").arg(program.user);
                }
                if let Storage::Folder { folder: data, .. } = &core.place {
                    command.arg("--closed").arg(std::path::absolute(data)?);
                    if let Some(folder) = &folder {
                        command.arg("--open").arg(folder);
                    }
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

    /// Returns its process id.
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
            // The guard ends what it guards. Without a guard, the process group is ended. One that was stopped goes on,
            // to hear it.
            let ended = [Signal::TERM, Signal::CONT]
                .map(|signal| kill_process(pid, signal).and(kill_process_group(pid, signal)));
            if ended.iter().any(Result::is_err) {
                tracing::debug!("a program has gone before it was stopped");
            }
        }
    }
}
