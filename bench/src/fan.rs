//! Many members in one room, some of them talking.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use serde_json::{Value, json};
use smol::{Async, LocalExecutor};

use crate::server::Server;

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
    /// Bytes of a message
    #[arg(long, default_value_t = 100)]
    size: usize,
}

/// A member of the room, and what it has heard.
struct Member {
    stream: Async<TcpStream>,
    partial: Vec<u8>,
    heard: usize,
    /// A running hash of the ids, in the order heard: equal for two members exactly if they heard the same.
    order: u64,
    answered: usize,
}

impl Fan {
    pub(crate) async fn run(&self, server: &Server, executor: &LocalExecutor<'_>) -> anyhow::Result<Value> {
        let mut members = Vec::new();
        for number in 0..self.members {
            members.push(Member::enter(server, number).await?);
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
                while member.heard < total || member.answered < to_send {
                    let mut lines = String::new();
                    while sent < to_send && sent - member.answered < under_way {
                        lines.push_str("MSG #lobby ");
                        lines.push_str(&text);
                        lines.push('\n');
                        sent += 1;
                    }
                    member.stream.write_all(lines.as_bytes()).await?;
                    member.read().await?;
                }
                anyhow::Ok((member.order, member.stream))
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
    async fn enter(server: &Server, number: usize) -> anyhow::Result<Member> {
        let stream = Async::<TcpStream>::connect(server.address).await?;
        stream.get_ref().set_nodelay(true)?;
        let mut member = Member { stream, partial: Vec::new(), heard: 0, order: 0, answered: 0 };
        member.stream.write_all(format!("NICK m{number}\n").as_bytes()).await?;
        while !member.partial.windows(8).any(|window| window == b" OK NICK") {
            let mut buffer = [0; 1024];
            let count = member.stream.read(&mut buffer).await?;
            ensure!(count > 0, "the server closed");
            member.partial.extend_from_slice(&buffer[..count]);
        }
        member.partial.clear();
        Ok(member)
    }

    /// Reads what has come, and counts entries and answers.
    async fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 64 << 10];
        let count = self.stream.read(&mut buffer).await?;
        ensure!(count > 0, "the server closed after {} entries", self.heard);
        let mut rest = &buffer[..count];
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            if self.partial.is_empty() {
                self.line(&rest[..end])?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&rest[..end]);
                self.line(&line)?;
            }
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// `@id=7;time=… :m1 MSG #lobby …` is an entry, `@id=7;time=… OK MSG #lobby` an answer. Others do not count.
    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let Some(tagged) = line.strip_prefix(b"@id=") else {
            ensure!(!line.starts_with(b"ERR"), "{}", String::from_utf8_lossy(line));
            return Ok(());
        };
        let digits = tagged.split(|&b| b == b';').next().context("an id")?;
        let behind = line.iter().position(|&b| b == b' ').context("a space")?;
        if line[behind + 1] == b':' {
            let id: u64 = std::str::from_utf8(digits)?.parse()?;
            self.heard += 1;
            self.order = (self.order ^ id).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        } else {
            self.answered += 1;
        }
        Ok(())
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
