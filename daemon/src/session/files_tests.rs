//! The rules of files, without the network: uploads, quotas, who may fetch what.

use ring::digest;
use snug_protocol::ContentHash;
use tempfile::TempDir;

use super::tests::{Person, World, plain};
use super::*;
use crate::content_store::ContentStore;

/// The SHA-256 of something.
fn hash(bytes: &[u8]) -> ContentHash {
    let digest = digest::digest(&digest::SHA256, bytes);
    ContentHash(digest.as_ref().try_into().expect("32 bytes"))
}

impl World {
    /// Gives the world a place for files. It goes with what is returned.
    pub(super) fn keep_files(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        self.core.files.set_store(ContentStore::open(folder.path(), false).expect("a store"));
        self.core.files.set_inline();
        folder
    }

    /// Says a line with bytes behind it.
    fn ask_with(&mut self, person: &mut Person, line: &str, bytes: &[u8]) -> String {
        self.say(person, &format!("@bytes={} {line}", bytes.len()));
        if !bytes.is_empty() {
            person.session.bytes(bytes.into(), true);
        }
        self.work();
        person.heard()
    }

    /// Sends a whole file, and gives its id.
    pub(super) fn send_file(&mut self, person: &mut Person, to: &str, name: &str, bytes: &[u8]) -> u64 {
        self.send_file_with(person, "", (to, name), bytes)
    }

    /// Sends a whole file with these tags, and gives its id.
    fn send_file_with(
        &mut self,
        person: &mut Person,
        tags: &str,
        (to, name): (&str, &str),
        bytes: &[u8],
    ) -> u64 {
        let offered = self.ask(person, &format!("{tags}FILE OFFER {to} {} - {name}", bytes.len()));
        let ok = offered.lines().find_map(|line| line.strip_prefix("OK FILE OFFER ")).expect(&offered);
        let handle = ok.split(' ').next().expect("a handle").to_owned();
        if !bytes.is_empty() {
            let put = self.ask_with(person, &format!("FILE PUT {handle} 0"), bytes);
            assert!(put.contains(&format!("OK FILE PUT {handle} {}", bytes.len())), "{put}");
        }
        let done = self.ask(person, &format!("FILE DONE {handle} {} {}", bytes.len(), hash(bytes)));
        let ok = done.lines().find(|line| line.contains("OK FILE DONE")).expect("it is done");
        ok.rsplit(' ').next().and_then(|id| id.parse().ok()).expect("an id")
    }

    /// A file as somebody gets it.
    fn fetch(&mut self, person: &mut Person, id: u64) -> String {
        self.ask(person, &format!("FILE GET {id} 0 49152"))
    }
}

/// A world with files, and what it takes to keep them.
fn world(settings: &str) -> (World, TempDir) {
    let world = World::with(&format!("[files]\nreserve = \"0\"\n{settings}"));
    let folder = world.keep_files();
    (world, folder)
}

#[test]
fn a_file_is_offered_when_all_of_it_is_there_and_right() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    alice.heard();
    assert_eq!(
        world.ask(&mut alice, "@type=text/plain FILE OFFER #lobby 11 - two words.txt"),
        "OK FILE OFFER u1 0\n"
    );
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 0", b"hello "), "OK FILE PUT u1 6\n");
    let sum = hash(b"hello world");
    let early = world.ask(&mut alice, &format!("FILE DONE u1 6 {sum}"));
    assert!(early.starts_with("@offset=6 ERR FILE bad-offset"), "{early}");
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 6", b"world"), "OK FILE PUT u1 11\n");
    let wrong = world.ask(&mut alice, &format!("FILE DONE u1 11 {}", hash(b"other")));
    assert!(wrong.starts_with("ERR FILE hash-mismatch"), "{wrong}");
    assert_eq!(bob.heard(), "", "nobody hears of what is not there");
    let done = world.ask(&mut alice, &format!("FILE DONE u1 11 {sum}"));
    assert!(done.contains("OK FILE DONE 1"), "{done}");
    let entry = bob.heard();
    let expected = format!("size=11;sha256={sum};type=text/plain :alice FILE OFFER #lobby two words.txt\n");
    assert!(entry.ends_with(&expected), "{entry}");

    assert_eq!(
        world.ask(&mut bob, "FILE GET 1 6 100"),
        "@bytes=5 FILE DATA 1 6\nworld\nOK FILE GET 1 11 end\n"
    );
    assert_eq!(
        world.ask(&mut bob, "FILE GET 1 0 5"),
        "@bytes=5 FILE DATA 1 0\nhello\nOK FILE GET 1 5 more\n"
    );
    assert_eq!(world.ask(&mut bob, "FILE GET 1 11 5"), "OK FILE GET 1 11 end\n");
    let behind = world.ask(&mut bob, "FILE GET 1 12 5");
    assert!(behind.starts_with("@offset=11 ERR FILE bad-offset"), "{behind}");
    // Whoever did not hear of it asks again.
    let again = world.ask(&mut alice, &format!("FILE DONE u1 11 {sum}"));
    assert!(again.contains("@id=1;dup OK FILE DONE 1"), "{again}");
}

