//! Accounts, tokens, rooms and the operator's console through the real programs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{Daemon, Lines, Raw, program};

/// What a program did with this on its stdin: exit code, stdout, stderr.
fn run(command: &mut Command, input: &str) -> (Option<i32>, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Somebody with a home of their own.
struct Somebody {
    home: PathBuf,
    server: String,
}

impl Somebody {
    /// On another machine, as far as the daemon can tell: over TCP.
    fn far(daemon: &Daemon, name: &str) -> Somebody {
        let home = daemon.folder().join(format!("home-{name}"));
        fs::create_dir(&home).expect("a folder");
        Somebody { home, server: daemon.tcp.to_string() }
    }

    /// The daemon's own user.
    fn operator(daemon: &Daemon) -> Somebody {
        let home = daemon.folder().join("home-operator");
        fs::create_dir(&home).expect("a folder");
        Somebody { home, server: format!("unix:{}", daemon.socket.display()) }
    }

    /// The same user, with another home.
    fn operator_too(daemon: &Daemon) -> Somebody {
        let home = daemon.folder().join("home-operator-too");
        fs::create_dir(&home).expect("a folder");
        Somebody { home, server: format!("unix:{}", daemon.socket.display()) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program("snug", &self.home);
        command.env("SNUG_SERVER", &self.server).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(&mut self.command(arguments), "")
    }

    /// What it prints, when all goes well.
    fn ok(&self, arguments: &[&str]) -> String {
        let (code, shown, said) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        shown
    }
}

#[test]
fn an_operator_invites_a_friend_makes_a_private_room_and_a_token_bans_and_shuts_down() {
    let mut daemon = Daemon::with("[accounts]\nregistration = \"invite\"\nguests = false\n");
    let (operator, friend) = (Somebody::operator(&daemon), Somebody::far(&daemon, "friend"));
    operator.ok(&["register", "olga"]);
    operator.ok(&["admin", "role", "olga", "operator"]);

    // One pasted line: the server is trusted by it, and the account is made.
    let invite = operator.ok(&["invite"]);
    assert!(invite.starts_with(&format!("snug://{}/?invite=", daemon.tcp)), "{invite}");
    assert!(invite.contains(&format!("#{}", daemon.fingerprint)), "{invite}");
    let shown = friend.ok(&["join", "--name", "fred", invite.trim()]);
    assert!(shown.contains(&format!("you are fred on {}", daemon.tcp)), "{shown}");
    let (code, _, said) = Somebody::far(&daemon, "thief").run(&["join", "--name", "thief", invite.trim()]);
    assert_eq!(code, Some(4), "an invite is for one: {said}");
    assert!(said.contains("invite-needed"), "{said}");
    friend.ok(&["send", "#lobby", "hello, I am in"]);

    // A private room.
    operator.ok(&["room", "create", "#board", "--access", "invite"]);
    assert_eq!(friend.run(&["send", "#board", "hi"]).0, Some(3), "it is not there for him");
    operator.ok(&["room", "invite", "#board", "fred"]);
    friend.ok(&["send", "#board", "thanks"]);
    assert!(operator.ok(&["history", "#board"]).contains("<fred> thanks"));

    // A token that sends in one room, from cron's point of view: no terminal, no home.
    let token =
        operator.ok(&["token", "create", "deploy", "--may", "send", "--rooms", "#board", "--expires", "90d"]);
    let cron = |arguments: &[&str]| {
        let mut command = program("snug", Path::new("/nonexistent"));
        command.env_remove("HOME").env_remove("USER").env("SNUG_TOKEN", token.trim());
        run(command.env("SNUG_SERVER", daemon.pinned()).args(arguments), "")
    };
    let (code, _, said) = cron(&["send", "#board", "deployed"]);
    assert_eq!(code, Some(0), "{said}");
    for arguments in [&["send", "#lobby", "no"][..], &["history", "#board"], &["who"], &["token", "list"]] {
        let (code, _, said) = cron(arguments);
        assert_eq!(code, Some(4), "{arguments:?}: {said}");
        assert!(said.contains("out-of-scope"), "{said}");
    }
    assert!(operator.ok(&["history", "#board"]).contains("<olga> deployed"));

    // Bans and unbans.
    operator.ok(&["admin", "ban", "fred", "--expires", "1h", "too", "loud"]);
    let (code, _, said) = friend.run(&["send", "#lobby", "hi"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("banned from this server until") && said.contains("too loud"), "{said}");
    assert!(operator.ok(&["admin", "ban"]).contains("* fred until "));
    operator.ok(&["admin", "unban", "fred"]);
    friend.ok(&["send", "#lobby", "back again"]);

    // Reads the audit trail.
    let trail = operator.ok(&["admin", "log", "--since", "1h"]);
    for text in [
        "register      fred fred  key, invited by olga",
        "ban           olga fred  * 1h too loud",
        "login         olga olga  token deploy",
    ] {
        assert!(trail.contains(text), "{text} in {trail}");
    }
    let json = operator.ok(&["admin", "log", "--json", "--event", "unban"]);
    let row: serde_json::Value = serde_json::from_str(json.trim()).expect("one object");
    assert_eq!((&row["who"], &row["whom"], &row["event"]), (&"olga".into(), &"fred".into(), &"unban".into()));
    assert!(operator.ok(&["admin", "log", "verify"]).contains("all is as it was written"));

    // Shuts down with notice.
    let mut tail = friend
        .command(&["tail", "#lobby"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug");
    let notices = Lines::of(tail.stderr.take().expect("a pipe"));
    notices.wait_for("connected to");
    operator.ok(&["admin", "shutdown", "--in", "1s", "--reason", "new version"]);
    notices.wait_for("*** olga stops the server in 1 s (new version)");
    assert!(daemon.wait().success());
    let _ = tail.kill();
    let _ = tail.wait();
}

#[test]
fn rooms_follow_an_account_over_a_restart() {
    let daemon = Daemon::start();
    let mut alice = Raw::connect(&daemon);
    alice.say("REGISTER alice Pa55word of a test");
    alice.wait_for("OK REGISTER");
    for line in ["JOIN #ops", "MSG #ops mine", "JOIN #left", "LEAVE #left"] {
        alice.say(line);
        alice.wait_for("OK ");
    }
    // What was acknowledged holds, whatever becomes of the daemon.
    let daemon = daemon.kill_and_restart("");
    let mut bob = Raw::enter(&daemon, "bob");
    bob.say("MSG #ops hello");
    bob.wait_for("OK MSG");
    let mut alice = Raw::connect(&daemon);
    alice.say("AUTH PASSWORD alice Pa55word of a test");
    alice.wait_for("OK AUTH alice");
    alice.say("INBOX");
    let mut rooms = Vec::new();
    loop {
        let line = alice.hear();
        if line.contains("OK INBOX") {
            break;
        }
        rooms.extend(line.split("CONVERSATION ").nth(1).map(|row| row[..row.len() - 2].to_owned()));
    }
    assert_eq!(rooms, ["#ops 2 1", "#lobby 0 0"]);
    bob.say("MSG #ops once more");
    alice.wait_for(":bob MSG #ops once more");
    daemon.stop();
}

#[test]
fn one_account_on_two_machines() {
    let daemon = Daemon::start();
    let (desk, laptop) = (Somebody::far(&daemon, "desk"), Somebody::far(&daemon, "laptop"));
    for machine in [&desk, &laptop] {
        machine.ok(&["trust", &daemon.tcp.to_string(), &daemon.fingerprint]);
    }
    let (code, shown, said) =
        run(&mut desk.command(&["register", "alice", "--password", "--label", "desk"]), "Pa55word one\n");
    assert_eq!(code, Some(0), "{shown}{said}");
    let (code, _, said) =
        run(&mut laptop.command(&["login", "alice", "--label", "laptop"]), "Pa55word two\n");
    assert_eq!(code, Some(4));
    assert!(said.contains("bad-login"), "{said}");
    let (code, _, said) =
        run(&mut laptop.command(&["login", "alice", "--label", "laptop"]), "Pa55word one\n");
    assert_eq!(code, Some(0), "{said}");
    laptop.ok(&["send", "#lobby", "from the laptop"]);
    assert!(desk.ok(&["history", "#lobby"]).contains("<alice> from the laptop"));
    let keys = desk.ok(&["key", "list"]);
    assert!(keys.contains("desk") && keys.contains("laptop"), "{keys}");

    let (code, _, said) = run(&mut desk.command(&["passwd"]), "Pa55word one\nPa55word three\n");
    assert_eq!(code, Some(0), "{said}");
    desk.ok(&["key", "remove", "laptop"]);
    let (code, _, said) = laptop.run(&["send", "#lobby", "still here?"]);
    assert_eq!(code, Some(4), "{said}");
    // Forgotten there, one is a guest again, of another name.
    laptop.ok(&["logout"]);
    laptop.ok(&["send", "#lobby", "as a guest"]);
    let (code, _, said) = laptop.run(&["--nick", "alice", "send", "#lobby", "as alice"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("login-needed"), "{said}");
    desk.ok(&["unregister", "alice"]);
    laptop.ok(&["--nick", "alice", "send", "#lobby", "the name is free"]);
}

#[test]
fn a_key_alone_is_enough_to_come_back() {
    let daemon = Daemon::start();
    let (desk, laptop) = (Somebody::operator(&daemon), Somebody::operator_too(&daemon));
    desk.ok(&["register", "alice"]);
    // From another machine, whose key was added on the first one.
    let key = laptop.ok(&["key", "show"]);
    desk.ok(&["key", "add", key.trim(), "laptop"]);
    assert!(laptop.ok(&["login", "alice"]).contains("by this machine's key"));
    assert!(laptop.ok(&["key", "list"]).contains("laptop"));
    // And after a logout.
    desk.ok(&["logout"]);
    desk.ok(&["login", "alice"]);
    // A key that is no more in the account says what to do.
    laptop.ok(&["key", "remove", "laptop"]);
    let (code, _, said) = laptop.run(&["who"]);
    assert_eq!(code, Some(4));
    assert!(said.contains("snug login NAME") && said.contains("snug logout"), "{said}");
}

#[test]
fn words_of_a_command_are_words_and_never_a_second_command() {
    let daemon = Daemon::start();
    let operator = Somebody::operator(&daemon);
    operator.ok(&["register", "alice"]);
    for arguments in [
        &["token", "revoke", "x\nSHUTDOWN NOW"][..],
        &["admin", "unban", "two words"],
        &["key", "remove", "x\nANNOUNCE hello"],
        &["room", "set", "#lobby", "keep 1\nQUIT", "30d"],
        &["token", "create", "x", "--may", ""],
    ] {
        let (code, _, said) = operator.run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    operator.ok(&["who"]);
}

#[test]
fn who_listens_with_a_token_that_cannot_sync_comes_back_all_the_same() {
    let daemon = Daemon::start();
    let operator = Somebody::operator(&daemon);
    operator.ok(&["register", "alice"]);
    let token = operator.ok(&["token", "create", "ear", "--may", "join,msg", "--rooms", "#lobby"]);
    let mut tail = operator
        .command(&["tail", "#lobby"])
        .env("SNUG_TOKEN", token.trim())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("snug");
    let (lines, talk) =
        (Lines::of(tail.stdout.take().expect("a pipe")), Lines::of(tail.stderr.take().expect("a pipe")));
    talk.wait_for("connected to");
    let daemon = daemon.restart("");
    talk.wait_for("gap");
    operator.ok(&["send", "#lobby", "are you back?"]);
    lines.wait_for("are you back?");
    let _ = tail.kill();
    let _ = tail.wait();
    drop(daemon);
}

#[test]
fn a_picture_goes_there_and_back_in_the_clear_and_sealed() {
    let daemon = Daemon::start();
    let (alice, bob) = (Somebody::operator(&daemon), Somebody::far(&daemon, "bob"));
    bob.ok(&["trust", &daemon.tcp.to_string(), &daemon.fingerprint]);
    alice.ok(&["register", "alice"]);
    let mut picture = vec![0x89, b'P', b'N', b'G', b'\r', b'\n', 0, 0xff];
    picture.extend((0..60_000_u32).map(|n| n.to_le_bytes()[0]));
    let file = daemon.folder().join("picture.png");
    fs::write(&file, &picture).expect("a file");
    alice.ok(&[
        "profile",
        "--avatar",
        &file.display().to_string(),
        "--colour",
        "#3584e4",
        "--display",
        "Alice B.",
    ]);
    assert!(bob.ok(&["profile", "alice"]).contains("avatar   image/png"));
    let saved = daemon.folder().join("saved.png");
    bob.ok(&["profile", "alice", "--save-avatar", &saved.display().to_string()]);
    assert!(fs::read(&saved).expect("a file") == picture);
    // The same in the clear.
    let mut raw = Raw::enter(&daemon, "raw");
    raw.say("PROFILE alice avatar");
    let row = raw.wait_for("PROFILE alice avatar");
    assert!(row.ends_with(&format!(";bytes={} PROFILE alice avatar=image/png", picture.len())), "{row}");
    assert!(raw.take(picture.len() + 1) == [&picture[..], b"\n"].concat());
    assert_eq!(raw.hear(), "OK PROFILE alice");
    fs::write(&file, vec![0; 70_000]).expect("a file");
    let (code, _, said) = alice.run(&["profile", "--avatar", &file.display().to_string()]);
    assert_eq!(code, Some(2));
    assert!(said.contains("at most 65535"), "{said}");
}

#[test]
fn the_console_takes_commands_one_by_one_and_reloads() {
    let daemon = Daemon::start();
    let operator = Somebody::operator(&daemon);
    let config = daemon.folder().join("config.toml");
    let text = fs::read_to_string(&config).expect("a file") + "[accounts]\nregistration = \"closed\"\n";
    fs::write(&config, text + "[log]\nhistory = \"none\"\n").expect("a file");
    let lines = "stats\n\nreload\nannounce 'two words'\nkick nobody-there\nnonsense\nquit\nusers\n";
    let (code, shown, said) = run(&mut operator.command(&["admin"]), lines);
    assert!(
        shown.contains("sessions") && shown.contains("log.history takes effect at the next start"),
        "{shown}"
    );
    assert!(said.contains("no-such-nick") && said.contains("nonsense"), "{said}");
    assert_eq!(code, Some(2), "the last thing that went wrong");
    let (code, _, said) =
        Somebody::far(&daemon, "late").run(&["--server", &daemon.pinned(), "register", "late"]);
    assert_eq!(code, Some(1), "{said}");
    // Nobody else may.
    let (code, _, said) = run(daemon.snug().args(["admin", "stats"]), "");
    assert_eq!(code, Some(1));
    assert!(said.contains("denied: this takes an operator"), "{said}");
    let (code, _, said) = operator.run(&["top"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("snug admin stats"), "{said}");
}

#[test]
fn the_log_is_json_if_that_is_asked_for() {
    let daemon = Daemon::with("[logging]\nformat = \"json\"\n");
    let line = daemon.wait_for_log("ready");
    let object: serde_json::Value = serde_json::from_str(&line).expect("an object");
    assert_eq!((&object["level"], &object["message"]), (&"INFO".into(), &"ready".into()));
}

#[test]
fn what_others_chose_never_reaches_a_terminal_raw() {
    let daemon = Daemon::start();
    let (operator, far) = (Somebody::operator(&daemon), Somebody::far(&daemon, "far"));
    operator.ok(&["register", "alice"]);
    let evil = "a\u{202e}b\u{2066}c\u{feff}";
    let spoken = "a\u{202e}b\u{2066}c";
    operator.ok(&["room", "create", "#room", "--description", spoken]);
    operator.ok(&["send", "#room", spoken]);
    let mut raw = Raw::enter(&daemon, "raw");
    raw.say("JOIN #room");
    raw.say(&format!("TOPIC #room {spoken}"));
    raw.say(&format!("STATUS away {spoken}"));
    raw.wait_for("OK STATUS");
    // Not even in the answer to what is refused.
    for line in
        [format!("NICK {evil}"), "MSG #room a\x1b[31mb".to_owned(), format!("PROFILE raw display {spoken}")]
    {
        raw.say(&line);
        assert!(raw.wait_for("ERR ").is_ascii(), "{line:?}");
    }
    operator.ok(&["admin", "ban", "#room", "raw", spoken]);
    let name = daemon.folder().join(format!("file-{spoken}"));
    let missing = name.display().to_string();
    let (_, _, said) = operator.run(&["profile", "--avatar", &missing]);
    assert!(!said.contains('\u{202e}'), "{said:?}");
    for arguments in [
        &["who"][..],
        &["rooms"],
        &["history", "#room"],
        &["search", "a"],
        &["export", "#room"],
        &["room", "show", "#room"],
        &["room", "ban", "#room"],
        &["room", "role", "#room"],
        &["admin", "log"],
        &["admin", "sessions"],
    ] {
        for json in [false, true] {
            let mut all = arguments.to_vec();
            all.extend(json.then_some("--json"));
            let shown = if arguments[0] == "export" { operator.run(arguments).1 } else { operator.ok(&all) };
            let is_tricky = |c: char| {
                c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!shown.chars().any(is_tricky), "{all:?}: {shown:?}");
        }
    }
    let _ = far;
}

#[test]
fn a_key_or_token_that_others_can_read_or_that_is_a_link_is_not_used() {
    let daemon = Daemon::start();
    let alice = Somebody::operator(&daemon);
    alice.ok(&["register", "alice"]);
    let token = alice.ok(&["token", "create", "script", "--may", "send"]);
    let file = alice.home.join("token");
    fs::write(&file, &token).expect("a file");
    let with =
        |file: &Path| alice.run(&["--token-file", &file.display().to_string(), "send", "#lobby", "hi"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a file");
    let (code, _, said) = with(&file);
    assert_eq!(code, Some(4));
    assert!(said.contains("others can read it"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a file");
    assert_eq!(with(&file).0, Some(0));
    let link = alice.home.join("link");
    symlink(&file, &link).expect("a link");
    let (code, _, said) = with(&link);
    assert_eq!(code, Some(4));
    assert!(said.contains("link"), "{said}");

    let key = alice.home.join(".config/snug/key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a file");
    let (code, _, said) = alice.run(&["send", "#lobby", "hi"]);
    assert_eq!(code, Some(4));
    assert!(said.contains("others can read it") && said.contains("chmod 600"), "{said}");
}
