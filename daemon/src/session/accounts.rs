//! Verbs about accounts: REGISTER, AUTH, PASSWORD, UNREGISTER, KEY, TOKEN, and INVITE to the server.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ring::digest;
use snug_protocol::envelope::{decode_public_key, decode_signature};
use snug_protocol::{
    Body, Code, Credential, Entrance, KeyChange, Nick, Period, ServerLine, TagBuilder, TokenChange,
};
use zeroize::Zeroizing;

use super::link::{deliver_missed, leave_lobby_if_banned};
use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::config::Registration;
use crate::core::Core;
use crate::core::passwords::{LONGEST, SHORTEST};
use crate::core::queue::Submission;
use crate::core::reply::Reply;
use crate::log::{
    self, AccountAct, Act, AuditNote, Author, Draft, Grant, Outcome, Proven, StoredAccount, TokenHash,
};
use crate::origin::{Origin, Source};
use crate::refusal::Refusal;
use crate::registry::responder::Responder;
use crate::registry::{self, Identity, Proof};
use crate::throttle::Quota;

/// Tries to log in to one account from one address.
const LOGINS: Quota = Quota { burst: 5, interval: Duration::from_secs(30) };

/// Tries to log in to one account from addresses from which it never came, all together.
const STRANGERS: Quota = Quota { burst: 20, interval: Duration::from_secs(60) };

/// Wrong tries from one address, to whatever account.
const LOGIN_ADDRESSES: Quota = Quota { burst: 30, interval: Duration::from_secs(10) };

/// Accounts made from one address.
const REGISTRATIONS: Quota = Quota { burst: 50, interval: Duration::from_secs(60) };

/// How long an invite to the server is good for.
const INVITE: u64 = 7 * 24 * 3_600;

/// What tokens and invites begin with, so that people, and programs that look for secrets, see what they are.
const TOKEN_PREFIX: &str = "snugt_";
const INVITE_PREFIX: &str = "snugi_";

impl Session {
    pub(super) fn register(
        &mut self,
        name: &Nick<'_>,
        (password, key): (Option<&str>, Option<(&str, &str)>),
        invite: Option<&str>,
        entrance: Entrance,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.must_not_be_overheard()?;
        if let Some(ban) = self.core.ban_of(self.origin.address(), None) {
            return Err(ban);
        }
        if self.me.as_ref().is_some_and(|me| me.is_account()) || self.peer.grant().is_some() {
            return Err(refusal(Code::TooLate, "you have an account; connect anew to make another one"));
        }
        super::must_be_no_address(name)?;
        if let Some(password) = password {
            check_password(password, name)?;
            self.passwords_must_have_room()?;
        }
        let key = match key {
            None => None,
            Some((key, label)) => Some((public_key(key)?, label.to_owned())),
        };
        let config = self.core.config();
        let policy = config.accounts.registration;
        if policy == Registration::Invite && invite.is_none() && !self.is_operator() {
            return Err(refusal(
                Code::InviteNeeded,
                "accounts are made by invite here; ask a member for one",
            ));
        }
        let holder = self.core.registry.person(name).map(|(identity, _)| identity.number);
        if self.core.registry.account(name).is_some()
            || holder.is_some_and(|holder| Some(holder) != self.me.as_ref().map(|me| me.number))
        {
            return Err(refusal(Code::NickTaken, &format!("{name} is somebody else; take another name")));
        }
        if self.origin.is_tcp() {
            let address = self.origin.source();
            let throttle = &self.core.throttles.registrations;
            throttle.take(address, REGISTRATIONS, self.core.environment.clock.elapsed()).map_err(|wait| {
                Refusal::new(Code::SlowDown, "too many accounts are made from your address; wait").after(wait)
            })?;
        }
        let user = match self.origin {
            Origin::Unix(user) => Some(user),
            _ => None,
        };
        let act = AccountAct::Register {
            name: name.clone().into_owned(),
            password: None,
            key,
            invite: invite.map(half_hash),
            policy,
            user,
            guest: self.me.as_ref().map(|me| me.number),
            number: self.core.environment.number(),
            most: config.accounts.most,
        };
        let arrival = self.arrival(entrance, answer);
        let author = self.stranger();
        let Some(password) = password else {
            arrival.submit(&self.core, author, act);
            return Ok(Answered::UnderWay);
        };
        let password = Zeroizing::new(password.to_owned());
        let salt = self.core.environment.salt();
        let core = Arc::clone(&self.core);
        let work = move || match core.passwords.hash(&password, &salt) {
            Some(hash) => {
                let AccountAct::Register { name, key, invite, policy, user, guest, number, most, .. } = act
                else {
                    return;
                };
                let password = Some(hash);
                let act =
                    AccountAct::Register { name, password, key, invite, policy, user, guest, number, most };
                arrival.submit(&core, author, act);
            }
            None => arrival.refuse(&core, no_memory()),
        };
        self.core.passwords.submit(Box::new(work));
        Ok(Answered::UnderWay)
    }

