//! Handlers of FILE OFFER, PUT, DONE and CANCEL: uploads.

use std::sync::{Arc, Mutex};

use snug_protocol::{Code, ContentHash, EntryKind, FileOffer, Role, TagBuilder, Target, UploadHandle};

use super::{append, room_of};
use crate::answer::Answer;
use crate::core::Core;
use crate::core::files::{Upload, lock};
use crate::core::parts::FileQuota;
use crate::core::reply::{AnswerTo, Recipients};
use crate::log::{
    Act, Author, Conversation, Draft, FileAct, Finished, NewEntry, NewUpload, Outcome, Quotas, StoredUpload,
    View,
};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::registry::responder::Responder;
use crate::session::{self, Answered, Session, refusal};

/// A piece that a client is sending.
pub(in crate::session) struct PieceUpload {
    handle: UploadHandle,
    offset: u64,
    bytes: Vec<u8>,
    answer: Answer,
}

impl PieceUpload {
    /// Returns the bytes received so far.
    pub(in crate::session) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Session {
    pub(super) fn offer(&mut self, offer: FileOffer<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let largest = config.files.file.bytes() as u64;
        if offer.size.is_some_and(|size| size > largest) {
            return Err(refusal(Code::OverQuota, &format!("a file has at most {largest} bytes here")));
        }
        let free = self.core.files.store()?.free();
        let needed = offer.size.unwrap_or(0).saturating_add(config.files.reserve.bytes() as u64);
        let me = Arc::clone(self.me()?);
        let mut records: Vec<_> = self.core.registry.record(&me).into_iter().collect();
        let (to, addressee_nick) = match &offer.target {
            Target::Room(room) => (Conversation::Room(self.find_room(room)?.number), String::new()),
            Target::Nick(nick) | Target::Person { nick, .. } => {
                let (identity, nick) = self.addressee(nick, offer.target.who())?;
                if identity.number != me.number {
                    records.extend(self.core.registry.record(&identity));
                }
                (Conversation::With(identity.number), nick)
            }
        };
        if free.is_some_and(|free| free < needed) {
            let text =
                "the daemon has no room on its disk for this file; tell its operator, and try again later";
            return Err(refusal(Code::StorageFull, text));
        }
        let new = NewUpload {
            to,
            addressee_nick,
            name: offer.name.as_str().to_owned(),
            size: offer.size,
            hash: offer.hash,
            kind: offer.kind.map(|kind| kind.into_owned()),
            key: offer.key.map(|key| key.into_owned()),
            re: offer.re.map(|re| self.own_id(re)).transpose()?,
            tags: offer.relayed.into_owned(),
            quotas: match offer.size {
                Some(_) => {
                    Quotas { arrived: self.core.files.arrived_of_author(me.number), ..quotas(&self.core) }
                }
                // Each piece of it is compared with what others have sent by then.
                None => quotas(&self.core),
            },
        };
        let draft =
            Draft { author: self.author(&me), records, act: Act::File(FileAct::Offer(Box::new(new))) };
        let core = Arc::clone(&self.core);
        Ok(self.answer_when_decided(draft, answer, move |answer, outcome| {
            let Outcome::Upload(stored) = outcome else { return Err(session::unexpected()) };
            let handle = UploadHandle(stored.handle);
            let arrived = match stored.entry {
                Some(entry) => {
                    let mut tags = TagBuilder::default();
                    tags.display("id", Some(entry));
                    answer.set_ok_tags(tags);
                    stored.size.unwrap_or(0)
                }
                None => core.files.arrived_of(handle.0)?,
            };
            Ok(Some(format!("OFFER {handle} {arrived}")))
        }))
    }

    /// Prepares to receive a piece of `count` bytes.
    pub(in crate::session) fn begin_piece(
        &mut self,
        (handle, offset): (UploadHandle, u64),
        count: u64,
        answer: Answer,
    ) -> Result<(), Refusal> {
        self.core.files.store()?;
        let size = answer.size + usize::try_from(count).unwrap_or(0);
        self.barrier = self.core.files.upload(handle.0).is_none();
        let incoming = PieceUpload { handle, offset, bytes: Vec::new(), answer: answer.of_size(size) };
        self.incoming = Some(Box::new(session::Incoming::Piece(incoming)));
        Ok(())
    }

    /// Hands a complete piece to the file threads.
    pub(in crate::session) fn put(&mut self, incoming: PieceUpload) {
        let PieceUpload { handle, offset, bytes, mut answer } = incoming;
        let is_guest = self.role_here() <= Role::Guest;
        // Only once the piece is complete: a peer that disconnects in the middle of one has nothing under way.
        let responder = Responder::new(&self.peer, &mut answer);
        self.with_upload(handle, responder, move |core, responder, found| {
            let put = found.and_then(|found| {
                let Found::Open(upload) = found else { return Err(no_such_upload()) };
                let mut upload = lock(&upload);
                let reserve = core.config().files.reserve.bytes() as u64;
                core.files.must_have_room(bytes.len() as u64, reserve)?;
                let quotas = quotas(core);
                let quota = FileQuota { own: quotas.own(is_guest), all: quotas.all(is_guest) };
                let next = upload.put(&core.files, (offset, &bytes), quota, core.now())?;
                if core.files.syncs()
                    && let Some(file) = upload.to_sync(bytes.len())
                {
                    core.files.submit_slow(Box::new(move || drop(file.sync_data())));
                }
                Ok(next)
            });
            if let Err(refusal) = &put {
                core.counters.refused.count(refusal.code);
            }
            responder.give(put.map(|next| Some(format!("PUT {handle} {next}"))));
        });
    }

    /// Calls `next` with an upload of the session's own identity, away from the connection's thread. Opens the upload
    /// first if it is not open.
    fn with_upload(
        &self,
        handle: UploadHandle,
        responder: Responder,
        next: impl FnOnce(&Arc<Core>, Responder, Result<Found, Refusal>) + Send + 'static,
    ) {
        let (me, core) = (self.peer.identity(), Arc::clone(&self.core));
        let session = self.peer.id;
        if let Some(upload) = self.core.files.upload(handle.0) {
            let work = move || {
                let is_own = {
                    let upload = lock(&upload);
                    upload.stored.author == me && covers_upload(&core, responder.peer(), &upload.stored)
                };
                next(&core, responder, if is_own { Ok(Found::Open(upload)) } else { Err(no_such_upload()) });
            };
            return self.core.files.submit(session, Box::new(work));
        }
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                let stored = stored_upload(&core, view, responder.peer(), handle);
                let found = stored.and_then(|stored| match (stored.entry, view) {
                    (Some(entry), Some(view)) => Ok((stored, 0, Some((entry, view.content_of(entry)?)))),
                    (None, Some(view)) => {
                        let kept = view.bytes_kept(Some(stored.author))?;
                        Ok((stored, kept, None))
                    }
                    _ => Err(session::history::unreadable()),
                });
                let (stored, kept) = match found {
                    Err(refusal) => return next(&core, responder, Err(refusal)),
                    Ok((_, _, Some((entry, content)))) => {
                        return next(&core, responder, Ok(Found::Complete(entry, content)));
                    }
                    Ok((stored, kept, None)) => (stored, kept),
                };
                // Opening an upload reads everything received before, so the time grows with its size.
                let shared = Arc::clone(&core);
                let open = move || {
                    let opened = core.files.open(stored, kept, core.now()).map(Found::Open);
                    let shared = Arc::clone(&core);
                    core.files.submit(session, Box::new(move || next(&shared, responder, opened)));
                };
                shared.files.submit_slow(Box::new(open));
            }),
        );
    }

    /// Handles DONE of an upload. If the upload is complete and correct, it becomes an entry.
    pub(super) fn complete(
        &mut self,
        handle: UploadHandle,
        (total, hash): (u64, ContentHash),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let author = self.author(self.me()?);
        let responder = self.responder(answer);
        self.with_upload(handle, responder, move |core, mut responder, found| {
            let checked = found.and_then(|found| {
                if let Found::Open(upload) = &found {
                    lock(upload).check(total, hash)?;
                }
                Ok(found)
            });
            match checked {
                Ok(Found::Open(upload)) => {
                    // This waits for the disk.
                    let entering = Entering { handle, upload, total, hash, author, responder };
                    let shared = Arc::clone(core);
                    core.files.submit_slow(Box::new(move || entering.enter(&shared)));
                }
                Ok(Found::Complete(_, content)) if content != Some((total, hash)) => {
                    let text =
                        "this upload is complete, and was another file or is not kept any more; OFFER a new one";
                    responder.give(Err(refusal(Code::KeyReused, text)));
                }
                // The client repeats a DONE because it did not get the answer.
                Ok(Found::Complete(entry, _)) => {
                    let mut tags = TagBuilder::default();
                    tags.display("id", Some(entry));
                    tags.flag("dup", true);
                    responder.answer().set_ok_tags(tags);
                    responder.give(Ok(Some(format!("DONE {entry}"))));
                }
                Err(refusal) => {
                    core.note_refusal(responder.peer(), author, "FILE", refusal.code);
                    responder.give(Err(refusal));
                }
            }
        });
        Ok(Answered::InFlight)
    }

    /// Handles CANCEL of an upload.
    pub(super) fn give_up(&mut self, handle: UploadHandle, answer: &mut Answer) -> Result<Answered, Refusal> {
        let draft = Draft::new(self.author(self.me()?), Act::File(FileAct::Cancel { handle: handle.0 }));
        let (responder, core) = (self.responder(answer), Arc::clone(&self.core));
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                if let Err(refusal) = stored_upload(&core, view, responder.peer(), handle) {
                    core.note_refusal(responder.peer(), draft.author, "FILE", refusal.code);
                    return responder.give(Err(refusal));
                }
                let shared = Arc::clone(&core);
                core.decide(responder, draft, move |_, outcome| match outcome {
                    Outcome::Done => {
                        shared.files.close(handle.0);
                        shared.files.empty();
                        Ok(Some(format!("CANCEL {handle}")))
                    }
                    _ => Err(session::unexpected()),
                });
            }),
        );
        Ok(Answered::InFlight)
    }
}

