//! Who and where a connection is, from its own events: its nick, the rooms it is in, its status. With it the next connection
//! is who and where this one was.

use crate::event::Event;
use snug_protocol::{Body, Command, EntryKind, Nick, Presence, RoomName, ServerLine};

/// What a connection has become since it came in.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    nick: String,
    rooms: Vec<RoomName<'static>>,
    status: Option<(Presence, Option<String>)>,
    /// Whether it has left the lobby, into which everybody comes.
    left_lobby: bool,
}

impl Whereabouts {
    /// A connection that holds a nick and is in the rooms that it was to join.
    pub(crate) fn new(nick: &str, rooms: &[RoomName<'static>]) -> Whereabouts {
        Whereabouts { nick: nick.to_owned(), rooms: rooms.to_vec(), status: None, left_lobby: false }
    }

    /// The nick that it holds.
    pub(crate) fn nick(&self) -> &str {
        &self.nick
    }

    /// Notes the nick of the next connection.
    pub(crate) fn set_nick(&mut self, nick: &str) {
        nick.clone_into(&mut self.nick);
    }

    /// The rooms that it is in, beside the lobby.
    pub(crate) fn rooms(&self) -> &[RoomName<'static>] {
        &self.rooms
    }

    /// The command that gives the next connection the same status; `None` if there is nothing to say.
    pub(crate) fn status(&self) -> Option<Command<'_>> {
        let (presence, text) = self.status.as_ref()?;
        let text = text.as_deref().map(Into::into);
        (*presence != Presence::Online).then_some(Command::Status { presence: *presence, text })
    }

    /// Whether it has left the lobby.
    pub(crate) fn left_lobby(&self) -> bool {
        self.left_lobby
    }

    /// Notes what an event says about the connection itself.
    pub(crate) fn heard(&mut self, line: &ServerLine<'_>) {
        let is_own = line.from == Some(self.nick.as_str());
        match &line.body {
            Body::Nick { nick } if is_own => self.set_nick(nick),
            Body::Join { room } if is_own => self.join(room),
            Body::Leave { room, .. } if is_own => self.leave(room),
            Body::Status { status, text } if is_own => {
                let presences = [Presence::Online, Presence::Away, Presence::Busy];
                let presence = presences.into_iter().find(|presence| presence.word() == *status);
                self.status = presence.map(|presence| (presence, text.as_deref().map(str::to_owned)));
            }
            Body::Close { room, .. } => self.leave(room),
            Body::Entry { kind: EntryKind::Kick | EntryKind::Ban, target, text: Some(text), .. } => {
                let whom = text.split(' ').next().unwrap_or_default();
                if fold(whom).is_some_and(|whom| Some(whom) == fold(&self.nick)) {
                    self.leave(target);
                }
            }
            _ => {}
        }
    }

    /// Notes what the answer to a command says about the connection itself.
    pub(crate) fn answered(&mut self, line: &ServerLine<'_>) {
        match line.body {
            Body::Ok { verb: "JOIN", params: Some(room) } => self.join(room),
            Body::Ok { verb: "LEAVE", params: Some(room) } => self.leave(room),
            Body::Ok { verb: "NICK", params: Some(nick) } => self.set_nick(nick),
            _ => {}
        }
    }

    fn join(&mut self, room: &str) {
        self.note_lobby(room, false);
        if let Ok(room) = RoomName::parse(room)
            && !self.rooms.iter().any(|other| other.fold() == room.fold())
        {
            self.rooms.push(room.into_owned());
        }
    }

    /// Notes that it is not in a room any more.
    fn leave(&mut self, room: &str) {
        self.note_lobby(room, true);
        if let Ok(room) = RoomName::parse(room) {
            self.rooms.retain(|other| other.fold() != room.fold());
        }
    }

    /// Notes the rooms that have refused to let it in.
    pub(crate) fn leave_refused(&mut self, events: &[Event]) {
        for event in events {
            if let Event::RoomRefused { room, .. } = event {
                self.leave(room);
            }
        }
    }

    fn note_lobby(&mut self, room: &str, left: bool) {
        if RoomName::parse(room).is_ok_and(|room| room.fold() == RoomName::LOBBY.fold()) {
            self.left_lobby = left;
        }
    }
}

fn fold(nick: &str) -> Option<String> {
    Nick::parse(nick).ok().map(|nick| nick.fold().as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_its_own_events_say() {
        let mut place = Whereabouts::new("alice", &[]);
        for line in [
            ":alice JOIN #ops",
            ":bob JOIN #other",
            ":alice JOIN #team",
            ":alice JOIN #Board",
            ":alice NICK alicia",
            ":alice LEAVE #ops",
            ":alicia STATUS away lunch",
            "@id=7 :bob KICK #TEAM Alicia go away",
            "@id=8 :bob KICK #board carol",
        ] {
            place.heard(&ServerLine::parse(line).expect(line));
        }
        let rooms: Vec<_> = place.rooms().iter().map(RoomName::as_str).collect();
        assert_eq!(
            (place.nick(), rooms.as_slice()),
            ("alicia", ["#ops", "#Board"].as_slice()),
            "alice was another"
        );
        place.heard(&ServerLine::parse(":alicia LEAVE #ops").expect("a line"));
        place.answered(&ServerLine::parse("OK JOIN #late").expect("a line"));
        place.answered(&ServerLine::parse("OK JOIN #late").expect("a line"));
        place.heard(&ServerLine::parse(":root CLOSE #board").expect("a line"));
        let rooms: Vec<_> = place.rooms().iter().map(RoomName::as_str).collect();
        assert_eq!(rooms, ["#late"]);
        let status = place.status().expect("she is away");
        assert_eq!(status, Command::Status { presence: Presence::Away, text: Some("lunch".into()) });
        assert!(!place.left_lobby());
        place.answered(&ServerLine::parse("OK LEAVE #Lobby").expect("a line"));
        assert!(place.left_lobby());
        place.heard(&ServerLine::parse(":alicia STATUS online").expect("a line"));
        assert_eq!(place.status(), None);
    }
}