#[test]
fn the_sender_hears_who_takes_it() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    let id = world.send_file(&mut alice, "bob", "a.txt", b"abc");
    assert!(bob.heard().contains(":alice FILE OFFER bob a.txt"));
    alice.heard();
    let accepted = world.ask(&mut bob, &format!("FILE ACCEPT {id}"));
    assert!(accepted.contains("name=a.txt;from=alice;size=3;sha256="), "{accepted}");
    assert_eq!(alice.heard(), format!(":bob FILE ACCEPT alice {id}\n"));
    world.ask(&mut bob, &format!("FILE ACCEPT {id}"));
    assert_eq!(alice.heard(), "", "once is enough");
    let other = world.ask(&mut bob, &format!("FILE DONE {id} 3 {}", hash(b"abd")));
    assert!(other.starts_with("ERR FILE hash-mismatch"), "{other}");
    assert_eq!(
        world.ask(&mut bob, &format!("FILE DONE {id} 3 {}", hash(b"abc"))),
        format!("OK FILE DONE {id}\n")
    );
    assert_eq!(alice.heard(), format!(":bob FILE DONE alice {id}\n"));
    let listed = world.ask(&mut alice, "FILE LIST bob");
    assert!(listed.contains(";done=1 :alice FILE OFFER bob a.txt\nOK FILE LIST 1 end"), "{listed}");
    let state = world.ask(&mut alice, &format!("FILE STATE {id}"));
    assert!(state.starts_with(&format!("FILE STATE {id} bob done ")), "{state}");
    assert!(world.ask(&mut bob, &format!("FILE STATE {id}")).starts_with("ERR FILE denied"));
}

#[test]
fn who_was_not_offered_it_does_not_learn_that_it_is_there() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob, mut eve) = (world.enter("alice"), world.enter("bob"), world.enter("eve"));
    let id = world.send_file(&mut alice, "bob", "secret.txt", b"abc");
    bob.heard();
    let missing = world.ask(&mut eve, "FILE GET 999 0 10").replace("999", "ID");
    for line in ["GET ID 0 10", "ACCEPT ID", "DECLINE ID", "CANCEL ID", "STATE ID"] {
        let refused = world.ask(&mut eve, &format!("FILE {}", line.replace("ID", &id.to_string())));
        assert_eq!(refused.replace(&id.to_string(), "ID"), missing, "{line}");
    }
    assert_eq!(world.ask(&mut eve, "FILE LIST"), "OK FILE LIST 0 end\n");
    assert!(world.fetch(&mut bob, id).contains("abc"));
    // An upload is its own identity's, whoever knows its number.
    world.ask(&mut alice, "FILE OFFER bob 3 - b.txt");
    assert!(world.ask_with(&mut eve, "FILE PUT u2 0", b"abc").starts_with("ERR FILE no-such-file"));
    assert!(world.ask(&mut eve, "FILE CANCEL u2").starts_with("ERR FILE no-such-file"));
}

