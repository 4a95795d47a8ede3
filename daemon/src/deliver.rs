//! What happens when a draft is decided: the entry goes to everyone who may see it, then its sender is answered.
//!
//! Runs on the writer's thread, in log order, so that all outboxes have the entries of a conversation in the order
//! of their ids.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use snug_protocol::{Body, EntryKind, RoomName, ServerLine, TagBuilder, Timestamp};

use crate::core::{Core, Counters};
use crate::log::{Act, Draft, NewEntry, Outcome, Refusal};
use crate::peer::Peer;
use crate::registry::{Identity, Room, Topic};
use crate::session::Answer;
use crate::writer::Submission;

/// What is to be done when a draft is decided.
pub(crate) enum Reply {
    /// Deliver the entry and answer its sender.
    Entry { sender: Arc<Peer>, label: Option<String>, to: Recipients },
    /// Let the sender join the room that was made, and answer.
    Join { sender: Arc<Peer>, label: Option<String> },
    /// Nobody waits: the room has gone, or comes back.
    Retire { room: Arc<Room> },
}

/// Who may see an entry.
pub(crate) enum Recipients {
    /// Who hears the room.
    Room(Arc<Room>),
    /// The one it is addressed to, by the nick as it is shown, and its author.
    Person { identity: Arc<Identity>, nick: String, author: Arc<Identity> },
}

impl Recipients {
    /// The name on the line.
    fn name(&self) -> &str {
        match self {
            Recipients::Room(room) => &room.name,
            Recipients::Person { nick, .. } => nick,
        }
    }

    /// Calls `each` once for every session that may see the entry.
    fn for_each(&self, mut each: impl FnMut(&Arc<Peer>)) {
        match self {
            Recipients::Room(room) => room.audience.for_each(each),
            Recipients::Person { identity, author, .. } => {
                identity.audience.for_each(&mut each);
                if identity.number != author.number {
                    author.audience.for_each(each);
                }
            }
        }
    }
}

/// Does what a decided draft asks for.
pub(crate) fn deliver(core: &Arc<Core>, submission: Submission, outcome: Outcome) {
    let Submission { draft, size, reply } = submission;
    match reply {
        Reply::Entry { sender, label, to } => {
            let Act::Enter(entry) = &draft.act else { return };
            if let Outcome::Applied { id, time } = outcome {
                fan_out(core, &draft, entry, (id, time), &sender, &to);
            }
            sender.settle(size, &answer_to_entry(entry.kind, label, to.name(), outcome));
        }
        Reply::Join { sender, label } => {
            let answer = join(core, &draft, &sender, label, outcome);
            sender.settle(size, &answer);
        }
        Reply::Retire { room } => {
            if outcome != Outcome::Retired {
                core.registry.restore_room(&room);
            }
        }
    }
}

fn answer_to_entry(kind: EntryKind, label: Option<String>, name: &str, outcome: Outcome) -> Vec<u8> {
    let mut answer = Answer::new(kind.word(), label);
    let (id, time, dup) = match outcome {
        Outcome::Applied { id, time } => (id, time, false),
        Outcome::Duplicate { id, time } => (id, time, true),
        Outcome::Refused(Refusal { code, text }) => return answer.err(code, &text),
        Outcome::Room { .. } | Outcome::Retired | Outcome::Kept => return Vec::new(),
    };
    let mut tags = TagBuilder::default();
    tags.display("id", Some(id));
    tags.display("time", Some(time));
    tags.flag("dup", dup);
    answer.set_ok_tags(tags);
    answer.ok(Some(name))
}

/// Puts an entry, encoded once, into the outbox of every session that may see it, and into its sender's.
fn fan_out(
    core: &Core,
    draft: &Draft,
    entry: &NewEntry,
    (id, time): (u64, Timestamp),
    sender: &Arc<Peer>,
    to: &Recipients,
) {
    let mut tags = TagBuilder::default();
    tags.display("id", Some(id));
    tags.display("time", Some(time));
    tags.flag("bot", draft.author.bot);
    tags.display("re", entry.re);
    tags.raw(&entry.tags);
    let encode = |tags: &TagBuilder| {
        let text = entry.text.as_deref().map(Into::into);
        let body = Body::Entry { kind: entry.kind, target: to.name(), text };
        let mut line = Vec::new();
        ServerLine::new(body).with_tags(tags.tags()).with_from(&draft.author.nick).write(&mut line);
        line
    };
    let line = encode(&tags);
    // Only the sender's own sessions see the key.
    let own_line = entry.key.as_ref().map(|key| {
        let mut tags = tags.clone();
        tags.value("key", Some(key));
        encode(&tags)
    });

    let push = |peer: &Arc<Peer>| {
        let is_own = own_line.is_some() && peer.identity() == draft.author.number;
        peer.push(own_line.as_ref().filter(|_| is_own).unwrap_or(&line));
    };
    let mut deliveries = 0;
    let mut sender_hears = false;
    to.for_each(|peer| {
        deliveries += 1;
        sender_hears |= Arc::ptr_eq(peer, sender);
        push(peer);
    });
    if !sender_hears {
        deliveries += 1;
        push(sender);
    }
    Counters::add(&core.counters.deliveries, deliveries);
    Counters::add(&core.counters.entries, 1);

    if let Recipients::Room(room) = to {
        room.written.store(true, Relaxed);
        if entry.kind == EntryKind::Topic {
            let topic = entry.text.clone().map(|text| Topic {
                text,
                from: draft.author.nick.clone(),
                tags: tags.into_string(),
            });
            *room.topic.lock().unwrap_or_else(PoisonError::into_inner) = topic;
        }
    }
}

/// Brings the sender of a JOIN into the room that the log has made.
fn join(core: &Core, draft: &Draft, sender: &Arc<Peer>, label: Option<String>, outcome: Outcome) -> Vec<u8> {
    let answer = Answer::new("JOIN", label);
    let (number, generation, name) = match outcome {
        Outcome::Room { number, generation, name } => (number, generation, name),
        Outcome::Refused(Refusal { code, text }) => return answer.err(code, &text),
        Outcome::Applied { .. } | Outcome::Duplicate { .. } | Outcome::Retired | Outcome::Kept => {
            return Vec::new();
        }
    };
    let Act::MakeRoom { name: asked, .. } = &draft.act else { return Vec::new() };
    let room = RoomName::parse(&name).unwrap_or_else(|_| asked.clone());
    core.registry.open_room(number, generation, &room);
    let time = core.environment.clock.now();
    let joined = core.registry.join(sender, &room, time, &core.config().limits);
    if !matches!(joined, Ok(Some(_)))
        && let Some(room) = core.registry.abandon_room(&room)
    {
        core.retire(room);
    }
    match joined {
        Ok(Some(name)) => answer.ok(Some(&name)),
        Err(Refusal { code, text }) => answer.err(code, &text),
        // Whoever asked is gone.
        Ok(None) => Vec::new(),
    }
}
