//! `:smile:` becomes 😄, and `!emoji heart` lists what there is.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use crate::{Bot, CommandSpec, Context, Event, Filter, Manifest};

/// The table `[bots.emoji]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmojiConfig {
    /// Whether shortcodes in MSG and PRIV are expanded.
    pub expand: bool,
    /// Whether a bot answers `!emoji WORD`.
    pub command: bool,
    /// The bot's nick.
    #[serde(deserialize_with = "crate::config::nick")]
    pub nick: String,
    /// The rooms it joins.
    #[serde(deserialize_with = "crate::config::rooms")]
    pub rooms: Vec<String>,
    /// Shortcodes of one's own, without colons, and what they become.
    #[serde(deserialize_with = "aliases")]
    pub aliases: BTreeMap<String, String>,
}

impl Default for EmojiConfig {
    fn default() -> EmojiConfig {
        EmojiConfig {
            expand: true,
            command: true,
            nick: "emoji".to_owned(),
            rooms: vec!["#lobby".to_owned()],
            aliases: BTreeMap::new(),
        }
    }
}

fn aliases<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let aliases = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (code, glyph) in &aliases {
        let is_fine = !code.is_empty()
            && !code.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
            && !glyph.contains(|c: char| c.is_control() || c == '\u{feff}');
        if !is_fine {
            let what = format!(
                "{code:?} = {glyph:?}: a shortcode has no colons and spaces, and neither has controls"
            );
            return Err(D::Error::custom(what));
        }
    }
    Ok(aliases)
}

/// Expands shortcodes.
///
/// A chain of known shortcodes (`:tada:`, `:a::b:`) is expanded where neither neighbour is a letter, a digit or
/// another colon, so `10:30:15`, `std::mem::swap` and `fe80:100:2` stay what they are.
#[derive(Debug)]
pub struct EmojiFilter {
    aliases: BTreeMap<String, String>,
}

impl EmojiFilter {
    /// The expander that `config` describes.
    pub fn new(config: &EmojiConfig) -> EmojiFilter {
        EmojiFilter { aliases: config.aliases.clone() }
    }

    fn glyph(&self, shortcode: &str) -> Option<&str> {
        match self.aliases.get(shortcode) {
            Some(glyph) => Some(glyph),
            None => emojis::get_by_shortcode(shortcode).map(emojis::Emoji::as_str),
        }
    }

    /// Reads one `:shortcode:` at the start of `text`: what it becomes and how many bytes it takes.
    fn shortcode(&self, text: &str) -> Option<(&str, usize)> {
        let (shortcode, _) = text.strip_prefix(':')?.split_once(':')?;
        Some((self.glyph(shortcode)?, shortcode.len() + 2))
    }
}

impl Filter for EmojiFilter {
    fn name(&self) -> &'static str {
        "emoji"
    }

    fn rewrite(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        // All before `done` is in `out`.
        let mut done = 0;
        let mut at = 0;
        while let Some(colon) = text[at..].find(':').map(|found| at + found) {
            let before = text[..colon].chars().next_back();
            at = colon + 1;
            if clings(before) {
                continue;
            }
            let mut chain = String::new();
            let mut end = colon;
            while let Some((glyph, length)) = self.shortcode(&text[end..]) {
                chain.push_str(glyph);
                end += length;
            }
            let after = text[end..].chars().next();
            if chain.is_empty() {
                continue;
            }
            if clings(after) {
                // Inside the chain every colon has a neighbour; the last one may begin another.
                at = end - 1;
                continue;
            }
            out.push_str(&text[done..colon]);
            out.push_str(&chain);
            done = end;
            at = end;
        }
        if done == 0 {
            return None;
        }
        out.push_str(&text[done..]);
        Some(out)
    }
}

/// Whether a neighbour makes a shortcode part of something else.
fn clings(neighbour: Option<char>) -> bool {
    neighbour.is_some_and(|c| c.is_alphanumeric() || c == ':')
}

/// Answers `!emoji WORD` with the emoji that go by that word.
#[derive(Debug)]
pub struct Emoji {
    manifest: Manifest,
}

impl Default for Emoji {
    fn default() -> Emoji {
        let help = "lists the emoji that go by that word, with their shortcodes";
        let command = CommandSpec::parse("emoji", "word:text", help).expect("a description");
        Emoji {
            manifest: Manifest { help: "knows emoji".to_owned(), commands: vec![command], listens: true },
        }
    }
}

impl Emoji {
    /// How many matches an answer shows.
    const MOST: usize = 20;

    fn answer(word: &str) -> String {
        let wanted = word.to_lowercase().replace(' ', "_");
        let matches = |emoji: &emojis::Emoji| {
            emoji.shortcodes().any(|code| code.contains(&wanted))
                || emoji.name().replace(' ', "_").contains(&wanted)
        };
        let mut found: Vec<&emojis::Emoji> = emojis::iter()
            .filter(|emoji| emoji.shortcode().is_some())
            .filter(|emoji| matches(emoji))
            .collect();
        // The one that is called exactly so first, then as Unicode has them.
        found.sort_by_key(|emoji| !emoji.shortcodes().any(|code| code == wanted));
        if found.is_empty() {
            return format!("no emoji goes by \u{201c}{word}\u{201d}");
        }
        let shown = found.iter().take(Emoji::MOST);
        let mut answer: Vec<String> =
            shown.map(|emoji| format!("{emoji} :{}:", emoji.shortcode().unwrap_or_default())).collect();
        if let Some(more) = found.len().checked_sub(Emoji::MOST).filter(|&more| more > 0) {
            answer.push(format!("and {more} more"));
        }
        answer.join("  ")
    }
}

impl Bot for Emoji {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        match event {
            Event::Called { args, .. } => context.reply(Emoji::answer(args.get("word").unwrap_or_default())),
            // To it alone a word is enough.
            Event::Heard { text, .. } if matches!(context.place, Some(crate::ReplyTarget::Private(_))) => {
                context.reply(Emoji::answer(text.trim()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(text: &str) -> Option<String> {
        let aliases = [("shipit".to_owned(), "\u{1f43f}".to_owned())].into();
        EmojiFilter::new(&EmojiConfig { aliases, ..EmojiConfig::default() }).rewrite(text)
    }

    #[test]
    fn shortcodes_become_emoji() {
        for (text, expanded) in [
            (":smile:", "\u{1f604}"),
            ("good morning :sun_with_face:", "good morning \u{1f31e}"),
            ("(:tada:)", "(\u{1f389})"),
            (":tada::smile:!", "\u{1f389}\u{1f604}!"),
            (":tada: :nonsense: :smile:", "\u{1f389} :nonsense: \u{1f604}"),
            ("10:30 :+1:", "10:30 \u{1f44d}"),
            (":shipit: now", "\u{1f43f} now"),
            ("\u{fc}ber: :tada:", "\u{fc}ber: \u{1f389}"),
        ] {
            assert_eq!(rewrite(text).as_deref(), Some(expanded), "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_shortcode_stays_untouched() {
        for text in [
            "no colon",
            ":nonsense:",
            "10:30:15",
            "std::mem::swap",
            "fe80:100:2",
            "a:100:",
            ":100:b",
            "::smile:",
            ":smile::",
            "x::smile::y",
            ":smile::nonsense:",
            ": smile :",
            ":",
            "::",
            "\u{5c71}:smile:",
            ":o::o::o:x",
        ] {
            assert_eq!(rewrite(text), None, "{text:?}");
        }
    }
}
