//! Many members in one room, some of them talking.

use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::crowd::{Crowd, marked};
use crate::figures::{micros, round};
use crate::options::{Kind, Options};
use crate::server::Server;

/// What can be said of a room that is talked in. Each scenario has its own defaults.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Members of the room
    #[arg(long)]
    pub(crate) members: Option<usize>,
    /// How many of them talk
    #[arg(long)]
    pub(crate) senders: Option<usize>,
    /// Messages of each of those
    #[arg(long)]
    pub(crate) messages: Option<u64>,
    /// Messages that each has under way
    #[arg(long)]
    pub(crate) under_way: Option<u64>,
    /// Bytes of a message
    #[arg(long)]
    pub(crate) size: Option<usize>,
}

/// A room that is talked in.
pub(crate) struct Fan {
    pub(crate) scenario: String,
    pub(crate) members: usize,
    pub(crate) senders: usize,
    pub(crate) messages: u64,
    pub(crate) under_way: u64,
    pub(crate) size: usize,
}

/// What it cost.
pub(crate) struct Cost {
    pub(crate) deliveries: u64,
    pub(crate) cpu: f64,
    pub(crate) seconds: f64,
    /// Whether those who only listened heard all senders in one order. snug promises that; each sender's own order
    /// is checked for every server.
    pub(crate) one_order: bool,
}

impl Fan {
    /// Ten of so many members talk, with 16 messages under way each: much can be batched.
    pub(crate) fn crowded(members: usize, room: Room) -> Fan {
        let members = room.members.unwrap_or(members);
        let fan = Fan {
            scenario: format!("fan{members}"),
            members,
            senders: room.senders.unwrap_or(10),
            messages: room.messages.unwrap_or(0),
            under_way: room.under_way.unwrap_or(16),
            size: room.size.unwrap_or(100),
        };
        // Some four million deliveries: at a tenth of a microsecond each, that is what the clock of /proc can tell.
        let messages = room.messages.unwrap_or_else(|| (4_000_000 / fan.members / fan.senders) as u64);
        Fan { messages, ..fan }
    }

    /// One talks, and says the next only when everyone has heard the one before: nothing can be batched.
    pub(crate) fn lone(members: usize, room: Room) -> Fan {
        let members = room.members.unwrap_or(members);
        Fan {
            scenario: format!("lone{members}"),
            senders: 1,
            under_way: 1,
            messages: room.messages.unwrap_or_else(|| (200_000 / members) as u64),
            ..Fan::crowded(members, room)
        }
    }

    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut crowd = Crowd::new(options.dialect())?;
        crowd.enter(server.address, self.members)?;
        crowd.settle("#lobby")?;
        let cost = self.talk(&mut crowd, &server)?;
        ensure!(cost.one_order || options.server != Kind::Snug, "the members heard different orders");
        Ok(json!({
            "scenario": self.scenario,
            "server": options.word(),
            "dialect": crowd.dialect.word(),
            "senders": self.senders,
            "under_way": self.under_way,
            "bytes": self.size,
            "deliveries": cost.deliveries,
            "one_order": cost.one_order,
            "server_cpu_s": round(cost.cpu),
            "server_cpu_us_per_delivery": micros(cost.cpu, cost.deliveries),
            "deliveries_per_s": (cost.deliveries as f64 / cost.seconds).round(),
        }))
    }

    /// Talks, and checks that everyone has heard all of it, once and in one order.
    pub(crate) fn talk(&self, crowd: &mut Crowd, server: &Server) -> anyhow::Result<Cost> {
        let echo = crowd.dialect.echoes();
        let total = self.messages * self.senders as u64;
        let expected = |member: usize| total - if echo || member >= self.senders { 0 } else { self.messages };
        // Whoever only listens tells what has got through; if all talk, the last one does for the others.
        let observer = self.members - 1;
        let is_lone = self.under_way == 1;
        let hearers = if echo { self.members } else { self.members - 1 } as u64;
        ensure!(echo || self.senders < self.members, "somebody has to listen");
        let (cpu, begun) = (server.cpu()?, Instant::now());
        let mut sent = vec![0; self.senders];
        let mut missing: u64 = (0..self.members).map(expected).sum();
        let deliveries = missing;
        while missing > 0 {
            let heard_by_all = (deliveries - missing) / hearers;
            for (sender, sent) in sent.iter_mut().enumerate() {
                let through = match is_lone && self.senders == 1 {
                    true => heard_by_all,
                    false => crowd.heard(observer).of.get(sender).copied().unwrap_or(0),
                };
                let mut lines = String::new();
                // Half of them together: a sender says what it has to say as it comes, not each time it may.
                let may = self.under_way - (*sent - through).min(self.under_way);
                if may < self.under_way.div_ceil(2) {
                    continue;
                }
                for _ in 0..may.min(self.messages - *sent) {
                    lines.push_str(&crowd.dialect.message("#lobby", &marked(sender, *sent, self.size)));
                    *sent += 1;
                }
                if !lines.is_empty() {
                    crowd.say(sender, &lines)?;
                }
            }
            ensure!(
                crowd.turn(10_000)? > 0,
                "nothing has come for ten seconds, and {missing} deliveries are missing"
            );
            missing = deliveries - (0..self.members).map(|member| crowd.heard(member).count).sum::<u64>();
        }
        let seconds = begun.elapsed().as_secs_f64();
        server.catch_up()?;
        let cpu = server.cpu()? - cpu;
        let listeners = if echo { 0..self.members } else { self.senders..self.members };
        let order = crowd.heard(observer).order;
        let one_order = listeners.into_iter().all(|member| crowd.heard(member).order == order);
        for member in 0..self.members {
            let heard = crowd.heard(member);
            ensure!(heard.count == expected(member) && !heard.is_wrong, "member {member} heard {heard:?}");
        }
        Ok(Cost { deliveries, cpu, seconds, one_order })
    }
}
