//! `snug chat`: talk, line by line. For people, screen readers, simple terminals and pipes: nothing moves the cursor.

mod act;
mod names;
mod show;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, IsTerminal};

use async_channel::{Receiver, Sender};
use clap::Args;
use futures_lite::{FutureExt, StreamExt, io::AsyncBufReadExt};
use snug_chat::input::{self, Choices, Input};
use snug_client::{Answer, Client, Event, Events, Kind, RequestError, TellError, Ticket, Typed};
use snug_protocol::{Command, Line, MessageTags, Nick, Request, RoomName, Target};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Chat in a terminal or through a pipe, line by line
///
/// Each line you type is sent as a message, at first to #lobby. A line that begins with / is a command; /help lists them. At
/// the end of its input the chat exits, after every line was answered.
#[derive(Args)]
pub(crate) struct Chat {
    /// The server, as --server takes it
    address: Option<snug_client::Address>,

    /// Where to begin: a room with its #, or a person
    #[arg(long, value_name = "TARGET", default_value = "#lobby")]
    to: String,

    /// Show the number of each message, for /reply, /react and others
    #[arg(long)]
    numbers: bool,

    /// Line by line, without moving the cursor: it is always so
    #[arg(long)]
    plain: bool,
}

/// Most names that a tab at the end of a line lists.
const OFFERED: usize = 20;

/// Most lines that a person types ahead.
const AHEAD: usize = 1_000;

