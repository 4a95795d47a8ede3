//! Plays netcat-guide.md with real `nc`, and compares line by line.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use assert_cmd::cargo::cargo_bin;

use crate::harness::{Daemon, Lines};

/// One `nc` of the guide.
struct Nc {
    child: Child,
    stdin: ChildStdin,
    lines: Lines,
}

impl Nc {
    fn start(daemon: &Daemon) -> Nc {
        let mut child = Command::new("nc")
            .args([daemon.tcp.ip().to_string(), daemon.tcp.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nc is there (sh tests/run installs it)");
        let stdin = child.stdin.take().expect("a pipe");
        let lines = Lines::of(child.stdout.take().expect("a pipe"));
        Nc { child, stdin, lines }
    }

    fn play(&mut self, line: &str) {
        // An empty line has no blank behind its sign.
        let line = if matches!(line, ">" | "<") { &format!("{line} ") } else { line };
        if let Some(said) = line.strip_prefix("> ") {
            writeln!(self.stdin, "{said}").expect("nc reads");
        } else if let Some(pattern) = line.strip_prefix("< ") {
            let heard = self.lines.next().unwrap_or_else(|| panic!("nc ended before {pattern:?}"));
            assert_matches(&heard, pattern);
        } else {
            panic!("neither said nor heard: {line:?}");
        }
    }
}

impl Drop for Nc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compares a line with a pattern in which `…` stands for anything.
fn assert_matches(heard: &str, pattern: &str) {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let mut rest = heard.strip_prefix(first);
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        rest = match rest {
            Some(text) if is_last => text.ends_with(part).then_some(""),
            Some(text) => text.find(part).map(|found| &text[found + part.len()..]),
            None => None,
        };
    }
    assert!(rest == Some(""), "the guide says {pattern:?}\n          heard {heard:?}");
}

/// Runs a one-liner of the guide, and compares what it prints.
fn run(daemon: &Daemon, command: &str, expected: &[&str]) {
    let command =
        command.replace("7684", &daemon.tcp.port().to_string()).replace("FINGERPRINT", &daemon.fingerprint);
    let programs = cargo_bin("snug").parent().expect("a folder").to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("PATH", path)
        .env("HOME", daemon.folder())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("a shell");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed.len(), expected.len(), "{command}: {printed:?}");
    for (printed, expected) in printed.iter().zip(expected) {
        assert_matches(printed, expected);
    }
}

#[test]
fn the_guide_s_sessions_are_real() {
    let daemon = Daemon::start();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("netcat-guide.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let mut people: HashMap<&str, Nc> = HashMap::new();
    let mut played = 0;
    let mut blocks = guide.split("\n```");
    blocks.next();
    while let (Some(block), Some(_)) = (blocks.next(), blocks.next()) {
        let (kind, lines) = block.split_once('\n').expect("a block has lines");
        if let Some(name) = kind.strip_prefix("nc ") {
            let person = people.entry(name).or_insert_with(|| Nc::start(&daemon));
            for line in lines.lines() {
                person.play(line);
                played += 1;
            }
        } else if kind == "sh" {
            let mut lines = lines.lines();
            let command = lines.next().and_then(|line| line.strip_prefix("$ ")).expect("a command");
            run(&daemon, command, &lines.collect::<Vec<_>>());
            played += 1;
        }
    }
    assert!(played > 70, "only {played} lines were played");
}