#[test]
fn pieces_stand_one_behind_the_other() {
    let (mut world, _folder) = world("");
    let mut alice = world.enter("alice");
    world.ask(&mut alice, "FILE OFFER #lobby 10 - a.txt");
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 0", b"01234"), "OK FILE PUT u1 5\n");
    for offset in [0, 4, 6, u64::MAX] {
        let refused = world.ask_with(&mut alice, &format!("FILE PUT u1 {offset}"), b"xx");
        assert!(refused.starts_with("@offset=5 ERR FILE bad-offset"), "{offset}: {refused}");
    }
    let beyond = world.ask_with(&mut alice, "FILE PUT u1 5", b"567890");
    assert!(beyond.contains("ERR FILE bad-offset"), "more than was said: {beyond}");
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 5", b""), "OK FILE PUT u1 5\n");
    assert!(world.ask(&mut alice, "FILE PUT u1 5").starts_with("ERR FILE missing-parameter"));
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 5", b"56789"), "OK FILE PUT u1 10\n");
    assert!(
        world.ask(&mut alice, &format!("FILE DONE u1 10 {}", hash(b"0123456789"))).contains("OK FILE DONE")
    );
}

#[test]
fn a_key_is_an_upload_to_go_on_with() {
    let (mut world, folder) = world("");
    let mut alice = world.enter("alice");
    assert_eq!(world.ask(&mut alice, "@key=k FILE OFFER #lobby 6 - a.txt"), "OK FILE OFFER u1 0\n");
    world.ask_with(&mut alice, "FILE PUT u1 0", b"abc");
    // As if the daemon had been started anew: what is known is what is on the disk.
    world.core.files.close_idle(u64::MAX);
    assert_eq!(world.ask(&mut alice, "@key=k FILE OFFER #lobby 6 - a.txt"), "OK FILE OFFER u1 3\n");
    world.core.files.close_idle(u64::MAX);
    assert_eq!(world.ask_with(&mut alice, "FILE PUT u1 3", b"def"), "OK FILE PUT u1 6\n");
    let other = world.ask(&mut alice, "@key=k FILE OFFER #lobby 7 - a.txt");
    assert!(other.starts_with("ERR FILE key-reused"), "{other}");
    world.core.files.close_idle(u64::MAX);
    assert!(world.ask(&mut alice, &format!("FILE DONE u1 6 {}", hash(b"abcdef"))).contains("OK FILE DONE 1"));
    let known = world.ask(&mut alice, "@key=k FILE OFFER #lobby 6 - a.txt");
    assert_eq!(known, "@id=1 OK FILE OFFER u1 6\n", "it is complete");
    let parts = std::fs::read_dir(folder.path().join("files/part")).expect("a folder");
    assert_eq!(parts.count(), 0, "what came of it is in its place");
}

