//! Holds the layers of the crate: a file may know its own layer and those below it, and none above.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up, by folder or file. Whatever is not among them is ground, below all of them.
const LAYERS: [&str; 7] = ["log", "registry", "core", "session", "net", "bots", "daemon"];

/// Names of the crate's root that belong to a layer.
const ROOT_NAMES: [(&str, &str); 9] = [
    ("Finding", "log"),
    ("LogError", "log"),
    ("Report", "log"),
    ("LocalSession", "net"),
    ("SessionRole", "daemon"),
    ("Builder", "daemon"),
    ("Daemon", "daemon"),
    ("Handle", "daemon"),
    ("StartError", "daemon"),
];

/// How high a name stands: 0 is ground.
fn height(name: &str) -> usize {
    let name = ROOT_NAMES.iter().find(|(root, _)| *root == name).map_or(name, |(_, layer)| layer);
    LAYERS.iter().position(|layer| *layer == name).map_or(0, |at| at + 1)
}

/// The names that stand behind `crate::` in a program text, also those in braces.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    names.insert(word(&item));
                    item.clear();
                }
                c if depth == 1 => item.push(c),
                _ => {}
            }
            if depth == 0 {
                names.insert(word(&item));
                break;
            }
        }
    }
    names
}

/// What of a file is no test and no comment.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn no_file_knows_a_layer_above_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let mut wrong = Vec::new();
    for path in &found {
        let path = path.strip_prefix(&root).expect("it is in the folder");
        let shown = path.display().to_string();
        let is_test = ["tests.rs", "attacks.rs", "simulation.rs"].iter().any(|end| shown.ends_with(end));
        if is_test || shown == "lib.rs" || shown == "layers.rs" {
            continue;
        }
        let top = shown.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let text = program(&fs::read_to_string(root.join(path)).expect("a source"));
        for name in named(&text).into_iter().filter(|name| height(name) > height(top)) {
            wrong.push(format!("{shown} knows {name}"));
        }
    }
    assert!(found.len() > 50, "only {} files were looked at", found.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_is_found_however_it_is_imported() {
    let text = "use crate::core::{Core, effects};\nuse crate::{log::{self, View}, Config, net};\nfn f() { crate::bots::stop() }";
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), ["Config", "bots", "core", "log", "net"]);
    assert!(height("daemon") > height("bots") && height("log") > height("config"));
    assert_eq!(program("// crate::bots\nlet a;\n#[cfg(test)]\nmod tests {\nuse crate::net;"), "let a;");
}
