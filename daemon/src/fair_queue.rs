//! A queue in which users take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue that serves its payers in turn: whoever queues much waits behind everybody who queues little. The work of
/// each payer keeps its order.
#[derive(Debug)]
pub(crate) struct FairQueue<P, T> {
    /// The payers with work, in the order of their turns.
    turns: VecDeque<P>,
    waiting: HashMap<P, VecDeque<T>>,
    count: usize,
}

impl<P, T> Default for FairQueue<P, T> {
    fn default() -> FairQueue<P, T> {
        FairQueue { turns: VecDeque::new(), waiting: HashMap::new(), count: 0 }
    }
}

impl<P: Copy + Eq + Hash, T> FairQueue<P, T> {
    /// Appends work of a payer.
    pub(crate) fn push(&mut self, payer: P, work: T) {
        let own = self.waiting.entry(payer).or_default();
        if own.is_empty() {
            self.turns.push_back(payer);
        }
        own.push_back(work);
        self.count += 1;
    }

    /// Returns how much work waits, in all and of a payer.
    pub(crate) fn len(&self, payer: P) -> (usize, usize) {
        let own = self.waiting.get(&payer).map_or(0, VecDeque::len);
        (self.count, own)
    }

    /// Returns whether no work waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Removes the newest work of the payer who has most of it.
    pub(crate) fn shed(&mut self) {
        let Some(payer) = self.waiting.iter().max_by_key(|(_, own)| own.len()).map(|(payer, _)| *payer)
        else {
            return;
        };
        if let Some(own) = self.waiting.get_mut(&payer) {
            self.count -= usize::from(own.pop_back().is_some());
            if own.is_empty() {
                self.waiting.remove(&payer);
                self.turns.retain(|turn| *turn != payer);
            }
        }
    }

    /// Takes the oldest work of the payer whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(P, T)> {
        let payer = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&payer)?;
        let work = own.pop_front()?;
        self.count -= 1;
        if own.is_empty() {
            self.waiting.remove(&payer);
        } else {
            self.turns.push_back(payer);
        }
        Some((payer, work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payers_take_turns() {
        let mut queue = FairQueue::default();
        for work in 0..5 {
            queue.push('m', work);
        }
        queue.push('a', 10);
        queue.push('b', 20);
        queue.push('a', 11);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [('m', 0), ('a', 10), ('b', 20), ('m', 1), ('a', 11), ('m', 2), ('m', 3), ('m', 4)];
        assert_eq!(order, expected);
    }

    #[test]
    fn whoever_has_most_loses_the_newest_first() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|work| queue.push('m', work));
        queue.push('a', 10);
        queue.shed();
        assert_eq!(queue.len('m'), (3, 2));
        queue.shed();
        queue.shed();
        queue.shed();
        queue.shed();
        assert!(queue.pop().is_none() && queue.is_empty());
        assert_eq!(queue.len('a'), (0, 0));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_everybody_s_order_holds(work in prop::collection::vec((0u8..5, any::<bool>()), 0..200)) {
            let mut queue = FairQueue::default();
            let mut taken = Vec::new();
            for (number, (payer, takes)) in work.iter().enumerate() {
                queue.push(*payer, number);
                if *takes {
                    taken.extend(queue.pop());
                }
            }
            taken.extend(std::iter::from_fn(|| queue.pop()));
            prop_assert_eq!(queue.len(0), (0, 0));
            for payer in 0..5 {
                let own = |all: &[(u8, usize)]| -> Vec<usize> {
                    all.iter().filter(|(whose, _)| *whose == payer).map(|(_, number)| *number).collect()
                };
                let queued: Vec<_> = work.iter().enumerate().map(|(number, (payer, _))| (*payer, number)).collect();
                prop_assert_eq!(own(&taken), own(&queued));
            }
        }
    }
}
