//! `snug`: the helper for scripts and people. One line sends, one line listens.

mod account;
mod admin;
mod ask;
mod bot;
mod chat;
mod connect;
mod cursor_file;
mod environment;
mod export;
mod failure;
mod file;
mod history;
mod on;
mod output;
mod pipe;
mod profile;
mod room;
mod rooms;
mod run;
mod send;
mod show;
mod since;
mod spool;
mod tail;
mod token;
mod top;
mod trust;
mod who;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::environment::Common;

/// Talk through a snug daemon, from the shell.
///
/// Exit codes: 0 done, 1 refused by the server, 2 wrong usage, 3 not found, 4 name, account or authentication,
/// 69 no server, 75 try again later, 78 configuration.
#[derive(Parser)]
#[command(name = "snug", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    // What has no text here has it at its type.
    Chat(chat::Chat),
    Send(send::Send),
    Run(run::Run),
    On(on::On),
    Ask(ask::Ask),
    /// Bots of one's own: run one by hand, begin a new one, test one of the box
    #[command(subcommand)]
    Bot(bot::Bot),
    /// Send files to a room or a person, and fetch them
    #[command(subcommand)]
    File(file::File),
    Tail(tail::Tail),
    History(history::History),
    Search(history::Search),
    /// Write everything that was said in a room or with a person
    Export(export::Export),
    /// List who is here, or in a room
    Who(who::Who),
    /// List the rooms
    Rooms,
    /// Connect stdin and stdout to the server: lines of the protocol, as with nc
    Pipe,
    /// Print the fingerprint that a server shows, without trusting it
    Fingerprint(trust::Show),
    /// Trust a server from now on
    Trust(trust::Trust),
    /// Make an account on the server
    Register(account::Register),
    /// Use an invite: trust the server that it names, and make an account there
    Join(account::Join),
    /// Make an invite: one line that makes one account
    Invite(account::Invitation),
    /// Be an account of the server from now on, with its password this once
    Login(account::LogIn),
    /// Forget which account one has on the server
    Logout,
    /// Change the account's password, or set a first one
    Passwd,
    /// Delete the account
    Unregister(account::Unregister),
    /// The keys that log in to the account
    #[command(subcommand)]
    Key(account::Key),
    /// Tokens, with which scripts do one thing and nothing else
    #[command(subcommand)]
    Token(token::Token),
    /// Tell how one is here: online, away or busy
    Status(profile::Status),
    /// Show somebody's profile, or change one's own
    Profile(profile::Profile),
    /// Rooms: their settings, who is what, and keeping order
    #[command(subcommand)]
    Room(room::Room),
    /// Run the daemon: its own user over the Unix socket, and operators
    Admin(admin::Admin),
    /// Show how the daemon is doing, live
    Top(top::Top),
}

fn main() -> ExitCode {
    let Arguments { common, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misuse(&error),
    };
    let done = smol::block_on(connect::TASKS.run(async {
        let done = command.run(&common).await;
        connect::say_goodbye().await;
        done
    }));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(common.json),
    }
}

impl Sub {
    /// Does it, and gives the exit code.
    async fn run(self, common: &Common) -> Result<u8, failure::Failure> {
        let done = match self {
            Sub::Run(run) => return run.run(common).await,
            Sub::Ask(ask) => return ask.run(common).await,
            Sub::Chat(chat) => chat.run(common).await,
            Sub::Send(send) => send.run(common).await,
            Sub::Bot(bot) => return bot.run(common).await,
            Sub::On(on) => on.run(common).await,
            Sub::File(file) => file.run(common).await,
            Sub::Tail(tail) => tail.run(common).await,
            Sub::History(history) => history.run(common).await,
            Sub::Search(search) => search.run(common).await,
            Sub::Export(export) => export.run(common).await,
            Sub::Register(register) => register.run(common).await,
            Sub::Join(join) => join.run(common).await,
            Sub::Invite(invite) => invite.run(common).await,
            Sub::Login(login) => login.run(common).await,
            Sub::Logout => account::log_out(common),
            Sub::Passwd => account::passwd(common, None).await,
            Sub::Unregister(unregister) => unregister.run(common).await,
            Sub::Key(key) => key.run(common).await,
            Sub::Token(token) => token.run(common).await,
            Sub::Status(status) => status.run(common).await,
            Sub::Profile(profile) => profile.run(common).await,
            Sub::Room(room) => room.run(common).await,
            Sub::Admin(admin) => admin.run(common).await,
            Sub::Top(top) => top.run(common).await,
            Sub::Who(who) => who.run(common).await,
            Sub::Rooms => rooms::run(common).await,
            Sub::Pipe => pipe::run(common).await,
            Sub::Fingerprint(show) => show.run(common).await,
            Sub::Trust(trust) => trust.run(common).await,
        };
        done.map(|()| 0)
    }
}

/// Says what is wrong with the arguments, or what was asked about them.
fn misuse(error: &clap::Error) -> ExitCode {
    let is_failure = error.use_stderr();
    if is_failure && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return failure::Failure::new(failure::Exit::Usage, first).report(true);
    }
    // A closed stdout or stderr is nobody who reads.
    let _ = error.print();
    ExitCode::from(if is_failure { 2 } else { 0 })
}
