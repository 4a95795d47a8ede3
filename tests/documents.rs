//! The documents say what the code does.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use snug_protocol::{Code, reference, roles_table};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Holds what stands between two marks of a document against what it is made from. With SNUG_BLESS it is written.
fn generated(name: &str, mark: &str, expected: &str) {
    let text = read(name);
    let start = text.find(&format!("<!-- {mark}:")).expect("the mark's start");
    let start = start + text[start..].find("-->\n").expect("the mark's end") + 4;
    let end = text.find(&format!("<!-- /{mark} -->")).expect("the end mark");
    if std::env::var_os("SNUG_BLESS").is_some() {
        let blessed = format!("{}{expected}{}", &text[..start], &text[end..]);
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), blessed).expect("it can be written");
        return;
    }
    assert_eq!(&text[start..end], expected, "{name} is behind; SNUG_BLESS=1 sh tests/run writes it");
}

#[test]
fn the_protocol_page_has_all_verbs_codes_and_roles() {
    let mut codes = "| code | meaning |\n|---|---|\n".to_owned();
    for code in Code::ALL {
        let _ = writeln!(codes, "| `{code}` | {} |", code.meaning());
    }
    generated("PROTOCOL.md", "verbs", &reference());
    generated("PROTOCOL.md", "codes", &codes);
    generated("PROTOCOL.md", "roles", &roles_table());
}

#[test]
fn the_default_build_has_no_tokio() {
    assert!(!read("Cargo.lock").contains("name = \"tokio\""));
}
