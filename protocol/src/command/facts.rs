//! What is true of a command by itself, whoever says it and wherever it is heard.

use std::borrow::Cow;

use crate::{
    BotOrder, Command, FileCommand, FileOffer, KeyChange, MessageTags, RoomName, RoomOrServer, Target,
    TokenChange, TopicChange,
};

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim<'c> {
    /// A room.
    Room(&'c RoomName<'c>),
    /// One person.
    Person,
    /// The whole server, or everything that one may see.
    Everything,
}

impl<'c> Aim<'c> {
    fn of(target: &'c Target<'c>) -> Aim<'c> {
        match target {
            Target::Room(room) => Aim::Room(room),
            Target::Nick(_) | Target::Person { .. } => Aim::Person,
        }
    }

    fn at(place: &'c RoomOrServer<'c>) -> Aim<'c> {
        match place {
            RoomOrServer::Room(room) => Aim::Room(room),
            RoomOrServer::Server => Aim::Everything,
        }
    }
}

impl<'a> Command<'a> {
    /// What says a text to a room or a person: MSG or PRIV.
    pub fn say(to: Target<'a>, text: impl Into<Cow<'a, str>>, tags: MessageTags<'a>) -> Command<'a> {
        let (text, who) = (text.into(), to.who());
        match to {
            Target::Room(room) => Command::Msg { room, text, tags },
            Target::Nick(nick) | Target::Person { nick, .. } => Command::Priv { nick, who, text, tags },
        }
    }

    /// The room or person that it is addressed to, where either can stand.
    pub fn target(&self) -> Option<&Target<'a>> {
        match self {
            Command::Typing { target, .. }
            | Command::Edit { target, .. }
            | Command::Delete { target, .. }
            | Command::React { target, .. }
            | Command::Reactions { target, .. }
            | Command::Unreact { target, .. }
            | Command::History { target, .. }
            | Command::Read { target, .. }
            | Command::Search { target: Some(target), .. }
            | Command::Who { of: Some(target) }
            | Command::File(
                FileCommand::Offer(FileOffer { target, .. }) | FileCommand::List { of: Some(target), .. },
            ) => Some(target),
            _ => None,
        }
    }

