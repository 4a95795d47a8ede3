//! `snug room`: what a room is, who is in charge of it, and keeping it in order.

use clap::Subcommand;
use snug_client::Client;
use snug_protocol::{Body, Command, Nick, Period, Role, RoomName, RoomOrServer, escape_text, unescape_text};

use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

/// Rooms: their settings, who is what, and keeping order
#[derive(Subcommand)]
pub(crate) enum Room {
    /// Make a room; as an account's it stays
    Create {
        /// Its name, with its #
        room: String,
        /// public, hidden or invite
        #[arg(long, value_name = "ACCESS")]
        access: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Show its settings
    Show { room: String },
    /// Change a setting: access, join, read, send, invite, slow, description, history or keep
    Set { room: String, name: String, value: Vec<String> },
    /// Put somebody on its list
    Invite { room: String, whom: String },
    /// Show who is what in it; or make somebody owner, moderator, member or none
    Role { room: String, whom: Option<String>, role: Option<String> },
    /// End a room with all that was said in it, for good; * for the empty rooms that guests made
    Close {
        #[arg(value_name = "ROOM|*")]
        room: String,
        /// Why
        reason: Vec<String>,
    },
    #[command(flatten)]
    Order(Order),
}

/// Keeping order, in a room or on the whole server (*, which is what `snug admin` means without a room).
#[derive(Subcommand)]
pub(crate) enum Order {
    /// Put somebody out of a room, or end their sessions
    Kick {
        /// [ROOM|*] WHO [REASON…]
        #[arg(required = true, value_name = "[ROOM] WHO [REASON]")]
        words: Vec<String>,
    },
    /// Keep somebody out; without WHO, list who is
    ///
    /// WHO is a nick; on the server also an address or range such as 192.0.2.0/24, or a token as account/label.
    Ban {
        /// [ROOM|*] [WHO [REASON…]]
        #[arg(value_name = "[ROOM] WHO [REASON]")]
        words: Vec<String>,
        /// For how long: 30m, 12h, 7d [default: for ever]
        #[arg(long, value_name = "TIME")]
        expires: Option<Period>,
    },
    /// Take a ban back
    Unban {
        /// [ROOM|*] WHO
        #[arg(required = true, value_name = "[ROOM] WHO")]
        words: Vec<String>,
    },
    /// Let somebody hear and not speak: for a time such as 10m, or off
    Mute {
        /// [ROOM|*] WHO TIME [REASON…]
        #[arg(required = true, value_name = "[ROOM] WHO TIME [REASON]")]
        words: Vec<String>,
    },
}

/// The place of an order, and the words behind it.
struct Placed {
    place: RoomOrServer<'static>,
    words: std::vec::IntoIter<String>,
}

impl Placed {
    /// Takes the place off the front, if it stands there; else it is the default one.
    fn new(words: Vec<String>, default: Option<RoomOrServer<'static>>) -> Result<Placed, Failure> {
        let is_place = words.first().is_some_and(|word| word == "*" || word.starts_with('#'));
        let mut words = words.into_iter();
        let place = match (is_place, default) {
            (true, _) => place_of(&words.next().unwrap_or_default())?,
            (false, Some(default)) => default,
            (false, None) => return Err(Failure::new(Exit::Usage, "a room with its # comes first")),
        };
        Ok(Placed { place, words })
    }

    fn word(&mut self, what: &str) -> Result<String, Failure> {
        self.words.next().ok_or_else(|| Failure::new(Exit::Usage, format!("{what} is missing")))
    }

    /// What is left, as one text.
    fn rest(self) -> Option<std::borrow::Cow<'static, str>> {
        let text = self.words.collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then(|| text.into())
    }
}

impl Room {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (client, events) = connect::connect(common, Part::Asker).await?;
        drop(events);
        match self {
            Room::Order(order) => order.run(&client, None, common).await,
            Room::Create { room, access, description } => {
                let room = room_name(&room)?;
                client.ask(Command::Join { room: room.clone() }).await?;
                for (name, value) in [("access", access), ("description", description)] {
                    if let Some(value) = value {
                        let change = Some((name, value.into()));
                        client.ask(Command::Set { room: room.clone(), change }).await?;
                    }
                }
                show(&client, &room, common).await
            }
            Room::Show { room } => show(&client, &room_name(&room)?, common).await,
            Room::Set { room, name, value } => {
                let value = value.join(" ");
                if value.is_empty() {
                    return Err(Failure::new(Exit::Usage, "a value is missing"));
                }
                let room = room_name(&room)?;
                let change = Some((name.as_str(), value.into()));
                client.ask(Command::Set { room, change }).await?;
                Ok(())
            }
            Room::Invite { room, whom } => {
                let (room, nick) = (room_name(&room)?, nick_of(&whom)?);
                client.ask(Command::Invite { to: Some((room, nick)), expires: None }).await?;
                Ok(())
            }
            Room::Close { room, reason } => {
                let reason = reason.join(" ");
                let reason = (!reason.is_empty()).then(|| reason.into());
                let answer = client.ask(Command::Close { place: place_of(&room)?, reason }).await?;
                if let Body::Ok { params: Some(params), .. } = answer.ok.line().body
                    && let Some(count) = params.strip_prefix("* ")
                {
                    output::print(&format!("{count} rooms are closed"))?;
                }
                Ok(())
            }
            Room::Role { room, whom, role } => {
                let place = place_of(&room)?;
                roles(&client, place, whom.as_deref(), role.as_deref(), common).await
            }
        }
    }
}

