//! Verbs about rooms and who is in them: JOIN, LEAVE, ROOMS, WHO.

use std::sync::Arc;

use snug_protocol::{Body, Code, RoomName, ServerLine, TagBuilder, Target};

use super::{Answer, Answered, Session, refusal};
use crate::deliver::Reply;
use crate::log::{Act, Draft, Refusal};
use crate::registry::Present;

impl Session {
    pub(super) fn join(
        &mut self,
        room: RoomName<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        if let Some(name) = self.core.registry.join(&self.peer, &room, time, &config.limits)? {
            return Ok(Answered::Ok(Some(name)));
        }
        let act = Act::MakeRoom { name: room.into_owned(), most: config.limits.rooms };
        let draft = Draft { author: self.author(self.me()?), act };
        let reply = Reply::Join { sender: Arc::clone(&self.peer), label: answer.label.clone() };
        // What is said next may be said in the new room.
        self.barrier = true;
        self.submit(draft, size, reply)
    }

    pub(super) fn leave(&mut self, room: &RoomName<'_>, text: Option<&str>) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        let (name, empty) = self.core.registry.leave(&self.peer, room, text, time, &config.limits)?;
        if let Some(room) = empty {
            self.retire(room);
        }
        Ok(Answered::Ok(Some(name)))
    }

    pub(super) fn rooms(&self, answer: &mut Answer) -> Answered {
        let rooms = self.core.registry.rooms();
        for room in &rooms {
            let members = room.members.to_string();
            let topic = room.topic.as_deref().map(Into::into);
            let body = Body::Room { room: &room.name, members: &members, topic };
            answer.row(TagBuilder::default(), ServerLine::new(body));
        }
        Answered::Ok(Some(rooms.len().to_string()))
    }

    pub(super) fn who(&self, of: Option<Target<'_>>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let registry = &self.core.registry;
        let present = match &of {
            None => registry.who(None),
            Some(Target::Room(room)) => registry.who(Some(room)),
            Some(Target::Nick(nick)) => registry.who_is(nick).map(|present| vec![present]),
        };
        let Some(present) = present else {
            return Err(match of {
                Some(Target::Nick(nick)) => {
                    refusal(Code::NoSuchNick, &format!("nobody here is called {nick}; WHO lists who is"))
                }
                _ => refusal(Code::NoSuchRoom, "there is no such room; ROOMS lists them"),
            });
        };
        for Present { nick, bot, since } in &present {
            let since = since.to_string();
            let mut tags = TagBuilder::default();
            tags.flag("bot", *bot);
            let body = Body::User { nick, status: "online", since: &since };
            answer.row(tags, ServerLine::new(body));
        }
        Ok(Answered::Ok(Some(present.len().to_string())))
    }
}