    pub(super) fn auth(
        &mut self,
        credential: &Credential<'_>,
        entrance: Entrance,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        if self.me.is_some() {
            let text = "you have a name already; connect anew and say AUTH instead of NICK";
            return Err(refusal(Code::TooLate, text));
        }
        self.must_not_be_overheard()?;
        if let Some(ban) = self.core.ban_of(self.origin.address(), None) {
            return Err(ban);
        }
        self.check_entrances()?;
        let now = self.core.environment.clock.elapsed();
        let address = self.origin.source();
        self.core.throttles.login_addresses.look(&address, LOGIN_ADDRESSES, now).map_err(too_many_tries)?;
        match credential {
            Credential::Password { name, password } => {
                self.auth_by_password(name, password, entrance, answer)
            }
            Credential::Key { name, key, signature } => {
                let Some(binding) = self.binding() else {
                    let text =
                        "a key logs in over a sealed connection only: its signature is over the channel";
                    return Err(refusal(Code::ClearText, text));
                };
                let key = decode_public_key(key);
                let proved = key.filter(|key| {
                    let signature = decode_signature(signature);
                    signature.is_some_and(|signature| key.verifies_login(binding, name, &signature))
                });
                let Some(key) = proved else {
                    self.core
                        .throttles
                        .login_addresses
                        .take(address, LOGIN_ADDRESSES, now)
                        .unwrap_or_default();
                    self.core.audit(self.stranger(), AuditNote::new("login-failed", name, "key"));
                    return Err(refusal(Code::BadLogin, log::BAD_LOGIN));
                };
                let fold = Nick::parse(name).map(|name| name.fold().as_str().to_owned()).unwrap_or_default();
                let act = AccountAct::LogIn { by: Proven::Key { fold, key: *key.as_bytes() } };
                self.arrival(entrance, answer).submit(&self.core, self.stranger(), act);
                Ok(Answered::UnderWay)
            }
            Credential::Token(token) => {
                let act = AccountAct::LogIn { by: Proven::Token(half_hash(token)) };
                self.arrival(entrance, answer).submit(&self.core, self.stranger(), act);
                Ok(Answered::UnderWay)
            }
        }
    }

    fn auth_by_password(
        &mut self,
        name: &Nick<'_>,
        password: &str,
        entrance: Entrance,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.passwords_must_have_room()?;
        let core = Arc::clone(&self.core);
        let now = core.environment.clock.elapsed();
        let fold = name.fold().as_str().to_owned();
        let address = self.origin.source();
        let number = core.registry.account(name).map_or(0, |account| account.number);
        // Whoever has come from here before is not locked out by what others try from elsewhere.
        let is_known = match address {
            Source::Network(network) => core.throttles.is_known(number, network),
            Source::User(_) | Source::Inside => true,
        };
        let throttles = &core.throttles;
        throttles.logins.take((fold.clone(), address), LOGINS, now).map_err(too_many_tries)?;
        if !is_known {
            throttles.strangers.take(fold.clone(), STRANGERS, now).map_err(too_many_tries)?;
        }
        throttles.login_addresses.take(address, LOGIN_ADDRESSES, now).map_err(too_many_tries)?;
        let arrival = self.arrival(entrance, answer);
        let author = self.stranger();
        let password = Zeroizing::new(password.to_owned());
        let shown = name.as_str().to_owned();
        let compare = move |core: &Arc<Core>, stored: Result<Option<String>, Refusal>| {
            let stored = match stored {
                Ok(stored) => stored,
                Err(refused) => return arrival.refuse(core, refused),
            };
            if !core.passwords.verify(&password, stored.as_deref()) {
                core.audit(author, AuditNote::new("login-failed", &shown, "password"));
                return arrival.refuse(core, refusal(Code::BadLogin, log::BAD_LOGIN));
            }
            // That was no guess.
            core.throttles.logins.forget(&(fold.clone(), address));
            core.throttles.login_addresses.give_back(&address, LOGIN_ADDRESSES);
            if !is_known {
                core.throttles.strangers.give_back(&fold, STRANGERS);
            }
            let with = stored.unwrap_or_default();
            arrival.submit(core, author, AccountAct::LogIn { by: Proven::Password { fold, with } });
        };
        self.with_password(name, Box::new(compare));
        Ok(Answered::UnderWay)
    }

