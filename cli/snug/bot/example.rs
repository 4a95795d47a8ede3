//! A bot for snug: what is said comes line by line on stdin, what it says goes to stdout, in the protocol of PROTOCOL.md.
//!
//! Build it:          rustc NAME.rs
//! Run it by hand:    snug bot run --as NAME '#lobby' -- ./NAME
//! Or by the daemon:  [[bot]] name = "NAME", exec = ["./NAME"], rooms = ["#lobby"]

use std::io::{self, BufRead};

/// Who said what where, if a line is a message in a room: `[@tags ]:who MSG #room text`.
fn message(line: &str) -> Option<(&str, &str, &str)> {
    let line = if line.starts_with('@') { line.split_once(' ')?.1 } else { line };
    let (who, rest) = line.strip_prefix(':')?.split_once(" MSG ")?;
    let (room, text) = rest.split_once(' ')?;
    Some((who, room, text))
}

fn main() -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        if let Some((who, room, text)) = message(&line?) {
            if text.starts_with("!hello") {
                println!("MSG {room} hello {who}");
            }
        }
    }
    Ok(())
}
