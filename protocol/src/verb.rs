//! Every verb, in one table. `HELP` is made from it, and the verb part of PROTOCOL.md is held to it by a test.

use std::fmt::Write;

use crate::limits;

/// A command's verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Verb {
    Hello,
    Nick,
    Quit,
    Ping,
    Pong,
    Help,
    Info,
    Msg,
    Priv,
    Typing,
    Join,
    Leave,
    Rooms,
    Who,
    Topic,
}

/// What there is to say about a verb.
#[derive(Debug)]
pub struct Spec {
    /// The verb.
    pub verb: Verb,
    /// Its word on the wire, in capitals.
    pub word: &'static str,
    /// Its parameters: `<required>`, `[optional]`, the text last.
    pub params: &'static str,
    /// The tags it looks at, beside `ref`, which every verb takes.
    pub tags: &'static str,
    /// Whether it may be said before NICK.
    pub before_name: bool,
    /// One line of help.
    pub summary: &'static str,
    /// The rest of what a client's author has to know, in Markdown.
    pub detail: &'static str,
    /// A conversation that shows it: `> ` is said by the client, `< ` by the daemon.
    pub example: &'static str,
}

/// The table.
pub const VERBS: &[Spec] = &[
    Spec {
        verb: Verb::Hello,
        word: "HELLO",
        params: "<versions> <share> [options]",
        tags: "",
        before_name: true,
        summary: "seals the connection, as its very first line",
        detail: "Only the first line of a connection can be a HELLO, without tags. It has no OK: the daemon answers \
                 with a HELLO of its own and its sealed identity. See *The envelope*. A refusal before there are \
                 keys is `ERR HELLO <code> <text>` with the code `version`, `hello` or `psk`; a daemon that is full says \
                 `ERR - too-many …` instead, before it has read anything.",
        example: "> HELLO snug/1 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=\n\
                  < HELLO snug/1 eaYx7t4b+cmPEgMs3q3Q56B5OY/HhriMyEbsia+FpRo=\n< 13L99NKW0Uc0POQb…",
    },
    Spec {
        verb: Verb::Nick,
        word: "NICK",
        params: "<nick>",
        tags: "`quiet`, `token`",
        before_name: true,
        summary: "takes a name, or another one",
        detail: "The first NICK of a connection gives it an identity and joins `#lobby`. With the tag `quiet` it \
                 joins nothing and is not announced, and the session hears only its own entries and private \
                 messages until it JOINs a room. A guest who comes over TCP gets a `token` in the OK; with \
                 `token=` another connection joins that identity, also some hours after its last session ended. \
                 An unknown token is passed over, and the OK brings a new one. Over the Unix socket the user id \
                 does what the token does. A later NICK renames the identity, for all its sessions; the others \
                 in its rooms see `:old NICK new`. The OK has the log's name in the tag `log`.",
        example: "> NICK alice\n< @token=Zk3v…;log=9f2c51d07a6be834 OK NICK alice",
    },
    Spec {
        verb: Verb::Quit,
        word: "QUIT",
        params: "[text]",
        tags: "",
        before_name: true,
        summary: "ends the connection",
        detail: "When the last session of an identity ends, the others in its rooms see `:alice QUIT text`. \
                 Closing the connection does the same, after all that was sent is done.",
        example: "> QUIT good night\n< OK QUIT",
    },
    Spec {
        verb: Verb::Ping,
        word: "PING",
        params: "[label]",
        tags: "",
        before_name: true,
        summary: "asks for a sign of life",
        detail: "As every command it first waits for the answers of those before it, so its OK is also a \
                 barrier. The daemon sends `PING label` too, to sealed connections and to those that ever said \
                 PING or PONG: answer with PONG and the same label.",
        example: "> PING 7\n< OK PING 7",
    },
    Spec {
        verb: Verb::Pong,
        word: "PONG",
        params: "[label]",
        tags: "",
        before_name: true,
        summary: "answers the daemon's PING; has no OK",
        detail: "Anything that is sent counts as a sign of life; PONG is for those who have nothing to say.",
        example: "< PING 3\n> PONG 3",
    },
    Spec {
        verb: Verb::Help,
        word: "HELP",
        params: "[verb]",
        tags: "",
        before_name: true,
        summary: "lists the verbs, or tells about one",
        detail: "Rows are `HELP text`; the OK counts them.",
        example: "> HELP PING\n< HELP PING [label]: asks for a sign of life\n< OK HELP 1",
    },
    Spec {
        verb: Verb::Info,
        word: "INFO",
        params: "",
        tags: "",
        before_name: true,
        summary: "tells about the daemon: version, limits, features",
        detail: "Rows are `INFO name=value`: `version`, `log`, `line`, `text`, `tags` and `bytes` (limits, in \
                 bytes), `idle` (seconds of silence after which a connection that answers PING is closed) and \
                 `features` (a comma list). Names that a client does not know are to be passed over.",
        example: "> INFO\n< INFO version=0.1.0\n< INFO log=9f2c51d07a6be834\n< INFO line=16384\n…\n< OK INFO 8",
    },
    Spec {
        verb: Verb::Msg,
        word: "MSG",
        params: "<room> <text>",
        tags: "`key`, `re`, `title`, `priority`, `label`, `verbatim`, `+…`",
        before_name: false,
        summary: "says something in a room",
        detail: "One need not be in a public room to speak in it. The OK comes when the message is in the log, \
                 after its own event, with the same `id` and `time`. See *Messages* for the tags.",
        example: "> MSG #lobby good morning :sun_with_face:\n\
                  < @id=119;time=2026-11-21T10:15:07.020Z :alice MSG #lobby good morning 🌞\n\
                  < @id=119;time=2026-11-21T10:15:07.020Z OK MSG #lobby",
    },
    Spec {
        verb: Verb::Priv,
        word: "PRIV",
        params: "<nick> <text>",
        tags: "as MSG",
        before_name: false,
        summary: "says something to one person",
        detail: "Goes to every session of that person and of the sender, and to nobody else.",
        example: "> PRIV bob did the deploy work?\n< ERR PRIV no-such-nick nobody here is called bob; WHO lists who is",
    },
    Spec {
        verb: Verb::Typing,
        word: "TYPING",
        params: "<room or nick> <on|off>",
        tags: "",
        before_name: false,
        summary: "tells that one is writing, or no more",
        detail: "Never logged, and the first to be dropped under load. The others see `:alice TYPING #lobby on`. \
                 One must be in the room.",
        example: "> TYPING #lobby on\n< OK TYPING #lobby",
    },
    Spec {
        verb: Verb::Join,
        word: "JOIN",
        params: "<room>",
        tags: "",
        before_name: false,
        summary: "enters a room; makes it if it does not exist",
        detail: "All sessions of the identity are in the room then. The others see `:alice JOIN #room`, unless \
                 the room has more members than the daemon announces. A room in which nobody ever wrote goes \
                 with its last member. Joining twice is no error.",
        example: "> JOIN #ops\n< OK JOIN #ops",
    },
    Spec {
        verb: Verb::Leave,
        word: "LEAVE",
        params: "<room> [text]",
        tags: "",
        before_name: false,
        summary: "leaves a room",
        detail: "The others see `:alice LEAVE #room text`.",
        example: "> LEAVE #ops\n< OK LEAVE #ops",
    },
    Spec {
        verb: Verb::Rooms,
        word: "ROOMS",
        params: "",
        tags: "",
        before_name: false,
        summary: "lists the rooms",
        detail: "Rows are `ROOM name members [topic]`, in the order of their names; the OK counts them.",
        example: "> ROOMS\n< ROOM #lobby 2 all about snug\n< ROOM #ops 1\n< OK ROOMS 2",
    },
    Spec {
        verb: Verb::Who,
        word: "WHO",
        params: "[room or nick]",
        tags: "",
        before_name: false,
        summary: "lists who is here, or in a room",
        detail: "Rows are `USER nick online since`; a bot's have the tag `bot`. Who came in with `quiet` and \
                 joined nothing is not listed. The OK counts the rows.",
        example: "> WHO #lobby\n< USER alice online 2026-11-21T10:15:02.113Z\n\
                  < @bot USER emoji online 2026-11-21T10:00:00.004Z\n< OK WHO 2",
    },
    Spec {
        verb: Verb::Topic,
        word: "TOPIC",
        params: "<room> [text]",
        tags: "`clear`, `key`",
        before_name: false,
        summary: "shows what a room is about, or sets it",
        detail: "Without a text the answer is the entry that set the topic, if there is one, and OK. With one, \
                 the members and the sender see the new entry. The tag `clear` takes the topic away: the entry \
                 has no text then. One must be in the room to change its topic.",
        example: "> TOPIC #lobby all about snug\n\
                  < @id=120;time=2026-11-21T10:15:09.481Z :alice TOPIC #lobby all about snug\n\
                  < @id=120;time=2026-11-21T10:15:09.481Z OK TOPIC #lobby",
    },
];

