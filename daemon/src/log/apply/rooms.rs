//! Rooms: the rules for making, joining, leaving and removing them, and for their settings.

use rusqlite::{OptionalExtension, params};
use snug_protocol::{Code, EntryKind, RoomName, Skeletons};

use super::{authority, memberships, new_conversation, refuse};
use crate::log::rooms::{ROOM, room, room_of};
use crate::log::transaction::Transaction;
use crate::log::{
    AuditNote, Author, ComesInto, Conversation, Ends, Meta, NewEntry, Outcome, Rank, Readers, RoomAccess,
    RoomQuotas, RoomSetting, RoomSettings, StoredRoom, audit,
};
use crate::refusal::Refusal;
use snug_protocol::{Action, Period, Role};

/// Returns why a user may not enter a room, or `None` if they may.
fn refuse_entrance(
    tx: &Transaction<'_>,
    meta: &Meta,
    room: &StoredRoom,
    author: &Author,
) -> rusqlite::Result<Option<Refusal>> {
    // The daemon itself makes or finds the lobby.
    if author.number == 0 {
        return Ok(None);
    }
    if let Some(ban) = authority::identity_ban(tx, meta.time, room.number, author)? {
        return Ok(Some(Refusal::new(Code::Banned, ban.notice(&room.name))));
    }
    let needed = room.settings.needed_to_join();
    if authority::rank_in(tx, room.number, author)? >= needed {
        return Ok(None);
    }
    let (code, text) = match needed {
        Rank::Accounts => (Code::LoginNeeded, "the room is for those with an account; AUTH or REGISTER"),
        Rank::Members => (Code::Denied, "the room is for those who were invited; ask one of them"),
        _ => (Code::Denied, "the room is for those who run it"),
    };
    Ok(Some(Refusal::new(code, text)))
}

pub(super) fn make_room(
    tx: &Transaction<'_>,
    meta: &Meta,
    name: &RoomName<'_>,
    (quotas, stays): (&RoomQuotas, bool),
    author: &Author,
    ends: &Ends,
) -> rusqlite::Result<Outcome> {
    let fold = name.fold();
    let there = tx
        .prepare_cached(&format!("SELECT {ROOM} FROM room WHERE fold = ?1"))?
        .query_row([fold.as_str()], room_of)
        .optional()?;
    if let Some(mut there) = there {
        if let Some(refusal) = refuse_entrance(tx, meta, &there, author)? {
            return Ok(Outcome::Refused(refusal));
        }
        tx.prepare_cached("UPDATE room SET generation = generation + 1 WHERE number = ?1")?
            .execute([there.number])?;
        there.generation += 1;
        settle_in(tx, &there, author.number, ends, stays)?;
        return Ok(Outcome::Room(there));
    }
    let looks = Skeletons::of(name.as_str());
    let [look, look_folded] = &looks.skeletons;
    let alike: Option<(String, String)> = tx
        .prepare_cached(
            "SELECT name, access FROM room
             WHERE (look IN (?1, ?2) OR look_folded IN (?1, ?2)) AND NOT (ascii AND ?3) LIMIT 1",
        )?
        .query_row(params![look.as_str(), look_folded.as_str(), looks.ascii], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    if let Some((alike, access)) = alike {
        // The name of a room that is not listed is not given away.
        let alike = if access == "public" { alike } else { "that of another room".to_owned() };
        return refuse(Code::LooksAlike, &format!("the name can be taken for {alike}; take another name"));
    }
    if let Some(text) = too_many(tx, author, quotas)? {
        return refuse(Code::TooMany, &text);
    }
    let number = new_conversation(tx)?;
    tx.prepare_cached(
        "INSERT INTO room (number, name, fold, look, look_folded, ascii, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        number,
        name.as_str(),
        fold.as_str(),
        look.as_str(),
        look_folded.as_str(),
        looks.ascii,
        author.number
    ])?;
    if stays {
        memberships::join(tx, number, author.number)?;
    }
    Ok(room(tx, number)?.map_or(Outcome::Done, Outcome::Room))
}

/// Notes that somebody who may enter a room is in it.
fn settle_in(
    tx: &Transaction<'_>,
    room: &StoredRoom,
    author: u64,
    ends: &Ends,
    stays: bool,
) -> rusqlite::Result<()> {
    if room.settings.history == Readers::Joined {
        memberships::begin_stay(tx, room.number, author, ends.last_id + 1)?;
    }
    if room.settings.access == RoomAccess::Hidden && author != 0 && room.owner != author {
        tx.prepare_cached("INSERT OR IGNORE INTO member (room, identity, role) VALUES (?1, ?2, 'member')")?
            .execute([room.number, author])?;
    }
    memberships::take_invitation(tx, room.number, author)?;
    if stays {
        memberships::join(tx, room.number, author)?;
    }
    Ok(())
}

