//! Many at once: nothing is lost, and everybody hears the same in the same order.

use crate::harness::{Daemon, Raw};

#[test]
fn a_crowd_hears_everything_in_one_order() {
    const PEOPLE: usize = 200;
    const TALKERS: usize = 10;
    const EACH: usize = 20;
    let daemon = Daemon::start();
    let mut people: Vec<Raw> = (0..PEOPLE).map(|n| Raw::enter(&daemon, &format!("p{n}"))).collect();
    for (n, talker) in people.iter_mut().take(TALKERS).enumerate() {
        let lines: String = (0..EACH).map(|m| format!("@key={m} MSG #lobby {n} says {m}\n")).collect();
        talker.send(lines.as_bytes());
    }
    let hear_all = |raw: &mut Raw| -> Vec<String> {
        let entries = (0..TALKERS * EACH).map(|_| {
            let line = raw.wait_for(" says ");
            line.split(" :").nth(1).expect("a source").to_owned() + line.split(';').next().expect("an id")
        });
        entries.collect()
    };
    let first = hear_all(&mut people[0]);
    for raw in &mut people[1..] {
        assert_eq!(hear_all(raw), first);
    }
    // And each talker in the order in which it was said.
    for n in 0..TALKERS {
        let said: Vec<&String> = first.iter().filter(|line| line.contains(&format!(" {n} says "))).collect();
        let expected: Vec<String> = (0..EACH).map(|m| format!(" {n} says {m}@")).collect();
        assert!(said.iter().zip(&expected).all(|(said, expected)| said.contains(expected)), "{said:?}");
        assert_eq!(said.len(), EACH);
    }
}
