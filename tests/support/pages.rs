//! Markdown to blocks: what is fenced, in which language, and the comment before it that says what a test does with it.
//!
//! Every block of `sh` has one of these. `<!-- test: run -->`: tests/docs runs it, in a directory that the page's blocks
//! share, and it ends with 0; `<!-- test: run, exits 4 -->`: with that; `<!-- test: run, goes on -->`: it does not end
//! before the page does. `<!-- test: typed by NAME -->`: the test that has `PageCommands` of that name types each command of it.
//!
//! Before other blocks: `<!-- test: prints -->`: the run before it printed those lines, dates aside; a line may end in
//! `...`. `<!-- test: file NAME -->`: it is put there first. `<!-- test: values -->`: they are the chart's.
//!
//! Alone: `<!-- test: dockerd HOST -->`: a dockerd serves that host's certificate of the state directory at what the page
//! calls 127.0.0.1:2376; `<!-- test: portainer HOST -->`: a stand-in Portainer has that host as an environment, and is what
//! the page calls portainer.bodkys.house, and its old ca.pem is there; `<!-- test: how-to -->`: what howto-openssl.md begins
//! with was done in the user's directory; `<!-- test: cluster FILE -->`: a fresh cluster with a controller, and with that
//! file, all of it Ready; `<!-- test: api server -->`: one with nothing in it. `ssh HOST` runs what follows right here, and
//! places of a machine (/etc/docker/certs) are below the page's directory: tests/docs/run.rs has them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A document.
pub struct Page {
    /// Below the repository.
    pub name: String,
    /// Without the blocks.
    pub prose: Vec<(usize, String)>,
    /// In their order.
    pub blocks: Vec<Block>,
}

/// What is fenced, or a marker that stands alone.
pub struct Block {
    /// Where it starts, from 1.
    pub line: usize,
    /// `sh`, `yaml`, `text`, or nothing.
    pub language: String,
    /// What is to be done with it.
    pub marker: Marker,
    /// What it holds.
    pub text: String,
}

/// What a test does with a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Marker {
    #[default]
    None,
    /// Run it; it ends with that code.
    Run(i32),
    /// Run it; it goes on.
    GoesOn,
    /// That test types it.
    Typed(String),
    /// The run before printed it.
    Prints,
    /// It is a file of that name.
    File(String),
    /// Values of the chart.
    Values,
    /// A dockerd with that host's certificate.
    Dockerd(String),
    /// A Portainer that has that host.
    Portainer(String),
    /// A fresh cluster with a controller, and with that file, all of it Ready.
    Cluster(Option<String>),
    /// A fresh cluster with nothing in it.
    ApiServer,
    /// What a how-to left.
    HowTo,
}

impl Marker {
    fn of(line: &str) -> Option<Marker> {
        let words = line.trim().strip_prefix("<!-- test: ")?.strip_suffix(" -->")?;
        Some(match words.split_once(' ') {
            None if words == "run" => Marker::Run(0),
            None if words == "prints" => Marker::Prints,
            None if words == "values" => Marker::Values,
            None if words == "cluster" => Marker::Cluster(None),
            None if words == "how-to" => Marker::HowTo,
            Some(("api", "server")) => Marker::ApiServer,
            Some(("cluster", file)) => Marker::Cluster(Some(file.to_owned())),
            Some(("run,", "goes on")) => Marker::GoesOn,
            Some(("run,", code)) => {
                Marker::Run(code.strip_prefix("exits ").and_then(|code| code.parse().ok()).unwrap())
            }
            Some(("typed", by)) => Marker::Typed(by.strip_prefix("by ").unwrap().to_owned()),
            Some(("file", name)) => Marker::File(name.to_owned()),
            Some(("dockerd", host)) => Marker::Dockerd(host.to_owned()),
            Some(("portainer", host)) => Marker::Portainer(host.to_owned()),
            _ => panic!("{words:?} is no marker that is known"),
        })
    }

    fn stands_alone(&self) -> bool {
        use Marker::{ApiServer, Cluster, Dockerd, HowTo, Portainer};
        matches!(self, Dockerd(_) | Portainer(_) | Cluster(_) | ApiServer | HowTo)
    }
}

impl Block {
    /// What is typed, a command each, without remarks.
    pub fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let plain = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned());
        plain.filter(|line| !line.is_empty()).collect()
    }
}

impl Page {
    /// Reads it.
    pub fn read(name: &str, text: &str) -> Page {
        let mut page = Page { name: name.to_owned(), prose: Vec::new(), blocks: Vec::new() };
        let mut marker = Marker::None;
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
                let inner: String = inner.map(|line| format!("{line}\n")).collect();
                let (language, marker) = (language.to_owned(), std::mem::take(&mut marker));
                page.blocks.push(Block { line: at + 1, language, marker, text: inner });
            } else if let Some(found) = Marker::of(line) {
                match found.stands_alone() {
                    true => page.blocks.push(Block {
                        line: at + 1,
                        language: String::new(),
                        marker: found,
                        text: String::new(),
                    }),
                    false => marker = found,
                }
            } else {
                assert_eq!(marker, Marker::None, "{name}:{at}: a marker stands right before its block");
                page.prose.push((at + 1, line.to_owned()));
            }
        }
        page
    }

    /// That one of the repository.
    pub fn of(name: &str) -> Page {
        let text =
            std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Page::read(name, &text)
    }

    /// The text of the first block that has those words in it.
    pub fn block_with(&self, words: &str) -> &str {
        let found = self.blocks.iter().find(|block| block.text.contains(words));
        &found.unwrap_or_else(|| panic!("{} has no block with {words:?} any more", self.name)).text
    }
}

/// Every document that users read, but for what is generated.
pub fn all() -> Vec<Page> {
    let below = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let below = below.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let mut names: Vec<String> = below.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    let top = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "charts/dockseal/README.md"].map(str::to_owned);
    top.into_iter().chain(names).map(|name| Page::of(&name)).collect()
}
