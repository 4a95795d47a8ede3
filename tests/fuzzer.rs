//! A fuzzer of sessions: all verbs of the table with parameters that are right, wrong or strange, from eight sessions at
//! once, operators among them, pipelined, while the daemon is killed again and again. Every line has its one answer, in
//! order; what was acknowledged is there after each kill, and the data is what was written.
//!
//! `SNUG_FUZZ_SECONDS=900 cargo test --release --test tests fuzzer -- --nocapture` is the large form; `SNUG_SEED` chooses
//! another beginning.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use snug_protocol::{Spec, VERBS};

use crate::harness::{Daemon, PATIENCE, program};

const SESSIONS: usize = 8;

/// The first of them are operators over the Unix socket.
const OPERATORS: usize = 2;

/// How many lines are under way at most, and how many bytes: the sockets take them without being read.
const LINES: usize = 48;
const BYTES: usize = 16 << 10;

/// Lines between two kills.
const ROUND: u64 = 4_000;

/// What the sessions and the test share.
#[derive(Default)]
struct Shared {
    /// How often the daemon was killed, or is about to be; and how often it was started again.
    kills: AtomicU64,
    restarts: AtomicU64,
    /// Lines that were answered, in all.
    answered: AtomicU64,
    /// The largest number of an entry that was acknowledged.
    acknowledged: AtomicU64,
    is_over: AtomicBool,
    /// How often each verb was answered with OK.
    verbs: Mutex<BTreeMap<String, u64>>,
    /// What went wrong first.
    finding: Mutex<Option<String>>,
}

