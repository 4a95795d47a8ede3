//! What a decided draft brings about: the entry reaches everyone who may see it, and its sender is answered.
//!
//! Runs on the writer's thread, in log order, so that all outboxes have the entries of a conversation in the order
//! of their ids.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use snug_protocol::{Body, EntryKind, RoomName, ServerLine, TagBuilder};

use crate::core::{Core, Counters};
use crate::log::{Act, Draft, Entry, NewEntry, Outcome, Refusal, Store, Topic};
use crate::peer::Peer;
use crate::reads::{self, Look, Search};
use crate::registry::{Identity, Room};
use crate::session::{Answer, room_tags, settings};
use crate::writer::Submission;

/// What is to be done when a draft is decided.
pub(crate) enum Reply {
    /// Deliver the entry and answer its sender.
    Entry { sender: Arc<Peer>, label: Option<String>, to: Recipients },
    /// Let the sender join the room that was made, and answer.
    Join { sender: Arc<Peer>, label: Option<String> },
    /// Nobody waits: the room has gone, or comes back.
    Retire { room: Arc<Room> },
    /// Answer with the room's settings.
    Set { sender: Arc<Peer>, label: Option<String>, room: Arc<Room> },
    /// Tell the author's other sessions of the marker, and the other one of a pair if it is meant to know.
    Read { sender: Arc<Peer>, label: Option<String>, me: Arc<Identity>, target: String },
    /// Tell those whose messages have arrived.
    Acknowledge { sender: Arc<Peer>, label: Option<String> },
    /// Nobody waits: conversations have shrunk.
    Purge,
    /// It is the turn of something to be read.
    Look(Look),
    /// It is the turn of something to be searched for.
    Search(Search),
    /// Nobody waits.
    Nobody,
}

/// Who may see an entry.
pub(crate) enum Recipients {
    /// Who hears the room.
    Room(Arc<Room>),
    /// The one it is addressed to, if the daemon knows who that is now, by the nick as it is shown; and its author.
    Person { identity: Option<Arc<Identity>>, nick: String, author: Arc<Identity> },
}

impl Recipients {
    /// The same, when the log has decided who the other one is: a nick may be another's by now.
    fn of(self, core: &Core, peer: Option<u64>) -> Recipients {
        match self {
            Recipients::Person { identity, nick, author }
                if identity.as_ref().map(|identity| identity.number) != peer =>
            {
                let identity = peer.and_then(|peer| core.registry.identity(peer));
                Recipients::Person { identity, nick, author }
            }
            same => same,
        }
    }

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
                if let Some(identity) = identity.as_ref().filter(|identity| identity.number != author.number)
                {
                    identity.audience.for_each(&mut each);
                }
                author.audience.for_each(each);
            }
        }
    }
}

