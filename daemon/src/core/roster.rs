//! The list of bots and their states.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_channel::Sender;
use snug_bots::CommandSpec;
use snug_protocol::{Folded, Nick, RoomName, Timestamp};

/// All bots and their states.
#[derive(Default)]
pub(crate) struct Roster {
    entries: Mutex<Vec<RosterEntry>>,
    has_started: AtomicBool,
}

/// A bot in the roster.
pub(crate) struct RosterEntry {
    pub(crate) name: String,
    pub(crate) nick: String,
    /// The form of the nick that names are compared in.
    pub(crate) fold: Option<Folded>,
    pub(crate) kind: &'static str,
    /// Its settings as text, to detect whether they have changed.
    pub(crate) settings: String,
    pub(crate) rooms: Vec<String>,
    pub(crate) commands: Vec<CommandSpec>,
    pub(crate) state: BotState,
    pub(crate) since: Timestamp,
    pub(crate) restarts: u64,
    pub(crate) log: VecDeque<String>,
    pub(crate) bot_commands: Sender<BotCommand>,
}

/// The state of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BotState {
    Running,
    Waiting,
    Disabled,
    Failed,
}

impl BotState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            BotState::Running => "running",
            BotState::Waiting => "waiting",
            BotState::Disabled => "disabled",
            BotState::Failed => "failed",
        }
    }
}

/// An order for a bot's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BotCommand {
    Enable,
    Disable,
    Restart,
    /// The config file no longer has it, or the daemon stops.
    Stop,
}

/// A row of the list of bots.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) nick: String,
    pub(crate) kind: &'static str,
    pub(crate) state: BotState,
    pub(crate) since: Timestamp,
    pub(crate) restarts: u64,
}

/// Maximum number of lines that are kept of a bot's log.
const LOG: usize = 200;

impl Roster {
    /// Returns whether the bots have been started, so that a reload applies to them too.
    pub(crate) fn has_started(&self) -> bool {
        self.has_started.load(Relaxed)
    }

    /// Notes whether the bots have been started.
    pub(crate) fn set_started(&self, started: bool) {
        self.has_started.store(started, Relaxed);
    }

    /// Returns all bots.
    pub(crate) fn list(&self) -> Vec<Shown> {
        let shown = |entry: &RosterEntry| Shown {
            name: entry.name.clone(),
            nick: entry.nick.clone(),
            kind: entry.kind,
            state: entry.state,
            since: entry.since,
            restarts: entry.restarts,
        };
        self.entries().iter().map(shown).collect()
    }

    /// Sends an order to a bot's task, and returns whether there is such a bot.
    pub(crate) fn command(&self, name: &str, command: BotCommand) -> bool {
        let entries = self.entries();
        let found = entries.iter().find(|entry| entry.name == name);
        found.is_some_and(|entry| {
            let _ = entry.bot_commands.try_send(command);
            true
        })
    }

    /// Returns whether a nickname is that of a bot, whether it runs or not.
    pub(crate) fn has_nick(&self, nick: &Nick<'_>) -> bool {
        let fold = nick.fold();
        self.entries().iter().any(|entry| entry.fold.as_ref() == Some(&fold))
    }

    /// Returns the log of a bot, or `None` if there is no such bot.
    pub(crate) fn log_of(&self, name: &str) -> Option<Vec<String>> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| entry.name == name)?;
        Some(entry.log.iter().cloned().collect())
    }

    /// Returns the commands of the running bots with the bots' nicknames, sorted by command. If `room` is given, only
    /// those of the bots in it.
    pub(crate) fn commands(&self, room: Option<&RoomName<'_>>) -> Vec<(String, CommandSpec)> {
        let is_there = |entry: &RosterEntry| {
            entry.state == BotState::Running && room.is_none_or(|room| has_room(&entry.rooms, room))
        };
        let mut found = Vec::new();
        for entry in self.entries().iter().filter(|entry| is_there(entry)) {
            found.extend(entry.commands.iter().map(|command| (entry.nick.clone(), command.clone())));
        }
        found.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        found
    }

    /// Writes a line into a bot's log.
    pub(crate) fn write(&self, name: &str, line: &str) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.name == name) {
            if entry.log.len() == LOG {
                entry.log.pop_front();
            }
            entry.log.push_back(line.chars().take(1_000).collect());
        }
    }

    /// Sets a bot's state, as of `now`.
    pub(crate) fn set_state(&self, name: &str, state: BotState, now: Timestamp) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.name == name) {
            if state == BotState::Waiting {
                entry.restarts += 1;
            }
            if entry.state != state {
                (entry.state, entry.since) = (state, now);
            }
        }
    }

    /// Locks the rows and returns them.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<RosterEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a room is among those in a bot's settings.
pub(crate) fn has_room(rooms: &[String], room: &RoomName<'_>) -> bool {
    rooms.iter().any(|own| RoomName::parse(own).is_ok_and(|own| own.fold() == room.fold()))
}
