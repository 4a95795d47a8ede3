//! Many connections that say nothing after their NICK.

use std::net::TcpStream;

use anyhow::ensure;
use clap::Args;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use serde_json::{Value, json};
use smol::Async;

use crate::server::Server;

/// Many connections that say nothing
#[derive(Args)]
pub(crate) struct Idle {
    /// How many
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

impl Idle {
    pub(crate) async fn run(&self, server: &Server) -> anyhow::Result<Value> {
        // What the first connections cost once is not what each costs.
        let mut streams = Vec::new();
        for number in 0..100 {
            streams.push(connect(server, &format!("first{number}")).await?);
        }
        let (rss, pss, cpu) =
            (server.memory("status", "VmRSS")?, server.memory("smaps_rollup", "Pss")?, server.cpu()?);
        for number in 0..self.connections {
            streams.push(connect(server, &format!("idle{number}")).await?);
        }
        let count = self.connections as f64;
        let per =
            |now: u64, before: u64| ((now.saturating_sub(before)) as f64 / count * 100.0).round() / 100.0;
        Ok(json!({
            "scenario": "idle",
            "connections": self.connections,
            "rss_kib_per_connection": per(server.memory("status", "VmRSS")?, rss),
            "pss_kib_per_connection": per(server.memory("smaps_rollup", "Pss")?, pss),
            "server_cpu_us_per_connect": ((server.cpu()? - cpu) * 1e6 / count).round(),
        }))
    }
}

async fn connect(server: &Server, nick: &str) -> anyhow::Result<Async<TcpStream>> {
    let mut stream = Async::<TcpStream>::connect(server.address).await?;
    stream.write_all(format!("@quiet NICK {nick}\n").as_bytes()).await?;
    let mut heard = Vec::new();
    while !heard.ends_with(format!("OK NICK {nick}\n").as_bytes()) {
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "the server closed: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..count]);
    }
    Ok(stream)
}
