//! The table of commands.

use snug_protocol::{Nick, Period, RoomName};

/// A command that a person can type.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name, without the slash.
    pub name: &'static str,
    /// Other names for the same.
    pub aliases: &'static [&'static str],
    /// What it takes, in order.
    pub params: &'static [Param],
    /// What it does, in one line.
    pub help: &'static str,
    /// Arguments with which it can be tried.
    pub example: &'static str,
}

/// Something that a command takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Param {
    /// What it is called in the usage.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out, as may all behind it.
    pub is_optional: bool,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// All that is left.
    Text,
    /// A whole number from 1.
    Count,
    /// A time such as `10m`.
    Duration,
    /// Somebody's nick.
    User,
    /// A room.
    Room,
    /// A room or somebody's nick.
    Place,
    /// An entry: its number, or `^` for the last one of one's own.
    Entry,
    /// A file, as all that is left.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
}

const fn need(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, is_optional: false }
}

const fn may(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, is_optional: true }
}

const fn command(
    name: &'static str,
    aliases: &'static [&'static str],
    params: &'static [Param],
    help: &'static str,
    example: &'static str,
) -> Command {
    Command { name, aliases, params, help, example }
}

const ROLES: Kind = Kind::Choice(&["owner", "moderator", "member", "none"]);

/// Every command, in the order of the help.
pub const COMMANDS: &[Command] = &[
    command("help", &["h"], &[may("command", Kind::Word)], "List the commands, or explain one", "join"),
    command(
        "to",
        &["query"],
        &[need("place", Kind::Place)],
        "Send what you type next to a room or a user",
        "#ops",
    ),
    command(
        "w",
        &["msg"],
        &[need("who", Kind::User), need("text", Kind::Text)],
        "Send a private message",
        "bob hi",
    ),
    command("me", &[], &[need("text", Kind::Text)], "Describe what you are doing", "waves"),
    command(
        "reply",
        &["re"],
        &[need("entry", Kind::Entry), need("text", Kind::Text)],
        "Reply to a message",
        "118 yes",
    ),
    command(
        "edit",
        &[],
        &[need("entry", Kind::Entry), need("text", Kind::Text)],
        "Change one of your messages",
        "^ better",
    ),
    command("delete", &[], &[need("entry", Kind::Entry)], "Delete a message", "^"),
    command(
        "react",
        &[],
        &[need("entry", Kind::Entry), need("reaction", Kind::Word)],
        "React to a message with an emoji",
        "118 :+1:",
    ),
    command(
        "unreact",
        &[],
        &[need("entry", Kind::Entry), need("reaction", Kind::Word)],
        "Remove your reaction",
        "118 :+1:",
    ),
    command(
        "join",
        &["j"],
        &[need("room", Kind::Room)],
        "Join a room and send what you type next there",
        "#ops",
    ),
    command("leave", &["part"], &[may("room", Kind::Room)], "Leave a room", "#ops"),
    command("rooms", &["list"], &[], "List the rooms", ""),
    command(
        "users",
        &["who", "names"],
        &[may("place", Kind::Place)],
        "List the users here or in a room",
        "#ops",
    ),
    command("inbox", &["unread"], &[], "List your conversations and unread counts", ""),
    command("read", &[], &[], "Mark everything here as read", ""),
    command("history", &[], &[may("count", Kind::Count)], "Show the latest messages", "50"),
    command(
        "date",
        &["since"],
        &[need("when", Kind::Word)],
        "Show messages since a day or a time ago",
        "2026-11-21",
    ),
    command("older", &[], &[may("count", Kind::Count)], "Show the messages before the last page", ""),
    command("newer", &[], &[may("count", Kind::Count)], "Show the messages after the last page", ""),
    command("search", &["find"], &[need("query", Kind::Text)], "Search all messages", "disk full"),
    command("topic", &[], &[may("text", Kind::Text)], "Show or set the room's topic", "all about snug"),
    command("profile", &["whois"], &[need("who", Kind::User)], "Show a user's profile", "bob"),
    command("nick", &[], &[need("nick", Kind::User)], "Change your nickname", "alicia"),
    command("away", &[], &[may("text", Kind::Text)], "Set your status to away", "lunch"),
    command("busy", &[], &[may("text", Kind::Text)], "Set your status to busy", "writing"),
    command("back", &[], &[], "Set your status to online", ""),
    command(
        "invite",
        &[],
        &[need("who", Kind::User), may("room", Kind::Room)],
        "Invite a user to a room",
        "bob #ops",
    ),
    command(
        "kick",
        &[],
        &[need("who", Kind::User), may("reason", Kind::Text)],
        "Remove a user from the room",
        "bob too loud",
    ),
    command(
        "ban",
        &[],
        &[need("who", Kind::User), may("reason", Kind::Text)],
        "Ban a user from the room",
        "bob spam",
    ),
    command("unban", &[], &[need("who", Kind::User)], "Lift a ban", "bob"),
    command(
        "mute",
        &[],
        &[need("who", Kind::User), need("time", Kind::Duration), may("reason", Kind::Text)],
        "Mute a user for a time",
        "bob 10m",
    ),
    command("unmute", &[], &[need("who", Kind::User)], "Unmute a user", "bob"),
    command(
        "role",
        &[],
        &[may("who", Kind::User), may("role", ROLES)],
        "Show the roles in the room, or change one",
        "bob moderator",
    ),
    command(
        "room",
        &["set"],
        &[may("name", Kind::Word), may("value", Kind::Text)],
        "Show the room's settings, or change one",
        "keep 30d",
    ),
    command("file", &["send"], &[need("path", Kind::Path)], "Send a file here", "notes.txt"),
    command(
        "filew",
        &[],
        &[need("who", Kind::User), need("path", Kind::Path)],
        "Send a file to a user",
        "bob notes.txt",
    ),
    command("files", &[], &[], "List the files here", ""),
    command(
        "accept",
        &["save"],
        &[need("entry", Kind::Entry)],
        "Download a file into the current folder",
        "125",
    ),
    command("decline", &[], &[need("entry", Kind::Entry)], "Decline a file", "125"),
    command("cancel", &[], &[need("entry", Kind::Entry)], "Withdraw one of your files", "125"),
    command("connection", &[], &[], "Show the connection's state and traffic", ""),
    command("quit", &["exit", "q"], &[may("text", Kind::Text)], "Leave the chat", "good night"),
];

