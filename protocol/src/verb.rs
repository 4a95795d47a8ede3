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
    Watch,
    Topic,
    Set,
    Edit,
    Delete,
    React,
    Unreact,
    History,
    Search,
    Sync,
    Ack,
    Read,
    Inbox,
    File,
    Register,
    Auth,
    Password,
    Unregister,
    Key,
    Token,
    Invite,
    Status,
    Profile,
    Close,
    Kick,
    Ban,
    Unban,
    Mute,
    Role,
    Stats,
    Sessions,
    Accounts,
    Announce,
    Audit,
    Reload,
    Shutdown,
    Backup,
    Commands,
    Bot,
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
    /// What it counts in flow control, in quarters of a short message; beside it count the rows that it reads, the
    /// bytes that it makes the daemon write, and the sessions that it reaches.
    pub cost: u32,
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
        cost: 4,
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
        tags: "`quiet`, `rooms`, `token`, `since`",
        before_name: true,
        cost: 4,
        summary: "takes a name, or another one",
        detail: "A name that is an account's needs AUTH (`login-needed`); only guests change theirs. \
                 The first NICK of a connection gives it an identity and joins `#lobby`. With the tag `quiet` it \
                 joins nothing and is not announced, and the session hears only its own entries and private \
                 messages until it JOINs a room. With `rooms=<list>` it comes into these rooms and not by itself into the lobby; the list may be empty, and one is visible nevertheless. A room that is not there, or that asks who comes in (a private one, one with bans, or with the setting `join`), is left out: JOIN it. The OK then has in `rooms` where one is, as many names as have room in the line; INBOX has them all. A guest who comes over TCP gets a `token` in the OK; with \
                 `token=` another connection joins that identity, also some hours after its last session ended. \
                 A client may make the token itself, of 22 to 64 random letters, digits, `-` and `_`, so that it knows \
                 it even if the OK is lost: an unknown one of that form becomes the new identity's. Any other unknown \
                 token is passed over, and the OK brings a new one. Over the Unix socket the user id \
                 does what the token does. A later NICK renames the identity, for all its sessions; the others \
                 in its rooms see `:old NICK new`. The OK has the log's name in the tag `log` and the newest entry's \
                 id in `last`. With `since=<cursor>` the session hears no entries until SYNC has brought it up to \
                 date; without it, private messages that came while none of the identity's sessions was there \
                 follow the OK.",
        example: "> NICK alice\n< @token=Zk3v…;who=00184c02b9a1d07e;log=9f2c51d07a6be834;last=118 OK NICK alice",
    },
    Spec {
        verb: Verb::Quit,
        word: "QUIT",
        params: "[text]",
        tags: "",
        before_name: true,
        cost: 1,
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
        cost: 1,
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
        cost: 1,
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
        cost: 4,
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
        cost: 2,
        summary: "tells about the daemon: version, limits, features",
        detail: "Rows are `INFO name=value`: `version`, `log`, `line`, `text`, `tags` and `bytes` (limits, in \
                 bytes), `idle` (seconds of silence after which a connection that answers PING is closed), \
                 `history` (`disk` or `none`), `keep` and `keep-private` (how long entries are kept, see SET), and \
                 `features` (a comma list), and with `files` among them `file` (the largest, in bytes). For clients that show a chat there are `announce-members` (in \
                 rooms with more, presence is not told), `key-window` (seconds for which a `key` is remembered), `avatar` (the largest, in bytes), \
                 `reactions` (different ones to an entry) and `protocol` (the newest version). Names that a client does not know are to be passed over.",
        example: "> INFO\n< INFO version=0.1.0\n< INFO log=9f2c51d07a6be834\n< INFO line=16384\n…\n< OK INFO 19",
    },
    Spec {
        verb: Verb::Msg,
        word: "MSG",
        params: "<room> <text>",
        tags: "`key`, `re`, `replace`, `title`, `priority`, `label`, `verbatim`, `+…`",
        before_name: false,
        cost: 4,
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
        tags: "as MSG, and `who`",
        before_name: false,
        cost: 4,
        summary: "says something to one person",
        detail: "Goes to every session of that person and of the sender, and to nobody else. Who is known to the \
                 daemon beyond a guest's token (a user of its machine) and away gets it at the next NICK.",
        example: "> PRIV bob did the deploy work?\n< ERR PRIV no-such-nick nobody here is called bob; WHO lists who is",
    },
    Spec {
        verb: Verb::Typing,
        word: "TYPING",
        params: "<room or nick> <on|off>",
        tags: "`who`",
        before_name: false,
        cost: 1,
        summary: "tells others that you are typing, or have stopped",
        detail: "Ends by itself after 6 seconds, so clients repeat it every 3 while the user types; it also ends with the \
                 session. Never logged, and the first to be dropped under load. The others see \
                 `:alice TYPING #lobby on`. You must be in the room.",
        example: "> TYPING #lobby on\n< OK TYPING #lobby",
    },
    Spec {
        verb: Verb::Join,
        word: "JOIN",
        params: "<room>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "enters a room; makes it if it does not exist",
        detail: "A new room is its maker's; one of an account stays when everybody has left. All sessions of the identity are in the room then. \
                 An account stays in it until it leaves or is put out, also while it is away (see *Rooms and roles*). The others see `:alice JOIN #room`, unless \
                 the room has more members than the daemon announces. A guest's room in which nobody ever wrote goes \
                 with its last member. Joining twice is no error. The OK has `first` and `last`, the ids of the \
                 oldest and the newest entry that is kept, if there are any, and `history` and `keep` (see SET) \
                 where they are not `all` and `forever`. `protection` is as with INBOX. Nothing is sent of what was said before: HISTORY tells.",
        example: "> JOIN #ops\n< @time=2026-11-21T10:15:11.207Z :alice JOIN #ops\n< @first=17;last=118;protection=readable OK JOIN #ops",
    },
    Spec {
        verb: Verb::Leave,
        word: "LEAVE",
        params: "<room> [text]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "leaves a room",
        detail: "The others see `:alice LEAVE #room text`. An account does not come back into the room with its next login.",
        example: "> LEAVE #ops\n< @time=2026-11-21T10:15:19.418Z :alice LEAVE #ops\n< OK LEAVE #ops",
    },
    Spec {
        verb: Verb::Rooms,
        word: "ROOMS",
        params: "",
        tags: "",
        before_name: false,
        cost: 1,
        summary: "lists the rooms",
        detail: "Rows are `ROOM name members [topic]`, in the order of their names; the OK counts them. Hidden and invite-only \
                 rooms are shown to those in them. Tags: `access` if it is not public, `description`.",
        example: "> ROOMS\n< ROOM #lobby 2 all about snug\n< ROOM #ops 1\n< OK ROOMS 2",
    },
    Spec {
        verb: Verb::Who,
        word: "WHO",
        params: "[room or nick]",
        tags: "`who`",
        before_name: false,
        cost: 1,
        summary: "lists who is here, or in a room",
        detail: "Rows are `USER nick status since`; the status is `online`, `away` or `busy`. Tags: `who` (see *Names*), `bot`, `account`, \
                 `operator`; `text` (of STATUS), `display`, `colour`, `avatar` (its hash, see PROFILE); in a room `role`; of one person `rooms`, those that one may know, as a list of as many as have room in the line. Sessions that \
                 came in with `quiet` and joined nothing are not listed. The OK counts the rows.",
        example: "> WHO #lobby\n< @who=00184c02b9a1d07e USER alice online 2026-11-21T10:15:02.113Z\n\
                  < @who=0009ff3a62c85b10;bot USER emoji online 2026-11-21T10:00:00.004Z\n< OK WHO 2",
    },
    Spec {
        verb: Verb::Watch,
        word: "WATCH",
        params: "[nick …]",
        tags: "`clear`",
        before_name: false,
        cost: 4,
        summary: "follows the presence of users, also without a common room",
        detail: "Adds names to those that this session watches, at most 100, and answers with a row for each: `USER nick status since` \
                 with the tags of WHO. If nobody with the name is online, the status is `offline` and since is `-`. Without names, the \
                 rows are all watched names. The tag `clear` removes these names or, without any, all. From then on the server tells the \
                 session when a user with the name comes online (`:bob STATUS online`, with the tags of WHO), goes offline (`:bob QUIT`), \
                 changes nickname (`:bob NICK robert`: bob is still watched, robert is not), status or profile, in rooms of any size and \
                 without a common room. A name need not belong to anybody. Watching ends with the session.",
        example: "> WATCH bob carol\n< @who=001b6d0c44e7a2f3 USER bob away 2026-11-21T10:15:02.113Z\n< USER carol offline -\n< OK WATCH 2",
    },
    Spec {
        verb: Verb::Topic,
        word: "TOPIC",
        params: "<room> [text]",
        tags: "`clear`, `key`",
        before_name: false,
        cost: 4,
        summary: "shows what a room is about, or sets it",
        detail: "Without a text the answer is the entry that set the topic, if there is one, and OK. With one, \
                 the members and the sender see the new entry. The tag `clear` takes the topic away: the entry \
                 has no text then. One must be in the room to change its topic.",
        example: "> TOPIC #lobby all about snug\n\
                  < @id=120;time=2026-11-21T10:15:09.481Z :alice TOPIC #lobby all about snug\n\
                  < @id=120;time=2026-11-21T10:15:09.481Z OK TOPIC #lobby",
    },
    Spec {
        verb: Verb::Set,
        word: "SET",
        params: "<room> [name value]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "shows a room's settings, or changes one",
        detail: "Rows are `SET #room name=value`. `access` is `public` (in ROOMS, who likes may JOIN), `hidden` (not listed; who \
                 knows the name may JOIN) or `invite` (who is invited); outside of a hidden or invite-only room it does not exist. \
                 `join`, `read` (JOIN needs it too), `send` and `invite` say from whom on: `all`, `accounts`, `members` (on its list), \
                 `moderators` or `owner`; so does `topic` of who sets the topic. `slow` is the time between two messages of one sender, or `off`. `description` is a text. \
                 `history` is who may read what was said: `all` (who may read, the default), `joined` (who was in the room at that \
                 moment) or `none` (nobody: what was missed stays missed). `keep` is how long entries are kept: `forever`, a \
                 time such as `30d` or `12h`, a number of entries such as `1000`, or `default` for the daemon's own setting. `files` is \
                 `default`, `off` or the size of the largest file (`20 MiB`), `file-types` is `all` or a list such as `image/*,text/plain`. What \
                 was said before `history` changed stays with those who could read it then, and what was said while only members (or \
                 another rank) could read it stays with them when `access` or `read` is opened. A change is an entry that the room sees. \
                 In a private room only its members \
                 can change `access`, `read`, `join`, `invite` and `history`; an operator has to become one first, with ROLE.",
        example: "> SET #ops keep 30d\n< @id=131;time=2026-11-21T10:31:07.480Z :alice SET #ops keep=30d\n\
                  < @id=131;time=2026-11-21T10:31:07.480Z OK SET #ops",
    },
    Spec {
        verb: Verb::Edit,
        word: "EDIT",
        params: "<room or nick> <id> <text>",
        tags: "`key`, `who`",
        before_name: false,
        cost: 4,
        summary: "gives a message of one's own another text",
        detail: "The change is an entry of its own. Where the message is shown later, it has its present text and \
                 the tag `edited` with the id of the last change. What was said before is not kept: an EDIT that another \
                 one has overtaken has no text any more.",
        example: "> EDIT #lobby 119 good evening\n\
                  < @id=121;time=2026-11-21T10:15:12.300Z :alice EDIT #lobby 119 good evening\n\
                  < @id=121;time=2026-11-21T10:15:12.300Z OK EDIT #lobby",
    },
    Spec {
        verb: Verb::Delete,
        word: "DELETE",
        params: "<room or nick> <id>",
        tags: "`who`",
        before_name: false,
        cost: 4,
        summary: "takes a message of one's own away",
        detail: "Moderators of a room, and operators, may delete others' messages in it. The text goes from the log, from its changes and \
                 from the search; a message without a text and with the tag `deleted`, the id of this entry, stays.",
        example: "> DELETE #lobby 119\n\
                  < @id=122;time=2026-11-21T10:15:14.871Z :alice DELETE #lobby 119\n\
                  < @id=122;time=2026-11-21T10:15:14.871Z OK DELETE #lobby",
    },
    Spec {
        verb: Verb::React,
        word: "REACT",
        params: "<room or nick> <id> [reaction]",
        tags: "`who`",
        before_name: false,
        cost: 4,
        summary: "reacts to an entry with an emoji or a short word, or tells who has",
        detail: "A shortcode becomes its emoji. The same reaction again is the first one (`dup`). Where the entry is \
                 shown later, it has the tag `reactions`: a comma list of `reaction=count`, and `mine`: one's own. Without a reaction \
                 the answer is a row `REACTION id reaction nick time` for each, the oldest first.",
        example: "> REACT #lobby 118 :+1:\n\
                  < @id=123;time=2026-11-21T10:15:16.005Z :alice REACT #lobby 118 👍\n\
                  < @id=123;time=2026-11-21T10:15:16.005Z OK REACT #lobby",
    },
    Spec {
        verb: Verb::Unreact,
        word: "UNREACT",
        params: "<room or nick> <id> <reaction>",
        tags: "`who`",
        before_name: false,
        cost: 4,
        summary: "takes a reaction of one's own back",
        detail: "Without such a reaction the answer is `no-such-entry`.",
        example: "> UNREACT #lobby 118 👍\n\
                  < @id=124;time=2026-11-21T10:15:18.112Z :alice UNREACT #lobby 118 👍\n\
                  < @id=124;time=2026-11-21T10:15:18.112Z OK UNREACT #lobby",
    },
    Spec {
        verb: Verb::History,
        word: "HISTORY",
        params: "<room or nick> <LATEST|BEFORE id or time|AFTER id|AROUND id|SINCE time> [limit]",
        tags: "`who`, `only`",
        before_name: false,
        cost: 8,
        summary: "shows a page of what was said",
        detail: "Rows are entries as they were delivered, the oldest first, with their present text. A time is \
                 `2026-11-21` or `2026-11-21T10:15:07Z`. A page has 50 rows, or `limit` up to 1,000, or fewer if they \
                 are long; a limit that was reduced is in the OK's tag `limit`. The OK ends with `more` or `end`: \
                 whether there are more entries on the side where one goes on. A page by time (SINCE, and BEFORE a time) does not end inside a millisecond: it may be longer than `limit`. With `only=messages` it has messages and files alone. The tag `at` of the OK is the newest entry of the log that the answer knows of: what comes later is not in it. `GAP` rows tell of what is not kept \
                 any more. One need not be in a public room to read it; with a nick it is one's private messages \
                 with that person.",
        example: "> HISTORY #lobby BEFORE 119 1\n\
                  < @id=118;time=2026-11-21T10:14:41.733Z;reactions=👍=1 :bob MSG #lobby morning\n\
                  < @at=119 OK HISTORY #lobby more",
    },
    Spec {
        verb: Verb::Search,
        word: "SEARCH",
        params: "<room, nick or *> <query>",
        tags: "`before`, `limit`, `who`",
        before_name: false,
        cost: 40,
        summary: "finds messages by their words",
        detail: "`*` is everything one may read. The query has words, which must all be there, `\"phrases in \
                 order\"`, beginnings (`deploy*`), and `from:nick`, `in:#room`, `before:` and `after:` with a day or \
                 a time. Case, and accents of letters, make no difference. Rows are messages, the newest first; \
                 the OK says `more` or `end`, and with `more` the tag `next`: the next page has `before=<next>`. A \
                 page may end before it is full, or have no row, if the search takes too long. A query has at most 16 \
                 different words and phrases, and a phrase 8 words (`bad-query`).",
        example: "> @limit=1 SEARCH * \"disk full\" from:cron after:2026-11-01\n\
                  < @id=97;time=2026-11-20T03:00:02.480Z :cron MSG #ops disk full on db-2\n\
                  < @next=97;at=118 OK SEARCH more",
    },
    Spec {
        verb: Verb::Sync,
        word: "SYNC",
        params: "<cursor> [limit]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "brings up to date who comes back",
        detail: "Rows are the entries after the cursor, of the rooms one is in and of one's private messages, oldest \
                 first, and `GAP` where some of them are not kept any more. The OK names the cursor to go on with, \
                 and says `more`, or `live`: a session that came with `since` hears everything after that cursor \
                 from then on. Pages are as with HISTORY.",
        example: "> @since=9f2c51d07a6be834.117 NICK alice\n< @log=9f2c51d07a6be834;last=118 OK NICK alice\n\
                  > SYNC 9f2c51d07a6be834.117\n\
                  < @id=118;time=2026-11-21T10:14:41.733Z :bob MSG #lobby morning\n\
                  < OK SYNC 9f2c51d07a6be834.118 live",
    },
    Spec {
        verb: Verb::Ack,
        word: "ACK",
        params: "<cursor>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "says that everything up to a cursor has arrived",
        detail: "Now and then is enough. Who sent a private message hears `:bob DELIVERED alice <id>`: everything up \
                 to that id has arrived.",
        example: "> ACK 118\n< OK ACK",
    },
    Spec {
        verb: Verb::Read,
        word: "READ",
        params: "<room or nick> <id>",
        tags: "`receipt`, `who`",
        before_name: false,
        cost: 4,
        summary: "notes up to where one has read",
        detail: "The marker belongs to the identity and only goes forward; the OK tells where it stands. One's other \
                 sessions hear `:alice READ #room <id>`. With the tag `receipt`, in private messages, so does who \
                 wrote them: `:bob READ alice <id>`. There, the line to one's own sessions has the tag `own`.",
        example: "> READ #lobby 118\n< OK READ #lobby 118",
    },
    Spec {
        verb: Verb::Inbox,
        word: "INBOX",
        params: "",
        tags: "`before`, `limit`",
        before_name: false,
        cost: 4,
        summary: "lists one's conversations and what is unread in them",
        detail: "Rows are `CONVERSATION target last unread mentions`: the rooms one is in and the people one has \
                 private messages with; the newest entry's id (0 if there is none); messages of others after one's \
                 read marker, counted up to 1,000, or up to `most`, a tag of the OK, if there are many conversations; and how many of those name one or answer one's own. Tags: \
                 `read`, one's marker; with a person `who` (see *Names*), `delivered` and `seen`, up to where one's own messages have \
                 arrived and, if that person tells, were read; `protection`, how what is said is protected: `readable`, by the server and by nobody on the \
                 way to it, is the only value for now. The conversation with the newest entry comes first. A page has 200, or `limit` up to 1,000; if there are more, the OK has \
                 `next`, and the next page is asked for with `before=<next>`. The first page ends with invitations to private rooms that one has not followed yet: rows \
                 `INVITATION room nick time`.",
        example: "> INBOX\n< @read=117;protection=readable CONVERSATION #lobby 118 1 0\n< @who=001b6d0c44e7a2f3;delivered=96;protection=readable CONVERSATION bob 96 0 0\n\
                  < @at=118 OK INBOX 2",
    },
    Spec {
        verb: Verb::File,
        word: "FILE",
        params: "<OFFER|PUT|DONE|ACCEPT|DECLINE|CANCEL|GET|LIST|STATE> …",
        tags: "`key`, `type`, `re`, `caption`, `who`, `+…` with OFFER; `bytes` with PUT; `before`, `limit`, `who` with LIST",
        before_name: false,
        cost: 4,
        summary: "sends files, and fetches them",
        detail: "- `FILE OFFER <room or nick> <size or -> <sha256 or -> <name>` begins an upload; the OK has its handle and the offset \
                 to go on from. The same `key` again is the same upload, also after a loss or a restart; when it is complete, the OK has \
                 its entry's `id`. `type` is the media type.\n\
                 - `FILE PUT <handle> <offset>` has bytes behind it, which go there: always where the last ones ended. The OK has the next \
                 offset. Another offset is `bad-offset`, with the right one in the tag `offset`. As many as a session may have under \
                 way may be sent without waiting.\n\
                 - `FILE DONE <handle> <size> <sha256>` says that all is there. Only then, and if it is what was said, the others see the \
                 entry `:alice FILE OFFER #room name`, with the tags `size`, `sha256` and `type`. After a fetch, `FILE DONE <id> <size> \
                 <sha256>` tells the sender that it arrived.\n\
                 - `FILE ACCEPT <id>` and `FILE DECLINE <id>` tell the sender (the OK of ACCEPT has `name`, `from`, `size`, `sha256` and `type`), who hears `:bob FILE ACCEPT #room id`, and the same with \
                 DECLINE and DONE.\n\
                 - `FILE GET <id> <offset> <count>` answers with a row `FILE DATA <id> <offset>` that has bytes behind it, at most \
                 49,152, and an OK with the next offset and `more` or `end`.\n\
                 - `FILE CANCEL <handle or id>` gives an upload up, or takes a file back as DELETE does.\n\
                 - `FILE LIST [room, nick or *]` shows the files that are kept and one may fetch, everywhere or there, the newest first, as their entries, \
                 with the tag `state` of what one has said about it, or for the sender `accepted`, `declined` and `done` with how many have; \
                 and one's uploads under way as `FILE UPLOAD <handle> <room or nick> <name>` with `size` and `offset`.\n\
                 - `FILE STATE <id>` tells the sender who has said what: rows `FILE STATE <id> <nick> <state> <time>`.\n\n\
                 See *Files*.",
        example: "> FILE OFFER #lobby 6 - hello.txt\n< OK FILE OFFER u1 0\n> @bytes=6 FILE PUT u1 0\n> hello\n>\n\
                  < OK FILE PUT u1 6\n\
                  > FILE DONE u1 6 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\n\
                  < @id=125;time=2026-11-21T10:15:20.019Z;size=6;sha256=5891b5b5… :alice FILE OFFER #lobby hello.txt\n\
                  < @id=125;time=2026-11-21T10:15:20.019Z OK FILE DONE 125\n\
                  > FILE GET 125 0 49152\n< @bytes=6 FILE DATA 125 0\n< hello\n<\n< OK FILE GET 125 6 end",
    },
    Spec {
        verb: Verb::Register,
        word: "REGISTER",
        params: "<name> [password]",
        tags: "`invite`, `key`, `label`, `quiet`, `rooms`, `since`",
        before_name: true,
        cost: 8,
        summary: "makes an account, and is it from then on",
        detail: "A guest who registers keeps everything: rooms, messages, markers. The password is the rest of the line, 8 \
                 to 512 bytes; instead of one, or with one, `key` has an Ed25519 public key in base64 and `label` a word for \
                 it. As the first command it goes without NICK, and takes NICK's tags `quiet` and `since`. Passwords and keys \
                 are taken sealed, from the daemon's machine and over its Unix socket. `invite` has the token of an invite; where \
                 registration is by invite it has to be there.",
        example: "> REGISTER alice correct horse battery\n< @log=9f2c51d07a6be834;last=118 OK REGISTER alice",
    },
    Spec {
        verb: Verb::Auth,
        word: "AUTH",
        params: "<PASSWORD name password|KEY name key signature|TOKEN token>",
        tags: "`quiet`, `rooms`, `since`",
        before_name: true,
        cost: 8,
        summary: "comes in as an account, instead of NICK",
        detail: "Takes NICK's tags and is answered as NICK is. Without `quiet` the account comes into all its rooms; INBOX lists \
                 them with what is unread, and what came into them meanwhile is for SYNC or HISTORY. With `rooms` it comes into these as well, as far as it may JOIN them, and not by itself into the lobby. `KEY` exists on sealed connections: the key is an Ed25519 \
                 public key in base64, the signature is over the channel (see *Identities*). Who comes by a token may do what \
                 its scope says and is always `quiet`. Whatever is wrong, the answer is `bad-login`, and too many wrong tries \
                 are `slow-down` with `retry`, for that account from that address. If an operator has set the account's \
                 password since it last set one itself, the OK says who, in the tag `password-by`.",
        example: "> AUTH PASSWORD alice correct horse battery\n< @log=9f2c51d07a6be834;last=118 OK AUTH alice",
    },
    Spec {
        verb: Verb::Password,
        word: "PASSWORD",
        params: "<new>",
        tags: "`old`, `account`",
        before_name: false,
        cost: 4,
        summary: "changes one's password",
        detail: "An account that has a password gives it in `old`. Operators set another's with `account`, without `old`: that ends \
                 the account's sessions, which are told, and every OK to AUTH says so until it sets one itself. Else sessions that are there \
                 stay; keys and tokens always.",
        example: "> @old=correct\\shorse\\sbattery PASSWORD staple staple staple\n< OK PASSWORD alice",
    },
    Spec {
        verb: Verb::Unregister,
        word: "UNREGISTER",
        params: "<name>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "deletes an account: one's own, whose name is said once more",
        detail: "Its keys, tokens, profile and places in rooms go with it, and its sessions end (`kicked`). What it has said stays, under \
                 the name of then. Nobody who takes the name later inherits anything. Operators delete others'.",
        example: "> UNREGISTER alice\n< OK UNREGISTER alice\n< ERR - kicked the account is deleted",
    },
    Spec {
        verb: Verb::Key,
        word: "KEY",
        params: "[ADD key label|REMOVE label]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "lists, adds or removes keys that log in to one's account",
        detail: "Rows are `KEY label fingerprint added`. A key is an Ed25519 public key in base64; a label is 1 to 64 of \
                 `A-Za-z0-9._-`, one for each. At most 32.",
        example: "> KEY ADD 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y= laptop\n< OK KEY laptop\n\
                  > KEY\n< KEY laptop SHA256:UZyuk+k60BHXhTVYlEBe2PqBYsblStoTO7ttu5Mt9Xs 2026-11-21T10:15:07.020Z\n< OK KEY 1",
    },
    Spec {
        verb: Verb::Token,
        word: "TOKEN",
        params: "[ADD label|REMOVE label]",
        tags: "`may`, `rooms`, `rate`, `expires`",
        before_name: false,
        cost: 4,
        summary: "lists, makes or revokes tokens for scripts",
        detail: "The OK of `ADD` has the token, this once: only its hash is kept. `may` is a comma list of verbs, of which `send` \
                 (MSG, PRIV), `read` (JOIN, LEAVE, ROOMS, WHO, HISTORY, SEARCH, SYNC, ACK, READ, INBOX), `edit` (EDIT, DELETE, REACT, \
                 UNREACT) and `all` are groups; `rooms` a comma list of rooms, and then nothing else, private messages included; \
                 `rate` commands per minute; `expires` a time such as `90d`. No token may look after the account (REGISTER, PASSWORD, \
                 UNREGISTER, KEY, TOKEN). Rows are `TOKEN label added` with these tags. `REMOVE` ends its sessions. At most 64.",
        example: "> @may=send;rooms=#ops;expires=90d TOKEN ADD deploy\n< OK TOKEN deploy snugt_3XZb…\n\
                  > TOKEN\n< @may=MSG,PRIV;rooms=#ops;expires=2027-02-19T10:15:07.020Z TOKEN deploy 2026-11-21T10:15:07.020Z\n< OK TOKEN 1",
    },
    Spec {
        verb: Verb::Invite,
        word: "INVITE",
        params: "[room nick]",
        tags: "`expires`",
        before_name: false,
        cost: 4,
        summary: "invites somebody to a room, or makes an invite to the server",
        detail: "Who is invited to a room is on its list: may JOIN, read and speak as a member. The room sees \
                 `:alice INVITE #room bob`, and so does bob. Without parameters the OK has a token that makes one account (REGISTER \
                 with the tag `invite`), within 7 days or `expires`, and the tags `address` and `fingerprint` of the server.",
        example: "> INVITE #ops bob\n< @id=125;time=2026-11-21T10:15:20.019Z :alice INVITE #ops bob\n\
                  < @id=125;time=2026-11-21T10:15:20.019Z OK INVITE #ops",
    },
    Spec {
        verb: Verb::Status,
        word: "STATUS",
        params: "<online|away|busy> [text]",
        tags: "",
        before_name: false,
        cost: 1,
        summary: "tells how one is here",
        detail: "Holds for all sessions until the last one ends. The others in one's rooms see `:alice STATUS away text`; WHO shows it. \
                 A text has at most 256 bytes.",
        example: "> STATUS away lunch\n< @time=2026-11-21T12:00:01.009Z :alice STATUS away lunch\n< OK STATUS away",
    },
    Spec {
        verb: Verb::Profile,
        word: "PROFILE",
        params: "<nick> [name value]",
        tags: "`clear`, `bytes`",
        before_name: false,
        cost: 1,
        summary: "shows an account's profile, or changes one's own",
        detail: "Rows are `PROFILE nick name=value`: `display` (a name to show, at most 64 bytes), `colour` (`#rrggbb`) and `avatar` (the media \
                 type of a picture). WHO, JOIN, and the rows and events about an avatar have its hash in the tag `avatar`: the first 16 hexadecimal \
                 digits of its SHA-256, so that a client fetches each once. `clear` with a name takes it away. An avatar is set with its bytes behind the line, at most 65,535: \
                 `@bytes=… PROFILE alice avatar image/png` (or `image/jpeg`, `image/webp`, `image/gif`); `PROFILE alice avatar` is answered by a row with \
                 its bytes. The others in one's rooms see a change as `:alice PROFILE alice name=value`.",
        example: "> PROFILE alice colour #3584e4\n< @time=2026-11-21T10:15:21.330Z :alice PROFILE alice colour=#3584e4\n< OK PROFILE alice\n> PROFILE alice\n< PROFILE alice colour=#3584e4\n< OK PROFILE alice",
    },
    Spec {
        verb: Verb::Close,
        word: "CLOSE",
        params: "<room or *> [reason]",
        tags: "",
        before_name: false,
        cost: 8,
        summary: "ends a room, with all that was said in it",
        detail: "Whoever is in it sees `:alice CLOSE #ops reason`, and then it is gone, its history, files and list too: JOIN makes an \
                 empty one. That cannot be taken back. Owners close their rooms, operators any but `#lobby`. `CLOSE *` closes all rooms that \
                 guests made, in which nobody is and in which nobody with an account, and no user of the daemon's machine, has ever spoken. \
                 The OK says how many. Such rooms go by themselves when nothing was said in them for the time `guests.rooms`.",
        example: "> CLOSE #ops we have moved to #board\n< @time=2026-11-21T10:15:20.127Z :alice CLOSE #ops we have moved to #board\n\
                  < OK CLOSE #ops",
    },
    Spec {
        verb: Verb::Kick,
        word: "KICK",
        params: "<room or *> <nick> [reason]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "puts somebody out of a room, or ends their sessions (`*`)",
        detail: "The room sees `:alice KICK #ops bob reason`, bob too, and then he is out. Of an invite-only room's list he is off. Nobody puts out \
                 somebody of a role as high as one's own.",
        example: "> KICK #ops bob too loud\n< @id=126;time=2026-11-21T10:15:22.019Z :alice KICK #ops bob too loud\n\
                  < @id=126;time=2026-11-21T10:15:22.019Z OK KICK #ops",
    },
    Spec {
        verb: Verb::Ban,
        word: "BAN",
        params: "<room or *> [who [reason]]",
        tags: "`expires`",
        before_name: false,
        cost: 4,
        summary: "keeps somebody out, or lists who is kept out",
        detail: "`who` is a nick, of somebody or of nobody now: then the ban holds for who takes the name, and for the guest who had it last; on the server (`*`) also an address or range (`192.0.2.0/24`) or a token as `account/label`. Who is banned from \
                 a room can neither enter, read nor speak in it; on the server, come in at all. A guest is whoever shows his token: to \
                 keep out who comes back as another, ban the address. A room holds at most 1,000 bans (`too-many`). Rows of the list are `BAN room who until reason`, with the tags `by` and \
                 `time`.",
        example: "> @expires=7d BAN #ops bob spam\n< @id=127;time=2026-11-21T10:15:24.019Z :alice BAN #ops bob spam\n\
                  < @id=127;time=2026-11-21T10:15:24.019Z OK BAN #ops",
    },
    Spec {
        verb: Verb::Unban,
        word: "UNBAN",
        params: "<room or *> <who>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "takes a ban back",
        detail: "`who` as BAN lists it.",
        example: "> UNBAN #ops bob\n< @id=128;time=2026-11-21T10:15:26.019Z :alice UNBAN #ops bob\n\
                  < @id=128;time=2026-11-21T10:15:26.019Z OK UNBAN #ops",
    },
    Spec {
        verb: Verb::Mute,
        word: "MUTE",
        params: "<room or *> <nick> <time or off> [reason]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "lets somebody hear and not speak for a while",
        detail: "A time is `30s`, `10m`, `4h` or `90d`. On the server (`*`) it is everywhere, private messages included. What a muted one says is \
                 refused: `muted`, with `retry`.",
        example: "> MUTE #ops bob 10m shouting\n< @id=129;time=2026-11-21T10:15:28.019Z :alice MUTE #ops bob 10m shouting\n\
                  < @id=129;time=2026-11-21T10:15:28.019Z OK MUTE #ops",
    },
    Spec {
        verb: Verb::Role,
        word: "ROLE",
        params: "<room or *> [nick [role]]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "shows who is what, or changes it",
        detail: "In a room: `owner` (one; who gave it away is a moderator; if one gives up being it, the one who has been a moderator longest follows, or nobody), `moderator`, `member` (on its list) or `none`. On the server (`*`), of \
                 accounts: `operator`, `member` or `bot` (its messages have the tag `bot`). Rows are `ROLE room nick role`, with the tag `former` if \
                 the name is somebody else's now. Nobody raises himself.",
        example: "> ROLE #ops bob moderator\n< @id=130;time=2026-11-21T10:15:30.019Z :alice ROLE #ops bob moderator\n\
                  < @id=130;time=2026-11-21T10:15:30.019Z OK ROLE #ops",
    },
    Spec {
        verb: Verb::Stats,
        word: "STATS",
        params: "",
        tags: "",
        before_name: false,
        cost: 2,
        summary: "tells how the daemon is doing",
        detail: "Rows are `STAT name=value`: counts since the start and of now, times in microseconds (`commit-p50`, `commit-p99` for a pack, \
                 `delivery-p50`, `delivery-p99` from the command to the outboxes), and `refused-<code>` for each code that was answered.",
        example: "> STATS\n< STAT uptime=86400\n< STAT sessions=12\n…\n< OK STATS 24",
    },
    Spec {
        verb: Verb::Sessions,
        word: "SESSIONS",
        params: "",
        tags: "",
        before_name: false,
        cost: 1,
        summary: "lists the connections",
        detail: "Rows are `SESSION number nick from since`; `from` is an address, `unix:<user id>`, `bot` or `embedder`; a connection \
                 without a name has the nick `*`. Tags: `token` (the label of the one that it came by), `waiting` (bytes in its outbox), `quiet`.",
        example: "> SESSIONS\n< SESSION 7 alice 192.0.2.7 2026-11-21T10:15:02.113Z\n< OK SESSIONS 1",
    },
    Spec {
        verb: Verb::Accounts,
        word: "ACCOUNTS",
        params: "",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "lists the accounts",
        detail: "Rows are `ACCOUNT name role since`, with the tags `keys`, `tokens` (how many), `password` (there is one) and `online`.",
        example: "> ACCOUNTS\n< @keys=1;tokens=2;password;online ACCOUNT alice operator 2026-11-21T10:15:02.113Z\n< OK ACCOUNTS 1",
    },
    Spec {
        verb: Verb::Announce,
        word: "ANNOUNCE",
        params: "<text>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "tells everybody who is here something",
        detail: "Every session that came in without a token hears `:alice ANNOUNCE text`; the OK has their number. It is no entry.",
        example: "> ANNOUNCE the network will be slow tonight\n< :alice ANNOUNCE the network will be slow tonight\n< OK ANNOUNCE 12",
    },
    Spec {
        verb: Verb::Audit,
        word: "AUDIT",
        params: "<LATEST|BEFORE id|AFTER id|SINCE time|FOLLOW|VERIFY> [limit]",
        tags: "`user`, `event`",
        before_name: false,
        cost: 8,
        summary: "shows what was done, and whether that record is whole",
        detail: "Rows are `AUDIT event who whom [detail]`, the oldest first, with the tags `id`, `time` and `address`; `-` is nobody. `user` and \
                 `event` narrow it down. `FOLLOW` goes on with rows as they come. `VERIFY` reads all of it: each row has a hash \
                 over itself and the one before, so that nothing can be changed or taken out unnoticed; the OK has the count and the last \
                 hash. Pages are as with HISTORY.",
        example: "> @event=ban AUDIT LATEST 1\n< @id=412;time=2026-11-21T10:15:24.019Z;address=192.0.2.7 AUDIT ban alice bob #ops spam\n\
                  < OK AUDIT more",
    },
    Spec {
        verb: Verb::Reload,
        word: "RELOAD",
        params: "[clock]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "reads the settings again",
        detail: "As SIGHUP does. Rows are `INFO restart=name` for settings that have changed and take effect at the next start. `RELOAD \
                 clock` takes the machine's date for right: if it jumps ahead by more than an hour, or at the start by more than 30 days, \
                 the daemon goes on by the time that passes, so that a wrong date removes nothing, and says so in its log.",
        example: "> RELOAD\n< OK RELOAD 0",
    },
    Spec {
        verb: Verb::Shutdown,
        word: "SHUTDOWN",
        params: "<NOW|time|CANCEL> [reason]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "stops the daemon, with notice",
        detail: "Every session hears `:alice SHUTDOWN seconds reason`, now and again when half of the time is over and near the end; \
                 `:alice SHUTDOWN off` if it is called off. What was said is committed and answered, then the sessions end \
                 (`shutting-down`).",
        example: "> SHUTDOWN 30s a new version\n< :alice SHUTDOWN 30 a new version\n< OK SHUTDOWN 30",
    },
    Spec {
        verb: Verb::Backup,
        word: "BACKUP",
        params: "<path>",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "writes a copy of the log to a new file",
        detail: "For operators, with an absolute path on the daemon's machine. The daemon goes on meanwhile. The copy \
                 is put into place whole, and is of the moment at which the command began. Files that were sent are not in it. A daemon that is started \
                 with it gives its log a new name.",
        example: "> BACKUP /var/backups/snug.db\n< OK BACKUP /var/backups/snug.db",
    },
    Spec {
        verb: Verb::Commands,
        word: "COMMANDS",
        params: "[room]",
        tags: "",
        before_name: false,
        cost: 1,
        summary: "lists what bots can be asked",
        detail: "Rows are `COMMAND bot usage`, with the tags `help` and `params`: a list of `name:kind`, with a `?` behind what may be left \
                 out; kinds are `word`, `text`, `int`, `duration`, `user`, `room` and `a|b|c`. In a room a command is said as a message, \
                 `!roll 2d6` or `/roll 2d6`; to the bot alone also without its sign.",
        example: "> COMMANDS #lobby\n< @help=rolls\\sdice;params=dice:word? COMMAND roll !roll [dice]\n< OK COMMANDS 1",
    },
    Spec {
        verb: Verb::Bot,
        word: "BOT",
        params: "<LIST|ENABLE|DISABLE|RESTART|LOGS> [name]",
        tags: "",
        before_name: false,
        cost: 4,
        summary: "looks after the daemon's bots",
        detail: "Rows of LIST are `BOT name nick state`, with the tags `kind` (`box`, `script`, `command`), `since` and `restarts`; the state is \
                 `running`, `waiting` (it ended, and is started again soon), `disabled` or `failed` (it ended too often: RESTART). DISABLE holds \
                 until the daemon ends or ENABLE. Rows of LOGS are `BOTLOG name line`: what a script has written to its standard error, and what \
                 became of it, the newest last.",
        example: "> BOT LIST\n< @kind=script;since=2026-11-21T10:15:02.113Z BOT weather weather running\n< OK BOT LIST 1",
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
