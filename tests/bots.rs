//! Bots: those in the box, programs by hand and by the daemon, commands, and those that mean no good.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Cage, Daemon, Raw, Running, skip, until, write_config};

/// Writes a program.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

/// The first lines of `COMMANDS`, until there are so many: the bots are there.
fn bots_are_there(daemon: &Daemon, count: usize) {
    let mut raw = Raw::enter(daemon, "waiter");
    until("the bots come", || {
        raw.say("COMMANDS #lobby");
        raw.wait_for("OK COMMANDS").ends_with(&format!(" {count}"))
    });
}

#[test]
fn bots_of_the_box_answer_keep_and_change_while_they_run() {
    let settings = "[bots.roll]\nrooms = [\"#lobby\"]\ndice = \"1d2\"\n[bots.seen]\nrooms = [\"#lobby\"]\n\
                    [bots.poll]\nrooms = [\"#lobby\"]\n[bots.help]\nrooms = [\"#lobby\"]\n";
    let mut daemon = Daemon::with(settings);
    bots_are_there(&daemon, 5);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("roll");
    alice.say("MSG #lobby !roll d6 d6");
    assert!(alice.wait_for(":roll MSG").contains("usage: !roll [dice]"));
    alice.say("MSG #lobby !roll 3d1000000");
    assert!(alice.wait_for(":roll MSG").contains("alice rolled "));
    alice.say("MSG #lobby !help roll");
    assert!(alice.wait_for(":help MSG").contains("!roll [dice]: rolls dice"));
    alice.say("MSG #lobby !poll Tea? | yes | no");
    let posted = alice.wait_for(":poll MSG");
    let id = posted.strip_prefix("@id=").and_then(|rest| rest.split(';').next()).expect("an id").to_owned();

    // What a bot keeps outlives the daemon, and what it has answered it does not answer again.
    daemon = daemon.kill_and_restart(settings);
    bots_are_there(&daemon, 5);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("poll");
    alice.say(&format!("REACT #lobby {id} 1\u{fe0f}\u{20e3}"));
    assert!(alice.wait_for(":poll EDIT").contains("yes  \u{2588} 1"));
    alice.say("MSG #lobby !seen alice");
    assert!(alice.wait_for(":seen MSG").contains("alice last said something in #lobby"));
    alice.say("HISTORY #lobby LATEST 100");
    let mut rolled = 0;
    loop {
        let line = alice.hear();
        rolled += usize::from(line.contains(":roll MSG"));
        if line.contains("OK HISTORY") {
            break;
        }
    }
    assert_eq!(rolled, 2, "each is answered once");

    // The name of a bot that is away is nobody else's.
    assert!(admin(&daemon, &["disable", "roll"]).status.success());
    let mut mallory = Raw::connect(&daemon);
    until("the bot has gone", || {
        alice.say("WHOIS roll");
        alice.wait_for("WHOIS").contains("ERR")
    });
    mallory.say("NICK Roll");
    assert!(mallory.wait_for("NICK").contains("nick-taken Roll is a bot of this server"));
    mallory.say("REGISTER roll Pa55word of a test");
    assert!(mallory.wait_for("REGISTER").contains("nick-taken"));
    assert!(admin(&daemon, &["enable", "roll"]).status.success());
    alice.wait_for_user("roll");

    // SIGHUP is for the bot whose settings have changed.
    let before = bot_rows(&daemon);
    let changed = settings.replace("1d2", "3d1000000");
    write_config(daemon.folder(), &format!("[listen]\ntcp = [\"{}\"]\n{changed}", daemon.tcp));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("settings read again");
    until("the bot is another", || row_of(&bot_rows(&daemon), "roll") != row_of(&before, "roll"));
    assert_eq!(row_of(&bot_rows(&daemon), "seen"), row_of(&before, "seen"), "the others notice nothing");
    daemon.stop();
}

