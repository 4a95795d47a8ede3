//! Handlers of the moderation verbs: INVITE to a room, KICK, BAN, UNBAN, MUTE, ROLE.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;
use snug_protocol::{
    Action, Body, Code, EntryKind, Nick, Period, Role, RoomName, RoomOrServer, ServerLine, TagBuilder,
};

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::core::reply::Recipients;
use crate::log::{
    Act, BanRow, Banned, Conversation, Draft, Moderation, NewEntry, ServerModeration, token_name,
};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::registry::peer::Peer;
use crate::registry::{Identity, Room};

impl Session {
    pub(super) fn invite(
        &mut self,
        room: &RoomName<'_>,
        nick: &Nick<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let room = self.find_room(room)?;
        let (whom, shown) = self.somebody(nick)?;
        let moderation = Moderation::Invite { whom: whom.number };
        self.moderate(room, EntryKind::Invite, moderation, (shown, None), Some(&whom), answer)
    }

    pub(super) fn kick(
        &mut self,
        place: &RoomOrServer<'_>,
        nick: &Nick<'_>,
        reason: Option<&str>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (whom, shown) = self.somebody(nick)?;
        match place {
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                let moderation = Moderation::Kick { whom: whom.number };
                self.moderate(room, EntryKind::Kick, moderation, (shown, reason), Some(&whom), answer)
            }
            RoomOrServer::Server => {
                let reason = reason.map(str::to_owned);
                self.moderate_server(
                    ServerModeration::Kick { whom: whom.number, nick: shown, reason },
                    answer,
                )
            }
        }
    }

    pub(super) fn ban(
        &mut self,
        place: &RoomOrServer<'_>,
        whom: Option<&str>,
        (reason, time): (Option<&str>, Option<Period>),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let Some(whom) = whom else { return self.bans(place, answer) };
        let (banned, shown, identity) = self.banned(place, whom)?;
        let reason = reason.map(str::to_owned);
        match place {
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                let members = self.core.registry.members(&room);
                let is_in = identity.as_ref().is_some_and(|identity| members.contains(&identity.number));
                let (whom, shown, reason) = (banned, shown.clone(), reason.clone());
                let moderation =
                    Moderation::Ban { whom, shown: shown.clone(), reason: reason.clone(), time, is_in };
                let text = (shown, reason.as_deref());
                self.moderate(room, EntryKind::Ban, moderation, text, identity.as_ref(), answer)
            }
            RoomOrServer::Server => {
                self.moderate_server(ServerModeration::Ban { whom: banned, shown, reason, time }, answer)
            }
        }
    }

    pub(super) fn unban(
        &mut self,
        place: &RoomOrServer<'_>,
        whom: &str,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (banned, shown, identity) = self.banned(place, whom)?;
        match place {
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                let moderation = Moderation::Unban { whom: banned, shown: shown.clone() };
                self.moderate(room, EntryKind::Unban, moderation, (shown, None), identity.as_ref(), answer)
            }
            RoomOrServer::Server => {
                self.moderate_server(ServerModeration::Unban { whom: banned, shown }, answer)
            }
        }
    }

    pub(super) fn mute(
        &mut self,
        place: &RoomOrServer<'_>,
        nick: &Nick<'_>,
        (time, reason): (Option<Period>, Option<&str>),
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let (whom, shown) = self.somebody(nick)?;
        match place {
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                let time_text = time.map_or_else(|| "off".to_owned(), |time| time.to_string());
                let rest = format!("{time_text} {}", reason.unwrap_or_default());
                let moderation = Moderation::Mute { whom: whom.number, time };
                let text = (shown, Some(rest.trim_end()));
                self.moderate(room, EntryKind::Mute, moderation, text, Some(&whom), answer)
            }
            RoomOrServer::Server => {
                let reason = reason.map(str::to_owned);
                self.moderate_server(
                    ServerModeration::Mute { whom: whom.number, nick: shown, time, reason },
                    answer,
                )
            }
        }
    }

    pub(super) fn role(
        &mut self,
        place: &RoomOrServer<'_>,
        nick: Option<&Nick<'_>>,
        role: Option<Option<Role>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let Some(role) = role else { return self.roles(place, nick, answer) };
        let nick = nick
            .ok_or_else(|| refusal(Code::MissingParameter, "a nick is missing; HELP ROLE shows the usage"))?;
        let (whom, shown) = self.somebody(nick)?;
        match place {
            RoomOrServer::Room(room) => {
                if matches!(role, Some(Role::Operator | Role::Bot)) {
                    let text = "a role in a room is owner, moderator, member or none";
                    return Err(refusal(Code::BadParameter, text));
                }
                let room = self.find_room(room)?;
                let word = role.map_or("none", Role::word);
                let moderation = Moderation::Role { whom: whom.number, role };
                self.moderate(room, EntryKind::Role, moderation, (shown, Some(word)), Some(&whom), answer)
            }
            RoomOrServer::Server => {
                let Some(role @ (Role::Operator | Role::Member | Role::Bot)) = role else {
                    let text = "a role on the server is operator, member or bot";
                    return Err(refusal(Code::BadParameter, text));
                };
                self.moderate_server(ServerModeration::Role { whom: whom.number, nick: shown, role }, answer)
            }
        }
    }

    /// Lists roles.
    fn roles(
        &mut self,
        place: &RoomOrServer<'_>,
        nick: Option<&Nick<'_>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let mut rows: Vec<(String, &'static str)> = Vec::new();
        // Whose name is somebody else's now.
        let mut former = HashSet::new();
        match (place, nick) {
            (RoomOrServer::Server, Some(nick)) => {
                let (whom, shown) = self.somebody(nick)?;
                rows.push((shown, whom.role().word()));
            }
            (RoomOrServer::Server, None) => {
                let (me, role) = (self.me()?.nick(), self.role_here());
                rows.push((me, role.word()));
            }
            (RoomOrServer::Room(room), nick) => {
                let room = self.find_room(room)?;
                if let Some(nick) = nick {
                    let (whom, shown) = self.somebody(nick)?;
                    rows.push((shown, room.role_of(whom.number).map_or("none", Role::word)));
                } else {
                    for (number, role) in room.roles() {
                        let Some(identity) = self.core.registry.identity(number) else { continue };
                        let shown = identity.nick();
                        let holder =
                            Nick::parse(&shown).ok().and_then(|nick| self.core.registry.addressee(&nick));
                        if holder.is_some_and(|(holder, _)| holder.number != number) {
                            former.insert(rows.len());
                        }
                        rows.push((shown, role.word()));
                    }
                }
            }
        }
        for (number, (nick, role)) in rows.iter().enumerate() {
            let mut tags = TagBuilder::default();
            tags.flag("former", former.contains(&number));
            answer.row(tags, ServerLine::new(Body::Role { place: place.as_str(), nick, role }));
        }
        Ok(Answered::Ok(Some(rows.len().to_string())))
    }

    /// Lists bans.
    fn bans(&mut self, place: &RoomOrServer<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let (number, name, least) = match place {
            RoomOrServer::Server => (0, "*".to_owned(), Action::BanFromServer.least()),
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                (room.number, room.name.clone(), Action::BanFromRoom.least())
            }
        };
        let own = match place {
            RoomOrServer::Server => self.role_here(),
            RoomOrServer::Room(room) => {
                let room = self.find_room(room)?;
                self.role_in(&room)
            }
        };
        if own < least {
            return Err(refusal(Code::Denied, &format!("this takes the role {least}")));
        }
        let now = self.core.environment.clock.now();
        self.read_log(answer, move |view, answer| {
            let mut bans: Vec<BanRow> = view.bans(number)?.into_iter().filter(|ban| ban.holds(now)).collect();
            // A guest who was away is banned as well as their name, with one BAN.
            bans.dedup_by(|ban, other| (&ban.shown, ban.time) == (&other.shown, other.time));
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

    /// Resolves the target of BAN: whom or what it bans, how that is displayed, and the identity if it is one.
    fn banned(
        &self,
        place: &RoomOrServer<'_>,
        word: &str,
    ) -> Result<(Banned, String, Option<Arc<Identity>>), Refusal> {
        if let Ok(nick) = Nick::parse(word)
            && (word.parse::<std::net::IpAddr>().is_err() || matches!(place, RoomOrServer::Room(_)))
        {
            if let Some((identity, shown)) = self.core.registry.addressee(&nick) {
                return Ok((Banned::Identity(identity.number), shown, Some(identity)));
            }
            let fold = nick.fold().as_str().to_owned();
            return Ok(match self.core.registry.known(&nick) {
                Some((away, shown)) => (Banned::Away(away.number, fold), shown, Some(away)),
                None => (Banned::Name(fold), nick.as_str().to_owned(), None),
            });
        }
        let bad = |text: &str| Err(refusal(Code::BadParameter, text));
        if matches!(place, RoomOrServer::Room(_)) {
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

    /// Returns the identity with a nickname, online or offline, and the nickname as displayed.
    fn somebody(&self, nick: &Nick<'_>) -> Result<(Arc<Identity>, String), Refusal> {
        self.core.registry.known(nick).ok_or_else(|| super::talk::nobody_called(nick))
    }

    /// Returns the session's role in a room, for what the log does not decide.
    pub(super) fn role_in(&self, room: &Room) -> Role {
        let own = self.me.as_ref().and_then(|me| room.role_of(me.number));
        let in_room = own.filter(|role| *role >= Role::Moderator);
        in_room.unwrap_or_default().max(self.role_here())
    }

    /// Hands a moderation act in a room to the log, as an entry that the room sees.
    #[allow(clippy::too_many_arguments, reason = "they are the parts of one line")]
    fn moderate(
        &mut self,
        room: Arc<Room>,
        kind: EntryKind,
        moderation: Moderation,
        (whom, rest): (String, Option<&str>),
        identity: Option<&Arc<Identity>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let text = match rest {
            Some(rest) => format!("{whom} {rest}"),
            None => whom,
        };
        let entry = NewEntry {
            text: Some(text),
            moderation: Some(moderation),
            ..NewEntry::new(kind, Conversation::Room(room.number))
        };
        let acts_against = matches!(
            entry.moderation,
            Some(Moderation::Kick { .. } | Moderation::Ban { .. } | Moderation::Mute { time: Some(_), .. })
        );
        if let Some(whom) = identity.filter(|_| acts_against) {
            self.may_act_against(whom)?;
        }
        let me = self.me()?;
        // The log must know the identity that it concerns, too.
        let concerned = identity.filter(|identity| identity.number != me.number);
        let records = [Some(me), concerned].into_iter().flatten();
        let records = records.filter_map(|identity| self.core.registry.record(identity)).collect();
        let draft = Draft { author: self.author(me), records, act: Act::Enter(entry) };
        self.barrier = true;
        self.append(draft, answer, Recipients::Room(room))
    }

    /// Refuses to put somebody out or to mute them who is oneself, or who is operator by where they come from: the daemon
    /// runs as their user, or the embedding program says so. The log knows the roles of accounts.
    fn may_act_against(&self, whom: &Identity) -> Result<(), Refusal> {
        if whom.number == self.me()?.number {
            return Err(refusal(Code::Denied, "that is you; LEAVE takes you out of a room"));
        }
        if self.role_here() == Role::Operator {
            return Ok(());
        }
        let registry = &self.core.registry;
        let is_embedded = |peer: &Arc<Peer>| peer.origin == Origin::Embedder(Role::Operator);
        if registry.belongs_to(whom.number, self.core.operator)
            || registry.sessions_of(whom.number).iter().any(is_embedded)
        {
            return Err(refusal(Code::Denied, "they run this server"));
        }
        Ok(())
    }

    /// Hands a moderation act on the whole server to the log.
    fn moderate_server(&mut self, rule: ServerModeration, answer: &mut Answer) -> Result<Answered, Refusal> {
        if self.role_here() < Role::Operator {
            return Err(refusal(Code::Denied, "this takes an operator"));
        }
        let against = match &rule {
            ServerModeration::Ban { whom, .. } => whom.identity(),
            ServerModeration::Kick { whom, .. } | ServerModeration::Mute { whom, time: Some(_), .. } => {
                Some(*whom)
            }
            _ => None,
        };
        if let Some(whom) = against.and_then(|whom| self.core.registry.identity(whom)) {
            self.may_act_against(&whom)?;
        }
        let shown = match &rule {
            ServerModeration::Kick { nick, .. }
            | ServerModeration::Mute { nick, .. }
            | ServerModeration::Role { nick, .. } => nick.clone(),
            ServerModeration::Ban { shown, .. } | ServerModeration::Unban { shown, .. } => shown.clone(),
        };
        let me = self.me()?;
        let concerned = match &rule {
            ServerModeration::Ban { whom, .. } => whom.identity(),
            ServerModeration::Mute { whom, .. } => Some(*whom),
            _ => None,
        };
        let concerned = concerned.and_then(|whom| self.core.registry.identity(whom));
        let records = concerned.and_then(|whom| self.core.registry.record(&whom)).into_iter().collect();
        let draft = Draft { author: self.author(me), records, act: Act::Moderate(rule) };
        Ok(self.answer_when_decided(draft, answer, move |_, _| Ok(Some(format!("* {shown}")))))
    }
}
