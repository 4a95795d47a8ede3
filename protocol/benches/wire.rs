//! What the protocol costs by itself, without a socket: `cargo bench -p snug-protocol`.

use divan::Bencher;
use divan::counter::BytesCount;
use ring::rand::SystemRandom;
use snug_protocol::envelope::{
    Channel, ClientHandshake, ClientOptions, HandshakeError, Opened, Padding, ServerKey, ServerOptions,
    accept,
};
use snug_protocol::{
    Body, Decoded, EntryKind, Line, LineDecoder, Request, ServerLine, TagBuilder, Timestamp, limits,
};

fn main() {
    divan::main();
}

/// What a client sends, and what it hears of it.
const SAID: &str = "@ref=17;key=k17 MSG #lobby The disk of db3 is nearly full: 97 % of 2 TiB, and the nightly backup begins at 22:00.";
const HEARD: &str = "@id=117;time=2026-11-21T10:15:07.020Z :alice MSG #lobby The disk of db3 is nearly full: 97 % of 2 TiB, and the nightly backup begins at 22:00.";

mod lines {
    use super::*;

    /// A read of 64 lines is cut into lines.
    #[divan::bench]
    fn decode_64(bencher: Bencher<'_, '_>) {
        let stream = format!("{SAID}\n").repeat(64);
        bencher.counter(BytesCount::of_str(&stream)).bench_local(|| {
            let mut decoder = LineDecoder::new(limits::LINE);
            let mut input = stream.as_bytes();
            let mut count = 0;
            while let Some(Decoded::Line(line)) = decoder.next(&mut input) {
                count += divan::black_box(line).len();
            }
            count
        });
    }

    /// A client's line becomes a command.
    #[divan::bench]
    fn parse() -> bool {
        let line = Line::parse(divan::black_box(SAID)).expect("a line");
        Request::parse(&line).is_ok()
    }

    /// A server's line is read by a client.
    #[divan::bench]
    fn parse_heard() -> bool {
        ServerLine::parse(divan::black_box(HEARD)).is_some()
    }

    /// An entry is written as its line.
    #[divan::bench]
    fn format(bencher: Bencher<'_, '_>) {
        let text = HEARD.split_once("#lobby ").map_or("", |(_, text)| text);
        let time = Timestamp::from_millis(1_795_256_107_020);
        let mut out = Vec::with_capacity(256);
        bencher.bench_local(|| {
            out.clear();
            let mut tags = TagBuilder::default();
            tags.display("id", Some(117));
            tags.display("time", Some(time));
            let body =
                Body::Entry { kind: EntryKind::Msg, target: "#lobby", about: None, text: Some(text.into()) };
            ServerLine::new(body).with_tags(tags.tags()).with_from("alice").write(&mut out);
            out.len()
        });
    }
}

mod envelope {
    use super::*;

    type Start = fn(ClientOptions, &dyn ring::rand::SecureRandom) -> Result<ClientHandshake, HandshakeError>;
    const KINDS: [(&str, Start); 2] =
        [("x25519", ClientHandshake::start_classical), ("x25519-mlkem768", ClientHandshake::start)];

    fn key() -> ServerKey {
        ServerKey::from_seed(&[9; 32]).expect("a key")
    }

    fn start(kind: &str) -> ClientHandshake {
        let (_, start) = KINDS.iter().find(|(name, _)| *name == kind).expect("a kind");
        start(ClientOptions::default(), &SystemRandom::new()).expect("a hello")
    }

    fn finish(client: ClientHandshake, reply: &str) -> Channel {
        let (hello, identity) = reply.trim_end().split_once('\n').expect("two lines");
        client.server_hello(hello).expect("a hello").identity(identity).expect("an identity").trust()
    }

    fn channels() -> (Channel, Channel) {
        let client = start("x25519");
        let hello = client.hello().trim_end().to_owned();
        let (reply, server) =
            accept(&hello, &key(), &ServerOptions::default(), &SystemRandom::new()).expect("accepted");
        (finish(client, &reply), server)
    }

    #[divan::bench(args = ["x25519", "x25519-mlkem768"])]
    fn client_hello(kind: &str) -> ClientHandshake {
        start(kind)
    }

    #[divan::bench(args = ["x25519", "x25519-mlkem768"])]
    fn server_accept(bencher: Bencher<'_, '_>, kind: &str) {
        let (random, key) = (SystemRandom::new(), key());
        bencher
            .with_inputs(|| start(kind).hello().trim_end().to_owned())
            .bench_local_values(|hello| accept(&hello, &key, &ServerOptions::default(), &random).is_ok());
    }

    #[divan::bench(args = ["x25519", "x25519-mlkem768"])]
    fn client_finish(bencher: Bencher<'_, '_>, kind: &str) {
        let (random, key) = (SystemRandom::new(), key());
        let inputs = || {
            let client = start(kind);
            let hello = client.hello().trim_end().to_owned();
            let (reply, _) = accept(&hello, &key, &ServerOptions::default(), &random).expect("accepted");
            (client, reply)
        };
        bencher.with_inputs(inputs).bench_local_values(|(client, reply)| finish(client, &reply));
    }

    #[divan::bench(args = [150, 16 << 10])]
    fn seal(bencher: Bencher<'_, '_>, size: usize) {
        let (_, mut server) = channels();
        let lines = format!("{}\n", "x".repeat(size - 1));
        let mut out = Vec::new();
        bencher.counter(BytesCount::new(size)).bench_local(|| {
            out.clear();
            server.sealer.seal_lines(&lines, Padding::Buckets, &mut out).expect("sealed");
            out.len()
        });
    }

    #[divan::bench(args = [150, 16 << 10])]
    fn open(bencher: Bencher<'_, '_>, size: usize) {
        let (mut client, server) = channels();
        let mut sealer = server.sealer;
        let lines = format!("{}\n", "x".repeat(size - 1));
        let sealed = || {
            let mut out = Vec::new();
            sealer.seal_lines(&lines, Padding::Buckets, &mut out).expect("sealed");
            out.pop();
            String::from_utf8(out).expect("base64")
        };
        bencher
            .counter(BytesCount::new(size))
            .with_inputs(sealed)
            .bench_local_values(|line| matches!(client.opener.open(&line), Ok(Opened::Lines(_))));
    }
}
