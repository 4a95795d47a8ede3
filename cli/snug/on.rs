//! `snug on`: runs a command for each message.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clap::Args;
use futures_lite::FutureExt;
use regex_lite::Regex;
use snug_client::{Client, Event, Received};
use snug_protocol::{Body, Command as Said, Cursor, EntryKind, MessageTags, Nick, RoomName};

use crate::connect::{self, Part};
use crate::cursor_file::CursorFile;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::run::exit_code;

/// Run a command for each message: in order, each at least once
///
/// The text is on its stdin; SNUG_ID, SNUG_TIME, SNUG_FROM, SNUG_ROOM, SNUG_TEXT and, with --match, SNUG_1 and so on (the
/// groups) are in its environment. With --cursor it goes on where it was: what it was busy with when it was stopped comes
/// again. Messages of bots, and those that snug itself has made, are passed over.
#[derive(Args)]
pub(crate) struct On {
    /// The room, with its #; - for private messages
    room: String,

    /// Only messages that this regular expression matches
    #[arg(long = "match", value_name = "RE")]
    pattern: Option<String>,

    /// Only messages that are the command !NAME or /NAME; what follows it is the text
    #[arg(long, value_name = "NAME")]
    command: Option<String>,

    /// How many commands may run at a time
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    jobs: usize,

    /// Begin where FILE says, and keep it up to date
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,

    /// Answer each message with what the command prints
    #[arg(long)]
    reply: bool,

    /// End after so many
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,

    /// What to run, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    argv: Vec<String>,
}

/// A message that is worked on, or is to be.
struct Job {
    cursor: Cursor,
    task: smol::Task<Result<(), Failure>>,
}

impl On {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let rooms = match self.room.as_str() {
            "-" => Vec::new(),
            room => vec![
                RoomName::parse(room)
                    .map_err(|error| usage(format!("{room:?} is no room: {error}")))?
                    .into_owned(),
            ],
        };
        let pattern = self
            .pattern
            .as_deref()
            .map(Regex::new)
            .transpose()
            .map_err(|error| usage(format!("--match: {error}")))?;
        let mut file = self.cursor.as_deref().map(CursorFile::open).transpose()?;
        let since = file.as_ref().and_then(CursorFile::read);
        let (client, events) =
            connect::connect(common, Part::Listener { rooms: rooms.clone(), since, follows: true }).await?;
        let mut jobs: VecDeque<Job> = VecDeque::new();
        let mut begun = 0;
        let mut reason = "the connection is closed".to_owned();
        loop {
            let is_enough = self.count.is_some_and(|count| begun >= count);
            if is_enough && jobs.is_empty() {
                return Ok(());
            }
            let may_begin = jobs.len() < self.jobs.max(1) && !is_enough;
            let next = async {
                if !may_begin {
                    return futures_lite::future::pending().await;
                }
                Some(events.recv().await)
            };
            let done = async {
                match jobs.front_mut() {
                    Some(job) => Err((&mut job.task).await),
                    None => futures_lite::future::pending().await,
                }
            };
            match async { Ok(next.await) }.or(done).await {
                Err(finished) => {
                    if let Some(job) = jobs.pop_front() {
                        // In order: what is behind an unfinished one is not noted.
                        if let Some(file) = &mut file {
                            file.write(job.cursor)?;
                        }
                    }
                    if let Err(failure) = finished {
                        let _ = failure.report(common.json);
                    }
                }
                Ok(Some(Ok(Event::Line(received)))) => {
                    let Some(cursor) = received.cursor() else { continue };
                    if let Some(mut command) = self.wanted(&received, &rooms, pattern.as_ref()) {
                        begun += 1;
                        let (client, reply) = (client.clone(), self.reply);
                        let task = connect::TASKS.spawn(async move {
                            let text = command.text.clone();
                            let ran =
                                smol::unblock(move || execute(&mut command.command, &command.text)).await;
                            finish(ran, &received, &text, reply.then_some(&client)).await
                        });
                        jobs.push_back(Job { cursor, task });
                    } else if let (Some(file), true) = (&mut file, jobs.is_empty()) {
                        file.write(cursor)?;
                    }
                }
                Ok(Some(Ok(Event::Live { cursor }))) => {
                    if let (Some(file), true) = (&mut file, jobs.is_empty()) {
                        file.write(cursor)?;
                    }
                }
                Ok(Some(Ok(Event::Gap { target, from, to }))) => {
                    crate::tail::tell_gap(&target, &from, &to, common)?;
                }
                Ok(Some(Ok(Event::GaveUp { error }))) => return Err(Failure::from(&*error)),
                Ok(Some(Ok(Event::Disconnected { loss }))) => reason = loss.to_string(),
                Ok(Some(Ok(_)) | None) => {}
                Ok(Some(Err(_))) => return Err(Failure::new(Exit::TryAgain, reason)),
            }
        }
    }

    /// The command for a line, if it is a message that is meant.
    fn wanted(&self, received: &Received, rooms: &[RoomName<'_>], pattern: Option<&Regex>) -> Option<Wanted> {
        let line = received.line();
        let Body::Entry { kind, target, text: Some(text), .. } = &line.body else { return None };
        let is_here = match kind {
            EntryKind::Msg => {
                RoomName::parse(target).is_ok_and(|room| rooms.iter().any(|own| own.fold() == room.fold()))
            }
            EntryKind::Priv => rooms.is_empty(),
            _ => false,
        };
        if !is_here || line.tags.has("bot") || line.tags.has("+auto") {
            return None;
        }
        let text = match &self.command {
            None => text.as_ref(),
            Some(name) => {
                let said = text.trim_start().strip_prefix(['!', '/'])?;
                let (word, rest) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
                word.eq_ignore_ascii_case(name.trim_start_matches(['!', '/'])).then(|| rest.trim())?
            }
        };
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        if let Some(pattern) = pattern {
            let found = pattern.captures(text)?;
            for (at, group) in found.iter().enumerate().skip(1) {
                command.env(format!("SNUG_{at}"), group.map_or("", |group| group.as_str()));
            }
        }
        let tag = |name: &str| line.tags.get(name).unwrap_or_default().into_owned();
        command.env("SNUG_ID", tag("id")).env("SNUG_TIME", tag("time"));
        command
            .env("SNUG_FROM", line.from.unwrap_or_default())
            .env("SNUG_ROOM", target)
            .env("SNUG_TEXT", text);
        Some(Wanted { command, text: text.to_owned() })
    }
}

