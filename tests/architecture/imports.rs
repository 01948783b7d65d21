//! Reads the imports of each file of src and finds circles among them. The text of the files comes in; circles and the
//! names of public types go out. It never looks at types: a method call without a path is not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Keywords that define an item.
const ITEMS: [&str; 8] = ["struct", "enum", "trait", "type", "fn", "const", "static", "union"];

/// Those of them that define a type.
const TYPES: [&str; 4] = ["struct", "enum", "trait", "type"];

/// A name that `use` brings into a module, and the path behind it.
#[derive(Debug, PartialEq)]
pub struct Import {
    pub name: String,
    pub path: Vec<String>,
    /// `pub use` is a re-export: it does not count as a use.
    exported: bool,
}

/// What a file defines and names. Comments, strings and items behind `#[cfg(test)]` do not count.
#[derive(Default)]
pub struct Module {
    pub imports: Vec<Import>,
    /// The items at its first level.
    items: BTreeSet<String>,
    /// The types among them that are plain `pub`.
    pub public_types: Vec<String>,
    /// The paths in its code; a single word is one too.
    paths: BTreeSet<Vec<String>>,
}

impl Module {
    pub fn read(text: &str) -> Module {
        let tokens = without_tests(&tokens(text));
        let (mut module, mut at, mut depth) = (Module::default(), 0, 0);
        while at < tokens.len() {
            let token = tokens[at].as_str();
            let next = tokens.get(at + 1).map(String::as_str).unwrap_or_default();
            match token {
                "{" => depth += 1,
                "}" => depth -= 1,
                "use" if next != "<" => {
                    let exported = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                    at = module.read_use(&tokens, at + 1, exported);
                }
                "mod" => at += 1,
                _ if ITEMS.contains(&token) && is_word(next) && next != "fn" => {
                    if depth == 0 {
                        module.items.insert(next.to_owned());
                        let public = at > 0 && tokens[at - 1] == "pub" && TYPES.contains(&token);
                        module.public_types.extend(public.then(|| next.to_owned()));
                    }
                    at += 1;
                }
                "macro_rules" => drop(module.items.insert(tokens[at + 2].clone())),
                _ if is_word(token) && (at == 0 || tokens[at - 1] != ".") => at = module.read_path(&tokens, at),
                _ => (),
            }
            at += 1;
        }
        module
    }

    /// Reads the path that begins at `at`, and returns the position of its last word.
    fn read_path(&mut self, tokens: &[String], mut at: usize) -> usize {
        let mut path = vec![tokens[at].clone()];
        while tokens.get(at + 1).is_some_and(|token| token == "::") && is_word(&tokens[at + 2]) {
            at += 2;
            path.push(tokens[at].clone());
        }
        self.paths.insert(path);
        at
    }

    /// Reads the tree of a `use` that begins at `at`, and returns the position of its `;`.
    fn read_use(&mut self, tokens: &[String], mut at: usize, exported: bool) -> usize {
        let (mut prefixes, mut path, mut name) = (Vec::new(), Vec::new(), None);
        let mut add = |path: &mut Vec<String>, name: &mut Option<String>| {
            if path.last().is_some_and(|last: &String| last == "self") && path.len() > 1 {
                path.pop();
            }
            if let Some(last) = path.last().cloned() {
                self.imports.push(Import { name: name.take().unwrap_or(last), path: std::mem::take(path), exported });
            }
        };
        while tokens[at] != ";" {
            match tokens[at].as_str() {
                "{" => prefixes.push(path.clone()),
                "}" | "," => {
                    let whole = prefixes.last().is_none_or(|prefix: &Vec<String>| *prefix != path);
                    if whole {
                        add(&mut path, &mut name);
                    }
                    if tokens[at] == "}" {
                        prefixes.pop();
                        path = Vec::new();
                    } else {
                        path = prefixes.last().cloned().unwrap_or_default();
                    }
                }
                "as" => {
                    at += 1;
                    name = Some(tokens[at].clone());
                }
                "::" => (),
                word => path.push(word.to_owned()),
            }
            at += 1;
        }
        add(&mut path, &mut name);
        at
    }

