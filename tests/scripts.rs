//! One-liners: what scripts, cron jobs and people at a prompt say in one line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use crate::harness::{Daemon, Raw};

fn snug(daemon: &Daemon, nick: &str, arguments: &[&str]) -> Command {
    let mut command = daemon.snug();
    command.args(["--nick", nick]).args(arguments).stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("snug runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_tells_what_became_of_a_command_and_ends_as_it_does() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let ran =
        output(snug(&daemon, "ci", &["run", "#lobby", "--", "sh", "-c", "echo one; echo two >&2; exit 3"]));
    assert_eq!(ran.status.code(), Some(3));
    assert_eq!((text(&ran.stdout), text(&ran.stderr)), ("one\n".to_owned(), "two\n".to_owned()));
    let started = alice.wait_for("started");
    let id = started.strip_prefix("@id=").and_then(|rest| rest.split(';').next()).expect("an id").to_owned();
    let ended = alice.wait_for("failed with 3 after");
    assert!(
        ended.contains(&format!("re={id};")) && ended.contains("one") && ended.contains("two"),
        "{ended}"
    );
    assert_eq!(output(snug(&daemon, "ci", &["run", "-q", "#lobby", "--", "true"])).status.code(), Some(0));
    assert_eq!(
        output(snug(&daemon, "ci", &["run", "-q", "#lobby", "--", "/nowhere/x"])).status.code(),
        Some(2)
    );
    let killed = output(snug(&daemon, "ci", &["run", "-q", "#lobby", "--", "sh", "-c", "kill -9 $$"]));
    assert_eq!(killed.status.code(), Some(137));
    assert!(alice.wait_for("failed with 137").contains("ci MSG"), "a quiet one tells only of failures");
    daemon.stop();
    // Without a server the command runs all the same.
    let mut alone = Command::new(assert_cmd::cargo::cargo_bin("snug"));
    alone.env_clear().args([
        "--server",
        "127.0.0.1:1",
        "run",
        "#lobby",
        "--",
        "sh",
        "-c",
        "echo ran; exit 4",
    ]);
    let ran = alone.output().expect("snug runs");
    assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(4), "ran\n".to_owned()));
}

#[test]
fn ask_waits_for_who_may_answer() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let mut eve = Raw::enter(&daemon, "eve");
    let arguments =
        ["ask", "#lobby", "deploy now?", "--choices", "yes,no", "--from", "alice", "--timeout", "60s"];
    let mut asking = snug(&daemon, "ci", &arguments);
    let asking = asking.stdout(Stdio::piped()).spawn().expect("snug runs");
    let asked = alice.wait_for("deploy now? [yes / no]");
    let id = asked.strip_prefix("@id=").and_then(|rest| rest.split(';').next()).expect("an id").to_owned();
    eve.say("MSG #lobby yes");
    eve.wait_for("OK MSG");
    alice.say("MSG #lobby let me think");
    alice.say(&format!("REACT #lobby {id} \u{1f44e}"));
    let answered = asking.wait_with_output().expect("it ends");
    assert_eq!((answered.status.code(), text(&answered.stdout)), (Some(10), "no\n".to_owned()));
    let nobody = output(snug(&daemon, "ci", &["ask", "#lobby", "anybody?", "--timeout", "1s"]));
    assert_eq!(nobody.status.code(), Some(75));
    daemon.stop();
}

