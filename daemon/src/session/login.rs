//! Handler of AUTH: logging in to an account.

use super::accounts::{LOGINS, half_hash, too_many_tries};
use super::entrance::{comes_into, rooms_of};
use super::link::{deliver_missed, must_be_no_bot};
use super::{Answered, Session, must_be_no_address, refusal};
use crate::answer::Answer;
use crate::config::Registration;
use crate::core::Core;
use crate::core::queue::Submission;
use crate::core::reply::Reply;
use crate::log::{
    self, AccountAct, Act, AuditNote, Author, ComesInto, Draft, Grant, NewAccount, Outcome, Proven,
    StoredAccount,
};
use crate::origin::Source;
use crate::refusal::Refusal;
use crate::registry::responder::Responder;
use crate::registry::{self, Proof};
use crate::throttle::Quota;
use snug_protocol::envelope::{decode_public_key, decode_signature};
use snug_protocol::{Code, Credential, Entrance, Nick, PersonId, TagBuilder};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use zeroize::Zeroizing;

/// Rate limit for attempts to log in to one account from addresses that it never logged in from, all together.
const STRANGERS: Quota = Quota { burst: 20, interval: Duration::from_secs(60) };

/// Rate limit for failed attempts from one address, to any account.
const LOGIN_ADDRESSES: Quota = Quota { burst: 30, interval: Duration::from_secs(10) };

impl Session {
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
        // Keys and tokens cannot be guessed, so wrong passwords from the same address, such as that of a NAT or a proxy,
        // are not in their way.
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
                    let throttle = &self.core.throttles.login_addresses;
                    throttle.take(address, LOGIN_ADDRESSES, now).map_err(too_many_tries)?;
                    self.core.audit(self.stranger(), AuditNote::new("login-failed", name, "key"));
                    return Err(refusal(Code::BadLogin, log::BAD_LOGIN));
                };
                let fold = Nick::parse(name).map(|name| name.fold().as_str().to_owned()).unwrap_or_default();
                let act = AccountAct::LogIn {
                    by: Proven::Key { fold, key: *key.as_bytes() },
                    joins: comes_into(&self.core, &entrance),
                };
                self.arrival(entrance, answer).submit(&self.core, self.stranger(), act);
                Ok(Answered::InFlight)
            }
            Credential::Token(token) => {
                let act =
                    AccountAct::LogIn { by: Proven::Token(half_hash(token)), joins: ComesInto::Nothing };
                self.arrival(entrance, answer).submit(&self.core, self.stranger(), act);
                Ok(Answered::InFlight)
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
        // Attempts from elsewhere do not lock out an owner who has logged in from here before.
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
        let joins = comes_into(&core, &entrance);
        let arrival = self.arrival(entrance, answer);
        let author = self.stranger();
        let password = Zeroizing::new(password.to_owned());
        let (name, shown) = (name.clone().into_owned(), name.as_str().to_owned());
        let of = name.clone();
        let compare = move |core: &Arc<Core>, stored: Result<Option<String>, Refusal>| {
            let stored = match stored {
                Ok(stored) => stored,
                Err(refused) => return arrival.refuse(core, refused),
            };
            let is_right = match (&stored, &core.hooks.login) {
                (None, Some(login)) => login.verify(&shown, &password),
                _ => core.passwords.verify(&password, stored.as_deref()),
            };
            if !is_right {
                core.audit(author, AuditNote::new("login-failed", &shown, "password"));
                return arrival.refuse(core, refusal(Code::BadLogin, log::BAD_LOGIN));
            }
            // The attempt was no guess, so it does not count.
            core.throttles.logins.forget(&(fold.clone(), address));
            core.throttles.login_addresses.give_back(&address, LOGIN_ADDRESSES);
            if !is_known {
                core.throttles.strangers.give_back(&fold, STRANGERS);
            }
            let act = match stored {
                Some(with) => AccountAct::LogIn { by: Proven::Password { fold, with }, joins },
                None if core.registry.account(&name).is_some() => {
                    AccountAct::LogIn { by: Proven::Vouched { fold }, joins }
                }
                None => match must_be_no_address(&name).and_then(|()| must_be_no_bot(core, &name)) {
                    Ok(()) => vouched_account(core, name, joins),
                    Err(refusal) => return arrival.refuse(core, refusal),
                },
            };
            arrival.submit(core, author, act);
        };
        self.with_password(&of, Box::new(compare));
        Ok(Answered::InFlight)
    }

    /// Reads the PHC string of an account's password, and calls `work` with it on a password thread.
    pub(super) fn with_password(&self, name: &Nick<'_>, work: WithStored) {
        let core = Arc::clone(&self.core);
        let fold = name.fold().as_str().to_owned();
        let _ = self.core.read_for_login(Box::new(move |view| {
            let stored = match view.map(|view| view.password(&fold)) {
                Some(read) => read.map(|found| found.flatten()).map_err(Refusal::from),
                None => Err(super::history::unreadable()),
            };
            let shared = Arc::clone(&core);
            core.passwords.submit(Box::new(move || work(&shared, stored)));
        }));
    }

    /// Refuses work on a password while too many others wait for theirs.
    pub(super) fn passwords_must_have_room(&self) -> Result<(), Refusal> {
        if self.core.passwords.has_room() {
            return Ok(());
        }
        Err(Refusal::new(Code::SlowDown, "too many log in just now; try again").after(1_000))
    }

    /// Handles NICK with the name of an account from a user of this machine, who may log in to it without a password.
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
        let act = AccountAct::LogIn { by, joins: comes_into(&self.core, &entrance) };
        self.arrival(entrance, answer).submit(&self.core, self.stranger(), act);
        Answered::InFlight
    }

    /// Starts the login of the session to an account.
    pub(super) fn arrival(&mut self, entrance: Entrance, answer: &mut Answer) -> Arrival {
        // A session that must catch up first receives nothing before that.
        if self.me.is_none() {
            self.peer.set_live(false);
        }
        Arrival { entrance, responder: self.responder(answer) }
    }
}