    /// Reads the PHC string of an account's password and works on it, on a thread for passwords.
    fn with_password(&self, name: &Nick<'_>, work: WithStored) {
        let core = Arc::clone(&self.core);
        let fold = name.fold().as_str().to_owned();
        let _ = self.core.look(Box::new(move |view| {
            let stored = match view.map(|view| view.password(&fold)) {
                Some(read) => read.map(|found| found.flatten()).map_err(Refusal::from),
                None => Err(super::history::unreadable()),
            };
            let shared = Arc::clone(&core);
            core.passwords.submit(Box::new(move || work(&shared, stored)));
        }));
    }

    /// Refuses what takes a password's time while too many others wait for theirs.
    fn passwords_must_have_room(&self) -> Result<(), Refusal> {
        if self.core.passwords.has_room() {
            return Ok(());
        }
        Err(Refusal::new(Code::SlowDown, "too many log in just now; try again").after(1_000))
    }

    pub(super) fn password(
        &mut self,
        new: &str,
        old: Option<&str>,
        account: Option<&Nick<'_>>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.must_not_be_overheard()?;
        self.passwords_must_have_room()?;
        let me = Arc::clone(self.me()?);
        let own = me.nick();
        let own = Nick::parse(&own).ok().filter(|_| me.is_account());
        let of = match (account, own) {
            (Some(other), own) if own.as_ref().is_none_or(|own| own.fold() != other.fold()) => {
                if !self.is_operator() {
                    return Err(refusal(
                        Code::Denied,
                        "only operators set the password of another's account",
                    ));
                }
                check_password(new, other)?;
                return self.set_password(other, new, answer);
            }
            (_, Some(own)) => own.into_owned(),
            (_, None) => return Err(login_needed()),
        };
        check_password(new, &of)?;
        let now = self.core.environment.clock.elapsed();
        let throttle_key = (of.fold().as_str().to_owned(), self.origin.source());
        self.core.throttles.logins.take(throttle_key.clone(), LOGINS, now).map_err(too_many_tries)?;
        let (old, new) = (old.map(str::to_owned).map(Zeroizing::new), Zeroizing::new(new.to_owned()));
        let change = AccountChange { responder: self.responder(answer), ok: of.as_str().to_owned() };
        let author = self.author(&me);
        let salt = self.core.environment.salt();
        let compare = move |core: &Arc<Core>, stored: Result<Option<String>, Refusal>| {
            let stored = match stored {
                Ok(stored) => stored,
                Err(refused) => return change.refuse(core, refused),
            };
            let is_right = match (&stored, &old) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(stored), Some(old)) => core.passwords.verify(old, Some(stored)),
            };
            if !is_right {
                core.audit(author, AuditNote::new("password-failed", "", ""));
                return change.refuse(core, refusal(Code::BadLogin, "the tag old is not the password"));
            }
            core.throttles.logins.forget(&throttle_key);
            let Some(hash) = core.passwords.hash(&new, &salt) else {
                return change.refuse(core, no_memory());
            };
            change.submit(core, author, AccountAct::SetPassword { fold: None, new: hash, old: stored });
        };
        self.with_password(&of, Box::new(compare));
        Ok(Answered::UnderWay)
    }

    /// Sets the password of another's account, without asking for the one before.
    fn set_password(&mut self, of: &Nick<'_>, new: &str, answer: &mut Answer) -> Result<Answered, Refusal> {
        let author = self.author(self.me()?);
        let fold = of.fold().as_str().to_owned();
        let change = AccountChange { responder: self.responder(answer), ok: of.as_str().to_owned() };
        let new = Zeroizing::new(new.to_owned());
        let salt = self.core.environment.salt();
        let core = Arc::clone(&self.core);
        let work = move || match core.passwords.hash(&new, &salt) {
            Some(new) => {
                change.submit(&core, author, AccountAct::SetPassword { fold: Some(fold), new, old: None })
            }
            None => change.refuse(&core, no_memory()),
        };
        self.core.passwords.submit(Box::new(work));
        Ok(Answered::UnderWay)
    }

    pub(super) fn unregister(&mut self, name: &Nick<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let author = self.author(self.me()?);
        let act = AccountAct::Unregister { fold: name.fold().as_str().to_owned() };
        Ok(self.change_account(author, act, answer, name.as_str().to_owned()))
    }

    /// Who one is, if that is an account.
    fn my_account(&self) -> Result<Arc<Identity>, Refusal> {
        let me = self.me()?;
        if me.is_account() { Ok(Arc::clone(me)) } else { Err(login_needed()) }
    }

    pub(super) fn key(&mut self, change: KeyChange<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let me = self.my_account()?;
        let act = match change {
            KeyChange::List => {
                return self.look(answer, move |view, answer| {
                    let keys = view.keys(me.number)?;
                    for key in &keys {
                        let fingerprint = snug_protocol::envelope::PublicKey::new(key.key)
                            .map(|key| key.fingerprint().to_string())
                            .unwrap_or_default();
                        let added = key.added.to_string();
                        let body = Body::Key { label: &key.label, fingerprint: &fingerprint, added: &added };
                        answer.row(TagBuilder::default(), ServerLine::new(body));
                    }
                    Ok(keys.len().to_string())
                });
            }
            KeyChange::Add(key, label) => {
                AccountAct::AddKey { key: public_key(key)?, label: label.to_owned() }
            }
            KeyChange::Remove(label) => AccountAct::RemoveKey { label: label.to_owned() },
        };
        let label = match &act {
            AccountAct::AddKey { label, .. } | AccountAct::RemoveKey { label } => label.clone(),
            _ => String::new(),
        };
        Ok(self.change_account(self.author(&me), act, answer, label))
    }

    pub(super) fn token(
        &mut self,
        change: TokenChange<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = self.my_account()?;
        match change {
            TokenChange::List => self.look(answer, move |view, answer| {
                let tokens = view.tokens(me.number)?;
                for token in &tokens {
                    let Grant { label, scope, expires, .. } = &token.grant;
                    let mut tags = TagBuilder::default();
                    tags.value("may", Some(&scope.may()));
                    tags.value("rooms", Some(&*scope.rooms()).filter(|rooms| !rooms.is_empty()));
                    tags.display("rate", scope.rate());
                    tags.display("expires", *expires);
                    let added = token.added.to_string();
                    answer.row(tags, ServerLine::new(Body::Token { label, added: &added }));
                }
                Ok(tokens.len().to_string())
            }),
            TokenChange::Add { label, scope, expires } => {
                // It is said this once, so that nobody else may hear it.
                self.must_not_be_overheard()?;
                let token = format!("{TOKEN_PREFIX}{}", self.core.environment.hex::<20>());
                let act =
                    AccountAct::AddToken { hash: half_hash(&token), label: label.to_owned(), scope, expires };
                Ok(self.change_account(self.author(&me), act, answer, format!("{label} {token}")))
            }
            TokenChange::Remove(label) => {
                let act = AccountAct::RemoveToken { label: label.to_owned() };
                Ok(self.change_account(self.author(&me), act, answer, label.to_owned()))
            }
        }
    }

    /// INVITE to the server.
    pub(super) fn invite_to_server(
        &mut self,
        expires: Option<Period>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        self.must_not_be_overheard()?;
        let core = Arc::clone(&self.core);
        let token = format!("{INVITE_PREFIX}{}", core.environment.hex::<16>());
        let config = core.config();
        let mut tags = TagBuilder::default();
        tags.value("address", core.public_address().as_deref());
        tags.display("fingerprint", Some(core.seal.key.public_key().fingerprint()));
        answer.set_ok_tags(tags);
        let act = AccountAct::MakeInvite {
            hash: half_hash(&token),
            expires: expires.unwrap_or(Period::from_secs(INVITE)),
            policy: config.accounts.registration,
        };
        let author = self.author(self.me()?);
        Ok(self.change_account(author, act, answer, token))
    }

    /// NICK of somebody who may have the account of that name because of who they are on this machine.
    pub(super) fn nick_of_account(
        &mut self,
        nick: &Nick<'_>,
        user: u32,
        entrance: Entrance,
        answer: &mut Answer,
    ) -> Answered {
        let fold = nick.fold().as_str().to_owned();
        let config = self.core.config();
        let by_settings = config.accounts.users.get(&user.to_string());
        let by_settings = by_settings
            .and_then(|name| Nick::parse(name).ok())
            .is_some_and(|name| name.fold().as_str() == fold);
        let by = Proven::User { fold, user, by_settings };
        self.arrival(entrance, answer).submit(&self.core, self.stranger(), AccountAct::LogIn { by });
        Answered::UnderWay
    }

    /// Passwords and tokens cross no network in the clear, whatever the settings say about other lines.
    fn must_not_be_overheard(&self) -> Result<(), Refusal> {
        if self.origin.counted_address().is_none() || self.binding().is_some() {
            return Ok(());
        }
        let text = "passwords and tokens do not cross a network in the clear; use the envelope, as snug does";
        Err(refusal(Code::ClearText, text))
    }

    /// Whoever speaks, with or without a name.
    pub(super) fn stranger(&self) -> Author {
        match &self.me {
            Some(me) => self.author(me),
            None => {
                Author { by_origin: self.origin_role(), address: self.origin.address(), ..Author::default() }
            }
        }
    }

    /// The session on its way to be an account's.
    fn arrival(&mut self, entrance: Entrance, answer: &mut Answer) -> Arrival {
        // Whoever has something to be told first hears nothing before that.
        if self.me.is_none() {
            self.peer.set_live(false);
        }
        Arrival { entrance, responder: self.responder(answer) }
    }

    /// Hands a change of an account to the log. `ok` is what the OK says.
    fn change_account(
        &mut self,
        author: Author,
        act: AccountAct,
        answer: &mut Answer,
        ok: String,
    ) -> Answered {
        let change = AccountChange { responder: self.responder(answer), ok };
        change.submit(&self.core, author, act);
        Answered::UnderWay
    }
}

