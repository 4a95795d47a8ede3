//! Verbs that say something: MSG, PRIV, TOPIC, TYPING.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use snug_protocol::{
    Body, Code, EntryKind, MessageTags, Nick, RoomName, ServerLine, Switch, TagBuilder, Tags, Target,
    TopicChange, escaped_text_len,
};

use super::{Answer, Answered, Session, refusal};
use crate::deliver::{Recipients, Reply};
use crate::log::{Act, Conversation, Draft, NewEntry, Refusal};
use crate::registry::{Identity, Room};

impl Session {
    pub(super) fn msg(
        &mut self,
        room: &RoomName<'_>,
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let entry = self.message(EntryKind::Msg, Conversation::Room(room.number), text, tags)?;
        self.enter(entry, size, answer, Recipients::Room(room))
    }

    pub(super) fn private(
        &mut self,
        nick: &Nick<'_>,
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (identity, nick) = self.find_person(nick)?;
        let entry = self.message(EntryKind::Priv, Conversation::With(identity.number), text, tags)?;
        let author = Arc::clone(self.me()?);
        self.enter(entry, size, answer, Recipients::Person { identity, nick, author })
    }

    pub(super) fn topic(
        &mut self,
        room: &RoomName<'_>,
        change: TopicChange<'_>,
        key: Option<Cow<'_, str>>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let text = match change {
            TopicChange::Ask => return Ok(show_topic(&room, answer)),
            TopicChange::Clear => None,
            TopicChange::Set(text) => Some(text),
        };
        self.must_be_in(&room)?;
        let text = text.map(|text| self.within_limit(text)).transpose()?;
        // A list of rooms shows all topics.
        let limit = self.core.config().limits.topic;
        if text.as_ref().is_some_and(|text| escaped_text_len(text) as u64 > limit) {
            return Err(refusal(Code::TooLong, &format!("a topic has at most {limit} bytes")));
        }
        let entry = NewEntry {
            kind: EntryKind::Topic,
            to: Conversation::Room(room.number),
            text: text.map(Cow::into_owned),
            original: None,
            key: key.map(Cow::into_owned),
            re: None,
            tags: String::new(),
        };
        self.enter(entry, size, answer, Recipients::Room(room))
    }

    pub(super) fn typing(&mut self, target: &Target<'_>, switch: Switch) -> Result<Answered, Refusal> {
        match target {
            Target::Room(room) => {
                let room = self.find_room(room)?;
                self.must_be_in(&room)?;
                let line = self.typing_line(&room.name, switch)?;
                room.audience.for_each(|peer| {
                    if peer.identity() != self.peer.identity() {
                        peer.push_if_quiet(&line);
                    }
                });
                Ok(Answered::Ok(Some(room.name.clone())))
            }
            Target::Nick(nick) => {
                let (identity, nick) = self.find_person(nick)?;
                let line = self.typing_line(&nick, switch)?;
                identity.audience.for_each(|peer| peer.push_if_quiet(&line));
                Ok(Answered::Ok(Some(nick)))
            }
        }
    }

    fn typing_line(&self, target: &str, switch: Switch) -> Result<Vec<u8>, Refusal> {
        let mut line = Vec::new();
        ServerLine::new(Body::Typing { target, switch: switch.word() })
            .with_from(&self.me()?.nick())
            .write(&mut line);
        Ok(line)
    }

    /// Makes the entry of a message, as the filters leave it.
    fn message(
        &self,
        kind: EntryKind,
        to: Conversation,
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
    ) -> Result<NewEntry, Refusal> {
        let said = self.within_limit(text)?;
        let filtered = if tags.verbatim { None } else { self.filter(&said) };
        let said = said.into_owned();
        let (text, original) = match filtered {
            Some(filtered) => (filtered, Some(said)),
            None => (said, None),
        };
        Ok(NewEntry {
            kind,
            to,
            text: Some(text),
            original,
            key: tags.key.map(Cow::into_owned),
            re: tags.re,
            tags: tags.relayed.into_owned(),
        })
    }

    /// What the filters make of a text; `None` if they leave it. A result that is over the limit is not taken.
    fn filter(&self, text: &str) -> Option<String> {
        let mut filtered: Option<String> = None;
        for filter in &self.core.filters {
            let rewritten = filter.rewrite(filtered.as_deref().unwrap_or(text));
            let limit = self.core.config().limits.text;
            let fits = |text: &String| escaped_text_len(text) as u64 <= limit && !text.is_empty();
            filtered = rewritten.filter(fits).or(filtered);
        }
        filtered
    }

    fn within_limit<'t>(&self, text: Cow<'t, str>) -> Result<Cow<'t, str>, Refusal> {
        let limit = self.core.config().limits.text;
        let length = escaped_text_len(&text);
        if length as u64 > limit {
            let what = format!("the text has {length} bytes, the limit is {limit}; send it in parts");
            return Err(refusal(Code::TooLong, &what));
        }
        Ok(text)
    }

    fn enter(
        &self,
        entry: NewEntry,
        size: usize,
        answer: &mut Answer,
        to: Recipients,
    ) -> Result<Answered, Refusal> {
        let draft = Draft { author: self.author(self.me()?), act: Act::Enter(entry) };
        let reply = Reply::Entry { sender: Arc::clone(&self.peer), label: answer.label.clone(), to };
        self.submit(draft, size, reply)
    }

    fn find_person(&self, nick: &Nick<'_>) -> Result<(Arc<Identity>, String), Refusal> {
        self.core.registry.person(nick).ok_or_else(|| {
            refusal(Code::NoSuchNick, &format!("nobody here is called {nick}; WHO lists who is"))
        })
    }

    fn must_be_in(&self, room: &Room) -> Result<(), Refusal> {
        if self.core.registry.is_in(&self.peer, room) {
            return Ok(());
        }
        Err(refusal(Code::NotInRoom, &format!("you are not in {}; JOIN it first", room.name)))
    }

    /// Who the session speaks for. Handlers of verbs that need a name are not called without one.
    pub(super) fn me(&self) -> Result<&Arc<Identity>, Refusal> {
        self.me.as_ref().ok_or_else(|| refusal(Code::NickNeeded, "say NICK first"))
    }
}

fn show_topic(room: &Room, answer: &mut Answer) -> Answered {
    let topic = room.topic.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(topic) = topic {
        let body = Body::Entry { kind: EntryKind::Topic, target: &room.name, text: Some(topic.text.into()) };
        let mut tags = TagBuilder::default();
        tags.raw(Tags::trusted(&topic.tags).as_str());
        answer.row(tags, ServerLine::new(body).with_from(&topic.from));
    }
    Answered::Ok(Some(room.name.clone()))
}
