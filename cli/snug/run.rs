//! `snug run`: runs a command and says in a room what became of it.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use snug_client::Client;
use snug_protocol::{Cursor, MessageTags, Target};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Run a command, and say when it starts, how it ends, how long it took, and its last lines
///
/// Its output comes through as it is, and its exit code is that of snug. Without a server it runs all the same.
#[derive(Args)]
pub(crate) struct Run {
    /// A room with its #, or a person
    target: String,

    /// Say something only if it fails
    #[arg(long, short)]
    quiet: bool,

    /// How many of its last lines to show
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    lines: usize,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The longest line that is shown, in characters, and the most bytes of them all.
const LINE: usize = 300;
const SHOWN: usize = 4_000;

/// The last lines of both outputs.
type Tail = Arc<Mutex<VecDeque<String>>>;

impl Run {
    /// Gives the command's exit code.
    pub(crate) async fn run(self, common: &Common) -> Result<u8, Failure> {
        let target = connect::target(&self.target)?.into_owned();
        // The command matters more than that somebody hears of it.
        let client = match connect::connect(common, Part::Carrier).await {
            Ok((client, events)) => {
                connect::tell_breaks(events);
                Some(client)
            }
            Err(failure) => {
                let _ = failure.report(common.json);
                None
            }
        };
        let shown = shown(&self.command);
        let mut started = None;
        if let Some(client) = client.as_ref().filter(|_| !self.quiet) {
            let text = format!("\u{25b6} {shown} started{}", on_host());
            started = said(client, &target, text, None, common).await;
        }
        let begun = Instant::now();
        let tail = Tail::default();
        let status = self.execute(&tail).await?;
        let took = begun.elapsed();
        let code = exit_code(status);
        if let Some(client) = client.as_ref().filter(|_| !self.quiet || code != 0) {
            let how = match code {
                0 => format!("\u{2714} {shown} is done"),
                code => format!("\u{2718} {shown} failed with {code}"),
            };
            let mut text = format!("{how} after {}{}", duration(took), on_host());
            for line in tail.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                if text.len() + line.len() < SHOWN {
                    text.push_str("\n    ");
                    text.push_str(line);
                }
            }
            said(client, &target, text, started, common).await;
        }
        Ok(code)
    }

    async fn execute(&self, tail: &Tail) -> Result<ExitStatus, Failure> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| Failure::new(Exit::Usage, "no command"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot run {program}: {error}")))?;
        let readers = [
            child.stdout.take().map(|pipe| pass_on(pipe, io::stdout(), self.lines, tail)),
            child.stderr.take().map(|pipe| pass_on(pipe, io::stderr(), self.lines, tail)),
        ];
        let pid = Pid::from_child(&child);
        // What would end snug is for the command; snug tells how it ended.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::from)?;
        let handle = signals.handle();
        let forwarder = std::thread::spawn(move || {
            for signal in signals.forever() {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = kill_process(pid, signal);
                }
            }
        });
        let status = smol::unblock(move || wait(child, readers)).await;
        handle.close();
        let _ = forwarder.join();
        Ok(status?)
    }
}

fn wait(mut child: Child, readers: [Option<JoinHandle<()>>; 2]) -> io::Result<ExitStatus> {
    let status = child.wait()?;
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    Ok(status)
}

/// Copies an output to one's own as it comes, and keeps its last lines.
fn pass_on(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    most: usize,
    tail: &Tail,
) -> JoinHandle<()> {
    let tail = Arc::clone(tail);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        // A line without an end is taken in pieces.
        while (&mut from).take(64 << 10).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            // Whoever does not read it any more does not stop the command.
            let _ = to.write_all(&line).and_then(|()| to.flush());
            let text: String =
                output::plain(String::from_utf8_lossy(&line).trim_end()).chars().take(LINE).collect();
            line.clear();
            if text.is_empty() || most == 0 {
                continue;
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == most {
                tail.pop_front();
            }
            tail.push_back(text);
        }
    })
}

/// Says something, and gives its id. That it could not be said is no reason to stop.
async fn said(
    client: &Client,
    target: &Target<'static>,
    text: String,
    re: Option<u64>,
    common: &Common,
) -> Option<u64> {
    let tags = MessageTags {
        verbatim: true,
        re: re.map(Cursor::at),
        relayed: "+auto=run".into(),
        ..MessageTags::default()
    };
    match client.ask(connect::message(target, text, tags)).await {
        Ok(answer) => answer.id(),
        Err(error) => {
            let _ = Failure::from(error).report(common.json);
            None
        }
    }
}

/// The exit code as a shell has it.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn shown(command: &[String]) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| match word.contains(|c: char| c.is_whitespace() || c == '\'') || word.is_empty() {
            true => format!("'{}'", word.replace('\'', "'\\''")),
            false => word.clone(),
        })
        .collect();
    output::plain(&words.join(" ")).chars().take(200).collect()
}

fn on_host() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() { String::new() } else { format!(" on {name}") }
}

fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_times_are_shown_as_people_write_them() {
        let command = ["sh", "-c", "echo it's", ""].map(str::to_owned);
        assert_eq!(shown(&command), "sh -c 'echo it'\\''s' ''");
        for (millis, text) in
            [(1_240, "1.2 s"), (42_000, "42 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
