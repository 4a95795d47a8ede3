//! FILE: offering, sending, fetching.
//!
//! Pieces go to the threads for files and are answered from there, in order; as many as a session may have under way go
//! without waiting, as long as nothing else comes between them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use snug_protocol::{
    Body, Code, ContentHash, Cursor, EntryKind, FileCommand, FileOffer, FileRef, FileState, RoomName,
    ServerLine, TagBuilder, Target, UploadHandle, limits,
};

use super::history::within_a_page;
use super::{Answered, Lane, Session, refusal};
use crate::answer::Answer;
use crate::core::Core;
use crate::deliver::{AnswerTo, Recipients, Reply};
use crate::files::{self, Fetching, Upload, lock};
use crate::log::{
    Act, Author, Conversation, Draft, FileAct, Finished, NO_SUCH_FILE, NewEntry, NewUpload, Outcome, Quotas,
    Row, StoredFile, StoredUpload, View,
};
use crate::peer::{Peer, Piece};
use crate::refusal::Refusal;
use crate::writer::Submission;

/// A piece that is on its way in.
pub(super) struct Incoming {
    handle: UploadHandle,
    offset: u64,
    bytes: Vec<u8>,
    answer: Answer,
    /// What was noted as under way.
    size: usize,
}

impl Incoming {
    /// What has come so far.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// For how long a session may fetch from a file without being looked up again, in milliseconds.
const TRUSTED: u64 = 5_000;

/// A piece of so many bytes costs no line of flood control: it is not lines that it costs.
const LARGE_PIECE: u64 = 16 << 10;

impl Session {
    pub(super) fn file(
        &mut self,
        command: FileCommand<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.core.files.store()?;
        match command {
            FileCommand::Offer(offer) => self.offer(offer, size, answer),
            FileCommand::Put { .. } => {
                let text = "the bytes are missing: @bytes=<count> FILE PUT <handle> <offset>, and behind it the bytes";
                Err(refusal(Code::MissingParameter, text))
            }
            FileCommand::Done { of: FileRef::Upload(handle), size: total, hash } => {
                self.complete(handle, (total, hash), size, answer)
            }
            FileCommand::Done { of: FileRef::Entry(id), size: total, hash } => {
                self.say_of_file(id, FileState::Done, Some((total, hash)), size, answer)
            }
            FileCommand::Accept { id } => self.say_of_file(id, FileState::Accepted, None, size, answer),
            FileCommand::Decline { id } => self.say_of_file(id, FileState::Declined, None, size, answer),
            FileCommand::Cancel { of: FileRef::Upload(handle) } => self.give_up(handle, size, answer),
            FileCommand::Cancel { of: FileRef::Entry(id) } => self.take_back(id, size, answer),
            FileCommand::Get { id, offset, count } => self.fetch(id, (offset, count), size, answer),
            FileCommand::List { of, before, limit } => self.list_files(of, before, limit, size, answer),
            FileCommand::State { id } => self.file_state(id, size, answer),
        }
    }

    /// What a command may be under way with, and whether it is a large piece: that is no line for flood control.
    pub(super) fn lane_of(&self, command: &FileCommand<'_>, bytes: Option<u64>) -> (Lane, bool) {
        match command {
            FileCommand::Put { handle, .. } if self.core.files.upload(handle.0).is_some() => {
                (Lane::Puts, bytes.unwrap_or(0) >= LARGE_PIECE)
            }
            FileCommand::Get { id, offset, count } => match self.fetching(id.id) {
                Some(fetching) => {
                    let left = fetching.size.saturating_sub(*offset);
                    (Lane::Gets, (*count).min(left) >= LARGE_PIECE)
                }
                None => (Lane::Alone, false),
            },
            _ => (Lane::Alone, false),
        }
    }

