//! `snug rooms`: which rooms there are.

use serde_json::Map;
use snug_protocol::{Body, Command};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(common: &Common) -> Result<(), Failure> {
    let (client, events) = connect::connect(common, Part::Asker).await?;
    drop(events);
    for row in client.ask(Command::Rooms).await?.rows {
        let line = row.line();
        let tag = |name| line.tags.get(name).map(|value| value.into_owned());
        let (access, description) = (tag("access"), tag("description"));
        let Body::Room { room, members, topic } = line.body else { continue };
        let shown = if common.json {
            let mut object = Map::new();
            object.insert("room".to_owned(), room.into());
            object.insert("members".to_owned(), members.parse::<u64>().unwrap_or_default().into());
            if let Some(topic) = topic {
                object.insert("topic".to_owned(), topic.into());
            }
            for (name, value) in [("access", access), ("description", description)] {
                if let Some(value) = value {
                    object.insert(name.to_owned(), value.into());
                }
            }
            output::json(object)
        } else {
            let topic = topic.map(|topic| format!("  {}", topic.replace('\n', " "))).unwrap_or_default();
            let access = access.map(|access| format!("  {access}")).unwrap_or_default();
            output::visible(&format!("{room:<20} {members:>5}{access}{topic}"))
        };
        output::print(&shown)?;
    }
    Ok(())
}
