//! Files: what comes in, what lies there, what goes out.
//!
//! The log knows what is offered to whom ([`crate::log::FileAct`]); here are the contents, and the uploads on their way.
//! Pieces go to a thread of [`lanes`], in order; a content is put into its place before the log hears of it, so that an
//! entry never offers what is not there.

mod lanes;
pub(crate) use lanes::{submit, submit_slow};

mod store;
pub(crate) use store::{Store, content_path, read_all};

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ring::digest;
use snug_protocol::{Code, ContentHash};

use crate::log::{Refusal, StoredUpload, View};

/// See the module.
#[derive(Default)]
pub(crate) struct Files {
    lanes: lanes::Lanes,
    /// There is none if the daemon has no folder.
    store: OnceLock<Store>,
    uploads: Mutex<HashMap<u64, Arc<Mutex<Upload>>>>,
    /// Contents that are about to be offered, and by how many: nobody takes them away.
    pinned: Mutex<HashMap<ContentHash, u32>>,
}

/// An upload on its way.
pub(crate) struct Upload {
    pub(crate) stored: StoredUpload,
    file: File,
    /// How many bytes have come, and their hash so far.
    offset: u64,
    digest: digest::Context,
    /// When something last came, in milliseconds of the daemon's clock.
    touched: u64,
}

/// How long an upload stays open that nothing comes of, in milliseconds. After that its hash is made anew when it goes on.
const IDLE: u64 = 120_000;

impl Files {
    /// Says where contents lie.
    pub(crate) fn set_store(&self, store: Store) {
        let _ = self.store.set(store);
    }

    #[cfg(test)]
    pub(crate) fn set_inline(&self) {
        self.lanes.set_inline();
    }

    /// Where contents lie, if there is such a place.
    pub(crate) fn store(&self) -> Result<&Store, Refusal> {
        self.store.get().ok_or_else(|| {
            Refusal::new(Code::Unavailable, "this daemon keeps nothing on disk, and so it takes no files")
        })
    }

    /// Refuses bytes that would leave less than `reserve` free on the disk. Looked at now and then.
    pub(crate) fn must_have_room(&self, offset: u64, count: u64, reserve: u64) -> Result<(), Refusal> {
        const EVERY: u64 = 8 << 20;
        if offset / EVERY == (offset + count) / EVERY && offset > 0 {
            return Ok(());
        }
        if self.store()?.free().is_some_and(|free| free < reserve.saturating_add(EVERY)) {
            let text = "the daemon's disk is nearly full; what has come stays, go on later";
            return Err(Refusal::new(Code::StorageFull, text));
        }
        Ok(())
    }

    /// An upload that is open.
    pub(crate) fn upload(&self, handle: u64) -> Option<Arc<Mutex<Upload>>> {
        self.uploads().get(&handle).map(Arc::clone)
    }

    /// Opens an upload, and reads what has come of it.
    pub(crate) fn open(&self, stored: StoredUpload, now: u64) -> Result<Arc<Mutex<Upload>>, Refusal> {
        if let Some(upload) = self.upload(stored.handle) {
            return Ok(upload);
        }
        let handle = stored.handle;
        let open = || -> io::Result<Upload> {
            let file = self.store().map_err(|refusal| io::Error::other(refusal.text))?.open_part(handle)?;
            let mut digest = digest::Context::new(&digest::SHA256);
            let offset = read_all(&file, |piece| digest.update(piece))?;
            Ok(Upload { stored, file, offset, digest, touched: now })
        };
        let upload = Arc::new(Mutex::new(open().map_err(|error| trouble(&error))?));
        // Somebody else may have opened it meanwhile: theirs it is.
        Ok(Arc::clone(self.uploads().entry(handle).or_insert(upload)))
    }

    /// Forgets an upload that is over, with what has come of it.
    pub(crate) fn close(&self, handle: u64) {
        self.uploads().remove(&handle);
        if let Ok(store) = self.store() {
            store.discard_part(handle);
        }
    }

    /// Closes the uploads of which nothing has come for a while; they can still be gone on with.
    pub(crate) fn close_idle(&self, now: u64) {
        self.uploads().retain(|_, upload| match upload.try_lock() {
            Ok(upload) => now.saturating_sub(upload.touched) < IDLE,
            Err(_) => true,
        });
    }

    /// Whether what has its OK survives the loss of power.
    pub(crate) fn syncs(&self) -> bool {
        self.store.get().is_some_and(Store::syncs)
    }

    /// How many uploads are open.
    pub(crate) fn open_count(&self) -> usize {
        self.uploads().len()
    }

    /// Puts what an upload has brought into its place. Until [`Files::settled`] nobody takes it away.
    pub(crate) fn keep(&self, upload: &Mutex<Upload>, hash: ContentHash) -> Result<(), Refusal> {
        *self.pinned().entry(hash).or_default() += 1;
        let kept = {
            let upload = lock(upload);
            let store = self.store()?;
            upload.file.try_clone().and_then(|file| store.keep(upload.stored.handle, &file, hash))
        };
        kept.map_err(|error| {
            self.unpin(hash);
            trouble(&error)
        })
    }

