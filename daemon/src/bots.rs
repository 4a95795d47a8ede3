//! Gives each bot a session and carries messages and actions between the two.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use snug_bots::{Action, Bot, Heard, Place};
use snug_protocol::{Body, Command, EntryKind, MessageTags, Nick, Request, RoomName, ServerLine};

use crate::local::LocalSession;

/// Lets a bot take part until its session ends.
pub(crate) async fn host(mut bot: Box<dyn Bot>, mut session: LocalSession) {
    let nick = bot.nick().to_owned();
    match take_part(&mut *bot, &mut session).await {
        Ok(()) => tracing::debug!(bot = %nick, "a bot's session is over"),
        Err(error) => tracing::warn!(bot = %nick, %error, "a bot's session broke"),
    }
}

async fn take_part(bot: &mut dyn Bot, session: &mut LocalSession) -> io::Result<()> {
    let nick = bot.nick().to_owned();
    session.say(&format!("@quiet NICK {nick}")).await?;
    for room in bot.rooms().to_vec() {
        session.say(&format!("JOIN {room}")).await?;
    }
    while let Some(line) = session.hear().await? {
        let Some(line) = ServerLine::parse(&line) else { continue };
        if let Body::Err { verb: verb @ ("NICK" | "JOIN"), code, text } = line.body {
            tracing::warn!(bot = %nick, verb, code, text, "a bot cannot come in as configured");
        }
        for request in answers(bot, &line) {
            session.request(&request).await?;
        }
    }
    Ok(())
}

/// What a bot does about a line.
fn answers(bot: &mut dyn Bot, line: &ServerLine<'_>) -> Vec<Request<'static>> {
    let ServerLine { from: Some(from), body: Body::Entry { kind, target, text: Some(text) }, .. } = line
    else {
        return Vec::new();
    };
    // Bots do not hear bots, least of all themselves.
    if line.tags.has("bot") {
        return Vec::new();
    }
    let place = match kind {
        EntryKind::Msg => Place::Room(target),
        EntryKind::Priv => Place::Private,
        EntryKind::Topic => return Vec::new(),
    };
    let heard = Heard { from, place, text };
    let Ok(actions) = catch_unwind(AssertUnwindSafe(|| bot.hear(&heard))) else {
        tracing::error!(bot = bot.nick(), "a bot panicked; what it heard goes without an answer");
        return Vec::new();
    };
    actions.into_iter().filter_map(|action| request(action, &heard)).collect()
}

fn request(action: Action, heard: &Heard<'_>) -> Option<Request<'static>> {
    let Action::Answer(text) = action;
    let tags = MessageTags { verbatim: true, ..MessageTags::default() };
    let command = match heard.place {
        Place::Room(room) => {
            Command::Msg { room: RoomName::parse(room).ok()?.into_owned(), text: text.into(), tags }
        }
        Place::Private => {
            Command::Priv { nick: Nick::parse(heard.from).ok()?.into_owned(), text: text.into(), tags }
        }
    };
    Some(Request { label: None, command })
}
