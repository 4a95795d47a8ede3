//! The load generator behind every figure in the documents. See bench/README.md.
//!
//! Each scenario starts a fresh `snugd` (the one built beside this program), talks to it over loopback, is bounded
//! in count and time, and prints one line of JSON. What it measures is the server's processor time and memory, from
//! /proc: wall-clock rates on a shared machine say little.

mod envelope;
mod fan;
mod idle;
mod load;
mod search;
mod server;
mod wire;

use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand};
use futures_lite::FutureExt;
use server::Server;

/// Measure what a snug daemon costs.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// End after so many seconds, whatever happens
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// What the server's log.durability is
    #[arg(long, default_value = "process", value_parser = ["process", "power-loss"], global = true)]
    durability: String,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Many members in one room, some of them talking: CPU per delivery, nothing lost, one order for all
    Fan(fan::Fan),
    /// Many connections that say nothing: memory per connection, CPU per connect and NICK
    Idle(idle::Idle),
    /// Many senders, each with some messages under way: messages per second, per commit, CPU of one
    Load(load::Load),
    /// A large log: a first page of a search, and a page of history
    Search(search::Search),
    /// The envelope by itself, without a server: handshakes, sealing, opening
    Envelope(envelope::Envelope),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    server::raise_open_files();
    if let Scenario::Envelope(envelope) = &arguments.scenario {
        writeln!(std::io::stdout(), "{}", envelope.run()?)?;
        return Ok(());
    }
    let server = Server::start(&arguments.durability)?;
    let executor = smol::LocalExecutor::new();
    let work = async {
        match &arguments.scenario {
            Scenario::Load(load) => load.run(server, &executor).await,
            Scenario::Search(search) => search.run(&server).await,
            Scenario::Fan(fan) => fan.run(&server, &executor).await,
            Scenario::Idle(idle) => idle.run(&server).await,
            Scenario::Envelope(envelope) => envelope.run(),
        }
    };
    let overdue = async {
        smol::Timer::after(Duration::from_secs(arguments.timeout)).await;
        bail!("not done after {} s", arguments.timeout)
    };
    let result = smol::block_on(executor.run(work.or(overdue)))?;
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}
