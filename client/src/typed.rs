//! What a line of the server says, taken apart and owned.

use snug_protocol::{
    Body, ContentHash, Cursor, EntryKind, FileState, Period, PersonId, Presence, Role, ServerLine, Timestamp,
    unescape_tag,
};

use crate::event::Received;

/// What the server says in a line that is no answer, or in a row of one. From [`Received::typed`].
///
/// ```
/// use snug_client::{Kind, Typed};
///
/// /// Returns a line for a person who looks on.
/// fn shown(typed: &Typed) -> Option<String> {
///     match typed {
///         Typed::Entry(entry) => match &entry.kind {
///             Kind::Message { text: Some(text) } => Some(format!("{}: {text}", entry.from.nick)),
///             Kind::Kick { whom, reason } => Some(format!("{whom} was put out: {reason:?}")),
///             _ => None,
///         },
///         Typed::Joined { room, who } => Some(format!("{} came into {room}", who.nick)),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Typed {
    /// An entry of the log.
    Entry(Box<Entry>),
    /// Entries are not kept any more, from the first id to the last.
    Gap {
        /// The room or person, or `*` for the whole log.
        target: String,
        /// The first id, or a cursor of another log.
        from: String,
        /// The last id, or the cursor after which events go on.
        to: String,
    },
    /// Somebody came into a room.
    Joined {
        /// The room.
        room: String,
        /// Who, with all that WHO says of them but the presence.
        who: Box<Profile>,
    },
    /// Somebody left a room.
    Left {
        /// The room.
        room: String,
        /// Who.
        nick: String,
        /// A parting word.
        text: Option<String>,
    },
    /// A room was ended with all that was said in it.
    Closed {
        /// The room.
        room: String,
        /// By whom.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody is not here any more.
    Quit {
        /// Who.
        nick: String,
        /// A parting word.
        text: Option<String>,
    },
    /// Somebody has another name.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
    },
    /// How somebody is here: an event, or a row of WHO or WATCH. Of who has come, and in rows, with all that WHO says.
    Present {
        /// Who.
        who: Box<Profile>,
        /// How; `None` if they are not here.
        presence: Option<Presence>,
        /// What they say about it.
        text: Option<String>,
    },
    /// A part of somebody's profile: a change, or a row.
    ProfilePart {
        /// Whose.
        nick: String,
        /// Which: `display`, `colour` or `avatar`.
        name: String,
        /// Its value; `None` if it was taken away.
        value: Option<String>,
        /// The hash of the avatar, where it is one.
        avatar: Option<String>,
    },
    /// Somebody writes, or has stopped. It holds for 6 seconds.
    Typing {
        /// The room; `None` if it is a private conversation with them.
        room: Option<String>,
        /// Who.
        nick: String,
        /// Whether they write.
        on: bool,
    },
    /// Somebody has read a conversation up to an entry: another session of one's own, or the other one of a private
    /// conversation.
    Read {
        /// Who has read.
        nick: String,
        /// Where.
        place: Place,
        /// Up to where.
        id: u64,
    },
    /// One's private messages to somebody have arrived, up to an entry.
    Delivered {
        /// To whom.
        to: Person,
        /// Up to where.
        id: u64,
    },
    /// Somebody has said something about a file of one's own.
    FileTaken {
        /// Who.
        nick: String,
        /// The file's entry.
        id: u64,
        /// What.
        state: FileState,
    },
    /// An operator tells everybody something.
    Announced {
        /// Who.
        by: String,
        /// What.
        text: String,
    },
    /// The server stops in so many seconds; `None` if it does not.
    Shutdown {
        /// In how many seconds.
        seconds: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// A row of INBOX.
    Conversation(Box<Conversation>),
    /// A row of INBOX: an invitation to a private room that was not followed yet.
    Invitation {
        /// The room.
        room: String,
        /// By whom.
        by: String,
        /// When.
        time: Option<Timestamp>,
    },
    /// The server announces the end of the connection, or could not read a line.
    Error {
        /// The word of the code.
        code: String,
        /// What is wrong.
        text: String,
    },
    /// Something that this library does not know, or that is a row of another answer: the line as it was sent.
    Unknown(String),
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, with the name of its log.
    pub place: Cursor,
    /// When it was made.
    pub time: Option<Timestamp>,
    /// Its author; of a private entry of somebody else's with the id.
    pub from: Person,
    /// Whether one has said it oneself: known of private entries.
    pub own: bool,
    /// The conversation that it belongs to.
    pub conversation: Place,
    /// What it says.
    pub kind: Kind,
    /// Whether its author is a bot.
    pub bot: bool,
    /// Whether its author has an account.
    pub account: bool,
    /// The entry that it answers.
    pub re: Option<u64>,
    /// The last entry that gave it another text.
    pub edited: Option<u64>,
    /// The entry that took it away.
    pub deleted: Option<u64>,
    /// Reactions and how many there are of each.
    pub reactions: Vec<(String, u64)>,
    /// One's own reactions.
    pub mine: Vec<String>,
    /// The key under which one has said it.
    pub key: Option<String>,
    /// The other tags: `title`, `priority`, `label`, and what begins with `+`.
    pub tags: Vec<(String, Option<String>)>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A message to a room or a person; without a text if it was deleted.
    Message {
        /// The text.
        text: Option<String>,
    },
    /// The room's topic; without a text it is cleared.
    Topic {
        /// The text.
        text: Option<String>,
    },
    /// Another entry has this text now.
    Edit {
        /// Which.
        about: u64,
        /// The text; `None` if another edit or a deletion came later.
        text: Option<String>,
    },
    /// Another entry was taken away.
    Delete {
        /// Which.
        about: u64,
    },
    /// A reaction.
    React {
        /// To which entry.
        about: u64,
        /// The reaction.
        reaction: String,
    },
    /// A reaction was taken back.
    Unreact {
        /// Of which entry.
        about: u64,
        /// The reaction.
        reaction: String,
    },
    /// A file; without a name if it was deleted.
    File {
        /// Its name. It is not a path, and whoever saves a file looks at it again.
        name: Option<String>,
        /// Its size in bytes.
        size: u64,
        /// Its SHA-256.
        hash: Option<ContentHash>,
        /// What its sender takes it to be.
        media_type: Option<String>,
        /// What its sender says about it.
        caption: Option<String>,
    },
    /// Somebody was invited.
    Invite {
        /// Who.
        whom: String,
    },
    /// Somebody was put out.
    Kick {
        /// Who.
        whom: String,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody is kept out.
    Ban {
        /// A nick.
        whom: String,
        /// Why.
        reason: Option<String>,
        /// Whether they were put out by it.
        out: bool,
    },
    /// Somebody is not kept out any more.
    Unban {
        /// As BAN has listed it.
        whom: String,
    },
    /// Somebody may not speak for a while.
    Mute {
        /// Who.
        whom: String,
        /// For how long; `None` if they may speak again.
        time: Option<Period>,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody is something else in the room.
    Role {
        /// Who.
        whom: String,
        /// What; `None` if nothing.
        role: Option<Role>,
        /// What they were before, if the server says it.
        was: Option<Option<Role>>,
    },
    /// A setting of the room has changed.
    Set {
        /// Which.
        name: String,
        /// Its value.
        value: String,
    },
    /// A kind that this library does not know: it is handed on, and to be kept, as the line that it came in.
    Unknown {
        /// Its verb.
        verb: String,
        /// The whole line, without its end.
        line: String,
    },
}

/// Somebody, as far as a line says who.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Person {
    /// The nick of then.
    pub nick: String,
    /// The id, which holds while names change.
    pub who: Option<PersonId>,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A room, by its name as it is shown.
    Room(String),
    /// Private messages, by the other one.
    Person(Person),
}

/// Somebody, with what WHO and JOIN say of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The nick.
    pub nick: String,
    /// The id.
    pub who: Option<PersonId>,
    /// Whether it is a bot.
    pub bot: bool,
    /// Whether they have an account.
    pub account: bool,
    /// Whether they are an operator.
    pub operator: bool,
    /// A name to show.
    pub display: Option<String>,
    /// A colour, `#rrggbb`.
    pub colour: Option<String>,
    /// The hash of the avatar.
    pub avatar: Option<String>,
    /// The role in the room that was asked about.
    pub role: Option<Role>,
    /// The rooms that they are in, where one person was asked about.
    pub rooms: Vec<String>,
}

