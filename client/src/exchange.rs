//! What is said over a connection and answered, and what of it has to be said again after a loss: without I/O.
//!
//! Commands, lines and losses go in; bytes to write, events and answers come out of queues. The daemon answers in order,
//! so that the oldest command under way is the one that an answer belongs to.

use std::collections::VecDeque;
use std::sync::Arc;

use snug_protocol::{Body, Code, Command, Cursor, EntryKind, LogName, Request};

use crate::error::{ConnectError, RequestError};
use crate::event::{Answer, Event, Received};
use crate::request::Job;

/// See the module. `R` is where an answer goes.
pub(crate) struct Exchange<R> {
    settings: Settings,
    /// The name that is held: what is said under it is one's own.
    nick: String,
    /// Commands that were said, in order.
    in_flight: VecDeque<InFlight<R>>,
    /// The label of the first of them.
    first_label: u64,
    /// The log of the connection, and the last entry that has been an event, or lies before all that will be.
    log: LogName,
    seen: u64,
    /// The newest private message of others that has been an event, while the daemon has not been told.
    unacknowledged: Option<u64>,
    /// Whether SYNC is something that one may do: a token may not cover it.
    may_sync: bool,
    /// What the daemon said before it ended the connection: code and text.
    dismissed: Option<(String, String)>,
    /// Why the connection is of no use any more.
    failed: Option<String>,
    output: VecDeque<Output>,
    events: VecDeque<Event>,
    answers: VecDeque<(R, Result<Answer, RequestError>)>,
}

/// What of the options matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether the daemon is told that private messages have arrived.
    pub(crate) acknowledges: bool,
    /// Whether the connection is made again after a loss, and what can be repeated is.
    pub(crate) comes_back: bool,
}

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A whole line with its end.
    Line(Vec<u8>),
    /// The bytes that the line before has announced.
    Bytes(Arc<Vec<u8>>),
}

/// A command that was said.
enum InFlight<R> {
    /// Somebody's, with the rows that have come.
    Job(Job<R>, Vec<Received>),
    /// The client's own, to be brought up to date: its rows are events.
    Sync,
    /// The client's own, to say what has arrived.
    Ack,
}

impl<R> Exchange<R> {
    /// How many commands may be under way. The daemon has a limit of its own.
    const WINDOW: usize = 256;

    /// Rows of a page of what was missed.
    pub(crate) const PAGE: u64 = 500;

    /// A connection that holds a name, and events of which begin behind `since`, or with what comes now. `cursor` is the
    /// newest entry of the daemon's log; `heard` is what was heard while the connection was made.
    pub(crate) fn begin(
        settings: Settings,
        nick: &str,
        (since, cursor): (Option<Cursor>, Cursor),
        heard: Vec<Event>,
    ) -> Exchange<R> {
        let began = since.unwrap_or(cursor);
        let mut exchange = Exchange {
            settings,
            nick: nick.to_owned(),
            in_flight: VecDeque::new(),
            first_label: 0,
            log: began.log.or(cursor.log).unwrap_or_default(),
            seen: began.id,
            unacknowledged: None,
            may_sync: true,
            dismissed: None,
            failed: None,
            output: VecDeque::new(),
            events: VecDeque::new(),
            answers: VecDeque::new(),
        };
        if since.is_some() {
            exchange.sync();
            exchange.log = cursor.log.unwrap_or_default();
            exchange.tell(heard);
        } else {
            exchange.tell(heard);
            exchange.events.push_back(Event::Live { cursor });
        }
        exchange
    }

    /// Where events go on after a loss; `None` if SYNC is not allowed.
    pub(crate) fn since(&self) -> Option<Cursor> {
        self.may_sync.then_some(Cursor { log: Some(self.log), id: self.seen })
    }

    /// The connection was made again after [`Exchange::lost`]: what was missed is asked for, and then what was not answered is
    /// said again.
    pub(crate) fn entered(&mut self, nick: &str, cursor: Cursor, heard: Vec<Event>) {
        nick.clone_into(&mut self.nick);
        let jobs = std::mem::take(&mut self.in_flight);
        if self.may_sync {
            // The cursor is one of the log that it was: only the daemon knows whether that is still the same.
            self.sync();
            self.log = cursor.log.unwrap_or_default();
            self.tell(heard);
        } else {
            let from = Cursor { log: Some(self.log), id: self.seen };
            self.log = cursor.log.unwrap_or_default();
            self.seen = cursor.id;
            self.tell(heard);
            let (from, to) = (from.to_string(), cursor.to_string());
            self.events.push_back(Event::Gap { target: "*".to_owned(), from, to });
            self.events.push_back(Event::Live { cursor });
        }
        for in_flight in jobs {
            if let InFlight::Job(job, _) = in_flight {
                self.say(job);
            }
        }
    }

