//! Authority: the rules for roles, moderation, bans and mutes.

use rusqlite::{OptionalExtension, params};
use snug_protocol::{Action, Code, EntryKind, Nick, Role, Timestamp, limits};

use super::{Ends, memberships, refuse};
use crate::log::authority::{ban, bans};
use crate::log::transaction::Transaction;
use crate::log::{
    AuditNote, Author, BanRow, Banned, Meta, Moderation, NewEntry, Outcome, Rank, RoomAccess,
    ServerModeration,
};
use crate::refusal::Refusal;

/// Returns a user's role on the server.
pub(super) fn server_role(tx: &Transaction<'_>, author: &Author) -> rusqlite::Result<Role> {
    let role: Option<String> = tx
        .prepare_cached("SELECT role FROM account WHERE number = ?1")?
        .query_row([author.number], |row| row.get(0))
        .optional()?;
    let role = role.and_then(|role| role.parse().ok()).unwrap_or(Role::Guest);
    Ok(role.max(author.by_origin))
}

/// Returns a user's own role in a room: `Owner`, `Moderator`, or `Member` for users on its list; otherwise `None`.
fn room_role(tx: &Transaction<'_>, room: u64, identity: u64) -> rusqlite::Result<Option<Role>> {
    let owner: Option<u64> = tx
        .prepare_cached("SELECT owner FROM room WHERE number = ?1")?
        .query_row([room], |row| row.get(0))
        .optional()?;
    if owner == Some(identity) && identity != 0 {
        return Ok(Some(Role::Owner));
    }
    let role: Option<String> = tx
        .prepare_cached("SELECT role FROM member WHERE room = ?1 AND identity = ?2")?
        .query_row([room, identity], |row| row.get(0))
        .optional()?;
    Ok(role.and_then(|role| role.parse().ok()))
}

/// Returns the role that decides what a user may do in a room: owner or moderator there, or the role on the server if
/// that is higher.
pub(super) fn role_in(tx: &Transaction<'_>, room: u64, author: &Author) -> rusqlite::Result<Role> {
    let server = server_role(tx, author)?;
    Ok(match room_role(tx, room, author.number)? {
        Some(role @ (Role::Owner | Role::Moderator)) => role.max(server),
        _ => server,
    })
}

/// Returns a user's rank for a room's settings. Operators have no rank in a room that they were not given.
pub(super) fn rank_in(tx: &Transaction<'_>, room: u64, author: &Author) -> rusqlite::Result<Rank> {
    Ok(match room_role(tx, room, author.number)? {
        Some(Role::Owner) => Rank::Owner,
        Some(Role::Moderator) => Rank::Moderators,
        Some(_) => Rank::Members,
        None if server_role(tx, author)? >= Role::Bot => Rank::Accounts,
        None => Rank::All,
    })
}

/// Updates a room's `guard`: whether each message in it needs further checks, such as for bans or slow mode.
pub(super) fn guard_room(tx: &Transaction<'_>, room: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE room SET guard = access != 'public' OR may_read != 'all' OR may_send != 'all' OR may_topic != 'all' OR slow > 0
             OR EXISTS (SELECT 1 FROM ban WHERE ban.room = number) OR EXISTS (SELECT 1 FROM mute WHERE mute.room = number)
             OR EXISTS (SELECT 1 FROM muted_name WHERE muted_name.room = number)
         WHERE number = ?1",
    )?
    .execute([room])?;
    Ok(())
}

fn guard_server(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE state SET guard = EXISTS (SELECT 1 FROM ban WHERE room = 0) OR EXISTS (SELECT 1 FROM mute WHERE room = 0)
             OR EXISTS (SELECT 1 FROM muted_name WHERE room = 0)",
    )?
    .execute([])?;
    Ok(())
}

/// Returns the ban in force that keeps an identity out of a room, or off the server (0).
pub(super) fn identity_ban(
    tx: &Transaction<'_>,
    now: Timestamp,
    place: u64,
    author: &Author,
) -> rusqlite::Result<Option<BanRow>> {
    let own = ban(tx, place, "identity", &author.number.to_string())?.filter(|ban| ban.holds(now));
    match own {
        Some(own) => Ok(Some(own)),
        None => Ok(ban(tx, place, "name", &fold_of(&author.nick))?.filter(|ban| ban.holds(now))),
    }
}

