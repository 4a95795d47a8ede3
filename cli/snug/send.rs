//! `snug send`: says something.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, FutureExt};
use snug_client::{Client, Events, Pending};
use snug_protocol::{Command, Cursor, MessageTags, Period, TagBuilder, Target};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::file::send_paths;
use crate::output;
use crate::spool::Spool;

/// Say something in a room or to a person
///
/// Without TEXT, each line of stdin is a message; blank ones are skipped. Prints the id of each message when the
/// server has it. Stops at the first one that is refused, and says which were accepted.
#[derive(Args)]
pub(crate) struct Send {
    /// A room with its #, or a person
    #[arg(value_name = "TARGET")]
    target: String,

    /// What to say; - or nothing for stdin
    #[arg(value_name = "TEXT|-")]
    text: Vec<String>,

    /// Send all of stdin as one message of several lines
    #[arg(long, conflicts_with = "text")]
    whole: bool,

    /// Make a repeat of this message harmless: the server knows it by this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Send this file or folder before the message, which answers it; without a TEXT it goes alone
    #[arg(long, value_name = "PATH", conflicts_with = "whole")]
    file: Vec<PathBuf>,

    /// A title that clients show above it
    #[arg(long)]
    title: Option<String>,

    /// How important it is: low, default, high or urgent
    #[arg(long, value_name = "PRIORITY", value_parser = ["low", "default", "high", "urgent"])]
    priority: Option<String>,

    /// A label for clients to filter by; may be given more than once
    #[arg(long, value_name = "LABEL")]
    tag: Vec<String>,

    /// Change the message that was sent before under this word, if there is one: progress in place
    #[arg(long, value_name = "KEY")]
    replace: Option<String>,

    /// As code: clients show it as it is
    #[arg(long)]
    code: bool,

    /// Wait before it is sent: 30s, 10m, 4h
    #[arg(long, value_name = "TIME")]
    at: Option<Period>,

    /// Try for so long to reach the server
    #[arg(long, value_name = "TIME")]
    retry: Option<Period>,

    /// While there is no server, keep messages in this folder; they are sent with a later one, in order, once
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "retry"])]
    spool: Option<PathBuf>,

    /// Keep :shortcodes: as they are
    #[arg(long)]
    verbatim: bool,

    /// The file that the message is about.
    #[arg(skip)]
    re: Option<Cursor>,
}

/// How long to wait between two tries to reach the server.
const RETRY: Duration = Duration::from_secs(2);

/// How many messages may be under way.
const WINDOW: usize = 256;

impl Send {
    pub(crate) async fn run(mut self, common: &Common) -> Result<(), Failure> {
        let target = connect::target(&self.target)?.into_owned();
        if self.key.is_some() && !self.whole && self.is_from_stdin() {
            return Err(Failure::new(Exit::Usage, "--key is for one message: give a TEXT, or --whole"));
        }
        for (what, word) in [("--key", &self.key), ("--replace", &self.replace)] {
            let is_word = |word: &str| {
                (1..=snug_protocol::limits::LABEL).contains(&word.len())
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            };
            if word.as_ref().is_some_and(|word| !is_word(word)) {
                let text = format!("{what} takes 1 to 64 of A-Z, a-z, 0-9, . _ and -");
                return Err(Failure::new(Exit::Usage, text));
            }
        }
        if let Some(time) = self.at {
            smol::Timer::after(Duration::from_millis(time.millis())).await;
        }
        if let Some(folder) = &self.spool {
            return self.spooled(&Spool::open(folder)?, &target, common).await;
        }
        let part = if self.file.is_empty() { Part::Sender } else { Part::Carrier };
        let (client, events) = self.connect(common, part).await?;
        connect::tell_breaks(events);
        if !self.file.is_empty() {
            let ids = send_paths(&client, &target, &self.file, common).await?;
            if self.text.is_empty() {
                return Ok(());
            }
            self.re = ids.last().map(|id| Cursor::at(*id));
        }
        if !self.is_from_stdin() {
            let text = self.text.join(" ");
            return self.one(&client, &target, text, common).await;
        }
        let mut stdin = BufReader::new(smol::Unblock::new(io::stdin()));
        if io::stdin().is_terminal() {
            let _ = writeln!(io::stderr(), "snug: each line is a message to {target}; Ctrl-D ends");
        }
        if self.whole {
            let mut text = Vec::new();
            stdin.read_to_end(&mut text).await?;
            let text =
                String::from_utf8(text).map_err(|_| Failure::new(Exit::Usage, "stdin is not UTF-8"))?;
            let text = text.trim_end_matches(['\n', '\r']).replace("\r\n", "\n");
            return self.one(&client, &target, text, common).await;
        }
        self.lines(&client, &target, stdin, common).await
    }

