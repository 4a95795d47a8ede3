//! The names that can be completed: who and which rooms were met.

use snug_chat::input::Known;
use snug_client::{Place, Typed};

/// Names of people and rooms, whoever was met last first.
#[derive(Default)]
pub(super) struct Names {
    nicks: Vec<String>,
    rooms: Vec<String>,
}

/// Most names of a kind. Whoever was not met for longest is forgotten.
const MOST: usize = 1_000;

impl Names {
    pub(super) fn known(&self) -> Known<'_> {
        Known { nicks: &self.nicks, rooms: &self.rooms }
    }

    /// Notes a room or a person.
    pub(super) fn meet(&mut self, name: &str) {
        let names = if name.starts_with('#') { &mut self.rooms } else { &mut self.nicks };
        names.retain(|other| other != name);
        names.insert(0, name.to_owned());
        names.truncate(MOST);
    }

    fn forget(&mut self, nick: &str) {
        self.nicks.retain(|other| other != nick);
    }

    /// Notes whom and what an event or a row names.
    pub(super) fn note(&mut self, typed: &Typed) {
        match typed {
            Typed::Entry(entry) => {
                if let Place::Room(room) = &entry.conversation {
                    self.meet(room);
                }
                self.meet(&entry.from.nick);
            }
            Typed::Joined { room, who } => {
                self.meet(room);
                self.meet(&who.nick);
            }
            Typed::Present { who, presence: Some(_), .. } => self.meet(&who.nick),
            Typed::Renamed { from, to } => {
                self.forget(from);
                self.meet(to);
            }
            Typed::Quit { nick, .. } => self.forget(nick),
            Typed::Closed { room, .. } => self.rooms.retain(|other| other != room),
            Typed::Conversation(row) => self.meet(row.name()),
            Typed::Invitation { room, by, .. } => {
                self.meet(room);
                self.meet(by);
            }
            _ => {}
        }
    }
}
