//! Verbs of authority: INVITE to a room, KICK, BAN, UNBAN, MUTE, ROLE.

use std::sync::Arc;

use ipnet::IpNet;
use snug_protocol::{
    Action, Body, Code, EntryKind, Nick, Period, Place, Role, RoomName, ServerLine, TagBuilder,
};

use super::accounts::end_sessions;
use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::core::Core;
use crate::deliver::{AnswerTo, Recipients, Reply};
use crate::log::{
    Act, BanRow, Banned, Conversation, Draft, Measure, NewEntry, Outcome, Rank, RoomAccess, Server,
    token_name,
};
use crate::peer::Ending;
use crate::refusal::Refusal;
use crate::registry::{Identity, Room};

impl Session {
    pub(super) fn invite(
        &mut self,
        room: &RoomName<'_>,
        nick: &Nick<'_>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let (whom, shown) = self.somebody(nick)?;
        let measure = Measure::Invite { whom: whom.number };
        self.measure(room, EntryKind::Invite, measure, (shown, None), Some(&whom), size, answer)
    }

    pub(super) fn kick(
        &mut self,
        place: &Place<'_>,
        nick: &Nick<'_>,
        reason: Option<&str>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (whom, shown) = self.somebody(nick)?;
        match place {
            Place::Room(room) => {
                let room = self.find_room(room)?;
                let measure = Measure::Kick { whom: whom.number };
                self.measure(room, EntryKind::Kick, measure, (shown, reason), Some(&whom), size, answer)
            }
            Place::Server => {
                let reason = reason.map(str::to_owned);
                let rule = Server::Kick { whom: whom.number, nick: shown, reason: reason.clone() };
                self.rule(rule, size, answer, move |core, _| {
                    let reason = reason.unwrap_or_else(|| "an operator has ended your sessions".to_owned());
                    end_sessions(core, whom.number, &reason, |_| true);
                })
            }
        }
    }

    pub(super) fn ban(
        &mut self,
        place: &Place<'_>,
        whom: Option<&str>,
        (reason, time): (Option<&str>, Option<Period>),
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let Some(whom) = whom else { return self.bans(place, size, answer) };
        let (banned, shown, identity) = self.banned(place, whom)?;
        let reason = reason.map(str::to_owned);
        match place {
            Place::Room(room) => {
                let room = self.find_room(room)?;
                let measure =
                    Measure::Ban { whom: banned, shown: shown.clone(), reason: reason.clone(), time };
                let text = (shown, reason.as_deref());
                self.measure(room, EntryKind::Ban, measure, text, identity.as_ref(), size, answer)
            }
            Place::Server => {
                let rule = Server::Ban { whom: banned.clone(), shown, reason, time };
                self.rule(rule, size, answer, move |core, row| {
                    let notice = row.map_or_else(
                        || "you are banned from this server".to_owned(),
                        |row| row.notice("this server"),
                    );
                    end_banned(core, &banned, &notice);
                })
            }
        }
    }

    pub(super) fn unban(
        &mut self,
        place: &Place<'_>,
        whom: &str,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (banned, shown, identity) = match self.banned(place, whom) {
            // Who is gone may be let in again all the same, by the name that was said then.
            Err(refused) if refused.code == Code::NoSuchNick => (Banned::Identity(0), whom.to_owned(), None),
            found => found?,
        };
        match place {
            Place::Room(room) => {
                let room = self.find_room(room)?;
                let measure = Measure::Unban { whom: banned, shown: shown.clone() };
                self.measure(room, EntryKind::Unban, measure, (shown, None), identity.as_ref(), size, answer)
            }
            Place::Server => self.rule(Server::Unban { whom: banned, shown }, size, answer, |_, _| {}),
        }
    }

    pub(super) fn mute(
        &mut self,
        place: &Place<'_>,
        nick: &Nick<'_>,
        (time, reason): (Option<Period>, Option<&str>),
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (whom, shown) = self.somebody(nick)?;
        match place {
            Place::Room(room) => {
                let room = self.find_room(room)?;
                let time_text = time.map_or_else(|| "off".to_owned(), |time| time.to_string());
                let rest = format!("{time_text} {}", reason.unwrap_or_default());
                let measure = Measure::Mute { whom: whom.number, time };
                let text = (shown, Some(rest.trim_end()));
                self.measure(room, EntryKind::Mute, measure, text, Some(&whom), size, answer)
            }
            Place::Server => {
                let reason = reason.map(str::to_owned);
                let rule = Server::Mute { whom: whom.number, nick: shown, time, reason };
                self.rule(rule, size, answer, |_, _| {})
            }
        }
    }

