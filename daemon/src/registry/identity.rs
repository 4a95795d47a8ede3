//! An identity: a number, and the proof that a session may use it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use snug_protocol::{Folded, PersonId, Presence, Role, TagBuilder};

use crate::log::StoredAccount;
use crate::registry::peer::Audience;

/// A user, independent of the nickname and of the number of sessions.
pub(crate) struct Identity {
    /// The number that everything durable refers to.
    pub(crate) number: u64,
    /// Its sessions that private messages reach.
    pub(crate) audience: Audience,
    /// Whether the log knows it.
    pub(super) is_recorded: AtomicBool,
    /// The value of `delivered` that the log knows.
    pub(super) noted: AtomicU64,
    /// The id of the newest private message that one of its sessions received.
    pub(crate) delivered: AtomicU64,
    /// Its current nickname as displayed. Changed under the registry's lock.
    pub(super) nick: Mutex<String>,
    /// Its public profile.
    profile: Mutex<PublicProfile>,
}

/// The profile of an identity that other users see.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicProfile {
    /// Its role on the server.
    pub(crate) role: Role,
    /// Whether it has an account.
    pub(crate) is_account: bool,
    /// The user of this machine whose account it is.
    pub(crate) user: Option<u32>,
    pub(crate) display: Option<String>,
    pub(crate) colour: Option<String>,
    /// The media type of its avatar.
    pub(crate) avatar: Option<String>,
    pub(crate) avatar_hash: Option<String>,
    pub(crate) presence: Presence,
    pub(crate) presence_text: Option<String>,
}

impl PublicProfile {
    /// Adds what WHO and JOIN tell of the identity with this number.
    pub(crate) fn describe(&self, number: u64, bot: bool, tags: &mut TagBuilder) {
        tags.display("who", Some(PersonId(number)));
        tags.flag("bot", bot);
        tags.flag("account", self.is_account);
        tags.flag("operator", self.role == Role::Operator);
        tags.value("display", self.display.as_deref());
        tags.value("colour", self.colour.as_deref());
        tags.value("avatar", self.avatar_hash.as_deref());
    }
}

impl Identity {
    /// Creates an identity without sessions.
    pub(super) fn new(number: u64, nick: &str, role: Role, delivered: u64, is_recorded: bool) -> Identity {
        Identity {
            number,
            audience: Audience::default(),
            is_recorded: AtomicBool::new(is_recorded),
            noted: AtomicU64::new(delivered),
            delivered: AtomicU64::new(delivered),
            nick: Mutex::new(nick.to_owned()),
            profile: Mutex::new(PublicProfile { role, ..PublicProfile::default() }),
        }
    }

    /// Returns its public profile.
    pub(crate) fn profile(&self) -> PublicProfile {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns its role on the server.
    pub(crate) fn role(&self) -> Role {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).role
    }

    /// Returns whether it has an account.
    pub(crate) fn is_account(&self) -> bool {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).is_account
    }

    /// Copies the role and the profile from its stored account.
    pub(crate) fn set_account(&self, account: &StoredAccount) {
        let mut profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        profile.role = account.role;
        profile.is_account = true;
        profile.user = account.user;
        profile.display.clone_from(&account.display);
        profile.colour.clone_from(&account.colour);
        profile.avatar.clone_from(&account.avatar);
        profile.avatar_hash.clone_from(&account.avatar_hash);
    }

    /// Resets the profile, except the presence, because the account is gone.
    pub(crate) fn clear_account(&self) {
        let presence = self.profile().presence;
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) =
            PublicProfile { presence, ..PublicProfile::default() };
    }

    /// Sets the presence and its text.
    pub(crate) fn set_presence(&self, presence: Presence, text: Option<String>) {
        let mut profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        (profile.presence, profile.presence_text) = (presence, text);
    }

    /// Returns its current nickname as displayed.
    pub(crate) fn nick(&self) -> String {
        self.nick.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the log knows it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_recorded.load(Relaxed)
    }
}

/// The proof that a session may use an existing identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// The first half of the SHA-256 of a guest's token.
    Token([u8; 16]),
    /// A user id of this machine, with the nickname: one machine user may be several users in a room.
    User(u32, Folded),
    /// A bot that the daemon runs, by its nickname.
    Bot(Folded),
    /// The number of an account, after a login that the log has decided.
    Account(u64),
    /// No proof any more, because the account with this number was deleted.
    Gone(u64),
}

impl Proof {
    /// Returns the proof in the form that the log stores.
    pub(super) fn write(&self) -> String {
        match self {
            Proof::Token(hash) => {
                hash.iter().fold("token:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }
            Proof::User(user, fold) => format!("user:{user}:{}", fold.as_str()),
            Proof::Bot(fold) => format!("bot:{}", fold.as_str()),
            Proof::Account(number) => format!("account:{number}"),
            Proof::Gone(number) => format!("gone:{number}"),
        }
    }

    /// Parses the output of [`Proof::write`].
    pub(super) fn read(text: &str) -> Option<Proof> {
        match text.split_once(':')? {
            ("token", hex) => {
                let mut hash = [0; 16];
                for (at, byte) in hash.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
                }
                Some(Proof::Token(hash))
            }
            ("user", rest) => {
                let (user, nick) = rest.split_once(':')?;
                Some(Proof::User(user.parse().ok()?, Folded::of(nick)))
            }
            ("bot", nick) => Some(Proof::Bot(Folded::of(nick))),
            ("account", number) => number.parse().ok().map(Proof::Account),
            _ => None,
        }
    }
}
