//! Layout of the code: imports point down, and clock, entropy, files and programs have one door, src/adapters.
#![allow(clippy::disallowed_methods, reason = "this test reads the source")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};

/// Each floor, and what of ours it may import beside itself.
const FLOORS: [(&str, &[&str]); 11] = [
    ("api", &[]),
    ("pki", &[]),
    ("docker", &[]),
    ("portainer", &[]),
    ("decide", &["api", "pki", "docker", "portainer"]),
    ("adapters", &["api", "pki", "docker", "portainer"]),
    ("reconcile", &["api", "pki", "docker", "portainer", "decide", "adapters"]),
    ("controller", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    ("companion", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    ("local", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    (
        "cli",
        &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile", "controller", "companion", "local"],
    ),
];

/// Calls that only src/adapters makes.
const OUTSIDE: [&str; 18] = [
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Utc::now",
    "std::fs",
    "tokio::fs",
    "rustix::fs",
    "File::open",
    "File::create",
    "OpenOptions",
    "SystemRandom",
    "getrandom",
    "rand::fill",
    "rand::generate",
    "KeyPair::generate",
    "generate_pkcs8",
    "Command::new",
    "process::Command",
];

/// Where one of them stands all the same, and why.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("pki/key.rs", "SystemRandom", "ECDSA signing takes its nonce from the library itself")];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["util", "helper", "common", "misc", "manager", "handler", "process", "data"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    fn floor(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Product code by line: without comments, and without what stands behind `#[cfg(test)]`.
    fn code(&self) -> impl Iterator<Item = &str> {
        let product = self.text.split("#[cfg(test)]\nmod ").next().unwrap();
        product.lines().map(|line| line.split("//").next().unwrap())
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let read = |file: &PathBuf| Source {
        path: file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(file).unwrap(),
    };
    assert!(files.len() > 20, "the source is not where it was");
    files.iter().filter(|file| !file.ends_with("tests.rs")).map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.extend(path.extension().is_some_and(|ending| ending == "rs").then_some(path)),
        }
    }
}

/// Our modules that a text names: `crate::x` and `dockseal::x`, in trees such as `crate::{x::y, z}` too.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, root) in code.match_indices("crate::").chain(code.match_indices("dockseal::")) {
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            None => found.push(first_word(rest)),
            Some(tree) => found.extend(branches(tree).iter().map(|branch| first_word(branch.trim()))),
        }
    }
    found.retain(|name| FLOORS.iter().any(|(floor, _)| floor == name));
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The parts of a tree up to its end, split at the commas of its first level.
fn branches(tree: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in tree.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                parts.last_mut().unwrap().push(letter);
            }
        }
    }
    parts
}

#[test]
fn imports_point_down() {
    let sources = sources();
    let has_commands = sources.iter().any(|source| source.floor() == "cli");
    for source in &sources {
        let imported = imports(&source.code().collect::<Vec<_>>().join("\n"));
        let allowed: Vec<&str> = match FLOORS.iter().find(|(floor, _)| *floor == source.floor()) {
            Some((floor, below)) => below.iter().copied().chain([*floor]).collect(),
            None if source.path == "main.rs" && !has_commands => continue,
            None if source.path == "main.rs" => vec!["cli"],
            None if source.path == "lib.rs" => Vec::new(),
            None => panic!("src/{} stands on no floor of tests/architecture.rs", source.path),
        };
        for name in imported {
            assert!(allowed.contains(&name.as_str()), "src/{} imports {name}; it may import {allowed:?}", source.path);
        }
    }
}

#[test]
fn a_tree_of_imports_is_read_to_its_leaves() {
    let code = "use crate::{api::{self, Kind}, adapters::{Clock, store::NewItem},\n pki};\ncrate::decide::x(); use dockseal::cli;";
    assert_eq!(imports(code), ["api", "adapters", "pki", "decide", "cli"]);
}

#[test]
fn only_adapters_touch_the_outside() {
    for source in sources().iter().filter(|source| source.floor() != "adapters") {
        for (number, line) in source.code().enumerate() {
            for call in OUTSIDE.iter().filter(|call| line.contains(**call)) {
                let excepted = EXCEPTIONS.iter().any(|(path, known, _)| *path == source.path && known == call);
                assert!(excepted, "src/{}:{}: {call} belongs in src/adapters: {line}", source.path, number + 1);
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources().iter().filter(|source| source.path != "main.rs" || source.text.len() > 200) {
        assert!(source.text.starts_with("//! "), "src/{} does not begin with a line of //!", source.path);
    }
}

#[test]
fn no_name_is_empty() {
    for source in sources() {
        for name in source.path.trim_end_matches(".rs").split('/') {
            for part in name.split('_') {
                let singular = part.strip_suffix('s').unwrap_or(part);
                assert!(
                    !EMPTY_NAMES.contains(&part) && !EMPTY_NAMES.contains(&singular),
                    "src/{}: {name}",
                    source.path
                );
                assert!(part != "info", "src/{}: {name}", source.path);
            }
        }
        let getter = source.code().find(|line| line.contains("fn get_"));
        assert!(getter.is_none(), "src/{}: {getter:?}", source.path);
    }
}
