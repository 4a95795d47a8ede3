//! Input that no client should send. Each gets its documented answer, and the others in the room notice nothing.

use crate::harness::{Daemon, Raw};

/// A daemon with somebody in the room who must not notice anything.
struct Room {
    daemon: Daemon,
    witness: Raw,
}

impl Room {
    fn new() -> Room {
        let daemon = Daemon::start();
        let mut witness = Raw::enter(&daemon, "witness");
        witness.say("@verbatim MSG #lobby before");
        witness.wait_for("OK MSG");
        Room { daemon, witness }
    }

    /// A raw connection gets `bytes`; gives everything it hears until the daemon closes.
    fn refused(&self, bytes: &[u8]) -> String {
        let mut raw = Raw::connect(&self.daemon);
        raw.try_send(bytes);
        raw.rest()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.witness.say("PING after");
            assert_eq!(self.witness.hear(), "OK PING after", "the others notice nothing");
        }
    }
}

#[test]
fn random_bytes_are_answered_and_closed() {
    let room = Room::new();
    // A fixed stream that looks random (xorshift), so that a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::new();
    while bytes.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    // The first byte decides whether it is taken for a binary protocol or for bad lines.
    bytes[0] = b'x';
    assert!(room.refused(&bytes).contains("ERR - bad-line "));
    bytes[0] = 0x16;
    assert!(room.refused(&bytes).starts_with("ERR - not-chat "));
}

#[test]
fn a_hundred_megabytes_without_newline_cost_no_memory() {
    let room = Room::new();
    let mut raw = Raw::enter(&room.daemon, "flood");
    let before = room.daemon.peak_memory();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        raw.send(&block);
    }
    raw.send(b"\n");
    raw.say("PING 1");
    assert!(raw.hear().starts_with("ERR - line-too-long "));
    assert_eq!(raw.hear(), "OK PING 1");
    let grown = room.daemon.peak_memory() - before;
    assert!(grown < 8 << 10, "grew by {grown} KiB");
    raw.say("QUIT");
    raw.rest();
    let mut room = room;
    room.witness.wait_for(":flood QUIT");
}

#[test]
fn a_line_has_its_limit_to_the_byte() {
    let room = Room::new();
    let mut raw = Raw::connect(&room.daemon);
    let line = |length: usize| format!("FOO {}", "x".repeat(length - 4));
    raw.say(&line(4_096));
    assert!(raw.hear().starts_with("ERR FOO unknown-verb "));
    raw.say("@quiet NICK long");
    raw.wait_for("OK NICK");
    raw.say(&line(16_384));
    assert!(raw.hear().starts_with("ERR FOO unknown-verb "));
    raw.say(&line(16_385));
    assert_eq!(raw.hear(), "ERR - line-too-long the line is longer than 16384 bytes; it was not read");
    raw.say("PING 1");
    assert_eq!(raw.hear(), "OK PING 1");
}

#[test]
fn bad_characters_and_bad_commands_have_their_codes() {
    let room = Room::new();
    let mut raw = Raw::connect(&room.daemon);
    raw.say("@quiet NICK odd");
    raw.wait_for("OK NICK");
    for (bytes, answer) in [
        (&b"MSG #lobby a\0b"[..], "ERR - bad-line "),
        (b"MSG #lobby \x1b[31m", "ERR - bad-line "),
        (b"\xef\xbb\xbfMSG #lobby hi", "ERR - bad-line "),
        (b"MSG #lobby \xff\xfe", "ERR - bad-line "),
        (b"SHOUT hi", "ERR SHOUT unknown-verb "),
        (b"MSG", "ERR MSG missing-parameter "),
        (b"MSG  #lobby hi", "ERR MSG surplus-parameter "),
        (b"WHO #lobby #ops", "ERR WHO surplus-parameter "),
        (b"MSG #lobby ", "ERR MSG no-text "),
        (b"MSG #lobby", "ERR MSG no-text "),
        (b"", "ERR - bad-line "),
        ("NICK bob\u{202e}".as_bytes(), "ERR NICK bad-nick "),
        ("NICK witn\u{435}ss".as_bytes(), "ERR NICK looks-alike "),
        (b"HELLO snug/1", "ERR HELLO too-late "),
    ] {
        raw.send(bytes);
        raw.send(b"\n");
        let heard = raw.hear();
        assert!(heard.starts_with(answer), "{bytes:?}: {heard}");
    }
    assert_eq!(raw.rest(), "", "a late HELLO is the end");
}

#[test]
fn http_is_sent_away() {
    let room = Room::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /MSG%20#lobby HTTP/1.0\r\n\r\nNICK evil\r\nMSG #lobby hi\r\n",
    ] {
        assert_eq!(
            room.refused(request.as_bytes()),
            "ERR - not-chat this is a chat daemon, not a web server\n"
        );
    }
}

#[test]
fn announced_bytes_are_never_commands() {
    let room = Room::new();
    let mut raw = Raw::connect(&room.daemon);
    raw.say("@quiet NICK bytes");
    raw.wait_for("OK NICK");
    raw.send(b"@bytes=21 UPLOAD x\nMSG #lobby SHUTDOWN\n\n\nPING 1\n");
    assert!(raw.hear().starts_with("ERR UPLOAD unknown-verb "));
    assert_eq!(raw.hear(), "OK PING 1");
    // Those that never come: the answer is there all the same, and the others do not wait.
    raw.send(b"@bytes=9 UPLOAD x\n1234");
    assert!(raw.hear().starts_with("ERR UPLOAD unknown-verb "));
    raw.finish();
    assert_eq!(raw.rest(), "");

    let mut huge = Raw::connect(&room.daemon);
    huge.say("@bytes=9223372036854775808 UPLOAD x");
    assert!(huge.rest().starts_with("ERR UPLOAD too-large "));
}

