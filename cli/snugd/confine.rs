//! `snugd confine`: the last step before a program of a bot. It closes the daemon's data folder and every process outside
//! to the program, by Landlock (<https://docs.kernel.org/userspace-api/landlock.html>), and becomes it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};

use crate::guard::complain;

/// Close a folder to a program, and become it
#[derive(clap::Args)]
pub(crate) struct Confine {
    /// The folder that is closed to it
    #[arg(long)]
    closed: Option<PathBuf>,
    /// A folder in that one which is open to it
    #[arg(long)]
    open: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    exec: Vec<String>,
}

impl Confine {
    pub(crate) fn run(&self) -> ExitCode {
        if let Some(closed) = &self.closed {
            match self.restrict(closed) {
                Ok(RulesetStatus::NotEnforced) => complain(
                    "this kernel has no Landlock, so nothing keeps the program from the daemon's data but its user",
                ),
                Ok(_) => {}
                Err(error) => {
                    complain(&format!("the program cannot be confined: {error}"));
                    return ExitCode::from(126);
                }
            }
        }
        if let Err(error) = drop_capabilities() {
            complain(&format!("the program keeps the capabilities of root: {error}"));
        }
        // Others have the processor first.
        let nice = Path::new("/usr/bin/nice");
        let mut command = match nice.exists() {
            true => {
                let mut command = Command::new(nice);
                command.args(["-n", "10", "--"]).args(&self.exec);
                command
            }
            false => {
                let mut command = Command::new(&self.exec[0]);
                command.args(&self.exec[1..]);
                command
            }
        };
        let error = command.exec();
        complain(&format!("{} cannot be run: {error}", self.exec[0]));
        ExitCode::from(126)
    }

    fn restrict(&self, closed: &Path) -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let all = AccessFs::from_all(ABI::V6);
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            // Neither its guard nor the daemon can be stopped by it.
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(self.open_paths(closed)?, all))?
            // The limits of its control group are files there.
            .add_rules(path_beneath_rules(["/sys"], AccessFs::from_read(ABI::V6)))?;
        Ok(ruleset.restrict_self()?.ruleset)
    }

    /// Returns everything but `closed`: Landlock names what is open, so this is all that lies beside the way to it.
    fn open_paths(&self, closed: &Path) -> std::io::Result<Vec<PathBuf>> {
        let closed = closed.canonicalize()?;
        // The working directory, which another user may be unable to find by its name.
        let mut open: Vec<PathBuf> = self.open.iter().map(|_| PathBuf::from(".")).collect();
        let mut folder = PathBuf::from("/");
        for step in closed.iter().skip(1) {
            open.extend(beside(&folder, step));
            folder.push(step);
        }
        // The disk is among the devices, and with it all that is on it.
        open.retain(|path| path != Path::new("/dev") && path != Path::new("/sys"));
        open.extend(DEVICES.iter().map(|name| Path::new("/dev").join(name)).filter(|path| path.exists()));
        Ok(open)
    }
}

/// The devices that programs have use of.
const DEVICES: [&str; 12] =
    ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "log"];

/// Gives up what root may do beyond what root owns. Without it, a program of root reads the memory and the environment of
/// any process. The program does not get it back: Landlock has set `no_new_privs` (capabilities(7)).
fn drop_capabilities() -> rustix::io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Returns what is in a folder, but for one of its names. A folder that cannot be listed is closed already. A link may lead
/// to what is to be closed, and what it leads to is open anyway if it is not.
fn beside(folder: &Path, name: &OsStr) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let is_link = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
    entries.filter(|entry| entry.file_name() != name && !is_link(entry)).map(|entry| entry.path()).collect()
}
