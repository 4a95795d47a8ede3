//! A command in flight, and the way of its answer back to the caller.

use std::convert::Infallible;
use std::sync::Arc;

use async_channel::{Receiver, Sender};

use crate::error::RequestError;
use crate::event::{Answer, Event, Ticket};

/// A command to send.
pub(crate) struct Job<R> {
    /// The line with its newline, without the tags of the whole request.
    pub(crate) request: Vec<u8>,
    /// The bytes behind the line, which announces them.
    pub(crate) bytes: Option<Arc<Vec<u8>>>,
    /// Whether the command may be sent again if its answer is lost.
    pub(crate) is_repeatable: bool,
    /// Whether lines with its label and a source are events that it causes, and no rows.
    pub(crate) causes_event: bool,
    /// Whether somebody waits for the answer itself, and not for the event that has it.
    pub(crate) is_awaited: bool,
    /// Where the answer goes.
    pub(crate) reply: R,
}

/// Where an answer goes.
pub(crate) enum Reply {
    /// To a [`Pending`].
    Awaited {
        answer: Sender<Result<Answer, RequestError>>,
        /// Dropped when the answer is given, which wakes [`Pending::ready`].
        _unanswered: Sender<Infallible>,
    },
    /// Among the events.
    Event(Ticket),
}

impl Reply {
    /// Gives the answer, or returns the event that it is. The caller may have dropped the [`Pending`].
    pub(crate) fn give(self, answer: Result<Answer, RequestError>) -> Option<Event> {
        match self {
            Reply::Awaited { answer: sender, .. } => {
                let _ = sender.try_send(answer);
                None
            }
            Reply::Event(ticket) => Some(Event::Answered { ticket, answer }),
        }
    }
}

/// A command whose answer is still to come, from [`Client::begin`](crate::Client::begin).
///
/// ```no_run
/// # use snug_client::{Client, Name, Options};
/// use futures_lite::FutureExt;
/// use snug_protocol::Command;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # smol::block_on(async {
/// # let options = Options::new(["chat.example".parse()?], Name::exactly("alice")?);
/// # let (client, _events, driver) = Client::connect(options).await?;
/// # smol::spawn(driver.run()).detach();
/// let pending = client.begin(Command::Ping { label: None }).await;
/// let hint = async {
///     smol::Timer::after(std::time::Duration::from_secs(2)).await;
///     println!("still waiting for the server");
/// };
/// pending.ready().or(hint).await; // Whichever comes first; the answer is not lost.
/// pending.answer().await?;
/// # Ok(()) })
/// # }
/// ```
pub struct Pending {
    answer: Receiver<Result<Answer, RequestError>>,
    /// Closed when the answer is given.
    answered: Receiver<Infallible>,
}

impl Pending {
    /// Returns the two halves of an answer's channel.
    pub(crate) fn new() -> (Reply, Pending) {
        let (sender, answer) = async_channel::bounded(1);
        let (unanswered, answered) = async_channel::bounded(1);
        (Reply::Awaited { answer: sender, _unanswered: unanswered }, Pending { answer, answered })
    }

    /// Returns a `Pending` that never gets an answer, because no command was sent.
    pub(crate) fn nothing() -> Pending {
        Pending { answer: async_channel::bounded(1).1, answered: async_channel::bounded(1).1 }
    }

    /// As [`Pending::answer`], but if no answer can come any more, that is no error.
    pub(crate) async fn answer_if_any(self) -> Result<(), RequestError> {
        match self.answer.recv().await {
            Ok(answer) => answer.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the answer has come, without taking it. Returns at once if none can come any more.
    pub async fn ready(&self) {
        // Nothing is ever sent on this channel: it is closed when the answer is given.
        let _ = self.answered.recv().await;
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Returns a [`RequestError`] if the command is not answered with OK.
    pub async fn answer(self) -> Result<Answer, RequestError> {
        let lost = |_| Err(RequestError::Lost { reason: "the connection is closed".to_owned() });
        self.answer.recv().await.unwrap_or_else(lost)
    }
}
