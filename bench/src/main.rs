//! The load generator behind every figure in the documents. See bench/README.md.
//!
//! Each scenario starts a fresh server, talks to it over loopback, is bounded in count and time, and prints a line of
//! JSON. What it measures is the server's processor time and memory, from /proc: wall-clock rates on a shared machine
//! say little.

mod crowd;
mod fan;
mod figures;
mod file;
mod floor;
mod growth;
mod idle;
mod latency;
mod load;
mod mixed;
mod options;
mod pages;
mod peers;
mod report;
mod server;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fan::{Fan, Room};

use crate::options::Options;

/// Measure what a chat server costs.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// End after so many seconds, whatever happens
    #[arg(long, default_value_t = 300, global = true)]
    timeout: u64,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// 100 members in one room, 10 of them talking, 16 messages under way each
    Fan100(Room),
    /// The same with 1,000 members
    Fan1000(Room),
    /// 100 members in one room, one talking with one message under way: nothing can be batched
    Lone100(Room),
    /// The same with 1,000 members
    Lone1000(Room),
    /// How long it takes to reach everyone
    Latency(latency::Latency),
    /// Connections that say nothing: memory of each
    Idle(idle::Idle),
    /// Connections: CPU of each connect and NICK
    Connect(idle::Idle),
    /// Many senders, each with some messages under way: messages per second, per commit, CPU of one
    Load(load::Load),
    /// A file up and down, with messages meanwhile; then many at a time: rates, CPU, memory
    File(file::File),
    /// Many rooms of all sizes, people who come and go
    Mixed(mixed::Mixed),
    /// Writes a log for history, search, startup and growth into the folder that --data names
    Fill(pages::Fill),
    /// Pages of history of a large log
    History(pages::History),
    /// First pages of searches in a large log
    Search(pages::Search),
    /// From the start of the process until it is ready
    Startup(growth::Startup),
    /// What a delivery costs with more members, rooms and history
    Growth(growth::Growth),
    /// Print results as a table
    Table(report::Table),
    /// Draw results
    Plot(report::Plot),
    /// As little as a server can do; `--server floor` runs it
    #[command(hide = true)]
    FloorServer(floor::Floor),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let Arguments { timeout, options, scenario } = Arguments::parse();
    server::set_limits();
    match &scenario {
        Scenario::FloorServer(floor) => return floor.run(),
        Scenario::Table(table) => return Ok(write!(std::io::stdout(), "{}", table.run()?)?),
        Scenario::Plot(plot) => return plot.run(),
        _ => {}
    }
    server::watch(timeout)?;
    let options = &options;
    let results = match &scenario {
        Scenario::Fan100(room) => vec![Fan::crowded(100, *room).run(options)?],
        Scenario::Fan1000(room) => vec![Fan::crowded(1_000, *room).run(options)?],
        Scenario::Lone100(room) => vec![Fan::lone(100, *room).run(options)?],
        Scenario::Lone1000(room) => vec![Fan::lone(1_000, *room).run(options)?],
        Scenario::Latency(latency) => vec![latency.run(options)?],
        Scenario::Idle(idle) => vec![idle.run(options, "idle", 10_000)?],
        Scenario::Connect(connect) => vec![connect.run(options, "connect", 3_000)?],
        Scenario::Load(load) => vec![load.run(options)?],
        Scenario::File(file) => vec![file.run(options)?],
        Scenario::Mixed(mixed) => vec![mixed.run(options)?],
        Scenario::Fill(fill) => vec![fill.run(options)?],
        Scenario::History(history) => vec![history.run(options)?],
        Scenario::Search(search) => vec![search.run(options)?],
        Scenario::Startup(startup) => vec![startup.run(options)?],
        Scenario::Growth(growth) => growth.run(options)?,
        Scenario::Table(_) | Scenario::Plot(_) | Scenario::FloorServer(_) => Vec::new(),
    };
    for result in results {
        writeln!(std::io::stdout(), "{result}")?;
    }
    Ok(())
}
