//! Who may speak, for what others hear and what never becomes an entry: the texts of LEAVE, QUIT and STATUS, new names,
//! TYPING. For entries the log decides at their turn, by the same rules (`silence` in log/apply/authority.rs).

use std::collections::HashSet;

use snug_protocol::{Code, Role};

use super::{Session, refusal};
use crate::log::Rank;
use crate::refusal::Refusal;
use crate::registry::Room;

impl Session {
    /// Returns whether the user may put a text of their own before a room now. In a slow room only entries can be
    /// counted, so other texts do not get there.
    pub(super) fn may_speak_in(&self, room: &Room) -> bool {
        let Some(me) = &self.me else { return false };
        if self.role_here() == Role::Operator {
            return true;
        }
        let settings = room.settings();
        let rank = self.core.registry.rank_in(room, me.number);
        let is_slow = settings.slow.is_some() && rank < Rank::Moderators;
        rank >= settings.send && !is_slow && !self.is_muted(0) && !self.is_muted(room.number)
    }

    /// Returns the numbers of the rooms that the user is in and may not speak in.
    pub(super) fn silent_rooms(&self) -> HashSet<u64> {
        let rooms = self.core.registry.rooms_of_peer(&self.peer);
        rooms.iter().filter(|room| !self.may_speak_in(room)).map(|room| room.number).collect()
    }

    /// Refuses a text that all of the user's rooms see, if the user is muted on the server or in one of them.
    pub(super) fn must_not_be_muted(&self) -> Result<(), Refusal> {
        let mutes = self.core.mutes();
        if mutes.is_empty() || self.role_here() == Role::Operator {
            return Ok(());
        }
        if self.is_muted(0) {
            return Err(refusal(Code::Muted, "you are muted on this server"));
        }
        let rooms = self.core.registry.rooms_of_peer(&self.peer);
        match rooms.iter().find(|room| self.is_muted(room.number)) {
            Some(room) => {
                let text = format!("you are muted in {}, which would see it", room.name);
                Err(refusal(Code::Muted, &text))
            }
            None => Ok(()),
        }
    }

    fn is_muted(&self, place: u64) -> bool {
        let Some(me) = &self.me else { return false };
        self.core.mutes().holds(place, me.number, &me.nick(), self.core.environment.clock.now())
    }
}
