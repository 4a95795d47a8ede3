//! What was acknowledged stays: kill -9, a full disk, a damaged log, a backup.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use snug_client::{Client, Event, Name, Options};
use snug_protocol::{Body, Command as Said, Cursor, MessageTags, Page, RoomName, Target};

use crate::harness::{Daemon, PATIENCE, Raw, program, write_config};

/// What a sender was told: text and id.
type Acknowledged = (String, u64);

/// What a receiver has seen: ids and texts, in order.
type Seen = Arc<Mutex<Vec<(u64, String)>>>;

fn options(daemon: &Daemon, nick: &str) -> Options {
    let address = daemon.pinned().parse().expect("an address");
    let mut options = Options::new([address], Name::exactly(nick).expect("a nick"));
    options.longest_wait = Duration::from_millis(500);
    options
}

/// Says `nick 1`, `nick 2`, … in the lobby with some under way at a time, over any number of breaks, until `stop`.
fn sender(options: Options, nick: String, acknowledged: Sender<Acknowledged>, stop: Arc<Mutex<bool>>) {
    smol::block_on(async {
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        drop(events);
        let driver = smol::spawn(driver.run());
        let mut under_way = std::collections::VecDeque::new();
        let mut number = 0;
        while !*stop.lock().expect("no panic") {
            while under_way.len() < 16 {
                number += 1;
                let text = format!("{nick} {number}");
                let tags = MessageTags::default();
                let command = Said::Msg { room: RoomName::LOBBY, text: text.clone().into(), tags };
                under_way.push_back((text, client.begin(command).await));
            }
            let (text, pending) = under_way.pop_front().expect("some are under way");
            // A daemon that goes down in order says so; nothing of it was done.
            if let Ok(answer) = pending.answer().await {
                let _ = acknowledged.send((text, answer.id().expect("an id")));
            }
        }
        for (text, pending) in under_way {
            if let Ok(answer) = pending.answer().await {
                let _ = acknowledged.send((text, answer.id().expect("an id")));
            }
        }
        client.finish();
        driver.await;
    });
}

/// Notes every message of the lobby, from the first one on.
fn receiver(mut options: Options, seen: Seen) {
    options.since = Some(Cursor::at(0));
    smol::block_on(async {
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        let driver = smol::spawn(driver.run());
        while let Ok(event) = events.recv().await {
            match event {
                Event::Line(received) => {
                    let line = received.line();
                    let Body::Entry { text: Some(text), .. } = &line.body else { continue };
                    if text == "the end" {
                        break;
                    }
                    let id = line.id().expect("an id");
                    seen.lock().expect("no panic").push((id, text.clone().into_owned()));
                }
                Event::Gap { target, from, to } => panic!("a gap in {target}: {from} to {to}"),
                _ => {}
            }
        }
        drop((client, events));
        driver.cancel().await;
    });
}

/// All messages of the lobby behind an entry, as the log has them.
fn messages(daemon: &Daemon, after: u64) -> Vec<(u64, String)> {
    smol::block_on(async {
        let mut options = options(daemon, "checker");
        options.quiet = true;
        let (client, events, driver) = Client::connect(options).await.expect("a daemon");
        drop(events);
        let driver = smol::spawn(driver.run());
        let mut found = Vec::new();
        let mut cursor = after;
        loop {
            let page = Page::After(Cursor::at(cursor));
            let ask = Said::History {
                target: Target::Room(RoomName::LOBBY),
                page,
                limit: Some(1_000),
                only_messages: false,
            };
            let answer = client.ask(ask).await.expect("a page");
            for row in &answer.rows {
                let line = row.line();
                let Body::Entry { text: Some(text), .. } = &line.body else { continue };
                found.push((line.id().expect("an id"), text.clone().into_owned()));
            }
            match answer.rows.last().and_then(|row| row.line().id()) {
                Some(last) if answer.ok.as_str().ends_with(" more") => cursor = last,
                _ => break,
            }
        }
        client.finish();
        driver.await;
        found
    })
}

