//! `snug history`, `snug search`: what was said, and where.

use clap::Args;
use snug_client::{Answer, Client, Received};
use snug_protocol::{Body, Command, Cursor, Page, Target};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::Failure;
use crate::since::Since;
use crate::tail::tell_gap;
use crate::{output, show};

/// Most rows that are asked for at once.
const PAGE: u64 = 1_000;

/// Print what was said in a room or with a person
#[derive(Args)]
pub(crate) struct History {
    /// A room with its #, or a person
    #[arg(value_name = "TARGET")]
    target: String,

    /// How many messages, at most
    #[arg(long, short, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// The first ones after an entry, some time ago (1h, 7d) or since a day (2026-11-01)
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["before", "around"])]
    since: Option<Since>,

    /// The last ones before an entry
    #[arg(long, value_name = "ID", conflicts_with = "around")]
    before: Option<Cursor>,

    /// Those before and after an entry
    #[arg(long, value_name = "ID")]
    around: Option<Cursor>,
}

impl History {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let target = connect::target(&self.target)?.into_owned();
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        if let Some(since) = self.since {
            let mut page = since.page();
            let mut left = self.count;
            loop {
                let answer = ask(&client, &target, page, left.min(PAGE)).await?;
                print(&answer.rows, common)?;
                left = left.saturating_sub(answer.rows.len() as u64);
                match next(&answer) {
                    Some(cursor) if left > 0 => page = Page::After(cursor),
                    _ => return Ok(()),
                }
            }
        }
        if let Some(cursor) = self.around {
            let answer = ask(&client, &target, Page::Around(cursor), self.count.min(PAGE)).await?;
            return print(&answer.rows, common);
        }
        // From the newest back, to be printed from the oldest on.
        let mut page = self.before.map_or(Page::Latest, Page::Before);
        let mut pages = Vec::new();
        let mut left = self.count;
        loop {
            let answer = ask(&client, &target, page, left.min(PAGE)).await?;
            left = left.saturating_sub(answer.rows.len() as u64);
            let first = answer.rows.iter().find_map(|row| row.line().id());
            let has_more = has_more(&answer);
            pages.push(answer.rows);
            match first {
                Some(id) if has_more && left > 0 => page = Page::Before(Cursor::at(id)),
                _ => break,
            }
        }
        pages.iter().rev().try_for_each(|rows| print(rows, common))
    }
}

/// Find messages by their words
///
/// A query has words, "phrases in order", beginnings (deploy*), and from:NICK, in:#room, before:DAY, after:DAY.
#[derive(Args)]
pub(crate) struct Search {
    /// A room with its # to search in, if not everywhere (*), and what to search for
    #[arg(value_name = "[ROOM] QUERY", required = true)]
    words: Vec<String>,

    /// How many messages, at most; the newest come first
    #[arg(long, short, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Those before an entry
    #[arg(long, value_name = "ID")]
    before: Option<Cursor>,
}

impl Search {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let mut words = self.words.as_slice();
        let mut target = None;
        if let [first, rest @ ..] = words
            && (first == "*" || first.starts_with('#'))
        {
            words = rest;
            if first != "*" {
                target = Some(connect::target(first)?.into_owned());
            }
        }
        // A word with spaces in it was quoted for the shell, and is meant as a phrase.
        let quoted = |word: &String| match word.contains(' ') && !word.contains('"') {
            true => format!("\"{word}\""),
            false => word.clone(),
        };
        let query = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        let mut before = self.before;
        let mut left = self.count;
        loop {
            let limit = Some(left.min(PAGE));
            let command =
                Command::Search { target: target.clone(), query: query.as_str().into(), before, limit };
            let answer = client.ask(command).await?;
            print(&answer.rows, common)?;
            left = left.saturating_sub(answer.rows.len() as u64);
            // A page may be empty and yet not be the last. Each begins before the one before it, or that was the last.
            let next = answer.ok.line().tags.get("next").and_then(|next| next.parse::<u64>().ok());
            match next.map(Cursor::at) {
                Some(next)
                    if has_more(&answer) && left > 0 && before.is_none_or(|before| next.id < before.id) =>
                {
                    before = Some(next);
                }
                _ => return Ok(()),
            }
        }
    }
}

/// Asks for a page.
pub(crate) async fn ask(
    client: &Client,
    target: &Target<'static>,
    page: Page,
    limit: u64,
) -> Result<Answer, Failure> {
    let command = Command::History { target: target.clone(), page, limit: Some(limit), only_messages: false };
    Ok(client.ask(command).await?)
}

/// Where to go on behind a page, if there is more.
pub(crate) fn next(answer: &Answer) -> Option<Cursor> {
    let last = id_of(answer.rows.last()?)?;
    has_more(answer).then_some(Cursor::at(last))
}

/// The id of a row, or of the last entry that is not there any more.
pub(crate) fn id_of(row: &Received) -> Option<u64> {
    match row.line().body {
        Body::Gap { to, .. } => to.parse().ok(),
        _ => row.line().id(),
    }
}

fn has_more(answer: &Answer) -> bool {
    matches!(answer.ok.line().body, Body::Ok { params: Some(params), .. } if params.rsplit(' ').next() == Some("more"))
}

fn print(rows: &[Received], common: &Common) -> Result<(), Failure> {
    for row in rows {
        let line = row.line();
        if let Body::Gap { target, from, to } = line.body {
            tell_gap(target, from, to, common)?;
            continue;
        }
        let shown = if common.json { show::as_json(&line).map(output::json) } else { show::as_text(&line) };
        if let Some(shown) = shown {
            output::print(&shown)?;
        }
    }
    Ok(())
}
