//! The bots of snug: two small traits and the bots in the box.
//!
//! A [`Filter`] sees a text before it is committed and may rewrite it: pure, synchronous, in microseconds. A [`Bot`]
//! is somebody in the room: it hears messages and answers with [`Action`]s; the daemon gives it a session of its
//! own, so that a bot can do nothing that a person could not. Neither does I/O: a test hands them text.
//!
//! [`load`] makes what the configuration asks for.

mod emoji;
pub use emoji::{Emoji, EmojiConfig, EmojiFilter};

use serde::{Deserialize, Serialize};

/// Rewrites texts before they are committed.
pub trait Filter: Send + Sync {
    /// The name under which it is configured.
    fn name(&self) -> &'static str;

    /// The text to commit instead of `text`; `None` leaves it as it is.
    fn rewrite(&self, text: &str) -> Option<String>;
}

/// A program that takes part in a conversation.
pub trait Bot: Send {
    /// The nick it asks for.
    fn nick(&self) -> &str;

    /// The rooms it joins.
    fn rooms(&self) -> &[String];

    /// Hears a message and says what to do about it. Messages of bots are not handed to it, so that two bots
    /// cannot keep each other talking.
    fn hear(&mut self, message: &Heard<'_>) -> Vec<Action>;
}

/// A message as a bot hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// Who said it.
    pub from: &'a str,
    /// Where it was said.
    pub place: Place<'a>,
    /// The text.
    pub text: &'a str,
}

/// Where a message was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a room.
    Room(&'a str),
    /// To the bot alone.
    Private,
}

/// What a bot does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Says a text where the message was said: in the room, or to its sender alone. No filter rewrites it.
    Answer(String),
}

/// The table `[bots]`: what is loaded, and how it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BotsConfig {
    /// The emoji expander and its command.
    pub emoji: EmojiConfig,
}

/// What a configuration asks for.
#[derive(Default)]
pub struct Loaded {
    /// Applied to every text, in order.
    pub filters: Vec<Box<dyn Filter>>,
    /// Each to be given a session.
    pub bots: Vec<Box<dyn Bot>>,
}

/// Makes the filters and bots that `config` switches on.
pub fn load(config: &BotsConfig) -> Loaded {
    let mut loaded = Loaded::default();
    let emoji = &config.emoji;
    if emoji.expand {
        loaded.filters.push(Box::new(EmojiFilter::new(emoji)));
    }
    if emoji.command {
        loaded.bots.push(Box::new(Emoji::new(emoji)));
    }
    loaded
}
