//! `snug tail`: prints what is said, as it is said, or since some moment.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::Map;
use snug_client::Event;
use snug_protocol::{Body, EntryKind, Folded, ServerLine, Target};

use crate::connect::{self, Part};
use crate::cursor_file::CursorFile;
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::since::Since;
use crate::{output, show};

/// Print what is said, as it is said
///
/// Comes back by itself when the connection is lost, and goes on where it was. With --json each line is an object with
/// type, id, time, from, to, about, text and tags; what is not there is left out.
#[derive(Args)]
pub(crate) struct Tail {
    /// Rooms to join, and people whose private messages to show [default: the lobby and all private messages]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Begin after an entry (its id), some time ago (30m, 1h, 7d), or with a day (2026-11-01); and end with what there
    /// is, unless -f
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,

    /// Go on with what comes; without --since that is so anyhow
    #[arg(long, short)]
    follow: bool,

    /// Begin where FILE says, and keep it up to date: written after each line, when whoever reads it has taken it
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,

    /// Show also who comes, goes, changes name, is typing or has read
    #[arg(long)]
    presence: bool,
}

/// What is to be printed.
struct Wanted {
    /// Folded names of rooms and people; everything if empty.
    names: Vec<Folded>,
    presence: bool,
}

impl Tail {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut rooms = Vec::new();
        let mut names = Vec::new();
        let mut targets = Vec::new();
        for word in &self.targets {
            let target = connect::target(word)?;
            match &target {
                Target::Room(room) => {
                    names.push(room.fold());
                    rooms.push(room.clone().into_owned());
                }
                Target::Nick(nick) | Target::Person { nick, .. } => names.push(nick.fold()),
            }
            targets.push(target.into_owned());
        }
        let wanted = Wanted { names, presence: self.presence };
        let mut file = self.cursor.as_deref().map(CursorFile::open).transpose()?;
        let since = match (file.as_ref().and_then(CursorFile::read), self.since) {
            (Some(kept), _) => Some(kept),
            (None, Some(since)) => Some(since.cursor(common, &targets).await?),
            (None, None) => None,
        };
        let follows = self.follow || self.since.is_none();
        let reader = file.as_ref().map(|_| output::Reader::new());
        // The client is kept: without it the connection would end.
        let (_client, events) = connect::connect(common, Part::Listener { rooms, since, follows }).await?;
        let mut reason = "the connection is closed".to_owned();
        while let Ok(event) = events.recv().await {
            match event {
                Event::Line(received) => {
                    let is_printed = print(&received.line(), &wanted, common)?;
                    if let (true, Some(file), Some(reader)) = (is_printed, &mut file, &reader)
                        && let Some(cursor) = received.cursor()
                    {
                        reader.wait_until_taken()?;
                        file.write(cursor)?;
                    }
                }
                Event::Gap { target, from, to } => tell_gap(&target, &from, &to, common)?,
                Event::Live { cursor } => {
                    if let Some(file) = &mut file {
                        file.write(cursor)?;
                    }
                    if !follows {
                        return Ok(());
                    }
                }
                Event::Connected { address, nick, .. } => {
                    tell(&format!("connected to {address} as {nick}"), common)
                }
                Event::Disconnected { loss } => {
                    tell(&format!("disconnected: {loss}"), common);
                    reason = loss.to_string();
                }
                Event::GaveUp { error } => return Err(Failure::from(&*error)),
                _ => {}
            }
        }
        Err(Failure::new(Exit::TryAgain, reason))
    }
}

/// Says something about the connection on stderr.
fn tell(text: &str, common: &Common) {
    if !common.json {
        let _ = writeln!(io::stderr(), "snug: {}", output::visible(text));
    }
}

/// Says that something is missing: to a program as a line among the others, to a person on stderr.
pub(crate) fn tell_gap(target: &str, from: &str, to: &str, common: &Common) -> Result<(), Failure> {
    if !common.json {
        let text = match target {
            "*" => format!("gap: the log is another one than before; nothing connects {from} and {to}"),
            _ => format!("gap: what was said in {target} from entry {from} to {to} is not there any more"),
        };
        tell(&text, common);
        return Ok(());
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), "gap".into());
    object.insert("to".to_owned(), target.into());
    object.insert("first".to_owned(), from.into());
    object.insert("last".to_owned(), to.into());
    Ok(output::print(&output::json(object))?)
}

/// Prints a line if it is wanted, and says whether it was.
fn print(line: &ServerLine<'_>, wanted: &Wanted, common: &Common) -> Result<bool, Failure> {
    if let Body::Err { code, text, .. } = line.body {
        tell(&format!("{code}: {text}"), common);
        return Ok(false);
    }
    let is_notice = matches!(line.body, Body::Announce { .. } | Body::Shutdown { .. });
    if is_notice && !wanted.presence {
        // Everybody is to know it, whatever they asked for; a program that reads stdout is not in the way.
        tell(&show::said(line).unwrap_or_default(), common);
        return Ok(false);
    }
    if !wanted.has(line) {
        return Ok(false);
    }
    let shown = if common.json { show::as_json(line).map(output::json) } else { show::as_text(line) };
    if let Some(shown) = &shown {
        output::print(shown)?;
    }
    Ok(shown.is_some())
}

impl Wanted {
    fn has(&self, line: &ServerLine<'_>) -> bool {
        // One of a kind that is not known is an entry, too.
        let is_entry = matches!(line.body, Body::Entry { .. })
            || matches!(line.body, Body::Unknown { .. }) && line.id().is_some();
        if !is_entry && !self.presence {
            return false;
        }
        if self.names.is_empty() {
            return true;
        }
        let is_named = |name: &str| match Target::parse(name) {
            Ok(Target::Room(room)) => self.names.contains(&room.fold()),
            Ok(Target::Nick(nick) | Target::Person { nick, .. }) => self.names.contains(&nick.fold()),
            Err(_) => false,
        };
        match &line.body {
            Body::Unknown { rest: Some(rest), .. } => {
                is_named(rest.split(' ').next().unwrap_or_default()) || line.from.is_some_and(is_named)
            }
            Body::Entry { kind: EntryKind::Priv, target, .. } => {
                is_named(target) || line.from.is_some_and(is_named)
            }
            // What is about a private message is between the same two.
            Body::Entry { target, .. } | Body::Read { target, .. } if !target.starts_with('#') => {
                is_named(target) || line.from.is_some_and(is_named)
            }
            Body::Entry { target, .. } | Body::Typing { target, .. } | Body::Read { target, .. } => {
                is_named(target)
            }
            Body::Join { room } | Body::Leave { room, .. } => is_named(room),
            // Whoever quits or changes name does so in all rooms.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::{Nick, RoomName};

    use super::*;

    #[test]
    fn only_what_is_wanted_is_shown() {
        let names =
            vec![RoomName::parse("#ops").expect("a room").fold(), Nick::parse("bob").expect("a nick").fold()];
        let wanted = Wanted { names, presence: false };
        for (line, is_wanted) in [
            (":alice MSG #OPS hi", true),
            (":alice MSG #lobby hi", false),
            (":alice PRIV Bob hi", true),
            (":bob PRIV alice hi", true),
            (":carol PRIV alice hi", false),
            (":alice JOIN #ops", false),
        ] {
            assert_eq!(wanted.has(&ServerLine::parse(line).expect("a line")), is_wanted, "{line}");
        }
    }
}