/// A conversation in one's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub place: Place,
    /// The newest entry; 0 if there is none.
    pub last: u64,
    /// Messages of others behind one's marker.
    pub unread: u64,
    /// How many of those mention or answer one.
    pub mentions: u64,
    /// One's marker; 0 if there is none.
    pub read: u64,
    /// Up to where one's own private messages have arrived; 0 if not known.
    pub delivered: u64,
    /// Up to where they were read, if the other one tells; 0 if not known.
    pub seen: u64,
    /// How what is said is protected: `readable` by the server, or a word of a newer server.
    pub protection: String,
}

impl Place {
    /// What it is called: the room's name, or the other one's.
    pub fn name(&self) -> &str {
        match self {
            Place::Room(name) => name,
            Place::Person(person) => &person.nick,
        }
    }
}

impl Conversation {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.place.name()
    }
}

impl Received {
    /// Takes the line apart. Whatever it is, nothing of it is lost: what is not known is there as it was sent.
    pub fn typed(&self) -> Typed {
        let line = self.line();
        typed(&line, self).unwrap_or_else(|| Typed::Unknown(self.as_str().to_owned()))
    }
}

fn typed(line: &ServerLine<'_>, received: &Received) -> Option<Typed> {
    let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let from = || line.from.map(str::to_owned);
    Some(match &line.body {
        Body::Entry { kind, target, about, text } => {
            let kind = kind_of(*kind, *about, text.as_deref(), line)?;
            Typed::Entry(Box::new(entry(line, received, target, kind)?))
        }
        Body::Unknown { verb, rest } if line.from.is_some() && line.id().is_some() => {
            let target = rest.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            let kind = Kind::Unknown { verb: (*verb).to_owned(), line: received.as_str().to_owned() };
            Typed::Entry(Box::new(entry(line, received, target, kind)?))
        }
        Body::Gap { target, from, to } => {
            Typed::Gap { target: (*target).to_owned(), from: (*from).to_owned(), to: (*to).to_owned() }
        }
        Body::Join { room } => {
            Typed::Joined { room: (*room).to_owned(), who: Box::new(profile(line, line.from?)) }
        }
        Body::Leave { room, text } => {
            Typed::Left { room: (*room).to_owned(), nick: from()?, text: owned(text) }
        }
        Body::Close { room, text } => {
            Typed::Closed { room: (*room).to_owned(), by: from()?, reason: owned(text) }
        }
        Body::Quit { text } => Typed::Quit { nick: from()?, text: owned(text) },
        Body::Nick { nick } => Typed::Renamed { from: from()?, to: (*nick).to_owned() },
        Body::Status { status, text } => Typed::Present {
            who: Box::new(profile(line, line.from?)),
            presence: Some(presence(status)?),
            text: owned(text),
        },
        Body::User { nick, status, .. } => Typed::Present {
            who: Box::new(profile(line, nick)),
            presence: if *status == "offline" { None } else { Some(presence(status)?) },
            text: tag(line, "text"),
        },
        Body::Profile { nick, item } => {
            let (name, value) = item.split_once('=')?;
            Typed::ProfilePart {
                nick: (*nick).to_owned(),
                name: name.to_owned(),
                value: Some(value.to_owned()).filter(|value| !value.is_empty()),
                avatar: tag(line, "avatar"),
            }
        }
        Body::Typing { target, switch } => Typed::Typing {
            room: target.starts_with('#').then(|| (*target).to_owned()),
            nick: from()?,
            on: *switch == "on",
        },
        Body::Read { target, id } => {
            let is_receipt = line.tags.has("who") && !line.tags.has("own");
            // Somebody else's line has one's own nick as the target.
            let other = if is_receipt { line.from? } else { target };
            Typed::Read { nick: from()?, place: place(line, other), id: id.parse().ok()? }
        }
        Body::Delivered { id, .. } => Typed::Delivered { to: person(line, line.from?), id: id.parse().ok()? },
        Body::FileTaken { what, id, .. } => {
            Typed::FileTaken { nick: from()?, id: id.parse().ok()?, state: *what }
        }
        Body::Announce { text } => Typed::Announced { by: from()?, text: text.clone().into_owned() },
        Body::Shutdown { seconds, text } => {
            Typed::Shutdown { seconds: seconds.parse().ok(), reason: owned(text) }
        }
        Body::Conversation { target, last, unread, mentions } => {
            let known = |name| tag(line, name).and_then(|id| id.parse().ok()).unwrap_or(0);
            Typed::Conversation(Box::new(Conversation {
                place: place(line, target),
                last: last.parse().ok()?,
                unread: unread.parse().ok()?,
                mentions: mentions.parse().ok()?,
                read: known("read"),
                delivered: known("delivered"),
                seen: known("seen"),
                protection: tag(line, "protection").unwrap_or_else(|| "readable".to_owned()),
            }))
        }
        Body::Invitation { room, nick, time } => {
            Typed::Invitation { room: (*room).to_owned(), by: (*nick).to_owned(), time: time.parse().ok() }
        }
        Body::Err { code, text, .. } => Typed::Error { code: (*code).to_owned(), text: (*text).to_owned() },
        _ => return None,
    })
}

