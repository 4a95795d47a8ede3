//! What is to be done for whoever submitted a draft, when it is decided. What it changes for everybody is in [`crate::core::effects`].

use std::sync::Arc;

use crate::log::{Draft, Entry, Outcome, Store};
use crate::registry::peer::Peer;
use crate::registry::{Identity, Registry, Room};

/// What is to be done for whoever submitted a draft.
pub(crate) enum Reply {
    /// Deliver the entry, and answer its sender.
    Entry { label: Option<String>, to: Recipients, of: AnswerTo },
    /// Whoever submitted it knows what to do.
    Call(Call),
    /// Nobody waits.
    Nobody,
}

/// What an entry answers.
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

/// What is done with what became of a draft, on the writer's thread.
pub(crate) type Call = Box<dyn FnOnce(&dyn Store, &Draft, Outcome) + Send>;

/// Who may see an entry.
pub(crate) enum Recipients {
    /// Who hears the room.
    Room(Arc<Room>),
    /// The one it is addressed to, if the daemon knows who that is now, by the nick as it is shown; and its author.
    Person { identity: Option<Arc<Identity>>, nick: String, author: Arc<Identity> },
}

impl Recipients {
    /// Who may see an entry of the log, as far as the daemon knows them.
    pub(crate) fn of_entry(registry: &Registry, entry: &Entry<'_>) -> Option<Recipients> {
        let Some((addressee, nick)) = &entry.addressee else {
            return registry.room_numbered(entry.conversation).map(Recipients::Room);
        };
        let author = registry.identity(entry.author.number)?;
        Some(Recipients::Person { identity: registry.identity(*addressee), nick: nick.to_string(), author })
    }

    /// The same, when the log has decided who the other one is: a nick may be another's by now.
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

    /// The name on the line.
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
