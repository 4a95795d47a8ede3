//! A large log: how long a first page of a search takes, and a page of history.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::server::Server;
use crate::wire::{Dialect, Wire};

/// A large log: a first page of a search, and a page of history
#[derive(Args)]
pub(crate) struct Search {
    /// How many messages there are
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// How often each query is asked
    #[arg(long, default_value_t = 20)]
    times: usize,
}

/// The words of messages: half of all are the first, one of so many is the last.
const WORDS: usize = 20_000;

impl Search {
    pub(crate) async fn run(&self, server: &Server) -> anyhow::Result<Value> {
        let mut wire = Wire::connect(server, Dialect::Plain).await?;
        wire.enter("@quiet NICK writer").await?;
        for room in 0..10 {
            ask(&mut wire, &format!("JOIN #r{room}\n")).await?;
        }
        let mut dice = 1u64;
        let mut roll = |most: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(dice >> 33).unwrap_or(0) % most
        };
        let mut written = 0;
        let begun = Instant::now();
        while written < self.messages {
            let mut lines = String::new();
            for _ in 0..200 {
                let _ = write!(lines, "MSG #r{}", roll(10));
                for _ in 0..10 {
                    // Frequent words have small numbers, rare ones large: about Zipf's law.
                    let _ = write!(lines, " w{}", WORDS / (1 + roll(WORDS)));
                }
                lines.push('\n');
            }
            lines.push_str("PING\n");
            wire.say(&lines).await?;
            let mut is_done = false;
            while !is_done {
                wire.hear(|line| {
                    ensure!(!line.starts_with("ERR"), "{line}");
                    is_done |= line == "OK PING";
                    Ok(())
                })
                .await?;
            }
            written += 200;
        }
        let writing = begun.elapsed();
        let begun = Instant::now();
        ask(&mut wire, "SEARCH * nothing\n").await?;
        let catching_up = begun.elapsed();
        let mut figures = serde_json::Map::new();
        figures.insert("scenario".to_owned(), "search".into());
        figures.insert("messages".to_owned(), self.messages.into());
        figures.insert("writing_s".to_owned(), writing.as_secs_f64().round().into());
        figures.insert(
            "first_search_catches_up_s".to_owned(),
            ((catching_up.as_secs_f64() * 100.0).round() / 100.0).into(),
        );
        for (name, query) in [
            ("search_common_word", "SEARCH * w1"),
            ("search_rare_word", "SEARCH * w20000"),
            ("search_two_words", "SEARCH * w3 w6666"),
            ("search_phrase", "SEARCH * \"w1 w2 w1\""),
            ("search_prefix", "SEARCH * w12*"),
            ("search_everything", "SEARCH * w*"),
            ("search_from_in", "SEARCH #r3 w5 from:writer"),
            ("search_nothing", "SEARCH * w1 w20000 w6666 w5000"),
            ("search_after", "SEARCH * w1 after:2026-01-01"),
            ("history_latest", "HISTORY #r3 LATEST"),
            ("history_middle", "HISTORY #r3 AROUND 500000"),
            ("sync_page", "SYNC 500000 50"),
        ] {
            let mut taken = Vec::new();
            for _ in 0..self.times {
                let begun = Instant::now();
                ask(&mut wire, &format!("{query}\n")).await?;
                taken.push(begun.elapsed());
            }
            taken.sort();
            let millis = |time: Duration| (time.as_secs_f64() * 1e5).round() / 1e2;
            let most = taken.last().copied().unwrap_or_default();
            figures.insert(format!("{name}_ms"), json!([millis(taken[taken.len() / 2]), millis(most)]));
        }
        figures.insert("rss_kib".to_owned(), server.memory("status", "VmRSS")?.into());
        Ok(Value::Object(figures))
    }
}

/// Says a command and waits for its answer.
async fn ask(wire: &mut Wire, command: &str) -> anyhow::Result<()> {
    wire.say(command).await?;
    let verb = command.split_whitespace().next().unwrap_or_default();
    let mut is_done = false;
    while !is_done {
        wire.hear(|line| {
            ensure!(!line.starts_with("ERR"), "{line}");
            is_done |= line.split(' ').skip_while(|word| word.starts_with('@')).take(2).eq(["OK", verb]);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
