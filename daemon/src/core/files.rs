//! Files: uploads, stored contents and fetches.
//!
//! The log knows which file is offered to whom ([`crate::log::FileAct`]). This module has the contents, and the
//! uploads in progress. A session's requests run in order, on one of the threads for files. A content is put in its
//! place before the log hears of it, so an entry never offers a missing content.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use ring::digest;
use snug_protocol::{Code, ContentHash};

use crate::content_store::{self, ContentStore, read_all};
use crate::core::parts::{FileQuota, Parts};
use crate::log::{Finished, StoredUpload, View};
use crate::refusal::Refusal;
use crate::workers::{Job, Workers};

/// The uploads and fetches in progress, and the store of contents.
#[derive(Default)]
pub(crate) struct Files {
    threads: Threads,
    /// Empty if the daemon has no data folder.
    store: OnceLock<Arc<ContentStore>>,
    uploads: Mutex<HashMap<u64, Arc<Mutex<Upload>>>>,
    /// Uploads that were closed for good recently. They are not opened again.
    closed: Mutex<VecDeque<u64>>,
    /// How many bytes of uploads there are, whether they are open or not.
    parts: Mutex<Parts>,
    /// Bytes written so far, which decide when the free space is checked again; and whether it was too little last
    /// time.
    written: AtomicU64,
    is_full: AtomicBool,
    /// The number of times that somebody may have lost access to a file.
    access: AtomicU64,
    /// The files that sessions are fetching.
    fetches: Mutex<Vec<WeakFetch>>,
    /// Contents that are about to be offered, with the number of uploads that do so. They must not be removed.
    pinned: Mutex<HashMap<ContentHash, u32>>,
}

/// An upload in progress.
pub(crate) struct Upload {
    pub(crate) stored: StoredUpload,
    file: File,
    /// The number of bytes that have arrived, and their hash so far.
    offset: u64,
    digest: digest::Context,
    /// Whether it is, or was, a stored content too, so that nothing may be appended.
    is_kept: bool,
    /// When bytes last arrived, in milliseconds of the daemon's clock.
    touched: u64,
}

/// A file that a session is fetching. It saves the access check for each piece.
pub(crate) struct Fetching {
    pub(crate) entry: u64,
    pub(crate) size: u64,
    pub(crate) file: File,
    /// When access must be checked again, in milliseconds of the daemon's clock; and [`Files::access`] before it was checked.
    pub(crate) until: u64,
    pub(crate) access: u64,
    /// The number of pieces that wait for a thread.
    pub(crate) queued: AtomicUsize,
}

/// A session's slot for the file that it is fetching, shared with the jobs that answer it.
pub(crate) type Fetch = Arc<Mutex<Option<Arc<Fetching>>>>;

type WeakFetch = Weak<Mutex<Option<Arc<Fetching>>>>;

/// Maximum number of open uploads; each has an open file.
const OPEN: usize = 256;

/// Maximum number of closed uploads to remember. Commands in flight may still name them.
const CLOSED: usize = 1_024;

/// How long an upload without new bytes stays open, in milliseconds. If it is resumed later, its hash is computed
/// anew.
const IDLE: u64 = 120_000;

/// The threads that read and write files, so that a slow disk delays only the connections whose files it has.
struct Threads {
    /// For pieces. All requests of a session go to one of these, chosen by the session's number, and run in order.
    quick: [Arc<Workers>; 2],
    /// For jobs that may take seconds, above all those that wait until everything is on the disk.
    slow: Arc<Workers>,
}

impl Default for Threads {
    fn default() -> Threads {
        let one = || Workers::new("snug-files", 1, Duration::from_secs(1));
        Threads { quick: [one(), one()], slow: one() }
    }
}

impl Files {
    /// Sets the store of contents.
    pub(crate) fn set_store(&self, store: ContentStore) {
        let _ = self.store.set(Arc::new(store));
    }

