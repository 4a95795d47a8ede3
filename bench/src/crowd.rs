//! Many connections in one room, on one thread: those that have something to read are read, in large pieces.
//!
//! A message carries a mark, `|SSSS.NNNNNNNN`: which sender, and its how manieth message. Whoever reads looks for
//! marks alone, so that the generator costs less than the server, whatever that puts around them.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, bail};
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::wire::{Dialect, Wire};

/// The sender whose messages only show that everyone is there.
const SETTLING: usize = 9_999;

/// Bytes of a mark.
const MARK: usize = 14;

/// How many ask for a name before one waits for it.
pub(crate) const BATCH: usize = 250;

/// Makes connections with names, all of them at the same time.
pub(crate) fn enter(
    address: SocketAddr,
    dialect: Dialect,
    name: &str,
    numbers: Range<usize>,
    listens: bool,
) -> anyhow::Result<Vec<Wire>> {
    let mut wires = Vec::new();
    while wires.len() < numbers.len() {
        let first = wires.len();
        for _ in first..numbers.len().min(first + dialect.handshakes()) {
            wires.push(Wire::begin(address, dialect)?);
        }
        for wire in &mut wires[first..] {
            wire.shake_hands()?;
        }
    }
    for (wire, number) in wires.iter_mut().zip(numbers) {
        wire.ask_to_enter(&format!("{name}{number}"), listens)?;
    }
    for wire in &mut wires {
        wire.be_in(listens)?;
    }
    Ok(wires)
}

/// See the module.
pub(crate) struct Crowd {
    pub(crate) dialect: Dialect,
    members: Vec<Member>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

struct Member {
    wire: Wire,
    heard: Heard,
}

/// What a member has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// How many marks.
    pub(crate) count: u64,
    /// A running hash of them, in the order heard: equal for two members exactly if they heard the same.
    pub(crate) order: u64,
    /// How many of each sender; only the first senders are counted.
    pub(crate) of: Vec<u64>,
    /// The last one: sender and number.
    last: (u64, u64),
    /// Whether one came twice or out of order.
    pub(crate) is_wrong: bool,
    /// The end of what was read, which may be the beginning of a mark.
    tail: Vec<u8>,
}

/// A text of `size` bytes with a mark in front.
pub(crate) fn marked(sender: usize, number: u64, size: usize) -> String {
    let mut text = format!("|{sender:04}.{number:08}");
    while text.len() < size {
        text.push('x');
    }
    text
}

impl Crowd {
    pub(crate) fn new(dialect: Dialect) -> anyhow::Result<Crowd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let events = Vec::with_capacity(1_024);
        Ok(Crowd { dialect, members: Vec::new(), epoll, events, buffer: vec![0; 256 << 10] })
    }

    /// Lets members in until there are so many.
    pub(crate) fn enter(&mut self, address: SocketAddr, count: usize) -> anyhow::Result<()> {
        while self.len() < count {
            let first = self.len();
            let wires = enter(address, self.dialect, "m", first..count.min(first + BATCH), true)?;
            for wire in wires {
                let data = epoll::EventData::new_u64(self.len() as u64);
                epoll::add(&self.epoll, &wire.stream, data, epoll::EventFlags::IN)?;
                self.members.push(Member { wire, heard: Heard::default() });
            }
            // What the others hear of it is read at once, so that nobody is slow.
            while self.turn(0)? > 0 {}
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn heard(&self, member: usize) -> &Heard {
        &self.members[member].heard
    }

    pub(crate) fn say(&mut self, member: usize, lines: &str) -> anyhow::Result<()> {
        self.members[member].wire.say(lines)
    }

    /// Waits at most so many milliseconds, and reads once from each connection that has something. Gives how many had.
    pub(crate) fn turn(&mut self, wait: i64) -> anyhow::Result<usize> {
        self.turn_with(wait, |_, _| ())
    }

    /// The same; `each` is told how many marks each connection had read, when something was read from it.
    pub(crate) fn turn_with(
        &mut self,
        wait: i64,
        mut each: impl FnMut(usize, &Heard),
    ) -> anyhow::Result<usize> {
        self.events.clear();
        let timeout = rustix::event::Timespec { tv_sec: wait / 1_000, tv_nsec: wait % 1_000 * 1_000_000 };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout))?;
        for at in 0..self.events.len() {
            let index = usize::try_from(self.events[at].data.u64())?;
            let Member { wire, heard } = &mut self.members[index];
            wire.read(&mut self.buffer, |bytes| heard.take(bytes))
                .with_context(|| format!("member {index}"))?;
            each(index, heard);
        }
        Ok(self.events.len())
    }

    /// Waits until everyone has heard a message that is said now, so that nothing of before is still on its way, and
    /// forgets what was heard. Who speaks no language that tells when one is in may miss the first ones.
    pub(crate) fn settle(&mut self, room: &str) -> anyhow::Result<()> {
        let first = usize::from(!self.dialect.echoes());
        for attempt in 0..60 {
            let line = self.dialect.message(room, &marked(SETTLING, attempt, 40));
            self.say(0, &line)?;
            let begun = Instant::now();
            while begun.elapsed().as_millis() < 1_000 {
                self.turn(100)?;
                if (first..self.len()).all(|member| self.heard(member).last == (SETTLING as u64, attempt)) {
                    for member in &mut self.members {
                        member.heard = Heard::default();
                    }
                    return Ok(());
                }
            }
        }
        bail!("not everyone has heard a message within a minute")
    }
}

impl Heard {
    fn take(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if !self.tail.is_empty() {
            let missing = (MARK - self.tail.len()).min(bytes.len());
            self.tail.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.tail.len() < MARK {
                return;
            }
            let mark = std::mem::take(&mut self.tail);
            self.mark(&mark);
        }
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'|', &bytes[at..]) {
            at += found;
            match bytes.get(at..at + MARK) {
                Some(mark) => self.mark(mark),
                None => {
                    self.tail = bytes[at..].to_vec();
                    return;
                }
            }
            at += MARK;
        }
    }

    fn mark(&mut self, mark: &[u8]) {
        let number = |digits: &[u8]| {
            digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit.wrapping_sub(b'0')))
        };
        let (sender, number) = (number(&mark[1..5]), number(&mark[6..]));
        let sender_index = usize::try_from(sender).unwrap_or(0);
        if self.of.len() <= sender_index && sender < 1_000 {
            self.of.resize(sender_index + 1, 0);
        }
        if let Some(count) = self.of.get_mut(sender_index) {
            self.is_wrong |= *count != number;
            *count = number + 1;
        }
        self.count += 1;
        self.last = (sender, number);
        self.order =
            (self.order ^ (sender << 32 | number)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_what_was_read_is_cut() {
        let mut stream = String::new();
        for number in 0..50 {
            stream.push_str(&format!("@id=7 :a MSG #lobby {}\n", marked(3, number, 30)));
        }
        let mut orders = Vec::new();
        for size in [1, 3, 13, 14, 15, 64, 5_000] {
            let mut heard = Heard::default();
            stream.as_bytes().chunks(size).for_each(|piece| heard.take(piece));
            assert_eq!((heard.count, heard.of[3], heard.is_wrong), (50, 50, false), "pieces of {size}");
            orders.push(heard.order);
        }
        assert!(orders.iter().all(|order| *order == orders[0]));
        let mut heard = Heard::default();
        heard.take(marked(3, 1, 20).as_bytes());
        assert!(heard.is_wrong, "the first one is missing");
    }
}
