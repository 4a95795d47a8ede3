//! What the daemon says: answers, entries of the log, presence, rows.

use std::borrow::Cow;

use crate::{Code, Line, Tags, Timestamp, escape_text, unescape_text};

/// One line of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine<'a> {
    /// Its tags: `id`, `time`, `ref` and what else the line has.
    pub tags: Tags<'a>,
    /// Whose doing it is: a nick, on entries and presence.
    pub from: Option<&'a str>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a line of the daemon says. Names are as shown and need no check: the daemon made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A command is done.
    Ok {
        /// Its verb.
        verb: &'a str,
        /// What the verb's answer says: a name, a count, a label.
        params: Option<&'a str>,
    },
    /// A command is refused (`verb` is `-` if it had none), or the connection is about to end.
    Err {
        /// The verb as typed, cut.
        verb: &'a str,
        /// The code's word; [`Code::from_str`](std::str::FromStr) reads it.
        code: &'a str,
        /// What is wrong and what to do, for people.
        text: &'a str,
    },
    /// An entry of the log.
    Entry {
        /// What kind.
        kind: EntryKind,
        /// The room or nick it is addressed to.
        target: &'a str,
        /// The entry that it changes or reacts to; kinds that do neither have none.
        about: Option<u64>,
        /// What it says. A cleared topic, a deleted message and a deletion have none.
        text: Option<Cow<'a, str>>,
    },
    /// The session has fallen behind: no entry after the cursor was delivered to it, and none will be before a SYNC.
    Behind {
        /// The cursor from which SYNC goes on.
        cursor: &'a str,
    },
    /// Somebody entered a room.
    Join {
        /// The room.
        room: &'a str,
    },
    /// Somebody ended a room with all that was said in it.
    Close {
        /// The room.
        room: &'a str,
        /// The reason.
        text: Option<Cow<'a, str>>,
    },
    /// Somebody left a room.
    Leave {
        /// The room.
        room: &'a str,
        /// A parting word.
        text: Option<Cow<'a, str>>,
    },
    /// Somebody's last session ended.
    Quit {
        /// A parting word, or why.
        text: Option<Cow<'a, str>>,
    },
    /// Somebody has another name now.
    Nick {
        /// The new one.
        nick: &'a str,
    },
    /// Somebody writes, or no more.
    Typing {
        /// The room, or the nick of the one who hears it.
        target: &'a str,
        /// `on` or `off`.
        switch: &'a str,
    },
    /// Entries are not there any more, or nothing connects the two places.
    Gap {
        /// The room or nick, or `*` for the whole log.
        target: &'a str,
        /// The first id, or a cursor of another log.
        from: &'a str,
        /// The last id.
        to: &'a str,
    },
    /// Somebody has read, up to an entry.
    Read {
        /// The room or nick.
        target: &'a str,
        /// The entry's id.
        id: &'a str,
    },
    /// One's private messages have arrived, up to an entry.
    Delivered {
        /// Oneself.
        target: &'a str,
        /// The entry's id.
        id: &'a str,
    },
    /// A row of INBOX.
    Invitation {
        /// The room.
        room: &'a str,
        /// Who invites.
        nick: &'a str,
        /// When.
        time: &'a str,
    },
    /// A row of INBOX: a conversation.
    Conversation {
        /// The room or nick.
        target: &'a str,
        /// The newest entry's id.
        last: &'a str,
        /// Unread messages.
        unread: &'a str,
        /// Unread messages that name the reader.
        mentions: &'a str,
    },
    /// A row of SET.
    Set {
        /// The room.
        room: &'a str,
        /// `name=value`.
        item: &'a str,
    },
    /// A row of WHO.
    User {
        /// The nick.
        nick: &'a str,
        /// `online`.
        status: &'a str,
        /// Since when.
        since: &'a str,
    },
    /// A row of ROOMS.
    Room {
        /// The room.
        room: &'a str,
        /// How many are in it.
        members: &'a str,
        /// What it is about.
        topic: Option<Cow<'a, str>>,
    },
    /// Somebody is here in another way.
    Status {
        /// `online`, `away` or `busy`.
        status: &'a str,
        /// What they say about it.
        text: Option<Cow<'a, str>>,
    },
    /// A part of somebody's profile: a row of PROFILE, or a change. A part that was taken away has an empty value.
    Profile {
        /// The account.
        nick: &'a str,
        /// `name=value`.
        item: &'a str,
    },
    /// An operator tells everybody something.
    Announce {
        /// What.
        text: Cow<'a, str>,
    },
    /// The daemon will stop.
    Shutdown {
        /// In how many seconds; `off` if it will not.
        seconds: &'a str,
        /// Why.
        text: Option<Cow<'a, str>>,
    },
    /// A row of KEY.
    Key {
        /// Its label.
        label: &'a str,
        /// Its fingerprint.
        fingerprint: &'a str,
        /// When it was added.
        added: &'a str,
    },
    /// A row of TOKEN.
    Token {
        /// Its label.
        label: &'a str,
        /// When it was made.
        added: &'a str,
    },
    /// A row of BAN.
    Ban {
        /// The room, or `*`.
        place: &'a str,
        /// A nick, an address range, a token.
        whom: &'a str,
        /// Until when; `-` for ever.
        until: &'a str,
        /// Why.
        reason: Option<Cow<'a, str>>,
    },
    /// A row of ROLE.
    Role {
        /// The room, or `*`.
        place: &'a str,
        /// Who.
        nick: &'a str,
        /// What.
        role: &'a str,
    },
    /// A row of REACT without a reaction.
    Reaction {
        /// The entry.
        id: &'a str,
        /// How.
        reaction: &'a str,
        /// Who.
        nick: &'a str,
        /// When.
        time: &'a str,
    },
    /// A row of STATS.
    Stat {
        /// `name=value`.
        item: &'a str,
    },
    /// A row of SESSIONS.
    Session {
        /// Its number.
        number: &'a str,
        /// Whose it is, or `*`.
        nick: &'a str,
        /// From where.
        from: &'a str,
        /// Since when.
        since: &'a str,
    },
    /// A row of ACCOUNTS.
    Account {
        /// Its name.
        nick: &'a str,
        /// Its role on the server.
        role: &'a str,
        /// Since when.
        since: &'a str,
    },
    /// A row of AUDIT.
    Audit {
        /// What was done.
        event: &'a str,
        /// By whom; `-` for nobody.
        who: &'a str,
        /// To whom or what; `-` for nobody.
        whom: &'a str,
        /// More about it.
        detail: Option<Cow<'a, str>>,
    },
    /// A piece of a file, which stands behind the line: a row of FILE GET.
    FileData {
        /// The file's entry.
        id: &'a str,
        /// Where in the file it belongs, in bytes.
        offset: &'a str,
    },
    /// Somebody has said something about a file of one's own.
    FileTaken {
        /// What.
        what: FileState,
        /// The room, or oneself.
        target: &'a str,
        /// The file's entry.
        id: &'a str,
    },
    /// A row of FILE LIST: an upload under way.
    FileUpload {
        /// Its handle.
        handle: &'a str,
        /// The room or nick that it is for.
        target: &'a str,
        /// What it is called.
        name: &'a str,
    },
    /// A row of FILE STATE.
    FileState {
        /// The file's entry.
        id: &'a str,
        /// Who.
        nick: &'a str,
        /// What they have said last.
        state: FileState,
        /// When.
        time: &'a str,
    },
    /// A row of COMMANDS.
    BotCommand {
        /// The bot's nick.
        bot: &'a str,
        /// How it is typed.
        usage: &'a str,
    },
    /// A row of BOT LIST.
    Bot {
        /// Its name in the settings.
        name: &'a str,
        /// Its nick.
        nick: &'a str,
        /// How it is.
        state: &'a str,
    },
    /// A row of BOT LOGS.
    BotLog {
        /// The bot.
        name: &'a str,
        /// The line.
        text: Cow<'a, str>,
    },
    /// A row of INFO.
    Info {
        /// `name=value`.
        item: &'a str,
    },
    /// A row of HELP.
    Help {
        /// A line of help.
        text: &'a str,
    },
    /// The daemon asks for a PONG.
    Ping {
        /// What the PONG is to carry.
        label: Option<&'a str>,
    },
    /// A verb that this library does not know, of a newer daemon.
    Unknown {
        /// The verb.
        verb: &'a str,
        /// What stands behind it.
        rest: Option<&'a str>,
    },
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A message to a room.
    Msg,
    /// A message to one person.
    Priv,
    /// A room's topic was set or cleared.
    Topic,
    /// A message has another text.
    Edit,
    /// A message was taken away.
    Delete,
    /// Somebody reacted to an entry.
    React,
    /// Somebody took a reaction back.
    Unreact,
    /// Somebody is on a room's list now. The text has the nick.
    Invite,
    /// Somebody was put out of a room. The text has the nick and the reason.
    Kick,
    /// Somebody is kept out of a room. The text has who and the reason.
    Ban,
    /// Somebody is not kept out any more. The text has who.
    Unban,
    /// Somebody may not speak for a while. The text has the nick, the time and the reason.
    Mute,
    /// Somebody is something else in a room now. The text has the nick and the role.
    Role,
    /// A room has another setting now. The text is `name=value`.
    Set,
    /// A file was sent. The text has its name; `size`, `sha256` and `type` are tags.
    File,
}

