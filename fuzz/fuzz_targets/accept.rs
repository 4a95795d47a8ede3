//! Any text as a client's first line, to a server with a fixed random source: no panic, and a reply only to a hello.

#![no_main]
#![allow(deprecated)]

use libfuzzer_sys::fuzz_target;
use ring::test::rand::FixedByteRandom;
use snug_protocol::envelope::hazmat::is_hello;
use snug_protocol::envelope::{ServerKey, ServerOptions, accept};

fuzz_target!(|text: &str| {
    let key = ServerKey::from_seed(&[9; 32]).expect("a key");
    let random = FixedByteRandom { byte: 7 };
    // Most texts are no hello: the second try has a good beginning.
    let good = format!("HELLO snug/1 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y= {text}");
    for line in [text, &good] {
        if let Ok((reply, _)) = accept(line, &key, &ServerOptions::default(), &random) {
            assert!(is_hello(line));
            assert_eq!(reply.lines().count(), 2);
            assert!(reply.starts_with("HELLO snug/1 ") && reply.ends_with('\n'));
        }
    }
});