#[test]
fn what_nothing_refers_to_goes_and_what_two_have_stays() {
    let (mut world, folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    let first = world.send_file(&mut alice, "#lobby", "a.txt", b"the same");
    let second = world.send_file(&mut bob, "#lobby", "b.txt", b"the same");
    let sum = hash(b"the same").to_string();
    let content = folder.path().join("files/content").join(&sum[..2]).join(&sum[2..]);
    assert!(content.exists());
    let taken_back = world.ask(&mut alice, &format!("FILE CANCEL {first}"));
    assert!(taken_back.contains(&format!("OK FILE CANCEL {first}")), "{taken_back}");
    assert!(bob.heard().contains(&format!(":alice DELETE #lobby {first}")), "the others hear of it");
    world.core.look_after_files();
    world.work();
    assert!(content.exists(), "bob's is the same");
    assert!(world.fetch(&mut bob, second).contains("the same"));
    assert!(world.fetch(&mut bob, first).starts_with("ERR FILE no-such-file"));
    assert!(world.ask(&mut bob, &format!("DELETE #lobby {second}")).contains("OK DELETE"), "as any message");
    world.core.look_after_files();
    world.work();
    assert!(!content.exists());
    let gone = std::fs::read_dir(folder.path().join("files/gone")).expect("a folder");
    assert_eq!(gone.count(), 0);
}

#[test]
fn quotas_hold_for_a_file_a_person_a_room_and_all() {
    let (mut world, _folder) =
        world("file = \"100 B\"\nguest = \"150 B\"\nroom = \"240 B\"\ntotal = \"400 B\"\n");
    let (mut alice, mut bob, mut cat) = (world.enter("alice"), world.enter("bob"), world.enter("cat"));
    let big = world.ask(&mut alice, "FILE OFFER #lobby 9223372036854775808 - a.txt");
    assert!(big.contains("ERR FILE over-quota"), "{big}");
    world.send_file(&mut alice, "#lobby", "a.txt", &[1; 100]);
    let own = world.ask(&mut alice, "FILE OFFER #lobby 51 - b.txt");
    assert!(own.contains("over-quota") && own.contains("one may have 150 bytes"), "{own}");
    world.send_file(&mut bob, "#lobby", "b.txt", &[2; 100]);
    let room = world.ask(&mut cat, "FILE OFFER #lobby 41 - c.txt");
    assert!(room.contains("over-quota") && room.contains("a room may have 240"), "{room}");
    world.send_file(&mut cat, "alice", "c.txt", &[3; 60]);
    let all = world.ask(&mut cat, "FILE OFFER alice 41 - d.txt");
    assert!(all.contains("over-quota") && all.contains("keeps no more"), "{all}");
    // What is on its way counts as well, and of a size that nobody said no more comes than may. Guests leave a quarter
    // to accounts.
    world.ask(&mut bob, "FILE OFFER alice - - e.txt");
    assert_eq!(world.ask_with(&mut bob, "FILE PUT u4 0", &[4; 40]), "OK FILE PUT u4 40\n");
    assert!(world.ask_with(&mut bob, "FILE PUT u4 40", &[4; 1]).starts_with("ERR FILE over-quota"));
    let part = world.ask(&mut cat, "FILE OFFER alice 1 - f.txt");
    assert!(part.contains("over-quota") && part.contains("keeps no more files of guests"), "{part}");
    let done = world.ask(&mut bob, &format!("FILE DONE u4 40 {}", hash(&[4; 40])));
    assert!(done.contains("OK FILE DONE"), "its own bytes are not counted twice: {done}");
    assert!(world.ask(&mut cat, "FILE OFFER alice 1 - f.txt").contains("keeps no more"));
}

#[test]
fn parts_count_whether_their_uploads_are_open_or_not() {
    let (mut world, _folder) = world("guest = \"100 B\"\ntotal = \"160 B\"\n");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.ask(&mut alice, "FILE OFFER bob - - a.txt");
    assert!(world.ask_with(&mut alice, "FILE PUT u1 0", &[1; 80]).contains("OK FILE PUT u1 80"));
    // Nobody has gone on with it for longer than an upload stays open.
    world.pass(200_000);
    world.core.look_after_files();
    world.work();
    assert_eq!(world.core.files.open_count(), 0);
    world.ask(&mut alice, "FILE OFFER bob - - b.txt");
    let own = world.ask_with(&mut alice, "FILE PUT u2 0", &[2; 21]);
    assert!(own.contains("ERR FILE over-quota"), "{own}");
    world.ask(&mut bob, "FILE OFFER alice - - c.txt");
    let all = world.ask_with(&mut bob, "FILE PUT u3 0", &[3; 41]);
    assert!(all.contains("ERR FILE over-quota"), "120 are for guests, and 80 are there: {all}");
    assert!(world.ask_with(&mut alice, "FILE PUT u1 80", &[1; 20]).contains("OK FILE PUT u1 100"));
    world.ask(&mut alice, "FILE CANCEL u1");
    assert!(world.ask_with(&mut bob, "FILE PUT u3 0", &[3; 41]).contains("OK FILE PUT u3 41"));
}

#[test]
fn a_room_says_which_files_it_takes() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #pictures");
    assert!(world.ask(&mut alice, "SET #pictures file-types image/*,text/plain").contains("OK SET"));
    assert!(world.ask(&mut alice, "SET #pictures files 10 B").contains("SET #pictures files=10 B"));
    let kind = world.ask(&mut bob, "@type=application/x-sh FILE OFFER #pictures 5 - a.sh");
    assert!(kind.starts_with("ERR FILE denied"), "{kind}");
    assert!(
        world.ask(&mut bob, "FILE OFFER #pictures 5 - a.sh").starts_with("ERR FILE denied"),
        "of no type"
    );
    assert!(
        world
            .ask(&mut bob, "@type=image/png FILE OFFER #pictures 11 - a.png")
            .starts_with("ERR FILE over-quota")
    );
    assert!(
        world.ask(&mut bob, "@type=IMAGE/png FILE OFFER #pictures 10 - a.png").starts_with("OK FILE OFFER")
    );
    world.say(&mut alice, "SET #pictures files off");
    assert!(
        world.ask(&mut bob, "@type=image/png FILE OFFER #pictures 1 - a.png").starts_with("ERR FILE denied")
    );
    for bad in ["files lots", "file-types png", "file-types ,"] {
        let refused = world.ask(&mut alice, &format!("SET #pictures {bad}"));
        assert!(refused.contains("ERR SET bad-parameter"), "{bad}: {refused}");
    }
}