/// Returns the numbers of the rooms that an account comes into when it logs in. It loses the rooms that it could not JOIN
/// now.
pub(super) fn come_in(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &Ends,
    who: &Author,
    joins: &ComesInto,
) -> rusqlite::Result<Vec<u64>> {
    if *joins == ComesInto::Nothing {
        return Ok(Vec::new());
    }
    let is_first = tx
        .prepare_cached("UPDATE account SET has_come = 1 WHERE number = ?1 AND has_come = 0")?
        .execute([who.number])?
        > 0;
    if let ComesInto::ItsRoomsAnd { more, most } = joins {
        for fold in more {
            if memberships::count(tx, who.number)? >= *most {
                break;
            }
            let room = tx
                .prepare_cached(&format!("SELECT {ROOM} FROM room WHERE fold = ?1"))?
                .query_row([fold], room_of)
                .optional()?;
            if let Some(room) = room
                && refuse_entrance(tx, meta, &room, who)?.is_none()
            {
                settle_in(tx, &room, who.number, ends, true)?;
            }
        }
    } else if is_first {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO membership (identity, room) SELECT ?1, number FROM room WHERE fold = ?2",
        )?
        .execute(params![who.number, RoomName::LOBBY.fold().as_str()])?;
    }
    let rooms: Vec<StoredRoom> = tx
        .prepare_cached(&format!(
            "SELECT {ROOM} FROM room WHERE number IN (SELECT room FROM membership WHERE identity = ?1)
             ORDER BY number"
        ))?
        .query_map([who.number], room_of)?
        .collect::<rusqlite::Result<_>>()?;
    let mut numbers = Vec::with_capacity(rooms.len());
    for room in rooms {
        if refuse_entrance(tx, meta, &room, who)?.is_some() {
            memberships::leave(tx, room.number, who.number)?;
            memberships::end_stay(tx, room.number, who.number, ends.last_id)?;
            continue;
        }
        if room.settings.history == Readers::Joined {
            memberships::begin_stay(tx, room.number, who.number, ends.last_id + 1)?;
        }
        numbers.push(room.number);
    }
    Ok(numbers)
}

/// Returns why a user may make no more rooms, or `None` if they may. Operators, and the daemon itself, always may.
fn too_many(tx: &Transaction<'_>, author: &Author, quotas: &RoomQuotas) -> rusqlite::Result<Option<String>> {
    let role = authority::server_role(tx, author)?;
    if role == Role::Operator || author.number == 0 {
        return Ok(None);
    }
    let is_guest = role < Role::Bot;
    let own: u64 = tx
        .prepare_cached("SELECT count(*) FROM room WHERE owner = ?1")?
        .query_row([author.number], |row| row.get(0))?;
    let most = if is_guest { quotas.guest } else { quotas.account };
    if own >= most {
        return Ok(Some(format!("you have made {own} rooms, and may make {most}; CLOSE one of them")));
    }
    let all: u64 = tx.prepare_cached("SELECT count(*) FROM room")?.query_row([], |row| row.get(0))?;
    let most = if is_guest { quotas.all - quotas.all / 4 } else { quotas.all };
    Ok((all >= most).then(|| {
        let whom = if is_guest { " for guests" } else { "" };
        format!("there are {all} rooms, which is the limit{whom}; JOIN one of them, or tell an operator")
    }))
}

/// Ends an account's membership of a room that it has left, and takes whoever has left a hidden room off its list. They
/// know its name and can join again.
pub(super) fn leave(tx: &Transaction<'_>, room: u64, identity: u64, last: u64) -> rusqlite::Result<Outcome> {
    memberships::leave(tx, room, identity)?;
    memberships::take_invitation(tx, room, identity)?;
    memberships::end_stay(tx, room, identity, last)?;
    tx.prepare_cached(
        "DELETE FROM member WHERE room = ?1 AND identity = ?2 AND role = 'member'
             AND EXISTS (SELECT 1 FROM room WHERE number = ?1 AND access = 'hidden')",
    )?
    .execute([room, identity])?;
    Ok(Outcome::Done)
}