/// `snug admin bot list`, as the daemon's own user.
fn bot_rows(daemon: &Daemon) -> String {
    let output = admin(daemon, &["list"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn admin(daemon: &Daemon, arguments: &[&str]) -> std::process::Output {
    let mut command = daemon.snug();
    command.env("SNUG_SERVER", format!("unix:{}", daemon.socket.display()));
    command.args(["--json", "admin", "bot"]).args(arguments);
    command.stdin(Stdio::null()).output().expect("snug runs")
}

fn row_of(rows: &str, name: &str) -> String {
    let row = rows.lines().find(|line| line.contains(&format!("\"name\":\"{name}\"")));
    row.unwrap_or_else(|| panic!("{name} is not in {rows}")).to_owned()
}

#[test]
fn programs_take_part_by_hand_and_by_the_daemon() {
    let scripts = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start();
    for lang in ["sh", "python", "rust"] {
        let mut new = daemon.snug();
        new.current_dir(scripts.path()).args(["bot", "new", lang, "--lang", lang]);
        assert!(new.output().expect("snug runs").status.success());
    }
    let again =
        daemon.snug().current_dir(scripts.path()).args(["bot", "new", "sh"]).output().expect("snug runs");
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten");
    let rustc = Command::new("rustc").current_dir(scripts.path()).arg("rust.rs").status();
    assert!(rustc.expect("rustc runs").success());
    let mut alice = Raw::enter(&daemon, "alice");
    let mut running = Vec::new();
    for (nick, file) in [("shy", "./sh.sh"), ("monty", "./python.py"), ("ferris", "./rust")] {
        let mut run = daemon.snug();
        run.current_dir(scripts.path()).args(["bot", "run", "--as", nick, "#lobby", "--", file]);
        running.push(Running::spawn(run.stdin(Stdio::null())));
        alice.wait_for_user(nick);
    }
    alice.say("MSG #lobby !hello");
    let (mut shy, mut monty, mut ferris) = (false, false, false);
    while !(shy && monty && ferris) {
        let line = alice.wait_for("MSG #lobby hello");
        shy |= line.contains(":shy MSG #lobby hello yourself");
        monty |= line.contains(":monty MSG #lobby hello alice");
        ferris |= line.contains(":ferris MSG #lobby hello alice");
    }
    drop(running);
    drop(alice);
    daemon.stop();

    let settings = format!(
        "[[bot]]\nname = \"shy\"\nexec = [\"{0}/sh.sh\"]\nrooms = [\"#lobby\"]\n\
         [[bot]]\nname = \"monty\"\nexec = [\"{0}/python.py\"]\nrooms = [\"#lobby\"]\ncommands = [\"hello\"]\n",
        scripts.path().display()
    );
    let daemon = Daemon::with(&settings);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("shy");
    alice.wait_for_user("monty");
    // A program reads when it has started.
    until("it answers", || {
        alice.say("MSG #lobby !hello");
        alice.say("PING 1");
        let mut heard = false;
        loop {
            let line = alice.hear();
            heard |= line.contains(":monty MSG #lobby hello alice");
            if line == "OK PING 1" {
                return heard;
            }
        }
    });
    daemon.stop();
}

#[test]
fn a_program_may_do_what_its_table_grants() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "#!/bin/sh\necho '@ref=7 JOIN #other'\nwhile read -r line; do case $line in\n  \
                '@ref=7 ERR JOIN out-of-scope '*) echo 'MSG #lobby I may not' ;;\nesac; done\n";
    let exec = script(folder.path(), "curious.sh", text);
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let settings = format!("[[bot]]\nname = \"curious\"\nexec = [\"{exec}\"]\nrooms = [\"#lobby\"]\n");
    write_config(daemon.folder(), &format!("[listen]\ntcp = [\"{}\"]\n{settings}", daemon.tcp));
    daemon.signal(Signal::HUP);
    alice.wait_for(":curious MSG #lobby I may not");
    daemon.stop();
}

#[test]
fn a_bot_in_bash_over_netcat_is_as_the_guide_has_it() {
    let daemon = Daemon::start();
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("netcat-guide.md")).expect("the guide");
    let text = guide.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let folder = tempfile::tempdir().expect("a folder");
    let path = script(folder.path(), "dicebot.sh", text);
    let mut bash = Command::new("bash");
    let _bot = Running::spawn(bash.arg(path).arg(daemon.tcp.port().to_string()));
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("dicebot");
    alice.say("MSG #lobby !dice");
    alice.wait_for(":dicebot MSG #lobby you rolled ");
    daemon.stop();
}

#[test]
fn a_command_runs_a_program_with_what_was_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let deploy = script(
        folder.path(),
        "deploy.sh",
        "#!/bin/sh\nread -r text\ncase $1 in\n  prod) echo 'only on mondays' >&2; exit 1 ;;\n  \
         late) exit 75 ;;\n  odd) exit 9 ;;\n  *) echo \"$1 $2 for $SNUG_USER in $SNUG_ROOM: $text\"; env | grep -c SECRET || true ;;\nesac\n",
    );
    let settings = format!(
        "[[command]]\nname = \"deploy\"\nexec = [\"{deploy}\"]\nrooms = [\"#lobby\"]\nargs = \"env:dev|prod|late|odd note:text?\"\n\
         [[command]]\nname = \"secret\"\nexec = [\"/bin/true\"]\nrooms = [\"#lobby\"]\nwho = [\"operators\"]\n"
    );
    let daemon = Daemon::with(&settings);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("bot");
    for (said, answer) in [
        ("!deploy dev $(reboot); `x`", "dev $(reboot); `x` for alice in #lobby: dev $(reboot); `x`\\n0"),
        ("/deploy prod", "only on mondays"),
        ("!deploy late", "not now; try again"),
        ("!deploy odd", "failed with 9"),
        (
            "!deploy test",
            "\"test\" is no env: it is one of dev, prod, late, odd; usage: !deploy <dev|prod|late|odd> [note]",
        ),
        ("!secret", "!secret is not for you"),
    ] {
        alice.say(&format!("MSG #lobby {said}"));
        let heard = alice.wait_for(":bot MSG #lobby ");
        assert!(heard.ends_with(&format!(":bot MSG #lobby {answer}")), "{said}: {heard}");
        assert!(heard.contains(";re="), "{heard}");
    }
    daemon.stop();
}

