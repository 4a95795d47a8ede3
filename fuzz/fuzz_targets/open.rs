//! A random conversation over a real channel, held against a straight model: what was sealed opens once, in order, and
//! after anything else nothing opens.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use snug_protocol::envelope::{
    Channel, ClientHandshake, ClientOptions, Opened, Padding, ServerKey, ServerOptions, accept,
};

fn channel() -> (Channel, Channel) {
    let random = SystemRandom::new();
    let key = ServerKey::from_seed(&[9; 32]).expect("a key");
    let client = ClientHandshake::start_classical(ClientOptions::default(), &random).expect("a client");
    let hello = client.hello().trim_end().to_owned();
    let (reply, server) = accept(&hello, &key, &ServerOptions::default(), &random).expect("accepted");
    let (hello, identity) = reply.trim_end().split_once('\n').expect("two lines");
    (client.server_hello(hello).expect("a hello").identity(identity).expect("an identity").trust(), server)
}

fuzz_target!(|bytes: &[u8]| {
    let (mut client, mut server) = channel();
    let mut wire: Vec<String> = Vec::new();
    let mut sealed: Vec<Opened> = Vec::new();
    for step in bytes.chunks(3) {
        let mut out = Vec::new();
        let payload = [step.get(1).copied().unwrap_or(0), step.get(2).copied().unwrap_or(0)];
        let opened = match step[0] % 8 {
            0..=2 => {
                let text = format!("{} {}\n", payload[0], payload[1]);
                client.sealer.seal_lines(&text, Padding::Buckets, &mut out).map(|()| Opened::Lines(text))
            }
            3 => client.sealer.seal_bytes(&payload, Padding::None, &mut out).map(|()| Opened::Bytes(payload.to_vec())),
            4 => client.sealer.update_key(&mut out).map(|()| Opened::KeyUpdated),
            5 => client.sealer.close("bye", &mut out).map(|()| Opened::Closed("bye".to_owned())),
            change => {
                // Something happens on the way to what is already on the wire.
                let count = wire.len();
                if count > 0 {
                    let at = usize::from(payload[0]) % count;
                    match change {
                        6 => wire.swap(at, usize::from(payload[1]) % count),
                        _ => {
                            let mut line = wire[at].clone().into_bytes();
                            let bit = usize::from(payload[1]) % (line.len() * 7);
                            line[bit / 7] ^= 1 << (bit % 7);
                            wire[at] = String::from_utf8(line).expect("ASCII");
                        }
                    }
                }
                continue;
            }
        };
        if let Ok(opened) = opened {
            wire.push(String::from_utf8(out).expect("ASCII").trim_end_matches('\n').to_owned());
            sealed.push(opened);
        }
    }
    // The model: line n opens to what was sealed n-th, until the first that is not that line any more.
    let mut is_over = false;
    for (line, expected) in wire.iter().zip(&sealed) {
        match server.opener.open(line) {
            Ok(opened) => {
                assert!(!is_over, "something opened after the end");
                assert_eq!(&opened, expected, "what opens is what was sealed, in its place");
                is_over = matches!(opened, Opened::Closed(_));
            }
            Err(_) => is_over = true,
        }
    }
});