    /// Counts the files and uploads that are there already.
    pub(crate) fn count(&self, view: &View<'_>) -> rusqlite::Result<()> {
        let Some(store) = self.store.get() else { return Ok(()) };
        let mut parts = lock(&self.parts);
        parts.set_kept(view.bytes_kept(None)?, |_| None);
        for (handle, author) in view.open_uploads()? {
            let arrived = store.part_length(handle).unwrap_or(0);
            parts.set(handle, author, arrived, view.bytes_kept(Some(author))?);
        }
        Ok(())
    }

    /// Queues a quick job for a session, behind its earlier ones.
    pub(crate) fn submit(&self, session: u64, job: Job) {
        let quick = &self.threads.quick;
        quick[usize::try_from(session).unwrap_or(0) % quick.len()].submit(job);
    }

    /// Queues a job that may take seconds.
    pub(crate) fn submit_slow(&self, job: Job) {
        self.threads.slow.submit(job);
    }

    /// Runs every job on the caller's thread.
    #[cfg(test)]
    pub(crate) fn set_inline(&self) {
        self.threads.quick.iter().chain([&self.threads.slow]).for_each(|workers| workers.set_inline());
    }

    /// Returns the store of contents. Refuses if there is none.
    pub(crate) fn store(&self) -> Result<&Arc<ContentStore>, Refusal> {
        self.store.get().ok_or_else(|| {
            Refusal::new(Code::Unavailable, "this daemon keeps nothing on disk, and so it takes no files")
        })
    }

    /// Refuses `count` bytes if they would leave less than `reserve` bytes free on the disk. Asks the system every 8
    /// MiB only, or each time while the disk is full.
    pub(crate) fn must_have_room(&self, count: u64, reserve: u64) -> Result<(), Refusal> {
        const EVERY: u64 = 8 << 20;
        let before = self.written.fetch_add(count, Relaxed);
        if before / EVERY == (before + count) / EVERY && !self.is_full.load(Relaxed) {
            return Ok(());
        }
        let is_full = self.store()?.free().is_some_and(|free| free < reserve.saturating_add(EVERY));
        self.is_full.store(is_full, Relaxed);
        if is_full {
            let text = "the daemon's disk is nearly full; what has come stays, go on later";
            return Err(Refusal::new(Code::StorageFull, text));
        }
        Ok(())
    }

    /// Returns how many bytes of an upload have arrived, whether it is open or not.
    pub(crate) fn arrived_of(&self, handle: u64) -> Result<u64, Refusal> {
        match self.upload(handle) {
            Some(upload) => Ok(lock(&upload).offset),
            None => self.store()?.part_length(handle).map_err(|error| trouble(&error)),
        }
    }

    /// Returns the bytes of the unfinished uploads of an author, and of all.
    pub(crate) fn arrived_of_author(&self, author: u64) -> (u64, u64) {
        lock(&self.parts).arrived(author)
    }

    /// Counts the files that are kept anew, for the quotas of uploads.
    pub(crate) fn count_kept(&self, view: &View<'_>) {
        if let Ok(all) = view.bytes_kept(None) {
            lock(&self.parts).set_kept(all, |author| view.bytes_kept(Some(author)).ok());
        }
    }

