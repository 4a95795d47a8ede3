//! `!roll 2d6+1`: dice.

use crate::config::bot_config;
use crate::{Bot, CommandSpec, Context, Event, Manifest};

bot_config! {
    /// The table `[bots.roll]`.
    RollConfig, "roll" {
        /// What is rolled where nothing is said.
        dice: String = "1d6".to_owned(),
    }
}

/// Rolls dice.
#[derive(Debug)]
pub struct Roll {
    manifest: Manifest,
    dice: String,
}

/// The most dice, and the most sides of one.
const DICE: u64 = 100;
const SIDES: u64 = 1_000_000;

impl Roll {
    /// The bot that `config` describes.
    pub fn new(config: &RollConfig) -> Roll {
        let command = CommandSpec::parse("roll", "dice:word?", "rolls dice, such as 2d6 or d20+3")
            .expect("a description");
        let manifest = Manifest { help: "rolls dice".to_owned(), commands: vec![command], listens: false };
        Roll { manifest, dice: config.dice.clone() }
    }
}

/// Reads `2d6+1`: how many dice, of how many sides, and what is added.
fn parse(dice: &str) -> Option<(u64, u64, i64)> {
    let dice = dice.to_lowercase();
    let (count, rest) = dice.split_once('d')?;
    let plus = rest.find(['+', '-']).unwrap_or(rest.len());
    let (sides, added) = rest.split_at(plus);
    let count = if count.is_empty() { 1 } else { count.parse().ok()? };
    let added = if added.is_empty() { 0 } else { added.parse::<i32>().ok()? };
    let sides = sides.parse().ok()?;
    ((1..=DICE).contains(&count) && (2..=SIDES).contains(&sides)).then_some((count, sides, added.into()))
}

impl Bot for Roll {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&mut self, event: &Event<'_>, context: &mut Context<'_>) {
        let Event::Called { args, from, .. } = event else { return };
        let dice = args.get("dice").unwrap_or(&self.dice);
        let Some((count, sides, added)) = parse(dice) else {
            context.reply(format!(
                "{dice:?} are no dice; they are such as d20, 2d6 or 3d8+2, at most {DICE}d{SIDES}"
            ));
            return;
        };
        let rolled: Vec<u64> = (0..count).map(|_| context.random(sides) + 1).collect();
        let sum = rolled.iter().sum::<u64>().cast_signed() + added;
        let shown: Vec<String> = rolled.iter().take(20).map(u64::to_string).collect();
        let more = if rolled.len() > 20 { " …" } else { "" };
        context.reply(match (rolled.len(), added) {
            (1, 0) => format!("{from} rolled {sum}"),
            _ => format!(
                "{from} rolled {sum} ({}{more}{})",
                shown.join(" "),
                match added {
                    0 => String::new(),
                    added => format!(" {added:+}"),
                }
            ),
        });
    }
}