/// `SNUG_ROUNDS=1000 cargo test --release --test tests kill_loop -- --nocapture` is the large one.
#[test]
fn kill_loop_every_acknowledged_message_is_there_once_and_everybody_sees_all() {
    let rounds: u64 = std::env::var("SNUG_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let settings = "[limits]\nrate = 0\n";
    let mut daemon = Daemon::with(settings);
    let stop = Arc::new(Mutex::new(false));
    let (sink, acknowledgements) = mpsc::channel();
    let senders: Vec<_> = ["ann", "bob", "cat"]
        .into_iter()
        .map(|nick| {
            let (options, sink, stop) = (options(&daemon, nick), sink.clone(), Arc::clone(&stop));
            thread::spawn(move || sender(options, nick.to_owned(), sink, stop))
        })
        .collect();
    drop(sink);
    let seen: Vec<Seen> = (0..2).map(|_| Arc::default()).collect();
    let receivers: Vec<_> = seen
        .iter()
        .enumerate()
        .map(|(number, seen)| {
            let (options, seen) = (options(&daemon, &format!("receiver-{number}")), Arc::clone(seen));
            thread::spawn(move || receiver(options, seen))
        })
        .collect();

    // A name that is not there yet when the daemon is killed is another's after that.
    let mut witness = Raw::enter(&daemon, "witness");
    for nick in ["ann", "bob", "cat", "receiver-0", "receiver-1"] {
        witness.wait_for_user(nick);
    }
    drop(witness);
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    let mut checked = 0;
    let mut in_log: Vec<(u64, String)> = Vec::new();
    for round in 0..rounds {
        // The moment is when so many more were acknowledged; what else is under way then is up to chance.
        take(&acknowledgements, &mut acknowledged, 1 + (round * 37) % 120);
        daemon = daemon.kill_and_restart(settings);
        acknowledged.extend(acknowledgements.try_iter().map(|(text, id)| (id, text)));
        in_log.extend(messages(&daemon, checked));
        checked = in_log.last().map_or(0, |(id, _)| *id);
        check_acknowledged(&acknowledged, &in_log, round);
        for seen in &seen {
            let seen = seen.lock().expect("no panic");
            let known = seen.len().min(in_log.len());
            assert!(
                seen[..known] == in_log[..known],
                "round {round}: a receiver has seen all, once, in order"
            );
        }
    }
    *stop.lock().expect("no panic") = true;
    senders.into_iter().for_each(|sender| sender.join().expect("a sender does not panic"));
    acknowledged.extend(acknowledgements.try_iter().map(|(text, id)| (id, text)));
    let mut last = Raw::enter(&daemon, "last");
    last.say("MSG #lobby the end");
    last.wait_for("OK MSG");
    receivers.into_iter().for_each(|receiver| receiver.join().expect("a receiver does not panic"));
    in_log = messages(&daemon, 0);
    in_log.pop();
    check_acknowledged(&acknowledged, &in_log, rounds);
    for seen in &seen {
        assert!(*seen.lock().expect("no panic") == in_log, "a receiver has seen all, once, in order");
    }
    let texts: HashMap<&str, u64> = in_log.iter().map(|(id, text)| (text.as_str(), *id)).collect();
    assert_eq!(texts.len(), in_log.len(), "nothing is there twice");
    #[allow(clippy::print_stderr, reason = "the figure that is asked for")]
    if rounds > 20 {
        eprintln!("{rounds} kills, {} messages, {} acknowledged", in_log.len(), acknowledged.len());
    }
}

/// Waits for so many more acknowledgements.
fn take(from: &Receiver<Acknowledged>, into: &mut BTreeMap<u64, String>, count: u64) {
    for _ in 0..count {
        let (text, id) = from.recv_timeout(PATIENCE).expect("messages are acknowledged");
        into.insert(id, text);
    }
}

fn check_acknowledged(acknowledged: &BTreeMap<u64, String>, in_log: &[(u64, String)], round: u64) {
    let there: HashMap<u64, &str> = in_log.iter().map(|(id, text)| (*id, text.as_str())).collect();
    for (id, text) in acknowledged {
        assert_eq!(there.get(id), Some(&text.as_str()), "round {round}: what was acknowledged is in the log");
    }
}

#[test]
fn a_log_that_is_damaged_is_refused_with_its_name_and_what_helps() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    for n in 0..300 {
        // The full stop tells 29 from 299, whatever byte comes behind it in the file.
        alice.say(&format!("MSG #lobby message {n}."));
        alice.wait_for("OK MSG");
    }
    let (folder, _) = daemon.stop_and_keep();
    let log = folder.path().join("data/log.db");
    assert!(!folder.path().join("data/log.db-wal").exists(), "an end in order leaves one file");
    let whole = fs::read(&log).expect("a log");
    let start = || {
        let mut snugd = program("snugd", folder.path());
        let output = snugd.arg("--config").arg(folder.path().join("config.toml")).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let check = || {
        let mut snugd = program("snugd", folder.path());
        let config = folder.path().join("config.toml");
        let output = snugd.arg("--config").arg(config).arg("check-data").output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("300 entries, 1 to 300, 0 files; all is well"), "{said}");

    fs::write(&log, &whole[..whole.len() / 2]).expect("a file");
    let (code, said) = start();
    assert_eq!(code, Some(1));
    assert!(said.contains("data/log.db: it is cut off") && said.contains("backup"), "{said}");
    assert_eq!(check().0, Some(1));

    let mut flipped = whole.clone();
    let place = flipped.windows(11).position(|w| w == b"message 99.").expect("a text");
    flipped[place] ^= 1;
    fs::write(&log, &flipped).expect("a file");
    let (code, said) = check();
    assert_eq!(code, Some(1));
    assert!(said.contains("entry 100 is not what was written"), "{said}");
    let mut newest = whole.clone();
    let place = newest.windows(12).position(|w| w == b"message 299.").expect("a text");
    newest[place] ^= 1;
    fs::write(&log, &newest).expect("a file");
    let daemon = Daemon::start_in(folder).unwrap_or_else(|said| panic!("it starts: {said}"));
    let exported = daemon.snug().args(["export", "#lobby"]).output().expect("snug runs");
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert_eq!(exported.lines().count(), 300);
    assert!(exported.contains("(entries 300 to 300 are not there any more)"), "{exported}");
    let (folder, _) = daemon.stop_and_keep();
    fs::write(&log, &flipped).expect("a file");
    // The others are still there, and who reads them is told.
    let daemon = Daemon::start_in(folder).unwrap_or_else(|said| panic!("it starts: {said}"));
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("HISTORY #lobby AROUND 100 3");
    let page: Vec<String> = (0..4).map(|_| bob.hear()).collect();
    assert!(page[0].ends_with("message 98.") && page[2].ends_with("message 100."), "{page:?}");
    assert_eq!(page[1], "GAP #lobby 100 100");
}

#[test]
fn a_backup_is_made_under_load_and_can_be_put_in_place() {
    let settings = "[limits]\nrate = 0\n";
    let daemon = Daemon::with(settings);
    let stop = Arc::new(Mutex::new(false));
    let (sink, acknowledgements) = mpsc::channel();
    let talking = {
        let (options, stop) = (options(&daemon, "ann"), Arc::clone(&stop));
        thread::spawn(move || sender(options, "ann".to_owned(), sink, stop))
    };
    let mut acknowledged = BTreeMap::new();
    take(&acknowledgements, &mut acknowledged, 500);
    let file = daemon.folder().join("backup.db");
    let snug = |arguments: &[&str]| {
        let mut command = program("snug", daemon.folder());
        command.env("SNUG_SERVER", format!("unix:{}", daemon.socket.display())).args(arguments);
        command.output().expect("snug runs")
    };
    let path = file.to_str().expect("UTF-8");
    let made = snug(&["admin", "backup", path]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(snug(&["admin", "backup", path]).status.code(), Some(1), "a backup replaces nothing");
    take(&acknowledgements, &mut BTreeMap::new(), 100);
    *stop.lock().expect("no panic") = true;
    talking.join().expect("a sender does not panic");
    let name = log_name(&daemon);

    let daemon = daemon.restart_after(settings, |folder| {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(folder.join(format!("data/log.db{suffix}")));
        }
        fs::rename(folder.join("backup.db"), folder.join("data/log.db")).expect("a file");
        let _ = fs::remove_file(folder.join("data/search.db"));
    });
    check_acknowledged(&acknowledged, &messages(&daemon, 0), 0);
    let restored = log_name(&daemon);
    assert_ne!(restored, name, "what came after the backup was seen in another log");
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say(&format!("SYNC {name}.700"));
    assert_eq!(alice.wait_for("GAP"), format!("GAP * {name}.700 {restored}.0"));
    alice.say("MSG #lobby goes on");
    alice.wait_for("OK MSG");
}

fn log_name(daemon: &Daemon) -> String {
    let mut raw = Raw::connect(daemon);
    raw.say("INFO");
    raw.wait_for("INFO log=").trim_start_matches("INFO log=").to_owned()
}

/// A file system of its own, if this may be made here; it goes with the value.
struct SmallDisk<'p>(&'p Path);

