//! The answer to a command.

use std::borrow::Cow;

use snug_protocol::{Code, ServerLine, TagBuilder};

use crate::cost::Cost;
use crate::refusal::Refusal;

/// Returns a line that has tags, with the label of the command that caused it.
pub(crate) fn labelled<'l>(line: &'l [u8], label: Option<&str>) -> Cow<'l, [u8]> {
    let end = line.iter().position(|byte| *byte == b' ').filter(|_| line.starts_with(b"@"));
    let Some((label, end)) = label.zip(end) else { return Cow::Borrowed(line) };
    let mut tags = TagBuilder::default();
    tags.value("ref", Some(label));
    let (before, behind) = line.split_at(end);
    Cow::Owned([before, b";", tags.into_string().as_bytes(), behind].concat())
}

/// The lines that answer one command: its rows and then its OK or ERR, all with its `ref`.
pub(crate) struct Answer {
    verb: String,
    label: Option<String>,
    /// The size in bytes that its command counts while it is in flight.
    pub(crate) size: usize,
    /// What it cost to find it.
    pub(crate) cost: Cost,
    ok_tags: TagBuilder,
    lines: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(verb: &str, label: Option<String>) -> Answer {
        Answer {
            verb: verb.to_owned(),
            label,
            size: 0,
            cost: Cost::default(),
            ok_tags: TagBuilder::default(),
            lines: Vec::new(),
        }
    }

    /// Sets the size in bytes that its command counts while it is in flight.
    pub(crate) fn of_size(self, size: usize) -> Answer {
        Answer { size, ..self }
    }

    /// Moves the answer out, for the code that finishes it.
    pub(crate) fn take(&mut self) -> Answer {
        std::mem::replace(self, Answer::new("", None))
    }

    /// Returns the verb that it answers.
    pub(crate) fn verb(&self) -> &str {
        &self.verb
    }

    /// Returns the label on all its lines.
    pub(crate) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns its lines, to add finished ones that have the label already.
    pub(crate) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// Sets the tags of the OK.
    pub(crate) fn set_ok_tags(&mut self, tags: TagBuilder) {
        self.ok_tags = tags;
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, mut tags: TagBuilder, line: ServerLine<'_>) {
        tags.value("ref", self.label.as_deref());
        line.with_tags(tags.tags()).write(&mut self.lines);
    }

    /// Returns the whole answer, with an OK at its end.
    pub(crate) fn ok(mut self, params: Option<&str>) -> Vec<u8> {
        let verb = std::mem::take(&mut self.verb);
        let tags = std::mem::take(&mut self.ok_tags);
        self.row(tags, ServerLine::ok(&verb, params));
        self.lines
    }

    /// Returns the answer as an ERR without rows. It says when to try again and where in a file to resume, if that is
    /// known.
    pub(crate) fn refuse(mut self, refusal: &Refusal) -> Vec<u8> {
        self.lines.clear();
        let verb = std::mem::take(&mut self.verb);
        let mut tags = TagBuilder::default();
        tags.display("retry", refusal.retry);
        tags.display("offset", refusal.offset);
        self.row(tags, ServerLine::err(&verb, refusal.code, &refusal.text));
        self.lines
    }

    /// Returns the answer as an ERR without rows.
    pub(crate) fn err(mut self, code: Code, text: &str) -> Vec<u8> {
        self.lines.clear();
        let verb = std::mem::take(&mut self.verb);
        self.row(TagBuilder::default(), ServerLine::err(&verb, code, text));
        self.lines
    }
}
