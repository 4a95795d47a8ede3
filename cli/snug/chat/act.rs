//! What the commands do.

use std::io;
use std::path::PathBuf;

use snug_chat::input::{COMMANDS, Call, Command as Known};
use snug_protocol::{
    Command, Cursor, FileCommand, FileRef, MessageTags, Nick, Page, Period, Presence, ProfileChange, Role,
    RoomName, RoomOrServer, Target, TopicChange,
};

use super::{Asked, Session};
use crate::connect::{self, Part, TASKS};
use crate::environment::Common;
use crate::failure::Failure;
use crate::{file, output};

/// How many rows `/history` shows.
const HISTORY: u64 = 20;

impl Session {
    /// Does what a command says, or tells why not.
    pub(super) fn call(&mut self, call: &Call) -> io::Result<()> {
        if let Err(why) = self.act(call) {
            self.has_failed = true;
            self.tell(&why)?;
        }
        Ok(())
    }

    fn act(&mut self, call: &Call) -> Result<(), String> {
        let text = |name| call.get(name).map(|text| text.to_owned().into());
        match call.command.name {
            "help" => return help(call.get("command")),
            "quit" => self.ends = Some(call.get("text").map(str::to_owned)),
            "to" => return self.go(place(call.need("place"))?).map_err(|error| error.to_string()),
            "w" => {
                let to = Target::Nick(nick(call.need("who"))?);
                self.say(to, call.need("text").to_owned(), MessageTags::default());
            }
            "me" => {
                let tags = MessageTags { relayed: "+action".into(), ..MessageTags::default() };
                self.say(self.place.clone(), call.need("text").to_owned(), tags);
            }
            "reply" => {
                let (to, id) = self.entry(call.need("entry"))?;
                let tags = MessageTags { re: Some(Cursor::at(id)), ..MessageTags::default() };
                self.say(to, call.need("text").to_owned(), tags);
            }
            "edit" => {
                let (target, id) = self.entry(call.need("entry"))?;
                let said = call.need("text").to_owned();
                let command =
                    Command::Edit { target, id: Cursor::at(id), text: said.clone().into(), key: None };
                self.ask(command, Asked::Text(said));
            }
            "delete" => {
                let (target, id) = self.entry(call.need("entry"))?;
                self.ask(Command::Delete { target, id: Cursor::at(id) }, Asked::Silent);
            }
            "react" | "unreact" => self.react(call)?,
            "join" => self.ask(Command::Join { room: room(call.need("room"))? }, Asked::Joined),
            "leave" => {
                let room = call.get("room").map_or_else(|| self.room(), room)?;
                self.ask(Command::Leave { room: room.clone(), text: None }, Asked::Left(room));
            }
            "rooms" => self.ask(Command::Rooms, Asked::Rows("rooms")),
            "users" => {
                let of = match call.get("place") {
                    Some(word) => Some(place(word)?),
                    None => Some(self.place.clone()),
                };
                self.ask(Command::Who { of }, Asked::Rows("here"));
            }
            "inbox" => self.ask(Command::Inbox { before: None, limit: None }, Asked::Rows("conversations")),
            "read" => {
                let newest = self.newest.get(&super::folded(self.place.as_str())).copied();
                let id = newest.ok_or("no new messages here; /history shows older ones")?;
                let command =
                    Command::Read { target: self.place.clone(), id: Cursor::at(id), receipt: false };
                self.ask(command, Asked::Done(format!("marked {} as read", self.place)));
            }
            "history" => self.page(self.place.clone(), Page::Latest, call),
            "date" => {
                let moment = crate::since::moment(call.need("when")).map_err(|error| error.to_string())?;
                self.page(self.place.clone(), Page::Since(moment), call);
            }
            "older" | "newer" => {
                let (place, first, last) = self.page.clone().ok_or("/history or /date comes first")?;
                let page = match call.command.name {
                    "older" => Page::Before(Cursor::at(first)),
                    _ => Page::After(Cursor::at(last)),
                };
                self.page(place, page, call);
            }
            "search" => {
                let query = call.need("query").to_owned().into();
                let command = Command::Search { target: None, query, before: None, limit: Some(HISTORY) };
                self.ask(command, Asked::Rows("found"));
            }
            "topic" => {
                let change = text("text").map_or(TopicChange::Ask, TopicChange::Set);
                let asked = if change == TopicChange::Ask { Asked::Rows("topic") } else { Asked::Silent };
                self.ask(Command::Topic { room: self.room()?, change, key: None }, asked);
            }
            "profile" => {
                let command =
                    Command::Profile { nick: nick(call.need("who"))?, change: ProfileChange::Ask(None) };
                self.ask(command, Asked::Rows("profile"));
            }
            "nick" => {
                let nick = nick(call.need("nick"))?;
                self.ask(Command::Nick { nick, token: None, entrance: Default::default() }, Asked::Silent);
            }
            "away" | "busy" | "back" => {
                let presence = match call.command.name {
                    "away" => Presence::Away,
                    "busy" => Presence::Busy,
                    _ => Presence::Online,
                };
                let done = Asked::Done(format!("you are {} now", presence.word()));
                self.ask(Command::Status { presence, text: text("text") }, done);
            }
            "connection" => return self.connection().map_err(|error| error.to_string()),
            "file" | "filew" | "files" | "accept" | "decline" | "cancel" => self.files(call)?,
            _ => self.moderate(call)?,
        }
        Ok(())
    }