    /// Connects, for as long as was asked for.
    async fn connect(&self, common: &Common, part: Part) -> Result<(Client, Events), Failure> {
        let begun = Instant::now();
        let patience = self.retry.map_or(Duration::ZERO, |retry| Duration::from_millis(retry.millis()));
        loop {
            match connect::connect(common, part.clone()).await {
                Err(failure) if failure.is_passing() && begun.elapsed() < patience => {
                    smol::Timer::after(RETRY.min(patience)).await;
                }
                done => return done,
            }
        }
    }

    /// Puts the message on the disk, and then sends all that is there.
    async fn spooled(&self, spool: &Spool, target: &Target<'static>, common: &Common) -> Result<(), Failure> {
        let text = if self.is_from_stdin() {
            let mut text = Vec::new();
            smol::Unblock::new(io::stdin()).read_to_end(&mut text).await?;
            let text =
                String::from_utf8(text).map_err(|_| Failure::new(Exit::Usage, "stdin is not UTF-8"))?;
            text.trim_end_matches(['\n', '\r']).replace("\r\n", "\n")
        } else {
            self.text.join(" ")
        };
        let commands: Vec<Command<'static>> = match self.is_from_stdin() && !self.whole {
            true => text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| self.command(target, line.to_owned()))
                .collect::<Result<_, _>>()?,
            false => vec![self.command(target, text)?],
        };
        for command in commands {
            spool.put(command)?;
        }
        let (client, events) = match connect::connect(common, Part::Sender).await {
            Ok(connected) => connected,
            Err(failure) if failure.is_passing() => {
                let kept = spool.count()?;
                let _ =
                    writeln!(io::stderr(), "snug: {failure}; {kept} kept in {}", spool.folder().display());
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        connect::tell_breaks(events);
        spool.send_all(&client, |id| report(id, common)).await
    }

    fn is_from_stdin(&self) -> bool {
        self.text.is_empty() || self.text == ["-"]
    }

    async fn one(
        &self,
        client: &Client,
        target: &Target<'static>,
        text: String,
        common: &Common,
    ) -> Result<(), Failure> {
        let command = self.command(target, text)?;
        report(client.ask(command).await?.id(), common)
    }

    /// Sends line after line without waiting, and prints the ids as they come.
    async fn lines(
        &self,
        client: &Client,
        target: &Target<'static>,
        mut stdin: BufReader<smol::Unblock<io::Stdin>>,
        common: &Common,
    ) -> Result<(), Failure> {
        let mut under_way: VecDeque<(usize, Pending)> = VecDeque::new();
        let mut accepted = Ranges::default();
        let mut failed = None;
        let mut number = 0;
        let mut line = Vec::new();
        let mut is_open = true;
        while is_open && failed.is_none() {
            // Whichever comes first: another line, or the oldest answer.
            let next = async {
                if under_way.len() >= WINDOW {
                    return futures_lite::future::pending().await;
                }
                Some(stdin.read_until(b'\n', &mut line).await)
            };
            let answered = async {
                match under_way.front() {
                    Some((_, pending)) => pending.ready().await,
                    None => futures_lite::future::pending().await,
                }
                None
            };
            let Some(read) = answered.or(next).await else {
                failed = settle(&mut under_way, &mut accepted, common).await?;
                continue;
            };
            // A last line without its end may have been read in pieces.
            is_open = read? > 0;
            if line.is_empty() {
                break;
            }
            number += 1;
            match self.message(target, &line) {
                Ok(None) => {}
                Ok(Some(command)) => under_way.push_back((number, client.begin(command).await)),
                Err(failure) => failed = Some((number, failure)),
            }
            line.clear();
        }
        // Lines behind a refused one may have been under way: what became of them is part of the answer.
        while !under_way.is_empty() {
            let next = settle(&mut under_way, &mut accepted, common).await?;
            failed = failed.or(next);
        }
        match failed {
            None => Ok(()),
            Some((number, failure)) => {
                Err(failure.at(&format!("line {number}")).and(&format!("accepted: {accepted}")))
            }
        }
    }

    /// The message of a line of stdin; a blank one has none.
    fn message(&self, target: &Target<'static>, line: &[u8]) -> Result<Option<Command<'static>>, Failure> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| Failure::new(Exit::Usage, "this is not UTF-8"))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        self.command(target, text.to_owned()).map(Some)
    }

    fn command(&self, target: &Target<'static>, text: String) -> Result<Command<'static>, Failure> {
        if text.is_empty() {
            return Err(Failure::new(Exit::Usage, "there is nothing to say: the text is empty"));
        }
        if let Some(c) = text.chars().find(|&c| c.is_control() && c != '\t' && c != '\n' || c == '\u{feff}') {
            let what =
                format!("the text holds the control character U+{:04X}, which no message can", u32::from(c));
            return Err(Failure::new(Exit::Usage, what));
        }
        let text = if self.code { format!("```\n{text}\n```") } else { text };
        let mut relayed = TagBuilder::default();
        relayed.value("title", self.title.as_deref());
        relayed.value("priority", self.priority.as_deref());
        relayed.value("label", Some(self.tag.join(",")).as_deref().filter(|tags| !tags.is_empty()));
        let tags = MessageTags {
            key: self.key.clone().map(Into::into),
            replace: self.replace.clone().map(Into::into),
            relayed: relayed.into_string().into(),
            verbatim: self.verbatim || self.code,
            re: self.re,
        };
        Ok(connect::message(target, text, tags))
    }
}

