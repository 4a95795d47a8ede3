//! Watches files and pipes, and says their new lines: a log watcher. The daemon reads them; this decides what is said.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use snug_protocol::RoomName;

use crate::{Bot, Context, Event, Manifest};

/// The table `[bots.feed]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedConfig {
    /// The bot's nick.
    #[serde(deserialize_with = "crate::config::nick")]
    pub nick: String,
    /// Lines that have none of these words are not said; all are if there is none.
    pub words: Vec<String>,
    /// The files or named pipes, and the room that each is for.
    #[serde(deserialize_with = "files")]
    pub files: BTreeMap<String, String>,
}

impl Default for FeedConfig {
    fn default() -> FeedConfig {
        FeedConfig { nick: "feed".to_owned(), words: Vec::new(), files: BTreeMap::new() }
    }
}

fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let files = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (path, room) in &files {
        if !path.starts_with('/') {
            return Err(D::Error::custom(format!("{path:?} is no path from the root")));
        }
        RoomName::parse(room)
            .map_err(|error| D::Error::custom(format!("{room:?} is no room's name: {error}")))?;
    }
    Ok(files)
}

/// Says new lines.
#[derive(Debug)]
pub struct Feed {
    manifest: Manifest,
    words: Vec<String>,
}

/// The longest line that is said, in characters.
const LINE: usize = 1_000;

impl Feed {
    /// The bot that `config` describes.
    pub fn new(config: &FeedConfig) -> Feed {
        let manifest = Manifest { help: "says what is new in files".to_owned(), ..Manifest::default() };
        Feed { manifest, words: config.words.clone() }
    }
}

impl Bot for Feed {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        let Event::Line { room, text } = event else { return };
        let text: String = text.chars().filter(|c| *c == '\t' || !c.is_control()).take(LINE).collect();
        let is_wanted = self.words.is_empty() || self.words.iter().any(|word| text.contains(word.as_str()));
        if is_wanted && !text.trim().is_empty() {
            context.say(room, text);
        }
    }
}