    /// Remembers a session's fetch, so that its file is closed when it is not continued.
    pub(crate) fn watch_fetch(&self, fetch: &Fetch) {
        let mut fetches = lock(&self.fetches);
        fetches.retain(|other| other.strong_count() > 0);
        if !fetches.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(fetch))) {
            fetches.push(Arc::downgrade(fetch));
        }
    }

    /// Lets the access to every file that is being fetched be checked again with its next piece: somebody may read less
    /// than before.
    pub(crate) fn check_access_again(&self) {
        self.access.fetch_add(1, Relaxed);
    }

    /// Returns the number of times that somebody may have lost access to a file.
    pub(crate) fn access(&self) -> u64 {
        self.access.load(Relaxed)
    }

    /// Returns an open upload.
    pub(crate) fn upload(&self, handle: u64) -> Option<Arc<Mutex<Upload>>> {
        self.uploads().get(&handle).map(Arc::clone)
    }

    /// Opens an upload of an author whose files have `kept` bytes. Reads all of it to hash it, which may take a while.
    pub(crate) fn open(
        &self,
        stored: StoredUpload,
        kept: u64,
        now: u64,
    ) -> Result<Arc<Mutex<Upload>>, Refusal> {
        if let Some(upload) = self.upload(stored.handle) {
            return Ok(upload);
        }
        self.close_one_if_full()?;
        let handle = stored.handle;
        let open = || -> io::Result<Upload> {
            let file = self.store().map_err(|refusal| io::Error::other(refusal.text))?.open_part(handle)?;
            let is_kept = content_store::has_other_links(&file)?;
            let mut digest = digest::Context::new(&digest::SHA256);
            let offset = read_all(&file, |piece| digest.update(piece))?;
            Ok(Upload { stored, file, offset, digest, is_kept, touched: now })
        };
        let upload = open().map_err(|error| trouble(&error))?;
        let mut uploads = self.uploads();
        if lock(&self.closed).contains(&handle) {
            drop(uploads);
            self.close(handle);
            return Err(Refusal::new(Code::NoSuchFile, "the upload was given up"));
        }
        if let Some(other) = uploads.get(&handle) {
            // Another thread has opened it meanwhile, and its state counts.
            return Ok(Arc::clone(other));
        }
        lock(&self.parts).set(handle, upload.stored.author, upload.offset, kept);
        let upload = Arc::new(Mutex::new(upload));
        uploads.insert(handle, Arc::clone(&upload));
        Ok(upload)
    }

    /// Makes room for one more open upload by closing the one that has been idle longest. It can be opened again.
    fn close_one_if_full(&self) -> Result<(), Refusal> {
        let mut uploads = self.uploads();
        if uploads.len() < OPEN {
            return Ok(());
        }
        let idle = |(handle, upload): (&u64, &Arc<Mutex<Upload>>)| {
            (Arc::strong_count(upload) == 1).then(|| (lock(upload).touched, *handle))
        };
        let Some((_, handle)) = uploads.iter().filter_map(idle).min() else {
            let text = "too much is sent at the same time; go on in a moment";
            return Err(Refusal::new(Code::SlowDown, text).after(1_000));
        };
        uploads.remove(&handle);
        Ok(())
    }

    /// Closes an upload for good, and discards its bytes.
    pub(crate) fn close(&self, handle: u64) {
        {
            let mut closed = lock(&self.closed);
            closed.push_back(handle);
            if closed.len() > CLOSED {
                closed.pop_front();
            }
        }
        self.uploads().remove(&handle);
        lock(&self.parts).forget(handle);
        if let Ok(store) = self.store() {
            store.discard_part(handle);
        }
    }

    /// Closes the uploads and fetches that have been idle for a while. Both can be resumed.
    pub(crate) fn close_idle(&self, now: u64) {
        self.uploads().retain(|_, upload| {
            // If a job still has it, it would go on with an upload that nobody else sees.
            Arc::strong_count(upload) > 1 || now.saturating_sub(lock(upload).touched) < IDLE
        });
        lock(&self.fetches).retain(|fetch| {
            let Some(fetch) = fetch.upgrade() else { return false };
            let mut fetch = lock(&fetch);
            let is_over = fetch.as_ref().is_none_or(|fetching| fetching.until <= now);
            if is_over {
                *fetch = None;
            }
            !is_over
        });
    }

    /// Returns the open uploads: those that have received bytes recently.
    pub(crate) fn open_handles(&self) -> Vec<u64> {
        self.uploads().keys().copied().collect()
    }

    /// Frees the space of what was discarded.
    pub(crate) fn empty(&self) {
        if let Ok(store) = self.store()
            && store.has_gone()
        {
            let store = Arc::clone(store);
            self.submit_slow(Box::new(move || store.empty()));
        }
    }

    /// Returns whether a file survives a loss of power once its OK is sent.
    pub(crate) fn syncs(&self) -> bool {
        self.store.get().is_some_and(|store| store.syncs())
    }

    /// Returns the number of open uploads.
    pub(crate) fn open_count(&self) -> usize {
        self.uploads().len()
    }

    /// Puts the content of a complete upload in its place. It is not removed before [`Files::settled`].
    pub(crate) fn keep(&self, upload: &Mutex<Upload>, size: u64, hash: ContentHash) -> Result<(), Refusal> {
        // Nothing is appended from here on, so the lock is released before the disk is waited for.
        let (file, handle) = {
            let mut upload = lock(upload);
            upload.check(size, hash)?;
            upload.is_kept = true;
            (upload.file.try_clone().map_err(|error| trouble(&error))?, upload.stored.handle)
        };
        *self.pinned().entry(hash).or_default() += 1;
        self.store()?.adopt(handle, &file, hash).map_err(|error| {
            self.unpin(hash);
            trouble(&error)
        })
    }

    /// Notes whether a content that [`Files::keep`] put in its place is offered. If it is not, removes it, unless
    /// something else refers to it.
    pub(crate) fn settled(&self, finished: &Finished, is_offered: bool, view: &View<'_>) {
        let Finished { handle, size, hash, .. } = *finished;
        self.unpin(hash);
        if is_offered {
            lock(&self.parts).keep(handle, size);
            self.close(handle);
        } else {
            self.discard(hash, view);
        }
    }

    /// Removes a content that nothing refers to. Runs on the writer's thread, so that no reference to it appears
    /// meanwhile.
    fn discard(&self, hash: ContentHash, view: &View<'_>) {
        let pinned = self.pinned();
        if pinned.contains_key(&hash) || !matches!(view.has_content(hash), Ok(false)) {
            return;
        }
        if let Ok(store) = self.store() {
            store.discard_content(hash);
        }
    }

    /// Removes some contents that nothing refers to any more, and returns those that need no further look.
    pub(crate) fn sweep(&self, view: &View<'_>) -> Vec<ContentHash> {
        const AT_ONCE: u64 = 64;
        self.count_kept(view);
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
    /// Returns the file each time another 32 MiB have arrived, so that it is synced early. Otherwise DONE would wait
    /// for all of it.
    pub(crate) fn to_sync(&self, count: usize) -> Option<File> {
        const EVERY: u64 = 32 << 20;
        let before = self.offset - (count as u64).min(self.offset);
        (before / EVERY != self.offset / EVERY).then(|| self.file.try_clone().ok()).flatten()
    }

    /// Appends bytes, and returns how many have arrived in total.
    pub(crate) fn put(
        &mut self,
        files: &Files,
        (offset, bytes): (u64, &[u8]),
        quota: FileQuota,
        now: u64,
    ) -> Result<u64, Refusal> {
        if self.is_kept {
            let text = "all of it has come; FILE DONE ends the upload, FILE CANCEL gives it up";
            return Err(Refusal::new(Code::BadOffset, text).at(self.offset));
        }
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
        let count = bytes.len() as u64;
        lock(&files.parts).take(self.stored.handle, count, quota)?;
        if let Err(error) = self.file.write_all_at(bytes, self.offset) {
            lock(&files.parts).give_back(self.stored.handle, count);
            // A part of the bytes may be in the file. They are not counted, and are overwritten later.
            let _ = self.file.set_len(self.offset);
            return Err(trouble(&error));
        }
        self.digest.update(bytes);
        self.offset = end;
        self.touched = now;
        Ok(end)
    }

    /// Checks that the upload is complete and has the announced size and hash.
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

/// Does the same if that is possible without waiting for a disk.
pub(crate) fn read_piece_at_once(file: &File, offset: u64, count: usize) -> Option<Vec<u8>> {
    let mut piece = vec![0; count];
    let mut into = [io::IoSliceMut::new(&mut piece)];
    let read = rustix::io::preadv2(file, &mut into, offset, rustix::io::ReadWriteFlags::NOWAIT);
    (read == Ok(count)).then_some(piece)
}

/// Returns the refusal for an error of the disk. Logs it unless the disk is full.
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
