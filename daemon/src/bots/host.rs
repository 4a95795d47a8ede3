//! Gives a built-in bot a session, and carries events and actions between the two.
//!
//! An event is dealt with when the bot's answers are in the log. Then what the bot keeps is committed, together with
//! its position. The key of an answer comes from the entry that it answers, so an event that is dealt with again
//! after a crash is not answered twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use chrono::{DateTime, FixedOffset, Local, TimeZone};
use futures_lite::FutureExt;
use smol::Timer;
use snug_bots::{Action, Context, Event, Hosted, Manifest, ReplyTarget, State, called};
use snug_protocol::{Body, Command, Cursor, EntryKind, MessageTags, Request, ServerLine, Target};

use super::{Ended, Task, watch};
use crate::core::Core;
use crate::core::roster::has_room;
use crate::log::{Act, Author, BotStep, Remembered};
use crate::origin::Payer;

/// Maximum number of a bot's requests that wait to be sent. More are dropped, because the bot is asked more than it
/// can answer.
const WAITING: usize = 64;

/// The age in milliseconds from which a message is answered as late.
const LATE: i64 = 30_000;

/// Maximum number of posts whose reactions a bot receives.
const POSTS: usize = 200;

/// The prefix of the names under which a bot's posts are kept.
const POST: &str = "post:";

/// Maximum number of entries without an action that are looked at again after a restart.
const UNNOTED: u64 = 1_000;

/// Number of panics after which a bot is given up.
const PANICS: u32 = 3;

/// Runs a bot until the task is stopped.
pub(super) async fn run(task: &Task, hosted: Hosted) {
    let hosted = smol::lock::Mutex::new(hosted);
    task.attend(|| async {
        let mut hosted = hosted.lock().await;
        match take_part(task, &mut hosted).await {
            Ok(ended) => ended,
            Err(error) => Ended::Because(format!("its session broke: {error}")),
        }
    })
    .await;
}

/// Something to tell a bot.
enum Input {
    Line(String),
    Watched(String, String),
    Due,
}

/// Changes that are committed once the requests before them are answered.
struct Step {
    last_label: u64,
    cursor: u64,
    changes: Vec<(String, Option<String>)>,
}

/// A bot at work.
struct Host<'h> {
    task: &'h Task,
    hosted: &'h mut Hosted,
    manifest: Manifest,
    state: State,
    /// The newest entry that it has dealt with.
    cursor: u64,
    timers: BTreeMap<String, i64>,
    /// Its posts by their entries, and by label those whose entries are not known yet.
    posts: HashMap<u64, String>,
    posting: HashMap<u64, String>,
    /// Reactions to what may be one of the latter.
    early: Vec<String>,
    steps: VecDeque<Step>,
    /// The newest labels: of a request that was sent, of one in a step, and of one that was answered.
    last_label: u64,
    stepped: u64,
    /// The cursor of the newest step.
    noted: u64,
    answered: u64,
    requests: async_channel::Sender<Vec<u8>>,
    panics: u32,
}

async fn take_part(task: &Task, hosted: &mut Hosted) -> std::io::Result<Ended> {
    let core = Arc::clone(task.core());
    let Some(Remembered { cursor, kept }) = remembered(&core, hosted.name).await else {
        return Ok(Ended::Because("what it keeps cannot be read".to_owned()));
    };
    let session = match task.enter(&hosted.nick, &hosted.rooms, cursor, None).await? {
        Ok(session) => session,
        Err(ended) => return Ok(ended),
    };
    let (lines, watched) = async_channel::bounded(256);
    let mut watching = Vec::new();
    for (path, room) in hosted.watches.clone() {
        watching.push(smol::spawn(watch::watch(path, room, lines.clone())));
    }
    drop(lines);
    let (mut reader, mut writer) = session.split();
    let (requests, waiting) = async_channel::bounded::<Vec<u8>>(WAITING);
    let manifest = hosted.bot.manifest().clone();
    let state = State::new(kept);
    let posts = state
        .with_prefix(POST)
        .filter_map(|(name, post)| Some((name.strip_prefix(POST)?.parse().ok()?, post.to_owned())))
        .collect();
    let cursor = cursor.unwrap_or_else(|| {
        // From here on nothing is missed, whatever happens before the first event is dealt with.
        let cursor = core.delivered.load(std::sync::atomic::Ordering::Relaxed);
        let act = BotStep { bot: hosted.name.to_owned(), cursor, changes: Vec::new() };
        core.note(Author::default(), Act::Bot(act));
        cursor
    });
    let mut host = Host {
        task,
        hosted,
        manifest,
        state,
        cursor,
        timers: BTreeMap::new(),
        posts,
        posting: HashMap::new(),
        early: Vec::new(),
        steps: VecDeque::new(),
        last_label: 0,
        stepped: 0,
        noted: cursor,
        answered: 0,
        requests,
        panics: 0,
    };
    host.tell(&Event::Started, None, None);
    let hear = async {
        loop {
            let happening = host.next(&mut reader, &watched).await?;
            let Some(happening) = happening else {
                return Ok(Ended::Because("its session is over".to_owned()));
            };
            match happening {
                Input::Line(line) => {
                    host.line(&line);
                }
                Input::Watched(room, text) => {
                    host.tell(&Event::Line { room: &room, text: &text }, None, None);
                }
                Input::Due => host.due(),
            }
            if host.panics >= PANICS {
                return Ok(Ended::ForGood("it panics again and again".to_owned()));
            }
        }
    };
    let say = async {
        while let Ok(request) = waiting.recv().await {
            writer.raw(&request).await?;
        }
        futures_lite::future::pending().await
    };
    hear.or(say).await
}