/// What an answer is for.
enum Asked {
    /// A text: if it is refused, it is shown again.
    Text(String),
    /// What a command does is told by its event, or is nothing to be told.
    Silent,
    /// The same, and this is where one is then.
    Joined,
    /// The same, and one is in the lobby then, if one was there.
    Left(RoomName<'static>),
    /// Who has the name to whom one wants to talk.
    To(Nick<'static>),
    /// Rows to be shown; if there are none, that is said of what they are.
    Rows(&'static str),
    /// A page of what was said there.
    Page(Target<'static>),
    /// The inbox when the chat begins: only what is unread.
    Unread,
    /// Who is here, and which rooms there are, for completion.
    Names,
    /// The OK itself is the news.
    Done(String),
}

/// A chat that goes on.
pub(super) struct Session {
    common: Common,
    client: Client,
    nick: String,
    /// Where a text is said.
    place: Target<'static>,
    /// Where to go first.
    begins: Option<Target<'static>>,
    asked: BTreeMap<Ticket, Asked>,
    /// Commands that could not be handed over yet, as lines.
    waiting: VecDeque<(String, Asked)>,
    /// The newest entry of one's own, and of each place the newest of all.
    last_own: Option<(Target<'static>, u64)>,
    newest: HashMap<String, u64>,
    names: names::Names,
    /// The page that was shown last: where, and its first and last entry.
    page: Option<(Target<'static>, u64, u64)>,
    /// What the last line could have been completed to, if it ended with a tab.
    choices: Option<Choices>,
    numbers: bool,
    /// How many files are on their way; each says at its end whether it has arrived.
    transfers: usize,
    transferred: (Sender<bool>, Receiver<bool>),
    /// Whether lines that one types stand on the screen already.
    is_typed: bool,
    is_connected: bool,
    /// Lines that were typed while those before them are not done.
    typed: VecDeque<String>,
    /// Whether the chat is to end, and with which word.
    ends: Option<Option<String>>,
    has_failed: bool,
}

/// Something to react to.
enum Next {
    Event(Event),
    Line(Option<io::Result<String>>),
    Transferred(bool),
    Over,
}

impl Chat {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        if common.json {
            let text = "chat has no JSON output; use `snug tail`, `send` or `ask` with --json";
            return Err(Failure::new(Exit::Usage, text));
        }
        let server = self.address.or_else(|| common.server.clone());
        let common = Common { server, is_chat: true, ..common.clone() };
        let place = connect::target(&self.to)?.into_owned();
        let is_typed = io::stdin().is_terminal();
        let (client, events) = connect::connect(&common, Part::Person { waits: is_typed }).await?;
        let mut session = Session {
            common,
            client,
            nick: String::new(),
            place: Target::Room(RoomName::LOBBY),
            begins: Some(place),
            asked: BTreeMap::new(),
            waiting: VecDeque::new(),
            last_own: None,
            newest: HashMap::new(),
            names: names::Names::default(),
            page: None,
            choices: None,
            numbers: self.numbers,
            transfers: 0,
            transferred: async_channel::unbounded(),
            is_typed,
            is_connected: true,
            typed: VecDeque::new(),
            ends: None,
            has_failed: false,
        };
        session.talk(&events).await
    }
}

impl Session {
    async fn talk(&mut self, events: &Events) -> Result<(), Failure> {
        let stdin = smol::io::BufReader::new(smol::Unblock::new(io::stdin()));
        let mut lines = stdin.lines();
        let (mut has_lines, mut has_told) = (true, false);
        loop {
            self.hand_over()?;
            // One line after another: what a command says may depend on what the one before has done.
            let is_idle = self.asked.is_empty() && self.waiting.is_empty();
            let is_over = self.ends.is_some() || !has_lines && self.typed.is_empty();
            if is_idle && is_over {
                if self.transfers == 0 {
                    break;
                }
                if !std::mem::replace(&mut has_told, true) {
                    let text = "waiting for file transfers to finish; press Ctrl-C to stop now";
                    self.tell(text)?;
                }
            }
            if is_idle && let Some(line) = self.typed.pop_front() {
                self.line(&line)?;
                continue;
            }
            // A person types on, also while the server is away; a pipe waits.
            let has_room = is_idle || self.is_typed && self.typed.len() < AHEAD;
            let reads = has_room && self.ends.is_none() && has_lines && !self.nick.is_empty();
            let event = async { events.recv().await.map_or(Next::Over, Next::Event) };
            let line = async {
                match reads {
                    true => Next::Line(lines.next().await),
                    false => futures_lite::future::pending().await,
                }
            };
            let transferred = async {
                let arrived = self.transferred.1.recv().await;
                Next::Transferred(arrived.unwrap_or_default())
            };
            match event.or(transferred).or(line).await {
                Next::Transferred(has_arrived) => {
                    self.transfers -= 1;
                    self.has_failed |= !has_arrived;
                }
                Next::Event(event) => self.event(event)?,
                Next::Line(Some(Ok(line))) => {
                    let ends =
                        matches!(input::parse(&line), Ok(Input::Call(call)) if call.command.name == "quit");
                    if ends && !self.is_connected {
                        return Ok(self.leave_undone()?);
                    }
                    self.typed.push_back(line);
                }
                Next::Line(Some(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                    self.tell("a line was not UTF-8 and was not sent")?;
                    self.has_failed = true;
                }
                Next::Line(Some(Err(_)) | None) => {
                    has_lines = false;
                    if self.is_typed && !self.is_connected {
                        return Ok(self.leave_undone()?);
                    }
                }
                Next::Over => return Err(Failure::new(Exit::TryAgain, "the connection is closed")),
            }
        }
        if let Some(Some(word)) = &self.ends {
            self.client.finish_with(word);
        }
        match self.has_failed && !self.is_typed {
            true => Err(Failure::new(Exit::Refused, "some lines failed; see the messages above")),
            false => Ok(()),
        }
    }

    /// Ends although the server is away, and tells what was not said.
    fn leave_undone(&mut self) -> io::Result<()> {
        let asked = std::mem::take(&mut self.asked).into_values();
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, asked)| asked);
        let texts = asked.chain(waiting).filter_map(|asked| match asked {
            Asked::Text(text) => Some(text),
            _ => None,
        });
        for text in texts.chain(std::mem::take(&mut self.typed)) {
            self.tell(&format!("not sent: {text}"))?;
        }
        Ok(())
    }

    /// Asks for something; the answer is an event.
    fn ask(&mut self, command: Command<'_>, asked: Asked) {
        let mut line = Vec::new();
        Request { label: None, command }.write(&mut line);
        let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        self.waiting.push_back((line, asked));
    }

    /// Hands over what waits, as far as the client takes it.
    fn hand_over(&mut self) -> io::Result<()> {
        while let Some((line, asked)) = self.waiting.pop_front() {
            let told = Line::parse(&line).ok().and_then(|line| {
                let request = Request::parse(&line).ok()?;
                Some(self.client.tell(request.command))
            });
            match told {
                Some(Ok(ticket)) => drop(self.asked.insert(ticket, asked)),
                Some(Err(TellError::Full)) => {
                    self.waiting.push_front((line, asked));
                    break;
                }
                // A connection that is closed is the next event.
                Some(Err(TellError::Closed)) => self.has_failed = true,
                Some(Err(error)) => self.not_done(asked, &error.to_string())?,
                None => self.not_done(asked, "this does not fit in a line of the protocol")?,
            }
        }
        Ok(())
    }

    /// Tells why something was not done. A text is shown again.
    fn not_done(&mut self, asked: Asked, why: &str) -> io::Result<()> {
        self.has_failed = true;
        if let Asked::Text(text) = asked {
            self.tell(&format!("not sent: {text}"))?;
        }
        self.tell(why)
    }

    /// Tells the person something about the chat itself.
    fn tell(&self, text: &str) -> io::Result<()> {
        output::print(&format!("* {}", output::visible(text)))
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        let mut line = output::plain(line);
        if let Some(choices) = self.choices.take()
            && let Some(chosen) = choices.pick(&line)
        {
            line = chosen;
            self.tell(&line)?;
        }
        if self.is_typed && line.ends_with('\t') {
            return Ok(self.offer(line.trim_end_matches('\t'))?);
        }
        match input::parse(&line) {
            Ok(Input::Nothing) => {}
            Ok(Input::Text(text)) => self.say(self.place.clone(), text, MessageTags::default()),
            Ok(Input::Call(call)) => self.call(&call)?,
            Err(misuse) => {
                self.has_failed = true;
                self.tell(&misuse.to_string())?;
            }
        }
        Ok(())
    }

    /// Lists what a line could be completed to. The next line chooses.
    fn offer(&mut self, line: &str) -> io::Result<()> {
        let choices = Choices::of(line, self.names.known(), OFFERED);
        if choices.words().is_empty() {
            return self.tell("nothing matches");
        }
        for (at, word) in choices.words().iter().enumerate() {
            output::print(&format!("{} {}", at + 1, output::visible(word)))?;
        }
        self.tell("type a number to choose, followed by the rest of the line")?;
        self.choices = Some(choices);
        Ok(())
    }

    fn say(&mut self, to: Target<'static>, text: String, tags: MessageTags<'static>) {
        self.ask(Command::say(to, text.clone(), tags), Asked::Text(text));
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Connected { address, nick, .. } => {
                let is_first = self.nick.is_empty();
                self.is_connected = true;
                self.nick.clone_from(&nick);
                match is_first {
                    true => {
                        self.tell(&format!("connected to {address} as {nick}; /help lists the commands"))?;
                        if self.is_typed {
                            self.ask(Command::Rooms, Asked::Names);
                            self.ask(Command::Who { of: None }, Asked::Names);
                        }
                        match self.begins.take() {
                            Some(Target::Room(room)) if room.fold() != RoomName::LOBBY.fold() => {
                                self.ask(Command::Join { room }, Asked::Joined);
                            }
                            Some(place) => self.go(place)?,
                            None => {}
                        }
                        self.ask(Command::Inbox { before: None, limit: None }, Asked::Unread);
                    }
                    false => self.tell(&format!("connected again as {nick}"))?,
                }
            }
            Event::Disconnected { loss } => {
                self.is_connected = false;
                self.tell(&format!("disconnected: {loss}"))?;
            }
            Event::Gap { target, from, to } => {
                self.tell(&format!("{target}: messages from {from} to {to} are not kept any more"))?;
            }
            Event::RoomRefused { room, text, .. } => self.tell(&format!("{room}: {text}"))?,
            Event::GaveUp { error } => return Err(Failure::from(&*error)),
            Event::Answered { ticket, answer } => {
                if let Some(asked) = self.asked.remove(&ticket) {
                    self.answered(asked, answer)?;
                }
            }
            Event::Line(received) => {
                let typed = received.typed();
                let line = received.line();
                // What one has just typed stands there already, and what one is doing is told by the answer.
                let is_own = line.from == Some(self.nick.as_str());
                let is_echo = match &typed {
                    Typed::Entry(entry) => {
                        let is_message = matches!(entry.kind, Kind::Message { .. });
                        self.is_typed && is_message && line.tags.has("ref")
                    }
                    Typed::Renamed { .. } => false,
                    _ => is_own,
                };
                self.note(&typed, line.from);
                if !is_echo && let Some(text) = show::shown(&typed, &received, self.numbers) {
                    output::print(&text)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers what commands refer to.
    fn note(&mut self, typed: &Typed, from: Option<&str>) {
        self.names.note(typed);
        match typed {
            Typed::Entry(entry) => {
                let place = entry.conversation.name().to_owned();
                self.newest.insert(folded(&place), entry.place.id);
                let is_own = entry.own || from == Some(self.nick.as_str());
                if is_own
                    && matches!(entry.kind, Kind::Message { .. })
                    && let Some(target) = show::target(&entry.conversation)
                {
                    self.last_own = Some((target, entry.place.id));
                }
            }
            Typed::Renamed { from, to } if *from == self.nick => self.nick.clone_from(to),
            _ => {}
        }
    }

    fn answered(&mut self, asked: Asked, answer: Result<Answer, RequestError>) -> Result<(), Failure> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if matches!(asked, Asked::To(_)) => {
                // Who is away may be written to nevertheless, if they have an account.
                let Asked::To(nick) = asked else { return Ok(()) };
                self.place = Target::Nick(nick);
                self.tell(&error.to_string())?;
                return Ok(self.tell(&format!("messages now go to {}, once they are online", self.place))?);
            }
            Err(error) => return Ok(self.not_done(asked, &error.to_string())?),
        };
        match (answer, asked) {
            (_, Asked::Text(_) | Asked::Silent) => {}
            (answer, Asked::Joined) => {
                if let snug_protocol::Body::Ok { params: Some(room), .. } = answer.ok.line().body
                    && let Ok(room) = RoomName::parse(room)
                {
                    self.go(Target::Room(room.into_owned()))?;
                }
            }
            (_, Asked::Left(room)) => {
                self.tell(&format!("you have left {room}"))?;
                let is_here = matches!(&self.place, Target::Room(here) if here.fold() == room.fold());
                if is_here && room.fold() != RoomName::LOBBY.fold() {
                    self.go(Target::Room(RoomName::LOBBY))?;
                }
            }
            (answer, Asked::To(nick)) => {
                // The name may be somebody else's later on, and what is typed is for who has it now.
                let who = answer.rows.iter().find_map(|row| match row.typed() {
                    Typed::Present { who, .. } => who.who,
                    _ => None,
                });
                self.place = Target::Nick(nick).with_who(who);
                self.tell(&format!("messages now go to {}", self.place))?;
            }
            (_, Asked::Done(text)) => self.tell(&text)?,
            (answer, Asked::Unread) => {
                for row in &answer.rows {
                    match row.typed() {
                        Typed::Conversation(row) if row.unread == 0 => {}
                        typed => show::row(&typed, row, self.numbers)?,
                    }
                }
            }
            (answer, Asked::Names) => {
                for row in &answer.rows {
                    match row.line().body {
                        snug_protocol::Body::Room { room, .. } => self.names.meet(room),
                        _ => self.names.note(&row.typed()),
                    }
                }
            }
            (answer, Asked::Page(place)) => {
                let ids = answer.rows.iter().filter_map(|row| row.line().id());
                match (ids.clone().min(), ids.max()) {
                    (Some(first), Some(last)) => {
                        let newest = self.newest.entry(folded(place.as_str())).or_default();
                        *newest = last.max(*newest);
                        self.page = Some((place, first, last));
                    }
                    _ => self.tell("no messages there")?,
                }
                for row in &answer.rows {
                    show::row(&row.typed(), row, self.numbers)?;
                }
            }
            (answer, Asked::Rows(heading)) => {
                if answer.rows.is_empty() {
                    self.tell(&format!("{heading}: none"))?;
                }
                for row in &answer.rows {
                    show::row(&row.typed(), row, self.numbers)?;
                }
            }
        }
        Ok(())
    }

    /// Lets what is typed from now on be said somewhere.
    pub(super) fn go(&mut self, place: Target<'static>) -> io::Result<()> {
        if let Target::Nick(nick) = place {
            let of = Some(Target::Nick(nick.clone()));
            self.ask(Command::Who { of }, Asked::To(nick));
            return Ok(());
        }
        self.place = place;
        self.tell(&format!("messages now go to {}", self.place))
    }

    /// The place where one is, as a room.
    fn room(&self) -> Result<RoomName<'static>, String> {
        match &self.place {
            Target::Room(room) => Ok(room.clone()),
            other => Err(format!("this needs a room, and you are writing to {other}; switch with /to #room")),
        }
    }

    /// An entry that was named by its number, or `^`, and where it is.
    fn entry(&self, word: &str) -> Result<(Target<'static>, u64), String> {
        match (word, &self.last_own) {
            ("^", Some(last)) => Ok(last.clone()),
            ("^", None) => Err("you have not sent a message yet".to_owned()),
            _ => Ok((self.place.clone(), word.parse().unwrap_or_default())),
        }
    }
}

/// The name of a place in the form in which it is the same however it is written.
pub(super) fn folded(name: &str) -> String {
    match Target::parse(name) {
        Ok(Target::Room(room)) => room.fold().as_str().to_owned(),
        Ok(Target::Nick(nick)) => nick.fold().as_str().to_owned(),
        _ => name.to_owned(),
    }
}
