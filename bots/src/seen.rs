//! `!seen bob`: when somebody last said something.

use snug_protocol::Nick;

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest};

bot_config! {
    /// The table `[bots.seen]`.
    SeenConfig, "seen" {}
}

/// Remembers who said something when. Not what.
#[derive(Debug)]
pub struct Seen {
    manifest: Manifest,
}

impl Default for Seen {
    fn default() -> Seen {
        let command = CommandSpec::parse("seen", "nick:user", "tells when somebody last said something")
            .expect("a description");
        Seen {
            manifest: Manifest {
                help: "remembers when people were here".to_owned(),
                commands: vec![command],
                listens: true,
            },
        }
    }
}

fn key(nick: &str) -> String {
    let fold = Nick::parse(nick).map(|nick| nick.fold().as_str().to_owned());
    format!("seen:{}", fold.unwrap_or_else(|_| nick.to_owned()))
}

impl Bot for Seen {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        match event {
            Event::Heard { from, .. } => note(from, context),
            Event::Called { args, from, .. } => {
                let wanted = args.get("nick").unwrap_or_default();
                let known = context.state.get(&key(wanted)).and_then(|kept| {
                    let (millis, rest) = kept.split_once(' ')?;
                    let (room, nick) = rest.split_once(' ')?;
                    Some((millis.parse::<i64>().ok()?, room.to_owned(), nick.to_owned()))
                });
                let answer = match known {
                    Some((then, room, nick)) => {
                        let ago = ago(context.now.timestamp_millis() - then);
                        format!("{nick} last said something in {room} {ago}")
                    }
                    None => format!("I have not heard {wanted} say anything"),
                };
                context.reply(answer);
                note(from, context);
            }
            _ => {}
        }
    }
}

/// Notes that somebody said something; what is said in private is nobody's business.
fn note(from: &str, context: &mut Context<'_>) {
    if let Some(crate::ReplyTarget::Room(room)) = context.place {
        let value = format!("{} {room} {from}", context.now.timestamp_millis());
        if !context.state.set(&key(from), value) {
            // There is no room: who was not here longest goes.
            let oldest = context
                .state
                .with_prefix("seen:")
                .min_by_key(|(_, value)| value.split(' ').next().map(str::len).zip(value.split(' ').next()))
                .map(|(name, _)| name.to_owned());
            if let Some(oldest) = oldest {
                context.state.remove(&oldest);
            }
        }
    }
}

fn ago(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
