//! Standard output: its width, its colours, and printing. A reader that closes the pipe is not an error.

use crate::adapters::terminal;
use anyhow::Context;
use std::io::{ErrorKind, Write};

#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Columns, where it is a terminal.
    pub columns: Option<usize>,
    pub colour: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Green,
    Red,
    Alarm,
}

impl Output {
    /// Standard output, without colours where `NO_COLOR` is set or the terminal is dumb.
    pub fn standard() -> Output {
        let columns = terminal::size().map(|(columns, _)| columns);
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Output { columns, colour: columns.is_some() && terminal::allows_colour() && !dumb }
    }

    /// A text in that colour, where there are colours.
    pub fn coloured(&self, text: &str, colour: Option<Colour>) -> String {
        let code = match colour.filter(|_| self.colour) {
            None => return text.to_owned(),
            Some(Colour::Green) => "32",
            Some(Colour::Red) => "31",
            Some(Colour::Alarm) => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

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
