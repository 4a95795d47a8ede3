//! Applies to memory what a decided draft changes, and tells the users concerned.
//!
//! The effects depend on the draft and its outcome alone, never on who asked or where: they are the same on every
//! daemon that applies the draft. What concerns only the sender is in the [`Reply`](crate::core::reply::Reply).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use snug_protocol::{
    Body, Code, Cursor, FileState, Folded, PersonId, Role, RoomName, ServerLine, TagBuilder,
};

use crate::core::Core;
use crate::log::{
    AccountAct, Act, Author, BanRow, Banned, Draft, Entry, FileAct, Moderation, Outcome, Rank, RoomAccess,
    RoomSetting, RoomSettings, ServerModeration, Store, StoredAccount, StoredFile, StoredRoom, TokenHash,
    View, token_name,
};
use crate::origin::network_of;
use crate::registry::ending::Ending;
use crate::registry::peer::{Audience, Peer};
use crate::registry::{Identity, Room};

/// Work that is left until the sender has been answered, because it may end the sender's session.
#[derive(Default)]
#[must_use]
pub(crate) enum Afterwards {
    #[default]
    Nothing,
    /// The account with this folded name was deleted.
    Unregistered(String),
    /// An operator has set an account's password.
    PasswordSet { account: u64, by: String },
    /// An account's token was revoked.
    Revoked { account: u64, token: TokenHash },
}

/// Applies a draft that is no new entry. `sender` is the session that asked, if it is one of this daemon's: it learns
/// from its answer what its identity's other sessions are told.
pub(crate) fn take(
    core: &Arc<Core>,
    store: &dyn Store,
    draft: &Draft,
    outcome: &Outcome,
    sender: Option<&Arc<Peer>>,
) -> Afterwards {
    if matches!(outcome, Outcome::Refused(_)) {
        return Afterwards::Nothing;
    }
    learn(core, draft);
    let author = draft.author.number;
    match &draft.act {
        // Entries are delivered. Acts of authority among them take effect after that, in `moderate`.
        Act::Enter(_) => {}
        Act::MakeRoom { .. } => {
            if let Outcome::Room(stored) = outcome {
                open_room(core, store, stored, author);
            }
        }
        Act::RetireRoom { room, .. } => {
            if matches!(outcome, Outcome::Retired) {
                core.registry.close_room(*room);
                core.has_closed_rooms.store(true, Relaxed);
            }
        }
        Act::CloseRoom { room, reason } => close_room(core, *room, &draft.author.nick, reason.as_deref()),
        Act::Leave { room } => {
            if let Some(room) = core.registry.room_numbered(*room)
                && room.settings().access == RoomAccess::Hidden
                && room.role_of(author) == Some(Role::Member)
            {
                room.set_role(author, None);
            }
        }
        Act::Account(act) => return account(core, store, draft, act, outcome, sender),
        Act::File(FileAct::Say { state, .. }) => {
            if let Outcome::Said { file, is_new: true } = outcome {
                tell_sender(core, file, *state, &draft.author.nick);
            }
        }
        Act::Moderate(rule) => moderate_server(core, store, rule, outcome),
        Act::Read { nick: target, .. } => {
            if let Outcome::Read { id, moved, told, other } = outcome {
                read(core, &draft.author, (target, *other), (*id, *moved, *told), sender);
            }
        }
        Act::Acknowledge { .. } => {
            if let Outcome::Acknowledged { upto, arrived } = outcome {
                if let Some(me) = core.registry.identity(author) {
                    me.delivered.fetch_max(*upto, Relaxed);
                }
                for (author, nick, id) in arrived {
                    tell_delivered(core, *author, (nick, draft.author.number), *id);
                }
            }
        }
        Act::Deliver { id } => {
            if let Some(me) = core.registry.identity(author) {
                me.delivered.fetch_max(*id, Relaxed);
            }
        }
        Act::Rename(record) => core.registry.take_over_name(record),
        Act::Forget => core.registry.forget(author),
        Act::Purge { .. } => {
            if let Outcome::Purged { gone, .. } = outcome {
                if !gone.is_empty() {
                    core.reads.set_behind();
                }
                for (conversation, oldest, _) in gone {
                    core.registry.set_oldest(*conversation, *oldest);
                }
            }
        }
        // These change only the log, or concern only the sender.
        Act::EndStay { .. }
        | Act::Bot(_)
        | Act::File(
            FileAct::Offer(_) | FileAct::Cancel { .. } | FileAct::Expire { .. } | FileAct::Swept(_),
        )
        | Act::Audit(_)
        | Act::Unindexed(_)
        | Act::Pass => {}
    }
    Afterwards::Nothing
}

