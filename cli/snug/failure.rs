//! What can go wrong, and the exit code for it.

use std::io::{self, Write};
use std::process::ExitCode;

use snug_client::{Address, ConnectError, RequestError, TransferError};
use snug_protocol::Code;
use snug_protocol::envelope::{Fingerprint, HandshakeError};

use crate::output;

/// Why a command failed. The numbers are sysexits.h's where it has one.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// The code's word, if the server said one.
    code: Option<String>,
    text: String,
    /// Whether it has been said.
    is_said: bool,
}

/// The exit codes, as `snug --help` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Whoever read stdout has had enough. That is no failure.
    Quietly = 0,
    Refused = 1,
    Usage = 2,
    NotFound = 3,
    Identity = 4,
    NoServer = 69,
    TryAgain = 75,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, code: None, text: text.into(), is_said: false }
    }

    /// What is said about a server whose key is another one.
    pub(crate) fn changed(address: &Address, expected: Fingerprint, offered: Fingerprint) -> Failure {
        let text = format!(
            "THE KEY OF {address} HAS CHANGED. Somebody may be in the middle, reading along; or the server has a new key. \
             Nothing was said to it.\n  known:   {expected}\n  offered: {offered}\nAsk whoever runs the server. If the \
             new one is right: snug trust {address} {offered}"
        );
        Failure::new(Exit::Identity, text)
    }

    /// Whether the server refused with this code.
    pub(crate) fn has_code(&self, code: Code) -> bool {
        self.code.as_deref() == Some(code.word())
    }

    /// Whether it is the connection that failed, and not what was asked.
    pub(crate) fn is_lost(&self) -> bool {
        self.code.is_none() && matches!(self.exit, Exit::TryAgain | Exit::NoServer)
    }

    /// Whether it may go another time.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.exit, Exit::TryAgain | Exit::NoServer)
    }

    /// The same, said already.
    pub(crate) fn quietly(mut self) -> Failure {
        self.is_said = true;
        self
    }

    /// What the server's code means for a script.
    fn refused(code: String, text: String) -> Failure {
        let exit = match code.parse() {
            Ok(
                Code::NoSuchRoom | Code::NoSuchNick | Code::NoSuchEntry | Code::NoSuchFile | Code::NoSuchBot,
            ) => Exit::NotFound,
            Ok(
                Code::NickTaken
                | Code::LooksAlike
                | Code::BadNick
                | Code::NickNeeded
                | Code::LoginNeeded
                | Code::BadLogin
                | Code::InviteNeeded
                | Code::OutOfScope
                | Code::Banned
                | Code::Kicked
                | Code::ClearText,
            ) => Exit::Identity,
            Ok(
                Code::SlowDown
                | Code::Muted
                | Code::TooMany
                | Code::Unavailable
                | Code::StorageFull
                | Code::ShuttingDown
                | Code::Timeout,
            ) => Exit::TryAgain,
            _ => Exit::Refused,
        };
        Failure { exit, code: Some(code), text, is_said: false }
    }

    /// The same failure, with something said behind it.
    pub(crate) fn and(mut self, more: &str) -> Failure {
        self.text.push_str("; ");
        self.text.push_str(more);
        self
    }

    /// The same failure, with something said before it.
    pub(crate) fn at(mut self, place: &str) -> Failure {
        self.text = format!("{place}: {}", self.text);
        self
    }

    /// Says it on stderr, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if self.exit != Exit::Quietly && !self.is_said {
            let line = if json {
                let mut object = serde_json::Map::new();
                object.insert("type".to_owned(), "error".into());
                if let Some(code) = &self.code {
                    object.insert("code".to_owned(), code.as_str().into());
                }
                object.insert("text".to_owned(), self.text.as_str().into());
                object.insert("exit".to_owned(), (self.exit as u8).into());
                output::json(object)
            } else {
                let code = self.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
                let lines: Vec<String> =
                    format!("{code}{}", self.text).split('\n').map(output::visible).collect();
                format!("snug: {}", lines.join("\n"))
            };
            let _ = writeln!(io::stderr(), "{line}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Failure {
        match error {
            ConnectError::Refused { code, text } => Failure::refused(code.clone(), text.clone()),
            ConnectError::Lost { .. } => Failure::new(Exit::TryAgain, error.to_string()),
            ConnectError::Key { .. } => Failure::new(Exit::Identity, error.to_string()),
            ConnectError::Unknown { address, offered } => Failure::new(
                Exit::Identity,
                format!(
                    "{address} is not known, and shows the fingerprint {offered}; compare it with what `snugd \
                     fingerprint` prints there, and if it is the same: snug trust {address} {offered}"
                ),
            ),
            ConnectError::Changed { address, expected, offered } => {
                Failure::changed(address, *expected, *offered)
            }
            ConnectError::Handshake { error: HandshakeError::Refused { code, .. }, .. }
                if matches!(code.as_str(), "busy" | "too-many" | "shutting-down" | "timeout") =>
            {
                Failure::new(Exit::TryAgain, error.to_string())
            }
            ConnectError::Handshake { .. } => Failure::new(Exit::Identity, error.to_string()),
            ConnectError::NoServer { .. } => Failure::new(
                Exit::NoServer,
                format!("{error} (start snugd, or say where it is with --server)"),
            ),
            _ => Failure::new(Exit::NoServer, error.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::from(&error)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        match error {
            RequestError::Refused { code, text, retry, .. } => {
                let wait = retry.map(|seconds| format!(" (try again in {seconds} s)")).unwrap_or_default();
                Failure::refused(code, text + &wait)
            }
            RequestError::Malformed => Failure::new(Exit::Usage, error.to_string()),
            RequestError::GaveUp(error) => Failure::from(&*error),
            RequestError::TooLong { .. } => {
                Failure::refused(Code::TooLong.word().to_owned(), error.to_string())
            }
            _ => Failure::new(Exit::TryAgain, error.to_string()),
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Failure {
        match error {
            TransferError::Request(error) => Failure::from(error),
            TransferError::Disk(error) => Failure::from(error),
            TransferError::Mismatch { .. } => {
                Failure::refused(Code::HashMismatch.word().to_owned(), error.to_string())
            }
            _ => Failure::new(Exit::Refused, error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    /// An error of stdin or stdout.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Quietly, ""),
            _ => Failure::new(Exit::Refused, error.to_string()),
        }
    }
}
