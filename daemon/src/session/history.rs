//! Handlers of HISTORY, SEARCH and SYNC, and of the verbs about read markers: ACK, READ, INBOX.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::{
    Body, Code, Cursor, Nick, Page, PersonId, RoomName, ServerLine, TagBuilder, Target, limits, mentions,
};

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::core::Core;
use crate::cost::Cost;
use crate::log::{
    Act, Conversation, Draft, Inbox, Index, Outcome, Part, Progress, Query, Row, Rows, Scan, SearchTarget,
    UNREAD, View, Wanted,
};
use crate::refusal::Refusal;
use crate::registry::responder::Responder;

/// How what is said in a conversation is protected: the server can read it, and nobody on the way to it. There is one value
/// for now.
pub(super) const PROTECTION: &str = "readable";

/// The conversation that a page is about.
pub(super) enum ConversationRef {
    Room {
        number: u64,
        name: Arc<str>,
    },
    /// A user, by the folded form of the name, with the number if the registry knows the name.
    Person {
        fold: String,
        shown: Arc<str>,
        number: Option<u64>,
    },
    /// Exactly one identity, by its number.
    Identity {
        number: u64,
        shown: Arc<str>,
    },
}

impl Session {
    pub(super) fn history(
        &mut self,
        target: &Target<'_>,
        (page, only_messages): (Page, bool),
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let place = self.place(target)?;
        let (limit, reduced) = within_a_page(limit);
        let part = match page {
            Page::Latest => Part::Before(u64::MAX >> 1),
            Page::Before(cursor) => Part::Before(self.own_id(cursor)?),
            Page::After(cursor) => Part::After(self.own_id(cursor)?),
            Page::Around(cursor) => Part::Around(self.own_id(cursor)?),
            Page::Since(time) => Part::Since(time),
            Page::Until(time) => Part::Until(time),
        };
        let me = self.me()?.number;
        self.read_log(answer, move |view, answer| {
            let (conversation, name) = place.find(view, me)?;
            let wanted = if only_messages { Wanted::Messages } else { Wanted::All };
            let (rows, looked_at) = view.history(me, (conversation, &name), (part, wanted), limit)?;
            write_rows(&rows, answer);
            // Rows that are passed over cost less than those that are shown.
            answer.cost = answer.cost.plus(Cost::rows(looked_at.saturating_sub(rows.rows.len() as u64) / 8));
            let mut tags = reduced_tag(reduced);
            tags.display("at", Some(view.last_id()?));
            answer.set_ok_tags(tags);
            Ok(format!("{name} {}", more(rows.more, "end")))
        })
    }

    /// Handles REACT without a reaction: lists who has reacted to an entry.
    pub(super) fn reactions(
        &mut self,
        target: &Target<'_>,
        id: Cursor,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let place = self.place(target)?;
        let id = self.own_id(id)?;
        let me = self.me()?.number;
        self.read_log(answer, move |view, answer| {
            let (conversation, name) = place.find(view, me)?;
            let Some(reactions) = view.reactions(me, conversation, id)? else {
                return Err(refusal(Code::NoSuchEntry, "there is no such entry here"));
            };
            answer.cost = answer.cost.plus(Cost::rows(reactions.len() as u64));
            let entry = id.to_string();
            for (reaction, nick, time) in &reactions {
                let time = time.to_string();
                let body = Body::Reaction { id: &entry, reaction, nick, time: &time };
                answer.row(TagBuilder::default(), ServerLine::new(body));
            }
            Ok(format!("{name} {}", reactions.len()))
        })
    }

