//! What a client says: a line with the meaning its verb gives it.

mod facts;
pub use facts::Aim;

mod file;
pub use file::{FileCommand, FileOffer, FileRef, is_media_type};

use std::borrow::Cow;

use crate::{
    Code, Cursor, Line, NameError, Nick, Params, Period, PersonId, Role, RoomName, Scope, TagBuilder, Tags,
    Target, Timestamp, Verb, escape_text, limits, unescape_text,
};

/// A command with the tags that any command may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `ref`: stands on all that answers this command.
    pub label: Option<Cow<'a, str>>,
    /// What is asked for.
    pub command: Command<'a>,
}

/// A command that follows its verb's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the table of verbs says what each is, and its fields are its parameters and tags"
)]
pub enum Command<'a> {
    Hello,
    Nick {
        nick: Nick<'a>,
        token: Option<Secret<'a>>,
        entrance: Entrance,
    },
    Quit {
        text: Option<Cow<'a, str>>,
    },
    Ping {
        label: Option<&'a str>,
    },
    Pong {
        label: Option<&'a str>,
    },
    Help {
        verb: Option<Verb>,
    },
    Info,
    Msg {
        room: RoomName<'a>,
        text: Cow<'a, str>,
        tags: MessageTags<'a>,
    },
    Priv {
        nick: Nick<'a>,
        who: Option<PersonId>,
        text: Cow<'a, str>,
        tags: MessageTags<'a>,
    },
    Typing {
        target: Target<'a>,
        switch: Switch,
    },
    Join {
        room: RoomName<'a>,
    },
    Leave {
        room: RoomName<'a>,
        text: Option<Cow<'a, str>>,
    },
    Rooms,
    Who {
        of: Option<Target<'a>>,
    },
    /// `WATCH`: adds names to those whose presence one hears of, or with the tag `clear` takes them away.
    Watch {
        /// The names; none for all that are watched.
        nicks: Vec<Nick<'a>>,
        /// Whether to take them away.
        clear: bool,
    },
    Topic {
        room: RoomName<'a>,
        change: TopicChange<'a>,
        key: Option<Cow<'a, str>>,
    },
    Set {
        room: RoomName<'a>,
        change: Option<(&'a str, Cow<'a, str>)>,
    },
    Edit {
        target: Target<'a>,
        id: Cursor,
        text: Cow<'a, str>,
        key: Option<Cow<'a, str>>,
    },
    Delete {
        target: Target<'a>,
        id: Cursor,
    },
    React {
        target: Target<'a>,
        id: Cursor,
        reaction: &'a str,
    },
    /// `REACT <target> <id>`: who has reacted to an entry, and how.
    Reactions {
        /// Where it is.
        target: Target<'a>,
        /// The entry.
        id: Cursor,
    },
    Unreact {
        target: Target<'a>,
        id: Cursor,
        reaction: &'a str,
    },
    History {
        target: Target<'a>,
        page: Page,
        limit: Option<u64>,
        /// Whether only messages and files are wanted.
        only_messages: bool,
    },
    Search {
        target: Option<Target<'a>>,
        query: Cow<'a, str>,
        before: Option<Cursor>,
        limit: Option<u64>,
    },
    Sync {
        cursor: Cursor,
        limit: Option<u64>,
    },
    Ack {
        cursor: Cursor,
    },
    Read {
        target: Target<'a>,
        id: Cursor,
        receipt: bool,
    },
    Inbox {
        /// The tag `next` of the page before.
        before: Option<Cursor>,
        limit: Option<u64>,
    },
    Register {
        name: Nick<'a>,
        password: Option<Secret<'a>>,
        invite: Option<Secret<'a>>,
        key: Option<(Cow<'a, str>, Cow<'a, str>)>,
        entrance: Entrance,
    },
    Auth {
        credential: Credential<'a>,
        entrance: Entrance,
    },
    Password {
        new: Secret<'a>,
        old: Option<Secret<'a>>,
        account: Option<Nick<'static>>,
    },
    Unregister {
        name: Nick<'a>,
    },
    Key {
        change: KeyChange<'a>,
    },
    Token {
        change: TokenChange<'a>,
    },
    Invite {
        to: Option<(RoomName<'a>, Nick<'a>)>,
        expires: Option<Period>,
    },
    Status {
        presence: Presence,
        text: Option<Cow<'a, str>>,
    },
    Profile {
        nick: Nick<'a>,
        change: ProfileChange<'a>,
    },
    /// `CLOSE`: ends a room with all that was said in it; for the server, the empty rooms of guests.
    Close {
        /// The room, or `*`.
        place: RoomOrServer<'a>,
        /// Why.
        reason: Option<Cow<'a, str>>,
    },
    Kick {
        place: RoomOrServer<'a>,
        nick: Nick<'a>,
        reason: Option<Cow<'a, str>>,
    },
    Ban {
        place: RoomOrServer<'a>,
        whom: Option<&'a str>,
        reason: Option<Cow<'a, str>>,
        expires: Option<Period>,
    },
    Unban {
        place: RoomOrServer<'a>,
        whom: &'a str,
    },
    Mute {
        place: RoomOrServer<'a>,
        nick: Nick<'a>,
        time: Option<Period>,
        reason: Option<Cow<'a, str>>,
    },
    Role {
        place: RoomOrServer<'a>,
        nick: Option<Nick<'a>>,
        role: Option<Option<Role>>,
    },
    Stats,
    Sessions,
    Accounts,
    Announce {
        text: Cow<'a, str>,
    },
    Audit {
        page: AuditPage,
        limit: Option<u64>,
        user: Option<Cow<'a, str>>,
        event: Option<Cow<'a, str>>,
    },
    Reload {
        /// Whether to take the machine's date for right instead.
        clock: bool,
    },
    Shutdown {
        at: ShutdownAt,
        reason: Option<Cow<'a, str>>,
    },
    Backup {
        path: Cow<'a, str>,
    },
    File(FileCommand<'a>),
    Commands {
        room: Option<RoomName<'a>>,
    },
    Bot {
        order: BotOrder<'a>,
    },
}