    /// Shows a page of what was said somewhere, of as many entries as were asked for.
    fn page(&mut self, target: Target<'static>, page: Page, call: &Call) {
        let limit = call.get("count").and_then(|count| count.parse().ok()).unwrap_or(HISTORY);
        let asked = Asked::Page(target.clone());
        self.ask(Command::History { target, page, limit: Some(limit), only_messages: true }, asked);
    }

    fn react(&mut self, call: &Call) -> Result<(), String> {
        let (target, id) = self.entry(call.need("entry"))?;
        let reaction = call.need("reaction");
        let id = Cursor::at(id);
        let command = match call.command.name {
            "react" => Command::React { target, id, reaction },
            _ => Command::Unreact { target, id, reaction },
        };
        self.ask(command, Asked::Silent);
        Ok(())
    }

    fn moderate(&mut self, call: &Call) -> Result<(), String> {
        let reason = call.get("reason").map(|reason| reason.to_owned().into());
        let here = self.room();
        let place = || here.clone().map(RoomOrServer::Room);
        let who = || nick(call.need("who"));
        let whom = call.need("who");
        let command = match call.command.name {
            "invite" => {
                let room = call.get("room").map_or_else(|| here.clone(), room)?;
                Command::Invite { to: Some((room, who()?)), expires: None }
            }
            "kick" => Command::Kick { place: place()?, nick: who()?, reason },
            "ban" => Command::Ban { place: place()?, whom: Some(whom), reason, expires: None },
            "unban" => Command::Unban { place: place()?, whom },
            "mute" => {
                let time: Period = call.need("time").parse().map_err(|error| format!("{error}"))?;
                Command::Mute { place: place()?, nick: who()?, time: Some(time), reason }
            }
            "unmute" => Command::Mute { place: place()?, nick: who()?, time: None, reason: None },
            "role" => {
                let nick = call.get("who").map(nick).transpose()?;
                let role = match call.get("role") {
                    None => None,
                    Some("none") => Some(None),
                    Some(word) => Some(word.parse::<Role>().ok()),
                };
                let asked = if role.is_none() { Asked::Rows("roles") } else { Asked::Silent };
                self.ask(Command::Role { place: place()?, nick, role }, asked);
                return Ok(());
            }
            _ => {
                let room = here?;
                let change = match (call.get("name"), call.get("value")) {
                    (None, _) => None,
                    (Some(name), Some(value)) => Some((name, value.to_owned().into())),
                    (Some(_), None) => {
                        return Err("its value is missing; usage: /room [name] [value]".to_owned());
                    }
                };
                let asked = if change.is_none() { Asked::Rows("settings") } else { Asked::Silent };
                self.ask(Command::Set { room, change }, asked);
                return Ok(());
            }
        };
        self.ask(command, Asked::Silent);
        Ok(())
    }

