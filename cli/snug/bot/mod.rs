//! `snug bot`: run a program as a bot, begin a new one, test one of the box.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use smol::process::Command;
use snug_bots::{BotsConfig, transcript};
use snug_protocol::{Body, RoomName, ServerLine, limits};

use crate::connect;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::run::exit_code;

/// Bots of one's own
#[derive(Subcommand)]
pub(crate) enum Bot {
    /// Run a program as a bot: the protocol is on its stdin and stdout, as `[[bot]]` in the settings does it
    Run(Run),
    /// Write a bot that works, to begin with
    New(New),
    /// Play a transcript with a bot of the box, and say whether it keeps to it
    Test(Test),
}

#[derive(Args)]
pub(crate) struct Run {
    /// The bot's name
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// The rooms that it is in
    #[arg(value_name = "ROOM")]
    rooms: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Args)]
pub(crate) struct New {
    /// The bot's name; the file is called after it
    name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Sh)]
    lang: Language,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    Sh,
    Python,
    Rust,
}

#[derive(Args)]
pub(crate) struct Test {
    /// The transcripts
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Bot {
    /// Gives the exit code.
    pub(crate) async fn run(self, common: &Common) -> Result<u8, Failure> {
        match self {
            Bot::Run(run) => run.run(common).await,
            Bot::New(new) => new.run().map(|()| 0),
            Bot::Test(test) => test.run().map(|()| 0),
        }
    }
}

/// How many bytes may wait to be written before the program is read on.
const QUEUED: usize = 64 << 10;

/// How long it may take until the bot has its name and rooms.
const ENTRY: Duration = Duration::from_secs(30);

/// After so much silence something is sent, so that a sealed connection that only listens is kept.
const SILENCE: Duration = Duration::from_secs(45);

impl Run {
    async fn run(self, common: &Common) -> Result<u8, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        snug_protocol::Nick::parse(&self.name).map_err(|error| usage(format!("--as: {error}")))?;
        let mut link = connect::link(common).await?;
        let mut entry = format!("@quiet NICK {}\n", self.name);
        for room in &self.rooms {
            RoomName::parse(room).map_err(|error| usage(format!("{room:?} is no room: {error}")))?;
            entry.push_str(&format!("JOIN {room}\n"));
        }
        link.queue(entry.as_bytes());
        let lost = |error: io::Error| Failure::new(Exit::TryAgain, format!("the connection broke: {error}"));
        // It is logged in before the program is started; what it is told begins with that.
        let mut told: Vec<String> = Vec::new();
        let mut left = 1 + self.rooms.len();
        let enter = async {
            while left > 0 {
                while let Some(line) = link.take_line().map_err(lost)? {
                    match ServerLine::parse(&line).map(|line| line.body) {
                        Some(Body::Err { code, text, .. }) => {
                            return Err(Failure::from(snug_client::RequestError::Refused {
                                code: code.to_owned(),
                                text: text.to_owned(),
                                retry: None,
                                offset: None,
                            }));
                        }
                        Some(Body::Ok { .. }) => left -= 1,
                        _ => {}
                    }
                    told.push(line);
                }
                if left > 0 && !link.advance().await.map_err(lost)? {
                    return Err(Failure::new(Exit::TryAgain, "the server closed the connection"));
                }
            }
            Ok(())
        };
        let overdue = async {
            smol::Timer::after(ENTRY).await;
            Err(Failure::new(Exit::TryAgain, "the server does not answer"))
        };
        enter.or(overdue).await?;

        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("SNUG_NICK", &self.name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| usage(format!("cannot run {}: {error}", self.command[0])))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(Exit::Refused, "the program has no pipes"));
        };
        let mut lines = BufReader::new(stdout);
        let mut said = Vec::new();
        let mut is_talking = true;
        loop {
            for line in told.drain(..) {
                // A program that has closed its stdin may still have something to say.
                let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
            }
            let _ = stdin.flush().await;
            let may_say = is_talking && link.queued() < QUEUED;
            let read = async {
                if !may_say {
                    return futures_lite::future::pending().await;
                }
                let most = 2 * limits::LINE as u64;
                Input::Said((&mut lines).take(most).read_until(b'\n', &mut said).await)
            };
            let silence = async {
                smol::Timer::after(SILENCE).await;
                Input::Silence
            };
            let ended = async {
                if is_talking {
                    return futures_lite::future::pending().await;
                }
                Input::Ended(child.status().await)
            };
            let moved = async { Input::Moved(link.advance().await) };
            let happening = moved.or(read).or(silence).or(ended).await;
            match happening {
                Input::Moved(Ok(true)) => {
                    while let Some(line) = link.take_line().map_err(lost)? {
                        if let Some(pong) = pong(&line) {
                            link.queue(pong.as_bytes());
                        } else if is_for_program(&line, &self.name) {
                            told.push(line);
                        }
                    }
                }
                Input::Moved(Ok(false)) => {
                    let reason =
                        if link.reason().is_empty() { "it closed the connection" } else { link.reason() };
                    return Err(Failure::new(Exit::TryAgain, format!("the server: {reason}")));
                }
                Input::Moved(Err(error)) => return Err(lost(error)),
                Input::Silence => link.queue(b"PING\n"),
                Input::Said(count) => {
                    is_talking = count? > 0;
                    let text = String::from_utf8_lossy(&said).trim_end_matches(['\n', '\r']).to_owned();
                    if !text.is_empty() && !text.contains('\0') {
                        link.queue(format!("{text}\n").as_bytes());
                    }
                    said.clear();
                }
                Input::Ended(status) => {
                    let _ = link.finish_writing().await;
                    return Ok(exit_code(status?));
                }
            }
        }
    }
}

