//! The handle on a connection.

use std::sync::Arc;

use async_channel::{Receiver, Sender};
use ring::rand::{SecureRandom, SystemRandom};
use snug_protocol::Command;

use crate::driver::Driver;
use crate::error::{ConnectError, RequestError};
use crate::event::{Answer, Event};
use crate::options::Options;
use crate::request::{Job, Pending, Reply};

/// A connection, from outside. Clones are the same connection's.
#[derive(Clone)]
pub struct Client {
    jobs: Sender<Job<Reply>>,
    random: SystemRandom,
}

impl Client {
    /// How many commands may wait for the driver before the next one waits for them.
    const JOBS: usize = 256;

    /// How many events may wait to be taken before the driver reads no more.
    const EVENTS: usize = 1_024;

    /// Connects and takes the name. The driver has to run for anything to happen after that. Events have to be
    /// taken, or their receiver dropped: a connection whose events pile up is not read.
    ///
    /// # Errors
    /// A [`ConnectError`] that says why there is no connection. Later losses are events.
    pub async fn connect(options: Options) -> Result<(Client, Receiver<Event>, Driver), ConnectError> {
        let (jobs, waiting) = async_channel::bounded(Client::JOBS);
        let (events, receiver) = async_channel::bounded(Client::EVENTS);
        let driver = Driver::connect(options, waiting, events).await?;
        Ok((Client { jobs, random: SystemRandom::new() }, receiver, driver))
    }

    /// Says a command and waits for its answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn ask(&self, command: Command<'_>) -> Result<Answer, RequestError> {
        self.begin(command).await.answer().await
    }

    /// Hands a command to the driver without waiting for its answer, so that many can be under way. They take
    /// effect, and are answered, in the order in which they were handed over. Waits while too many are.
    ///
    /// A message without a key gets one, so that it can be repeated after a loss without being said twice.
    pub async fn begin(&self, command: Command<'_>) -> Pending {
        self.begin_with(command, None).await
    }

    /// Says a command with bytes behind it, and waits for its answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn ask_with(&self, command: Command<'_>, bytes: Vec<u8>) -> Result<Answer, RequestError> {
        self.begin_with(command, Some(Arc::new(bytes))).await.answer().await
    }

    pub(crate) async fn begin_with(&self, mut command: Command<'_>, bytes: Option<Arc<Vec<u8>>>) -> Pending {
        if let Command::Msg { tags, .. } | Command::Priv { tags, .. } = &mut command
            && tags.key.is_none()
        {
            tags.key = Some(self.random_key().into());
        }
        if let Command::Edit { key: key @ None, .. } = &mut command {
            *key = Some(self.random_key().into());
        }
        let (reply, pending) = Pending::new();
        // Words are written as they are; those of messages are checked by their types.
        let is_message = matches!(command, Command::Msg { .. } | Command::Priv { .. });
        if !is_message && !reads_back(&command) {
            reply.give(Err(RequestError::Malformed));
            return pending;
        }
        let request = match &bytes {
            None => write(&command),
            Some(bytes) => {
                let mut request = format!("@bytes={}", bytes.len()).into_bytes();
                let written = write(&command);
                request.push(if written.starts_with(b"@") { b';' } else { b' ' });
                request.extend_from_slice(written.strip_prefix(b"@").unwrap_or(&written));
                request
            }
        };
        let job = Job { request, bytes, is_repeatable: command.is_repeatable(), reply };
        // If the driver is gone, so is the reply's sender: the answer says so.
        let _ = self.jobs.send(job).await;
        pending
    }

    /// Takes no more commands; the driver ends when the last one is answered.
    pub fn finish(&self) {
        self.jobs.close();
    }

    fn random_key(&self) -> String {
        let mut bytes = [0; 10];
        // Without randomness the key is a constant, and the daemon refuses the second text under it.
        let _ = self.random.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether what would be said is what is meant.
fn reads_back(command: &Command<'_>) -> bool {
    let written = write(command);
    let Ok(line) = std::str::from_utf8(&written[..written.len() - 1]) else { return false };
    let Ok(line) = snug_protocol::Line::parse(line) else { return false };
    !written[..written.len() - 1].contains(&b'\n')
        && snug_protocol::Request::parse(&line).is_ok_and(|read| read.command == *command)
}

/// The command as a line, without tags of the whole request: the driver adds those.
fn write(command: &Command<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    snug_protocol::Request { label: None, command: command.clone() }.write(&mut line);
    line
}
