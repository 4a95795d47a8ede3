//! Bots: built-in bots, external bots, which speak the protocol, and programs that run for a command.
//!
//! Each bot has a session like any user, and a task of its own. The task opens the session, restarts the bot when it
//! ends, and stops it when the config file says so. The roster has their states.

mod commands;
mod host;
mod process;
mod script;
mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use smol::Timer;
use snug_bots::{CommandSpec, Manifest};
use snug_protocol::{Body, Nick, Scope, ServerLine};

use crate::Config;
use crate::core::Core;
use crate::core::roster::{BotCommand, BotState, RosterEntry};
use crate::log::{AuditNote, Author};
use crate::net::local::LocalSession;
use crate::net::runtime::Runtime;
use crate::origin::Origin;

/// How many times a bot may end soon after its start before it is given up.
const TRIES: u32 = 8;

/// A bot that has run for this long is healthy.
const WELL: Duration = Duration::from_secs(60);

/// The first and the longest wait before a restart. The wait doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long the daemon waits for its bots before it accepts connections.
const ARRIVAL: Duration = Duration::from_secs(2);

/// A bot that the config file asks for.
struct Wanted {
    name: String,
    nick: String,
    kind: &'static str,
    settings: String,
    rooms: Vec<String>,
    commands: Vec<CommandSpec>,
    start: Start,
}

enum Start {
    Box(snug_bots::Hosted),
    Script(crate::config::ScriptBot),
    Commands(Vec<crate::config::ScriptCommand>),
}

/// Returns all bots that the config file asks for.
fn wanted(config: &Config) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut others = Vec::new();
    for script in &config.bot {
        others.push(Manifest { commands: script.specs(), ..Manifest::default() });
        all.push(Wanted {
            name: script.name.clone(),
            nick: script.name.clone(),
            kind: "script",
            settings: format!("{script:?}"),
            rooms: script.rooms.clone(),
            commands: script.specs(),
            start: Start::Script(script.clone()),
        });
    }
    let mut nicks: Vec<&str> = config.command.iter().map(|command| command.nick.as_str()).collect();
    nicks.sort_unstable();
    nicks.dedup();
    for nick in nicks {
        let own: Vec<_> = config.command.iter().filter(|command| command.nick == nick).cloned().collect();
        let mut rooms: Vec<String> = own.iter().flat_map(|command| command.rooms.clone()).collect();
        rooms.sort();
        rooms.dedup();
        let commands: Vec<CommandSpec> = own.iter().filter_map(|command| command.spec().ok()).collect();
        others.push(Manifest { commands: commands.clone(), ..Manifest::default() });
        all.push(Wanted {
            name: nick.to_owned(),
            nick: nick.to_owned(),
            kind: "command",
            settings: format!("{own:?}"),
            rooms,
            commands,
            start: Start::Commands(own),
        });
    }
    let table = toml::Table::try_from(&config.bots).unwrap_or_default();
    for hosted in snug_bots::load(&config.bots, &others).bots {
        let own = table.get(hosted.name).map(ToString::to_string).unwrap_or_default();
        // The help bot lists the commands of all others, so it restarts when they change.
        let rest = if hosted.name == "help" { format!("{table}{others:?}") } else { String::new() };
        all.push(Wanted {
            name: hosted.name.to_owned(),
            nick: hosted.nick.clone(),
            kind: "box",
            settings: own + &rest,
            rooms: hosted.rooms.clone(),
            commands: hosted.bot.manifest().commands.clone(),
            start: Start::Box(hosted),
        });
    }
    all
}

/// Starts the bots of the config file, and those of the embedding program, which no reload stops. Returns the same as
/// [`apply`].
pub(crate) fn start(runtime: &Arc<Runtime>, config: &Config, hosted: Vec<snug_bots::Hosted>) -> Receiver<()> {
    let (arriving, arrived) = async_channel::bounded(1);
    for hosted in hosted {
        let wanted = Wanted {
            name: hosted.name.to_owned(),
            nick: hosted.nick.clone(),
            kind: EMBEDDED,
            settings: String::new(),
            rooms: hosted.rooms.clone(),
            commands: hosted.bot.manifest().commands.clone(),
            start: Start::Box(hosted),
        };
        begin(runtime, wanted, &arriving);
    }
    apply_with(runtime, config, arriving);
    arrived
}

/// The kind of the embedding program's bots, as the roster lists it.
const EMBEDDED: &str = "embedder";

