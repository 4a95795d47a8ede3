//! Handlers of the verbs about the connection itself: NICK, PING, PONG, HELP, INFO.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use ring::digest;
use snug_protocol::{
    Body, Code, Entrance, Nick, PersonId, Role, RoomName, ServerLine, TagBuilder, VERBS, Verb, limits,
};

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::config::Registration;
use crate::core::{Core, millis};
use crate::log::{Act, AuditNote, Author, Row, Rows, Storage, View};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::registry::ending::Ending;
use crate::registry::peer::Peer;
use crate::registry::{self, Entered, Identity, Proof};

/// The features that INFO lists: those that a client cannot see from the list of verbs.
const FEATURES: &str = "token,quiet,key,re,replace,verbatim,ref,relay,history,search,sync,react,receipts,accounts,roles,profiles,who,rooms,watch";

impl Session {
    pub(super) fn nick(
        &mut self,
        nick: &Nick<'_>,
        token: Option<&str>,
        entrance: Entrance,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        if self.me.is_some() {
            return self.rename(nick);
        }
        let core = Arc::clone(&self.core);
        let config = core.config();
        if let Some(ban) = core.ban_of(self.origin.address(), None) {
            return Err(ban);
        }
        if let (Origin::Unix(user), Some(_)) = (self.origin, core.registry.account(nick)) {
            return Ok(self.nick_of_account(nick, user, entrance, answer));
        }
        super::must_be_no_address(nick)?;
        self.must_be_no_bot(nick)?;
        self.check_entrances()?;
        if self.origin.is_tcp() && !config.accounts.guests {
            let text = "there are no guests here: come in with AUTH, or make an account with REGISTER";
            return Err(refusal(Code::LoginNeeded, text));
        }
        let Named { entered, new_token, last } = self.take_name(nick, &entrance, token)?;
        let Entrance { quiet, since, rooms } = entrance;
        if let Some(ban) = core.ban_of(None, Some((entered.identity.number, nick.as_str()))) {
            self.me = Some(entered.identity);
            self.peer.end(Ending::Dismissed(ban.code, ban.text.clone()));
            return Err(ban);
        }
        self.peer.set_quiet(quiet);
        let is_known = entered.proved.is_some() && entered.identity.is_recorded();
        let returns = is_known && since.is_none() && !quiet;
        self.peer.set_live(since.is_none() && !returns);
        // The session may have missed an entry that was being delivered meanwhile.
        let has_hole = since.is_none() && core.delivering.load(SeqCst) != last;
        if has_hole {
            self.peer.set_live(false);
        }
        if is_known && entered.is_renamed {
            let author = Author { number: entered.identity.number, ..Author::default() };
            let tell = |identity| core.note(author, Act::Rename(identity));
            core.registry.describe(entered.identity.number, tell);
        }

        let mut tags = TagBuilder::default();
        // A guest who logged in with a token keeps it; a new identity gets the new one.
        tags.value(
            "token",
            match entered.proved {
                None => new_token.as_deref(),
                Some(Proof::Token(_)) => token,
                Some(Proof::User(..) | Proof::Bot(_) | Proof::Account(_) | Proof::Gone(_)) => None,
            },
        );
        tags.display("who", Some(PersonId(entered.identity.number)));
        tags.display("log", Some(core.log_name));
        tags.display("last", Some(last));
        let rooms = rooms.map(|_| super::entrance::rooms_of(&core, &self.peer));
        tags.value("rooms", rooms.as_deref());
        answer.set_ok_tags(tags);
        let shown = entered.identity.nick();
        self.me = Some(Arc::clone(&entered.identity));
        let how = if quiet { "quiet" } else { "" };
        self.core.audit(self.author(&entered.identity), AuditNote::new("enter", "", how));
        if returns || has_hole {
            self.barrier = true;
            // Missed entries follow the OK.
            self.answer(&answer.take().ok(Some(&shown)));
            deliver_missed(&self.core, &self.peer, &entered.identity, last, returns);
            return Ok(Answered::Silently);
        }
        Ok(Answered::Ok(Some(shown)))
    }

