//! Handlers of the verbs about rooms and their members: JOIN, LEAVE, ROOMS, WHO, WATCH, SET.

use std::sync::Arc;

use snug_protocol::{
    Action, Body, Code, EntryKind, Nick, Role, RoomName, RoomOrServer, ServerLine, TagBuilder, Target,
    escape_text, escaped_text_len, is_media_type,
};

use super::{Answered, Session, refusal};
use crate::Retention;
use crate::answer::Answer;
use crate::config::Size;
use crate::core::Core;
use crate::core::reply::Recipients;
use crate::cost::Cost;
use crate::log::{
    Act, AuditNote, Author, Conversation, Draft, Moderation, NewEntry, Outcome, Rank, Readers, RoomAccess,
    RoomQuotas, RoomSetting, RoomSettings, StoredRoom,
};
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::registry::{Present, Room};

impl Session {
    pub(super) fn join(&mut self, room: RoomName<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        // If not everybody may join the room, if it records who was present, or if it has bans, the log decides.
        let is_ordered =
            self.core.registry.room(&room).is_some_and(|room| !room.settings().is_open() || room.has_bans());
        self.check_moves()?;
        let was_in =
            self.core.registry.room(&room).is_some_and(|room| self.core.registry.is_in(&self.peer, &room));
        // That an account is in a room is for the log to keep.
        let stays = !self.came_quietly;
        let is_new = !was_in || self.core.registry.is_passing(&self.peer, &room);
        let is_ordered = is_ordered || stays && is_new && self.me()?.is_account();
        if !is_ordered
            && let Some(room) = self.core.registry.join(&self.peer, &room, (time, stays), &config.limits)?
        {
            answer.set_ok_tags(room_tags(&room, config.log.keep));
            if !was_in {
                self.core.audit(self.stranger(), AuditNote::new("join", &room.name, ""));
            }
            return Ok(Answered::Ok(Some(room.name.clone())));
        }
        // The log creates the room, or records since when the user is present.
        let me = self.me()?;
        let is_new = self.core.registry.room(&room).is_none();
        if is_new {
            self.check_new_rooms()?;
        }
        let quotas = RoomQuotas {
            all: config.limits.rooms,
            account: config.limits.rooms_per_account,
            guest: config.limits.rooms_per_guest,
        };
        let act = Act::MakeRoom { name: room.into_owned(), quotas, stays };
        // The room belongs to its creator after a restart, too, so the log must know them.
        let records = self.core.registry.record(me).into_iter().collect();
        let draft = Draft { author: self.author(me), records, act };
        let (core, peer, author) = (Arc::clone(&self.core), Arc::clone(&self.peer), draft.author.clone());
        // The next command waits, because it may be a message to the new room.
        Ok(self.answer_when_decided(draft, answer, move |answer, outcome| match outcome {
            Outcome::Room(stored) => come_into_room(&core, &peer, author, (&stored, stays), answer),
            _ => Err(super::unexpected()),
        }))
    }

    pub(super) fn leave(
        &mut self,
        room: &RoomName<'_>,
        text: Option<&str>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let left = self.find_room(room)?;
        self.check_moves()?;
        let text = text.filter(|_| self.may_speak_in(&left)).map(str::to_owned);
        let me = Arc::clone(self.me()?);
        let author = self.author(&me);
        if !self.core.registry.is_in(&self.peer, &left) {
            return Err(refusal(Code::NotInRoom, &format!("you are not in {}", left.name)));
        }
        if me.is_account() {
            // What is acknowledged holds after a restart, and nobody hears of what the log has not taken.
            let draft = Draft::new(author.clone(), Act::Leave { room: left.number });
            let (core, peer) = (Arc::clone(&self.core), Arc::clone(&self.peer));
            return Ok(self.answer_when_decided(draft, answer, move |_, _| {
                leave_room(&core, &peer, &author, &left, text.as_deref());
                Ok(Some(left.name.clone()))
            }));
        }
        leave_room(&self.core, &self.peer, &author, &left, text.as_deref());
        if left.settings().access == RoomAccess::Hidden {
            self.core.note(author, Act::Leave { room: left.number });
        }
        Ok(Answered::Ok(Some(left.name.clone())))
    }