/// A session that is logging in to an account.
pub(super) struct Arrival {
    entrance: Entrance,
    responder: Responder,
}

impl Arrival {
    /// Lets the log decide, and then completes the login.
    pub(super) fn submit(self, core: &Arc<Core>, author: Author, act: AccountAct) {
        let draft = Draft::new(author, Act::Account(Box::new(act)));
        let (size, sender) = (self.responder.size(), Some(Arc::clone(self.responder.peer())));
        let shared = Arc::clone(core);
        let reply = Reply::Call(Box::new(move |_, draft, outcome| self.come_in(&shared, draft, outcome)));
        let _ = core.queue.push(Submission { draft, size, sender, reply });
    }

    pub(super) fn refuse(mut self, core: &Core, refusal: Refusal) {
        let peer = Arc::clone(self.responder.peer());
        let author = Author { address: peer.origin.address(), ..Author::default() };
        core.note_refusal(&peer, author, self.responder.answer().verb(), refusal.code);
        if peer.identity() == 0 {
            peer.set_live(true);
        }
        self.responder.give(Err(refusal));
    }

    /// Completes the login on the writer's thread, where nothing is delivered meanwhile. The account is in the
    /// registry already.
    fn come_in(mut self, core: &Arc<Core>, draft: &Draft, outcome: Outcome) {
        let peer = Arc::clone(self.responder.peer());
        let (account, grant) = match outcome {
            Outcome::Account(account, grant) => (account, grant),
            Outcome::Refused(mut refusal) => {
                if let Act::Account(act) = &draft.act
                    && let AccountAct::LogIn { by: Proven::User { fold, .. }, .. } = &**act
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
            // A guest who has registered is online already.
            self.responder.answer().set_ok_tags(log_tags(core, account.number));
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
            &registry::NewSession {
                peer: &peer,
                nick: &nick,
                quiet,
                bot: account.role == snug_protocol::Role::Bot,
                shows: vec![proof.clone()],
                proof,
                rooms: Some(&account.rooms),
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
        let returns = entrance.since.is_none() && !quiet;
        peer.set_live(entrance.since.is_none() && !returns);
        let last = core.delivered.load(Relaxed);
        let mut tags = log_tags(core, account.number);
        tags.value("password-by", account.password_by.as_deref());
        let rooms = entrance.rooms.as_ref().map(|_| rooms_of(core, &peer));
        tags.value("rooms", rooms.as_deref());
        responder.answer().set_ok_tags(tags);
        // Missed entries follow the OK, and the session's next command follows them.
        peer.begin(0);
        responder.give(Ok(Some(account.name.clone())));
        if returns {
            deliver_missed(core, &peer, &entered.identity, last, true);
        }
        peer.settle(0, b"");
    }
}

/// Returns the tags that every OK to a login has.
fn log_tags(core: &Core, me: u64) -> TagBuilder {
    let mut tags = TagBuilder::default();
    tags.display("who", Some(PersonId(me)));
    tags.display("log", Some(core.log_name));
    tags.display("last", Some(core.delivered.load(Relaxed)));
    tags
}

/// Returns the act that makes an account for a name that the embedding program vouches for.
fn vouched_account(core: &Core, name: Nick<'static>, joins: ComesInto) -> AccountAct {
    AccountAct::Register(Box::new(NewAccount {
        name,
        password: None,
        key: None,
        invite: None,
        policy: Registration::Open,
        user: None,
        guest: None,
        number: core.environment.number(),
        most: core.config().accounts.most,
        rooms: Vec::new(),
        joins,
    }))
}

/// Work on the PHC string of a password; `None` if there is no such account or password.
pub(super) type WithStored = Box<dyn FnOnce(&Arc<Core>, Result<Option<String>, Refusal>) + Send>;