/// Does the work that was left until after the answer.
pub(crate) fn finish(core: &Core, afterwards: Afterwards) {
    match afterwards {
        Afterwards::Nothing => {}
        Afterwards::Unregistered(fold) => {
            // A fold need not be a nickname itself: it may be longer.
            for peer in core.registry.clear_account(&Folded::of(&fold), core.now()) {
                peer.end(Ending::Dismissed(Code::Kicked, "the account is deleted".to_owned()));
            }
        }
        Afterwards::PasswordSet { account, by } => {
            let text = format!("{by}, an operator, has set another password for this account");
            end_sessions(core, account, &text, |_| true);
        }
        Afterwards::Revoked { account, token } => {
            end_sessions(core, account, "the token was revoked", |peer| {
                peer.grant().is_some_and(|grant| grant.hash == token)
            });
        }
    }
}

/// Notes that the log knows the identities of a draft that was not refused.
pub(crate) fn learn(core: &Core, draft: &Draft) {
    if !draft.records.is_empty() {
        core.registry.learn(&draft.records, core.now());
    }
}

fn open_room(core: &Core, store: &dyn Store, stored: &StoredRoom, author: u64) {
    let Ok(name) = RoomName::parse(&stored.name) else { return };
    let view = store.view();
    let listed = view.members(stored.number).unwrap_or_default();
    let ends = view.ends(stored.number).unwrap_or_default();
    core.registry.open_room(stored, &name, ends, &listed);
    let Some(room) = core.registry.room_numbered(stored.number) else { return };
    if stored.settings.access == RoomAccess::Hidden {
        room.admit(author);
    }
    room.learn_bans(&view);
}

/// Tells everybody in a room that it has ended, and takes them out.
fn close_room(core: &Core, room: u64, by: &str, reason: Option<&str>) {
    if let Some(room) = core.registry.room_numbered(room) {
        let mut tags = TagBuilder::default();
        tags.display("time", Some(core.environment.clock.now()));
        let mut line = Vec::new();
        let body = Body::Close { room: &room.name, text: reason.map(Into::into) };
        ServerLine::new(body).with_tags(tags.tags()).with_from(by).write(&mut line);
        // Nothing brings it again, so it has room in every outbox.
        room.audience.for_each(|peer| {
            peer.push_answer(&line);
        });
        core.registry.close_room(room.number);
    }
    core.has_closed_rooms.store(true, Relaxed);
}

fn set_room(core: &Arc<Core>, view: &View<'_>, room: &Arc<Room>, setting: &RoomSetting, members: &[u64]) {
    // The room may have left the registry and come back since the session found it.
    let now = core.registry.room_numbered(room.number);
    let room = now.as_ref().unwrap_or(room);
    let mut settings = RoomSettings::clone(&room.settings());
    settings.set(setting);
    if settings.access != room.settings().access && settings.access != RoomAccess::Public {
        members.iter().for_each(|member| room.admit(*member));
        // Accounts that are away, too.
        if let Ok(listed) = view.members(room.number) {
            room.set_roster(room.owner(), listed);
        }
    }
    room.set_settings(settings);
    put_out_who_may_not_stay(core, room);
}

