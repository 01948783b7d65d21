//! The documents hold what the code has: each reason its paragraph, each field its row, and each command runs.
#![allow(clippy::disallowed_methods, reason = "tests may touch clock, files and processes; the product only in world/")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../support/mod.rs"]
mod support;

mod names;
mod pages;
mod run;
mod shell;

use dockseal::api::condition::Reason;
use pages::{Block, Marker, Page};
use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_reason_has_its_paragraph_and_every_paragraph_its_reason() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let mut told = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(reason) = line.strip_prefix("### ") else { continue };
        assert!(told.insert(reason.to_owned()), "{reason} stands there twice");
        assert!(lines.peek().is_some_and(|next| next.len() > 20), "{reason} has no paragraph");
    }
    let known = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(told, known);
}

#[test]
fn the_fields_are_those_of_the_code() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/fields.md")).unwrap();
    assert!(page == dockseal::cli::fields::page().unwrap(), "docs/fields.md is old: make generate");
}

#[test]
fn every_page_is_in_the_list() {
    let list = std::fs::read_to_string(Path::new(ROOT).join("docs/README.md")).unwrap();
    for page in pages::all().iter().filter_map(|page| page.name.strip_prefix("docs/")) {
        assert!(page == "README.md" || list.contains(&format!("]({page})")), "docs/README.md does not list {page}");
    }
}

#[test]
fn every_command_and_name_is_known() {
    let known = names::Known::read();
    let mut faults = Vec::new();
    let (mut commands, mut unmarked) = (0, 0);
    for page in pages::all() {
        faults.extend(names::faults_of_words(&page, &known));
        for block in &page.blocks {
            let say = |fault: String| format!("{}:{}: {fault}", page.name, block.line);
            match block.language.as_str() {
                "sh" => {
                    let found = shell::commands(&block.text);
                    unmarked += if block.marker == Marker::None { found.len() } else { 0 };
                    commands += found.len();
                    faults.extend(found.iter().filter_map(|words| shell::fault(words, &known)).map(say));
                }
                "yaml" => faults.extend(names::fault_of_yaml(block, &known).map(say)),
                _ => faults.extend(stray(block).map(say)),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{commands} commands are known; {unmarked} of them need a cluster or a host, and were not run here");
    assert!(commands > 40, "the pages were found: {commands}");
}

/// A command outside of a block for the shell, which nobody would look at.
fn stray(block: &Block) -> Option<String> {
    let programs = ["dockseal ", "kubectl ", "make ", "helm ", "docker "];
    let stray = block.text.lines().find(|line| programs.iter().any(|program| line.starts_with(program)))?;
    Some(format!("{stray:?}: a command goes into a block ```sh"))
}

#[test]
fn what_can_run_here_runs_and_prints_what_the_page_says() {
    let mut told = Vec::new();
    for page in pages::all() {
        let ran = run::page(&page);
        if ran > 0 {
            told.push(format!("{} ({ran})", page.name));
        }
    }
    println!("run: {}", told.join(", "));
    assert!(!told.is_empty(), "there is something to run");
}

/// The pages, for those who look for them.
fn page_of(name: &str) -> Page {
    let text = std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Page::read(name, &text)
}
