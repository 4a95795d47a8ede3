//! The entries of one conversation, as far as they are known, and what became of them.
//!
//! Events, rows of SYNC and pages of history are facts about entries, and facts commute: in any order, and any number of times,
//! they give the same timeline. Of texts the newest holds, a deletion holds over every text, and reactions are the sum that a
//! page tells plus what came behind it.

use std::collections::{BTreeMap, BTreeSet};

use snug_client::{Entry, Kind};

use super::{Span, Spans};

/// The known entries of a conversation, by their ids in one log.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    slots: BTreeMap<u64, Slot>,
    known: Spans,
    /// What is not kept any more.
    gone: Spans,
}

/// An entry as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'t> {
    /// The entry. Its text may have changed since: `text` has it.
    pub entry: &'t Entry,
    /// The text of a message, or the name of a file; `None` if it was deleted, or if it is neither.
    pub text: Option<&'t str>,
    /// The entry that has given it this text.
    pub edited: Option<u64>,
    /// The entry that has taken it away.
    pub deleted: Option<u64>,
    /// Reactions and how many there are of each, in the order of their words.
    pub reactions: Vec<(&'t str, u64)>,
    /// One's own reactions.
    pub mine: Vec<&'t str>,
}

/// All that is known about one id. Facts may come before the entry that they are about.
#[derive(Clone, Debug, Default)]
struct Slot {
    entry: Option<Entry>,
    /// The newest text, and the entry that it comes from.
    text: Option<(u64, String)>,
    edited: Option<u64>,
    deleted: Option<u64>,
    reactions: Reactions,
}

/// The reactions to an entry. The log has a REACT only where there was none of that person, and an UNREACT only where there was
/// one, so that each is one more or one less.
#[derive(Clone, Debug, Default)]
struct Reactions {
    /// The position of the log up to which the sum is right.
    checked: u64,
    sum: BTreeMap<String, u64>,
    mine: BTreeSet<String>,
    /// Those behind the sum.
    behind: BTreeMap<u64, Change>,
}

/// One reaction more or less.
#[derive(Clone, Debug)]
struct Change {
    reaction: String,
    is_more: bool,
    is_own: bool,
}

impl Timeline {
    /// Takes an event, or a row of SYNC: an entry that is followed by everything that becomes of it. `is_own` says whether one is
    /// its author.
    pub fn event(&mut self, entry: &Entry, is_own: bool) {
        self.take(entry, is_own, None);
    }

    /// Takes a page of history, which was made when the log was at `checked`. `known` are the ids of which the page tells whether
    /// they are in the conversation: those of its rows and between them, and at its ends as far as the answer says so.
    ///
    /// `is_own` says of an entry whether one is its author.
    pub fn page(
        &mut self,
        rows: &[Entry],
        known: Option<Span>,
        checked: u64,
        is_own: impl Fn(&Entry) -> bool,
    ) {
        for row in rows {
            self.take(row, is_own(row), Some(checked));
        }
        self.known.extend(known);
    }

    /// Notes that all entries of a stretch are known, as while one hears what is said.
    pub fn note_known(&mut self, span: Span) {
        self.known.add(span);
    }

    /// Notes that the entries of a stretch are not kept any more. What is known of them is forgotten, and does not come back.
    pub fn note_gone(&mut self, span: Span) {
        self.slots.retain(|id, _| !span.contains(*id));
        self.known.add(span);
        self.gone.add(span);
    }

    /// The stretches of which all entries are known.
    pub fn known(&self) -> &Spans {
        &self.known
    }

    /// Whether an entry is not kept any more.
    pub fn is_gone(&self, id: u64) -> bool {
        self.gone.contains(id)
    }

