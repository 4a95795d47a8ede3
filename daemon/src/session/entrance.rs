//! What NICK, AUTH and REGISTER share: the rooms that a session enters with them.

use snug_protocol::{Entrance, limits};

use crate::core::Core;
use crate::log::ComesInto;
use crate::registry::peer::Peer;

/// Returns the rooms that an account comes into by a login.
pub(super) fn comes_into(core: &Core, entrance: &Entrance) -> ComesInto {
    match (&entrance.rooms, entrance.quiet) {
        (_, true) => ComesInto::Nothing,
        (None, false) => ComesInto::ItsRooms,
        (Some(rooms), false) => ComesInto::ItsRoomsAnd {
            more: rooms.iter().map(|room| room.fold().as_str().to_owned()).collect(),
            most: core.config().limits.rooms_per_identity,
        },
    }
}

/// Returns the rooms in which a session is, as a list; as many as a line has room for.
pub(super) fn rooms_of(core: &Core, peer: &Peer) -> String {
    let rooms = core.registry.joined_rooms(peer);
    list_of(rooms.iter().map(|(_, name)| &**name))
}

/// Returns names as a list, which is a tag of a line; as many as it has room for.
pub(super) fn list_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut list = String::new();
    for name in names {
        if list.len() + name.len() >= limits::TEXT {
            continue;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    list
}
