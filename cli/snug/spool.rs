//! Messages that wait for a server, in a folder.
//!
//! Each is a file with the line that says it, and a key in it, so that one that was sent and not taken away is not said
//! twice. Files are named after the moment they were put there, and sent in that order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use snug_client::{Client, RequestError};
use snug_protocol::{Command, Line, Request};

use crate::failure::{Exit, Failure};

/// See the module.
pub(crate) struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens the folder, and makes it if it is not there.
    pub(crate) fn open(folder: &Path) -> Result<Spool, Failure> {
        let spool = Spool { folder: folder.to_owned() };
        fs::create_dir_all(folder).map_err(|error| spool.failed(&error))?;
        Ok(spool)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a message behind the others. It is on the disk when this returns.
    pub(crate) fn put(&self, mut command: Command<'static>) -> Result<(), Failure> {
        if let Command::Msg { tags, .. } | Command::Priv { tags, .. } = &mut command
            && tags.key.is_none()
        {
            tags.key = Some(random().into());
        }
        let mut line = Vec::new();
        Request { label: None, command }.write(&mut line);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{:020}-{}", now.as_nanos(), &random()[..8]);
        let (part, path) =
            (self.folder.join(format!("{name}.part")), self.folder.join(format!("{name}.msg")));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
            file.write_all(&line)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| self.failed(&error))
    }

    /// The files of messages that wait, in order.
    fn waiting(&self) -> Result<Vec<PathBuf>, Failure> {
        let entries = fs::read_dir(&self.folder).map_err(|error| self.failed(&error))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "msg"))
            .collect();
        files.sort();
        Ok(files)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> Result<usize, Failure> {
        self.waiting().map(|files| files.len())
    }

    /// Sends all that waits, in order. One that the server refuses for good is put aside, so that it holds up no other.
    pub(crate) async fn send_all(
        &self,
        client: &Client,
        mut sent: impl FnMut(Option<u64>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(self.folder.join("lock"));
        let lock = lock.map_err(|error| self.failed(&error))?;
        if lock.try_lock().is_err() {
            // Whoever has it sends this one as well.
            return Ok(());
        }
        let mut refused = None;
        loop {
            let files = self.waiting()?;
            let Some(path) = files.first() else { break };
            let line = fs::read_to_string(path).map_err(|error| self.failed(&error))?;
            let command = Line::parse(line.trim_end_matches('\n')).ok();
            let command = command.and_then(|line| Request::parse(&line).ok()).map(|request| request.command);
            let Some(command) = command else {
                self.put_aside(path)?;
                refused = Some(Failure::new(Exit::Usage, format!("{} is no message", path.display())));
                continue;
            };
            match client.ask(command).await {
                Ok(answer) => {
                    fs::remove_file(path).map_err(|error| self.failed(&error))?;
                    sent(answer.id())?;
                }
                Err(error @ (RequestError::GaveUp(_) | RequestError::Lost { .. })) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    if failure.is_passing() {
                        return Err(failure);
                    }
                    self.put_aside(path)?;
                    refused = Some(
                        failure.and(&format!("it is in {} now", path.with_extension("refused").display())),
                    );
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn put_aside(&self, path: &Path) -> Result<(), Failure> {
        fs::rename(path, path.with_extension("refused")).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(Exit::Usage, format!("{}: {error}", self.folder.display()))
    }
}

fn random() -> String {
    let mut bytes = [0; 16];
    // Without randomness the daemon refuses the second text under a key.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
