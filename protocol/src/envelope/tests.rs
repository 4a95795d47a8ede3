//! The vectors through the public API, and what a man in the middle could try.

#![allow(deprecated, reason = "ring's fixed random source is hidden, and the only way to known answers")]

use ring::rand::{SecureRandom, SystemRandom};
use ring::test::rand::FixedSliceSequenceRandom;
use serde_json::Value;

use super::*;

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default().as_bytes();
    let digit = |byte: &u8| (*byte as char).to_digit(16).expect("a digit") as u8;
    text.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn array<const LENGTH: usize>(text: &Value) -> [u8; LENGTH] {
    hex(text).try_into().expect("the right length")
}

/// Calls `with` with a random source that gives these bytes, in order and exactly.
fn with_fixed<T>(bytes: &[&[u8]], with: impl FnOnce(&dyn SecureRandom) -> T) -> T {
    let random = FixedSliceSequenceRandom { bytes, current: 0.into() };
    with(&random)
}

fn opened(text: &str) -> Opened {
    let inside = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(lines) = inside("Lines(") {
        return Opened::Lines(serde_json::from_str(lines).expect("a string"));
    }
    if let Some(bytes) = inside("Binary(") {
        return Opened::Bytes(serde_json::from_str(bytes).expect("bytes"));
    }
    match inside("Close(") {
        Some(reason) => Opened::Closed(serde_json::from_str(reason).expect("a string")),
        None => Opened::KeyUpdated,
    }
}

fn seal_again(sealer: &mut Sealer, opened: &Opened, record: &str) -> String {
    let mut out = Vec::new();
    // The vectors pad one record to 256 bytes; a record's length tells.
    let inner = record.trim_end_matches('=').len() * 3 / 4 - 16;
    let padding = Padding::To(inner);
    match opened {
        Opened::Lines(lines) => sealer.seal_lines(lines, padding, &mut out),
        Opened::Bytes(bytes) => sealer.seal_bytes(bytes, padding, &mut out),
        Opened::KeyUpdated => sealer.update_key(&mut out),
        Opened::Closed(reason) => sealer.close(reason, &mut out),
    }
    .expect("sealed");
    String::from_utf8(out).expect("ASCII").trim_end_matches('\n').to_owned()
}

#[test]
fn a_login_is_signed_as_in_the_vectors() {
    let cases: Value =
        serde_json::from_str(include_str!("../../tests/vectors/snug-envelope-v1-annotated.json"))
            .expect("JSON");
    let cases =
        cases.as_array().cloned().unwrap_or_else(|| cases["cases"].as_array().expect("cases").clone());
    for case in &cases {
        let key = ClientKey::from_seed(&array(&case["client_identity_seed"])).expect("a key");
        let binding: [u8; 32] = array(&case["binding"]);
        let account = case["account"].as_str().expect("a name");
        let signature = key.sign_login(&binding, account);
        assert_eq!(signature, array(&case["client_signature"]));
        let public = decode_public_key(&encode_public_key(&key.public_key())).expect("a key");
        assert!(public.verifies_login(&binding, account, &signature));
        assert!(!public.verifies_login(&binding, "mallory", &signature));
        assert!(!public.verifies_login(&[0; 32], account, &signature), "it is of no other channel");
    }
}

fn check_direction(case: &Value, side: &str, sealer: &mut Sealer, opener: &mut Opener) {
    let texts = |name: &str| -> Vec<String> {
        let list = case[format!("{side}_{name}")].as_array().expect("a list");
        list.iter().map(|text| text.as_str().expect("a string").to_owned()).collect()
    };
    // What the client sends, the server opens.
    let name = if side == "client" { "client_opened" } else { "server_opened" };
    let contents: Vec<Opened> = case[name]
        .as_array()
        .expect("a list")
        .iter()
        .map(|text| opened(text.as_str().expect("a string")))
        .collect();
    for (record, content) in texts("records").iter().zip(&contents) {
        assert_eq!(&seal_again(sealer, content, record), record);
        assert_eq!(&opener.open(record).expect("it opens"), content);
    }
}