/// What somebody has said about a file that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileState {
    Declined,
    Accepted,
    /// All of it has arrived, and is what was sent.
    Done,
}

impl FileState {
    /// Every state.
    pub const ALL: [FileState; 3] = [FileState::Declined, FileState::Accepted, FileState::Done];

    /// The word in tags and rows.
    pub fn word(self) -> &'static str {
        match self {
            FileState::Declined => "declined",
            FileState::Accepted => "accepted",
            FileState::Done => "done",
        }
    }

    /// The state with this word.
    pub fn of_word(word: &str) -> Option<FileState> {
        FileState::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The word that says so, behind FILE.
    fn verb(self) -> &'static str {
        match self {
            FileState::Declined => "DECLINE",
            FileState::Accepted => "ACCEPT",
            FileState::Done => "DONE",
        }
    }
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [EntryKind; 15] = [
        EntryKind::Msg,
        EntryKind::Priv,
        EntryKind::Topic,
        EntryKind::Edit,
        EntryKind::Delete,
        EntryKind::React,
        EntryKind::Unreact,
        EntryKind::Invite,
        EntryKind::Kick,
        EntryKind::Ban,
        EntryKind::Unban,
        EntryKind::Mute,
        EntryKind::Role,
        EntryKind::Set,
        EntryKind::File,
    ];

    /// The kind with this verb.
    pub fn of_word(word: &str) -> Option<EntryKind> {
        EntryKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether it is about another entry, whose id stands behind the target.
    pub fn is_about(self) -> bool {
        matches!(self, EntryKind::Edit | EntryKind::Delete | EntryKind::React | EntryKind::Unreact)
    }

    /// The verb on the wire.
    pub fn word(self) -> &'static str {
        match self {
            EntryKind::Msg => "MSG",
            EntryKind::Priv => "PRIV",
            EntryKind::Topic => "TOPIC",
            EntryKind::Edit => "EDIT",
            EntryKind::Delete => "DELETE",
            EntryKind::React => "REACT",
            EntryKind::Unreact => "UNREACT",
            EntryKind::Invite => "INVITE",
            EntryKind::Kick => "KICK",
            EntryKind::Ban => "BAN",
            EntryKind::Unban => "UNBAN",
            EntryKind::Mute => "MUTE",
            EntryKind::Role => "ROLE",
            EntryKind::Set => "SET",
            EntryKind::File => "FILE",
        }
    }
}

