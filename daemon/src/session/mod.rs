//! A session: it executes the lines of one connection and answers them. No I/O: lines come in, and answers go into
//! outboxes.
//!
//! The handlers of the verbs are in the submodules, by capability.

mod accounts;
mod authority;
mod entrance;
mod files;
mod history;
mod keys;
mod link;
mod login;
mod operator;
mod profile;
mod rooms;
mod scope;
mod talk;
mod voice;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use snug_protocol::{
    Code, Command, Credential, Cursor, EntryKind, Fault, FileCommand, Line, LineError, Nick, ProfileChange,
    Request, Role, RoomName, Target, Verb, announced_bytes, limits,
};

use crate::answer::Answer;
use crate::core::Core;
use crate::core::queue::Submission;
use crate::core::reply::{AnswerTo, Recipients, Reply};
use crate::cost::Cost;
use crate::log::{Act, AuditNote, Author, Draft, Outcome};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::registry::ending::Ending;
use crate::registry::outbox::InFlight;
use crate::registry::peer::Peer;
use crate::registry::responder::Responder;
use crate::registry::{Departure, Identity, Room};

/// Refuses a nickname that is an IP address, because BAN could not tell one from the other.
fn must_be_no_address(nick: &Nick<'_>) -> Result<(), Refusal> {
    match nick.as_str().parse::<IpAddr>() {
        Ok(_) => Err(refusal(Code::BadNick, "this is an address; take a name")),
        Err(_) => Ok(()),
    }
}

/// The outcome of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is done or under way. If it announced bytes, that many follow. If it carries a large piece of a file, flood
    /// control does not count it as a line.
    Done { bytes: Option<u64>, is_piece: bool },
    /// It must wait until everything under way is answered, and then be handed in again.
    Hold,
}

/// The step of a line that is done, without bytes to follow.
const DONE: Step = Step::Done { bytes: None, is_piece: false };

/// The session of one connection.
pub(crate) struct Session {
    core: Arc<Core>,
    peer: Arc<Peer>,
    origin: Origin,
    /// The identity that the session speaks for.
    me: Option<Arc<Identity>>,
    /// Whether a command under way changes what the next commands mean, so that they wait for it.
    barrier: bool,
    bad_lines: u32,
    /// The room that was used last, with its name as the client typed it.
    last_room: Option<(String, Arc<Room>)>,
    /// The channel binding, if the connection is sealed.
    binding: Option<Box<[u8; 32]>>,
    /// Whether it has sent STATS before.
    has_asked_stats: bool,
    /// The upload that announced bytes belong to.
    incoming: Option<Box<Incoming>>,
    /// Whether it came in `quiet`, so that the rooms that it joins are not remembered for its account.
    came_quietly: bool,
    /// Where the user is typing, and until when that holds.
    typing_in: Vec<(Target<'static>, u64)>,
    /// The file that it is fetching.
    fetch: crate::core::files::Fetch,
    /// The kind of the commands that it has under way, if any.
    pipeline: Pipeline,
}

/// The kinds of commands that a session may have under way together, without waiting for answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pipeline {
    /// A command that waits for all commands before it.
    #[default]
    Alone,
    /// Entries for the log.
    Log,
    /// Pieces of uploads, or pieces of downloads. Not both, because they are answered from different places.
    Puts,
    Gets,
}

/// An upload whose bytes are arriving.
enum Incoming {
    Picture(profile::PictureUpload),
    Piece(files::PieceUpload),
}

impl Session {
    /// Creates the session of an admitted peer.
    pub(crate) fn new(core: Arc<Core>, peer: Arc<Peer>, origin: Origin) -> Session {
        Session {
            core,
            peer,
            origin,
            me: None,
            barrier: false,
            bad_lines: 0,
            last_room: None,
            binding: None,
            has_asked_stats: false,
            incoming: None,
            came_quietly: false,
            typing_in: Vec::new(),
            fetch: crate::core::files::Fetch::default(),
            pipeline: Pipeline::default(),
        }
    }

    /// Returns whether bytes that a line has announced are still to come.
    pub(crate) fn expects_bytes(&self) -> bool {
        self.incoming.is_some()
    }

    /// Stores the channel binding of a sealed connection.
    pub(crate) fn set_binding(&mut self, binding: [u8; 32]) {
        self.binding = Some(Box::new(binding));
    }

