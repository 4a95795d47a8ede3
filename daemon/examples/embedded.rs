//! A program with work of its own that has a chat daemon within: a build server, say, whose progress can be watched
//! and which takes orders in a room.
//!
//! `cargo run -p snug-daemon --example embedded`, and talk to it: `nc 127.0.0.1 PORT`, NICK, JOIN #build,
//! MSG #build stop.

#![allow(clippy::print_stdout, reason = "it is an example, and shows what happens")]

use std::error::Error;
use std::io;
use std::time::Duration;

use futures_lite::future;
use snug_daemon::protocol::{Body, ServerLine};
use snug_daemon::{Config, Daemon, Handle, SessionRole};

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.listen.tcp = vec!["127.0.0.1:0".parse()?];
    // Any executor will do; this is the smallest.
    future::block_on(async {
        let daemon = Daemon::bind(config).await?;
        let handle = daemon.handle();
        println!("talk to me at {}", handle.addresses()[0]);
        let work = async {
            let done = future::or(build(&handle), take_orders(&handle)).await;
            handle.stop();
            done
        };
        let ((), done) = future::zip(daemon.run(), work).await;
        for (name, value) in handle.stats().await.iter().filter(|(_, value)| *value > 0) {
            println!("{name}={value}");
        }
        Ok(done?)
    })
}

/// The program's own work: it tells about it in a room, with no socket between.
async fn build(handle: &Handle) -> io::Result<()> {
    let mut session = handle.open_session(SessionRole::Bot);
    session.send_line("NICK builder").await?;
    session.send_line("JOIN #build").await?;
    for percent in (0..=100).step_by(20) {
        session.send_line(&format!("MSG #build {percent} % done :hammer:")).await?;
        smol::Timer::after(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// What others say in the room: `stop` ends the work.
async fn take_orders(handle: &Handle) -> io::Result<()> {
    let mut session = handle.open_session(SessionRole::Guest);
    session.send_line("NICK foreman").await?;
    session.send_line("JOIN #build").await?;
    while let Some(line) = session.next_line().await? {
        println!("{line}");
        if let Some(ServerLine { from: Some(from), body: Body::Entry { text: Some(text), .. }, .. }) =
            ServerLine::parse(&line)
            && text == "stop"
        {
            session.send_line(&format!("MSG #build stopping, because {from} said so")).await?;
            return Ok(());
        }
    }
    Ok(())
}
