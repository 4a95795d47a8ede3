//! Accounts: what of them is asked for and stored.

use rusqlite::{Connection, OptionalExtension};
use snug_protocol::{Nick, Period, Role, Scope, Timestamp};

use super::View;
use crate::config::Registration;

/// The first half of the SHA-256 of a token or invite, which are not kept.
pub(crate) type TokenHash = [u8; 16];

/// What is to be done about an account. The author's own, where none is named.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AccountAct {
    /// A new account. `guest` is who registers, if somebody with a name does, and `number` what the account gets else.
    Register {
        name: Nick<'static>,
        /// A PHC string.
        password: Option<String>,
        key: Option<([u8; 32], String)>,
        invite: Option<TokenHash>,
        policy: Registration,
        user: Option<u32>,
        guest: Option<u64>,
        number: u64,
        most: u64,
    },
    /// Somebody has proved to be an account.
    LogIn {
        by: Proven,
    },
    /// Another password. `old` is the one that was verified; `fold` the account, if it is another's.
    SetPassword {
        fold: Option<String>,
        new: String,
        old: Option<String>,
    },
    Unregister {
        fold: String,
    },
    AddKey {
        key: [u8; 32],
        label: String,
    },
    RemoveKey {
        label: String,
    },
    AddToken {
        hash: TokenHash,
        label: String,
        scope: Scope,
        expires: Option<Period>,
    },
    RemoveToken {
        label: String,
    },
    MakeInvite {
        hash: TokenHash,
        expires: Period,
        policy: Registration,
    },
    /// `name` is `display`, `colour` or `avatar`; of an avatar the value is its media type.
    SetProfile {
        name: &'static str,
        value: Option<String>,
        avatar: Option<Vec<u8>>,
    },
}

/// Says which, and nothing of what is secret.
impl std::fmt::Debug for AccountAct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl AccountAct {
    /// The word for it in the audit trail.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            AccountAct::Register { .. } => "register",
            AccountAct::LogIn { .. } => "login",
            AccountAct::SetPassword { .. } => "password",
            AccountAct::Unregister { .. } => "unregister",
            AccountAct::AddKey { .. } => "key-add",
            AccountAct::RemoveKey { .. } => "key-remove",
            AccountAct::AddToken { .. } => "token-add",
            AccountAct::RemoveToken { .. } => "token-remove",
            AccountAct::MakeInvite { .. } => "invite-make",
            AccountAct::SetProfile { .. } => "profile",
        }
    }
}

/// What proves that somebody is an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proven {
    /// A password was compared with this PHC string.
    Password {
        fold: String,
        with: String,
    },
    /// A signature of this key was verified.
    Key {
        fold: String,
        key: [u8; 32],
    },
    Token(TokenHash),
    /// The embedding program has checked a password, and the account has none of its own.
    Vouched {
        fold: String,
    },
    /// A user of this machine who has the account by the settings, or made it.
    User {
        fold: String,
        user: u32,
        by_settings: bool,
    },
}

/// An account as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAccount {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The user of this machine who needs no other proof.
    pub(crate) user: Option<u32>,
    pub(crate) display: Option<String>,
    pub(crate) colour: Option<String>,
    /// The media type of its picture.
    pub(crate) avatar: Option<String>,
    /// The newest private message that a session of its was given.
    pub(crate) delivered: u64,
}

/// What came with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) hash: TokenHash,
    pub(crate) label: String,
    pub(crate) scope: Scope,
    pub(crate) expires: Option<Timestamp>,
}

/// A row of KEY.
pub(crate) struct KeyRow {
    pub(crate) label: String,
    pub(crate) key: [u8; 32],
    pub(crate) added: Timestamp,
}

/// A row of TOKEN.
pub(crate) struct TokenRow {
    pub(crate) grant: Grant,
    pub(crate) added: Timestamp,
}

/// A row of ACCOUNTS.
pub(crate) struct AccountRow {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created: Timestamp,
    pub(crate) keys: u64,
    pub(crate) tokens: u64,
    pub(crate) has_password: bool,
}

const ACCOUNT: &str = "account.number, account.name, account.role, account.user, account.display, account.colour, \
     account.avatar_type, (SELECT delivered FROM identity WHERE identity.number = account.number)";