/// Returns the folded form of a nickname.
fn fold_of(nick: &str) -> String {
    Nick::parse(nick).map(|nick| nick.fold().as_str().to_owned()).unwrap_or_default()
}

/// Leaves the bans and mutes of an account that is being deleted with its name, for as long as they last: whoever takes
/// the name next is not free of them.
pub(super) fn keep_by_name(tx: &Transaction<'_>, number: u64, fold: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE OR REPLACE ban SET kind = 'name', value = ?2 WHERE kind = 'identity' AND value = ?1",
    )?
    .execute((number.to_string(), fold))?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO muted_name (room, fold, until) SELECT room, ?2, until FROM mute WHERE identity = ?1",
    )?
    .execute((number, fold))?;
    tx.prepare_cached("DELETE FROM mute WHERE identity = ?1")?.execute([number])?;
    Ok(())
}

/// Returns until when a user is muted in a room, or on the server (0).
fn muted(tx: &Transaction<'_>, now: Timestamp, place: u64, author: &Author) -> rusqlite::Result<Option<i64>> {
    tx.prepare_cached(
        "SELECT max(until) FROM (
             SELECT until FROM mute WHERE room = ?1 AND identity = ?2 AND until > ?4
             UNION ALL SELECT until FROM muted_name WHERE room = ?1 AND fold = ?3 AND until > ?4)",
    )?
    .query_row(params![place, author.number, fold_of(&author.nick), now.millis()], |row| row.get(0))
}

/// Returns the ban in force that keeps a user off the server: by identity, address or token.
pub(super) fn server_ban(
    tx: &Transaction<'_>,
    meta: &Meta,
    author: &Author,
    token: Option<&str>,
) -> rusqlite::Result<Option<BanRow>> {
    let found = bans(tx, 0)?;
    Ok(found.into_iter().find(|ban| ban.holds(meta.time) && concerns(ban, author, token)))
}

/// Returns whether a ban applies to a user. `token` is the name of the token that they log in with.
fn concerns(ban: &BanRow, author: &Author, token: Option<&str>) -> bool {
    match ban.kind.as_str() {
        "name" => !author.nick.is_empty() && ban.value == fold_of(&author.nick),
        "identity" => author.number != 0 && ban.value == author.number.to_string(),
        "token" => token == Some(ban.value.as_str()),
        _ => ban.network().zip(author.address).is_some_and(|(network, address)| network.contains(&address)),
    }
}