impl Verb {
    /// Finds a verb by its word, in any case.
    pub fn find(word: &str) -> Option<Verb> {
        VERBS.iter().find(|spec| spec.word.eq_ignore_ascii_case(word)).map(|spec| spec.verb)
    }

    /// Its row of the table.
    pub fn spec(self) -> &'static Spec {
        &VERBS[self as usize]
    }

    /// Its word, in capitals.
    pub fn word(self) -> &'static str {
        self.spec().word
    }

    /// What an `ERR` calls a verb that may be unknown: the word as typed, cut.
    pub fn echo(word: &str) -> &str {
        match Verb::find(word) {
            Some(verb) => verb.word(),
            None => &word[..word.len().min(limits::ECHO)],
        }
    }
}

impl Spec {
    /// Verb and parameters, as one types them.
    pub fn usage(&self) -> String {
        format!("{} {}", self.word, self.params).trim_end().to_owned()
    }
}

/// The verb part of PROTOCOL.md, in Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for spec in VERBS {
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "### {}\n\n`{}`: {}.\n\n{}", spec.word, spec.usage(), spec.summary, spec.detail);
        if !spec.tags.is_empty() {
            let _ = writeln!(out, "\nTags: {}.", spec.tags);
        }
        if spec.before_name {
            let _ = writeln!(out, "\nMay be said before NICK.");
        }
        let _ = writeln!(out, "\n```\n{}\n```\n", spec.example);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_verbs() {
        for (at, spec) in VERBS.iter().enumerate() {
            assert_eq!(spec.verb as usize, at, "{}", spec.word);
            assert_eq!(Verb::find(&spec.word.to_lowercase()), Some(spec.verb));
        }
    }

    #[test]
    fn an_unknown_verb_is_echoed_short() {
        assert_eq!(Verb::echo("msg"), "MSG");
        assert_eq!(Verb::echo(&"x".repeat(99)), "x".repeat(32));
    }
}
