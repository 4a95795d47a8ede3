//! A line of the daemon, for a person and for a program.

use std::borrow::Cow;

use indicatif::HumanBytes;
use serde_json::{Map, Value};
use snug_protocol::{Body, EntryKind, FileState, ServerLine, unescape_tag};

use crate::output;

/// What a line says to a program. Nothing for a line that tells of nothing that happened.
pub(crate) fn as_json(line: &ServerLine<'_>) -> Option<Map<String, Value>> {
    let mut about = None;
    let (kind, to, text): (&str, Option<&str>, Option<&str>) = match &line.body {
        Body::Entry { kind, target, about: id, text } => {
            about = *id;
            let kind = match kind {
                EntryKind::Msg => "msg",
                EntryKind::Priv => "priv",
                EntryKind::Topic => "topic",
                EntryKind::Edit => "edit",
                EntryKind::Delete => "delete",
                EntryKind::React => "react",
                EntryKind::Unreact => "unreact",
                EntryKind::Invite => "invite",
                EntryKind::Kick => "kick",
                EntryKind::Ban => "ban",
                EntryKind::Unban => "unban",
                EntryKind::Mute => "mute",
                EntryKind::Role => "role",
                EntryKind::Set => "set",
                EntryKind::File => "file",
            };
            (kind, Some(target), text.as_deref())
        }
        Body::Join { room } => ("join", Some(room), None),
        Body::Leave { room, text } => ("leave", Some(room), text.as_deref()),
        Body::Close { room, text } => ("close", Some(room), text.as_deref()),
        Body::Quit { text } => ("quit", None, text.as_deref()),
        Body::Nick { nick } => ("nick", Some(nick), None),
        Body::Status { status, .. } => ("status", None, Some(status)),
        Body::Profile { nick, item } if line.from.is_some() => ("profile", Some(nick), Some(item)),
        Body::Announce { text } => ("announce", None, Some(text)),
        Body::Shutdown { seconds, .. } => ("shutdown", None, Some(seconds)),
        Body::Typing { target, switch } => ("typing", Some(target), Some(switch)),
        Body::Read { target, id } => {
            about = id.parse().ok();
            ("read", Some(target), None)
        }
        Body::Delivered { target, id } => {
            about = id.parse().ok();
            ("delivered", Some(target), None)
        }
        Body::FileTaken { what, target, id } => {
            about = id.parse().ok();
            ("file-taken", Some(target), Some(what.word()))
        }
        // An entry of a newer daemon is handed on as it came.
        Body::Unknown { verb, rest } if line.from.is_some() && line.id().is_some() => {
            let target = rest.and_then(|rest| rest.split(' ').next());
            ("unknown", target, Some(verb))
        }
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
    put("about", about.map(Into::into));
    put("text", text.map(Into::into));
    let others = line.tags.iter().filter(|(name, _)| !matches!(*name, "id" | "time" | "ref"));
    let tags: Map<String, Value> = others
        .map(|(name, value)| {
            (name.to_owned(), value.map_or(Value::Bool(true), |value| unescape_tag(value).into()))
        })
        .collect();
    if let Body::Unknown { .. } = line.body {
        let mut written = Vec::new();
        line.write(&mut written);
        let written = String::from_utf8_lossy(&written).trim_end_matches('\n').to_owned();
        put("line", Some(written.into()));
    }
    put("tags", (!tags.is_empty()).then_some(Value::Object(tags)));
    Some(object)
}

/// What a line says to a person. Further lines of a text are indented.
pub(crate) fn as_text(line: &ServerLine<'_>) -> Option<String> {
    let time = line.time().map(|time| output::moment(time) + " ").unwrap_or_default();
    Some(time + &said(line)?)
}

/// The same without the time.
pub(crate) fn said(line: &ServerLine<'_>) -> Option<String> {
    let from = output::visible(line.from.unwrap_or_default());
    let shown = |text: &Option<Cow<'_, str>>| {
        let lines: Vec<String> =
            text.as_deref().unwrap_or_default().split('\n').map(output::visible).collect();
        lines.join("\n    ")
    };
    let farewell = |text: &Option<Cow<'_, str>>| match text {
        Some(_) => format!(" ({})", shown(text)),
        None => String::new(),
    };
    Some(match &line.body {
        Body::Unknown { verb, rest } if line.from.is_some() && line.id().is_some() => {
            let target = rest.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            format!("{} * {from}: {} (this snug is too old to show it)", name(target), output::visible(verb))
        }
        Body::Entry { kind: EntryKind::Msg, target, text, .. } => {
            format!("{} <{from}> {}{}{}", name(target), heading(line), shown(text), fate(line))
        }
        Body::Entry { kind: EntryKind::Priv, target, text, .. } => {
            format!("{from} -> {}: {}{}{}", name(target), heading(line), shown(text), fate(line))
        }
        Body::Entry { kind: EntryKind::Topic, target, text: None, .. } => {
            format!("{} * {from} cleared the topic", name(target))
        }
        Body::Entry { kind: EntryKind::Topic, target, text, .. } => {
            format!("{} * {from} set the topic: {}", name(target), shown(text))
        }
        Body::Entry { kind: EntryKind::File, target, text: None, .. } => {
            format!("{} * {from} has taken a file back", name(target))
        }
        Body::Entry { kind: EntryKind::File, target, text, .. } => {
            let size = line.tags.get("size").and_then(|size| size.parse().ok());
            let size = size.map(|size| format!(" ({})", HumanBytes(size))).unwrap_or_default();
            let id = line.id().unwrap_or_default();
            format!("{} * {from} sends {}{size}: snug file get {id}", name(target), shown(text))
        }
        Body::Entry { kind, target, about, text } => {
            let about = about.unwrap_or_default();
            let what = match kind {
                EntryKind::Delete => format!("deleted {about}"),
                EntryKind::React => format!("reacted to {about} with {}", shown(text)),
                EntryKind::Unreact => format!("took {} back from {about}", shown(text)),
                EntryKind::Invite => format!("invited {}", shown(text)),
                EntryKind::Kick => format!("put out {}", shown(text)),
                EntryKind::Ban => format!("banned {}", shown(text)),
                EntryKind::Unban => format!("lets {} in again", shown(text)),
                EntryKind::Mute => format!("muted {}", shown(text)),
                EntryKind::Role => format!("made {}", shown(text)),
                EntryKind::Set => format!("set {}", shown(text)),
                _ => format!("edited {about}: {}", shown(text)),
            };
            format!("{} * {from} {what}", name(target))
        }
        Body::Join { room } => format!("{} * {from} came", name(room)),
        Body::Leave { room, text } => format!("{} * {from} left{}", name(room), farewell(text)),
        Body::Close { room, text } => format!("{} * {from} closed the room{}", name(room), farewell(text)),
        Body::Quit { text } => format!("* {from} quit{}", farewell(text)),
        Body::Nick { nick } => format!("* {from} is now {}", name(nick)),
        Body::Status { status, text } => format!("* {from} is {}{}", name(status), farewell(text)),
        Body::Profile { .. } if line.from.is_some() => format!("* {from} has changed their profile"),
        Body::Announce { text } => {
            let text = Some(Cow::Borrowed(&**text));
            format!("*** {from}, to everybody: {}", shown(&text))
        }
        Body::Shutdown { seconds: "off", .. } => format!("*** {from} has called the shutdown off"),
        Body::Shutdown { seconds, text } => {
            format!("*** {from} stops the server in {} s{}", name(seconds), farewell(text))
        }
        Body::Typing { target, switch: "on" } => format!("{} * {from} is typing", name(target)),
        Body::Typing { target, .. } => format!("{} * {from} is not typing any more", name(target)),
        Body::Read { target, id } => format!("{} * {from} has read up to {id}", name(target)),
        Body::FileTaken { what, id, .. } => match what {
            FileState::Accepted => format!("* {from} takes file {}", name(id)),
            FileState::Declined => format!("* {from} does not want file {}", name(id)),
            FileState::Done => format!("* {from} has file {}", name(id)),
        },
        Body::Delivered { target, id } => format!("{from} -> {}: delivered up to {id}", name(target)),
        _ => return None,
    })
}

