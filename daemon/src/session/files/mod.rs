//! Handlers of FILE: offering, sending and fetching files.
//!
//! The file threads work on pieces and answer them, in order. Up to its limit of commands under way, a session need
//! not wait for these answers, as long as it sends no other command in between.

mod fetch;
mod list;

mod upload;
pub(super) use upload::PieceUpload;

use std::sync::Arc;

use snug_protocol::{ContentHash, Cursor, EntryKind, FileCommand, FileRef, FileState, TagBuilder};

use super::{Answered, Pipeline, Session, refusal};
use crate::answer::Answer;
use crate::core::Core;
use crate::core::queue::Submission;
use crate::core::reply::{AnswerTo, Recipients, Reply};
use crate::log::{Act, Conversation, Draft, FileAct, NO_SUCH_FILE, NewEntry, Outcome, StoredFile};
use crate::refusal::Refusal;
use crate::registry::Identity;
use crate::registry::responder::Responder;
use snug_protocol::Code;

/// From this many bytes on, flood control does not count a piece as a line, because its cost is its bytes.
const LARGE_PIECE: u64 = 16 << 10;

impl Session {
    pub(super) fn file(
        &mut self,
        command: FileCommand<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.core.files.store()?;
        match command {
            FileCommand::Offer(offer) => self.offer(offer, answer),
            FileCommand::Put { .. } => {
                let text = "the bytes are missing: @bytes=<count> FILE PUT <handle> <offset>, and behind it the bytes";
                Err(refusal(Code::MissingParameter, text))
            }
            FileCommand::Done { of: FileRef::Upload(handle), size, hash } => {
                self.complete(handle, (size, hash), answer)
            }
            FileCommand::Done { of: FileRef::Entry(id), size, hash } => {
                self.say_of_file(id, FileState::Done, Some((size, hash)), answer)
            }
            FileCommand::Accept { id } => self.say_of_file(id, FileState::Accepted, None, answer),
            FileCommand::Decline { id } => self.say_of_file(id, FileState::Declined, None, answer),
            FileCommand::Cancel { of: FileRef::Upload(handle) } => self.give_up(handle, answer),
            FileCommand::Cancel { of: FileRef::Entry(id) } => self.take_back(id, answer),
            FileCommand::Get { id, offset, count } => self.fetch(id, (offset, count), answer),
            FileCommand::List { of, before, limit } => self.list_files(of, before, limit, answer),
            FileCommand::State { id } => self.file_state(id, answer),
        }
    }

    /// Returns what a command may be under way with, and whether it is a large piece, which flood control does not
    /// count as a line.
    pub(super) fn pipeline_of(&self, command: &FileCommand<'_>, bytes: Option<u64>) -> (Pipeline, bool) {
        match command {
            FileCommand::Put { handle, .. } if self.core.files.upload(handle.0).is_some() => {
                (Pipeline::Puts, bytes.unwrap_or(0) >= LARGE_PIECE)
            }
            FileCommand::Get { id, offset, count } => match self.fetching(id.id) {
                Some(fetching) => {
                    let left = fetching.size.saturating_sub(*offset);
                    (Pipeline::Gets, (*count).min(left) >= LARGE_PIECE)
                }
                None => (Pipeline::Alone, false),
            },
            _ => (Pipeline::Alone, false),
        }
    }

    /// Handles ACCEPT, DECLINE, and DONE of a fetched file.
    fn say_of_file(
        &mut self,
        id: Cursor,
        state: FileState,
        arrived: Option<(u64, ContentHash)>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = Arc::clone(self.me()?);
        let records = self.core.registry.record(&me).into_iter().collect();
        let act = Act::File(FileAct::Say { entry, state, arrived });
        let draft = Draft { author: self.author(&me), records, act };
        Ok(self.with_file(entry, answer, move |core, responder, found| {
            if let Err(refusal) = found {
                core.note_refusal(responder.peer(), draft.author, "FILE", refusal.code);
                return responder.give(Err(refusal));
            }
            core.decide(responder, draft, move |answer, outcome| match outcome {
                Outcome::Said { file, .. } => Ok(Some(said_of_file(&file, state, answer))),
                _ => Err(super::unexpected()),
            });
        }))
    }

    /// Handles CANCEL of an offered file: its entry and its content are deleted.
    fn take_back(&mut self, id: Cursor, answer: &mut Answer) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = Arc::clone(self.me()?);
        let author = self.author(&me);
        Ok(self.with_file(entry, answer, move |core, responder, found| {
            let drafted = found.and_then(|file| {
                let to = recipients(core, &file, &me)?;
                let conversation = match &file.peer {
                    None => Conversation::Room(file.conversation),
                    Some((other, _)) if *other == me.number => Conversation::With(file.author),
                    Some((other, _)) => Conversation::With(*other),
                };
                let mut new = NewEntry::new(EntryKind::Delete, conversation);
                new.about = Some(entry);
                new.addressee_nick = file.peer.map(|(_, nick)| nick).unwrap_or_default();
                Ok((Draft::new(author, Act::Enter(new)), to))
            });
            match drafted {
                Err(refusal) => responder.give(Err(refusal)),
                Ok((draft, to)) => append(core, responder, draft, to, AnswerTo::FileCancel),
            }
        }))
    }

    /// Looks up a file that the session may fetch, and calls `next` with it.
    fn with_file(
        &mut self,
        entry: u64,
        answer: &mut Answer,
        next: impl FnOnce(&Arc<Core>, Responder, Result<StoredFile, Refusal>) + Send + 'static,
    ) -> Answered {
        let (responder, core) = (self.responder(answer), Arc::clone(&self.core));
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                let peer = responder.peer();
                let found = match view.map(|view| view.file(peer.identity(), entry)) {
                    Some(Ok(Some(file))) if peer.is_in_scope(file.room.as_deref()) => Ok(file),
                    Some(Ok(_)) => Err(no_such_file()),
                    Some(Err(error)) => Err(error.into()),
                    None => Err(super::history::unreadable()),
                };
                next(&core, responder, found);
            }),
        );
        Answered::InFlight
    }
}

/// Returns the parameters of the OK to ACCEPT, DECLINE or DONE, and sets its tags.
fn said_of_file(file: &StoredFile, state: FileState, answer: &mut Answer) -> String {
    if state == FileState::Accepted {
        // Everything that a client needs to fetch the file.
        let mut tags = TagBuilder::default();
        tags.value("name", Some(&file.name));
        tags.value("from", Some(&file.from));
        tags.raw(&file.tags);
        answer.set_ok_tags(tags);
    }
    let what = match state {
        FileState::Accepted => "ACCEPT",
        FileState::Declined => "DECLINE",
        FileState::Done => "DONE",
    };
    format!("{what} {}", file.entry)
}

/// Hands an entry to the log. Its command already counts as under way, and does so until the log answers.
fn append(core: &Core, responder: Responder, draft: Draft, to: Recipients, of: AnswerTo) {
    let (size, sender) = (responder.size(), Arc::clone(responder.peer()));
    sender.begin(size);
    let label = responder.into_label();
    let reply = Reply::Entry { label: label.clone(), to, of };
    let submission = Submission { draft, size, sender: Some(Arc::clone(&sender)), reply };
    if !core.queue.push(submission) {
        sender.settle(size, &Answer::new("FILE", label).refuse(&Refusal::stopping()));
    }
}

fn recipients(core: &Core, file: &StoredFile, me: &Arc<Identity>) -> Result<Recipients, Refusal> {
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

fn no_such_file() -> Refusal {
    refusal(Code::NoSuchFile, NO_SUCH_FILE)
}
