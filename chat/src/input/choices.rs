//! Completion for whoever types whole lines: what is meant is chosen by its number.

use super::{Known, complete};

/// What a line could be completed to.
///
/// ```
/// use snug_chat::input::{Choices, Known};
///
/// let nicks = ["alice".to_owned(), "albert".to_owned()];
/// let choices = Choices::of("/w al", Known { nicks: &nicks, rooms: &[] }, 9);
/// assert_eq!(choices.words(), ["alice", "albert"]);
/// assert_eq!(choices.pick("2 see you there"), Some("/w albert see you there".to_owned()));
/// assert_eq!(choices.pick("3 more"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The line before the word.
    head: String,
    words: Vec<String>,
}

impl Choices {
    /// Completes the word at the end of a line, in at most `most` ways.
    pub fn of(line: &str, known: Known<'_>, most: usize) -> Choices {
        let (start, words) = complete(line, known, most);
        Choices { head: line[..start].to_owned(), words }
    }

    /// The words, of which the first has the number 1.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns the line with the chosen word, and behind it what was typed behind the number. `None` if a line does not begin
    /// with one of the numbers.
    pub fn pick(&self, typed: &str) -> Option<String> {
        let typed = typed.trim_start();
        let (number, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
        let word = self.words.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
        let rest = rest.trim_start();
        let space = if rest.is_empty() { "" } else { " " };
        Some(format!("{}{word}{space}{rest}", self.head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_no_number_of_the_list_is_a_line_of_its_own() {
        let choices = Choices::of("hi :tada", Known::default(), 1);
        assert_eq!(choices.pick("1"), Some("hi :tada:".to_owned()));
        assert_eq!(choices.pick(" 1   all "), Some("hi :tada: all ".to_owned()));
        for typed in ["", "0", "2", "1st", "-1", "one", "99999999999999999999"] {
            assert_eq!(choices.pick(typed), None, "{typed}");
        }
        assert!(Choices::of("//", Known::default(), 9).words().is_empty());
    }
}