/// Starts the bots that the config file asks for, and stops those that it no longer has. A bot whose settings have
/// not changed keeps running. The returned channel closes when the started bots are in their rooms, or could not get
/// there.
pub(crate) fn apply(runtime: &Arc<Runtime>, config: &Config) -> Receiver<()> {
    let (arriving, arrived) = async_channel::bounded(1);
    apply_with(runtime, config, arriving);
    arrived
}

fn apply_with(runtime: &Arc<Runtime>, config: &Config, arriving: Sender<()>) {
    let core = &runtime.core;
    core.roster.set_started(true);
    let wanted = wanted(config);
    core.roster.entries().retain(|entry| {
        let is_wanted = |wanted: &Wanted| {
            wanted.name == entry.name && wanted.kind == entry.kind && wanted.settings == entry.settings
        };
        let stays = entry.kind == EMBEDDED || wanted.iter().any(is_wanted);
        if !stays {
            let _ = entry.bot_commands.try_send(BotCommand::Stop);
        }
        stays
    });
    for wanted in wanted {
        begin(runtime, wanted, &arriving);
    }
}

/// Gives a bot a row in the roster and a task, unless there is a bot with that name.
fn begin(runtime: &Arc<Runtime>, wanted: Wanted, arriving: &Sender<()>) {
    let core = &runtime.core;
    let mut entries = core.roster.entries();
    if entries.iter().any(|entry| entry.name == wanted.name) {
        return;
    }
    let (bot_commands, waiting) = async_channel::bounded(16);
    let Wanted { name, nick, kind, settings, rooms, commands, start } = wanted;
    let since = core.environment.clock.now();
    entries.push(RosterEntry {
        name: name.clone(),
        fold: Nick::parse(&nick).ok().map(|nick| nick.fold()),
        nick,
        kind,
        settings,
        rooms,
        commands,
        state: BotState::Running,
        since,
        restarts: 0,
        log: VecDeque::new(),
        bot_commands,
    });
    drop(entries);
    let arriving = Mutex::new(Some(arriving.clone()));
    let task = Task { runtime: Arc::clone(runtime), name, bot_commands: waiting, arriving };
    runtime.spawn_task(async move {
        match start {
            Start::Box(hosted) => host::run(&task, hosted).await,
            Start::Script(script) => script::run(&task, &script).await,
            Start::Commands(commands) => commands::run(&task, &commands).await,
        }
    });
}

/// Waits until the bots are in their rooms, but at most for [`ARRIVAL`], so that a broken bot delays nobody.
pub(crate) async fn arrive(arrived: Receiver<()>) {
    let all = async {
        let _ = arrived.recv().await;
    };
    let long = async {
        Timer::after(ARRIVAL).await;
        tracing::warn!("bots are not in their rooms yet; the daemon goes on without them");
    };
    all.or(long).await;
}

/// Stops all bots, because the daemon stops.
pub(crate) fn stop(core: &Core) {
    core.roster.set_started(false);
    for entry in core.roster.entries().drain(..) {
        let _ = entry.bot_commands.try_send(BotCommand::Stop);
    }
}

/// The task of a bot: what all kinds of bots need.
struct Task {
    runtime: Arc<Runtime>,
    name: String,
    bot_commands: Receiver<BotCommand>,
    /// Dropped when the bot is in its rooms for the first time, or could not get there.
    arriving: Mutex<Option<Sender<()>>>,
}

/// The end of a bot's session or program.
enum Ended {
    /// It may be restarted. The text is the reason.
    Because(String),
    /// A restart would not help. The text is the reason.
    ForGood(String),
}

impl Task {
    fn core(&self) -> &Arc<Core> {
        &self.runtime.core
    }

    /// Writes a text to the bot's log and the daemon's.
    fn tell(&self, text: &str) {
        tracing::info!(bot = self.name, "{text}");
        self.core().roster.write(&self.name, text);
    }