    fn offer(&mut self, offer: FileOffer<'_>, size: usize, answer: &mut Answer) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let largest = config.files.file.bytes() as u64;
        if offer.size.is_some_and(|size| size > largest) {
            return Err(refusal(Code::OverQuota, &format!("a file has at most {largest} bytes here")));
        }
        let free = self.core.files.store()?.free();
        let needed = offer.size.unwrap_or(0).saturating_add(config.files.reserve.bytes() as u64);
        let me = Arc::clone(self.me()?);
        let mut newcomers: Vec<_> = self.core.registry.newcomer(&me).into_iter().collect();
        let (to, peer_nick) = match &offer.target {
            Target::Room(room) => (Conversation::Room(self.find_room(room)?.number), String::new()),
            Target::Nick(nick) => {
                let found = self.core.registry.addressee(nick);
                let (identity, nick) = found.ok_or_else(|| super::talk::nobody_called(nick))?;
                if identity.number != me.number {
                    newcomers.extend(self.core.registry.newcomer(&identity));
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
            peer_nick,
            name: offer.name.as_str().to_owned(),
            size: offer.size,
            hash: offer.hash,
            kind: offer.kind.map(|kind| kind.into_owned()),
            key: offer.key.map(|key| key.into_owned()),
            quotas: quotas(&self.core),
        };
        let draft = Draft { author: self.author(&me), newcomers, act: Act::File(FileAct::Offer(new)) };
        let (mut answer, peer) = (answer.take(), Arc::clone(&self.peer));
        self.barrier = true;
        let reply = Reply::Call(Box::new(move |core, _, draft, outcome| {
            let stored = match outcome {
                Outcome::Upload(stored) => *stored,
                outcome => return peer.settle(size, &refused(core, &peer, draft, answer, outcome)),
            };
            let handle = UploadHandle(stored.handle);
            if let Some(entry) = stored.entry {
                let mut tags = TagBuilder::default();
                tags.display("id", Some(entry));
                answer.set_ok_tags(tags);
                let whole = stored.size.unwrap_or(0);
                return peer.settle(size, &answer.ok(Some(&format!("OFFER {handle} {whole}"))));
            }
            let answer = match core.files.arrived_of(handle.0) {
                Ok(offset) => answer.ok(Some(&format!("OFFER {handle} {offset}"))),
                Err(refusal) => answer.refuse(&refusal),
            };
            peer.settle(size, &answer);
        }));
        self.submit(draft, size, reply)
    }

    /// Gets ready for a piece of so many bytes.
    pub(super) fn begin_piece(
        &mut self,
        (handle, offset): (UploadHandle, u64),
        count: u64,
        size: usize,
        answer: Answer,
    ) -> Result<(), Refusal> {
        self.core.files.store()?;
        let count = usize::try_from(count).unwrap_or(0);
        let size = size + count;
        self.barrier = self.core.files.upload(handle.0).is_none();
        let incoming = Incoming { handle, offset, bytes: Vec::new(), answer, size };
        self.incoming = Some(Box::new(super::Incoming::Piece(incoming)));
        Ok(())
    }

    /// Hands a piece that has come whole to the threads for files.
    pub(super) fn put(&mut self, incoming: Incoming) {
        let Incoming { handle, offset, bytes, answer, size } = incoming;
        // Not before all of it is there: a peer that ends in the middle of it has nothing under way.
        self.peer.begin(size);
        let peer = Arc::clone(&self.peer);
        let put = move |core: &Arc<Core>, found: Result<Found, Refusal>| {
            let put = found.and_then(|found| {
                let Found::Open(upload) = found else { return Err(no_such_upload()) };
                let mut upload = lock(&upload);
                let reserve = core.config().files.reserve.bytes() as u64;
                core.files.must_have_room(bytes.len() as u64, reserve)?;
                let next = upload.put(&core.files, offset, &bytes, core.now())?;
                if core.files.syncs()
                    && let Some(file) = upload.to_sync(bytes.len())
                {
                    core.files.submit_slow(Box::new(move || drop(file.sync_data())));
                }
                Ok(next)
            });
            let answer = match put {
                Ok(next) => answer.ok(Some(&format!("PUT {handle} {next}"))),
                Err(refusal) => {
                    core.counters.refused.count(refusal.code);
                    answer.refuse(&refusal)
                }
            };
            peer.settle(size, &answer);
        };
        self.with_upload(handle, size, put);
    }

    /// Does something with an upload of one's own, on a thread for files: also one that has to be opened first.
    fn with_upload(
        &self,
        handle: UploadHandle,
        size: usize,
        next: impl FnOnce(&Arc<Core>, Result<Found, Refusal>) + Send + 'static,
    ) {
        let (me, peer, core) = (self.peer.identity(), Arc::clone(&self.peer), Arc::clone(&self.core));
        let session = peer.id;
        if let Some(upload) = self.core.files.upload(handle.0) {
            let work = move || {
                let is_own = {
                    let upload = lock(&upload);
                    upload.stored.author == me && covers_upload(&core, &peer, &upload.stored)
                };
                next(&core, if is_own { Ok(Found::Open(upload)) } else { Err(no_such_upload()) });
            };
            return self.core.files.submit(session, Box::new(work));
        }
        let accepted = self.core.look(Box::new(move |view| {
            let found =
                stored_upload(&core, view, &peer, handle).and_then(|stored| match (stored.entry, view) {
                    (Some(entry), Some(view)) => Ok((stored, Some((entry, view.content_of(entry)?)))),
                    _ => Ok((stored, None)),
                });
            match found {
                Err(refusal) => next(&core, Err(refusal)),
                Ok((_, Some((entry, content)))) => next(&core, Ok(Found::Complete(entry, content))),
                // What has come before is read again: that is as slow as it is large.
                Ok((stored, None)) => {
                    let shared = Arc::clone(&core);
                    let open = move || {
                        let opened = core.files.open(stored, core.now()).map(Found::Open);
                        let shared = Arc::clone(&core);
                        core.files.submit(session, Box::new(move || next(&shared, opened)));
                    };
                    shared.files.submit_slow(Box::new(open));
                }
            }
        }));
        if !accepted {
            self.peer.settle(size, b"");
        }
    }

    /// DONE of an upload: when all of it is there and right, it becomes an entry.
    fn complete(
        &mut self,
        handle: UploadHandle,
        (total, hash): (u64, ContentHash),
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (mut answer, peer) = (answer.take(), Arc::clone(&self.peer));
        let author = self.author(self.me()?);
        self.barrier = true;
        self.peer.begin(size);
        self.with_upload(handle, size, move |core, found| {
            let checked = found.and_then(|found| {
                if let Found::Open(upload) = &found {
                    lock(upload).check(total, hash)?;
                }
                Ok(found)
            });
            match checked {
                Ok(Found::Open(upload)) => {
                    // It takes as long as the disk does.
                    let entering = Entering { handle, upload, total, hash, author, answer, peer, size };
                    let shared = Arc::clone(core);
                    core.files.submit_slow(Box::new(move || entering.enter(&shared)));
                }
                Ok(Found::Complete(_, content)) if content != Some((total, hash)) => {
                    let text =
                        "this upload is complete, and was another file or is not kept any more; OFFER a new one";
                    peer.settle(size, &answer.refuse(&refusal(Code::KeyReused, text)));
                }
                // Whoever asks has not heard of it.
                Ok(Found::Complete(entry, _)) => {
                    let mut tags = TagBuilder::default();
                    tags.display("id", Some(entry));
                    tags.flag("dup", true);
                    answer.set_ok_tags(tags);
                    peer.settle(size, &answer.ok(Some(&format!("DONE {entry}"))));
                }
                Err(refusal) => {
                    core.note_refusal(&peer, author, "FILE", refusal.code);
                    peer.settle(size, &answer.refuse(&refusal));
                }
            }
        });
        Ok(Answered::UnderWay)
    }

    /// ACCEPT, DECLINE, or DONE of what was fetched.
    fn say_of_file(
        &mut self,
        id: Cursor,
        state: FileState,
        arrived: Option<(u64, ContentHash)>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = Arc::clone(self.me()?);
        let newcomers = self.core.registry.newcomer(&me).into_iter().collect();
        let act = Act::File(FileAct::Say { entry, state, arrived });
        let draft = Draft { author: self.author(&me), newcomers, act };
        self.with_file(entry, size, answer, move |core, peer, found, answer| {
            if let Err(refusal) = found {
                core.note_refusal(peer, draft.author.clone(), "FILE", refusal.code);
                return peer.settle(size, &answer.refuse(&refusal));
            }
            let sender = Arc::clone(peer);
            let reply = Reply::Call(Box::new(move |core, _, draft, outcome| {
                let answer = said_of_file(core, &sender, draft, state, outcome, answer);
                sender.settle(size, &answer);
            }));
            if !core.queue.push(Submission { draft, size, reply }) {
                peer.settle(size, b"");
            }
        })
    }

    /// CANCEL of an upload.
    fn give_up(
        &mut self,
        handle: UploadHandle,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let draft = Draft::new(self.author(self.me()?), Act::File(FileAct::Cancel { handle: handle.0 }));
        let (answer, peer, core) = (answer.take(), Arc::clone(&self.peer), Arc::clone(&self.core));
        self.barrier = true;
        self.peer.begin(size);
        let accepted = self.core.look(Box::new(move |view| {
            if let Err(refusal) = stored_upload(&core, view, &peer, handle) {
                core.note_refusal(&peer, draft.author.clone(), "FILE", refusal.code);
                return peer.settle(size, &answer.refuse(&refusal));
            }
            let sender = Arc::clone(&peer);
            let reply = Reply::Call(Box::new(move |core, _, draft, outcome| {
                let answer = match outcome {
                    Outcome::Done => {
                        core.files.close(handle.0);
                        core.files.empty();
                        answer.ok(Some(&format!("CANCEL {handle}")))
                    }
                    outcome => refused(core, &sender, draft, answer, outcome),
                };
                sender.settle(size, &answer);
            }));
            if !core.queue.push(Submission { draft, size, reply }) {
                peer.settle(size, b"");
            }
        }));
        if !accepted {
            self.peer.settle(size, b"");
        }
        Ok(Answered::UnderWay)
    }

    /// CANCEL of a file that was offered: its entry is deleted, and so is what was kept.
    fn take_back(&mut self, id: Cursor, size: usize, answer: &mut Answer) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = Arc::clone(self.me()?);
        let author = self.author(&me);
        self.with_file(entry, size, answer, move |core, peer, found, answer| {
            let drafted = found.and_then(|(file, _)| {
                let to = recipients(core, &file, &me)?;
                let conversation = match &file.peer {
                    None => Conversation::Room(file.conversation),
                    Some((other, _)) if *other == me.number => Conversation::With(file.author),
                    Some((other, _)) => Conversation::With(*other),
                };
                let mut new = NewEntry::new(EntryKind::Delete, conversation);
                new.about = Some(entry);
                new.peer_nick = file.peer.map(|(_, nick)| nick).unwrap_or_default();
                Ok((Draft::new(author, Act::Enter(new)), to))
            });
            match drafted {
                Err(refusal) => peer.settle(size, &answer.refuse(&refusal)),
                Ok((draft, to)) => {
                    let label = answer.label().map(str::to_owned);
                    let reply =
                        Reply::Entry { sender: Arc::clone(peer), label, to, of: AnswerTo::FileCancel };
                    push(core, peer, Submission { draft, size, reply }, answer);
                }
            }
        })
    }

    fn fetch(
        &mut self,
        id: Cursor,
        (offset, count): (u64, u64),
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let asked = Asked { offset, count: count.min(limits::FILE_CHUNK) };
        let size = size + usize::try_from(asked.count).unwrap_or(0);
        // As it was when it was decided what this may be under way with.
        let fetching = lock(&self.fetch).clone();
        let fetching = fetching.filter(|fetching| fetching.entry == entry && self.lane == Lane::Gets);
        if let Some(fetching) = fetching {
            let (answer, peer) = (answer.take(), Arc::clone(&self.peer));
            self.peer.begin(size);
            // What the system has at hand needs no thread, unless pieces before it wait for one.
            if fetching.in_lane.load(Relaxed) == 0
                && let Some((offset, count)) = asked.part(&fetching)
                && let Some(bytes) = files::read_piece_at_once(&fetching.file, offset, count)
            {
                asked.answer_with(bytes, &fetching, &peer, size, answer);
                return Ok(Answered::UnderWay);
            }
            fetching.in_lane.fetch_add(1, Relaxed);
            let work = move || {
                asked.answer(&fetching, &peer, size, answer);
                fetching.in_lane.fetch_sub(1, Relaxed);
            };
            self.core.files.submit(self.peer.id, Box::new(work));
            return Ok(Answered::UnderWay);
        }
        let fetch = Arc::clone(&self.fetch);
        self.with_file(entry, size, answer, move |core, peer, found, answer| {
            let file = match found {
                Ok((file, _)) => file,
                Err(refusal) => {
                    core.counters.refused.count(refusal.code);
                    return peer.settle(size, &answer.refuse(&refusal));
                }
            };
            let (peer, session, shared) = (Arc::clone(peer), peer.id, Arc::clone(core));
            let open = move || {
                let core = shared;
                let store = core.files.store();
                let opened = store
                    .and_then(|store| store.open_content(file.hash).map_err(|error| files::trouble(&error)));
                match opened {
                    Err(refusal) => peer.settle(size, &answer.refuse(&refusal)),
                    Ok(content) => {
                        let (until, in_lane) = (core.now() + TRUSTED, AtomicUsize::new(0));
                        let fetching = Fetching { entry, size: file.size, file: content, until, in_lane };
                        let fetching = Arc::new(fetching);
                        *lock(&fetch) = Some(Arc::clone(&fetching));
                        core.files.watch_fetch(&fetch);
                        asked.answer(&fetching, &peer, size, answer);
                    }
                }
            };
            core.files.submit(session, Box::new(open));
        })
    }

    /// The file that the session is fetching from, if it is this one and still trusted to be allowed.
    fn fetching(&self, entry: u64) -> Option<Arc<Fetching>> {
        let now = self.core.now();
        let mut fetch = lock(&self.fetch);
        let is_fresh = fetch.as_ref().is_some_and(|fetching| fetching.entry == entry && now < fetching.until);
        if !is_fresh {
            *fetch = None;
        }
        fetch.clone()
    }

    /// Looks a file up that one may fetch, with the others' nick or the room's name.
    fn with_file(
        &mut self,
        entry: u64,
        size: usize,
        answer: &mut Answer,
        next: impl FnOnce(&Arc<Core>, &Arc<Peer>, Result<(StoredFile, String), Refusal>, Answer) + Send + 'static,
    ) -> Result<Answered, Refusal> {
        let (answer, peer, core) = (answer.take(), Arc::clone(&self.peer), Arc::clone(&self.core));
        self.barrier = true;
        self.peer.begin(size);
        let accepted = self.core.look(Box::new(move |view| {
            let found = match view.map(|view| view.file(peer.identity(), entry)) {
                Some(Ok(Some(file))) if is_within_scope(&peer, file.room.as_deref()) => {
                    let name = file.room.clone().or(file.peer.as_ref().map(|(_, nick)| nick.clone()));
                    Ok((file, name.unwrap_or_default()))
                }
                Some(Ok(_)) => Err(no_such_file()),
                Some(Err(error)) => Err(error.into()),
                None => Err(super::history::unreadable()),
            };
            next(&core, &peer, found, answer);
        }));
        if !accepted {
            self.peer.settle(size, b"");
        }
        Ok(Answered::UnderWay)
    }

    fn list_files(
        &mut self,
        of: Option<Target<'_>>,
        before: Option<Cursor>,
        limit: Option<u64>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = self.me()?.number;
        let before = before.map(|cursor| self.own_id(cursor)).transpose()?.unwrap_or(u64::MAX >> 1);
        let (limit, reduced) = within_a_page(limit);
        let place = of.as_ref().map(|target| self.place(target)).transpose()?;
        let peer = Arc::clone(&self.peer);
        self.look(size, answer, move |view, answer| {
            let conversations = match &place {
                Some(place) => vec![place.find(view, me)?],
                None => {
                    let mut places = view.places_with_files()?;
                    places.retain(|(_, room)| is_within_scope(&peer, room.as_deref()));
                    let named =
                        |(number, room): (u64, Option<String>)| (number, Arc::from(room.unwrap_or_default()));
                    places.into_iter().map(named).collect()
                }
            };
            let listed = view.files(me, &conversations, before, limit)?;
            for (row, taken) in &listed.rows {
                let Row::Entry { entry, room, key } = row else { continue };
                let mut tags = entry.tags(key.as_deref());
                if entry.author.number == me {
                    for state in FileState::ALL {
                        let count = taken.counts[state as usize];
                        tags.display(state.word(), Some(count).filter(|count| *count > 0));
                    }
                }
                tags.value("state", taken.own.map(FileState::word));
                tags.value("ref", answer.label());
                entry.line(room, &tags).write(answer.lines());
            }
            if place.is_none() {
                list_uploads(view, me, &peer, answer)?;
            }
            answer.set_ok_tags(super::history::reduced_tag(reduced));
            let more = if listed.more { "more" } else { "end" };
            Ok(format!("LIST {} {more}", listed.rows.len()))
        })
    }

    fn file_state(&mut self, id: Cursor, size: usize, answer: &mut Answer) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = self.me()?.number;
        let may_see_all = self.is_operator();
        let peer = Arc::clone(&self.peer);
        self.look(size, answer, move |view, answer| {
            let file = view.file(me, entry)?.filter(|file| is_within_scope(&peer, file.room.as_deref()));
            let file = file.ok_or_else(no_such_file)?;
            if file.author != me && !may_see_all {
                return Err(refusal(Code::Denied, "who has taken a file is told to its sender"));
            }
            let takers = view.takers(entry)?;
            let shown = entry.to_string();
            for (nick, state, time) in &takers {
                let time = time.to_string();
                let body = Body::FileState { id: &shown, nick, state: *state, time: &time };
                answer.row(TagBuilder::default(), ServerLine::new(body));
            }
            Ok(format!("STATE {}", takers.len()))
        })
    }
}

/// What has become of an upload.
enum Found {
    Open(Arc<Mutex<Upload>>),
    /// It is this entry, with this size and hash, if it is kept.
    Complete(u64, Option<(u64, ContentHash)>),
}

/// An upload that is whole, on its way to an entry.
struct Entering {
    handle: UploadHandle,
    upload: Arc<Mutex<Upload>>,
    total: u64,
    hash: ContentHash,
    author: Author,
    answer: Answer,
    peer: Arc<Peer>,
    size: usize,
}

impl Entering {
    /// Puts the content into its place, and then lets the log decide.
    fn enter(self, core: &Arc<Core>) {
        let Entering { handle, upload, total, hash, author, answer, peer, size } = self;
        let stored = lock(&upload).stored.clone();
        let prepared = recipients_of_upload(core, &stored, &author).and_then(|to| {
            core.files.keep(&upload, total, hash)?;
            Ok(to)
        });
        let to = match prepared {
            Ok(to) => to,
            Err(refusal) => {
                core.note_refusal(&peer, author, "FILE", refusal.code);
                return peer.settle(size, &answer.refuse(&refusal));
            }
        };
        let mut tags = TagBuilder::default();
        tags.display("size", Some(total));
        tags.display("sha256", Some(hash));
        tags.value("type", stored.kind.as_deref());
        let finished = Finished { handle: handle.0, size: total, hash, quotas: quotas(core) };
        let new = NewEntry {
            peer_nick: stored.peer_nick,
            text: Some(stored.name),
            tags: tags.into_string(),
            file: Some(Box::new(finished)),
            ..NewEntry::new(EntryKind::File, stored.to)
        };
        let draft = Draft::new(author, Act::Enter(new));
        let label = answer.label().map(str::to_owned);
        let reply = Reply::Entry { sender: Arc::clone(&peer), label, to, of: AnswerTo::FileDone };
        push(core, &peer, Submission { draft, size, reply }, answer);
    }
}

/// What a session wants of a file.
#[derive(Clone, Copy)]
struct Asked {
    offset: u64,
    count: u64,
}

impl Asked {
    /// Where the bytes are that are asked for, if there are some.
    fn part(self, fetching: &Fetching) -> Option<(u64, usize)> {
        let left = fetching.size.checked_sub(self.offset).filter(|left| *left > 0)?;
        let count = usize::try_from(self.count.min(left)).ok().filter(|count| *count > 0)?;
        Some((self.offset, count))
    }