pub(super) fn retire_room(
    tx: &Transaction<'_>,
    room: u64,
    generation: u64,
    upto: u64,
) -> rusqlite::Result<Outcome> {
    let mut is_needed: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE conversation = ?1 AND id > ?2)
                 OR EXISTS (SELECT 1 FROM conversation WHERE number = ?1 AND purged > ?2)
                 OR EXISTS (SELECT 1 FROM membership WHERE room = ?1)
                 OR EXISTS (SELECT 1 FROM room JOIN account ON account.number = room.owner WHERE room.number = ?1)",
        )?
        .query_row([room, upto], |row| row.get(0))?;
    if !is_needed && upto > 0 {
        // Strangers' rooms go, and what somebody known has said stays.
        is_needed = tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM room WHERE number = ?1 AND owner = 0)
                     OR EXISTS (SELECT 1 FROM room JOIN identity ON identity.number = room.owner
                         WHERE room.number = ?1 AND identity.proof NOT LIKE 'token:%')
                     OR EXISTS (SELECT 1 FROM entry JOIN identity ON identity.number = entry.author
                         LEFT JOIN account ON account.number = entry.author
                         WHERE entry.conversation = ?1
                             AND (account.number IS NOT NULL OR identity.proof NOT LIKE 'token:%'))",
            )?
            .query_row([room], |row| row.get(0))?;
    }
    if is_needed {
        return Ok(Outcome::Kept);
    }
    let has_changed: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM room WHERE number = ?1 AND generation != ?2)")?
        .query_row([room, generation], |row| row.get(0))?;
    if has_changed {
        return Ok(Outcome::Done);
    }
    remove(tx, room)?;
    Ok(Outcome::Retired)
}

/// Ends a room with all that was said in it.
pub(super) fn close_room(
    tx: &Transaction<'_>,
    meta: &Meta,
    author: &Author,
    number: u64,
    reason: Option<&str>,
    ends: &mut Ends,
) -> rusqlite::Result<Outcome> {
    let Some(stored) = room(tx, number)? else {
        return refuse(Code::NoSuchRoom, "there is no such room; ROOMS lists them, JOIN makes one");
    };
    if authority::role_in(tx, number, author)? < Action::CloseRoom.least() {
        return refuse(Code::Denied, "only the room's owner, and operators, end it; ROLE shows who");
    }
    if RoomName::LOBBY.fold().as_str() == stored.name {
        return refuse(Code::Denied, "everybody comes into the lobby: it stays");
    }
    // Everybody in it sees the reason.
    let says_something = NewEntry::new(EntryKind::Topic, Conversation::Room(number));
    if reason.is_some()
        && let Some(refusal) = authority::silence(tx, meta, Some(number), author, &says_something)?
        && refusal.code == Code::Muted
    {
        return Ok(Outcome::Refused(refusal));
    }
    remove(tx, number)?;
    audit::record(
        tx,
        meta.time,
        ends,
        author,
        &AuditNote::new("close", &stored.name, reason.unwrap_or_default()),
    )?;
    Ok(Outcome::Retired)
}

/// Removes a room and what is listed of it. Its entries belong to nothing then, and go with the next purges.
fn remove(tx: &Transaction<'_>, room: u64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM stay WHERE room = ?1",
        "DELETE FROM membership WHERE room = ?1",
        "DELETE FROM invitation WHERE room = ?1",
        "DELETE FROM span WHERE room = ?1",
        "DELETE FROM closed_span WHERE room = ?1",
        "DELETE FROM member WHERE room = ?1",
        "DELETE FROM ban WHERE room = ?1",
        "DELETE FROM mute WHERE room = ?1",
        "DELETE FROM muted_name WHERE room = ?1",
        "DELETE FROM spoken WHERE room = ?1",
        "DELETE FROM marker WHERE conversation = ?1",
        "DELETE FROM room WHERE number = ?1",
        "DELETE FROM key WHERE conversation = ?1",
        "DELETE FROM conversation WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM entry WHERE conversation = ?1)",
    ] {
        tx.prepare_cached(sql)?.execute([room])?;
    }
    Ok(())
}

