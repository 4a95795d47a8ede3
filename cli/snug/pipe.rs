//! `snug pipe`: stdin and stdout are lines of the protocol, as with nc.

use std::io::{self, Write};
use std::time::Duration;

use futures_lite::{AsyncReadExt, FutureExt};
use smol::Timer;
use snug_protocol::limits;

use crate::connect;
use crate::environment::Common;
use crate::failure::{Exit, Failure};

/// How many bytes may wait to be written before stdin is read on.
const QUEUED: usize = 64 << 10;

enum Input {
    Typed(io::Result<usize>),
    Moved(io::Result<bool>),
    Silence,
}

/// After so much silence something is sent, so that a sealed connection that only listens is kept.
const SILENCE: Duration = Duration::from_secs(45);

/// Whole lines, as both a sealed and a plain connection take them: without CR, and text.
fn checked(lines: &[u8]) -> Result<Vec<u8>, Failure> {
    if lines.contains(&0) || std::str::from_utf8(lines).is_err() {
        return Err(Failure::new(Exit::Usage, "stdin is not lines of UTF-8 text"));
    }
    if lines.split(|&byte| byte == b'\n').any(|line| line.len() > 2 * limits::LINE) {
        let text = format!("a line of stdin is far longer than the {} bytes that one may have", limits::LINE);
        return Err(Failure::new(Exit::Usage, text));
    }
    let announces = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok().and_then(|line| snug_protocol::Line::parse(line).ok());
        line.is_some_and(|line| line.tags.has("bytes"))
    };
    if lines.split(|&byte| byte == b'\n').any(announces) {
        let text = "bytes behind a line do not go through snug pipe; nc, `snug file` and `snug profile --avatar` send them";
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(lines.iter().copied().filter(|&byte| byte != b'\r').collect())
}

/// Carries lines both ways until the server closes. The end of stdin is passed on.
pub(crate) async fn run(common: &Common) -> Result<(), Failure> {
    let mut link = connect::link(common).await?;
    link.prove();
    let mut stdin = smol::Unblock::new(io::stdin());
    let mut buffer = vec![0; 16 << 10];
    // A line whose end has not come yet. One that never gets its end is not sent, as nc's would not be done.
    let mut partial = Vec::new();
    let mut is_open = true;
    let mut is_finished = false;
    let lost = |error: io::Error| Failure::new(Exit::TryAgain, format!("the connection broke: {error}"));
    loop {
        let mut lines = Vec::new();
        while let Some(line) = link.take_line().map_err(lost)? {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            // As they stand in a plain stream.
            if let Some(bytes) = link.take_bytes() {
                lines.extend_from_slice(&bytes);
                lines.push(b'\n');
            }
        }
        if !lines.is_empty() {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&lines)?;
            stdout.flush()?;
        }
        if !is_open && !is_finished && link.queued() == 0 {
            link.finish_writing().await.map_err(lost)?;
            is_finished = true;
        }
        let has_room = is_open && link.queued() < QUEUED;
        let input = async {
            if !has_room {
                return futures_lite::future::pending().await;
            }
            Input::Typed(stdin.read(&mut buffer).await)
        };
        let moved = async { Input::Moved(link.advance().await) };
        let silence = async {
            Timer::after(SILENCE).await;
            Input::Silence
        };
        match moved.or(input).or(silence).await {
            Input::Silence => link.prove(),
            Input::Moved(Ok(true)) => {}
            Input::Moved(Ok(false)) if link.reason().is_empty() => return Ok(()),
            Input::Moved(Ok(false)) => {
                let text = format!("the server ended the connection: {}", link.reason());
                return Err(Failure::new(Exit::TryAgain, text));
            }
            Input::Moved(Err(error)) => return Err(lost(error)),
            Input::Typed(count) => match count? {
                0 => is_open = false,
                count => {
                    partial.extend_from_slice(&buffer[..count]);
                    let end = partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                    link.queue(&checked(&partial[..end])?);
                    partial.drain(..end);
                }
            },
        }
    }
}
