//! Delivers decided drafts: puts each entry into the outbox of every session that may see it, and answers its sender.
//!
//! This runs on the writer's thread, in log order, so every outbox has the entries of a conversation in the order of
//! their ids.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use snug_protocol::{Cursor, EntryKind, TagBuilder};

use crate::answer::{Answer, labelled};
use crate::core::effects;
use crate::core::queue::Submission;
use crate::core::reply::{AnswerTo, Recipients, Reply};
use crate::core::{Core, Counters};
use crate::cost::Cost;
use crate::log::{Act, Draft, Entry, NewEntry, Outcome, Store, Topic, View};
use crate::registry::outbox::Shared;
use crate::registry::peer::Peer;

/// Applies the effects of decided drafts, delivers their entries and answers their senders, in order.
pub(crate) fn deliver_all(
    core: &Arc<Core>,
    store: &dyn Store,
    decided: impl IntoIterator<Item = (Submission, Outcome)>,
) {
    let mut batch = Batch::default();
    for (Submission { draft, size, sender, reply }, outcome) in decided {
        let Some(entry) = draft.entry(&outcome) else {
            batch.deliver(core);
            let afterwards = effects::take(core, store, &draft, &outcome, sender.as_ref());
            answer(core, store, &draft, size, sender, reply, outcome);
            effects::finish(core, afterwards);
            continue;
        };
        effects::learn(core, &draft);
        let Act::Enter(new) = &draft.act else { continue };
        let (label, to, of) = match reply {
            Reply::Entry { label, to, of } => {
                core.settle_file(new, true, store);
                (
                    label,
                    Some(to.of(&core.registry, entry.addressee.as_ref().map(|addressee| addressee.0))),
                    of,
                )
            }
            _ => (None, Recipients::of_entry(&core.registry, &entry), AnswerTo::Verb),
        };
        let Some(to) = to else {
            // No session here may see the entry.
            batch.pass_over(core, entry.id);
            continue;
        };
        let sender = sender.map(|sender| {
            let answer = answer_to_entry(new, of, label.clone(), to.name(), &outcome);
            Sender { sender, size, answer, label }
        });
        let moderation = match (&new.moderation, &to) {
            (Some(moderation), Recipients::Room(room)) => {
                let mut line = Vec::new();
                entry.line(&room.name, &entry.tags(0, None)).write(&mut line);
                Some((moderation, Arc::clone(room), line))
            }
            _ => None,
        };
        batch.take(core, &entry, new.key.as_deref(), to, sender);
        if let Some((moderation, room, line)) = moderation {
            // A user who is removed from the room still receives the line about it, and nothing after it.
            batch.deliver(core);
            effects::moderate(core, &store.view(), &room, moderation, (entry.id, &line));
        }
    }
    batch.deliver(core);
}

/// Answers the sender of a draft that is no new entry.
fn answer(
    core: &Core,
    store: &dyn Store,
    draft: &Draft,
    size: usize,
    sender: Option<Arc<Peer>>,
    reply: Reply,
    outcome: Outcome,
) {
    match (reply, &draft.act, sender) {
        (Reply::Call(call), ..) => call(store, draft, outcome),
        (Reply::Entry { label, to, of }, Act::Enter(new), Some(sender)) => {
            // The file of a duplicate was offered with the first entry.
            core.settle_file(new, matches!(outcome, Outcome::Duplicate { .. }), store);
            if let Outcome::Refused(refusal) = &outcome {
                core.note_refusal(&sender, draft.author.clone(), new.kind.word(), refusal.code);
            }
            sender.settle(size, &answer_to_entry(new, of, label, to.name(), &outcome));
        }
        _ => {}
    }
}

/// Delivers what was committed while the outcome was unknown, up to the entry `last`. Its senders were told to repeat
/// it; everybody else gets it once.
pub(crate) fn deliver_unknown(core: &Arc<Core>, view: &View<'_>, last: u64) {
    let entries = match view.between(core.delivered.load(Relaxed), last) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!("what was committed last cannot be read and is not delivered: {error}");
            return;
        }
    };
    let mut batch = Batch::default();
    for entry in entries {
        match Recipients::of_entry(&core.registry, &entry) {
            Some(to) => batch.take(core, &entry, None, to, None),
            None => batch.pass_over(core, entry.id),
        }
        if matches!(entry.kind, EntryKind::Kick | EntryKind::Ban) {
            batch.deliver(core);
            effects::put_out_by(core, &entry);
        }
    }
    batch.deliver(core);
}

