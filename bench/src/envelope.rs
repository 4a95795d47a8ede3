//! What the envelope costs by itself, in this process: a handshake's parts, and sealing and opening.

use std::time::{Duration, Instant};

use clap::Args;
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use snug_protocol::envelope::{
    Channel, ClientHandshake, ClientOptions, HandshakeError, Padding, ServerKey, ServerOptions, accept,
};

/// What the envelope costs by itself
#[derive(Args)]
pub(crate) struct Envelope {
    /// How often each handshake is made; each record is sealed and opened ten times as often
    #[arg(long, default_value_t = 2_000)]
    rounds: u32,
}

impl Envelope {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let classical = self.handshakes(ClientHandshake::start_classical)?;
        let hybrid = self.handshakes(ClientHandshake::start)?;
        let mut records = Vec::new();
        for size in [150, 16 << 10] {
            let (seal, open) = self.records(size)?;
            records.push(json!({ "bytes": size, "seal_ns": seal, "open_ns": open }));
        }
        Ok(
            json!({ "scenario": "envelope", "x25519": classical, "x25519_mlkem768": hybrid, "records": records }),
        )
    }

    fn handshakes(
        &self,
        start: fn(ClientOptions, &dyn ring::rand::SecureRandom) -> Result<ClientHandshake, HandshakeError>,
    ) -> anyhow::Result<Value> {
        let (random, key) = (SystemRandom::new(), ServerKey::from_seed(&[9; 32])?);
        let mut times = [Duration::ZERO; 3];
        for _ in 0..self.rounds {
            let began = Instant::now();
            let client = start(ClientOptions::default(), &random)?;
            times[0] += began.elapsed();
            let hello = client.hello().trim_end().to_owned();
            let began = Instant::now();
            let (reply, _) = accept(&hello, &key, &ServerOptions::default(), &random)?;
            times[1] += began.elapsed();
            let (hello, identity) = reply.trim_end().split_once('\n').unwrap_or_default();
            let began = Instant::now();
            client.server_hello(hello)?.identity(identity)?.trust();
            times[2] += began.elapsed();
        }
        let [hello, accept, finish] = times.map(|time| self.per(time, self.rounds, 1e6));
        Ok(json!({ "client_hello_us": hello, "server_accept_us": accept, "client_finish_us": finish }))
    }

    /// Nanoseconds to seal and to open a record of lines of this size. The buffers are used again, as a connection
    /// that is busy has them warm.
    fn records(&self, size: usize) -> anyhow::Result<(f64, f64)> {
        const BLOCK: u32 = 32;
        let (mut client, mut server) = channel()?;
        let text = "x".repeat(size - 1) + "\n";
        let mut lines = vec![Vec::new(); BLOCK as usize];
        let (mut seal, mut open) = (Duration::ZERO, Duration::ZERO);
        let blocks = self.rounds * 10 / BLOCK + 1;
        for _ in 0..blocks {
            let began = Instant::now();
            for line in &mut lines {
                line.clear();
                client.sealer.seal_lines(&text, Padding::None, line)?;
            }
            seal += began.elapsed();
            let began = Instant::now();
            for line in &lines {
                server.opener.open(std::str::from_utf8(&line[..line.len() - 1])?)?;
            }
            open += began.elapsed();
        }
        let rounds = blocks * BLOCK;
        Ok((self.per(seal, rounds, 1e9), self.per(open, rounds, 1e9)))
    }

    fn per(&self, time: Duration, rounds: u32, unit: f64) -> f64 {
        (time.as_secs_f64() * unit / f64::from(rounds) * 10.0).round() / 10.0
    }
}

fn channel() -> anyhow::Result<(Channel, Channel)> {
    let (random, key) = (SystemRandom::new(), ServerKey::from_seed(&[9; 32])?);
    let client = ClientHandshake::start_classical(ClientOptions::default(), &random)?;
    let hello = client.hello().trim_end().to_owned();
    let (reply, server) = accept(&hello, &key, &ServerOptions::default(), &random)?;
    let (hello, identity) = reply.trim_end().split_once('\n').unwrap_or_default();
    Ok((client.server_hello(hello)?.identity(identity)?.trust(), server))
}
