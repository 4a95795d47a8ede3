//! Who may do what, in one table. The daemon asks it, PROTOCOL.md shows it, and a test tries every row as every role.

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::Verb;

/// What somebody is to the daemon or to a room. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A connection without a name.
    Nobody,
    /// Somebody with a name and no account.
    #[default]
    Guest,
    /// An account of a program.
    Bot,
    /// An account, or a user of the daemon's machine.
    Member,
    /// Keeps order in a room.
    Moderator,
    /// Whose room it is.
    Owner,
    /// Runs the daemon.
    Operator,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 7] =
        [Role::Nobody, Role::Guest, Role::Bot, Role::Member, Role::Moderator, Role::Owner, Role::Operator];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Nobody => "nobody",
            Role::Guest => "guest",
            Role::Bot => "bot",
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Owner => "owner",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(word: &str) -> Result<Role, ()> {
        Role::ALL.into_iter().find(|role| role.word() == word).ok_or(())
    }
}

macro_rules! actions {
    ($($action:ident = $verb:ident, $least:ident, $what:literal;)+) => {
        /// Something that not everybody may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the table says what each is")]
        pub enum Action { $($action,)+ }

        impl Action {
            /// Every action, in the order of the verbs.
            pub const ALL: &[Action] = &[$(Action::$action),+];

            /// Its verb.
            pub fn verb(self) -> Verb {
                match self { $(Action::$action => Verb::$verb),+ }
            }

            /// The least role that may do it; in rooms, in one with the settings that it was made with.
            pub fn least(self) -> Role {
                match self { $(Action::$action => Role::$least),+ }
            }

            /// What of the verb it is; empty for all of it.
            pub fn what(self) -> &'static str {
                match self { $(Action::$action => $what),+ }
            }
        }
    };
}

actions! {
    Hello = Hello, Nobody, "";
    Nick = Nick, Nobody, "";
    Quit = Quit, Nobody, "";
    Ping = Ping, Nobody, "";
    Pong = Pong, Nobody, "";
    Help = Help, Nobody, "";
    Info = Info, Nobody, "";
    Msg = Msg, Guest, "";
    Priv = Priv, Guest, "";
    Typing = Typing, Guest, "";
    Join = Join, Guest, "";
    Leave = Leave, Guest, "";
    Rooms = Rooms, Guest, "";
    Who = Who, Guest, "";
    Watch = Watch, Guest, "";
    Topic = Topic, Guest, "";
    ShowSettings = Set, Guest, "to show";
    ChangeSettings = Set, Owner, "to change";
    Edit = Edit, Guest, "of one's own message";
    Delete = Delete, Guest, "of one's own message";
    DeleteOthers = Delete, Moderator, "of another's message in a room";
    React = React, Guest, "";
    Unreact = Unreact, Guest, "";
    History = History, Guest, "";
    Search = Search, Guest, "";
    Sync = Sync, Guest, "";
    Ack = Ack, Guest, "";
    Read = Read, Guest, "";
    Inbox = Inbox, Guest, "";
    File = File, Guest, "";
    CancelOthers = File, Moderator, "to take back another's file in a room";
    Register = Register, Nobody, "";
    Auth = Auth, Nobody, "";
    Password = Password, Bot, "of one's own account";
    PasswordOfOthers = Password, Operator, "of another's account";
    Unregister = Unregister, Bot, "one's own account";
    UnregisterOthers = Unregister, Operator, "another's account";
    Key = Key, Bot, "";
    Token = Token, Bot, "";
    InviteToServer = Invite, Member, "to the server";
    InviteToRoom = Invite, Moderator, "to a room; also who is on its list, unless its setting `invite` says otherwise";
    Status = Status, Guest, "";
    ShowProfile = Profile, Guest, "to show";
    ChangeProfile = Profile, Bot, "to change one's own";
    CloseRoom = Close, Owner, "a room";
    CloseRoomsOfGuests = Close, Operator, "the empty rooms of guests (`*`)";
    KickFromRoom = Kick, Moderator, "from a room";
    KickFromServer = Kick, Operator, "from the server (`*`)";
    BanFromRoom = Ban, Moderator, "from a room, or to list";
    BanFromServer = Ban, Operator, "from the server (`*`), or to list";
    UnbanInRoom = Unban, Moderator, "in a room";
    UnbanOnServer = Unban, Operator, "on the server (`*`)";
    MuteInRoom = Mute, Moderator, "in a room";
    MuteOnServer = Mute, Operator, "on the server (`*`)";
    ShowRole = Role, Guest, "to show";
    AdmitToRoom = Role, Moderator, "to make `member` or `none` in a room";
    ChangeRoleInRoom = Role, Owner, "to make or unmake `moderator` or `owner` in a room";
    ChangeRoleOnServer = Role, Operator, "on the server (`*`)";
    Stats = Stats, Operator, "";
    Sessions = Sessions, Operator, "";
    Accounts = Accounts, Operator, "";
    Announce = Announce, Operator, "";
    Audit = Audit, Operator, "";
    Reload = Reload, Operator, "";
    Shutdown = Shutdown, Operator, "";
    Backup = Backup, Operator, "";
    Commands = Commands, Guest, "";
    Bot = Bot, Operator, "";
}

/// The table of roles in PROTOCOL.md, in Markdown.
pub fn roles_table() -> String {
    let mut out = "| verb | what | guest | bot | member | moderator | owner | operator |\n\
                   |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for action in Action::ALL {
        // Writing to a String cannot fail.
        let _ = write!(out, "| {} | {} |", action.verb().word(), action.what());
        for role in &Role::ALL[1..] {
            out.push_str(if *role >= action.least() { " yes |" } else { " |" });
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VERBS;

    #[test]
    fn every_verb_has_its_actions_in_order() {
        let mut verbs: Vec<Verb> = Action::ALL.iter().map(|action| action.verb()).collect();
        verbs.dedup();
        assert_eq!(verbs, VERBS.iter().map(|spec| spec.verb).collect::<Vec<_>>());
        for action in Action::ALL {
            assert_eq!(
                action.verb().spec().before_name,
                action.least() == Role::Nobody,
                "{action:?}: the table of verbs and this one say the same"
            );
        }
    }

    #[test]
    fn words_read_back() {
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
        }
    }
}
