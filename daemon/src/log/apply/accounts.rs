//! Accounts: the rules for registration, login, changes and deletion.

use rusqlite::{OptionalExtension, params};
use snug_protocol::{Code, Nick, Period, Role, Scope, Skeletons};

use super::{Ends, authority, memberships, refuse, rooms};
use crate::config::Registration;
use crate::log::accounts::{GRANT, account, avatar_hash, grant_of};
use crate::log::transaction::Transaction;
use crate::log::{
    AccountAct, AuditNote, Author, ComesInto, Grant, Meta, NewAccount, Outcome, Proven, StoredAccount,
    TokenHash,
};
use crate::refusal::Refusal;

/// Maximum number of keys, and of tokens, of an account.
const KEYS: u64 = 32;
const TOKENS: u64 = 64;

/// Maximum number of unused invites of one member.
const INVITES: u64 = 100;

pub(super) fn decide(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    act: &AccountAct,
) -> rusqlite::Result<Outcome> {
    match act {
        AccountAct::Register(_) => register(tx, meta, ends, author, act),
        AccountAct::LogIn { by, joins } => log_in(tx, meta, ends, author, (by, joins)),
        own => {
            let (outcome, note) = match change(tx, meta, author, own)? {
                Ok(changed) => changed,
                Err(refusal) => return Ok(Outcome::Refused(refusal)),
            };
            super::audit::record(tx, meta.time, ends, author, &note)?;
            Ok(outcome)
        }
    }
}

fn register(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    act: &AccountAct,
) -> rusqlite::Result<Outcome> {
    let AccountAct::Register(new) = act else { return Ok(Outcome::Done) };
    let NewAccount { name, password, key, invite, policy, user, guest, number, most, rooms, joins } = &**new;
    let is_operator = author.by_origin == Role::Operator;
    if let Some(guest) = guest
        && account(tx, *guest)?.is_some()
    {
        return refuse(Code::TooLate, "you have an account; connect anew to make another one");
    }
    let is_invited = match invite {
        None => false,
        Some(hash) => tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM invite WHERE hash = ?1 AND expires > ?2)")?
            .query_row(params![hash, meta.time.millis()], |row| row.get(0))?,
    };
    match policy {
        _ if is_operator || is_invited => {}
        _ if invite.is_some() => {
            return refuse(
                Code::InviteNeeded,
                "this invite is used up, too old or none; ask for another one",
            );
        }
        Registration::Open => {}
        Registration::Invite => {
            return refuse(Code::InviteNeeded, "accounts are made by invite here; ask a member for one");
        }
        Registration::Closed => {
            return refuse(Code::Denied, "nobody makes accounts here but the operators; ask one of them");
        }
    }
    if let Some(taken) = taken(tx, name)? {
        return Ok(Outcome::Refused(taken));
    }
    let count: u64 = tx.prepare_cached("SELECT count(*) FROM account")?.query_row([], |row| row.get(0))?;
    if count >= *most {
        return refuse(Code::TooMany, "there are as many accounts as there can be; tell the operator");
    }
    let number = guest.unwrap_or(*number);
    let looks = Skeletons::of(name.as_str());
    let [look, look_folded] = &looks.skeletons;
    tx.prepare_cached(
        "INSERT INTO account (number, name, fold, look, look_folded, ascii, role, password, user, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'member', ?7, ?8, ?9)",
    )?
    .execute(params![
        number,
        name.as_str(),
        name.fold().as_str(),
        look.as_str(),
        look_folded.as_str(),
        looks.ascii,
        password,
        user,
        meta.time.millis()
    ])?;
    let proof = format!("account:{number}");
    tx.prepare_cached(
        "INSERT INTO identity (number, nick, fold, proof, bot) VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (number) DO UPDATE SET nick = excluded.nick, fold = excluded.fold, proof = excluded.proof",
    )?
    .execute(params![number, name.as_str(), name.fold().as_str(), proof])?;
    if let Some((key, label)) = key {
        tx.prepare_cached("INSERT INTO account_key (account, label, key, added) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![number, label, key, meta.time.millis()])?;
    }
    let mut detail = match (password.is_some(), key.is_some()) {
        (true, true) => "password, key",
        (true, false) => "password",
        (false, true) => "key",
        (false, false) => "login of the embedding program",
    }
    .to_owned();
    if let Some(hash) = invite.filter(|_| is_invited) {
        let inviter: Option<String> = tx
            .prepare_cached(
                "SELECT nick FROM identity WHERE number = (SELECT author FROM invite WHERE hash = ?1)",
            )?
            .query_row([hash], |row| row.get(0))
            .optional()?;
        tx.prepare_cached("DELETE FROM invite WHERE hash = ?1")?.execute([hash])?;
        detail.push_str(&format!(", invited by {}", inviter.unwrap_or_else(|| "an operator".to_owned())));
    }
    let author = Author { number, nick: name.as_str().to_owned(), ..author.clone() };
    super::audit::record(tx, meta.time, ends, &author, &AuditNote::new("register", name.as_str(), detail))?;
    memberships::register(tx, number, rooms)?;
    let Some(mut made) = account(tx, number)? else { return Ok(Outcome::Done) };
    if guest.is_none() {
        made.rooms = rooms::come_in(tx, meta, ends, &author, joins)?;
    }
    Ok(Outcome::Account(Box::new(made), None))
}

