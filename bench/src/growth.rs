//! What grows with the daemon's size: a delivery with more members, rooms and history, and the start.

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::fan::{Fan, Room};
use crate::figures::{micros, millis};
use crate::options::Options;
use crate::server::{Server, size_of};
use crate::wire::Wire;

/// What a delivery costs with more of everything; --data names a large log, if history is to be among it: it is added to
#[derive(Args)]
pub(crate) struct Growth {
    /// The most members; the others are tens of it
    #[arg(long, default_value_t = 9_000)]
    members: usize,
    /// The most rooms
    #[arg(long, default_value_t = 9_900)]
    rooms: usize,
}

impl Growth {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Vec<Value>> {
        let fresh = Options { data: None, ..options.clone() };
        let mut results = Vec::new();
        for members in [100, 1_000, self.members] {
            let room = Room { messages: Some((4_000_000 / members / 10) as u64), ..Room::default() };
            results.push(self.point(&fresh, "members", members, &Fan::crowded(members, room))?);
        }
        for rooms in [1, 100, self.rooms] {
            results.push(self.point(&fresh, "rooms", rooms, &Fan::crowded(100, Room::default()))?);
        }
        if options.data.is_some() {
            results.push(self.point(options, "history", 0, &Fan::crowded(100, Room::default()))?);
        }
        Ok(results)
    }

    fn point(&self, options: &Options, of: &str, count: usize, fan: &Fan) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut crowd = Crowd::new(options.dialect())?;
        crowd.enter(server.address, fan.members)?;
        let mut keepers = Vec::new();
        if of == "rooms" {
            for first in (1..count).step_by(190) {
                let mut keeper = Wire::connect(server.address, options.dialect())?;
                keeper.enter(&format!("keeper{first}"), false)?;
                for room in first..count.min(first + 190) {
                    keeper.ask(&format!("JOIN #room{room}"), |_| ())?;
                    keeper.ask(&format!("MSG #room{room} here"), |_| ())?;
                }
                keepers.push(keeper);
            }
        }
        // To one digit: each run adds to the log that it is given.
        let entries = last_id(&server, options)?;
        let unit = 10u64.pow(entries.max(1).ilog10());
        let count = if of == "history" { entries / unit * unit } else { count as u64 };
        crowd.settle("#lobby")?;
        let cost = fan.talk(&mut crowd, &server)?;
        Ok(json!({
            "scenario": "growth",
            "of": of,
            "count": count,
            "server": options.word(),
            "dialect": crowd.dialect.word(),
            "members": fan.members,
            "server_cpu_us_per_delivery": micros(cost.cpu, cost.deliveries),
            "rss_mib": server.memory("status", "VmRSS")? >> 10,
        }))
    }
}

/// The newest entry of a server's log.
pub(crate) fn last_id(server: &Server, options: &Options) -> anyhow::Result<u64> {
    let mut wire = Wire::connect(server.address, options.dialect())?;
    let mut last = None;
    wire.say("@quiet NICK counter\n")?;
    wire.ask("PING", |line| {
        if line.contains("OK NICK ") {
            last = line.split(['@', ';', ' ']).find_map(|tag| tag.strip_prefix("last=")?.parse().ok());
        }
    })?;
    last.context("OK NICK without last")
}

/// From the start of the process until it is ready
#[derive(Args)]
pub(crate) struct Startup {
    /// How often
    #[arg(long, default_value_t = 10)]
    times: usize,
}

impl Startup {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let mut taken = Vec::new();
        let mut entries = 0;
        for time in 0..=self.times {
            let server = Server::start(options)?;
            // The first one may have found the files cold.
            if time > 0 {
                taken.push(server.starting);
            }
            entries = last_id(&server, options)?;
            server.stop()?;
        }
        ensure!(!taken.is_empty(), "--times 0 measures nothing");
        taken.sort();
        Ok(json!({
            "scenario": "startup",
            "entries": entries,
            "data_mib": options.data.as_deref().map(size_of).unwrap_or_default() >> 20,
            "ready_ms_p50": millis(taken[taken.len() / 2]),
            "ready_ms_most": millis(taken[taken.len() - 1]),
        }))
    }
}