fn entry(line: &ServerLine<'_>, received: &Received, target: &str, kind: Kind) -> Option<Entry> {
    let from = line.from?;
    let number = |name| tag(line, name).and_then(|id| id.parse().ok());
    let conversation = place(line, target);
    // Of a private entry the tag says who the other one is: its author, unless it is one's own.
    let is_theirs = line.tags.has("who") && !line.tags.has("own");
    let other = Person { nick: if is_theirs { from } else { target }.to_owned(), who: id_of(line) };
    let conversation = match conversation {
        Place::Person(_) => Place::Person(other),
        room => room,
    };
    let from = Person { nick: from.to_owned(), who: id_of(line).filter(|_| is_theirs) };
    let list = |name| tag(line, name).unwrap_or_default();
    let reactions = list("reactions");
    let reactions = reactions.split(',').filter_map(|part| part.rsplit_once('='));
    let is_other = |name: &str| matches!(name, "title" | "priority" | "label") || name.starts_with('+');
    let tags = line.tags.iter().filter(|(name, _)| is_other(name));
    Some(Entry {
        place: received.cursor()?,
        time: line.time(),
        from,
        own: line.tags.has("own"),
        conversation,
        kind,
        bot: line.tags.has("bot"),
        account: line.tags.has("account"),
        re: number("re"),
        edited: number("edited"),
        deleted: number("deleted"),
        reactions: reactions
            .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
            .collect(),
        mine: list("mine").split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        key: tag(line, "key"),
        tags: tags
            .map(|(name, value)| (name.to_owned(), value.map(|value| unescape_tag(value).into_owned())))
            .collect(),
    })
}