    /// Handles CLOSE.
    pub(super) fn close(
        &mut self,
        place: &RoomOrServer<'_>,
        reason: Option<&str>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = Arc::clone(self.me()?);
        let author = self.author(&me);
        if let RoomOrServer::Room(room) = place {
            let room = self.find_room(room)?;
            let act = Act::CloseRoom { room: room.number, reason: reason.map(str::to_owned) };
            let name = room.name.clone();
            let draft = Draft::new(author, act);
            return Ok(self.answer_when_decided(draft, answer, move |_, _| Ok(Some(name))));
        }
        if self.role_here() < Action::CloseRoomsOfGuests.least() {
            return Err(refusal(Code::Denied, "this takes an operator"));
        }
        let retired = self.core.retire_rooms(u64::MAX >> 1);
        // It is decided after all of them.
        let note = AuditNote::new("close", "*", reason.unwrap_or_default());
        let draft = Draft::new(author, Act::Audit(note));
        Ok(self.answer_when_decided(draft, answer, move |_, _| {
            Ok(Some(format!("* {}", retired.load(std::sync::atomic::Ordering::Relaxed))))
        }))
    }

    pub(super) fn set(
        &mut self,
        room: &RoomName<'_>,
        change: Option<(&str, &str)>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let Some((name, value)) = change else {
            settings(&room, answer);
            return Ok(Answered::Ok(Some(room.name.clone())));
        };
        let bad = |text: &str| refusal(Code::BadParameter, text);
        let rank = |word: &str, least: Rank| match Rank::of_word(word) {
            Some(rank) if rank >= least => Ok(rank),
            _ => Err(bad(
                "it is one of all, accounts, members, moderators and owner (invite begins with members)",
            )),
        };
        let setting = match (name, value) {
            ("history", word) => RoomSetting::History(
                Readers::of_word(word).ok_or_else(|| bad("history is one of all, joined and none"))?,
            ),
            ("keep", "default") => RoomSetting::Retention(None),
            ("keep", rule) => RoomSetting::Retention(Some(
                rule.parse().map_err(|error| bad(&format!("{error}, or default")))?,
            )),
            ("access", word) => RoomSetting::Access(
                RoomAccess::of_word(word).ok_or_else(|| bad("access is one of public, hidden and invite"))?,
            ),
            ("join", word) => RoomSetting::Join(rank(word, Rank::All)?),
            ("read", word) => RoomSetting::Read(rank(word, Rank::All)?),
            ("send", word) => RoomSetting::Send(rank(word, Rank::All)?),
            ("invite", word) => RoomSetting::Invite(rank(word, Rank::Members)?),
            ("topic", word) => RoomSetting::Topic(rank(word, Rank::All)?),
            ("slow", "off") => RoomSetting::Slow(None),
            ("slow", time) => {
                RoomSetting::Slow(Some(time.parse().map_err(|error| bad(&format!("{error}, or off")))?))
            }
            ("files", "default") => RoomSetting::Files(None),
            ("files", "off") => RoomSetting::Files(Some(0)),
            ("files", size) => {
                let size: Size<1> = size.parse().map_err(|error| {
                    bad(&format!("files is default, off, or the largest size of one: {error}"))
                })?;
                RoomSetting::Files(Some(size.bytes() as u64))
            }
            ("file-types", "all") => RoomSetting::FileTypes(None),
            ("file-types", list) => {
                let is_pattern = |word: &str| is_media_type(&word.replace("/*", "/x"));
                if list.len() > 512 || !list.split(',').all(is_pattern) {
                    return Err(bad("file-types is all, or a list such as image/*,application/pdf"));
                }
                RoomSetting::FileTypes(Some(list.to_owned()))
            }
            ("description", "-") => RoomSetting::Description(None),
            ("description", text) => {
                let limit = self.core.config().limits.topic;
                if escaped_text_len(text) as u64 > limit {
                    return Err(refusal(Code::TooLong, &format!("a description has at most {limit} bytes")));
                }
                RoomSetting::Description(Some(text.to_owned()))
            }
            _ => {
                return Err(bad(
                    "the settings of a room are access, join, read, send, invite, topic, slow, description, history, keep, files and file-types",
                ));
            }
        };
        let members = self.core.registry.members(&room);
        let known = |number: &u64| self.core.registry.identity(*number);
        let records = members.iter().filter_map(known);
        let records = records.filter_map(|member| self.core.registry.record(&member)).collect();
        let (name, value) = RoomSettings::default().set(&setting);
        let entry = NewEntry {
            text: Some(format!("{name}={value}")),
            moderation: Some(Moderation::Set { setting, members }),
            ..NewEntry::new(EntryKind::Set, Conversation::Room(room.number))
        };
        let draft = Draft { author: self.author(self.me()?), records, act: Act::Enter(entry) };
        self.barrier = true;
        self.append(draft, answer, Recipients::Room(room))
    }

