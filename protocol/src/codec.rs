//! How lines stand in a stream: in the clear, or sealed.

use std::borrow::Cow;

use crate::envelope::{Channel, LINE_BEFORE_OPEN, LINE_OPEN, Opened, Opener, PAYLOAD, Padding, Sealer};
use crate::{CarriageReturn, Decoded, Fault, LineDecoder};

/// What stands next in a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A line.
    Line(&'a str),
    /// Bytes that a line has announced, or a piece of them.
    Bytes {
        /// The piece.
        piece: Cow<'a, [u8]>,
        /// Whether the announced count is complete with it.
        last: bool,
    },
    /// A line that is refused.
    Fault(Fault),
    /// The peer has a new key. Nothing to do; but it is work, and counts as such.
    KeyUpdated,
    /// The peer says nothing more, in order, for this reason, which may be empty.
    Closed(String),
    /// An envelope does not open, or is not what has to come: the stream is over.
    Broken(&'static str),
}

/// Both directions of a stream at one end, after the handshake if there is one.
pub enum Codec {
    /// In the clear.
    Plain(LineDecoder),
    /// In envelopes.
    Sealed(Box<Sealed>),
}

/// Which end of a stream this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It began with HELLO.
    Client,
    /// It answered.
    Server,
}

/// The state of a sealed stream.
pub struct Sealed {
    sealer: Sealer,
    opener: Opener,
    /// Cuts the stream into envelopes.
    outer: LineDecoder,
    /// Cuts what was in them into lines.
    inner: LineDecoder,
    /// Lines that were in the last envelope; those before `taken` are done.
    opened: Vec<u8>,
    taken: usize,
    /// The most bytes of lines in an envelope of this end.
    batch: usize,
    /// How many bytes the next envelope has to hold.
    expected: Option<u64>,
    /// When the key was last updated, in milliseconds.
    updated: u64,
    /// Whether an envelope of the peer has been opened: it has the keys.
    has_opened: bool,
}

/// The most bytes of lines in an envelope while the client holds no name: with type, padding and tag their base64
/// fits the short lines that a server takes until then.
const BATCH_BEFORE_NAME: usize = 2_900;

/// A live connection gets a new key after so many milliseconds.
const KEY_AGE: u64 = 3_600_000;

impl Codec {
    /// Lines in the clear, of at most `limit` bytes.
    pub fn plain(limit: usize) -> Codec {
        Codec::Plain(LineDecoder::new(limit))
    }

    /// The same connection, sealed from `now` milliseconds on.
    /// A client's end takes full envelopes at once; a server's, when [`Codec::set_limit`] says so.
    pub fn sealed(channel: Channel, end: End, limit: usize, now: u64) -> Codec {
        let longest = match end {
            End::Client => LINE_OPEN,
            End::Server => LINE_BEFORE_OPEN,
        };
        let decoder = |limit| LineDecoder::new(limit).carriage_return(CarriageReturn::Refused);
        Codec::Sealed(Box::new(Sealed {
            sealer: channel.sealer,
            opener: channel.opener,
            outer: decoder(longest),
            inner: decoder(limit),
            opened: Vec::new(),
            taken: 0,
            batch: BATCH_BEFORE_NAME,
            expected: None,
            updated: now,
            has_opened: false,
        }))
    }

