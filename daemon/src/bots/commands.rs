//! External commands: programs that run once each time a user sends a command.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use smol::Timer;
use snug_bots::{CommandSpec, called};
use snug_protocol::{
    Body, Command, Cursor, EntryKind, MessageTags, Nick, Request, Role, RoomName, ServerLine, Switch, Target,
};

use super::host::sayable;
use super::process::{Process, Program};
use super::{Ended, Task};
use crate::config::ScriptCommand;
use crate::core::Core;
use crate::core::roster::has_room;
use crate::origin::Payer;

/// Maximum number of programs that run at a time for one nickname. Users who send more commands are told to try
/// again.
const AT_ONCE: usize = 4;

/// If an answer takes longer than this, the bot shows as typing.
const WORKING: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are read of a program's stdout, and of its stderr.
const OUTPUT: u64 = 64 << 10;

/// A command that a user has sent.
#[derive(Clone)]
struct Call {
    id: u64,
    from: String,
    place: Target<'static>,
    args: Vec<String>,
    text: String,
}

/// Runs programs for their commands until the task is stopped.
pub(super) async fn run(task: &Task, commands: &[ScriptCommand]) {
    task.attend(|| async {
        match take_part(task, commands).await {
            Ok(ended) => ended,
            Err(error) => Ended::Because(format!("its session broke: {error}")),
        }
    })
    .await;
}

async fn take_part(task: &Task, commands: &[ScriptCommand]) -> std::io::Result<Ended> {
    let nick = &commands[0].nick;
    let specs: HashMap<String, (&ScriptCommand, CommandSpec)> = commands
        .iter()
        .filter_map(|command| Some((command.name.clone(), (command, command.spec().ok()?))))
        .collect();
    let mut rooms: Vec<String> = commands.iter().flat_map(|command| command.rooms.clone()).collect();
    rooms.sort();
    rooms.dedup();
    let session = match task.enter(nick, &rooms, None, None).await? {
        Ok(session) => session,
        Err(ended) => return Ok(ended),
    };
    let (mut reader, mut writer) = session.split();
    let (lines, waiting) = async_channel::bounded::<Vec<u8>>(64);
    // Dropped with this future, which ends the programs that run.
    let jobs = smol::Executor::new();
    let running = Arc::new(());
    let hear = async {
        while let Some(line) = reader.next_line().await? {
            let Some(line) = ServerLine::parse(&line) else { continue };
            let Some((command, call)) = call_of(&line, &specs, &lines) else { continue };
            if Arc::strong_count(&running) > AT_ONCE {
                answer(&lines, &call, "busy; try again in a moment");
                continue;
            }
            let (count, lines, task) = (Arc::clone(&running), lines.clone(), &*task);
            jobs.spawn(async move {
                work(task, command, call, &lines).await;
                drop(count);
            })
            .detach();
        }
        Ok(Ended::Because("its session is over".to_owned()))
    };
    let say = async {
        while let Ok(line) = waiting.recv().await {
            writer.raw(&line).await?;
        }
        futures_lite::future::pending().await
    };
    jobs.run(hear.or(say)).await
}

/// Returns the command that a line calls. If the user misuses it, tells the user why and returns `None`.
fn call_of<'c>(
    line: &ServerLine<'_>,
    specs: &HashMap<String, (&'c ScriptCommand, CommandSpec)>,
    lines: &Sender<Vec<u8>>,
) -> Option<(&'c ScriptCommand, Call)> {
    if line.tags.has("bot") {
        return None;
    }
    let (from, id) = (line.from?, line.id()?);
    let Body::Entry { kind, target, text: Some(text), .. } = &line.body else { return None };
    let (place, is_private) = match kind {
        EntryKind::Msg => (Target::Room(RoomName::parse(target).ok()?.into_owned()), false),
        EntryKind::Priv => {
            let who = line.tags.get("who").and_then(|who| who.parse().ok());
            (Target::Nick(Nick::parse(from).ok()?.into_owned()).with_who(who), true)
        }
        _ => return None,
    };
    let (word, rest) = called(text, is_private)?;
    let (command, spec) = specs.get(&word)?;
    let mut call = Call { id, from: from.to_owned(), place, args: Vec::new(), text: rest.trim().to_owned() };
    if let Target::Room(room) = &call.place
        && !has_room(&command.rooms, room)
    {
        return None;
    }
    match spec.args(rest) {
        Ok(args) => {
            call.args = args.values().map(str::to_owned).collect();
            if !command.options && call.args.iter().any(|arg| arg.starts_with('-')) {
                answer(lines, &call, "an argument begins with -, and this command takes no options");
                return None;
            }
            Some((command, call))
        }
        Err(misuse) => {
            answer(lines, &call, &misuse);
            None
        }
    }
}

/// Returns whether the author of an entry is among those who may call a command. The log says who that was: a name may be
/// somebody else's by now.
async fn may_call(core: &Core, id: u64, who: &[String]) -> bool {
    if who.iter().any(|word| word == "all") {
        return true;
    }
    let (sender, author) = async_channel::bounded(1);
    let is_asked = core.read(
        Payer::Daemon,
        Box::new(move |view| {
            let _ = sender.try_send(view.and_then(|view| view.author(id).ok().flatten()));
        }),
    );
    let Some(number) = (if is_asked { author.recv().await.ok().flatten() } else { None }) else {
        return false;
    };
    let Some(identity) = core.registry.identity(number) else { return false };
    let machine_user = core.registry.machine_user(number);
    who.iter().any(|word| match word.as_str() {
        "accounts" => identity.is_account(),
        "operators" => {
            identity.is_account() && identity.role() == Role::Operator || machine_user == Some(core.operator)
        }
        word => match word.strip_prefix("user:") {
            Some(user) => machine_user.is_some_and(|own| user.parse() == Ok(own)),
            None => identity.is_account() && is_name(&identity.nick(), word),
        },
    })
}

