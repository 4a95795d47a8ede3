//! Completion: what could be meant by what was typed so far.

use super::{COMMANDS, Command, Kind};

/// The names that can be completed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// Nicks, in the order in which they are offered.
    pub nicks: &'k [String],
    /// Rooms, with their `#`.
    pub rooms: &'k [String],
}

/// Returns what the word at the end of a line could be completed to, at most `most`: the start of the word in the line, in
/// bytes, and the whole words.
///
/// ```
/// use snug_chat::input::{Known, complete};
///
/// let (nicks, rooms) = (["alice".to_owned(), "bob".to_owned()], ["#ops".to_owned()]);
/// let known = Known { nicks: &nicks, rooms: &rooms };
/// assert_eq!(complete("/jo", known, 9), (0, vec!["/join".to_owned()]));
/// assert_eq!(complete("/w b", known, 9), (3, vec!["bob".to_owned()]));
/// assert_eq!(complete("hello @A", known, 9), (6, vec!["@alice".to_owned()]));
/// assert_eq!(complete("nice :tada", known, 1), (5, vec![":tada:".to_owned()]));
/// ```
pub fn complete(line: &str, known: Known<'_>, most: usize) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[start..];
    let mut found = if start == 0 && word.starts_with('/') && !word.starts_with("//") {
        commands(&word[1..])
    } else {
        match argument(line, start) {
            Some(kind) => of_kind(kind, word, known),
            None => in_text(word, start == 0, known),
        }
    };
    found.truncate(most);
    (start, found)
}

fn commands(typed: &str) -> Vec<String> {
    let typed = typed.to_lowercase();
    let names = COMMANDS.iter().map(|command| command.name).filter(|name| name.starts_with(&typed));
    names.map(|name| format!("/{name}")).collect()
}

/// What the argument that begins at a place of the line may be; `None` in a text.
fn argument(line: &str, start: usize) -> Option<Kind> {
    let said = line.strip_prefix('/').filter(|said| !said.starts_with('/'))?;
    let (name, _) = said.split_once(char::is_whitespace)?;
    let command = Command::find(&name.to_lowercase())?;
    let before = line[..start].split_whitespace().count().checked_sub(1)?;
    let texts = command.params.iter().position(|param| matches!(param.kind, Kind::Text | Kind::Path));
    match command.params.get(texts.map_or(before, |text| before.min(text))) {
        Some(param) if !matches!(param.kind, Kind::Text | Kind::Word) => Some(param.kind),
        _ => None,
    }
}

fn of_kind(kind: Kind, word: &str, known: Known<'_>) -> Vec<String> {
    match kind {
        Kind::User => names(word, known.nicks, "", ""),
        Kind::Room => names(word, known.rooms, "", ""),
        Kind::Place => match word.starts_with('#') {
            true => names(word, known.rooms, "", ""),
            false => {
                names(word, known.nicks, "", "").into_iter().chain(names(word, known.rooms, "", "")).collect()
            }
        },
        Kind::Choice(words) => words
            .iter()
            .filter(|choice| choice.starts_with(word))
            .map(|choice| (*choice).to_owned())
            .collect(),
        Kind::Word | Kind::Text | Kind::Count | Kind::Duration | Kind::Entry | Kind::Path => Vec::new(),
    }
}

/// Names, rooms and emoji in a text. Who is spoken to at its beginning has a colon.
fn in_text(word: &str, is_first: bool, known: Known<'_>) -> Vec<String> {
    if let Some(name) = word.strip_prefix('@') {
        return names(name, known.nicks, "@", "");
    }
    if word.starts_with('#') {
        return names(word, known.rooms, "", "");
    }
    if let Some(shortcode) = word.strip_prefix(':').filter(|shortcode| !shortcode.is_empty()) {
        let codes =
            emojis::iter().flat_map(emojis::Emoji::shortcodes).filter(|code| code.starts_with(shortcode));
        let mut codes: Vec<String> = codes.map(|code| format!(":{code}:")).collect();
        codes.sort_by_key(|code| (code.len(), code.clone()));
        return codes;
    }
    if word.is_empty() { Vec::new() } else { names(word, known.nicks, "", if is_first { ":" } else { "" }) }
}

fn names(typed: &str, of: &[String], before: &str, behind: &str) -> Vec<String> {
    let typed = typed.to_lowercase();
    let found = of.iter().filter(|name| name.to_lowercase().starts_with(&typed));
    found.map(|name| format!("{before}{name}{behind}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(line: &str) -> Vec<String> {
        let nicks = ["alice", "Albert", "bob"].map(str::to_owned);
        let rooms = ["#lobby", "#ops"].map(str::to_owned);
        complete(line, Known { nicks: &nicks, rooms: &rooms }, 5).1
    }

    #[test]
    fn what_is_completed_depends_on_where_it_stands() {
        for (line, expected) in [
            ("/un", &["/unreact", "/unban", "/unmute"][..]),
            ("/kick al", &["alice", "Albert"]),
            ("/kick bob al", &["alice", "Albert"]),
            ("/join #o", &["#ops"]),
            ("/to ", &["alice", "Albert", "bob", "#lobby", "#ops"]),
            ("/role bob mo", &["moderator"]),
            ("/history 1", &[]),
            ("al", &["alice:", "Albert:"]),
            ("hi AL", &["alice", "Albert"]),
            ("see #l", &["#lobby"]),
            ("//jo", &[]),
            ("", &[]),
            ("hi ", &[]),
        ] {
            assert_eq!(found(line), expected, "{line:?}");
        }
        assert!(found("yes :thumbs").contains(&":thumbsup:".to_owned()));
    }

    proptest! {
        #[test]
        fn a_completion_replaces_the_word_at_the_end(line in "\\PC{0,30}") {
            let nicks = ["alice".to_owned()];
            let (start, found) = complete(&line, Known { nicks: &nicks, rooms: &[] }, 3);
            prop_assert!(line.is_char_boundary(start) && !line[start..].contains(char::is_whitespace));
            prop_assert!(found.len() <= 3);
        }
    }
}
