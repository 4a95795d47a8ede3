//! Control groups, by which the kernel bounds how many processes a program of a bot has (cgroups(7)): the pids controller of
//! version 1 or 2. Version 2 is used where systemd has handed a part of the tree over to this service (`Delegate=yes`).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How the names of the groups of programs begin.
const PREFIX: &str = "snug-bot-";

/// The group for the daemon itself, in a part of the tree that is its own: there, groups with processes and groups with
/// groups are not the same ones.
const DAEMON: &str = "daemon";

/// A control group for one program. Dropped, it is gone, unless something is left in it.
pub(crate) struct ControlGroup {
    path: PathBuf,
    /// The group that this process was in before.
    before: PathBuf,
}

impl ControlGroup {
    /// Moves this process, and what it starts from now on, into a new group that has at most `tasks` processes and threads.
    /// Returns `None` where it may not.
    pub(crate) fn enter(tasks: u64) -> Option<ControlGroup> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let (parent, before) = place(&own, Path::new("/sys/fs/cgroup"), is_delegated)?;
        remove_empty(&parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = ControlGroup { path, before };
        set(&group.path.join("pids.max"), &tasks.to_string()).ok()?;
        move_to(&group.path).ok()?;
        Some(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = move_to(&self.before);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Prepares the part of the tree that systemd has handed over to this service, if it has: moves the daemon into a group of
/// its own, so that there can be others beside it.
pub(crate) fn prepare() -> io::Result<()> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return Ok(()) };
    prepare_in(&below(Path::new("/sys/fs/cgroup"), path), is_delegated)
}

fn prepare_in(unit: &Path, is_delegated: impl Fn(&Path) -> bool) -> io::Result<()> {
    let has_pids = |file: &str| words(&unit.join(file)).any(|word| word == "pids");
    if !is_delegated(unit) || !has_pids("cgroup.controllers") || has_pids("cgroup.subtree_control") {
        return Ok(());
    }
    let daemon = unit.join(DAEMON);
    fs::create_dir_all(&daemon)?;
    move_to(&daemon)?;
    set(&unit.join("cgroup.subtree_control"), "+pids")
}

/// Returns the group in which groups for programs can be made, and the one that this process is in. `own` is
/// /proc/self/cgroup.
fn place(own: &str, root: &Path, is_delegated: impl Fn(&Path) -> bool) -> Option<(PathBuf, PathBuf)> {
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.split(',').any(|controller| controller == "pids") {
            let group = below(&root.join("pids"), path);
            return Some((group.clone(), group));
        }
        if controllers.is_empty() {
            let group = below(root, path);
            let Some(parent) = group.parent() else { continue };
            let has_pids = words(&parent.join("cgroup.subtree_control")).any(|word| word == "pids");
            if has_pids && is_delegated(parent) {
                return Some((parent.to_owned(), group));
            }
        }
    }
    None
}

/// Returns whether systemd has handed a group over (systemd.resource-control(5), `Delegate=`).
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::getxattr(group, "user.delegate", &mut value).is_ok_and(|length| value[..length] == *b"1")
}

/// Removes the groups whose guard was killed: those that are empty.
fn remove_empty(parent: &Path) {
    let groups = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    for group in groups {
        let name = group.file_name().to_string_lossy().into_owned();
        // Of a guard that has just made it, it may be empty still. The kernel removes no group that something is in.
        if let Some(guard) = name.strip_prefix(PREFIX)
            && !Path::new("/proc").join(guard).exists()
        {
            let _ = fs::remove_dir(group.path());
        }
    }
}

/// Writes into a file of a control group, which must be there.
fn set(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn move_to(group: &Path) -> io::Result<()> {
    set(&group.join("cgroup.procs"), &std::process::id().to_string())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn words(file: &Path) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_where_groups_may_be_made() {
        let root = tempfile::tempdir().expect("a folder");
        let unit = root.path().join("system.slice/snugd.service");
        fs::create_dir_all(unit.join("daemon")).expect("a folder");
        let own = "1:name=systemd:/x\n0::/system.slice/snugd.service/daemon\n";
        let is_ours = |path: &Path| path == unit;
        assert_eq!(place(own, root.path(), is_ours), None, "nothing counts processes there");
        fs::write(unit.join("cgroup.subtree_control"), "memory pids\n").expect("a file");
        assert_eq!(place(own, root.path(), is_ours), Some((unit.clone(), unit.join("daemon"))));
        assert_eq!(place(own, root.path(), |_| false), None, "it is somebody else's");
        let first = "8:cpu,pids:/user/x\n0::/\n";
        let group = root.path().join("pids/user/x");
        assert_eq!(place(first, root.path(), |_| false), Some((group.clone(), group)), "version 1");
    }

    #[test]
    fn a_unit_is_prepared_if_it_was_handed_over() {
        let unit = tempfile::tempdir().expect("a folder");
        fs::write(unit.path().join("cgroup.controllers"), "cpu pids\n").expect("a file");
        fs::write(unit.path().join("cgroup.subtree_control"), "\n").expect("a file");
        prepare_in(unit.path(), |_| false).expect("nothing to do");
        assert!(!unit.path().join(DAEMON).exists());
        fs::create_dir(unit.path().join(DAEMON)).expect("a folder");
        fs::write(unit.path().join("daemon/cgroup.procs"), "").expect("a file");
        prepare_in(unit.path(), |_| true).expect("it is ours");
        let own = std::process::id().to_string();
        let file = |name: &str| fs::read_to_string(unit.path().join(name)).expect("a file");
        assert_eq!(file("daemon/cgroup.procs"), own);
        assert_eq!(file("cgroup.subtree_control"), "+pids");
        fs::write(unit.path().join("daemon/cgroup.procs"), "").expect("a file");
        fs::write(unit.path().join("cgroup.subtree_control"), "pids\n").expect("a file");
        prepare_in(unit.path(), |_| true).expect("nothing to do");
        assert_eq!(file("daemon/cgroup.procs"), "", "once is enough");
    }
}
