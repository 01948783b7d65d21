//! Standard output: how wide it is, whether it is coloured, and printing that forgives a reader who left.

use crate::adapters::terminal;
use anyhow::Context;
use std::io::{ErrorKind, Write};

#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Columns, where it is a terminal.
    pub columns: Option<usize>,
    pub colour: bool,
}

/// What a text is coloured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Green,
    Red,
    Loud,
}

impl Output {
    /// Standard output. `NO_COLOR`, and a terminal that is dumb, are heeded.
    pub fn standard() -> Output {
        let columns = terminal::size().map(|(columns, _)| columns);
        let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Output { columns, colour: columns.is_some() && unset && !dumb }
    }

    /// A text in that colour, where there are colours.
    pub fn coloured(&self, text: &str, colour: Option<Colour>) -> String {
        let code = match colour.filter(|_| self.colour) {
            None => return text.to_owned(),
            Some(Colour::Green) => "32",
            Some(Colour::Red) => "31",
            Some(Colour::Loud) => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Prints. A reader who has seen enough, like head, is no fault.
    ///
    /// # Errors
    /// Where standard output cannot be written.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        print_bytes(text.as_bytes())
    }
}

/// # Errors
/// Where standard output cannot be written.
pub fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("failed to print"),
        _ => Ok(()),
    }
}

/// What others wrote cannot move the cursor.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
