//! The words that say what went wrong.

use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($variant:ident = $word:literal: $meaning:literal,)+) => {
        /// The code of an `ERR`: one word a program can act on. What stands behind it on the line is for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// Every code, in the order of PROTOCOL.md.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// The word on the wire.
            pub fn word(self) -> &'static str {
                match self { $(Code::$variant => $word),+ }
            }

            /// What it means and what to do, for the reference.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning),+ }
            }
        }
    };
}

codes! {
    BadLine = "bad-line": "The line does not follow the grammar, or is not UTF-8 without control characters. Mend the line.",
    LineTooLong = "line-too-long": "The line is longer than the limit (INFO: `line`, 4096 before NICK). Split it, or send a file.",
    BadTag = "bad-tag": "A tag is malformed, stands twice, or has a value its verb does not take.",
    UnknownVerb = "unknown-verb": "No such verb. HELP lists them.",
    MissingParameter = "missing-parameter": "A required parameter is not there. The text shows the usage.",
    SurplusParameter = "surplus-parameter": "More stands on the line than the verb takes, or two spaces stand together.",
    BadParameter = "bad-parameter": "A parameter is not one of the words or numbers that the verb takes.",
    BadSecret = "bad-secret": "The password is too short, too long or the name itself, or the key is none. The text says which.",
    ClearText = "clear-text": "Passwords and tokens do not cross a network in the clear. Use the envelope.",
    BadNick = "bad-nick": "The word is no nick.",
    BadRoom = "bad-room": "The word is no room's name.",
    BadName = "bad-name": "The text is no name of a file: it would be a path, is too long, or has characters that deceive. Send another name.",
    BadOffset = "bad-offset": "The bytes do not go on where those before ended, or are behind the end. The tag `offset` has the place to go on from.",
    NoText = "no-text": "The verb says a text, and there is none.",
    TooLong = "too-long": "The text is longer than the limit (INFO: `text`). Split it, or send a file.",
    TooLarge = "too-large": "More bytes were announced behind a line than the limit (INFO: `bytes`). The connection is closed.",
    NoBytes = "no-bytes": "This verb takes no bytes. Those that were announced are passed over.",
    NickNeeded = "nick-needed": "The verb needs a name: say NICK first.",
    NickTaken = "nick-taken": "Somebody else holds this name. Take another, or join the identity with its token.",
    LoginNeeded = "login-needed": "This takes an account: AUTH, or REGISTER. Also a name that is an account's, and guests where there are none.",
    BadLogin = "bad-login": "Name, password, key or token do not go together. Which of them is not told.",
    InviteNeeded = "invite-needed": "Registration here is by invite, and this one is missing, used up or too old. Ask a member for one.",
    OutOfScope = "out-of-scope": "The token of this session, or the table of a bot in the settings, does not allow it. Make another token (TOKEN), or change `may`.",
    Banned = "banned": "You are kept out of this room or server. The text says until when and why.",
    Muted = "muted": "You may hear and not speak for now. The tag `retry` has the seconds.",
    Kicked = "kicked": "An operator has ended your sessions. The connection is closed.",
    SlowDown = "slow-down": "Too much or too often. Nothing was done; the tag `retry` has the seconds after which to try again.",
    LooksAlike = "looks-alike": "The name can be taken for one that exists. Take one that cannot.",
    NoSuchNick = "no-such-nick": "Nobody here has this name. WHO lists who is.",
    NoSuchRoom = "no-such-room": "There is no such room. ROOMS lists them; JOIN makes one.",
    NoSuchEntry = "no-such-entry": "There is no entry with this id that you may see in this conversation.",
    NoSuchFile = "no-such-file": "There is no such upload of yours, or no file with this entry that is kept and that you may fetch. FILE LIST shows them.",
    OverQuota = "over-quota": "The file is larger than may be sent here, or what may be kept is used up. The text says which; take files back (FILE CANCEL), or ask the operator.",
    NoSuchBot = "no-such-bot": "The daemon has no bot of this name. BOT LIST lists them.",
    BadQuery = "bad-query": "The query does not follow the query language of SEARCH. The text says what is wrong.",
    Denied = "denied": "You may not do this: it is another's entry or room, or takes a higher role. PROTOCOL.md has the table of who may what.",
    NotInRoom = "not-in-room": "You are not in this room. JOIN it first.",
    HashMismatch = "hash-mismatch": "What is there is not what was said or written: a file's content, or the audit trail. The text says where.",
    KeyReused = "key-reused": "This key was used for another text to the same target. Take a new key.",
    TooMany = "too-many": "A limit on how many there may be is reached (sessions, rooms). Close some, or try again later.",
    StorageFull = "storage-full": "The daemon's disk is full: nothing was done. Tell its operator, and repeat it later.",
    Unavailable = "unavailable": "The daemon cannot do it now. Of a message the outcome is not known: it may still arrive. Repeat it, with the same key.",
    TooSlow = "too-slow": "You read nothing while much waited for you, and that was discarded. Connect again and resume. The connection is closed.",
    Timeout = "timeout": "No name was taken, or no sign of life came, in time. The connection is closed.",
    Plaintext = "plaintext": "This daemon does not talk in the clear to where you come from. Use the envelope. The connection is closed.",
    NotChat = "not-chat": "This looks like HTTP or a binary protocol. The connection is closed.",
    TooLate = "too-late": "HELLO is only the first line of a connection (the connection is closed), and AUTH comes before a name.",
    ShuttingDown = "shutting-down": "The daemon is stopping. Connect again later. The connection is closed.",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Code {
    type Err = ();

    /// Reads a code's word; an unknown one, of a newer daemon, is no code.
    fn from_str(word: &str) -> Result<Code, ()> {
        Code::ALL.iter().copied().find(|code| code.word() == word).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for &code in Code::ALL {
            assert_eq!(code.word().parse(), Ok(code));
        }
    }
}
