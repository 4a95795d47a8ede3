//! Which bots there are, and how they are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_channel::Sender;
use snug_bots::CommandSpec;
use snug_protocol::{RoomName, Timestamp};

/// Who the bots are, and how they are.
#[derive(Default)]
pub(crate) struct Roster {
    entries: Mutex<Vec<RosterEntry>>,
    has_started: AtomicBool,
}

/// A bot.
pub(crate) struct RosterEntry {
    pub(crate) name: String,
    pub(crate) nick: String,
    pub(crate) kind: &'static str,
    /// Its settings, to see whether they have changed.
    pub(crate) settings: String,
    pub(crate) rooms: Vec<String>,
    pub(crate) commands: Vec<CommandSpec>,
    pub(crate) state: BotState,
    pub(crate) since: Timestamp,
    pub(crate) restarts: u64,
    pub(crate) log: VecDeque<String>,
    pub(crate) bot_commands: Sender<BotCommand>,
}

/// How a bot is.
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

/// What somebody wants of a bot's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BotCommand {
    Enable,
    Disable,
    Restart,
    /// It is not in the settings any more.
    Stop,
}

/// A row of the list.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) nick: String,
    pub(crate) kind: &'static str,
    pub(crate) state: BotState,
    pub(crate) since: Timestamp,
    pub(crate) restarts: u64,
}

/// Lines of a bot's log that are kept.
const LOG: usize = 200;

impl Roster {
    /// Whether bots were started, so that changed settings are for them as well.
    pub(crate) fn has_started(&self) -> bool {
        self.has_started.load(Relaxed)
    }

    /// Notes whether bots were started.
    pub(crate) fn set_started(&self, started: bool) {
        self.has_started.store(started, Relaxed);
    }

    /// All of them.
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

    /// Gives a bot's task an order, and says whether there is such a bot.
    pub(crate) fn command(&self, name: &str, command: BotCommand) -> bool {
        let entries = self.entries();
        let found = entries.iter().find(|entry| entry.name == name);
        found.is_some_and(|entry| {
            let _ = entry.bot_commands.try_send(command);
            true
        })
    }

    /// The log of a bot, if there is such a bot.
    pub(crate) fn log_of(&self, name: &str) -> Option<Vec<String>> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| entry.name == name)?;
        Some(entry.log.iter().cloned().collect())
    }

    /// What can be asked, in a room or everywhere: the bot's nick, and the command.
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

    /// Notes how a bot is since `now`.
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

    /// All of them, to be changed.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<RosterEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a room is among those of the settings.
pub(crate) fn has_room(rooms: &[String], room: &RoomName<'_>) -> bool {
    rooms.iter().any(|own| RoomName::parse(own).is_ok_and(|own| own.fold() == room.fold()))
}
