//! Which entries of a conversation are known: intervals of ids.
//!
//! Ids are dense over the whole log, so a page says of every id between its ends whether it belongs to the conversation. What
//! is known is therefore a set of intervals, and pages, events and resumed rows unite in any order.

/// The entries from one id to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first id.
    pub first: u64,
    /// The last id, not less than the first.
    pub last: u64,
}

/// The parts of a conversation that are known: of each id in them it is known whether there is such an entry that one may see.
/// They are disjoint, in order, and never next to each other.
///
/// ```
/// use snug_chat::{Span, Spans};
///
/// let mut spans = Spans::default();
/// spans.add(Span { first: 10, last: 20 }); // A page of history.
/// spans.add(Span { first: 31, last: 40 }); // What came later.
/// assert_eq!(spans.gap_before(40), Some(Span { first: 21, last: 30 }));
/// spans.add(Span { first: 21, last: 30 });
/// assert_eq!(spans.iter().collect::<Vec<_>>(), [Span { first: 10, last: 40 }]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Span {
    /// Returns the interval from one id to another; `None` if the first is behind the last.
    pub fn new(first: u64, last: u64) -> Option<Span> {
        (first <= last).then_some(Span { first, last })
    }

    /// Returns whether an id is in it.
    pub fn contains(self, id: u64) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl Spans {
    /// Notes that these entries are known, too. Spans that it touches become one.
    pub fn add(&mut self, span: Span) {
        // The first that ends not before the id in front of it, and the first behind all that it touches.
        let from = self.0.partition_point(|other| other.last.saturating_add(1) < span.first);
        let to = self.0.partition_point(|other| other.first <= span.last.saturating_add(1));
        let united = match self.0.get(from..to) {
            Some([first, .., last]) => {
                Span { first: span.first.min(first.first), last: span.last.max(last.last) }
            }
            Some([only]) => Span { first: span.first.min(only.first), last: span.last.max(only.last) },
            _ => span,
        };
        self.0.splice(from..to, [united]);
    }

    /// Notes that these are known, too.
    pub fn extend(&mut self, spans: impl IntoIterator<Item = Span>) {
        spans.into_iter().for_each(|span| self.add(span));
    }

    /// Forgets what was known from one id to another.
    pub fn remove(&mut self, span: Span) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for own in &self.0 {
            let before = span.first.checked_sub(1).and_then(|last| Span::new(own.first, own.last.min(last)));
            let behind = span.last.checked_add(1).and_then(|first| Span::new(own.first.max(first), own.last));
            left.extend(before);
            left.extend(behind);
        }
        self.0 = left;
    }

    /// Returns the span that an id is in.
    pub fn around(&self, id: u64) -> Option<Span> {
        let at = self.0.partition_point(|span| span.last < id);
        self.0.get(at).copied().filter(|span| span.contains(id))
    }

    /// Returns whether it is known if there is an entry of this id.
    pub fn contains(&self, id: u64) -> bool {
        self.around(id).is_some()
    }

    /// Returns what is not known before the span that an id is in: up to the span before it, or the beginning of the log. `None`
    /// if nothing is missing there, or if the id itself is not known.
    pub fn gap_before(&self, id: u64) -> Option<Span> {
        let own = self.around(id)?;
        let at = self.0.partition_point(|span| span.last < own.first);
        let first = at.checked_sub(1).and_then(|before| self.0.get(before)).map_or(1, |span| span.last + 1);
        Span::new(first, own.first.checked_sub(1)?)
    }

    /// Returns what is not known behind the span that an id is in, up to the next one. `None` if there is no other behind it.
    pub fn gap_behind(&self, id: u64) -> Option<Span> {
        let own = self.around(id)?;
        let at = self.0.partition_point(|span| span.first <= own.last);
        Span::new(own.last + 1, self.0.get(at)?.first - 1)
    }

    /// Returns the spans in order.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: u64 = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Add(Span),
        Remove(Span),
    }

    fn step() -> impl Strategy<Value = Step> {
        let span =
            || (1..=MOST, 0u64..12).prop_map(|(first, more)| Span { first, last: (first + more).min(MOST) });
        prop_oneof![3 => span().prop_map(Step::Add), 1 => span().prop_map(Step::Remove)]
    }

    proptest! {
        #[test]
        fn spans_are_a_set_of_ids(steps in prop::collection::vec(step(), 0..24)) {
            let mut spans = Spans::default();
            let mut bitmap = [false; MOST as usize + 2];
            for step in steps {
                let (span, known) = match step {
                    Step::Add(span) => { spans.add(span); (span, true) }
                    Step::Remove(span) => { spans.remove(span); (span, false) }
                };
                (span.first..=span.last).for_each(|id| bitmap[id as usize] = known);
                let all: Vec<Span> = spans.iter().collect();
                for pair in all.windows(2) {
                    prop_assert!(pair[0].last + 1 < pair[1].first, "in order, apart, and not next to each other: {:?}", all);
                }
                for id in 1..=MOST {
                    prop_assert_eq!(spans.contains(id), bitmap[id as usize], "{}", id);
                }
                // A gap is what lies between, and nothing of it is known.
                for id in (1..=MOST).filter(|id| bitmap[*id as usize]) {
                    let first_unknown = (1..id).rev().find(|id| !bitmap[*id as usize]);
                    let gap = spans.gap_before(id);
                    prop_assert_eq!(gap.map(|gap| gap.last), first_unknown);
                    if let Some(gap) = gap {
                        prop_assert!((gap.first..=gap.last).all(|id| !bitmap[id as usize]));
                        prop_assert!(gap.first == 1 || bitmap[gap.first as usize - 1]);
                    }
                    if let Some(gap) = spans.gap_behind(id) {
                        prop_assert!((gap.first..=gap.last).all(|id| !bitmap[id as usize]));
                        prop_assert!(bitmap[gap.last as usize + 1]);
                    }
                }
            }
        }

        #[test]
        fn facts_commute(mut added in prop::collection::vec((1..=MOST, 0u64..12), 0..12), seed in any::<u64>()) {
            let all = |added: &[(u64, u64)]| {
                let mut spans = Spans::default();
                added.iter().for_each(|(first, more)| spans.add(Span { first: *first, last: first + more }));
                spans
            };
            let once = all(&added);
            // In another order, and some of them twice.
            let half = added.len() / 2;
            let again: Vec<(u64, u64)> = added.iter().take(half).copied().collect();
            added.extend(again);
            let turns = usize::try_from(seed % (added.len().max(1) as u64)).unwrap_or(0);
            added.rotate_left(turns);
            added.reverse();
            prop_assert_eq!(all(&added), once);
        }
    }

    #[test]
    fn the_largest_ids_are_no_trouble() {
        let mut spans = Spans::default();
        spans.add(Span { first: u64::MAX - 1, last: u64::MAX });
        spans.add(Span { first: 0, last: 0 });
        assert_eq!(spans.gap_before(u64::MAX), Some(Span { first: 1, last: u64::MAX - 2 }));
        spans.remove(Span { first: 0, last: u64::MAX });
        assert_eq!(spans, Spans::default());
    }
}