    /// Answers with a piece of a file.
    fn answer(self, fetching: &Fetching, peer: &Peer, size: usize, answer: Answer) {
        if self.offset > fetching.size {
            let text = format!("the file ends at {}", fetching.size);
            let refusal = Refusal::new(Code::BadOffset, text).at(fetching.size);
            return peer.settle(size, &answer.refuse(&refusal));
        }
        let Some((offset, count)) = self.part(fetching) else {
            return self.answer_with(Vec::new(), fetching, peer, size, answer);
        };
        match files::read_piece(&fetching.file, offset, count) {
            Err(error) => peer.settle(size, &answer.refuse(&files::trouble(&error))),
            Ok(bytes) => self.answer_with(bytes, fetching, peer, size, answer),
        }
    }

    fn answer_with(self, bytes: Vec<u8>, fetching: &Fetching, peer: &Peer, size: usize, mut answer: Answer) {
        let entry = fetching.entry;
        let next = self.offset + bytes.len() as u64;
        let end = if next == fetching.size { "end" } else { "more" };
        let ok = format!("GET {entry} {next} {end}");
        if bytes.is_empty() {
            return peer.settle(size, &answer.ok(Some(&ok)));
        }
        let mut tags = TagBuilder::default();
        tags.display("bytes", Some(bytes.len()));
        let (id, offset) = (entry.to_string(), self.offset.to_string());
        answer.row(tags, ServerLine::new(Body::FileData { id: &id, offset: &offset }));
        let head = std::mem::take(answer.lines());
        peer.settle_with_piece(size, Piece { head, bytes, tail: answer.ok(Some(&ok)) });
    }
}

/// An upload of the session's own identity, within what its token covers.
fn stored_upload(
    core: &Core,
    view: Option<&View<'_>>,
    peer: &Peer,
    handle: UploadHandle,
) -> Result<StoredUpload, Refusal> {
    let view = view.ok_or_else(super::history::unreadable)?;
    let stored = view.upload(peer.identity(), handle.0)?.ok_or_else(no_such_upload)?;
    if covers_upload(core, peer, &stored) { Ok(stored) } else { Err(no_such_upload()) }
}

/// Whether the token of a session covers where an upload is for.
fn covers_upload(core: &Core, peer: &Peer, stored: &StoredUpload) -> bool {
    if peer.grant().is_none_or(|grant| !grant.scope.is_confined()) {
        return true;
    }
    match stored.to {
        Conversation::With(_) => false,
        Conversation::Room(room) => {
            core.registry.room_numbered(room).is_some_and(|room| is_within_scope(peer, Some(&room.name)))
        }
    }
}

/// What is answered to ACCEPT, DECLINE or DONE; and the sender hears of it.
fn said_of_file(
    core: &Core,
    peer: &Peer,
    draft: &Draft,
    state: FileState,
    outcome: Outcome,
    mut answer: Answer,
) -> Vec<u8> {
    let Outcome::Said { file, is_new } = outcome else { return refused(core, peer, draft, answer, outcome) };
    if is_new {
        tell_sender(core, &file, state, &draft.author.nick);
    }
    let what = match state {
        FileState::Accepted => "ACCEPT",
        FileState::Declined => "DECLINE",
        FileState::Done => "DONE",
    };
    if state == FileState::Accepted {
        // All that it takes to fetch it.
        let mut tags = TagBuilder::default();
        tags.value("name", Some(&file.name));
        tags.value("from", Some(&file.from));
        tags.raw(&file.tags);
        answer.set_ok_tags(tags);
    }
    answer.ok(Some(&format!("{what} {}", file.entry)))
}

fn list_uploads(view: &View<'_>, me: u64, peer: &Peer, answer: &mut Answer) -> Result<(), Refusal> {
    for (upload, room) in view.uploads(me)? {
        if !is_within_scope(peer, room.as_deref()) {
            continue;
        }
        let mut tags = TagBuilder::default();
        tags.display("size", upload.size);
        let handle = UploadHandle(upload.handle).to_string();
        let target = room.unwrap_or(upload.peer_nick);
        let body = Body::FileUpload { handle: &handle, target: &target, name: &upload.name };
        answer.row(tags, ServerLine::new(body));
    }
    Ok(())
}

/// The entry's way: its sender was counted as having something under way before.
fn push(core: &Arc<Core>, peer: &Arc<Peer>, submission: Submission, answer: Answer) {
    let size = submission.size;
    if !core.queue.push(submission) {
        let refusal = refusal(Code::ShuttingDown, "the daemon is stopping; connect again later");
        peer.settle(size, &answer.refuse(&refusal));
    }
}

/// Notes and words what the log has refused.
fn refused(core: &Core, peer: &Peer, draft: &Draft, answer: Answer, outcome: Outcome) -> Vec<u8> {
    if let Outcome::Refused(refusal) = &outcome {
        core.note_refusal(peer, draft.author.clone(), "FILE", refusal.code);
    }
    outcome.refused(answer)
}

fn recipients_of_upload(core: &Core, stored: &StoredUpload, author: &Author) -> Result<Recipients, Refusal> {
    match stored.to {
        Conversation::Room(room) => room_of(core, room),
        Conversation::With(other) => {
            let author = core.registry.identity(author.number).ok_or_else(no_such_upload)?;
            let identity = core.registry.identity(other);
            Ok(Recipients::Person { identity, nick: stored.peer_nick.clone(), author })
        }
    }
}

fn recipients(
    core: &Core,
    file: &StoredFile,
    me: &Arc<crate::registry::Identity>,
) -> Result<Recipients, Refusal> {
    match &file.peer {
        None => room_of(core, file.conversation),
        Some((other, nick)) => {
            let other = if *other == me.number { file.author } else { *other };
            let identity = core.registry.identity(other);
            Ok(Recipients::Person { identity, nick: nick.clone(), author: Arc::clone(me) })
        }
    }
}

fn room_of(core: &Core, number: u64) -> Result<Recipients, Refusal> {
    let room = core.registry.room_numbered(number);
    room.map(Recipients::Room)
        .ok_or_else(|| refusal(Code::NoSuchRoom, "the room is gone; JOIN makes it again"))
}

/// Tells all sessions of a file's sender what somebody has said about it.
fn tell_sender(core: &Core, file: &StoredFile, what: FileState, from: &str) {
    let Some(sender) = core.registry.identity(file.author) else { return };
    let (nick, id) = (sender.nick(), file.entry.to_string());
    let target = file.room.as_deref().unwrap_or(&nick);
    let mut line = Vec::new();
    ServerLine::new(Body::FileTaken { what, target, id: &id }).with_from(from).write(&mut line);
    sender.audience.for_each(|peer| {
        if is_within_scope(peer, file.room.as_deref()) {
            peer.push(&line);
        }
    });
}

/// What may be sent now.
fn quotas(core: &Core) -> Quotas {
    let files = &core.config().files;
    Quotas {
        file: files.file.bytes() as u64,
        account: files.account.bytes() as u64,
        guest: files.guest.bytes() as u64,
        room: files.room.bytes() as u64,
        total: files.total.bytes() as u64,
    }
}

/// Whether the token of a session, if it came by one, covers a room, or what is private.
fn is_within_scope(peer: &Peer, room: Option<&str>) -> bool {
    peer.grant().is_none_or(|grant| match room {
        None => !grant.scope.is_confined(),
        Some(room) => RoomName::parse(room).is_ok_and(|room| grant.scope.has_room(&room)),
    })
}

fn no_such_upload() -> Refusal {
    refusal(Code::NoSuchFile, "there is no such upload of yours on its way; FILE OFFER begins one")
}

fn no_such_file() -> Refusal {
    refusal(Code::NoSuchFile, NO_SUCH_FILE)
}
