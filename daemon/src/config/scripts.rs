//! The tables `[[bot]]` and `[[command]]`: external bots and commands.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use snug_bots::CommandSpec;
use snug_protocol::{Nick, RoomName, Scope, Verb};

use super::values::{Size, Span, between};

/// The table `[[bot]]`: an external bot, a program that speaks the protocol on its stdin and stdout.
///
/// ```
/// use snug_daemon::Config;
///
/// let bot = "[[bot]]\nname = 'weather'\nexec = ['./weather.py']\nrooms = ['#ops']\n";
/// let config = Config::from_toml(&format!("{bot}commands = ['weather city:text']\n"))?;
/// assert_eq!(config.bot[0].rate, 600);
/// assert_eq!(config.bot[0].specs()[0].usage(), "!weather <city>");
/// assert_eq!(config.bot[0].scope().rooms(), "#ops");
/// # Ok::<(), snug_daemon::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptBot {
    /// The bot's nickname, which also names it for `snug admin bot`. Each `[[bot]]` has another one.
    #[serde(deserialize_with = "nick")]
    pub name: String,
    /// The program and its arguments. It is started without a shell.
    #[serde(deserialize_with = "exec")]
    pub exec: Vec<String>,
    /// The rooms that the bot joins, and outside of which its commands about rooms are refused.
    #[serde(deserialize_with = "rooms")]
    pub rooms: Vec<String>,
    /// The working directory; empty for `bots/<name>` in the data folder, which is made, or for the daemon's own directory
    /// if the log is in memory. Of the data folder, `snugd guard` opens only this to the program.
    #[serde(default)]
    pub folder: String,
    /// The user that the program runs as, by name or number; empty for the daemon's own. It takes a daemon of root.
    #[serde(default)]
    pub user: String,
    /// Environment variables, besides those of [`Programs`](crate::Programs) and SNUG_NICK.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The commands that COMMANDS and the help bot list for it, such as `"weather city:text"`.
    #[serde(default, deserialize_with = "commands")]
    pub commands: Vec<String>,
    /// Maximum number of lines per minute that it may send, 1 to 100,000; others are dropped.
    #[serde(default = "rate", deserialize_with = "between::<_, 1, 100_000>")]
    pub rate: u64,
    /// What it may do in its rooms and in private messages: verbs, `send`, `read`, `edit` or `all`, as for a token.
    #[serde(default = "may", deserialize_with = "scope")]
    pub may: Vec<String>,
    /// Whether it receives messages of other bots: at most eight in a row, until a user writes one.
    #[serde(default)]
    pub hears_bots: bool,
    /// The resource limits of its processes.
    #[serde(default)]
    pub limits: ScriptLimits,
}

/// The table `[[command]]`: an external command, a program that runs when a user sends `!name`.
///
/// ```
/// use snug_daemon::Config;
///
/// let command = "[[command]]\nname = 'deploy'\nexec = ['./deploy.sh']\nrooms = ['#ops']\n";
/// let config = Config::from_toml(&format!("{command}args = 'env:dev|prod version:word?'\n"))?;
/// let spec = config.command[0].spec()?;
/// assert_eq!(spec.usage(), "!deploy <dev|prod> [version]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptCommand {
    /// The command's name, without its `!`: 1 to 32 lower-case letters, digits and hyphens.
    pub name: String,
    /// The program and its first arguments; those that the user typed follow. It is started without a shell.
    #[serde(deserialize_with = "exec")]
    pub exec: Vec<String>,
    /// The nickname that answers.
    #[serde(default = "commands_nick", deserialize_with = "nick")]
    pub nick: String,
    /// The rooms where the command works. It also works in a private message to `nick`.
    #[serde(deserialize_with = "rooms")]
    pub rooms: Vec<String>,
    /// Its parameters, such as `"env:dev|prod version:word? note:text?"`.
    #[serde(default)]
    pub args: String,
    /// One line for the help bot that says what it does.
    #[serde(default)]
    pub help: String,
    /// The users who may run it: `all`, `accounts`, `operators`, names of accounts, or users of this machine as
    /// `user:1000`.
    #[serde(default = "everybody")]
    pub who: Vec<String>,
    /// Time after which the user is told that the answer is late, at least 100 ms. After ten times that, the program
    /// is stopped.
    #[serde(default = "deadline")]
    pub deadline: Span<100>,
    /// Whether an argument that a user types may begin with `-`, and so be an option of the program.
    #[serde(default)]
    pub options: bool,
    /// The working directory; empty for `commands/<name>` in the data folder, which is made, or for the daemon's own
    /// directory if the log is in memory. Of the data folder, `snugd guard` opens only this to the program.
    #[serde(default)]
    pub folder: String,
    /// The user that the program runs as, by name or number; empty for the daemon's own. It takes a daemon of root.
    #[serde(default)]
    pub user: String,
    /// Environment variables, besides those of [`Programs`](crate::Programs) and SNUG_USER, SNUG_ROOM and SNUG_ID.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The resource limits of its processes.
    #[serde(default)]
    pub limits: ScriptLimits,
}