    fn binding(&self) -> Option<&[u8; 32]> {
        self.binding.as_deref()
    }

    /// Looks up the identity that the session got on the writer's thread.
    fn find_myself(&mut self) {
        if self.me.is_none() && self.peer.identity() != 0 {
            self.me = self.core.registry.identity(self.peer.identity());
        }
    }

    /// Returns the current maximum length of a line, in bytes.
    pub(crate) fn line_limit(&self) -> usize {
        let limit = usize::try_from(self.core.config().limits.line).unwrap_or(limits::LINE);
        if self.peer.identity() != 0 { limit } else { limit.min(limits::LINE_BEFORE_NAME) }
    }

    /// Returns the session as the rest of the daemon sees it.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Answers a line that could not be read.
    pub(crate) fn fault(&mut self, fault: Fault, in_flight: InFlight) -> Step {
        if !in_flight.is_empty() {
            return Step::Hold;
        }
        let code = match fault {
            Fault::TooLong { .. } => Code::LineTooLong,
            Fault::NotUtf8 | Fault::ControlCharacter | Fault::ByteOrderMark => Code::BadLine,
            Fault::BytesLost | Fault::BytesNotEnded => Code::TooLarge,
        };
        if fault.is_fatal() {
            self.peer.end(Ending::Dismissed(code, fault.to_string()));
        } else {
            self.peer.push_answer(&Answer::new("-", None).err(code, &fault.to_string()));
            self.core.note_refusal(&self.peer, self.stranger(), "-", code);
            self.count_bad_line();
        }
        DONE
    }

    /// Executes a line. `in_flight` are the commands that the session has handed to the log and that are not answered
    /// yet.
    pub(crate) fn line(&mut self, text: &str, in_flight: InFlight) -> Step {
        self.find_myself();
        let line = match Line::parse(text) {
            Ok(line) => line,
            Err(_) if !in_flight.is_empty() => return Step::Hold,
            Err(error) => {
                self.bad_grammar(text, error);
                return DONE;
            }
        };
        let request = Request::parse(&line);
        let has_bytes = line.tags.has("bytes");
        let announced = announced_bytes(line.tags);
        let (pipeline, is_piece) = match &request {
            Ok(Request { command: Command::File(file), .. }) => {
                self.pipeline_of(file, announced.ok().flatten())
            }
            Ok(request) if request.command.is_append() && !has_bytes => (Pipeline::Log, false),
            _ => (Pipeline::Alone, false),
        };
        let follows = pipeline != Pipeline::Alone && pipeline == self.pipeline && !self.barrier;
        if in_flight.is_full() || !in_flight.is_empty() && !follows {
            return Step::Hold;
        }
        self.barrier = false;
        self.pipeline = pipeline;
        let label = line.tags.get("ref").filter(|label| label.len() <= limits::LABEL && !label.is_empty());
        let label = label.map(|label| label.into_owned());
        let Ok(bytes) = announced else {
            let text = format!(
                "bytes= takes a number up to {}; what follows cannot be told from lines",
                limits::BYTES
            );
            self.peer.push_answer(&Answer::new(Verb::echo(line.verb), label).err(Code::TooLarge, &text));
            self.peer.end(Ending::Closed);
            return DONE;
        };
        match request {
            Ok(Request {
                command: Command::Profile { nick, change: ProfileChange::Set("avatar", kind) },
                ..
            }) if has_bytes && self.me.is_some() => {
                let answer = Answer::new(Verb::Profile.word(), label.clone()).of_size(text.len());
                let count = bytes.unwrap_or(0);
                let change = ProfileChange::Set("avatar", kind.clone());
                let asked = Command::Profile { nick: nick.clone(), change };
                let begun = self
                    .check_scope(Verb::Profile, Some(&asked))
                    .and_then(|()| self.check_policy(&asked))
                    .and_then(|()| self.begin_upload(&nick, &kind, count, answer));
                if let Err(refused) = begun {
                    self.refuse(Verb::Profile, label, &refused);
                }
            }
            Ok(Request { command: Command::File(FileCommand::Put { handle, offset }), .. })
                if has_bytes && self.me.is_some() =>
            {
                let asked = Command::File(FileCommand::Put { handle, offset });
                let answer = Answer::new(Verb::File.word(), label.clone()).of_size(text.len());
                let begun = self
                    .check_scope(Verb::File, Some(&asked))
                    .and_then(|()| self.check_policy(&asked))
                    .and_then(|()| self.begin_piece((handle, offset), bytes.unwrap_or(0), answer));
                if let Err(refused) = begun {
                    if !in_flight.is_empty() {
                        // The refusal keeps its place behind the answers that are still to come.
                        self.barrier = true;
                        return Step::Hold;
                    }
                    self.refuse(Verb::File, label, &refused);
                }
            }
            Ok(_) if has_bytes => {
                let text = "this verb takes no bytes; they are passed over";
                self.answer(&Answer::new(Verb::echo(line.verb), label).err(Code::NoBytes, text));
            }
            Ok(request) => {
                let cost = Cost::of_verb(request.command.verb());
                return match self.command(request.command, label, text.len(), in_flight) {
                    Step::Done { bytes, .. } => {
                        self.peer.spent.add(cost);
                        Step::Done { bytes, is_piece }
                    }
                    Step::Hold => Step::Hold,
                };
            }
            Err(error) => {
                self.answer(&Answer::new(&error.verb, label).err(error.code, &error.text));
                self.core.note_refusal(&self.peer, self.stranger(), &error.verb, error.code);
                self.count_bad_line();
            }
        }
        if bytes == Some(0) {
            // No bytes follow that could complete the upload.
            self.bytes((&[]).into(), true);
        }
        Step::Done { bytes, is_piece }
    }

