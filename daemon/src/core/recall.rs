//! Brings the log's state into memory: at the start, and after a commit whose outcome is unknown.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::{Code, RoomName, Timestamp};

use crate::core::Core;
use crate::core::effects::put_out_who_may_not_stay;
use crate::log::{Act, Author, Draft, LogError, Outcome, RoomQuotas, Store, View};
use crate::origin::network_of;
use crate::registry::ending::Ending;

/// Loads the log's state into the registry. Creates the lobby, which always exists.
pub(crate) fn at_start(core: &Core, store: &mut dyn Store) -> Result<(), LogError> {
    let lobby = Act::MakeRoom { name: RoomName::LOBBY, quotas: RoomQuotas::NONE, stays: false };
    let draft = Draft::new(Author::default(), lobby);
    let failed = |error: &dyn std::fmt::Display| LogError::at(&core.place, error);
    match store.commit(core.environment.clock.now(), &[&draft]).as_deref() {
        Ok([Outcome::Room(_)]) => {}
        other => return Err(failed(&format!("the lobby cannot be made: {other:?}"))),
    }
    // A room without entries lost its last member when the previous process ended. The log refuses to retire the
    // others.
    let rooms = store.view().rooms().map_err(|error| failed(&error))?;
    let lobby = RoomName::LOBBY.fold();
    let retire =
        rooms.iter().filter(|room| RoomName::parse(&room.name).is_ok_and(|name| name.fold() != lobby));
    let retire: Vec<Draft> = retire
        .map(|room| {
            Draft::new(
                Author::default(),
                Act::RetireRoom { room: room.number, generation: room.generation, upto: 0 },
            )
        })
        .collect();
    for drafts in retire.chunks(256) {
        let drafts: Vec<&Draft> = drafts.iter().collect();
        store.commit(core.environment.clock.now(), &drafts).map_err(|error| failed(&format!("{error:?}")))?;
    }
    let view = store.view();
    for stored in view.rooms().map_err(|error| failed(&error))? {
        let ends = view.ends(stored.number).map_err(|error| failed(&error))?;
        if let Ok(name) = RoomName::parse(&stored.name) {
            let listed = view.members(stored.number).map_err(|error| failed(&error))?;
            core.registry.open_room(&stored, &name, ends, &listed);
            if let Some(room) = core.registry.room(&name) {
                room.learn_bans(&view);
            }
        }
    }
    let identities = view.identities().map_err(|error| failed(&error))?;
    core.registry.recall(identities, core.now());
    accounts(core, &view).map_err(|error| failed(&error))?;
    core.files.count(&view).map_err(|error| failed(&error))?;
    core.delivered.store(store.last_id(), Relaxed);
    core.delivering.store(store.last_id(), Relaxed);
    Ok(())
}

/// Loads what else may have been decided while the outcome of a commit was unknown: about rooms, accounts and bans.
pub(crate) fn after_doubt(core: &Arc<Core>, view: &View<'_>) {
    if let Err(error) = accounts(core, view) {
        tracing::error!("accounts cannot be read: {error}");
    }
    for stored in view.rooms().unwrap_or_default() {
        let known = core.registry.room_numbered(stored.number);
        let ends = view.ends(stored.number).unwrap_or_default();
        match (known, RoomName::parse(&stored.name)) {
            (Some(room), _) => {
                room.set_settings(stored.settings.clone());
                room.learn_bans(view);
                room.set_persists(stored.persists);
                if let Ok(listed) = view.members(stored.number) {
                    room.set_roster(stored.owner, listed);
                }
                // Users whom the log has removed do not stay.
                put_out_who_may_not_stay(core, &room);
                for ban in view.bans(stored.number).unwrap_or_default() {
                    if let (true, Ok(number)) = (ban.kind == "identity", ban.value.parse()) {
                        core.registry.put_out(number, &room);
                    }
                }
            }
            (None, Ok(name)) if ends.1 > 0 || stored.persists => {
                let listed = view.members(stored.number).unwrap_or_default();
                core.registry.open_room(&stored, &name, ends, &listed);
            }
            (None, _) => {}
        }
    }
    if let Err(error) = memberships(core, view) {
        tracing::error!("memberships cannot be read: {error}");
    }
}

/// Brings the accounts that are here into the rooms in which the log has them, and out of the others.
fn memberships(core: &Arc<Core>, view: &View<'_>) -> rusqlite::Result<()> {
    let (time, config) = (core.environment.clock.now(), core.config());
    for account in view.accounts()? {
        let rooms = view.memberships(account.number)?;
        let departure = core.registry.reconcile(account.number, &rooms, time, &config.limits);
        departure.retire.into_iter().for_each(|room| core.retire(room));
    }
    Ok(())
}

/// Opens a room again that left the registry and that the log has kept, as the log has it now: what was decided about
/// it in the meantime found no room.
pub(crate) fn kept_room(core: &Core, view: &View<'_>, number: u64) {
    let rooms = view.rooms().unwrap_or_default();
    let Some(stored) = rooms.into_iter().find(|stored| stored.number == number) else { return };
    let Ok(name) = RoomName::parse(&stored.name) else { return };
    let listed = view.members(number).unwrap_or_default();
    let ends = view.ends(number).unwrap_or_default();
    core.registry.open_room(&stored, &name, ends, &listed);
    if let Some(room) = core.registry.room_numbered(number) {
        room.learn_bans(view);
        room.set_kept();
    }
}

/// Loads the accounts, the addresses that they logged in from, and the server's bans. Ends the sessions that these no
/// longer allow.
fn accounts(core: &Core, view: &View<'_>) -> rusqlite::Result<()> {
    let accounts = view.accounts()?;
    let numbers: HashSet<u64> = accounts.iter().map(|account| account.number).collect();
    for name in core.registry.accounts_but(&numbers) {
        for peer in core.registry.clear_account(&name, core.now()) {
            peer.end(Ending::Dismissed(Code::Kicked, "the account is deleted".to_owned()));
        }
    }
    for account in accounts {
        for peer in core.registry.set_account(&account, Timestamp::default(), 0) {
            peer.end(Ending::Dismissed(Code::Kicked, "the name was registered by somebody else".to_owned()));
        }
    }
    for (number, address) in view.logins(100_000)? {
        if let Ok(address) = address.parse() {
            core.throttles.came_from(number, network_of(address));
        }
    }
    core.set_bans(view.bans(0)?);
    core.learn_mutes(view);
    core.registry.for_each_peer(|peer| {
        let nick =
            core.registry.identity(peer.identity()).map(|identity| identity.nick()).unwrap_or_default();
        if let Some(ban) = core.ban_of(peer.origin.address(), Some((peer.identity(), &nick))) {
            peer.end(Ending::Dismissed(ban.code, ban.text));
        }
    });
    Ok(())
}
