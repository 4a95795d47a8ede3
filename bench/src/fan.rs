//! Many members in one room, some of them talking.

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use smol::LocalExecutor;

use crate::server::Server;
use crate::wire::{Dialect, Wire};

/// Many members in one room, some of them talking
#[derive(Args)]
pub(crate) struct Fan {
    /// Members of the room
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// How many of them talk
    #[arg(long, default_value_t = 10)]
    senders: usize,
    /// Messages of each of those
    #[arg(long, default_value_t = 200)]
    messages: usize,
    /// Messages that each has under way
    #[arg(long, default_value_t = 16)]
    under_way: usize,
    /// In the clear or sealed
    #[arg(long, value_enum, default_value_t = Dialect::Plain)]
    dialect: Dialect,
    /// Bytes of a message
    #[arg(long, default_value_t = 100)]
    size: usize,
}

/// A member of the room, and what it has heard.
struct Member {
    wire: Wire,
    heard: Heard,
}

#[derive(Clone, Copy, Default)]
struct Heard {
    entries: usize,
    answers: usize,
    /// A running hash of the ids, in the order heard: equal for two members exactly if they heard the same.
    order: u64,
}

impl Fan {
    pub(crate) async fn run(&self, server: &Server, executor: &LocalExecutor<'_>) -> anyhow::Result<Value> {
        let mut members = Vec::new();
        for number in 0..self.members {
            members.push(Member::enter(server, self.dialect, number).await?);
        }
        let total = self.senders * self.messages;
        let text = "x".repeat(self.size);
        let (cpu, started) = (server.cpu()?, Instant::now());
        let mut tasks = Vec::new();
        for (number, mut member) in members.into_iter().enumerate() {
            let to_send = if number < self.senders { self.messages } else { 0 };
            let (under_way, text) = (self.under_way, text.clone());
            tasks.push(executor.spawn(async move {
                let mut sent = 0;
                while member.heard.entries < total || member.heard.answers < to_send {
                    let mut lines = String::new();
                    while sent < to_send && sent - member.heard.answers < under_way {
                        lines.push_str("MSG #lobby ");
                        lines.push_str(&text);
                        lines.push('\n');
                        sent += 1;
                    }
                    if !lines.is_empty() {
                        member.wire.say(&lines).await?;
                    }
                    member.read().await?;
                }
                anyhow::Ok((member.heard.order, member.wire))
            }));
        }
        let mut orders = Vec::new();
        for task in tasks {
            orders.push(task.await?);
        }
        let (cpu, took) = (server.cpu()? - cpu, started.elapsed().as_secs_f64());
        ensure!(orders.iter().all(|(order, _)| *order == orders[0].0), "the members heard different orders");
        let deliveries = total * self.members;
        Ok(json!({
            "scenario": format!("fan{}", self.members),
            "dialect": format!("{:?}", self.dialect).to_lowercase(),
            "senders": self.senders,
            "under_way": self.under_way,
            "bytes": self.size,
            "deliveries": deliveries,
            "one_order": true,
            "server_cpu_s": round(cpu),
            "server_cpu_us_per_delivery": round(cpu * 1e6 / deliveries as f64),
            "deliveries_per_s": (deliveries as f64 / took) as u64,
        }))
    }
}

impl Member {
    async fn enter(server: &Server, dialect: Dialect, number: usize) -> anyhow::Result<Member> {
        let mut wire = Wire::connect(server, dialect).await?;
        wire.enter(&format!("NICK m{number}")).await?;
        Ok(Member { wire, heard: Heard::default() })
    }

    /// Reads what has come, and counts entries and answers.
    async fn read(&mut self) -> anyhow::Result<()> {
        let heard = &mut self.heard;
        self.wire.hear(|line| heard.line(line)).await
    }
}

impl Heard {
    /// `@id=7;time=… :m1 MSG #lobby …` is an entry, `@id=7;time=… OK MSG #lobby` an answer. Others do not count.
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(tagged) = line.strip_prefix("@id=") else {
            ensure!(!line.starts_with("ERR"), "{line}");
            return Ok(());
        };
        let digits = tagged.split(';').next().context("an id")?;
        let behind = line.find(' ').context("a space")?;
        if line[behind + 1..].starts_with(':') {
            let id: u64 = digits.parse()?;
            self.entries += 1;
            self.order = (self.order ^ id).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        } else {
            self.answers += 1;
        }
        Ok(())
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