    /// Takes bytes that a line has announced. Discards them if nothing expects them.
    pub(crate) fn bytes(&mut self, piece: Cow<'_, [u8]>, last: bool) {
        let Some(incoming) = &mut self.incoming else { return };
        let so_far = match &mut **incoming {
            Incoming::Picture(upload) => upload.bytes(),
            Incoming::Piece(incoming) => incoming.bytes(),
        };
        let most = usize::try_from(limits::BYTES).unwrap_or(usize::MAX);
        if so_far.is_empty() && piece.len() <= most {
            *so_far = piece.into_owned();
        } else if so_far.len() + piece.len() <= most {
            so_far.extend_from_slice(&piece);
        }
        if !last {
            return;
        }
        match self.incoming.take().map(|incoming| *incoming) {
            Some(Incoming::Picture(upload)) => self.finish_upload(upload),
            Some(Incoming::Piece(incoming)) => self.put(incoming),
            None => {}
        }
    }

    /// Removes the session from the daemon. Tells the others if its identity goes offline with it.
    pub(crate) fn finish(&mut self, ending: &Ending) {
        self.find_myself();
        self.end_typing();
        let config = self.core.config();
        let time = self.core.environment.clock.now();
        let now = self.core.now();
        // The text reaches all rooms at once.
        let is_text = matches!(ending, Ending::Quit(Some(_)));
        let farewell = ending.farewell().filter(|_| !is_text || self.silent_rooms().is_empty());
        let registry = &self.core.registry;
        let departure = registry.dismiss(&self.peer, farewell.as_deref(), (time, now), &config.limits);
        let is_worth_a_row = match ending {
            _ if departure.away.is_some() => true,
            Ending::Dismissed(..) | Ending::Broken(_) => self.core.is_noted(&self.peer),
            _ => false,
        };
        if is_worth_a_row {
            let detail = match ending {
                Ending::Dismissed(code, _) => code.word(),
                Ending::Broken(text) => text,
                Ending::Lost => "connection lost",
                Ending::Quit(_) | Ending::Closed => "",
            };
            let event = if departure.away.is_some() { "quit" } else { "end" };
            self.core.audit(self.stranger(), AuditNote::new(event, "", detail));
        }
        self.depart(departure);
    }

    /// Tells the log the consequences of the session's end.
    fn depart(&self, departure: Departure) {
        match &self.me {
            Some(me) => report(&self.core, &self.author(me), departure),
            None => departure.retire.into_iter().for_each(|room| self.core.retire(room)),
        }
    }

