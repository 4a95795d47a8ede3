//! Why something that was asked for may not be.

use snug_protocol::Code;

/// Why something is refused: what a user reads in an `ERR`.
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
    /// After how many seconds to try again.
    pub(crate) retry: Option<u64>,
    /// Where in a file to go on, in bytes.
    pub(crate) offset: Option<u64>,
}

impl Refusal {
    /// Returns a refusal with a code and a text that says what is wrong and what to do, in lower case and without a full stop.
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), retry: None, offset: None }
    }

    /// The same, which says where in a file to go on.
    pub(crate) fn at(self, offset: u64) -> Refusal {
        Refusal { offset: Some(offset), ..self }
    }

    /// Adds when to try again: after so many milliseconds, of which the user is told whole seconds, rounded up.
    #[must_use]
    pub fn after(self, millis: u64) -> Refusal {
        Refusal { retry: Some(millis.div_ceil(1_000).max(1)), ..self }
    }

    /// The daemon takes no more work.
    pub(crate) fn stopping() -> Refusal {
        Refusal::new(Code::ShuttingDown, "the daemon is stopping; connect again later")
    }
}