/// What stands before a message: how important it is, and its title.
fn heading(line: &ServerLine<'_>) -> String {
    let priority = match line.tags.get("priority").as_deref() {
        Some("urgent") => "!!! ",
        Some("high") => "! ",
        _ => "",
    };
    match line.tags.get("title") {
        Some(title) if !line.tags.has("deleted") => format!("{priority}[{}] ", output::visible(&title)),
        _ => priority.to_owned(),
    }
}

/// What became of a message since.
pub(crate) fn fate(line: &ServerLine<'_>) -> String {
    if line.tags.has("deleted") {
        return "(deleted)".to_owned();
    }
    let mut fate = String::new();
    if line.tags.has("edited") {
        fate.push_str(" (edited)");
    }
    if let Some(reactions) = line.tags.get("reactions") {
        fate.push_str(&format!(
            " [{}]",
            output::visible(&reactions.replace(',', " ").replace('=', "\u{d7}"))
        ));
    }
    fate
}

fn name(name: &str) -> String {
    output::visible(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Option<String> {
        said(&ServerLine::parse(line).expect("a line"))
    }

    const TAGS: &str = "@id=7;time=2026-11-21T10:15:07.020Z;bot;title=a\\sb";

    #[test]
    fn people_read_lines() {
        for (line, shown) in [
            (":alice MSG #lobby two\\nlines", "#lobby <alice> [a b] two\n    lines"),
            (":alice PRIV bob psst", "alice -> bob: [a b] psst"),
            (":alice TOPIC #lobby news", "#lobby * alice set the topic: news"),
            (":alice TOPIC #lobby", "#lobby * alice cleared the topic"),
            (":alice QUIT good night", "* alice quit (good night)"),
            (":alice EDIT #lobby 7 better", "#lobby * alice edited 7: better"),
            (":alice DELETE #lobby 7", "#lobby * alice deleted 7"),
            (":alice REACT #lobby 7 \u{1f44d}", "#lobby * alice reacted to 7 with \u{1f44d}"),
            (":alice MSG #lobby a\u{202e}b", "#lobby <alice> [a b] a<U+202E>b"),
        ] {
            assert_eq!(text(&format!("{TAGS} {line}")).as_deref(), Some(shown));
        }
    }

    #[test]
    fn what_became_of_a_message_is_told() {
        let fate = |tags: &str| {
            let line = format!("@{tags} :alice MSG #lobby hi");
            said(&ServerLine::parse(&line).expect("a line")).expect("a message")
        };
        assert_eq!(
            fate("edited=9;reactions=+1=2,\u{1f389}=1"),
            "#lobby <alice> hi (edited) [+1\u{d7}2 \u{1f389}\u{d7}1]"
        );
        let gone = ServerLine::parse("@deleted=9 :alice MSG #lobby").expect("a line");
        assert_eq!(said(&gone).as_deref(), Some("#lobby <alice> (deleted)"));
    }

    #[test]
    fn programs_read_objects() {
        let line = format!("{TAGS} :alice MSG #lobby hi");
        let object = as_json(&ServerLine::parse(&line).expect("a line")).expect("an event");
        let expected = "{\"from\":\"alice\",\"id\":7,\"tags\":{\"bot\":true,\"title\":\"a b\"},\"text\":\"hi\",\
                        \"time\":\"2026-11-21T10:15:07.020Z\",\"to\":\"#lobby\",\"type\":\"msg\"}";
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(Value::Object(object), expected);
        let line = "@id=7;epoch=3 :alice CIPHER #lobby AAAA==";
        let newer = ServerLine::parse(line).expect("a line");
        let object = as_json(&newer).expect("an entry of a kind that is not known");
        assert_eq!(
            (&object["type"], &object["to"], &object["line"]),
            (&"unknown".into(), &"#lobby".into(), &line.into())
        );
        assert_eq!(said(&newer).as_deref(), Some("#lobby * alice: CIPHER (this snug is too old to show it)"));
        let object = as_json(&ServerLine::parse(":alice QUIT").expect("a line")).expect("an event");
        assert_eq!(output::json(object), "{\"type\":\"quit\",\"from\":\"alice\"}");
    }
}
