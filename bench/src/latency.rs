//! One talks at an even pace: how long until everyone has heard it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::crowd::{Crowd, marked};
use crate::figures::{quantile, round};
use crate::options::Options;
use crate::server::Server;

/// How long it takes to reach everyone
#[derive(Args)]
pub(crate) struct Latency {
    /// Members of the room
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// How many messages
    #[arg(long, default_value_t = 1_000)]
    messages: u64,
    /// How many a second
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Meanwhile strangers say HELLO, one after the other as fast as they can, and hang up
    #[arg(long)]
    flood: bool,
}

/// The most handshakes of a flood.
const FLOOD: u64 = 1_000_000;

/// Strangers who say HELLO and hang up, until it is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flood {
    fn start(address: SocketAddr) -> Flood {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let work = move || {
            let mut said = 0;
            while !seen.load(Relaxed) && said < FLOOD {
                // Whoever is turned away tries again.
                if let Ok(mut stream) = TcpStream::connect(address)
                    && stream
                        .write_all(b"HELLO snug/1 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=\n")
                        .is_ok()
                {
                    said += 1;
                }
            }
            said
        };
        Flood { is_over, thread: Some(std::thread::spawn(work)) }
    }

    /// Ends it, and gives how many there were.
    fn end(mut self) -> u64 {
        self.is_over.store(true, Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

impl Latency {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut crowd = Crowd::new(options.dialect())?;
        crowd.enter(server.address, self.members)?;
        crowd.settle("#lobby")?;
        let listeners = if crowd.dialect.echoes() { self.members } else { self.members - 1 };
        let mut first = Vec::new();
        let mut all = Vec::new();
        let flood = self.flood.then(|| Flood::start(server.address));
        let begun = Instant::now();
        let cpu = server.cpu()?;
        for number in 0..self.messages {
            // A steady pace, whatever the one before took; what comes meanwhile is read.
            let due = begun + Duration::from_secs(number) / u32::try_from(self.rate)?;
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                crowd.turn(i64::try_from(wait.as_millis())?)?;
            }
            let line = crowd.dialect.message("#lobby", &marked(0, number, 100));
            let said = Instant::now();
            crowd.say(0, &line)?;
            let (mut have, mut has_heard) = (0, vec![false; self.members]);
            while have < listeners {
                let count = crowd.turn_with(5_000, |member, heard| {
                    // Its own answer may come to the one who said it in a read of its own.
                    if heard.of.first() == Some(&(number + 1))
                        && !std::mem::replace(&mut has_heard[member], true)
                    {
                        have += 1;
                        if have == 1 {
                            first.push(said.elapsed().as_secs_f64() * 1e6);
                        }
                    }
                })?;
                ensure!(count > 0, "{have} of {listeners} have heard a message, and nothing comes any more");
            }
            all.push(said.elapsed().as_secs_f64() * 1e6);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let handshakes = flood.map(Flood::end);
        server.catch_up()?;
        first.sort_by(f64::total_cmp);
        all.sort_by(f64::total_cmp);
        Ok(json!({
            "scenario": if self.flood { "flood" } else { "latency" },
            "server": options.word(),
            "dialect": crowd.dialect.word(),
            "members": self.members,
            "first_us_p50": quantile(&first, 0.5).round(),
            "all_us_p50": quantile(&all, 0.5).round(),
            "all_us_p99": quantile(&all, 0.99).round(),
            "handshakes_per_second": handshakes.map(|count| (count as f64 / seconds).round()),
            "server_cpu_share": round((server.cpu()? - cpu) / seconds),
            "server_cpu_us_per_message": round((server.cpu()? - cpu) * 1e6 / self.messages as f64),
        }))
    }
}