impl<'a> ServerLine<'a> {
    /// A line without tags and source.
    pub fn new(body: Body<'a>) -> ServerLine<'a> {
        ServerLine { tags: Tags::default(), from: None, body }
    }

    /// An `ERR`.
    pub fn err(verb: &'a str, code: Code, text: &'a str) -> ServerLine<'a> {
        ServerLine::new(Body::Err { verb, code: code.word(), text })
    }

    /// An `OK`.
    pub fn ok(verb: &'a str, params: Option<&'a str>) -> ServerLine<'a> {
        ServerLine::new(Body::Ok { verb, params })
    }

    /// The same line with these tags.
    pub fn with_tags(self, tags: Tags<'a>) -> ServerLine<'a> {
        ServerLine { tags, ..self }
    }

    /// The same line with this source.
    pub fn with_from(self, from: &'a str) -> ServerLine<'a> {
        ServerLine { from: Some(from), ..self }
    }

    /// The entry's id, on entries and on the OK of one.
    pub fn id(&self) -> Option<u64> {
        self.tags.get("id")?.parse().ok()
    }

    /// When it happened.
    pub fn time(&self) -> Option<Timestamp> {
        self.tags.get("time")?.parse().ok()
    }

    /// Reads a line without its end. A verb that is not known, or is used otherwise than here, is
    /// [`Body::Unknown`]: clients pass over what they do not know.
    ///
    /// # Errors
    /// `None` if the line does not follow the grammar.
    pub fn parse(line: &'a str) -> Option<ServerLine<'a>> {
        let line = Line::parse(line).ok()?;
        let unknown = Body::Unknown { verb: line.verb, rest: line.params.rest() };
        let body = Body::parse(&line).unwrap_or(unknown);
        Some(ServerLine { tags: line.tags, from: line.source, body })
    }

    /// Writes the line, with its LF.
    pub fn write(&self, out: &mut Vec<u8>) {
        Line::write_head(self.tags, self.from, out);
        self.body.write(out);
        out.push(b'\n');
    }
}

impl<'a> Body<'a> {
    fn parse(line: &Line<'a>) -> Option<Body<'a>> {
        let mut params = line.params;
        let is_event = line.source.is_some();
        if line.verb == "FILE" {
            return file(params, is_event);
        }
        if is_event && let Some(kind) = EntryKind::of_word(line.verb) {
            return entry(kind, params);
        }
        let body = match line.verb {
            "OK" => {
                let verb = params.word()?;
                return Some(Body::Ok { verb, params: params.rest() });
            }
            "ERR" => {
                let (verb, code) = (params.word()?, params.word()?);
                return Some(Body::Err { verb, code, text: params.rest().unwrap_or_default() });
            }
            "JOIN" if is_event => Body::Join { room: params.word()? },
            "CLOSE" if is_event => {
                let room = params.word()?;
                return Some(Body::Close { room, text: params.rest().map(unescape_text) });
            }
            "LEAVE" if is_event => {
                let room = params.word()?;
                return Some(Body::Leave { room, text: params.rest().map(unescape_text) });
            }
            "QUIT" if is_event => return Some(Body::Quit { text: params.rest().map(unescape_text) }),
            "NICK" if is_event => Body::Nick { nick: params.word()? },
            "TYPING" if is_event => Body::Typing { target: params.word()?, switch: params.word()? },
            "READ" if is_event => Body::Read { target: params.word()?, id: id(&mut params)? },
            "DELIVERED" if is_event => Body::Delivered { target: params.word()?, id: id(&mut params)? },
            "BEHIND" => Body::Behind { cursor: id(&mut params)? },
            "GAP" => Body::Gap { target: params.word()?, from: id(&mut params)?, to: id(&mut params)? },
            "INVITATION" => {
                Body::Invitation { room: params.word()?, nick: params.word()?, time: params.word()? }
            }
            "CONVERSATION" => Body::Conversation {
                target: params.word()?,
                last: id(&mut params)?,
                unread: id(&mut params)?,
                mentions: id(&mut params)?,
            },
            "SET" => {
                let room = params.word()?;
                return Some(Body::Set { room, item: params.rest()? });
            }
            "USER" => Body::User { nick: params.word()?, status: params.word()?, since: params.word()? },
            "ROOM" => {
                let (room, members) = (params.word()?, params.word()?);
                return Some(Body::Room { room, members, topic: params.rest().map(unescape_text) });
            }
            "STATUS" if is_event => {
                let status = params.word()?;
                return Some(Body::Status { status, text: params.rest().map(unescape_text) });
            }
            "PROFILE" => {
                let nick = params.word()?;
                return Some(Body::Profile { nick, item: params.rest()? });
            }
            "ANNOUNCE" if is_event => return Some(Body::Announce { text: unescape_text(params.rest()?) }),
            "SHUTDOWN" if is_event => {
                let seconds = params.word()?;
                return Some(Body::Shutdown { seconds, text: params.rest().map(unescape_text) });
            }
            "KEY" => Body::Key { label: params.word()?, fingerprint: params.word()?, added: params.word()? },
            "TOKEN" => Body::Token { label: params.word()?, added: params.word()? },
            "BAN" => {
                let (place, whom, until) = (params.word()?, params.word()?, params.word()?);
                return Some(Body::Ban { place, whom, until, reason: params.rest().map(unescape_text) });
            }
            "ROLE" => Body::Role { place: params.word()?, nick: params.word()?, role: params.word()? },
            "REACTION" => Body::Reaction {
                id: params.word()?,
                reaction: params.word()?,
                nick: params.word()?,
                time: params.word()?,
            },
            "STAT" => return Some(Body::Stat { item: params.rest()? }),
            "SESSION" => Body::Session {
                number: params.word()?,
                nick: params.word()?,
                from: params.word()?,
                since: params.word()?,
            },
            "ACCOUNT" => Body::Account { nick: params.word()?, role: params.word()?, since: params.word()? },
            "AUDIT" => {
                let (event, who, whom) = (params.word()?, params.word()?, params.word()?);
                return Some(Body::Audit { event, who, whom, detail: params.rest().map(unescape_text) });
            }
            "COMMAND" => {
                let bot = params.word()?;
                return Some(Body::BotCommand { bot, usage: params.rest()? });
            }
            "BOT" => Body::Bot { name: params.word()?, nick: params.word()?, state: params.word()? },
            "BOTLOG" => {
                let name = params.word()?;
                return Some(Body::BotLog { name, text: unescape_text(params.rest()?) });
            }
            "INFO" => return Some(Body::Info { item: params.rest()? }),
            "HELP" => return Some(Body::Help { text: params.rest()? }),
            "PING" => Body::Ping { label: params.word() },
            _ => return None,
        };
        params.is_empty().then_some(body)
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Body::Ok { verb, params } => words(out, &["OK", verb], *params),
            Body::Err { verb, code, text } => words(out, &["ERR", verb, code], Some(*text)),
            Body::Entry { kind: EntryKind::File, target, text, .. } => {
                words(out, &["FILE", "OFFER", target], text.as_deref().map(escape_text).as_deref());
            }
            Body::FileData { id, offset } => words(out, &["FILE", "DATA", id, offset], None),
            Body::FileTaken { what, target, id } => words(out, &["FILE", what.verb(), target, id], None),
            Body::FileUpload { handle, target, name } => {
                words(out, &["FILE", "UPLOAD", handle, target], Some(*name));
            }
            Body::FileState { id, nick, state, time } => {
                words(out, &["FILE", "STATE", id, nick, state.word(), time], None);
            }
            Body::Entry { kind, target, about, text } => {
                let about = about.map(|id| id.to_string());
                let text = text.as_deref().map(escape_text);
                words(out, &[kind.word(), target], about.as_deref().into_iter().chain(text.as_deref()));
            }
            Body::Behind { cursor } => words(out, &["BEHIND", cursor], None),
            Body::Gap { target, from, to } => words(out, &["GAP", target, from, to], None),
            Body::Read { target, id } => words(out, &["READ", target, id], None),
            Body::Delivered { target, id } => words(out, &["DELIVERED", target, id], None),
            Body::Invitation { room, nick, time } => words(out, &["INVITATION", room, nick, time], None),
            Body::Conversation { target, last, unread, mentions } => {
                words(out, &["CONVERSATION", target, last, unread, mentions], None);
            }
            Body::Set { room, item } => words(out, &["SET", room], Some(*item)),
            Body::Join { room } => words(out, &["JOIN", room], None),
            Body::Close { room, text } => {
                words(out, &["CLOSE", room], text.as_deref().map(escape_text).as_deref());
            }
            Body::Leave { room, text } => {
                words(out, &["LEAVE", room], text.as_deref().map(escape_text).as_deref());
            }
            Body::Quit { text } => words(out, &["QUIT"], text.as_deref().map(escape_text).as_deref()),
            Body::Nick { nick } => words(out, &["NICK", nick], None),
            Body::Typing { target, switch } => words(out, &["TYPING", target, switch], None),
            Body::User { nick, status, since } => words(out, &["USER", nick, status, since], None),
            Body::Room { room, members, topic } => {
                words(out, &["ROOM", room, members], topic.as_deref().map(escape_text).as_deref());
            }
            Body::Status { status, text } => {
                words(out, &["STATUS", status], text.as_deref().map(escape_text).as_deref());
            }
            Body::Profile { nick, item } => words(out, &["PROFILE", nick], Some(*item)),
            Body::Announce { text } => words(out, &["ANNOUNCE"], Some(&*escape_text(text))),
            Body::Shutdown { seconds, text } => {
                words(out, &["SHUTDOWN", seconds], text.as_deref().map(escape_text).as_deref());
            }
            Body::Key { label, fingerprint, added } => words(out, &["KEY", label, fingerprint, added], None),
            Body::Token { label, added } => words(out, &["TOKEN", label, added], None),
            Body::Ban { place, whom, until, reason } => {
                let reason = reason.as_deref().map(escape_text);
                words(out, &["BAN", place, whom, until], reason.as_deref());
            }
            Body::Role { place, nick, role } => words(out, &["ROLE", place, nick, role], None),
            Body::Reaction { id, reaction, nick, time } => {
                words(out, &["REACTION", id, reaction, nick, time], None);
            }
            Body::Stat { item } => words(out, &["STAT"], Some(*item)),
            Body::Session { number, nick, from, since } => {
                words(out, &["SESSION", number, nick, from, since], None);
            }
            Body::Account { nick, role, since } => words(out, &["ACCOUNT", nick, role, since], None),
            Body::Audit { event, who, whom, detail } => {
                let detail = detail.as_deref().map(escape_text);
                words(out, &["AUDIT", event, who, whom], detail.as_deref());
            }
            Body::BotCommand { bot, usage } => words(out, &["COMMAND", bot], Some(*usage)),
            Body::Bot { name, nick, state } => words(out, &["BOT", name, nick, state], None),
            Body::BotLog { name, text } => words(out, &["BOTLOG", name], Some(&*escape_text(text))),
            Body::Info { item } => words(out, &["INFO"], Some(*item)),
            Body::Help { text } => words(out, &["HELP"], Some(*text)),
            Body::Ping { label } => words(out, &["PING"], *label),
            Body::Unknown { verb, rest } => words(out, &[verb], *rest),
        }
    }
}

fn entry<'a>(kind: EntryKind, mut params: crate::Params<'a>) -> Option<Body<'a>> {
    let target = params.word()?;
    let about = if kind.is_about() { Some(params.word()?.parse().ok()?) } else { None };
    Some(Body::Entry { kind, target, about, text: params.rest().map(unescape_text) })
}

