//! A moment in the past, as people say it.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use snug_client::Client;
use snug_protocol::{Body, Command, Cursor, Page, Target, Timestamp};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::Failure;

/// An entry, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Everything after this entry.
    Entry(Cursor),
    /// Everything from this moment on.
    Moment(Timestamp),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(cursor) = text.parse() {
            return Ok(Since::Entry(cursor));
        }
        if let Some(time) = Timestamp::parse_moment_or_day(text) {
            return Ok(Since::Moment(time));
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => 0,
        };
        let ago = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
        let ago = ago.filter(|ago| *ago > 0).map(Duration::from_secs);
        let ago = ago.ok_or("expected an entry's id, 30m, 1h or 7d, or a day such as 2026-11-01")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let then = now.saturating_sub(ago);
        Ok(Since::Moment(Timestamp::from_millis(i64::try_from(then.as_millis()).unwrap_or(i64::MAX))))
    }
}

/// A moment, as `--since` takes it where entries have no place.
pub(crate) fn moment(text: &str) -> Result<Timestamp, Failure> {
    match text.parse() {
        Ok(Since::Moment(time)) => Ok(time),
        _ => {
            let text = format!("{text:?} is no time: a time is 30m, 1h, 7d, or a day such as 2026-11-01");
            Err(Failure::new(crate::failure::Exit::Usage, text))
        }
    }
}

impl Since {
    /// The page of a conversation that begins here.
    pub(crate) fn page(self) -> Page {
        match self {
            Since::Entry(cursor) => Page::After(cursor),
            Since::Moment(time) => Page::Since(time),
        }
    }

    /// The last entry before everything that is meant, in these conversations.
    pub(crate) async fn cursor(
        self,
        common: &Common,
        targets: &[Target<'static>],
    ) -> Result<Cursor, Failure> {
        let time = match self {
            Since::Entry(cursor) => return Ok(cursor),
            Since::Moment(time) => time,
        };
        let (client, events) = connect::connect(common, Part::Asker).await?;
        let newest = connect::newest(&events).await;
        let targets = if targets.is_empty() { conversations(&client).await? } else { targets.to_vec() };
        let mut first: Option<u64> = None;
        for target in targets {
            let command =
                Command::History { target, page: Page::Since(time), limit: Some(1), only_messages: false };
            // A room that nobody has made yet, or a person with whom one never spoke, has nothing to show.
            let Ok(answer) = client.ask(command).await else { continue };
            // A gap is part of what is asked for: who begins before it is told of it.
            let ids = answer.rows.iter().filter_map(|row| match row.line().body {
                Body::Gap { from, .. } => from.parse().ok(),
                _ => row.line().id(),
            });
            first = first.into_iter().chain(ids).min();
        }
        Ok(match first {
            Some(id) => Cursor { id: id.saturating_sub(1), ..newest },
            None => newest,
        })
    }
}

/// The lobby, and all with whom there are private messages.
async fn conversations(client: &Client) -> Result<Vec<Target<'static>>, Failure> {
    let mut targets = vec![Target::Room(snug_protocol::RoomName::LOBBY)];
    for row in client.inbox().await? {
        let line = row.line();
        if let Body::Conversation { target, .. } = line.body
            && let Ok(target @ Target::Nick(_)) = Target::parse(target)
        {
            let who = line.tags.get("who").and_then(|who| who.parse().ok());
            targets.push(target.into_owned().with_who(who));
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!("118".parse(), Ok(Since::Entry(Cursor::at(118))));
        let day = Timestamp::parse_moment_or_day("2026-11-01").expect("a day");
        assert_eq!("2026-11-01".parse(), Ok(Since::Moment(day)));
        assert!(matches!("90m".parse(), Ok(Since::Moment(_))));
        for text in ["", "1y", "-1h", "0h", "yesterday", "2026-13-01", "99999999999999999999d"] {
            assert!(text.parse::<Since>().is_err(), "{text:?}");
        }
    }
}
