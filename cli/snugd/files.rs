//! Where a daemon's files are, by the conventions of the system it runs on.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use snug_daemon::Config;
use snug_daemon::config::Fallback;

/// Finds the settings: the file that was named, else the user's, else the system's, else the defaults.
pub(crate) fn find_config(named: Option<&Path>) -> anyhow::Result<(Option<PathBuf>, Config)> {
    if let Some(file) = named {
        return Ok((Some(file.to_owned()), read_config(file)?));
    }
    let user = folder("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    let candidates = user.map(|user| user.join("snug/config.toml")).into_iter();
    for file in candidates.chain([PathBuf::from("/etc/snug/config.toml")]) {
        if file.exists() {
            let config = read_config(&file)?;
            return Ok((Some(file), config));
        }
    }
    Ok((None, Config::default()))
}

/// Reads a file of settings.
pub(crate) fn read_config(file: &Path) -> anyhow::Result<Config> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Config::from_toml(&text).map_err(|error| anyhow!("{}:{error}", file.display()))
}

/// The data folder: as set, else the service manager's, else the user's. `None` if there is not even a home.
pub(crate) fn data_folder(config: &Config) -> Option<PathBuf> {
    if let Fallback::Set(folder) = &config.data {
        return Some(folder.clone());
    }
    // systemd gives a list when a service has several state directories; the first is ours.
    let state = env::var_os("STATE_DIRECTORY").filter(|list| !list.is_empty());
    let first = state.and_then(|list| env::split_paths(&list).next());
    let xdg = || Some(folder("XDG_STATE_HOME")?.join("snug"));
    let user = || Some(home()?.join(".local/state/snug"));
    first.or_else(xdg).or_else(user)
}

/// Where the Unix socket is when it is not set. `snug` looks in the same places.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    if let Some(runtime) = folder("XDG_RUNTIME_DIR") {
        return runtime.join("snug.sock");
    }
    let system = Path::new("/run/snug");
    if rustix::fs::access(system, rustix::fs::Access::WRITE_OK).is_ok() {
        return system.join("snug.sock");
    }
    data.join("snug.sock")
}

/// Lets the process have as many open files as the system allows: every connection is one.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// An absolute folder from the environment.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn home() -> Option<PathBuf> {
    folder("HOME")
}