/// The processes whose command line or environment has a word.
fn processes_with(word: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| {
            ["cmdline", "environ"].iter().any(|file| {
                let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).contains(word)
            })
        })
        .count()
}

/// Bots that mean no good, in a folder whose name tells their processes from others.
fn bad_company(folder: &TempDir) -> String {
    let path = folder.path();
    let bots = [
        ("bomb", "#!/bin/sh\n# Fork until the end.\nboom() { sleep 60 & boom & boom; }\nboom\n"),
        ("printer", "#!/bin/sh\nexec yes 'MSG #lobby spam'\n"),
        ("crasher", "#!/bin/sh\nkill -SEGV $$\n"),
        ("deaf", "#!/bin/sh\nexec sleep 600\n"),
        (
            "parrot",
            "#!/bin/sh\necho 'MSG #lobby hello'\nwhile read -r line; do echo \"MSG #lobby I heard: hello\"; done\n",
        ),
        ("orphan", "#!/bin/sh\n(setsid sleep 600 &)\nexec sleep 600\n"),
    ];
    let mut settings = String::from("[limits]\nrate = 0\n");
    for (name, text) in bots {
        let exec = script(path, name, text);
        settings.push_str(&format!(
            "[[bot]]\nname = \"{name}\"\nexec = [\"{exec}\"]\nrooms = [\"#lobby\"]\nrate = 60\nlimits = {{ processes = 20 }}\n\
             env = {{ MARK = \"{}\" }}\n",
            path.display()
        ));
    }
    settings
}