/// A session on its way to be an account's.
struct Arrival {
    entrance: Entrance,
    responder: Responder,
}

impl Arrival {
    /// Lets the log decide, and comes in.
    fn submit(self, core: &Arc<Core>, author: Author, act: AccountAct) {
        let draft = Draft::new(author, Act::Account(Box::new(act)));
        let (size, sender) = (self.responder.size(), Some(Arc::clone(self.responder.peer())));
        let shared = Arc::clone(core);
        let reply = Reply::Call(Box::new(move |_, draft, outcome| self.come_in(&shared, draft, outcome)));
        let _ = core.queue.push(Submission { draft, size, sender, reply });
    }

    fn refuse(mut self, core: &Core, refusal: Refusal) {
        let peer = Arc::clone(self.responder.peer());
        let author = Author { address: peer.origin.address(), ..Author::default() };
        core.note_refusal(&peer, author, self.responder.answer().verb(), refusal.code);
        if peer.identity() == 0 {
            peer.set_live(true);
        }
        self.responder.give(Err(refusal));
    }

    /// On the writer's thread: nothing is delivered meanwhile. The account is in the registry by now.
    fn come_in(mut self, core: &Arc<Core>, draft: &Draft, outcome: Outcome) {
        let peer = Arc::clone(self.responder.peer());
        let (account, grant) = match outcome {
            Outcome::Account(account, grant) => (account, grant),
            Outcome::Refused(mut refusal) => {
                if let Act::Account(act) = &draft.act
                    && let AccountAct::LogIn { by: Proven::User { fold, .. } } = &**act
                    && refusal.code == Code::BadLogin
                {
                    let text = format!(
                        "{fold} has an account: come in with AUTH if it is you, else take another name"
                    );
                    refusal = Refusal::new(Code::LoginNeeded, text);
                }
                if refusal.code == Code::BadLogin {
                    let now = core.environment.clock.elapsed();
                    let source = peer.origin.source();
                    let _ = core.throttles.login_addresses.take(source, LOGIN_ADDRESSES, now);
                }
                return self.refuse(core, refusal);
            }
            _ => return self.refuse(core, refusal(Code::Unavailable, "the account is not there any more")),
        };
        if peer.identity() != 0 {
            // A guest who has registered is here already.
            self.responder.answer().set_ok_tags(log_tags(core));
            return self.responder.give(Ok(Some(account.name)));
        }
        self.enter(core, &account, grant);
    }