    fn command(
        &mut self,
        command: Command<'_>,
        label: Option<String>,
        size: usize,
        in_flight: InFlight,
    ) -> Step {
        let verb = command.verb();
        let mut answer = Answer::new(verb.word(), label).of_size(size);
        if self.me.is_none() && !verb.spec().before_name {
            let text = "say NICK first; HELP lists what can be said before";
            self.answer(&answer.err(Code::NickNeeded, text));
            return DONE;
        }
        if let Err(refused) = self.check_command(verb, &command, size) {
            if !in_flight.is_empty() {
                return Step::Hold;
            }
            self.refuse(verb, answer.label().map(str::to_owned), &refused);
            return DONE;
        }
        if self.me.is_none() {
            self.came_quietly = match &command {
                Command::Nick { entrance, .. } => entrance.quiet,
                Command::Auth { credential: Credential::Token(_), .. } => true,
                Command::Auth { entrance, .. } | Command::Register { entrance, .. } => entrance.quiet,
                _ => self.came_quietly,
            };
        }
        let answered = match command {
            Command::Hello => Err(refusal(Code::TooLate, "HELLO is only the first line of a connection")),
            Command::Nick { nick, token, entrance } => {
                self.nick(&nick, token.as_deref(), entrance, &mut answer)
            }
            Command::Quit { text } => Ok(Answered::End(Ending::Quit(text.map(Cow::into_owned)))),
            Command::Ping { label } => Ok(self.ping(label)),
            Command::Pong { .. } => Ok(self.pong()),
            Command::Help { verb } => Ok(link::help(verb, &mut answer)),
            Command::Info => Ok(self.info(&mut answer)),
            Command::Msg { room, text, tags } => self.msg(&room, text, tags, &mut answer),
            Command::Priv { nick, who, text, tags } => self.private((&nick, who), text, tags, &mut answer),
            Command::Typing { target, switch } => self.typing(&target, switch),
            Command::Join { room } => self.join(room, &mut answer),
            Command::Leave { room, text } => self.leave(&room, text.as_deref(), &mut answer),
            Command::Rooms => Ok(self.rooms(&mut answer)),
            Command::Who { of } => self.who(of, &mut answer),
            Command::Watch { nicks, clear } => self.watch(&nicks, clear, &mut answer),
            Command::Topic { room, change, key } => self.topic(&room, change, key, &mut answer),
            Command::Set { room, change } => {
                let change = change.as_ref().map(|(name, value)| (*name, &**value));
                self.set(&room, change, &mut answer)
            }
            Command::Edit { target, id, text, key } => self.edit((&target, id), text, key, &mut answer),
            Command::Delete { target, id } => self.delete((&target, id), &mut answer),
            Command::Reactions { target, id } => self.reactions(&target, id, &mut answer),
            Command::React { target, id, reaction } => {
                self.react(EntryKind::React, (&target, id), reaction, &mut answer)
            }
            Command::Unreact { target, id, reaction } => {
                self.react(EntryKind::Unreact, (&target, id), reaction, &mut answer)
            }
            Command::History { target, page, limit, only_messages } => {
                self.history(&target, (page, only_messages), limit, &mut answer)
            }
            Command::Search { target, query, before, limit } => {
                self.search(target.as_ref(), &query, before, limit, &mut answer)
            }
            Command::Sync { cursor, limit } => self.sync(cursor, limit, &mut answer),
            Command::Ack { cursor } => self.ack(cursor, &mut answer),
            Command::Read { target, id, receipt } => self.read(&target, id, receipt, &mut answer),
            Command::Inbox { before, limit } => self.inbox(before, limit, &mut answer),
            Command::Register { name, password, invite, key, entrance } => {
                let key = key.as_ref().map(|(key, label)| (&**key, &**label));
                let secrets = (password.as_deref(), key);
                self.register(&name, secrets, invite.as_deref(), entrance, &mut answer)
            }
            Command::Auth { credential, entrance } => self.auth(&credential, entrance, &mut answer),
            Command::Password { new, old, account } => {
                self.password(&new, old.as_deref(), account.as_ref(), &mut answer)
            }
            Command::Unregister { name } => self.unregister(&name, &mut answer),
            Command::Key { change } => self.key(change, &mut answer),
            Command::Token { change } => self.token(change, &mut answer),
            Command::Invite { to: Some((room, nick)), .. } => self.invite(&room, &nick, &mut answer),
            Command::Invite { to: None, expires } => self.invite_to_server(expires, &mut answer),
            Command::Status { presence, text } => self.status(presence, text.as_deref()),
            Command::Profile { nick, change } => self.profile(&nick, &change, &mut answer),
            Command::Close { place, reason } => self.close(&place, reason.as_deref(), &mut answer),
            Command::Kick { place, nick, reason } => self.kick(&place, &nick, reason.as_deref(), &mut answer),
            Command::Ban { place, whom, reason, expires } => {
                self.ban(&place, whom, (reason.as_deref(), expires), &mut answer)
            }
            Command::Unban { place, whom } => self.unban(&place, whom, &mut answer),
            Command::Mute { place, nick, time, reason } => {
                self.mute(&place, &nick, (time, reason.as_deref()), &mut answer)
            }
            Command::Role { place, nick, role } => self.role(&place, nick.as_ref(), role, &mut answer),
            Command::Stats => self.stats(&mut answer),
            Command::Sessions => self.sessions(&mut answer),
            Command::Accounts => self.accounts(&mut answer),
            Command::Announce { text } => self.announce(&text),
            Command::Audit { page, limit, user, event } => {
                self.audit(page, limit, (user.as_deref(), event.as_deref()), &mut answer)
            }
            Command::Reload { clock } => self.reload(clock, &mut answer),
            Command::Shutdown { at, reason } => self.shutdown(at, reason.as_deref()),
            Command::Backup { path } => self.backup(&path, &mut answer),
            Command::File(file) => self.file(file, &mut answer),
            Command::Commands { room } => self.commands(room.as_ref(), &mut answer),
            Command::Bot { order } => self.bot(order, &mut answer),
        };
        match answered {
            Ok(Answered::Ok(params)) => self.answer(&answer.ok(params.as_deref())),
            Ok(Answered::Silently | Answered::InFlight) => {}
            Ok(Answered::End(ending)) => {
                self.answer(&answer.ok(None));
                self.peer.end(ending);
            }
            // A refusal keeps its place behind the answers that are still to come.
            Err(_) if !in_flight.is_empty() => return Step::Hold,
            Err(refused) => {
                self.refuse(verb, answer.label().map(str::to_owned), &refused);
                if verb == Verb::Hello {
                    self.peer.end(Ending::Closed);
                }
            }
        }
        DONE
    }

