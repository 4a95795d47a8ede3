//! The state of a connection, without I/O: which commands are in flight, which of them must be sent again after a
//! loss, and up to which entry events were delivered.
//!
//! Commands, lines and losses go in; bytes to write, events and answers come out of queues. The server answers in
//! order, so an answer belongs to the oldest command in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use snug_protocol::{Body, Code, Command, Cursor, EntryKind, LogName, Request, RoomName};

use crate::error::{ConnectError, Loss, RequestError};
use crate::event::{Answer, Event, Received};
use crate::request::Job;
use crate::whereabouts::Whereabouts;

/// The commands, answers and events of one connection and of those that follow it. `R` is where an answer goes.
pub(crate) struct Exchange<R> {
    settings: Settings,
    /// Who and where the connection is. Messages from its nick are the client's own.
    place: Whereabouts,
    /// Commands that were sent and not yet answered, in order.
    in_flight: VecDeque<InFlight<R>>,
    /// The label (the tag `ref`) of the first of them.
    first_label: u64,
    /// The log of the connection.
    log: LogName,
    /// The bytes of the rows of the first of them.
    answer_size: usize,
    /// The id of the last entry that was an event, or of the one after which events begin.
    seen: u64,
    /// Entries up to this one are dropped: they were events. It is `seen`, but for a connection that begins with what is
    /// new: before that come the private messages that waited.
    told: u64,
    /// The newest entry of the log when the connection was made. What an older one says about rooms is past.
    came: u64,
    /// The newest private message of another user that was an event and is not acknowledged yet.
    unacknowledged: Option<u64>,
    /// Where catching up began, and where it was to end.
    catching_up: (u64, u64),
    /// How many signs of life were asked for and given.
    pongs: u64,
    /// Whether the session may use SYNC. The scope of its token may exclude it.
    may_sync: bool,
    /// Code and text of the ERR with which the server announced the end of the connection.
    dismissed: Option<(String, String)>,
    /// Why the connection cannot be used any more.
    failed: Option<String>,
    output: VecDeque<Output>,
    /// Answers and events, in the order of their lines.
    news: VecDeque<News<R>>,
}

/// Something for the program that uses the connection.
pub(crate) enum News<R> {
    Event(Event),
    /// An answer, and where it goes.
    Answer(R, Result<Answer, RequestError>),
}

/// The options that matter to an [`Exchange`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether to acknowledge private messages.
    pub(crate) acknowledges: bool,
    /// Whether the client reconnects after a loss, and repeats the commands that can be repeated.
    pub(crate) comes_back: bool,
    /// The most that is fetched of what was missed.
    pub(crate) catch_up: u64,
}

/// Data to write to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A whole line with its newline.
    Line(Vec<u8>),
    /// The bytes that the line before them announced.
    Bytes(Arc<Vec<u8>>),
}

/// A command that was sent and not yet answered.
enum InFlight<R> {
    /// A caller's command, with the rows that have arrived.
    Job(Job<R>, Vec<Received>),
    /// A SYNC by the client itself, to get missed entries. Its rows are events.
    Sync,
    /// An ACK by the client itself, to acknowledge private messages.
    Ack,
    /// A command by the client itself, to be again who and where a lost connection was.
    Own,
}

impl<R> Exchange<R> {
    /// Maximum number of commands in flight. The server has a limit of its own.
    const WINDOW: usize = 256;

    /// Maximum size of an answer in bytes. No server that means well comes near it.
    const ANSWER: usize = if cfg!(test) { 1 << 20 } else { 128 << 20 };

    /// Rows in a page of missed entries.
    pub(crate) const PAGE: u64 = 500;