#[test]
fn bad_company_costs_a_room_nothing_and_leaves_nothing_behind() {
    let folder = tempfile::Builder::new().prefix("badcompany").tempdir().expect("a folder");
    let Some(cage) = Cage::new() else { return };
    let daemon = cage.daemon(&bad_company(&folder));
    let (mut alice, mut bob) = (Raw::enter(&daemon, "alice"), Raw::enter(&daemon, "bob"));
    alice.wait_for_user("deaf");
    // The guard has counted them, or the kernel lets it start no more: it ends either way.
    daemon.wait_for_bot_end("bomb");
    let mark = format!("MARK={}", folder.path().display());
    assert!(processes_with(&mark) > 0, "they run");
    for number in 0..300 {
        alice.say(&format!("MSG #lobby message {number}"));
        alice.wait_for(&format!(":alice MSG #lobby message {number}"));
        bob.wait_for(&format!(":alice MSG #lobby message {number}"));
    }
    let rows = bot_rows(&daemon);
    assert!(row_of(&rows, "deaf").contains("running"), "{rows}");
    let logs = admin(&daemon, &["logs", "printer"]);
    assert!(String::from_utf8_lossy(&logs.stdout).contains("lines per minute"), "{logs:?}");
    assert!(admin(&daemon, &["disable", "printer"]).status.success());
    until("it is disabled", || row_of(&bot_rows(&daemon), "printer").contains("disabled"));
    until("it has ended", || processes_with(&format!("{}/printer", folder.path().display())) == 0);
    assert_eq!(admin(&daemon, &["restart", "nobody"]).status.code(), Some(3));
    // Whatever becomes of the daemon.
    daemon.signal(Signal::KILL);
    let mark = folder.path().display().to_string();
    until("nothing is left", || processes_with(&mark) == 0);
    drop(daemon);
}

#[test]
fn the_kernel_bounds_how_many_processes_a_program_has() {
    let folder = tempfile::Builder::new().prefix("manyprocesses").tempdir().expect("a folder");
    let Some(cage) = Cage::new() else { return };
    if cage.is_of_root_alone() {
        return skip("how many processes a program has", "this control group is nobody's to divide");
    }
    let text = "#!/usr/bin/env python3\nimport os, subprocess, sys\n\
                def write(name, text):\n    open('new', 'w').write(text)\n    os.rename('new', name)\n\
                write('pid', str(os.getpid()))\n\
                for line in sys.stdin:\n    if line.endswith(' go\\n'):\n        started = 0\n        try:\n            \
                for started in range(120):\n                os.posix_spawn('/bin/sleep', ['sleep', '600'], {})\n        \
                except OSError:\n            pass\n        write('forked', str(started))\n";
    let exec = script(folder.path(), "many.py", text);
    let settings = format!(
        "[[bot]]\nname = \"many\"\nexec = [\"{exec}\"]\nrooms = [\"#lobby\"]\nlimits = {{ processes = 5 }}\n"
    );
    let daemon = cage.daemon(&settings);
    let own = daemon.folder().join("data/bots/many");
    // Its number in here may be another in a namespace of its own.
    started_program(&own, 0);
    let mut alice = Raw::enter(&daemon, "alice");
    alice.wait_for_user("many");
    // Nobody counts them but the kernel.
    let guard = guard_in(&own);
    kill_process(guard, Signal::STOP).expect("it runs");
    alice.say("MSG #lobby go");
    let mut forked = String::new();
    until("it has started what it can", || {
        forked = fs::read_to_string(own.join("forked")).unwrap_or_default();
        !forked.is_empty()
    });
    let forked: u64 = forked.parse().expect("a number");
    // Five processes may have twenty threads. What else the user runs ends or begins meanwhile.
    assert!((5..60).contains(&forked), "{forked}");
    kill_process(guard, Signal::CONT).expect("it is there");
    daemon.wait_for_bot_end("many");
    let gone = || fs::read_to_string(format!("/proc/{}/stat", guard.as_raw_nonzero())).is_err();
    until("the guard has ended them, and itself", gone);
    // It would not hear of a SIGTERM in a namespace of its own.
    drop(daemon);
}

/// The guard of the bot whose own folder this is.
fn guard_in(own: &Path) -> Pid {
    let entries = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let is_guard = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word)).collect();
        words.get(1).is_some_and(|word| word == "guard") && words.iter().any(|word| Path::new(&**word) == own)
    };
    let guard = pids.find(is_guard).expect("a guard");
    Pid::from_raw(guard).expect("a process")
}

/// The program of a bot that writes its number into the file `pid` of its folder, once that is another than `before`.
fn started_program(own: &Path, before: i32) -> i32 {
    let mut pid = before;
    until("the program has started", || {
        let said = fs::read_to_string(own.join("pid")).unwrap_or_default();
        pid = said.trim().parse().unwrap_or(before);
        pid != before
    });
    pid
}

/// The process that started another.
fn guard_of(pid: i32) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    Pid::from_raw(parent.and_then(|parent| parent.parse().ok()).expect("a parent")).expect("a process")
}

