//! Many senders, each with some messages under way: how many messages a second are accepted and acknowledged, how many
//! share a commit, and what one costs.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::server::Server;
use crate::wire::{Dialect, Wire};

/// Many senders, each with some messages under way
#[derive(Clone, Args)]
pub(crate) struct Load {
    /// How many send at once
    #[arg(long, default_value_t = 50)]
    senders: usize,
    /// How many messages each sends
    #[arg(long, default_value_t = 4_000)]
    messages: usize,
    /// How many of its messages each may have under way
    #[arg(long, default_value_t = 20)]
    window: usize,
    /// Bytes of each message
    #[arg(long, default_value_t = 80)]
    size: usize,
}

impl Load {
    pub(crate) async fn run(
        &self,
        server: Server,
        executor: &smol::LocalExecutor<'_>,
    ) -> anyhow::Result<Value> {
        let mut wires = Vec::new();
        for sender in 0..self.senders {
            let mut wire = Wire::connect(&server, Dialect::Plain).await?;
            wire.enter(&format!("@quiet NICK s{sender}")).await?;
            wires.push(wire);
        }
        let (cpu, written, begun) = (server.cpu()?, server.written()?, Instant::now());
        let spawn = |wire| {
            let load = self.clone();
            executor.spawn(async move { load.send(wire).await })
        };
        let tasks: Vec<_> = wires.into_iter().map(spawn).collect();
        for task in tasks {
            task.await?;
        }
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), server.cpu()? - cpu);
        let entries = (self.senders * self.messages) as f64;
        let written = (server.written()? - written) as f64;
        let commits = server.stop()? as f64;
        Ok(json!({
            "scenario": "load",
            "senders": self.senders,
            "window": self.window,
            "messages_per_second": (entries / seconds).round(),
            "commits_per_second": (commits / seconds).round(),
            "messages_per_commit": (entries / commits * 10.0).round() / 10.0,
            "server_cpu_us_per_message": (cpu * 1e7 / entries).round() / 10.0,
            "written_bytes_per_message": (written / entries).round(),
            "seconds": (seconds * 100.0).round() / 100.0,
        }))
    }

    /// Sends all of one sender's messages, and counts that each is acknowledged once, in order.
    async fn send(&self, mut wire: Wire) -> anyhow::Result<()> {
        let text = "x".repeat(self.size);
        let (mut sent, mut answered) = (0, 0);
        while answered < self.messages {
            let mut lines = String::new();
            while sent < self.messages && sent - answered < self.window {
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "@ref={sent};key=k{sent} MSG #lobby {text}");
                sent += 1;
            }
            if !lines.is_empty() {
                wire.say(&lines).await?;
            }
            wire.hear(|line| {
                if let Some(tags) = line.strip_suffix(" OK MSG #lobby") {
                    let label = tags.rsplit("ref=").next().context("a label")?;
                    ensure!(label == answered.to_string(), "{line} instead of {answered}");
                    answered += 1;
                }
                ensure!(!line.starts_with("ERR"), "{line}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