fn is_name(nick: &str, word: &str) -> bool {
    let fold = |nick| Nick::parse(nick).map(|nick| nick.fold());
    matches!((fold(nick), fold(word)), (Ok(nick), Ok(word)) if nick == word)
}

async fn work(task: &Task, command: &ScriptCommand, call: Call, lines: &Sender<Vec<u8>>) {
    if !may_call(task.core(), call.id, &command.who).await {
        return answer(lines, &call, &format!("!{} is not for you", command.name));
    }
    let deadline = command.deadline.duration();
    let (room, id) = (call.place.as_str().to_owned(), call.id.to_string());
    let mut exec = command.exec.clone();
    exec.extend(call.args.iter().cloned());
    let program = Program {
        exec: &exec,
        folder: &command.folder,
        own: ("commands", &command.name),
        user: &command.user,
        env: &command.env,
        limits: &command.limits,
    };
    let more = [("SNUG_USER", call.from.as_str()), ("SNUG_ROOM", &room), ("SNUG_ID", &id)];
    let mut process = match Process::start(task.core(), &program, &more) {
        Ok(process) => process,
        Err(error) => {
            task.tell(&format!("{} cannot be run: {error}", exec[0]));
            return answer(lines, &call, "failed: it cannot be run; its operator has the reason");
        }
    };
    let begun = task.core().environment.clock.elapsed();
    let output = collect(&mut process, &call.text);
    let told = async {
        Timer::after(WORKING).await;
        typing(lines, &call, Switch::On);
        Timer::after(deadline.saturating_sub(WORKING)).await;
        answer(lines, &call, &format!("!{} takes its time; the answer comes when it is there", command.name));
        Timer::after(deadline * 9).await;
        None
    };
    let ended = async { Some(output.await) }.or(told).await;
    let took = task.core().environment.clock.elapsed().saturating_sub(begun);
    if took >= WORKING {
        typing(lines, &call, Switch::Off);
    }
    let late = if took >= deadline { "(late) " } else { "" };
    let text = match ended {
        None => format!("stopped after {} s", took.as_secs()),
        Some(Err(error)) => {
            task.tell(&format!("!{}: {error}", command.name));
            "failed".to_owned()
        }
        Some(Ok((code, stdout, stderr))) => {
            if !stderr.trim().is_empty() {
                task.core().roster.write(&task.name, &format!("!{}: {}", command.name, stderr.trim()));
            }
            match code {
                Some(0) if stdout.trim().is_empty() => "done".to_owned(),
                Some(0) => stdout.trim_end().to_owned(),
                Some(1) => match stderr.trim() {
                    "" => "refused".to_owned(),
                    said => said.to_owned(),
                },
                Some(75) => "not now; try again".to_owned(),
                Some(code) => format!("failed with {code}"),
                None => "failed: it was killed".to_owned(),
            }
        }
    };
    answer(lines, &call, &format!("{late}{text}"));
}

/// Writes a text to a program's stdin, and returns its exit code, its stdout and its stderr.
async fn collect(process: &mut Process, text: &str) -> std::io::Result<(Option<i32>, String, String)> {
    let pipes = (process.child.stdin.take(), process.child.stdout.take(), process.child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(std::io::Error::other("it has no pipes"));
    };
    let feed = async {
        // A program that does not read its stdin is no error.
        let _ = stdin.write_all(format!("{text}\n").as_bytes()).await;
        drop(stdin);
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read = async {
        let (mut stdout, mut stderr) = (stdout, stderr);
        let first = async {
            let _ = (&mut stdout).take(OUTPUT).read_to_end(&mut out).await;
            // Output beyond the limit is discarded, because a full pipe would stop the program.
            let _ = futures_lite::io::copy(&mut stdout, &mut futures_lite::io::sink()).await;
        };
        let second = async {
            let _ = (&mut stderr).take(OUTPUT).read_to_end(&mut err).await;
            let _ = futures_lite::io::copy(&mut stderr, &mut futures_lite::io::sink()).await;
        };
        futures_lite::future::zip(first, second).await;
    };
    futures_lite::future::zip(feed, read).await;
    let status = process.child.status().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((status.code(), text(&out), text(&err)))
}

/// Answers where the command was sent.
fn answer(lines: &Sender<Vec<u8>>, call: &Call, text: &str) {
    let tags = MessageTags { re: Some(Cursor::at(call.id)), verbatim: true, ..MessageTags::default() };
    put(lines, Command::say(call.place.clone(), sayable(text), tags));
}

fn typing(lines: &Sender<Vec<u8>>, call: &Call, switch: Switch) {
    put(lines, Command::Typing { target: call.place.clone(), switch });
}

fn put(lines: &Sender<Vec<u8>>, command: Command<'_>) {
    let mut line = Vec::new();
    Request { label: None, command }.write(&mut line);
    // If the queue is full or the session has ended, the line is dropped.
    let _ = lines.try_send(line);
}
