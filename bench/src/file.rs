//! One large file up and down, with messages on the same connection; then many at a time.

use std::cell::Cell;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures_lite::future::or;
use serde_json::{Value, json};
use smol::{Executor, Timer};
use snug_client::{Address, Client, Hasher, Link, Name, Trust};
use snug_protocol::{Command, Cursor, FileName, FileOffer, MessageTags, RoomName, Target};

use crate::figures::{millis, quantile, round};
use crate::options::Options;
use crate::server::Server;

/// A file up and down, sealed
#[derive(Args)]
pub(crate) struct File {
    /// Its size in MiB
    #[arg(long, default_value_t = 1_024)]
    size: u64,

    /// How many are sent at a time in the end, each a twentieth of it
    #[arg(long, default_value_t = 20)]
    parallel: usize,
}

/// Bytes that cost nothing to make and do not repeat soon.
struct Source {
    block: Vec<u8>,
    left: u64,
    at: usize,
}

impl Source {
    fn new(size: u64, seed: u8) -> Source {
        // A prime length, so that no two pieces are the same.
        let mut state = u64::from(seed) + 1;
        let block = (0..1_048_573).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        Source { block: block.collect(), left: size, at: 0 }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(most).min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at = (self.at + count) % self.block.len();
        self.left -= count as u64;
        Ok(count)
    }
}

impl File {
    pub(crate) fn run(&self, options: &Options) -> anyhow::Result<Value> {
        let server = Server::start(options)?;
        let tasks: Executor<'static> = Executor::new();
        smol::block_on(tasks.run(async {
            let client = connect(&server, &tasks, "alice").await?;
            let bytes = self.size << 20;
            let quiet = said_meanwhile(&client, async {
                Timer::after(Duration::from_secs(2)).await;
                Ok(())
            })
            .await?;

            let (cpu, mine, begun) = (server.cpu()?, own_cpu()?, Instant::now());
            let id = Cell::new(0);
            let up = said_meanwhile(&client, async {
                let sent =
                    client.send_file(offer("large.bin", bytes)?, Source::new(bytes, 1), |_| {}).await?;
                id.set(sent.id);
                Ok(())
            })
            .await?;
            let (up_time, up_cpu, up_mine) = (begun.elapsed(), server.cpu()? - cpu, own_cpu()? - mine);

            let (cpu, mine, begun) = (server.cpu()?, own_cpu()?, Instant::now());
            let down = said_meanwhile(&client, async {
                let info = client.accept_file(Cursor::at(id.get())).await?;
                client.fetch_file(&info, (0, Hasher::default()), io::sink(), |_| {}).await?;
                Ok(())
            })
            .await?;
            let (down_time, down_cpu, down_mine) = (begun.elapsed(), server.cpu()? - cpu, own_cpu()? - mine);

            let grown = self.parallel(&server, &tasks, bytes / 20).await?;
            let rate = |time: Duration| round(bytes as f64 / 1e6 / time.as_secs_f64());
            let per_gib = |cpu: f64| round(cpu / (bytes as f64 / (1u64 << 30) as f64));
            Ok(json!({
                "scenario": "file",
                "server": options.word(),
                "mib": self.size,
                "up_mb_per_s": rate(up_time),
                "down_mb_per_s": rate(down_time),
                "up_server_cpu_s_per_gib": per_gib(up_cpu),
                "up_client_cpu_s_per_gib": per_gib(up_mine),
                "down_server_cpu_s_per_gib": per_gib(down_cpu),
                "down_client_cpu_s_per_gib": per_gib(down_mine),
                "quiet_ms": quiet,
                "up_ms": up,
                "down_ms": down,
                "parallel": self.parallel,
                "rss_growth_kib": grown,
            }))
        }))
    }

    /// By how many KiB the server grows while so many are sent and fetched at a time.
    async fn parallel(&self, server: &Server, tasks: &Executor<'static>, bytes: u64) -> anyhow::Result<u64> {
        let mut clients = Vec::new();
        for number in 0..self.parallel {
            clients.push(connect(server, tasks, &format!("carrier-{number}")).await?);
        }
        let before = server.memory("status", "VmRSS")?;
        let carried = clients.into_iter().enumerate().map(|(number, client)| {
            tasks.spawn(async move {
                let seed = u8::try_from(number % 250).unwrap_or(0) + 2;
                let name = format!("{number}.bin");
                let sent = client.send_file(offer(&name, bytes)?, Source::new(bytes, seed), |_| {}).await?;
                let info = client.accept_file(Cursor::at(sent.id)).await?;
                client.fetch_file(&info, (0, Hasher::default()), io::sink(), |_| {}).await?;
                anyhow::Ok(())
            })
        });
        let carried: Vec<_> = carried.collect();
        let all = async {
            for carried in carried {
                carried.await?;
            }
            Ok(None)
        };
        let mut most = before;
        smol::pin!(all);
        loop {
            let look = async {
                Timer::after(Duration::from_millis(20)).await;
                server.memory("status", "VmRSS").map(Some)
            };
            match or(&mut all, look).await? {
                None => return Ok(most.saturating_sub(before)),
                Some(now) => most = most.max(now),
            }
        }
    }
}

fn offer(name: &str, size: u64) -> anyhow::Result<FileOffer<'static>> {
    let name = FileName::parse(name)?.into_owned();
    Ok(FileOffer {
        target: Target::Room(RoomName::LOBBY),
        size: Some(size),
        hash: None,
        name,
        kind: None,
        key: None,
        re: None,
        relayed: "".into(),
    })
}

async fn connect(server: &Server, tasks: &Executor<'static>, nick: &str) -> anyhow::Result<Client> {
    let (host, port) = (server.address.ip().to_string(), server.address.port());
    let unknown = Address::Tcp { host: host.clone(), port, pin: None };
    let pin = Some(Link::fingerprint(&unknown, &Trust::default()).await?);
    let mut options = snug_client::Options::new([Address::Tcp { host, port, pin }], Name::exactly(nick)?);
    options.quiet = true;
    options.reconnect = Duration::ZERO;
    let (client, events, driver) = Client::connect(options).await?;
    drop(events);
    tasks.spawn(driver.run()).detach();
    Ok(client)
}

/// Says something every 20 ms on a connection while work is done on it: how long each took to be committed and answered, in
/// milliseconds, as median, 99th percentile and longest.
async fn said_meanwhile(
    client: &Client,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Value> {
    let times = std::cell::RefCell::new(Vec::new());
    let saying = async {
        loop {
            Timer::after(Duration::from_millis(20)).await;
            let begun = Instant::now();
            let tags = MessageTags::default();
            client.ask(Command::Msg { room: RoomName::LOBBY, text: "meanwhile".into(), tags }).await?;
            times.borrow_mut().push(millis(begun.elapsed()));
        }
    };
    or(work, saying).await?;
    let mut times = times.into_inner();
    times.sort_by(f64::total_cmp);
    let longest = times.last().copied().context("something was said")?;
    Ok(json!([quantile(&times, 0.5), quantile(&times, 0.99), longest]))
}

/// The processor time of this process in seconds.
fn own_cpu() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind = stat.rsplit(')').next().context("a name")?;
    let ticks = |at: usize| behind.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("times")?;
    Ok((user + system) / 100.0)
}
