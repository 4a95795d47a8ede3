//! What commands cost: the work that each makes, beside what flow control counts for it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::tests::{Person, World};
use crate::cost::Cost;

/// Returns the processor time that this thread has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A world with many rooms, members and messages, and somebody who is in the middle of all of it.
fn crowded() -> (World, Person, Vec<Person>) {
    let mut world = World::with("[limits]\nrate = 0\naccount_rate = 0\nroom_rate = 0\noutbox = \"64 MiB\"\n");
    let mut asker = world.enter("asker");
    for room in 0..150 {
        world.ask(&mut asker, &format!("JOIN #room{room}"));
        world.ask(&mut asker, &format!("MSG #room{room} hello"));
    }
    let mut others = Vec::new();
    for number in 0..100 {
        let mut other = world.enter(&format!("other-{number}"));
        for room in 0..20 {
            world.ask(&mut other, &format!("JOIN #room{room}"));
        }
        others.push(other);
    }
    let text = "words of some length ".repeat(380);
    for _ in 0..60 {
        world.ask(&mut others[0], &format!("MSG #lobby {text}"));
    }
    for number in 0..1_500 {
        world.ask(&mut others[1], &format!("MSG #lobby deploy {number} is done, alice"));
    }
    for other in &mut others {
        other.heard();
    }
    (world, asker, others)
}

/// The most expensive forms that a user can say, of every kind of work: reading, listing, writing, reaching others.
const LINES: [&str; 30] = [
    "PING 1",
    "HELP",
    "INFO",
    "ROOMS",
    "WHO",
    "WHO #room1",
    "COMMANDS",
    "SET #lobby",
    "PROFILE asker",
    "NICK asker",
    "STATUS away gone",
    "TYPING #lobby on",
    "MSG #lobby hello",
    "MSG #room140 hello",
    "MSG #gone hello",
    "PRIV asker hello",
    "PRIV gone hello",
    "EDIT #lobby 1570 hello",
    "READ #lobby 100",
    "JOIN #lobby",
    "HISTORY #lobby LATEST 1000",
    "HISTORY #lobby BEFORE 1000 500",
    "HISTORY #room1 LATEST 1",
    "SYNC 1 1000",
    "INBOX",
    "SEARCH * deploy",
    "SEARCH * words",
    "SEARCH * \"words of some length words of\" never deploy",
    "SEARCH #lobby deploy 1000",
    "FILE LIST",
];

#[test]
fn a_command_pays_for_the_work_it_makes() {
    let (mut world, mut asker, mut others) = crowded();
    let mut prices = Vec::new();
    for line in LINES {
        let mut least = Duration::MAX;
        let mut paid = 0.0;
        for _ in 0..7 {
            asker.session.peer.spent.take();
            let before = used();
            world.say(&mut asker, line);
            least = least.min(used() - before);
            paid = asker.session.peer.spent.take().plus(Cost::LINE).in_messages();
            asker.heard();
            others.iter_mut().for_each(|other| drop(other.heard()));
        }
        prices.push((least.as_nanos() as f64 / paid, line, least, paid));
    }
    let table: String = prices
        .iter()
        .map(|(price, line, took, paid)| {
            format!("{line}: {took:?} for {paid:.2} messages, {price:.0} ns each\n")
        })
        .collect();
    prices.sort_by(|one, other| one.0.total_cmp(&other.0));
    let usual = prices[prices.len() / 2].0;
    let dearest = prices.last().map_or(0.0, |price| price.0);
    // Who pays more than the work is worth harms nobody.
    assert!(dearest <= 4.0 * usual, "{dearest:.0} ns beside {usual:.0} ns:\n{table}");
}
