//! Transcripts: what people say to a bot and what it says to them, as a test and as documentation.
//!
//! ```text
//! # what a line with a # says is for people
//! bot roll                          the bot, as in config.toml
//! set dice = "1d20"                 its options, in TOML
//! time 2026-11-21 09:00             the clock (UTC); it stands still but for:
//! seed 7                            where the random numbers begin
//! alice> !roll 2d6                  alice says this in #lobby
//! roll> alice rolled 9 (4 5)        which the bot answers; `…` stands for anything
//! alice (private)> roll             to the bot alone
//! roll (alice)> alice rolled 3      to alice alone
//! alice +1️⃣                        alice reacts to the newest post of the bot
//! alice -1️⃣
//! + 10m                             the clock goes on
//! restart                           the bot is started again, with what it has kept
//! line something                    a line comes from a file that it watches
//! ```
//! Lines of an answer are joined with `\n`. A bot that says more than the transcript, or less, fails it.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};
use snug_protocol::Period;

use crate::config::{BotsConfig, Hosted, load};
use crate::{Action, Args, Context, Event, ReplyTarget, State, called};

/// Where a transcript and a bot differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mismatch {
    /// The line of the transcript, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Makes a bot from its name and the TOML of its table.
pub type Make<'m> = &'m dyn Fn(&str, &str) -> Result<BotsConfig, String>;

/// Plays a transcript. Gives how many lines the bot said.
///
/// # Errors
/// The first line at which they differ.
pub fn play(text: &str, make: Make<'_>) -> Result<usize, Mismatch> {
    let mut stage = Stage::default();
    let mut count = 0;
    let mut at = 0;
    for (number, line) in text.lines().enumerate() {
        at = number + 1;
        let failed = |what: String| Mismatch { line: at, what };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let is_order = ["bot", "set", "time", "seed", "+", "restart", "line"]
            .iter()
            .any(|word| line.split(' ').next() == Some(word));
        let speech = line.split_once("> ").or_else(|| line.split_once('>')).filter(|_| !is_order);
        if let Some((head, said)) = speech {
            let (who, whom) = match head.trim().split_once(" (") {
                Some((who, whom)) => (who, Some(whom.trim_end_matches(')'))),
                None => (head.trim(), None),
            };
            if stage.hosted.as_ref().is_some_and(|hosted| hosted.nick == who) {
                let expected = (whom.unwrap_or("#lobby").to_owned(), said.replace("\\n", "\n"));
                let heard = stage
                    .said
                    .pop_front()
                    .ok_or_else(|| failed(format!("the bot says nothing instead of {said:?}")))?;
                if heard.0 != expected.0 || !matches(&heard.1, &expected.1) {
                    let (to, text) = heard;
                    return Err(failed(format!("the bot says to {to}: \"{}\"", text.replace('\n', "\\n"))));
                }
                count += 1;
                continue;
            }
            stage.nothing_waits().map_err(failed)?;
            stage.begin(make).map_err(failed)?;
            stage.hear(who, whom.is_some(), said);
            continue;
        }
        stage.nothing_waits().map_err(failed)?;
        stage.order(line.trim(), make).map_err(failed)?;
    }
    stage.nothing_waits().map_err(|what| Mismatch { line: at, what })?;
    Ok(count)
}

/// Whether a text is as expected, where `…` stands for anything.
fn matches(text: &str, expected: &str) -> bool {
    let mut parts = expected.split('\u{2026}');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        if at + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

/// A bot and what is around it.
struct Stage {
    name: String,
    options: String,
    hosted: Option<Hosted>,
    state: State,
    now: DateTime<FixedOffset>,
    seed: u64,
    timers: BTreeMap<String, i64>,
    said: VecDeque<(String, String)>,
    posts: Vec<(String, String)>,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            name: String::new(),
            options: String::new(),
            hosted: None,
            state: State::default(),
            now: DateTime::<Utc>::from_timestamp(1_795_255_200, 0).unwrap_or_default().fixed_offset(),
            seed: 1,
            timers: BTreeMap::new(),
            said: VecDeque::new(),
            posts: Vec::new(),
        }
    }
}