impl Shared {
    fn find(&self, what: String) {
        self.finding.lock().expect("no panic").get_or_insert(what);
        self.is_over.store(true, SeqCst);
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "whoever runs the large form is to read it")]
fn fuzzer_every_line_has_its_one_answer_and_nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SNUG_SEED").unwrap_or(1);
    let most = number("SNUG_FUZZ_SECONDS").map(Duration::from_secs);
    let rounds = if most.is_some() { u64::MAX } else { 3 };
    let settings = "[limits]\nrate = 0\nguest_bytes = \"0 B\"\naccount_bytes = \"0 B\"\naddress_bytes = \"0 B\"\n\
                    room_bytes = \"0 B\"\n[log]\nguests = \"0 B\"\nreserve = \"0 B\"\n[files]\nreserve = \"0 B\"\n\
                    total = \"64 MiB\"\n[bots.roll]\nrooms = [\"#lobby\"]\n";
    let mut daemon = Daemon::with(settings);
    let shared = Arc::new(Shared::default());
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let mut fuzzer = Fuzzer {
                number,
                random: Random(seed * 1_000 + number as u64),
                tcp: daemon.tcp,
                socket: daemon.socket.clone(),
                folder: daemon.folder().to_owned(),
                shared: Arc::clone(&shared),
                names: 0,
                latest: 1,
                entries: VecDeque::new(),
                about: None,
                uploads: VecDeque::new(),
                is_ended: false,
            };
            thread::spawn(move || fuzzer.run())
        })
        .collect();
    let begun = Instant::now();
    let mut kills = 0;
    for round in 1..=rounds {
        let enough = round * ROUND;
        let waited = Instant::now();
        while shared.answered.load(SeqCst) < enough && !shared.is_over.load(SeqCst) {
            if waited.elapsed() > 4 * PATIENCE {
                shared.find("the sessions come to a standstill".to_owned());
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        if shared.is_over.load(SeqCst) || most.is_some_and(|most| begun.elapsed() > most) {
            break;
        }
        shared.kills.fetch_add(1, SeqCst);
        daemon = daemon.kill_and_restart_after(settings, |folder| {
            let acknowledged = shared.acknowledged.load(SeqCst);
            let last = check(folder).unwrap_or_else(|what| {
                shared.find(what);
                u64::MAX
            });
            if last < acknowledged {
                shared.find(format!("{acknowledged} was acknowledged, and the log ends with {last}"));
            }
        });
        shared.restarts.fetch_add(1, SeqCst);
        kills += 1;
    }
    shared.is_over.store(true, SeqCst);
    sessions.into_iter().for_each(|session| session.join().expect("no session panics"));
    let finding = shared.finding.lock().expect("no panic").clone();
    let (folder, status) = daemon.stop_and_keep();
    assert_eq!(finding, None, "seed {seed}, after {} lines", shared.answered.load(SeqCst));
    assert!(status.success(), "{status}");
    assert!(check(folder.path()).expect("the data is well") >= shared.acknowledged.load(SeqCst));
    let verbs = shared.verbs.lock().expect("no panic");
    println!("{} lines, {kills} kills: every answer once, in order", shared.answered.load(SeqCst));
    println!("OK: {verbs:?}");
    // A short run does not come to all of them.
    let not_tried = VERBS.iter().filter(|spec| !verbs.contains_key(spec.word)).count();
    assert!(not_tried <= if most.is_some() { 4 } else { 15 }, "{verbs:?}");
}

/// Lets `check-data` look, and returns the last entry's number.
fn check(folder: &Path) -> Result<u64, String> {
    let mut snugd = program("snugd", folder);
    snugd.arg("--config").arg(folder.join("config.toml")).arg("check-data");
    let output = snugd.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.split(" entries, ").nth(1).and_then(|rest| rest.split(' ').nth(2));
    let last = last.and_then(|last| last.trim_end_matches(',').parse().ok());
    match (output.status.success(), last) {
        (true, Some(last)) => Ok(last),
        _ => Err(format!("check-data: {said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The same numbers for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).expect("it is small")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'a>(&mut self, these: &[&'a str]) -> &'a str {
        these[self.below(these.len())]
    }
}

/// One session after the other.
struct Fuzzer {
    number: usize,
    random: Random,
    tcp: SocketAddr,
    socket: PathBuf,
    folder: PathBuf,
    shared: Arc<Shared>,
    /// How many names it has had.
    names: usize,
    /// The number of the latest entry that it has heard of.
    latest: u64,
    /// Entries that it has heard of, each with the room or nick that it is in; and the one that the next id may be about.
    entries: VecDeque<(String, u64)>,
    about: Option<u64>,
    /// Its uploads.
    uploads: VecDeque<String>,
    /// Whether the daemon has said its last word on the connection.
    is_ended: bool,
}

/// What a line is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// An OK or ERR with this label.
    Labelled(u64),
    /// An ERR without a label: the line could not be read.
    Fault,
}

enum End {
    /// The session is over, after its last word.
    Closed,
    /// The connection is over, which may be if the daemon was killed.
    Lost,
    Wrong(String),
}

impl Fuzzer {
    fn run(&mut self) {
        while !self.shared.is_over.load(SeqCst) {
            let restarts = self.shared.restarts.load(SeqCst);
            let connected = self.connect();
            let Ok((mut writer, reader)) = connected else {
                // The daemon is being started again.
                thread::park_timeout(Duration::from_millis(5));
                continue;
            };
            let mut heard = BufReader::new(reader);
            match self.talk(&mut *writer, &mut heard) {
                Err(End::Wrong(what)) => self.shared.find(format!("session {}: {what}", self.number)),
                Err(End::Lost) if self.shared.kills.load(SeqCst) == restarts => {
                    self.shared.find(format!("session {} ended without a word", self.number));
                }
                _ => {}
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "two halves of a stream")]
    fn connect(&mut self) -> io::Result<(Box<dyn Write>, Box<dyn Read>)> {
        if self.number < OPERATORS {
            let stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return Ok((Box::new(stream.try_clone()?), Box::new(stream)));
        }
        let stream = TcpStream::connect(self.tcp)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream.try_clone()?), Box::new(stream)))
    }

    /// Speaks with the daemon until the connection is over.
    fn talk(&mut self, writer: &mut dyn Write, heard: &mut dyn BufRead) -> Result<(), End> {
        let mut label = 0;
        let mut awaited = VecDeque::new();
        let mut lines = Vec::new();
        self.names += 1;
        let account = format!("acc{}", self.random.below(4));
        let entrance = match self.random.below(4) {
            0 => format!("REGISTER {account} {PASSWORD}"),
            1 => format!("AUTH PASSWORD {account} {PASSWORD}"),
            _ => "PING 1".to_owned(),
        };
        self.add(&mut lines, &mut awaited, &mut label, &entrance, &[]);
        self.add(&mut lines, &mut awaited, &mut label, &format!("NICK f{}-{}", self.number, self.names), &[]);
        self.uploads.clear();
        self.is_ended = false;
        while !self.shared.is_over.load(SeqCst) {
            let count = 1 + self.random.below(LINES);
            while awaited.len() < count && lines.len() < BYTES {
                self.line(&mut lines, &mut awaited, &mut label);
            }
            let said = String::from_utf8_lossy(&lines).into_owned();
            if writer.write_all(&lines).is_err() {
                // What has still come is looked at, and then the end.
                return self.hear(heard, &mut awaited, &said);
            }
            lines.clear();
            self.hear(heard, &mut awaited, &said)?;
        }
        Ok(())
    }

    /// Hears until every line is answered.
    fn hear(
        &mut self,
        heard: &mut dyn BufRead,
        awaited: &mut VecDeque<Expected>,
        said: &str,
    ) -> Result<(), End> {
        while !awaited.is_empty() {
            let mut line = Vec::new();
            match heard.read_until(b'\n', &mut line) {
                Ok(0) => return Err(if self.is_ended { End::Closed } else { End::Lost }),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(End::Wrong(format!("{awaited:?} is not answered; said: {said}")));
                }
                Err(_) => return Err(if self.is_ended { End::Closed } else { End::Lost }),
            }
            let Ok(line) = String::from_utf8(line) else {
                return Err(End::Wrong("the daemon said what is not UTF-8".to_owned()));
            };
            if !line.ends_with('\n') {
                return Err(End::Lost);
            }
            let line = line.trim_end_matches('\n');
            let (tags, rest) = match line.strip_prefix('@') {
                Some(tagged) => tagged.split_once(' ').unwrap_or((tagged, "")),
                None => ("", line),
            };
            let tag = |name: &str| tags.split(';').find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='));
            if let Some(count) = tag("bytes").and_then(|count| count.parse::<u64>().ok())
                && !rest.starts_with(':')
            {
                let mut bytes = Vec::new();
                match heard.take(count + 1).read_to_end(&mut bytes) {
                    Ok(read) if read as u64 == count + 1 => {}
                    _ => return Err(End::Lost),
                }
            }
            let id: Option<u64> = tag("id").and_then(|id| id.parse().ok());
            self.latest = self.latest.max(id.unwrap_or(0));
            if let (Some(id), Some(entry)) = (id, rest.strip_prefix(':')) {
                let mut words = entry.split(' ').filter(|word| *word != "OFFER");
                let (from, target) = (words.next(), words.nth(1));
                let (from, target) = (from.unwrap_or_default(), target.unwrap_or_default());
                // What was said to it alone is in the conversation with who said it.
                let place = if target.starts_with('#') { target } else { from };
                keep(&mut self.entries, (place.to_owned(), id));
            }
            if let Some(handle) = rest.strip_prefix("OK FILE OFFER ").and_then(|rest| rest.split(' ').next())
            {
                keep(&mut self.uploads, handle.to_owned());
            }
            if rest.starts_with("ERR - ") && tag("ref").is_none() && awaited.front() != Some(&Expected::Fault)
            {
                // The last word of a session that is ended.
                self.is_ended = true;
                continue;
            }
            if !(rest.starts_with("OK ") || rest.starts_with("ERR ")) {
                continue;
            }
            let label: Option<u64> = tag("ref").and_then(|label| label.parse().ok());
            let answered = match (awaited.pop_front(), label) {
                (Some(Expected::Labelled(expected)), Some(label)) => expected == label,
                (Some(Expected::Fault), None) => rest.starts_with("ERR "),
                _ => false,
            };
            if !answered {
                return Err(End::Wrong(format!("{line:?} answers something else; said: {said}")));
            }
            if let Some(verb) = rest.strip_prefix("OK ") {
                let verb = verb.split(' ').next().unwrap_or_default().to_owned();
                *self.shared.verbs.lock().expect("no panic").entry(verb).or_default() += 1;
                self.shared.acknowledged.fetch_max(id.unwrap_or(0), SeqCst);
            }
            self.shared.answered.fetch_add(1, SeqCst);
            if rest.starts_with("OK QUIT") {
                return Err(End::Closed);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        lines: &mut Vec<u8>,
        awaited: &mut VecDeque<Expected>,
        label: &mut u64,
        line: &str,
        bytes: &[u8],
    ) {
        *label += 1;
        let (tags, rest) = match line.strip_prefix('@') {
            Some(tagged) => tagged.split_once(' ').unwrap_or((tagged, "")),
            None => ("", line),
        };
        let separator = if tags.is_empty() { "" } else { ";" };
        let _ = write!(lines, "@ref={label}{separator}{tags} {rest}");
        lines.push(b'\n');
        lines.extend_from_slice(bytes);
        if !bytes.is_empty() {
            lines.push(b'\n');
        }
        awaited.push_back(Expected::Labelled(*label));
    }

    /// Adds something to say.
    fn line(&mut self, lines: &mut Vec<u8>, awaited: &mut VecDeque<Expected>, label: &mut u64) {
        if self.random.one_in(60) {
            // No line at all. What the daemon cannot read has no label either.
            let garbage: &[u8] = match self.random.below(4) {
                0 => b"MSG #lobby \xff\xfe\n",
                1 => b"MSG #lobby a\x07b\n",
                2 => b"@ref= \x01\n",
                _ => b"\x7f\n",
            };
            lines.extend_from_slice(garbage);
            awaited.push_back(Expected::Fault);
            return;
        }
        if self.random.one_in(20) {
            return self.piece(lines, awaited, label);
        }
        let spec = &VERBS[self.random.below(VERBS.len())];
        if self.is_left_out(spec.word) {
            return;
        }
        let line = self.command(spec);
        self.add(lines, awaited, label, &line, &[]);
    }

    /// What has no answer, ends the test, or is so often of use that it gets something else too.
    fn is_left_out(&mut self, word: &str) -> bool {
        match word {
            "PONG" | "HELLO" | "SHUTDOWN" => true,
            "QUIT" | "UNREGISTER" => !self.random.one_in(10),
            // Passwords are slow on purpose, and copies large.
            "REGISTER" | "AUTH" | "PASSWORD" | "BACKUP" => !self.random.one_in(8),
            "KICK" | "BAN" | "CLOSE" => !self.random.one_in(3),
            _ => false,
        }
    }

    /// A line with bytes behind it.
    fn piece(&mut self, lines: &mut Vec<u8>, awaited: &mut VecDeque<Expected>, label: &mut u64) {
        let count = if self.random.one_in(2) { 10 } else { 1 + self.random.below(3_000) };
        let bytes = vec![b'x'; count];
        let upload = match self.uploads.len() {
            0 => "u1".to_owned(),
            count => self.uploads[self.random.below(count)].clone(),
        };
        let line = match self.random.below(5) {
            0 | 1 => format!("@bytes={count} FILE PUT {upload} 0"),
            2 => format!(
                "@bytes={count} FILE PUT u{} {}",
                1 + self.random.below(40),
                self.random.of(&["0", "10", "3000"])
            ),
            3 => format!("@bytes={count} PROFILE f{}-1 avatar image/png", self.number),
            _ => {
                let word = self.word("room or nick");
                let line = self.random.of(&[
                    "FILE OFFER ROOM 10 - a.txt",
                    "FILE OFFER ROOM - - b.txt",
                    "FILE DONE UPLOAD 10 HASH",
                ]);
                let line = line.replace("ROOM", &word).replace("UPLOAD", &upload).replace("HASH", HASH);
                return self.add(lines, awaited, label, &line, &[]);
            }
        };
        self.add(lines, awaited, label, &line, &bytes);
    }

    /// A line of a verb, with parameters of the kind that the table names, or of another.
    fn command(&mut self, spec: &Spec) -> String {
        let mut out = String::new();
        if !spec.tags.is_empty() && self.random.one_in(4) {
            let names: Vec<&str> = spec.tags.split(|c: char| !c.is_ascii_lowercase() && c != '-').collect();
            let names: Vec<&str> =
                names.into_iter().filter(|name| !name.is_empty() && *name != "bytes").collect();
            if !names.is_empty() {
                let name = self.random.of(&names);
                let value = self.value();
                out = format!("@{name}={} ", value.replace([' ', ';', '\n'], ""));
            }
        }
        out.push_str(spec.word);
        let params = if spec.word == "FILE" { FILE[self.random.below(FILE.len())] } else { spec.params };
        self.params(params, &mut out);
        if self.random.one_in(15) {
            out.push(' ');
            out.push_str(&self.value());
        }
        out
    }

    /// Fills `<a> [b [c]]`.
    fn params(&mut self, params: &str, out: &mut String) {
        let mut rest = params.trim();
        while !rest.is_empty() {
            let open = rest.chars().next().unwrap_or_default();
            let close = match open {
                '<' => '>',
                '[' => ']',
                _ => return,
            };
            let mut depth = 0;
            let end = rest.char_indices().find(|(_, c)| {
                depth += i32::from(*c == open) - i32::from(*c == close);
                depth == 0
            });
            let Some((end, _)) = end else { return };
            let inner = &rest[1..end];
            if open == '<' && !self.random.one_in(30) || open == '[' && !self.random.one_in(3) {
                let (own, nested) =
                    inner.split_once('[').map_or((inner, None), |(own, _)| (own, Some(&inner[own.len()..])));
                let alternatives: Vec<&str> = own.trim().split('|').collect();
                let alternative = self.random.of(&alternatives);
                if alternative.contains(" or ") || alternative.contains(", ") {
                    out.push(' ');
                    out.push_str(&self.word(alternative));
                } else {
                    for word in alternative.split_whitespace() {
                        out.push(' ');
                        out.push_str(&self.word(word));
                    }
                }
                if let Some(nested) = nested {
                    self.params(nested, out);
                }
            }
            rest = rest[end + 1..].trim();
        }
    }

    /// Something for a placeholder; what is no placeholder stands for itself.
    fn word(&mut self, placeholder: &str) -> String {
        if self.random.one_in(40) {
            return self.value();
        }
        if placeholder.starts_with("room") && !self.entries.is_empty() && self.random.one_in(2) {
            let (place, id) = self.entries[self.random.below(self.entries.len())].clone();
            self.about = Some(id);
            return place;
        }
        if placeholder == "id"
            && let Some(id) = self.about.take()
        {
            return id.to_string();
        }
        let rooms = ["#lobby", "#a", "#b", "#B", "#c", "#hidden", "#private", "#f", "#\u{e4}"];
        match placeholder {
            "room" => self.random.of(&rooms).to_owned(),
            "room or *" if self.random.one_in(4) => "*".to_owned(),
            "room or *" => self.random.of(&rooms).to_owned(),
            "room, nick or *" if self.random.one_in(3) => "*".to_owned(),
            "room or nick" | "room, nick or *" if self.random.one_in(2) => self.random.of(&rooms).to_owned(),
            "room or nick" | "room, nick or *" | "nick" | "who" | "name" => match self.random.below(5) {
                0 => format!("acc{}", self.random.below(4)),
                1 => "roll".to_owned(),
                _ => format!("f{}-{}", self.random.below(SESSIONS), 1 + self.random.below(self.names.max(1))),
            },
            "id" | "cursor" | "limit" => match self.random.below(8) {
                0 => "0".to_owned(),
                1 => "18446744073709551615".to_owned(),
                2 => (self.latest + 1).to_string(),
                _ => self.latest.saturating_sub(self.random.below(30) as u64).to_string(),
            },
            "time" | "time or off" => {
                self.random.of(&["1s", "5m", "off", "1h", "2026-01-01T00:00:00.000Z", "0s"]).to_owned()
            }
            "password" | "new" => format!("Pa55word {}", self.random.below(3)),
            "role" => self.random.of(&["none", "member", "moderator", "owner", "bot", "operator"]).to_owned(),
            "path" => self.folder.join(format!("copy-{}.db", self.random.next())).display().to_string(),
            "value" => self.value(),
            "reaction" => self.random.of(&["+1", ":tada:", "\u{1f600}", "oops", ""]).to_owned(),
            "key" | "signature" => "AAAAC3NzaC1lZDI1NTE5AAAAIKPzN2Yl0mPQ6aGuVY7aW0m0kS0k".to_owned(),
            "token" | "label" | "verb" => self.random.of(&["x", "laptop", "MSG", "snugt_00"]).to_owned(),
            "text" | "reason" | "query" => self.text(),
            literal => literal.to_owned(),
        }
    }

    fn text(&mut self) -> String {
        let words = [
            "a",
            "the",
            "!roll 1d6",
            ":smile:",
            "\u{1f469}\u{200d}\u{1f680}",
            "deploy",
            "\\n",
            "in:#a",
            "\"b c\"",
            "-x",
        ];
        let count = if self.random.one_in(50) { 300 } else { 1 + self.random.below(8) };
        (0..count).map(|_| self.random.of(&words)).collect::<Vec<_>>().join(" ")
    }

    /// What settings, tags and mistakes have.
    fn value(&mut self) -> String {
        let these = [
            "public",
            "hidden",
            "invite",
            "access",
            "read",
            "send",
            "join",
            "slow",
            "history",
            "keep",
            "files",
            "members",
            "all",
            "moderators",
            "joined",
            "none",
            "1h",
            "10",
            "off",
            "-1",
            "1000000000000000000000",
            "#",
            "*",
            "\u{202e}x",
            "display",
            "colour",
            "#123456",
            "clear",
            "k1",
            "k2",
            "",
        ];
        self.random.of(&these).to_owned()
    }
}

/// Adds the latest, and forgets the oldest.
fn keep<T>(these: &mut VecDeque<T>, this: T) {
    these.push_back(this);
    if these.len() > 16 {
        these.pop_front();
    }
}

/// The password of all accounts.
const PASSWORD: &str = "Pa55word 1";

/// The SHA-256 of ten x.
const HASH: &str = "fc11d6f28e59d3cc33c0b14ceb644bf0902ebd63d61218dffe9e7dac7c254542";

/// The forms of FILE; the table of verbs has them in its text.
const FILE: [&str; 8] = [
    "<OFFER> <room or nick> <10> <-> <text>",
    "<DONE> <id> <10> <aa>",
    "<ACCEPT id|DECLINE id|CANCEL id|STATE id>",
    "<GET> <id> <0|10|99999> <1000>",
    "<LIST> [room, nick or *]",
    "<CANCEL> <u1|u2|u3|u4|u5>",
    "<PUT> <u1|u2> <0>",
    "<nothing>",
];
