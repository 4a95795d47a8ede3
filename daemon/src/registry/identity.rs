//! Who somebody is: a number, and what proves it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use snug_protocol::{Folded, Nick, Presence, Role};

use crate::log::StoredAccount;
use crate::registry::peer::Audience;

/// Somebody, whatever the nick and however many the sessions.
pub(crate) struct Identity {
    /// Its number: what everything durable refers to.
    pub(crate) number: u64,
    /// All its sessions.
    pub(crate) audience: Audience,
    /// Whether the log knows it.
    pub(super) is_recorded: AtomicBool,
    /// What the log knows of `delivered`.
    pub(super) noted: AtomicU64,
    /// The newest private message that one of its sessions was given.
    pub(crate) delivered: AtomicU64,
    /// The name it goes by now, as it is shown. Changed under the registry's lock.
    pub(super) nick: Mutex<String>,
    /// What it is to others.
    profile: Mutex<PublicProfile>,
}

/// What somebody is to others.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicProfile {
    /// On the server.
    pub(crate) role: Role,
    /// Whether it has an account.
    pub(crate) is_account: bool,
    pub(crate) display: Option<String>,
    pub(crate) colour: Option<String>,
    /// The media type of its picture.
    pub(crate) avatar: Option<String>,
    pub(crate) presence: Presence,
    pub(crate) presence_text: Option<String>,
}

impl Identity {
    /// One that has not been here.
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

    /// What it is to others.
    pub(crate) fn profile(&self) -> PublicProfile {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it is on the server.
    pub(crate) fn role(&self) -> Role {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).role
    }

    /// Whether it has an account.
    pub(crate) fn is_account(&self) -> bool {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).is_account
    }

    /// Takes over what the log knows of its account.
    pub(crate) fn set_account(&self, account: &StoredAccount) {
        let mut profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        profile.role = account.role;
        profile.is_account = true;
        profile.display.clone_from(&account.display);
        profile.colour.clone_from(&account.colour);
        profile.avatar.clone_from(&account.avatar);
    }

    /// It has no account any more.
    pub(crate) fn clear_account(&self) {
        let presence = self.profile().presence;
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) =
            PublicProfile { presence, ..PublicProfile::default() };
    }

    /// It is here in this way now.
    pub(crate) fn set_presence(&self, presence: Presence, text: Option<String>) {
        let mut profile = self.profile.lock().unwrap_or_else(PoisonError::into_inner);
        (profile.presence, profile.presence_text) = (presence, text);
    }

    /// The name it goes by now, as it is shown.
    pub(crate) fn nick(&self) -> String {
        self.nick.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the log knows it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_recorded.load(Relaxed)
    }
}

/// What proves that a session may speak for an identity that is there already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// The first half of the SHA-256 of a guest's token.
    Token([u8; 16]),
    /// A user of this machine, with the name under which it came: one user may be several people in a room.
    User(u32, Folded),
    /// The daemon's own, of that name.
    Bot(Folded),
    /// An account's number: it has proved itself to the log.
    Account(u64),
    /// Nothing any more: its account was deleted.
    Gone(u64),
}

impl Proof {
    /// The proof as the log has it.
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

    /// Reads what [`Proof::write`] has written.
    pub(super) fn read(text: &str) -> Option<Proof> {
        let fold = |nick| Nick::parse(nick).ok().map(|nick| nick.fold());
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
                Some(Proof::User(user.parse().ok()?, fold(nick)?))
            }
            ("bot", nick) => fold(nick).map(Proof::Bot),
            ("account", number) => number.parse().ok().map(Proof::Account),
            _ => None,
        }
    }
}
