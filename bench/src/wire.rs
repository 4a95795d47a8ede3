//! One connection to a server: in the clear, in envelopes, or in TLS. Its socket blocks: whoever has many reads those
//! that have something (see `crowd`).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use ring::rand::SystemRandom;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use snug_protocol::envelope::{ClientHandshake, ClientOptions, Opened, Opener, Padding, Sealer};
use snug_protocol::{Decoded, LineDecoder, limits};

/// What is spoken, and how it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// snug's lines in the clear.
    Clear,
    /// snug's lines in envelopes; X25519 in the handshake.
    Sealed,
    /// The same, with ML-KEM-768 in the handshake, as snug's own client does it.
    SealedKem,
    /// IRC in the clear.
    Irc,
    /// IRC in TLS.
    IrcTls,
    /// Lines that a server relays as they are; the first one is a name.
    Raw,
}

impl Dialect {
    /// Its name in the results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Dialect::Clear => "clear",
            Dialect::Sealed => "sealed",
            Dialect::SealedKem => "sealed-kem",
            Dialect::Irc => "irc",
            Dialect::IrcTls => "irc-tls",
            Dialect::Raw => "raw",
        }
    }

    pub(crate) fn is_irc(self) -> bool {
        matches!(self, Dialect::Irc | Dialect::IrcTls)
    }

    /// Whether whoever says something hears it as well.
    pub(crate) fn echoes(self) -> bool {
        !self.is_irc()
    }

    /// How many connections may be in their handshake at the same time: ngIRCd gives up on more.
    pub(crate) fn handshakes(self) -> usize {
        if self.is_irc() { 10 } else { 100 }
    }

    /// The line that says something to everyone.
    pub(crate) fn message(self, room: &str, text: &str) -> String {
        match self {
            Dialect::Raw => format!("{text}\n"),
            _ if self.is_irc() => format!("PRIVMSG {room} :{text}\r\n"),
            _ => format!("MSG {room} {text}\n"),
        }
    }

    /// The line that enters a room.
    pub(crate) fn join(self, room: &str) -> String {
        if self.is_irc() { format!("JOIN {room}\r\n") } else { format!("JOIN {room}\n") }
    }

    /// The line that leaves a room.
    pub(crate) fn leave(self, room: &str) -> String {
        if self.is_irc() { format!("PART {room}\r\n") } else { format!("LEAVE {room}\n") }
    }
}

/// See the module.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    dialect: Dialect,
    layer: Layer,
}

enum Layer {
    Clear,
    /// In the clear, when the greeting has come.
    Greeted,
    /// In envelopes, when the handshake is done.
    Hello(Box<ClientHandshake>),
    Envelope(Box<Envelope>),
    Tls(Box<ClientConnection>),
}

struct Envelope {
    sealer: Sealer,
    opener: Opener,
    outer: LineDecoder,
}

impl Wire {
    /// Connects, past greeting and handshake.
    pub(crate) fn connect(address: SocketAddr, dialect: Dialect) -> anyhow::Result<Wire> {
        let mut wire = Wire::begin(address, dialect)?;
        wire.shake_hands()?;
        Ok(wire)
    }

    /// Connects and says what a client says first.
    pub(crate) fn begin(address: SocketAddr, dialect: Dialect) -> anyhow::Result<Wire> {
        let start = match dialect {
            Dialect::SealedKem => ClientHandshake::start,
            _ => ClientHandshake::start_classical,
        };
        let (layer, hello) = match dialect {
            Dialect::Clear => (Layer::Greeted, Vec::new()),
            Dialect::Sealed | Dialect::SealedKem => {
                let handshake = start(ClientOptions::default(), &SystemRandom::new())?;
                let hello = handshake.hello().into();
                (Layer::Hello(Box::new(handshake)), hello)
            }
            Dialect::Irc | Dialect::Raw => (Layer::Clear, Vec::new()),
            Dialect::IrcTls => {
                let mut tls = ClientConnection::new(tls_config()?, ServerName::try_from("localhost")?)?;
                let mut hello = Vec::new();
                tls.write_tls(&mut hello)?;
                (Layer::Tls(Box::new(tls)), hello)
            }
        };
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        if !hello.is_empty() {
            stream.write_all(&hello)?;
        }
        Ok(Wire { stream, dialect, layer })
    }

