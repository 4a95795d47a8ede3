//! Any text as a hello: no panic, and what is taken has the form that the specification gives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use snug_protocol::envelope::hazmat::is_hello;

fuzz_target!(|line: &str| {
    if !is_hello(line) {
        return;
    }
    assert!(line.len() <= 4_096 && line.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words.len() >= 3 && words[0] == "HELLO" && words[1].split(',').any(|version| version == "snug/1"));
    assert_eq!(words[2].len(), 44);
    let mut names: Vec<&str> = words[3..].iter().map(|word| word.split('=').next().unwrap_or_default()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert!(names.len() == count && !names.contains(&""));
});