#[test]
fn who_is_muted_or_kept_out_sends_nothing_and_who_is_kept_out_fetches_nothing() {
    let (mut world, _folder) = world("");
    let (mut owner, mut bob) = (world.keyed_member("owner"), world.keyed_member("bob"));
    world.say(&mut owner, "JOIN #room");
    world.say(&mut bob, "JOIN #room");
    let id = world.send_file(&mut owner, "#room", "a.txt", b"abc");
    world.ask(&mut bob, "FILE OFFER #room 3 - b.txt");
    world.ask_with(&mut bob, "FILE PUT u2 0", b"abc");
    world.say(&mut owner, "MUTE #room bob 10m");
    bob.heard();
    assert!(world.ask(&mut bob, "FILE OFFER #room 3 - c.txt").contains("ERR FILE muted"));
    let done = world.ask(&mut bob, &format!("FILE DONE u2 3 {}", hash(b"abc")));
    assert!(done.contains("ERR FILE muted"), "also of what was offered before: {done}");
    assert!(world.fetch(&mut bob, id).contains("abc"), "a muted one hears");
    world.say(&mut owner, "BAN #room bob");
    bob.heard();
    world.pass(6_000);
    assert!(world.fetch(&mut bob, id).starts_with("ERR FILE no-such-file"));
}

#[test]
fn files_and_uploads_go_when_their_time_is_over() {
    let (mut world, folder) = world("keep = \"200s\"\nresume = \"5s\"\n");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    let id = world.send_file(&mut alice, "#lobby", "a.txt", b"abc");
    world.ask(&mut alice, "FILE OFFER #lobby 9 - b.txt");
    world.ask_with(&mut alice, "FILE PUT u2 0", b"abc");
    // What is open has something come of it; after two minutes of nothing it is not.
    world.pass(6_000);
    world.core.look_after_files();
    world.work();
    assert!(world.ask_with(&mut alice, "FILE PUT u2 3", b"abc").contains("OK FILE PUT"));
    world.pass(130_000);
    world.core.look_after_files();
    world.work();
    assert!(world.ask_with(&mut alice, "FILE PUT u2 6", b"def").contains("ERR FILE no-such-file"));
    let fetched = world.fetch(&mut bob, id);
    assert!(fetched.contains("abc"), "{fetched}");
    world.pass(100_000);
    world.core.look_after_files();
    world.work();
    assert!(world.fetch(&mut bob, id).contains("ERR FILE no-such-file"));
    let left =
        |part: &str| std::fs::read_dir(folder.path().join("files").join(part)).expect("a folder").count();
    assert_eq!((left("part"), left("gone")), (0, 0));
    let history = world.ask(&mut bob, "HISTORY #lobby LATEST");
    assert!(history.contains("FILE OFFER #lobby a.txt"), "what was said stays: {history}");
}

