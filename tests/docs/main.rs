//! The documents hold what the code has: each reason its paragraph, each field its row, and each command runs.
#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../support/mod.rs"]
mod support;

mod docs_cluster;
mod names;
mod run;
mod running;
mod shell;

use dockseal::api::condition::Reason;
use std::collections::BTreeSet;
use std::path::Path;
use support::page_commands::{self, PageCommands};
use support::pages::{self, Block, Marker, Page};

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
    let of_status = dockseal::cli::status::WORDS.map(str::to_owned);
    let known = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).chain(of_status).collect();
    assert_eq!(told, known);
}

#[test]
fn the_fields_are_those_of_the_code() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/fields.md")).unwrap();
    assert!(page == dockseal::cli::field_docs::page().unwrap(), "docs/fields.md is old: make generate");
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
    let faults: Vec<String> = pages::all().iter().flat_map(|page| faults(page, &known)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_is_run_or_typed_by_a_test() {
    let (pages, typists) = (pages::all(), typists(&Path::new(ROOT).join("tests")));
    let faults: Vec<String> = pages.iter().flat_map(|page| left_out(page, &typists)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let count = |wanted: fn(&Marker) -> bool| -> usize {
        let blocks = pages.iter().flat_map(|page| &page.blocks).filter(|block| wanted(&block.marker));
        blocks.map(|block| block.commands().len()).sum()
    };
    let run = count(|marker| matches!(marker, Marker::Run(_) | Marker::GoesOn));
    let typed = count(|marker| matches!(marker, Marker::Typed(_)));
    println!("{run} commands are run here, {typed} are typed by {}", typists.join(", "));
    assert!(run > 40 && typed > 10, "the pages were found: {run}, {typed}");
    for (page, commands) in page_commands::BY_HAND {
        let there: Vec<String> = Page::of(page).blocks.iter().flat_map(Block::commands).collect();
        let gone = commands.iter().find(|command| !there.contains(&command.to_string()));
        assert_eq!(gone, None, "is not on {page} any more");
    }
}

/// Blocks of the shell that no test runs or types.
fn left_out(page: &Page, typists: &[String]) -> Vec<String> {
    let fault = |block: &&Block| match &block.marker {
        Marker::Run(_) | Marker::GoesOn => None,
        Marker::Typed(name) if typists.contains(name) => None,
        Marker::Typed(name) => Some(format!("no test has PageCommands {name:?}")),
        _ => Some("no test runs it or types it".to_owned()),
    };
    let blocks = page.blocks.iter().filter(|block| block.language == "sh");
    blocks.filter_map(|block| fault(&block).map(|fault| format!("{}:{}: {fault}", page.name, block.line))).collect()
}

/// The names of those in the tests who type, and look in the end whether that was all.
fn typists(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(typists(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("PageCommands::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.filter(|_| text.contains(".done()?")).map(str::to_owned));
        }
    }
    found
}

/// What is wrong on a page.
fn faults(page: &Page, known: &names::Known) -> Vec<String> {
    let mut faults = names::faults_of_words(page, known);
    for block in &page.blocks {
        let found: Vec<String> = match block.language.as_str() {
            "sh" => shell::commands(&block.text).iter().filter_map(|words| shell::fault(words, known)).collect(),
            "yaml" => names::fault_of_yaml(block, known).into_iter().collect(),
            _ => stray(block).into_iter().collect(),
        };
        faults.extend(found.into_iter().map(|fault| format!("{}:{}: {fault}", page.name, block.line)));
    }
    faults
}

/// A command outside of a block for the shell, which nobody would look at.
fn stray(block: &Block) -> Option<String> {
    let programs = ["dockseal ", "kubectl ", "make ", "helm ", "docker "];
    let stray = block.text.lines().find(|line| programs.iter().any(|program| line.starts_with(program)))?;
    Some(format!("{stray:?}: a command goes into a block ```sh"))
}

#[test]
fn what_needs_no_cluster_runs_and_prints_what_the_page_says() {
    run_all(|page| !needs_cluster(page));
}

#[test]
fn what_needs_an_api_server_runs_and_prints_what_the_page_says() {
    run_all(needs_cluster);
}

#[test]
fn what_is_left_to_the_docs_is_typed() {
    run::typed().unwrap();
}

fn needs_cluster(page: &Page) -> bool {
    page.blocks.iter().any(|block| matches!(block.marker, Marker::Cluster(_) | Marker::ApiServer))
}

fn run_all(wanted: fn(&Page) -> bool) {
    let mut told = Vec::new();
    for page in pages::all().iter().filter(|page| wanted(page)) {
        let ran = run::page(page);
        if ran > 0 {
            told.push(format!("{} ({ran})", page.name));
        }
    }
    println!("blocks that ran: {}", told.join(", "));
    assert!(!told.is_empty(), "there is something to run");
}

#[test]
fn a_command_that_no_test_runs_is_found() {
    for (wrong, words) in [
        ("```sh\nmake up\n```", "README.md:1: no test runs it"),
        ("<!-- test: prints -->\n```sh\nmake up\n```", "README.md:2: no test runs it"),
        ("<!-- test: typed by nobody -->\n```sh\nmake up\n```", "no test has PageCommands \"nobody\""),
    ] {
        assert!(left_out(&Page::read("README.md", wrong), &["docs".to_owned()]).join("").contains(words), "{wrong}");
    }
    let right = "<!-- test: typed by docs -->\n```sh\nmake up\n```\n<!-- test: run, exits 4 -->\n```sh\nls\n```";
    assert_eq!(left_out(&Page::read("README.md", right), &["docs".to_owned()]), Vec::<String>::new());
    for lazy in ["docs", "node"] {
        let said = PageCommands::new(lazy).done().unwrap_err().to_string();
        assert!(said.contains("make") && !said.contains("make test"), "{said}");
    }
}

#[test]
fn what_is_wrong_on_a_page_is_found() {
    let known = names::Known::read();
    for (wrong, words) in [
        ("```sh\ndockseal verify pandora --nope\n```", "--nope"),
        ("```sh\nmake up && dockseal verfy pandora | cat\n```", "verfy"),
        ("```sh\nkubectl dockseal status --stat x\n```", "--stat"),
        ("```sh\nssh root@pandora dockseal upp home.yaml\n```", "upp"),
        ("```sh\nkubectl get dockerhosts\n```", "dockerhosts is no kind"),
        ("```sh\nkubectl aply -f x\n```", "no verb aply"),
        ("```sh\nkubectl apply -f examples/nope.yaml\n```", "examples/nope.yaml"),
        ("```sh\nhelm install dockseal charts/dockseal --set companion.profil=daemon\n```", "companion.profil"),
        ("```sh\nmake imagine\n```", "imagine"),
        ("```text\ndockseal status\n```", "goes into a block"),
        (
            "```yaml\napiVersion: dockseal.dev/v1alpha1\nkind: DockerCA\nmetadata: {name: a}\nspec: {sub: {}}\n```",
            "spec.sub",
        ),
        ("```yaml\na: [\n```", "error"),
        ("<!-- test: values -->\n```yaml\ncompanion: {profil: daemon}\n```", "companion.profil"),
        ("`dockseal bundle ci --outpt x`", "--outpt"),
        ("`dockseal.dev/renew-at` is set", "dockseal.dev/renew-at is not in the code"),
        ("set `delivery.takover: true`", "delivery.takover"),
        ("set `companion.nope`", "companion.nope"),
        ("see `docs/nope.md`", "there is no docs/nope.md"),
        ("see `make nope`", "no target nope"),
        ("see [this](nope.md)", "leads nowhere"),
        ("see [this](docs/security.md#nope)", "no heading #nope"),
    ] {
        let faults = faults(&Page::read("README.md", wrong), &known).join("\n");
        assert!(faults.contains(words), "{wrong}\n{words}: {faults}");
    }
    let right = "`dockseal verify HOST` and `delivery.takeOver: true`, `daemon.json`, [more](docs/security.md)";
    assert_eq!(faults(&Page::read("README.md", right), &known), Vec::<String>::new());
}