/// The state of an upload.
enum Found {
    Open(Arc<Mutex<Upload>>),
    /// The number of its entry, with the size and hash if the content is kept.
    Complete(u64, Option<(u64, ContentHash)>),
}

/// A complete upload that is about to become an entry.
struct Entering {
    handle: UploadHandle,
    upload: Arc<Mutex<Upload>>,
    total: u64,
    hash: ContentHash,
    author: Author,
    responder: Responder,
}

impl Entering {
    /// Moves the content to its place, and then lets the log decide.
    fn enter(self, core: &Core) {
        let Entering { handle, upload, total, hash, author, responder } = self;
        let stored = lock(&upload).stored.clone();
        let prepared = recipients_of_upload(core, &stored, &author).and_then(|to| {
            core.files.keep(&upload, total, hash)?;
            Ok(to)
        });
        let to = match prepared {
            Ok(to) => to,
            Err(refusal) => {
                core.note_refusal(responder.peer(), author, "FILE", refusal.code);
                return responder.give(Err(refusal));
            }
        };
        let mut tags = TagBuilder::default();
        tags.display("size", Some(total));
        tags.display("sha256", Some(hash));
        tags.value("type", stored.kind.as_deref());
        tags.raw(&stored.tags);
        let finished = Finished { handle: handle.0, size: total, hash, quotas: quotas(core) };
        let new = NewEntry {
            addressee_nick: stored.addressee_nick,
            text: Some(stored.name),
            tags: tags.into_string(),
            re: stored.re,
            file: Some(Box::new(finished)),
            ..NewEntry::new(EntryKind::File, stored.to)
        };
        append(core, responder, Draft::new(author, Act::Enter(new)), to, AnswerTo::FileDone);
    }
}

