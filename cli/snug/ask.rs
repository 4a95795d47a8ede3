//! `snug ask`: asks, and waits for an answer.

use std::time::Duration;

use clap::Args;
use futures_lite::FutureExt;
use serde_json::Map;
use snug_client::Event;
use snug_protocol::{Body, EntryKind, MessageTags, Nick, Period, ServerLine, Target};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Ask something, and wait for a reply or a reaction
///
/// Prints the answer. Exit code: 0 for the first choice (or any answer, without --choices), 10 for the second, 11 for the
/// third and so on; 75 if nobody answered in time.
#[derive(Args)]
pub(crate) struct Ask {
    /// A room with its #, or a person
    target: String,

    /// The question
    question: String,

    /// What can be answered, as a comma list; a reaction counts as well: the word itself, 1️⃣ 2️⃣ …, or 👍 and 👎 for the first two
    #[arg(long, value_delimiter = ',')]
    choices: Vec<String>,

    /// How long to wait: 30s, 10m, 4h
    #[arg(long, default_value = "1h")]
    timeout: Period,

    /// Who may answer [default: everybody who may speak there]
    #[arg(long, value_name = "NICK", value_delimiter = ',')]
    from: Vec<String>,
}

/// An answer: which choice, what was said, by whom.
struct Answered {
    choice: usize,
    text: String,
    from: String,
}

impl Ask {
    /// Gives the exit code.
    pub(crate) async fn run(self, common: &Common) -> Result<u8, Failure> {
        let target = connect::target(&self.target)?.into_owned();
        for nick in &self.from {
            Nick::parse(nick)
                .map_err(|error| Failure::new(Exit::Usage, format!("{nick:?} is no name: {error}")))?;
        }
        let rooms = match &target {
            Target::Room(room) => vec![room.clone()],
            Target::Nick(_) | Target::Person { .. } => Vec::new(),
        };
        let part = Part::Listener { rooms, since: None, follows: true };
        let (client, events) = connect::connect(common, part).await?;
        let choices = match self.choices.is_empty() {
            true => String::new(),
            false => format!(" [{}]", self.choices.join(" / ")),
        };
        let text = format!("{}{choices}", self.question);
        let tags = MessageTags { relayed: "+auto=ask".into(), ..MessageTags::default() };
        let asking = client.ask(connect::message(&target, text, tags));
        let id = asking.await?.id().unwrap_or_default();
        let answer = async {
            let mut reason = "the connection is closed".to_owned();
            while let Ok(event) = events.recv().await {
                match event {
                    Event::Line(received) => {
                        if let Some(answered) = self.answer(&received.line(), &target, id) {
                            return Ok(Some(answered));
                        }
                    }
                    Event::GaveUp { error } => return Err(Failure::from(&*error)),
                    Event::Disconnected { loss } => reason = loss.to_string(),
                    _ => {}
                }
            }
            Err(Failure::new(Exit::TryAgain, reason))
        };
        let overdue = async {
            smol::Timer::after(Duration::from_millis(self.timeout.millis())).await;
            Ok(None)
        };
        let Some(Answered { choice, text, from }) = answer.or(overdue).await? else {
            return Err(Failure::new(Exit::TryAgain, format!("nobody answered within {}", self.timeout)));
        };
        let line = if common.json {
            let mut object = Map::new();
            for (name, value) in [("type", "answer"), ("answer", &*text), ("from", &*from)] {
                object.insert(name.to_owned(), value.into());
            }
            output::json(object)
        } else {
            output::visible(&text)
        };
        output::print(&line)?;
        Ok(u8::try_from(if choice == 0 { 0 } else { 9 + choice }).unwrap_or(u8::MAX))
    }