#[test]
fn all_vectors_hold_through_the_public_api() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../tests/vectors/snug-envelope-v1.json")).expect("JSON");
    let mut checked = 0;
    for case in &cases {
        let has_kem = !case["client_mlkem768_seed"].is_null();
        if has_kem && !cfg!(feature = "mlkem768") {
            continue;
        }
        let psk = || {
            (!case["psk"].is_null()).then(|| {
                Psk::parse(&super::base64::encode_string(&array::<32>(&case["psk"]))).expect("a key")
            })
        };
        let text = |name: &str| case[name].as_str().expect("a string").to_owned();

        let (share, seed) = (hex(&case["client_ephemeral_private"]), hex(&case["client_mlkem768_seed"]));
        let options = ClientOptions { psk: psk(), insist_on_mlkem768: has_kem };
        let client = if has_kem {
            with_fixed(&[&share, &seed], |random| ClientHandshake::start(options, random))
        } else {
            with_fixed(&[&share], |random| ClientHandshake::start_classical(options, random))
        };
        let client = client.expect("a client");
        assert_eq!(client.hello(), text("client_hello") + "\n");

        let key = ServerKey::from_seed(&array(&case["server_identity_seed"])).expect("a key");
        assert_eq!(key.public_key().fingerprint().to_string(), text("server_fingerprint"));
        let (share, message) = (hex(&case["server_ephemeral_private"]), hex(&case["server_mlkem768_m"]));
        let fixed: &[&[u8]] = if has_kem { &[&share, &message] } else { &[&share] };
        let options = ServerOptions { psk: psk() };
        let accepted = with_fixed(fixed, |random| accept(&text("client_hello"), &key, &options, random));
        let (reply, mut server) = accepted.expect("accepted");
        assert_eq!(reply, format!("{}\n{}\n", text("server_hello"), text("identity_record")));

        let waiting = client.server_hello(&text("server_hello")).expect("a hello");
        let offered = waiting.identity(&text("identity_record")).expect("an identity");
        assert_eq!(offered.key(), &key.public_key());
        let mut client = offered.trust();
        assert_eq!(client.binding.as_bytes(), &array::<32>(&case["binding"]));
        assert_eq!(server.binding.as_bytes(), &array::<32>(&case["binding"]));
        check_direction(case, "client", &mut client.sealer, &mut server.opener);
        check_direction(case, "server", &mut server.sealer, &mut client.opener);
        checked += 1;
    }
    assert_eq!(checked, if cfg!(feature = "mlkem768") { 4 } else { 2 });
}

fn key() -> ServerKey {
    ServerKey::from_seed(&[9; 32]).expect("a key")
}

fn psk(byte: u8) -> Option<Psk> {
    Psk::parse(&super::base64::encode_string(&[byte; 32]))
}

fn start(options: ClientOptions) -> ClientHandshake {
    ClientHandshake::start(options, &SystemRandom::new()).expect("a client")
}

fn accept_hello(client: &ClientHandshake, psk: Option<Psk>) -> Result<(String, Channel), AcceptError> {
    accept(client.hello().trim_end_matches('\n'), &key(), &ServerOptions { psk }, &SystemRandom::new())
}

fn finish(client: ClientHandshake, reply: &str) -> Result<Channel, HandshakeError> {
    let (hello, identity) = reply.trim_end_matches('\n').split_once('\n').ok_or(HandshakeError::Hello)?;
    Ok(client.server_hello(hello)?.identity(identity)?.trust())
}

#[test]
fn both_ends_talk() {
    let client = start(ClientOptions::default());
    let (reply, mut server) = accept_hello(&client, None).expect("accepted");
    let mut client = finish(client, &reply).expect("a channel");
    assert_eq!(client.binding.as_bytes(), server.binding.as_bytes());
    let mut out = Vec::new();
    client.sealer.seal_lines("PING\n", Padding::Buckets, &mut out).expect("sealed");
    let line = std::str::from_utf8(&out).expect("ASCII").trim_end();
    // Its own envelopes, sent back, do not open.
    assert_eq!(client.opener.open(line), Err(OpenError), "reflection");
    assert_eq!(server.opener.open(line), Ok(Opened::Lines("PING\n".to_owned())));
}

