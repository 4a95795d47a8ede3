//! The answer to a command that other threads work on.

use std::sync::Arc;

use snug_protocol::Code;

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::registry::outbox::Piece;
use crate::registry::peer::Peer;

/// The duty to answer one command. From [`Responder::new`] on, the command counts as under way in its session. It is
/// answered exactly once: a responder that is dropped without an answer, because the daemon takes no more work,
/// answers with a refusal.
pub(crate) struct Responder {
    peer: Arc<Peer>,
    /// `None` once it has been given.
    answer: Option<Answer>,
}

impl Responder {
    /// Takes the answer over from the session.
    pub(crate) fn new(peer: &Arc<Peer>, answer: &mut Answer) -> Responder {
        peer.begin(answer.size);
        Responder { peer: Arc::clone(peer), answer: Some(answer.take()) }
    }

    /// Returns the session that waits for the answer.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Returns the bytes that the command counts for while it is under way.
    pub(crate) fn size(&self) -> usize {
        self.answer.as_ref().map_or(0, |answer| answer.size)
    }

    /// Returns the answer so far, to add rows and the tags of the OK.
    pub(crate) fn answer(&mut self) -> &mut Answer {
        self.answer.get_or_insert_with(|| Answer::new("-", None))
    }

    /// Answers with the parameters of the OK, or with a refusal, which replaces all rows.
    pub(crate) fn give(mut self, outcome: Result<Option<String>, Refusal>) {
        self.settle(|answer| match outcome {
            Ok(params) => answer.ok(params.as_deref()),
            Err(refusal) => answer.refuse(&refusal),
        });
    }

    /// Settles the command without an answer, because the client is gone.
    pub(crate) fn give_nothing(mut self) {
        self.settle(|_| Vec::new());
    }

    /// Answers with the rows so far, the last of which announces `bytes`, then with the bytes and an OK.
    pub(crate) fn give_bytes(mut self, bytes: Vec<u8>, params: &str) {
        if let Some(mut answer) = self.answer.take() {
            let size = answer.size;
            let head = std::mem::take(answer.lines());
            self.peer.settle_with_piece(size, Piece { head, bytes, tail: answer.ok(Some(params)) });
        }
    }

    /// Settles the command without an answer and returns its label, for a caller that answers in another way. The
    /// caller must have called [`Peer::begin`] for that before.
    pub(crate) fn into_label(mut self) -> Option<String> {
        let label = self.answer().label().map(str::to_owned);
        self.settle(|_| Vec::new());
        label
    }

    fn settle(&mut self, lines: impl FnOnce(Answer) -> Vec<u8>) {
        if let Some(answer) = self.answer.take() {
            let size = answer.size;
            self.peer.spent.add(answer.cost);
            self.peer.settle(size, &lines(answer));
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let refusal = match std::thread::panicking() {
            true => Refusal::new(Code::Unavailable, "the daemon could not do this; tell its operator"),
            false => Refusal::stopping(),
        };
        self.settle(|answer| answer.refuse(&refusal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::origin::Origin;
    use crate::registry::outbox::Budget;

    fn peer() -> Arc<Peer> {
        Arc::new(Peer::new(
            1,
            Origin::Embedder(snug_protocol::Role::Operator),
            0,
            Arc::new(Budget::new(&Limits::default())),
        ))
    }

    fn answer() -> Answer {
        Answer::new("HISTORY", Some("7".to_owned())).of_size(100)
    }

    #[test]
    fn a_command_is_answered_once_with_its_label() {
        let peer = peer();
        let responder = Responder::new(&peer, &mut answer());
        assert!(!peer.in_flight().is_empty());
        responder.give(Ok(Some("#lobby end".to_owned())));
        assert!(peer.in_flight().is_empty());
        assert_eq!(peer.drain(), b"@ref=7 OK HISTORY #lobby end\n");
    }

    #[test]
    fn one_that_nobody_answers_is_told_that_the_daemon_stops() {
        let peer = peer();
        drop(Responder::new(&peer, &mut answer()));
        assert!(peer.in_flight().is_empty());
        let heard = String::from_utf8(peer.drain()).expect("UTF-8");
        assert!(heard.starts_with("@ref=7 ERR HISTORY shutting-down "), "{heard}");
        let responder = Responder::new(&peer, &mut answer());
        responder.give_nothing();
        assert!(peer.in_flight().is_empty() && peer.drain().is_empty());
    }
}
