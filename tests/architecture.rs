//! The layout of src. Imports point down and never in a circle; a public type name is defined once; only src/adapters
//! touches the clock, randomness, files and programs; docs/architecture.md names files that exist.
#![allow(clippy::disallowed_methods, reason = "this test reads the source")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "architecture/imports.rs"]
mod imports;

use imports::{Graph, Module};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each floor, and the other floors that it may import.
const FLOORS: [(&str, &[&str]); 12] = [
    ("text", &[]),
    ("api", &["text"]),
    ("pki", &[]),
    ("docker", &[]),
    ("portainer", &["text"]),
    ("decide", &["text", "api", "pki", "docker", "portainer"]),
    ("adapters", &["text", "api", "pki", "docker", "portainer"]),
    ("reconcile", &["api", "pki", "docker", "portainer", "decide", "adapters"]),
    ("controller", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    ("companion", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    ("local", &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile"]),
    (
        "cli",
        &["api", "pki", "docker", "portainer", "decide", "adapters", "reconcile", "controller", "companion", "local"],
    ),
];

/// Calls that only src/adapters may make.
const OUTSIDE_CALLS: [&str; 18] = [
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

/// File, call and reason of each exception.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("pki/key.rs", "SystemRandom", "ECDSA signing takes its nonce from the library itself")];

/// Names that do not say what a file is for.
const MEANINGLESS_NAMES: [&str; 8] = ["util", "helper", "common", "misc", "manager", "handler", "process", "data"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    fn floor(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Product code by line, without comments and without modules behind `#[cfg(test)]`.
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
    assert!(files.len() > 20, "src was not found");
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

/// The floors that a text names: `crate::x` and `dockseal::x`, also in trees such as `crate::{x::y, z}`.
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

/// The branches of a tree up to its closing brace, split at the commas of its first level.
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
            None => panic!("src/{} belongs to no floor of tests/architecture.rs", source.path),
        };
        for name in imported {
            assert!(allowed.contains(&name.as_str()), "src/{} imports {name}; it may import {allowed:?}", source.path);
        }
    }
}

#[test]
fn a_tree_of_imports_is_read_whole() {
    let code = "use crate::{api::{self, Kind}, adapters::{Clock, store::NewItem},\n pki};\ncrate::decide::x(); use dockseal::cli;";
    assert_eq!(imports(code), ["api", "adapters", "pki", "decide", "cli"]);
}

#[test]
fn only_adapters_touch_the_outside() {
    for source in sources().iter().filter(|source| source.floor() != "adapters") {
        for (number, line) in source.code().enumerate() {
            for call in OUTSIDE_CALLS.iter().filter(|call| line.contains(**call)) {
                let excepted = EXCEPTIONS.iter().any(|(path, known, _)| *path == source.path && known == call);
                assert!(excepted, "src/{}:{}: {call} is for src/adapters only: {line}", source.path, number + 1);
            }
        }
    }
}

#[test]
fn every_floor_has_a_header_and_a_place_in_the_picture() {
    let sources = sources();
    let picture = &sources.iter().find(|source| source.path == "lib.rs").unwrap().text;
    for (floor, _) in FLOORS {
        assert!(sources.iter().any(|source| source.path == format!("{floor}/mod.rs")), "src/{floor}/mod.rs is missing");
        let drawn = picture
            .lines()
            .filter(|line| line.starts_with("//! "))
            .any(|line| line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == floor));
        assert!(drawn, "the picture in src/lib.rs does not show {floor}");
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources().iter().filter(|source| source.path != "main.rs" || source.text.len() > 200) {
        assert!(source.text.starts_with("//! "), "src/{} does not begin with a line of //!", source.path);
    }
}

#[test]
fn every_name_has_a_meaning() {
    for source in sources() {
        for name in source.path.trim_end_matches(".rs").split('/') {
            for part in name.split('_') {
                let singular = part.strip_suffix('s').unwrap_or(part);
                assert!(
                    !MEANINGLESS_NAMES.contains(&part) && !MEANINGLESS_NAMES.contains(&singular),
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

/// The files of src that are product code; `sources` leaves `tests.rs` out, this leaves folders of tests out too.
fn product() -> Vec<Source> {
    sources().into_iter().filter(|source| !source.path.contains("/tests/")).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let library = product().into_iter().filter(|source| source.path != "main.rs");
    let graph = Graph::new(library.map(|source| (source.path, Module::read(&source.text))));
    let circles = graph.circles();
    let circles: Vec<String> = circles.iter().map(|circle| graph.describe(circle)).collect();
    assert!(circles.is_empty(), "these files of src import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_through_imports_paths_and_reexports() {
    let read = |(file, text): (&str, &str)| (file.to_owned(), Module::read(text));
    let circles = |files: &[(&str, &str)]| {
        let graph = Graph::new(files.iter().copied().map(read));
        graph.circles().iter().map(|circle| graph.names(circle).join(" ")).collect::<Vec<_>>()
    };
    let root = ("lib.rs", "pub mod a; pub mod b;");
    let offers = ("a/mod.rs", "mod x; mod y; pub use x::X; pub struct A;");
    let child = ("a/x.rs", "use super::A; pub struct X(A);");
    assert_eq!(circles(&[root, offers, child]), [""; 0], "an offer is not a use");
    let uses = ("a/mod.rs", "mod x; pub use x::X; pub struct A; fn f(_: X) {}");
    assert_eq!(circles(&[root, uses, child]), ["a/mod.rs a/x.rs"]);
    let through = ("a/x.rs", "use crate::{api, b::{self, c as d}}; pub struct X; fn f() { b::run(d) }");
    let back = ("b.rs", "use crate::a::X; pub fn run(_: X) {} pub const c: u8 = 1;");
    assert_eq!(circles(&[root, offers, through, back]), ["a/x.rs b.rs"], "through a path and a re-export");
    let quiet = (
        "b.rs",
        "// crate::a::X\n pub fn run() { \"crate::a::X\"; '\"'; }\n#[cfg(test)]\nmod tests { use crate::a::X; }",
    );
    assert_eq!(circles(&[root, offers, through, quiet]), [""; 0], "comments, strings and tests do not count");
}

#[test]
fn a_public_type_name_is_defined_once() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in product() {
        for name in Module::read(&source.text).public_types {
            defined.entry(name).or_default().push(source.path.clone());
        }
    }
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "a type name means one thing; these are defined more than once in src: {defined:#?}");
}

#[test]
fn the_page_about_the_code_names_every_floor_and_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let names = page.split('`').skip(1).step_by(2);
    let missing: Vec<&str> = names.clone().filter(|name| is_path(name) && !root.join(name).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names files that do not exist: {missing:#?}");
    for (floor, _) in FLOORS {
        assert!(
            names.clone().any(|name| name == format!("src/{floor}/")),
            "docs/architecture.md does not name src/{floor}/"
        );
    }
    let (_, answers) = page.split_once("## Where do I change ...?").unwrap();
    let rows = answers.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| ")).count();
    assert!(rows > 12, "the table of changes has {rows} rows");
}

fn is_path(name: &str) -> bool {
    let directories = ["src/", "tests/", "docs/", "crds/", "charts/", "image/"];
    directories.iter().any(|directory| name.starts_with(directory)) && !name.contains(char::is_whitespace)
}