enum Input {
    Moved(io::Result<bool>),
    Said(io::Result<usize>),
    Ended(io::Result<std::process::ExitStatus>),
    Silence,
}

/// The answer to a PING of the server: the program need not know of it.
fn pong(line: &str) -> Option<String> {
    match ServerLine::parse(line)?.body {
        Body::Ping { label } => Some(format!("PONG {}\n", label.unwrap_or_default())),
        _ => None,
    }
}

/// Whether a line is for the program: not what bots say, nor itself, so that it talks to nobody in circles.
fn is_for_program(text: &str, own: &str) -> bool {
    let Some(line) = ServerLine::parse(text) else { return false };
    let is_event = line.from.is_some() && !line.tags.has("ref");
    let is_own = line.from == Some(own) && matches!(line.body, Body::Entry { .. });
    !(is_event && (line.tags.has("bot") || is_own)) && !matches!(line.body, Body::Ok { verb: "PING", .. })
}

impl New {
    fn run(self) -> Result<(), Failure> {
        let (name, text) = match self.lang {
            Language::Sh => (format!("{}.sh", self.name), include_str!("example.sh")),
            Language::Python => (format!("{}.py", self.name), include_str!("example.py")),
            Language::Rust => (format!("{}.rs", self.name), include_str!("example.rs")),
        };
        snug_protocol::FileName::parse(&name)
            .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no name of a file: {error}")))?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o777);
        let failed = |error: io::Error| Failure::new(Exit::Usage, format!("{name}: {error}"));
        let mut file = options.open(&name).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        output::print(&name)?;
        let how = match self.lang {
            Language::Rust => {
                format!("rustc {name} && snug bot run --as {} '#lobby' -- ./{}", self.name, self.name)
            }
            _ => format!("snug bot run --as {} '#lobby' -- ./{name}", self.name),
        };
        let _ = writeln!(io::stderr(), "snug: try it with: {how}");
        Ok(())
    }
}

impl Test {
    fn run(self) -> Result<(), Failure> {
        for path in &self.files {
            let failed = |what: &dyn std::fmt::Display| {
                Failure::new(Exit::Usage, format!("{}: {what}", path.display()))
            };
            let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
            let make = |name: &str, options: &str| -> Result<BotsConfig, String> {
                toml::from_str(&format!("[{name}]\n{options}")).map_err(|error| error.message().to_owned())
            };
            match transcript::play(&text, &make) {
                Ok(count) => output::print(&format!("{}: {count} lines as they should be", path.display()))?,
                Err(mismatch) => {
                    return Err(Failure::new(Exit::Refused, format!("{}: {mismatch}", path.display())));
                }
            }
        }
        Ok(())
    }
}