/// What stands behind FILE.
fn file<'a>(mut params: crate::Params<'a>, is_event: bool) -> Option<Body<'a>> {
    let word = params.word()?;
    let body = match word {
        "OFFER" if is_event => {
            let target = params.word()?;
            let text = params.rest().map(unescape_text);
            return Some(Body::Entry { kind: EntryKind::File, target, about: None, text });
        }
        "UPLOAD" => {
            let (handle, target) = (params.word()?, params.word()?);
            return Some(Body::FileUpload { handle, target, name: params.rest()? });
        }
        "DATA" => Body::FileData { id: id(&mut params)?, offset: id(&mut params)? },
        "STATE" => Body::FileState {
            id: id(&mut params)?,
            nick: params.word()?,
            state: FileState::of_word(params.word()?)?,
            time: params.word()?,
        },
        _ if is_event => Body::FileTaken {
            what: FileState::ALL.into_iter().find(|state| state.verb() == word)?,
            target: params.word()?,
            id: id(&mut params)?,
        },
        _ => return None,
    };
    params.is_empty().then_some(body)
}

/// Takes a number, an id or a cursor: nothing that would mean something else in HTML, JSON or a terminal.
fn id<'a>(params: &mut crate::Params<'a>) -> Option<&'a str> {
    let is_plain =
        |word: &&str| word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    params.word().filter(is_plain)
}