impl SmallDisk<'_> {
    fn mount(path: &Path) -> Option<SmallDisk<'_>> {
        fs::create_dir_all(path).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]).arg(path);
        mount.output().is_ok_and(|output| output.status.success()).then_some(SmallDisk(path))
    }

    fn remount(&self, option: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.0).status();
        assert!(done.expect("mount runs").success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Needs the right to mount; without it the log's own test of a full disk has to do.
#[test]
fn a_full_or_read_only_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let Some(disk) = SmallDisk::mount(&data) else { return };
    write_config(
        folder.path(),
        "[limits]\nrate = 0\nguest_bytes = \"0 B\"\n[log]\ndurability = \"process\"\nreserve = \"0 B\"\n",
    );
    let daemon = Daemon::start_in(folder).expect("it starts");
    let mut alice = Raw::enter(&daemon, "alice");
    let long = "x".repeat(4_000);
    let mut acknowledged = 0;
    let refused = loop {
        alice.say(&format!("MSG #lobby {acknowledged} {long}"));
        let answer = alice.wait_for(" MSG ");
        let answer = if answer.contains(":alice MSG") { alice.hear() } else { answer };
        if answer.starts_with("ERR ") {
            break answer;
        }
        acknowledged += 1;
    };
    assert!(refused.starts_with("ERR MSG storage-full "), "{refused}");
    daemon.wait_for_log("make room on the disk");
    alice.say("HISTORY #lobby LATEST 1");
    assert!(alice.wait_for("MSG #lobby").contains(&format!("MSG #lobby {} x", acknowledged - 1)));
    alice.wait_for("OK HISTORY");

    disk.remount("size=8m");
    alice.say("MSG #lobby there is room again");
    alice.wait_for("OK MSG");

    // Nothing that was refused has come in after all.
    let texts: Vec<String> = messages(&daemon, 0).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), acknowledged + 1);
    assert_eq!(texts[acknowledged..], ["there is room again"]);

    let (folder, _) = daemon.stop_and_keep();
    disk.remount("ro");
    let failed = Daemon::start_in(folder).err().expect("it does not start");
    assert!(failed.contains("/data") && failed.to_lowercase().contains("read-only"), "{failed}");
}