    fn enter(self, core: &Arc<Core>, account: &StoredAccount, grant: Option<Box<Grant>>) {
        let Arrival { entrance, mut responder } = self;
        let peer = Arc::clone(responder.peer());
        let limits = &core.config().limits;
        let Ok(nick) = Nick::parse(&account.name) else { return responder.give_nothing() };
        let quiet = entrance.quiet || grant.is_some();
        if let Some(grant) = grant {
            peer.set_grant(grant);
        }
        let proof = Proof::Account(account.number);
        let entered = core.registry.enter(
            &registry::Entrance {
                peer: &peer,
                nick: &nick,
                quiet,
                bot: account.role == snug_protocol::Role::Bot,
                shows: vec![proof.clone()],
                proof,
                number: account.number,
                role: account.role,
                time: core.environment.clock.now(),
            },
            limits,
        );
        let entered = match entered {
            Ok(entered) => entered,
            Err(refused) => {
                peer.set_live(true);
                return responder.give(Err(refused));
            }
        };
        peer.set_quiet(quiet);
        if !quiet {
            let author = Author {
                number: account.number,
                nick: account.name.clone(),
                address: peer.origin.address(),
                ..Author::default()
            };
            leave_lobby_if_banned(core, author);
        }
        let returns = entrance.since.is_none() && !quiet;
        peer.set_live(entrance.since.is_none() && !returns);
        let last = core.delivered.load(Relaxed);
        responder.answer().set_ok_tags(log_tags(core));
        // What was missed follows the OK, and the session's next command follows that.
        peer.begin(0);
        responder.give(Ok(Some(account.name.clone())));
        if returns {
            deliver_missed(core, &peer, &entered.identity, last, true);
        }
        peer.settle(0, b"");
    }
}

