//! An external bot: a program that reads the server's lines from its stdin and writes lines to its stdout, as a
//! client does over a socket. Its session is logged in already.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use snug_protocol::{
    Aim, Code, Command, Line, Request, Scope, ServerLine, TagBuilder, Verb, announced_bytes, limits,
};

use super::process::{Process, Program};
use super::{Ended, Task};
use crate::config::ScriptBot;
use crate::throttle::{Quota, Throttle};

/// How long a program may leave its stdin unread.
const DEAF: Duration = Duration::from_secs(30);

/// Runs a program as a bot until the task is stopped.
pub(super) async fn run(task: &Task, script: &ScriptBot) {
    task.attend(|| async {
        match take_part(task, script).await {
            Ok(ended) => ended,
            Err(error) => Ended::Because(format!("it ended: {error}")),
        }
    })
    .await;
}

async fn take_part(task: &Task, script: &ScriptBot) -> std::io::Result<Ended> {
    let core = Arc::clone(task.core());
    let session = match task.enter(&script.name, &script.rooms, None, Some(&script.scope())).await? {
        Ok(session) => session,
        Err(ended) => return Ok(ended),
    };
    let program = Program {
        exec: &script.exec,
        folder: &script.folder,
        own: ("bots", &script.name),
        user: &script.user,
        env: &script.env,
        limits: &script.limits,
    };
    let started = Process::start(&core, &program, &[("SNUG_NICK", &script.name)]);
    let mut process = match started {
        Ok(process) => process,
        Err(error) => return Ok(Ended::Because(format!("{} cannot be run: {error}", script.exec[0]))),
    };
    task.tell("started");
    let pipes = (process.child.stdin.take(), process.child.stdout.take(), process.child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Ok(Ended::Because("it has no pipes".to_owned()));
    };
    let (mut reader, mut writer) = session.split();
    let (refuse, refused) = async_channel::bounded::<String>(64);
    let hear = async {
        let mut loop_guard = LoopGuard { nick: &script.name, hears_bots: script.hears_bots, bots: 0 };
        loop {
            let said = async { Ok(refused.recv().await.ok()) };
            let Some(line) = reader.next_line().or(said).await? else { break };
            if !loop_guard.lets_through(&line) {
                continue;
            }
            let told = async { stdin.write_all(format!("{line}\n").as_bytes()).await };
            let deaf = async {
                smol::Timer::after(DEAF).await;
                Err(std::io::Error::other("it does not read what it is told"))
            };
            told.or(deaf).await?;
        }
        Ok(Ended::Because("its session is over".to_owned()))
    };
    let quota = Quota {
        burst: script.rate,
        interval: Duration::from_secs(60) / u32::try_from(script.rate).unwrap_or(1).max(1),
    };
    let scope = script.scope();
    let say = async {
        let throttle = Throttle::default();
        let mut dropped = 0u64;
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A program that prints a line without end gets no memory for it.
            let count = (&mut lines).take(2 * limits::LINE as u64).read_until(b'\n', &mut line).await?;
            if count == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if text.is_empty() {
                continue;
            }
            if throttle.take((), quota, core.environment.clock.elapsed()).is_err() {
                dropped += 1;
                if dropped.is_power_of_two() {
                    task.tell(&format!(
                        "it says more than {} lines per minute; {dropped} are dropped",
                        script.rate
                    ));
                }
                skip(&mut lines, announced(&text)).await?;
                // Dropped lines take time too. The pause leaves some to others.
                smol::Timer::after(Duration::from_millis(5)).await;
                continue;
            }
            if let Some(refusal) = refusal(&scope, &text) {
                task.tell(&format!("it may not say this: {refusal}"));
                // A program that does not read its stdin need not be told.
                let _ = refuse.try_send(refusal);
                skip(&mut lines, announced(&text)).await?;
                continue;
            }
            writer.raw(format!("{text}\n").as_bytes()).await?;
            if let Some(count) = announced(&text) {
                // A piece of a file is no line: it passes as it is, with the LF behind it.
                let mut piece = vec![0; count + 1];
                lines.read_exact(&mut piece).await?;
                writer.raw(&piece).await?;
            }
        }
        // The end of stdout does not end the bot, so its last lines still arrive.
        futures_lite::future::pending().await
    };
    let complain = async {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = (&mut lines).take(4_096).read_until(b'\n', &mut line).await?;
            if count == 0 {
                return futures_lite::future::pending().await;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            tracing::info!(bot = task.name, "{text}");
            task.core().roster.write(&task.name, &text);
            smol::Timer::after(Duration::from_millis(1)).await;
        }
    };
    let ended = async {
        let status = process.child.status().await?;
        Ok(Ended::Because(format!("it ended with {status}")))
    };
    hear.or(say).or(complain).or(ended).await
}