    pub(super) fn role(
        &mut self,
        place: &Place<'_>,
        nick: Option<&Nick<'_>>,
        role: Option<Option<Role>>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let Some(role) = role else { return self.roles(place, nick, answer) };
        let nick = nick
            .ok_or_else(|| refusal(Code::MissingParameter, "a nick is missing; HELP ROLE shows the usage"))?;
        let (whom, shown) = self.somebody(nick)?;
        match place {
            Place::Room(room) => {
                if matches!(role, Some(Role::Operator | Role::Bot)) {
                    let text = "a role in a room is owner, moderator, member or none";
                    return Err(refusal(Code::BadParameter, text));
                }
                let room = self.find_room(room)?;
                let word = role.map_or("none", Role::word);
                let measure = Measure::Role { whom: whom.number, role };
                self.measure(room, EntryKind::Role, measure, (shown, Some(word)), Some(&whom), size, answer)
            }
            Place::Server => {
                let Some(role @ (Role::Operator | Role::Member | Role::Bot)) = role else {
                    let text = "a role on the server is operator, member or bot";
                    return Err(refusal(Code::BadParameter, text));
                };
                self.rule(Server::Role { whom: whom.number, nick: shown, role }, size, answer, |_, _| {})
            }
        }
    }

    /// Shows who is what.
    fn roles(
        &mut self,
        place: &Place<'_>,
        nick: Option<&Nick<'_>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let mut rows: Vec<(String, &'static str)> = Vec::new();
        match (place, nick) {
            (Place::Server, Some(nick)) => {
                let (whom, shown) = self.somebody(nick)?;
                rows.push((shown, whom.role().word()));
            }
            (Place::Server, None) => {
                let (me, role) = (self.me()?.nick(), self.role_here());
                rows.push((me, role.word()));
            }
            (Place::Room(room), nick) => {
                let room = self.find_room(room)?;
                if let Some(nick) = nick {
                    let (whom, shown) = self.somebody(nick)?;
                    rows.push((shown, room.role_of(whom.number).map_or("none", Role::word)));
                } else {
                    for (number, role) in room.roles() {
                        let nick = self.core.registry.identity(number).map(|identity| identity.nick());
                        rows.extend(nick.map(|nick| (nick, role.word())));
                    }
                }
            }
        }
        for (nick, role) in &rows {
            let body = Body::Role { place: place.as_str(), nick, role };
            answer.row(TagBuilder::default(), ServerLine::new(body));
        }
        Ok(Answered::Ok(Some(rows.len().to_string())))
    }

    /// Lists who is kept out.
    fn bans(&mut self, place: &Place<'_>, size: usize, answer: &mut Answer) -> Result<Answered, Refusal> {
        let (number, name, least) = match place {
            Place::Server => (0, "*".to_owned(), Action::BanFromServer.least()),
            Place::Room(room) => {
                let room = self.find_room(room)?;
                (room.number, room.name.clone(), Action::BanFromRoom.least())
            }
        };
        let own = match place {
            Place::Server => self.role_here(),
            Place::Room(room) => {
                let room = self.find_room(room)?;
                self.role_in(&room)
            }
        };
        if own < least {
            return Err(refusal(Code::Denied, &format!("this takes the role {least}")));
        }
        let now = self.core.environment.clock.now();
        self.look(size, answer, move |view, answer| {
            let bans: Vec<BanRow> = view.bans(number)?.into_iter().filter(|ban| ban.holds(now)).collect();
            for ban in &bans {
                let mut tags = TagBuilder::default();
                tags.value("by", Some(&ban.author));
                tags.display("time", Some(ban.time));
                let until = ban.until.map_or_else(|| "-".to_owned(), |until| until.to_string());
                let reason = ban.reason.as_deref().map(Into::into);
                let body = Body::Ban { place: &name, whom: &ban.shown, until: &until, reason };
                answer.row(tags, ServerLine::new(body));
            }
            Ok(bans.len().to_string())
        })
    }

    /// Who is meant by a word of BAN, as it is shown, and the identity if it is one.
    fn banned(
        &self,
        place: &Place<'_>,
        word: &str,
    ) -> Result<(Banned, String, Option<Arc<Identity>>), Refusal> {
        if let Ok(nick) = Nick::parse(word)
            && (word.parse::<std::net::IpAddr>().is_err() || matches!(place, Place::Room(_)))
        {
            let (identity, shown) = self.somebody(&nick)?;
            return Ok((Banned::Identity(identity.number), shown, Some(identity)));
        }
        let bad = |text: &str| Err(refusal(Code::BadParameter, text));
        if matches!(place, Place::Room(_)) {
            return bad("in a room one bans a nick; addresses and tokens are banned on the server (*)");
        }
        if let Some((account, label)) = word.split_once('/')
            && let Ok(name) = Nick::parse(account)
            && account.parse::<std::net::IpAddr>().is_err()
        {
            if self.core.registry.account(&name).is_none() {
                return Err(refusal(Code::NoSuchNick, &format!("there is no account {name}")));
            }
            let token = token_name(account, label);
            return Ok((Banned::Token(token.clone()), token, None));
        }
        let network = word.parse::<IpNet>().or_else(|_| word.parse::<std::net::IpAddr>().map(IpNet::from));
        match network {
            Ok(network) => Ok((Banned::Address(network.trunc()), network.trunc().to_string(), None)),
            Err(_) => {
                bad("it is a nick, an address, a range such as 192.0.2.0/24, or a token as account/label")
            }
        }
    }

    /// Whoever goes by a nick, here or away, and the nick as it is shown.
    fn somebody(&self, nick: &Nick<'_>) -> Result<(Arc<Identity>, String), Refusal> {
        self.core.registry.known(nick).ok_or_else(|| super::talk::nobody_called(nick))
    }

    /// What it may do in a room, for what is not the log's to decide.
    pub(super) fn role_in(&self, room: &Room) -> Role {
        let own = self.me.as_ref().and_then(|me| room.role_of(me.number));
        let in_room = own.filter(|role| *role >= Role::Moderator);
        in_room.unwrap_or_default().max(self.role_here())
    }

    /// Hands an act of authority in a room to the log: an entry that the room sees.
    #[allow(clippy::too_many_arguments, reason = "they are the parts of one line")]
    fn measure(
        &mut self,
        room: Arc<Room>,
        kind: EntryKind,
        measure: Measure,
        (whom, rest): (String, Option<&str>),
        identity: Option<&Arc<Identity>>,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let text = match rest {
            Some(rest) => format!("{whom} {rest}"),
            None => whom,
        };
        let entry = NewEntry {
            text: Some(text),
            measure: Some(measure),
            ..NewEntry::new(kind, Conversation::Room(room.number))
        };
        let me = self.me()?;
        // The log has to know about whom it is, as well.
        let concerned = identity.filter(|identity| identity.number != me.number);
        let newcomers = [Some(me), concerned].into_iter().flatten();
        let newcomers = newcomers.filter_map(|identity| self.core.registry.newcomer(identity)).collect();
        let draft = Draft { author: self.author(me), newcomers, act: Act::Enter(entry) };
        let to = Recipients::Room(room);
        let label = answer.label.clone();
        let reply = Reply::Entry { sender: Arc::clone(&self.peer), label, to, of: AnswerTo::Verb };
        self.barrier = true;
        self.submit(draft, size, reply)
    }

    /// Hands something that holds on the whole server to the log. `then` gets the newest ban, if it was one.
    fn rule(
        &mut self,
        rule: Server,
        size: usize,
        answer: &mut Answer,
        then: impl FnOnce(&Arc<Core>, Option<&BanRow>) + Send + 'static,
    ) -> Result<Answered, Refusal> {
        if self.role_here() < Role::Operator {
            return Err(refusal(Code::Denied, "this takes an operator"));
        }
        let shown = match &rule {
            Server::Kick { nick, .. } | Server::Mute { nick, .. } | Server::Role { nick, .. } => nick.clone(),
            Server::Ban { shown, .. } | Server::Unban { shown, .. } => shown.clone(),
        };
        let me = self.me()?;
        let newcomers = match &rule {
            Server::Ban { whom: Banned::Identity(number), .. } | Server::Mute { whom: number, .. } => {
                let whom = self.core.registry.identity(*number);
                whom.and_then(|whom| self.core.registry.newcomer(&whom)).into_iter().collect()
            }
            _ => Vec::new(),
        };
        let is_role = matches!(rule, Server::Role { .. });
        let draft = Draft { author: self.author(me), newcomers, act: Act::Rule(rule) };
        let (peer, answer) = (Arc::clone(&self.peer), answer.take());
        self.barrier = true;
        let reply = Reply::Call(Box::new(move |core, store, _, outcome| {
            let answer = match outcome {
                Outcome::Refused(refusal) => {
                    core.note_refusal(&peer, core.author_of(&peer), answer.verb(), refusal.code);
                    answer.refuse(&refusal)
                }
                outcome => {
                    if let (Outcome::Account(account, _), true) = (&outcome, is_role) {
                        let time = core.environment.clock.now();
                        core.registry.set_account(account, time, core.config().limits.announce_members);
                    }
                    // If they cannot be read, those of before hold.
                    let bans = store.view().bans(0);
                    let row = bans.iter().flatten().find(|ban| ban.shown == shown).cloned();
                    if let Ok(bans) = bans {
                        core.set_bans(bans);
                    }
                    then(core, row.as_ref());
                    answer.ok(Some(&format!("* {shown}")))
                }
            };
            peer.settle(size, &answer);
        }));
        self.submit(draft, size, reply)
    }
}

