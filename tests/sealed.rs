//! Sealed connections: whose key it is, what crosses the wire, and what a man in the middle gets.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Daemon, Lines, Raw, program};

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it can be run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// `snug` to an address that is not pinned.
fn unpinned(daemon: &Daemon, address: SocketAddr, arguments: &[&str]) -> (Option<i32>, String, String) {
    output(daemon.snug().env("SNUG_SERVER", address.to_string()).args(arguments))
}

#[test]
fn a_server_is_trusted_by_an_act_and_known_from_then_on() {
    let daemon = Daemon::start();
    let (code, _, said) = unpinned(&daemon, daemon.tcp, &["who"]);
    assert_eq!(code, Some(4));
    let command = format!("snug trust {} {}", daemon.tcp, daemon.fingerprint);
    assert!(said.contains(&command), "{said}");

    let (code, shown, _) = unpinned(&daemon, daemon.tcp, &["fingerprint"]);
    assert_eq!((code, shown.trim()), (Some(0), daemon.fingerprint.as_str()));
    let here = daemon.tcp.to_string();
    assert_eq!(unpinned(&daemon, daemon.tcp, &["trust", &here, &daemon.fingerprint]).0, Some(0));
    let known = fs::read_to_string(daemon.folder().join(".config/snug/known_hosts")).expect("a file");
    assert_eq!(known, format!("{} {}\n", daemon.tcp, daemon.fingerprint));
    assert_eq!(unpinned(&daemon, daemon.tcp, &["send", "#lobby", "hi"]).0, Some(0));
    // And the daemon's own program says the same.
    let config = daemon.folder().join("config.toml");
    let (_, printed, _) =
        output(program("snugd", daemon.folder()).arg("--config").arg(config).arg("fingerprint"));
    assert_eq!(printed.trim(), daemon.fingerprint);
}

#[test]
fn a_man_in_the_middle_with_a_key_of_his_own_gets_nothing() {
    let (daemon, impostor) = (Daemon::start(), Daemon::start());
    let here = impostor.tcp.to_string();
    // Against what is known ...
    assert_eq!(unpinned(&daemon, daemon.tcp, &["trust", &here, &daemon.fingerprint]).0, Some(0));
    let mut witness = Raw::enter(&impostor, "witness");
    let (code, _, said) = unpinned(&daemon, impostor.tcp, &["send", "#lobby", "a secret"]);
    assert_eq!(code, Some(4));
    assert!(said.contains("HAS CHANGED") && said.contains("Nothing was said to it"), "{said}");
    assert!(said.contains(&daemon.fingerprint) && said.contains(&impostor.fingerprint), "{said}");
    assert!(said.contains(&format!("snug trust {here} {}", impostor.fingerprint)), "{said}");
    // ... which `trust` without a fingerprint does not take over ...
    assert_eq!(unpinned(&daemon, impostor.tcp, &["trust", &here]).0, Some(4));
    // ... and against a pin.
    let pinned = format!("snug://{}/#{}", impostor.tcp, daemon.fingerprint);
    let (code, _, said) = output(daemon.snug().args(["--server", &pinned, "send", "#lobby", "a secret"]));
    assert_eq!(code, Some(4), "{said}");
    witness.say("PING 1");
    assert_eq!(witness.hear(), "OK PING 1", "nobody even came");
}

#[test]
fn a_key_that_changes_while_one_listens_is_as_loud() {
    let daemon = Daemon::start();
    let mut tail = daemon
        .snug()
        .args(["tail", "#lobby"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug can be run");
    let talk = Lines::of(tail.stderr.take().expect("a pipe"));
    talk.wait_for("connected to");
    let _impostor = daemon.restart_after("", |folder| {
        fs::remove_file(folder.join("data/identity.key")).expect("a key");
    });
    talk.wait_for("HAS CHANGED");
    assert_eq!(tail.wait().expect("it ran").code(), Some(4));
}

#[test]
fn what_is_said_before_there_are_keys_is_shown_and_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let greetings =
        ["ERR - no-such-room go away\n", "ERR HELLO version speak snug/0\n", "HELLO snug/1 x\r\n"];
    thread::spawn(move || {
        for answer in greetings {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.write_all(format!("SNUG/1 hello\n{answer}").as_bytes());
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            let rest = String::from_utf8(rest).expect("ASCII");
            assert_eq!(rest.lines().count(), 1, "one HELLO, and no second one with less: {rest}");
        }
    });
    let daemon = Daemon::start();
    for _ in greetings {
        let (code, _, said) = unpinned(&daemon, address, &["send", "#lobby", "hi"]);
        assert!(matches!(code, Some(4 | 69)), "{code:?}: {said}");
        assert!(said.contains("not authenticated") || said.contains("no snug server"), "{said}");
    }
}

/// A proxy that records what goes through it, and can cut it.
struct Proxy {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Cuts each connection after so many bytes of the server, without a word.
    fn to(server: SocketAddr, cut_after: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&recorded);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(server).expect("the daemon listens");
                let pump =
                    |mut from: TcpStream, mut to: TcpStream, mut left: usize, record: Arc<Mutex<Vec<u8>>>| {
                        thread::spawn(move || {
                            let mut buffer = [0; 16 << 10];
                            while left > 0 {
                                let count = from.read(&mut buffer).unwrap_or(0).min(left);
                                if count == 0 || to.write_all(&buffer[..count]).is_err() {
                                    break;
                                }
                                left -= count;
                                record.lock().expect("no panic").extend_from_slice(&buffer[..count]);
                            }
                            let _ = to.shutdown(Shutdown::Write);
                            if left == 0 {
                                let _ = from.shutdown(Shutdown::Both);
                            }
                        });
                    };
                let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
                pump(clone(&client), clone(&server), usize::MAX, Arc::clone(&record));
                pump(server, client, cut_after, Arc::clone(&record));
            }
        });
        Proxy { address, recorded }
    }
}