/// What every OK of somebody who came in has.
fn log_tags(core: &Core) -> TagBuilder {
    let mut tags = TagBuilder::default();
    tags.display("log", Some(core.log_name));
    tags.display("last", Some(core.delivered.load(Relaxed)));
    tags
}

/// What is done with the PHC string of a password, if there is one.
type WithStored = Box<dyn FnOnce(&Arc<Core>, Result<Option<String>, Refusal>) + Send>;

/// A change of an account, on its way to the log.
struct AccountChange {
    responder: Responder,
    /// What the OK says.
    ok: String,
}

impl AccountChange {
    fn submit(self, core: &Arc<Core>, author: Author, act: AccountAct) {
        let AccountChange { responder, ok } = self;
        let draft = Draft::new(author, Act::Account(Box::new(act)));
        core.decide(responder, draft, move |_, _| Ok(Some(ok)));
    }

    fn refuse(mut self, core: &Core, refusal: Refusal) {
        let author = core.author_of(self.responder.peer());
        let verb = self.responder.answer().verb().to_owned();
        core.note_refusal(self.responder.peer(), author, &verb, refusal.code);
        self.responder.give(Err(refusal));
    }
}

fn no_memory() -> Refusal {
    refusal(Code::Unavailable, "the password could not be worked on; try again later")
}

fn too_many_tries(wait: u64) -> Refusal {
    Refusal::new(Code::SlowDown, "too many tries to log in; wait before the next one").after(wait)
}

fn login_needed() -> Refusal {
    refusal(Code::LoginNeeded, "this takes an account; REGISTER makes one, AUTH logs in to one")
}

fn check_password(password: &str, name: &Nick<'_>) -> Result<(), Refusal> {
    if !(SHORTEST..=LONGEST).contains(&password.len()) {
        let text = format!("a password has {SHORTEST} to {LONGEST} bytes");
        return Err(refusal(Code::BadSecret, &text));
    }
    if password.eq_ignore_ascii_case(name.as_str()) {
        return Err(refusal(Code::BadSecret, "the name itself is no password"));
    }
    Ok(())
}

fn public_key(text: &str) -> Result<[u8; 32], Refusal> {
    let key = decode_public_key(text).ok_or_else(|| {
        refusal(Code::BadSecret, "a key is an Ed25519 public key of 32 bytes in base64, and not a weak one")
    })?;
    Ok(*key.as_bytes())
}

/// The first half of the SHA-256 of something secret.
fn half_hash(secret: &str) -> TokenHash {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    half
}
