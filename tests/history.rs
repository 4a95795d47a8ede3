//! `snug` about what was said: tail --since and --cursor, history, search, export.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use crate::harness::{Daemon, Lines, PATIENCE, Raw};

fn run(mut command: Command, arguments: &[&str]) -> Output {
    command.args(arguments).output().expect("snug runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Says lines in a room through one `snug send`.
fn say(daemon: &Daemon, room: &str, lines: impl Iterator<Item = String>) {
    let mut send = daemon.snug();
    send.env("SNUG_NICK", "sender").args(["send", room]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut send = send.spawn().expect("snug runs");
    let mut stdin = send.stdin.take().expect("a pipe");
    for line in lines {
        writeln!(stdin, "{line}").expect("snug reads");
    }
    drop(stdin);
    assert!(send.wait().expect("snug ends").success());
}

/// The texts of lines of `--json`.
fn texts(lines: &str) -> Vec<String> {
    let text = |line: &str| {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        object["text"].as_str().expect("a text").to_owned()
    };
    lines.lines().map(text).collect()
}

#[test]
fn tail_since_tells_what_there_was_and_ends() {
    let daemon = Daemon::start();
    say(&daemon, "#lobby", (1..=5).map(|n| n.to_string()));
    let tail = |arguments: &[&str]| {
        let mut all = vec!["--nick", "reader", "--json", "tail"];
        all.extend(arguments);
        texts(&stdout(&run(daemon.snug(), &all)))
    };
    assert_eq!(tail(&["--since", "3"]), ["4", "5"]);
    assert_eq!(tail(&["--since", "0", "#lobby"]), ["1", "2", "3", "4", "5"]);
    assert_eq!(tail(&["--since", "1h"]), ["1", "2", "3", "4", "5"]);
    assert_eq!(tail(&["--since", "2026-01-01", "#lobby", "#nothing-there"]).len(), 5);
    assert_eq!(tail(&["--since", "9999-01-01"]), Vec::<String>::new());
    let misuse = run(daemon.snug(), &["tail", "--since", "yesterday"]);
    assert_eq!(misuse.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misuse.stderr).contains("30m, 1h or 7d"));
}

#[test]
fn tail_cursor_goes_on_where_it_was() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("cursor");
    let path = file.to_str().expect("UTF-8").to_owned();
    let tail = || {
        let arguments = ["-n", "reader", "--json", "tail", "--since", "0", "--cursor", &path, "#lobby"];
        texts(&stdout(&run(daemon.snug(), &arguments)))
    };
    say(&daemon, "#lobby", ["one", "two"].into_iter().map(str::to_owned));
    assert_eq!(tail(), ["one", "two"]);
    assert_eq!(tail(), Vec::<String>::new());
    say(&daemon, "#lobby", ["three"].into_iter().map(str::to_owned));
    assert_eq!(tail(), ["three"]);
    fs::write(&file, "nonsense").expect("a file");
    let refused = run(daemon.snug(), &["tail", "--cursor", &path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds no cursor"));
}

/// A reader that dies has taken all lines but those still in its hands: the cursor stands behind what it took.
#[test]
fn what_a_reader_did_not_take_comes_again() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("cursor");
    say(&daemon, "#lobby", (1..=50).map(|n| format!("line {n}")));
    let mut founder = Raw::enter(&daemon, "founder");
    founder.say("JOIN #long");
    founder.wait_for("OK JOIN");
    let start = || {
        let mut tail = daemon.snug();
        tail.args(["-n", "reader", "--json", "tail", "--since", "0", "--cursor"]).arg(&file).arg("#lobby");
        tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("snug runs")
    };
    // A first line that fills the pipe is no more taken than others.
    say(&daemon, "#long", std::iter::once("y".repeat(6_000)));
    let long = daemon.folder().join("long");
    let mut tail = daemon.snug();
    tail.args(["-n", "reader", "tail", "--since", "0", "--cursor"]).arg(&long).arg("#long");
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("snug runs");
    let mut reader = tail.stdout.take().expect("a pipe");
    reader.read_exact(&mut [0; 100]).expect("it begins");
    drop(reader);
    tail.wait().expect("snug ends");
    assert!(!long.exists(), "the line was not taken");

    // Nothing but this pipe is between the two, and the reader takes it line by line.
    let mut taken = Vec::new();
    for _ in 0..3 {
        let mut tail = start();
        let mut reader = BufReader::with_capacity(1, tail.stdout.take().expect("a pipe"));
        for _ in 0..10 {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line comes");
            taken.push(texts(&line).remove(0));
        }
        drop(reader);
        tail.wait().expect("snug ends");
    }
    let mut rest = start();
    let lines = Lines::of(rest.stdout.take().expect("a pipe"));
    taken.extend(texts(&lines.rest()));
    rest.wait().expect("snug ends");
    // At most the last line of each of the three that died came again.
    let repeated = taken.len() - taken.iter().collect::<HashSet<_>>().len();
    taken.dedup();
    assert!(repeated <= 3, "{taken:?}");
    assert_eq!(taken, (1..=50).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[test]
fn history_and_search_find_what_was_said() {
    let daemon = Daemon::start();
    say(&daemon, "#lobby", (1..=1_200).map(|n| format!("entry number {n}")));
    let lines = |arguments: &[&str]| {
        let mut all = vec!["--json"];
        all.extend(arguments);
        texts(&stdout(&run(daemon.snug(), &all)))
    };
    let numbers = |from: u32, to: u32| (from..=to).map(|n| format!("entry number {n}")).collect::<Vec<_>>();
    assert_eq!(lines(&["history", "#lobby"]), numbers(1_151, 1_200));
    assert_eq!(lines(&["history", "#lobby", "--count", "1100"]), numbers(101, 1_200));
    assert_eq!(lines(&["history", "#lobby", "--before", "11", "-c", "3"]), numbers(8, 10));
    assert_eq!(lines(&["history", "#lobby", "--since", "1195"]), numbers(1_196, 1_200));
    assert_eq!(lines(&["history", "#lobby", "--around", "50", "-c", "4"]), numbers(48, 51));
    assert_eq!(lines(&["search", "number", "777"]), ["entry number 777"]);
    assert_eq!(lines(&["search", "#lobby", "number 42", "from:sender"]), ["entry number 42"]);
    assert_eq!(lines(&["search", "*", "number", "-c", "1150"]).len(), 1_150);
    let missing = run(daemon.snug(), &["history", "#nowhere"]);
    assert_eq!(missing.status.code(), Some(3));
    let misuse = run(daemon.snug(), &["search", "*", "\"open"]);
    assert_eq!(misuse.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&misuse.stderr).starts_with("snug: bad-query: "));
}

#[test]
fn export_writes_everything_in_three_forms() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    for line in [
        "TOPIC #lobby this & that",
        "MSG #lobby first <b>",
        "MSG #lobby secnd",
        "EDIT #lobby 3 second",
        "MSG #lobby gone",
        "DELETE #lobby 5",
        "REACT #lobby 2 :+1:",
    ] {
        alice.say(line);
        alice.wait_for("OK ");
    }
    let export = |format: &str| stdout(&run(daemon.snug(), &["export", "#lobby", "--format", format]));
    let text = export("txt");
    let said: Vec<&str> = text.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    assert_eq!(
        said,
        [
            "#lobby * alice set the topic: this & that",
            "#lobby <alice> first <b> [\u{1f44d}\u{d7}1]",
            "#lobby <alice> second (edited)",
            "#lobby <alice> (deleted)",
        ]
    );
    assert_eq!(export("jsonl").lines().count(), 7);
    let html = daemon.folder().join("lobby.html");
    let path = html.to_str().expect("UTF-8");
    stdout(&run(daemon.snug(), &["export", "#lobby", "--format", "html", "-o", path]));
    let html = fs::read_to_string(html).expect("a document");
    assert!(
        html.contains("first &lt;b&gt;") && html.contains("this &amp; that") && html.ends_with("</html>\n")
    );
    assert!(!daemon.folder().join("lobby.html.part").exists());
}

/// A script that follows the lobby into a file, and whoever starts it again when it cannot connect.
struct Script {
    child: Child,
    cursor: PathBuf,
    output: PathBuf,
}

impl Script {
    fn start(daemon: &Daemon) -> Script {
        let (cursor, output) = (daemon.folder().join("cursor"), daemon.folder().join("output"));
        Script { child: Script::run(daemon, &cursor, &output), cursor, output }
    }

    fn run(daemon: &Daemon, cursor: &Path, output: &Path) -> Child {
        let output = OpenOptions::new().create(true).append(true).open(output).expect("a file");
        let mut tail = daemon.snug();
        tail.args(["-n", "reader", "--json", "tail", "--since", "0", "-f", "--cursor"])
            .arg(cursor)
            .arg("#lobby");
        tail.stdout(output).stderr(Stdio::null()).spawn().expect("snug runs")
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started");
    }

    fn kill_and_restart(&mut self, daemon: &Daemon) {
        self.kill();
        self.child = Script::run(daemon, &self.cursor, &self.output);
    }

    /// Starts it again if it found no daemon.
    fn keep_running(&mut self, daemon: &Daemon) {
        if let Some(status) = self.child.try_wait().expect("it was started") {
            assert!(matches!(status.code(), Some(69 | 75)), "{status}");
            self.child = Script::run(daemon, &self.cursor, &self.output);
        }
    }
}

/// What must be shown of nothing being lost: a script and the daemon are killed while messages come. By hand with
/// `SNUG_MESSAGES=100000 cargo test --release --test tests a_script_and_the_daemon -- --nocapture`.
#[test]
fn a_script_and_the_daemon_are_killed_and_its_output_has_every_message() {
    let most: usize = std::env::var("SNUG_MESSAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let settings = "[limits]\nrate = 0\n";
    let mut daemon = Daemon::with(settings);
    let mut send = daemon.snug();
    send.args(["-n", "sender", "send", "#lobby"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut send = send.stderr(Stdio::null()).spawn().expect("snug runs");
    let mut stdin = send.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        for number in 0..most {
            // The reader is gone only if it failed, which its exit code tells.
            if writeln!(stdin, "message {number}").is_err() {
                return;
            }
        }
    });
    let ids = Lines::of(send.stdout.take().expect("a pipe"));
    let mut script = Script::start(&daemon);
    let kills = 10;
    for kill in 0..kills {
        for _ in 0..most / (kills + 1) {
            ids.next().expect("messages are acknowledged");
        }
        if kill % 2 == 0 {
            script.kill_and_restart(&daemon);
        } else {
            daemon = daemon.kill_and_restart(settings);
        }
    }
    while ids.next().is_some() {}
    assert!(send.wait().expect("snug ends").success());
    feeder.join().expect("it does not panic");
    let last = format!("\"message {}\"", most - 1);
    let mut seen = BufReader::new(File::open(&script.output).expect("a file"));
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let begun = Instant::now();
    // The file grows as the script writes: it is read until the last message is in it.
    while !lines.last().is_some_and(|line| line.contains(&last)) {
        seen.read_line(&mut line).expect("a file");
        if line.ends_with('\n') {
            lines.push(std::mem::take(&mut line));
        } else {
            assert!(
                begun.elapsed() < PATIENCE,
                "the script has nothing more to say after {:?}",
                lines.last()
            );
            script.keep_running(&daemon);
            std::thread::yield_now();
        }
    }
    script.kill();
    let mut texts: Vec<String> = lines.iter().flat_map(|line| texts(line)).collect();
    let written = texts.len();
    texts.dedup();
    assert!(written - texts.len() <= kills / 2, "at most one line again for each time the script died");
    assert_eq!(texts, (0..most).map(|number| format!("message {number}")).collect::<Vec<_>>());

    let one = format!("{}", most / 2);
    let found = stdout(&run(daemon.snug(), &["--json", "search", "#lobby", "message", &one]));
    assert_eq!(self::texts(&found), [format!("message {one}")]);
    let exported = stdout(&run(daemon.snug(), &["export", "#lobby", "--format", "jsonl"]));
    assert_eq!(self::texts(&exported), texts);
}