/// What BOT is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BotOrder<'a> {
    List,
    Enable(&'a str),
    Disable(&'a str),
    Restart(&'a str),
    Logs(&'a str),
}

/// A password or token: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<'a>(pub Cow<'a, str>);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl std::ops::Deref for Secret<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Secret<'a> {
    fn from(text: &'a str) -> Secret<'a> {
        Secret(Cow::Borrowed(text))
    }
}

impl From<String> for Secret<'_> {
    fn from(text: String) -> Self {
        Secret(Cow::Owned(text))
    }
}

/// How a session comes in, with NICK, AUTH or REGISTER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Joins nothing and is not announced.
    pub quiet: bool,
    /// Hears no entries until SYNC has brought it up to date from there.
    pub since: Option<Cursor>,
    /// Comes into these rooms, and not by itself into the lobby; perhaps into none. Not with `quiet`.
    pub rooms: Option<Vec<RoomName<'static>>>,
}

/// What proves that somebody is an account.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Credential<'a> {
    Password {
        name: Nick<'a>,
        password: Cow<'a, str>,
    },
    /// The account as it stands on the line, because that is what the signature is over; key and signature in base64.
    Key {
        name: &'a str,
        key: &'a str,
        signature: &'a str,
    },
    Token(&'a str),
}

/// Says which, and nothing of what is secret.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Password { name, .. } => write!(f, "Password({name})"),
            Credential::Key { name, .. } => write!(f, "Key({name})"),
            Credential::Token(_) => f.write_str("Token"),
        }
    }
}

/// What KEY is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum KeyChange<'a> {
    List,
    /// A key in base64, and its label.
    Add(&'a str, &'a str),
    Remove(&'a str),
}

/// What TOKEN is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TokenChange<'a> {
    List,
    Add { label: &'a str, scope: Scope, expires: Option<Period> },
    Remove(&'a str),
}

/// How somebody is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Presence {
    #[default]
    Online,
    Away,
    Busy,
}

impl Presence {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Presence::Online => "online",
            Presence::Away => "away",
            Presence::Busy => "busy",
        }
    }
}

/// What PROFILE is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChange<'a> {
    /// Show all of it, or one part of it.
    Ask(Option<&'a str>),
    /// Take a part of it away.
    Clear(&'a str),
    /// Set a part of it.
    Set(&'a str, Cow<'a, str>),
}

/// Where an act of authority holds: in a room or on the whole server (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RoomOrServer<'a> {
    Room(RoomName<'a>),
    Server,
}

impl RoomOrServer<'_> {
    /// As it stands on the line.
    pub fn as_str(&self) -> &str {
        match self {
            RoomOrServer::Room(room) => room.as_str(),
            RoomOrServer::Server => "*",
        }
    }
}

/// Which part of the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as with HISTORY")]
pub enum AuditPage {
    Latest,
    Before(u64),
    After(u64),
    Since(Timestamp),
    /// What comes from now on.
    Follow,
    /// Whether all of it is as it was written.
    Verify,
}

/// When SHUTDOWN is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ShutdownAt {
    Now,
    In(Period),
    Cancel,
}

/// Which part of a conversation HISTORY is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The newest entries.
    Latest,
    /// The newest entries before this one.
    Before(Cursor),
    /// The newest entries before this moment.
    Until(Timestamp),
    /// The oldest entries after this one.
    After(Cursor),
    /// This entry with those before and after it.
    Around(Cursor),
    /// The oldest entries of this moment or later.
    Since(Timestamp),
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Switch {
    On,
    Off,
}

impl Switch {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Switch::On => "on",
            Switch::Off => "off",
        }
    }
}

/// What TOPIC is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChange<'a> {
    /// Show the topic.
    Ask,
    /// Take it away.
    Clear,
    /// Set it.
    Set(Cow<'a, str>),
}

/// The tags of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageTags<'a> {
    /// `key`: makes a repeat harmless. 1 to 64 of `[A-Za-z0-9._-]`; its scope is sender and target.
    pub key: Option<Cow<'a, str>>,
    /// `re`: the entry this one answers.
    pub re: Option<Cursor>,
    /// `replace`: 1 to 64 of `[A-Za-z0-9._-]`; edits the sender's newest message under this word, if there is one.
    pub replace: Option<Cow<'a, str>>,
    /// `verbatim`: no filter may rewrite the text.
    pub verbatim: bool,
    /// What is stored and relayed untouched, as written on the line: `title`, `priority`, `label` and all that
    /// begin with `+`.
    pub relayed: Cow<'a, str>,
}

/// Why a line is no command. `verb` is what the `ERR` line calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The verb, or `-` where the line has none that can be echoed.
    pub verb: String,
    /// The code.
    pub code: Code,
    /// What is wrong and what to do.
    pub text: String,
}

type Parsed<T> = Result<T, (Code, String)>;

impl<'a> Request<'a> {
    /// Reads a command from a line.
    ///
    /// # Errors
    /// The `ERR` that answers the line.
    pub fn parse(line: &Line<'a>) -> Result<Request<'a>, CommandError> {
        let failed = |(code, text): (Code, String)| CommandError {
            verb: Verb::echo(line.verb).to_owned(),
            code,
            text,
        };
        let Some(verb) = Verb::find(line.verb) else {
            return Err(failed((Code::UnknownVerb, "there is no such verb; HELP lists them".to_owned())));
        };
        if line.tags.len() > limits::TAGS {
            return Err(failed((Code::BadTag, format!("the tags take at most {} bytes", limits::TAGS))));
        }
        let label = line.tags.get("ref").filter(|label| !label.is_empty());
        if label.as_ref().is_some_and(|label| label.len() > limits::LABEL) {
            return Err(failed((Code::BadTag, format!("ref takes at most {} bytes", limits::LABEL))));
        }
        let command = Reader { verb, tags: line.tags, params: line.params }.command().map_err(failed)?;
        Ok(Request { label, command })
    }

    /// Writes the command as a line, with its LF.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut tags = TagBuilder::default();
        tags.value("ref", self.label.as_deref());
        self.command.write(tags, out);
    }
}

/// Takes a verb's parameters and text from a line, in order.
struct Reader<'a> {
    verb: Verb,
    tags: Tags<'a>,
    params: Params<'a>,
}

