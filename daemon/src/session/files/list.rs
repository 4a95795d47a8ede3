//! Handlers of FILE LIST and STATE: which files exist, and which users have taken one.

use std::sync::Arc;

use snug_protocol::{Body, Code, Cursor, FileState, ServerLine, TagBuilder, Target, UploadHandle};

use super::no_such_file;
use crate::answer::Answer;
use crate::log::{Row, View};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::session::history::{reduced_tag, within_a_page};
use crate::session::{Answered, Session, refusal};

impl Session {
    pub(super) fn list_files(
        &mut self,
        of: Option<Target<'_>>,
        before: Option<Cursor>,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = self.me()?.number;
        let before = before.map(|cursor| self.own_id(cursor)).transpose()?.unwrap_or(u64::MAX >> 1);
        let (limit, reduced) = within_a_page(limit);
        let place = of.as_ref().map(|target| self.place(target)).transpose()?;
        let peer = Arc::clone(&self.peer);
        self.read_log(answer, move |view, answer| {
            let conversations = match &place {
                Some(place) => vec![place.find(view, me)?],
                None => {
                    let mut places = view.places_with_files()?;
                    places.retain(|(_, room)| peer.is_in_scope(room.as_deref()));
                    let named =
                        |(number, room): (u64, Option<String>)| (number, Arc::from(room.unwrap_or_default()));
                    places.into_iter().map(named).collect()
                }
            };
            let listed = view.files(me, &conversations, before, limit)?;
            for (row, taken) in &listed.rows {
                let Row::Entry { entry, room, key, .. } = row else { continue };
                let mut tags = entry.tags(me, key.as_deref());
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
            answer.set_ok_tags(reduced_tag(reduced));
            let more = if listed.more { "more" } else { "end" };
            Ok(format!("LIST {} {more}", listed.rows.len()))
        })
    }

    pub(super) fn file_state(&mut self, id: Cursor, answer: &mut Answer) -> Result<Answered, Refusal> {
        let entry = self.own_id(id)?;
        let me = self.me()?.number;
        let may_see_all = self.is_operator();
        let peer = Arc::clone(&self.peer);
        self.read_log(answer, move |view, answer| {
            let file = view.file(me, entry)?.filter(|file| peer.is_in_scope(file.room.as_deref()));
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

fn list_uploads(view: &View<'_>, me: u64, peer: &Peer, answer: &mut Answer) -> Result<(), Refusal> {
    for (upload, room) in view.uploads(me)? {
        if !peer.is_in_scope(room.as_deref()) {
            continue;
        }
        let mut tags = TagBuilder::default();
        tags.display("size", upload.size);
        let handle = UploadHandle(upload.handle).to_string();
        let target = room.unwrap_or(upload.addressee_nick);
        let body = Body::FileUpload { handle: &handle, target: &target, name: &upload.name };
        answer.row(tags, ServerLine::new(body));
    }
    Ok(())
}
