//! What reaches a terminal: names and texts of others, with nothing in them that could play tricks on it.

use std::fmt::Write as _;
use std::io::{self, Write};

use chrono::{Local, TimeZone};
use serde_json::{Map, Value};
use snug_protocol::Timestamp;

/// Prints a line and flushes it, so that a reader at the other end of a pipe has it at once.
pub(crate) fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Text for a terminal: control characters and those that turn the direction of writing are made visible.
pub(crate) fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_tricky(c) && c != '\t' {
            // Writing to a String cannot fail.
            let _ = write!(out, "<U+{:04X}>", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Text for a message, of one line: without what no message may hold.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|&c| c == '\t' || !c.is_control() && c != '\u{feff}').collect()
}

/// The same, of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A JSON object on one line. Characters that [`visible`] would show are escaped; the value is the same.
pub(crate) fn json(object: Map<String, Value>) -> String {
    let plain = Value::Object(object).to_string();
    plain.chars().fold(String::with_capacity(plain.len()), |mut out, c| {
        if is_tricky(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Prints a row: its fields as JSON, or as people read it.
pub(crate) fn row(json: bool, fields: &[(&str, &str)], shown: &str) -> io::Result<()> {
    if !json {
        return print(&visible(shown));
    }
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let object = fields.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    print(&self::json(object))
}

/// A moment as the daemon writes it, on the clock of this machine.
pub(crate) fn moment_of(time: &str) -> String {
    time.parse().map_or_else(|_| visible(time), moment)
}

/// Whether a terminal could act on a character instead of showing it: controls, line and paragraph separators,
/// bidirectional controls (UAX 9) and the byte-order mark. All are below U+10000.
fn is_tricky(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What tells whether whoever reads stdout has taken all of it. Has to be made before anything is printed.
pub(crate) struct Reader {
    kind: Kind,
}

enum Kind {
    /// Stdout is no pipe, or the system cannot tell: what is written is taken.
    None,
    /// A pipe with room for one page, which can be written to only when it is empty (pipe(7)).
    #[cfg(target_os = "linux")]
    SmallPipe,
    /// A pipe that could not be made small. It has to be asked now and then.
    #[cfg(target_os = "linux")]
    LargePipe,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FileType, fstat};
            let stdout = io::stdout();
            if fstat(&stdout).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
                let is_small = rustix::pipe::fcntl_setpipe_size(&stdout, 4_096).is_ok();
                return Reader { kind: if is_small { Kind::SmallPipe } else { Kind::LargePipe } };
            }
        }
        Reader { kind: Kind::None }
    }

    /// Waits until all that was printed is taken.
    ///
    /// # Errors
    /// The reader has gone, and has perhaps not taken all.
    pub(crate) fn wait_until_taken(&self) -> io::Result<()> {
        match self.kind {
            Kind::None => Ok(()),
            #[cfg(target_os = "linux")]
            Kind::SmallPipe => wait_for_room(),
            #[cfg(target_os = "linux")]
            Kind::LargePipe => {
                while rustix::io::ioctl_fionread(io::stdout())? > 0 {
                    wait_for_room()?;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                wait_for_room()
            }
        }
    }
}

/// Waits until stdout can be written to.
#[cfg(target_os = "linux")]
fn wait_for_room() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    let mut wait = [PollFd::new(&stdout, PollFlags::OUT)];
    while let Err(error) = poll(&mut wait, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    if wait[0].revents().contains(PollFlags::ERR) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// A moment on the clock of this machine.
pub(crate) fn clock(time: Timestamp) -> String {
    local(time, "%H:%M:%S")
}

/// A moment on the clock of this machine, with its day unless that is today.
pub(crate) fn moment(time: Timestamp) -> String {
    if day(time) == Local::now().format(DAY).to_string() { clock(time) } else { full(time) }
}

/// A moment with its day, here.
pub(crate) fn full(time: Timestamp) -> String {
    local(time, "%Y-%m-%d %H:%M:%S")
}

/// The day of a moment, here.
pub(crate) fn day(time: Timestamp) -> String {
    local(time, DAY)
}

const DAY: &str = "%Y-%m-%d";

fn local(time: Timestamp, format: &str) -> String {
    let local = Local.timestamp_millis_opt(time.millis()).single();
    local.map(|local| local.format(format).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_tricky_reaches_a_terminal() {
        assert_eq!(visible("a\x1b[31mb\u{202e}c\td"), "a<U+001B>[31mb<U+202E>c\td");
        let mut object = Map::new();
        object.insert("text".to_owned(), "a\x1b\u{9b}\u{202e}\n".into());
        let line = json(object.clone());
        assert_eq!(line, "{\"text\":\"a\\u001b\\u009b\\u202e\\n\"}");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), Value::Object(object));
    }
}
