//! `snug`, as scripts use it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Daemon, Lines, Raw};

/// Runs a command with this on its stdin.
fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug can be run");
    // It may end before it has read all of it.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("it was started")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A `snug tail` that is connected.
struct Tail {
    child: std::process::Child,
    lines: Lines,
}

impl Tail {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Tail {
        let mut child = daemon
            .snug()
            .args(["--nick", "tail", "tail"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("snug can be run");
        let lines = Lines::of(child.stdout.take().expect("a pipe"));
        // It is connected when it is in the room.
        let mut raw = Raw::enter(daemon, "waiter");
        let room = arguments.iter().find(|word| word.starts_with('#')).unwrap_or(&"#lobby");
        loop {
            raw.say(&format!("WHO {room}"));
            let found = std::iter::from_fn(|| Some(raw.hear())).find(|line| {
                line.contains("USER tail ") || line.starts_with("OK WHO") || line.starts_with("ERR WHO")
            });
            if found.expect("an answer").contains("USER tail ") {
                break;
            }
        }
        Tail { child, lines }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_thousand_lines_arrive_complete_and_in_order() {
    let daemon = Daemon::start();
    let tail = Tail::start(&daemon, &["#lobby"]);
    let lines: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
    let sent = run(daemon.snug().args(["send", "#lobby"]), &lines);
    assert!(sent.status.success(), "{}", stderr(&sent));
    let ids: Vec<u64> = stdout(&sent).lines().map(|id| id.parse().expect("an id")).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.is_sorted());
    for n in 1..=1000 {
        let line = tail.lines.next().expect("a line");
        assert!(line.ends_with(&format!(" #lobby <tester> line {n}")), "{line}");
    }
}

#[test]
fn json_has_what_is_there_and_no_null() {
    let daemon = Daemon::start();
    let tail = Tail::start(&daemon, &["--json", "#ops", "alice"]);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say("MSG #lobby not for you");
    alice.say("@title=a\\sb;+x MSG #ops two\\nlines \u{202e}");
    alice.say("PRIV tail psst");
    alice.wait_for("OK PRIV");
    let object = |line: String| -> Value {
        assert!(!line.contains("null") && !line.contains('\u{202e}'), "{line}");
        serde_json::from_str(&line).expect("JSON")
    };
    let first = object(tail.lines.next().expect("a line"));
    assert_eq!(first["type"], "msg");
    assert_eq!(first["text"], "two\nlines \u{202e}");
    assert_eq!(first["tags"], serde_json::json!({"title": "a b", "+x": true}));
    let second = object(tail.lines.next().expect("a line"));
    assert_eq!(
        (&second["type"], &second["from"], &second["to"]),
        (&"priv".into(), &"alice".into(), &"tail".into())
    );
    assert_eq!(second["tags"]["who"].as_str().map(str::len), Some(16), "the id of the other one");
}

#[test]
fn a_refused_line_stops_and_says_which_were_accepted() {
    let daemon = Daemon::start();
    let long = "x".repeat(9_000);
    let sent = run(daemon.snug().args(["send", "#lobby"]), &format!("one\n\ntwo\r\n{long}\n"));
    assert_eq!(sent.status.code(), Some(1));
    assert_eq!(stdout(&sent).lines().count(), 2);
    let said = stderr(&sent);
    assert!(said.contains("too-long: line 4: ") && said.contains("accepted: lines 1, 3"), "{said}");

    let sent = run(daemon.snug().args(["send", "#lobby"]), "one\ntwo \x1b[31m\nthree\n");
    assert_eq!(sent.status.code(), Some(2));
    let said = stderr(&sent);
    assert!(
        said.contains("line 2: the text holds the control character U+001B")
            && said.contains("accepted: line 1"),
        "{said}"
    );
}

#[test]
fn whole_makes_one_message_and_a_key_makes_its_repeat_harmless() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let send =
        || stdout(&run(daemon.snug().args(["send", "#lobby", "--whole", "--key", "k1"]), "two\r\nlines\n"));
    let first = send();
    assert_eq!(send(), first, "the same id");
    alice.wait_for(":tester MSG #lobby two\\nlines");
    alice.say("PING 1");
    assert_eq!(alice.hear(), "OK PING 1", "said once");
}

#[test]
fn a_reader_of_the_ids_that_goes_away_loses_no_message() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let mut child = daemon
        .snug()
        .args(["send", "#lobby"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("snug can be run");
    drop(child.stdout.take());
    let lines: String = (1..=300).map(|n| format!("line {n}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ran").success());
    for n in 1..=300 {
        alice.wait_for(&format!(":tester MSG #lobby line {n}"));
    }
}

#[test]
fn exit_codes_tell_scripts_what_happened() {
    let daemon = Daemon::start();
    let _bob = Raw::enter(&daemon, "bob");
    for (arguments, code) in [
        (&["send", "#lobby", "hi"][..], 0),
        (&["send", "#nowhere", "hi"], 3),
        (&["send", "nobody", "hi"], 3),
        (&["who", "#nowhere"], 3),
        (&["--nick", "bob", "who"], 4),
        (&["--nick", "a b", "who"], 2),
        (&["send", "#bad room", "hi"], 2),
        (&["--server", "127.0.0.1:1", "who"], 69),
        (&["--server", "not an address", "who"], 2),
        (&["dance"], 2),
    ] {
        let output = run(daemon.snug().args(arguments), "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert_eq!(output.stderr.is_empty(), code == 0, "{arguments:?}");
    }
    let output = run(daemon.snug().args(["--json", "send", "nobody", "hi"]), "");
    let error: Value = serde_json::from_str(&stderr(&output)).expect("JSON");
    assert_eq!((&error["code"], &error["exit"]), (&"no-such-nick".into(), &3.into()));
}

#[test]
fn an_argument_beats_the_environment_and_the_socket_is_found_without_either() {
    let (daemon, other) = (Daemon::start(), Daemon::start());
    let mut there = Raw::enter(&other, "there");
    let output = run(
        other.snug().args(["--server", &daemon.pinned(), "--nick", "arg", "who"]).env("SNUG_NICK", "env"),
        "",
    );
    assert!(!stdout(&output).contains("there "), "{}", stdout(&output));
    // Neither: the socket in the runtime folder.
    let output = run(
        other
            .snug()
            .env_remove("SNUG_SERVER")
            .env("XDG_RUNTIME_DIR", other.socket.parent().expect("a folder"))
            .args(["send", "#lobby", "over the socket"]),
        "",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    there.wait_for(":tester MSG #lobby over the socket");
}

#[test]
fn a_taken_user_name_gets_a_number() {
    let daemon = Daemon::start();
    let mut tester = Raw::enter(&daemon, "tester");
    assert!(run(daemon.snug().args(["send", "#lobby", "hi"]), "").status.success());
    tester.wait_for(":tester-2 MSG #lobby hi");
}

#[test]
fn tail_comes_back_when_the_daemon_does() {
    let daemon = Daemon::start();
    let mut tail = daemon
        .snug()
        .args(["--nick", "tail", "tail", "#lobby"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug can be run");
    let talk = Lines::of(tail.stderr.take().expect("a pipe"));
    let lines = Lines::of(tail.stdout.take().expect("a pipe"));
    talk.wait_for("connected to");
    let daemon = daemon.restart("");
    talk.wait_for("disconnected: ");
    talk.wait_for("connected to");
    assert!(run(daemon.snug().args(["send", "#lobby", "back"]), "").status.success());
    lines.wait_for("<tester> back");
    tail.kill().expect("it runs");
    tail.wait().expect("it was started");
}

#[test]
fn a_daemon_that_says_nothing_or_goes_away_is_not_waited_for_for_ever() {
    // Something that takes connections and is no daemon.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("an address").to_string();
    let daemon = Daemon::start();
    let output = run(daemon.snug().args(["--server", &address, "who"]), "");
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
}

#[test]
fn a_line_that_the_daemon_cannot_read_is_an_answer_too() {
    let daemon = Daemon::with("[limits]\nline = 512\n");
    let output = run(daemon.snug().args(["send", "#lobby", &"x".repeat(600)]), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("line-too-long"), "{}", stderr(&output));
}

#[test]
fn an_empty_variable_is_no_setting_and_misuse_is_json_when_asked() {
    let daemon = Daemon::start();
    let output = run(
        daemon.snug().args(["--server", &daemon.pinned(), "who"]).env("SNUG_SERVER", "").env("SNUG_NICK", ""),
        "",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let output = run(daemon.snug().args(["--json", "dance"]), "");
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_str(&stderr(&output)).expect("JSON");
    assert_eq!(error["exit"], 2);
}

#[test]
fn pipe_is_netcat_for_sealed_connections() {
    let daemon = Daemon::start();
    let output = run(daemon.snug().arg("pipe"), "@quiet NICK piper\nMSG #lobby hi\n");
    let said = stdout(&output);
    assert!(output.status.success());
    assert!(said.contains(" OK NICK piper\n") && said.ends_with(" OK MSG #lobby\n"), "{said}");
}

#[test]
fn pipe_loses_nothing_when_stdin_ends_before_all_is_sent() {
    let daemon = Daemon::with("[limits]\nburst = 10\nrate = 200\n");
    let lines: String = (0..120).map(|n| format!("MSG #lobby {n} {}\n", "x".repeat(7_900))).collect();
    let output = run(daemon.snug().arg("pipe"), &format!("@quiet NICK piper\n{lines}"));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches(" OK MSG #lobby").count(), 120);
}

#[test]
fn who_and_rooms_list_for_people_and_programs() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say("TOPIC #lobby all about snug");
    alice.wait_for("OK TOPIC");
    let who = stdout(&run(daemon.snug().args(["who", "#lobby"]), ""));
    assert!(who.starts_with("alice                online since "), "{who}");
    let who = stdout(&run(daemon.snug().args(["who", "--json"]), ""));
    let bot: Value = serde_json::from_str(who.lines().nth(1).expect("two rows")).expect("JSON");
    assert_eq!((&bot["nick"], &bot["bot"]), (&"emoji".into(), &true.into()));
    let rooms = stdout(&run(daemon.snug().arg("rooms"), ""));
    assert_eq!(rooms, "#lobby                   2  all about snug\n");
}