fn account(
    core: &Core,
    store: &dyn Store,
    draft: &Draft,
    act: &AccountAct,
    outcome: &Outcome,
    sender: Option<&Arc<Peer>>,
) -> Afterwards {
    match (act, outcome) {
        (AccountAct::Register(_) | AccountAct::LogIn { .. }, Outcome::Account(account, _)) => {
            for peer in set_account(core, account) {
                let text = "the name was registered by somebody else; take another one";
                peer.end(Ending::Dismissed(Code::Kicked, text.to_owned()));
            }
            if matches!(act, AccountAct::Register(_)) {
                core.registry.keep_rooms_of(account.number);
            }
            if let Some(address) = draft.author.address {
                core.throttles.came_from(account.number, network_of(address));
            }
        }
        (AccountAct::SetProfile { name, value, .. }, Outcome::Account(account, _)) => {
            let Some(identity) = core.registry.identity(account.number) else { return Afterwards::Nothing };
            identity.set_account(account);
            let (nick, item) = (identity.nick(), format!("{name}={}", value.as_deref().unwrap_or_default()));
            let body = Body::Profile { nick: &nick, item: &item };
            let (time, announce) = (core.environment.clock.now(), core.config().limits.announce_members);
            core.registry.tell_about(account.number, body, time, sender, announce);
        }
        (AccountAct::SetPassword { .. }, Outcome::Account(account, _)) => {
            let by = draft.author.nick.clone();
            return Afterwards::PasswordSet { account: account.number, by };
        }
        (AccountAct::Unregister { fold }, _) => {
            learn_bans(core, &store.view());
            for listed in core.registry.rooms().iter().filter(|listed| listed.room.has_bans()) {
                listed.room.learn_bans(&store.view());
            }
            return Afterwards::Unregistered(fold.clone());
        }
        (AccountAct::RemoveToken { .. }, Outcome::Revoked(Some(token))) => {
            return Afterwards::Revoked { account: draft.author.number, token: *token };
        }
        _ => {}
    }
    Afterwards::Nothing
}

fn set_account(core: &Core, account: &StoredAccount) -> Vec<Arc<Peer>> {
    let time = core.environment.clock.now();
    core.registry.set_account(account, time, core.config().limits.announce_members)
}

/// Applies an act of authority over the whole server.
fn moderate_server(core: &Core, store: &dyn Store, rule: &ServerModeration, outcome: &Outcome) {
    if let (ServerModeration::Role { .. }, Outcome::Account(account, _)) = (rule, outcome) {
        set_account(core, account);
    }
    let bans = learn_bans(core, &store.view());
    match rule {
        ServerModeration::Kick { whom, reason, .. } => {
            let reason = reason.as_deref().unwrap_or("an operator has ended your sessions");
            end_sessions(core, *whom, reason, |_| true);
        }
        ServerModeration::Ban { whom, shown, .. } => {
            let notice = bans.iter().find(|ban| ban.shown == *shown).map_or_else(
                || "you are banned from this server".to_owned(),
                |ban| ban.notice("this server"),
            );
            end_banned(core, whom, &notice);
        }
        ServerModeration::Unban { .. } | ServerModeration::Mute { .. } | ServerModeration::Role { .. } => {}
    }
}

/// Takes the server's bans, and all mutes, over from the log, and returns the bans. If they cannot be read, the previous
/// ones stay in force.
fn learn_bans(core: &Core, view: &View<'_>) -> Vec<BanRow> {
    core.learn_mutes(view);
    let Ok(bans) = view.bans(0) else { return Vec::new() };
    core.set_bans(bans.clone());
    bans
}

/// Announces that a read marker is now at the entry `id`: to its owner's other sessions if it `moved`, and to the
/// identity `told`, if any.
fn read(
    core: &Core,
    author: &Author,
    (target, other): (&str, Option<u64>),
    (id, moved, told): (u64, bool, Option<u64>),
    sender: Option<&Arc<Peer>>,
) {
    if let Some(me) = core.registry.identity(author.number).filter(|_| moved) {
        tell_read(&author.nick, (target, other, true), id, &me.audience, sender);
    }
    if let Some(other) = told.and_then(|other| core.registry.identity(other)) {
        tell_read(&author.nick, (&other.nick(), Some(author.number), false), id, &other.audience, None);
    }
}