#[test]
fn a_search_index_that_is_damaged_or_gone_is_made_anew() {
    let mut daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    for n in 0..200 {
        alice.say(&format!("MSG #lobby needle {n} in a haystack of words that take some room"));
        alice.wait_for("OK MSG");
    }
    alice.say("SEARCH * needle 7");
    alice.wait_for("OK SEARCH");
    let damage: [fn(&Path); 3] = [
        |index| fs::remove_file(index).expect("it is there"),
        |index| fs::write(index, [7; 9_000]).expect("a file"),
        |index| {
            let mut bytes = fs::read(index).expect("it is there");
            bytes[4_096..].fill(0x55);
            fs::write(index, bytes).expect("a file");
        },
    ];
    for damage in damage {
        daemon = daemon.restart_after("", |folder| damage(&folder.join("data/search.db")));
        let mut bob = Raw::enter(&daemon, "bob");
        let found = loop {
            bob.say("SEARCH * needle 7");
            let answer = bob.hear();
            // The search that finds the damage is refused; the next one has a new index.
            if !answer.contains("ERR SEARCH unavailable") {
                break answer;
            }
        };
        assert!(found.contains(":alice MSG #lobby needle 7 in"), "{found}");
    }
}

#[test]
fn rooms_topics_tokens_and_keys_survive_kill() {
    let daemon = Daemon::start();
    let mut alice = Raw::connect(&daemon);
    alice.say("@token=0123456789abcdef0123456789abcdef NICK alice");
    alice.wait_for("OK NICK");
    for line in ["JOIN #ops", "TOPIC #ops what we do", "@key=k MSG #ops deployed", "SET #ops keep 9d"] {
        alice.say(line);
        alice.wait_for("OK ");
    }
    let daemon = daemon.kill_and_restart("");
    let mut back = Raw::connect(&daemon);
    back.say("@token=0123456789abcdef0123456789abcdef NICK alice");
    back.wait_for("OK NICK");
    back.say("@key=k MSG #ops deployed");
    assert!(back.wait_for("OK MSG").contains(";dup OK MSG #ops"));
    back.say("TOPIC #ops");
    assert!(back.wait_for("TOPIC").ends_with(":alice TOPIC #ops what we do"));
    back.say("SET #ops");
    back.wait_for("SET #ops keep=9d");
    daemon.signal(Signal::TERM);
}

