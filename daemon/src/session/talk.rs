//! Handlers of MSG, PRIV, TOPIC and TYPING, and of the verbs about earlier messages: EDIT, DELETE, REACT, UNREACT.

use std::borrow::Cow;
use std::sync::Arc;

use snug_protocol::{
    Body, Code, Cursor, EntryKind, MessageTags, Nick, PersonId, RoomName, ServerLine, Switch, TagBuilder,
    Tags, Target, TopicChange, escaped_text_len, limits,
};

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::core::reply::Recipients;
use crate::cost::Cost;
use crate::log::{Act, AuditNote, Author, Conversation, Draft, NewEntry};
use crate::refusal::Refusal;
use crate::registry::{Identity, Room};

/// How long a TYPING holds that nobody repeats, in milliseconds. PROTOCOL.md says so, too.
const TYPING: u64 = 6_000;

/// Maximum number of places where a session's typing is remembered.
const TYPING_IN: usize = 16;

impl Session {
    pub(super) fn msg(
        &mut self,
        room: &RoomName<'_>,
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let entry = self.message(EntryKind::Msg, Conversation::Room(room.number), text, tags)?;
        self.enter(entry, answer, Recipients::Room(room))
    }

    pub(super) fn private(
        &mut self,
        (nick, who): (&Nick<'_>, Option<PersonId>),
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (identity, nick) = self.addressee(nick, who)?;
        let entry = self.message(EntryKind::Priv, Conversation::With(identity.number), text, tags)?;
        let author = Arc::clone(self.me()?);
        self.enter(entry, answer, Recipients::Person { identity: Some(identity), nick, author })
    }

    pub(super) fn edit(
        &mut self,
        about: (&Target<'_>, Cursor),
        text: Cow<'_, str>,
        key: Option<Cow<'_, str>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (text, original) = self.filtered(text, false)?;
        let (entry, to) = self.entry_about(EntryKind::Edit, about)?;
        let key = key.map(Cow::into_owned);
        self.enter(NewEntry { text: Some(text), original, key, ..entry }, answer, to)
    }

    pub(super) fn delete(
        &mut self,
        about: (&Target<'_>, Cursor),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (entry, to) = self.entry_about(EntryKind::Delete, about)?;
        self.enter(entry, answer, to)
    }

    /// Handles REACT and UNREACT.
    pub(super) fn react(
        &mut self,
        kind: EntryKind,
        about: (&Target<'_>, Cursor),
        reaction: &str,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let filtered = self.filter(reaction).filter(|emoji| emoji.len() <= limits::REACTION);
        let text = Some(filtered.unwrap_or_else(|| reaction.to_owned()));
        let (entry, to) = self.entry_about(kind, about)?;
        self.enter(NewEntry { text, ..entry }, answer, to)
    }

    /// Returns an entry about another one, and its recipients.
    fn entry_about(
        &mut self,
        kind: EntryKind,
        (target, id): (&Target<'_>, Cursor),
    ) -> Result<(NewEntry, Recipients), Refusal> {
        let about = Some(self.own_id(id)?);
        let author = Arc::clone(self.me()?);
        let (to, recipients) = match target {
            Target::Room(room) => {
                let room = self.find_room(room)?;
                (Conversation::Room(room.number), Recipients::Room(room))
            }
            Target::Nick(nick) => {
                let (identity, nick) = self.once_known(nick);
                let number = identity.as_ref().map_or(0, |identity| identity.number);
                (Conversation::With(number), Recipients::Person { identity, nick, author })
            }
            Target::Person { nick, who } => {
                let (identity, nick) = self.by_id(nick, *who);
                (Conversation::Pair(who.0), Recipients::Person { identity, nick, author })
            }
        };
        Ok((NewEntry { about, ..NewEntry::new(kind, to) }, recipients))
    }

    pub(super) fn topic(
        &mut self,
        room: &RoomName<'_>,
        change: TopicChange<'_>,
        key: Option<Cow<'_, str>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let text = match change {
            TopicChange::Ask => return Ok(show_topic(&room, self.may_read_topic(&room), answer)),
            TopicChange::Clear => None,
            TopicChange::Set(text) => Some(text),
        };
        self.must_be_in(&room)?;
        let text = text.map(|text| self.within_limit(text)).transpose()?;
        // ROOMS shows all topics, so they are short.
        let limit = self.core.config().limits.topic;
        if text.as_ref().is_some_and(|text| escaped_text_len(text) as u64 > limit) {
            return Err(refusal(Code::TooLong, &format!("a topic has at most {limit} bytes")));
        }
        let entry = NewEntry {
            text: text.map(Cow::into_owned),
            key: key.map(Cow::into_owned),
            ..NewEntry::new(EntryKind::Topic, Conversation::Room(room.number))
        };
        self.enter(entry, answer, Recipients::Room(room))
    }

    pub(super) fn typing(&mut self, target: &Target<'_>, switch: Switch) -> Result<Answered, Refusal> {
        let answered = self.tell_typing(target, switch)?;
        self.note_typing(target, switch);
        Ok(answered)
    }

    /// Remembers where the user is typing, to say that they are not when the session ends.
    fn note_typing(&mut self, target: &Target<'_>, switch: Switch) {
        let now = self.core.now();
        self.typing_in.retain(|(other, until)| other != target && *until > now);
        if switch == Switch::On && self.typing_in.len() < TYPING_IN {
            self.typing_in.push((target.clone().into_owned(), now + TYPING));
        }
    }

    /// Says that the user is not typing any more where they were.
    pub(super) fn end_typing(&mut self) {
        let now = self.core.now();
        for (target, until) in std::mem::take(&mut self.typing_in) {
            if until > now {
                let _ = self.tell_typing(&target, Switch::Off);
            }
        }
    }

    fn tell_typing(&mut self, target: &Target<'_>, switch: Switch) -> Result<Answered, Refusal> {
        match target {
            Target::Room(room) => {
                let room = self.find_room(room)?;
                self.must_be_in(&room)?;
                let line = self.typing_line(&room.name, switch)?;
                // As with joins and leaves, nobody follows who types in a large room.
                let announce = self.core.config().limits.announce_members;
                if self.may_speak_in(&room) && self.core.registry.count_in(&room) as u64 <= announce {
                    let mut hearers = 0;
                    room.audience.for_each(|peer| {
                        hearers += 1;
                        if peer.identity() != self.peer.identity() {
                            peer.push_if_quiet(&line);
                        }
                    });
                    self.peer.spent.add(Cost::hearers(hearers));
                }
                Ok(Answered::Ok(Some(room.name.clone())))
            }
            Target::Nick(nick) | Target::Person { nick, .. } => {
                let (identity, nick) = self.find_person(nick, target.who())?;
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

    /// Creates the entry of a message, with the text that the filters leave.
    fn message(
        &self,
        kind: EntryKind,
        to: Conversation,
        text: Cow<'_, str>,
        tags: MessageTags<'_>,
    ) -> Result<NewEntry, Refusal> {
        let (text, original) = self.filtered(text, tags.verbatim)?;
        Ok(NewEntry {
            text: Some(text),
            original,
            key: tags.key.map(Cow::into_owned),
            re: tags.re.map(|re| self.own_id(re)).transpose()?,
            replace: tags.replace.map(Cow::into_owned),
            tags: tags.relayed.into_owned(),
            ..NewEntry::new(kind, to)
        })
    }

    /// Returns a text as it will be stored, and the original if the filters have changed it.
    fn filtered(&self, text: Cow<'_, str>, verbatim: bool) -> Result<(String, Option<String>), Refusal> {
        let said = self.within_limit(text)?;
        let filtered = if verbatim { None } else { self.filter(&said) };
        let said = said.into_owned();
        Ok(match filtered {
            Some(filtered) => (filtered, Some(said)),
            None => (said, None),
        })
    }

    /// Returns what the filters make of a text; `None` if they leave it. Does not use a result that is empty or over
    /// the limit.
    fn filter(&self, text: &str) -> Option<String> {
        let limit = self.core.config().limits.text;
        let fits = |text: &String| escaped_text_len(text) as u64 <= limit && !text.is_empty();
        let left_out = |name: &str, why: &str| {
            self.core.audit(Author::default(), AuditNote::new("filter", name, format!("left out: {why}")));
        };
        self.core.filters().rewrite(&*self.core.environment.clock, text, fits, left_out)
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

    fn enter(&self, mut entry: NewEntry, answer: &mut Answer, to: Recipients) -> Result<Answered, Refusal> {
        let me = self.me()?;
        let mut records: Vec<_> = self.core.registry.record(me).into_iter().collect();
        if let Recipients::Person { identity, nick, .. } = &to {
            entry.addressee_nick.clone_from(nick);
            if let Some(identity) = identity.as_ref().filter(|identity| identity.number != me.number) {
                records.extend(self.core.registry.record(identity));
            }
        }
        let draft = Draft { author: self.author(me), records, act: Act::Enter(entry) };
        self.append(draft, answer, to)
    }

    fn find_person(
        &self,
        nick: &Nick<'_>,
        who: Option<PersonId>,
    ) -> Result<(Arc<Identity>, String), Refusal> {
        let registry = &self.core.registry;
        let found = match who {
            None => registry.person(nick),
            Some(who) => registry.person_by_id(who.0),
        };
        found.ok_or_else(|| nobody(nick, who))
    }

    /// Returns who is to get a private message or file, and the nickname as displayed.
    pub(super) fn addressee(
        &self,
        nick: &Nick<'_>,
        who: Option<PersonId>,
    ) -> Result<(Arc<Identity>, String), Refusal> {
        let registry = &self.core.registry;
        let found = match who {
            None => registry.addressee(nick),
            Some(who) => registry.addressee_by_id(who.0),
        };
        found.ok_or_else(|| nobody(nick, who))
    }

    /// Returns the identity with an id, unless only the log remembers it, and the nickname as displayed.
    pub(super) fn by_id(&self, nick: &Nick<'_>, who: PersonId) -> (Option<Arc<Identity>>, String) {
        let identity = self.core.registry.identity(who.0);
        let shown = identity.as_ref().map_or_else(|| nick.as_str().to_owned(), |identity| identity.nick());
        (identity, shown)
    }

    /// Returns the identity with a nickname, online or offline, and the nickname as displayed. There is no identity
    /// for a user whom only the log remembers.
    pub(super) fn once_known(&self, nick: &Nick<'_>) -> (Option<Arc<Identity>>, String) {
        match self.core.registry.known(nick) {
            Some((identity, shown)) => (Some(identity), shown),
            None => (None, nick.as_str().to_owned()),
        }
    }

    fn must_be_in(&self, room: &Room) -> Result<(), Refusal> {
        if self.core.registry.is_in(&self.peer, room) {
            return Ok(());
        }
        Err(refusal(Code::NotInRoom, &format!("you are not in {}; JOIN it first", room.name)))
    }

    /// Returns the identity that the session speaks for. Handlers of verbs that need a name are not called without
    /// one.
    pub(super) fn me(&self) -> Result<&Arc<Identity>, Refusal> {
        self.me.as_ref().ok_or_else(|| refusal(Code::NickNeeded, "say NICK first"))
    }
}

pub(super) fn nobody_called(nick: &Nick<'_>) -> Refusal {
    refusal(Code::NoSuchNick, &format!("nobody here is called {nick}; WHO lists who is"))
}

/// Returns why there is nobody of that nick or, if it is given, of that id.
fn nobody(nick: &Nick<'_>, who: Option<PersonId>) -> Refusal {
    if who.is_some() { nobody_with_id() } else { nobody_called(nick) }
}

pub(super) fn nobody_with_id() -> Refusal {
    refusal(Code::NoSuchNick, "nobody with this id can be reached; WHO and INBOX tell ids, in the tag who")
}

fn show_topic(room: &Room, may_read: bool, answer: &mut Answer) -> Answered {
    if let Some(topic) = room.topic().filter(|_| may_read) {
        let text = Some(topic.text.into());
        let body = Body::Entry { kind: EntryKind::Topic, target: &room.name, about: None, text };
        let mut tags = TagBuilder::default();
        tags.raw(Tags::trusted(&topic.tags).as_str());
        answer.row(tags, ServerLine::new(body).with_from(&topic.from));
    }
    Answered::Ok(Some(room.name.clone()))
}
