//! The identities that have, or had last, each name: so that a name is found in the same time among ten identities and
//! among a hundred thousand.

use std::collections::HashMap;

use smallvec::SmallVec;
use snug_protocol::Folded;

/// The numbers of identities by their folded nicknames, online or offline, the latest last.
#[derive(Default)]
pub(super) struct Namesakes(HashMap<Folded, SmallVec<[u64; 2]>>);

/// Maximum number of identities of one name that are found by it. Guests take the same name again and again.
const MOST: usize = 16;

impl Namesakes {
    pub(super) fn add(&mut self, fold: &Folded, number: u64) {
        let numbers = self.0.entry(fold.clone()).or_default();
        numbers.retain(|other| *other != number);
        numbers.push(number);
        if numbers.len() > MOST {
            numbers.remove(0);
        }
    }

    pub(super) fn remove(&mut self, fold: &Folded, number: u64) {
        if let Some(numbers) = self.0.get_mut(fold) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.0.remove(fold);
            }
        }
    }

    /// Returns the identities of a name; at most 16.
    pub(super) fn of(&self, fold: &Folded) -> &[u64] {
        self.0.get(fold).map_or(&[], SmallVec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use snug_protocol::Nick;

    use super::*;

    #[test]
    fn a_name_leads_to_the_latest_who_had_it_however_many_there_are() {
        let fold = |nick: &str| Nick::parse(nick).expect("a name").fold();
        let mut namesakes = Namesakes::default();
        for number in 0..1_000 {
            namesakes.add(&fold("bob"), number);
        }
        // The steps of a lookup are bounded by what it returns.
        assert_eq!(namesakes.of(&fold("Bob")), (984..1_000).collect::<Vec<u64>>());
        namesakes.add(&fold("bob"), 990);
        assert_eq!(namesakes.of(&fold("bob")).last(), Some(&990));
        for number in 0..1_000 {
            namesakes.remove(&fold("bob"), number);
        }
        assert!(namesakes.of(&fold("bob")).is_empty() && namesakes.0.is_empty());
    }
}