fn words<'w>(out: &mut Vec<u8>, words: &[&'w str], rest: impl IntoIterator<Item = &'w str>) {
    for (at, word) in words.iter().copied().chain(rest).enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_read_with_its_tags() {
        let line = "@id=119;time=2026-11-21T10:15:07.020Z :alice MSG #lobby two\\nlines";
        let read = ServerLine::parse(line).expect("a line");
        assert_eq!((read.id(), read.from), (Some(119), Some("alice")));
        assert_eq!(read.time().map(|time| time.to_string()).as_deref(), Some("2026-11-21T10:15:07.020Z"));
        let text = Some(Cow::Borrowed("two\nlines"));
        assert_eq!(read.body, Body::Entry { kind: EntryKind::Msg, target: "#lobby", about: None, text });
    }

    #[test]
    fn what_is_not_known_is_passed_on_as_such() {
        let read = ServerLine::parse("@x=1 :alice WAVE #lobby both hands").expect("a line");
        assert_eq!(read.body, Body::Unknown { verb: "WAVE", rest: Some("#lobby both hands") });
        let read = ServerLine::parse(":alice JOIN #lobby as guest").expect("a line");
        assert_eq!(read.body, Body::Unknown { verb: "JOIN", rest: Some("#lobby as guest") });
    }

    fn body() -> impl Strategy<Value = Body<'static>> {
        let text = || prop::option::of("[ a-z\\\\\n]{1,12}".prop_map(Cow::Owned));
        let kind = prop::sample::select(EntryKind::ALL.to_vec());
        prop_oneof![
            Just(Body::Ok { verb: "MSG", params: Some("#lobby") }),
            Just(Body::Ok { verb: "INFO", params: None }),
            Just(Body::Err { verb: "-", code: "bad-line", text: "mend  it" }),
            (kind, text(), 0u64..99).prop_map(|(kind, text, about)| Body::Entry {
                kind,
                target: "#ops",
                about: kind.is_about().then_some(about),
                text
            }),
            Just(Body::Gap { target: "#ops", from: "3", to: "9" }),
            Just(Body::Read { target: "#ops", id: "3" }),
            Just(Body::Delivered { target: "alice", id: "3" }),
            Just(Body::Invitation { room: "#ops", nick: "bob", time: "2026-11-21T10:15:16.005Z" }),
            Just(Body::Conversation { target: "#ops", last: "9", unread: "1", mentions: "0" }),
            Just(Body::Set { room: "#ops", item: "keep=30d" }),
            Just(Body::Join { room: "#ops" }),
            text().prop_map(|text| Body::Leave { room: "#ops", text }),
            Just(Body::Behind { cursor: "9f2c51d07a6be834.118" }),
            text().prop_map(|text| Body::Close { room: "#ops", text }),
            text().prop_map(|text| Body::Quit { text }),
            Just(Body::Nick { nick: "bob" }),
            Just(Body::Typing { target: "#ops", switch: "on" }),
            Just(Body::User { nick: "bob", status: "online", since: "2026-11-21T10:15:07.020Z" }),
            text().prop_map(|topic| Body::Room { room: "#ops", members: "7", topic }),
            Just(Body::Info { item: "features=key,re" }),
            Just(Body::Help { text: "MSG <room> <text>: says something" }),
            Just(Body::Ping { label: Some("3") }),
            text().prop_map(|text| Body::Status { status: "away", text }),
            Just(Body::Profile { nick: "bob", item: "display=Bob B." }),
            Just(Body::Announce { text: Cow::Borrowed("two\nlines") }),
            text().prop_map(|text| Body::Shutdown { seconds: "30", text }),
            Just(Body::Key { label: "laptop", fingerprint: "SHA256:x", added: "t" }),
            Just(Body::Token { label: "deploy", added: "t" }),
            Just(Body::Role { place: "#ops", nick: "bob", role: "moderator" }),
            Just(Body::Reaction {
                id: "118",
                reaction: "\u{1f44d}",
                nick: "bob",
                time: "2026-11-21T10:15:16.005Z"
            }),
            Just(Body::Stat { item: "uptime=1" }),
            Just(Body::Session { number: "7", nick: "*", from: "unix:1000", since: "t" }),
            Just(Body::Account { nick: "bob", role: "bot", since: "t" }),
            text().prop_map(|detail| Body::Audit { event: "ban", who: "alice", whom: "-", detail }),
            Just(Body::FileData { id: "7", offset: "0" }),
            prop::sample::select(FileState::ALL.to_vec()).prop_map(|what| Body::FileTaken {
                what,
                target: "#ops",
                id: "7"
            }),
            Just(Body::BotCommand { bot: "roll", usage: "!roll [dice]" }),
            Just(Body::Bot { name: "roll", nick: "roll", state: "running" }),
            Just(Body::BotLog { name: "roll", text: Cow::Borrowed("two  words") }),
            Just(Body::FileUpload { handle: "u1", target: "#ops", name: "two words" }),
            Just(Body::FileState { id: "7", nick: "bob", state: FileState::Done, time: "t" }),
            Just(Body::Unknown { verb: "WAVE", rest: None }),
        ]
    }

    #[test]
    fn an_id_is_nothing_else() {
        for line in [
            "GAP #ops <img/src=x/onerror=alert(1)> 7",
            "GAP #ops 1 7\",\"type\":\"msg",
            ":bob READ #ops \u{202e}7",
            ":bob DELIVERED alice 7<b>",
            "BEHIND 7;8",
            "CONVERSATION #ops 7 1 <b>",
        ] {
            assert!(
                ServerLine::parse(line).is_none_or(|line| matches!(line.body, Body::Unknown { .. })),
                "{line}"
            );
        }
    }

    #[test]
    fn a_row_of_bans_is_no_event() {
        let row = ServerLine::parse("BAN #ops bob - spam").expect("a line");
        let reason = Some(Cow::Borrowed("spam"));
        assert_eq!(row.body, Body::Ban { place: "#ops", whom: "bob", until: "-", reason });
        let event = ServerLine::parse("@id=7 :alice BAN #ops bob spam").expect("a line");
        assert!(matches!(event.body, Body::Entry { kind: EntryKind::Ban, target: "#ops", .. }));
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            body in body(),
            tags in prop_oneof![Just(""), Just("id=7;time=x;dup")],
        ) {
            let is_row = matches!(body, Body::Role { .. } | Body::Set { .. });
            let line = ServerLine::new(body).with_tags(Tags::trusted(tags));
            let line = if is_row { line } else { line.with_from("alice") };
            let mut written = Vec::new();
            line.write(&mut written);
            let written = String::from_utf8(written).expect("UTF-8");
            prop_assert_eq!(ServerLine::parse(written.trim_end_matches('\n')).expect("a line"), line);
        }
    }
}