fn kind_of(kind: EntryKind, about: Option<u64>, text: Option<&str>, line: &ServerLine<'_>) -> Option<Kind> {
    let said = text.map(str::to_owned);
    let (whom, rest) = text.map_or(("", None), |text| match text.split_once(' ') {
        Some((whom, rest)) => (whom, Some(rest)),
        None => (text, None),
    });
    let (whom, reason) = (whom.to_owned(), rest.map(str::to_owned));
    let role = |word: &str| if word == "none" { Some(None) } else { word.parse().ok().map(Some) };
    Some(match kind {
        EntryKind::Msg | EntryKind::Priv => Kind::Message { text: said },
        EntryKind::Topic => Kind::Topic { text: said },
        EntryKind::Edit => Kind::Edit { about: about?, text: said },
        EntryKind::Delete => Kind::Delete { about: about? },
        EntryKind::React => Kind::React { about: about?, reaction: said? },
        EntryKind::Unreact => Kind::Unreact { about: about?, reaction: said? },
        EntryKind::File => Kind::File {
            name: said,
            size: tag(line, "size").and_then(|size| size.parse().ok()).unwrap_or(0),
            hash: tag(line, "sha256").and_then(|hash| hash.parse().ok()),
            media_type: tag(line, "type"),
            caption: tag(line, "caption"),
        },
        EntryKind::Invite => Kind::Invite { whom },
        EntryKind::Kick => Kind::Kick { whom, reason },
        EntryKind::Ban => Kind::Ban { whom, reason, out: line.tags.has("out") },
        EntryKind::Unban => Kind::Unban { whom },
        EntryKind::Mute => {
            let rest = rest.unwrap_or("off");
            let (time, reason) = rest.split_once(' ').map_or((rest, None), |(time, why)| (time, Some(why)));
            let time = if time == "off" { None } else { Some(time.parse().ok()?) };
            Kind::Mute { whom, time, reason: reason.map(str::to_owned) }
        }
        EntryKind::Role => {
            Kind::Role { whom, role: role(rest?)?, was: tag(line, "was").and_then(|was| role(&was)) }
        }
        EntryKind::Set => {
            let (name, value) = text?.split_once('=')?;
            Kind::Set { name: name.to_owned(), value: value.to_owned() }
        }
    })
}

