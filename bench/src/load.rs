//! Many senders, each with some messages under way: how many messages a second are accepted, committed and
//! acknowledged, how many share a commit, and what one costs.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use rustix::event::epoll;
use serde_json::{Value, json};

use crate::figures::{micros, round};
use crate::options::Options;
use crate::server::Server;
use crate::wire::Wire;

/// Many senders, each with some messages under way, and nobody else
#[derive(Clone, Args)]
pub(crate) struct Load {
    /// How many send at once
    #[arg(long, default_value_t = 50)]
    senders: u64,
    /// How many messages each sends
    #[arg(long, default_value_t = 6_000)]
    messages: u64,
    /// How many of its messages each may have under way
    #[arg(long, default_value_t = 64)]
    window: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 80)]
    size: usize,
    /// Without keys: a message that is repeated is another one
    #[arg(long)]
    no_keys: bool,
}

struct Sender {
    wire: Wire,
    sent: u64,
    answered: u64,
    tail: Vec<u8>,
}

impl Load {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut senders = Vec::new();
        for number in 0..self.senders {
            let mut wire = Wire::connect(server.address, options.dialect())?;
            wire.enter(&format!("s{number}"), false)?;
            epoll::add(&poll, &wire.stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            senders.push(Sender { wire, sent: 0, answered: 0, tail: Vec::new() });
        }
        let threads = ["snug-writer", "snug-search"];
        let cpu_of = |server: &Server| threads.map(|name| server.cpu_of_thread(name).unwrap_or_default());
        let (cpu, by_thread) = (server.cpu()?, cpu_of(&server));
        let (written, begun) = (server.written()?, Instant::now());
        let text = "x".repeat(self.size);
        let mut buffer = vec![0; 256 << 10];
        let mut events = Vec::with_capacity(256);
        for sender in &mut senders {
            self.say(sender, &text)?;
        }
        let mut busy = self.senders;
        while busy > 0 {
            events.clear();
            epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                let sender = &mut senders[usize::try_from(event.data.u64())?];
                self.hear(sender, &mut buffer)?;
                if sender.answered == self.messages {
                    epoll::delete(&poll, &sender.wire.stream)?;
                    busy -= 1;
                } else {
                    self.say(sender, &text)?;
                }
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        server.catch_up()?;
        let cpu = server.cpu()? - cpu;
        let after = cpu_of(&server);
        let entries = self.senders * self.messages;
        let thread = |at: usize| micros(after[at] - by_thread[at], entries);
        let written = (server.written()? - written) as f64;
        let commits = server.stop()? as f64;
        Ok(json!({
            "scenario": "load",
            "server": options.word(),
            "dialect": options.dialect().word(),
            "senders": self.senders,
            "under_way": self.window,
            "messages_per_s": (entries as f64 / seconds).round(),
            "commits_per_s": (commits / seconds).round(),
            "messages_per_commit": round(entries as f64 / commits),
            "server_cpu_us_per_message": micros(cpu, entries),
            "log_cpu_us_per_message": thread(0),
            "index_cpu_us_per_message": thread(1),
            "written_bytes_per_message": (written / entries as f64).round(),
            "seconds": round(seconds),
        }))
    }

    /// Says as much as may be under way, when half of that has been answered.
    fn say(&self, sender: &mut Sender, text: &str) -> anyhow::Result<()> {
        let may = self.window - (sender.sent - sender.answered);
        if may < self.window.div_ceil(2) {
            return Ok(());
        }
        let mut lines = String::new();
        for _ in 0..may.min(self.messages - sender.sent) {
            let number = sender.sent;
            // Writing to a String cannot fail.
            let _ = match self.no_keys {
                true => writeln!(lines, "@ref={number} MSG #lobby {text}"),
                false => writeln!(lines, "@ref={number};key=k{number} MSG #lobby {text}"),
            };
            sender.sent += 1;
        }
        if lines.is_empty() { Ok(()) } else { sender.wire.say(&lines) }
    }

    /// Reads once, and counts that each message is acknowledged once, in order.
    fn hear(&self, sender: &mut Sender, buffer: &mut [u8]) -> anyhow::Result<()> {
        let mut lines = std::mem::take(&mut sender.tail);
        sender.wire.read(buffer, |bytes| lines.extend_from_slice(bytes))?;
        sender.tail = lines.split_off(memchr::memrchr(b'\n', &lines).map_or(0, |end| end + 1));
        for line in std::str::from_utf8(&lines)?.lines() {
            if let Some(tags) = line.strip_suffix(" OK MSG #lobby") {
                let label = tags.rsplit("ref=").next().context("a label")?;
                ensure!(label.parse() == Ok(sender.answered), "{line} instead of {}", sender.answered);
                sender.answered += 1;
            }
            ensure!(!line.starts_with("ERR") && !line.contains(" ERR "), "{line}");
        }
        Ok(())
    }
}
