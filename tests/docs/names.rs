//! Names that pages may use: annotations, fields, values of the chart, targets of make, files.

use crate::ROOT;
use crate::shell;
use crate::support::pages::{Block, Marker, Page};
use dockseal::local::manifests::{Text, load};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// What there is.
pub struct Known {
    /// `spec.delivery.daemon.restart`, of every kind.
    pub fields: BTreeSet<String>,
    /// `companion.profile`, and `companion`.
    pub values: BTreeSet<String>,
    /// Targets of make.
    pub targets: BTreeSet<String>,
    /// `dockseal.dev/owner`, and whatever else the code says in such words.
    pub annotations: BTreeSet<String>,
}

impl Known {
    /// Reads the code, the chart and the Makefile.
    pub fn read() -> Known {
        let read = |name: &str| std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
        let (mut fields, mut values, mut annotations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (_, definition) in dockseal::api::definitions() {
            let schema = serde_json::to_value(definition).unwrap()["spec"]["versions"][0]["schema"].take();
            schema_paths(&schema["openAPIV3Schema"], "", &mut fields);
        }
        let chart: Value = serde_saphyr::from_str(&read("charts/dockseal/values.yaml")).unwrap();
        value_paths(&chart, "", &mut values);
        let makefile = read("Makefile");
        let targets = makefile.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()));
        let targets = targets.filter(|name| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')).collect();
        for directory in ["src", "charts"] {
            sources(&Path::new(ROOT).join(directory), &mut annotations);
        }
        Known { fields, values, targets, annotations }
    }

    /// Whether a dotted word is a field or a value, where it starts like one.
    fn fault_of_dotted(&self, word: &str) -> Option<String> {
        let (first, _) = word.split_once('.')?;
        let file = [".json", ".yaml", ".md", ".pem", ".key", ".rs", ".toml", ".d", ".service", ".socket"];
        if file.iter().any(|end| word.ends_with(end)) || !word.bytes().all(|c| c.is_ascii_alphabetic() || c == b'.') {
            return None;
        }
        if self.values.contains(word) || self.fields.iter().any(|path| path == word || ends(path, word)) {
            return None;
        }
        let parent = |path: &String| path == first || ends(path, first);
        let starts = self.values.contains(first) || self.fields.iter().any(parent);
        starts.then(|| format!("{word} is neither a field nor a value of the chart"))
    }
}

fn ends(path: &str, word: &str) -> bool {
    path.strip_suffix(word).is_some_and(|before| before.ends_with('.'))
}

fn schema_paths(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        schema_paths(field, &path, found);
        schema_paths(&field["items"], &path, found);
        found.insert(path);
    }
}

fn value_paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        value_paths(value, &path, found);
        found.insert(path);
    }
}

fn sources(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.extend(annotations(&std::fs::read_to_string(&path).unwrap_or_default())),
        }
    }
}

/// `dockseal.dev/WORD` in a text.
fn annotations(text: &str) -> Vec<String> {
    let after = text.split("dockseal.dev/").skip(1);
    let word = |rest: &str| -> String { rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect() };
    after.map(word).filter(|word| !word.is_empty()).collect()
}

/// What is wrong in the sentences of a page, and in all of it what belongs to every language.
pub fn faults_of_words(page: &Page, known: &Known) -> Vec<String> {
    let mut faults = Vec::new();
    let blocks = page.blocks.iter().map(|block| (block.line, block.text.clone()));
    for (line, text) in page.prose.iter().cloned().chain(blocks) {
        let unknown = annotations(&text).into_iter().filter(|word| !known.annotations.contains(word));
        faults.extend(unknown.map(|word| format!("{}:{line}: dockseal.dev/{word} is not in the code", page.name)));
    }
    let generated = page.name == "docs/fields.md";
    for (line, text) in paragraphs(&page.prose).iter().filter(|_| !generated) {
        let say = |fault: String| format!("{}:{line}: {fault}", page.name);
        faults.extend(text.split('`').skip(1).step_by(2).filter_map(|word| fault_of_code(word, known)).map(say));
        faults.extend(links(text).into_iter().filter_map(|link| fault_of_link(page, link)).map(say));
    }
    faults
}

/// Lines that belong together, since code goes over the end of a line.
fn paragraphs(prose: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (line, text) in prose {
        match found.last_mut() {
            Some((_, before)) if *line == last + 1 && !text.is_empty() => *before += &format!(" {}", text.trim_start()),
            _ => found.push((*line, text.clone())),
        }
        last = if text.is_empty() { 0 } else { *line };
    }
    found
}

fn fault_of_code(word: &str, known: &Known) -> Option<String> {
    if word.starts_with("dockseal ") {
        return shell::fault_of_mention(word).map(|fault| format!("`{word}`: {fault}"));
    }
    if let Some(targets) = word.strip_prefix("make ") {
        let unknown = targets.split(' ').find(|word| !word.contains('=') && !known.targets.contains(*word));
        return unknown.map(|target| format!("make has no target {target}"));
    }
    if shell::is_ours(word) && !Path::new(ROOT).join(word).exists() {
        return Some(format!("there is no {word}"));
    }
    known.fault_of_dotted(word.split(':').next().unwrap_or_default())
}

/// The targets of `[words](target)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

fn fault_of_link(page: &Page, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let here = Path::new(ROOT).join(&page.name);
    let target = if file.is_empty() { here } else { here.parent().unwrap().join(file) };
    if !target.exists() {
        return Some(format!("the link {link} leads nowhere"));
    }
    let text = std::fs::read_to_string(target).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
    let anchors: BTreeSet<String> = headings.map(anchor_of).collect();
    let missing = anchor.filter(|anchor| !anchors.contains(*anchor))?;
    Some(format!("there is no heading #{missing} behind the link {link}"))
}

/// As GitHub makes it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

/// What is wrong with a block of YAML: an object of ours that is refused, a value that the chart does not have.
pub fn fault_of_yaml(block: &Block, known: &Known) -> Option<String> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(&block.text) {
        Ok(documents) => documents,
        Err(error) => return Some(error.to_string()),
    };
    if block.marker == Marker::Values {
        let mut paths = BTreeSet::new();
        documents.iter().for_each(|document| value_paths(document, "", &mut paths));
        return paths.difference(&known.values).next().map(|path| format!("the chart has no value {path}"));
    }
    let is_ours = |document: &Value| {
        document["apiVersion"].as_str().is_some_and(|version| version.starts_with("dockseal.dev"))
            || document["kind"] == "Secret"
    };
    let ours: Vec<String> = documents.iter().filter(|one| is_ours(one)).map(|one| one.to_string()).collect();
    let texts: Vec<Text> = ours.into_iter().map(|text| Text { file: "block".to_owned(), text: text.into() }).collect();
    load(&texts).err().map(|fault| fault.to_string())
}
