//! Verbs for who runs the daemon: BACKUP.

use std::path::PathBuf;
use std::sync::Arc;

use snug_protocol::{Code, escape_text};

use super::{Answer, Answered, Session, refusal};
use crate::log::{self, Place, Refusal};

impl Session {
    pub(super) fn backup(
        &mut self,
        path: &str,
        size: usize,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        if !self.is_operator() {
            let text = "only operators make backups: the daemon's own user, over the Unix socket";
            return Err(refusal(Code::Denied, text));
        }
        let Place::Folder { folder, .. } = self.core.place.clone() else {
            let text = "the log lives in memory and has no backup; set log.history = \"disk\"";
            return Err(refusal(Code::Unavailable, text));
        };
        let to = PathBuf::from(path);
        if !to.is_absolute() {
            return Err(refusal(Code::BadParameter, "a backup has an absolute path on the daemon's machine"));
        }
        self.barrier = true;
        self.peer.begin(size);
        let (peer, waiting) = (Arc::clone(&self.peer), answer.take());
        let shown = escape_text(path).into_owned();
        // A large log takes its time: a thread of its own, so that it holds up no other reader.
        let work = move || {
            let answer = match log::back_up(&folder, &to) {
                Ok(()) => waiting.ok(Some(&shown)),
                Err(Refusal { code, text }) => waiting.err(code, &text),
            };
            peer.settle(size, &answer);
        };
        match std::thread::Builder::new().name("snug-backup".to_owned()).spawn(work) {
            Ok(_) => Ok(Answered::UnderWay),
            Err(error) => {
                self.peer.settle(size, b"");
                Err(refusal(Code::Unavailable, &format!("there is no thread for it: {error}")))
            }
        }
    }
}