#[test]
fn a_token_sends_where_it_may_send_and_fetches_where_it_may_read() {
    let (mut world, _folder) = world("");
    let mut alice = world.keyed_member("alice");
    world.say(&mut alice, "JOIN #ops");
    let (inside, outside) = (
        world.send_file(&mut alice, "#ops", "a.txt", b"abc"),
        world.send_file(&mut alice, "#lobby", "b.txt", b"abc"),
    );
    let mut sender = world.bearer(&mut alice, "sender", "@may=send;rooms=#ops");
    world.send_file(&mut sender, "#ops", "c.txt", b"c");
    assert!(world.ask(&mut sender, "FILE OFFER #lobby 1 - d.txt").starts_with("ERR FILE out-of-scope"));
    assert!(world.fetch(&mut sender, inside).starts_with("ERR FILE out-of-scope"));
    let mut reader = world.bearer(&mut alice, "reader", "@may=read;rooms=#ops");
    assert!(world.fetch(&mut reader, inside).contains("abc"));
    assert!(world.fetch(&mut reader, outside).starts_with("ERR FILE no-such-file"));
    assert!(world.ask(&mut reader, "FILE OFFER #ops 1 - d.txt").starts_with("ERR FILE out-of-scope"));
    // Nor does it learn of, or speak for, what is elsewhere.
    world.ask(&mut alice, "FILE OFFER #lobby 1 - e.txt");
    for line in ["ACCEPT", "DECLINE", "STATE"] {
        let refused = world.ask(&mut reader, &format!("FILE {line} {outside}"));
        assert!(refused.starts_with("ERR FILE no-such-file"), "{line}: {refused}");
    }
    assert!(!world.ask(&mut reader, "FILE LIST").contains("UPLOAD"));
    for line in ["CANCEL u4", &format!("DONE u4 0 {}", hash(b""))] {
        let refused = world.ask(&mut sender, &format!("FILE {line}"));
        assert!(refused.starts_with("ERR FILE no-such-file"), "{line}: {refused}");
    }
    assert!(world.ask_with(&mut sender, "FILE PUT u4 0", b"x").starts_with("ERR FILE no-such-file"));
    assert!(world.ask(&mut sender, &format!("FILE CANCEL {inside}")).starts_with("ERR FILE out-of-scope"));
}

#[test]
fn without_a_place_on_disk_there_are_no_files() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    assert!(world.ask(&mut alice, "FILE LIST").starts_with("ERR FILE unavailable"));
    assert!(world.ask_with(&mut alice, "FILE PUT u1 0", b"abc").starts_with("ERR FILE unavailable"));
    assert!(!world.ask(&mut alice, "INFO").contains(",files"));
}

#[test]
fn what_is_said_overtakes_pieces_that_wait() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    let id = world.send_file(&mut alice, "#lobby", "a.bin", &[7; 60_000]);
    alice.heard();
    bob.heard();
    // The first one looks the file up; the others follow without waiting.
    world.fetch(&mut bob, id);
    for offset in [0, 10_000, 20_000] {
        let line = format!("FILE GET {id} {offset} 10000");
        assert!(matches!(bob.session.line(&line, bob.session.peer.in_flight()), Step::Done { .. }));
    }
    world.ask(&mut alice, "MSG #lobby meanwhile");
    let mut taken = crate::registry::outbox::Chunks::new();
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    bob.session.peer.turn(&cx, &mut taken, true);
    assert!(
        String::from_utf8_lossy(taken[0].lines()).contains("MSG #lobby meanwhile"),
        "first what was said"
    );
    taken.clear();
    bob.session.peer.wrote();
    bob.session.peer.turn(&cx, &mut taken, true);
    assert_eq!(taken.len(), 1, "then one piece at a time");
    assert_eq!(taken[0].lines(), format!("@bytes=10000 FILE DATA {id} 0\n").as_bytes());
}