    /// What it is about; `None` if about nothing in particular, or about a file, of which only the daemon knows where it
    /// belongs.
    pub fn aim(&self) -> Option<Aim<'_>> {
        if let Some(target) = self.target() {
            return Some(Aim::of(target));
        }
        Some(match self {
            Command::Msg { room, .. }
            | Command::Join { room }
            | Command::Leave { room, .. }
            | Command::Topic { room, .. }
            | Command::Commands { room: Some(room) }
            | Command::Set { room, .. }
            | Command::Invite { to: Some((room, _)), .. } => Aim::Room(room),
            Command::Close { place, .. }
            | Command::Kick { place, .. }
            | Command::Ban { place, .. }
            | Command::Unban { place, .. }
            | Command::Mute { place, .. }
            | Command::Role { place, .. } => Aim::at(place),
            Command::Priv { .. } | Command::Profile { .. } | Command::Watch { .. } => Aim::Person,
            Command::Search { .. }
            | Command::Ack { .. }
            | Command::Who { .. }
            | Command::Rooms
            | Command::Inbox { .. }
            | Command::Invite { to: None, .. }
            | Command::Status { .. }
            | Command::Stats
            | Command::Sessions
            | Command::Accounts
            | Command::Announce { .. }
            | Command::Audit { .. }
            | Command::Reload { .. }
            | Command::Shutdown { .. }
            | Command::Commands { room: None }
            | Command::Bot { .. }
            | Command::Backup { .. } => Aim::Everything,
            Command::Hello
            | Command::Nick { .. }
            | Command::Quit { .. }
            | Command::Ping { .. }
            | Command::Pong { .. }
            | Command::Help { .. }
            | Command::Info
            | Command::Sync { .. }
            | Command::Register { .. }
            | Command::Auth { .. }
            | Command::Password { .. }
            | Command::Unregister { .. }
            | Command::Key { .. }
            | Command::Token { .. }
            | Command::File(_)
            | Command::Typing { .. }
            | Command::Edit { .. }
            | Command::Delete { .. }
            | Command::React { .. }
            | Command::Reactions { .. }
            | Command::Unreact { .. }
            | Command::History { .. }
            | Command::Read { .. } => return None,
        })
    }

    /// Whether it appends an entry about a text: such commands may follow each other without waiting for the answers.
    pub fn is_append(&self) -> bool {
        match self {
            Command::Msg { .. }
            | Command::Priv { .. }
            | Command::Edit { .. }
            | Command::Delete { .. }
            | Command::React { .. }
            | Command::Unreact { .. } => true,
            Command::Topic { change, .. } => *change != TopicChange::Ask,
            _ => false,
        }
    }

    /// Whether it is an act that others see or are told of, without being a text: an act of authority, or one about a file.
    pub fn is_act(&self) -> bool {
        matches!(
            self,
            Command::Invite { .. }
                | Command::Close { .. }
                | Command::Set { change: Some(_), .. }
                | Command::Kick { .. }
                | Command::Ban { whom: Some(_), .. }
                | Command::Unban { .. }
                | Command::Mute { .. }
                | Command::Role { role: Some(_), .. }
                | Command::File(
                    FileCommand::Offer(_)
                        | FileCommand::Done { .. }
                        | FileCommand::Accept { .. }
                        | FileCommand::Decline { .. }
                        | FileCommand::Cancel { .. }
                )
        )
    }

    /// Whether lines with its label and a source, which come before its OK, are events that it causes and no rows.
    pub fn is_event(&self) -> bool {
        self.is_append() || self.is_act()
    }

    /// Whether saying it twice does the same as saying it once, and is answered alike: it may be repeated when its answer
    /// was lost.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Command::Msg { tags, .. } | Command::Priv { tags, .. } => tags.key.is_some(),
            Command::Topic { change, key, .. } => key.is_some() || *change == TopicChange::Ask,
            Command::Edit { key, .. } => key.is_some(),
            // Twice is not the same as once, or says that it is there already.
            Command::Register { .. }
            | Command::Auth { .. }
            | Command::Password { .. }
            | Command::Unregister { .. }
            | Command::Invite { .. }
            | Command::Close { .. }
            | Command::Kick { .. }
            | Command::Ban { .. }
            | Command::Unban { .. }
            | Command::Mute { .. }
            | Command::Announce { .. }
            | Command::Shutdown { .. }
            | Command::Key { change: KeyChange::Add(..) | KeyChange::Remove(_) }
            | Command::Token { change: TokenChange::Add { .. } | TokenChange::Remove(_) }
            | Command::Role { role: Some(_), .. }
            | Command::Quit { .. }
            | Command::Nick { .. }
            | Command::Leave { .. }
            | Command::Unreact { .. }
            | Command::Bot { order: BotOrder::Restart(_) }
            | Command::File(FileCommand::Offer(FileOffer { key: None, .. }) | FileCommand::Cancel { .. })
            | Command::Backup { .. } => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Aim;
    use crate::{Line, Request, VERBS};

    /// Calls `check` with a command as it is written.
    fn with(text: &str, check: impl FnOnce(&crate::Command<'_>)) {
        let line = Line::parse(text).expect("a line");
        check(&Request::parse(&line).expect("a command").command);
    }

    #[test]
    fn a_command_is_about_a_room_a_person_or_everything() {
        let room =
            |text: &str| with(text, |command| assert!(matches!(command.aim(), Some(Aim::Room(_))), "{text}"));
        ["MSG #a hi", "BAN #a bob", "SEARCH #a hi", "WHO #a", "FILE LIST #a", "JOIN #a"]
            .into_iter()
            .for_each(room);
        let person =
            |text: &str| with(text, |command| assert_eq!(command.aim(), Some(Aim::Person), "{text}"));
        ["PRIV bob hi", "HISTORY bob LATEST", "WHO bob", "PROFILE bob"].into_iter().for_each(person);
        let all =
            |text: &str| with(text, |command| assert_eq!(command.aim(), Some(Aim::Everything), "{text}"));
        ["BAN * bob", "ROOMS", "WHO", "INBOX", "STATS"].into_iter().for_each(all);
        ["PING", "INFO", "FILE GET 1 0 1"]
            .into_iter()
            .for_each(|text| with(text, |command| assert_eq!(command.aim(), None)));
    }

    #[test]
    fn what_is_said_twice_and_what_is_not() {
        let can = |text: &str| with(text, |command| assert!(command.is_repeatable(), "{text}"));
        ["@key=k MSG #a hi", "HISTORY #a LATEST", "JOIN #a", "TOPIC #a", "DELETE #a 1", "READ #a 1"]
            .into_iter()
            .for_each(can);
        let cannot = |text: &str| with(text, |command| assert!(!command.is_repeatable(), "{text}"));
        ["MSG #a hi", "NICK bob", "KICK #a bob", "LEAVE #a", "UNREACT #a 1 x", "TOKEN ADD t"]
            .into_iter()
            .for_each(cannot);
        with("TOPIC #a", |command| assert!(!command.is_append()));
        with("TOPIC #a new", |command| assert!(command.is_append()));
        with("BAN #a", |command| assert!(!command.is_act()));
        with("BAN #a bob", |command| assert!(command.is_act()));
    }

    #[test]
    fn the_table_of_verbs_has_an_example_that_each_fact_can_be_told_of() {
        for spec in VERBS {
            for said in spec.example.lines().filter_map(|line| line.strip_prefix("> ")) {
                let Ok(line) = Line::parse(said) else { continue };
                let Ok(request) = Request::parse(&line) else { continue };
                let command = request.command;
                assert!(!(command.is_append() && command.is_act()), "{said} is one or the other");
                assert!(!command.is_append() || command.aim().is_some(), "{said} is said somewhere");
            }
        }
    }
}