/// Returns a bot's position and what it keeps, or `None` if that cannot be read.
async fn remembered(core: &Arc<Core>, name: &'static str) -> Option<Remembered> {
    let (answer, read) = async_channel::bounded(1);
    let accepted = core.read(
        Payer::Daemon,
        Box::new(move |view| {
            let _ = answer.try_send(view.and_then(|view| view.bot(name).ok()));
        }),
    );
    if accepted { read.recv().await.ok().flatten() } else { None }
}

impl Host<'_> {
    async fn next(
        &mut self,
        reader: &mut crate::net::local::LocalReader,
        watched: &Receiver<(String, String)>,
    ) -> std::io::Result<Option<Input>> {
        let line = async { Ok(reader.next_line().await?.map(Input::Line)) };
        let watching = async {
            match watched.recv().await {
                Ok((room, text)) => Ok(Some(Input::Watched(room, text))),
                Err(_) => futures_lite::future::pending().await,
            }
        };
        let now = self.task.core().environment.clock.now().millis();
        let next = self.timers.values().min().copied();
        let due = async {
            let Some(next) = next else { return futures_lite::future::pending().await };
            let wait = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
            // The clock may be set, so it is read again at least once a minute.
            Timer::after(Duration::from_millis(wait.min(60_000))).await;
            Ok(Some(Input::Due))
        };
        // A busy room does not delay a timer that is due.
        if next.is_some_and(|next| next <= now) {
            return Ok(Some(Input::Due));
        }
        line.or(watching).or(due).await
    }

    /// Deals with a line of the session.
    fn line(&mut self, whole: &str) {
        let Some(line) = ServerLine::parse(whole) else { return };
        let label: Option<u64> = line.tags.get("ref").and_then(|label| label.parse().ok());
        match (&line.body, label) {
            (Body::Ok { verb: "SYNC", params: Some(params) }, None) => {
                if let Some(cursor) = params.strip_suffix(" more") {
                    self.send(None, format!("SYNC {cursor} 500\n").into_bytes());
                }
                return;
            }
            (Body::Err { verb: "SYNC", code, text }, None) => {
                self.task.tell(&format!("SYNC was refused: {code} {text}"));
                return;
            }
            (Body::Ok { .. } | Body::Err { .. }, Some(label)) => {
                self.answered(label, &line);
                if self.posting.is_empty() {
                    for early in std::mem::take(&mut self.early) {
                        self.line(&early);
                    }
                }
                return;
            }
            _ => {}
        }
        let (Some(id), Some(from)) = (line.id(), line.from) else { return };
        let Body::Entry { kind, target, about, text } = &line.body else { return };
        if id <= self.cursor {
            return;
        }
        // Bots do not hear bots, and never themselves.
        if line.tags.has("bot") {
            return;
        }
        let place = match kind {
            EntryKind::Priv => ReplyTarget::Private(from),
            _ => ReplyTarget::Room(target),
        };
        let time = line.time().map(snug_protocol::Timestamp::millis);
        match (kind, about, text) {
            (EntryKind::Msg | EntryKind::Priv, _, Some(text)) => {
                self.said(text, from, place, (id, time));
            }
            (EntryKind::React | EntryKind::Unreact, Some(about), Some(reaction)) => {
                let Some(post) = self.posts.get(about).cloned() else {
                    if !self.posting.is_empty() {
                        // It may be about a post that is sent again after a crash and not answered yet.
                        self.early.push(whole.to_owned());
                    }
                    return;
                };
                let is_there = *kind == EntryKind::React;
                let event = Event::Reacted { post: &post, from, reaction, is_there };
                self.tell(&event, Some(place), Some((id, None)));
            }
            _ => {}
        }
    }

    /// Deals with a message: calls a command, or passes the message to a bot that listens.
    fn said(&mut self, text: &str, from: &str, place: ReplyTarget<'_>, (id, time): (u64, Option<i64>)) {
        let is_private = matches!(place, ReplyTarget::Private(_));
        let manifest = self.manifest.clone();
        let command = called(text, is_private)
            .and_then(|(word, rest)| Some((manifest.commands.iter().find(|spec| spec.name == word)?, rest)));
        match command {
            Some((spec, rest)) => match spec.args(rest) {
                Ok(args) => {
                    let event = Event::Called { command: &spec.name, args: &args, from };
                    self.tell(&event, Some(place), Some((id, time)));
                }
                Err(misuse) => {
                    let action = Action::Say { to: place.name().to_owned(), text: misuse };
                    self.act(vec![action], Some(place), Some((id, time)));
                    self.step(id);
                }
            },
            None if self.manifest.listens => {
                self.tell(&Event::Heard { from, text }, Some(place), Some((id, time)));
            }
            None => {}
        }
    }

    /// Tells the bot of an event and carries out its actions. `cause` is the entry with the time at which it was
    /// sent.
    fn tell(&mut self, event: &Event<'_>, place: Option<ReplyTarget<'_>>, cause: Option<(u64, Option<i64>)>) {
        let core = Arc::clone(self.task.core());
        let now = moment(core.environment.clock.now().millis());
        let mut random = || {
            let mut bytes = [0; 8];
            core.environment.random.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let before = self.state.clone();
        let begun = core.environment.clock.elapsed();
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::new(now, place, &mut self.state, &mut random);
            self.hosted.bot.handle(event, &mut context);
            context.into_actions()
        }));
        let took = core.environment.clock.elapsed().saturating_sub(begun);
        if took > Duration::from_secs(1) {
            self.task.tell(&format!("it took {} ms for one event", took.as_millis()));
        }
        match handled {
            Ok(actions) => self.act(actions, place, cause),
            Err(_) => {
                // The bot's unfinished changes are discarded.
                self.state = before;
                self.panics += 1;
                self.task.tell("it panicked; what it was told goes without an answer");
            }
        }
        self.step(cause.map_or(self.cursor, |(id, _)| id));
    }

    fn due(&mut self) {
        let now = self.task.core().environment.clock.now().millis();
        let due: Vec<String> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| timer.clone()).collect();
        for timer in due {
            self.timers.remove(&timer);
            self.tell(&Event::Due { timer: &timer }, None, None);
        }
    }

    fn act(
        &mut self,
        actions: Vec<Action>,
        place: Option<ReplyTarget<'_>>,
        cause: Option<(u64, Option<i64>)>,
    ) {
        let now = self.task.core().environment.clock.now().millis();
        let is_late = cause.and_then(|(_, time)| time).is_some_and(|time| now - time > LATE);
        for (number, action) in actions.into_iter().enumerate() {
            let (to, post, text) = match action {
                Action::Say { to, text } => (to, None, text),
                Action::Post { to, post, text } => (to, Some(post), text),
                Action::React { reaction } => {
                    self.react(reaction, place, cause.map(|(id, _)| id));
                    continue;
                }
                Action::Wait { timer, at: Some(at) } => {
                    self.timers.insert(timer, at);
                    continue;
                }
                Action::Wait { timer, at: None } => {
                    self.timers.remove(&timer);
                    continue;
                }
            };
            let text = if is_late && post.is_none() { format!("(late) {text}") } else { text };
            self.say(&to, post, text, cause.map(|(id, _)| format!("{id}-{number}")));
        }
    }

    /// Sends a message where the bot may: to its rooms and to users.
    fn say(&mut self, to: &str, post: Option<String>, text: String, key: Option<String>) {
        let text = sayable(&text);
        let tags = MessageTags {
            key: key.map(Into::into),
            replace: post.clone().map(Into::into),
            verbatim: true,
            ..MessageTags::default()
        };
        let command = match Target::parse(to) {
            Ok(Target::Room(room)) => {
                if !has_room(&self.hosted.rooms, &room) {
                    return self.task.tell(&format!("it would speak in {to}, which is none of its rooms"));
                }
                Command::Msg { room: room.into_owned(), text: text.into(), tags }
            }
            Ok(to) => Command::say(to.into_owned(), text, MessageTags { replace: None, ..tags }),
            Err(error) => return self.task.tell(&format!("{to:?} is nobody it could speak to: {error}")),
        };
        self.request(command, post);
    }

    fn react(&mut self, reaction: String, place: Option<ReplyTarget<'_>>, cause: Option<u64>) {
        let (Some(place), Some(id)) = (place, cause) else { return };
        let Ok(target) = Target::parse(place.name()) else { return };
        let command = Command::React { target, id: Cursor::at(id), reaction: &reaction };
        self.request(command, None);
    }

    fn request(&mut self, command: Command<'_>, post: Option<String>) {
        let label = self.last_label + 1;
        let mut line = Vec::new();
        Request { label: Some(label.to_string().into()), command }.write(&mut line);
        if self.send(Some(label), line)
            && let Some(post) = post
        {
            self.posting.insert(label, post);
        }
    }

    /// Queues a line to be sent, and returns false if too many wait.
    fn send(&mut self, label: Option<u64>, line: Vec<u8>) -> bool {
        let is_sent = self.requests.try_send(line).is_ok();
        match (is_sent, label) {
            (true, Some(label)) => self.last_label = label,
            (true, None) => {}
            (false, _) => self.task.tell("it is asked more than it can say; some of it is dropped"),
        }
        is_sent
    }

    /// Notes that the entries up to `cursor` are dealt with. This is committed once all requests so far are answered.
    fn step(&mut self, cursor: u64) {
        self.cursor = self.cursor.max(cursor);
        let changes = self.state.take_changes();
        if changes.is_empty()
            && self.last_label == self.stepped
            && self.cursor.saturating_sub(self.noted) < UNNOTED
        {
            // Nothing was done, so it makes no difference if the entries are looked at again.
            return;
        }
        self.noted = self.cursor;
        self.stepped = self.last_label;
        self.steps.push_back(Step { last_label: self.last_label, cursor: self.cursor, changes });
        self.commit();
    }

    fn answered(&mut self, label: u64, line: &ServerLine<'_>) {
        match (&line.body, self.posting.remove(&label)) {
            (Body::Ok { .. }, Some(post)) => {
                let id = line.tags.get("replaced").and_then(|id| id.parse().ok()).or(line.id());
                if let Some(id) = id
                    && self.posts.insert(id, post.clone()).is_none()
                {
                    self.state.set(&format!("{POST}{id}"), post);
                    self.forget_posts();
                }
            }
            // It was sent again after a crash with another text; the first one is in the log.
            (Body::Err { code: "key-reused", .. }, _) => {}
            (Body::Err { code, text, .. }, _) => {
                self.task.tell(&format!("it could not say something: {code} {text}"));
            }
            _ => {}
        }
        self.answered = label;
        let kept = self.state.take_changes();
        match self.steps.front_mut() {
            Some(step) => step.changes.extend(kept),
            None if !kept.is_empty() => {
                self.steps.push_back(Step { last_label: label, cursor: self.cursor, changes: kept });
            }
            None => {}
        }
        self.commit();
    }

    fn forget_posts(&mut self) {
        while self.posts.len() > POSTS {
            let Some(oldest) = self.posts.keys().min().copied() else { return };
            self.posts.remove(&oldest);
            self.state.remove(&format!("{POST}{oldest}"));
        }
    }

    /// Commits the steps whose requests are all answered.
    fn commit(&mut self) {
        while self.steps.front().is_some_and(|step| step.last_label <= self.answered) {
            let Some(step) = self.steps.pop_front() else { return };
            let act =
                BotStep { bot: self.hosted.name.to_owned(), cursor: step.cursor, changes: step.changes };
            self.task.core().note(Author::default(), Act::Bot(act));
        }
    }
}

/// Returns a time as the local time of this machine.
pub(super) fn moment(millis: i64) -> DateTime<FixedOffset> {
    match Local.timestamp_millis_opt(millis).single() {
        Some(local) => local.fixed_offset(),
        None => DateTime::from_timestamp_millis(millis).unwrap_or_default().fixed_offset(),
    }
}

/// Returns a text as a message can carry it: without control characters, and cut if it is too long.
pub(super) fn sayable(text: &str) -> String {
    const MOST: usize = 4_000;
    let mut text: String = text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    if text.len() > MOST {
        let mut end = MOST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}
