//! Why something that was asked for may not be.

use snug_protocol::Code;

/// Why a draft may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) text: String,
    /// After how many seconds to try again.
    pub(crate) retry: Option<u64>,
    /// Where in a file to go on, in bytes.
    pub(crate) offset: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into(), retry: None, offset: None }
    }

    /// The same, which says where in a file to go on.
    pub(crate) fn at(self, offset: u64) -> Refusal {
        Refusal { offset: Some(offset), ..self }
    }

    /// The same, to be tried again after so many milliseconds.
    pub(crate) fn after(self, millis: u64) -> Refusal {
        Refusal { retry: Some(millis.div_ceil(1_000).max(1)), ..self }
    }

    /// The daemon takes no more work.
    pub(crate) fn stopping() -> Refusal {
        Refusal::new(Code::ShuttingDown, "the daemon is stopping; connect again later")
    }
}