#[test]
fn private_messages_come_once_over_restarts_and_a_room_keeps_its_owner() {
    let daemon = Daemon::start();
    let enter = |daemon: &Daemon, nick: &str| {
        let mut raw = Raw::connect(daemon);
        raw.say(&format!("@token=0123456789-0123456789-{nick} NICK {nick}"));
        raw.wait_for("OK NICK");
        raw
    };
    let (mut alice, mut bob) = (enter(&daemon, "alice"), enter(&daemon, "bob"));
    alice.say("JOIN #own");
    alice.wait_for("OK JOIN");
    bob.say("MSG #own somebody else wrote");
    bob.wait_for("OK MSG");
    bob.say("PRIV alice once");
    alice.wait_for("PRIV alice once");
    bob.wait_for("OK PRIV");
    let daemon = daemon.restart("");
    let mut alice = enter(&daemon, "alice");
    alice.say("JOIN #own");
    assert!(alice.hear().contains(":alice JOIN #own"), "nothing that was there before comes again");
    assert!(alice.hear().contains("OK JOIN #own"));
    alice.say("SET #own keep 5d");
    alice.wait_for("OK SET #own");
    // A room in which nobody wrote went with its last member.
    alice.say("JOIN #ghost");
    alice.wait_for("OK JOIN");
    let daemon = daemon.kill_and_restart("");
    let mut carol = enter(&daemon, "carol");
    carol.say("ROOMS");
    let rooms: Vec<String> = (0..3).map(|_| carol.hear()).collect();
    assert!(rooms[2] == "OK ROOMS 2", "{rooms:?}");
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "[limits]\nrate = 0\n[log]\ndurability = \"process\"\n");
    let daemon = Daemon::start_in(folder).expect("it starts");
    let limit = |bytes: &str| {
        let pid = daemon.id().to_string();
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        assert!(done.expect("prlimit runs").success());
    };
    let mut alice = Raw::enter(&daemon, "alice");
    limit("3000000");
    let long = "x".repeat(8_000);
    let mut acknowledged = 0;
    loop {
        alice.say(&format!("MSG #lobby {acknowledged} {long}"));
        let answer = alice.wait_for(" MSG ");
        let answer = if answer.contains(":alice MSG") { alice.hear() } else { answer };
        if answer.starts_with("ERR ") {
            assert!(answer.starts_with("ERR MSG storage-full "), "{answer}");
            break;
        }
        acknowledged += 1;
    }
    limit("unlimited");
    alice.say("MSG #lobby there is room again");
    alice.wait_for("OK MSG");
    assert_eq!(messages(&daemon, 0).len(), acknowledged + 1);
}