    /// What was put into its place is offered now, or will not be.
    pub(crate) fn settled(&self, handle: u64, hash: ContentHash, is_offered: bool, view: &View<'_>) {
        self.unpin(hash);
        if is_offered {
            self.close(handle);
        } else {
            self.discard(hash, view);
        }
    }

    /// Takes a content away that nothing refers to. On the writer's thread, so that nothing comes to refer to it meanwhile.
    fn discard(&self, hash: ContentHash, view: &View<'_>) {
        let pinned = self.pinned();
        if pinned.contains_key(&hash) || !matches!(view.has_content(hash), Ok(false)) {
            return;
        }
        if let Ok(store) = self.store() {
            store.discard_content(hash);
        }
    }

    /// Takes contents away to which nothing refers any more, some at a time, and gives those that need no other look.
    pub(crate) fn sweep(&self, view: &View<'_>) -> Vec<ContentHash> {
        const AT_ONCE: u64 = 64;
        let mut unstored = view.unstored(AT_ONCE).unwrap_or_default();
        unstored.retain(|hash| !self.pinned().contains_key(hash));
        for hash in &unstored {
            self.discard(*hash, view);
        }
        unstored
    }

    fn unpin(&self, hash: ContentHash) {
        let mut pinned = self.pinned();
        if let Some(count) = pinned.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(&hash);
            }
        }
    }

    fn pinned(&self) -> MutexGuard<'_, HashMap<ContentHash, u32>> {
        lock(&self.pinned)
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mutex<Upload>>>> {
        lock(&self.uploads)
    }
}

impl Upload {
    /// How many bytes have come.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The file, each time that so much more has come that the disk should begin with it: else all of it waits for DONE.
    pub(crate) fn to_sync(&self, count: usize) -> Option<File> {
        const EVERY: u64 = 32 << 20;
        let before = self.offset - (count as u64).min(self.offset);
        (before / EVERY != self.offset / EVERY).then(|| self.file.try_clone().ok()).flatten()
    }

    /// Takes the next bytes, and gives how many have come with them.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8], now: u64) -> Result<u64, Refusal> {
        if offset != self.offset {
            let text = format!("the next byte is the one at {}", self.offset);
            return Err(Refusal::new(Code::BadOffset, text).at(self.offset));
        }
        let end = self.offset + bytes.len() as u64;
        if let Some(size) = self.stored.size.filter(|size| end > *size) {
            let text = format!("the file was to have {size} bytes, and this would be more");
            return Err(Refusal::new(Code::BadOffset, text).at(self.offset));
        }
        if end > self.stored.most {
            let text = format!("this upload may have {} bytes", self.stored.most);
            return Err(Refusal::new(Code::OverQuota, text));
        }
        if let Err(error) = self.file.write_all_at(bytes, self.offset) {
            // What may have come of it is not counted, and is written over.
            let _ = self.file.set_len(self.offset);
            return Err(trouble(&error));
        }
        self.digest.update(bytes);
        self.offset = end;
        self.touched = now;
        Ok(end)
    }

    /// Whether all of it is there and is what was said.
    pub(crate) fn check(&self, size: u64, hash: ContentHash) -> Result<(), Refusal> {
        if size != self.offset {
            let text = format!("{} bytes have come, and not {size}", self.offset);
            return Err(Refusal::new(Code::BadOffset, text).at(self.offset));
        }
        if let Some(said) = self.stored.size.filter(|said| *said != size) {
            let text = format!("OFFER said that it would have {said} bytes; send the rest");
            return Err(Refusal::new(Code::BadOffset, text).at(self.offset));
        }
        let found = self.digest.clone().finish();
        let is_right = found.as_ref() == hash.0 && self.stored.hash.is_none_or(|said| said == hash);
        if !is_right {
            let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            let text = format!("what has come has the sha256 {found}; FILE CANCEL and send it again");
            return Err(Refusal::new(Code::HashMismatch, text));
        }
        Ok(())
    }
}

/// Reads a piece of a content.
pub(crate) fn read_piece(file: &File, offset: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(count);
    while piece.len() < count {
        let at = offset + piece.len() as u64;
        if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut piece), at)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    piece.truncate(count);
    Ok(piece)
}

/// The same, if it can be had without waiting for a disk.
pub(crate) fn read_piece_at_once(file: &File, offset: u64, count: usize) -> Option<Vec<u8>> {
    let mut piece = vec![0; count];
    let mut into = [io::IoSliceMut::new(&mut piece)];
    let read = rustix::io::preadv2(file, &mut into, offset, rustix::io::ReadWriteFlags::NOWAIT);
    (read == Ok(count)).then_some(piece)
}

/// What an error of the disk is to whom it concerns.
pub(crate) fn trouble(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            let text = "the daemon's disk is full; what has come stays, go on later";
            Refusal::new(Code::StorageFull, text)
        }
        _ => {
            tracing::error!("a file cannot be read or written: {error}");
            Refusal::new(Code::Unavailable, "the daemon cannot read or write the file now; go on later")
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
