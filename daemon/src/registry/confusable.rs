//! Names that can be mistaken for each other.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use snug_protocol::Skeletons;

/// An index that finds names that look alike, by the hashes of their skeletons. If two hashes collide by chance, a
/// harmless name is refused: about once in 10^14 names.
#[derive(Default)]
pub(super) struct ConfusableIndex {
    hasher: RandomState,
    ascii: HashMap<u64, u32>,
    other: HashMap<u64, u32>,
}

impl ConfusableIndex {
    pub(super) fn add(&mut self, name: &str) {
        let (hashes, is_ascii) = self.hashes(name);
        let index = if is_ascii { &mut self.ascii } else { &mut self.other };
        for hash in hashes {
            *index.entry(hash).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let (hashes, is_ascii) = self.hashes(name);
        let index = if is_ascii { &mut self.ascii } else { &mut self.other };
        for hash in hashes {
            if let Some(count) = index.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    index.remove(&hash);
                }
            }
        }
    }

    /// Returns whether a name in the index can be mistaken for `name`.
    pub(super) fn has_alike(&self, name: &str) -> bool {
        let (hashes, is_ascii) = self.hashes(name);
        hashes.iter().any(|hash| self.other.contains_key(hash) || !is_ascii && self.ascii.contains_key(hash))
    }

    /// Returns how many hashes it holds, and how often in all; of ASCII names and of others.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [(usize, u32); 2] {
        [&self.ascii, &self.other].map(|index| (index.len(), index.values().sum()))
    }

    fn hashes(&self, name: &str) -> (HashSet<u64>, bool) {
        let confusable = Skeletons::of(name);
        (
            confusable.skeletons.iter().map(|skeleton| self.hasher.hash_one(skeleton)).collect(),
            confusable.ascii,
        )
    }
}
