//! Handlers of the verbs about accounts: REGISTER, PASSWORD, UNREGISTER, and INVITE to the server.

use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use snug_protocol::envelope::decode_public_key;
use snug_protocol::{Code, Entrance, Nick, Period, TagBuilder};
use zeroize::Zeroizing;

use super::{Answered, Session, refusal};
use crate::answer::Answer;
use crate::config::Registration;
use crate::core::Core;
use crate::core::passwords::{LONGEST, SHORTEST};
use crate::log::{AccountAct, Act, AuditNote, Author, Draft, NewAccount, TokenHash};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::registry::responder::Responder;
use crate::throttle::Quota;

/// Rate limit for attempts to log in to one account from one address.
pub(super) const LOGINS: Quota = Quota { burst: 5, interval: Duration::from_secs(30) };

/// Rate limit for accounts made from one address.
const REGISTRATIONS: Quota = Quota { burst: 50, interval: Duration::from_secs(60) };

/// How long an invite to the server is valid, in seconds.
const INVITE: u64 = 7 * 24 * 3_600;

/// The prefixes of tokens and invites, by which people and secret scanners recognize them.
pub(super) const TOKEN_PREFIX: &str = "snugt_";
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
        self.must_be_no_bot(name)?;
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
        if matches!(self.origin, Origin::Tcp(_) | Origin::Unix(_)) && !self.is_operator() {
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
        let rooms = self.core.registry.rooms_of_peer(&self.peer);
        let mut new = NewAccount {
            name: name.clone().into_owned(),
            password: None,
            key,
            invite: invite.map(half_hash),
            policy,
            user,
            guest: self.me.as_ref().map(|me| me.number),
            number: self.core.environment.number(),
            most: config.accounts.most,
            rooms: rooms.iter().map(|room| room.number).collect(),
            joins: super::entrance::comes_into(&self.core, &entrance),
        };
        let arrival = self.arrival(entrance, answer);
        let author = self.stranger();
        let Some(password) = password else {
            arrival.submit(&self.core, author, AccountAct::Register(Box::new(new)));
            return Ok(Answered::InFlight);
        };
        let password = Zeroizing::new(password.to_owned());
        let salt = self.core.environment.salt();
        let core = Arc::clone(&self.core);
        let work = move || match core.passwords.hash(&password, &salt) {
            Some(hash) => {
                new.password = Some(hash);
                arrival.submit(&core, author, AccountAct::Register(Box::new(new)));
            }
            None => arrival.refuse(&core, no_memory()),
        };
        self.core.passwords.submit(Box::new(work));
        Ok(Answered::InFlight)
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
        Ok(Answered::InFlight)
    }

    /// Sets the password of another user's account, without asking for the old one.
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
        Ok(Answered::InFlight)
    }

    pub(super) fn unregister(&mut self, name: &Nick<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let author = self.author(self.me()?);
        let act = AccountAct::Unregister { fold: name.fold().as_str().to_owned() };
        Ok(self.change_account(author, act, answer, name.as_str().to_owned()))
    }

    /// Handles INVITE to the server.
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
        tags.display("fingerprint", Some(core.handshake.key.public_key().fingerprint()));
        answer.set_ok_tags(tags);
        let act = AccountAct::MakeInvite {
            hash: half_hash(&token),
            expires: expires.unwrap_or(Period::from_secs(INVITE)),
            policy: config.accounts.registration,
        };
        let author = self.author(self.me()?);
        Ok(self.change_account(author, act, answer, token))
    }

    /// Refuses passwords and tokens that would cross a network unencrypted, whatever the settings allow for other
    /// lines.
    pub(super) fn must_not_be_overheard(&self) -> Result<(), Refusal> {
        if self.origin.counted_address().is_none() || self.binding().is_some() {
            return Ok(());
        }
        let text = "passwords and tokens do not cross a network in the clear; use the envelope, as snug does";
        Err(refusal(Code::ClearText, text))
    }

    /// Returns the session as an author, with or without a name.
    pub(super) fn stranger(&self) -> Author {
        match &self.me {
            Some(me) => self.author(me),
            None => {
                Author { by_origin: self.origin_role(), address: self.origin.address(), ..Author::default() }
            }
        }
    }

    /// Hands a change of an account to the log. `ok` are the parameters of the OK.
    pub(super) fn change_account(
        &mut self,
        author: Author,
        act: AccountAct,
        answer: &mut Answer,
        ok: String,
    ) -> Answered {
        let change = AccountChange { responder: self.responder(answer), ok };
        change.submit(&self.core, author, act);
        Answered::InFlight
    }
}

/// A change of an account, on its way to the log.
struct AccountChange {
    responder: Responder,
    /// The parameters of the OK.
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

pub(super) fn no_memory() -> Refusal {
    refusal(Code::Unavailable, "the password could not be worked on; try again later")
}

pub(super) fn too_many_tries(wait: u64) -> Refusal {
    Refusal::new(Code::SlowDown, "too many tries to log in; wait before the next one").after(wait)
}

pub(super) fn login_needed() -> Refusal {
    refusal(Code::LoginNeeded, "this takes an account; REGISTER makes one, AUTH logs in to one")
}

pub(super) fn check_password(password: &str, name: &Nick<'_>) -> Result<(), Refusal> {
    if !(SHORTEST..=LONGEST).contains(&password.len()) {
        let text = format!("a password has {SHORTEST} to {LONGEST} bytes");
        return Err(refusal(Code::BadSecret, &text));
    }
    if password.eq_ignore_ascii_case(name.as_str()) {
        return Err(refusal(Code::BadSecret, "the name itself is no password"));
    }
    Ok(())
}

pub(super) fn public_key(text: &str) -> Result<[u8; 32], Refusal> {
    let key = decode_public_key(text).ok_or_else(|| {
        refusal(Code::BadSecret, "a key is an Ed25519 public key of 32 bytes in base64, and not a weak one")
    })?;
    Ok(*key.as_bytes())
}

/// Returns the first half of the SHA-256 of a secret.
pub(super) fn half_hash(secret: &str) -> TokenHash {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    half
}
