//! `snug admin`: what only the daemon's operators may do.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use snug_protocol::Command;

use crate::failure::{Exit, Failure};
use crate::place::{self, Part};
use crate::{Common, output};

/// Run the daemon: for its own user, over the Unix socket
#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Write a copy of the log to a new file, while the daemon goes on
    ///
    /// To restore it, stop the daemon and put the copy in the place of log.db in its data folder, without log.db-wal,
    /// log.db-shm and search.db. The folder's identity.key is not in it: keep a copy of that as well, once.
    Backup {
        /// The new file, on the daemon's machine
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Admin {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let Sub::Backup { file } = self.command;
        let path = std::path::absolute(&file)?;
        let Some(path) = path.to_str() else {
            return Err(Failure::new(Exit::Usage, "the file's path is not UTF-8"));
        };
        let (client, events) = place::connect(common, Part::Asker).await?;
        drop(events);
        client.ask(Command::Backup { path: path.into() }).await?;
        if common.json {
            let mut object = serde_json::Map::new();
            object.insert("file".to_owned(), path.into());
            return Ok(output::print(&output::json(object))?);
        }
        Ok(output::print(&output::visible(path))?)
    }
}