    /// Whether the stream is sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Codec::Sealed(_))
    }

    /// Whether the peer of a sealed stream has proved that it has the keys.
    pub fn has_opened(&self) -> bool {
        matches!(self, Codec::Sealed(sealed) if sealed.has_opened)
    }

    /// Whether a CR was ignored at the end of the line that was handed out last.
    pub fn had_carriage_return(&self) -> bool {
        matches!(self, Codec::Plain(decoder) if decoder.had_carriage_return())
    }

    /// Sets the limit of a line, and whether the client holds a name, so that envelopes may be full.
    pub fn set_limit(&mut self, limit: usize, is_named: bool) {
        match self {
            Codec::Plain(decoder) => decoder.set_limit(limit),
            Codec::Sealed(sealed) => {
                sealed.inner.set_limit(limit);
                if is_named {
                    sealed.outer.set_limit(LINE_OPEN);
                }
                sealed.batch = if is_named { PAYLOAD } else { BATCH_BEFORE_NAME };
            }
        }
    }

    /// Says that the line that was handed out last announces so many bytes.
    pub fn expect_bytes(&mut self, count: u64) {
        match self {
            Codec::Plain(decoder) => decoder.expect_bytes(count),
            Codec::Sealed(sealed) => sealed.expected = Some(count),
        }
    }

    /// Takes from the front of `input` until something is complete. `None` means that all was taken.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Item<'a>> {
        match self {
            Codec::Plain(decoder) => decoder.next(input).map(|decoded| match decoded {
                Decoded::Line(line) => Item::Line(line),
                Decoded::Bytes { piece, last } => Item::Bytes { piece: piece.into(), last },
                Decoded::Fault(fault) => Item::Fault(fault),
            }),
            Codec::Sealed(sealed) => sealed.next(input),
        }
    }

    /// Whether lines that were in the last envelope are still to be taken: [`Codec::next`] gives them without any input.
    pub fn has_lines(&self) -> bool {
        matches!(self, Codec::Sealed(sealed) if sealed.taken < sealed.opened.len())
    }

    /// Appends to `out` whole lines as they stand in a sealed stream, at `now` milliseconds. In the clear they stand in
    /// it as they are.
    ///
    /// They are UTF-8 without NUL and CR, each at most 65,535 bytes; nobody checks that again. `inner` is used for what
    /// an envelope is made of, so that whoever seals much needs no memory each time.
    pub fn encode(&mut self, lines: &[u8], now: u64, inner: &mut Vec<u8>, out: &mut Vec<u8>) {
        match self {
            Codec::Plain(_) => out.extend_from_slice(lines),
            Codec::Sealed(sealed) => sealed.encode(lines, now, inner, out),
        }
    }

    /// Appends to `out` bytes as they stand in the stream, behind the line that has announced them, which was the last of
    /// what was encoded before. At most [`limits::BYTES`](crate::limits::BYTES). `inner` is as with [`Codec::encode`].
    pub fn encode_bytes(&mut self, bytes: &[u8], inner: &mut Vec<u8>, out: &mut Vec<u8>) {
        match self {
            Codec::Plain(_) => {
                out.extend_from_slice(bytes);
                out.push(b'\n');
            }
            Codec::Sealed(sealed) => {
                let sealed = sealed.sealer.seal_known_bytes(bytes, inner, out);
                debug_assert!(sealed.is_ok(), "{sealed:?}");
            }
        }
    }

    /// What proves at once that this end has the keys, when there is nothing to say yet: an update of its own.
    pub fn prove(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Codec::Sealed(sealed) = self {
            let _ = sealed.sealer.update_key(&mut out);
        }
        out
    }

    /// What ends this side of the stream, with a reason for people, or an empty one.
    pub fn close(&mut self, reason: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if let Codec::Sealed(sealed) = self {
            // It was closed before: then there is nothing to say.
            let _ = sealed.sealer.close(reason, &mut out);
        }
        out
    }
}