#[test]
fn history_none_keeps_nothing_on_disk() {
    let settings = "[log]\nhistory = \"none\"\nmemory_entries = 3\n";
    let daemon = Daemon::with(settings);
    let mut alice = Raw::enter(&daemon, "alice");
    for n in 1..=5 {
        alice.say(&format!("MSG #lobby {n}"));
        alice.wait_for("OK MSG");
    }
    alice.say("HISTORY #lobby AFTER 0");
    let page: Vec<String> = (0..5).map(|_| alice.hear()).collect();
    assert_eq!(page[0], "GAP #lobby 1 2");
    assert!(page[1].ends_with("MSG #lobby 3") && page[4].ends_with("OK HISTORY #lobby end"), "{page:?}");
    alice.say("SEARCH * 4");
    assert!(alice.hear().ends_with("MSG #lobby 4"));
    assert!(!daemon.folder().join("data/log.db").exists());
}

#[test]
fn kill_loop_an_account_is_in_the_rooms_that_it_was_told_it_is_in() {
    const ROOMS: [&str; 5] = ["#lobby", "#a", "#b", "#c", "#d"];
    let rounds: u64 = std::env::var("SNUG_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let settings = "[limits]\nrate = 0\n";
    let mut daemon = Daemon::with(settings);
    let mut owner = Raw::enter(&daemon, "owner");
    owner.say("REGISTER owner correct horse battery");
    owner.wait_for("OK REGISTER");
    let mut carol = Raw::enter(&daemon, "carol");
    carol.say("REGISTER carol correct horse battery");
    carol.wait_for("OK REGISTER");
    for room in ROOMS {
        owner.say(&format!("JOIN {room}"));
        owner.wait_for("OK JOIN");
    }
    let mut is_in: BTreeMap<&str, Option<bool>> = ROOMS.map(|room| (room, Some(room == "#lobby"))).into();
    for round in 0..rounds {
        // Each change is acknowledged but the last one, of which nobody can know what became.
        let changes = 1 + round % 4;
        for change in 0..=changes {
            let number = usize::try_from(round * 7 + change * 3).expect("it is small") % ROOMS.len();
            let room = ROOMS[number];
            let was_in = is_in[room].expect("it is known");
            let verb = if was_in { "LEAVE" } else { "JOIN" };
            carol.say(&format!("{verb} {room}"));
            is_in.insert(room, None);
            if change < changes {
                carol.wait_for(&format!("OK {verb} {room}"));
                is_in.insert(room, Some(!was_in));
            }
        }
        daemon = daemon.kill_and_restart(settings);
        owner = Raw::connect(&daemon);
        owner.say("AUTH PASSWORD owner correct horse battery");
        owner.wait_for("OK AUTH");
        carol = Raw::connect(&daemon);
        carol.say("AUTH PASSWORD carol correct horse battery");
        carol.wait_for("OK AUTH");
        carol.say("INBOX");
        let rows = std::iter::from_fn(|| Some(carol.hear()).filter(|line| !line.contains("OK INBOX")));
        let listed: BTreeSet<String> = rows
            .filter_map(|row| Some(row.split_once("CONVERSATION ")?.1.split(' ').next()?.to_owned()))
            .collect();
        for room in ROOMS {
            let is_listed = listed.contains(room);
            let known = is_in[room];
            assert!(
                known.is_none_or(|known| known == is_listed),
                "round {round}: {room} {known:?}: {listed:?}"
            );
            is_in.insert(room, Some(is_listed));
            // Who is in it hears it, and nobody else.
            owner.say(&format!("MSG {room} round {round}"));
            owner.wait_for("OK MSG");
        }
        carol.say("PING heard");
        let heard = std::iter::from_fn(|| Some(carol.hear()).filter(|line| !line.contains("OK PING heard")));
        let heard: BTreeSet<String> = heard
            .filter_map(|line| Some(line.split_once(" :owner MSG ")?.1.split(' ').next()?.to_owned()))
            .collect();
        assert_eq!(heard, listed, "round {round}");
    }
}
