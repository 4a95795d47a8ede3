//! The reply to the sender of a decided draft. The effects of a draft on everybody are in [`crate::core::effects`].

use std::sync::Arc;

use crate::log::{Draft, Entry, Outcome, Store};
use crate::registry::peer::Peer;
use crate::registry::{Identity, Registry, Room};

/// The reply to the sender of a draft.
pub(crate) enum Reply {
    /// Deliver the entry, and answer its sender.
    Entry { label: Option<String>, to: Recipients, of: AnswerTo },
    /// Call a function with the outcome.
    Call(Call),
    /// Nobody waits.
    Nobody,
}

/// The command that an entry answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnswerTo {
    /// The verb of its kind.
    #[default]
    Verb,
    /// FILE DONE.
    FileDone,
    /// FILE CANCEL.
    FileCancel,
}

/// A function that is called with the outcome of a draft, on the writer's thread.
pub(crate) type Call = Box<dyn FnOnce(&dyn Store, &Draft, Outcome) + Send>;

/// The sessions that may see an entry.
pub(crate) enum Recipients {
    /// The audience of the room.
    Room(Arc<Room>),
    /// The addressee and the author. `identity` is `None` if the daemon does not know the addressee now; `nick` is
    /// spelled as it is shown.
    Person { identity: Option<Arc<Identity>>, nick: String, author: Arc<Identity> },
}

impl Recipients {
    /// Returns the recipients of an entry in the log, as far as the daemon knows them.
    pub(crate) fn of_entry(registry: &Registry, entry: &Entry<'_>) -> Option<Recipients> {
        let Some((addressee, nick)) = &entry.addressee else {
            return registry.room_numbered(entry.conversation).map(Recipients::Room);
        };
        let author = registry.identity(entry.author.number)?;
        Some(Recipients::Person { identity: registry.identity(*addressee), nick: nick.to_string(), author })
    }

    /// Returns the same recipients with the addressee that the log has decided on. The nickname may be another user's
    /// by now.
    pub(crate) fn of(self, registry: &Registry, addressee: Option<u64>) -> Recipients {
        match self {
            Recipients::Person { identity, nick, author }
                if identity.as_ref().map(|identity| identity.number) != addressee =>
            {
                let identity = addressee.and_then(|addressee| registry.identity(addressee));
                Recipients::Person { identity, nick, author }
            }
            same => same,
        }
    }

    /// Returns the name on the line.
    pub(crate) fn name(&self) -> &str {
        match self {
            Recipients::Room(room) => &room.name,
            Recipients::Person { nick, .. } => nick,
        }
    }

    /// Calls `each` once for every session that may see the entry.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Arc<Peer>)) {
        match self {
            Recipients::Room(room) => room.audience.for_each(each),
            Recipients::Person { identity, author, .. } => {
                if let Some(identity) = identity.as_ref().filter(|identity| identity.number != author.number)
                {
                    identity.audience.for_each(&mut each);
                }
                author.audience.for_each(each);
            }
        }
    }
}