    /// Handles NICK of a session that has a name: gives its identity another one.
    fn rename(&mut self, nick: &Nick<'_>) -> Result<Answered, Refusal> {
        let (core, me) = (Arc::clone(&self.core), Arc::clone(self.me()?));
        let before = me.nick();
        if me.is_account() {
            if Nick::parse(&before).is_ok_and(|own| own.fold() == nick.fold()) {
                return Ok(Answered::Ok(Some(before)));
            }
            return Err(refusal(Code::Denied, "an account has its name for good; only guests change theirs"));
        }
        self.check_moves()?;
        self.must_not_be_muted()?;
        super::must_be_no_address(nick)?;
        self.must_be_no_bot(nick)?;
        let time = core.environment.clock.now();
        if let Some(banned) = core.ban_of(None, Some((me.number, nick.as_str()))) {
            return Err(banned);
        }
        let rooms = core.registry.rooms_of_peer(&self.peer);
        if let Some(room) = rooms.iter().find(|room| room.is_banned(me.number, nick.as_str(), time)) {
            let text =
                format!("nobody called {nick} may be in {}; LEAVE it first, or take another name", room.name);
            return Err(refusal(Code::Banned, &text));
        }
        let shown = core.registry.rename(&self.peer, nick, time, &core.config().limits)?;
        if before != shown {
            core.audit(self.author(&me), AuditNote::new("nick", &before, ""));
        }
        if me.is_recorded() {
            let author = self.author(&me);
            core.registry.describe(me.number, |identity| core.note(author, Act::Rename(identity)));
        }
        Ok(Answered::Ok(Some(shown)))
    }

    /// Refuses the nickname of a bot of the settings to everybody else, also while the bot is away.
    pub(super) fn must_be_no_bot(&self, nick: &Nick<'_>) -> Result<(), Refusal> {
        if self.origin == Origin::Bot { Ok(()) } else { must_be_no_bot(&self.core, nick) }
    }

