//! `snug tail`: prints what is said, as it is said.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Map, Value};
use snug_client::Event;
use snug_protocol::{Body, EntryKind, Folded, ServerLine, Target, unescape_tag};

use crate::failure::{Exit, Failure};
use crate::place::{self, Part};
use crate::{Common, output};

/// Print what is said, as it is said
///
/// Comes back by itself when the connection is lost. With --json each line is an object with type, id, time, from,
/// to, text and tags; what is not there is left out.
#[derive(Args)]
pub(crate) struct Tail {
    /// Rooms to join, and people whose private messages to show [default: the lobby and all private messages]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Show also who comes, goes, changes name or is typing
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
        for word in &self.targets {
            match Target::parse(word) {
                Ok(Target::Room(room)) => {
                    names.push(room.fold());
                    rooms.push(room.into_owned());
                }
                Ok(Target::Nick(nick)) => names.push(nick.fold()),
                Err(error) => {
                    return Err(Failure::new(Exit::Usage, format!("{word:?} is no room or person: {error}")));
                }
            }
        }
        let wanted = Wanted { names, presence: self.presence };
        // The client is kept: without it the connection would end.
        let (_client, events) = place::connect(common, Part::Listener(rooms)).await?;
        let mut reason = "the connection is closed".to_owned();
        while let Ok(event) = events.recv().await {
            match event {
                Event::Line(received) => print(&received.line(), &wanted, common)?,
                Event::Connected { address, nick, .. } => {
                    tell(&format!("connected to {address} as {nick}"), common)
                }
                Event::Disconnected { reason: why } => {
                    tell(&format!("disconnected: {why}"), common);
                    reason = why;
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

fn print(line: &ServerLine<'_>, wanted: &Wanted, common: &Common) -> Result<(), Failure> {
    if let Body::Err { code, text, .. } = line.body {
        tell(&format!("{code}: {text}"), common);
        return Ok(());
    }
    if !wanted.has(line) {
        return Ok(());
    }
    let shown = if common.json { as_json(line).map(output::json) } else { as_text(line) };
    match shown {
        Some(shown) => Ok(output::print(&shown)?),
        None => Ok(()),
    }
}

impl Wanted {
    fn has(&self, line: &ServerLine<'_>) -> bool {
        let is_entry = matches!(line.body, Body::Entry { .. });
        if !is_entry && !self.presence {
            return false;
        }
        if self.names.is_empty() {
            return true;
        }
        let is_named = |name: &str| match Target::parse(name) {
            Ok(Target::Room(room)) => self.names.contains(&room.fold()),
            Ok(Target::Nick(nick)) => self.names.contains(&nick.fold()),
            Err(_) => false,
        };
        match &line.body {
            Body::Entry { kind: EntryKind::Priv, target, .. } => {
                is_named(target) || line.from.is_some_and(is_named)
            }
            Body::Entry { target, .. } | Body::Typing { target, .. } => is_named(target),
            Body::Join { room } | Body::Leave { room, .. } => is_named(room),
            // Whoever quits or changes name does so in all rooms.
            _ => true,
        }
    }
}

/// What a line says to a program. Nothing for a line that tells of nothing that happened.
fn as_json(line: &ServerLine<'_>) -> Option<Map<String, Value>> {
    let (kind, to, text): (&str, Option<&str>, Option<&str>) = match &line.body {
        Body::Entry { kind, target, text } => {
            let kind = match kind {
                EntryKind::Msg => "msg",
                EntryKind::Priv => "priv",
                EntryKind::Topic => "topic",
            };
            (kind, Some(target), text.as_deref())
        }
        Body::Join { room } => ("join", Some(room), None),
        Body::Leave { room, text } => ("leave", Some(room), text.as_deref()),
        Body::Quit { text } => ("quit", None, text.as_deref()),
        Body::Nick { nick } => ("nick", Some(nick), None),
        Body::Typing { target, switch } => ("typing", Some(target), Some(switch)),
        _ => return None,
    };
    let mut object = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    put("type", Some(kind.into()));
    put("id", line.id().map(Into::into));
    put("time", line.tags.get("time").map(Into::into));
    put("from", line.from.map(Into::into));
    put("to", to.map(Into::into));
    put("text", text.map(Into::into));
    let others = line.tags.iter().filter(|(name, _)| !matches!(*name, "id" | "time"));
    let tags: Map<String, Value> = others
        .map(|(name, value)| {
            (name.to_owned(), value.map_or(Value::Bool(true), |value| unescape_tag(value).into()))
        })
        .collect();
    put("tags", (!tags.is_empty()).then_some(Value::Object(tags)));
    Some(object)
}

/// What a line says to a person. Further lines of a text are indented.
fn as_text(line: &ServerLine<'_>) -> Option<String> {
    let time = line.time().map(|time| output::clock(time) + " ").unwrap_or_default();
    let from = output::visible(line.from.unwrap_or_default());
    let shown = |text: &Option<std::borrow::Cow<'_, str>>| {
        let lines: Vec<String> =
            text.as_deref().unwrap_or_default().split('\n').map(output::visible).collect();
        lines.join("\n    ")
    };
    let farewell = |text: &Option<std::borrow::Cow<'_, str>>| match text {
        Some(_) => format!(" ({})", shown(text)),
        None => String::new(),
    };
    let said = match &line.body {
        Body::Entry { kind: EntryKind::Msg, target, text } => {
            format!("{} <{from}> {}", name(target), shown(text))
        }
        Body::Entry { kind: EntryKind::Priv, target, text } => {
            format!("{from} -> {}: {}", name(target), shown(text))
        }
        Body::Entry { kind: EntryKind::Topic, target, text: None } => {
            format!("{} * {from} cleared the topic", name(target))
        }
        Body::Entry { kind: EntryKind::Topic, target, text } => {
            format!("{} * {from} set the topic: {}", name(target), shown(text))
        }
        Body::Join { room } => format!("{} * {from} came", name(room)),
        Body::Leave { room, text } => format!("{} * {from} left{}", name(room), farewell(text)),
        Body::Quit { text } => format!("* {from} quit{}", farewell(text)),
        Body::Nick { nick } => format!("* {from} is now {}", name(nick)),
        Body::Typing { target, switch: "on" } => format!("{} * {from} is typing", name(target)),
        Body::Typing { target, .. } => format!("{} * {from} is not typing any more", name(target)),
        _ => return None,
    };
    Some(time + &said)
}

fn name(name: &str) -> String {
    output::visible(name)
}

#[cfg(test)]
mod tests {
    use snug_protocol::{Nick, RoomName};

    use super::*;

    fn text(line: &str) -> Option<String> {
        let shown = as_text(&ServerLine::parse(line).expect("a line"));
        shown.map(|shown| shown.split_once(' ').expect("a time").1.to_owned())
    }

    const TAGS: &str = "@id=7;time=2026-11-21T10:15:07.020Z;bot;title=a\\sb";

    #[test]
    fn people_read_lines() {
        for (line, shown) in [
            (":alice MSG #lobby two\\nlines", "#lobby <alice> two\n    lines"),
            (":alice PRIV bob psst", "alice -> bob: psst"),
            (":alice TOPIC #lobby news", "#lobby * alice set the topic: news"),
            (":alice TOPIC #lobby", "#lobby * alice cleared the topic"),
            (":alice QUIT good night", "* alice quit (good night)"),
            (":alice MSG #lobby a\u{202e}b", "#lobby <alice> a<U+202E>b"),
        ] {
            assert_eq!(text(&format!("{TAGS} {line}")).as_deref(), Some(shown));
        }
    }

    #[test]
    fn programs_read_objects() {
        let line = format!("{TAGS} :alice MSG #lobby hi");
        let object = as_json(&ServerLine::parse(&line).expect("a line")).expect("an event");
        let expected = "{\"from\":\"alice\",\"id\":7,\"tags\":{\"bot\":true,\"title\":\"a b\"},\"text\":\"hi\",\
                        \"time\":\"2026-11-21T10:15:07.020Z\",\"to\":\"#lobby\",\"type\":\"msg\"}";
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(Value::Object(object), expected);
        let object = as_json(&ServerLine::parse(":alice QUIT").expect("a line")).expect("an event");
        assert_eq!(output::json(object), "{\"type\":\"quit\",\"from\":\"alice\"}");
    }

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