/// Returns the number of bytes that follow a line, if it announces any.
fn announced(text: &str) -> Option<usize> {
    let line = Line::parse(text).ok()?;
    let count = announced_bytes(line.tags).ok().flatten()?;
    usize::try_from(count).ok().filter(|count| *count > 0)
}

/// Passes over bytes that were announced by a line that is dropped.
async fn skip(
    lines: &mut (impl futures_lite::AsyncBufRead + Unpin),
    count: Option<usize>,
) -> std::io::Result<()> {
    let Some(count) = count else { return Ok(()) };
    let bytes = lines.take(count as u64 + 1);
    futures_lite::io::copy(bytes, &mut futures_lite::io::sink()).await.map(drop)
}

/// Returns the refusal of a command that the bot's scope does not grant. A line that is no command is left to the
/// session.
fn refusal(scope: &Scope, text: &str) -> Option<String> {
    let line = Line::parse(text).ok()?;
    let verb = Verb::find(line.verb)?;
    let request = Request::parse(&line).ok();
    let why = if matches!(verb, Verb::Nick) {
        "its name is the one in its settings".to_owned()
    } else if !scope.has_verb(verb) {
        format!("its settings let it do {}, and not this", scope.may())
    } else if request.as_ref().is_some_and(|request| !is_in_rooms(scope, &request.command)) {
        format!("its settings are for {}, and no other room", scope.rooms())
    } else {
        return None;
    };
    let mut tags = TagBuilder::default();
    tags.value("ref", line.tags.get("ref").as_deref());
    let mut written = Vec::new();
    ServerLine::err(verb.word(), Code::OutOfScope, &why).with_tags(tags.tags()).write(&mut written);
    Some(String::from_utf8_lossy(&written).trim_end().to_owned())
}

/// Returns whether a command stays within the rooms of a scope. A command that is not about a room does.
fn is_in_rooms(scope: &Scope, command: &Command<'_>) -> bool {
    match command.aim() {
        Some(Aim::Room(room)) => scope.has_room(room),
        // What it finds everywhere may be in any room.
        Some(Aim::Everything) => !matches!(command, Command::Search { .. }),
        None | Some(Aim::Person) => true,
    }
}

/// A guard against bots that answer each other for ever.
struct LoopGuard<'b> {
    nick: &'b str,
    hears_bots: bool,
    /// The number of messages from bots since the last one from a user.
    bots: u32,
}

/// Maximum number of messages from bots in a row that a program receives.
const HOPS: u32 = 8;

impl LoopGuard<'_> {
    /// Returns whether a line is passed to the program. It never receives its own messages, and those of other bots
    /// only if its settings ask for them.
    fn lets_through(&mut self, text: &str) -> bool {
        let Some(line) = ServerLine::parse(text) else { return false };
        let Some(from) = line.from.filter(|_| !line.tags.has("ref")) else { return true };
        if !line.tags.has("bot") {
            if line.id().is_some() {
                self.bots = 0;
            }
            return true;
        }
        if !self.hears_bots || from == self.nick {
            return false;
        }
        self.bots += u32::from(line.id().is_some());
        self.bots <= HOPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_hear_each_other_if_they_want_to_and_not_for_ever() {
        let (person, bot) = ("@id=1 :alice MSG #ops hi", "@id=2;bot :roll MSG #ops 4");
        let mut deaf = LoopGuard { nick: "own", hears_bots: false, bots: 0 };
        assert!(deaf.lets_through(person) && !deaf.lets_through(bot));
        let mut open = LoopGuard { nick: "own", hears_bots: true, bots: 0 };
        assert!(!open.lets_through("@id=3;bot :own MSG #ops me"));
        for _ in 0..HOPS {
            assert!(open.lets_through(bot));
        }
        assert!(!open.lets_through(bot));
        assert!(open.lets_through("OK PING 1"));
        assert!(!open.lets_through(bot), "an answer is nobody who speaks");
        assert!(open.lets_through(person) && open.lets_through(bot));
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let scope = Scope::parse("send,read", "#ops", "").expect("a scope");
        for fine in
            ["MSG #ops hi", "SEARCH #ops x", "PRIV bob hi", "JOIN #OPS", "PING 1", "", "no such verb", "MSG"]
        {
            assert_eq!(refusal(&scope, fine), None, "{fine}");
        }
        let refused = refusal(&scope, "@ref=a\\sb MSG #lobby hi").expect("another room");
        assert!(refused.starts_with("@ref=a\\sb ERR MSG out-of-scope "), "{refused}");
        for wrong in ["JOIN #board", "TOPIC #ops new", "TOKEN LIST", "STATS", "SEARCH * x", "NICK zed"] {
            assert!(refusal(&scope, wrong).is_some(), "{wrong}");
        }
    }
}