    pub(super) fn search(
        &mut self,
        target: Option<&Target<'_>>,
        query: &str,
        before: Option<Cursor>,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let bad = |text: String| refusal(Code::BadQuery, &format!("{text}; HELP SEARCH shows the language"));
        let mut query = Query::parse(query).map_err(bad)?;
        if let Some(target) = target {
            // A target that does not exist is refused before anything is searched.
            self.place(target)?;
            query.narrow(SearchTarget::of(target)).map_err(bad)?;
        }
        if let Some(SearchTarget::Room(fold)) = query.place() {
            // A room that the query itself names is also found only by users who may know it, and within a token's
            // scope.
            let room =
                RoomName::parse(fold.as_str()).map_err(|_| nowhere(&SearchTarget::Room(fold.clone())))?;
            self.find_room(&room)?;
            if !self.peer.is_in_scope(Some(room.as_str())) {
                return Err(refusal(Code::OutOfScope, "this session is for other rooms"));
            }
        }
        let before = before.map(|cursor| self.own_id(cursor)).transpose()?;
        let (limit, reduced) = within_a_page(limit);
        let online = match query.place() {
            Some(SearchTarget::Person(fold)) => {
                let nick = Nick::parse(fold.as_str());
                nick.ok()
                    .and_then(|nick| self.core.registry.known(&nick))
                    .map(|(identity, _)| identity.number)
            }
            _ => None,
        };
        let me = self.me()?.number;
        let clock = Arc::clone(&self.core.environment.clock);
        let begin = move |view: &View<'_>, index: &Index<'_>| -> Result<Scan, Refusal> {
            let within = match query.place() {
                None => None,
                Some(place) => match index.conversation(me, place, online)? {
                    Some(conversation) => Some(conversation),
                    None => return Err(nowhere(place)),
                },
            };
            Ok(index.begin(view, me, &query, within, (before, limit))?)
        };
        let mut work = Some((self.responder(answer), None));
        let go_on = move |index: Option<(&View<'_>, &Index<'_>)>| {
            let Some((mut responder, scan)) = work.take() else { return Progress::Done };
            let Some((view, index)) = index else {
                responder.give(Err(unreadable()));
                return Progress::Done;
            };
            if responder.peer().is_over() {
                responder.give_nothing();
                return Progress::Done;
            }
            let found = scan.map_or_else(|| begin(view, index), Ok).and_then(|mut scan| {
                let is_done = index.go_on(view, &mut scan, &*clock)?;
                Ok((scan, is_done))
            });
            match found {
                Err(refused) => responder.give(Err(refused)),
                Ok((scan, false)) => {
                    work = Some((responder, Some(scan)));
                    return Progress::GoesOn;
                }
                Ok((scan, true)) => {
                    let (at, (rows, took)) = (scan.at(), scan.finish());
                    let answer = responder.answer();
                    write_rows(&rows, answer);
                    answer.cost = answer.cost.plus(Cost::time(took));
                    let mut tags = reduced_tag(reduced);
                    tags.display("next", rows.more.then_some(rows.cursor));
                    tags.display("at", Some(at));
                    answer.set_ok_tags(tags);
                    responder.give(Ok(Some(more(rows.more, "end").to_owned())));
                }
            }
            Progress::Done
        };
        let _ = self.core.search(self.peer.payer(), Box::new(go_on));
        Ok(Answered::InFlight)
    }

