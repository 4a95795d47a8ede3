//! The bots of snug: two small traits and the bots in the box.
//!
//! A [`Filter`] sees a text before it is committed and may rewrite it: pure, synchronous, in microseconds. A [`Bot`]
//! is somebody in the room: it says in its [`Manifest`] what it can be asked, is handed [`Event`]s, and answers through its
//! [`Context`]; the daemon gives it a session of its own, so that a bot can do nothing that a person could not. Neither
//! does I/O or knows a clock: a [`transcript`] tests and documents it.
//!
//! [`load`] makes what the configuration asks for. [`Echo`] is the one to copy.

mod manifest;
pub use manifest::Manifest;
pub use snug_protocol::{Args, CommandSpec, Param, ParamKind, SpecError, called};

mod context;
pub use context::{Action, Context, Event, ReplyTarget, State};

mod config;
pub use config::{BotsConfig, Hosted, Loaded, load};

pub mod transcript;

mod echo;
pub use echo::{Echo, EchoConfig};

mod emoji;
pub use emoji::{Emoji, EmojiConfig, EmojiFilter};

mod feed;
pub use feed::{Feed, FeedConfig};

mod help;
pub use help::{Help, HelpConfig};

mod poll;
pub use poll::{Poll, PollConfig};

mod remind;
pub use remind::{Remind, RemindConfig};

mod roll;
pub use roll::{Roll, RollConfig};

mod seen;
pub use seen::{Seen, SeenConfig};

/// Rewrites texts before they are committed.
pub trait Filter: Send + Sync {
    /// The name under which it is configured.
    fn name(&self) -> &'static str;

    /// The text to commit instead of `text`; `None` leaves it as it is.
    fn rewrite(&self, text: &str) -> Option<String>;
}

/// A program that takes part in a conversation.
pub trait Bot: Send {
    /// What it can be asked.
    fn manifest(&self) -> &Manifest;

    /// Is told what happens, and says through the context what to do about it.
    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>);
}