impl<'a> Reader<'a> {
    fn command(mut self) -> Parsed<Command<'a>> {
        let command = match self.verb {
            Verb::Hello => return Ok(Command::Hello),
            Verb::Nick => Command::Nick {
                nick: self.nick()?,
                token: self
                    .tags
                    .get("token")
                    .filter(|token| (1..=limits::LABEL).contains(&token.len()))
                    .map(Secret),
                entrance: self.entrance()?,
            },
            Verb::Quit => Command::Quit { text: self.optional_text()? },
            Verb::Ping => Command::Ping { label: self.label()? },
            Verb::Pong => Command::Pong { label: self.label()? },
            Verb::Help => Command::Help { verb: self.help_verb()? },
            Verb::Info => Command::Info,
            Verb::Msg => Command::Msg { room: self.room()?, text: self.text()?, tags: self.message_tags()? },
            Verb::Priv => {
                let (nick, who) = (self.nick()?, self.who()?);
                Command::Priv { nick, who, text: self.text()?, tags: self.message_tags()? }
            }
            Verb::Typing => Command::Typing { target: self.target()?, switch: self.switch()? },
            Verb::Join => Command::Join { room: self.room()? },
            Verb::Leave => Command::Leave { room: self.room()?, text: self.optional_text()? },
            Verb::Rooms => Command::Rooms,
            Verb::Who => {
                Command::Who { of: if self.params.is_empty() { None } else { Some(self.target()?) } }
            }
            Verb::Watch => self.watch()?,
            Verb::Topic => {
                Command::Topic { room: self.room()?, change: self.topic_change()?, key: self.key()? }
            }
            Verb::Set => {
                let room = self.room()?;
                let change = match self.params.is_empty() {
                    true => None,
                    false => Some((self.word()?, self.required_text()?)),
                };
                Command::Set { room, change }
            }
            Verb::Edit => Command::Edit {
                target: self.target()?,
                id: self.cursor()?,
                text: self.text()?,
                key: self.key()?,
            },
            Verb::Delete => Command::Delete { target: self.target()?, id: self.cursor()? },
            Verb::React => {
                let (target, id) = (self.target()?, self.cursor()?);
                match self.params.is_empty() {
                    true => Command::Reactions { target, id },
                    false => Command::React { target, id, reaction: self.reaction()? },
                }
            }
            Verb::Unreact => {
                Command::Unreact { target: self.target()?, id: self.cursor()?, reaction: self.reaction()? }
            }
            Verb::History => {
                let (target, page, limit) = (self.target()?, self.page()?, self.limit()?);
                Command::History { target, page, limit, only_messages: self.only_messages()? }
            }
            Verb::Search => Command::Search {
                target: self.target_or_all()?,
                query: self.text()?,
                before: self.cursor_tag("before")?,
                limit: self.limit_tag()?,
            },
            Verb::Sync => Command::Sync { cursor: self.cursor()?, limit: self.limit()? },
            Verb::Ack => Command::Ack { cursor: self.cursor()? },
            Verb::Read => Command::Read {
                target: self.target()?,
                id: self.cursor()?,
                receipt: self.tags.has("receipt"),
            },
            Verb::Inbox => Command::Inbox { before: self.cursor_tag("before")?, limit: self.limit_tag()? },
            Verb::Register => self.register()?,
            Verb::Auth => Command::Auth { credential: self.credential()?, entrance: self.entrance()? },
            Verb::Password => Command::Password {
                new: Secret(self.text()?),
                old: self.tags.get("old").map(Secret),
                account: match self.tags.get("account") {
                    None => None,
                    Some(name) => Some(
                        Nick::parse(&name)
                            .map_err(|error| bad_name(Code::BadNick, "account", error))?
                            .into_owned(),
                    ),
                },
            },
            Verb::Unregister => Command::Unregister { name: self.nick()? },
            Verb::Key => Command::Key { change: self.key_change()? },
            Verb::Token => Command::Token { change: self.token_change()? },
            Verb::Invite => {
                let to = if self.params.is_empty() { None } else { Some((self.room()?, self.nick()?)) };
                Command::Invite { to, expires: self.expires()? }
            }
            Verb::Status => Command::Status { presence: self.presence()?, text: self.optional_text()? },
            Verb::Profile => Command::Profile { nick: self.nick()?, change: self.profile_change()? },
            Verb::Close => Command::Close { place: self.place()?, reason: self.optional_text()? },
            Verb::Kick => {
                Command::Kick { place: self.place()?, nick: self.nick()?, reason: self.optional_text()? }
            }
            Verb::Ban => {
                let place = self.place()?;
                let whom = if self.params.is_empty() { None } else { Some(self.word()?) };
                Command::Ban { place, whom, reason: self.optional_text()?, expires: self.expires()? }
            }
            Verb::Unban => Command::Unban { place: self.place()?, whom: self.word()? },
            Verb::Mute => {
                let (place, nick) = (self.place()?, self.nick()?);
                let time = match self.word()? {
                    "off" => None,
                    word => Some(self.period(word)?),
                };
                Command::Mute { place, nick, time, reason: self.optional_text()? }
            }
            Verb::Role => {
                let place = self.place()?;
                let nick = if self.params.is_empty() { None } else { Some(self.nick()?) };
                Command::Role { place, nick, role: self.role()? }
            }
            Verb::Stats => Command::Stats,
            Verb::Sessions => Command::Sessions,
            Verb::Accounts => Command::Accounts,
            Verb::Announce => Command::Announce { text: self.text()? },
            Verb::Audit => Command::Audit {
                page: self.audit_page()?,
                limit: self.limit()?,
                user: self.tags.get("user").filter(|user| !user.is_empty()),
                event: self.tags.get("event").filter(|event| !event.is_empty()),
            },
            Verb::Reload => Command::Reload { clock: self.reloads_clock()? },
            Verb::Shutdown => {
                let word = self.word()?;
                let at = match word.to_ascii_uppercase().as_str() {
                    "NOW" => ShutdownAt::Now,
                    "CANCEL" => ShutdownAt::Cancel,
                    _ => ShutdownAt::In(self.period(word)?),
                };
                Command::Shutdown { at, reason: self.optional_text()? }
            }
            Verb::Backup => Command::Backup { path: self.text()? },
            Verb::File => Command::File(self.file()?),
            Verb::Commands => {
                Command::Commands { room: if self.params.is_empty() { None } else { Some(self.room()?) } }
            }
            Verb::Bot => Command::Bot { order: self.bot_order()? },
        };
        if !self.params.is_empty() {
            return Err(self.misuse(Code::SurplusParameter, "there is more on the line than it takes"));
        }
        Ok(command)
    }

    fn register(&mut self) -> Parsed<Command<'a>> {
        let (name, password) = (self.nick()?, self.optional_text()?.map(Secret));
        let key = match (self.tags.get("key"), self.tags.get("label")) {
            (None, _) => None,
            (Some(key), label) => {
                let label = label.unwrap_or(Cow::Borrowed("first"));
                if !is_label(&label) {
                    return Err((Code::BadTag, format!("label {LABEL_RULE}")));
                }
                Some((key, label))
            }
        };
        if password.is_none() && key.is_none() {
            return Err(
                self.misuse(Code::MissingParameter, "an account has a password, or a key in the tag key")
            );
        }
        let invite = self.tags.get("invite").filter(|invite| !invite.is_empty()).map(Secret);
        Ok(Command::Register { name, password, invite, key, entrance: self.entrance()? })
    }

    fn entrance(&self) -> Parsed<Entrance> {
        let quiet = self.tags.has("quiet");
        let rooms = match self.tags.get("rooms") {
            None => None,
            Some(_) if quiet => {
                return Err((
                    Code::BadTag,
                    "who comes in quiet comes into no rooms: leave out quiet, or rooms".to_owned(),
                ));
            }
            Some(list) => Some(
                list.split(',')
                    .filter(|name| !name.is_empty())
                    .map(|name| RoomName::parse(name).map(RoomName::into_owned))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| {
                        (Code::BadTag, format!("rooms is a list of rooms with commas: {error}"))
                    })?,
            ),
        };
        Ok(Entrance { quiet, since: self.cursor_tag("since")?, rooms })
    }

    fn watch(&mut self) -> Parsed<Command<'a>> {
        let mut nicks = Vec::new();
        while !self.params.is_empty() {
            nicks.push(self.nick()?);
        }
        Ok(Command::Watch { nicks, clear: self.tags.has("clear") })
    }

    fn only_messages(&self) -> Parsed<bool> {
        match self.tags.get("only").as_deref() {
            None => Ok(false),
            Some("messages") => Ok(true),
            Some(_) => Err((Code::BadTag, "only is messages, or is left out".to_owned())),
        }
    }

    /// The tag that says how many rows.
    fn limit_tag(&self) -> Parsed<Option<u64>> {
        self.tags.get("limit").map(|limit| self.count(&limit)).transpose()
    }

    fn credential(&mut self) -> Parsed<Credential<'a>> {
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "PASSWORD" => Ok(Credential::Password { name: self.nick()?, password: self.text()? }),
            "KEY" => {
                let (name, key, signature) = (self.word()?, self.word()?, self.word()?);
                Nick::parse(name).map_err(|error| bad_name(Code::BadNick, "account", error))?;
                Ok(Credential::Key { name, key, signature })
            }
            "TOKEN" => Ok(Credential::Token(self.word()?)),
            _ => Err(self.misuse(Code::BadParameter, "one logs in by PASSWORD, KEY or TOKEN")),
        }
    }

    fn key_change(&mut self) -> Parsed<KeyChange<'a>> {
        if self.params.is_empty() {
            return Ok(KeyChange::List);
        }
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "ADD" => Ok(KeyChange::Add(self.word()?, self.own_label()?)),
            "REMOVE" => Ok(KeyChange::Remove(self.own_label()?)),
            _ => Err(self.misuse(Code::BadParameter, "it is ADD or REMOVE")),
        }
    }

    fn token_change(&mut self) -> Parsed<TokenChange<'a>> {
        if self.params.is_empty() {
            return Ok(TokenChange::List);
        }
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "ADD" => {
                let tag = |name| self.tags.get(name).unwrap_or_default();
                let scope = Scope::parse(&tag("may"), &tag("rooms"), &tag("rate"))
                    .map_err(|error| (Code::BadTag, error.to_string()))?;
                Ok(TokenChange::Add { label: self.own_label()?, scope, expires: self.expires()? })
            }
            "REMOVE" => Ok(TokenChange::Remove(self.own_label()?)),
            _ => Err(self.misuse(Code::BadParameter, "it is ADD or REMOVE")),
        }
    }

    /// A word of one's own for a key or a token.
    fn own_label(&mut self) -> Parsed<&'a str> {
        let word = self.word()?;
        if is_label(word) {
            return Ok(word);
        }
        Err(self.misuse(Code::BadParameter, &format!("a label {LABEL_RULE}")))
    }

    fn expires(&self) -> Parsed<Option<Period>> {
        let Some(value) = self.tags.get("expires") else { return Ok(None) };
        value.parse().map(Some).map_err(|error| (Code::BadTag, format!("expires: {error}")))
    }

    fn period(&self, word: &str) -> Parsed<Period> {
        word.parse().map_err(|error| self.misuse(Code::BadParameter, &format!("{error}")))
    }

    fn presence(&mut self) -> Parsed<Presence> {
        match self.word()? {
            "online" => Ok(Presence::Online),
            "away" => Ok(Presence::Away),
            "busy" => Ok(Presence::Busy),
            _ => Err(self.misuse(Code::BadParameter, "one is online, away or busy")),
        }
    }

    fn reloads_clock(&mut self) -> Parsed<bool> {
        match self.params.word() {
            None => Ok(false),
            Some("clock") => Ok(true),
            Some(_) => Err(self.misuse(Code::BadParameter, "it is RELOAD alone, or RELOAD clock")),
        }
    }

    fn profile_change(&mut self) -> Parsed<ProfileChange<'a>> {
        let clear = self.tags.has("clear");
        if self.params.is_empty() && !clear {
            return Ok(ProfileChange::Ask(None));
        }
        let name = self.word()?;
        let value = self.optional_text()?;
        match (clear, value) {
            (true, Some(_)) => Err(self.misuse(Code::BadTag, "clear goes without a value")),
            (true, None) => Ok(ProfileChange::Clear(name)),
            (false, None) => Ok(ProfileChange::Ask(Some(name))),
            (false, Some(value)) => Ok(ProfileChange::Set(name, value)),
        }
    }

    /// A room, or `*` for the server.
    fn place(&mut self) -> Parsed<RoomOrServer<'a>> {
        let mut ahead = self.params;
        if ahead.word() == Some("*") {
            self.params = ahead;
            return Ok(RoomOrServer::Server);
        }
        self.room().map(RoomOrServer::Room)
    }

    fn role(&mut self) -> Parsed<Option<Option<Role>>> {
        if self.params.is_empty() {
            return Ok(None);
        }
        match self.word()? {
            "none" => Ok(Some(None)),
            word => match word.parse() {
                Ok(role) if role > Role::Guest => Ok(Some(Some(role))),
                _ => Err(self.misuse(
                    Code::BadParameter,
                    "a role is owner, moderator, member or none in a room; operator, member or bot on the server",
                )),
            },
        }
    }

    fn audit_page(&mut self) -> Parsed<AuditPage> {
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "LATEST" => Ok(AuditPage::Latest),
            "BEFORE" => self.number().map(AuditPage::Before),
            "AFTER" => self.number().map(AuditPage::After),
            "SINCE" => {
                let word = self.word()?;
                let what = "a time is 2026-11-21 or 2026-11-21T10:15:07Z";
                Timestamp::parse_moment_or_day(word)
                    .map(AuditPage::Since)
                    .ok_or_else(|| self.misuse(Code::BadParameter, what))
            }
            "FOLLOW" => Ok(AuditPage::Follow),
            "VERIFY" => Ok(AuditPage::Verify),
            _ => {
                Err(self
                    .misuse(Code::BadParameter, "the page is LATEST, BEFORE, AFTER, SINCE, FOLLOW or VERIFY"))
            }
        }
    }

    fn bot_order(&mut self) -> Parsed<BotOrder<'a>> {
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "LIST" => Ok(BotOrder::List),
            "ENABLE" => self.word().map(BotOrder::Enable),
            "DISABLE" => self.word().map(BotOrder::Disable),
            "RESTART" => self.word().map(BotOrder::Restart),
            "LOGS" => self.word().map(BotOrder::Logs),
            _ => Err(self.misuse(Code::BadParameter, "it is one of LIST, ENABLE, DISABLE, RESTART and LOGS")),
        }
    }

    fn number(&mut self) -> Parsed<u64> {
        let word = self.word()?;
        let number = word.parse().ok().filter(|number| *number <= Cursor::LARGEST);
        number.ok_or_else(|| self.misuse(Code::BadParameter, "an id is a number"))
    }

    /// A value that is the rest of the line.
    fn required_text(&mut self) -> Parsed<Cow<'a, str>> {
        match self.optional_text() {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(self.misuse(Code::MissingParameter, "a value is missing")),
            Err(error) => Err(error),
        }
    }

    fn misuse(&self, code: Code, what: &str) -> (Code, String) {
        (code, format!("{what}; usage: {}", self.verb.spec().usage()))
    }

    fn word(&mut self) -> Parsed<&'a str> {
        match self.params.word() {
            Some("") if !self.params.is_empty() => {
                Err(self.misuse(Code::SurplusParameter, "two spaces stand together"))
            }
            Some("") | None => Err(self.misuse(Code::MissingParameter, "a parameter is missing")),
            Some(word) => Ok(word),
        }
    }

    fn nick(&mut self) -> Parsed<Nick<'a>> {
        let word = self.word()?;
        Nick::parse(word).map_err(|error| bad_name(Code::BadNick, "nick", error))
    }

    fn room(&mut self) -> Parsed<RoomName<'a>> {
        let word = self.word()?;
        RoomName::parse(word).map_err(|error| bad_name(Code::BadRoom, "room's name", error))
    }

    fn target(&mut self) -> Parsed<Target<'a>> {
        let word = self.word()?;
        let target = Target::parse(word).map_err(|error| match word.starts_with('#') {
            true => bad_name(Code::BadRoom, "room's name", error),
            false => bad_name(Code::BadNick, "nick", error),
        })?;
        Ok(target.with_who(self.who()?))
    }

    /// The tag that says who is meant, whatever the name.
    fn who(&self) -> Parsed<Option<PersonId>> {
        let Some(value) = self.tags.get("who") else { return Ok(None) };
        value.parse().map(Some).map_err(|error| (Code::BadTag, format!("who: {error}")))
    }

    /// A room or nick, or `*` for everything.
    fn target_or_all(&mut self) -> Parsed<Option<Target<'a>>> {
        let mut ahead = self.params;
        if ahead.word() == Some("*") {
            self.params = ahead;
            return Ok(None);
        }
        self.target().map(Some)
    }

    fn cursor(&mut self) -> Parsed<Cursor> {
        let word = self.word()?;
        word.parse().map_err(|error| self.misuse(Code::BadParameter, &format!("{error}")))
    }

    fn cursor_tag(&self, name: &str) -> Parsed<Option<Cursor>> {
        let Some(value) = self.tags.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|error| (Code::BadTag, format!("{name}: {error}")))
    }

    /// How many rows, if that is said.
    fn limit(&mut self) -> Parsed<Option<u64>> {
        if self.params.is_empty() {
            return Ok(None);
        }
        let word = self.word()?;
        self.count(word).map(Some)
    }

    fn count(&self, word: &str) -> Parsed<u64> {
        let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        if !is_number || word.bytes().all(|b| b == b'0') {
            return Err(self.misuse(Code::BadParameter, "a limit is a number from 1"));
        }
        // What is too large for a number is over every limit.
        Ok(word.parse().unwrap_or(u64::MAX))
    }

    fn page(&mut self) -> Parsed<Page> {
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "LATEST" => return Ok(Page::Latest),
            "BEFORE" => {
                let mut ahead = self.params;
                if let Some(time) = ahead.word().and_then(Timestamp::parse_moment_or_day) {
                    self.params = ahead;
                    return Ok(Page::Until(time));
                }
                return self.cursor().map(Page::Before);
            }
            "AFTER" => return self.cursor().map(Page::After),
            "AROUND" => return self.cursor().map(Page::Around),
            "SINCE" => {}
            _ => {
                let what = "the page is LATEST, BEFORE, AFTER, AROUND or SINCE";
                return Err(self.misuse(Code::BadParameter, what));
            }
        }
        let word = self.word()?;
        let what = "a time is 2026-11-21 or 2026-11-21T10:15:07Z";
        Timestamp::parse_moment_or_day(word)
            .map(Page::Since)
            .ok_or_else(|| self.misuse(Code::BadParameter, what))
    }

    /// An emoji or a short word: what a list of reactions can hold.
    fn reaction(&mut self) -> Parsed<&'a str> {
        let word = self.word()?;
        let is_plain = |c: char| !c.is_whitespace() && !matches!(c, ',' | ';' | '=' | '\\');
        if word.len() > limits::REACTION || !word.chars().all(is_plain) {
            let what = "a reaction is an emoji or a word of at most 64 bytes, without , ; = and backslash";
            return Err(self.misuse(Code::BadParameter, what));
        }
        Ok(word)
    }

    fn switch(&mut self) -> Parsed<Switch> {
        match self.word()? {
            "on" => Ok(Switch::On),
            "off" => Ok(Switch::Off),
            _ => Err(self.misuse(Code::BadParameter, "it is on or off")),
        }
    }

    fn label(&mut self) -> Parsed<Option<&'a str>> {
        if self.params.is_empty() {
            return Ok(None);
        }
        let label = self.word()?;
        if label.len() > limits::LABEL {
            return Err(
                self.misuse(Code::BadParameter, &format!("a label takes at most {} bytes", limits::LABEL))
            );
        }
        Ok(Some(label))
    }

    fn help_verb(&mut self) -> Parsed<Option<Verb>> {
        if self.params.is_empty() {
            return Ok(None);
        }
        let word = self.word()?;
        match Verb::find(word) {
            Some(verb) => Ok(Some(verb)),
            None => Err(self.misuse(Code::BadParameter, "there is no such verb; HELP alone lists them")),
        }
    }

    fn text(&mut self) -> Parsed<Cow<'a, str>> {
        self.optional_text()?.ok_or_else(|| self.misuse(Code::NoText, "there is no text"))
    }

    /// The rest of the line. An empty text is an error even where a text may be left out.
    fn optional_text(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        let Some(text) = self.params.rest() else { return Ok(None) };
        while self.params.word().is_some() {}
        if text.is_empty() {
            return Err(self.misuse(Code::NoText, "there is no text"));
        }
        if text.len() > limits::TEXT {
            let what = format!("the text has {} bytes, the limit is {}", text.len(), limits::TEXT);
            return Err((Code::TooLong, format!("{what}; send it in parts")));
        }
        Ok(Some(unescape_text(text)))
    }

    fn topic_change(&mut self) -> Parsed<TopicChange<'a>> {
        let text = self.optional_text()?;
        match (self.tags.has("clear"), text) {
            (true, Some(_)) => Err(self.misuse(Code::BadTag, "clear goes without a text")),
            (true, None) => Ok(TopicChange::Clear),
            (false, None) => Ok(TopicChange::Ask),
            (false, Some(text)) => Ok(TopicChange::Set(text)),
        }
    }

    fn key(&self) -> Parsed<Option<Cow<'a, str>>> {
        self.word_tag("key")
    }

    /// A tag with a word of one's own.
    fn word_tag(&self, name: &str) -> Parsed<Option<Cow<'a, str>>> {
        let Some(key) = self.tags.get(name) else { return Ok(None) };
        if !is_label(&key) {
            return Err((Code::BadTag, format!("{name} {LABEL_RULE}")));
        }
        Ok(Some(key))
    }

    /// The tags that are for clients, as written: these, and all that begin with `+`.
    fn relayed(&self, names: &[&str]) -> Cow<'a, str> {
        let mut relayed = TagBuilder::default();
        for (name, value) in self.tags.iter() {
            if names.contains(&name) || name.starts_with('+') {
                match value {
                    None => relayed.flag(name, true),
                    Some(value) => relayed.raw(&format!("{name}={value}")),
                }
            }
        }
        Cow::Owned(relayed.into_string())
    }

    fn message_tags(&self) -> Parsed<MessageTags<'a>> {
        let relayed = self.relayed(&["title", "priority", "label"]);
        Ok(MessageTags {
            key: self.key()?,
            re: self.cursor_tag("re")?,
            replace: self.word_tag("replace")?,
            verbatim: self.tags.has("verbatim"),
            relayed,
        })
    }
}

