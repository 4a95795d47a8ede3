//! Rooms are not used up: who may make how many, and how they go again.

use std::sync::atomic::Ordering::Relaxed;

use super::tests::{Person, World};
use super::*;
use crate::log::Store;

/// Makes rooms with a message in each, and returns how many there was room for, with the first refusal.
fn fill(world: &mut World, person: &mut Person, name: &str, count: usize) -> (usize, String) {
    for number in 0..count {
        let heard = world.ask(person, &format!("JOIN #{name}{number}"));
        if !heard.lines().any(|line| line.contains("OK JOIN")) {
            return (number, heard);
        }
        world.ask(person, &format!("MSG #{name}{number} x"));
    }
    (count, String::new())
}

fn pass_a_day(world: &mut World) {
    world.clock.0.fetch_add(86_400_000, Relaxed);
    world.core.retire_quiet_rooms();
    world.work();
}

fn rooms(world: &World) -> usize {
    world.core.registry.counts().2
}

#[test]
fn everybody_makes_so_many_rooms_and_no_more() {
    let mut world = World::with("[limits]\nrooms_per_guest = 3\nrooms_per_account = 5\n");
    let (mut guest, mut member) = (world.enter("guest"), world.member("member"));
    let (made, refused) = fill(&mut world, &mut guest, "g", 9);
    assert_eq!(made, 3);
    assert!(refused.contains("ERR JOIN too-many you have made 3 rooms, and may make 3"), "{refused}");
    assert!(world.ask(&mut guest, "JOIN #g0").contains("OK JOIN #g0"), "the others are still there");
    assert_eq!(fill(&mut world, &mut member, "m", 9).0, 5);
    let mut operator = world.operator();
    assert_eq!(fill(&mut world, &mut operator, "o", 9).0, 9);
    // What one has ended is one's own to make again.
    assert!(world.ask(&mut guest, "CLOSE #g1").contains("OK CLOSE #g1"));
    assert!(world.ask(&mut guest, "JOIN #g9").contains("OK JOIN #g9"));
}

#[test]
fn strangers_leave_a_quarter_of_all_rooms_to_others() {
    let mut world = World::with("[limits]\nrooms = 20\n");
    let mut made = 0;
    for number in 0..4 {
        let mut guest = world.enter(&format!("guest{number}"));
        let (more, refused) = fill(&mut world, &mut guest, &format!("g{number}-"), 9);
        made += more;
        assert!(refused.is_empty() || refused.contains("which is the limit for guests"), "{refused}");
    }
    assert_eq!(made, 14, "and the lobby");
    let mut member = world.member("member");
    let (more, refused) = fill(&mut world, &mut member, "m", 9);
    assert_eq!(more, 5);
    assert!(refused.contains("there are 20 rooms"), "{refused}");
    let mut operator = world.operator();
    assert_eq!(fill(&mut world, &mut operator, "o", 3).0, 3, "operators have no limit");
}

#[test]
fn guests_of_one_address_make_rooms_slowly() {
    let mut world = World::new();
    let mut made = 0;
    let mut last = String::new();
    for number in 0..7 {
        let mut guest = world.from([192, 0, 2, 7]);
        world.say(&mut guest, &format!("NICK guest{number}"));
        guest.heard();
        let (more, refused) = fill(&mut world, &mut guest, &format!("g{number}-"), 10);
        made += more;
        last = refused;
    }
    assert_eq!(made, 50);
    assert!(last.contains("retry=") && last.contains("ERR JOIN slow-down"), "{last}");
}