/// Ends the sessions of an identity for which `is_meant` returns true.
fn end_sessions(core: &Core, number: u64, text: &str, is_meant: impl Fn(&Peer) -> bool) {
    for peer in core.registry.sessions_of(number) {
        if is_meant(&peer) {
            peer.end(Ending::Dismissed(Code::Kicked, text.to_owned()));
        }
    }
}

/// Ends the sessions that a server ban covers.
fn end_banned(core: &Core, banned: &Banned, notice: &str) {
    let is_meant = |peer: &Peer| match banned {
        // Whoever is away has no session.
        Banned::Identity(number) | Banned::Away(number, _) => peer.identity() == *number,
        Banned::Name(fold) => core
            .registry
            .identity(peer.identity())
            .is_some_and(|identity| Folded::of(&identity.nick()).as_str() == fold),
        Banned::Address(network) => peer.origin.address().is_some_and(|address| network.contains(&address)),
        Banned::Token(token) => peer.grant().is_some_and(|grant| {
            let account = core.registry.identity(peer.identity()).map(|identity| identity.nick());
            account.is_some_and(|account| token_name(&account, &grant.label) == *token)
        }),
    };
    for row in core.registry.sessions() {
        if is_meant(&row.peer) {
            row.peer.end(Ending::Dismissed(Code::Banned, notice.to_owned()));
        }
    }
}

/// Removes a user from a room. The log has ended the membership.
fn put_out(core: &Arc<Core>, room: &Arc<Room>, number: u64) {
    core.files.check_access_again();
    let departure = core.registry.put_out(number, room);
    for stay in departure.stays {
        let author = Author { number, ..Author::default() };
        core.note(author, Act::EndStay { room: stay });
    }
    for gone in departure.retire {
        core.retire(gone);
    }
}

/// Removes whom an entry names that put somebody out, and of which nothing else is known any more. The room has the line.
pub(crate) fn put_out_by(core: &Arc<Core>, entry: &Entry<'_>) {
    let Some(room) = core.registry.room_numbered(entry.conversation) else { return };
    let whom = entry.text.as_deref().and_then(|text| text.split(' ').next()).unwrap_or_default();
    if let Some(number) = core.registry.holder(&Folded::of(whom)) {
        put_out(core, &room, number);
    }
}

/// Removes the users who could not JOIN a room now, because everybody in it receives its messages.
pub(crate) fn put_out_who_may_not_stay(core: &Arc<Core>, room: &Arc<Room>) {
    let needed = room.settings().needed_to_join();
    let access = room.settings().access;
    if needed == Rank::All && access == RoomAccess::Public {
        return;
    }
    for number in core.registry.members(room) {
        let rank = core.registry.rank_in(room, number);
        if rank < needed || access == RoomAccess::Hidden && rank < Rank::Members {
            put_out(core, room, number);
        }
    }
}

/// Applies to a room's members an act of authority whose line they have received.
pub(crate) fn moderate(
    core: &Arc<Core>,
    view: &View<'_>,
    room: &Arc<Room>,
    moderation: &Moderation,
    (id, line): (u64, &[u8]),
) {
    let put_out = |number: u64| {
        room.set_role(number, None);
        put_out(core, room, number);
    };
    match moderation {
        Moderation::Invite { whom } => {
            room.admit(*whom);
            // Users in the room have received the line. The invited user may not be among them.
            if let Some(identity) = core.registry.identity(*whom) {
                let is_in = core.registry.members(room).contains(whom);
                if !is_in {
                    identity.audience.for_each(|peer| {
                        let is_taken = peer.push_entries(line);
                        peer.keep_up(is_taken, || Cursor { log: Some(core.log_name), id: id - 1 });
                    });
                }
                note_arrival(&identity, id);
            }
        }
        Moderation::Kick { whom } => {
            if let Some(identity) = core.registry.identity(*whom) {
                note_arrival(&identity, id);
            }
            put_out_unless_owner(room, *whom, put_out);
        }
        Moderation::Ban { whom, .. } => {
            room.learn_bans(view);
            let whom = match whom {
                Banned::Identity(whom) | Banned::Away(whom, _) => Some(*whom),
                // Somebody may have taken the name meanwhile.
                Banned::Name(fold) => core.registry.holder(&Folded::of(fold)),
                Banned::Address(_) | Banned::Token(_) => None,
            };
            if let Some(whom) = whom {
                if let Some(identity) = core.registry.identity(whom) {
                    note_arrival(&identity, id);
                }
                put_out_unless_owner(room, whom, put_out);
            }
        }
        Moderation::Role { whom, role } => {
            let had_owner = room.owner() == *whom;
            room.set_role(*whom, *role);
            if had_owner
                && *role != Some(Role::Owner)
                && let Ok(Some(owner)) = view.owner(room.number)
            {
                // Another one follows who has stepped down.
                room.set_role(owner, Some(Role::Owner));
            }
            if room.owner() != 0 {
                let is_account =
                    core.registry.identity(room.owner()).is_some_and(|identity| identity.is_account());
                room.set_persists(is_account);
            }
            if room.owner() == 0 {
                room.set_persists(false);
            }
            put_out_who_may_not_stay(core, room);
        }
        Moderation::Set { setting, members } => set_room(core, view, room, setting, members),
        Moderation::Mute { .. } => core.learn_mutes(view),
        Moderation::Unban { .. } => room.learn_bans(view),
    }
}

