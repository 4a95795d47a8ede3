//! `snug file`: sends files, fetches them, and tells what there is.

mod archive;
mod get;
mod send;
pub(crate) use send::send_paths;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use snug_protocol::{Body, Command, Cursor, EntryKind, FileCommand, FileRef, ServerLine, Target};

use crate::account::client;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::{connect, output};

/// Send files to a room or a person, and fetch them
#[derive(Subcommand)]
pub(crate) enum File {
    /// Send files or folders; prints the id of each, under which it is fetched
    Send(send::Send),
    /// Fetch a file; goes on where an earlier try broke off
    Get(get::Get),
    /// Tell the sender that one takes a file; `get` does so too
    Accept(OfFile),
    /// Tell the sender that one does not want a file
    Decline(OfFile),
    /// Take a file back, or give an upload up
    Cancel(Cancel),
    /// List the files that are kept and one may fetch, the newest last, and one's uploads under way
    List(List),
    /// List who has said what about a file of one's own
    State(OfFile),
}

/// Fetches a file into the current folder.
pub(crate) async fn fetch(id: Cursor, common: &Common) -> Result<(), Failure> {
    get::Get::here(id).run(common).await
}

#[derive(Args)]
pub(crate) struct OfFile {
    /// The file's id
    id: Cursor,
}

#[derive(Args)]
pub(crate) struct Cancel {
    /// The file's id, or the handle of an upload (u17)
    #[arg(value_name = "ID|HANDLE")]
    of: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// A room with its #, or a person [default: everywhere]
    target: Option<String>,

    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
}

impl File {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            File::Send(send) => send.run(common).await,
            File::Get(get) => get.run(common).await,
            File::Accept(OfFile { id }) => say(FileCommand::Accept { id }, common).await,
            File::Decline(OfFile { id }) => say(FileCommand::Decline { id }, common).await,
            File::Cancel(cancel) => {
                let of = match (cancel.of.parse(), cancel.of.parse()) {
                    (Ok(handle), _) => FileRef::Upload(handle),
                    (_, Ok(id)) => FileRef::Entry(id),
                    _ => {
                        let text = format!("{:?} is neither a file's id nor an upload's handle", cancel.of);
                        return Err(Failure::new(Exit::Usage, text));
                    }
                };
                say(FileCommand::Cancel { of }, common).await
            }
            File::List(list) => list.run(common).await,
            File::State(OfFile { id }) => state(id, common).await,
        }
    }
}

async fn say(command: FileCommand<'_>, common: &Common) -> Result<(), Failure> {
    client(common).await?.ask(Command::File(command)).await?;
    Ok(())
}

impl List {
    async fn run(self, common: &Common) -> Result<(), Failure> {
        let of = self.target.as_deref().map(connect::target).transpose()?.map(Target::into_owned);
        let client = client(common).await?;
        let mut rows = Vec::new();
        let mut before = None;
        let mut left = self.limit;
        while left > 0 {
            let command = FileCommand::List { of: of.clone(), before, limit: Some(left.min(1_000)) };
            let answer = client.ask(Command::File(command)).await?;
            let ends = matches!(answer.ok.line().body, Body::Ok { params: Some(params), .. } if params.ends_with("end"));
            let files = answer.rows.iter().filter(|row| row.line().id().is_some());
            let count = files.clone().count() as u64;
            before = files.clone().next_back().and_then(|row| row.line().id()).map(Cursor::at);
            left = left.saturating_sub(count);
            let is_first = rows.is_empty();
            rows.extend(answer.rows.into_iter().filter(|row| is_first || row.line().id().is_some()));
            if ends || count == 0 {
                break;
            }
        }
        for row in rows.iter().rev() {
            list_row(&row.line(), common.json)?;
        }
        Ok(())
    }
}

fn list_row(line: &ServerLine<'_>, json: bool) -> io::Result<()> {
    let tag = |name: &str| line.tags.get(name).unwrap_or_default().into_owned();
    let (size, kind, state) = (tag("size"), tag("type"), tag("state"));
    let shown_size = size.parse().map(|size| HumanBytes(size).to_string()).unwrap_or_default();
    match &line.body {
        Body::Entry { kind: EntryKind::File, target, text, .. } => {
            let (id, name) = (tag("id"), text.as_deref().unwrap_or_default());
            let from = line.from.unwrap_or_default();
            let taken: Vec<String> = ["accepted", "declined", "done"]
                .iter()
                .filter_map(|word| line.tags.get(word).map(|count| format!("{word} {count}")))
                .collect();
            let fate = if taken.is_empty() { state.clone() } else { taken.join(", ") };
            let time = output::moment_of(&tag("time"));
            let shown = format!("{id:>6} {time} {from} -> {target}: {name} ({shown_size}) {fate}");
            let fields = [
                ("type", "file"),
                ("id", &id),
                ("time", &tag("time")),
                ("from", from),
                ("to", target),
                ("name", name),
                ("size", &size),
                ("sha256", &tag("sha256")),
                ("media", &kind),
                ("state", &fate),
            ];
            output::row(json, &fields, shown.trim_end())
        }
        Body::FileUpload { handle, target, name } => {
            let of = if shown_size.is_empty() { String::new() } else { format!(" ({shown_size})") };
            let shown = format!("{handle:>6} on its way -> {target}: {name}{of}");
            let fields =
                [("type", "upload"), ("handle", handle), ("to", target), ("name", name), ("size", &size)];
            output::row(json, &fields, &shown)
        }
        _ => Ok(()),
    }
}

async fn state(id: Cursor, common: &Common) -> Result<(), Failure> {
    let answer = client(common).await?.ask(Command::File(FileCommand::State { id })).await?;
    for row in &answer.rows {
        let line = row.line();
        let Body::FileState { nick, state, time, .. } = line.body else { continue };
        let shown = format!("{} {nick} {}", output::moment_of(time), state.word());
        output::row(common.json, &[("nick", nick), ("state", state.word()), ("time", time)], &shown)?;
    }
    Ok(())
}

/// How far a transfer is: a bar on a terminal, events for a program, and nothing else.
struct Progress {
    bar: ProgressBar,
    json: bool,
    name: String,
    size: Option<u64>,
    told: Instant,
}

/// How often a program hears how far it is.
const EVERY: Duration = Duration::from_secs(1);

impl Progress {
    fn new(name: &str, size: Option<u64>, common: &Common) -> Progress {
        let (name, json) = (output::visible(name), common.json);
        let is_drawn = !json && !common.is_chat && io::stderr().is_terminal();
        let target = if is_drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(size, target);
        let style = match size {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{msg} {spinner} {bytes} {bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(name.clone());
        Progress { bar, json, name, size, told: Instant::now() }
    }

    /// Shows that so many bytes are done.
    fn set(&mut self, done: u64) {
        if done > 0 && self.bar.position() == 0 {
            // What was there before is no speed.
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        self.bar.set_position(done);
        if self.json && self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            let mut event = serde_json::Map::new();
            event.insert("type".to_owned(), "progress".into());
            event.insert("name".to_owned(), self.name.as_str().into());
            event.insert("done".to_owned(), done.into());
            if let Some(size) = self.size {
                event.insert("size".to_owned(), size.into());
            }
            // Whoever does not listen is not told.
            let _ = output::print(&output::json(event));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
