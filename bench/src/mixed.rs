//! Many rooms of all sizes, people who come and go while others talk: what a day is made of.

use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::crowd::{Crowd, marked};
use crate::figures::{micros, round};
use crate::options::Options;
use crate::server::Server;

/// Many rooms of all sizes
#[derive(Args)]
pub(crate) struct Mixed {
    /// How many people
    #[arg(long, default_value_t = 1_000)]
    people: usize,
    /// How many rooms; the n-th has a member for every n-th of half the people (Zipf's law)
    #[arg(long, default_value_t = 200)]
    rooms: usize,
    /// How many things happen: of 20, 17 are messages and 3 somebody who leaves a room and enters another
    #[arg(long, default_value_t = 30_000)]
    events: usize,
}

impl Mixed {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let mut crowd = Crowd::new(options.dialect())?;
        crowd.enter(server.address, self.people)?;
        let mut dice = Dice(1);
        let mut members = vec![Vec::new(); self.rooms];
        for (room, members) in members.iter_mut().enumerate() {
            let size = (self.people / 2 / (room + 1)).max(2);
            let first = dice.roll(self.people);
            for number in 0..size {
                let person = (first + number * 7) % self.people;
                if members.contains(&person) {
                    continue;
                }
                members.push(person);
                crowd.say(person, &crowd.dialect.join(&format!("#r{room}")))?;
            }
            while crowd.turn(0)? > 0 {}
        }
        crowd.settle("#lobby")?;
        let (cpu, begun) = (server.cpu()?, Instant::now());
        let mut expected = vec![0u64; self.people];
        let (mut messages, mut moves, mut deliveries) = (0u64, 0u64, 0u64);
        for event in 0..self.events {
            // Large rooms are talked in more than small ones.
            let room = self.rooms / (1 + dice.roll(self.rooms)) - 1;
            let at = dice.roll(members[room].len());
            if dice.roll(20) < 17 {
                let sender = members[room][at];
                let line = crowd.dialect.message(&format!("#r{room}"), &marked(5_000, messages, 100));
                crowd.say(sender, &line)?;
                for member in &members[room] {
                    if crowd.dialect.echoes() || *member != sender {
                        expected[*member] += 1;
                        deliveries += 1;
                    }
                }
                messages += 1;
            } else if members[room].len() > 2 {
                // Whoever goes has heard everything there first, so that the count is exact.
                self.catch_up(&mut crowd, &expected)?;
                let person = members[room].swap_remove(at);
                let other = dice.roll(self.rooms);
                let mut lines = crowd.dialect.leave(&format!("#r{room}"));
                if !members[other].contains(&person) {
                    members[other].push(person);
                    lines.push_str(&crowd.dialect.join(&format!("#r{other}")));
                }
                // It says something itself, so that whoever speaks next knows that it is in.
                lines.push_str(&crowd.dialect.message("#lobby", &marked(5_000, messages, 40)));
                messages += 1;
                crowd.say(person, &lines)?;
                for (listener, expected) in expected.iter_mut().enumerate() {
                    if crowd.dialect.echoes() || listener != person {
                        *expected += 1;
                        deliveries += 1;
                    }
                }
                self.catch_up(&mut crowd, &expected)?;
                moves += 1;
            }
            if event.is_multiple_of(64) {
                crowd.turn(0)?;
            }
        }
        self.catch_up(&mut crowd, &expected)?;
        let seconds = begun.elapsed().as_secs_f64();
        server.catch_up()?;
        let cpu = server.cpu()? - cpu;
        Ok(json!({
            "scenario": "mixed",
            "server": options.word(),
            "dialect": crowd.dialect.word(),
            "people": self.people,
            "rooms": self.rooms,
            "messages": messages,
            "moves": moves,
            "deliveries": deliveries,
            "server_cpu_us_per_delivery": micros(cpu, deliveries),
            "server_cpu_us_per_message": micros(cpu, messages),
            "seconds": round(seconds),
        }))
    }

    /// Waits until everyone has heard what they should, and no more.
    fn catch_up(&self, crowd: &mut Crowd, expected: &[u64]) -> anyhow::Result<()> {
        let missing =
            |crowd: &Crowd| (0..self.people).find(|person| crowd.heard(*person).count != expected[*person]);
        while let Some(person) = missing(crowd) {
            let (count, expected) = (crowd.heard(person).count, expected[person]);
            ensure!(count < expected, "member {person} heard {count} messages instead of {expected}");
            ensure!(
                crowd.turn(10_000)? > 0,
                "member {person} has heard {count} of {expected}, and nothing comes"
            );
        }
        Ok(())
    }
}

/// A sequence that is the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `most`.
    pub(crate) fn roll(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % most.max(1)
    }
}
