//! `snugd`: the daemon as a program. All it adds to the library is what a library must not do: read the
//! environment, print, log, take signals, exit.

mod cgroup;
mod confine;
mod files;
mod guard;
mod orphans;
mod signals;

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::iterator::Signals;
use snug_daemon::config::{Fallback, Level, LogFormat, LogTarget, Logging};
use snug_daemon::{Config, Daemon, Finding, Programs, Report, StartError, keys};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

use std::collections::BTreeMap;

/// The exit code for a configuration that is wrong (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// What is said when not even a home is there.
const NO_DATA: &str = "there is no place for the data folder; set `data`";

/// The exit code for a daemon that cannot start.
const EXIT_START: u8 = 1;

/// A chat daemon that people, scripts and programs share.
#[derive(Parser)]
#[command(name = "snugd", version, about, max_term_width = 100)]
struct Arguments {
    /// Read the settings from FILE and nowhere else
    #[arg(long, value_name = "FILE", conflicts_with = "check_config")]
    config: Option<PathBuf>,

    /// Say whether FILE is a configuration, and exit with 0 or 78
    #[arg(long, value_name = "FILE")]
    check_config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// Print the fingerprint of this daemon's key, and make the key if there is none
    Fingerprint,
    /// Read the whole log, also of a daemon that runs, and say whether it is what was written
    ///
    /// Exits with 0 if all is well, and with 1 and a line for each thing that is not.
    CheckData,
    #[command(hide = true)]
    Guard(guard::Guard),
    #[command(hide = true)]
    Confine(confine::Confine),
    /// Make a pre-shared key that hides this server from strangers
    #[command(subcommand)]
    Psk(PskSub),
}

#[derive(Subcommand)]
enum PskSub {
    /// Write a new key to FILE, which must not exist; set listen.psk_file to it, and give it to the clients
    New {
        /// The new file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The log's level, which SIGHUP can change.
type LogLevel = reload::Handle<LevelFilter, tracing_subscriber::Registry>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Sub::Guard(guard)) = &arguments.command {
        return guard.run();
    }
    if let Some(Sub::Confine(confine)) = &arguments.command {
        return confine.run();
    }
    if let Some(file) = &arguments.check_config {
        return match files::read_config(file) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => complain(EXIT_CONFIG, &error),
        };
    }
    let (file, config) = match files::find_config(arguments.config.as_deref()) {
        Ok(found) => found,
        Err(error) => return complain(EXIT_CONFIG, &error),
    };
    match arguments.command {
        Some(Sub::Fingerprint) => return finish(fingerprint(&config)),
        Some(Sub::CheckData) => return finish(check_data(&config)),
        Some(Sub::Psk(PskSub::New { file })) => return finish(new_psk(&file)),
        Some(Sub::Guard(_) | Sub::Confine(_)) | None => {}
    }
    let signals = match signals::take().context("cannot take signals") {
        Ok(signals) => signals,
        Err(error) => return complain(EXIT_START, &error),
    };
    let log_level = match start_log(&config.logging) {
        Ok(log_level) => log_level,
        Err(error) => return complain(EXIT_START, &error),
    };
    match &file {
        Some(file) => tracing::info!("settings from {}", file.display()),
        None => tracing::info!("no configuration file; all settings have their defaults"),
    }
    finish(serve(config, file, log_level, signals))
}

fn finish(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(EXIT_START, &error),
    }
}

/// What people compare to know that it is this daemon.
fn fingerprint(config: &Config) -> anyhow::Result<()> {
    let data = files::data_folder(config).context(NO_DATA)?;
    let in_data = || format!("cannot use the key in {}", data.join(keys::KEY_FILE).display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).with_context(in_data)?;
    let key = keys::server_key(&data).with_context(in_data)?;
    writeln!(io::stdout(), "{}", key.public_key().fingerprint())?;
    Ok(())
}