/// Changes a setting, or returns why the author may not. The caller still has to write the entry.
pub(super) fn set_room(
    tx: &Transaction<'_>,
    author: &Author,
    number: u64,
    (setting, members): (&RoomSetting, &[u64]),
    ends: &Ends,
) -> rusqlite::Result<Option<Refusal>> {
    let refuse = |code, text: &str| Ok(Some(Refusal::new(code, text)));
    let Some(stored) = room(tx, number)? else {
        return refuse(Code::NoSuchRoom, "the room is gone; JOIN makes it again");
    };
    if authority::role_in(tx, number, author)? < Action::ChangeSettings.least() {
        return refuse(
            Code::Denied,
            "only the room's owner, and operators, can change its settings; ROLE shows who",
        );
    }
    let needed = stored.settings.needed_to_read();
    // Who may read a private room is not for somebody without a place in it. An operator can take a place with ROLE,
    // which its members see.
    let opens = matches!(
        setting,
        RoomSetting::Access(_)
            | RoomSetting::Read(_)
            | RoomSetting::Join(_)
            | RoomSetting::Invite(_)
            | RoomSetting::History(_)
    );
    if opens && authority::rank_in(tx, number, author)? < needed {
        let text = "you have no place in this room; take one first with ROLE, which its members see";
        return refuse(Code::Denied, text);
    }
    let is_lobby = RoomName::LOBBY.fold().as_str() == stored.name;
    let mut settings = stored.settings;
    let shuts = match setting {
        RoomSetting::Access(access) => *access != RoomAccess::Public,
        RoomSetting::Join(rank) | RoomSetting::Read(rank) => *rank != Rank::All,
        _ => false,
    };
    if is_lobby && shuts {
        return refuse(Code::Denied, "everybody comes into the lobby: it stays public, and open to all");
    }
    match setting {
        RoomSetting::History(to) if *to != settings.history => {
            change_readers(tx, number, (settings.history, *to), members, ends.last_id)?;
        }
        RoomSetting::Access(to) if *to != RoomAccess::Public && settings.access == RoomAccess::Public => {
            // Whoever is in the room becomes a member, so that they can stay; accounts also while they are away.
            for member in members.iter().filter(|member| **member != stored.owner) {
                tx.prepare_cached(
                    "INSERT OR IGNORE INTO member (room, identity, role) VALUES (?1, ?2, 'member')",
                )?
                .execute([number, *member])?;
            }
            tx.prepare_cached(
                "INSERT OR IGNORE INTO member (room, identity, role)
                     SELECT room, identity, 'member' FROM membership WHERE room = ?1 AND identity != ?2",
            )?
            .execute([number, stored.owner])?;
        }
        _ => {}
    }
    settings.set(setting);
    store_settings(tx, number, &settings)?;
    if settings.needed_to_read() != needed {
        change_rank_to_read(tx, number, needed, ends.last_id)?;
    }
    Ok(None)
}

/// Notes that from now on another rank is needed to read a room. What was said while `before` was needed stays with
/// those of that rank: a promise is not taken back.
fn change_rank_to_read(tx: &Transaction<'_>, room: u64, before: Rank, last_id: u64) -> rusqlite::Result<()> {
    if before > Rank::All {
        tx.prepare_cached(
            "INSERT INTO closed_span (room, first, last, may_read)
             SELECT number, read_since, ?2, ?3 FROM room WHERE number = ?1 AND read_since <= ?2",
        )?
        .execute(params![room, last_id, before.word()])?;
    }
    tx.prepare_cached("UPDATE room SET read_since = ?2 WHERE number = ?1")?.execute([room, last_id + 1])?;
    Ok(())
}

fn store_settings(tx: &Transaction<'_>, room: u64, settings: &RoomSettings) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE room SET history = ?2, keep = ?3, access = ?4, may_join = ?5, may_read = ?6, may_send = ?7,
             may_invite = ?8, slow = ?9, description = ?10, file_size = ?11, file_types = ?12, may_topic = ?13 WHERE number = ?1",
    )?
    .execute(params![
        room,
        settings.history.word(),
        settings.keep.map(|keep| keep.to_string()),
        settings.access.word(),
        settings.join.word(),
        settings.read.word(),
        settings.send.word(),
        settings.invite.word(),
        settings.slow.map_or(0, Period::millis),
        settings.description,
        settings.files,
        settings.file_types,
        settings.topic.word()
    ])?;
    Ok(())
}

/// Changes who may read future messages of a room. Earlier messages stay readable for exactly the users who could
/// read them then: a promise is not taken back.
fn change_readers(
    tx: &Transaction<'_>,
    room: u64,
    (from, to): (Readers, Readers),
    members: &[u64],
    last_id: u64,
) -> rusqlite::Result<()> {
    match from {
        Readers::All => {
            tx.prepare_cached(
                "INSERT INTO span (room, first, last) SELECT number, since, ?2 FROM room WHERE number = ?1 AND since <= ?2",
            )?
            .execute([room, last_id])?;
        }
        Readers::Joined => {
            tx.prepare_cached("UPDATE stay SET last = ?2 WHERE room = ?1 AND last IS NULL")?
                .execute([room, last_id])?;
        }
        Readers::None => {}
    }
    if to == Readers::Joined {
        let away: Vec<u64> = tx
            .prepare_cached("SELECT identity FROM membership WHERE room = ?1")?
            .query_map([room], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for member in members.iter().chain(&away) {
            memberships::begin_stay(tx, room, *member, last_id + 1)?;
        }
    }
    tx.prepare_cached("UPDATE room SET since = ?2 WHERE number = ?1")?.execute([room, last_id + 1])?;
    Ok(())
}
