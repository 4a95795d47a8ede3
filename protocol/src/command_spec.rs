//! Commands of bots: the grammar of their parameters. Usage, help, completion and checks are made from it, in the daemon and in
//! clients alike.

use std::fmt;

use crate::{Nick, Period, RoomName};

/// A command: `!roll 2d6`, `/roll 2d6`, or the same without its sign in a private message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// Its word, in lower case.
    pub name: String,
    /// What it takes, in order.
    pub params: Vec<Param>,
    /// What it does, in one line.
    pub help: String,
}

/// Something that a command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// What it is called in the usage.
    pub name: String,
    /// What it may be.
    pub kind: ParamKind,
    /// Whether it may be left out, as may all behind it.
    pub is_optional: bool,
}

/// What an argument may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A word.
    Word,
    /// All that is left.
    Text,
    /// A whole number.
    Int,
    /// A time such as `10m`.
    Duration,
    /// Somebody's nick.
    User,
    /// A room.
    Room,
    /// One of these words.
    Choice(Vec<String>),
}

/// Why a description of a command is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The command's name.
    #[error("{0:?} is no name of a command: it has letters, digits and -")]
    Name(String),
    /// A parameter.
    #[error(
        "{0:?} is no parameter: it is name:kind, with a ? behind it if it may be left out, and the kind is word, text, int, \
             duration, user, room or a|b|c"
    )]
    Param(String),
    /// A text that is not the last, or something needed behind something optional.
    #[error("{0:?} cannot stand there: a text comes last, and what may be left out behind what may not")]
    Misplaced(String),
}

/// The arguments of a command that fit its description, in the order of its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<(String, String)>);

impl CommandSpec {
    /// Reads a description: a name, and parameters such as `env:dev|prod version:word? note:text?`.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn parse(name: &str, params: &str, help: &str) -> Result<CommandSpec, SpecError> {
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !is_name(name) {
            return Err(SpecError::Name(name.to_owned()));
        }
        let mut read: Vec<Param> = Vec::new();
        for word in params.split_whitespace() {
            let wrong = || SpecError::Param(word.to_owned());
            let (bare, is_optional) = word.strip_suffix('?').map_or((word, false), |bare| (bare, true));
            let (name, kind) = bare.split_once(':').ok_or_else(wrong)?;
            if !is_name(name) {
                return Err(wrong());
            }
            let kind = match kind {
                "word" => ParamKind::Word,
                "text" => ParamKind::Text,
                "int" => ParamKind::Int,
                "duration" => ParamKind::Duration,
                "user" => ParamKind::User,
                "room" => ParamKind::Room,
                choices if choices.contains('|') && choices.split('|').all(|choice| !choice.is_empty()) => {
                    ParamKind::Choice(choices.split('|').map(str::to_owned).collect())
                }
                _ => return Err(wrong()),
            };
            let is_misplaced = read
                .last()
                .is_some_and(|last| last.kind == ParamKind::Text || last.is_optional && !is_optional);
            if is_misplaced {
                return Err(SpecError::Misplaced(word.to_owned()));
            }
            read.push(Param { name: name.to_owned(), kind, is_optional });
        }
        Ok(CommandSpec { name: name.to_owned(), params: read, help: help.to_owned() })
    }

    /// Reads a row of COMMANDS: the usage, and the tags `params` and `help`.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn of_row(usage: &str, params: &str, help: &str) -> Result<CommandSpec, SpecError> {
        let word = usage.split(' ').next().unwrap_or_default();
        CommandSpec::parse(word.trim_start_matches(['!', '/']), params, help)
    }

    /// The list that a row of COMMANDS has in its tag `params`.
    pub fn params_list(&self) -> String {
        self.params.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// How it is typed: `!roll [dice]`.
    pub fn usage(&self) -> String {
        let mut usage = format!("!{}", self.name);
        for param in &self.params {
            let shown = match &param.kind {
                ParamKind::Choice(choices) => choices.join("|"),
                _ => param.name.clone(),
            };
            usage.push_str(&if param.is_optional { format!(" [{shown}]") } else { format!(" <{shown}>") });
        }
        usage
    }

    /// Holds what was typed behind the command's word against the description.
    ///
    /// # Errors
    /// What is wrong, with the usage: an answer for who typed it.
    pub fn args(&self, typed: &str) -> Result<Args, String> {
        let misuse = |what: String| format!("{what}; usage: {}", self.usage());
        let mut rest = typed.trim();
        let mut args = Args::default();
        for param in &self.params {
            if rest.is_empty() {
                if param.is_optional {
                    break;
                }
                return Err(misuse(format!("{} is missing", param.name)));
            }
            let (word, behind) = match param.kind {
                ParamKind::Text => (rest, ""),
                _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            if let Some(wrong) = param.kind.refuses(word) {
                return Err(misuse(format!("{word:?} is no {}: {wrong}", param.name)));
            }
            args.0.push((param.name.clone(), word.to_owned()));
            rest = behind.trim_start();
        }
        if !rest.is_empty() {
            return Err(misuse("there is more than it takes".to_owned()));
        }
        Ok(args)
    }
}

impl ParamKind {
    /// Why a word is none of this kind.
    fn refuses(&self, word: &str) -> Option<String> {
        match self {
            ParamKind::Word | ParamKind::Text => None,
            ParamKind::Int => word.parse::<i64>().err().map(|_| "it is a whole number".to_owned()),
            ParamKind::Duration => word.parse::<Period>().err().map(|error| error.to_string()),
            ParamKind::User => Nick::parse(word).err().map(|error| error.to_string()),
            ParamKind::Room => RoomName::parse(word).err().map(|error| error.to_string()),
            ParamKind::Choice(choices) if choices.iter().any(|choice| choice == word) => None,
            ParamKind::Choice(choices) => Some(format!("it is one of {}", choices.join(", "))),
        }
    }
}

impl Args {
    /// An argument by the name of its parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// All of them, as they were typed.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.as_str())
    }
}

