//! What a decided draft brings about: the entry reaches everyone who may see it, and its sender is answered.
//!
//! Runs on the writer's thread, in log order, so that all outboxes have the entries of a conversation in the order
//! of their ids.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use snug_protocol::{Body, EntryKind, RoomName, ServerLine, TagBuilder};

use crate::answer::Answer;
use crate::core::{Core, Counters};
use crate::log::{
    Act, AuditNote, Author, Draft, Entry, Look, Measure, NewEntry, Outcome, RoomAccess, Search, Store, Topic,
    search_in_memory,
};
use crate::peer::{Peer, Shared};
use crate::registry::{Identity, Room};
use crate::session::{put_out_who_may_not_stay, room_tags, settings, take_effect};
use crate::writer::Submission;

/// What is to be done when a draft is decided.
pub(crate) enum Reply {
    /// Deliver the entry and answer its sender.
    Entry { sender: Arc<Peer>, label: Option<String>, to: Recipients, of: AnswerTo },
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
    /// Whoever submitted it knows what to do.
    Call(Call),
    /// Nobody waits.
    Nobody,
}

/// What an entry answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnswerTo {
    /// The verb of its kind.
    #[default]
    Verb,
    /// FILE DONE.
    FileDone,
    /// FILE CANCEL.
    FileCancel,
}

/// What is done with what became of a draft, on the writer's thread.
pub(crate) type Call = Box<dyn FnOnce(&Arc<Core>, &dyn Store, &Draft, Outcome) + Send>;

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

/// Does what decided drafts ask for, in their order.
pub(crate) fn deliver_all(
    core: &Arc<Core>,
    store: &dyn Store,
    decided: impl IntoIterator<Item = (Submission, Outcome)>,
) {
    let mut run = Run::default();
    for (submission, outcome) in decided {
        let Submission { draft, size, reply } = submission;
        if !draft.newcomers.is_empty() && !matches!(outcome, Outcome::Refused(_)) {
            core.registry.set_recorded(draft.newcomers.iter().map(|newcomer| newcomer.number));
        }
        match (reply, &draft.act, outcome) {
            (
                Reply::Entry { sender, label, to, of },
                Act::Enter(new),
                outcome @ Outcome::Applied { id, time, conversation, peer, edits },
            ) => {
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
                let to = to.of(core, peer);
                core.settle_file(new, true, store);
                let answer = answer_to_entry(new, of, label, to.name(), outcome);
                let effect = match (&new.measure, &to) {
                    (Some(measure), Recipients::Room(room)) => {
                        let mut line = Vec::new();
                        entry.line(&room.name, &entry.tags(None)).write(&mut line);
                        Some((measure, Arc::clone(room), line))
                    }
                    _ => None,
                };
                run.take(core, &entry, new.key.as_deref(), to, Some(Saying { sender, size, answer }));
                if let Some((measure, room, line)) = effect {
                    // Who is put out of the room hears that, and nothing behind it.
                    run.deliver(core);
                    if matches!(measure, Measure::Ban { .. }) {
                        room.set_has_bans(true);
                    }
                    take_effect(core, &room, measure, &line);
                }
            }
            (reply, _, outcome) => {
                run.deliver(core);
                note_refusal(core, &draft, &reply, &outcome);
                answer(core, store, &draft, size, reply, outcome);
            }
        }
    }
    run.deliver(core);
}

/// Counts what the log has refused to somebody, and remembers it.
fn note_refusal(core: &Core, draft: &Draft, reply: &Reply, outcome: &Outcome) {
    let Outcome::Refused(refusal) = outcome else { return };
    let (sender, verb) = match (reply, &draft.act) {
        (Reply::Entry { sender, .. }, Act::Enter(new)) => (sender, new.kind.word()),
        (Reply::Join { sender, .. }, _) => (sender, "JOIN"),
        (Reply::Set { sender, .. }, _) => (sender, "SET"),
        (Reply::Read { sender, .. }, _) => (sender, "READ"),
        (Reply::Acknowledge { sender, .. }, _) => (sender, "ACK"),
        _ => return,
    };
    core.note_refusal(sender, draft.author.clone(), verb, refusal.code);
}