/// Tries every single-bit change of the server's reply to one client, made again from the same keys each time.
fn try_every_bit(again: impl Fn() -> ClientHandshake) {
    let (reply, _) = accept_hello(&again(), None).expect("accepted");
    assert!(finish(again(), &reply).is_ok());
    for at in 0..reply.len() - 1 {
        for bit in 0..8 {
            let mut changed = reply.clone().into_bytes();
            changed[at] ^= 1 << bit;
            // What is not UTF-8 does not get past the line's reader.
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(finish(again(), &changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_single_bit_of_the_server_s_reply_matters() {
    try_every_bit(|| {
        let started = with_fixed(&[&[3; 32]], |random| {
            ClientHandshake::start_classical(ClientOptions::default(), random)
        });
        started.expect("a client")
    });
}

#[test]
#[cfg(feature = "mlkem768")]
fn every_single_bit_of_the_server_s_reply_matters_with_the_kem() {
    try_every_bit(|| {
        let fixed: &[&[u8]] = &[&[3; 32], &[4; 64]];
        with_fixed(fixed, |random| ClientHandshake::start(ClientOptions::default(), random))
            .expect("a client")
    });
}

#[test]
#[cfg(feature = "mlkem768")]
fn a_changed_ciphertext_or_key_of_the_kem_fails() {
    let client = start(ClientOptions::default());
    let (reply, _) = accept_hello(&client, None).expect("accepted");
    let at = reply.find("mlkem768=").expect("the option") + 30;
    let mut changed = reply.into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(
        finish(client, std::str::from_utf8(&changed).expect("ASCII")).err(),
        Some(HandshakeError::Identity)
    );

    let client = start(ClientOptions::default());
    let hello = client.hello().trim_end();
    let too_large = hello.replace(&hello[70..90], "////////////////////");
    for bad in [&hello[..hello.len() - 8], &too_large] {
        let refused = accept(bad, &key(), &ServerOptions::default(), &SystemRandom::new()).err();
        assert_eq!(refused, Some(AcceptError::Hello), "a key that fails its check");
    }
}

#[test]
fn shares_of_small_order_are_refused_on_both_sides() {
    let mut shares = vec![[0; 32]];
    let mut one = [0; 32];
    one[0] = 1;
    shares.push(one);
    // The two points of order 8 (RFC 7748, and Bernstein's list).
    for hex_text in [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        shares.push(array(&Value::String(hex_text.to_owned())));
    }
    for share in shares {
        let share = super::base64::encode_string(&share);
        let hello = format!("HELLO snug/1 {share}");
        let refused = accept(&hello, &key(), &ServerOptions::default(), &SystemRandom::new()).err();
        assert_eq!(refused, Some(AcceptError::Hello), "{share}");
        let client = start(ClientOptions::default());
        assert_eq!(client.server_hello(&hello).err(), Some(HandshakeError::Hello), "{share}");
    }
}

#[test]
fn options_are_neither_stripped_nor_added_nor_repeated() {
    // Stripped on the way to the server: its signature covers what it saw, which is not what was sent.
    let client = start(ClientOptions::default());
    let stripped = client.hello().split(" mlkem768").next().expect("a hello").trim_end().to_owned();
    let (reply, _) =
        accept(&stripped, &key(), &ServerOptions::default(), &SystemRandom::new()).expect("accepted");
    if cfg!(feature = "mlkem768") {
        assert_eq!(finish(client, &reply).err(), Some(HandshakeError::Identity));
        // And a client that insists does not even get there.
        let client = start(ClientOptions { insist_on_mlkem768: true, ..ClientOptions::default() });
        assert_eq!(finish(client, &reply).err(), Some(HandshakeError::Missing("mlkem768")));
    }
    // Added on the way to the client.
    let client = start(ClientOptions::default());
    let (reply, _) = accept_hello(&client, None).expect("accepted");
    let added = reply.replacen('\n', " x-more\n", 1);
    assert_eq!(finish(client, &added).err(), Some(HandshakeError::Hello));
    // Unknown ones of the client are passed over, and signed all the same.
    let client = start(ClientOptions::default());
    let added = format!("{} x-grease=1", client.hello().trim_end());
    let (reply, _) =
        accept(&added, &key(), &ServerOptions::default(), &SystemRandom::new()).expect("accepted");
    assert!(!reply.contains("x-grease"));
    assert_eq!(finish(client, &reply).err(), Some(HandshakeError::Identity));
}

#[test]
fn a_pre_shared_key_has_to_be_the_same_at_both_ends() {
    let with = |byte| ClientOptions { psk: psk(byte), ..ClientOptions::default() };
    let client = start(with(1));
    let (reply, _) = accept_hello(&client, psk(1)).expect("accepted");
    assert!(finish(client, &reply).is_ok());

    assert_eq!(accept_hello(&start(ClientOptions::default()), psk(1)).err(), Some(AcceptError::Psk));
    assert_eq!(accept_hello(&start(with(2)), psk(1)).err(), Some(AcceptError::Psk));
    // A server without the key does not echo it, and this client insists.
    let client = start(with(1));
    let (reply, _) = accept_hello(&client, None).expect("accepted");
    assert_eq!(finish(client, &reply).err(), Some(HandshakeError::Missing("psk")));
    // One that only claims to have it cannot seal its identity.
    let client = start(with(1));
    let (reply, _) = accept_hello(&client, None).expect("accepted");
    let claimed = reply.replacen('\n', &format!(" psk={}\n", psk(1).expect("a key").id()), 1);
    assert_eq!(finish(client, &claimed).err(), Some(HandshakeError::Identity));
}

#[test]
fn a_refusal_is_shown_and_ends_the_handshake() {
    let refused =
        start(ClientOptions::default()).server_hello("ERR HELLO version this daemon speaks snug/0").err();
    let expected =
        HandshakeError::Refused { code: "version".to_owned(), text: "this daemon speaks snug/0".to_owned() };
    assert_eq!(refused, Some(expected));
}

#[test]
fn a_server_with_a_weak_key_is_refused() {
    // Signed by nobody: with a key of small order that would verify.
    let client = start(ClientOptions::default());
    let share =
        ring::agreement::EphemeralPrivateKey::generate(&ring::agreement::X25519, &SystemRandom::new())
            .expect("a share");
    let reply = super::hello::write(share.compute_public_key().expect("a key").as_ref(), &[]);
    let waiting = client.server_hello(reply.trim_end()).expect("a hello");
    assert_eq!(waiting.identity("AAAA").err(), Some(HandshakeError::Identity));
    assert_eq!(PublicKey::new([0; 32]), Err(IdentityError::Weak));
}

#[test]
fn halves_can_go_to_two_tasks() {
    fn is_send<T: Send>() {}
    is_send::<Channel>();
    is_send::<ClientHandshake>();
    is_send::<AwaitingIdentity>();
    is_send::<Offered>();
}
