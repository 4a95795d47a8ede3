//! How many bytes of unfinished uploads are on the disk: of each author, and in all.
//!
//! The log counts the files that are kept. What has arrived of an upload uses the disk as much as they do, whether the
//! upload is open or not, so the quotas count both.

use std::collections::HashMap;

use snug_protocol::Code;

use crate::refusal::Refusal;

/// The bytes of all unfinished uploads. Also, as far as it is known, those of the files that are kept beside them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The author of each upload, and the bytes of it that have arrived.
    uploads: HashMap<u64, (u64, u64)>,
    authors: HashMap<u64, Usage>,
    all: Usage,
}

/// How many bytes there are on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    /// Those of unfinished uploads.
    arrived: u64,
    /// Those of files that are kept.
    kept: u64,
}

impl Usage {
    fn bytes(self) -> u64 {
        self.arrived.saturating_add(self.kept)
    }
}

/// The quotas of one author: in bytes, unfinished uploads included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileQuota {
    /// What the author may have.
    pub(crate) own: u64,
    /// What all may have together, if this author is one of them.
    pub(crate) all: u64,
}

impl Parts {
    /// Sets how many bytes of an upload have arrived. `kept` is how many bytes its author's files have, unless that is
    /// known already.
    pub(super) fn set(&mut self, handle: u64, author: u64, arrived: u64, kept: u64) {
        let own = self.authors.entry(author).or_insert(Usage { arrived: 0, kept });
        own.arrived += arrived;
        self.all.arrived += arrived;
        if let Some((author, before)) = self.uploads.insert(handle, (author, arrived)) {
            self.shrink(author, before);
        }
    }

    /// Sets how many bytes the files of all have, and those of each author with uploads: what was taken back or has
    /// expired makes room.
    pub(super) fn set_kept(&mut self, all: u64, of: impl Fn(u64) -> Option<u64>) {
        self.all.kept = all;
        for (author, own) in &mut self.authors {
            own.kept = of(*author).unwrap_or(own.kept);
        }
    }

    /// Counts bytes that arrive for an upload that was set. Refuses them if there is no room for them.
    pub(super) fn take(&mut self, handle: u64, count: u64, quota: FileQuota) -> Result<(), Refusal> {
        let Some((author, arrived)) = self.uploads.get_mut(&handle) else {
            return Err(Refusal::new(Code::NoSuchFile, "the upload was given up"));
        };
        let own = self.authors.entry(*author).or_default();
        if own.bytes() + count > quota.own {
            let text = format!(
                "one may have {} bytes of files here, and you have {}, of which {} belong to uploads that are not \
                 complete; FILE LIST shows them, and FILE CANCEL gives one up",
                quota.own,
                own.bytes(),
                own.arrived
            );
            return Err(Refusal::new(Code::OverQuota, text));
        }
        if self.all.bytes() + count > quota.all {
            let text =
                "files and uploads fill what the daemon keeps; what has arrived is kept, so go on later";
            return Err(Refusal::new(Code::OverQuota, text));
        }
        *arrived += count;
        own.arrived += count;
        self.all.arrived += count;
        Ok(())
    }

    /// Takes back bytes that were counted and did not arrive.
    pub(super) fn give_back(&mut self, handle: u64, count: u64) {
        if let Some((author, arrived)) = self.uploads.get_mut(&handle) {
            *arrived = arrived.saturating_sub(count);
            let author = *author;
            self.shrink(author, count);
        }
    }

    /// Notes that the file of an upload is kept from now on, with this many bytes.
    pub(super) fn keep(&mut self, handle: u64, size: u64) {
        // It may have been counted before: two sessions can complete an upload.
        let Some((author, _)) = self.uploads.get(&handle) else { return };
        if let Some(own) = self.authors.get_mut(author) {
            own.kept += size;
        }
        self.all.kept += size;
        self.forget(handle);
    }

    /// Forgets an upload that is not there any more.
    pub(super) fn forget(&mut self, handle: u64) {
        let Some((author, arrived)) = self.uploads.remove(&handle) else { return };
        self.shrink(author, arrived);
        if !self.uploads.values().any(|(other, _)| *other == author) {
            self.authors.remove(&author);
        }
    }

    fn shrink(&mut self, author: u64, count: u64) {
        if let Some(own) = self.authors.get_mut(&author) {
            own.arrived = own.arrived.saturating_sub(count);
        }
        self.all.arrived = self.all.arrived.saturating_sub(count);
    }

    /// Returns the bytes of the unfinished uploads of an author, and of all.
    pub(super) fn arrived(&self, author: u64) -> (u64, u64) {
        (self.authors.get(&author).map_or(0, |own| own.arrived), self.all.arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_author_and_all_have_so_much() {
        let mut parts = Parts::default();
        let quota = FileQuota { own: 100, all: 150 };
        parts.set(1, 7, 0, 40);
        parts.set(2, 7, 0, 40);
        parts.set_kept(40, |_| None);
        assert_eq!(parts.take(1, 30, quota), Ok(()));
        assert_eq!(parts.take(2, 30, quota), Ok(()));
        let full = parts.take(1, 1, quota).expect_err("100 are there");
        assert!(full.text.contains("you have 100, of which 60"), "{}", full.text);
        parts.set(3, 8, 0, 0);
        assert_eq!(parts.take(3, 50, quota), Ok(()));
        assert_eq!(parts.take(3, 1, quota).expect_err("150 are there").code, Code::OverQuota);
        parts.keep(1, 30);
        parts.keep(1, 30);
        assert_eq!(parts.all.kept, 70, "once");
        assert_eq!(parts.take(2, 1, quota).expect_err("it is kept").code, Code::OverQuota);
        // Something is taken back.
        parts.set_kept(0, |_| Some(0));
        assert_eq!(parts.take(2, 1, quota), Ok(()));
        parts.forget(3);
        parts.forget(2);
        assert_eq!(parts.arrived(7), (0, 0));
        assert_eq!(parts.take(2, 1, quota).expect_err("it is gone").code, Code::NoSuchFile);
    }

    proptest! {
        /// Whatever happens, the sums are those of the uploads.
        #[test]
        fn the_sums_are_right(steps in prop::collection::vec((0u8..5, 1u64..6, 0u64..50), 0..60)) {
            let mut parts = Parts::default();
            let mut kept = 0;
            for (step, handle, count) in steps {
                match step {
                    0 => parts.set(handle, handle % 3, count, 0),
                    1 => {
                        let _ = parts.take(handle, count, FileQuota { own: 90, all: 120 });
                    }
                    2 => parts.forget(handle),
                    3 => {
                        kept += if parts.uploads.contains_key(&handle) { count } else { 0 };
                        parts.keep(handle, count);
                    }
                    _ => {
                        if parts.take(handle, count, FileQuota { own: u64::MAX, all: u64::MAX }).is_ok() {
                            parts.give_back(handle, count);
                        }
                    }
                }
                prop_assert_eq!(parts.all.kept, kept);
                for author in 0..3 {
                    let of = parts.uploads.values().filter(|(other, _)| *other == author);
                    let sum: u64 = of.map(|(_, arrived)| arrived).sum();
                    prop_assert_eq!(parts.arrived(author).0, sum);
                }
                prop_assert_eq!(parts.all.arrived, parts.uploads.values().map(|(_, arrived)| arrived).sum::<u64>());
            }
        }
    }
}
