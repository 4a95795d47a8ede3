//! What a client says: a line with the meaning its verb gives it.

use std::borrow::Cow;

use crate::{
    Code, Cursor, Line, NameError, Nick, Params, RoomName, TagBuilder, Tags, Target, Timestamp, Verb,
    escape_text, limits, unescape_text,
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
    Nick { nick: Nick<'a>, quiet: bool, token: Option<Cow<'a, str>>, since: Option<Cursor> },
    Quit { text: Option<Cow<'a, str>> },
    Ping { label: Option<&'a str> },
    Pong { label: Option<&'a str> },
    Help { verb: Option<Verb> },
    Info,
    Msg { room: RoomName<'a>, text: Cow<'a, str>, tags: MessageTags<'a> },
    Priv { nick: Nick<'a>, text: Cow<'a, str>, tags: MessageTags<'a> },
    Typing { target: Target<'a>, switch: Switch },
    Join { room: RoomName<'a> },
    Leave { room: RoomName<'a>, text: Option<Cow<'a, str>> },
    Rooms,
    Who { of: Option<Target<'a>> },
    Topic { room: RoomName<'a>, change: TopicChange<'a>, key: Option<Cow<'a, str>> },
    Set { room: RoomName<'a>, change: Option<(&'a str, &'a str)> },
    Edit { target: Target<'a>, id: Cursor, text: Cow<'a, str>, key: Option<Cow<'a, str>> },
    Delete { target: Target<'a>, id: Cursor },
    React { target: Target<'a>, id: Cursor, reaction: &'a str },
    Unreact { target: Target<'a>, id: Cursor, reaction: &'a str },
    History { target: Target<'a>, page: Page, limit: Option<u64> },
    Search { target: Option<Target<'a>>, query: Cow<'a, str>, before: Option<Cursor>, limit: Option<u64> },
    Sync { cursor: Cursor, limit: Option<u64> },
    Ack { cursor: Cursor },
    Read { target: Target<'a>, id: Cursor, receipt: bool },
    Inbox,
    Backup { path: Cow<'a, str> },
}

/// Which part of a conversation HISTORY is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The newest entries.
    Latest,
    /// The newest entries before this one.
    Before(Cursor),
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
                quiet: self.tags.has("quiet"),
                token: self.tags.get("token").filter(|token| (1..=limits::LABEL).contains(&token.len())),
                since: self.cursor_tag("since")?,
            },
            Verb::Quit => Command::Quit { text: self.optional_text()? },
            Verb::Ping => Command::Ping { label: self.label()? },
            Verb::Pong => Command::Pong { label: self.label()? },
            Verb::Help => Command::Help { verb: self.help_verb()? },
            Verb::Info => Command::Info,
            Verb::Msg => Command::Msg { room: self.room()?, text: self.text()?, tags: self.message_tags()? },
            Verb::Priv => {
                Command::Priv { nick: self.nick()?, text: self.text()?, tags: self.message_tags()? }
            }
            Verb::Typing => Command::Typing { target: self.target()?, switch: self.switch()? },
            Verb::Join => Command::Join { room: self.room()? },
            Verb::Leave => Command::Leave { room: self.room()?, text: self.optional_text()? },
            Verb::Rooms => Command::Rooms,
            Verb::Who => {
                Command::Who { of: if self.params.is_empty() { None } else { Some(self.target()?) } }
            }
            Verb::Topic => {
                Command::Topic { room: self.room()?, change: self.topic_change()?, key: self.key()? }
            }
            Verb::Set => {
                let room = self.room()?;
                let change = if self.params.is_empty() { None } else { Some((self.word()?, self.word()?)) };
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
                Command::React { target: self.target()?, id: self.cursor()?, reaction: self.reaction()? }
            }
            Verb::Unreact => {
                Command::Unreact { target: self.target()?, id: self.cursor()?, reaction: self.reaction()? }
            }
            Verb::History => {
                Command::History { target: self.target()?, page: self.page()?, limit: self.limit()? }
            }
            Verb::Search => Command::Search {
                target: self.target_or_all()?,
                query: self.text()?,
                before: self.cursor_tag("before")?,
                limit: match self.tags.get("limit") {
                    None => None,
                    Some(limit) => Some(self.count(&limit)?),
                },
            },
            Verb::Sync => Command::Sync { cursor: self.cursor()?, limit: self.limit()? },
            Verb::Ack => Command::Ack { cursor: self.cursor()? },
            Verb::Read => Command::Read {
                target: self.target()?,
                id: self.cursor()?,
                receipt: self.tags.has("receipt"),
            },
            Verb::Inbox => Command::Inbox,
            Verb::Backup => Command::Backup { path: self.text()? },
        };
        if !self.params.is_empty() {
            return Err(self.misuse(Code::SurplusParameter, "there is more on the line than it takes"));
        }
        Ok(command)
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
        Target::parse(word).map_err(|error| match word.starts_with('#') {
            true => bad_name(Code::BadRoom, "room's name", error),
            false => bad_name(Code::BadNick, "nick", error),
        })
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
            "BEFORE" => return self.cursor().map(Page::Before),
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
        let well_formed = (1..=limits::LABEL).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !well_formed {
            return Err((Code::BadTag, format!("{name} is 1 to 64 of A-Z, a-z, 0-9, . _ and -")));
        }
        Ok(Some(key))
    }

    fn message_tags(&self) -> Parsed<MessageTags<'a>> {
        let mut relayed = TagBuilder::default();
        for (name, value) in self.tags.iter() {
            if matches!(name, "title" | "priority" | "label") || name.starts_with('+') {
                match value {
                    None => relayed.flag(name, true),
                    Some(value) => relayed.raw(&format!("{name}={value}")),
                }
            }
        }
        let relayed = Cow::Owned(relayed.into_string());
        Ok(MessageTags {
            key: self.key()?,
            re: self.cursor_tag("re")?,
            replace: self.word_tag("replace")?,
            verbatim: self.tags.has("verbatim"),
            relayed,
        })
    }
}

fn bad_name(code: Code, what: &str, error: NameError) -> (Code, String) {
    (code, format!("this is no {what}: {error}"))
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
            Command::Topic { .. } => Verb::Topic,
            Command::Set { .. } => Verb::Set,
            Command::Edit { .. } => Verb::Edit,
            Command::Delete { .. } => Verb::Delete,
            Command::React { .. } => Verb::React,
            Command::Unreact { .. } => Verb::Unreact,
            Command::History { .. } => Verb::History,
            Command::Search { .. } => Verb::Search,
            Command::Sync { .. } => Verb::Sync,
            Command::Ack { .. } => Verb::Ack,
            Command::Read { .. } => Verb::Read,
            Command::Inbox => Verb::Inbox,
            Command::Backup { .. } => Verb::Backup,
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
        match self {
            Command::Hello | Command::Info | Command::Rooms | Command::Inbox => Vec::new(),
            Command::Nick { nick, quiet, token, since } => {
                tags.flag("quiet", *quiet);
                tags.value("token", token.as_deref());
                tags.display("since", *since);
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
            Command::Priv { nick, text, tags: message } => {
                message.write(tags);
                words(&[nick.as_str()], Some(text))
            }
            Command::Typing { target, switch } => words(&[target.as_str(), switch.word()], None),
            Command::Join { room } => words(&[room.as_str()], None),
            Command::Leave { room, text } => words(&[room.as_str()], text.as_deref()),
            Command::Who { of } => of.iter().map(|of| of.as_str().into()).collect(),
            Command::Topic { room, change, key } => {
                tags.value("key", key.as_deref());
                tags.flag("clear", *change == TopicChange::Clear);
                let text = if let TopicChange::Set(text) = change { Some(&**text) } else { None };
                words(&[room.as_str()], text)
            }
            Command::Set { room, change: None } => words(&[room.as_str()], None),
            Command::Set { room, change: Some((name, value)) } => words(&[room.as_str(), name, value], None),
            Command::Edit { target, id, text, key } => {
                tags.value("key", key.as_deref());
                let mut words = about(target, id);
                words.push(escape_text(text));
                words
            }
            Command::Delete { target, id } => about(target, id),
            Command::React { target, id, reaction } | Command::Unreact { target, id, reaction } => {
                let mut words = about(target, id);
                words.push((*reaction).into());
                words
            }
            Command::History { target, page, limit } => {
                let (name, place) = match page {
                    Page::Latest => ("LATEST", None),
                    Page::Before(cursor) => ("BEFORE", Some(cursor.to_string())),
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Result<Command<'_>, Code> {
        let line = Line::parse(line).expect("the grammar holds");
        Request::parse(&line).map(|request| request.command).map_err(|error| error.code)
    }

    #[test]
    fn text_is_the_rest_of_the_line_verbatim() {
        let Ok(Command::Msg { text, .. }) = parse("msg #lobby :wave:  two\\nlines ") else {
            panic!("a message")
        };
        assert_eq!(text, ":wave:  two\nlines ");
    }

    #[test]
    fn each_misuse_has_its_code() {
        for (line, code) in [
            ("FOO bar", Code::UnknownVerb),
            ("MSG", Code::MissingParameter),
            ("MSG ", Code::MissingParameter),
            ("MSG  #lobby hi", Code::SurplusParameter),
            ("MSG #lobby", Code::NoText),
            ("MSG #lobby ", Code::NoText),
            ("MSG lobby hi", Code::BadRoom),
            ("PRIV #lobby hi", Code::BadNick),
            ("NICK", Code::MissingParameter),
            ("NICK a b", Code::SurplusParameter),
            ("NICK bob\u{202e}", Code::BadNick),
            ("INFO x", Code::SurplusParameter),
            ("TYPING #lobby maybe", Code::BadParameter),
            ("HELP FOO", Code::BadParameter),
            ("@re=x MSG #lobby hi", Code::BadTag),
            ("@key=a\\sb MSG #lobby hi", Code::BadTag),
            ("@key MSG #lobby hi", Code::BadTag),
            ("@clear TOPIC #lobby hi", Code::BadTag),
            ("@replace=a/b MSG #lobby hi", Code::BadTag),
            ("@since=yesterday NICK bob", Code::BadTag),
            ("HISTORY #lobby", Code::MissingParameter),
            ("HISTORY #lobby NEXT", Code::BadParameter),
            ("HISTORY #lobby LATEST 0", Code::BadParameter),
            ("HISTORY #lobby LATEST 5 5", Code::SurplusParameter),
            ("HISTORY #lobby BEFORE -5", Code::BadParameter),
            ("HISTORY #lobby SINCE 1h", Code::BadParameter),
            ("SYNC", Code::MissingParameter),
            ("SEARCH #lobby", Code::NoText),
            ("@limit=x SEARCH * hi", Code::BadParameter),
            ("EDIT #lobby 7", Code::NoText),
            ("EDIT #lobby hi there", Code::BadParameter),
            ("REACT #lobby 7 a,b", Code::BadParameter),
            ("REACT #lobby 7", Code::MissingParameter),
            ("SET #lobby keep", Code::MissingParameter),
        ] {
            assert_eq!(parse(line), Err(code), "{line:?}");
        }
        assert_eq!(parse(&format!("MSG #lobby {}", "x".repeat(limits::TEXT + 1))), Err(Code::TooLong));
        assert!(parse(&format!("MSG #lobby {}", "x".repeat(limits::TEXT))).is_ok());
        assert_eq!(parse(&format!("@+x={} INFO", "x".repeat(limits::TAGS))), Err(Code::BadTag));
    }

    #[test]
    fn only_the_tags_that_are_relayed_are_kept_and_untouched() {
        let line = "@id=9;time=x;bot;title=a\\sb;+mood;unknown=1;+x=\\:;key=k.1 MSG #lobby hi";
        let Ok(Command::Msg { tags, .. }) = parse(line) else { panic!("a message") };
        assert_eq!(tags.relayed, "title=a\\sb;+mood;+x=\\:");
        assert_eq!(tags.key.as_deref(), Some("k.1"));
    }

    #[test]
    fn the_count_of_bytes_is_a_number_within_the_limit() {
        let bytes = |line| announced_bytes(Line::parse(line).expect("a line").tags);
        assert_eq!(bytes("MSG"), Ok(None));
        assert_eq!(bytes("@bytes=0 FOO"), Ok(Some(0)));
        assert_eq!(bytes("@bytes=65535 FOO"), Ok(Some(65_535)));
        for bad in ["@bytes=65536 FOO", "@bytes=-1 FOO", "@bytes FOO", "@bytes=99999999999999999999 FOO"] {
            assert_eq!(bytes(bad), Err(Code::TooLarge), "{bad:?}");
        }
    }

    fn room() -> impl Strategy<Value = RoomName<'static>> {
        "#[a-z\u{e9}][a-z0-9._-]{0,8}".prop_map(|name| RoomName::parse(&name).expect("a room").into_owned())
    }

    fn nick() -> impl Strategy<Value = Nick<'static>> {
        "[a-zA-Z\u{e9}][a-z0-9._-]{0,8}".prop_map(|name| Nick::parse(&name).expect("a nick").into_owned())
    }

    fn text() -> impl Strategy<Value = Cow<'static, str>> {
        "[ a-z:\\\\\n\u{1f600}]{1,20}".prop_map(Cow::Owned)
    }

    fn cursor() -> impl Strategy<Value = Cursor> {
        (prop::option::of(any::<u64>()), 0..=Cursor::LARGEST)
            .prop_map(|(log, id)| Cursor { log: log.map(crate::LogName), id })
    }

    fn limit() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(1u64..9_999)
    }

    fn page() -> impl Strategy<Value = Page> {
        prop_oneof![
            Just(Page::Latest),
            cursor().prop_map(Page::Before),
            cursor().prop_map(Page::After),
            cursor().prop_map(Page::Around),
            (0i64..1 << 45).prop_map(|millis| Page::Since(Timestamp::from_millis(millis))),
        ]
    }

    fn message_tags() -> impl Strategy<Value = MessageTags<'static>> {
        let key = prop::option::of("[A-Za-z0-9._-]{1,64}".prop_map(Cow::Owned));
        let relayed = prop_oneof![Just(""), Just("title=a\\sb"), Just("+mood;+x=1")].prop_map(Cow::Borrowed);
        let replace = prop::option::of("[A-Za-z0-9._-]{1,64}".prop_map(Cow::Owned));
        (key, prop::option::of(cursor()), replace, any::<bool>(), relayed).prop_map(
            |(key, re, replace, verbatim, relayed)| MessageTags { key, re, replace, verbatim, relayed },
        )
    }

    fn command() -> impl Strategy<Value = Command<'static>> {
        let target = prop_oneof![room().prop_map(Target::Room), nick().prop_map(Target::Nick)];
        let change =
            prop_oneof![Just(TopicChange::Ask), Just(TopicChange::Clear), text().prop_map(TopicChange::Set)];
        let key = || prop::option::of("[a-z0-9]{1,8}".prop_map(Cow::Owned));
        prop_oneof![
            (
                nick(),
                any::<bool>(),
                prop::option::of("[a-zA-Z0-9 ;]{1,32}".prop_map(Cow::Owned)),
                prop::option::of(cursor())
            )
                .prop_map(|(nick, quiet, token, since)| Command::Nick {
                    nick,
                    quiet,
                    token,
                    since
                }),
            prop::option::of(text()).prop_map(|text| Command::Quit { text }),
            Just(Command::Ping { label: Some("7") }),
            Just(Command::Pong { label: None }),
            Just(Command::Help { verb: Some(Verb::Msg) }),
            Just(Command::Info),
            (room(), text(), message_tags()).prop_map(|(room, text, tags)| Command::Msg { room, text, tags }),
            (nick(), text(), message_tags()).prop_map(|(nick, text, tags)| Command::Priv {
                nick,
                text,
                tags
            }),
            (target.clone(), prop_oneof![Just(Switch::On), Just(Switch::Off)])
                .prop_map(|(target, switch)| Command::Typing { target, switch }),
            room().prop_map(|room| Command::Join { room }),
            (room(), prop::option::of(text())).prop_map(|(room, text)| Command::Leave { room, text }),
            Just(Command::Rooms),
            prop::option::of(target.clone()).prop_map(|of| Command::Who { of }),
            (room(), change, key()).prop_map(|(room, change, key)| Command::Topic { room, change, key }),
            (room(), prop::option::of(Just(("keep", "30d"))))
                .prop_map(|(room, change)| Command::Set { room, change }),
            (target.clone(), cursor(), text(), key()).prop_map(|(target, id, text, key)| Command::Edit {
                target,
                id,
                text,
                key
            }),
            (target.clone(), cursor()).prop_map(|(target, id)| Command::Delete { target, id }),
            (target.clone(), cursor()).prop_map(|(target, id)| Command::React {
                target,
                id,
                reaction: "\u{1f44d}"
            }),
            (target.clone(), cursor()).prop_map(|(target, id)| Command::Unreact {
                target,
                id,
                reaction: "+1"
            }),
            (target.clone(), page(), limit()).prop_map(|(target, page, limit)| Command::History {
                target,
                page,
                limit
            }),
            (prop::option::of(target.clone()), text(), prop::option::of(cursor()), limit())
                .prop_map(|(target, query, before, limit)| Command::Search { target, query, before, limit }),
            (cursor(), limit()).prop_map(|(cursor, limit)| Command::Sync { cursor, limit }),
            cursor().prop_map(|cursor| Command::Ack { cursor }),
            (target, cursor(), any::<bool>()).prop_map(|(target, id, receipt)| Command::Read {
                target,
                id,
                receipt
            }),
            Just(Command::Inbox),
            text().prop_map(|path| Command::Backup { path }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            label in prop::option::of("[a-z ;\\\\n]{1,20}".prop_map(Cow::Owned)),
            command in command(),
        ) {
            let request = Request { label, command };
            let mut written = Vec::new();
            request.write(&mut written);
            let written = String::from_utf8(written).expect("UTF-8");
            let line = Line::parse(written.strip_suffix('\n').expect("a line end")).expect("the grammar holds");
            prop_assert_eq!(Request::parse(&line).expect("a command"), request);
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,60}") {
            if let Ok(line) = Line::parse(&line) {
                let _ = Request::parse(&line);
                let _ = announced_bytes(line.tags);
            }
        }
    }
}