    /// Returns whether the user may see a room's topic, as far as that is known without asking the log.
    pub(super) fn may_read_topic(&self, room: &Room) -> bool {
        let rank = self.core.registry.rank_in(room, self.peer.identity());
        let settings = room.settings();
        rank >= settings.read && (settings.access == RoomAccess::Public || rank >= Rank::Members)
    }

    pub(super) fn rooms(&self, answer: &mut Answer) -> Answered {
        let number = self.peer.identity();
        let mut rooms = self.core.registry.rooms();
        self.peer.spent.add(Cost::listed(rooms.len()));
        rooms.retain(|listed| listed.room.is_known_to(number) || self.is_operator());
        for listed in &rooms {
            let members = listed.members.to_string();
            let settings = listed.room.settings();
            // A topic is an entry of the room, so only its readers see it.
            let topic = listed.topic.as_deref().filter(|_| self.may_read_topic(&listed.room)).map(Into::into);
            let mut tags = TagBuilder::default();
            tags.value(
                "access",
                Some(settings.access.word()).filter(|_| settings.access != RoomAccess::Public),
            );
            tags.value("description", settings.description.as_deref());
            let body = Body::Room { room: &listed.name, members: &members, topic };
            answer.row(tags, ServerLine::new(body));
        }
        Answered::Ok(Some(rooms.len().to_string()))
    }

    pub(super) fn who(&mut self, of: Option<Target<'_>>, answer: &mut Answer) -> Result<Answered, Refusal> {
        if let Some(Target::Room(room)) = &of {
            self.find_room(room)?;
        }
        let registry = &self.core.registry;
        let present = match &of {
            None => registry.who(None),
            Some(Target::Room(room)) => registry.who(Some(room)),
            Some(Target::Nick(nick)) => registry.who_is(nick).map(|present| vec![present]),
            Some(Target::Person { who, .. }) => registry.who_has_id(who.0).map(|present| vec![present]),
        };
        let Some(present) = present else {
            return Err(match of {
                Some(Target::Nick(nick)) => {
                    refusal(Code::NoSuchNick, &format!("nobody here is called {nick}; WHO lists who is"))
                }
                Some(Target::Person { .. }) => super::talk::nobody_with_id(),
                _ => refusal(Code::NoSuchRoom, "there is no such room; ROOMS lists them"),
            });
        };
        self.peer.spent.add(Cost::listed(present.len()));
        let is_one = matches!(of, Some(Target::Nick(_) | Target::Person { .. }));
        for present in &present {
            let rooms = is_one.then(|| self.rooms_to_tell(present.number));
            write_present(present, answer, rooms.as_deref());
        }
        Ok(Answered::Ok(Some(present.len().to_string())))
    }
}

impl Session {
    /// Returns the rooms that an identity is in and that this session may know, as a list; as many as a line has room for.
    fn rooms_to_tell(&self, number: u64) -> String {
        let rooms = self.core.registry.rooms_of(number);
        let me = self.peer.identity();
        let may_know = |room: &&Arc<Room>| {
            (room.is_known_to(me) || self.is_operator()) && self.peer.is_in_scope(Some(&room.name))
        };
        super::entrance::list_of(rooms.iter().filter(may_know).map(|room| &*room.name))
    }