/// Ends the sessions of those who are kept off the server.
fn end_banned(core: &Core, banned: &Banned, notice: &str) {
    let is_meant = |peer: &crate::peer::Peer| match banned {
        Banned::Identity(number) => peer.identity() == *number,
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

/// Puts somebody out of a room.
fn put_out(core: &Arc<Core>, room: &Arc<Room>, number: u64) {
    let departure = core.registry.put_out(number, room);
    for stay in departure.stays {
        let author = crate::log::Author { number, ..crate::log::Author::default() };
        core.note(author, Act::EndStay { room: stay });
    }
    for gone in departure.retire {
        core.retire(gone);
    }
}

/// Puts those out of a room who could not JOIN it now: whoever is in it hears what is said.
pub(crate) fn put_out_who_may_not_stay(core: &Arc<Core>, room: &Arc<Room>) {
    let needed = room.settings().needed_to_join();
    let access = room.settings().access;
    if needed == Rank::All && access == RoomAccess::Public {
        return;
    }
    for number in core.registry.members(room) {
        let rank = rank_of(core, room, number);
        if rank < needed || access == RoomAccess::Hidden && rank < Rank::Members {
            put_out(core, room, number);
        }
    }
}

/// Where somebody stands in a room, as its settings see it.
pub(super) fn rank_of(core: &Core, room: &Room, number: u64) -> Rank {
    match room.role_of(number) {
        Some(Role::Owner) => Rank::Owner,
        Some(Role::Moderator) => Rank::Moderators,
        Some(_) => Rank::Members,
        None => match core.registry.identity(number) {
            Some(identity) if identity.role() >= Role::Bot => Rank::Accounts,
            _ => Rank::All,
        },
    }
}

/// Lets what the log has decided in a room take effect on who is in it.
pub(crate) fn take_effect(core: &Arc<Core>, room: &Arc<Room>, measure: &Measure, line: &[u8]) {
    let put_out = |number: u64| {
        room.set_role(number, None);
        put_out(core, room, number);
    };
    match measure {
        Measure::Invite { whom } => {
            room.admit(*whom);
            // Who is in the room has heard it; who was invited perhaps is not.
            if let Some(identity) = core.registry.identity(*whom) {
                let is_in = core.registry.members(room).contains(whom);
                if !is_in {
                    identity.audience.for_each(|peer| {
                        peer.push(line);
                    });
                }
            }
        }
        Measure::Kick { whom } => put_out_unless_owner(room, *whom, put_out),
        Measure::Ban { whom: Banned::Identity(whom), .. } => put_out_unless_owner(room, *whom, put_out),
        Measure::Role { whom, role } => {
            room.set_role(*whom, *role);
            if *role == Some(Role::Owner) {
                let is_account = core.registry.identity(*whom).is_some_and(|identity| identity.is_account());
                room.set_persists(is_account);
            }
            if room.owner() == 0 {
                room.set_persists(false);
            }
            put_out_who_may_not_stay(core, room);
        }
        Measure::Ban { .. } | Measure::Unban { .. } | Measure::Mute { .. } => {}
    }
}

fn put_out_unless_owner(room: &Room, whom: u64, put_out: impl Fn(u64)) {
    let is_owner = room.owner() == whom;
    put_out(whom);
    if is_owner {
        // An operator did it; it is still the owner's room.
        room.set_role(whom, Some(Role::Owner));
    }
}