/// The command's word and what is behind it, if a text is a command. In private its sign may be left out.
pub fn called(text: &str, is_private: bool) -> Option<(String, &str)> {
    let text = text.trim();
    let said = match text.strip_prefix(['!', '/']) {
        Some(said) => said,
        None if is_private => text,
        None => return None,
    };
    let (word, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
    (!word.is_empty()).then(|| (word.to_lowercase(), rest))
}

impl fmt::Display for Param {
    /// As [`CommandSpec::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            ParamKind::Word => "word",
            ParamKind::Text => "text",
            ParamKind::Int => "int",
            ParamKind::Duration => "duration",
            ParamKind::User => "user",
            ParamKind::Room => "room",
            ParamKind::Choice(choices) => &choices.join("|"),
        };
        write!(f, "{}:{kind}{}", self.name, if self.is_optional { "?" } else { "" })
    }
}

impl fmt::Display for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.help.as_str() {
            "" => f.write_str(&self.usage()),
            help => write!(f, "{}: {help}", self.usage()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_held_against_their_description() {
        let spec =
            CommandSpec::parse("deploy", "env:dev|prod version:word? note:text?", "deploys").expect("a spec");
        assert_eq!(spec.usage(), "!deploy <dev|prod> [version] [note]");
        let args = spec.args(" prod  1.2 in a  hurry ").expect("arguments");
        assert_eq!(args.values().collect::<Vec<_>>(), ["prod", "1.2", "in a  hurry"]);
        assert_eq!(spec.args("dev").expect("arguments").get("version"), None);
        assert_eq!(
            spec.args("test").expect_err("no env"),
            "\"test\" is no env: it is one of dev, prod; usage: !deploy <dev|prod> [version] [note]"
        );
        assert!(spec.args("").expect_err("no args").starts_with("env is missing"));
        let spec = CommandSpec::parse("remind", "in:duration who:user at:room n:int", "").expect("a spec");
        assert!(spec.args("10m bob #ops 7").is_ok());
        for wrong in
            ["soon bob #ops 7", "10m #bob #ops 7", "10m bob ops 7", "10m bob #ops x", "10m bob #ops 7 8"]
        {
            assert!(spec.args(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_description_that_cannot_be_is_refused() {
        for params in ["env", "env:color", "a:text b:word", "a:word? b:word", "A:word", "a:x|"] {
            assert!(CommandSpec::parse("x", params, "").is_err(), "{params}");
        }
        assert!(CommandSpec::parse("two words", "", "").is_err());
    }

    #[test]
    fn a_command_has_a_sign_in_rooms() {
        assert_eq!(called("!Roll 2d6", false), Some(("roll".to_owned(), "2d6")));
        assert_eq!(called(" /roll", false), Some(("roll".to_owned(), "")));
        assert_eq!(called("roll 2d6", false), None);
        assert_eq!(called("roll 2d6", true), Some(("roll".to_owned(), "2d6")));
        assert_eq!(called("!", false), None);
    }

    #[test]
    fn a_row_of_commands_is_read_as_it_was_written() {
        let spec = CommandSpec::parse("deploy", "env:dev|prod version:word? note:text?", "deploys it")
            .expect("a spec");
        let row = CommandSpec::of_row(&spec.usage(), &spec.params_list(), &spec.help);
        assert_eq!(row, Ok(spec));
    }

    proptest::proptest! {
        #[test]
        fn arguments_are_those_that_were_said_or_a_reason(text in "\\PC{0,60}") {
            let spec = CommandSpec::parse("x", "n:int? w:word? rest:text?", "").expect("a spec");
            match spec.args(&text) {
                Ok(args) => {
                    let joined: Vec<&str> = args.values().flat_map(str::split_whitespace).collect();
                    proptest::prop_assert_eq!(joined, text.split_whitespace().collect::<Vec<_>>());
                }
                Err(why) => proptest::prop_assert!(why.contains("usage: !x [n] [w] [rest]"), "{}", why),
            }
        }

        #[test]
        fn a_description_is_read_or_refused(name in "\\PC{0,8}", params in "[a-z:?|<> ]{0,30}", text in "\\PC{0,30}") {
            if let Ok(spec) = CommandSpec::parse(&name, &params, "") {
                let named = spec.usage().strip_prefix('!').is_some_and(|usage| usage.starts_with(&name));
                proptest::prop_assert!(named);
                let _ = spec.args(&text);
            }
            if let Some((word, rest)) = called(&text, true) {
                proptest::prop_assert!(text.to_lowercase().contains(&word) && text.contains(rest));
            }
        }
    }
}
