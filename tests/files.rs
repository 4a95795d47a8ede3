//! Files: sent and fetched through the real programs, over any number of breaks.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ring::digest;
use snug_client::{Client, Hasher, Name, Options};
use snug_protocol::{ContentHash, FileName, FileOffer, RoomName, Target};

use crate::harness::{Daemon, PATIENCE, Raw, program};

/// The disks of machines that run tests may be nearly full.
const SETTINGS: &str = "[files]\nreserve = \"0\"\n[limits]\nrate = 0\n";

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `snug` in a folder.
fn snug(daemon: &Daemon, nick: &str, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = daemon.snug();
    command.current_dir(folder).args(["--nick", nick]).args(arguments).stdin(Stdio::null());
    command.output().expect("snug runs")
}

/// The same with this on its stdin.
fn fed(daemon: &Daemon, nick: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = daemon.snug();
    command
        .args(["--nick", nick])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("snug runs");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Bytes that are no two times the same, and can be made again.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn hash(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    ContentHash(digest.as_ref().try_into().expect("32 bytes")).to_string()
}

#[test]
fn files_folders_and_streams_are_sent_and_fetched() {
    let daemon = Daemon::with(SETTINGS);
    let (there, here) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let big = content(1, 1_000_003);
    fs::write(there.path().join("big one.bin"), &big).expect("a file");
    fs::write(there.path().join("empty"), b"").expect("a file");
    let sent = ok(&snug(&daemon, "alice", there.path(), &["file", "send", "#lobby", "big one.bin", "empty"]));
    let ids: Vec<&str> = sent.lines().collect();
    assert_eq!(ids.len(), 2, "{sent}");
    let fetched = ok(&snug(&daemon, "bob", here.path(), &["file", "get", ids[0]]));
    assert_eq!(fetched, "big one.bin\n");
    assert!(fs::read(here.path().join("big one.bin")).expect("the file") == big);
    let again = snug(&daemon, "bob", here.path(), &["file", "get", ids[0]]);
    assert!(failed(&again, 2).contains("--force"), "nothing is overwritten without being told");
    ok(&snug(&daemon, "bob", here.path(), &["file", "get", ids[0], "--force"]));
    ok(&snug(&daemon, "bob", here.path(), &["file", "get", ids[1], "-o", "nothing"]));
    assert_eq!(fs::read(here.path().join("nothing")).expect("the file"), b"");
    assert!(fs::read_dir(here.path()).expect("a folder").count() == 2, "no part is left behind");

    let streamed =
        ok(&fed(&daemon, "alice", &["file", "send", "#lobby", "-", "--name", "log.txt"], b"a line\n"));
    let out = snug(&daemon, "bob", here.path(), &["file", "get", streamed.trim(), "-o", "-"]);
    assert_eq!(ok(&out), "a line\n");

    let folder = there.path().join("project");
    fs::create_dir_all(folder.join("src")).expect("a folder");
    fs::write(folder.join("src/main.rs"), "fn main() {}\n").expect("a file");
    std::os::unix::fs::symlink("src/main.rs", folder.join("link")).expect("a link");
    let packed = ok(&snug(&daemon, "alice", there.path(), &["file", "send", "#lobby", "project"]));
    ok(&snug(&daemon, "bob", here.path(), &["file", "get", packed.trim()]));
    let archive = fs::File::open(here.path().join("project.tar.zst")).expect("the archive");
    let mut archive = tar::Archive::new(zstd::Decoder::new(archive).expect("zstd"));
    let names: Vec<String> = archive
        .entries()
        .expect("tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
        .collect();
    assert_eq!(names, ["project", "project/link", "project/src", "project/src/main.rs"]);

    let state = ok(&snug(&daemon, "alice", there.path(), &["file", "state", ids[0]]));
    assert!(state.contains("bob done"), "the sender knows: {state}");
    let list = ok(&snug(&daemon, "carol", there.path(), &["file", "list", "--json"]));
    assert!(list.contains("\"name\":\"big one.bin\"") && list.lines().count() == 4, "{list}");
    ok(&snug(&daemon, "alice", there.path(), &["file", "cancel", ids[0]]));
    let gone = failed(&snug(&daemon, "bob", here.path(), &["file", "get", ids[0], "-o", "x"]), 3);
    assert!(gone.contains("no-such-file"), "{gone}");
    assert!(!here.path().join("x").exists());
    daemon.stop();
}

#[test]
fn a_file_waits_for_who_is_away_and_bad_names_are_mended_or_refused() {
    let daemon = Daemon::with(SETTINGS);
    let folder = tempfile::tempdir().expect("a folder");
    let mut bob = daemon.snug();
    bob.args(["--nick", "bob", "register", "bob"]);
    ok(&bob.stdin(Stdio::null()).output().expect("snug runs"));
    fs::write(folder.path().join("turn\u{202e}fdp.exe"), b"abc").expect("a file");
    let sent = ok(&snug(&daemon, "alice", folder.path(), &["file", "send", "bob", "turn\u{202e}fdp.exe"]));
    let inbox = ok(&snug(&daemon, "bob", folder.path(), &["history", "alice"]));
    assert!(inbox.contains("alice sends turn_fdp.exe (3 B): snug file get"), "{inbox}");
    ok(&snug(&daemon, "bob", folder.path(), &["file", "get", sent.trim()]));
    assert_eq!(fs::read(folder.path().join("turn_fdp.exe")).expect("the file"), b"abc");

    let long = "x".repeat(300);
    for name in ["../up", "a/b", "..", "\u{202e}x", &long] {
        let refused = fed(&daemon, "alice", &["file", "send", "#lobby", "-", "--name", name], b"abc");
        failed(&refused, 2);
    }
    let nameless = snug(&daemon, "alice", folder.path(), &["file", "send", "#lobby", "-"]);
    assert!(failed(&nameless, 2).contains("--name"));
    let missing = snug(&daemon, "alice", folder.path(), &["file", "send", "#lobby", "nowhere.txt"]);
    assert!(failed(&missing, 2).contains("nowhere.txt"));
    let nobody = snug(&daemon, "alice", folder.path(), &["file", "send", "nobody", "turn_fdp.exe"]);
    failed(&nobody, 3);
    daemon.stop();
}

#[test]
fn check_data_reads_every_content() {
    let daemon = Daemon::with(SETTINGS);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.txt"), b"abc").expect("a file");
    let id = ok(&snug(&daemon, "alice", folder.path(), &["file", "send", "#lobby", "a.txt"]));
    let check = |daemon: &Daemon| {
        let mut snugd = program("snugd", daemon.folder());
        snugd.arg("--config").arg(daemon.folder().join("config.toml")).arg("check-data");
        snugd.output().expect("snugd runs")
    };
    let well = String::from_utf8_lossy(&check(&daemon).stdout).into_owned();
    assert!(well.contains("1 files; all is well"), "{well}");
    let sum = hash(b"abc");
    fs::write(daemon.folder().join("data/files/content").join(&sum[..2]).join(&sum[2..]), b"abd")
        .expect("a file");
    let found = check(&daemon);
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        !found.status.success() && said.contains(&format!("the file of entry {} is not", id.trim())),
        "{said}"
    );
    // Whoever fetches it is told, and has nothing under its name.
    let fetched = snug(&daemon, "bob", folder.path(), &["file", "get", id.trim(), "-o", "b.txt"]);
    assert!(failed(&fetched, 1).contains("hash-mismatch"));
    assert!(!folder.path().join("b.txt").exists());
    daemon.stop();
}

#[test]
fn by_hand_pieces_are_raw_bytes_and_refused_ones_are_passed_over() {
    let daemon = Daemon::with(SETTINGS);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say("FILE OFFER #lobby 12 - a.bin");
    assert_eq!(alice.hear(), "OK FILE OFFER u1 0");
    // What looks like lines is none.
    alice.send(b"@bytes=12 FILE PUT u1 0\nQUIT\nQUIT\n\0\n\nPING 1\n");
    assert_eq!(alice.hear(), "OK FILE PUT u1 12");
    assert_eq!(alice.hear(), "OK PING 1");
    alice.send(b"@bytes=5 FILE PUT u9 0\nQUIT\n\n@bytes=5 FILE PUT u1 3\nQUIT\n\nPING 2\n");
    assert!(alice.hear().starts_with("ERR FILE no-such-file"));
    assert!(alice.hear().starts_with("@offset=12 ERR FILE bad-offset"));
    assert_eq!(alice.hear(), "OK PING 2");
    let mut other = Raw::enter(&daemon, "mallory");
    other.send(b"@bytes=1 FILE PUT u1 12\nx\n");
    assert!(other.hear().starts_with("ERR FILE no-such-file"), "another's upload is none");
    alice.say(&format!("FILE DONE u1 12 {}", hash(b"QUIT\nQUIT\n\0\n")));
    alice.wait_for("OK FILE DONE 1");
    other.wait_for("FILE OFFER #lobby a.bin");
    other.say("FILE GET 1 5 100");
    assert_eq!(other.hear(), "@bytes=7 FILE DATA 1 5");
    assert_eq!(other.take(8), b"QUIT\n\0\n\n");
    assert_eq!(other.hear(), "OK FILE GET 1 12 end");
    daemon.stop();
}

fn options(daemon: &Daemon, nick: &str) -> Options {
    let address = daemon.pinned().parse().expect("an address");
    let mut options = Options::new([address], Name::exactly(nick).expect("a nick"));
    options.longest_wait = Duration::from_millis(200);
    options.quiet = true;
    options
}

/// Sends a file and fetches it again, over any number of breaks; says when it is in the middle of each.
fn carry(options: Options, seed: u64, middle: &mpsc::Sender<()>) {
    let bytes = content(seed, 200_000 + usize::try_from(seed).expect("small") * 31_337);
    let expected = hash(&bytes);
    smol::block_on(async {
        // The daemon may be killed while it says hello.
        let begun = Instant::now();
        let (client, events, driver) = loop {
            match Client::connect(options.clone()).await {
                Ok(connected) => break connected,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "a daemon: {error:?}"),
            }
        };
        drop(events);
        let driving = smol::spawn(driver.run());
        let name = format!("file-{seed}.bin");
        let offer = FileOffer {
            target: Target::Room(RoomName::LOBBY),
            size: seed.is_multiple_of(2).then_some(bytes.len() as u64),
            hash: None,
            name: FileName::parse(&name).expect("a name"),
            kind: None,
            key: Some(name.clone().into()),
            re: None,
            relayed: "".into(),
        };
        let half = bytes.len() as u64 / 2;
        let mut is_told = false;
        let mut tell = |done: u64| {
            if done >= half && !std::mem::replace(&mut is_told, true) {
                let _ = middle.send(());
            }
        };
        let sent = client.send_file(offer, std::io::Cursor::new(bytes), &mut tell).await.expect("it is sent");
        assert_eq!(sent.hash.to_string(), expected);
        let info = client.accept_file(snug_protocol::Cursor::at(sent.id)).await.expect("it is there");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fetched");
        let sink = fs::File::create(&path).expect("a file");
        is_told = false;
        let mut tell = |done: u64| {
            if done >= half && !std::mem::replace(&mut is_told, true) {
                let _ = middle.send(());
            }
        };
        client.fetch_file(&info, (0, Hasher::default()), sink, &mut tell).await.expect("it is fetched");
        assert_eq!(hash(&fs::read(&path).expect("the file")), expected);
        client.finish();
        driving.await;
    });
}