    /// Comes past greeting and handshake. Whoever measures a server knows it: its key is not looked at.
    pub(crate) fn shake_hands(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.layer, Layer::Clear) {
            Layer::Greeted => drop(read_lines(&mut self.stream, 1)?),
            Layer::Hello(handshake) => {
                let lines = read_lines(&mut self.stream, 3)?;
                let channel = handshake.server_hello(&lines[1])?.identity(&lines[2])?.trust();
                let outer = LineDecoder::new(snug_protocol::envelope::LINE_OPEN);
                let (sealer, opener) = (channel.sealer, channel.opener);
                self.layer = Layer::Envelope(Box::new(Envelope { sealer, opener, outer }));
            }
            Layer::Tls(mut tls) => {
                while tls.is_handshaking() {
                    tls.complete_io(&mut self.stream)?;
                }
                self.layer = Layer::Tls(tls);
            }
            other => self.layer = other,
        }
        Ok(())
    }

    /// Takes a name and waits until it is held. `listens` is whether what is said in #lobby is to be heard.
    pub(crate) fn enter(&mut self, nick: &str, listens: bool) -> anyhow::Result<()> {
        self.ask_to_enter(nick, listens)?;
        self.be_in(listens)
    }

    /// Asks for a name. Some servers see to it once a second only, so that many should ask before one waits.
    pub(crate) fn ask_to_enter(&mut self, nick: &str, listens: bool) -> anyhow::Result<()> {
        match self.dialect {
            Dialect::Raw => self.say(&format!("{nick}\n")),
            Dialect::Irc | Dialect::IrcTls => {
                self.say(&format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n"))
            }
            _ if listens => self.say(&format!("NICK {nick}\n")),
            _ => self.say(&format!("@quiet NICK {nick}\n")),
        }
    }

    /// Waits until the name is held.
    pub(crate) fn be_in(&mut self, listens: bool) -> anyhow::Result<()> {
        match self.dialect {
            Dialect::Raw => Ok(()),
            Dialect::Irc | Dialect::IrcTls => {
                // End of the message of the day, or that there is none.
                self.wait_for(|line| matches!(line.split(' ').nth(1), Some("376" | "422")))?;
                if listens {
                    self.say("JOIN #lobby\r\n")?;
                    self.wait_for(|line| line.split(' ').nth(1) == Some("366"))?;
                }
                Ok(())
            }
            _ => self.wait_for(|line| line.contains("OK NICK ")),
        }
    }

    /// Says a command of snug's and waits for its answer; `each` gets the rows before it.
    pub(crate) fn ask(&mut self, command: &str, mut each: impl FnMut(&str)) -> anyhow::Result<()> {
        self.say(&format!("{command}\n"))?;
        let mut words = command.split_whitespace().skip_while(|word| word.starts_with('@'));
        let answer = format!("OK {}", words.next().unwrap_or_default());
        self.wait_for(|line| {
            let said =
                if line.starts_with('@') { line.split_once(' ').map_or("", |(_, said)| said) } else { line };
            each(line);
            said.strip_prefix(answer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    /// Reads until a line is what is waited for. Nothing may be read ahead of it.
    fn wait_for(&mut self, mut is_it: impl FnMut(&str) -> bool) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let mut is_done = false;
        while !is_done {
            self.read(&mut buffer, |bytes| kept.extend_from_slice(bytes))?;
            let end = memchr::memrchr(b'\n', &kept).map_or(0, |end| end + 1);
            let rest = kept.split_off(end);
            for line in String::from_utf8_lossy(&kept).lines() {
                ensure!(!line.starts_with("ERR") && !line.contains(" ERR "), "{line}");
                if let Some(cookie) = line.strip_prefix("PING ") {
                    self.say(&format!("PONG {cookie}\r\n"))?;
                }
                is_done |= is_it(line.trim_end());
            }
            kept = rest;
        }
        Ok(())
    }

    /// Says whole lines.
    pub(crate) fn say(&mut self, lines: &str) -> anyhow::Result<()> {
        match &mut self.layer {
            Layer::Clear | Layer::Greeted | Layer::Hello(_) => self.stream.write_all(lines.as_bytes())?,
            Layer::Envelope(envelope) => {
                let mut out = Vec::new();
                let mut rest = lines;
                while !rest.is_empty() {
                    // Until a name is held an envelope fits a short line; later that costs little.
                    let most = &rest[..rest.len().min(2_900)];
                    let end = most.rfind('\n').map_or(rest.len(), |end| end + 1);
                    let (batch, behind) = rest.split_at(end);
                    envelope.sealer.seal_lines(batch, Padding::Buckets, &mut out)?;
                    rest = behind;
                }
                self.stream.write_all(&out)?;
            }
            Layer::Tls(tls) => {
                tls.writer().write_all(lines.as_bytes())?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.stream)?;
                }
            }
        }
        Ok(())
    }

    /// Reads once what has come, and gives what was in it, in pieces. Lines may be cut anywhere.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
        if let Layer::Tls(tls) = &mut self.layer {
            ensure!(tls.read_tls(&mut self.stream)? > 0, "the server closed");
            tls.process_new_packets()?;
            return loop {
                match tls.reader().read(buffer) {
                    Ok(0) => bail!("the server closed"),
                    Ok(count) => each(&buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                    Err(error) => return Err(error.into()),
                }
            };
        }
        let count = self.stream.read(buffer)?;
        ensure!(count > 0, "the server closed");
        match &mut self.layer {
            Layer::Envelope(envelope) => envelope.open(&buffer[..count], each),
            _ => {
                each(&buffer[..count]);
                Ok(())
            }
        }
    }
}

impl Envelope {
    fn open(&mut self, mut input: &[u8], mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
        while let Some(decoded) = self.outer.next(&mut input) {
            let Decoded::Line(line) = decoded else { bail!("{decoded:?} instead of an envelope") };
            match self.opener.open(line)? {
                Opened::Lines(lines) => each(lines.as_bytes()),
                Opened::KeyUpdated => {}
                other => bail!("{other:?}"),
            }
        }
        Ok(())
    }
}

/// Reads exactly so many lines, which is all that comes.
fn read_lines(stream: &mut TcpStream, count: usize) -> anyhow::Result<Vec<String>> {
    let mut decoder = LineDecoder::new(limits::LINE_BEFORE_NAME);
    let mut lines = Vec::new();
    let mut buffer = [0; 8 << 10];
    while lines.len() < count {
        let read = stream.read(&mut buffer)?;
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

/// TLS to a server whose certificate was made a moment ago.
fn tls_config() -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(NotVerified(provider.signature_verification_algorithms.supported_schemes()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every certificate.
#[derive(Debug)]
struct NotVerified(Vec<SignatureScheme>);

impl ServerCertVerifier for NotVerified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
