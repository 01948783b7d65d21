//! The commands that pages leave to one test, `<!-- test: typed by NAME -->`. In the end it says which were left out.

use super::pages::{Marker, all};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What no test types, because it runs the tests, or makes or measures what they check.
pub const BY_HAND: [(&str, &[&str]); 2] = [
    ("README.md", &["make test"]),
    (
        "CONTRIBUTING.md",
        &[
            "make quick",
            "make test",
            "make check",
            "make generate",
            "make image",
            "make bench",
            "make fuzz",
            "make deny",
            "cargo test --test lifecycle",
            "cargo test --test cluster NAME",
            "cargo test --test cluster node::",
            "cargo test --test hostbox NAME",
        ],
    ),
];

/// Whether no test types it.
pub fn is_by_hand(page: &str, command: &str) -> bool {
    BY_HAND.iter().any(|(of, commands)| *of == page && commands.contains(&command))
}

/// The commands that are left to the test of one name.
pub struct PageCommands {
    commands: Vec<Command>,
    typed: Mutex<BTreeSet<usize>>,
}

#[derive(Debug)]
struct Command {
    page: String,
    line: String,
    /// Left to this one: the others are run by another test, too.
    is_left: bool,
}

impl PageCommands {
    /// Reads all pages.
    pub fn new(name: &str) -> PageCommands {
        let marker = Marker::Typed(name.to_owned());
        let mut commands = Vec::new();
        for page in all() {
            for block in page.blocks.iter().filter(|block| block.language == "sh") {
                let left = |line: &str| block.marker == marker && !is_by_hand(&page.name, line);
                let lines = block.commands().into_iter();
                commands.extend(lines.map(|line| Command { is_left: left(&line), page: page.name.clone(), line }));
            }
        }
        PageCommands { commands, typed: Mutex::default() }
    }

    /// The command of a page that begins so, of several the next; it counts as typed.
    pub fn command(&self, page: &str, begins: &str) -> Result<String> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |at: &usize| self.commands[*at].page == page && self.commands[*at].line.starts_with(begins);
        let all: Vec<usize> = (0..self.commands.len()).filter(fits).collect();
        let next = all.iter().find(|at| self.commands[**at].is_left && !typed.contains(at)).or(all.first());
        let at = *next.with_context(|| format!("{page} has no command {begins:?} any more"))?;
        typed.insert(at);
        Ok(self.commands[at].line.clone())
    }

    /// Fails if a command is left.
    pub fn done(&self) -> Result<()> {
        let typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.commands.iter().enumerate().filter(|(at, command)| command.is_left && !typed.contains(at));
        let left: Vec<&Command> = left.map(|(_, command)| command).collect();
        ensure!(left.is_empty(), "marked as typed here, and not typed: {left:#?}");
        Ok(())
    }
}