#[test]
fn answers_keep_their_order_among_pieces() {
    let (mut world, _folder) = world("");
    let mut alice = world.enter("alice");
    let id = world.send_file(&mut alice, "#lobby", "a.bin", &[b'x'; 30_000]);
    world.fetch(&mut alice, id);
    // One behind the end, one at the end, and one that is there again.
    for (label, offset) in [(1, 0), (2, 40_000), (3, 30_000), (4, 20_000)] {
        let line = format!("@ref={label} FILE GET {id} {offset} 10000");
        assert!(matches!(alice.session.line(&line, alice.session.peer.in_flight()), Step::Done { .. }));
    }
    let heard = alice.heard();
    let labels: Vec<&str> =
        heard.lines().filter(|line| line.contains("OK FILE") || line.contains("ERR FILE")).collect();
    assert_eq!(labels.len(), 4, "{heard}");
    for (at, line) in labels.iter().enumerate() {
        assert!(line.contains(&format!("ref={}", at + 1)), "{at}: {line}");
    }
    // Pieces that come and pieces that go are not under way at the same time.
    world.ask(&mut alice, "FILE OFFER #lobby 2 - b.txt");
    world.ask_with(&mut alice, "FILE PUT u2 0", b"a");
    let get = format!("FILE GET {id} 0 10000");
    assert!(matches!(alice.session.line(&get, alice.session.peer.in_flight()), Step::Done { .. }));
    let put = alice.session.line("@bytes=1 FILE PUT u2 1", alice.session.peer.in_flight());
    assert_eq!(put, Step::Hold);
}

#[test]
fn an_upload_that_is_complete_is_no_other_file() {
    let (mut world, _folder) = world("");
    let mut alice = world.enter("alice");
    assert!(world.ask(&mut alice, "@key=nightly FILE OFFER #lobby - - b.sql").contains("OK FILE OFFER u1 0"));
    world.ask_with(&mut alice, "FILE PUT u1 0", b"monday");
    assert!(world.ask(&mut alice, &format!("FILE DONE u1 6 {}", hash(b"monday"))).contains("OK FILE DONE 1"));
    assert!(
        world.ask(&mut alice, "@key=nightly FILE OFFER #lobby - - b.sql").contains("@id=1 OK FILE OFFER u1")
    );
    let other = world.ask(&mut alice, &format!("FILE DONE u1 7 {}", hash(b"tuesday")));
    assert!(other.starts_with("ERR FILE key-reused"), "nothing is acknowledged that is not there: {other}");
    // When it is not kept any more, its key is free.
    world.ask(&mut alice, "FILE CANCEL 1");
    assert!(world.ask(&mut alice, "@key=nightly FILE OFFER #lobby - - b.sql").contains("OK FILE OFFER u2 0"));
}

#[test]
fn who_ends_in_the_middle_of_a_piece_has_nothing_under_way() {
    let (mut world, _folder) = world("");
    let mut alice = world.enter("alice");
    world.ask(&mut alice, "FILE OFFER #lobby 100 - a.txt");
    world.say(&mut alice, "@bytes=100 FILE PUT u1 0");
    alice.session.bytes(b"only a part"[..].into(), false);
    assert!(alice.session.peer.in_flight().is_empty());
}

#[test]
fn sizes_that_nobody_said_count_as_they_come() {
    let (mut world, _folder) = world("guest = \"100 B\"\n");
    let mut alice = world.enter("alice");
    world.ask(&mut alice, "FILE OFFER #lobby - - a.txt");
    world.ask(&mut alice, "FILE OFFER #lobby - - b.txt");
    assert!(world.ask_with(&mut alice, "FILE PUT u1 0", &[1; 60]).contains("OK FILE PUT"));
    assert!(world.ask_with(&mut alice, "FILE PUT u2 0", &[1; 60]).contains("over-quota"), "together");
    assert!(world.ask_with(&mut alice, "FILE PUT u2 0", &[1; 40]).contains("OK FILE PUT"));
    world.ask(&mut alice, "FILE CANCEL u1");
    assert!(
        world.ask_with(&mut alice, "FILE PUT u2 40", &[1; 60]).contains("OK FILE PUT"),
        "given up is given back"
    );
    // A word alone takes no room from others.
    let mut bob = world.enter("bob");
    world.ask(&mut bob, "FILE OFFER #lobby 100 - c.txt");
    assert!(
        world.ask(&mut bob, "FILE OFFER #lobby 1 - d.txt").contains("over-quota"),
        "from oneself it does"
    );
}