fn tag(line: &ServerLine<'_>, name: &str) -> Option<String> {
    line.tags.get(name).map(std::borrow::Cow::into_owned)
}

fn id_of(line: &ServerLine<'_>) -> Option<PersonId> {
    tag(line, "who")?.parse().ok()
}

fn person(line: &ServerLine<'_>, nick: &str) -> Person {
    Person { nick: nick.to_owned(), who: id_of(line) }
}

fn place(line: &ServerLine<'_>, target: &str) -> Place {
    match target.starts_with('#') {
        true => Place::Room(target.to_owned()),
        false => Place::Person(person(line, target)),
    }
}

fn presence(word: &str) -> Option<Presence> {
    [Presence::Online, Presence::Away, Presence::Busy].into_iter().find(|presence| presence.word() == word)
}

fn profile(line: &ServerLine<'_>, nick: &str) -> Profile {
    Profile {
        nick: nick.to_owned(),
        who: id_of(line),
        bot: line.tags.has("bot"),
        account: line.tags.has("account"),
        operator: line.tags.has("operator"),
        display: tag(line, "display"),
        colour: tag(line, "colour"),
        avatar: tag(line, "avatar"),
        role: tag(line, "role").and_then(|role| role.parse().ok()),
        rooms: tag(line, "rooms")
            .map(|rooms| rooms.split(',').filter(|room| !room.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use snug_protocol::LogName;

    use super::*;

    fn typed(line: &str) -> Typed {
        Received { text: line.to_owned(), bytes: None, log: LogName(7) }.typed()
    }

    fn entry(line: &str) -> Entry {
        match typed(line) {
            Typed::Entry(entry) => *entry,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn acts_are_taken_apart() {
        let kind = |line: &str| entry(&format!("@id=7;time=2026-11-21T10:15:07.020Z{line}")).kind;
        let whom = || "bob".to_owned();
        let reason = || Some("too loud".to_owned());
        assert_eq!(kind(" :a KICK #r bob too loud"), Kind::Kick { whom: whom(), reason: reason() });
        assert_eq!(kind(";out :a BAN #r bob"), Kind::Ban { whom: whom(), reason: None, out: true });
        let time = Some(Period::from_secs(600));
        assert_eq!(kind(" :a MUTE #r bob 10m too loud"), Kind::Mute { whom: whom(), time, reason: reason() });
        assert_eq!(kind(" :a MUTE #r bob off"), Kind::Mute { whom: whom(), time: None, reason: None });
        assert_eq!(kind(" :a INVITE #r bob"), Kind::Invite { whom: whom() });
        let (role, was) = (None, Some(Some(Role::Owner)));
        assert_eq!(kind(";was=owner :a ROLE #r bob none"), Kind::Role { whom: whom(), role, was });
        let (name, value) = ("description".to_owned(), "a b=c".to_owned());
        assert_eq!(kind(" :a SET #r description=a b=c"), Kind::Set { name, value });
        let Kind::File { name, size, caption, .. } = kind(";size=5;caption=a\\sb :a FILE OFFER #r x.png")
        else {
            panic!("a file")
        };
        assert_eq!((name.as_deref(), size, caption.as_deref()), (Some("x.png"), 5, Some("a b")));
    }

    #[test]
    fn an_entry_has_its_conversation_and_its_tags() {
        let tags = "reactions=\u{1f44d}=2,ok=1;mine=ok;re=3;edited=9;bot;account;title=x\\sy;+z";
        let said = entry(&format!("@id=7;time=2026-11-21T10:15:07.020Z;{tags} :a MSG #r hi"));
        assert_eq!(said.place, Cursor { log: Some(LogName(7)), id: 7 });
        assert_eq!(said.conversation, Place::Room("#r".to_owned()));
        assert_eq!(said.reactions, [("\u{1f44d}".to_owned(), 2), ("ok".to_owned(), 1)]);
        assert_eq!((said.re, said.edited, said.mine), (Some(3), Some(9), vec!["ok".to_owned()]));
        assert!(said.bot && said.account);
        assert_eq!(said.tags, [("title".to_owned(), Some("x y".to_owned())), ("+z".to_owned(), None)]);
        // Private ones belong to the other one, whoever has said them.
        let who = Some(PersonId(0xab));
        let person = |nick: &str| Person { nick: nick.to_owned(), who };
        let theirs = entry("@id=7;who=00000000000000ab :bob PRIV me hi");
        assert_eq!((theirs.conversation, theirs.from), (Place::Person(person("bob")), person("bob")));
        let own = entry("@id=8;who=00000000000000ab;own :me PRIV bob hi");
        assert_eq!((own.conversation, own.from.who, own.own), (Place::Person(person("bob")), None, true));
    }

    #[test]
    fn presence_and_rows_are_owned() {
        let who = "who=00000000000000ab;account;display=B.;role=owner;rooms=#a,#b";
        let Typed::Present { who, presence, text } =
            typed(&format!("@{who};text=lunch USER bob away 2026-11-21T10:15:02.113Z"))
        else {
            panic!("somebody")
        };
        assert_eq!((presence, text.as_deref()), (Some(Presence::Away), Some("lunch")));
        assert_eq!((who.role, who.rooms.len(), who.account), (Some(Role::Owner), 2, true));
        assert!(matches!(typed("USER bob offline -"), Typed::Present { presence: None, .. }));
        let Typed::Conversation(row) = typed("@read=5;protection=readable CONVERSATION #a 7 2 1") else {
            panic!("a row")
        };
        assert_eq!((row.last, row.unread, row.mentions, row.read), (7, 2, 1, 5));
        // Somebody else's receipt stands in the conversation with them, one's own marker in that with the other one.
        for (line, nick) in [
            ("@who=00000000000000ab :bob READ me 7", "bob"),
            ("@who=00000000000000ab;own :me READ bob 7", "me"),
        ] {
            let Typed::Read { nick: from, place, id } = typed(line) else { panic!("{line}") };
            let bob = Person { nick: "bob".to_owned(), who: Some(PersonId(0xab)) };
            assert_eq!((from.as_str(), place, id), (nick, Place::Person(bob), 7), "{line}");
        }
        assert!(matches!(typed(":bob TYPING me on"), Typed::Typing { room: None, on: true, .. }));
    }

    #[test]
    fn what_is_not_known_is_kept_as_it_was_sent() {
        let line = "@id=7;time=2026-11-21T10:15:07.020Z;epoch=3 :bob CIPHER #r AAAA==";
        let cipher = entry(line);
        assert_eq!(cipher.conversation, Place::Room("#r".to_owned()));
        assert_eq!(cipher.kind, Kind::Unknown { verb: "CIPHER".to_owned(), line: line.to_owned() });
        for line in [":bob WAVES #r", "@x NEWROW 1 2", "", ":bob STATUS dancing"] {
            assert_eq!(typed(line), Typed::Unknown(line.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn no_line_is_lost(line in "(@[a-z=0-9;+]{0,20} )?(:[a-z]{1,4} )?[A-Z]{1,9}( [#a-z0-9=]{1,6}){0,4}") {
            match typed(&line) {
                Typed::Unknown(kept) => prop_assert_eq!(kept, line),
                Typed::Entry(entry) => {
                    let id = format!("id={}", entry.place.id);
                    prop_assert!(line.contains(&id), "{}", line);
                }
                _ => {}
            }
        }
    }
}