    /// The next thing to write.
    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// The next event, in the order of the wire.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next answer, and where it goes.
    pub(crate) fn take_answer(&mut self) -> Option<(R, Result<Answer, RequestError>)> {
        self.answers.pop_front()
    }

    /// Why the connection is of no use any more, if that is so.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Whether another command may be said now.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < Self::WINDOW
    }

    /// Whether somebody waits for an answer.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.in_flight.iter().any(|in_flight| matches!(in_flight, InFlight::Job(..)))
    }

    /// Says a command.
    pub(crate) fn say(&mut self, job: Job<R>) {
        let length = job.request.len() - 1;
        let limit = snug_protocol::limits::LINE - 32;
        if length > limit {
            self.answers.push_back((job.reply, Err(RequestError::TooLong { length, limit })));
            return;
        }
        self.output.push_back(Output::Line(labelled(self.next_label(), &job.request)));
        self.output.extend(job.bytes.clone().map(Output::Bytes));
        self.in_flight.push_back(InFlight::Job(job, Vec::new()));
    }

    /// Says what has arrived, if something has that was not said.
    pub(crate) fn acknowledge(&mut self) {
        let is_under_way = self.in_flight.iter().any(|in_flight| matches!(in_flight, InFlight::Ack));
        if let Some(id) = self.unacknowledged.take_if(|_| !is_under_way) {
            let cursor = Cursor { log: Some(self.log), id };
            self.say_own(InFlight::Ack, Command::Ack { cursor });
        }
    }

    /// Says a command of the client's own.
    fn say_own(&mut self, what: InFlight<R>, command: Command<'_>) {
        let mut line = Vec::new();
        Request { label: None, command }.write(&mut line);
        self.output.push_back(Output::Line(labelled(self.next_label(), &line)));
        self.in_flight.push_back(what);
    }

    fn next_label(&self) -> u64 {
        self.first_label + self.in_flight.len() as u64
    }

    /// Asks for the next page of what was missed.
    fn sync(&mut self) {
        let cursor = Cursor { log: Some(self.log), id: self.seen };
        self.say_own(InFlight::Sync, Command::Sync { cursor, limit: Some(Self::PAGE) });
    }

    /// Takes a line with the bytes that it has announced: an answer goes to whoever asked, everything else is an event.
    pub(crate) fn line(&mut self, text: String, bytes: Option<Vec<u8>>) {
        let received = Received { text, bytes, log: self.log };
        let parsed = received.line();
        if let Body::Ping { label } = parsed.body {
            let label = label.map(|label| format!(" {label}")).unwrap_or_default();
            self.output.push_back(Output::Line(format!("PONG{label}\n").into_bytes()));
            return;
        }
        if matches!(parsed.body, Body::Ok { verb: "PING", .. }) && !parsed.tags.has("ref") {
            return;
        }
        let label: Option<u64> = parsed.tags.get("ref").and_then(|label| label.parse().ok());
        // A line that the daemon could not read has no label; answers come in order, so it is the oldest one's.
        let is_unread =
            matches!(parsed.body, Body::Err { verb: "-", code: "bad-line" | "line-too-long", .. });
        if let Body::Err { verb: "-", code, text } = parsed.body
            && label.is_none()
            && !is_unread
        {
            self.dismissed = Some((code.to_owned(), text.to_owned()));
        }
        let is_first = (label == Some(self.first_label) || is_unread) && !self.in_flight.is_empty();
        if !is_first {
            return self.event(received);
        }
        if !matches!(parsed.body, Body::Ok { .. } | Body::Err { .. }) {
            match self.in_flight.front_mut() {
                Some(InFlight::Job(_, rows)) => rows.push(received),
                Some(InFlight::Sync) => self.event(received),
                Some(InFlight::Ack) | None => {}
            }
            return;
        }
        let Some(answered) = self.in_flight.pop_front() else { return };
        self.first_label += 1;
        match answered {
            InFlight::Ack => {}
            InFlight::Sync => self.synced(&received),
            InFlight::Job(job, rows) => {
                let line = received.line();
                let number = |name| line.tags.get(name).and_then(|value| value.parse().ok());
                let answer = match line.body {
                    Body::Err { code, text, .. } => Err(RequestError::Refused {
                        code: code.to_owned(),
                        text: text.to_owned(),
                        retry: number("retry"),
                        offset: number("offset"),
                    }),
                    _ => Ok(Answer { rows, ok: received }),
                };
                self.answers.push_back((job.reply, answer));
            }
        }
    }

    /// Goes on after a page of what was missed.
    fn synced(&mut self, answer: &Received) {
        if let Body::Err { code, .. } = answer.line().body
            && !is_passing(code)
        {
            // It will not be allowed another time, either. What was missed is not had, and what comes is.
            self.may_sync = false;
        }
        let Body::Ok { params: Some(params), .. } = answer.line().body else {
            // The log cannot be read now, and without that nothing more would come: it has to be tried again.
            self.failed = Some(format!("what was missed cannot be had: {}", answer.text));
            return;
        };
        let (cursor, goes_on) = params.split_once(' ').unwrap_or((params, ""));
        if let Ok(cursor) = cursor.parse::<Cursor>() {
            self.seen = cursor.id;
        }
        if goes_on == "more" {
            self.sync();
        } else {
            self.events.push_back(Event::Live { cursor: Cursor { log: Some(self.log), id: self.seen } });
        }
    }

    /// Tells what was heard while a connection was made.
    fn tell(&mut self, heard: Vec<Event>) {
        for event in heard {
            match event {
                Event::Line(received) => self.event(Received { log: self.log, ..received }),
                event => self.events.push_back(event),
            }
        }
    }

    /// Makes an event of a line, of an entry only once.
    fn event(&mut self, received: Received) {
        let line = received.line();
        if let Body::Gap { target, from, to } = line.body {
            if target == "*"
                && let Ok(cursor) = to.parse::<Cursor>()
            {
                self.seen = cursor.id;
            }
            let [target, from, to] = [target, from, to].map(str::to_owned);
            self.events.push_back(Event::Gap { target, from, to });
            return;
        }
        if let (Some(id), Body::Entry { kind, .. }) = (line.id(), &line.body) {
            if id <= self.seen {
                return;
            }
            self.seen = id;
            let is_own = line.from == Some(self.nick.as_str());
            if self.settings.acknowledges && *kind == EntryKind::Priv && !is_own {
                self.unacknowledged = Some(id);
            }
        }
        self.events.push_back(Event::Line(received));
    }

    /// The connection is lost: what was written may have happened or not, and what may not be said twice is given up.
    pub(crate) fn lost(&mut self, reason: &str) {
        self.output.clear();
        for in_flight in std::mem::take(&mut self.in_flight) {
            let InFlight::Job(job, _) = in_flight else { continue };
            if job.is_repeatable && self.settings.comes_back {
                self.in_flight.push_back(InFlight::Job(job, Vec::new()));
            } else {
                let error = match self.dismissed.clone() {
                    Some((code, text)) => RequestError::Refused { code, text, retry: None, offset: None },
                    None => RequestError::Lost { reason: reason.to_owned() },
                };
                self.answers.push_back((job.reply, Err(error)));
            }
        }
        self.events.push_back(Event::Disconnected { reason: reason.to_owned() });
    }

    /// The connection is not made again: what was still to be answered never is. `error` says why, if it was tried.
    pub(crate) fn gave_up(&mut self, error: Option<Arc<ConnectError>>, reason: &str) {
        for in_flight in std::mem::take(&mut self.in_flight) {
            let InFlight::Job(job, _) = in_flight else { continue };
            let answer = match (&error, &self.dismissed) {
                (Some(error), _) => RequestError::GaveUp(Arc::clone(error)),
                (None, Some((code, text))) => RequestError::Refused {
                    code: code.clone(),
                    text: text.clone(),
                    retry: None,
                    offset: None,
                },
                (None, None) => RequestError::Lost { reason: reason.to_owned() },
            };
            self.answers.push_back((job.reply, Err(answer)));
        }
        self.events.extend(error.map(|error| Event::GaveUp { error }));
    }
}

/// Whether what was refused may go another time.
pub(crate) fn is_passing(code: &str) -> bool {
    matches!(
        code.parse(),
        Ok(Code::NickTaken
            | Code::TooMany
            | Code::ShuttingDown
            | Code::SlowDown
            | Code::Timeout
            | Code::Unavailable
            | Code::StorageFull)
    )
}

/// A written command with its label in front.
fn labelled(label: u64, request: &[u8]) -> Vec<u8> {
    let tagged = request.strip_prefix(b"@");
    let (between, rest) = tagged.map_or((b' ', request), |rest| (b';', rest));
    let mut line = format!("@ref={label}").into_bytes();
    line.push(between);
    line.extend_from_slice(rest);
    line
}

#[cfg(test)]
mod tests;
