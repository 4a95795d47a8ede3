//! Attacks that need real connections. The others are in daemon/src/session/attacks.rs.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Daemon, PATIENCE, Raw};

/// A hello with a share that somebody once made.
const HELLO: &str = "HELLO snug/1 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=\n";

/// Lets this process have as many files open as it may.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Two people talk, and each message arrives.
fn talk(alice: &mut Raw, bob: &mut Raw, from: usize, count: usize) {
    for n in from..from + count {
        alice.say(&format!("MSG #lobby message {n}."));
        bob.wait_for(&format!(" :alice MSG #lobby message {n}."));
        alice.wait_for("OK MSG #lobby");
    }
}

#[test]
fn two_thousand_half_open_handshakes_keep_nobody_from_talking() {
    assert!(raise_open_files() >= 2_500, "the test needs more open files than it may have");
    let daemon = Daemon::with("[limits]\nhandshake = \"60s\"\nregistration = \"60s\"\nnameless = 500\n");
    let (mut alice, mut bob) = (Raw::enter(&daemon, "alice"), Raw::enter(&daemon, "bob"));
    let mut half_open = Vec::new();
    for n in 0..2_000 {
        let mut stream = TcpStream::connect(daemon.tcp).expect("the daemon listens");
        // Some say hello, some a part of it, some nothing.
        let said = match n % 3 {
            0 => HELLO,
            1 => &HELLO[..20],
            _ => "",
        };
        // Those who are turned away already may be unable to say it.
        let _ = stream.write_all(said.as_bytes());
        half_open.push(stream);
        if n % 100 == 0 {
            talk(&mut alice, &mut bob, n, 1);
        }
    }
    talk(&mut alice, &mut bob, 5_000, 20);
    // The oldest gave way and were told so (this one has said nothing that could reset the connection).
    let mut first = half_open.swap_remove(2);
    first.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut heard = String::new();
    first.read_to_string(&mut heard).expect("the daemon closes");
    assert!(heard.contains("ERR - too-many"), "{heard}");
    drop(half_open);
    // There is room again for who comes in earnest.
    let mut carol = Raw::connect(&daemon);
    carol.say("NICK carol");
    carol.wait_for("OK NICK carol");
}

#[test]
fn a_flood_of_handshakes_waits_its_turn_and_the_room_goes_on() {
    let daemon = Daemon::with("[limits]\nconnections = 50\nnameless = 500\n");
    let (mut alice, mut bob) = (Raw::enter(&daemon, "alice"), Raw::enter(&daemon, "bob"));
    let mut flood = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(daemon.tcp).expect("the daemon listens");
        stream.write_all(HELLO.as_bytes()).expect("it is taken");
        flood.push(stream);
        if n % 20 == 0 {
            talk(&mut alice, &mut bob, n, 1);
        }
    }
    talk(&mut alice, &mut bob, 1_000, 20);
    // Whoever waits gets an answer in the end.
    let mut some = flood.swap_remove(30);
    some.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut heard = [0; 200];
    let mut count = 0;
    while !String::from_utf8_lossy(&heard[..count]).contains("\nHELLO snug/1 ") {
        let read = some.read(&mut heard[count..]).expect("an answer comes");
        assert!(read > 0, "it was closed: {}", String::from_utf8_lossy(&heard[..count]));
        count += read;
    }
}

#[test]
fn one_session_with_expensive_lines_keeps_nobody_waiting() {
    // Without flood control, so that only turns are between her and the others.
    let daemon = Daemon::with("[limits]\nrate = 0\nrooms_per_guest = 200\n");
    let mut bob = Raw::enter(&daemon, "bob");
    let mut mallory = Raw::connect(&daemon);
    mallory.say("@quiet NICK mallory");
    mallory.wait_for("OK NICK");
    for room in 0..190 {
        mallory.say(&format!("JOIN #room{room}"));
        mallory.wait_for("OK JOIN");
    }
    const BURST: usize = 6_000;
    let mut writer = mallory.try_clone();
    let asking = std::thread::spawn(move || writer.send(&b"ROOMS\n".repeat(BURST)));
    let (begun, has_begun) = std::sync::mpsc::channel();
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&answered);
    let listening = std::thread::spawn(move || {
        for _ in 0..BURST {
            mallory.wait_for("OK ROOMS");
            if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                begun.send(()).expect("the test waits for it");
            }
        }
    });
    has_begun.recv_timeout(PATIENCE).expect("her burst has begun");
    let mut pings = 0;
    while answered.load(std::sync::atomic::Ordering::SeqCst) < BURST {
        bob.say("PING 1");
        bob.wait_for("OK PING 1");
        pings += 1;
    }
    asking.join().expect("she says it all");
    listening.join().expect("she hears it all");
    // He is read as often as she is, give or take: not only when she has finished.
    assert!(pings >= 20, "only {pings} were answered beside her {BURST} lines");
}
