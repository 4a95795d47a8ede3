//! A small log, of which a client learns in any order: what it shows in the end is what the log says.

use proptest::prelude::*;
use snug_client::{Received, Typed};
use snug_protocol::LogName;

use super::*;

const ME: &str = "me";
const PEOPLE: [&str; 3] = [ME, "bob", "eve"];
const WORDS: [&str; 2] = ["+1", "ok"];

/// A message as the log has it.
#[derive(Clone, Debug)]
struct Said {
    from: &'static str,
    text: String,
    edited: Option<u64>,
    deleted: Option<u64>,
    reactions: BTreeSet<(&'static str, &'static str)>,
}

/// The log, and what each message was at each moment.
#[derive(Clone, Debug, Default)]
struct World {
    /// The lines of the entries; the id is the place, from 1.
    lines: Vec<String>,
    /// The messages, by their ids, behind as many entries.
    states: Vec<BTreeMap<u64, Said>>,
}

impl World {
    fn of(steps: &[(usize, usize, usize, usize)]) -> World {
        let mut world = World { lines: Vec::new(), states: vec![BTreeMap::new()] };
        for step in steps {
            world.step(*step);
        }
        world
    }

    fn step(&mut self, (what, who, which, word): (usize, usize, usize, usize)) {
        let id = self.lines.len() as u64 + 1;
        let mut state = self.states.last().cloned().unwrap_or_default();
        let (who, word) = (PEOPLE[who % PEOPLE.len()], WORDS[word % WORDS.len()]);
        let about = state.keys().copied().nth(which % state.len().max(1));
        let said = about.and_then(|about| state.get_mut(&about)).filter(|said| said.deleted.is_none());
        let verb = match (what % 6, about, said) {
            (1, Some(about), Some(said)) => {
                (said.text, said.edited) = (format!("text{id}"), Some(id));
                format!("EDIT #r {about} text{id}")
            }
            (2, Some(about), Some(said)) => {
                said.deleted = Some(id);
                format!("DELETE #r {about}")
            }
            (3.., Some(about), Some(said)) => match said.reactions.remove(&(who, word)) {
                true => format!("UNREACT #r {about} {word}"),
                false => {
                    said.reactions.insert((who, word));
                    format!("REACT #r {about} {word}")
                }
            },
            _ => {
                let text = format!("text{id}");
                let reactions = BTreeSet::new();
                state.insert(
                    id,
                    Said { from: who, text: text.clone(), edited: None, deleted: None, reactions },
                );
                format!("MSG #r {text}")
            }
        };
        self.lines.push(format!("@id={id} :{who} {verb}"));
        self.states.push(state);
    }

    fn last(&self) -> u64 {
        self.lines.len() as u64
    }

    fn event(&self, id: u64) -> Entry {
        entry(&self.lines[id as usize - 1])
    }

    /// The row of an entry, when the log had `at` entries.
    fn row(&self, id: u64, at: u64) -> Entry {
        let Some(said) = self.states[at as usize].get(&id) else { return self.event(id) };
        let mut tags = format!("@id={id}");
        if let Some(deleted) = said.deleted {
            return entry(&format!("{tags};deleted={deleted} :{} MSG #r", said.from));
        }
        if let Some(edited) = said.edited {
            tags.push_str(&format!(";edited={edited}"));
        }
        let count = |word: &&str| said.reactions.iter().filter(|(_, other)| other == word).count();
        let counts: Vec<String> = WORDS
            .iter()
            .filter(|word| count(word) > 0)
            .map(|word| format!("{word}={}", count(word)))
            .collect();
        let mine: Vec<&str> =
            said.reactions.iter().filter(|(who, _)| *who == ME).map(|(_, word)| *word).collect();
        for (name, list) in [("reactions", counts.join(",")), ("mine", mine.join(","))] {
            if !list.is_empty() {
                tags.push_str(&format!(";{name}={list}"));
            }
        }
        entry(&format!("{tags} :{} MSG #r {}", said.from, said.text))
    }

    /// Compares what is shown of some entries with the log, when that had so many.
    fn check(&self, timeline: &Timeline, span: Span, at: u64) {
        let ids: Vec<u64> = timeline.rows(span).map(|row| row.entry.place.id).collect();
        assert_eq!(ids, (span.first..=span.last).collect::<Vec<_>>(), "each once, and in order");
        for (id, said) in self.states[at as usize].range(span.first..=span.last) {
            let row = timeline.row(*id).expect("it is known");
            let is_there = said.deleted.is_none();
            assert_eq!(row.text, is_there.then_some(said.text.as_str()), "{id}");
            assert_eq!((row.deleted, row.edited), (said.deleted, said.edited.filter(|_| is_there)), "{id}");
            let count = |word: &str| said.reactions.iter().filter(|(_, other)| *other == word).count() as u64;
            let counts: Vec<(&str, u64)> = WORDS
                .iter()
                .map(|word| (*word, count(word)))
                .filter(|(_, count)| is_there && *count > 0)
                .collect();
            assert_eq!(row.reactions, counts, "{id}");
            let mine: Vec<&str> = WORDS
                .iter()
                .copied()
                .filter(|word| is_there && said.reactions.contains(&(ME, *word)))
                .collect();
            assert_eq!(row.mine, mine, "{id}");
        }
    }
}