/// Returns the refusal if a name belongs to an account, or looks like the name of one.
fn taken(tx: &Transaction<'_>, name: &Nick<'_>) -> rusqlite::Result<Option<Refusal>> {
    let is_taken: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM account WHERE fold = ?1)")?
        .query_row([name.fold().as_str()], |row| row.get(0))?;
    if is_taken {
        return Ok(Some(Refusal::new(
            Code::NickTaken,
            format!("{name} is an account already; take another name"),
        )));
    }
    let looks = Skeletons::of(name.as_str());
    let [look, look_folded] = &looks.skeletons;
    let alike: Option<String> = tx
        .prepare_cached(
            "SELECT name FROM account
             WHERE (look IN (?1, ?2) OR look_folded IN (?1, ?2)) AND NOT (ascii AND ?3) LIMIT 1",
        )?
        .query_row(params![look.as_str(), look_folded.as_str(), looks.ascii], |row| row.get(0))
        .optional()?;
    Ok(alike.map(|alike| {
        Refusal::new(Code::LooksAlike, format!("the name can be taken for {alike}, who has an account"))
    }))
}

fn log_in(
    tx: &Transaction<'_>,
    meta: &Meta,
    ends: &mut Ends,
    author: &Author,
    (by, joins): (&Proven, &ComesInto),
) -> rusqlite::Result<Outcome> {
    let (found, how, grant) = proven(tx, meta, by)?;
    let Some(mut found) = found else {
        let named = match by {
            Proven::Password { fold, .. }
            | Proven::Key { fold, .. }
            | Proven::User { fold, .. }
            | Proven::Vouched { fold } => fold,
            Proven::Token(_) => "",
        };
        super::audit::record(tx, meta.time, ends, author, &AuditNote::new("login-failed", named, how))?;
        return refuse(Code::BadLogin, BAD_LOGIN);
    };
    let who = Author { number: found.number, nick: found.name.clone(), ..author.clone() };
    let token = grant.as_ref().map(|grant| token_name(&found.name, &grant.label));
    if let Some(ban) = authority::server_ban(tx, meta, &who, token.as_deref())? {
        super::audit::record(tx, meta.time, ends, &who, &AuditNote::new("login-banned", &found.name, how))?;
        return refuse(Code::Banned, &ban.notice("this server"));
    }
    super::audit::record(tx, meta.time, ends, &who, &AuditNote::new("login", &found.name, how))?;
    if grant.is_none() {
        found.rooms = rooms::come_in(tx, meta, ends, &who, joins)?;
    }
    Ok(Outcome::Account(Box::new(found), grant.map(Box::new)))
}

/// The same text whatever was wrong, so that nobody can find out which names have accounts.
pub(crate) const BAD_LOGIN: &str = "name, password, key or token do not go together";

