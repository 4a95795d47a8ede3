//! Gives each bot a session and carries messages and actions between the two.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use smol::Timer;
use snug_bots::{Action, Bot, Heard, Place};
use snug_protocol::{Body, Command, EntryKind, MessageTags, Nick, Request, RoomName, ServerLine};

use crate::local::LocalSession;
use crate::runtime::Runtime;
use crate::session::Origin;

/// How many answers of a bot may wait to be said. What comes on top is dropped: it is asked more than it can say.
const ANSWERS: usize = 64;

/// How long a bot waits before it comes back.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets a bot take part as long as the daemon runs.
pub(crate) async fn host(runtime: Arc<Runtime>, mut bot: Box<dyn Bot>) {
    loop {
        let session = LocalSession::open(&runtime, Origin::Bot);
        match take_part(&mut *bot, session).await {
            Ok(()) => tracing::warn!(bot = bot.nick(), "a bot's session is over; it comes back"),
            Err(error) => tracing::warn!(bot = bot.nick(), %error, "a bot's session broke; it comes back"),
        }
        Timer::after(PAUSE).await;
    }
}

/// Hears and answers until the session ends. Two halves, so that a bot that may not speak now still hears.
async fn take_part(bot: &mut dyn Bot, mut session: LocalSession) -> io::Result<()> {
    session.say(&format!("@quiet NICK {}", bot.nick())).await?;
    for room in bot.rooms().to_vec() {
        session.say(&format!("JOIN {room}")).await?;
    }
    let (mut hearer, mut sayer) = session.split();
    let (answers, waiting) = async_channel::bounded(ANSWERS);
    let hear = async {
        while let Some(line) = hearer.hear().await? {
            let Some(line) = ServerLine::parse(&line) else { continue };
            if let Body::Err { verb: verb @ ("NICK" | "JOIN"), code, text } = line.body {
                tracing::warn!(bot = bot.nick(), verb, code, text, "a bot cannot come in as configured");
            }
            for request in answers_to(bot, &line) {
                if answers.try_send(request).is_err() {
                    tracing::debug!(bot = bot.nick(), "a bot is asked more than it can say");
                }
            }
        }
        Ok(())
    };
    let say = async {
        while let Ok(request) = waiting.recv().await {
            sayer.request(&request).await?;
        }
        Ok(())
    };
    futures_lite::future::or(hear, say).await
}

/// What a bot does about a line.
fn answers_to(bot: &mut dyn Bot, line: &ServerLine<'_>) -> Vec<Request<'static>> {
    let ServerLine { from: Some(from), body: Body::Entry { kind, target, text: Some(text), .. }, .. } = line
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
        _ => return Vec::new(),
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
