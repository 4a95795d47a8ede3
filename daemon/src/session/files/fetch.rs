//! Handler of FILE GET: sends a file, piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use snug_protocol::{Body, Code, Cursor, ServerLine, TagBuilder, limits};

use crate::answer::Answer;
use crate::core::files::{self, Fetching, lock};
use crate::refusal::Refusal;
use crate::registry::responder::Responder;
use crate::session::{Answered, Pipeline, Session};

/// How long a session may fetch from a file before its access is checked again, in milliseconds.
const TRUSTED: u64 = 5_000;

impl Session {
    pub(super) fn fetch(
        &mut self,
        id: Cursor,
        (offset, count): (u64, u64),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let asked = Asked { offset, count: count.min(limits::FILE_CHUNK) };
        answer.size += usize::try_from(asked.count).unwrap_or(0);
        // The file as it was when `pipeline_of` decided what this command may be under way with.
        let fetching = lock(&self.fetch).clone();
        let fetching = fetching.filter(|fetching| fetching.entry == entry && self.pipeline == Pipeline::Gets);
        if let Some(fetching) = fetching {
            let responder = Responder::new(&self.peer, answer);
            // Bytes in the system's cache need no thread, unless earlier pieces wait for one.
            if fetching.queued.load(Relaxed) == 0
                && let Some((offset, count)) = asked.part(&fetching)
                && let Some(bytes) = files::read_piece_at_once(&fetching.file, offset, count)
            {
                asked.answer_with(bytes, &fetching, responder);
                return Ok(Answered::InFlight);
            }
            fetching.queued.fetch_add(1, Relaxed);
            let work = move || {
                asked.answer(&fetching, responder);
                fetching.queued.fetch_sub(1, Relaxed);
            };
            self.core.files.submit(self.peer.id, Box::new(work));
            return Ok(Answered::InFlight);
        }
        let fetch = Arc::clone(&self.fetch);
        let access = self.core.files.access();
        Ok(self.with_file(entry, answer, move |core, responder, found| {
            let file = match found {
                Ok(file) => file,
                Err(refusal) => {
                    core.counters.refused.count(refusal.code);
                    return responder.give(Err(refusal));
                }
            };
            let (session, shared) = (responder.peer().id, Arc::clone(core));
            let open = move || {
                let core = shared;
                let store = core.files.store();
                let opened = store
                    .and_then(|store| store.open_content(file.hash).map_err(|error| files::trouble(&error)));
                match opened {
                    Err(refusal) => responder.give(Err(refusal)),
                    Ok(content) => {
                        let (until, queued) = (core.now() + TRUSTED, AtomicUsize::new(0));
                        let size = file.size;
                        let fetching = Fetching { entry, size, file: content, until, access, queued };
                        let fetching = Arc::new(fetching);
                        *lock(&fetch) = Some(Arc::clone(&fetching));
                        core.files.watch_fetch(&fetch);
                        asked.answer(&fetching, responder);
                    }
                }
            };
            core.files.submit(session, Box::new(open));
        }))
    }

    /// Returns the file that the session is fetching from, if it is this one and its access was checked recently.
    pub(super) fn fetching(&self, entry: u64) -> Option<Arc<Fetching>> {
        let now = self.core.now();
        let mut fetch = lock(&self.fetch);
        let access = self.core.files.access();
        let is_fresh = fetch.as_ref().is_some_and(|fetching| {
            fetching.entry == entry && now < fetching.until && fetching.access == access
        });
        if !is_fresh {
            *fetch = None;
        }
        fetch.clone()
    }
}

/// The part of a file that a client asks for.
#[derive(Clone, Copy)]
struct Asked {
    offset: u64,
    count: u64,
}

impl Asked {
    /// Returns the offset and count of the bytes to send, if there are any.
    fn part(self, fetching: &Fetching) -> Option<(u64, usize)> {
        let left = fetching.size.checked_sub(self.offset).filter(|left| *left > 0)?;
        let count = usize::try_from(self.count.min(left)).ok().filter(|count| *count > 0)?;
        Some((self.offset, count))
    }

    /// Answers with a piece of a file.
    fn answer(self, fetching: &Fetching, responder: Responder) {
        if self.offset > fetching.size {
            let text = format!("the file ends at {}", fetching.size);
            let refusal = Refusal::new(Code::BadOffset, text).at(fetching.size);
            return responder.give(Err(refusal));
        }
        let Some((offset, count)) = self.part(fetching) else {
            return self.answer_with(Vec::new(), fetching, responder);
        };
        match files::read_piece(&fetching.file, offset, count) {
            Err(error) => responder.give(Err(files::trouble(&error))),
            Ok(bytes) => self.answer_with(bytes, fetching, responder),
        }
    }

    fn answer_with(self, bytes: Vec<u8>, fetching: &Fetching, mut responder: Responder) {
        let entry = fetching.entry;
        let next = self.offset + bytes.len() as u64;
        let end = if next == fetching.size { "end" } else { "more" };
        let ok = format!("GET {entry} {next} {end}");
        if bytes.is_empty() {
            return responder.give(Ok(Some(ok)));
        }
        let mut tags = TagBuilder::default();
        tags.display("bytes", Some(bytes.len()));
        let (id, offset) = (entry.to_string(), self.offset.to_string());
        responder.answer().row(tags, ServerLine::new(Body::FileData { id: &id, offset: &offset }));
        responder.give_bytes(bytes, &ok);
    }
}