    /// Handles WATCH.
    pub(super) fn watch(
        &mut self,
        nicks: &[Nick<'_>],
        clear: bool,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let registry = &self.core.registry;
        let rows = match (clear, nicks) {
            (true, nicks) => {
                registry.unwatch(&self.peer, nicks);
                Vec::new()
            }
            (false, []) => registry.watched(&self.peer),
            (false, nicks) => registry.watch(&self.peer, nicks)?,
        };
        self.peer.spent.add(Cost::listed(rows.len().max(nicks.len())));
        for (nick, present) in &rows {
            match present {
                Some(present) => write_present(present, answer, None),
                None => {
                    let body = Body::User { nick, status: "offline", since: "-" };
                    answer.row(TagBuilder::default(), ServerLine::new(body));
                }
            }
        }
        Ok(Answered::Ok(Some(rows.len().to_string())))
    }
}

/// Writes a row of WHO, with the rooms that somebody is in if they are given.
fn write_present(present: &Present, answer: &mut Answer, rooms: Option<&str>) {
    let Present { number, nick, bot, since, profile, role } = present;
    let since = since.to_string();
    let mut tags = TagBuilder::default();
    profile.describe(*number, *bot, &mut tags);
    tags.value("role", role.map(Role::word));
    tags.value("text", profile.presence_text.as_deref());
    tags.value("rooms", rooms);
    let body = Body::User { nick, status: profile.presence.word(), since: &since };
    answer.row(tags, ServerLine::new(body));
}

/// Takes the sender of LEAVE out of a room, and tells the others.
fn leave_room(core: &Arc<Core>, peer: &Arc<Peer>, author: &Author, left: &Arc<Room>, text: Option<&str>) {
    let (time, config) = (core.environment.clock.now(), core.config());
    let Ok(name) = RoomName::parse(&left.name) else { return };
    // Without a departure they are out already.
    let Ok((_, departure)) = core.registry.leave(peer, &name, text, time, &config.limits) else { return };
    super::report(core, author, departure);
    if left.settings().access == RoomAccess::Hidden && left.role_of(author.number) == Some(Role::Member) {
        left.set_role(author.number, None);
    }
    core.audit(author.clone(), AuditNote::new("leave", &left.name, ""));
}

/// Lets the sender of JOIN into a room that the log has created or found.
fn come_into_room(
    core: &Arc<Core>,
    peer: &Arc<Peer>,
    author: Author,
    (stored, stays): (&StoredRoom, bool),
    answer: &mut Answer,
) -> Result<Option<String>, Refusal> {
    let Ok(name) = RoomName::parse(&stored.name) else { return Err(super::unexpected()) };
    let time = core.environment.clock.now();
    let joined = core.registry.join(peer, &name, (time, stays), &core.config().limits);
    if let Ok(Some(room)) = joined {
        core.audit(author, AuditNote::new("join", &room.name, ""));
        answer.set_ok_tags(room_tags(&room, core.config().log.keep));
        return Ok(Some(room.name.clone()));
    }
    if matches!(joined, Ok(None)) && stays && author.account && core.registry.room(&name).is_some() {
        // The session is over, and the account stays: its other sessions are in the room now, later ones when they come.
        core.registry.join_others(author.number, &name, time, &core.config().limits);
        return Err(refusal(Code::Unavailable, "the connection is over"));
    }
    // The log has let them in, and they are not there, if no other session of theirs is.
    let is_there =
        core.registry.room(&name).is_some_and(|room| core.registry.members(&room).contains(&author.number));
    if !is_there {
        // What this JOIN has not made does not end with it.
        let act = match author.account && !stays {
            true => Act::EndStay { room: stored.number },
            false => Act::Leave { room: stored.number },
        };
        core.note(author, act);
    }
    if let Some(room) = core.registry.abandon_room(&name) {
        core.retire(room);
    }
    // Without a refusal, the client is gone, or the room was closed in the meantime.
    joined.and_then(|_| Err(refusal(Code::Unavailable, "the room was closed at this moment; say JOIN again")))
}

/// Returns the tags about a room in the OK of JOIN. `default_keep` is the retention of a room without its own.
fn room_tags(room: &Room, default_keep: Retention) -> TagBuilder {
    let mut tags = TagBuilder::default();
    let (first, last) = room.ends();
    let settings = room.settings();
    let (history, keep) = (settings.history, settings.keep);
    tags.display("first", Some(first).filter(|first| *first > 0));
    tags.display("last", Some(last).filter(|last| *last > 0));
    tags.value("history", Some(history.word()).filter(|_| history != Readers::All));
    tags.display("keep", Some(keep.unwrap_or(default_keep)).filter(|keep| *keep != Retention::Forever));
    tags.value("protection", Some(super::history::PROTECTION));
    tags
}

/// Writes a room's settings as rows.
fn settings(room: &Room, answer: &mut Answer) {
    let settings = room.settings();
    let mut items = vec![
        format!("access={}", settings.access.word()),
        format!("join={}", settings.join.word()),
        format!("read={}", settings.read.word()),
        format!("send={}", settings.send.word()),
        format!("invite={}", settings.invite.word()),
        format!("topic={}", settings.topic.word()),
        format!("slow={}", settings.slow.map_or_else(|| "off".to_owned(), |slow| slow.to_string())),
        format!("history={}", settings.history.word()),
        format!("keep={}", settings.keep.map_or_else(|| "default".to_owned(), |keep| keep.to_string())),
    ];
    items.push(match settings.files {
        None => "files=default".to_owned(),
        Some(0) => "files=off".to_owned(),
        Some(bytes) => format!("files={}", Size::<1>::from_bytes(bytes)),
    });
    items.push(format!("file-types={}", settings.file_types.as_deref().unwrap_or("all")));
    items.extend(settings.description.as_deref().map(|text| format!("description={}", escape_text(text))));
    for item in &items {
        answer.row(TagBuilder::default(), ServerLine::new(Body::Set { room: &room.name, item }));
    }
}
