//! The daemon of snug, to be embedded in any Rust program and run on any executor.
//!
//! ```
//! use snug_daemon::{Config, Daemon, SessionRole};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.listen.tcp = vec!["127.0.0.1:0".parse()?];
//! # smol::block_on(async {
//! let daemon = Daemon::bind(config).await?;
//! let handle = daemon.handle();
//! println!("listening on {:?}", handle.addresses());
//! let work = async {
//!     let mut session = handle.open_session(SessionRole::Bot);
//!     session.send_line("NICK embedder").await?;
//!     session.send_line("MSG #lobby hello from within").await?;
//!     // ...
//!     handle.stop();
//!     Ok(())
//! };
//! let (_, result) = futures_lite::future::zip(daemon.run(), work).await;
//! # result })
//! # }
//! ```
//!
//! The library reads no environment and no home directory, installs no signal handler, prints nothing and never
//! ends the process: that is for the program around it.

pub use snug_protocol as protocol;

pub mod config;
pub use config::Config;

mod daemon;
pub use daemon::{Builder, Daemon, Handle, SessionRole, StartError};

mod hooks;
pub use hooks::{Login, Policy, Programs, Who};

mod refusal;
pub use refusal::Refusal;

mod environment;
pub use environment::{Clock, Environment, Random};

pub mod keys;

mod retention;
pub use retention::{Retention, RetentionError};

mod net;
pub use net::local::{LocalReader, LocalSession, LocalWriter};

mod log;
pub use log::{Finding, LogError, Report, check_data};

mod answer;
mod bots;
mod content_store;
mod core;
mod cost;
mod fair_queue;
mod origin;
mod platform;
mod registry;
mod session;
mod steady_clock;
mod throttle;
mod workers;

#[cfg(test)]
mod layers;
