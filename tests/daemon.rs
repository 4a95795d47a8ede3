//! `snugd` as a program: starting, settings, signals, the end.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Daemon, Lines, Raw, Running, program, write_config};

#[test]
fn stopping_tells_every_session_and_exits_with_zero() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    let socket = daemon.socket.clone();
    assert!(UnixStream::connect(&socket).is_ok());
    alice.say("MSG #lobby last words");
    alice.wait_for("OK MSG");
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(alice.rest().starts_with("ERR - shutting-down "));
    assert!(!socket.exists(), "the socket's file goes with it");
}

#[test]
fn signals_during_the_start_are_heeded_when_it_is_ready() {
    for signal in [Signal::HUP, Signal::TERM] {
        let folder = tempfile::tempdir().expect("a folder");
        write_config(folder.path(), "");
        let mut snugd = program("snugd", folder.path());
        snugd.arg("--config").arg(folder.path().join("config.toml"));
        let mut child = Running::spawn(snugd.stdout(Stdio::null()).stderr(Stdio::piped()));
        let log = Lines::of(child.0.stderr.take().expect("a pipe"));
        // Its first words: nothing has been opened yet.
        log.wait_for("settings from");
        let pid = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(pid, signal).expect("it runs");
        log.wait_for("ready");
        if signal == Signal::HUP {
            log.wait_for("settings read again");
            rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
        }
        log.wait_for("stopped after");
        assert_eq!(child.0.wait().expect("it was started").code(), Some(0), "{signal:?}");
    }
}

#[test]
fn who_does_not_read_cannot_keep_the_daemon() {
    let daemon = Daemon::with("[shutdown]\ngrace = \"100ms\"\n");
    let mut deaf = Raw::enter(&daemon, "deaf");
    for _ in 0..200 {
        deaf.say(&format!("MSG #lobby {}", "x".repeat(8_000)));
    }
    assert_eq!(daemon.stop().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut daemon = Daemon::with("[limits]\nrate = 0\nguest_bytes = \"0 B\"\n[shutdown]\ngrace = \"1h\"\n");
    // Somebody who reads nothing, with more waiting than the system's buffers take.
    let mut deaf = Raw::enter(&daemon, "deaf");
    let mut alice = Raw::enter(&daemon, "alice");
    for _ in 0..1_000 {
        alice.say(&format!("MSG #lobby {}", "x".repeat(8_000)));
        alice.wait_for("OK MSG");
    }
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopping");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(128 + 15));
    deaf.try_send(b"");
}

#[test]
fn a_second_daemon_on_one_folder_names_the_first() {
    let daemon = Daemon::start();
    let second = program("snugd", daemon.folder())
        .arg("--config")
        .arg(daemon.folder().join("config.toml"))
        .output()
        .expect("snugd can be run");
    let said = String::from_utf8_lossy(&second.stderr);
    let pid = fs::read_to_string(daemon.folder().join("data/lock")).expect("a lock");
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&format!("another daemon (process {})", pid.trim())), "{said}");
    Raw::enter(&daemon, "alice");
}

#[test]
fn sighup_takes_over_what_can_change_and_names_the_rest() {
    let daemon = Daemon::start();
    let mut alice = Raw::enter(&daemon, "alice");
    write_config(daemon.folder(), "[limits]\ntext = 5\n[log]\nmemory_entries = 9\n");
    daemon.signal(Signal::HUP);
    assert!(daemon.wait_for_log("settings read again").contains("log.memory_entries"));
    alice.say("MSG #lobby too long now");
    alice.wait_for("ERR MSG too-long");

    write_config(daemon.folder(), "[limits]\ntext = 0\n");
    daemon.signal(Signal::HUP);
    assert!(daemon.wait_for_log("stay as they are").contains("config.toml:5:8: "));
    alice.say("MSG #lobby fine");
    alice.wait_for("OK MSG");
}

#[test]
fn check_config_says_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |text: &str| {
        let file = folder.path().join("c.toml");
        fs::write(&file, text).expect("a file");
        let output =
            program("snugd", folder.path()).arg("--check-config").arg(&file).output().expect("snugd runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check("[limits]\nrate = 7\n"), (Some(0), String::new()));
    let (code, said) = check("[limits]\nrates = 7\n");
    assert_eq!(code, Some(78));
    assert!(said.contains("c.toml:2:1: unknown field `rates`, expected one of `line`"), "{said}");
}

#[test]
fn a_bad_configuration_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "[limits]\nrate = \"fast\"\n");
    let failed = Daemon::start_in(folder).err().expect("it does not start");
    assert!(failed.contains("a whole number from 0 to 1000000"), "{failed}");
}

