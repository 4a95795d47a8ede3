//! What is shown of events and rows: one line each, and further lines of a text indented.

use std::io;

use indicatif::HumanBytes;
use snug_client::{Entry, Kind, Place, Received, Typed};
use snug_protocol::{Nick, Presence, RoomName, Target, Timestamp};

use crate::output::{self, visible};
use crate::show;

/// The conversation as one that can be spoken in.
pub(super) fn target(place: &Place) -> Option<Target<'static>> {
    Some(match place {
        Place::Room(room) => Target::Room(RoomName::parse(room).ok()?.into_owned()),
        Place::Person(person) => {
            Target::Nick(Nick::parse(&person.nick).ok()?.into_owned()).with_who(person.who)
        }
    })
}

/// An event, as it is shown; `None` if it says nothing to a person.
pub(super) fn shown(typed: &Typed, received: &Received, numbers: bool) -> Option<String> {
    match typed {
        Typed::Entry(entry) => Some(entry_line(entry, received, numbers)),
        Typed::Typing { .. } | Typed::Read { .. } | Typed::Delivered { .. } => None,
        _ => show::said(&received.line()),
    }
}

/// Prints a row of an answer.
pub(super) fn row(typed: &Typed, received: &Received, numbers: bool) -> io::Result<()> {
    let text = match typed {
        Typed::Entry(entry) => entry_line(entry, received, numbers),
        Typed::Gap { from, to, .. } => format!("* messages from {from} to {to} are not kept any more"),
        Typed::Present { who, presence, text } => {
            let mut said = vec![visible(&who.nick)];
            said.extend(who.display.as_deref().map(visible));
            let how = match presence {
                None => Some("not here"),
                Some(Presence::Online) => None,
                Some(other) => Some(other.word()),
            };
            said.extend(how.map(str::to_owned));
            said.extend(text.as_deref().map(visible));
            said.extend(who.bot.then(|| "bot".to_owned()));
            said.extend(who.role.map(|role| role.word().to_owned()));
            said.join(", ")
        }
        Typed::Conversation(row) => {
            let mentions = match row.mentions {
                0 => String::new(),
                count => format!(", {count} for you"),
            };
            format!("{}: {} unread{mentions}", visible(row.name()), row.unread)
        }
        Typed::Invitation { room, by, .. } => {
            format!("{} invites you to {}: /join {}", visible(by), visible(room), visible(room))
        }
        Typed::ProfilePart { name, value: Some(value), .. } => {
            format!("{}: {}", visible(name), visible(value))
        }
        _ => return plain_row(received),
    };
    output::print(&text)
}

/// Rows of ROOMS, SET, ROLE, FILE LIST and others: their words.
fn plain_row(received: &Received) -> io::Result<()> {
    use snug_protocol::Body;
    let line = received.line();
    let text = match &line.body {
        Body::Room { room, members, topic } => {
            let topic = topic.as_deref().map(|topic| format!(": {topic}")).unwrap_or_default();
            format!("{room}, {members} here{topic}")
        }
        Body::Set { item, .. } => (*item).to_owned(),
        Body::Role { nick, role, .. } => format!("{nick}: {role}"),
        _ => received.as_str().to_owned(),
    };
    output::print(&visible(&text))
}

fn entry_line(entry: &Entry, received: &Received, numbers: bool) -> String {
    let time = entry.time.map(clock).unwrap_or_default();
    let number = if numbers { format!(" #{}", entry.place.id) } else { String::new() };
    let line = received.line();
    if let Kind::File { name: Some(name), size, .. } = &entry.kind {
        let (from, name) = (visible(&entry.from.nick), visible(name));
        let (place, size, id) = (heading(&entry.conversation), HumanBytes(*size), entry.place.id);
        return format!("{time}{place} * {from} sends {name} ({size}): /accept {id}, or /decline {id}");
    }
    let Kind::Message { text } = &entry.kind else {
        let said = show::said(&line).unwrap_or_default();
        return format!("{time}{said}{number}");
    };
    let from = visible(&entry.from.nick);
    let who = match (&entry.conversation, entry.own) {
        (Place::Room(_), _) => from.clone(),
        (Place::Person(other), true) => format!("(to {})", visible(&other.nick)),
        (Place::Person(_), false) => format!("(from {from})"),
    };
    let is_action = entry.tags.iter().any(|(name, _)| name == "+action");
    let colon = if matches!(entry.conversation, Place::Room(_)) && !is_action { ":" } else { "" };
    let star = if is_action { "* " } else { "" };
    let lines: Vec<String> = text.as_deref().unwrap_or_default().split('\n').map(visible).collect();
    let fate = show::fate(&line);
    let answers = entry.re.map(|re| format!(" (answers {re})")).unwrap_or_default();
    format!(
        "{time}{} {star}{who}{colon} {}{fate}{answers}{number}",
        heading(&entry.conversation),
        lines.join("\n    ")
    )
}

fn clock(time: Timestamp) -> String {
    format!("{} ", output::clock(time))
}

/// What a place is called on a line.
fn heading(place: &Place) -> String {
    match place {
        Place::Room(room) => visible(room),
        Place::Person(_) => "(private)".to_owned(),
    }
}