/// The resource limits of an external bot or command. `snugd guard` enforces them; without
/// [`Programs::guard`](crate::Programs) there are none.
///
/// ```
/// use snug_daemon::config::ScriptLimits;
///
/// let limits = ScriptLimits::default();
/// assert_eq!(limits.memory.to_string(), "1 GiB");
/// assert_eq!((limits.processes, limits.files, limits.cpu), (32, 256, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptLimits {
    /// Address space of each of its processes, at least 16 MiB.
    pub memory: Size<{ 16 << 20 }>,
    /// Maximum number of its processes, including itself; 1 to 10,000.
    #[serde(deserialize_with = "between::<_, 1, 10_000>")]
    pub processes: u64,
    /// Maximum number of files that each process has open, 16 to 100,000.
    #[serde(deserialize_with = "between::<_, 16, 100_000>")]
    pub files: u64,
    /// Maximum size of a file that it writes.
    pub file: Size<0>,
    /// Processor time of each of its processes in seconds, 0 to 10,000,000, where 0 is no limit.
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
    /// Returns the description of the command.
    ///
    /// # Errors
    /// The name or the parameter that is wrong.
    pub fn spec(&self) -> Result<CommandSpec, snug_bots::SpecError> {
        CommandSpec::parse(&self.name, &self.args, &self.help)
    }
}

impl ScriptBot {
    /// Returns the descriptions of the bot's commands.
    pub fn specs(&self) -> Vec<CommandSpec> {
        self.commands.iter().filter_map(|line| command(line).ok()).collect()
    }
}

impl ScriptBot {
    /// Returns what the bot may do, and in which rooms. Where `may` is empty, or a word set in code is unknown, that is
    /// nothing but INFO.
    pub fn scope(&self) -> Scope {
        let may = self.may.join(",");
        // For a token an empty list is everything.
        let may = if may.is_empty() { Verb::Info.word() } else { &may };
        let scope = Scope::parse(may, &self.rooms.join(","), "");
        scope.or_else(|_| Scope::parse(Verb::Info.word(), "", "")).unwrap_or_default()
    }
}

/// Parses the description of a command, `name param:kind …`.
fn command(line: &str) -> Result<CommandSpec, snug_bots::SpecError> {
    let (name, params) = line.split_once(' ').unwrap_or((line, ""));
    CommandSpec::parse(name, params, "")
}

fn may() -> Vec<String> {
    ["send", "read", "edit", "typing"].map(str::to_owned).to_vec()
}

fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let may = Vec::<String>::deserialize(deserializer)?;
    match may.iter().all(|group| group.trim().is_empty()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_whose_scope_cannot_be_read_may_do_nothing() {
        let scope = |may: &[&str], rooms: &[&str]| {
            let [may, rooms] =
                [may, rooms].map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            let text = "[[bot]]\nname = 'b'\nexec = ['./b']\nrooms = ['#ops']\n";
            let config = crate::Config::from_toml(text).expect("a configuration");
            let bot = ScriptBot { may, rooms, ..config.bot[0].clone() };
            (bot.scope().may(), bot.scope().rooms())
        };
        assert_eq!(scope(&["typing"], &["#ops"]), ("TYPING".to_owned(), "#ops".to_owned()));
        for (may, rooms) in [(&[][..], &[][..]), (&[""], &[]), (&["sned"], &[]), (&["send"], &["ops"])] {
            assert_eq!(scope(may, rooms).0, "INFO", "{may:?} {rooms:?}");
        }
    }
}