/// Returns why a user may not send an entry now, in a room or, without one, in private. `None` if they may.
pub(super) fn silence(
    tx: &Transaction<'_>,
    meta: &Meta,
    room: Option<u64>,
    author: &Author,
    new: &NewEntry,
) -> rusqlite::Result<Option<Refusal>> {
    let kind = new.kind;
    // Entries that the daemon itself writes have no identity and are never refused.
    if author.by_origin == Role::Operator && author.number == 0 {
        return Ok(None);
    }
    // Bans of addresses and tokens are checked when a session starts, and a new ban ends the sessions it applies to.
    if let Some(ban) = identity_ban(tx, meta.time, 0, author)? {
        return Ok(Some(Refusal::new(Code::Banned, ban.notice("this server"))));
    }
    // Muted users may still delete their messages and remove their reactions.
    let speaks = kind != EntryKind::Delete && kind != EntryKind::Unreact;
    let mut until = if speaks { muted(tx, meta.time, 0, author)? } else { None };
    if until.is_some() && is_operator(tx, author)? {
        until = None;
    }
    let Some(room) = room else { return Ok(until.map(|until| muted_until(meta, until))) };
    if let Some(ban) = identity_ban(tx, meta.time, room, author)?
        && !is_operator(tx, author)?
    {
        return Ok(Some(Refusal::new(Code::Banned, ban.notice("this room"))));
    }
    if !speaks {
        return Ok(None);
    }
    until = until.or(muted(tx, meta.time, room, author)?);
    if let Some(until) = until
        && !is_operator(tx, author)?
    {
        return Ok(Some(muted_until(meta, until)));
    }
    let (access, send, slow, topic): (String, String, i64, String) = tx
        .prepare_cached("SELECT access, may_send, slow, may_topic FROM room WHERE number = ?1")?
        .query_row([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let rank = rank_in(tx, room, author)?;
    let is_operator = is_operator(tx, author)?;
    // An operator who is not a member of a room may moderate it, but not send messages in it.
    let is_moderation = !matches!(
        kind,
        EntryKind::Msg
            | EntryKind::Topic
            | EntryKind::Edit
            | EntryKind::React
            | EntryKind::Unreact
            | EntryKind::File
    );
    if access != "public" && rank < Rank::Members && !(is_operator && is_moderation) {
        return Ok(Some(Refusal::new(
            Code::NoSuchRoom,
            "there is no such room; ROOMS lists them, JOIN makes one",
        )));
    }
    let needed = Rank::of_word(&send).unwrap_or(Rank::Owner);
    if new.has_words() && rank < needed && !is_operator {
        let text = format!("in this room only {} speak; SET shows its settings", spoken(needed));
        let code = if needed == Rank::Accounts { Code::LoginNeeded } else { Code::Denied };
        return Ok(Some(Refusal::new(code, text)));
    }
    let needed = Rank::of_word(&topic).unwrap_or(Rank::Owner);
    if kind == EntryKind::Topic && rank < needed && !is_operator {
        let text = format!("in this room only {} set the topic; SET shows its settings", spoken(needed));
        let code = if needed == Rank::Accounts { Code::LoginNeeded } else { Code::Denied };
        return Ok(Some(Refusal::new(code, text)));
    }
    if new.is_spoken() && slow > 0 && rank < Rank::Moderators && !is_operator {
        return slow_down(tx, meta, room, author.number, slow);
    }
    Ok(None)
}

fn spoken(rank: Rank) -> &'static str {
    match rank {
        Rank::All => "all",
        Rank::Accounts => "those with an account",
        Rank::Members => "its members",
        Rank::Moderators => "its moderators",
        Rank::Owner => "its owner",
    }
}

fn muted_until(meta: &Meta, until: i64) -> Refusal {
    let left = u64::try_from(until.saturating_sub(meta.time.millis())).unwrap_or(0);
    Refusal::new(Code::Muted, format!("you are muted until {}", Timestamp::from_millis(until))).after(left)
}

/// Refuses a message less than `slow` milliseconds after the sender's last one in the room.
fn slow_down(
    tx: &Transaction<'_>,
    meta: &Meta,
    room: u64,
    identity: u64,
    slow: i64,
) -> rusqlite::Result<Option<Refusal>> {
    let last: Option<i64> = tx
        .prepare_cached("SELECT time FROM spoken WHERE room = ?1 AND identity = ?2")?
        .query_row([room, identity], |row| row.get(0))
        .optional()?;
    let now = meta.time.millis();
    if let Some(last) = last
        && now < last.saturating_add(slow)
    {
        let left = u64::try_from(last.saturating_add(slow) - now).unwrap_or(0);
        return Ok(Some(
            Refusal::new(Code::SlowDown, "the room is slow: wait before you speak again").after(left),
        ));
    }
    Ok(None)
}

/// Records when a user last sent a message, if the room is in slow mode.
pub(super) fn spoke(tx: &Transaction<'_>, meta: &Meta, room: u64, identity: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO spoken (room, identity, time) SELECT number, ?2, ?3 FROM room WHERE number = ?1 AND slow > 0
         ON CONFLICT (room, identity) DO UPDATE SET time = excluded.time",
    )?
    .execute(params![room, identity, meta.time.millis()])?;
    Ok(())
}

/// Returns why a user may not take an action in a room, or `None` if they may. Only operators can act on a moderator
/// or higher whose role is at least their own.
fn authorize(
    tx: &Transaction<'_>,
    room: u64,
    author: &Author,
    action: Action,
    whom: Option<u64>,
) -> rusqlite::Result<Option<Refusal>> {
    let role = role_in(tx, room, author)?;
    if role < action.least() {
        let text = format!("this takes the role {} in this room; ROLE shows who has it", action.least());
        return Ok(Some(Refusal::new(Code::Denied, text)));
    }
    let Some(whom) = whom.filter(|whom| *whom != author.number) else { return Ok(None) };
    let theirs = role_in(tx, room, &Author { number: whom, ..Author::default() })?;
    if theirs >= Role::Moderator && theirs >= role && role < Role::Operator {
        return Ok(Some(Refusal::new(Code::Denied, "they have a role as high as yours")));
    }
    Ok(None)
}