    /// Begins with a connection that holds a nickname. Events begin after `since`, or with what comes from now on.
    /// `cursor` is the newest entry of the server's log, `heard` are the events from while the connection was made.
    pub(crate) fn begin(
        settings: Settings,
        place: Whereabouts,
        (since, cursor): (Option<Cursor>, Cursor),
        heard: Vec<Event>,
    ) -> Exchange<R> {
        let began = since.unwrap_or(cursor);
        let mut exchange = Exchange {
            settings,
            place,
            in_flight: VecDeque::new(),
            first_label: 0,
            answer_size: 0,
            log: began.log.or(cursor.log).unwrap_or_default(),
            seen: began.id,
            told: since.map_or(0, |since| since.id),
            came: cursor.id,
            unacknowledged: None,
            catching_up: (0, 0),
            pongs: 0,
            may_sync: true,
            dismissed: None,
            failed: None,
            output: VecDeque::new(),
            news: VecDeque::new(),
        };
        if since.is_some() {
            let skipped = exchange.begin_catching_up(cursor);
            exchange.sync();
            exchange.log = cursor.log.unwrap_or_default();
            exchange.tell(heard);
            exchange.news.extend(skipped.map(News::Event));
        } else {
            exchange.tell(heard);
            exchange.news.push_back(News::Event(Event::Live { cursor }));
        }
        exchange
    }

    /// Returns the cursor after which events resume after a loss; `None` if SYNC is not allowed.
    pub(crate) fn since(&self) -> Option<Cursor> {
        // While private messages that waited may still be on their way, what comes behind the last of them that came.
        let id = if self.told > 0 { self.told.min(self.seen) } else { self.seen };
        self.may_sync.then_some(Cursor { log: Some(self.log), id })
    }

    /// Goes on with a new connection after [`Exchange::lost`]: requests the missed entries, then repeats the commands
    /// that were not answered.
    ///
    /// With `has_its_rooms` the server knows the rooms, and others of the account's sessions may have changed them.
    pub(crate) fn entered(&mut self, (nick, has_its_rooms): (&str, bool), cursor: Cursor, heard: Vec<Event>) {
        self.place.set_nick(nick);
        if self.may_sync
            && let Some(since) = self.since()
        {
            // What is asked for again begins there.
            self.seen = since.id;
        }
        (self.told, self.came) = (self.told.max(self.seen), cursor.id);
        self.dismissed = None;
        let jobs = std::mem::take(&mut self.in_flight);
        if self.may_sync {
            // The cursor names the log of the old connection: only the server knows whether it is still the same log.
            let skipped = self.begin_catching_up(cursor);
            self.sync();
            self.log = cursor.log.unwrap_or_default();
            self.tell(heard);
            self.news.extend(skipped.map(News::Event));
        } else {
            let from = Cursor { log: Some(self.log), id: self.seen };
            let log = cursor.log.unwrap_or_default();
            // Private messages that waited may follow, with ids from before.
            self.told = if log == self.log { self.told } else { 0 };
            (self.log, self.seen) = (log, cursor.id);
            self.tell(heard);
            let (from, to) = (from.to_string(), cursor.to_string());
            self.news.push_back(News::Event(Event::Gap { target: "*".to_owned(), from, to }));
            self.news.push_back(News::Event(Event::Live { cursor }));
        }
        let mut status = Vec::new();
        if let Some(command) = self.place.status() {
            Request { label: None, command }.write(&mut status);
        }
        if !status.is_empty() {
            self.say_line(InFlight::Own, &status);
        }
        if self.place.left_lobby() && !has_its_rooms {
            self.say_own(InFlight::Own, Command::Leave { room: RoomName::LOBBY, text: None });
        }
        for in_flight in jobs {
            if let InFlight::Job(job, _) = in_flight {
                self.say(job);
            }
        }
    }

    /// Who and where the connection is.
    pub(crate) fn place(&mut self) -> &mut Whereabouts {
        &mut self.place
    }

    /// Returns the code and text with which the server ended the connection, if nobody should come back by themselves after
    /// that.
    pub(crate) fn banishment(&self) -> Option<(String, String)> {
        let is_final = |code: &str| {
            matches!(
                code.parse(),
                Ok(Code::Kicked
                    | Code::Banned
                    | Code::BadLogin
                    | Code::OutOfScope
                    | Code::Plaintext
                    | Code::NotChat)
            )
        };
        self.dismissed.clone().filter(|(code, _)| is_final(code))
    }