/// Does what a decided draft asks for.
pub(crate) fn deliver(core: &Arc<Core>, store: &dyn Store, submission: Submission, outcome: Outcome) {
    let Submission { draft, size, reply } = submission;
    if !draft.newcomers.is_empty() && !matches!(outcome, Outcome::Refused(_)) {
        core.registry.set_recorded(draft.newcomers.iter().map(|newcomer| newcomer.number));
    }
    match reply {
        Reply::Entry { sender, label, to } => {
            let Act::Enter(new) = &draft.act else { return };
            if let Outcome::Applied { id, time, conversation, peer, edits } = outcome {
                let to = to.of(core, peer);
                let entry = Entry {
                    id,
                    time,
                    kind: if edits.is_some() { EntryKind::Edit } else { new.kind },
                    conversation,
                    author: Cow::Borrowed(&draft.author),
                    peer: peer.map(|peer| (peer, Cow::Borrowed(new.peer_nick.as_str()))),
                    text: new.text.as_deref().map(Cow::Borrowed),
                    re: new.re,
                    about: edits.or(new.about),
                    tags: Cow::Borrowed(&new.tags),
                    edited: None,
                    deleted: None,
                    reactions: Cow::Borrowed(""),
                };
                fan_out(core, &entry, new.key.as_deref(), &to, Some(&sender));
                sender.settle(size, &answer_to_entry(new, label, to.name(), outcome));
                return;
            }
            sender.settle(size, &answer_to_entry(new, label, to.name(), outcome));
        }
        Reply::Join { sender, label } => {
            let answer = join(core, &draft, &sender, label, outcome);
            sender.settle(size, &answer);
        }
        Reply::Retire { room } => {
            let is_needed = match outcome {
                // Whoever has come back to it has it anew, and will see to its end.
                Outcome::Retired | Outcome::Done => false,
                // Whether it is there nobody knows: the next JOIN asks the log.
                Outcome::Refused(_) => room.ends().1 > 0,
                _ => true,
            };
            if is_needed {
                core.registry.restore_room(&room);
            }
        }
        Reply::Set { sender, label, room } => {
            let mut answer = Answer::new("SET", label);
            let answer = match outcome {
                Outcome::Set { history, keep } => {
                    room.set_policy(history, keep);
                    settings(&room, &mut answer);
                    answer.ok(Some(&room.name))
                }
                outcome => answer.refused(outcome),
            };
            sender.settle(size, &answer);
        }
        Reply::Read { sender, label, me, target } => {
            let answer = Answer::new("READ", label);
            let answer = match outcome {
                Outcome::Read { id, moved, told } => {
                    if moved {
                        tell_read(&draft.author.nick, &target, id, &me.audience, Some(&sender));
                    }
                    if let Some(other) = told.and_then(|other| core.registry.identity(other)) {
                        tell_read(&draft.author.nick, &other.nick(), id, &other.audience, None);
                    }
                    answer.ok(Some(&format!("{target} {id}")))
                }
                outcome => answer.refused(outcome),
            };
            sender.settle(size, &answer);
        }
        Reply::Acknowledge { sender, label } => {
            let answer = Answer::new("ACK", label);
            let answer = match outcome {
                Outcome::Acknowledged { upto, arrived } => {
                    if let Some(me) = core.registry.identity(draft.author.number) {
                        me.delivered.fetch_max(upto, Relaxed);
                    }
                    for (author, nick, id) in arrived {
                        tell_delivered(core, author, &nick, id);
                    }
                    answer.ok(None)
                }
                outcome => answer.refused(outcome),
            };
            sender.settle(size, &answer);
        }
        Reply::Purge => {
            if let Outcome::Purged { gone, next } = outcome {
                if !gone.is_empty() {
                    core.reads.set_behind();
                }
                for (conversation, oldest, _) in gone {
                    core.registry.set_oldest(conversation, oldest);
                }
                if let Some(behind) = next {
                    core.purge(behind);
                }
            }
        }
        Reply::Look(look) => look(core, Some(&store.view())),
        Reply::Search(search) => match store.index() {
            Some(index) => reads::search(core, &store.view(), &index, search),
            None => search(core, None),
        },
        Reply::Nobody => {}
    }
}

/// Delivers what was committed while nobody could tell: its senders were told to repeat it, and everybody else gets
/// it once.
pub(crate) fn deliver_unknown(core: &Arc<Core>, store: &dyn Store) {
    let from = core.delivered.load(Relaxed);
    let view = store.view();
    let entries = match view.between(from, store.last_id()) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!("what was committed last cannot be read and is not delivered: {error}");
            return;
        }
    };
    for entry in entries {
        let to = match &entry.peer {
            None => core.registry.room_numbered(entry.conversation).map(Recipients::Room),
            Some((peer, nick)) => {
                let people = (core.registry.identity(*peer), core.registry.identity(entry.author.number));
                match people {
                    (Some(identity), Some(author)) => {
                        Some(Recipients::Person { identity: Some(identity), nick: nick.to_string(), author })
                    }
                    _ => None,
                }
            }
        };
        match to {
            Some(to) => fan_out(core, &entry, None, &to, None),
            None => {
                core.delivered.store(entry.id, Relaxed);
            }
        }
    }
    // What else was decided is about rooms.
    for stored in view.rooms().unwrap_or_default() {
        let known = core.registry.room_numbered(stored.number);
        let ends = view.ends(stored.number).unwrap_or_default();
        match (known, RoomName::parse(&stored.name)) {
            (Some(room), _) => room.set_policy(stored.history, stored.keep),
            (None, Ok(name)) if ends.1 > 0 => core.registry.open_room(&stored, &name, ends),
            (None, _) => {}
        }
    }
}

fn answer_to_entry(new: &NewEntry, label: Option<String>, name: &str, outcome: Outcome) -> Vec<u8> {
    let mut answer = Answer::new(new.kind.word(), label);
    let (id, time, dup, edits) = match outcome {
        Outcome::Applied { id, time, edits, .. } => (id, time, false, edits),
        Outcome::Duplicate { id, time } => (id, time, true, None),
        outcome => return answer.refused(outcome),
    };
    let mut tags = TagBuilder::default();
    tags.display("id", Some(id));
    tags.display("time", Some(time));
    tags.flag("dup", dup);
    tags.display("replaced", edits.filter(|_| new.kind != EntryKind::Edit));
    answer.set_ok_tags(tags);
    answer.ok(Some(name))
}