/// Decides a moderation action in a room. If it is allowed, the caller still has to write its entry.
pub(super) fn moderate(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    (room, new): (u64, &NewEntry),
    moderation: &Moderation,
) -> rusqlite::Result<Result<&'static str, Refusal>> {
    let mut tag = "";
    let refused = match moderation {
        Moderation::Invite { whom } => {
            let refused = invite(tx, room, author, *whom)?;
            // Into a public room one goes without being asked by the log.
            let is_private: bool = tx
                .prepare_cached("SELECT access != 'public' FROM room WHERE number = ?1")?
                .query_row([room], |row| row.get(0))?;
            if refused.is_none() && is_private {
                memberships::invite(tx, room, *whom, (&author.nick, meta.time))?;
            }
            if refused.is_none() {
                memberships::concern(tx, *whom, ends.last_id + 1)?;
            }
            refused
        }
        Moderation::Kick { whom } => {
            let refused = authorize(tx, room, author, Action::KickFromRoom, Some(*whom))?;
            if refused.is_none() {
                put_out_by_entry(tx, room, *whom, ends.last_id)?;
            }
            refused
        }
        Moderation::Ban { whom, shown, reason, time, is_in } => {
            let mut refused = authorize(tx, room, author, Action::BanFromRoom, whom.identity())?;
            if refused.is_none() {
                refused = too_many_bans(tx, meta, room, whom)?;
            }
            if refused.is_none() {
                put_ban(
                    tx,
                    meta,
                    room,
                    author,
                    (whom, shown, reason.as_deref(), time.map(|time| time.millis())),
                )?;
                if let Some(number) = whom.identity()
                    && (put_out_by_entry(tx, room, number, ends.last_id)? || *is_in)
                {
                    tag = "out";
                }
            }
            refused
        }
        Moderation::Unban { whom, shown } => match authorize(tx, room, author, Action::UnbanInRoom, None)? {
            None if whom.identity() == Some(author.number) && !is_operator(tx, author)? => Some(own_doing()),
            None => take_ban(tx, room, whom, shown)?,
            refused => refused,
        },
        Moderation::Mute { whom, time } => {
            let mut refused = authorize(tx, room, author, Action::MuteInRoom, Some(*whom))?;
            if refused.is_none() && *whom == author.number && !is_operator(tx, author)? {
                refused = Some(own_doing());
            }
            if refused.is_none() {
                put_mute(tx, meta, room, *whom, time.map(|time| time.millis()))?;
            }
            refused
        }
        Moderation::Role { whom, role } => {
            tag = match room_role(tx, room, *whom)? {
                Some(Role::Owner) => "was=owner",
                Some(Role::Moderator) => "was=moderator",
                Some(_) => "was=member",
                None => "was=none",
            };
            set_role(tx, room, author, (*whom, *role), ends.last_id)?
        }
        // The rules for rooms have decided it.
        Moderation::Set { .. } => None,
    };
    if refused.is_none() && matches!(moderation, Moderation::Set { .. } | Moderation::Role { .. }) {
        end_memberships(tx, room, ends.last_id)?;
    }
    if refused.is_none() {
        guard_room(tx, room)?;
        let event = match new.kind {
            EntryKind::Invite => "invite",
            EntryKind::Kick => "kick",
            EntryKind::Ban => "ban",
            EntryKind::Unban => "unban",
            EntryKind::Mute => "mute",
            EntryKind::Set => "set",
            _ => "role",
        };
        let text = new.text.as_deref().unwrap_or_default();
        let name: String = tx
            .prepare_cached("SELECT name FROM room WHERE number = ?1")?
            .query_row([room], |row| row.get(0))?;
        let note = if let Moderation::Set { .. } = moderation {
            AuditNote::new(event, &name, text.replacen('=', " ", 1))
        } else {
            let (whom, rest) = text.split_once(' ').unwrap_or((text, ""));
            AuditNote::new(event, whom, format!("{name} {rest}").trim_end())
        };
        super::audit::record(tx, meta.time, ends, author, &note)?;
    }
    Ok(refused.map_or(Ok(tag), Err))
}

fn is_operator(tx: &Transaction<'_>, author: &Author) -> rusqlite::Result<bool> {
    Ok(server_role(tx, author)? == Role::Operator)
}

/// The refusal for users who try to lift their own ban or mute.
fn own_doing() -> Refusal {
    Refusal::new(Code::Denied, "what is done about yourself is for others to take back")
}

