//! Who somebody is: a number, and what proves it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use snug_protocol::{Folded, Nick};

use crate::peer::Audience;

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
}

impl Identity {
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
            _ => None,
        }
    }
}