/// Waits for the oldest answer. Gives the line and what was wrong if it was refused.
async fn settle(
    under_way: &mut VecDeque<(usize, Pending)>,
    accepted: &mut Ranges,
    common: &Common,
) -> Result<Option<(usize, Failure)>, Failure> {
    let Some((number, pending)) = under_way.pop_front() else { return Ok(None) };
    match pending.answer().await {
        Ok(answer) => {
            accepted.add(number);
            report(answer.id(), common)?;
            Ok(None)
        }
        Err(error) => Ok(Some((number, error.into()))),
    }
}

/// Prints the id of a message that the server has. If nobody reads it, the messages are sent all the same.
fn report(id: Option<u64>, common: &Common) -> Result<(), Failure> {
    let Some(id) = id else { return Ok(()) };
    let line = if common.json { format!("{{\"type\":\"sent\",\"id\":{id}}}") } else { id.to_string() };
    match output::print(&line) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Line numbers, growing, as people write them: `1-3, 5`.
#[derive(Debug, Default)]
struct Ranges(Vec<(usize, usize)>);

impl Ranges {
    fn add(&mut self, number: usize) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.0.push((number, number)),
        }
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no line");
        }
        f.write_str(if self.0.len() == 1 && self.0[0].0 == self.0[0].1 { "line " } else { "lines " })?;
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_numbers_are_said_as_ranges() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.to_string(), "no line");
        ranges.add(1);
        assert_eq!(ranges.to_string(), "line 1");
        for number in [2, 3, 5, 8, 9] {
            ranges.add(number);
        }
        assert_eq!(ranges.to_string(), "lines 1-3, 5, 8-9");
    }
}