/// Does what a decided draft asks for, if it is no new entry.
fn answer(core: &Arc<Core>, store: &dyn Store, draft: &Draft, size: usize, reply: Reply, outcome: Outcome) {
    match reply {
        Reply::Entry { sender, label, to, of } => {
            let Act::Enter(new) = &draft.act else { return };
            // What was entered before is offered already.
            core.settle_file(new, matches!(outcome, Outcome::Duplicate { .. }), store);
            sender.settle(size, &answer_to_entry(new, of, label, to.name(), outcome));
        }
        Reply::Join { sender, label } => {
            let answer = join(core, store, draft, &sender, label, outcome);
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
                Outcome::Set(new) => {
                    if let Act::SetRoom { members, .. } = &draft.act
                        && new.access != room.settings().access
                        && new.access != RoomAccess::Public
                    {
                        members.iter().for_each(|member| room.admit(*member));
                    }
                    room.set_settings(*new);
                    put_out_who_may_not_stay(core, &room);
                    settings(&room, &mut answer);
                    answer.ok(Some(&room.name))
                }
                outcome => outcome.refused(answer),
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
                outcome => outcome.refused(answer),
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
                outcome => outcome.refused(answer),
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
        Reply::Call(call) => call(core, store, draft, outcome),
        Reply::Look(look) => look(Some(&store.view())),
        Reply::Search(search) => match store.index() {
            Some(index) => {
                let forgotten = |entries| core.note(Author::default(), Act::Unindexed(entries));
                search_in_memory(&store.view(), &index, search, &forgotten);
            }
            None => search(None),
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
    let mut run = Run::default();
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
            Some(to) => run.take(core, &entry, None, to, None),
            None => {
                run.deliver(core);
                core.delivered.store(entry.id, Relaxed);
            }
        }
    }
    run.deliver(core);
    // What else was decided is about rooms, accounts and who is kept out.
    if let Err(error) = crate::session::recall_accounts(core, &view) {
        tracing::error!("accounts cannot be read: {error}");
    }
    for stored in view.rooms().unwrap_or_default() {
        let known = core.registry.room_numbered(stored.number);
        let ends = view.ends(stored.number).unwrap_or_default();
        match (known, RoomName::parse(&stored.name)) {
            (Some(room), _) => {
                room.set_settings(stored.settings.clone());
                room.set_has_bans(true);
                room.set_persists(stored.persists);
                if let Ok(listed) = view.members(stored.number) {
                    room.set_roster(stored.owner, listed);
                }
                // Nobody stays in it whom the log has put out.
                put_out_who_may_not_stay(core, &room);
                for ban in view.bans(stored.number).unwrap_or_default() {
                    if let (true, Ok(number)) = (ban.kind == "identity", ban.value.parse()) {
                        core.registry.put_out(number, &room);
                    }
                }
            }
            (None, Ok(name)) if ends.1 > 0 || stored.persists => {
                let listed = view.members(stored.number).unwrap_or_default();
                core.registry.open_room(&stored, &name, ends, &listed);
            }
            (None, _) => {}
        }
    }
}

fn answer_to_entry(
    new: &NewEntry,
    of: AnswerTo,
    label: Option<String>,
    name: &str,
    outcome: Outcome,
) -> Vec<u8> {
    let verb = if of == AnswerTo::Verb { new.kind.word() } else { "FILE" };
    let mut answer = Answer::new(verb, label);
    let (id, time, dup, edits) = match outcome {
        Outcome::Applied { id, time, edits, .. } => (id, time, false, edits),
        Outcome::Duplicate { id, time } => (id, time, true, None),
        outcome => return outcome.refused(answer),
    };
    let mut tags = TagBuilder::default();
    tags.display("id", Some(id));
    tags.display("time", Some(time));
    tags.flag("dup", dup);
    tags.display("replaced", edits.filter(|_| new.kind != EntryKind::Edit));
    answer.set_ok_tags(tags);
    match of {
        AnswerTo::Verb => answer.ok(Some(name)),
        AnswerTo::FileDone => answer.ok(Some(&format!("DONE {id}"))),
        AnswerTo::FileCancel => answer.ok(Some(&format!("CANCEL {}", new.about.unwrap_or_default()))),
    }
}

/// Entries of one conversation that follow each other, on their way to the same sessions. Each is written once, and all of
/// them are put into an outbox at once, so that a delivery costs next to nothing in a room that is busy.
#[derive(Default)]
struct Run {
    to: Option<Recipients>,
    /// The entries as everybody gets them.
    lines: Vec<u8>,
    said: Vec<Said>,
}

/// An entry of a run.
struct Said {
    id: u64,
    author: u64,
    /// Where its line ends.
    end: usize,
    /// The line with its key, for its author's own sessions.
    own: Option<Vec<u8>>,
    saying: Option<Saying>,
    /// Whether its sender has heard it as one of those who hear the conversation.
    is_heard: bool,
}

/// Who said an entry, and what is answered.
struct Saying {
    sender: Arc<Peer>,
    size: usize,
    answer: Vec<u8>,
}

impl Run {
    /// The longest run in bytes: what waits for a slow session is held as a whole.
    const BYTES: usize = 64 << 10;

    /// Adds an entry, behind the others if it goes where they go.
    fn take(
        &mut self,
        core: &Core,
        entry: &Entry<'_>,
        key: Option<&str>,
        to: Recipients,
        saying: Option<Saying>,
    ) {
        let goes_along = match (&self.to, &to) {
            (Some(Recipients::Room(these)), Recipients::Room(those)) => Arc::ptr_eq(these, those),
            _ => false,
        };
        if !goes_along || self.lines.len() >= Run::BYTES {
            self.deliver(core);
        }
        entry.line(to.name(), &entry.tags(None)).write(&mut self.lines);
        let own = key.map(|key| {
            let mut line = Vec::new();
            entry.line(to.name(), &entry.tags(Some(key))).write(&mut line);
            line
        });
        let (id, author, end) = (entry.id, entry.author.number, self.lines.len());
        if let (Recipients::Room(room), EntryKind::Topic) = (&to, entry.kind) {
            room.set_topic(entry.text.as_deref().map(|text| Topic {
                text: text.to_owned(),
                from: entry.author.nick.clone(),
                tags: entry.tags(None).into_string(),
            }));
        }
        self.to = Some(to);
        self.said.push(Said { id, author, end, own, saying, is_heard: false });
    }

    /// Puts the entries into the outbox of every session that may see them, and into their senders'; then answers
    /// those.
    fn deliver(&mut self, core: &Core) {
        let Run { to: Some(to), lines, mut said } = std::mem::take(self) else { return };
        let (Some(first), Some(last)) = (said.first(), said.last()) else { return };
        let (first, last) = (first.id, last.id);
        // Their own sessions may be given something else than the others'.
        let mut authors: Vec<u64> = said.iter().map(|said| said.author).collect();
        authors.sort_unstable();
        authors.dedup();
        let lines = Shared::new(lines, &core.budget);

        // Whoever comes in just now sees by this that something is on its way.
        core.delivering.store(last, SeqCst);
        let mut deliveries = 0;
        let mut has_arrived = false;
        to.for_each(|peer| {
            deliveries += said.len();
            let me = peer.identity();
            if authors.binary_search(&me).is_err() {
                has_arrived |= peer.push_shared(&lines) && !peer.is_quiet();
                return;
            }
            for said in &mut said {
                said.is_heard |= said.saying.as_ref().is_some_and(|saying| Arc::ptr_eq(peer, &saying.sender));
            }
            match own_lines(lines.bytes(), &said, me) {
                Some(own) => peer.push_entries(&own),
                None => peer.push_shared(&lines),
            };
        });
        // All is known before anybody is answered, and acts on it.
        core.delivered.store(last, Relaxed);
        core.reads.set_behind();
        match to {
            Recipients::Person { identity, .. } => {
                if let Some(identity) = identity.filter(|_| has_arrived) {
                    identity.delivered.fetch_max(last, Relaxed);
                }
            }
            Recipients::Room(room) => room.written(first, last),
        }
        Counters::add(&core.counters.entries, said.len());
        let mut begin = 0;
        for Said { end, own, saying, is_heard, .. } in said {
            if let Some(Saying { sender, size, answer }) = saying {
                if !is_heard {
                    deliveries += 1;
                    sender.push_entries(own.as_deref().unwrap_or(&lines.bytes()[begin..end]));
                }
                sender.settle(size, &answer);
            }
            begin = end;
        }
        Counters::add(&core.counters.deliveries, deliveries);
    }
}

/// The entries of a run as their author's own sessions get them; `None` if that is as everybody does.
fn own_lines(lines: &[u8], said: &[Said], me: u64) -> Option<Vec<u8>> {
    let is_own = |said: &Said| said.author == me && said.own.is_some();
    if !said.iter().any(is_own) {
        return None;
    }
    let mut own_lines = Vec::with_capacity(lines.len() + 64 * said.len());
    let mut begin = 0;
    for said in said {
        match said.own.as_ref().filter(|_| is_own(said)) {
            Some(own) => own_lines.extend_from_slice(own),
            None => own_lines.extend_from_slice(&lines[begin..said.end]),
        }
        begin = said.end;
    }
    Some(own_lines)
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
    store: &dyn Store,
    draft: &Draft,
    sender: &Arc<Peer>,
    label: Option<String>,
    outcome: Outcome,
) -> Vec<u8> {
    let mut answer = Answer::new("JOIN", label);
    let stored = match outcome {
        Outcome::Room(stored) => stored,
        outcome => return outcome.refused(answer),
    };
    let Act::MakeRoom { name: asked, .. } = &draft.act else { return Vec::new() };
    let room = RoomName::parse(&stored.name).unwrap_or_else(|_| asked.clone());
    let listed = store.view().members(stored.number).unwrap_or_default();
    let ends = store.view().ends(stored.number).unwrap_or_default();
    core.registry.open_room(&stored, &room, ends, &listed);
    if let Some(room) = core.registry.room(&room) {
        if stored.settings.access == RoomAccess::Hidden {
            room.admit(draft.author.number);
        }
        room.set_has_bans(store.view().bans(stored.number).map_or(true, |bans| !bans.is_empty()));
    }
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
            core.audit(draft.author.clone(), AuditNote::new("join", &room.name, ""));
            answer.set_ok_tags(room_tags(&room, core.config().log.keep));
            answer.ok(Some(&room.name))
        }
        Err(refusal) => answer.refuse(&refusal),
        // Whoever asked is gone.
        Ok(None) => Vec::new(),
    }
}