/// What a program of a bot finds closed, each as a word of its answer.
const ATTACK: &str = r#"#!/usr/bin/env python3
import os, signal, socket

def tried(what):
    try:
        return "closed" if what() == "" else "open"
    except OSError:
        return "closed"

def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])

data = os.environ["DATA"]
guard = os.getppid()
daemon = parent(guard)
found = {
    "log": tried(lambda: open(f"{data}/log.db").read(1)),
    "key": tried(lambda: open(f"{data}/identity.key").read()),
    "folder": tried(lambda: os.listdir(data)),
    "write": tried(lambda: open(f"{data}/new", "w")),
    "mem": tried(lambda: open(f"/proc/{daemon}/mem", "rb")),
    "environ": tried(lambda: open(f"/proc/{daemon}/environ").read()),
    "guard": tried(lambda: os.kill(guard, signal.SIGSTOP)),
    "daemon": tried(lambda: os.kill(daemon, 0)),
    "own": tried(lambda: open("kept", "w")),
}
peer = socket.socket(socket.AF_UNIX)
peer.connect(os.environ["SOCKET"])
lines = peer.makefile("r")
peer.sendall(b"NICK root\nSTATS\nAUDIT LATEST\nROLE * root operator\n@ref=end PING\n")
answers = []
for line in lines:
    if line.startswith("@ref=end"):
        break
    words = line.split()
    answers += [words[words.index("ERR") + 1] for _ in [0] if "ERR" in words]
found["refused"] = "+".join(answers)
print(" ".join(f"{name}={value}" for name, value in found.items()))
"#;

#[test]
fn a_program_of_a_bot_is_not_the_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let exec = script(folder.path(), "attack.py", ATTACK);
    let data = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "[[command]]\nname = \"attack\"\nexec = [\"{exec}\"]\nrooms = [\"#lobby\"]\n\
         env = {{ DATA = \"{0}/data\", SOCKET = \"{0}/snug.sock\" }}\n\
         [[command]]\nname = \"show\"\nexec = [\"/bin/echo\", \"shown\"]\nrooms = [\"#lobby\"]\nargs = \"what:text\"\n",
        data.path().display()
    );
    write_config(data.path(), &settings);
    let daemon = Daemon::start_in(data).unwrap_or_else(|failed| panic!("snugd did not start: {failed}"));
    let mut alice = Raw::enter(&daemon, "alice");
    alice.say("MSG #lobby !attack");
    let answer = alice.wait_for(" :bot MSG #lobby ");
    assert!(answer.contains(" refused=STATS+AUDIT+ROLE"), "{answer}");
    assert!(answer.contains(" own=open "), "{answer}");
    for closed in ["log", "key", "folder", "write", "mem", "environ", "guard", "daemon"] {
        assert!(answer.contains(&format!("{closed}=closed ")), "{closed} in {answer}");
    }
    // Nobody gives a program options by what is typed.
    alice.say("MSG #lobby !show --help");
    alice.wait_for(":bot MSG #lobby an argument begins with -");
    alice.say("MSG #lobby !show me");
    alice.wait_for(":bot MSG #lobby shown me");
}

#[test]
fn a_program_ends_with_its_guard_and_a_stopped_guard_still_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let exec =
        script(folder.path(), "lasting.sh", "#!/bin/sh\necho $$ > new && mv new pid\nexec sleep 600\n");
    let settings = format!("[[bot]]\nname = \"lasting\"\nexec = [\"{exec}\"]\nrooms = [\"#lobby\"]\n");
    let daemon = Daemon::with(&settings);
    let own = daemon.folder().join("data/bots/lasting");
    let started = |before: i32| started_program(&own, before);
    let is_over = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let first = started(0);
    kill_process(guard_of(first), Signal::KILL).expect("a guard");
    until("it ends without its guard", || is_over(first));
    // The daemon has started it again.
    let second = started(first);
    kill_process(guard_of(second), Signal::STOP).expect("a guard");
    let said = "NICK root\nBOT DISABLE lasting\n";
    let mut socket = UnixStream::connect(&daemon.socket).expect("the daemon listens");
    socket.write_all(said.as_bytes()).expect("it is taken");
    until("it ends though its guard was stopped", || is_over(second));
}
