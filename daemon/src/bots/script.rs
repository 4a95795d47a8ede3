//! A program that takes part: what the daemon says is on its stdin, what it says is on its stdout, line by line, as
//! anybody speaks who comes over a socket. It is logged in already.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use snug_protocol::{ServerLine, limits};

use super::process::{Process, Program};
use super::{Ended, Task};
use crate::config::ScriptBot;
use crate::throttle::{Quota, Throttle};

/// How long a program may leave what it is told unread.
const DEAF: Duration = Duration::from_secs(30);

/// Lets a program take part until it is to stop.
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
    let session = match task.enter(&script.name, &script.rooms, None).await? {
        Ok(session) => session,
        Err(ended) => return Ok(ended),
    };
    let program =
        Program { exec: &script.exec, folder: &script.folder, env: &script.env, limits: &script.limits };
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
    let (mut hearer, mut sayer) = session.split();
    let hear = async {
        while let Some(line) = hearer.hear().await? {
            if !is_for_script(&line) {
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
        interval: Duration::from_secs(60) / u32::try_from(script.rate).unwrap_or(1),
    };
    let say = async {
        let throttle = Throttle::default();
        let mut dropped = 0u64;
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            // Whoever prints without end gets no memory for it.
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
                // Also what is dropped costs time: others are to have theirs.
                smol::Timer::after(Duration::from_millis(5)).await;
                continue;
            }
            sayer.raw(format!("{text}\n").as_bytes()).await?;
        }
        // What it has said last is still heard.
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

/// Whether a line of the daemon is for a program: not what bots say, itself among them, so that it talks to nobody in circles.
fn is_for_script(text: &str) -> bool {
    let Some(line) = ServerLine::parse(text) else { return false };
    let is_event = line.from.is_some() && !line.tags.has("ref");
    !(is_event && line.tags.has("bot"))
}