#[test]
fn on_runs_for_each_message_at_least_once_and_in_order() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    for number in 1..=3 {
        alice.say(&format!("MSG #lobby job {number}"));
        alice.wait_for("OK MSG");
    }
    let cursor = daemon.folder().join("cursor");
    fs::write(&cursor, "0\n").expect("a file");
    let path = cursor.to_str().expect("UTF-8");
    // The third one is not done before it is stopped.
    let arguments = [
        "on",
        "#lobby",
        "--match",
        "^job ([0-9]+)$",
        "--cursor",
        path,
        "--",
        "sh",
        "-c",
        "if [ $SNUG_1 = 3 ] && [ -z \"$LET_IT\" ]; then sleep 60; fi; read x; echo \"$SNUG_FROM: $x\"",
    ];
    let mut first = snug(&daemon, "worker", &arguments).stdout(Stdio::piped()).spawn().expect("snug runs");
    let mut lines = BufReader::new(first.stdout.take().expect("a pipe")).lines();
    for number in 1..=2 {
        assert_eq!(lines.next().expect("a line").expect("text"), format!("alice: job {number}"));
    }
    // What is done is noted after it is printed.
    while !fs::read_to_string(&cursor).is_ok_and(|kept| kept.trim_end().ends_with(".2")) {
        std::thread::yield_now();
    }
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    let mut again = snug(&daemon, "worker", &["on", "#lobby", "--count", "1"]);
    again.args(&arguments[2..]).env("LET_IT", "1");
    let again = output(again);
    assert_eq!(text(&again.stdout), "alice: job 3\n", "{}", text(&again.stderr));

    let reply = [
        "on",
        "#lobby",
        "--command",
        "up",
        "--reply",
        "--count",
        "1",
        "--",
        "sh",
        "-c",
        "read x; echo up: $x",
    ];
    let replying = snug(&daemon, "uptime", &reply).spawn().expect("snug runs");
    loop {
        alice.say("WHO #lobby");
        if alice.wait_for("OK WHO").is_empty() {
            break;
        }
        alice.say("MSG #lobby !up now");
        alice.say("PING 7");
        let mut is_answered = false;
        loop {
            let line = alice.hear();
            is_answered |= line.contains(":uptime MSG #lobby up: now");
            if line == "OK PING 7" {
                break;
            }
        }
        if is_answered {
            break;
        }
    }
    assert!(replying.wait_with_output().expect("it ends").status.success());
    daemon.stop();
}

#[test]
fn a_spool_keeps_messages_while_there_is_no_server_and_sends_them_once() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().join("spool");
    let send = |server: &str, words: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("snug"));
        // As cron has it: no terminal, no home.
        command.env_clear().args(["--server", server, "--nick", "cron", "send", "--spool"]).arg(&spool);
        command.args(words).stdin(Stdio::null()).output().expect("snug runs")
    };
    for word in ["one", "two"] {
        let kept = send("127.0.0.1:1", &["#lobby", word]);
        assert_eq!(kept.status.code(), Some(0));
        assert!(text(&kept.stderr).contains("kept in"), "{}", text(&kept.stderr));
    }
    let sent = send(&daemon.pinned(), &["#lobby", "three"]);
    assert_eq!(text(&sent.stdout).lines().count(), 3, "{}", text(&sent.stderr));
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say("HISTORY #lobby LATEST");
    for word in ["one", "two", "three"] {
        assert!(alice.wait_for(":cron MSG #lobby").ends_with(word));
    }
    // One that the server refuses for good holds up no other.
    send("127.0.0.1:1", &["nobody-here", "lost"]);
    let refused = send(&daemon.pinned(), &["#lobby", "four"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(alice.wait_for(":cron MSG #lobby four").contains("four"));
    let names: Vec<String> = fs::read_dir(&spool)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().any(|name| name.ends_with(".refused"))
            && !names.iter().any(|name| name.ends_with(".msg"))
    );
    daemon.stop();
}

#[test]
fn send_says_more_than_text() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let sent = [
        "send",
        "#lobby",
        "--title",
        "a build",
        "--priority",
        "high",
        "--tag",
        "ci",
        "--tag",
        "x",
        "--replace",
        "job",
        "10 %",
    ];
    assert!(output(snug(&daemon, "ci", &sent)).status.success());
    let heard = alice.wait_for("MSG #lobby 10 %");
    assert!(heard.contains("title=a\\sbuild;priority=high;label=ci,x "), "{heard}");
    assert!(output(snug(&daemon, "ci", &["send", "#lobby", "--replace", "job", "20 %"])).status.success());
    alice.wait_for(":ci EDIT #lobby");
    let mut code = snug(&daemon, "ci", &["send", "#lobby", "--whole", "--code"]);
    let mut code = code.stdin(Stdio::piped()).spawn().expect("snug runs");
    code.stdin.take().expect("a pipe").write_all(b"if x:\n    :smile:\n").expect("it reads");
    assert!(code.wait().expect("it ends").success());
    assert!(alice.wait_for("```").ends_with("MSG #lobby ```\\nif x:\\n    :smile:\\n```"));
    assert_eq!(
        output(snug(&daemon, "ci", &["send", "#lobby", "--replace", "two words", "x"])).status.code(),
        Some(2)
    );
    daemon.stop();
}
