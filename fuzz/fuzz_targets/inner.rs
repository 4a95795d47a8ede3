//! Any bytes as what was in an envelope, past the cryptography: no panic, and what is taken has its form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snug_protocol::envelope::Opened;
use snug_protocol::envelope::hazmat::parse_inner;

fuzz_target!(|inner: &[u8]| {
    match parse_inner(inner.to_vec()) {
        Some(Opened::Lines(lines)) => {
            assert!(lines.ends_with('\n') && !lines.contains(['\0', '\r']));
            assert!(inner.starts_with(lines.as_bytes()) && inner[lines.len()] == b'L');
        }
        Some(Opened::Bytes(bytes)) => assert!(inner.starts_with(&bytes) && inner[bytes.len()] == b'B'),
        Some(Opened::KeyUpdated) => assert_eq!(inner[0], b'K'),
        Some(Opened::Closed(reason)) => assert!(inner.starts_with(reason.as_bytes())),
        None => {}
    }
});