fn invite(tx: &Transaction<'_>, room: u64, author: &Author, whom: u64) -> rusqlite::Result<Option<Refusal>> {
    let needed: String = tx
        .prepare_cached("SELECT may_invite FROM room WHERE number = ?1")?
        .query_row([room], |row| row.get(0))?;
    let needed = Rank::of_word(&needed).unwrap_or(Rank::Owner);
    let rank = rank_in(tx, room, author)?;
    if rank < needed && role_in(tx, room, author)? < Role::Operator {
        let text = format!("in this room only {} invite; SET shows its settings", spoken(needed));
        return Ok(Some(Refusal::new(Code::Denied, text)));
    }
    tx.prepare_cached("INSERT OR IGNORE INTO member (room, identity, role) VALUES (?1, ?2, 'member')")?
        .execute([room, whom])?;
    Ok(None)
}

/// Takes somebody off a room's list.
fn off_the_list(tx: &Transaction<'_>, room: u64, identity: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM member WHERE room = ?1 AND identity = ?2")?.execute([room, identity])?;
    Ok(())
}

/// Takes somebody off a room's list, and out of the room: an account also while it is away, when no session's end ends its
/// stay.
fn put_out(tx: &Transaction<'_>, room: u64, identity: u64, last: u64) -> rusqlite::Result<()> {
    off_the_list(tx, room, identity)?;
    memberships::leave(tx, room, identity)?;
    memberships::take_invitation(tx, room, identity)?;
    memberships::end_stay(tx, room, identity, last)
}

/// Ends the memberships of those who could not JOIN a room now, as it is in memory.
fn end_memberships(tx: &Transaction<'_>, room: u64, last: u64) -> rusqlite::Result<()> {
    let Some(settings) = crate::log::rooms::room(tx, room)?.map(|stored| stored.settings) else {
        return Ok(());
    };
    let listed = if settings.access == RoomAccess::Public { Rank::All } else { Rank::Members };
    let needed = settings.needed_to_join().max(listed);
    if needed == Rank::All {
        return Ok(());
    }
    let members: Vec<u64> = tx
        .prepare_cached("SELECT identity FROM membership WHERE room = ?1")?
        .query_map([room], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for number in members {
        if rank_in(tx, room, &Author { number, ..Author::default() })? < needed {
            memberships::leave(tx, room, number)?;
            memberships::end_stay(tx, room, number, last)?;
        }
    }
    Ok(())
}

/// Does the same for an entry that is about to be written behind `last`, which is then also in the log of an account that
/// was in the room. Returns whether it was.
fn put_out_by_entry(tx: &Transaction<'_>, room: u64, identity: u64, last: u64) -> rusqlite::Result<bool> {
    let was_in = memberships::is_in(tx, room, identity)?;
    if was_in {
        memberships::concern(tx, identity, last + 1)?;
    }
    put_out(tx, room, identity, last)?;
    Ok(was_in)
}

fn set_role(
    tx: &Transaction<'_>,
    room: u64,
    author: &Author,
    (whom, role): (u64, Option<Role>),
    last: u64,
) -> rusqlite::Result<Option<Refusal>> {
    let before = room_role(tx, room, whom)?;
    let is_own = whom == author.number;
    let changes_power = [before, role].iter().any(|role| role.is_some_and(|role| role >= Role::Moderator));
    let action = if changes_power { Action::ChangeRoleInRoom } else { Action::AdmitToRoom };
    // Users may give up their own role.
    let steps_down = is_own && role < before;
    if !steps_down && let Some(refused) = authorize(tx, room, author, action, None)? {
        return Ok(Some(refused));
    }
    match role {
        None => {
            // Of a private room, they are out with that.
            let is_private: bool = tx
                .prepare_cached("SELECT access != 'public' FROM room WHERE number = ?1")?
                .query_row([room], |row| row.get(0))?;
            match is_private {
                true => put_out(tx, room, whom, last)?,
                false => off_the_list(tx, room, whom)?,
            }
        }
        Some(Role::Owner) => {
            let owner: u64 = tx
                .prepare_cached("SELECT owner FROM room WHERE number = ?1")?
                .query_row([room], |row| row.get(0))?;
            if owner != whom && owner != 0 {
                list(tx, room, owner, (Role::Moderator, last))?;
            }
            off_the_list(tx, room, whom)?;
            tx.prepare_cached("UPDATE room SET owner = ?2 WHERE number = ?1")?.execute([room, whom])?;
        }
        Some(role @ (Role::Moderator | Role::Member)) => {
            if before == Some(Role::Owner) {
                tx.prepare_cached("UPDATE room SET owner = 0 WHERE number = ?1")?.execute([room])?;
            }
            list(tx, room, whom, (role, last))?;
        }
        Some(_) => {
            let text = "a role in a room is owner, moderator, member or none";
            return Ok(Some(Refusal::new(Code::BadParameter, text)));
        }
    }
    if role.is_none() && before == Some(Role::Owner) {
        tx.prepare_cached("UPDATE room SET owner = 0 WHERE number = ?1")?.execute([room])?;
    }
    if steps_down && before == Some(Role::Owner) {
        appoint_next_owner(tx, room, whom)?;
    }
    Ok(None)
}

/// Puts somebody on a room's list with a role, or gives another one. `last` is the newest entry.
fn list(tx: &Transaction<'_>, room: u64, whom: u64, (role, last): (Role, u64)) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO member (room, identity, role, since) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (room, identity) DO UPDATE SET role = excluded.role, since = excluded.since
             WHERE role != excluded.role",
    )?
    .execute(params![room, whom, role.word(), last])?;
    Ok(())
}