    /// Gives the session a name, as an existing identity that it can prove or as a new one. The session receives
    /// nothing yet.
    fn take_name(
        &mut self,
        nick: &Nick<'_>,
        entrance: &Entrance,
        token: Option<&str>,
    ) -> Result<Named, Refusal> {
        let core = &self.core;
        let number = core.environment.number();
        let mut new_token = None;
        let proof = match self.origin {
            Origin::Unix(user) => Proof::User(user, nick.fold()),
            Origin::Bot => Proof::Bot(nick.fold()),
            Origin::Tcp(_) | Origin::Embedder(_) => {
                // If the client made the token itself, it knows the token even if the answer to its NICK is lost.
                let own = token.filter(|token| is_unguessable(token)).map(str::to_owned);
                let token = own.unwrap_or_else(|| core.environment.hex::<16>());
                let proof = proof_of(&token);
                new_token = Some(token);
                proof
            }
        };
        let user = (!matches!(proof, Proof::Token(_))).then(|| proof.clone());
        let shows = token.map(proof_of).into_iter().chain(user).collect();
        let bot = self.origin == Origin::Bot;
        let role = self.origin_role().min(Role::Member);
        let time = core.environment.clock.now();
        // Rooms that ask who comes are for JOIN, which the log decides.
        let open = |name: &RoomName<'_>| {
            let room = core.registry.room(name)?;
            (room.settings().is_open() && !room.has_bans()).then_some(room.number)
        };
        let rooms: Option<Vec<u64>> =
            entrance.rooms.as_ref().map(|rooms| rooms.iter().filter_map(open).collect());
        let entrance = registry::NewSession {
            peer: &self.peer,
            nick,
            quiet: entrance.quiet,
            bot,
            shows,
            proof,
            number,
            rooms: rooms.as_deref(),
            role,
            time,
        };
        // A session that must catch up first receives nothing before that.
        self.peer.set_live(false);
        let last = core.delivered.load(SeqCst);
        match core.registry.enter(&entrance, &core.config().limits) {
            Ok(entered) => Ok(Named { entered, new_token, last }),
            Err(refused) => {
                self.peer.set_live(true);
                Err(refused)
            }
        }
    }

    pub(super) fn ping(&self, label: Option<&str>) -> Answered {
        self.peer.set_answers_pings();
        Answered::Ok(label.map(str::to_owned))
    }

    pub(super) fn pong(&self) -> Answered {
        self.peer.set_answers_pings();
        Answered::Silently
    }

    pub(super) fn info(&self, answer: &mut Answer) -> Answered {
        let core = &self.core;
        let config = core.config();
        let mut items = vec![
            format!("version={}", env!("CARGO_PKG_VERSION")),
            format!("log={}", core.log_name),
            format!("line={}", config.limits.line),
            format!("text={}", config.limits.text),
            format!("tags={}", limits::TAGS),
            format!("bytes={}", limits::BYTES),
            format!("idle={}", millis(config.heartbeat.dead.duration()) / 1_000),
            format!("history={}", if core.place == Storage::Memory { "none" } else { "disk" }),
            format!("keep={}", config.log.keep),
            format!("keep-private={}", config.log.keep_private),
            format!("registration={}", registration_word(config.accounts.registration)),
            format!("guests={}", if config.accounts.guests { "yes" } else { "no" }),
            format!("announce-members={}", config.limits.announce_members),
            format!("key-window={}", millis(config.log.key_window.duration()) / 1_000),
            format!("avatar={}", limits::BYTES),
            format!("reactions={}", crate::log::REACTIONS),
            "protocol=1".to_owned(),
            format!("features={FEATURES}{}", if core.files.store().is_ok() { ",files" } else { "" }),
        ];
        if core.files.store().is_ok() {
            items.push(format!("file={}", config.files.file.bytes()));
        }
        for item in &items {
            answer.row(TagBuilder::default(), ServerLine::new(Body::Info { item }));
        }
        Answered::Ok(Some(items.len().to_string()))
    }
}

/// The result of giving a session a name.
struct Named {
    entered: Entered,
    /// The token of a new identity, if it has one.
    new_token: Option<String>,
    /// The id of the newest entry delivered before the session could receive anything.
    last: u64,
}

/// Switches a session that gave no cursor to live delivery after the entry `last`. If it `returns`, it first gets the
/// private messages that no session of its identity was online to receive.
pub(super) fn deliver_missed(
    core: &Arc<Core>,
    peer: &Arc<Peer>,
    me: &Arc<Identity>,
    last: u64,
    returns: bool,
) {
    let (me, session) = (Arc::clone(me), peer);
    let peer = Arc::clone(session);
    session.begin(0);
    let shared = Arc::clone(core);
    let accepted = core.read(
        session.payer(),
        Box::new(move |view| {
            let is_read = !returns || view.is_some_and(|view| deliver_waiting(view, &me, &peer, last));
            if !is_read {
                give_up(&peer);
                return;
            }
            let (next, waiter, core) = (Arc::clone(&peer), Arc::clone(&me), Arc::clone(&shared));
            let accepted = shared.read_in_order(Box::new(move |view| {
                let now = core.delivered.load(Relaxed);
                let rooms = core.registry.heard_rooms(&next);
                let mut after = last;
                while let Some(view) = view.filter(|_| after < now) {
                    let page = view.missed(
                        waiter.number,
                        &rooms,
                        next.hears_private(),
                        (after, now),
                        limits::PAGE_MOST,
                    );
                    let Ok(page) = page else { return give_up(&next) };
                    let is_there = push_rows(&page, &next, |_| true);
                    after = if page.more { page.cursor } else { now };
                    if is_there && !next.is_quiet() {
                        waiter.delivered.fetch_max(after, Relaxed);
                    }
                }
                next.set_live(true);
                // The entries are events; only the wait for them took a place in the queue of answers.
                next.settle(0, b"");
            }));
            if !accepted {
                peer.settle(0, b"");
            }
        }),
    );
    if !accepted {
        session.settle(0, b"");
    }
}

