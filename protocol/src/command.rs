//! What a client says: a line with the meaning its verb gives it.

use std::borrow::Cow;

use crate::{
    Code, Line, NameError, Nick, Params, RoomName, TagBuilder, Tags, Target, Verb, escape_text, limits,
    unescape_text,
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
    Nick { nick: Nick<'a>, quiet: bool, token: Option<Cow<'a, str>> },
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
    /// `re`: the id of the entry this one answers.
    pub re: Option<u64>,
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
        let Some(key) = self.tags.get("key") else { return Ok(None) };
        let well_formed = (1..=limits::LABEL).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !well_formed {
            return Err((Code::BadTag, "key is 1 to 64 of A-Z, a-z, 0-9, . _ and -".to_owned()));
        }
        Ok(Some(key))
    }

    fn message_tags(&self) -> Parsed<MessageTags<'a>> {
        let re = match self.tags.get("re") {
            None => None,
            Some(id) => match id.parse() {
                Ok(id) => Some(id),
                Err(_) => return Err((Code::BadTag, "re is the id of an entry: a number".to_owned())),
            },
        };
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
        Ok(MessageTags { key: self.key()?, re, verbatim: self.tags.has("verbatim"), relayed })
    }
}

fn bad_name(code: Code, what: &str, error: NameError) -> (Code, String) {
    (code, format!("this is no {what}: {error}"))
}

impl MessageTags<'_> {
    fn write(&self, tags: &mut TagBuilder) {
        tags.value("key", self.key.as_deref());
        tags.display("re", self.re);
        tags.flag("verbatim", self.verbatim);
        tags.raw(&self.relayed);
    }

    /// The same tags, owning their characters.
    pub fn into_owned(self) -> MessageTags<'static> {
        MessageTags {
            key: self.key.map(|key| Cow::Owned(key.into_owned())),
            re: self.re,
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
        }
    }

    /// Writes the command behind the tags gathered so far.
    fn write(&self, mut tags: TagBuilder, out: &mut Vec<u8>) {
        let mut words: [Option<Cow<'_, str>>; 2] = [None, None];
        match self {
            Command::Hello | Command::Info | Command::Rooms => {}
            Command::Nick { nick, quiet, token } => {
                tags.flag("quiet", *quiet);
                tags.value("token", token.as_deref());
                words[0] = Some(nick.as_str().into());
            }
            Command::Quit { text } => words[0] = text.as_deref().map(escape_text),
            Command::Ping { label } | Command::Pong { label } => words[0] = label.map(Cow::Borrowed),
            Command::Help { verb } => words[0] = verb.map(|verb| verb.word().into()),
            Command::Msg { room, text, tags: message } => {
                message.write(&mut tags);
                words = [Some(room.as_str().into()), Some(escape_text(text))];
            }
            Command::Priv { nick, text, tags: message } => {
                message.write(&mut tags);
                words = [Some(nick.as_str().into()), Some(escape_text(text))];
            }
            Command::Typing { target, switch } => {
                words = [Some(target.as_str().into()), Some(switch.word().into())];
            }
            Command::Join { room } => words[0] = Some(room.as_str().into()),
            Command::Leave { room, text } => {
                words = [Some(room.as_str().into()), text.as_deref().map(escape_text)];
            }
            Command::Who { of } => words[0] = of.as_ref().map(|of| of.as_str().into()),
            Command::Topic { room, change, key } => {
                tags.value("key", key.as_deref());
                tags.flag("clear", *change == TopicChange::Clear);
                let text = if let TopicChange::Set(text) = change { Some(escape_text(text)) } else { None };
                words = [Some(room.as_str().into()), text];
            }
        }
        Line::write_head(tags.tags(), None, out);
        out.extend_from_slice(self.verb().word().as_bytes());
        for word in words.into_iter().flatten() {
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
        }
        out.push(b'\n');
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

    fn message_tags() -> impl Strategy<Value = MessageTags<'static>> {
        let key = prop::option::of("[A-Za-z0-9._-]{1,64}".prop_map(Cow::Owned));
        let relayed = prop_oneof![Just(""), Just("title=a\\sb"), Just("+mood;+x=1")].prop_map(Cow::Borrowed);
        (key, any::<Option<u64>>(), any::<bool>(), relayed)
            .prop_map(|(key, re, verbatim, relayed)| MessageTags { key, re, verbatim, relayed })
    }

    fn command() -> impl Strategy<Value = Command<'static>> {
        let target = prop_oneof![room().prop_map(Target::Room), nick().prop_map(Target::Nick)];
        let change =
            prop_oneof![Just(TopicChange::Ask), Just(TopicChange::Clear), text().prop_map(TopicChange::Set)];
        let key = || prop::option::of("[a-z0-9]{1,8}".prop_map(Cow::Owned));
        prop_oneof![
            (nick(), any::<bool>(), prop::option::of("[a-zA-Z0-9 ;]{1,32}".prop_map(Cow::Owned)))
                .prop_map(|(nick, quiet, token)| Command::Nick { nick, quiet, token }),
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
            prop::option::of(target).prop_map(|of| Command::Who { of }),
            (room(), change, key()).prop_map(|(room, change, key)| Command::Topic { room, change, key }),
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
