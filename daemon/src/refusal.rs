//! Refusals: why the server does not do what was asked.

use snug_protocol::Code;

/// The reason why something is refused, as a user reads it in an `ERR`.
///
/// ```
/// use snug_daemon::Refusal;
/// use snug_daemon::protocol::Code;
///
/// let refusal = Refusal::new(Code::SlowDown, "the oven is busy; try again").after(1_500);
/// assert_eq!(refusal, Refusal::new(Code::SlowDown, "the oven is busy; try again").after(2_000));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) code: Code,
    pub(crate) text: String,
    /// The number of seconds after which to try again.
    pub(crate) retry: Option<u64>,
    /// The offset in a file at which to resume, in bytes.
    pub(crate) offset: Option<u64>,
}

impl Refusal {
    /// Returns a refusal with a code and a text. The text says what is wrong and what to do, in lower case and
    /// without a full stop.
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), retry: None, offset: None }
    }

    /// Adds the offset in a file at which to resume, in bytes.
    pub(crate) fn at(self, offset: u64) -> Refusal {
        Refusal { offset: Some(offset), ..self }
    }

    /// Adds the time after which to try again, in milliseconds. The user is told whole seconds, rounded up.
    #[must_use]
    pub fn after(self, millis: u64) -> Refusal {
        Refusal { retry: Some(millis.div_ceil(1_000).max(1)), ..self }
    }

    /// Returns the refusal of a daemon that is stopping.
    pub(crate) fn stopping() -> Refusal {
        Refusal::new(Code::ShuttingDown, "the daemon is stopping; connect again later")
    }
}