    pub(super) fn sync(
        &mut self,
        cursor: Cursor,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (limit, reduced) = within_a_page(limit);
        answer.set_ok_tags(reduced_tag(reduced));
        let me = self.me()?.number;
        let mut catching_up = CatchingUp { me, limit, responder: self.responder(answer) };
        let core = Arc::clone(&self.core);
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                let found = match view {
                    Some(view) => catching_up.first_page(&core, view, cursor),
                    None => Err(unreadable()),
                };
                match found {
                    Ok(rows) if !rows.more => catching_up.go_live(&core, rows),
                    Ok(rows) => catching_up.finish(&core, Ok((rows.cursor, "more"))),
                    Err(refusal) => catching_up.finish(&core, Err(refusal)),
                }
            }),
        );
        Ok(Answered::InFlight)
    }

    pub(super) fn ack(&mut self, cursor: Cursor, answer: &mut Answer) -> Result<Answered, Refusal> {
        let id = self.own_id(cursor)?;
        let me = self.me()?;
        // Nobody has ever written to an identity that the log does not know.
        if !me.is_recorded() {
            return Ok(Answered::Ok(None));
        }
        let draft = Draft::new(self.author(me), Act::Acknowledge { id });
        Ok(self.answer_when_decided(draft, answer, |_, outcome| match outcome {
            Outcome::Acknowledged { .. } => Ok(None),
            _ => Err(super::unexpected()),
        }))
    }

    pub(super) fn read(
        &mut self,
        target: &Target<'_>,
        id: Cursor,
        receipt: bool,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let id = self.own_id(id)?;
        let me = Arc::clone(self.me()?);
        let (of, target) = match target {
            Target::Room(room) => {
                let room = self.find_room(room)?;
                (Conversation::Room(room.number), room.name.clone())
            }
            Target::Nick(nick) => {
                let (identity, nick) = self.once_known(nick);
                let number = identity.as_ref().map_or(0, |identity| identity.number);
                (Conversation::With(number), nick)
            }
            Target::Person { nick, who } => (Conversation::Pair(who.0), self.by_id(nick, *who).1),
        };
        let records = self.core.registry.record(&me).into_iter().collect();
        let draft = Draft {
            author: self.author(&me),
            records,
            act: Act::Read { of, nick: target.clone(), id, receipt },
        };
        Ok(self.answer_when_decided(draft, answer, move |_, outcome| match outcome {
            Outcome::Read { id, .. } => Ok(Some(format!("{target} {id}"))),
            _ => Err(super::unexpected()),
        }))
    }

    pub(super) fn inbox(
        &mut self,
        before: Option<Cursor>,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let before = before.map(|cursor| self.own_id(cursor)).transpose()?;
        let limit = limit.unwrap_or(limits::INBOX).min(limits::PAGE_MOST);
        let me = Arc::clone(self.me()?);
        let rooms = self.core.registry.joined_rooms(&self.peer);
        let (name, peer) = (me.nick(), Arc::clone(&self.peer));
        self.read_log(answer, move |view, answer| {
            let inbox = view.inbox(me.number, |text| mentions(text, &name), &rooms, (before, limit))?;
            let Inbox { conversations, next, most, rows: looked_at, bytes } = inbox;
            for conversation in &conversations {
                let mut tags = TagBuilder::default();
                let known = |id: u64| Some(id).filter(|id| *id > 0);
                tags.display("who", conversation.who.map(PersonId));
                tags.display("read", known(conversation.read));
                tags.display("delivered", known(conversation.delivered));
                tags.display("seen", known(conversation.seen));
                tags.value("protection", Some(PROTECTION));
                let [last, unread, mentions] =
                    [conversation.last, conversation.unread, conversation.mentions].map(|n| n.to_string());
                let target = &conversation.target;
                let body = Body::Conversation { target, last: &last, unread: &unread, mentions: &mentions };
                answer.row(tags, ServerLine::new(body));
            }
            let mut invitations = if before.is_none() { view.invitations(me.number)? } else { Vec::new() };
            invitations.retain(|(number, room, ..)| {
                peer.is_in_scope(Some(room)) && !rooms.iter().any(|(joined, _)| joined == number)
            });
            for (_, room, nick, time) in &invitations {
                let time = time.to_string();
                let body = Body::Invitation { room, nick, time: &time };
                answer.row(TagBuilder::default(), ServerLine::new(body));
            }
            let looked_up = looked_at / 8 + 4 * conversations.len() as u64 + invitations.len() as u64;
            answer.cost = answer.cost.plus(Cost::rows(looked_up)).plus(Cost::bytes(bytes));
            let mut tags = TagBuilder::default();
            tags.display("next", next);
            tags.display("most", Some(most).filter(|most| *most < UNREAD));
            tags.display("at", Some(view.last_id()?));
            answer.set_ok_tags(tags);
            Ok((conversations.len() + invitations.len()).to_string())
        })
    }

    /// Reads from the log, and answers with the result.
    pub(super) fn read_log(
        &mut self,
        answer: &mut Answer,
        work: impl FnOnce(&View<'_>, &mut Answer) -> Read + Send + 'static,
    ) -> Result<Answered, Refusal> {
        let mut responder = self.responder(answer);
        let core = Arc::clone(&self.core);
        let _ = self.core.read(
            self.peer.payer(),
            Box::new(move |view| {
                let read = match view {
                    Some(view) => work(view, responder.answer()),
                    None => Err(unreadable()),
                };
                if let Err(refusal) = &read {
                    core.counters.refused.count(refusal.code);
                }
                responder.give(read.map(Some));
            }),
        );
        Ok(Answered::InFlight)
    }

    /// Resolves a target. A user who is not in the registry may still have exchanged private messages with this one.
    pub(super) fn place(&mut self, target: &Target<'_>) -> Result<ConversationRef, Refusal> {
        match target {
            Target::Room(room) => {
                let room = self.find_room(room)?;
                Ok(ConversationRef::Room { number: room.number, name: Arc::from(room.name.as_str()) })
            }
            Target::Nick(nick) => {
                let known = self.core.registry.known(nick);
                let shown = known.as_ref().map_or(nick.as_str(), |(_, shown)| shown);
                Ok(ConversationRef::Person {
                    fold: nick.fold().as_str().to_owned(),
                    shown: Arc::from(shown),
                    number: known.as_ref().map(|(identity, _)| identity.number),
                })
            }
            Target::Person { nick, who } => {
                let (_, shown) = self.by_id(nick, *who);
                Ok(ConversationRef::Identity { number: who.0, shown: Arc::from(shown) })
            }
        }
    }
}