/// Returns the account that a proof is valid for, a description of the proof, and the grant if it was a token.
fn proven(
    tx: &Transaction<'_>,
    meta: &Meta,
    by: &Proven,
) -> rusqlite::Result<(Option<StoredAccount>, String, Option<Grant>)> {
    let number = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<Option<u64>> {
        tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()
    };
    let (number, how) = match by {
        Proven::Password { fold, with } => (
            number("SELECT number FROM account WHERE fold = ?1 AND password = ?2", &[fold, with])?,
            "password".to_owned(),
        ),
        Proven::Vouched { fold } => (
            number("SELECT number FROM account WHERE fold = ?1 AND password IS NULL", &[fold])?,
            "login of the embedding program".to_owned(),
        ),
        Proven::Key { fold, key } => {
            let found: Option<(u64, String)> = tx
                .prepare_cached(
                    "SELECT number, label FROM account JOIN account_key ON account_key.account = account.number
                     WHERE account.fold = ?1 AND account_key.key = ?2",
                )?
                .query_row(params![fold, key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match found {
                Some((number, label)) => (Some(number), format!("key {label}")),
                None => (None, "key".to_owned()),
            }
        }
        Proven::User { fold, user, by_settings } => (
            number(
                "SELECT number FROM account WHERE fold = ?1 AND (?3 OR user = ?2)",
                &[fold, user, by_settings],
            )?,
            format!("user {user} of this machine"),
        ),
        Proven::Token(hash) => {
            let found = tx
                .prepare_cached(&format!(
                    "SELECT {GRANT}, account FROM token WHERE hash = ?1 AND (expires IS NULL OR expires > ?2)"
                ))?
                .query_row(params![hash, meta.time.millis()], |row| {
                    Ok((grant_of(row)?, row.get::<_, u64>(6)?))
                })
                .optional()?;
            return Ok(match found {
                Some((Some(grant), number)) => {
                    let how = format!("token {}", grant.label);
                    (account(tx, number)?, how, Some(grant))
                }
                _ => (None, "token".to_owned(), None),
            });
        }
    };
    let found = match number {
        Some(number) => account(tx, number)?,
        None => None,
    };
    Ok((found, how, None))
}

type Changed = Result<(Outcome, AuditNote), Refusal>;

/// Applies a change to an account.
fn change(tx: &Transaction<'_>, meta: &Meta, author: &Author, act: &AccountAct) -> rusqlite::Result<Changed> {
    let own = account(tx, author.number)?;
    let is_operator = authority::server_role(tx, author)? == Role::Operator;
    match act {
        AccountAct::MakeInvite { hash, expires, policy } => {
            let invite = (*hash, expires.millis(), *policy);
            return make_invite(tx, meta, author, invite, own.as_ref(), is_operator);
        }
        AccountAct::Unregister { fold } => return unregister(tx, fold, own.as_ref(), is_operator),
        AccountAct::SetPassword { fold: Some(fold), new, .. }
            if own.as_ref().is_none_or(|own| !is_fold(own, fold)) =>
        {
            return set_password_of(tx, author, (fold, new), is_operator);
        }
        _ => {}
    }
    let Some(own) = own else {
        let text = "this takes an account; REGISTER makes one, AUTH logs in to one";
        return Ok(Err(Refusal::new(Code::LoginNeeded, text)));
    };
    let changed = match act {
        AccountAct::SetPassword { new, old, .. } => set_password(tx, &own, new, old.as_deref())?,
        AccountAct::AddKey { key, label } => add_key(tx, meta, &own, key, label)?,
        AccountAct::RemoveKey { label } => remove_key(tx, &own, label)?,
        AccountAct::AddToken { hash, label, scope, expires } => {
            add_token(tx, meta, &own, (hash, label), scope, *expires)?
        }
        AccountAct::RemoveToken { label } => remove_token(tx, &own, label)?,
        AccountAct::SetProfile { name, value, avatar } => {
            set_profile(tx, &own, name, value.as_deref(), avatar.as_deref())?
        }
        AccountAct::Register(_)
        | AccountAct::LogIn { .. }
        | AccountAct::MakeInvite { .. }
        | AccountAct::Unregister { .. } => Ok((Outcome::Done, String::new())),
    };
    Ok(changed.map(|(outcome, detail)| (outcome, AuditNote::new(act.word(), &own.name, detail))))
}

/// The outcome of a change to the author's own account, and its detail for the audit log.
type OwnChange = Result<(Outcome, String), Refusal>;

fn set_password_of(
    tx: &Transaction<'_>,
    author: &Author,
    (fold, new): (&str, &str),
    is_operator: bool,
) -> rusqlite::Result<Changed> {
    if !is_operator {
        let text = "only operators set the password of another's account";
        return Ok(Err(Refusal::new(Code::Denied, text)));
    }
    let number: Option<u64> = tx
        .prepare_cached(
            "UPDATE account SET password = ?2, password_by = ?3 WHERE fold = ?1 RETURNING number",
        )?
        .query_row(params![fold, new, author.nick], |row| row.get(0))
        .optional()?;
    let Some(changed) = number.map(|number| account(tx, number)).transpose()?.flatten() else {
        return Ok(Err(no_account(fold)));
    };
    let note = AuditNote::new("password", &changed.name, "by an operator");
    Ok(Ok((Outcome::Account(Box::new(changed), None), note)))
}

fn set_password(
    tx: &Transaction<'_>,
    own: &StoredAccount,
    new: &str,
    old: Option<&str>,
) -> rusqlite::Result<OwnChange> {
    // If the password was changed meanwhile, the old password was verified against an outdated hash.
    let changed = tx
        .prepare_cached(
            "UPDATE account SET password = ?2, password_by = NULL WHERE number = ?1 AND password IS ?3",
        )?
        .execute(params![own.number, new, old])?;
    if changed == 0 {
        return Ok(Err(Refusal::new(Code::BadLogin, "the tag old is not the password")));
    }
    Ok(Ok((Outcome::Done, String::new())))
}

fn remove_key(tx: &Transaction<'_>, own: &StoredAccount, label: &str) -> rusqlite::Result<OwnChange> {
    let gone = tx
        .prepare_cached("DELETE FROM account_key WHERE account = ?1 AND label = ?2")?
        .execute(params![own.number, label])?;
    if gone == 0 {
        return Ok(Err(Refusal::new(Code::NoSuchEntry, "there is no key with this label; KEY lists them")));
    }
    Ok(Ok((Outcome::Done, label.to_owned())))
}

fn add_token(
    tx: &Transaction<'_>,
    meta: &Meta,
    own: &StoredAccount,
    (hash, label): (&TokenHash, &str),
    scope: &Scope,
    expires: Option<Period>,
) -> rusqlite::Result<OwnChange> {
    let count: u64 = tx
        .prepare_cached("SELECT count(*) FROM token WHERE account = ?1")?
        .query_row([own.number], |row| row.get(0))?;
    let is_there: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM token WHERE account = ?1 AND label = ?2)")?
        .query_row(params![own.number, label], |row| row.get(0))?;
    if is_there {
        let text = "there is a token with this label; TOKEN REMOVE it first";
        return Ok(Err(Refusal::new(Code::NickTaken, text)));
    }
    if count >= TOKENS {
        return Ok(Err(Refusal::new(Code::TooMany, format!("an account has at most {TOKENS} tokens"))));
    }
    let rate = scope.rate().map(|rate| rate.to_string()).unwrap_or_default();
    let until = expires.map(|period| later(meta, period.millis()));
    tx.prepare_cached(
        "INSERT INTO token (hash, account, label, may, rooms, rate, added, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        hash,
        own.number,
        label,
        scope.may(),
        scope.rooms(),
        rate,
        meta.time.millis(),
        until
    ])?;
    let detail = format!("{label} may {} {}", scope.may(), scope.rooms()).trim_end().to_owned();
    Ok(Ok((Outcome::Done, detail)))
}

