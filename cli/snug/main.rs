//! `snug`: the helper for scripts and people. One line sends, one line listens.

mod failure;
mod output;
mod pipe;
mod place;
mod rooms;
mod send;
mod tail;
mod who;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Talk through a snug daemon, from the shell.
///
/// Exit codes: 0 done, 1 refused by the server, 2 wrong usage, 3 not found, 4 name or authentication,
/// 69 no server, 75 try again later, 78 configuration.
#[derive(Parser)]
#[command(name = "snug", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Sub,
}

/// What every command takes.
#[derive(Args)]
struct Common {
    /// The server: host[:port], snug://host[:port] or unix:/path [default: the Unix socket, then 127.0.0.1:7684]
    #[arg(long, short, global = true, value_name = "ADDRESS", env = "SNUG_SERVER")]
    server: Option<snug_client::Address>,

    /// The name to go by [default: $USER, or $USER-2 and so on if that is taken]
    #[arg(long, short, global = true, value_name = "NAME", env = "SNUG_NICK")]
    nick: Option<String>,

    /// Print JSON, one object per line, also for errors
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Sub {
    /// Say something in a room or to a person
    Send(send::Send),
    /// Print what is said, as it is said
    Tail(tail::Tail),
    /// List who is here, or in a room
    Who(who::Who),
    /// List the rooms
    Rooms,
    /// Connect stdin and stdout to the server: lines of the protocol, as with nc
    Pipe,
}

fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let done = smol::block_on(async {
        match command {
            Sub::Send(send) => send.run(&common).await,
            Sub::Tail(tail) => tail.run(&common).await,
            Sub::Who(who) => who.run(&common).await,
            Sub::Rooms => rooms::run(&common).await,
            Sub::Pipe => pipe::run(&common).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(common.json),
    }
}