/// The result of a read: the parameters of the OK.
pub(super) type Read = Result<String, Refusal>;

impl ConversationRef {
    /// Returns the conversation's number and name.
    pub(super) fn find(&self, view: &View<'_>, me: u64) -> Result<(u64, Arc<str>), Refusal> {
        match self {
            ConversationRef::Room { number, name } => Ok((*number, Arc::clone(name))),
            ConversationRef::Person { fold, shown, number } => {
                let party = view.party(me, *number, fold)?.ok_or_else(nothing_there)?;
                Ok((party.conversation, Arc::clone(shown)))
            }
            ConversationRef::Identity { number, shown } => {
                let party = view.pair(me, *number)?.ok_or_else(nothing_there)?;
                Ok((party.conversation, Arc::clone(shown)))
            }
        }
    }
}

/// A session that is catching up with SYNC.
struct CatchingUp {
    me: u64,
    limit: u64,
    responder: Responder,
}

impl CatchingUp {
    /// Reads the page after the cursor. If the cursor belongs to another log or lies beyond the end of this one, the
    /// answer starts with a gap.
    fn first_page(&mut self, core: &Core, view: &View<'_>, cursor: Cursor) -> Result<Rows, Refusal> {
        let last = view.last_id()?;
        let after = match cursor.within(core.log_name) {
            Some(after) if after <= last => after,
            own => {
                let goes_on = Cursor { log: Some(core.log_name), id: if own.is_some() { last } else { 0 } };
                let (from, to) = (cursor.to_string(), goes_on.to_string());
                let body = Body::Gap { target: "*", from: &from, to: &to };
                self.responder.answer().row(TagBuilder::default(), ServerLine::new(body));
                goes_on.id
            }
        };
        // Entries that are committed but not delivered yet arrive with their delivery.
        let upto = last.min(core.delivered.load(Relaxed)).max(after);
        let peer = self.responder.peer();
        let (rooms, private) = (core.registry.heard_rooms(peer), peer.hears_private());
        // Each room takes a few lookups.
        self.responder.answer().cost = Cost::rows(4 * rooms.len() as u64);
        let rows = view.missed(self.me, &rooms, private, (after, upto), self.limit)?;
        write_rows(&rows, self.responder.answer());
        Ok(rows)
    }