    /// Files go over a connection of their own, so that no message waits behind one.
    fn files(&mut self, call: &Call) -> Result<(), String> {
        match call.command.name {
            "file" | "filew" => {
                let to = match call.get("who") {
                    Some(who) => Target::Nick(nick(who)?),
                    None => self.place.clone(),
                };
                let path = PathBuf::from(call.need("path"));
                let common = self.same();
                let send = async move {
                    let (client, events) = connect::connect(&common, Part::Carrier).await?;
                    connect::tell_breaks(events);
                    file::send_paths(&client, &to, &[path], &common).await.map(drop)
                };
                self.carry(send);
            }
            "accept" => {
                let (_, id) = self.entry(call.need("entry"))?;
                let common = self.same();
                let fetch = async move { file::fetch(Cursor::at(id), &common).await };
                self.carry(fetch);
            }
            "cancel" => {
                let (_, id) = self.entry(call.need("entry"))?;
                let of = FileRef::Entry(Cursor::at(id));
                self.ask(
                    Command::File(FileCommand::Cancel { of }),
                    Asked::Done(format!("{id} is taken back")),
                );
            }
            "decline" => {
                let (_, id) = self.entry(call.need("entry"))?;
                let command = Command::File(FileCommand::Decline { id: Cursor::at(id) });
                self.ask(command, Asked::Done(format!("declined {id}")));
            }
            _ => {
                let of = Some(self.place.clone());
                let command = FileCommand::List { of, before: None, limit: Some(HISTORY) };
                self.ask(Command::File(command), Asked::Rows("files"));
            }
        }
        Ok(())
    }

    /// Does something beside the chat. If it fails, that is told on stderr.
    fn carry(&mut self, transfer: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.transfers += 1;
        let transferred = self.transferred.0.clone();
        let carrying = async move {
            let done = transfer.await;
            if let Err(failure) = &done {
                let _ = failure.report(false);
            }
            // The chat may be over.
            let _ = transferred.send(done.is_ok()).await;
        };
        TASKS.spawn(carrying).detach();
    }

    /// How another connection is the same person: by the name that one has now.
    fn same(&self) -> Common {
        Common { nick: Some(self.nick.clone()), ..self.common.clone() }
    }

    fn connection(&self) -> io::Result<()> {
        let counters = self.client.counters();
        let round_trip =
            counters.round_trip.map_or_else(String::new, |took| format!(", round trip {took:.1?}"));
        self.tell(&format!(
            "you are {}; {} bytes sent, {} received{round_trip}",
            self.nick, counters.sent, counters.received
        ))
    }
}

fn help(of: Option<&str>) -> Result<(), String> {
    let print = |text: &str| output::print(text).map_err(|error| error.to_string());
    if let Some(name) = of {
        let command = Known::find(name.trim_start_matches('/'));
        let command = command.ok_or_else(|| format!("there is no command {name}; /help lists them"))?;
        print(&format!("{}: {}", command.usage(), command.help))?;
        let aliases: Vec<String> = command.aliases.iter().map(|alias| format!("/{alias}")).collect();
        if !aliases.is_empty() {
            print(&format!("also {}", aliases.join(", ")))?;
        }
        return print(format!("for example /{} {}", command.name, command.example).trim_end());
    }
    for command in COMMANDS {
        print(&format!("{}: {}", command.usage(), command.help))?;
    }
    print("every other line is sent as a message; begin it with // to send a /")?;
    print("end a line with Tab to list completions of its last word")
}

fn room(word: &str) -> Result<RoomName<'static>, String> {
    RoomName::parse(word).map(RoomName::into_owned).map_err(|error| error.to_string())
}

fn nick(word: &str) -> Result<Nick<'static>, String> {
    Nick::parse(word).map(Nick::into_owned).map_err(|error| error.to_string())
}

fn place(word: &str) -> Result<Target<'static>, String> {
    Target::parse(word).map(Target::into_owned).map_err(|error| error.to_string())
}
