//! The tables `[[bot]]` and `[[command]]`: programs of one's own that take part.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use snug_bots::CommandSpec;
use snug_protocol::{Nick, RoomName, Scope};

use super::values::{Size, Span, between};

/// `[[bot]]`: a program that speaks the protocol on its stdin and stdout.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptBot {
    /// Its nick, and its name for `snug admin bot`.
    #[serde(deserialize_with = "nick")]
    pub name: String,
    /// The program and its arguments. No shell is between.
    #[serde(deserialize_with = "exec")]
    pub exec: Vec<String>,
    /// The rooms that it is in.
    #[serde(deserialize_with = "rooms")]
    pub rooms: Vec<String>,
    /// Where it runs; the data folder by default.
    #[serde(default)]
    pub folder: String,
    /// What it finds in its environment, beside PATH, LANG, TZ and HOME.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it can be asked, for COMMANDS and the help: `"weather city:text"`.
    #[serde(default, deserialize_with = "commands")]
    pub commands: Vec<String>,
    /// Messages per minute that it may send; the others are dropped.
    #[serde(default = "rate", deserialize_with = "between::<_, 1, 100_000>")]
    pub rate: u64,
    /// What it may do in its rooms and with people: verbs, `send`, `read` and `edit`, as for a token.
    #[serde(default = "may", deserialize_with = "scope")]
    pub may: Vec<String>,
    /// Whether it hears other bots; a few times in turn, until somebody else says something.
    #[serde(default)]
    pub hears_bots: bool,
    /// What it may use.
    #[serde(default)]
    pub limits: ScriptLimits,
}

/// `[[command]]`: a program that runs when somebody says `!name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptCommand {
    /// The command's word.
    pub name: String,
    /// The program and its first arguments; those that were typed come behind. No shell is between.
    #[serde(deserialize_with = "exec")]
    pub exec: Vec<String>,
    /// The nick that answers.
    #[serde(default = "commands_nick", deserialize_with = "nick")]
    pub nick: String,
    /// The rooms in which it may be said.
    #[serde(deserialize_with = "rooms")]
    pub rooms: Vec<String>,
    /// What it takes: `"env:dev|prod version:word? note:text?"`.
    #[serde(default)]
    pub args: String,
    /// What it does, in one line.
    #[serde(default)]
    pub help: String,
    /// Who may say it: `all`, `accounts`, `operators`, or nicks.
    #[serde(default = "everybody")]
    pub who: Vec<String>,
    /// How long it may take before its answer is late; ten times that, and it is stopped.
    #[serde(default = "deadline")]
    pub deadline: Span<100>,
    /// Where it runs; the data folder by default.
    #[serde(default)]
    pub folder: String,
    /// What it finds in its environment, beside PATH, LANG, TZ and HOME, and SNUG_USER, SNUG_ROOM and SNUG_ID.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default)]
    pub limits: ScriptLimits,
}

/// What a program of one's own may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptLimits {
    /// Address space of each of its processes.
    pub memory: Size<{ 16 << 20 }>,
    /// Its processes, itself included.
    #[serde(deserialize_with = "between::<_, 1, 10_000>")]
    pub processes: u64,
    /// Files that each may have open.
    #[serde(deserialize_with = "between::<_, 16, 100_000>")]
    pub files: u64,
    /// The largest file that it may write.
    pub file: Size<0>,
    /// Seconds of processor time of each of its processes; 0 for no limit.
    #[serde(deserialize_with = "between::<_, 0, 10_000_000>")]
    pub cpu: u64,
}

impl Default for ScriptLimits {
    fn default() -> ScriptLimits {
        ScriptLimits {
            memory: Size::from_bytes(1 << 30),
            processes: 32,
            files: 256,
            file: Size::from_bytes(1 << 30),
            cpu: 0,
        }
    }
}

impl ScriptCommand {
    /// Its description.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn spec(&self) -> Result<CommandSpec, snug_bots::SpecError> {
        CommandSpec::parse(&self.name, &self.args, &self.help)
    }
}

impl ScriptBot {
    /// What it says that it can be asked.
    pub fn specs(&self) -> Vec<CommandSpec> {
        self.commands.iter().filter_map(|line| command(line).ok()).collect()
    }
}

impl ScriptBot {
    /// What it may do, and where.
    pub fn scope(&self) -> Scope {
        Scope::parse(&self.may.join(","), &self.rooms.join(","), "").unwrap_or_default()
    }
}

/// Reads `name param:kind …`.
fn command(line: &str) -> Result<CommandSpec, snug_bots::SpecError> {
    let (name, params) = line.split_once(' ').unwrap_or((line, ""));
    CommandSpec::parse(name, params, "")
}

fn may() -> Vec<String> {
    ["send", "read", "edit", "typing"].map(str::to_owned).to_vec()
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let may = Vec::<String>::deserialize(deserializer)?;
    match may.is_empty() {
        true => {
            Err(D::Error::custom("without anything that it may do it is of no use: [\"send\", \"read\"]"))
        }
        false => Scope::parse(&may.join(","), "", "").map(|_| may).map_err(D::Error::custom),
    }
}

fn rate() -> u64 {
    600
}

fn commands_nick() -> String {
    "bot".to_owned()
}

fn everybody() -> Vec<String> {
    vec!["all".to_owned()]
}

fn deadline() -> Span<100> {
    Span::from_millis(30_000)
}

fn nick<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let nick = String::deserialize(deserializer)?;
    Nick::parse(&nick).map_err(|error| D::Error::custom(format!("{nick:?} is no nick: {error}")))?;
    Ok(nick)
}

fn exec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let exec = Vec::<String>::deserialize(deserializer)?;
    match exec.first() {
        Some(program) if !program.is_empty() => Ok(exec),
        _ => Err(D::Error::custom("exec is a program and its arguments: [\"./weather.py\", \"--metric\"]")),
    }
}

fn rooms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let rooms = Vec::<String>::deserialize(deserializer)?;
    for room in &rooms {
        RoomName::parse(room)
            .map_err(|error| D::Error::custom(format!("{room:?} is no room's name: {error}")))?;
    }
    Ok(rooms)
}

fn commands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let commands = Vec::<String>::deserialize(deserializer)?;
    for line in &commands {
        command(line).map_err(D::Error::custom)?;
    }
    Ok(commands)
}