impl Sealed {
    fn next<'a>(&'a mut self, input: &mut &[u8]) -> Option<Item<'a>> {
        while self.taken == self.opened.len() {
            self.opened = Vec::new();
            self.taken = 0;
            let line = match self.outer.next(input)? {
                Decoded::Line(line) => line,
                Decoded::Fault(Fault::TooLong { .. }) => {
                    return Some(Item::Broken(
                        "an envelope is too long; before NICK it has at most 4096 bytes",
                    ));
                }
                _ => return Some(Item::Broken("this is no envelope")),
            };
            let opened = self.opener.open(line);
            self.has_opened |= opened.is_ok();
            match (opened, self.expected) {
                (Ok(Opened::KeyUpdated), _) => return Some(Item::KeyUpdated),
                (Ok(Opened::Lines(lines)), None) => self.opened = lines.into_bytes(),
                (Ok(Opened::Bytes(bytes)), Some(expected)) if bytes.len() as u64 == expected => {
                    self.expected = None;
                    return Some(Item::Bytes { piece: bytes.into(), last: true });
                }
                (Ok(Opened::Closed(reason)), None) => return Some(Item::Closed(reason)),
                (Ok(_), Some(_)) => return Some(Item::Broken("the announced bytes did not come")),
                (Ok(_), None) => return Some(Item::Broken("bytes came that nobody announced")),
                (Err(_), _) => return Some(Item::Broken("an envelope could not be opened")),
            }
        }
        if self.expected.is_some() {
            return Some(Item::Broken("a line that announces bytes is not the last of its envelope"));
        }
        self.line()
    }

    /// The next line of the envelope that was opened last.
    fn line(&mut self) -> Option<Item<'_>> {
        let Sealed { inner, opened, taken, .. } = self;
        let mut rest = &opened[*taken..];
        let decoded = inner.next(&mut rest);
        *taken = opened.len() - rest.len();
        match decoded? {
            Decoded::Line(line) => Some(Item::Line(line)),
            Decoded::Fault(fault) => Some(Item::Fault(fault)),
            Decoded::Bytes { piece, last } => Some(Item::Bytes { piece: piece.into(), last }),
        }
    }

    fn encode(&mut self, mut lines: &[u8], now: u64, inner: &mut Vec<u8>, out: &mut Vec<u8>) {
        out.reserve(lines.len() / 2 * 3 + 256);
        if now.saturating_sub(self.updated) >= KEY_AGE {
            self.updated = now;
            let _ = self.sealer.update_key(out);
        }
        while !lines.is_empty() {
            // As many whole lines as an envelope holds. A longer one goes alone: none is longer than a full one holds.
            let most = &lines[..lines.len().min(self.batch)];
            let end = memchr::memrchr(b'\n', most).or_else(|| memchr::memchr(b'\n', lines));
            let count = end.map_or(lines.len(), |end| end + 1);
            let (batch, rest) = lines.split_at(count);
            lines = rest;
            let sealed = self.sealer.seal_known_lines(batch, Padding::Buckets, inner, out);
            // They fit, and nothing is sealed after a close.
            debug_assert!(sealed.is_ok(), "{sealed:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::envelope::{ClientHandshake, ClientOptions, ServerKey, ServerOptions, accept};
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    use super::*;

    /// Both ends of a sealed connection: a client's channel and the daemon's codec.
    fn pair() -> (Channel, Codec) {
        let random = SystemRandom::new();
        let key = ServerKey::from_seed(&[5; 32]).expect("a key");
        let client = ClientHandshake::start_classical(ClientOptions::default(), &random).expect("a client");
        let hello = client.hello().trim_end().to_owned();
        let (reply, channel) = accept(&hello, &key, &ServerOptions::default(), &random).expect("accepted");
        let (hello, identity) = reply.trim_end().split_once('\n').expect("two lines");
        let client =
            client.server_hello(hello).expect("a hello").identity(identity).expect("an identity").trust();
        let mut codec = Codec::sealed(channel, End::Server, 16_384, 0);
        codec.set_limit(16_384, true);
        (client, codec)
    }

    /// Everything in a stream, in pieces; bytes are expected after `BYTES n`.
    fn decode(codec: &mut Codec, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        for mut piece in pieces.iter().copied() {
            loop {
                let (text, expected) = match codec.next(&mut piece) {
                    None => break,
                    Some(Item::Line(line)) => {
                        (line.to_owned(), line.strip_prefix("BYTES ").and_then(|count| count.parse().ok()))
                    }
                    Some(Item::Bytes { .. }) => ("Bytes".to_owned(), None),
                    Some(other) => (format!("{other:?}"), None),
                };
                let is_over = text.starts_with("Broken") || text.starts_with("Closed");
                found.push(text);
                if is_over {
                    return found;
                }
                if let Some(count) = expected {
                    codec.expect_bytes(count);
                }
            }
        }
        found
    }

    #[test]
    fn it_says_whether_lines_are_left() {
        let (mut client, mut codec) = pair();
        let mut stream = Vec::new();
        client.sealer.seal_lines("one\ntwo\n", Padding::Buckets, &mut stream).expect("sealed");
        let mut input = &stream[..];
        assert!(!codec.has_lines());
        assert_eq!(codec.next(&mut input), Some(Item::Line("one")));
        assert!(codec.has_lines() && input.is_empty());
        assert_eq!(codec.next(&mut input), Some(Item::Line("two")));
        assert!(!codec.has_lines());
        assert_eq!(codec.next(&mut input), None);
    }

    #[test]
    fn lines_bytes_and_the_end_come_as_they_were_sealed() {
        let (mut client, mut codec) = pair();
        let mut stream = Vec::new();
        client.sealer.seal_lines("one\nBYTES 3\n", Padding::Buckets, &mut stream).expect("sealed");
        client.sealer.update_key(&mut stream).expect("sealed");
        client.sealer.seal_bytes(b"\0\n\0", Padding::None, &mut stream).expect("sealed");
        client.sealer.seal_lines("a\x01b\ntwo\n", Padding::Buckets, &mut stream).expect("sealed");
        client.sealer.close("", &mut stream).expect("sealed");
        let fault = format!("{:?}", Item::Fault(Fault::ControlCharacter));
        let expected = ["one", "BYTES 3", "KeyUpdated", "Bytes", &fault, "two", "Closed(\"\")"];
        assert_eq!(decode(&mut codec, &[&stream]), expected);
    }

    #[test]
    fn what_must_not_come_breaks_the_stream() {
        type Make = fn(&mut Channel, &mut Vec<u8>);
        let bad: [(Make, &str); 5] = [
            (
                |client, out| client.sealer.seal_bytes(b"x", Padding::None, out).expect("sealed"),
                "nobody announced",
            ),
            (
                |client, out| client.sealer.seal_lines("BYTES 1\nx\n", Padding::None, out).expect("sealed"),
                "not the last",
            ),
            (
                |client, out| {
                    client.sealer.seal_lines("BYTES 1\n", Padding::None, out).expect("sealed");
                    client.sealer.seal_bytes(b"xy", Padding::None, out).expect("sealed");
                },
                "did not come",
            ),
            (|_, out| out.extend_from_slice(b"MSG #lobby in the clear\n"), "could not be opened"),
            (
                |client, out| {
                    client.sealer.seal_lines("x\n", Padding::None, out).expect("sealed");
                    out.insert(out.len() - 1, b'\r');
                },
                "no envelope",
            ),
        ];
        for (make, says) in bad {
            let (mut client, mut codec) = pair();
            let mut stream = Vec::new();
            make(&mut client, &mut stream);
            let found = decode(&mut codec, &[&stream]);
            assert!(found.last().expect("something").contains(says), "{found:?}");
        }
    }

    #[test]
    fn before_a_name_envelopes_are_short_lines() {
        let (mut client, mut codec) = pair();
        codec.set_limit(16_384, false);
        let mut stream = Vec::new();
        codec.encode("x\n".repeat(5_000).as_bytes(), 0, &mut Vec::new(), &mut stream);
        let stream = String::from_utf8(stream).expect("ASCII");
        assert!(stream.lines().all(|line| line.len() <= LINE_BEFORE_OPEN));
        assert!(stream.lines().all(|line| client.opener.open(line).is_ok()));
    }

    #[test]
    fn a_large_batch_becomes_few_envelopes_and_an_old_key_is_updated() {
        let (mut client, mut codec) = pair();
        let line = format!("{}\n", "x".repeat(999));
        let lines = line.repeat(100);
        let mut stream = Vec::new();
        codec.encode(lines.as_bytes(), KEY_AGE, &mut Vec::new(), &mut stream);
        let stream = String::from_utf8(stream).expect("ASCII");
        let opened: Vec<Opened> =
            stream.lines().map(|line| client.opener.open(line).expect("opened")).collect();
        let whole: String = opened
            .iter()
            .map(|opened| if let Opened::Lines(lines) = opened { lines.as_str() } else { "" })
            .collect();
        assert_eq!((opened.len(), &opened[0]), (3, &Opened::KeyUpdated));
        assert_eq!(whole, lines);
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same(cuts in prop::collection::vec(0usize..1_200, 0..12)) {
            // The same envelopes each time need the same keys: seal once, and open with codecs of one handshake each.
            let (mut client, mut codec) = pair();
            let mut stream = Vec::new();
            for lines in ["one\n", "two\nBYTES 2\n"] {
                client.sealer.seal_lines(lines, Padding::Buckets, &mut stream).expect("sealed");
            }
            client.sealer.seal_bytes(b"xy", Padding::None, &mut stream).expect("sealed");
            client.sealer.update_key(&mut stream).expect("sealed");
            client.sealer.close("bye", &mut stream).expect("sealed");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([stream.len()]) {
                pieces.push(&stream[from..cut]);
                from = cut;
            }
            let expected = ["one", "two", "BYTES 2", "Bytes", "KeyUpdated", "Closed(\"bye\")"];
            prop_assert_eq!(decode(&mut codec, &pieces), expected);
        }
    }
}
