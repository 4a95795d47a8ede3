//! Verbs about rooms and who is in them: JOIN, LEAVE, ROOMS, WHO, SET.

use std::sync::Arc;

use snug_protocol::{Body, Code, RoomName, ServerLine, TagBuilder, Target};

use super::{Answer, Answered, Session, refusal};
use crate::Keep;
use crate::deliver::Reply;
use crate::log::{Act, Draft, Readers, Refusal, RoomSetting};
use crate::registry::{Present, Room};

impl Session {
    pub(super) fn join(
        &mut self,
        room: RoomName<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        let remembers = |room: &Room| room.policy().0 == Readers::Joined;
        let is_ordered = self.core.registry.room(&room).is_some_and(|room| remembers(&room));
        if !is_ordered && let Some(room) = self.core.registry.join(&self.peer, &room, time, &config.limits)? {
            answer.set_ok_tags(room_tags(&room, config.log.keep));
            return Ok(Answered::Ok(Some(room.name.clone())));
        }
        // The log makes the room, or notes since when one is there.
        let me = self.me()?;
        let act = Act::MakeRoom { name: room.into_owned(), most: config.limits.rooms };
        // It is theirs, also after a restart.
        let newcomers = self.core.registry.newcomer(me).into_iter().collect();
        let draft = Draft { author: self.author(me), newcomers, act };
        let reply = Reply::Join { sender: Arc::clone(&self.peer), label: answer.label.clone() };
        // What is said next may be said in the new room.
        self.barrier = true;
        self.submit(draft, size, reply)
    }

    pub(super) fn leave(&mut self, room: &RoomName<'_>, text: Option<&str>) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        let (name, departure) = self.core.registry.leave(&self.peer, room, text, time, &config.limits)?;
        self.depart(departure);
        Ok(Answered::Ok(Some(name)))
    }

    pub(super) fn set(
        &mut self,
        room: &RoomName<'_>,
        change: Option<(&str, &str)>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let Some((name, value)) = change else {
            settings(&room, answer);
            return Ok(Answered::Ok(Some(room.name.clone())));
        };
        let bad = |text: &str| refusal(Code::BadParameter, text);
        let setting = match (name, value) {
            ("history", word) => RoomSetting::History(
                Readers::of_word(word).ok_or_else(|| bad("history is one of all, joined and none"))?,
            ),
            ("keep", "default") => RoomSetting::Keep(None),
            ("keep", rule) => {
                RoomSetting::Keep(Some(rule.parse().map_err(|error| bad(&format!("{error}, or default")))?))
            }
            _ => return Err(bad("the settings of a room are history and keep")),
        };
        let members = self.core.registry.members(&room);
        let known = |number: &u64| self.core.registry.identity(*number);
        let newcomers = members.iter().filter_map(known);
        let newcomers = newcomers.filter_map(|member| self.core.registry.newcomer(&member)).collect();
        let act = Act::SetRoom { room: room.number, setting, members, may: self.is_operator() };
        let draft = Draft { author: self.author(self.me()?), newcomers, act };
        self.barrier = true;
        let reply = Reply::Set { sender: Arc::clone(&self.peer), label: answer.label.clone(), room };
        self.submit(draft, size, reply)
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

/// What the OK of JOIN tells about a room; `keep` is how long entries are kept where a room does not say.
pub(crate) fn room_tags(room: &Room, default_keep: Keep) -> TagBuilder {
    let mut tags = TagBuilder::default();
    let (first, last) = room.ends();
    let (history, keep) = room.policy();
    tags.display("first", Some(first).filter(|first| *first > 0));
    tags.display("last", Some(last).filter(|last| *last > 0));
    tags.value("history", Some(history.word()).filter(|_| history != Readers::All));
    tags.display("keep", Some(keep.unwrap_or(default_keep)).filter(|keep| *keep != Keep::Forever));
    tags
}

/// Writes a room's settings as rows.
pub(crate) fn settings(room: &Room, answer: &mut Answer) {
    let (history, keep) = room.policy();
    let keep = keep.map_or_else(|| "default".to_owned(), |keep| keep.to_string());
    for item in [format!("history={}", history.word()), format!("keep={keep}")] {
        answer.row(TagBuilder::default(), ServerLine::new(Body::Set { room: &room.name, item: &item }));
    }
}
