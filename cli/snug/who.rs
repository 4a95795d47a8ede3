//! `snug who`: who is here, or in a room.

use clap::Args;
use serde_json::{Map, Value};
use snug_protocol::{Body, Command, Target, Timestamp};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// List who is here, or in a room
#[derive(Args)]
pub(crate) struct Who {
    /// A room with its #, or one person
    #[arg(value_name = "ROOM")]
    of: Option<String>,
}

impl Who {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let of = match &self.of {
            None => None,
            Some(word) => Some(Target::parse(word).map_err(|error| {
                Failure::new(Exit::Usage, format!("{word:?} is no room or person: {error}"))
            })?),
        };
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        for row in client.ask(Command::Who { of }).await?.rows {
            let line = row.line();
            let Body::User { nick, status, since } = line.body else { continue };
            let is_bot = line.tags.has("bot");
            let tag = |name| line.tags.get(name).map(|value| value.into_owned());
            let (text, display, role) = (tag("text"), tag("display"), tag("role"));
            let is_operator = line.tags.has("operator");
            let shown = if common.json {
                let mut object = Map::new();
                object.insert("nick".to_owned(), nick.into());
                object.insert("status".to_owned(), status.into());
                object.insert("since".to_owned(), since.into());
                for name in ["bot", "account", "operator", "avatar"] {
                    if line.tags.has(name) {
                        object.insert(name.to_owned(), Value::Bool(true));
                    }
                }
                for (name, value) in
                    [("role", role), ("text", text), ("display", display), ("colour", tag("colour"))]
                {
                    if let Some(value) = value {
                        object.insert(name.to_owned(), value.into());
                    }
                }
                output::json(object)
            } else {
                let since = since.parse::<Timestamp>().map(output::clock).unwrap_or_default();
                let mut shown = format!("{nick:<20} {status} since {since}");
                let words = [is_bot.then_some("bot"), is_operator.then_some("operator"), role.as_deref()];
                for word in words.into_iter().flatten() {
                    shown.push_str(&format!("  {word}"));
                }
                for words in [display.map(|name| format!("({name})")), text].into_iter().flatten() {
                    shown.push_str(&format!("  {}", words.replace('\n', " ")));
                }
                output::visible(&shown)
            };
            output::print(&shown)?;
        }
        Ok(())
    }
}
