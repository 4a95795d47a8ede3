//! Which server is measured, and how.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::wire::Dialect;

/// Which server is measured, and how.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Which server
    #[arg(long, value_enum, default_value_t = Kind::Snug, global = true)]
    pub(crate) server: Kind,
    /// What is spoken; by default that server's own language in the clear
    #[arg(long, value_enum, global = true)]
    pub(crate) dialect: Option<Dialect>,
    /// What snugd's log.durability is
    #[arg(long, default_value = "process", value_parser = ["process", "power-loss"], global = true)]
    pub(crate) durability: String,
    /// What snugd's limits.connections is
    #[arg(long, default_value_t = 0, global = true)]
    pub(crate) pace: u64,
    /// How many threads snugd serves connections with; its default if this is not given
    #[arg(long, global = true)]
    pub(crate) threads: Option<usize>,
    /// snugd's data folder, which stays; by default a fresh one that goes
    #[arg(long, global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Settings for snugd beside those of bench/snug.toml
    #[arg(long, global = true)]
    pub(crate) settings: Option<PathBuf>,
    /// The server's program, where it is not the one in PATH, or beside this program
    #[arg(long, global = true)]
    pub(crate) program: Option<PathBuf>,
    /// For another server, which runs already: its address
    #[arg(long, global = true, requires = "pid")]
    pub(crate) attach: Option<SocketAddr>,
    /// And its process
    #[arg(long, global = true, requires = "attach")]
    pub(crate) pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The snugd beside this program, with bench/snug.toml.
    Snug,
    /// InspIRCd, with bench/peers/inspircd.conf.
    Inspircd,
    /// ngIRCd, with bench/peers/ngircd.conf.
    Ngircd,
    /// Ergo, with bench/peers/ergo.yaml; needs --program.
    Ergo,
    /// A stub that finds newlines and writes once per client and poll: as little as a server can do.
    Floor,
}

impl Options {
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or(match (self.server, self.attach) {
            (Kind::Floor, _) | (_, Some(_)) => Dialect::Raw,
            (Kind::Snug, None) => Dialect::Clear,
            _ => Dialect::Irc,
        })
    }

    /// Its name in the results, with what is not as in bench/snug.toml.
    pub(crate) fn word(&self) -> String {
        if self.attach.is_some() {
            return "attached".to_owned();
        }
        let mut word = format!("{:?}", self.server).to_lowercase();
        if let Some(threads) = self.threads {
            word.push_str(&format!(", threads = {threads}"));
        }
        if self.durability != "process" {
            word.push_str(&format!(", {}", self.durability));
        }
        if let Some(name) = self.settings.as_ref().and_then(|path| path.file_stem()) {
            word.push_str(&format!(", {}", name.to_string_lossy()));
        }
        word
    }
}