fn account_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredAccount> {
    let role: String = row.get(2)?;
    Ok(StoredAccount {
        number: row.get(0)?,
        name: row.get(1)?,
        role: role.parse().unwrap_or(Role::Member),
        user: row.get(3)?,
        display: row.get(4)?,
        colour: row.get(5)?,
        avatar: row.get(6)?,
        delivered: row.get::<_, Option<u64>>(7)?.unwrap_or(0),
    })
}

/// An account by its number.
pub(super) fn account(database: &Connection, number: u64) -> rusqlite::Result<Option<StoredAccount>> {
    database
        .prepare_cached(&format!("SELECT {ACCOUNT} FROM account WHERE number = ?1"))?
        .query_row([number], account_of)
        .optional()
}

/// The scope of a token as its row has it. One that cannot be read is none.
pub(super) fn grant_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Grant>> {
    let (may, rooms, rate): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let expires: Option<i64> = row.get(5)?;
    let Ok(scope) = Scope::parse(&may, &rooms, &rate) else { return Ok(None) };
    let expires = expires.map(Timestamp::from_millis);
    Ok(Some(Grant { hash: row.get(0)?, label: row.get(1)?, scope, expires }))
}

pub(super) const GRANT: &str = "token.hash, token.label, token.may, token.rooms, token.rate, token.expires";

impl View<'_> {
    /// All accounts.
    pub(crate) fn accounts(&self) -> rusqlite::Result<Vec<StoredAccount>> {
        let mut statement = self.database().prepare(&format!("SELECT {ACCOUNT} FROM account"))?;
        statement.query_map([], account_of)?.collect()
    }

    /// All accounts, as operators see them, in the order of their names.
    pub(crate) fn account_rows(&self) -> rusqlite::Result<Vec<AccountRow>> {
        let mut statement = self.database().prepare(
            "SELECT number, name, role, created, password IS NOT NULL,
                 (SELECT count(*) FROM account_key WHERE account_key.account = account.number),
                 (SELECT count(*) FROM token WHERE token.account = account.number) FROM account ORDER BY fold",
        )?;
        let rows = statement.query_map([], |row| {
            let role: String = row.get(2)?;
            Ok(AccountRow {
                number: row.get(0)?,
                name: row.get(1)?,
                role: role.parse().unwrap_or(Role::Member),
                created: Timestamp::from_millis(row.get(3)?),
                has_password: row.get(4)?,
                keys: row.get(5)?,
                tokens: row.get(6)?,
            })
        })?;
        rows.collect()
    }

    /// The PHC string of an account's password, by its folded name: nothing if there is no such account, and in that
    /// nothing if it has no password.
    pub(crate) fn password(&self, fold: &str) -> rusqlite::Result<Option<Option<String>>> {
        self.database()
            .prepare_cached("SELECT password FROM account WHERE fold = ?1")?
            .query_row([fold], |row| row.get(0))
            .optional()
    }

    /// The keys of an account, in the order of their labels.
    pub(crate) fn keys(&self, account: u64) -> rusqlite::Result<Vec<KeyRow>> {
        let mut statement = self
            .database()
            .prepare_cached("SELECT label, key, added FROM account_key WHERE account = ?1 ORDER BY label")?;
        let rows = statement.query_map([account], |row| {
            let added = Timestamp::from_millis(row.get(2)?);
            Ok(KeyRow { label: row.get(0)?, key: row.get(1)?, added })
        })?;
        rows.collect()
    }

    /// The tokens of an account, in the order of their labels.
    pub(crate) fn tokens(&self, account: u64) -> rusqlite::Result<Vec<TokenRow>> {
        let mut statement = self.database().prepare_cached(&format!(
            "SELECT {GRANT}, token.added FROM token WHERE account = ?1 ORDER BY label"
        ))?;
        let rows = statement
            .query_map([account], |row| Ok((grant_of(row)?, Timestamp::from_millis(row.get(6)?))))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let row = |(grant, added)| Option::map(grant, |grant| TokenRow { grant, added });
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// The picture of an account.
    pub(crate) fn avatar(&self, account: u64) -> rusqlite::Result<Option<(String, Vec<u8>)>> {
        let found: Option<(Option<String>, Option<Vec<u8>>)> = self
            .database()
            .prepare_cached("SELECT avatar_type, avatar FROM account WHERE number = ?1")?
            .query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found.and_then(|(kind, picture)| kind.zip(picture)))
    }
}