impl Stage {
    fn nothing_waits(&self) -> Result<(), String> {
        match self.said.front() {
            None => Ok(()),
            Some((to, text)) => {
                Err(format!("the bot has also said to {to}: \"{}\"", text.replace('\n', "\\n")))
            }
        }
    }

    /// Starts the bot, if it is not there yet.
    fn begin(&mut self, make: Make<'_>) -> Result<(), String> {
        if self.hosted.is_some() {
            return Ok(());
        }
        // The rooms of what watches files are those of the files.
        let rooms = if self.options.contains("files =") { "" } else { "rooms = [\"#lobby\"]\n" };
        let config = make(&self.name, &format!("{rooms}{}", self.options))?;
        let wanted = |hosted: &Hosted| hosted.name == self.name;
        let hosted = load(&config, &[]).bots.into_iter().find(wanted);
        self.hosted =
            Some(hosted.ok_or_else(|| format!("there is no bot {:?}; say `bot NAME` first", self.name))?);
        self.tell(&Event::Started, None);
        Ok(())
    }

    fn order(&mut self, line: &str, make: Make<'_>) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "bot" => self.name = rest.trim().to_owned(),
            "set" => self.options.push_str(&format!("{rest}\n")),
            "seed" => self.seed = rest.trim().parse().map_err(|_| "a seed is a number".to_owned())?,
            "time" => {
                let time = NaiveDateTime::parse_from_str(&format!("{}:00", rest.trim()), "%Y-%m-%d %H:%M:%S");
                self.now =
                    time.map_err(|_| "a time is 2026-11-21 09:00".to_owned())?.and_utc().fixed_offset();
            }
            "+" => {
                self.begin(make)?;
                let period: Period = rest.trim().parse().map_err(|error| format!("{error}"))?;
                self.pass(i64::try_from(period.millis()).unwrap_or(0));
            }
            "restart" => {
                let kept: Vec<(String, String)> = self
                    .state
                    .with_prefix("")
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                self.state = State::new(kept);
                self.timers.clear();
                self.hosted = None;
                self.begin(make)?;
            }
            "line" => {
                self.begin(make)?;
                self.tell(&Event::Line { room: "#lobby", text: rest }, None);
            }
            who => {
                self.begin(make)?;
                let (is_there, reaction) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
                    (Some(reaction), _) => (true, reaction),
                    (_, Some(reaction)) => (false, reaction),
                    _ => return Err(format!("this is no line of a transcript: {line:?}")),
                };
                let (room, post) =
                    self.posts.last().cloned().ok_or("the bot has posted nothing to react to")?;
                self.tell(
                    &Event::Reacted { post: &post, from: who, reaction, is_there },
                    Some(ReplyTarget::Room(&room)),
                );
            }
        }
        Ok(())
    }

    fn hear(&mut self, who: &str, is_private: bool, text: &str) {
        let place = if is_private { ReplyTarget::Private(who) } else { ReplyTarget::Room("#lobby") };
        let Some(hosted) = &self.hosted else { return };
        let manifest = hosted.bot.manifest().clone();
        let command = called(text, is_private)
            .and_then(|(word, rest)| Some((manifest.commands.iter().find(|spec| spec.name == word)?, rest)));
        match command {
            Some((spec, rest)) => match spec.args(rest) {
                Ok(args) => self.call(&spec.name, &args, who, place),
                Err(misuse) => self.said.push_back((place.name().to_owned(), misuse)),
            },
            None if manifest.listens => self.tell(&Event::Heard { from: who, text }, Some(place)),
            None => {}
        }
    }

    fn call(&mut self, command: &str, args: &Args, from: &str, place: ReplyTarget<'_>) {
        self.tell(&Event::Called { command, args, from }, Some(place));
    }

    /// Lets time pass, and timers come.
    fn pass(&mut self, millis: i64) {
        let end = self.now.timestamp_millis() + millis;
        let at = |now: DateTime<FixedOffset>, millis| {
            DateTime::from_timestamp_millis(millis).map_or(now, |then| then.with_timezone(now.offset()))
        };
        while let Some((timer, then)) = self
            .timers
            .iter()
            .filter(|(_, then)| **then <= end)
            .min_by_key(|(_, then)| **then)
            .map(|(name, then)| (name.clone(), *then))
        {
            self.timers.remove(&timer);
            self.now = at(self.now, then.max(self.now.timestamp_millis()));
            self.tell(&Event::Due { timer: &timer }, None);
        }
        self.now = at(self.now, end);
    }

    fn tell(&mut self, event: &Event<'_>, place: Option<ReplyTarget<'_>>) {
        let Some(hosted) = &mut self.hosted else { return };
        let seed = &mut self.seed;
        let mut random = || {
            // splitmix64 (Steele, Lea, Flood 2014): the same from the same seed, everywhere.
            *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let mut context = Context::new(self.now, place, &mut self.state, &mut random);
        hosted.bot.handle(event, &mut context);
        for action in context.into_actions() {
            match action {
                Action::Say { to, text } => self.said.push_back((to, text)),
                Action::Post { to, post, text } => {
                    self.posts.push((to.clone(), post));
                    self.said.push_back((to, text));
                }
                Action::React { reaction } => self.said.push_back(("reaction".to_owned(), reaction)),
                Action::Wait { timer, at: Some(at) } => {
                    self.timers.insert(timer, at);
                }
                Action::Wait { timer, at: None } => {
                    self.timers.remove(&timer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the daemon reads its settings.
    fn make(name: &str, options: &str) -> Result<BotsConfig, String> {
        toml::from_str(&format!("[{name}]\n{options}")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_bot_is_as_its_transcript_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a transcript");
            let played = play(&text, &make);
            assert!(played.as_ref().is_ok_and(|count| *count > 0), "{}: {played:?}", path.display());
            names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
        names.sort();
        assert_eq!(names, ["echo", "emoji", "feed", "help", "poll", "remind", "roll", "seen"]);
    }

    #[test]
    fn a_transcript_that_is_not_kept_to_says_where() {
        let failed = |text: &str| play(text, &make).expect_err(text);
        let echo = "bot echo\nalice> !echo hi\n";
        assert_eq!(
            failed(&format!("{echo}echo> ho\n")).to_string(),
            "line 3: the bot says to #lobby: \"hi\""
        );
        assert_eq!(failed(echo).line, 2, "what it has also said");
        assert!(failed("bot echo\nalice> hi\necho> hi\n").what.contains("says nothing"));
        assert!(failed("bot nobody\nalice> hi\n").what.contains("nobody"));
        assert!(failed("bot echo\nalice waves\n").what.contains("no line of a transcript"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_to_a_bot_it_goes_on(
            bot in "echo|emoji|feed|help|poll|remind|roll|seen",
            command in "echo|emoji|help|poll|remind|reminders|roll|seen|[a-z]{1,6}",
            text in "(in|at|every)? ?[0-9dmh:+-]{0,8} \\PC{0,40}",
            free in "\\PC{0,40}",
        ) {
            let said = |who: &str, text: &str| format!("bot {bot}\n{who}> {text}\n");
            for text in [format!("!{command} {text}"), format!("!{command}{free}"), free] {
                // What it answers is not known here; that it is asked and comes back is all.
                let _ = play(&said("alice", &text), &make);
                let _ = play(&said("alice (private)", &text), &make);
            }
        }

        #[test]
        fn any_text_is_a_transcript_or_says_where_it_is_none(text in "(\\PC{0,20}\n){0,6}") {
            let lines = text.lines().count();
            if let Err(mismatch) = play(&text, &make) {
                proptest::prop_assert!(mismatch.line <= lines.max(1));
            }
        }
    }
}