fn remove_token(tx: &Transaction<'_>, own: &StoredAccount, label: &str) -> rusqlite::Result<OwnChange> {
    let gone: Option<TokenHash> = tx
        .prepare_cached("DELETE FROM token WHERE account = ?1 AND label = ?2 RETURNING hash")?
        .query_row(params![own.number, label], |row| row.get(0))
        .optional()?;
    if gone.is_none() {
        let text = "there is no token with this label; TOKEN lists them";
        return Ok(Err(Refusal::new(Code::NoSuchEntry, text)));
    }
    Ok(Ok((Outcome::Revoked(gone), label.to_owned())))
}

/// Sets a part of a profile: `display`, `colour`, or the avatar, whose value is its media type.
fn set_profile(
    tx: &Transaction<'_>,
    own: &StoredAccount,
    name: &str,
    value: Option<&str>,
    avatar: Option<&[u8]>,
) -> rusqlite::Result<OwnChange> {
    let sql = match name {
        "display" => "UPDATE account SET display = ?2 WHERE number = ?1",
        "colour" => "UPDATE account SET colour = ?2 WHERE number = ?1",
        _ => {
            tx.prepare_cached("UPDATE account SET avatar = ?2, avatar_hash = ?3 WHERE number = ?1")?
                .execute(params![own.number, avatar, avatar.map(avatar_hash)])?;
            "UPDATE account SET avatar_type = ?2 WHERE number = ?1"
        }
    };
    tx.prepare_cached(sql)?.execute(params![own.number, value])?;
    let changed = account(tx, own.number)?;
    let outcome = changed.map_or(Outcome::Done, |changed| Outcome::Account(Box::new(changed), None));
    Ok(Ok((outcome, name.to_owned())))
}

fn is_fold(account: &StoredAccount, fold: &str) -> bool {
    Nick::parse(&account.name).is_ok_and(|name| name.fold().as_str() == fold)
}

fn no_account(fold: &str) -> Refusal {
    Refusal::new(Code::NoSuchNick, format!("there is no account {fold}"))
}