/// Notes that somebody has heard an entry of a room that is in their own log, too, if a session of theirs was there for it.
/// Otherwise it follows their next login.
fn note_arrival(identity: &Identity, id: u64) {
    let mut has_arrived = false;
    identity.audience.for_each(|peer| has_arrived |= peer.is_live() && !peer.is_quiet());
    if has_arrived {
        identity.delivered.fetch_max(id, Relaxed);
    }
}

fn put_out_unless_owner(room: &Room, whom: u64, put_out: impl Fn(u64)) {
    let is_owner = room.owner() == whom;
    put_out(whom);
    if is_owner {
        // An operator removed the owner. The room still belongs to them.
        room.set_role(whom, Some(Role::Owner));
    }
}

/// Tells all sessions of a file's sender that a recipient accepted, declined or received it.
fn tell_sender(core: &Core, file: &StoredFile, what: FileState, from: &str) {
    let Some(sender) = core.registry.identity(file.author) else { return };
    let (nick, id) = (sender.nick(), file.entry.to_string());
    let target = file.room.as_deref().unwrap_or(&nick);
    let mut line = Vec::new();
    ServerLine::new(Body::FileTaken { what, target, id: &id }).with_from(from).write(&mut line);
    sender.audience.for_each(|peer| {
        if peer.is_in_scope(file.room.as_deref()) {
            peer.push(&line);
        }
    });
}

/// Sends the position of a read marker to all sessions of an audience but `except`. `who` is the other one of a private
/// conversation, and `own` tells whether the marker is that of the audience.
fn tell_read(
    from: &str,
    (target, who, own): (&str, Option<u64>, bool),
    id: u64,
    audience: &Audience,
    except: Option<&Arc<Peer>>,
) {
    let id = id.to_string();
    let mut line = Vec::new();
    let mut tags = TagBuilder::default();
    tags.display("who", who.map(PersonId));
    tags.flag("own", own && who.is_some());
    ServerLine::new(Body::Read { target, id: &id }).with_tags(tags.tags()).with_from(from).write(&mut line);
    audience.for_each(|peer| {
        if !except.is_some_and(|except| Arc::ptr_eq(except, peer)) {
            peer.push(&line);
        }
    });
}

/// Tells the author of private messages that they have arrived, up to the entry `id`.
fn tell_delivered(core: &Core, author: u64, (nick, who): (&str, u64), id: u64) {
    let Some(author) = core.registry.identity(author) else { return };
    let (target, id) = (author.nick(), id.to_string());
    let mut line = Vec::new();
    let mut tags = TagBuilder::default();
    tags.display("who", Some(PersonId(who)));
    let body = Body::Delivered { target: &target, id: &id };
    ServerLine::new(body).with_tags(tags.tags()).with_from(nick).write(&mut line);
    author.audience.for_each(|peer| {
        peer.push(&line);
    });
}