/// The same for whoever is no bot of the daemon.
pub(super) fn must_be_no_bot(core: &Core, nick: &Nick<'_>) -> Result<(), Refusal> {
    if core.roster.has_nick(nick) {
        return Err(refusal(Code::NickTaken, &format!("{nick} is a bot of this server; take another name")));
    }
    Ok(())
}

/// Ends a session whose missed entries cannot be read, because it would take the later ones for all there were.
fn give_up(peer: &Peer) {
    let text = "what came in the meantime cannot be read now; connect again later";
    peer.end(Ending::Dismissed(Code::Unavailable, text.to_owned()));
    peer.settle(0, b"");
}

/// Sends a session the private messages of others, up to the entry `last`, that no session of its identity has
/// received. Returns whether all could be read.
fn deliver_waiting(view: &View<'_>, me: &Identity, peer: &Peer, last: u64) -> bool {
    loop {
        let after = me.delivered.load(Relaxed);
        let page = match view.missed(me.number, &[], true, (after, last), limits::PAGE_MOST) {
            Ok(page) if after < last => page,
            Ok(_) => return true,
            Err(error) => {
                // They stay in the log for the next time.
                tracing::error!("private messages of before cannot be read: {error}");
                return false;
            }
        };
        let is_news = |row: &Row| match row {
            Row::Entry { entry, .. } => entry.author.number != me.number,
            Row::Gap(_) => true,
        };
        if !push_rows(&page, peer, is_news) {
            // The session has ended; they wait for the next one.
            return true;
        }
        me.delivered.fetch_max(page.cursor, Relaxed);
        if !page.more {
            return true;
        }
    }
}

/// Puts the wanted rows of a page into an outbox, and returns whether it took them. They count as an answer, so no
/// number of them is too much.
fn push_rows(page: &Rows, peer: &Peer, is_wanted: impl Fn(&Row) -> bool) -> bool {
    let mut lines = Vec::new();
    let wanted = page.rows.iter().filter(|row| is_wanted(row));
    wanted.for_each(|row| super::history::write_row(row, None, &mut lines));
    peer.push_answer(&lines)
}

/// Returns whether a token is long enough for 128 random bits in base64. Whether they are random is up to its maker.
fn is_unguessable(token: &str) -> bool {
    token.len() >= 22
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'/'))
}

/// Returns the proof of a token. Only the hash is kept, so that the time of a lookup reveals nothing about the token.
fn proof_of(token: &str) -> Proof {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    Proof::Token(half)
}

fn registration_word(registration: Registration) -> &'static str {
    match registration {
        Registration::Open => "open",
        Registration::Invite => "invite",
        Registration::Closed => "closed",
    }
}

pub(super) fn help(verb: Option<Verb>, answer: &mut Answer) -> Answered {
    let mut rows = Vec::new();
    match verb {
        None => rows.extend(VERBS.iter().map(|spec| format!("{}: {}", spec.usage(), spec.summary))),
        Some(verb) => {
            let spec = verb.spec();
            rows.push(format!("{}: {}", spec.usage(), spec.summary));
            rows.push(spec.detail.to_owned());
            if !spec.tags.is_empty() {
                rows.push(format!("tags: {}", spec.tags));
            }
            rows.extend(spec.example.lines().map(|line| format!("  {line}")));
        }
    }
    for text in &rows {
        answer.row(TagBuilder::default(), ServerLine::new(Body::Help { text }));
    }
    Answered::Ok(Some(rows.len().to_string()))
}