fn later(meta: &Meta, millis: u64) -> i64 {
    meta.time.millis().saturating_add(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn add_key(
    tx: &Transaction<'_>,
    meta: &Meta,
    own: &StoredAccount,
    key: &[u8; 32],
    label: &str,
) -> rusqlite::Result<OwnChange> {
    let count: u64 = tx
        .prepare_cached("SELECT count(*) FROM account_key WHERE account = ?1")?
        .query_row([own.number], |row| row.get(0))?;
    let is_there: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM account_key WHERE account = ?1 AND (label = ?2 OR key = ?3))",
        )?
        .query_row(params![own.number, label, key], |row| row.get(0))?;
    if is_there {
        let text = "there is this key or one with this label; KEY lists them";
        return Ok(Err(Refusal::new(Code::NickTaken, text)));
    }
    if count >= KEYS {
        return Ok(Err(Refusal::new(Code::TooMany, format!("an account has at most {KEYS} keys"))));
    }
    tx.prepare_cached("INSERT INTO account_key (account, label, key, added) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![own.number, label, key, meta.time.millis()])?;
    Ok(Ok((Outcome::Done, label.to_owned())))
}

fn make_invite(
    tx: &Transaction<'_>,
    meta: &Meta,
    author: &Author,
    (hash, millis, policy): ([u8; 16], u64, Registration),
    own: Option<&StoredAccount>,
    is_operator: bool,
) -> rusqlite::Result<Changed> {
    let is_member = author.by_origin >= Role::Member || own.is_some_and(|own| own.role >= Role::Member);
    if !is_operator && !is_member {
        let text = "only members and operators invite to the server; REGISTER makes an account";
        let code = if own.is_none() { Code::LoginNeeded } else { Code::Denied };
        return Ok(Err(Refusal::new(code, text)));
    }
    if !is_operator && policy == Registration::Closed {
        return Ok(Err(Refusal::new(Code::Denied, "registration is closed: only operators invite")));
    }
    tx.prepare_cached("DELETE FROM invite WHERE expires <= ?1")?.execute([meta.time.millis()])?;
    let count: u64 = tx
        .prepare_cached("SELECT count(*) FROM invite WHERE author = ?1")?
        .query_row([author.number], |row| row.get(0))?;
    if count >= INVITES {
        return Ok(Err(Refusal::new(Code::TooMany, format!("you have {INVITES} invites that nobody used"))));
    }
    tx.prepare_cached("INSERT INTO invite (hash, author, expires) VALUES (?1, ?2, ?3)")?.execute(params![
        hash,
        author.number,
        later(meta, millis)
    ])?;
    Ok(Ok((Outcome::Done, AuditNote::new("invite-make", "", ""))))
}

fn unregister(
    tx: &Transaction<'_>,
    fold: &str,
    own: Option<&StoredAccount>,
    is_operator: bool,
) -> rusqlite::Result<Changed> {
    let is_own = own.is_some_and(|own| is_fold(own, fold));
    if !is_own && !is_operator {
        let (code, text) = match own {
            None => (Code::LoginNeeded, "you have no account; AUTH logs in to one"),
            Some(_) => {
                (Code::Denied, "only operators delete another's account; say your own name to delete yours")
            }
        };
        return Ok(Err(Refusal::new(code, text)));
    }
    let found: Option<(u64, String)> = tx
        .prepare_cached("SELECT number, name FROM account WHERE fold = ?1")?
        .query_row([fold], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, name)) = found else { return Ok(Err(no_account(fold))) };
    authority::keep_by_name(tx, number, fold)?;
    for sql in [
        "DELETE FROM account_key WHERE account = ?1",
        "DELETE FROM token WHERE account = ?1",
        "DELETE FROM invite WHERE author = ?1",
        "DELETE FROM member WHERE identity = ?1",
        "DELETE FROM membership WHERE identity = ?1",
        "DELETE FROM account WHERE number = ?1",
        "UPDATE room SET owner = 0 WHERE owner = ?1",
    ] {
        tx.prepare_cached(sql)?.execute([number])?;
    }
    super::people::forget(tx, number)?;
    let detail = if is_own { "" } else { "by an operator" };
    Ok(Ok((Outcome::Revoked(None), AuditNote::new("unregister", &name, detail))))
}

/// Returns the name of a token in bans.
pub(crate) fn token_name(account: &str, label: &str) -> String {
    let fold = Nick::parse(account).map(|name| name.fold().as_str().to_owned()).unwrap_or_default();
    format!("{fold}/{label}")
}
