//! A connection to the server, in the clear or sealed.

use std::net::TcpStream;

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use ring::rand::SystemRandom;
use smol::Async;
use snug_protocol::envelope::{ClientHandshake, ClientOptions};
use snug_protocol::{Codec, Decoded, End, Item, LineDecoder, limits};

use crate::server::Server;

/// How lines stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// In the clear.
    Plain,
    /// In envelopes, with ML-KEM in the handshake.
    Sealed,
}

/// See the module.
pub(crate) struct Wire {
    stream: Async<TcpStream>,
    codec: Codec,
}

impl Wire {
    /// Connects, past greeting and handshake. Whoever measures a server knows it: its key is not looked at.
    pub(crate) async fn connect(server: &Server, dialect: Dialect) -> anyhow::Result<Wire> {
        let mut stream = Async::<TcpStream>::connect(server.address).await?;
        stream.get_ref().set_nodelay(true)?;
        let codec = match dialect {
            Dialect::Plain => {
                read_lines(&mut stream, 1).await?;
                Codec::plain(limits::LINE)
            }
            Dialect::Sealed => {
                let handshake = ClientHandshake::start(ClientOptions::default(), &SystemRandom::new())?;
                stream.write_all(handshake.hello().as_bytes()).await?;
                let lines = read_lines(&mut stream, 3).await?;
                let channel = handshake.server_hello(&lines[1])?.identity(&lines[2])?.trust();
                Codec::sealed(channel, End::Client, limits::LINE, 0)
            }
        };
        Ok(Wire { stream, codec })
    }

    /// Takes a name, and waits for the answer.
    pub(crate) async fn enter(&mut self, command: &str) -> anyhow::Result<()> {
        self.say(&format!("{command}\n")).await?;
        let mut is_in = false;
        while !is_in {
            self.hear(|line| {
                ensure!(!line.starts_with("ERR"), "{line}");
                is_in |= line.contains("OK NICK ");
                Ok(())
            })
            .await?;
        }
        self.codec.set_limit(limits::LINE, true);
        Ok(())
    }

    /// Says whole lines.
    pub(crate) async fn say(&mut self, lines: &str) -> anyhow::Result<()> {
        let bytes = self.codec.encode(lines.as_bytes().to_vec(), 0);
        Ok(self.stream.write_all(&bytes).await?)
    }

    /// Reads what has come, and gives each line.
    pub(crate) async fn hear(
        &mut self,
        mut each: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut buffer = [0; 64 << 10];
        let count = self.stream.read(&mut buffer).await?;
        ensure!(count > 0, "the server closed");
        let mut input = &buffer[..count];
        while let Some(item) = self.codec.next(&mut input) {
            match item {
                Item::Line(line) => each(line)?,
                other => bail!("{other:?}"),
            }
        }
        Ok(())
    }
}

/// Reads exactly so many lines, which is all that comes.
async fn read_lines(stream: &mut Async<TcpStream>, count: usize) -> anyhow::Result<Vec<String>> {
    let mut decoder = LineDecoder::new(limits::LINE_BEFORE_NAME);
    let mut lines = Vec::new();
    let mut buffer = [0; 8 << 10];
    while lines.len() < count {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the server closed");
        let mut input = &buffer[..read];
        while let Some(decoded) = decoder.next(&mut input) {
            let Decoded::Line(line) = decoded else { return Err(anyhow!("no line")) };
            lines.push(line.to_owned());
        }
    }
    lines.first().context("a greeting")?;
    Ok(lines)
}