#[test]
fn what_is_taken_back_makes_room_for_an_upload() {
    let (mut world, _folder) = world("guest = \"100 B\"\n");
    let mut alice = world.enter("alice");
    let old = world.send_file(&mut alice, "#lobby", "old.txt", &[1; 60]);
    world.ask(&mut alice, "FILE OFFER #lobby - - new.txt");
    assert!(world.ask_with(&mut alice, "FILE PUT u2 0", &[2; 40]).contains("OK FILE PUT u2 40"));
    let full = world.ask_with(&mut alice, "FILE PUT u2 40", &[2; 10]);
    assert!(full.contains("over-quota") && full.contains("of which 40 belong to uploads"), "{full}");
    assert!(world.ask(&mut alice, &format!("FILE CANCEL {old}")).contains("OK FILE CANCEL"));
    assert!(world.ask_with(&mut alice, "FILE PUT u2 40", &[2; 10]).contains("OK FILE PUT u2 50"));
}

#[test]
fn whoever_is_put_out_fetches_no_further() {
    let (mut world, _folder) = world("");
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut alice, "SET #ops access invite");
    world.say(&mut alice, "INVITE #ops bob");
    world.say(&mut bob, "JOIN #ops");
    let id = world.send_file(&mut alice, "#ops", "a.txt", b"abcdef");
    bob.heard();
    assert!(world.ask(&mut bob, &format!("FILE GET {id} 0 3")).contains("abc"));
    world.say(&mut alice, "KICK #ops bob");
    bob.heard();
    let next = world.ask(&mut bob, &format!("FILE GET {id} 3 3"));
    assert!(next.contains("ERR FILE no-such-file"), "{next}");
}

#[test]
fn a_file_answers_has_a_caption_and_tags_of_its_client() {
    let (mut world, _folder) = world("");
    let mut alice = world.enter("alice");
    world.say(&mut alice, "MSG #lobby show me");
    let thumb = "QUFB".repeat(256);
    let tags = format!("@re=1;caption=two\\swords;+width=640;+height=480;+thumb={thumb};title=no ");
    world.send_file_with(&mut alice, &tags, ("#lobby", "a.png"), b"hello");
    let hash = hash(b"hello");
    let heard = plain(&world.ask(&mut alice, "HISTORY #lobby LATEST 1")).remove(0);
    let tags =
        format!(";re=1;size=5;sha256={hash};caption=two\\swords;+width=640;+height=480;+thumb={thumb} ");
    assert!(heard.contains(&tags) && heard.ends_with(":alice FILE OFFER #lobby a.png"), "{heard}");
    // An answer to what is not there, or not to be seen, is refused before anything is sent.
    for re in ["7", "0", "x"] {
        let heard = world.ask(&mut alice, &format!("@re={re} FILE OFFER #lobby 5 - a.png"));
        assert!(
            heard.starts_with("ERR FILE no-such-entry") || heard.starts_with("ERR FILE bad-tag"),
            "{re}: {heard}"
        );
    }
    assert!(world.ask(&mut alice, "@re=1 FILE OFFER alice 5 - a.png").starts_with("ERR FILE no-such-entry"));
    // The same key with another caption is another file.
    assert!(world.ask(&mut alice, "@key=k;caption=a FILE OFFER #lobby 5 - a.png").contains("OK FILE OFFER"));
    assert!(world.ask(&mut alice, "@key=k;caption=a FILE OFFER #lobby 5 - a.png").contains("OK FILE OFFER"));
    assert!(world.ask(&mut alice, "@key=k;caption=b FILE OFFER #lobby 5 - a.png").contains("key-reused"));
}
