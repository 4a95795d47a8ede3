//! A large log: how long a page of history takes, and the first page of a search.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::figures::{millis, round};
use crate::growth::last_id;
use crate::mixed::Dice;
use crate::options::Options;
use crate::server::{Server, size_of};
use crate::wire::Wire;

/// The words of messages: half of all are the first, one of so many is the last.
const WORDS: usize = 20_000;

/// Rooms that are written in. All but the first are for who was there, so that somebody who was not may see a
/// hundredth of what was said.
const ROOMS: usize = 100;

/// Who writes, with what shows later that it is the same one.
const WRITER: &str = "@quiet;token=snug-bench-writes-this-log-0 NICK writer";

/// Writes a large log
#[derive(Args)]
pub(crate) struct Fill {
    /// How many messages
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// How many rooms; all but the first are for who was there
    #[arg(long, default_value_t = ROOMS)]
    rooms: usize,
}

impl Fill {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        ensure!(options.data.is_some(), "--data names the folder to fill");
        let server = Server::start(options)?;
        let seconds = self.write(&server, options)?;
        let cpu = server.cpu()?;
        server.stop()?;
        Ok(json!({
            "scenario": "fill",
            "messages": self.messages,
            "seconds": round(seconds),
            "server_cpu_us_per_message": round(cpu * 1e6 / self.messages as f64),
            "data_mib": options.data.as_deref().map(size_of).unwrap_or_default() >> 20,
        }))
    }

    /// Writes as one who is in all rooms, with some hundred messages under way.
    fn write(&self, server: &Server, options: &Options) -> anyhow::Result<f64> {
        let mut wire = Wire::connect(server.address, options.dialect())?;
        wire.ask(WRITER, |_| ())?;
        for room in 0..self.rooms {
            wire.ask(&format!("JOIN #r{room}"), |_| ())?;
            if room > 0 {
                wire.ask(&format!("SET #r{room} history joined"), |_| ())?;
            }
        }
        let begun = Instant::now();
        let mut dice = Dice(1);
        let mut lines = String::new();
        for number in 0..self.messages {
            let _ = write!(lines, "MSG #r{}", dice.roll(self.rooms));
            for _ in 0..10 {
                // Frequent words have small numbers, rare ones large: about Zipf's law.
                let _ = write!(lines, " w{}", WORDS / (1 + dice.roll(WORDS)));
            }
            lines.push('\n');
            if number % 250 == 249 || number + 1 == self.messages {
                wire.say(&lines)?;
                wire.ask("PING", |_| ())?;
                lines.clear();
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// Asks for pages of a log of so many messages
#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    fill: Fill,
    /// How often each page is asked for
    #[arg(long, default_value_t = 50)]
    times: usize,
}

/// Searches a log of so many messages
#[derive(Args)]
pub(crate) struct Search {
    #[command(flatten)]
    fill: Fill,
    /// How often each search is asked for
    #[arg(long, default_value_t = 20)]
    times: usize,
}

impl History {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut figures = begin("history", &self.fill, &server, options)?;
        let entries = last_id(&server, options)?;
        let mut wire = Wire::connect(server.address, options.dialect())?;
        wire.enter("writer2", false)?;
        let half = entries / 2;
        for (name, command) in [
            ("latest", "HISTORY #r0 LATEST 100".to_owned()),
            ("before", format!("HISTORY #r0 BEFORE {half} 100")),
            ("around", format!("HISTORY #r0 AROUND {half} 100")),
            ("sync", format!("SYNC {half} 100")),
        ] {
            figures.insert(format!("{name}_ms"), measure(&mut wire, &command, self.times)?);
        }
        figures.insert("rss_kib".to_owned(), server.memory("status", "VmRSS")?.into());
        Ok(Value::Object(figures))
    }
}

impl Search {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut figures = begin("search", &self.fill, &server, options)?;
        let mut all = Wire::connect(server.address, options.dialect())?;
        all.ask(WRITER, |_| ())?;
        // Whoever comes now was in none of the rooms that remember who was there.
        let mut some = Wire::connect(server.address, options.dialect())?;
        some.enter("reader", false)?;
        let begun = Instant::now();
        all.ask("SEARCH * nothing", |_| ())?;
        figures.insert("first_search_catches_up_s".to_owned(), round(begun.elapsed().as_secs_f64()).into());
        for (name, query) in [
            ("common_word", "w1"),
            ("rare_word", "w20000"),
            ("two_words", "w3 w6666"),
            ("phrase", "\"w1 w2 w1\""),
            ("prefix", "w12*"),
            ("from_in", "w5 from:writer in:#r0"),
            ("nothing", "w1 w20000 w6666 w5000"),
        ] {
            let command = format!("SEARCH * {query}");
            figures.insert(format!("{name}_ms"), measure(&mut all, &command, self.times)?);
            figures.insert(format!("{name}_of_1_percent_ms"), measure(&mut some, &command, self.times)?);
        }
        figures.insert("rss_kib".to_owned(), server.memory("status", "VmRSS")?.into());
        Ok(Value::Object(figures))
    }
}

/// Fills the log if nothing is in it.
fn begin(
    scenario: &str,
    fill: &Fill,
    server: &Server,
    options: &Options,
) -> anyhow::Result<Map<String, Value>> {
    let mut figures = Map::new();
    figures.insert("scenario".to_owned(), scenario.into());
    if last_id(server, options)? < fill.messages as u64 {
        figures.insert("writing_s".to_owned(), round(fill.write(server, options)?).into());
    }
    figures.insert("entries".to_owned(), last_id(server, options)?.into());
    Ok(figures)
}

/// Milliseconds that a command takes: half of the times at most, and at most.
fn measure(wire: &mut Wire, command: &str, times: usize) -> anyhow::Result<Value> {
    let mut taken: Vec<Duration> = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        wire.ask(command, |_| ())?;
        taken.push(begun.elapsed());
    }
    taken.sort();
    let most = taken.last().context("--times 0 measures nothing")?;
    Ok(json!([millis(taken[taken.len() / 2]), millis(*most)]))
}