    /// Opens a session, gives it a nickname, and joins rooms. The inner `Err` says why it has no nickname. The
    /// returned session does not receive the answers to these commands, and no files of rooms outside of `rooms_only`.
    async fn enter(
        &self,
        nick: &str,
        rooms: &[String],
        since: Option<u64>,
        rooms_only: Option<&Scope>,
    ) -> std::io::Result<Result<LocalSession, Ended>> {
        let mut session = LocalSession::open_within(&self.runtime, Origin::Bot, rooms_only);
        let tag = since.map(|since| format!(";since={since}")).unwrap_or_default();
        session.send_line(&format!("@quiet{tag} NICK {nick}")).await?;
        for room in rooms {
            session.send_line(&format!("JOIN {room}")).await?;
        }
        if let Some(since) = since {
            session.send_line(&format!("SYNC {since} 500")).await?;
        }
        let mut heard = Vec::new();
        let mut answers = 0;
        while answers <= rooms.len() {
            let Some(whole) = session.next_line().await? else {
                return Ok(Err(Ended::Because("its session is over".to_owned())));
            };
            match ServerLine::parse(&whole).map(|line| line.body) {
                Some(Body::Err { verb: verb @ ("NICK" | "JOIN"), code, text }) => {
                    let what = format!("{verb} was refused: {code} {text}");
                    // A session without a nickname is of no use.
                    if verb == "NICK" {
                        return Ok(Err(Ended::Because(what)));
                    }
                    self.tell(&what);
                    answers += 1;
                }
                Some(Body::Ok { verb: "NICK" | "JOIN", .. }) => answers += 1,
                _ => heard.push(whole),
            }
        }
        session.put_back(heard);
        self.has_arrived();
        Ok(Ok(session))
    }

    fn set_state(&self, state: BotState) {
        let core = self.core();
        core.roster.set_state(&self.name, state, core.environment.clock.now());
    }

    fn has_arrived(&self) {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs a bot until the task is stopped. When it ends, restarts it after longer and longer waits. Does not run it
    /// while it is disabled.
    async fn attend<F: Future<Output = Ended>>(&self, mut run: impl FnMut() -> F) {
        let core = self.core();
        let mut tries = 0;
        let mut wait = FIRST_WAIT;
        let mut is_on = true;
        loop {
            if !is_on {
                match self.bot_commands.recv().await {
                    Ok(BotCommand::Enable | BotCommand::Restart) => {
                        (is_on, tries, wait) = (true, 0, FIRST_WAIT)
                    }
                    Ok(BotCommand::Disable) => self.set_state(BotState::Disabled),
                    Ok(BotCommand::Stop) | Err(_) => return,
                }
                continue;
            }
            self.set_state(BotState::Running);
            let begun = core.environment.clock.elapsed();
            let ran = async { Ok(run().await) };
            let ordered = async { Err(self.bot_commands.recv().await) };
            let over = ran.or(ordered).await;
            self.has_arrived();
            match over {
                Err(Ok(BotCommand::Enable)) => {}
                Err(Ok(BotCommand::Restart)) => {
                    self.tell("restarted");
                    (tries, wait) = (0, FIRST_WAIT);
                }
                Err(Ok(BotCommand::Disable)) => {
                    self.tell("disabled");
                    self.set_state(BotState::Disabled);
                    is_on = false;
                }
                Err(Ok(BotCommand::Stop) | Err(_)) => return,
                // The daemon is stopping, which ends all sessions.
                Ok(_) if !core.roster.has_started() => return,
                Ok(ended) => {
                    if core.environment.clock.elapsed().saturating_sub(begun) >= WELL {
                        (tries, wait) = (0, FIRST_WAIT);
                    }
                    tries += 1;
                    let (why, is_final) = match ended {
                        Ended::Because(why) => (why, tries >= TRIES),
                        Ended::ForGood(why) => (why, true),
                    };
                    if is_final {
                        let text = format!(
                            "{why}; given up: `snug admin bot restart {}` starts it again",
                            self.name
                        );
                        tracing::error!(bot = self.name, "{text}");
                        core.roster.write(&self.name, &text);
                        core.audit(Author::default(), AuditNote::new("bot", &self.name, "given up"));
                        self.set_state(BotState::Failed);
                        is_on = false;
                        continue;
                    }
                    self.tell(&format!("{why}; started again in {} ms", wait.as_millis()));
                    self.set_state(BotState::Waiting);
                    // Jitter, so that not all bots restart at the same moment.
                    let mut byte = [0];
                    core.environment.random.fill(&mut byte);
                    let pause = wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0);
                    let waited = async {
                        Timer::after(pause).await;
                        None
                    };
                    let order = waited.or(async { Some(self.bot_commands.recv().await) }).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    match order {
                        None | Some(Ok(BotCommand::Enable | BotCommand::Restart)) => {}
                        Some(Ok(BotCommand::Disable)) => {
                            self.set_state(BotState::Disabled);
                            is_on = false;
                        }
                        Some(Ok(BotCommand::Stop) | Err(_)) => return,
                    }
                }
            }
        }
    }
}
