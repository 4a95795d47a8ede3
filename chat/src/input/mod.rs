//! What a person types: a text to say, or a command. One table has all commands, and parsing, completion and help are made
//! from it.

mod table;
pub use table::{COMMANDS, Command, Kind, Param};

mod complete;
pub use complete::{Known, complete};

mod choices;
pub use choices::Choices;

use std::fmt;

/// A line that a person has typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing but blanks.
    Nothing,
    /// A text to say.
    Text(String),
    /// A command with what it was given.
    Call(Call),
}

/// A command with its arguments, which fit their description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which one.
    pub command: &'static Command,
    args: Vec<String>,
}

/// Why a line is no input. Nothing of it is ever sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// There is no such command.
    Unknown {
        /// What was typed, without the slash.
        name: String,
        /// Commands with a name like that.
        near: Vec<&'static str>,
    },
    /// The arguments do not fit.
    Arguments {
        /// The command.
        command: &'static Command,
        /// What is wrong with them.
        what: String,
    },
}

impl Call {
    /// An argument by the name of its parameter, if it was given.
    ///
    /// ```
    /// use snug_chat::input::{Input, parse};
    ///
    /// let Ok(Input::Call(call)) = parse("/w bob see you there") else { panic!("a command") };
    /// assert_eq!(call.command.name, "w");
    /// assert_eq!((call.get("who"), call.get("text")), (Some("bob"), Some("see you there")));
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.command.params.iter().position(|param| param.name == name)?;
        self.args.get(at).map(String::as_str)
    }

    /// An argument that the command does not do without; empty if the table says otherwise.
    pub fn need(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::Unknown { name, near } if near.is_empty() => {
                write!(f, "there is no command /{name}; /help lists them, and //{name} says it as a text")
            }
            Misuse::Unknown { name, near } => {
                let near: Vec<String> = near.iter().map(|name| format!("/{name}")).collect();
                write!(f, "there is no command /{name}; did you mean {}?", near.join(" or "))
            }
            Misuse::Arguments { command, what } => write!(f, "{what}; usage: {}", command.usage()),
        }
    }
}

/// Reads a line. What begins with `/` is a command, and with `//` a text that begins with `/`; everything else is a text.
///
/// ```
/// use snug_chat::input::{Input, parse};
///
/// assert_eq!(parse("hello"), Ok(Input::Text("hello".to_owned())));
/// assert_eq!(parse("//etc is a folder"), Ok(Input::Text("/etc is a folder".to_owned())));
/// assert_eq!(
///     parse("/jion #ops").unwrap_err().to_string(),
///     "there is no command /jion; did you mean /join?"
/// );
/// ```
///
/// # Errors
/// The line is no text and no command that fits its description: a [`Misuse`], which says what to type instead.
pub fn parse(line: &str) -> Result<Input, Misuse> {
    if line.trim().is_empty() {
        return Ok(Input::Nothing);
    }
    let Some(said) = line.strip_prefix('/') else { return Ok(Input::Text(line.to_owned())) };
    if said.starts_with('/') {
        return Ok(Input::Text(said.to_owned()));
    }
    let (name, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
    let name = name.to_lowercase();
    let Some(command) = Command::find(&name) else {
        return Err(Misuse::Unknown { near: near(&name), name });
    };
    let args = command.args(rest).map_err(|what| Misuse::Arguments { command, what })?;
    Ok(Input::Call(Call { command, args }))
}

/// The commands whose names are like this one: with one or two typing errors, or with the same beginning.
fn near(name: &str) -> Vec<&'static str> {
    let names = COMMANDS
        .iter()
        .flat_map(|command| std::iter::once(command.name).chain(command.aliases.iter().copied()));
    let mut near: Vec<(usize, &'static str)> = names
        .filter_map(|other| {
            let is_beginning = name.len() >= 2 && other.starts_with(name);
            let distance = if is_beginning { 0 } else { distance(name, other) };
            (distance <= 2 && distance < other.len()).then_some((distance, other))
        })
        .collect();
    near.sort_unstable();
    let best = near.first().map(|(distance, _)| *distance);
    near.into_iter().filter(|(distance, _)| Some(*distance) == best).map(|(_, name)| name).take(3).collect()
}

/// How many letters have to be changed, added, left out or exchanged with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(32).collect(), b.chars().take(32).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wrong_command_says_what_is_near() {
        for (line, says) in [
            ("/jion #ops", "did you mean /join?"),
            ("/quite", "did you mean /quit?"),
            ("/hel", "did you mean /help?"),
            ("/etc/passwd", "/help lists them, and //etc/passwd says it as a text"),
            ("/join", "room is missing; usage: /join <room>"),
            ("/join ops", "\"ops\" is no room: a room's name begins with #; usage: /join <room>"),
            ("/mute bob soon", "is no time"),
            ("/back now", "there is more than it takes; usage: /back"),
        ] {
            let misuse = parse(line).expect_err(line).to_string();
            assert!(misuse.contains(says), "{line}: {misuse}");
        }
    }

    #[test]
    fn texts_are_said_as_they_were_typed() {
        assert_eq!(parse(" \t"), Ok(Input::Nothing));
        for text in ["hi", "  two words ", "http://x", "1/2"] {
            assert_eq!(parse(text), Ok(Input::Text(text.to_owned())));
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_by_their_aliases() {
        for (line, name) in
            [("/JOIN #ops", "join"), ("/msg bob hi", "w"), ("/exit", "quit"), ("/who", "users")]
        {
            let Ok(Input::Call(call)) = parse(line) else { panic!("{line}") };
            assert_eq!(call.command.name, name);
        }
    }

    #[test]
    fn every_example_of_the_table_is_read() {
        for command in COMMANDS {
            let line = format!("/{} {}", command.name, command.example);
            assert!(matches!(parse(line.trim_end()), Ok(Input::Call(_))), "{line}");
            assert!(!command.help.is_empty() && !command.help.ends_with('.'), "{}", command.name);
            let names = std::iter::once(&command.name).chain(command.aliases);
            for name in names {
                assert_eq!(
                    COMMANDS.iter().filter(|other| other.is_called(name)).count(),
                    1,
                    "{name} is one command"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_line_is_a_text_a_command_or_a_reason(line in "/?/?[a-z#0-9 ]{0,20}|\\PC{0,40}") {
            match parse(&line) {
                Ok(Input::Nothing) => prop_assert!(line.trim().is_empty()),
                Ok(Input::Text(text)) => prop_assert!(line.ends_with(&text) && line.len() <= text.len() + 1),
                Ok(Input::Call(call)) => {
                    prop_assert!(line.starts_with('/'));
                    let needed = call.command.params.iter().filter(|param| !param.is_optional);
                    for param in needed {
                        prop_assert!(call.get(param.name).is_some_and(|arg| !arg.is_empty()));
                    }
                }
                Err(misuse) => prop_assert!(misuse.to_string().contains('/')),
            }
        }
    }
}
