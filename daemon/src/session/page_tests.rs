//! Pages: HISTORY by time and of messages alone, and INBOX.

use super::tests::{Person, World, plain};
use super::*;

/// The ids of the entries of an answer.
fn ids(heard: &str) -> Vec<u64> {
    let id = |line: &str| Line::parse(line).ok()?.tags.get("id")?.parse().ok();
    heard.lines().filter_map(id).collect()
}

#[test]
fn a_page_by_time_does_not_end_inside_a_millisecond() {
    let mut world = World::new();
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    // Three moments with 120 entries each.
    let mut moments = Vec::new();
    for _ in 0..3 {
        moments.push(world.core.environment.clock.now());
        for n in 0..120 {
            world.say(&mut alice, &format!("MSG #lobby {n}"));
        }
        world.pass(1);
    }
    moments.push(world.core.environment.clock.now());
    alice.heard();
    let page = |world: &mut World, alice: &mut Person, line: String| {
        let heard = world.ask(alice, &line);
        let last = heard.lines().last().unwrap_or_default().to_owned();
        (ids(&heard), last)
    };
    // Forwards, from each page's end on, by the time alone.
    let (found, ok) = page(&mut world, &mut alice, format!("HISTORY #lobby SINCE {} 100", moments[0]));
    assert_eq!((found.len(), found[0], found[119]), (120, 1, 120));
    assert!(ok.ends_with("OK HISTORY #lobby more"), "{ok}");
    let (found, ok) = page(&mut world, &mut alice, format!("HISTORY #lobby SINCE {} 121", moments[1]));
    assert_eq!((found.len(), found[0], found[239]), (240, 121, 360));
    assert!(ok.ends_with("OK HISTORY #lobby end"), "{ok}");
    // Backwards.
    let (found, ok) = page(&mut world, &mut alice, format!("HISTORY #lobby BEFORE {} 1", moments[3]));
    assert_eq!((found.len(), found[0], found[119]), (120, 241, 360));
    assert!(ok.ends_with("OK HISTORY #lobby more"), "{ok}");
    let (found, ok) = page(&mut world, &mut alice, format!("HISTORY #lobby BEFORE {} 200", moments[2]));
    assert_eq!((found.len(), found[0], found[239]), (240, 1, 240));
    assert!(ok.ends_with("OK HISTORY #lobby end"), "{ok}");
    let (found, _) = page(&mut world, &mut alice, format!("HISTORY #lobby BEFORE {} 200", moments[0]));
    assert_eq!(found, [] as [u64; 0]);
    // By ids, a page is as long as it was asked for.
    let (found, _) = page(&mut world, &mut alice, "HISTORY #lobby BEFORE 200 100".to_owned());
    assert_eq!((found.len(), found[0], found[99]), (100, 100, 199));
    assert!(world.ask(&mut alice, "HISTORY #lobby BEFORE soon").contains("bad-parameter"));
    // Also where what was said in a millisecond takes more bytes than a page has.
    let long = "x".repeat(8_000);
    let moment = world.core.environment.clock.now();
    for _ in 0..60 {
        world.say(&mut alice, &format!("MSG #lobby {long}"));
    }
    alice.heard();
    let (found, _) = page(&mut world, &mut alice, format!("HISTORY #lobby SINCE {moment} 10"));
    assert_eq!(found.len(), 60);
}

#[test]
fn a_page_of_messages_passes_over_everything_else() {
    let mut world = World::new();
    let mut alice = world.enter("alice");
    world.say(&mut alice, "JOIN #ops");
    for line in [
        "MSG #ops one",
        "REACT #ops 1 +1",
        "TOPIC #ops about",
        "MSG #ops two",
        "EDIT #ops 4 zwei",
        "SET #ops slow off",
        "MSG #ops three",
        "DELETE #ops 1",
    ] {
        assert!(world.ask(&mut alice, line).contains("OK "), "{line}");
    }
    let heard = plain(&world.ask(&mut alice, "@only=messages HISTORY #ops LATEST 2"));
    let expected =
        ["@id=4;edited=5 :alice MSG #ops zwei", "@id=7 :alice MSG #ops three", "@at=8 OK HISTORY #ops more"];
    assert_eq!(heard, expected);
    let heard = plain(&world.ask(&mut alice, "@only=messages HISTORY #ops AFTER 0"));
    assert_eq!(heard[0], "@id=1;deleted=8 :alice MSG #ops", "a deleted one is still one");
    assert!(heard.len() == 4 && heard[3].ends_with("OK HISTORY #ops end"), "{heard:?}");
    assert_eq!(ids(&world.ask(&mut alice, "@only=messages HISTORY #ops AROUND 4 3")), [1, 4, 7]);
    assert!(world.ask(&mut alice, "@only=files HISTORY #ops LATEST").starts_with("ERR HISTORY bad-tag"));
}

#[test]
fn an_inbox_is_paged_with_the_newest_first() {
    let mut world = World::new();
    let mut alice = world.connect(Origin::Unix(1));
    world.say(&mut alice, "NICK alice");
    world.say(&mut alice, "JOIN #quiet");
    for n in 0..7 {
        let mut other = world.connect(Origin::Unix(100 + n));
        world.say(&mut other, &format!("NICK p{n}"));
        world.say(&mut other, "PRIV alice hi");
    }
    world.say(&mut alice, "MSG #lobby there");
    world.say(&mut alice, "INVITE #quiet p1");
    alice.heard();
    let mut seen = Vec::new();
    let mut next = String::new();
    let mut pages = 0;
    loop {
        let heard = world.ask(&mut alice, &format!("@limit=3{next} INBOX"));
        let target = |line: &str| Some(line.split_once("CONVERSATION ")?.1.split(' ').next()?.to_owned());
        seen.extend(heard.lines().filter_map(target));
        pages += 1;
        let ok = heard.lines().last().and_then(|line| Line::parse(line).ok()).expect("an OK");
        assert_eq!(ok.verb, "OK", "{heard}");
        match ok.tags.get("next") {
            Some(id) => next = format!(";before={id}"),
            None => break,
        }
    }
    assert_eq!(seen, ["#quiet", "#lobby", "p6", "p5", "p4", "p3", "p2", "p1", "p0"]);
    assert_eq!(pages, 3);
    // Rooms in which nothing was said are there, at the end.
    world.say(&mut alice, "JOIN #empty");
    let heard = world.ask(&mut alice, "@limit=9 INBOX");
    assert!(heard.contains("CONVERSATION #empty 0 0 0\n") && heard.contains("OK INBOX 10"), "{heard}");
    assert!(world.ask(&mut alice, "@limit=0 INBOX").starts_with("ERR INBOX "));
    assert!(world.ask(&mut alice, "@before=x INBOX").starts_with("ERR INBOX bad-tag"));
}