fn answer_to_entry(
    new: &NewEntry,
    of: AnswerTo,
    label: Option<String>,
    name: &str,
    outcome: &Outcome,
) -> Vec<u8> {
    let verb = if of == AnswerTo::Verb { new.kind.word() } else { "FILE" };
    let mut answer = Answer::new(verb, label);
    let (id, time, dup, edits) = match outcome {
        Outcome::Applied { id, time, edits, .. } => (*id, *time, false, *edits),
        Outcome::Duplicate { id, time } => (*id, *time, true, None),
        Outcome::Refused(refusal) => return answer.refuse(refusal),
        _ => return Vec::new(),
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

/// Consecutive entries of one conversation, for the same sessions. Each is written once, and an outbox takes all of
/// them at once, which makes a delivery in a busy room cheap.
#[derive(Default)]
struct Batch {
    to: Option<Recipients>,
    /// The lines of the entries for those who are not their authors.
    lines: Vec<u8>,
    items: Vec<Item>,
}

/// An entry of a batch.
struct Item {
    id: u64,
    author: u64,
    /// The offset in the batch's lines at which its line ends.
    end: usize,
    /// The line for its author's own sessions, if it is another: with its key, or the other one of the two.
    own: Option<Vec<u8>>,
    sender: Option<Sender>,
    /// Whether the sender's session received it as part of the conversation's audience.
    is_heard: bool,
}

/// The session that sent an entry, and its answer.
struct Sender {
    sender: Arc<Peer>,
    size: usize,
    answer: Vec<u8>,
    /// The label of its command, which stands on the entry's line for this session alone.
    label: Option<String>,
}

impl Batch {
    /// The size in bytes from which a batch takes no more entries. A slow session keeps the memory of a whole batch.
    const BYTES: usize = 64 << 10;

    /// Adds an entry. Delivers the others first if it goes to other sessions, or if the batch is full.
    fn take(
        &mut self,
        core: &Core,
        entry: &Entry<'_>,
        key: Option<&str>,
        to: Recipients,
        sender: Option<Sender>,
    ) {
        let goes_along = match (&self.to, &to) {
            (Some(Recipients::Room(these)), Recipients::Room(those)) => Arc::ptr_eq(these, those),
            _ => false,
        };
        if !goes_along || self.lines.len() >= Batch::BYTES {
            self.deliver(core);
        }
        let addressee = entry.addressee.as_ref().map_or(0, |(number, _)| *number);
        entry.line(to.name(), &entry.tags(addressee, None)).write(&mut self.lines);
        let own = (key.is_some() || addressee != 0).then(|| {
            let mut line = Vec::new();
            entry.line(to.name(), &entry.tags(entry.author.number, key)).write(&mut line);
            line
        });
        let (id, author, end) = (entry.id, entry.author.number, self.lines.len());
        if let (Recipients::Room(room), EntryKind::Topic) = (&to, entry.kind) {
            room.set_topic(entry.text.as_deref().map(|text| Topic {
                text: text.to_owned(),
                from: entry.author.nick.clone(),
                tags: entry.tags(0, None).into_string(),
            }));
        }
        self.to = Some(to);
        self.items.push(Item { id, author, end, own, sender, is_heard: false });
    }

    /// Delivers the batch, and notes that the entry `id` behind it has no recipients here.
    fn pass_over(&mut self, core: &Core, id: u64) {
        self.deliver(core);
        core.delivered.store(id, Relaxed);
    }

    /// Puts the entries into the outboxes of their senders and of every session that may see them. Then answers the
    /// senders.
    fn deliver(&mut self, core: &Core) {
        let Batch { to: Some(to), lines, mut items } = std::mem::take(self) else { return };
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return };
        let (first, last) = (first.id, last.id);
        // The authors' own sessions may get different lines: those with keys.
        let mut authors: Vec<u64> = items.iter().map(|item| item.author).collect();
        authors.sort_unstable();
        authors.dedup();
        let lines = Shared::new(lines, &core.budget);

        // A session that goes live at this moment sees by this that entries are on their way.
        core.delivering.store(last, SeqCst);
        let mut hearers = 0;
        let mut has_arrived = false;
        let before = |id: u64| Cursor { log: Some(core.log_name), id: id - 1 };
        to.for_each(|peer| {
            hearers += 1;
            let me = peer.identity();
            if authors.binary_search(&me).is_err() {
                let is_taken = peer.push_shared(&lines);
                has_arrived |= is_taken && !peer.is_quiet();
                return peer.keep_up(is_taken, || before(first));
            }
            for item in &mut items {
                item.is_heard |= item.sender.as_ref().is_some_and(|sender| Arc::ptr_eq(peer, &sender.sender));
            }
            let is_taken = match own_lines(lines.bytes(), &items, peer) {
                Some(own) => peer.push_entries(&own),
                None => peer.push_shared(&lines),
            };
            peer.keep_up(is_taken, || before(first));
        });
        // Memory is up to date before a sender is answered and acts on the answer.
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
        Counters::add(&core.counters.entries, items.len());
        let mut deliveries = hearers * items.len();
        let cost = Cost::hearers(hearers);
        let mut begin = 0;
        for Item { id, end, own, sender, is_heard, .. } in items {
            if let Some(Sender { sender, size, answer, label }) = sender {
                if !is_heard {
                    deliveries += 1;
                    let line = own.as_deref().unwrap_or(&lines.bytes()[begin..end]);
                    let is_taken = sender.push_entries(&labelled(line, label.as_deref()));
                    sender.keep_up(is_taken, || before(id));
                }
                sender.spent.add(cost);
                sender.settle(size, &answer);
            }
            begin = end;
        }
        Counters::add(&core.counters.deliveries, deliveries);
    }
}

impl Item {
    /// Returns the label of the entry's command, if this session has said it.
    fn label_for(&self, peer: &Arc<Peer>) -> Option<&str> {
        self.sender.as_ref().filter(|sender| Arc::ptr_eq(&sender.sender, peer))?.label.as_deref()
    }
}

/// Returns the lines of a batch for a session of one of its authors; `None` if they are the same as for everybody.
fn own_lines(lines: &[u8], items: &[Item], peer: &Arc<Peer>) -> Option<Vec<u8>> {
    let me = peer.identity();
    let is_other = |item: &Item| item.author == me && (item.own.is_some() || item.label_for(peer).is_some());
    if !items.iter().any(is_other) {
        return None;
    }
    let mut own_lines = Vec::with_capacity(lines.len() + 64 * items.len());
    let mut begin = 0;
    for item in items {
        let own = item.own.as_deref().filter(|_| item.author == me);
        let line = own.unwrap_or(&lines[begin..item.end]);
        own_lines.extend_from_slice(&labelled(line, item.label_for(peer)));
        begin = item.end;
    }
    Some(own_lines)
}