struct Wanted {
    command: Command,
    text: String,
}

/// Runs a command with a text on its stdin. What it prints is kept.
fn execute(command: &mut Command, text: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let stdin = child.stdin.take();
    let text = text.to_owned();
    // A command that does not read it is no error.
    let feeder = std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            let _ = writeln!(stdin, "{text}");
        }
    });
    let output = child.wait_with_output();
    let _ = feeder.join();
    output
}

/// Shows, or answers with, what a command has printed.
async fn finish(
    ran: std::io::Result<Output>,
    received: &Received,
    text: &str,
    reply: Option<&Client>,
) -> Result<(), Failure> {
    let ran =
        ran.map_err(|error| Failure::new(Exit::Usage, format!("the command cannot be run: {error}")))?;
    let code = exit_code(ran.status);
    if reply.is_none() {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&ran.stdout).and_then(|()| stdout.flush())?;
    }
    let line = received.line();
    if let (Some(client), Body::Entry { kind, target, .. }) = (reply, &line.body) {
        let printed = String::from_utf8_lossy(&ran.stdout);
        let answer: String = output::plain_lines(printed.trim_end()).chars().take(4_000).collect();
        let answer = if answer.is_empty() && code != 0 { format!("failed with {code}") } else { answer };
        if !answer.is_empty() {
            let re = line.id().map(Cursor::at);
            let key = line.id().map(|id| format!("on-{id}").into());
            let tags =
                MessageTags { re, key, verbatim: true, relayed: "+auto=on".into(), ..MessageTags::default() };
            let from = line.from.unwrap_or_default();
            let command = match (kind, RoomName::parse(target), Nick::parse(from)) {
                (EntryKind::Msg, Ok(room), _) => Said::Msg { room, text: answer.into(), tags },
                (_, _, Ok(nick)) => {
                    let who = line.tags.get("who").and_then(|who| who.parse().ok());
                    Said::Priv { nick, who, text: answer.into(), tags }
                }
                _ => return Ok(()),
            };
            client.ask(command).await?;
        }
    }
    if code != 0 {
        let shown: String = text.chars().take(60).collect();
        let text =
            format!("the command failed with {code}, for entry {} ({shown})", line.id().unwrap_or_default());
        return Err(Failure::new(Exit::Refused, text));
    }
    Ok(())
}
