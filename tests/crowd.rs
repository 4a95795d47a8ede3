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

#[test]
fn a_bot_that_is_asked_more_than_it_can_say_is_still_there_afterwards() {
    const QUESTIONS: usize = 2_000;
    let daemon = Daemon::with("[limits]\nrate = 0\n");
    let mut crowd = Raw::enter(&daemon, "crowd");
    let mut sender = crowd.try_clone();
    let questions = "MSG #lobby !emoji heart\n".repeat(QUESTIONS);
    let asking = std::thread::spawn(move || sender.send(questions.as_bytes()));
    for _ in 0..QUESTIONS {
        crowd.wait_for("OK MSG");
    }
    asking.join().expect("all was sent");
    // An answer may be dropped while it is busy; it hears again as soon as it is not.
    let is_answered = (0..1_000).any(|_| {
        crowd.say("PRIV emoji lobster");
        crowd.wait_for("OK PRIV emoji");
        crowd.say("PING 1");
        std::iter::from_fn(|| Some(crowd.hear()))
            .take_while(|line| line != "OK PING 1")
            .any(|line| line.contains(":emoji PRIV crowd ") && line.contains(":lobster:"))
    });
    assert!(is_answered);
}