#[test]
fn fifty_transfers_are_whole_after_any_number_of_kills() {
    let mut daemon = Daemon::with(SETTINGS);
    let (middle, moments) = mpsc::channel();
    let carriers: Vec<_> = (0..50)
        .map(|seed| {
            let (options, middle) = (options(&daemon, &format!("carrier-{seed}")), middle.clone());
            thread::spawn(move || carry(options, seed, &middle))
        })
        .collect();
    drop(middle);
    // Each kill is when so many more are in the middle of something; what else they do then is up to chance.
    let mut kills = 0;
    while moments.iter().take(11).count() == 11 {
        daemon = daemon.kill_and_restart(SETTINGS);
        kills += 1;
    }
    assert!(kills >= 5, "{kills}");
    carriers.into_iter().for_each(|carrier| carrier.join().expect("every hash is right"));
    let parts = fs::read_dir(daemon.folder().join("data/files/part")).map_or(0, Iterator::count);
    assert_eq!(parts, 0, "nothing is left on its way");
    daemon.stop();
}

#[test]
fn a_program_that_is_killed_goes_on_when_it_is_run_again() {
    let daemon = Daemon::with(SETTINGS);
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = content(3, 40_000_000);
    fs::write(folder.path().join("long.bin"), &bytes).expect("a file");
    let start = |nick: &str, arguments: &[&str]| {
        let mut command: Command = daemon.snug();
        command.current_dir(folder.path()).args(["--nick", nick]).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("snug runs")
    };
    // Killed as soon as something has come of it.
    let mut sending = start("alice", &["file", "send", "#lobby", "long.bin"]);
    let parts = daemon.folder().join("data/files/part");
    let first = || {
        fs::read_dir(&parts)
            .ok()
            .and_then(|mut parts| parts.next()?.ok()?.metadata().ok())
            .map_or(0, |part| part.len())
    };
    while first() < 1_000_000 && sending.try_wait().expect("a program").is_none() {
        thread::yield_now();
    }
    sending.kill().expect("it can be killed");
    sending.wait().expect("it ends");
    let sent = ok(&snug(&daemon, "alice", folder.path(), &["--json", "file", "send", "#lobby", "long.bin"]));
    let event: serde_json::Value = serde_json::from_str(sent.lines().last().expect("a line")).expect("JSON");
    assert!(event["resumed"].as_u64().expect("a number") >= 1_000_000, "{sent}");
    let id = event["id"].to_string();

    let mut fetching = start("bob", &["file", "get", &id, "-o", "fetched.bin"]);
    let part = folder.path().join(format!(".snug-{}.part", &hash(&bytes)[..16]));
    while fs::metadata(&part).map_or(0, |part| part.len()) < 1_000_000
        && fetching.try_wait().expect("a program").is_none()
    {
        thread::yield_now();
    }
    fetching.kill().expect("it can be killed");
    fetching.wait().expect("it ends");
    assert!(!folder.path().join("fetched.bin").exists(), "half a file has no name");
    ok(&snug(&daemon, "bob", folder.path(), &["file", "get", &id, "-o", "fetched.bin"]));
    assert!(fs::read(folder.path().join("fetched.bin")).expect("the file") == bytes);
    assert!(!part.exists());
    daemon.stop();
}
