//! `snug chat`, line by line: what people type, also through pipes.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{Daemon, Lines, Raw, Running};

fn chat(daemon: &Daemon, nick: &str) -> Command {
    let mut command = daemon.snug();
    command.args(["--nick", nick, "chat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lets somebody type these lines, and waits for the end.
fn typed(mut command: Command, lines: &[u8]) -> Output {
    let mut child = command.spawn().expect("snug runs");
    child.stdin.take().expect("a pipe").write_all(lines).expect("it reads");
    child.wait_with_output().expect("snug ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What was printed, without the times.
fn shown(output: &Output) -> Vec<String> {
    let is_time = |word: &str| word.len() == 8 && word.split(':').count() == 3;
    let without = |line: &str| match line.split_once(' ') {
        Some((time, rest)) if is_time(time) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text(&output.stdout).lines().map(without).collect()
}

#[test]
fn what_is_typed_is_said_and_each_line_stands_on_what_the_one_before_has_done() {
    let daemon = Daemon::start();
    let mut bob = Raw::enter(&daemon, "bob");
    let lines = b"hello\n/w bob psst\n/me waves\n//etc\n/join #ops\nfirst\n/edit ^ second\n/react ^ :+1:\n/users\n\
                  /topic all about ops\n/away lunch\n/nick alicia\n/leave\nback\n/quit good night\nnever said\n";
    let said = typed(chat(&daemon, "alice"), lines);
    assert_eq!((said.status.code(), text(&said.stderr)), (Some(0), String::new()));
    let shown = shown(&said);
    assert!(
        shown[0].starts_with("* connected to ") && shown[0].contains(" as alice; /help lists"),
        "{}",
        shown[0]
    );
    let expected = [
        "#lobby alice: hello",
        "(private) (to bob) psst",
        "#lobby * alice waves",
        "#lobby alice: /etc",
        "* messages now go to #ops",
        "#ops alice: first",
        "#ops * alice edited 5: second",
        "#ops * alice reacted to 5 with \u{1f44d}",
        "alice, owner",
        "#ops * alice set the topic: all about ops",
        "* you are away now",
        "* alice is now alicia",
        "* you have left #ops",
        "* messages now go to #lobby",
        "#lobby alicia: back",
    ];
    let from_first: Vec<&String> = shown.iter().skip_while(|line| *line != expected[0]).collect();
    assert_eq!(from_first, expected);
    for event in
        [" MSG #lobby hello", " PRIV bob psst", " MSG #lobby /etc", " MSG #lobby back", " QUIT good night"]
    {
        bob.wait_for(event);
    }
}

#[test]
fn what_was_said_is_paged_through_in_both_directions() {
    let daemon = Daemon::start();
    let lines = b"one\ntwo\nthree\nfour\n/older\n/history 1\n/older 2\n/older\n/older\n/newer 1\n/date 1h\n/profile emoji\n";
    let said = typed(chat(&daemon, "alice"), lines);
    assert_eq!(said.status.code(), Some(1), "one of them came too early");
    let shown = shown(&said);
    let pages = shown.iter().skip_while(|line| *line != "* /history or /date comes first").skip(1);
    let pages: Vec<&str> = pages.map(|line| line.trim_start_matches("#lobby alice: ")).collect();
    let expected = [
        "four",
        "two",
        "three",
        "one",
        "* no messages there",
        "two",
        "one",
        "two",
        "three",
        "four",
        "* profile: none",
    ];
    assert_eq!(pages, expected);
}

#[test]
fn what_is_no_command_is_never_sent_and_what_is_refused_is_shown_again() {
    let daemon = Daemon::start();
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("JOIN #quiet");
    bob.wait_for("OK JOIN");
    bob.say("SET #quiet send owner");
    bob.wait_for("OK SET");
    let lines =
        b"/jion #ops\n/kick\n/mute bob soon\n/delete ^\n/w nobody hi there\n/join #quiet\nmay I?\n\xff\xfe\n";
    let said = typed(chat(&daemon, "alice"), lines);
    let (shown, stderr) = (text(&said.stdout), text(&said.stderr));
    assert_eq!(said.status.code(), Some(1), "{stderr}");
    for line in [
        "* there is no command /jion; did you mean /join?",
        "* who is missing; usage: /kick <who> [reason]",
        "usage: /mute <who> <time> [reason]",
        "* you have not sent a message yet",
        "* not sent: hi there",
        "* not sent: may I?",
        "in this room only its owner speak",
        "a line was not UTF-8 and was not sent",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    bob.say("HISTORY #lobby LATEST");
    let page = bob.wait_for("HISTORY");
    assert!(page.contains("OK HISTORY"), "nothing was said: {page}");
    let refused = typed(
        {
            let mut command = chat(&daemon, "alice");
            command.arg("--json");
            command
        },
        b"",
    );
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn nothing_that_others_write_reaches_the_terminal_as_more_than_text() {
    let daemon = Daemon::start();
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("PROFILE bob display Bob\u{202e}");
    bob.say("STATUS away \u{202e}gone");
    let mut alice = Running::spawn(&mut chat(&daemon, "alice"));
    let lines = Lines::of(alice.0.stdout.take().expect("a pipe"));
    lines.wait_for("* connected to");
    bob.say("MSG #lobby right\u{202e}left\u{2066}x\\nsecond line");
    bob.wait_for("OK MSG");
    let shown = lines.wait_for("#lobby bob: ");
    assert!(shown.ends_with("bob: right<U+202E>left<U+2066>x"), "{shown}");
    assert_eq!(lines.next().as_deref(), Some("    second line"));
    let mut stdin = alice.0.stdin.take().expect("a pipe");
    stdin.write_all(b"/users #lobby\n").expect("it reads");
    lines.wait_for("emoji, bot");
    drop(stdin);
    let rest = lines.rest();
    assert!(!rest.contains(['\u{202e}', '\u{1b}']), "{rest}");
    assert!(alice.0.wait().expect("it ends").success());
}

#[test]
fn what_is_typed_while_the_daemon_is_away_is_said_once_when_it_is_back() {
    let daemon = Daemon::start();
    let mut alice = Running::spawn(&mut chat(&daemon, "alice"));
    let lines = Lines::of(alice.0.stdout.take().expect("a pipe"));
    let mut stdin = alice.0.stdin.take().expect("a pipe");
    stdin.write_all(b"before\n").expect("it reads");
    lines.wait_for("#lobby alice: before");
    let daemon = daemon.kill_and_restart_after("", |_| {
        lines.wait_for("* disconnected: ");
        stdin.write_all(b"meanwhile\nand more\n").expect("it reads");
    });
    lines.wait_for("* connected again as alice");
    lines.wait_for("#lobby alice: meanwhile");
    lines.wait_for("#lobby alice: and more");
    drop(stdin);
    assert!(alice.0.wait().expect("it ends").success());
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("HISTORY #lobby LATEST");
    let mut said = Vec::new();
    loop {
        let line = bob.hear();
        if line.contains("OK HISTORY") {
            break;
        }
        said.extend(line.trim_end().split_once(" MSG #lobby ").map(|(_, text)| text.to_owned()));
    }
    assert_eq!(said, ["before", "meanwhile", "and more"]);
}

#[test]
fn files_go_beside_the_chat_and_it_ends_with_them() {
    let daemon = Daemon::start();
    let (there, here) = (daemon.folder().join("there"), daemon.folder().join("here"));
    for folder in [&there, &here] {
        fs::create_dir(folder).expect("the folder can be written");
    }
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(there.join("notes.bin"), &content).expect("the folder can be written");
    let mut sending = chat(&daemon, "alice");
    sending.current_dir(&there);
    let sent = typed(sending, b"/file notes.bin\n/file no-such-file\n");
    assert_eq!(sent.status.code(), Some(1), "one of them is not there");
    assert!(text(&sent.stderr).contains("no-such-file"), "{}", text(&sent.stderr));
    let shown = text(&sent.stdout);
    let id = shown.split("/accept ").nth(1).and_then(|rest| rest.split(',').next()).expect("the offer");
    assert!(shown.contains(&format!("* notes.bin is sent: {id}\n")), "{shown}");
    let mut fetching = chat(&daemon, "bob");
    fetching.current_dir(&here);
    let fetched = typed(fetching, format!("/files\n/accept {id}\n").as_bytes());
    assert_eq!((fetched.status.code(), text(&fetched.stderr)), (Some(0), String::new()));
    assert!(text(&fetched.stdout).contains("* notes.bin is saved in notes.bin"), "{}", text(&fetched.stdout));
    assert!(fs::read(here.join("notes.bin")).expect("it is there") == content);
    let taken_back = typed(chat(&daemon, "alice"), format!("/cancel {id}\n/files\n").as_bytes());
    assert_eq!((taken_back.status.code(), text(&taken_back.stderr)), (Some(0), String::new()));
    let shown = text(&taken_back.stdout);
    assert!(shown.contains(&format!("* {id} is taken back\n* files: none\n")), "{shown}");
}

#[test]
fn at_a_terminal_a_tab_offers_words_by_number_and_nothing_typed_is_shown_twice() {
    let daemon = Daemon::start();
    let mut bob = Raw::enter(&daemon, "bobby");
    // Python lends the program a terminal.
    let own = chat(&daemon, "alice");
    let mut command = Command::new("python3");
    let spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    command.args(["-c", spawn]).arg(own.get_program()).args(own.get_args());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let said = typed(
        command,
        b"/jo\t\n1 #ops\nonly once\n/w bo\t\n1 hi there\n/ban bobby\n/nothing\t\n/kick\n/quit\n",
    );
    let shown: Vec<String> = shown(&said).iter().map(|line| line.trim_end().to_owned()).collect();
    for line in [
        "1 /join",
        "* /join #ops",
        "* messages now go to #ops",
        "1 bobby",
        "* /w bobby hi there",
        "#ops * alice banned bobby",
        "* nothing matches",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:?}");
    }
    assert_eq!(shown.iter().filter(|line| line.contains("only once")).count(), 1, "{shown:?}");
    assert_eq!(said.status.code(), Some(0), "what a person has mistyped is no failure: {shown:?}");
    bob.wait_for("PRIV bobby hi there");
}

#[test]
fn what_is_meant_for_one_person_does_not_reach_the_next_of_that_name() {
    let daemon = Daemon::start();
    let mut bob = Raw::enter(&daemon, "bob");
    let mut alice = Running::spawn(&mut chat(&daemon, "alice"));
    let lines = Lines::of(alice.0.stdout.take().expect("a pipe"));
    let mut stdin = alice.0.stdin.take().expect("a pipe");
    stdin.write_all(b"/to bob\n").expect("it reads");
    lines.wait_for("* messages now go to bob");
    bob.say("NICK rob");
    bob.wait_for("OK NICK rob");
    let mut eve = Raw::enter(&daemon, "bob");
    stdin.write_all(b"for the first one\n").expect("it reads");
    bob.wait_for("PRIV rob for the first one");
    eve.say("PING");
    loop {
        let line = eve.hear();
        assert!(!line.contains("PRIV"), "{line}");
        if line.contains("OK PING") {
            break;
        }
    }
}
