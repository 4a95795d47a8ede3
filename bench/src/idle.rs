//! Many connections that say nothing after their NICK.

use clap::Args;
use serde_json::{Value, json};

use crate::server::Server;
use crate::wire::{Dialect, Wire};

/// Many connections that say nothing
#[derive(Args)]
pub(crate) struct Idle {
    /// How many
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// In the clear or sealed
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    dialect: Dialect,
}

impl Idle {
    pub(crate) async fn run(&self, server: &Server) -> anyhow::Result<Value> {
        // What the first connections cost once is not what each costs.
        let mut streams = Vec::new();
        for number in 0..100 {
            streams.push(connect(server, self.dialect, &format!("first{number}")).await?);
        }
        let (rss, pss, cpu) =
            (server.memory("status", "VmRSS")?, server.memory("smaps_rollup", "Pss")?, server.cpu()?);
        for number in 0..self.connections {
            streams.push(connect(server, self.dialect, &format!("idle{number}")).await?);
        }
        let count = self.connections as f64;
        let per =
            |now: u64, before: u64| ((now.saturating_sub(before)) as f64 / count * 100.0).round() / 100.0;
        Ok(json!({
            "scenario": "idle",
            "dialect": format!("{:?}", self.dialect).to_lowercase(),
            "connections": self.connections,
            "rss_kib_per_connection": per(server.memory("status", "VmRSS")?, rss),
            "pss_kib_per_connection": per(server.memory("smaps_rollup", "Pss")?, pss),
            "server_cpu_us_per_connect": ((server.cpu()? - cpu) * 1e6 / count).round(),
        }))
    }
}

async fn connect(server: &Server, dialect: Dialect, nick: &str) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(server, dialect).await?;
    wire.enter(&format!("@quiet NICK {nick}")).await?;
    Ok(wire)
}