/// Returns an upload of the session's own identity, if the session's token covers it.
fn stored_upload(
    core: &Core,
    view: Option<&View<'_>>,
    peer: &Peer,
    handle: UploadHandle,
) -> Result<StoredUpload, Refusal> {
    let view = view.ok_or_else(session::history::unreadable)?;
    let stored = view.upload(peer.identity(), handle.0)?.ok_or_else(no_such_upload)?;
    if covers_upload(core, peer, &stored) { Ok(stored) } else { Err(no_such_upload()) }
}

/// Returns whether a session's token covers the conversation that an upload is for.
fn covers_upload(core: &Core, peer: &Peer, stored: &StoredUpload) -> bool {
    match stored.to {
        Conversation::With(_) | Conversation::Pair(_) => peer.is_in_scope(None),
        Conversation::Room(_) if !peer.is_confined() => true,
        Conversation::Room(room) => {
            core.registry.room_numbered(room).is_some_and(|room| peer.is_in_scope(Some(&room.name)))
        }
    }
}

fn recipients_of_upload(core: &Core, stored: &StoredUpload, author: &Author) -> Result<Recipients, Refusal> {
    match stored.to {
        Conversation::Room(room) => room_of(core, room),
        Conversation::With(other) | Conversation::Pair(other) => {
            let author = core.registry.identity(author.number).ok_or_else(no_such_upload)?;
            let identity = core.registry.identity(other);
            Ok(Recipients::Person { identity, nick: stored.addressee_nick.clone(), author })
        }
    }
}

/// Returns the current quotas. What has arrived of uploads was compared with them when it came.
fn quotas(core: &Core) -> Quotas {
    let files = &core.config().files;
    Quotas {
        file: files.file.bytes() as u64,
        account: files.account.bytes() as u64,
        guest: files.guest.bytes() as u64,
        room: files.room.bytes() as u64,
        total: files.total.bytes() as u64,
        arrived: (0, 0),
    }
}

fn no_such_upload() -> Refusal {
    refusal(Code::NoSuchFile, "there is no such upload of yours on its way; FILE OFFER begins one")
}