impl Command {
    /// The command with this name or alias.
    pub fn find(name: &str) -> Option<&'static Command> {
        COMMANDS.iter().find(|command| command.is_called(name))
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// How it is typed: `/join <room>`.
    pub fn usage(&self) -> String {
        let mut usage = format!("/{}", self.name);
        for param in self.params {
            let shown = match param.kind {
                Kind::Choice(words) => words.join("|"),
                _ => param.name.to_owned(),
            };
            usage.push_str(&if param.is_optional { format!(" [{shown}]") } else { format!(" <{shown}>") });
        }
        usage
    }

    /// Takes what was typed behind its name apart.
    pub(super) fn args(&self, typed: &str) -> Result<Vec<String>, String> {
        let mut rest = typed.trim();
        let mut args = Vec::new();
        for param in self.params {
            if rest.is_empty() {
                if param.is_optional {
                    break;
                }
                return Err(format!("{} is missing", param.name));
            }
            let (word, behind) = match param.kind {
                Kind::Text | Kind::Path => (rest, ""),
                _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            if let Some(wrong) = param.kind.refuses(word) {
                return Err(format!("{word:?} is no {}: {wrong}", param.kind.noun(param.name)));
            }
            args.push(word.to_owned());
            rest = behind.trim_start();
        }
        if rest.is_empty() { Ok(args) } else { Err("there is more than it takes".to_owned()) }
    }
}

impl Kind {
    /// What one of this kind is called; `name` where the parameter's own name says it.
    fn noun(self, name: &'static str) -> &'static str {
        match self {
            Kind::Word | Kind::Text | Kind::Choice(_) => name,
            Kind::Count => "number",
            Kind::Duration => "time",
            Kind::User => "nick",
            Kind::Room => "room",
            Kind::Place => "room or nick",
            Kind::Entry => "message's number",
            Kind::Path => "file",
        }
    }

    /// Why a word is none of this kind.
    fn refuses(self, word: &str) -> Option<String> {
        let room = |word: &str| RoomName::parse(word).err().map(|error| error.to_string());
        let nick = |word: &str| Nick::parse(word).err().map(|error| error.to_string());
        match self {
            Kind::Word | Kind::Text | Kind::Path => None,
            Kind::Count => match word.parse::<u64>() {
                Ok(1..) => None,
                _ => Some("it is a whole number from 1".to_owned()),
            },
            Kind::Duration => word.parse::<Period>().err().map(|error| error.to_string()),
            Kind::User => nick(word),
            Kind::Room => room(word),
            Kind::Place if word.starts_with('#') => room(word),
            Kind::Place => nick(word),
            Kind::Entry if word == "^" || word.parse::<u64>().is_ok_and(|id| id > 0) => None,
            Kind::Entry => Some("it is the number that stands before it, or ^ for your last one".to_owned()),
            Kind::Choice(words) if words.contains(&word) => None,
            Kind::Choice(words) => Some(format!("it is one of {}", words.join(", "))),
        }
    }
}