const LABEL_RULE: &str = "is 1 to 64 of A-Z, a-z, 0-9, . _ and -";

/// Whether a word of one's own has the form that keys and labels have.
fn is_label(word: &str) -> bool {
    (1..=limits::LABEL).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn bad_name(code: Code, what: &str, error: NameError) -> (Code, String) {
    (code, format!("this is no {what}: {error}"))
}

impl Entrance {
    fn write(&self, tags: &mut TagBuilder) {
        tags.flag("quiet", self.quiet);
        tags.display("since", self.since);
        let names =
            |rooms: &Vec<RoomName<'_>>| rooms.iter().map(RoomName::as_str).collect::<Vec<_>>().join(",");
        tags.value("rooms", self.rooms.as_ref().map(names).as_deref());
    }
}

impl MessageTags<'_> {
    fn write(&self, tags: &mut TagBuilder) {
        tags.value("key", self.key.as_deref());
        tags.display("re", self.re);
        tags.value("replace", self.replace.as_deref());
        tags.flag("verbatim", self.verbatim);
        tags.raw(&self.relayed);
    }

    /// The same tags, owning their characters.
    pub fn into_owned(self) -> MessageTags<'static> {
        MessageTags {
            key: self.key.map(|key| Cow::Owned(key.into_owned())),
            re: self.re,
            replace: self.replace.map(|word| Cow::Owned(word.into_owned())),
            verbatim: self.verbatim,
            relayed: Cow::Owned(self.relayed.into_owned()),
        }
    }
}