/// Makes whoever has been a moderator longest the owner of a room whose owner has stepped down; without one, it has none.
fn appoint_next_owner(tx: &Transaction<'_>, room: u64, before: u64) -> rusqlite::Result<()> {
    let next: Option<u64> = tx
        .prepare_cached(
            "SELECT identity FROM member WHERE room = ?1 AND role = 'moderator' AND identity != ?2
             ORDER BY since, identity LIMIT 1",
        )?
        .query_row([room, before], |row| row.get(0))
        .optional()?;
    if let Some(next) = next {
        off_the_list(tx, room, next)?;
        tx.prepare_cached("UPDATE room SET owner = ?2 WHERE number = ?1")?.execute([room, next])?;
    }
    Ok(())
}

fn put_ban(
    tx: &Transaction<'_>,
    meta: &Meta,
    place: u64,
    author: &Author,
    (whom, shown, reason, millis): (&Banned, &str, Option<&str>, Option<u64>),
) -> rusqlite::Result<()> {
    let until =
        millis.map(|millis| meta.time.millis().saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)));
    tx.prepare_cached("DELETE FROM ban WHERE until <= ?1")?.execute([meta.time.millis()])?;
    for (kind, value) in whom.write() {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO ban (room, kind, value, shown, reason, author, time, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            place,
            kind,
            value,
            shown,
            reason,
            author.nick,
            meta.time.millis(),
            until
        ])?;
    }
    Ok(())
}

/// Returns why a room takes no more bans, or `None` if it does: whoever enters is looked for among them.
fn too_many_bans(
    tx: &Transaction<'_>,
    meta: &Meta,
    room: u64,
    whom: &Banned,
) -> rusqlite::Result<Option<Refusal>> {
    for (kind, value) in whom.write() {
        if ban(tx, room, kind, &value)?.is_some() {
            // It takes the place of the one that is there.
            return Ok(None);
        }
    }
    let held: usize = tx
        .prepare_cached("SELECT count(*) FROM ban WHERE room = ?1 AND (until IS NULL OR until > ?2)")?
        .query_row(params![room, meta.time.millis()], |row| row.get(0))?;
    let text = format!(
        "the room has {held} bans, which is the most; UNBAN some, or let only members in with SET and join"
    );
    Ok((held >= limits::BANS).then(|| Refusal::new(Code::TooMany, text)))
}