/// Puts an entry, encoded once, into the outbox of every session that may see it, and into its sender's.
fn fan_out(core: &Core, entry: &Entry<'_>, key: Option<&str>, to: &Recipients, sender: Option<&Arc<Peer>>) {
    let encode = |tags: &TagBuilder| {
        let mut line = Vec::new();
        entry.line(to.name(), tags).write(&mut line);
        line
    };
    let line = encode(&entry.tags(None));
    // Only the sender's own sessions see the key.
    let own_line = key.map(|key| encode(&entry.tags(Some(key))));

    let push = |peer: &Arc<Peer>| {
        let is_own = own_line.is_some() && peer.identity() == entry.author.number;
        peer.push_entry(own_line.as_ref().filter(|_| is_own).unwrap_or(&line))
    };
    // Whoever comes in just now sees by this that an entry is on its way.
    core.delivering.store(entry.id, SeqCst);
    let mut deliveries = 0;
    let mut sender_hears = sender.is_none();
    let mut has_arrived = false;
    to.for_each(|peer| {
        deliveries += 1;
        sender_hears |= sender.is_some_and(|sender| Arc::ptr_eq(peer, sender));
        has_arrived |= push(peer) && !peer.is_quiet() && peer.identity() != entry.author.number;
    });
    if let Some(sender) = sender.filter(|_| !sender_hears) {
        deliveries += 1;
        push(sender);
    }
    Counters::add(&core.counters.deliveries, deliveries);
    Counters::add(&core.counters.entries, 1);
    core.delivered.store(entry.id, Relaxed);
    core.reads.set_behind();

    match to {
        Recipients::Person { identity, .. } => {
            if let Some(identity) = identity.as_ref().filter(|_| has_arrived) {
                identity.delivered.fetch_max(entry.id, Relaxed);
            }
        }
        Recipients::Room(room) => {
            room.written_at(entry.id);
            if entry.kind == EntryKind::Topic {
                let topic = entry.text.as_deref().map(|text| Topic {
                    text: text.to_owned(),
                    from: entry.author.nick.clone(),
                    tags: entry.tags(None).into_string(),
                });
                room.set_topic(topic);
            }
        }
    }
}

/// Tells sessions where a marker stands.
fn tell_read(
    from: &str,
    target: &str,
    id: u64,
    audience: &crate::peer::Audience,
    except: Option<&Arc<Peer>>,
) {
    let id = id.to_string();
    let mut line = Vec::new();
    ServerLine::new(Body::Read { target, id: &id }).with_from(from).write(&mut line);
    audience.for_each(|peer| {
        if !except.is_some_and(|except| Arc::ptr_eq(except, peer)) {
            peer.push(&line);
        }
    });
}

/// Tells the author of private messages that they have arrived.
fn tell_delivered(core: &Core, author: u64, nick: &str, id: u64) {
    let Some(author) = core.registry.identity(author) else { return };
    let (target, id) = (author.nick(), id.to_string());
    let mut line = Vec::new();
    ServerLine::new(Body::Delivered { target: &target, id: &id }).with_from(nick).write(&mut line);
    author.audience.for_each(|peer| {
        peer.push(&line);
    });
}

/// Brings the sender of a JOIN into the room that the log has made.
fn join(
    core: &Arc<Core>,
    draft: &Draft,
    sender: &Arc<Peer>,
    label: Option<String>,
    outcome: Outcome,
) -> Vec<u8> {
    let mut answer = Answer::new("JOIN", label);
    let stored = match outcome {
        Outcome::Room(stored) => stored,
        outcome => return answer.refused(outcome),
    };
    let Act::MakeRoom { name: asked, .. } = &draft.act else { return Vec::new() };
    let room = RoomName::parse(&stored.name).unwrap_or_else(|_| asked.clone());
    core.registry.open_room(&stored, &room, (0, 0));
    let time = core.environment.clock.now();
    let joined = core.registry.join(sender, &room, time, &core.config().limits);
    if !matches!(joined, Ok(Some(_))) {
        core.note(draft.author.clone(), Act::EndStay { room: stored.number });
        if let Some(room) = core.registry.abandon_room(&room) {
            core.retire(room);
        }
    }
    match joined {
        Ok(Some(room)) => {
            answer.set_ok_tags(room_tags(&room, core.config().log.keep));
            answer.ok(Some(&room.name))
        }
        Err(Refusal { code, text }) => answer.err(code, &text),
        // Whoever asked is gone.
        Ok(None) => Vec::new(),
    }
}
