//! Accounts: actions on them, and their stored form.

use rusqlite::{Connection, OptionalExtension};
use snug_protocol::{Nick, Period, Role, Scope, Timestamp};

use super::View;
use crate::config::Registration;

/// The first half of the SHA-256 of a token or invite. The token or invite itself is not stored.
pub(crate) type TokenHash = [u8; 16];

/// The rooms that an account comes into when it logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ComesInto {
    Nothing,
    /// Those that it is in, and the first time the lobby.
    ItsRooms,
    /// Those that it is in, and these as far as it may JOIN them, by their folded names.
    ItsRoomsAnd {
        more: Vec<String>,
        /// The most rooms that it may be in.
        most: u64,
    },
}

/// An action on an account: the author's own, unless another is named.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AccountAct {
    /// Makes an account. It gets the number of `guest`, the identity that registers, or `number` if there is none.
    Register(Box<NewAccount>),
    /// Logs in to an account.
    LogIn {
        by: Proven,
        joins: ComesInto,
    },
    /// Sets a password. `old` is the stored one that was verified. `fold` is the account if it is not the author's
    /// own.
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
    /// `name` is `display`, `colour` or `avatar`. The value of an avatar is its media type.
    SetProfile {
        name: &'static str,
        value: Option<String>,
        avatar: Option<Vec<u8>>,
    },
}

/// Shows only the kind of action, because the rest may be secret.
impl std::fmt::Debug for AccountAct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl AccountAct {
    /// Returns the word for the action in the audit log.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            AccountAct::Register(_) => "register",
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

/// The proof that a session belongs to an account.
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
    /// The embedding program has checked the password. The account must not have one of its own.
    Vouched {
        fold: String,
    },
    /// A user of this machine to whom the config file gives the account, or who made it.
    User {
        fold: String,
        user: u32,
        by_settings: bool,
    },
}

/// What somebody registers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NewAccount {
    pub(crate) name: Nick<'static>,
    /// A PHC string.
    pub(crate) password: Option<String>,
    pub(crate) key: Option<([u8; 32], String)>,
    pub(crate) invite: Option<TokenHash>,
    pub(crate) policy: Registration,
    pub(crate) user: Option<u32>,
    pub(crate) guest: Option<u64>,
    pub(crate) number: u64,
    pub(crate) most: u64,
    /// The rooms that the guest is in, which become those of the account.
    pub(crate) rooms: Vec<u64>,
    /// Whether one who is no guest yet comes into the lobby.
    pub(crate) joins: ComesInto,
}

/// An account as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAccount {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The user id on this machine that needs no other proof.
    pub(crate) user: Option<u32>,
    pub(crate) display: Option<String>,
    pub(crate) colour: Option<String>,
    /// The media type of its avatar.
    pub(crate) avatar: Option<String>,
    /// The beginning of the avatar's SHA-256, by which clients know whether they have it.
    pub(crate) avatar_hash: Option<String>,
    /// The newest private message that was delivered to one of its sessions.
    pub(crate) delivered: u64,
    /// The operator who has set its password since it last set one itself.
    pub(crate) password_by: Option<String>,
    /// The rooms that it comes into with a login; otherwise none.
    pub(crate) rooms: Vec<u64>,
}

/// The label, scope and expiry of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) hash: TokenHash,
    pub(crate) label: String,
    pub(crate) scope: Scope,
    pub(crate) expires: Option<Timestamp>,
}

/// A row of KEY's list.
pub(crate) struct KeyRow {
    pub(crate) label: String,
    pub(crate) key: [u8; 32],
    pub(crate) added: Timestamp,
}

/// A row of TOKEN's list.
pub(crate) struct TokenRow {
    pub(crate) grant: Grant,
    pub(crate) added: Timestamp,
}

/// A row of ACCOUNTS' list.
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
     account.avatar_type, (SELECT delivered FROM identity WHERE identity.number = account.number), account.password_by, account.avatar_hash";

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
        password_by: row.get(8)?,
        avatar_hash: row.get(9)?,
        rooms: Vec::new(),
    })
}

/// Returns an account by its number.
pub(super) fn account(database: &Connection, number: u64) -> rusqlite::Result<Option<StoredAccount>> {
    database
        .prepare_cached(&format!("SELECT {ACCOUNT} FROM account WHERE number = ?1"))?
        .query_row([number], account_of)
        .optional()
}

/// Returns the grant in a token's row. `None` if its scope cannot be parsed.
pub(super) fn grant_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Grant>> {
    let (may, rooms, rate): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let expires: Option<i64> = row.get(5)?;
    let Ok(scope) = Scope::parse(&may, &rooms, &rate) else { return Ok(None) };
    let expires = expires.map(Timestamp::from_millis);
    Ok(Some(Grant { hash: row.get(0)?, label: row.get(1)?, scope, expires }))
}

pub(super) const GRANT: &str = "token.hash, token.label, token.may, token.rooms, token.rate, token.expires";

impl View<'_> {
    /// Returns all accounts.
    pub(crate) fn accounts(&self) -> rusqlite::Result<Vec<StoredAccount>> {
        let mut statement = self.database().prepare(&format!("SELECT {ACCOUNT} FROM account"))?;
        statement.query_map([], account_of)?.collect()
    }

    /// Returns all accounts, as operators see them, ordered by name.
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

    /// Returns the PHC string of an account's password, by its folded name. The outer `None` means that there is no
    /// such account, the inner `None` that it has no password.
    pub(crate) fn password(&self, fold: &str) -> rusqlite::Result<Option<Option<String>>> {
        self.database()
            .prepare_cached("SELECT password FROM account WHERE fold = ?1")?
            .query_row([fold], |row| row.get(0))
            .optional()
    }

    /// Returns the keys of an account, ordered by label.
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

    /// Returns the tokens of an account, ordered by label.
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

    /// Returns the media type and the bytes of an account's avatar.
    pub(crate) fn avatar(&self, account: u64) -> rusqlite::Result<Option<(String, Vec<u8>)>> {
        let found: Option<(Option<String>, Option<Vec<u8>>)> = self
            .database()
            .prepare_cached("SELECT avatar_type, avatar FROM account WHERE number = ?1")?
            .query_row([account], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found.and_then(|(kind, picture)| kind.zip(picture)))
    }
}

/// Returns the hash by which clients know an avatar: the first 16 hexadecimal digits of its SHA-256.
pub(super) fn avatar_hash(avatar: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, avatar);
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the hashes of avatars from before there were any.
pub(super) fn hash_avatars(database: &Connection) -> rusqlite::Result<()> {
    let mut statement = database
        .prepare("SELECT number, avatar FROM account WHERE avatar IS NOT NULL AND avatar_hash IS NULL")?;
    let found: Vec<(u64, Vec<u8>)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (number, avatar) in found {
        database.execute(
            "UPDATE account SET avatar_hash = ?2 WHERE number = ?1",
            rusqlite::params![number, avatar_hash(&avatar)],
        )?;
    }
    Ok(())
}