    fn uses(&self, name: &str) -> bool {
        self.paths.iter().any(|path| path[0] == name)
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::` and single characters.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        let rest = &letters[at..];
        let skipped = not_code(rest);
        let word = rest.iter().take_while(|letter| letter.is_alphanumeric() || **letter == '_').count();
        match (skipped, word) {
            (1.., _) => at += skipped,
            (0, 1..) => {
                found.push(rest[..word].iter().collect());
                at += word;
            }
            _ if rest.starts_with(&[':', ':']) => {
                found.push("::".to_owned());
                at += 2;
            }
            _ => {
                found.extend((!rest[0].is_whitespace()).then(|| rest[0].to_string()));
                at += 1;
            }
        }
    }
    found
}

/// The length of the comment, string or character literal that begins here, or 0.
fn not_code(rest: &[char]) -> usize {
    let until = |start: usize, end: &[char]| {
        let ends = (start..rest.len()).find(|at| rest[*at..].starts_with(end));
        ends.map_or(rest.len(), |at| at + end.len())
    };
    let raw = usize::from(rest.starts_with(&['b', 'r'])) + 1;
    let marks = rest.iter().skip(raw).take_while(|letter| **letter == '#').count();
    match rest {
        ['/', '/', ..] => until(2, &['\n']),
        ['/', '*', ..] => until(2, &['*', '/']),
        ['r', ..] | ['b', 'r', ..] if rest.get(raw + marks) == Some(&'"') => {
            until(raw + marks + 1, &[vec!['"'], vec!['#'; marks]].concat())
        }
        ['"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != '"' {
                at += 1 + usize::from(rest[at] == '\\');
            }
            at + 1
        }
        ['\'', '\\', ..] => until(3, &['\'']),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// The tokens without the items behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !(tokens.len() >= at + MARK.len() && tokens[at..at + MARK.len()] == MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        while at < tokens.len() {
            depth += i32::from(tokens[at] == "{") - i32::from(tokens[at] == "}");
            let ends = depth == 0 && (tokens[at] == ";" || tokens[at] == "}");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// What a path names: a module, or an item in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Module(usize),
    Item(usize),
}

/// All files, and which file uses which.
pub struct Graph {
    files: Vec<String>,
    /// The position of each module's file: `[decide, host]` for `decide/host/mod.rs`.
    names: BTreeMap<Vec<String>, usize>,
    paths: Vec<Vec<String>>,
    modules: Vec<Module>,
    /// For each file: the files that it uses, and one item of each.
    edges: Vec<BTreeMap<usize, String>>,
}

impl Graph {
    pub fn new(sources: impl IntoIterator<Item = (String, Module)>) -> Graph {
        let (files, modules): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
        let paths: Vec<_> = files.iter().map(|file| module_path(file)).collect();
        let names = paths.iter().cloned().enumerate().map(|(at, path)| (path, at)).collect();
        let mut graph = Graph { files, names, paths, modules, edges: Vec::new() };
        graph.edges = (0..graph.files.len()).map(|file| graph.used_by(file)).collect();
        graph
    }

    fn used_by(&self, file: usize) -> BTreeMap<usize, String> {
        let module = &self.modules[file];
        let imports = module.imports.iter().filter(|import| !import.exported || module.uses(&import.name));
        let used = imports.map(|import| &import.path).chain(&module.paths);
        let targets = used.filter_map(|path| match self.resolve(file, path, 0)? {
            Target::Item(target) if target != file => Some((target, path.join("::"))),
            _ => None,
        });
        targets.collect()
    }

    /// Follows a path that is written in a file, through re-exports, to the file that defines its item.
    fn resolve(&self, file: usize, path: &[String], depth: usize) -> Option<Target> {
        if depth > 8 {
            return None;
        }
        let mut module = file;
        for (at, word) in path.iter().enumerate() {
            let of_file = &self.modules[module];
            let import = || of_file.imports.iter().find(|import| import.name == *word && import.path != path);
            let child = [self.paths[module].as_slice(), std::slice::from_ref(word)].concat();
            module = match word.as_str() {
                "crate" if at == 0 => *self.names.get(&Vec::new())?,
                "self" if at == 0 => module,
                "super" => *self.names.get(self.paths[module].split_last()?.1)?,
                _ if of_file.items.contains(word) => return Some(Target::Item(module)),
                _ => match self.names.get(&child) {
                    Some(child) => *child,
                    None => match self.resolve(module, &import()?.path, depth + 1)? {
                        Target::Module(found) => found,
                        item => return Some(item),
                    },
                },
            };
        }
        Some(Target::Module(module))
    }

    /// The shortest path from a file to another one, or back to itself.
    fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let (mut previous, mut queue) = (BTreeMap::new(), VecDeque::from([from]));
        while let Some(at) = queue.pop_front() {
            for next in self.edges[at].keys() {
                if *next == to {
                    let mut path = vec![to, at];
                    while path[path.len() - 1] != from {
                        path.push(previous[&path[path.len() - 1]]);
                    }
                    path.reverse();
                    return Some(path);
                }
                if *next != from && !previous.contains_key(next) {
                    previous.insert(*next, at);
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// Groups of files in which each file uses, directly or not, every other.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let mut circles: Vec<Vec<usize>> = Vec::new();
        for file in 0..self.files.len() {
            if circles.iter().any(|circle| circle.contains(&file)) || self.path(file, file).is_none() {
                continue;
            }
            let others = (0..self.files.len()).filter(|other| {
                *other == file || (self.path(file, *other).is_some() && self.path(*other, file).is_some())
            });
            circles.push(others.collect());
        }
        circles
    }

    /// The files of a circle, sorted.
    pub fn names(&self, circle: &[usize]) -> Vec<&str> {
        let mut names: Vec<&str> = circle.iter().map(|file| self.files[*file].as_str()).collect();
        names.sort_unstable();
        names
    }

    /// A circle in words: its shortest path, then every import between its files.
    pub fn describe(&self, circle: &[usize]) -> String {
        let paths = circle.iter().filter_map(|file| self.path(*file, *file));
        let shortest = paths.min_by_key(Vec::len).unwrap_or_default();
        let mut text = shortest.iter().map(|file| self.files[*file].as_str()).collect::<Vec<_>>().join(" -> ");
        for file in circle {
            for (used, item) in self.edges[*file].iter().filter(|(used, _)| circle.contains(used)) {
                text += &format!("\n    {} uses {item} of {}", self.files[*file], self.files[*used]);
            }
        }
        text
    }
}

fn module_path(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(if path == "lib" { "" } else { path });
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
