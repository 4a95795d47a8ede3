//! A command on its way, and its answer on the way back.

use std::convert::Infallible;
use std::sync::Arc;

use async_channel::{Receiver, Sender};

use crate::error::RequestError;
use crate::event::Answer;

/// A command to be said.
pub(crate) struct Job<R> {
    /// The line as it is written, with its end and without tags of the whole request.
    pub(crate) request: Vec<u8>,
    /// What stands behind the line, which has announced it.
    pub(crate) bytes: Option<Arc<Vec<u8>>>,
    /// Whether it may be said again when its answer is lost.
    pub(crate) is_repeatable: bool,
    /// Where its answer goes.
    pub(crate) reply: R,
}

/// Where an answer goes.
pub(crate) struct Reply {
    answer: Sender<Result<Answer, RequestError>>,
    /// Dropped when the answer is there.
    _unanswered: Sender<Infallible>,
}

impl Reply {
    /// Gives the answer. Whoever asked may have lost interest.
    pub(crate) fn give(self, answer: Result<Answer, RequestError>) {
        let _ = self.answer.try_send(answer);
    }
}

/// A command whose answer is still to come.
pub struct Pending {
    answer: Receiver<Result<Answer, RequestError>>,
    /// Closed when the answer is there.
    answered: Receiver<Infallible>,
}

impl Pending {
    /// Where an answer goes, and where it comes.
    pub(crate) fn new() -> (Reply, Pending) {
        let (sender, answer) = async_channel::bounded(1);
        let (unanswered, answered) = async_channel::bounded(1);
        (Reply { answer: sender, _unanswered: unanswered }, Pending { answer, answered })
    }

    /// The answer to nothing: there is none.
    pub(crate) fn nothing() -> Pending {
        Pending { answer: async_channel::bounded(1).1, answered: async_channel::bounded(1).1 }
    }

    /// As [`Pending::answer`]; what answers nothing is done.
    pub(crate) async fn answer_if_any(self) -> Result<(), RequestError> {
        match self.answer.recv().await {
            Ok(answer) => answer.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the answer is there, without taking it.
    pub async fn ready(&self) {
        // Nothing is ever sent: this ends when the channel is closed.
        let _ = self.answered.recv().await;
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// A [`RequestError`] that says why there is no OK.
    pub async fn answer(self) -> Result<Answer, RequestError> {
        let lost = |_| Err(RequestError::Lost { reason: "the connection is closed".to_owned() });
        self.answer.recv().await.unwrap_or_else(lost)
    }
}
