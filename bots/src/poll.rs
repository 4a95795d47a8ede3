//! `!poll Lunch? | pizza | sushi`: people vote with reactions, and the message shows how it stands.

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest, ReplyTarget};

bot_config! {
    /// The table `[bots.poll]`.
    PollConfig, "poll" {}
}

/// Asks, and counts.
#[derive(Debug)]
pub struct Poll {
    manifest: Manifest,
}

/// The most choices.
const CHOICES: usize = 9;

/// The most bytes of a question with its choices.
const LONGEST: usize = 1_000;

impl Default for Poll {
    fn default() -> Poll {
        let command = CommandSpec::parse(
            "poll",
            "question:text",
            "asks everybody: question | choice | choice …; `!poll end` ends it",
        );
        let command = command.expect("a description");
        Poll {
            manifest: Manifest { help: "asks everybody".to_owned(), commands: vec![command], listens: false },
        }
    }
}

/// The reaction that is a vote for the choice at this place.
fn sign(at: usize) -> String {
    format!("{}\u{fe0f}\u{20e3}", at + 1)
}

/// A poll as it is kept: where, the question and choices, and who votes for what.
struct Stand {
    room: String,
    question: String,
    choices: Vec<String>,
    /// Who votes for which.
    votes: Vec<(String, usize)>,
}

impl Stand {
    /// `room \n question \n choice \n choice \n\n nick at \n nick at`
    fn read(kept: &str) -> Option<Stand> {
        let (head, votes) = kept.split_once("\n\n").unwrap_or((kept, ""));
        let mut lines = head.lines();
        let (room, question) = (lines.next()?.to_owned(), lines.next()?.to_owned());
        let votes = votes.lines().filter_map(|vote| {
            let (nick, at) = vote.rsplit_once(' ')?;
            Some((nick.to_owned(), at.parse().ok()?))
        });
        Some(Stand { room, question, choices: lines.map(str::to_owned).collect(), votes: votes.collect() })
    }

    fn written(&self) -> String {
        let votes: Vec<String> = self.votes.iter().map(|(nick, at)| format!("{nick} {at}")).collect();
        format!("{}\n{}\n{}\n\n{}", self.room, self.question, self.choices.join("\n"), votes.join("\n"))
    }

    fn shown(&self, is_over: bool) -> String {
        let mut text = format!("\u{1f4ca} {}", self.question);
        if is_over {
            text.push_str(" (ended)");
        }
        for (at, choice) in self.choices.iter().enumerate() {
            let count = self.votes.iter().filter(|(_, vote)| *vote == at).count();
            let bar = "\u{2588}".repeat(count.min(40));
            let count = if count == 0 { String::new() } else { format!("  {bar} {count}") };
            text.push_str(&format!("\n{} {choice}{count}", sign(at)));
        }
        text
    }
}

impl Bot for Poll {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        match event {
            Event::Called { args, .. } => {
                let Some(ReplyTarget::Room(room)) = context.place else {
                    context.reply("a poll is for a room: say it there");
                    return;
                };
                let asked = args.get("question").unwrap_or_default();
                if asked.trim() == "end" {
                    return end(room, context);
                }
                begin(room, asked, context);
            }
            Event::Reacted { post, from, reaction, is_there } => {
                vote(post, from, reaction, *is_there, context)
            }
            _ => {}
        }
    }
}

fn begin(room: &str, asked: &str, context: &mut Context<'_>) {
    if asked.len() > LONGEST {
        context.reply(format!("a question and its choices have at most {LONGEST} bytes"));
        return;
    }
    let mut parts = asked.split('|').map(|part| part.trim().replace('\n', " "));
    let question = parts.next().unwrap_or_default();
    let choices: Vec<String> = parts.filter(|choice| !choice.is_empty()).collect();
    if question.is_empty() || !(2..=CHOICES).contains(&choices.len()) {
        context
            .reply(format!("a poll has a question and 2 to {CHOICES} choices: !poll Lunch? | pizza | sushi"));
        return;
    }
    // A room has one poll at a time, so that those that nobody ends do not fill what the bot keeps.
    if context.state.get(&format!("in:{room}")).is_some() {
        end(room, context);
    }
    let number = context.state.get("last").and_then(|last| last.parse::<u64>().ok()).unwrap_or(0) + 1;
    let stand = Stand { room: room.to_owned(), question, choices, votes: Vec::new() };
    let post = format!("poll-{number}");
    if !context.state.set(&post, stand.written()) {
        context.reply("there are too many polls; `!poll end` ends the last one here");
        return;
    }
    context.state.set("last", number.to_string());
    context.state.set(&format!("in:{room}"), &*post);
    context.post(room, &post, format!("{}\nreact with the number to vote", stand.shown(false)));
}

fn end(room: &str, context: &mut Context<'_>) {
    let open = context.state.get(&format!("in:{room}")).map(str::to_owned);
    let stand = open.as_ref().and_then(|post| context.state.get(post)).and_then(Stand::read);
    let (Some(post), Some(stand)) = (open, stand) else {
        context.reply("no poll is going on here");
        return;
    };
    context.state.remove(&post);
    context.state.remove(&format!("in:{room}"));
    context.post(room, &post, stand.shown(true));
}

fn vote(post: &str, from: &str, reaction: &str, is_there: bool, context: &mut Context<'_>) {
    let Some(mut stand) = context.state.get(post).and_then(Stand::read) else { return };
    let Some(at) = (0..stand.choices.len()).find(|at| sign(*at) == reaction) else { return };
    if is_there {
        // One vote each: the last one counts.
        stand.votes.retain(|(nick, _)| nick != from);
        stand.votes.push((from.to_owned(), at));
    } else {
        stand.votes.retain(|vote| *vote != (from.to_owned(), at));
    }
    if context.state.set(post, stand.written()) {
        context.post(&stand.room, post, stand.shown(false));
    }
}