    /// Takes the next data to write.
    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Takes the next answer or event. They come in the order of their lines.
    pub(crate) fn take_news(&mut self) -> Option<News<R>> {
        self.news.pop_front()
    }

    /// Takes the next event, before any answers.
    #[cfg(test)]
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        let at = self.news.iter().position(|news| matches!(news, News::Event(_)))?;
        match self.news.remove(at) {
            Some(News::Event(event)) => Some(event),
            _ => None,
        }
    }

    /// Takes the next answer, before any events.
    #[cfg(test)]
    pub(crate) fn take_answer(&mut self) -> Option<(R, Result<Answer, RequestError>)> {
        let at = self.news.iter().position(|news| matches!(news, News::Answer(..)))?;
        match self.news.remove(at) {
            Some(News::Answer(reply, answer)) => Some((reply, answer)),
            _ => None,
        }
    }

    /// Takes the reason why the connection cannot be used any more, if there is one.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// Returns whether another command may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < Self::WINDOW
    }

    /// Returns whether the answer to a command is still to come.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.in_flight.iter().any(|in_flight| matches!(in_flight, InFlight::Job(..)))
    }

    /// Returns whether a caller stands still until an answer comes.
    pub(crate) fn is_awaited(&self) -> bool {
        self.in_flight.iter().any(|in_flight| matches!(in_flight, InFlight::Job(job, _) if job.is_awaited))
    }

    /// Sends a command, unless it is too long for a line: then its answer is an error.
    pub(crate) fn say(&mut self, job: Job<R>) {
        let length = job.request.len() - 1;
        let limit = snug_protocol::limits::LINE - 32;
        if length > limit {
            self.news.push_back(News::Answer(job.reply, Err(RequestError::TooLong { length, limit })));
            return;
        }
        self.output.push_back(Output::Line(labelled(self.next_label(), &job.request)));
        self.output.extend(job.bytes.clone().map(Output::Bytes));
        self.in_flight.push_back(InFlight::Job(job, Vec::new()));
    }

    /// Acknowledges the private messages that have arrived, if there are new ones and no ACK is in flight.
    pub(crate) fn acknowledge(&mut self) {
        let is_under_way = self.in_flight.iter().any(|in_flight| matches!(in_flight, InFlight::Ack));
        if let Some(id) = self.unacknowledged.take_if(|_| !is_under_way) {
            let cursor = Cursor { log: Some(self.log), id };
            self.say_own(InFlight::Ack, Command::Ack { cursor });
        }
    }

    /// Sends a command by the client itself.
    fn say_own(&mut self, what: InFlight<R>, command: Command<'_>) {
        let mut line = Vec::new();
        Request { label: None, command }.write(&mut line);
        self.say_line(what, &line);
    }

    fn say_line(&mut self, what: InFlight<R>, line: &[u8]) {
        self.output.push_back(Output::Line(labelled(self.next_label(), line)));
        self.in_flight.push_back(what);
    }

    fn next_label(&self) -> u64 {
        self.first_label + self.in_flight.len() as u64
    }

    /// Notes how far it is to the newest entry of the server's log. If that is too far, what lies between is passed over, and
    /// the event that says so is returned.
    fn begin_catching_up(&mut self, cursor: Cursor) -> Option<Event> {
        let is_same = cursor.log.is_none_or(|log| log == self.log);
        // Of another log, everything is missed.
        let from = if is_same { self.seen } else { 0 };
        self.catching_up = (from, cursor.id);
        if cursor.id.saturating_sub(from) <= self.settings.catch_up {
            return None;
        }
        let after = Cursor { log: Some(self.log), id: self.seen };
        self.log = cursor.log.unwrap_or_default();
        self.pass_to(cursor.id);
        self.catching_up = (cursor.id, cursor.id);
        let upto = Cursor { log: Some(self.log), id: cursor.id };
        Some(match is_same {
            true => Event::Skipped { after, upto },
            false => Event::Gap { target: "*".to_owned(), from: after.to_string(), to: upto.to_string() },
        })
    }

    /// Goes on with events after an entry, whatever is before it.
    fn pass_to(&mut self, id: u64) {
        (self.seen, self.told) = (id, id);
    }

    /// Takes the number of signs of life that the server has given when it was asked for one.
    pub(crate) fn take_pongs(&mut self) -> u64 {
        std::mem::take(&mut self.pongs)
    }

    /// Requests the next page of missed entries.
    fn sync(&mut self) {
        let cursor = Cursor { log: Some(self.log), id: self.seen };
        self.say_own(InFlight::Sync, Command::Sync { cursor, limit: Some(Self::PAGE) });
    }

    /// Takes a line with the bytes that it announced. An answer goes to its caller, everything else is an event.
    pub(crate) fn line(&mut self, text: String, bytes: Option<Vec<u8>>) {
        let received = Received { text, bytes, log: self.log };
        let parsed = received.line();
        if let Body::Ping { label } = parsed.body {
            let label = label.map(|label| format!(" {label}")).unwrap_or_default();
            self.output.push_back(Output::Line(format!("PONG{label}\n").into_bytes()));
            return;
        }
        if matches!(parsed.body, Body::Ok { verb: "PING", .. }) && !parsed.tags.has("ref") {
            self.pongs += 1;
            return;
        }
        let label: Option<u64> = parsed.tags.get("ref").and_then(|label| label.parse().ok());
        // If the server could not read a line, its ERR has no label. Answers come in order, so it is the oldest
        // command's.
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
                Some(InFlight::Job(job, _)) if job.causes_event && parsed.from.is_some() => {
                    self.event(received);
                }
                Some(InFlight::Job(_, rows)) => {
                    self.answer_size +=
                        received.text.len() + received.bytes.as_ref().map_or(0, Vec::len) + 64;
                    if self.answer_size > Self::ANSWER {
                        rows.clear();
                        self.failed = Some("the server's answer has no end".to_owned());
                        return;
                    }
                    rows.push(received);
                }
                Some(InFlight::Sync) => self.event(received),
                Some(InFlight::Ack | InFlight::Own) | None => {}
            }
            return;
        }
        self.answer_size = 0;
        // An answer stands behind the private messages that waited.
        self.told = self.told.max(self.seen);
        let Some(answered) = self.in_flight.pop_front() else { return };
        self.first_label += 1;
        match answered {
            InFlight::Ack | InFlight::Own => {}
            InFlight::Sync => self.synced(&received),
            InFlight::Job(job, rows) => {
                let line = received.line();
                self.place.answered(&line);
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
                self.news.push_back(News::Answer(job.reply, answer));
            }
        }
    }

    /// Takes the answer to SYNC, after a page of missed entries.
    fn synced(&mut self, answer: &Received) {
        if let Body::Err { code, .. } = answer.line().body
            && !is_passing(code)
        {
            // SYNC will not be allowed another time, either. The missed entries are lost, but new ones can be
            // received.
            self.may_sync = false;
        }
        let Body::Ok { params: Some(params), .. } = answer.line().body else {
            // Without SYNC this session gets no entries at all. The client has to reconnect, and try again if the log
            // cannot be read now.
            self.failed = Some(format!("what was missed cannot be had: {}", answer.text));
            return;
        };
        let (cursor, goes_on) = params.split_once(' ').unwrap_or((params, ""));
        if let Ok(cursor) = cursor.parse::<Cursor>() {
            self.pass_to(cursor.id);
        }
        if goes_on == "more" {
            let (from, to) = self.catching_up;
            let (done, of) = (self.seen.saturating_sub(from), to.saturating_sub(from));
            self.news.push_back(News::Event(Event::CatchingUp { done: done.min(of), of }));
            self.sync();
        } else {
            self.news.push_back(News::Event(Event::Live {
                cursor: Cursor { log: Some(self.log), id: self.seen },
            }));
        }
    }

    /// Adds the events from while a connection was made.
    fn tell(&mut self, heard: Vec<Event>) {
        for event in heard {
            match event {
                Event::Line(received) => self.event(Received { log: self.log, ..received }),
                event => self.news.push_back(News::Event(event)),
            }
        }
    }

    /// Makes a line an event. An entry that was an event before is dropped.
    fn event(&mut self, received: Received) {
        let line = received.line();
        if let Body::Behind { .. } = line.body {
            // What it has missed comes with SYNC, from where its own events end.
            match self.may_sync {
                true => self.sync(),
                false => self.failed = Some("the server delivers faster than this reads".to_owned()),
            }
            return;
        }
        if let Body::Gap { target, from, to } = line.body {
            if target == "*"
                && let Ok(cursor) = to.parse::<Cursor>()
            {
                self.pass_to(cursor.id);
            }
            let [target, from, to] = [target, from, to].map(str::to_owned);
            self.news.push_back(News::Event(Event::Gap { target, from, to }));
            return;
        }
        // An entry of a kind that is not known is one as well.
        let kind = match &line.body {
            Body::Entry { kind, .. } => Some(Some(*kind)),
            Body::Unknown { .. } if line.from.is_some() => Some(None),
            _ => None,
        };
        if let (Some(id), Some(kind)) = (line.id(), kind) {
            if id <= self.told {
                return;
            }
            (self.told, self.seen) = (id, self.seen.max(id));
            let is_own = line.from == Some(self.place.nick());
            if self.settings.acknowledges && kind == Some(EntryKind::Priv) && !is_own {
                self.unacknowledged = Some(id);
            }
        }
        if line.id().is_none_or(|id| id > self.came) {
            self.place.heard(&line);
        }
        self.news.push_back(News::Event(Event::Line(received)));
    }

    /// Takes the loss of the connection. Commands that were sent may have taken effect or not: those that must not be
    /// repeated fail.
    pub(crate) fn lost(&mut self, loss: Loss) {
        let reason = loss.to_string();
        self.output.clear();
        self.answer_size = 0;
        for in_flight in std::mem::take(&mut self.in_flight) {
            let InFlight::Job(job, _) = in_flight else { continue };
            if job.is_repeatable && self.settings.comes_back {
                self.in_flight.push_back(InFlight::Job(job, Vec::new()));
            } else {
                let error = match self.dismissed.clone() {
                    Some((code, text)) => RequestError::Refused { code, text, retry: None, offset: None },
                    None => RequestError::Lost { reason: reason.clone() },
                };
                self.news.push_back(News::Answer(job.reply, Err(error)));
            }
        }
        let loss = match (loss, self.dismissed.clone()) {
            (Loss::Closed, Some((code, text))) => Loss::Dismissed { code, text },
            (loss, _) => loss,
        };
        self.news.push_back(News::Event(Event::Disconnected { loss }));
    }

    /// Takes the end of all attempts to reconnect: the commands that are not answered fail. `error` is the last
    /// attempt's error, if there was one.
    pub(crate) fn gave_up(&mut self, error: Option<&Arc<ConnectError>>, reason: &str) {
        for in_flight in std::mem::take(&mut self.in_flight) {
            let InFlight::Job(job, _) = in_flight else { continue };
            let answer = match (error, &self.dismissed) {
                (Some(error), _) => RequestError::GaveUp(Arc::clone(error)),
                (None, Some((code, text))) => RequestError::Refused {
                    code: code.clone(),
                    text: text.clone(),
                    retry: None,
                    offset: None,
                },
                (None, None) => RequestError::Lost { reason: reason.to_owned() },
            };
            self.news.push_back(News::Answer(job.reply, Err(answer)));
        }
    }
}

/// Returns whether a refusal with this code may pass, so that another attempt can succeed.
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

/// Returns a written command with its label in front.
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