impl Order {
    /// `default` is the place where none is named.
    pub(crate) async fn run(
        self,
        client: &Client,
        default: Option<RoomOrServer<'static>>,
        common: &Common,
    ) -> Result<(), Failure> {
        match self {
            Order::Kick { words } => {
                let mut placed = Placed::new(words, default)?;
                let nick = nick_of(&placed.word("who is to go")?)?;
                let place = placed.place.clone();
                client.ask(Command::Kick { place, nick, reason: placed.rest() }).await?;
            }
            Order::Ban { words, expires } => {
                let mut placed = Placed::new(words, default)?;
                let (place, who) = (placed.place.clone(), placed.words.next());
                let command = Command::Ban { place, whom: who.as_deref(), reason: placed.rest(), expires };
                for row in client.ask(command).await?.rows {
                    let line = row.line();
                    let Body::Ban { place, whom, until, reason } = &line.body else { continue };
                    let reason = reason.as_deref().unwrap_or_default();
                    let by = line.tags.get("by").unwrap_or_default();
                    let end = match *until {
                        "-" => "for ever".to_owned(),
                        until => format!("until {}", output::moment_of(until)),
                    };
                    let shown = format!("{place} {whom} {end}, by {by}: {reason}");
                    let fields = [
                        ("place", *place),
                        ("who", whom),
                        ("until", until),
                        ("by", &*by),
                        ("reason", reason),
                    ];
                    output::row(common.json, &fields, shown.trim_end_matches(": "))?;
                }
            }
            Order::Unban { words } => {
                let mut placed = Placed::new(words, default)?;
                let who = placed.word("who is to be let in again")?;
                client.ask(Command::Unban { place: placed.place.clone(), whom: &who }).await?;
            }
            Order::Mute { words } => {
                let mut placed = Placed::new(words, default)?;
                let nick = nick_of(&placed.word("who is to be silent")?)?;
                let time = match placed.word("a time, or off,")?.as_str() {
                    "off" => None,
                    time => Some(
                        time.parse()
                            .map_err(|error| Failure::new(Exit::Usage, format!("{error}, or off")))?,
                    ),
                };
                let place = placed.place.clone();
                client.ask(Command::Mute { place, nick, time, reason: placed.rest() }).await?;
            }
        }
        Ok(())
    }
}

/// Shows who is what, or makes somebody something.
pub(crate) async fn roles(
    client: &Client,
    place: RoomOrServer<'static>,
    nick: Option<&str>,
    role: Option<&str>,
    common: &Common,
) -> Result<(), Failure> {
    let nick = nick.map(nick_of).transpose()?;
    let role = match role {
        None => None,
        Some("none") => Some(None),
        Some(word) => match word.parse() {
            Ok(role) if role > Role::Guest => Some(Some(role)),
            _ => {
                let text = "a role is owner, moderator, member or none in a room; operator, member or bot on the server (*)";
                return Err(Failure::new(Exit::Usage, text));
            }
        },
    };
    for row in client.ask(Command::Role { place, nick, role }).await?.rows {
        let line = row.line();
        let Body::Role { place, nick, role } = line.body else { continue };
        let fields = [("place", place), ("nick", nick), ("role", role)];
        output::row(common.json, &fields, &format!("{nick:<20} {role}"))?;
    }
    Ok(())
}

async fn show(client: &Client, room: &RoomName<'static>, common: &Common) -> Result<(), Failure> {
    for row in client.ask(Command::Set { room: room.clone(), change: None }).await?.rows {
        let line = row.line();
        let Body::Set { room, item } = line.body else { continue };
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let value = unescape_text(value);
        let shown = format!("{name:<12} {}", escape_text(&value));
        output::row(common.json, &[("room", room), ("name", name), ("value", &value)], &shown)?;
    }
    Ok(())
}

pub(crate) fn room_name(word: &str) -> Result<RoomName<'static>, Failure> {
    RoomName::parse(word)
        .map(RoomName::into_owned)
        .map_err(|error| Failure::new(Exit::Usage, format!("{word:?} is no room: {error}")))
}

pub(crate) fn nick_of(word: &str) -> Result<Nick<'static>, Failure> {
    Nick::parse(word)
        .map(Nick::into_owned)
        .map_err(|error| Failure::new(Exit::Usage, format!("{word:?} is no name: {error}")))
}

/// A room, or `*` for the server.
pub(crate) fn place_of(word: &str) -> Result<RoomOrServer<'static>, Failure> {
    if word == "*" { Ok(RoomOrServer::Server) } else { room_name(word).map(RoomOrServer::Room) }
}
