//! Lines of a shell to the commands in them, and whether each of those is one that there is.

use crate::ROOT;
use crate::names::Known;
use dockseal::cli::{args, object_arg};
use std::path::Path;

/// The words of every command: of pipes and lists each part, without redirections, comments and here-documents.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut here: Option<String> = None;
    for line in joined.lines() {
        if let Some(end) = &here {
            here = if line.trim() == end { None } else { here };
            continue;
        }
        here = line.split_once("<<").map(|(_, end)| end.trim_matches(|c| "'\" ".contains(c)).to_owned());
        let words = words(line.split("<<").next().unwrap_or_default());
        let parts = words.split(|word| matches!(word.as_str(), "|" | "&&" | "||" | ";"));
        found.extend(parts.map(plain).filter(|words| !words.is_empty()));
    }
    found
}

/// One command without redirections, assignments and `sudo`.
fn plain(words: &[String]) -> Vec<String> {
    let end = words.iter().position(|word| word.trim_start_matches(['1', '2']).starts_with(['>', '<']));
    let words = &words[..end.unwrap_or(words.len())];
    let assignment = |word: &String| word.split_once('=').is_some_and(|(name, _)| name.bytes().all(is_variable));
    words.iter().skip_while(|word| assignment(word) || *word == "sudo").cloned().collect()
}

fn is_variable(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_'
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), String::new(), None, 0);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') if depth == 0 => words.push(std::mem::take(&mut word)),
            (None, '#') if word.is_empty() => break,
            (None, ';') if depth == 0 => {
                words.push(std::mem::take(&mut word));
                words.push(";".to_owned());
            }
            (None, c) => {
                depth += i32::from(c == '(') - i32::from(c == ')');
                word.push(c);
            }
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// What is wrong with it.
pub fn fault(words: &[String], known: &Known) -> Option<String> {
    let fault = match words[0].as_str() {
        "dockseal" | "./dockseal" | "/usr/local/bin/dockseal" => dockseal(&words[1..], false),
        "kubectl" if words.get(1).is_some_and(|word| word == "dockseal") => dockseal(&words[2..], true),
        "kubectl" => kubectl(&words[1..]),
        "helm" => helm(&words[1..], known),
        "make" => words[1..].iter().find(|word| !word.contains('=') && !known.targets.contains(*word)).cloned(),
        "ssh" => words.get(2..).filter(|rest| !rest.is_empty()).and_then(|rest| self::fault(rest, known)),
        _ => None,
    };
    let missing = || words.iter().find(|word| is_ours(word) && !Path::new(ROOT).join(word).exists()).cloned();
    fault.or_else(missing).map(|fault| format!("{}: {fault}", words.join(" ")))
}

/// Whether it names a file of the repository.
pub fn is_ours(word: &str) -> bool {
    let ours = ["examples/", "charts/", "docs/", "src/", "tests/", "image/", "crds/"];
    ours.iter().any(|directory| word.starts_with(directory)) && !word.contains(['*', ' ', ':'])
}

fn dockseal(words: &[String], plugin: bool) -> Option<String> {
    let words = std::iter::once("dockseal").chain(words.iter().map(String::as_str));
    match args::command(plugin).try_get_matches_from(words) {
        Err(error) if error.use_stderr() => Some(error.to_string()),
        _ => None,
    }
}

/// Whether the words in a sentence are some of a command: what must be given may be missing.
pub fn fault_of_mention(text: &str) -> Option<String> {
    let words = words(text);
    let words = words.iter().map(String::as_str).filter(|word| *word != "...");
    match args::command(false).try_get_matches_from(words) {
        Err(error) if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => None,
        Err(error) if error.use_stderr() => Some(error.to_string()),
        _ => None,
    }
}

const VERBS: [&str; 15] = [
    "annotate", "apply", "auth", "create", "delete", "describe", "edit", "explain", "get", "label", "logs", "patch",
    "rollout", "scale", "wait",
];
const FOREIGN: [&str; 16] = [
    "configmap",
    "crd",
    "daemonset",
    "deployment",
    "events",
    "namespace",
    "node",
    "nodes",
    "pods",
    "secret",
    "secrets",
    "serviceaccount",
    "clusterrole",
    "role",
    "rolebinding",
    "dockseal",
];

fn kubectl(words: &[String]) -> Option<String> {
    let mut plain = words.iter().filter(|word| !word.starts_with('-'));
    let verb = plain.next()?;
    if !VERBS.contains(&verb.as_str()) {
        return Some(format!("kubectl has no verb {verb} that is known here"));
    }
    if !["annotate", "delete", "describe", "edit", "explain", "get", "label", "patch", "wait"].contains(&verb.as_str())
    {
        return None;
    }
    if words.get(1).is_some_and(|word| word == "-f") {
        return None;
    }
    let kinds = plain.next()?.split('/').next()?;
    let of = |kind: &str| kind.split('.').next().unwrap_or_default().to_owned();
    let unknown =
        kinds.split(',').find(|kind| object_arg::kind(&of(kind)).is_none() && !FOREIGN.contains(&of(kind).as_str()));
    unknown.map(|kind| format!("{kind} is no kind that is known"))
}

fn helm(words: &[String], known: &Known) -> Option<String> {
    let set = words.windows(2).filter(|pair| pair[0] == "--set").flat_map(|pair| pair[1].split(','));
    let keys =
        set.filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.split(['[', '{']).next().unwrap_or_default());
    let mut unknown = keys.filter(|key| !known.values.contains(*key));
    unknown.next().map(|key| format!("the chart has no value {key}"))
}