    /// The entries of a stretch, the oldest first.
    ///
    /// ```
    /// use snug_chat::{Span, Timeline};
    /// use snug_client::{Received, Typed};
    /// use snug_protocol::LogName;
    ///
    /// let mut timeline = Timeline::default();
    /// for line in ["@id=8 :bob EDIT #lobby 7 better", "@id=7 :bob MSG #lobby good"] {
    ///     let Typed::Entry(entry) = Received::kept(line, LogName(1)).typed() else { panic!("an entry") };
    ///     timeline.event(&entry, false);
    /// }
    /// let rows: Vec<_> = timeline.rows(Span { first: 1, last: 9 }).collect();
    /// assert_eq!((rows[0].text, rows[0].edited), (Some("better"), Some(8)));
    /// ```
    pub fn rows(&self, span: Span) -> impl DoubleEndedIterator<Item = Row<'_>> {
        self.slots.range(span.first..=span.last.max(span.first)).filter_map(|(_, slot)| slot.row())
    }

    /// The entry with an id, if it is known.
    pub fn row(&self, id: u64) -> Option<Row<'_>> {
        self.slots.get(&id)?.row()
    }

    fn take(&mut self, entry: &Entry, is_own: bool, checked: Option<u64>) {
        let id = entry.place.id;
        if self.gone.contains(id) {
            return;
        }
        self.slots.entry(id).or_default().see(entry, checked);
        let change = |reaction: &String, is_more| Change { reaction: reaction.clone(), is_more, is_own };
        match &entry.kind {
            // An edit without its text is followed by one with it, or by a deletion.
            Kind::Edit { about, text: Some(text) } => {
                if let Some(slot) = self.about(*about) {
                    slot.say(id, text);
                    slot.edited = slot.edited.max(Some(id));
                }
            }
            Kind::Delete { about } => {
                if let Some(slot) = self.about(*about) {
                    slot.deleted = slot.deleted.max(Some(id));
                }
            }
            Kind::React { about, reaction } => {
                let change = change(reaction, true);
                if let Some(slot) = self.about(*about) {
                    slot.reactions.change(id, change);
                }
            }
            Kind::Unreact { about, reaction } => {
                let change = change(reaction, false);
                if let Some(slot) = self.about(*about) {
                    slot.reactions.change(id, change);
                }
            }
            _ => {}
        }
    }

    /// What is known about an entry that another one is about.
    fn about(&mut self, id: u64) -> Option<&mut Slot> {
        (!self.gone.contains(id)).then(|| self.slots.entry(id).or_default())
    }
}

impl Slot {
    /// Takes the entry itself, as it was when the log was at `checked`; `None` where what becomes of it follows.
    fn see(&mut self, entry: &Entry, checked: Option<u64>) {
        let text = match &entry.kind {
            Kind::Message { text } => text.as_ref(),
            Kind::File { name, .. } => name.as_ref(),
            _ => None,
        };
        if let Some(text) = text {
            self.say(entry.edited.unwrap_or(entry.place.id), text);
        }
        self.edited = self.edited.max(entry.edited);
        self.deleted = self.deleted.max(entry.deleted);
        if let Some(checked) = checked {
            self.reactions.see(checked, entry);
        }
        if self.entry.is_none() {
            self.entry = Some(entry.clone());
        }
    }

    fn say(&mut self, version: u64, text: &str) {
        if self.text.as_ref().is_none_or(|(newest, _)| *newest < version) {
            self.text = Some((version, text.to_owned()));
        }
    }

    fn row(&self) -> Option<Row<'_>> {
        let entry = self.entry.as_ref()?;
        let is_there = self.deleted.is_none();
        let (reactions, mine) = if is_there { self.reactions.now() } else { Default::default() };
        Some(Row {
            entry,
            text: self.text.as_ref().filter(|_| is_there).map(|(_, text)| text.as_str()),
            edited: self.edited.filter(|_| is_there),
            deleted: self.deleted,
            reactions,
            mine,
        })
    }
}

impl Reactions {
    fn see(&mut self, checked: u64, entry: &Entry) {
        if checked < self.checked {
            return;
        }
        self.checked = checked;
        self.sum = entry.reactions.iter().cloned().collect();
        self.mine = entry.mine.iter().cloned().collect();
        // What the sum has is not counted once more.
        self.behind = self.behind.split_off(&checked.saturating_add(1));
    }

    fn change(&mut self, id: u64, change: Change) {
        if id > self.checked {
            self.behind.insert(id, change);
        }
    }

    /// The reactions as they are now, and one's own.
    fn now(&self) -> (Vec<(&str, u64)>, Vec<&str>) {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for (reaction, count) in &self.sum {
            counts.insert(reaction, i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let mut mine: BTreeSet<&str> = self.mine.iter().map(String::as_str).collect();
        for Change { reaction, is_more, is_own } in self.behind.values() {
            let count = counts.entry(reaction).or_default();
            *count = count.saturating_add(if *is_more { 1 } else { -1 });
            if *is_own {
                match is_more {
                    true => mine.insert(reaction),
                    false => mine.remove(reaction.as_str()),
                };
            }
        }
        let counts = counts.into_iter();
        // What was taken back and not yet seen given is none.
        let there = counts.filter_map(|(reaction, count)| Some((reaction, u64::try_from(count).ok()?)));
        (there.filter(|(_, count)| *count > 0).collect(), mine.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
