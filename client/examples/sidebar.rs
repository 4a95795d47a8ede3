//! A sidebar that keeps itself right, in some 60 lines: rooms and people with what is unread, invitations, who is here, who types.
//! `cargo run -p snug-client --example sidebar -- ADDRESS NAME`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use snug_client::{Client, Event, Name, Options, Place, Ticket, Typed};
use snug_protocol::{Command, Nick, Presence};

#[derive(Debug, Default)]
pub(crate) struct Sidebar {
    /// By conversation: what is unread, and how much of it mentions one.
    pub(crate) unread: BTreeMap<String, (u64, u64)>,
    pub(crate) invitations: BTreeSet<String>,
    pub(crate) present: BTreeMap<String, Presence>,
    /// Who types, and since when: it holds for six seconds.
    pub(crate) typing: BTreeMap<String, Instant>,
    asked: Option<Ticket>,
    is_stale: bool,
}

impl Sidebar {
    /// Takes the next event. The server counts: it is asked again when something has happened, one question at a time.
    pub(crate) fn take(&mut self, client: &Client, event: Event) {
        match event {
            Event::Answered { ticket, answer: Ok(answer) } => {
                if self.asked.take_if(|asked| *asked == ticket).is_some() {
                    (self.unread, self.invitations) = Default::default();
                }
                answer.rows.iter().for_each(|row| self.line(client, row.typed()));
            }
            Event::Line(line) => self.line(client, line.typed()),
            Event::Live { .. } => (self.asked, self.is_stale) = (None, true),
            _ => {}
        }
        self.typing.retain(|_, since| since.elapsed() < Duration::from_secs(6));
        if self.is_stale && self.asked.is_none() {
            self.present.clear();
            let _ = client.tell(Command::Who { of: None });
            self.asked = client.tell(Command::Inbox { before: None, limit: Some(1_000) }).ok();
            self.is_stale = self.asked.is_none();
        }
    }

    fn line(&mut self, client: &Client, typed: Typed) {
        match typed {
            Typed::Conversation(row) => {
                if let (Place::Person(person), true) = (&row.place, !self.unread.contains_key(row.name()))
                    && let Ok(nick) = Nick::parse(&person.nick)
                {
                    let _ = client.tell(Command::Watch { nicks: vec![nick], clear: false });
                }
                self.unread.insert(row.name().to_owned(), (row.unread, row.mentions));
            }
            Typed::Invitation { room, .. } => _ = self.invitations.insert(room),
            Typed::Present { who, presence: Some(how), .. } => _ = self.present.insert(who.nick, how),
            Typed::Quit { nick, .. } => _ = self.present.remove(&nick),
            Typed::Typing { nick, on: true, .. } => _ = self.typing.insert(nick, Instant::now()),
            Typed::Typing { nick, .. } => _ = self.typing.remove(&nick),
            Typed::Present { who, presence: None, .. } => _ = self.present.remove(&who.nick),
            _ => self.is_stale = true,
        }
    }
}

#[allow(dead_code, clippy::print_stdout, reason = "a program that prints, which a test includes")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, name] = &args[..] else { return Err("say ADDRESS NAME".into()) };
    let (client, events, driver) = Client::start(Options::new([address.parse()?], Name::or_numbered(name)));
    smol::spawn(driver.run()).detach();
    let mut sidebar = Sidebar::default();
    while let Ok(event) = smol::block_on(events.recv()) {
        sidebar.take(&client, event);
        println!("{sidebar:?}");
    }
    Ok(())
}