    /// The answer that a line is, if it is one to the question `id`.
    fn answer(&self, line: &ServerLine<'_>, target: &Target<'_>, id: u64) -> Option<Answered> {
        let from = line.from?;
        let is = |name: &str, other: &str| matches!((Nick::parse(name), Nick::parse(other)), (Ok(a), Ok(b)) if a.fold() == b.fold());
        let may_answer = match target {
            Target::Nick(nick) | Target::Person { nick, .. } => is(nick.as_str(), from),
            Target::Room(_) => self.from.is_empty() || self.from.iter().any(|nick| is(nick, from)),
        };
        if !may_answer || line.tags.get("+auto").is_some() || line.id() <= Some(id) {
            return None;
        }
        let Body::Entry { kind, target: place, about, text: Some(text) } = &line.body else { return None };
        let answers_it = line.tags.get("re").is_some_and(|re| re.parse() == Ok(id));
        let is_here = match (kind, target) {
            (EntryKind::Msg, Target::Room(room)) => {
                matches!(Target::parse(place), Ok(Target::Room(there)) if there.fold() == room.fold())
            }
            (EntryKind::Priv, Target::Nick(_) | Target::Person { .. }) => true,
            (EntryKind::React, _) => *about == Some(id),
            _ => false,
        };
        if !is_here {
            return None;
        }
        if self.choices.is_empty() {
            // In a room somebody may say something else; in private it is an answer.
            let is_meant = answers_it || matches!(kind, EntryKind::Priv | EntryKind::React);
            return is_meant.then(|| Answered { choice: 0, text: text.to_string(), from: from.to_owned() });
        }
        let choice = self.choice(text.trim(), *kind == EntryKind::React)?;
        Some(Answered { choice, text: self.choices[choice].clone(), from: from.to_owned() })
    }

    fn choice(&self, said: &str, is_reaction: bool) -> Option<usize> {
        let folded = said.to_lowercase();
        let found = self.choices.iter().position(|choice| choice.trim().to_lowercase() == folded);
        if found.is_some() || !is_reaction {
            return found;
        }
        let thumbs = ["\u{1f44d}", "\u{1f44e}"].iter().position(|thumb| *thumb == said);
        let number = said.strip_suffix("\u{fe0f}\u{20e3}").and_then(|digit| digit.parse::<usize>().ok());
        let thumbs = thumbs.filter(|_| self.choices.len() == 2);
        let at = thumbs.or_else(|| number.and_then(|number| number.checked_sub(1)));
        at.filter(|at| *at < self.choices.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &[&str]) -> Ask {
        Ask {
            target: "#ops".to_owned(),
            question: "deploy now?".to_owned(),
            choices: ["yes", "no"].map(str::to_owned).into(),
            timeout: Period::from_secs(60),
            from: from.iter().map(|nick| (*nick).to_owned()).collect(),
        }
    }

    fn choice(ask: &Ask, line: &str) -> Option<usize> {
        let target = Target::parse("#ops").expect("a target");
        ask.answer(&ServerLine::parse(line).expect("a line"), &target, 7).map(|answered| answered.choice)
    }

    #[test]
    fn replies_and_reactions_of_who_may_are_answers() {
        let ask = asked(&[]);
        for (line, found) in [
            ("@id=8 :bob MSG #ops yes", Some(0)),
            ("@id=8 :bob MSG #OPS  No ", Some(1)),
            ("@id=8;re=7 :bob MSG #ops no", Some(1)),
            ("@id=8 :bob MSG #ops no way", None),
            ("@id=8 :bob MSG #lobby yes", None),
            ("@id=6 :bob MSG #ops yes", None),
            ("@id=8;+auto=ask :bob MSG #ops yes", None),
            ("@id=8 :bob REACT #ops 7 \u{1f44e}", Some(1)),
            ("@id=8 :bob REACT #ops 7 2\u{fe0f}\u{20e3}", Some(1)),
            ("@id=8 :bob REACT #ops 7 3\u{fe0f}\u{20e3}", None),
            ("@id=8 :bob REACT #ops 7 yes", Some(0)),
            ("@id=8 :bob REACT #ops 5 yes", None),
        ] {
            assert_eq!(choice(&ask, line), found, "{line}");
        }
        assert_eq!(choice(&asked(&["alice"]), "@id=8 :bob MSG #ops yes"), None);
        assert_eq!(choice(&asked(&["Bob"]), "@id=8 :bob MSG #ops yes"), Some(0));
    }
}