    fn refuse(&self, verb: Verb, label: Option<String>, refused: &Refusal) {
        self.answer(&Answer::new(verb.word(), label).refuse(refused));
        self.core.note_refusal(&self.peer, self.stranger(), verb.word(), refused.code);
    }

    fn answer(&self, answer: &[u8]) {
        self.peer.push_answer(answer);
    }

    fn bad_grammar(&mut self, text: &str, error: LineError) {
        // A line outside the grammar may still announce bytes, and those must not be read as lines.
        let tags = text.strip_prefix('@').and_then(|tagged| tagged.split(' ').next()).unwrap_or_default();
        self.answer(&Answer::new("-", None).err(Code::BadLine, &error.to_string()));
        if tags.split(';').any(|tag| tag.starts_with("bytes=")) {
            self.peer.end(Ending::Dismissed(Code::TooLarge, Fault::BytesLost.to_string()));
        }
        self.count_bad_line();
    }

    /// Counts a bad line. Before the session has a name, the second one ends it, because the client does not speak
    /// this protocol.
    fn count_bad_line(&mut self) {
        self.bad_lines += 1;
        if self.me.is_none() && self.bad_lines >= 2 {
            let text = "two lines that are no commands, and no name yet; HELP lists the verbs";
            self.peer.end(Ending::Dismissed(Code::BadLine, text.to_owned()));
        }
    }

    fn author(&self, me: &Identity) -> Author {
        let is_bot = self.origin == Origin::Bot || me.is_account() && me.role() == Role::Bot;
        Author {
            number: me.number,
            nick: me.nick(),
            bot: is_bot,
            account: me.is_account(),
            by_origin: self.origin_role(),
            address: self.origin.address(),
        }
    }

    /// Returns the role that the session has by its origin.
    fn origin_role(&self) -> Role {
        match self.origin {
            Origin::Unix(user) if user == self.core.operator => Role::Operator,
            Origin::Embedder(role) => role,
            Origin::Unix(_) => Role::Member,
            Origin::Bot => Role::Bot,
            Origin::Tcp(_) => Role::Guest,
        }
    }

