//! What a bot is told, and what it can do about it.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};

use snug_protocol::Args;

/// Something that a bot is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It has come in; what it kept is in its state.
    Started,
    /// One of its commands was said, with arguments that fit.
    Called {
        /// The command's word.
        command: &'a str,
        /// What is behind it.
        args: &'a Args,
        /// Who said it.
        from: &'a str,
    },
    /// Somebody said something that is no command of its own: only if its manifest says that it listens.
    Heard {
        /// Who said it.
        from: &'a str,
        /// The text.
        text: &'a str,
    },
    /// Somebody reacted to one of the messages that it posts under a word, or took that back.
    Reacted {
        /// The word.
        post: &'a str,
        /// Who.
        from: &'a str,
        /// How.
        reaction: &'a str,
        /// Whether it is there now.
        is_there: bool,
    },
    /// A time that it waited for has come.
    Due {
        /// The timer's name.
        timer: &'a str,
    },
    /// A line came from something that it watches.
    Line {
        /// The room that it is for.
        room: &'a str,
        /// The line.
        text: &'a str,
    },
}

/// Where something was said, and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTarget<'a> {
    /// In a room.
    Room(&'a str),
    /// By this person, to the bot alone.
    Private(&'a str),
}

impl<'a> ReplyTarget<'a> {
    /// The room or nick.
    pub fn name(self) -> &'a str {
        match self {
            ReplyTarget::Room(name) | ReplyTarget::Private(name) => name,
        }
    }
}

/// Something that a bot does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Says a text in a room, or to a person. No filter rewrites it.
    Say {
        /// The room or nick.
        to: String,
        /// The text.
        text: String,
    },
    /// Says a text that it can change: the newest one under the same word is edited.
    Post {
        /// The room or nick.
        to: String,
        /// The word, of letters, digits, `.`, `_` and `-`.
        post: String,
        /// The text.
        text: String,
    },
    /// Reacts to the message that it is told of.
    React {
        /// An emoji or a word.
        reaction: String,
    },
    /// Waits for a time, instead of one of the same name that it waited for before.
    Wait {
        /// The timer's name.
        timer: String,
        /// When, in milliseconds since 1970; `None` not any more.
        at: Option<i64>,
    },
}

/// What a bot keeps from one time to the next, over restarts: a small map. It is kept together with what was done about
/// the message that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    values: BTreeMap<String, String>,
    changes: Vec<(String, Option<String>)>,
}

impl State {
    /// The most bytes of all names and values of a bot.
    pub const MOST: usize = 256 << 10;

    /// What was kept before.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> State {
        State { values: values.into_iter().collect(), changes: Vec::new() }
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names that begin so, with their values, in order.
    pub fn with_prefix<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let range = self.values.range(prefix.to_owned()..);
        range
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Keeps a value. One for which there is no room is not kept, and false.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> bool {
        let value = value.into();
        let size = |(name, value): (&String, &String)| name.len() + value.len();
        let others: usize = self.values.iter().filter(|(own, _)| *own != name).map(size).sum();
        if others + name.len() + value.len() > State::MOST {
            return false;
        }
        if self.values.get(name) != Some(&value) {
            self.values.insert(name.to_owned(), value.clone());
            self.changes.push((name.to_owned(), Some(value)));
        }
        true
    }

    /// Forgets a value.
    pub fn remove(&mut self, name: &str) {
        if self.values.remove(name).is_some() {
            self.changes.push((name.to_owned(), None));
        }
    }

    /// What has changed since the last time.
    pub fn take_changes(&mut self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.changes)
    }
}

/// What a bot has at hand while it is told something.
pub struct Context<'c> {
    /// Now, on the clock of the daemon's machine.
    pub now: DateTime<FixedOffset>,
    /// Where it was said; `None` if nobody said it.
    pub place: Option<ReplyTarget<'c>>,
    /// What it keeps.
    pub state: &'c mut State,
    random: &'c mut dyn FnMut() -> u64,
    actions: Vec<Action>,
}

impl<'c> Context<'c> {
    /// A context in which nothing is done yet.
    pub fn new(
        now: DateTime<FixedOffset>,
        place: Option<ReplyTarget<'c>>,
        state: &'c mut State,
        random: &'c mut dyn FnMut() -> u64,
    ) -> Context<'c> {
        Context { now, place, state, random, actions: Vec::new() }
    }

    /// A random number below `below`, each as likely.
    pub fn random(&mut self, below: u64) -> u64 {
        let below = below.max(1);
        let most = u64::MAX - u64::MAX % below;
        loop {
            let number = (self.random)();
            if number < most {
                return number % below;
            }
        }
    }

    /// Answers where it was asked.
    pub fn reply(&mut self, text: impl Into<String>) {
        if let Some(place) = self.place {
            self.say(place.name(), text);
        }
    }

    /// Says something in a room, or to a person.
    pub fn say(&mut self, to: &str, text: impl Into<String>) {
        self.actions.push(Action::Say { to: to.to_owned(), text: text.into() });
    }

    /// Says something that it can change later, under the same word.
    pub fn post(&mut self, to: &str, post: &str, text: impl Into<String>) {
        self.actions.push(Action::Post { to: to.to_owned(), post: post.to_owned(), text: text.into() });
    }

    /// Reacts to what it is told of.
    pub fn react(&mut self, reaction: &str) {
        self.actions.push(Action::React { reaction: reaction.to_owned() });
    }

    /// Waits until a moment, in milliseconds since 1970.
    pub fn wait(&mut self, timer: &str, at: i64) {
        self.actions.push(Action::Wait { timer: timer.to_owned(), at: Some(at) });
    }

    /// Does not wait any more.
    pub fn forget(&mut self, timer: &str) {
        self.actions.push(Action::Wait { timer: timer.to_owned(), at: None });
    }

    /// What is to be done.
    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}
