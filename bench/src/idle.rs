//! Many connections that say nothing after their NICK: what each costs to make, and to keep.

use clap::Args;
use serde_json::{Value, json};

use crate::crowd::{BATCH, enter};
use crate::figures::micros;
use crate::options::Options;
use crate::server::Server;

/// Many connections that say nothing
#[derive(Args)]
pub(crate) struct Idle {
    /// How many
    #[arg(long)]
    connections: Option<usize>,
}

impl Idle {
    pub(crate) fn run(&self, options: &Options, scenario: &str, default: usize) -> anyhow::Result<Value> {
        let (server, dialect) = (Server::start(options)?, options.dialect());
        let connections = self.connections.unwrap_or(default);
        // What the first connections cost once is not what each costs.
        let mut wires = enter(server.address, dialect, "first", 0..100, false)?;
        let (rss, pss, cpu) =
            (server.memory("status", "VmRSS")?, server.memory("smaps_rollup", "Pss")?, server.cpu()?);
        for first in (0..connections).step_by(BATCH) {
            let numbers = first..connections.min(first + BATCH);
            wires.extend(enter(server.address, dialect, "idle", numbers, false)?);
        }
        let per = |now: u64, before: u64| {
            (now.saturating_sub(before) as f64 / connections as f64 * 100.0).round() / 100.0
        };
        Ok(json!({
            "scenario": scenario,
            "server": options.word(),
            "dialect": dialect.word(),
            "connections": connections,
            "rss_kib_per_connection": per(server.memory("status", "VmRSS")?, rss),
            "pss_kib_per_connection": per(server.memory("smaps_rollup", "Pss")?, pss),
            "server_cpu_us_per_connect": micros(server.cpu()? - cpu, connections as u64).round(),
        }))
    }
}