impl Command<'_> {
    /// Its verb.
    pub fn verb(&self) -> Verb {
        match self {
            Command::Hello => Verb::Hello,
            Command::Nick { .. } => Verb::Nick,
            Command::Quit { .. } => Verb::Quit,
            Command::Ping { .. } => Verb::Ping,
            Command::Pong { .. } => Verb::Pong,
            Command::Help { .. } => Verb::Help,
            Command::Info => Verb::Info,
            Command::Msg { .. } => Verb::Msg,
            Command::Priv { .. } => Verb::Priv,
            Command::Typing { .. } => Verb::Typing,
            Command::Join { .. } => Verb::Join,
            Command::Leave { .. } => Verb::Leave,
            Command::Rooms => Verb::Rooms,
            Command::Who { .. } => Verb::Who,
            Command::Watch { .. } => Verb::Watch,
            Command::Topic { .. } => Verb::Topic,
            Command::Set { .. } => Verb::Set,
            Command::Edit { .. } => Verb::Edit,
            Command::Delete { .. } => Verb::Delete,
            Command::React { .. } | Command::Reactions { .. } => Verb::React,
            Command::Unreact { .. } => Verb::Unreact,
            Command::History { .. } => Verb::History,
            Command::Search { .. } => Verb::Search,
            Command::Sync { .. } => Verb::Sync,
            Command::Ack { .. } => Verb::Ack,
            Command::Read { .. } => Verb::Read,
            Command::Inbox { .. } => Verb::Inbox,
            Command::Register { .. } => Verb::Register,
            Command::Auth { .. } => Verb::Auth,
            Command::Password { .. } => Verb::Password,
            Command::Unregister { .. } => Verb::Unregister,
            Command::Key { .. } => Verb::Key,
            Command::Token { .. } => Verb::Token,
            Command::Invite { .. } => Verb::Invite,
            Command::Status { .. } => Verb::Status,
            Command::Profile { .. } => Verb::Profile,
            Command::Close { .. } => Verb::Close,
            Command::Kick { .. } => Verb::Kick,
            Command::Ban { .. } => Verb::Ban,
            Command::Unban { .. } => Verb::Unban,
            Command::Mute { .. } => Verb::Mute,
            Command::Role { .. } => Verb::Role,
            Command::Stats => Verb::Stats,
            Command::Sessions => Verb::Sessions,
            Command::Accounts => Verb::Accounts,
            Command::Announce { .. } => Verb::Announce,
            Command::Audit { .. } => Verb::Audit,
            Command::Reload { .. } => Verb::Reload,
            Command::Shutdown { .. } => Verb::Shutdown,
            Command::Backup { .. } => Verb::Backup,
            Command::File(_) => Verb::File,
            Command::Commands { .. } => Verb::Commands,
            Command::Bot { .. } => Verb::Bot,
        }
    }

    /// Writes the command behind the tags gathered so far.
    fn write(&self, mut tags: TagBuilder, out: &mut Vec<u8>) {
        let words = self.words(&mut tags);
        Line::write_head(tags.tags(), None, out);
        out.extend_from_slice(self.verb().word().as_bytes());
        for word in words {
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
        }
        out.push(b'\n');
    }

    /// What stands behind the verb, the text last; adds the command's own tags.
    fn words(&self, tags: &mut TagBuilder) -> Vec<Cow<'_, str>> {
        fn words<'a>(fixed: &[&'a str], text: Option<&'a str>) -> Vec<Cow<'a, str>> {
            fixed.iter().map(|word| Cow::Borrowed(*word)).chain(text.map(escape_text)).collect()
        }
        let about = |target: &Target<'_>, id: &Cursor| {
            vec![Cow::Owned(target.as_str().to_owned()), Cow::Owned(id.to_string())]
        };
        let number = |limit: &Option<u64>| limit.map(|limit| Cow::Owned(limit.to_string()));
        tags.display("who", self.target().and_then(Target::who));
        match self {
            Command::Hello
            | Command::Info
            | Command::Rooms
            | Command::Stats
            | Command::Sessions
            | Command::Accounts
            | Command::Reload { clock: false } => Vec::new(),
            Command::Reload { clock: true } => words(&["clock"], None),
            Command::Register { name, password, invite, key, entrance } => {
                tags.value("invite", invite.as_deref());
                tags.value("key", key.as_ref().map(|(key, _)| &**key));
                tags.value("label", key.as_ref().map(|(_, label)| &**label));
                entrance.write(tags);
                words(&[name.as_str()], password.as_deref())
            }
            Command::Auth { credential, entrance } => {
                entrance.write(tags);
                match credential {
                    Credential::Password { name, password } => {
                        words(&["PASSWORD", name.as_str()], Some(password))
                    }
                    Credential::Key { name, key, signature } => words(&["KEY", name, key, signature], None),
                    Credential::Token(token) => words(&["TOKEN", token], None),
                }
            }
            Command::Password { new, old, account } => {
                tags.value("old", old.as_deref());
                tags.value("account", account.as_ref().map(Nick::as_str));
                words(&[], Some(new))
            }
            Command::Unregister { name } => words(&[name.as_str()], None),
            Command::Key { change } => match change {
                KeyChange::List => Vec::new(),
                KeyChange::Add(key, label) => words(&["ADD", key, label], None),
                KeyChange::Remove(label) => words(&["REMOVE", label], None),
            },
            Command::Token { change } => match change {
                TokenChange::List => Vec::new(),
                TokenChange::Add { label, scope, expires } => {
                    tags.value("may", Some(&scope.may()));
                    tags.value("rooms", Some(&*scope.rooms()).filter(|rooms| !rooms.is_empty()));
                    tags.display("rate", scope.rate());
                    tags.display("expires", *expires);
                    words(&["ADD", label], None)
                }
                TokenChange::Remove(label) => words(&["REMOVE", label], None),
            },
            Command::Invite { to, expires } => {
                tags.display("expires", *expires);
                to.iter().flat_map(|(room, nick)| words(&[room.as_str(), nick.as_str()], None)).collect()
            }
            Command::Status { presence, text } => words(&[presence.word()], text.as_deref()),
            Command::Profile { nick, change } => match change {
                ProfileChange::Ask(None) => words(&[nick.as_str()], None),
                ProfileChange::Ask(Some(name)) => words(&[nick.as_str(), name], None),
                ProfileChange::Clear(name) => {
                    tags.flag("clear", true);
                    words(&[nick.as_str(), name], None)
                }
                ProfileChange::Set(name, value) => words(&[nick.as_str(), name], Some(value)),
            },
            Command::Close { place, reason } => words(&[place.as_str()], reason.as_deref()),
            Command::Kick { place, nick, reason } => {
                words(&[place.as_str(), nick.as_str()], reason.as_deref())
            }
            Command::Ban { place, whom, reason, expires } => {
                tags.display("expires", *expires);
                let mut words = words(&[place.as_str()], None);
                words.extend(whom.map(Cow::Borrowed));
                // A reason for nobody would be somebody.
                words.extend(reason.as_deref().filter(|_| whom.is_some()).map(escape_text));
                words
            }
            Command::Unban { place, whom } => words(&[place.as_str(), whom], None),
            Command::Mute { place, nick, time, reason } => {
                let mut words = words(&[place.as_str(), nick.as_str()], None);
                words.push(time.map_or(Cow::Borrowed("off"), |time| Cow::Owned(time.to_string())));
                words.extend(reason.as_deref().map(escape_text));
                words
            }
            Command::Role { place, nick, role } => {
                let mut words = words(&[place.as_str()], None);
                words.extend(nick.as_ref().map(|nick| Cow::Borrowed(nick.as_str())));
                words.extend(role.map(|role| Cow::Borrowed(role.map_or("none", Role::word))));
                words
            }
            Command::Announce { text } => words(&[], Some(text)),
            Command::Audit { page, limit, user, event } => {
                tags.value("user", user.as_deref());
                tags.value("event", event.as_deref());
                let (name, place) = match page {
                    AuditPage::Latest => ("LATEST", None),
                    AuditPage::Before(id) => ("BEFORE", Some(id.to_string())),
                    AuditPage::After(id) => ("AFTER", Some(id.to_string())),
                    AuditPage::Since(time) => ("SINCE", Some(time.to_string())),
                    AuditPage::Follow => ("FOLLOW", None),
                    AuditPage::Verify => ("VERIFY", None),
                };
                let words = words(&[name], None).into_iter();
                words.chain(place.map(Cow::Owned)).chain(number(limit)).collect()
            }
            Command::Shutdown { at, reason } => {
                let at = match at {
                    ShutdownAt::Now => Cow::Borrowed("NOW"),
                    ShutdownAt::Cancel => Cow::Borrowed("CANCEL"),
                    ShutdownAt::In(period) => Cow::Owned(period.to_string()),
                };
                std::iter::once(at).chain(reason.as_deref().map(escape_text)).collect()
            }
            Command::Nick { nick, token, entrance } => {
                tags.value("token", token.as_deref());
                entrance.write(tags);
                words(&[nick.as_str()], None)
            }
            Command::Quit { text } => words(&[], text.as_deref()),
            Command::Ping { label } | Command::Pong { label } => {
                label.iter().map(|&word| word.into()).collect()
            }
            Command::Help { verb } => verb.iter().map(|verb| verb.word().into()).collect(),
            Command::Msg { room, text, tags: message } => {
                message.write(tags);
                words(&[room.as_str()], Some(text))
            }
            Command::Priv { nick, who, text, tags: message } => {
                tags.display("who", *who);
                message.write(tags);
                words(&[nick.as_str()], Some(text))
            }
            Command::Typing { target, switch } => words(&[target.as_str(), switch.word()], None),
            Command::Join { room } => words(&[room.as_str()], None),
            Command::Leave { room, text } => words(&[room.as_str()], text.as_deref()),
            Command::Watch { nicks, clear } => {
                tags.flag("clear", *clear);
                nicks.iter().map(|nick| nick.as_str().into()).collect()
            }
            Command::Inbox { before, limit } => {
                tags.display("before", *before);
                tags.display("limit", *limit);
                Vec::new()
            }
            Command::Who { of } => of.iter().map(|of| of.as_str().into()).collect(),
            Command::Topic { room, change, key } => {
                tags.value("key", key.as_deref());
                tags.flag("clear", *change == TopicChange::Clear);
                let text = if let TopicChange::Set(text) = change { Some(&**text) } else { None };
                words(&[room.as_str()], text)
            }
            Command::Set { room, change: None } => words(&[room.as_str()], None),
            Command::Set { room, change: Some((name, value)) } => words(&[room.as_str(), name], Some(value)),
            Command::Edit { target, id, text, key } => {
                tags.value("key", key.as_deref());
                let mut words = about(target, id);
                words.push(escape_text(text));
                words
            }
            Command::Delete { target, id } | Command::Reactions { target, id } => about(target, id),
            Command::React { target, id, reaction } | Command::Unreact { target, id, reaction } => {
                let mut words = about(target, id);
                words.push((*reaction).into());
                words
            }
            Command::History { target, page, limit, only_messages } => {
                tags.value("only", only_messages.then_some("messages"));
                let (name, place) = match page {
                    Page::Latest => ("LATEST", None),
                    Page::Before(cursor) => ("BEFORE", Some(cursor.to_string())),
                    Page::Until(time) => ("BEFORE", Some(time.to_string())),
                    Page::After(cursor) => ("AFTER", Some(cursor.to_string())),
                    Page::Around(cursor) => ("AROUND", Some(cursor.to_string())),
                    Page::Since(time) => ("SINCE", Some(time.to_string())),
                };
                let words = words(&[target.as_str(), name], None).into_iter();
                words.chain(place.map(Cow::Owned)).chain(number(limit)).collect()
            }
            Command::Search { target, query, before, limit } => {
                tags.display("before", *before);
                tags.display("limit", *limit);
                words(&[target.as_ref().map_or("*", Target::as_str)], Some(query))
            }
            Command::Sync { cursor, limit } => {
                std::iter::once(Cow::Owned(cursor.to_string())).chain(number(limit)).collect()
            }
            Command::Ack { cursor } => vec![Cow::Owned(cursor.to_string())],
            Command::Read { target, id, receipt } => {
                tags.flag("receipt", *receipt);
                about(target, id)
            }
            Command::Backup { path } => words(&[], Some(path)),
            Command::File(file) => file.words(tags),
            Command::Commands { room } => room.iter().map(|room| room.as_str().into()).collect(),
            Command::Bot { order } => match order {
                BotOrder::List => words(&["LIST"], None),
                BotOrder::Enable(name) => words(&["ENABLE", name], None),
                BotOrder::Disable(name) => words(&["DISABLE", name], None),
                BotOrder::Restart(name) => words(&["RESTART", name], None),
                BotOrder::Logs(name) => words(&["LOGS", name], None),
            },
        }
    }
}

/// How many bytes follow a line, by its tag `bytes`; `None` if it announces none.
///
/// # Errors
/// [`Code::TooLarge`] if the count cannot be known or is over [`limits::BYTES`]: the connection has to end, because
/// what follows could not be told from lines.
pub fn announced_bytes(tags: Tags<'_>) -> Result<Option<u64>, Code> {
    let Some(count) = tags.get("bytes") else { return Ok(None) };
    let count = count.parse().ok().filter(|&count| count <= limits::BYTES);
    count.map(Some).ok_or(Code::TooLarge)
}

#[cfg(test)]
mod tests;
