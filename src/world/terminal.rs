//! The terminals on standard output and standard error: how large, whether coloured, and a hint of what is waited for.

use std::io::IsTerminal;

/// Columns and rows of standard output, where it is a terminal.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    Some(size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row))))
}

/// Whether standard output may be coloured: a terminal, without `NO_COLOR`.
pub fn may_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Says on standard error what is waited for, where that is a terminal; the next hint takes its place, an empty one
/// takes it away.
pub fn hint(words: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{words}");
    }
}