    /// Hands an entry to the log, which answers it. Does not wait for what is under way.
    fn append(&self, draft: Draft, answer: &Answer, to: Recipients) -> Result<Answered, Refusal> {
        self.peer.begin(answer.size);
        let reply = Reply::Entry { label: answer.label().map(str::to_owned), to, of: AnswerTo::Verb };
        let sender = Some(Arc::clone(&self.peer));
        if self.core.queue.push(Submission { draft, size: answer.size, sender, reply }) {
            return Ok(Answered::InFlight);
        }
        self.peer.settle(answer.size, b"");
        Err(Refusal::stopping())
    }

    /// Hands any other act to the log; the next command waits for it. `word` makes the answer from the outcome,
    /// unless it is a refusal.
    fn answer_when_decided(
        &mut self,
        draft: Draft,
        answer: &mut Answer,
        word: impl FnOnce(&mut Answer, Outcome) -> Result<Option<String>, Refusal> + Send + 'static,
    ) -> Answered {
        let responder = self.responder(answer);
        self.core.decide(responder, draft, word);
        Answered::InFlight
    }

    /// Returns the responder that answers this command from another thread. The next command waits for it.
    fn responder(&mut self, answer: &mut Answer) -> Responder {
        self.barrier = true;
        Responder::new(&self.peer, answer)
    }

    /// Returns the id of a cursor, and refuses a cursor of another log.
    fn own_id(&self, cursor: Cursor) -> Result<u64, Refusal> {
        cursor.within(self.core.log_name).ok_or_else(|| {
            refusal(Code::NoSuchEntry, "the cursor is one of another log; INFO tells the name of this one")
        })
    }

    /// Returns whether the session is an operator's.
    fn is_operator(&self) -> bool {
        self.origin_role() == Role::Operator || self.role_here() == Role::Operator
    }

    /// Returns the room with that name. Caches the last one, because most users write in one room.
    fn find_room(&mut self, name: &RoomName<'_>) -> Result<Arc<Room>, Refusal> {
        use std::sync::atomic::Ordering::Relaxed;
        let number = self.peer.identity();
        if let Some((typed, room)) = &self.last_room
            && typed == name.as_str()
            && !room.gone.load(Relaxed)
            && (room.is_known_to(number) || self.is_operator())
        {
            return Ok(Arc::clone(room));
        }
        // A non-member must not learn that a hidden room exists.
        let room = self.core.registry.room(name);
        let Some(room) = room.filter(|room| room.is_known_to(number) || self.is_operator()) else {
            let text = format!("there is no room {name}; ROOMS lists them, JOIN makes one");
            return Err(refusal(Code::NoSuchRoom, &text));
        };
        self.last_room = Some((name.as_str().to_owned(), Arc::clone(&room)));
        Ok(room)
    }
}

/// The state in which a handler leaves its command.
enum Answered {
    /// Done; the OK has these parameters.
    Ok(Option<String>),
    /// Another thread answers.
    InFlight,
    /// Done, without an OK to write.
    Silently,
    /// Done, and the session ends.
    End(Ending),
}

/// Returns the refusal for an outcome that a draft never has.
fn unexpected() -> Refusal {
    refusal(Code::Unavailable, "the log has done something else than was asked; tell the server's operator")
}

fn refusal(code: Code, text: &str) -> Refusal {
    Refusal::new(code, text)
}

/// Tells the log the consequences of a session's end, or of a LEAVE.
fn report(core: &Arc<Core>, author: &Author, departure: Departure) {
    for room in departure.retire {
        core.retire(room);
    }
    for room in departure.stays {
        core.note(author.clone(), Act::EndStay { room });
    }
    if let Some(identity) = departure.away.filter(|identity| identity.is_recorded()) {
        let id = identity.delivered.load(std::sync::atomic::Ordering::Relaxed);
        core.note(author.clone(), Act::Deliver { id });
    }
}

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod authority_tests;
#[cfg(test)]
mod role_tests;

#[cfg(test)]
mod membership_simulation;
#[cfg(test)]
mod membership_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod person_tests;
#[cfg(test)]
mod presence_tests;

#[cfg(test)]
mod files_tests;

#[cfg(test)]
mod cost_tests;

#[cfg(test)]
mod room_quota_tests;

#[cfg(test)]
mod voice_tests;

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