#[test]
fn who_says_nothing_is_sent_away() {
    let daemon = Daemon::with("[limits]\nregistration = \"300ms\"\n");
    let mut raw = Raw::connect(&daemon);
    assert!(raw.rest().starts_with("ERR - timeout no NICK came"));
}

#[test]
fn who_reads_too_slowly_costs_only_himself_and_loses_nothing() {
    let daemon = Daemon::with(
        "[limits]\noutbox = \"64 KiB\"\nrate = 0\nguest_bytes = \"0 B\"\naddress_bytes = \"0 B\"\nroom_bytes = \"0 B\"\n",
    );
    let mut slow = Raw::enter(&daemon, "slow");
    let mut alice = Raw::enter(&daemon, "alice");
    let mut bob = Raw::enter(&daemon, "bob");
    // The system's own buffers take some megabytes before the daemon has to wait for anybody.
    const COUNT: usize = 2_500;
    let text = "x".repeat(8_000);
    for sent in 0..COUNT {
        alice.say(&format!("MSG #lobby {sent} {text}"));
        alice.wait_for("OK MSG");
        bob.wait_for(&format!(":alice MSG #lobby {sent} "));
    }
    // It reads again: first what was on its way, then where that ended, and with SYNC the rest.
    let mut next = 0;
    loop {
        let line = slow.hear();
        if let Some(cursor) = line.strip_prefix("BEHIND ") {
            assert!(next < COUNT, "it was behind, and had everything");
            slow.say(&format!("SYNC {cursor} 500"));
        } else if line.contains(" :alice MSG #lobby ") {
            assert!(
                line.contains(&format!(" :alice MSG #lobby {next} ")),
                "{next} comes next: {}",
                &line[..80]
            );
            next += 1;
        } else if let Some((_, answer)) = line.split_once("OK SYNC ") {
            let (cursor, goes_on) = answer.split_once(' ').expect("a cursor and a word");
            if goes_on == "live" {
                break;
            }
            slow.say(&format!("SYNC {cursor} 500"));
        }
    }
    assert_eq!(next, COUNT);
    alice.say("MSG #lobby and on it goes");
    slow.wait_for(" :alice MSG #lobby and on it goes");
}

#[test]
fn a_line_cut_in_the_middle_is_not_done() {
    let mut room = Room::new();
    let mut raw = Raw::enter(&room.daemon, "cut");
    raw.send(b"MSG #lobby whole\nMSG #lobby hal");
    raw.finish();
    let rest = raw.rest();
    assert!(rest.ends_with("OK MSG #lobby\n") && !rest.contains("hal\n"), "{rest}");
    room.witness.wait_for(":cut MSG #lobby whole");
    let next = room.witness.hear();
    assert!(next.ends_with(":cut QUIT"), "{next}");
}

#[test]
fn ten_thousand_pipelined_commands_are_all_answered_in_order() {
    let daemon = Daemon::with("[limits]\nrate = 0\n");
    let mut raw = Raw::enter(&daemon, "fast");
    let commands: String =
        (0..10_000).map(|n| format!("@ref={n} MSG #lobby {n}\n@ref=p{n} PING {n}\n")).collect();
    let mut writer = Raw::connect(&daemon);
    writer.say("@quiet NICK other");
    // Nothing is read until all is written: the daemon must neither lose anything nor hold it all in memory.
    std::thread::scope(|scope| {
        let sender = &mut raw;
        let (done, wait) = std::sync::mpsc::channel();
        let stream = sender.try_clone();
        scope.spawn(move || {
            let mut stream = stream;
            stream.send(commands.as_bytes());
            let _ = done.send(());
        });
        for n in 0..10_000 {
            assert!(sender.wait_for("OK MSG").contains(&format!("ref={n} ")));
            assert_eq!(sender.hear(), format!("@ref=p{n} OK PING {n}"));
        }
        wait.recv().expect("all was sent");
    });
    writer.wait_for("OK NICK");
}

#[test]
fn a_flood_is_slowed_down_and_loses_nothing() {
    let daemon = Daemon::with("[limits]\nburst = 10\nrate = 100\n");
    let mut raw = Raw::enter(&daemon, "flood");
    for n in 0..60 {
        raw.say(&format!("PING {n}"));
    }
    for n in 0..60 {
        assert_eq!(raw.hear(), format!("OK PING {n}"));
    }
}

#[test]
fn plain_lines_are_taken_only_from_where_the_settings_say() {
    let daemon = Daemon::with("[listen]\ntcp = [\"127.0.0.1:0\"]\nplaintext = \"never\"\n");
    let mut raw = Raw::connect(&daemon);
    raw.say("NICK alice");
    assert!(raw.rest().starts_with("ERR - plaintext "));
}

#[test]
fn dead_peers_are_noticed_and_announced() {
    let daemon = Daemon::with("[heartbeat]\nping = \"200ms\"\ndead = \"400ms\"\n");
    let mut alice = Raw::enter(&daemon, "alice");
    let mut dead = Raw::enter(&daemon, "dead");
    dead.say("PING 1");
    dead.wait_for("OK PING 1");
    alice.wait_for(":dead QUIT timeout");
    let rest = dead.rest();
    assert!(rest.contains("\nERR - timeout ") && rest.contains("PING "), "{rest}");
}