/// Says whether the log is what was written.
fn check_data(config: &Config) -> anyhow::Result<()> {
    let data = files::data_folder(config).context(NO_DATA)?;
    let watched = io::IsTerminal::is_terminal(&io::stderr());
    let report = snug_daemon::check_data(&data, |count| {
        if watched {
            let _ = write!(io::stderr(), "\r{count} entries read");
        }
    });
    if watched {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let mut stdout = io::stdout().lock();
    for finding in &report.findings {
        match finding {
            Finding::Unusable(text) => writeln!(stdout, "the log cannot be used: {text}")?,
            Finding::Structure(text) => writeln!(stdout, "the database is damaged: {text}")?,
            Finding::Tail(commits) => {
                writeln!(
                    stdout,
                    "the last {commits} commits in log.db-wal are damaged, and will be passed over"
                )?;
            }
            Finding::Entry(id) => writeln!(stdout, "entry {id} is not what was written")?,
            Finding::File(id, why) => writeln!(stdout, "the file of entry {id} is not what was sent: {why}")?,
            Finding::End { found, expected } => {
                writeln!(stdout, "the last entry is {found} and should be {expected}")?;
            }
            other => writeln!(stdout, "{other:?}")?,
        }
    }
    let Report { name, entries, first, last, files, findings, .. } = report;
    if findings.is_empty() {
        writeln!(
            stdout,
            "log {name} in {}: {entries} entries, {first} to {last}, {files} files; all is well",
            data.display()
        )?;
        return Ok(());
    }
    let log = data.join("log.db");
    if findings.iter().all(|finding| matches!(finding, Finding::Unusable(_))) {
        anyhow::bail!("{} cannot be read as it is; nothing was changed", log.display());
    }
    anyhow::bail!(
        "{} is damaged: stop snugd, keep a copy of the folder, and put a backup of log.db in its place (without \
         log.db-wal, log.db-shm and search.db)",
        log.display()
    )
}

fn new_psk(file: &std::path::Path) -> anyhow::Result<()> {
    let psk = keys::make_psk(file).with_context(|| format!("cannot make {}", file.display()))?;
    writeln!(io::stdout(), "made the key {} in {}", psk.id(), file.display())?;
    Ok(())
}

fn serve(
    mut config: Config,
    file: Option<PathBuf>,
    log_level: LogLevel,
    signals: Signals,
) -> anyhow::Result<()> {
    files::raise_open_files();
    keep_memory_to_itself();
    if let Err(error) = cgroup::prepare() {
        tracing::warn!(
            "the control group cannot be divided, and programs of bots are counted instead: {error}"
        );
    }
    // A reload is compared with what was read, not with what became of it here.
    let data = files::data_folder(&config).context(NO_DATA)?;
    config.data = Fallback::Set(data.clone());
    let chose_socket = config.listen.unix == Fallback::Auto;
    if chose_socket {
        config.listen.unix = Fallback::Set(files::socket_path(&data));
    }
    let places = (config.data.clone(), config.listen.unix.clone());
    let bind = |config: Config| smol::block_on(Daemon::builder(config).programs(programs()).bind());
    let daemon = match bind(config.clone()) {
        Err(error @ StartError::Unix { .. }) if chose_socket => {
            tracing::warn!("{error}; going on without it (set listen.unix to choose another)");
            config.listen.unix = Fallback::Set(PathBuf::new());
            bind(config)?
        }
        bound => bound?,
    };
    let handle = daemon.handle();
    let reread = {
        let handle = handle.clone();
        Arc::new(move || reload(&handle, file.as_deref(), &places, &log_level))
    };
    let asked = Arc::clone(&reread);
    handle.on_reload(move || asked());
    if let Err(error) = orphans::watch() {
        tracing::warn!("programs of bots whose guard is killed will stay: {error}");
    }
    announce(&handle);
    // What has come since the start is heeded now, in its order.
    signals::watch(signals, handle.clone(), move || {
        // It has been logged.
        let _ = reread();
    })
    .context("cannot watch for signals")?;
    smol::block_on(daemon.run());
    let stats: BTreeMap<String, u64> = smol::block_on(handle.stats()).into_iter().collect();
    tracing::info!(
        "stopped after {} connections, and {} entries in {} commits",
        stats["connections"],
        stats["messages"],
        stats["commits"]
    );
    Ok(())
}

/// What the daemon knows, keys and passwords among it, goes into no core dump, and other processes of its user do not read
/// its memory (prctl(2), PR_SET_DUMPABLE).
fn keep_memory_to_itself() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("other programs of this user can read the daemon's memory: {error}");
    }
}

/// How external bots and commands are started: through `snugd guard`, with a few variables of this environment.
fn programs() -> Programs {
    let mut programs = Programs::default();
    programs.guard = std::env::current_exe().ok();
    let passed_on = ["PATH", "LANG", "LC_ALL", "TZ", "HOME"];
    let value = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    programs.environment = passed_on.into_iter().filter_map(value).collect();
    programs
}

/// Says on stdout where the daemon listens. A closed stdout is nothing to a daemon.
fn announce(handle: &snug_daemon::Handle) {
    let mut lines: Vec<String> =
        handle.addresses().iter().map(|address| format!("listening tcp {address}")).collect();
    lines.extend(handle.socket().map(|path| format!("listening unix {}", path.display())));
    lines.push(format!("fingerprint {}", handle.fingerprint()));
    lines.push("ready".to_owned());
    for line in lines {
        tracing::info!("{line}");
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

/// Reads the configuration again and takes over what can change. A bad file changes nothing. Gives the settings that take
/// effect at the next start.
fn reload(
    handle: &snug_daemon::Handle,
    file: Option<&std::path::Path>,
    (data, socket): &(Fallback<PathBuf>, Fallback<PathBuf>),
    log_level: &LogLevel,
) -> Result<Vec<&'static str>, String> {
    let mut config = file.map_or_else(|| Ok(Config::default()), files::read_config).map_err(|error| {
        tracing::error!("the settings stay as they are: {error:#}");
        format!("{error:#}")
    })?;
    if config.data == Fallback::Auto {
        config.data = data.clone();
    }
    if config.listen.unix == Fallback::Auto {
        config.listen.unix = socket.clone();
    }
    let _ = log_level.modify(|filter| *filter = filter_of(config.logging.level));
    let fixed = handle.reconfigure(config);
    if fixed.is_empty() {
        tracing::info!("settings read again");
    } else {
        tracing::warn!("settings read again; these take effect at the next start: {}", fixed.join(", "));
    }
    Ok(fixed)
}

/// Sends the log where the settings say.
fn start_log(logging: &Logging) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(filter_of(logging.level));
    let registry = tracing_subscriber::registry().with(filter);
    match (logging.to, logging.format) {
        (LogTarget::Journald, _) => {
            let journal = tracing_journald::layer()
                .context("there is no journal to log to; set logging.to = \"stderr\"")?;
            registry.with(journal).init();
        }
        (LogTarget::Stderr, LogFormat::Json) => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).init();
        }
        (LogTarget::Stderr, LogFormat::Human) => {
            let colour = std::io::IsTerminal::is_terminal(&io::stderr());
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false)).init();
        }
    }
    Ok(handle)
}

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Says on stderr what is wrong.
fn complain(code: u8, error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "snugd: {error:#}");
    ExitCode::from(code)
}
