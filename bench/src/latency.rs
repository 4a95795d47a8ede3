//! One talks at an even pace: how long until everyone has heard it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::crowd::{Crowd, marked};
use crate::figures::{quantile, round};
use crate::server::{Options, Server};

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
        server.catch_up()?;
        first.sort_by(f64::total_cmp);
        all.sort_by(f64::total_cmp);
        Ok(json!({
            "scenario": "latency",
            "server": options.word(),
            "dialect": crowd.dialect.word(),
            "members": self.members,
            "first_us_p50": quantile(&first, 0.5).round(),
            "all_us_p50": quantile(&all, 0.5).round(),
            "all_us_p99": quantile(&all, 0.99).round(),
            "server_cpu_us_per_message": round((server.cpu()? - cpu) * 1e6 / self.messages as f64),
        }))
    }
}