#[test]
fn a_room_is_ended_with_all_that_was_said_in_it() {
    let mut world = World::new();
    let (mut alice, mut bob) = (world.enter("alice"), world.enter("bob"));
    world.say(&mut alice, "JOIN #ops");
    world.say(&mut bob, "JOIN #ops");
    world.say(&mut alice, "MSG #ops a secret");
    world.say(&mut alice, "SET #ops access invite");
    bob.heard();
    assert!(world.ask(&mut bob, "CLOSE #ops").contains("ERR CLOSE denied"));
    assert!(world.ask(&mut bob, "CLOSE #nowhere").contains("ERR CLOSE no-such-room"));
    assert!(world.ask(&mut bob, "CLOSE *").contains("ERR CLOSE denied"));
    let mut operator = world.operator();
    assert!(world.ask(&mut operator, "CLOSE #lobby").contains("ERR CLOSE denied"), "the lobby stays");
    bob.heard();
    assert!(world.ask(&mut operator, "CLOSE #ops it is over").contains("OK CLOSE #ops\n"));
    let heard = bob.heard();
    assert!(heard.ends_with(":root CLOSE #ops it is over\n"), "{heard}");
    assert!(world.ask(&mut bob, "MSG #ops hello?").contains("no-such-room"));
    assert!(world.ask(&mut bob, "SEARCH * secret").ends_with("OK SEARCH end\n"));
    // Nothing of it is left after the next purge, whatever is kept for ever.
    world.core.purge(0);
    world.work();
    assert_eq!(world.log.view().between(0, 99).expect("the log"), []);
    assert!(
        world.ask(&mut bob, "JOIN #ops").contains("\n@protection=readable OK JOIN #ops"),
        "there is another one"
    );
    assert!(world.ask(&mut bob, "HISTORY #ops LATEST").contains(" OK HISTORY #ops end"));
}

#[test]
fn one_command_brings_back_a_server_full_of_rooms_by_strangers() {
    let mut world = World::with("[limits]\nrooms = 40\n");
    let mut member = world.member("member");
    fill(&mut world, &mut member, "m", 2);
    for number in 0..3 {
        let mut guest = world.enter(&format!("guest{number}"));
        fill(&mut world, &mut guest, &format!("g{number}-"), 9);
        world.leave(guest, Ending::Closed);
    }
    // Somebody known has spoken in one, and somebody is in another.
    world.say(&mut member, "MSG #g0-1 hello");
    let mut guest = world.enter("present");
    world.say(&mut guest, "JOIN #g1-1");
    let mut operator = world.operator();
    assert_eq!(rooms(&world), 1 + 2 + 27);
    let heard = world.ask(&mut operator, "CLOSE *");
    assert!(heard.ends_with("OK CLOSE * 25\n"), "{heard}");
    assert_eq!(rooms(&world), 5);
    assert!(world.ask(&mut member, "HISTORY #g0-1 LATEST").contains(":member MSG #g0-1 hello"));
    assert!(world.ask(&mut guest, "HISTORY #g1-1 LATEST").contains("MSG #g1-1 x"));
}

#[test]
fn a_quiet_room_of_a_guest_goes_in_its_time() {
    let mut world = World::with("[limits]\nrooms = 12\n[guests]\nrooms = \"3d\"\n");
    let mut guest = world.enter("guest");
    fill(&mut world, &mut guest, "g", 2);
    pass_a_day(&mut world);
    pass_a_day(&mut world);
    assert_eq!(rooms(&world), 3);
    // Somebody is there.
    pass_a_day(&mut world);
    pass_a_day(&mut world);
    assert_eq!(rooms(&world), 3);
    world.leave(guest, Ending::Closed);
    pass_a_day(&mut world);
    assert_eq!(rooms(&world), 1, "the lobby stays");
    // While strangers have used up their share, a day is enough.
    let mut guest = world.enter("guest");
    assert_eq!(fill(&mut world, &mut guest, "g", 9).0, 8);
    world.leave(guest, Ending::Closed);
    world.clock.0.fetch_add(3_600_000, Relaxed);
    world.core.retire_quiet_rooms();
    world.work();
    assert_eq!(rooms(&world), 9);
    pass_a_day(&mut world);
    assert_eq!(rooms(&world), 1);
}
