//! Why a session ends, and what its peer and the others are told.

use snug_protocol::Code;

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It sent QUIT, perhaps with a text.
    Quit(Option<String>),
    /// The peer closed its side.
    Closed,
    /// The connection broke.
    Lost,
    /// An envelope was invalid, for this reason. The peer gets no ERR, because it may not be who it seemed to be.
    Broken(&'static str),
    /// The daemon ended it, with this code and text.
    Dismissed(Code, String),
}

impl Ending {
    /// Returns the reason that the end of a sealed stream carries; empty unless the daemon ended the session.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Ending::Quit(_) | Ending::Closed | Ending::Lost => "",
            Ending::Broken(text) => text,
            Ending::Dismissed(code, _) => code.word(),
        }
    }

    /// Returns the text of QUIT that the others see.
    pub(crate) fn farewell(&self) -> Option<String> {
        match self {
            Ending::Quit(text) => text.clone(),
            Ending::Closed => None,
            Ending::Lost | Ending::Broken(_) => Some("connection lost".to_owned()),
            Ending::Dismissed(code, _) => Some(code.word().to_owned()),
        }
    }
}