fn take_ban(
    tx: &Transaction<'_>,
    place: u64,
    whom: &Banned,
    shown: &str,
) -> rusqlite::Result<Option<Refusal>> {
    let mut gone = 0;
    for (kind, value) in whom.write() {
        let found: Option<(String, i64)> = tx
            .prepare_cached(
                "DELETE FROM ban WHERE room = ?1 AND kind = ?2 AND value = ?3 RETURNING shown, time",
            )?
            .query_row(params![place, kind, value], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((shown, time)) = found {
            gone += 1;
            // A guest who was away was banned by two of them, with one BAN.
            tx.prepare_cached(
                "DELETE FROM ban WHERE room = ?1 AND kind IN ('identity', 'name') AND shown = ?2 AND time = ?3",
            )?
            .execute(params![place, shown, time])?;
        }
    }
    if gone == 0 {
        // The user may be gone, or the name may belong to someone else by now. The list shows the name as it was
        // given then.
        gone = tx
            .prepare_cached("DELETE FROM ban WHERE room = ?1 AND shown = ?2 COLLATE NOCASE")?
            .execute(params![place, shown])?;
    }
    let text = "there is no such ban; BAN with the room or * alone lists them";
    Ok((gone == 0).then(|| Refusal::new(Code::NoSuchEntry, text)))
}

fn put_mute(
    tx: &Transaction<'_>,
    meta: &Meta,
    place: u64,
    whom: u64,
    millis: Option<u64>,
) -> rusqlite::Result<()> {
    let now = meta.time.millis();
    tx.prepare_cached(
        "DELETE FROM muted_name WHERE until <= ?3
             OR room = ?1 AND fold = (SELECT fold FROM identity WHERE number = ?2)",
    )?
    .execute(params![place, whom, now])?;
    tx.prepare_cached("DELETE FROM mute WHERE until <= ?3 OR room = ?1 AND identity = ?2")?
        .execute(params![place, whom, now])?;
    if let Some(millis) = millis {
        let until = now.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX));
        tx.prepare_cached("INSERT INTO mute (room, identity, until) VALUES (?1, ?2, ?3)")?
            .execute(params![place, whom, until])?;
    }
    Ok(())
}

/// Decides a moderation action on the whole server.
pub(super) fn moderate_server(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    rule: &ServerModeration,
) -> rusqlite::Result<Outcome> {
    if server_role(tx, author)? < Role::Operator {
        return refuse(Code::Denied, "this takes an operator");
    }
    let is_account = |number: u64| -> rusqlite::Result<bool> {
        tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM account WHERE number = ?1)")?
            .query_row([number], |row| row.get(0))
    };
    let mut outcome = Outcome::Done;
    let note = match rule {
        ServerModeration::Kick { nick, reason, .. } => {
            AuditNote::new("kick", nick, format!("* {}", reason.as_deref().unwrap_or_default()).trim_end())
        }
        ServerModeration::Ban { whom, shown, reason, time } => {
            if whom.identity() == Some(author.number) {
                return refuse(Code::Denied, "you would keep yourself out");
            }
            put_ban(tx, meta, 0, author, (whom, shown, reason.as_deref(), time.map(|time| time.millis())))?;
            let time = time.map_or_else(String::new, |time| format!("{time} "));
            AuditNote::new(
                "ban",
                shown,
                format!("* {time}{}", reason.as_deref().unwrap_or_default()).trim_end(),
            )
        }
        ServerModeration::Unban { whom, shown } => {
            if let Some(refusal) = take_ban(tx, 0, whom, shown)? {
                return Ok(Outcome::Refused(refusal));
            }
            AuditNote::new("unban", shown, "*")
        }
        ServerModeration::Mute { whom, nick, time, reason } => {
            put_mute(tx, meta, 0, *whom, time.map(|time| time.millis()))?;
            let time = time.map_or_else(|| "off".to_owned(), |time| time.to_string());
            let detail = format!("* {time} {}", reason.as_deref().unwrap_or_default());
            AuditNote::new("mute", nick, detail.trim_end())
        }
        ServerModeration::Role { whom, nick, role } => {
            if !is_account(*whom)? {
                return refuse(
                    Code::NoSuchNick,
                    &format!("{nick} has no account; roles on the server are accounts'"),
                );
            }
            tx.prepare_cached("UPDATE account SET role = ?2 WHERE number = ?1")?
                .execute(params![whom, role.word()])?;
            tx.prepare_cached("UPDATE identity SET bot = ?2 WHERE number = ?1")?
                .execute(params![whom, *role == Role::Bot])?;
            if let Some(changed) = crate::log::accounts::account(tx, *whom)? {
                outcome = Outcome::Account(Box::new(changed), None);
            }
            AuditNote::new("role", nick, format!("* {role}"))
        }
    };
    guard_server(tx)?;
    super::audit::record(tx, meta.time, ends, author, &note)?;
    Ok(outcome)
}