#[test]
fn the_user_s_configuration_is_found_and_named() {
    let home = tempfile::tempdir().expect("a folder");
    let user = home.path().join(".config/snug");
    fs::create_dir_all(&user).expect("a folder");
    fs::write(user.join("config.toml"), "[listen]\ntcp = [\"127.0.0.1:0\"]\n").expect("a file");
    let mut snugd = program("snugd", home.path());
    let mut snugd = Running::spawn(snugd.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let log = Lines::of(snugd.0.stderr.take().expect("a pipe"));
    log.wait_for(&format!("settings from {}", user.join("config.toml").display()));
    // And its data is the user's as well, as is the socket.
    let stdout = Lines::of(snugd.0.stdout.take().expect("a pipe"));
    stdout.wait_for(&format!("listening unix {}", home.path().join("snug.sock").display()));
    assert!(home.path().join(".local/state/snug/identity.key").exists());
}

#[test]
fn a_closed_stdout_does_not_hurt() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "");
    let mut snugd = program("snugd", folder.path());
    snugd.arg("--config").arg(folder.path().join("config.toml"));
    let mut snugd = Running::spawn(snugd.stdout(Stdio::piped()).stderr(Stdio::piped()));
    drop(snugd.0.stdout.take());
    let log = Lines::of(snugd.0.stderr.take().expect("a pipe"));
    let ready = log.wait_for("listening unix ");
    log.wait_for("ready");
    let path = ready.split("listening unix ").nth(1).expect("a path").trim().to_owned();
    assert!(UnixStream::connect(path).is_ok());
}

#[test]
fn a_socket_path_that_is_too_long_warns_by_default_and_fails_when_it_was_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let deep = folder.path().join("x".repeat(100));
    fs::create_dir(&deep).expect("a folder");
    let listen = "[listen]\ntcp = [\"127.0.0.1:0\"]\n";
    fs::write(folder.path().join("config.toml"), format!("data = {deep:?}\n{listen}")).expect("a file");
    let mut snugd = program("snugd", folder.path());
    snugd.env("XDG_RUNTIME_DIR", &deep);
    let daemon = Daemon::start_by(snugd, folder).expect("it starts without the socket");
    daemon.wait_for_log("going on without it");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x".repeat(100));
    write_config(folder.path(), &format!("{listen}unix = {path:?}\n"));
    let failed = Daemon::start_in(folder).err().expect("it does not start");
    assert!(failed.contains("more than 107 bytes"), "{failed}");
}

#[test]
fn a_socket_left_behind_is_taken_over_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "");
    let mut daemon = Daemon::start_in(folder).expect("it starts");
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(daemon.socket.exists());
    let listen = format!("[listen]\ntcp = [\"127.0.0.1:0\"]\nunix = {:?}\n", daemon.socket);
    let first = Daemon::with(&listen);
    assert!(UnixStream::connect(&first.socket).is_ok());

    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &listen);
    let failed = Daemon::start_in(folder).err().expect("it does not start");
    assert!(failed.contains("another daemon listens there"), "{failed}");
}

#[test]
fn a_data_folder_that_others_could_have_prepared_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let refused = |prepare: &dyn Fn(&std::path::Path), says: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("a folder");
        prepare(&data);
        write_config(folder.path(), "");
        let Err(failed) = Daemon::start_in(folder) else { panic!("it starts: {says}") };
        assert!(failed.contains(says), "{says}: {failed}");
    };
    let precious = tempfile::NamedTempFile::new().expect("a file");
    fs::write(precious.path(), "precious").expect("a file");
    refused(
        &|data| fs::set_permissions(data, fs::Permissions::from_mode(0o777)).expect("a folder"),
        "others can write it",
    );
    for name in ["lock", "log.db", "identity.key", "files"] {
        refused(
            &|data| symlink(precious.path(), data.join(name)).expect("a link"),
            &format!("{name} in it is a link"),
        );
    }
    refused(
        &|data| {
            fs::write(data.join("other"), "").expect("a file");
            fs::hard_link(data.join("other"), data.join("lock")).expect("a link");
        },
        "has a second name",
    );
    if rustix::process::geteuid().is_root() {
        let given = |data: &std::path::Path| {
            fs::write(data.join("identity.key"), "").expect("a file");
            std::os::unix::fs::chown(data.join("identity.key"), Some(12_345), None).expect("root may");
        };
        refused(&given, "identity.key in it is of another user");
    }
    assert_eq!(fs::read_to_string(precious.path()).expect("a file"), "precious");
}
