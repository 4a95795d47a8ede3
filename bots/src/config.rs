//! The table `[bots]`: which bots of the box there are, and how they are set up.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use snug_protocol::{Nick, RoomName};

use crate::{
    Bot, Echo, EchoConfig, Emoji, EmojiConfig, EmojiFilter, Feed, FeedConfig, Filter, Help, HelpConfig,
    Manifest, Poll, PollConfig, Remind, RemindConfig, Roll, RollConfig, Seen, SeenConfig,
};

/// The tables `[bots.…]`. A bot that has no rooms is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each says it itself")]
pub struct BotsConfig {
    pub emoji: EmojiConfig,
    pub help: HelpConfig,
    pub roll: RollConfig,
    pub poll: PollConfig,
    pub remind: RemindConfig,
    pub seen: SeenConfig,
    pub feed: FeedConfig,
    pub echo: EchoConfig,
}

/// A bot with what it takes to give it a session.
pub struct Hosted {
    /// The name under which it is configured and keeps its state.
    pub name: &'static str,
    /// The nick that it asks for.
    pub nick: String,
    /// The rooms that it joins.
    pub rooms: Vec<String>,
    /// The files that it watches, and the rooms that their lines are for.
    pub watches: Vec<(String, String)>,
    /// Itself.
    pub bot: Box<dyn Bot>,
}

/// What a configuration asks for.
#[derive(Default)]
pub struct Loaded {
    /// Applied to every text, in order.
    pub filters: Vec<Box<dyn Filter>>,
    /// Each to be given a session.
    pub bots: Vec<Hosted>,
}

/// Makes the filters and bots that `config` switches on. `others` are commands that the help is to list as well.
pub fn load(config: &BotsConfig, others: &[Manifest]) -> Loaded {
    let mut loaded = Loaded::default();
    if config.emoji.expand {
        loaded.filters.push(Box::new(EmojiFilter::new(&config.emoji)));
    }
    let mut seat = |name, nick: &str, rooms: &[String], bot: Box<dyn Bot>| {
        if !rooms.is_empty() {
            let (nick, rooms, watches) = (nick.to_owned(), rooms.to_vec(), Vec::new());
            loaded.bots.push(Hosted { name, nick, rooms, watches, bot });
        }
    };
    if config.emoji.command {
        seat("emoji", &config.emoji.nick, &config.emoji.rooms, Box::<Emoji>::default());
    }
    seat("roll", &config.roll.nick, &config.roll.rooms, Box::new(Roll::new(&config.roll)));
    seat("poll", &config.poll.nick, &config.poll.rooms, Box::<Poll>::default());
    seat("remind", &config.remind.nick, &config.remind.rooms, Box::new(Remind::new(&config.remind)));
    seat("seen", &config.seen.nick, &config.seen.rooms, Box::<Seen>::default());
    seat("echo", &config.echo.nick, &config.echo.rooms, Box::new(Echo::new(&config.echo)));
    let mut manifests: Vec<Manifest> =
        loaded.bots.iter().map(|hosted| hosted.bot.manifest().clone()).collect();
    manifests.extend_from_slice(others);
    if !config.help.rooms.is_empty() {
        let bot = Box::new(Help::new(manifests));
        let (nick, rooms) = (config.help.nick.clone(), config.help.rooms.clone());
        loaded.bots.push(Hosted { name: "help", nick, rooms, watches: Vec::new(), bot });
    }
    if !config.feed.files.is_empty() {
        let mut rooms: Vec<String> = config.feed.files.values().cloned().collect();
        rooms.sort();
        rooms.dedup();
        let watches = config.feed.files.clone().into_iter().collect();
        let bot = Box::new(Feed::new(&config.feed));
        loaded.bots.push(Hosted { name: "feed", nick: config.feed.nick.clone(), rooms, watches, bot });
    }
    loaded
}

pub(crate) fn nick<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let nick = String::deserialize(deserializer)?;
    Nick::parse(&nick).map_err(|error| D::Error::custom(format!("{nick:?} is no nick: {error}")))?;
    Ok(nick)
}

pub(crate) fn rooms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let rooms = Vec::<String>::deserialize(deserializer)?;
    for room in &rooms {
        RoomName::parse(room)
            .map_err(|error| D::Error::custom(format!("{room:?} is no room's name: {error}")))?;
    }
    Ok(rooms)
}

/// The table of a bot: its nick, its rooms (none by default), and options of its own.
macro_rules! bot_config {
    ($(#[$doc:meta])* $name:ident, $nick:literal { $($(#[$option_doc:meta])* $option:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// The bot's nick.
            #[serde(deserialize_with = "crate::config::nick")]
            pub nick: String,
            /// The rooms that it joins; without any it is not there.
            #[serde(deserialize_with = "crate::config::rooms")]
            pub rooms: Vec<String>,
            $($(#[$option_doc])* pub $option: $type,)*
        }

        impl Default for $name {
            fn default() -> $name {
                $name { nick: $nick.to_owned(), rooms: Vec::new(), $($option: $default,)* }
            }
        }
    };
}
pub(crate) use bot_config;