#[test]
fn what_crosses_the_wire_is_the_greeting_two_hellos_and_base64() {
    let daemon = Daemon::start();
    let proxy = Proxy::to(daemon.tcp, usize::MAX);
    let pinned = format!("snug://{}/#{}", proxy.address, daemon.fingerprint);
    for arguments in [&["send", "#lobby", "a secret :smile:"][..], &["who"], &["rooms"]] {
        let (code, _, said) =
            output(daemon.snug().args(["--server", &pinned, "--nick", "nobody-knows"]).args(arguments));
        assert_eq!(code, Some(0), "{said}");
    }
    // Each direction is recorded in whole writes; lines of the two may alternate.
    let recorded = proxy.recorded.lock().expect("no panic").clone();
    let text = String::from_utf8(recorded).expect("ASCII");
    let is_base64 = |line: &str| line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let mut seen = (0, 0, 0);
    for line in text.lines() {
        if line.starts_with("SNUG/1 ") {
            seen.0 += 1;
        } else if line.starts_with("HELLO snug/1 ") {
            seen.1 += 1;
        } else {
            assert!(is_base64(line), "in the clear: {line}");
            seen.2 += 1;
        }
    }
    assert_eq!((seen.0, seen.1), (3, 6));
    assert!(seen.2 >= 9, "{seen:?}");
}

#[test]
fn a_connection_that_is_cut_is_no_orderly_end() {
    let daemon = Daemon::start();
    // Enough for the handshake, and not for what comes then.
    let proxy = Proxy::to(daemon.tcp, 2_000);
    let pinned = format!("snug://{}/#{}", proxy.address, daemon.fingerprint);
    let mut child = daemon
        .snug()
        .args(["--server", &pinned, "pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug can be run");
    child.stdin.as_mut().expect("a pipe").write_all(b"HELP\nHELP\nHELP\nHELP\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connection"), "{:?}", output.stderr);
}

#[test]
fn a_pre_shared_key_hides_the_server_from_strangers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("psk");
    let (code, made, said) = output(program("snugd", folder.path()).args(["psk", "new"]).arg(&file));
    assert_eq!(code, Some(0), "{said}");
    let secret = fs::read_to_string(&file).expect("a file");
    assert!(!made.contains(secret.trim()), "the key itself is not printed");
    let daemon = Daemon::with(&format!("[listen]\ntcp = [\"127.0.0.1:0\"]\npsk_file = {file:?}\n"));

    let (code, _, said) = output(daemon.snug().args(["send", "#lobby", "hi"]));
    assert_eq!(code, Some(4));
    assert!(said.contains("pre-shared key") && !said.contains(&daemon.fingerprint), "{said}");
    let (code, shown, _) = output(daemon.snug().arg("fingerprint"));
    assert_eq!((code, shown.as_str()), (Some(4), ""), "not even its fingerprint");
    let (code, _, said) = output(daemon.snug().arg("--psk-file").arg(&file).args(["send", "#lobby", "hi"]));
    assert_eq!(code, Some(0), "{said}");
    // A server without the key is not talked to.
    let other = Daemon::start();
    let (code, _, said) = output(other.snug().arg("--psk-file").arg(&file).args(["send", "#lobby", "hi"]));
    assert_eq!(code, Some(4), "{said}");
    let (_, said) = daemon.stop();
    assert!(!said.contains(secret.trim()));
}

#[test]
fn half_open_handshakes_and_a_flood_of_hellos_cost_a_room_nothing() {
    let daemon = Daemon::with("[limits]\nnameless = 500\nhandshake = \"500ms\"\n");
    let mut alice = Raw::enter(&daemon, "alice");
    let mut bob = Raw::enter(&daemon, "bob");
    let hello = b"HELLO snug/1 2J47rXlDfb7Z+ENBgwT0YP8Fx/6B/kqVd6gEy5Nn/2Y=\n";
    let mut half_open = Vec::new();
    for number in 0..2_000 {
        if let Ok(mut stream) = TcpStream::connect(daemon.tcp) {
            let _ = stream.write_all(hello);
            half_open.push(stream);
        }
        if number % 100 == 0 {
            alice.say(&format!("MSG #lobby {number}"));
            alice.wait_for("OK MSG");
            bob.wait_for(&format!(":alice MSG #lobby {number}"));
        }
    }
    // Those that were taken are told to go when their time is over; the others were told at once.
    let mut told = 0;
    for mut stream in half_open {
        stream.set_read_timeout(Some(crate::harness::PATIENCE)).expect("a socket");
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        told += usize::from(heard.starts_with(b"SNUG/1 "));
    }
    assert!(told > 500, "{told}");
    // And then there is room again.
    let (code, _, said) = output(daemon.snug().arg("who"));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    let key = daemon.folder().join("data/identity.key");
    assert_eq!(fs::metadata(&key).expect("a file").permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a file");
    let config = daemon.folder().join("config.toml");
    let (code, _, said) =
        output(program("snugd", daemon.folder()).arg("--config").arg(config).arg("fingerprint"));
    assert_eq!(code, Some(1));
    assert!(said.contains("identity.key") && said.contains("others can read it"), "{said}");
}