    /// Adds the entries since the page was read, and then switches the session to live delivery. This happens on the
    /// writer's thread, where nothing is delivered in between.
    fn go_live(self, core: &Arc<Core>, page: Rows) {
        let shared = Arc::clone(core);
        let _ = core.read_in_order(Box::new(move |view| {
            let (mut this, core) = (self, shared);
            let peer = Arc::clone(this.responder.peer());
            let now = core.delivered.load(Relaxed);
            let rest = if now <= page.cursor {
                // After a failure of the log, entries of the page may still have to be delivered.
                Ok(Rows { cursor: page.cursor, more: now < page.cursor, ..Rows::default() })
            } else {
                let (rooms, private) = (core.registry.heard_rooms(&peer), peer.hears_private());
                match view {
                    Some(view) => view
                        .missed(this.me, &rooms, private, (page.cursor, now), this.limit)
                        .map_err(Refusal::from),
                    None => Err(unreadable()),
                }
            };
            let done = rest.map(|rest| {
                write_rows(&rest, this.responder.answer());
                if rest.more {
                    (rest.cursor, "more")
                } else {
                    peer.set_live(true);
                    // Private messages that the client now has, or says it has, need not wait for it any longer.
                    if let Some(me) = core.registry.identity(this.me).filter(|_| !peer.is_quiet()) {
                        me.delivered.fetch_max(rest.cursor, Relaxed);
                    }
                    (rest.cursor, "live")
                }
            });
            this.finish(&core, done);
        }));
    }

    fn finish(self, core: &Core, done: Result<(u64, &str), Refusal>) {
        let word = |(id, goes_on)| Some(format!("{} {goes_on}", Cursor { log: Some(core.log_name), id }));
        self.responder.give(done.map(word));
    }
}

/// Returns the number of rows of a page, and that number again if the client asked for more.
pub(super) fn within_a_page(limit: Option<u64>) -> (u64, Option<u64>) {
    match limit {
        None => (limits::PAGE, None),
        Some(limit) if limit > limits::PAGE_MOST => (limits::PAGE_MOST, Some(limits::PAGE_MOST)),
        Some(limit) => (limit, None),
    }
}

pub(super) fn reduced_tag(reduced: Option<u64>) -> TagBuilder {
    let mut tags = TagBuilder::default();
    tags.display("limit", reduced);
    tags
}

fn more(more: bool, otherwise: &'static str) -> &'static str {
    if more { "more" } else { otherwise }
}

fn write_rows(rows: &Rows, answer: &mut Answer) {
    answer.cost = answer.cost.plus(Cost::rows(rows.rows.len() as u64));
    let label = answer.label().map(str::to_owned);
    for row in &rows.rows {
        write_row(row, label.as_deref(), answer.lines());
    }
}

/// Writes a row as a delivery does, with a label if it is part of an answer.
pub(super) fn write_row(row: &Row, label: Option<&str>, out: &mut Vec<u8>) {
    match row {
        Row::Gap(gap) => {
            let (from, to) = (gap.from.to_string(), gap.to.to_string());
            let mut tags = TagBuilder::default();
            tags.value("ref", label);
            let body = Body::Gap { target: &gap.target, from: &from, to: &to };
            ServerLine::new(body).with_tags(tags.tags()).write(out);
        }
        Row::Entry { entry, room, key, mine, reader } => {
            let mut tags = entry.tags(*reader, key.as_deref());
            tags.value("mine", mine.as_deref());
            tags.value("ref", label);
            entry.line(room, &tags).write(out);
        }
    }
}

/// Returns the refusal of a search in a conversation that does not exist.
fn nowhere(place: &SearchTarget) -> Refusal {
    match place {
        SearchTarget::Room(room) => {
            refusal(Code::NoSuchRoom, &format!("there is no room {}; ROOMS lists them", room.as_str()))
        }
        SearchTarget::Person(_) | SearchTarget::Identity(_) => nothing_there(),
    }
}

fn nothing_there() -> Refusal {
    refusal(Code::NoSuchNick, "you have no private messages with anybody of that name; INBOX lists them")
}

pub(super) fn unreadable() -> Refusal {
    refusal(Code::Unavailable, "the log cannot be read now; try again later, and tell the server's operator")
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        tracing::error!("the log cannot be read: {error}; `snugd check-data` tells more");
        unreadable()
    }
}