fn entry(line: &str) -> Entry {
    match Received::kept(line, LogName(1)).typed() {
        Typed::Entry(entry) => *entry,
        other => panic!("{line}: {other:?}"),
    }
}

fn is_own(entry: &Entry) -> bool {
    entry.from.nick == ME
}

/// A fact that a client learns.
#[derive(Clone, Debug)]
enum Fact {
    Event(u64),
    /// The rows from one id to another, when the log had so many entries.
    Page(u64, u64, u64),
}

fn learn(world: &World, timeline: &mut Timeline, fact: &Fact) {
    match *fact {
        Fact::Event(id) => {
            let entry = world.event(id);
            timeline.event(&entry, is_own(&entry));
            timeline.note_known(Span { first: id, last: id });
        }
        Fact::Page(first, last, at) => {
            let rows: Vec<Entry> = (first..=last).map(|id| world.row(id, at)).collect();
            timeline.page(&rows, Span::new(first, last), at, is_own);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(usize, usize, usize, usize)>> {
    prop::collection::vec((0usize..6, 0usize..3, 0usize..8, 0usize..2), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A client is live from some entry on, and reads what was before it in pages that are made then or later. Whatever the order
    /// in which that comes, and how often, it shows what the log says.
    #[test]
    fn facts_commute(
        steps in steps(),
        live_after in any::<prop::sample::Index>(),
        pages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in any::<u64>(),
    ) {
        let world = World::of(&steps);
        let last = world.last();
        let live_after = live_after.index(last as usize + 1) as u64;
        let later = |index: &prop::sample::Index| live_after + index.index((last - live_after) as usize + 1) as u64;
        let mut facts: Vec<Fact> = (live_after + 1..=last).map(Fact::Event).collect();
        // All that was before, in two pages of two moments.
        if live_after > 0 {
            let (half, ats) = (live_after / 2, pages.first().map_or((live_after, last), |(_, _, at)| (later(at), last)));
            facts.extend((half > 0).then_some(Fact::Page(1, half, ats.0)));
            facts.push(Fact::Page(half + 1, live_after, ats.1));
        }
        // And others, over any stretch.
        for (first, length, at) in &pages {
            let at = later(at);
            if at > 0 {
                let first = 1 + first.index(at as usize) as u64;
                facts.push(Fact::Page(first, (first + length.index(8) as u64).min(at), at));
            }
        }
        let repeated: Vec<Fact> = again.iter().map(|index| facts[index.index(facts.len())].clone()).collect();
        facts.extend(repeated);
        let mut dice = order;
        for at in (1..facts.len()).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            facts.swap(at, (dice >> 33) as usize % (at + 1));
        }
        let mut timeline = Timeline::default();
        facts.iter().for_each(|fact| learn(&world, &mut timeline, fact));
        world.check(&timeline, Span { first: 1, last }, last);
        prop_assert_eq!(timeline.known().iter().collect::<Vec<_>>(), [Span { first: 1, last }]);
    }

    /// Of a page alone, the entries are as they were when it was made.
    #[test]
    fn a_page_says_all_of_its_rows(steps in steps(), first in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let world = World::of(&steps);
        let at = 1 + at.index(world.last() as usize) as u64;
        let span = Span { first: 1 + first.index(at as usize) as u64, last: at };
        let span = Span { last: span.first + (at - span.first) / 2, ..span };
        let mut timeline = Timeline::default();
        learn(&world, &mut timeline, &Fact::Page(span.first, span.last, at));
        world.check(&timeline, span, at);
    }

    #[test]
    fn what_is_gone_does_not_come_back(steps in steps(), first in 1u64..20, more in 0u64..20) {
        let world = World::of(&steps);
        let gone = Span { first, last: first + more };
        let (mut before, mut behind) = (Timeline::default(), Timeline::default());
        before.note_gone(gone);
        for id in 1..=world.last() {
            learn(&world, &mut before, &Fact::Event(id));
            learn(&world, &mut behind, &Fact::Event(id));
        }
        behind.note_gone(gone);
        let all = Span { first: 1, last: u64::MAX };
        for timeline in [&before, &behind] {
            prop_assert!(timeline.rows(all).all(|row| !gone.contains(row.entry.place.id)));
            prop_assert!(timeline.is_gone(first) && timeline.known().contains(first));
        }
        let ids = |timeline: &Timeline| timeline.rows(all).map(|row| row.entry.place.id).collect::<Vec<_>>();
        prop_assert_eq!(ids(&before), ids(&behind));
    }
}
