//! `snug status` and `snug profile`: how one appears to others.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use snug_client::Client;
use snug_protocol::{Body, Command, Nick, Presence, ProfileChange};

use crate::account::client;
use crate::connect::{self, Part};
use crate::environment::Common;
use crate::failure::{Exit, Failure};
use crate::output;

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum How {
    Online,
    Away,
    Busy,
}

/// Tell how one is here, as long as another session of one's own lasts
#[derive(Args)]
pub(crate) struct Status {
    how: How,
    /// A few words about it
    text: Vec<String>,
}

impl Status {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let client = client(common).await?;
        let presence = match self.how {
            How::Online => Presence::Online,
            How::Away => Presence::Away,
            How::Busy => Presence::Busy,
        };
        let text = Some(self.text.join(" ")).filter(|text| !text.is_empty()).map(Into::into);
        client.ask(Command::Status { presence, text }).await?;
        Ok(())
    }
}

/// Show somebody's profile, or change one's own
#[derive(Args)]
pub(crate) struct Profile {
    /// Whose [default: one's own]
    whom: Option<String>,

    /// A name to show; empty takes it away
    #[arg(long, value_name = "NAME")]
    display: Option<String>,

    /// A colour, #rrggbb; empty takes it away
    #[arg(long, value_name = "COLOUR")]
    colour: Option<String>,

    /// A picture, PNG, JPEG, WebP or GIF of less than 64 KiB; empty takes it away
    #[arg(long, value_name = "FILE")]
    avatar: Option<PathBuf>,

    /// Write the picture to this new file
    #[arg(long, value_name = "FILE", conflicts_with = "avatar")]
    save_avatar: Option<PathBuf>,
}

impl Profile {
    pub(crate) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (client, events) = connect::connect(common, Part::Asker).await?;
        let own = connect::own_nick(&events).await.unwrap_or_default();
        drop(events);
        let name = self.whom.clone().unwrap_or(own);
        let nick = Nick::parse(&name)
            .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no name: {error}")))?;
        for (part, value) in [("display", &self.display), ("colour", &self.colour)] {
            let Some(value) = value else { continue };
            let change = match value.is_empty() {
                true => ProfileChange::Clear(part),
                false => ProfileChange::Set(part, value.as_str().into()),
            };
            client.ask(Command::Profile { nick: nick.clone(), change }).await?;
        }
        if let Some(file) = &self.avatar {
            if file.as_os_str().is_empty() {
                let change = ProfileChange::Clear("avatar");
                client.ask(Command::Profile { nick: nick.clone(), change }).await?;
            } else {
                set_avatar(&client, &nick, file).await?;
            }
        }
        if let Some(file) = &self.save_avatar {
            return save_avatar(&client, &nick, file).await;
        }
        if self.display.is_some() || self.colour.is_some() || self.avatar.is_some() {
            return Ok(());
        }
        let change = ProfileChange::Ask(None);
        for row in client.ask(Command::Profile { nick, change }).await?.rows {
            let line = row.line();
            let Body::Profile { nick, item } = line.body else { continue };
            let (part, value) = item.split_once('=').unwrap_or((item, ""));
            let shown = format!("{part:<8} {}", output::visible(value));
            output::row(common.json, &[("nick", nick), ("name", part), ("value", value)], &shown)?;
        }
        Ok(())
    }
}

async fn set_avatar(client: &Client, nick: &Nick<'_>, file: &PathBuf) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", file.display()));
    let bytes = fs::read(file).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > snug_protocol::limits::BYTES {
        return Err(failed(format!(
            "it has {} bytes; a picture has at most {}",
            bytes.len(),
            snug_protocol::limits::BYTES
        )));
    }
    let kind = match bytes.get(..12).unwrap_or(&bytes) {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => "image/webp",
        _ => return Err(failed("it is no PNG, JPEG, WebP or GIF".to_owned())),
    };
    let change = ProfileChange::Set("avatar", kind.into());
    client.ask_with(Command::Profile { nick: nick.clone(), change }, bytes).await?;
    Ok(())
}

async fn save_avatar(client: &Client, nick: &Nick<'_>, file: &PathBuf) -> Result<(), Failure> {
    let change = ProfileChange::Ask(Some("avatar"));
    let answer = client.ask(Command::Profile { nick: nick.clone(), change }).await?;
    let Some(bytes) = answer.rows.iter().find_map(|row| row.bytes()) else {
        return Err(Failure::new(Exit::NotFound, format!("{nick} has no picture")));
    };
    let failed = |error: io::Error| Failure::new(Exit::Usage, format!("{}: {error}", file.display()));
    let mut made = fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    made.write_all(bytes).map_err(|error| {
        // Half a picture is none.
        let _ = fs::remove_file(file);
        failed(error)
    })
}
