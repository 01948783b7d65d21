//! The terminal: its size, whether colours are wanted, what may be printed on it, and a passphrase typed without echo.

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};
use zeroize::Zeroizing;

const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Columns and rows of standard output, where it is a terminal.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    Some(size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row))))
}

/// Whether the environment allows colours: `NO_COLOR` is unset or empty (<https://no-color.org>).
pub fn allows_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text without control characters, so that what users and servers wrote cannot move the cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Asks for a passphrase on the terminal, without echo; none where standard input is not a terminal, or where Ctrl-C or
/// Ctrl-D is typed.
///
/// # Errors
/// Where the terminal cannot be read.
#[expect(clippy::disallowed_methods, reason = "the terminal is opened here")]
pub fn passphrase(question: &str) -> io::Result<Option<Zeroizing<String>>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut hidden = before.clone();
    // Ctrl-C comes as a byte, so that the echo is back before the end.
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
    let typed = terminal.write_all(question.as_bytes()).and_then(|()| line(&mut terminal));
    tcsetattr(&terminal, OptionalActions::Now, &before)?;
    terminal.write_all(b"\n")?;
    typed
}

fn line(terminal: &mut impl Read) -> io::Result<Option<Zeroizing<String>>> {
    // Allocated at once: when a vector grows, its old memory is not zeroed.
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES));
    let mut byte = [0];
    while terminal.read(&mut byte)? == 1 && typed.len() < MAX_PASSPHRASE_BYTES {
        match byte[0] {
            b'\n' | b'\r' => {
                let text = std::str::from_utf8(&typed).map_err(|_| io::Error::other("what was typed is not UTF-8"))?;
                return Ok(Some(Zeroizing::new(text.to_owned())));
            }
            3 | 4 => return Ok(None),
            8 | 127 => drop(typed.pop()),
            other => typed.push(other),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a [2Jb ");
    }

    #[test]
    fn a_line_ends_where_it_is_ended() {
        let typed = |bytes: &[u8]| line(&mut &*bytes).expect("it can be read").map(|text| text.to_string());
        assert_eq!(typed(b"secret\nmore"), Some("secret".into()));
        assert_eq!(typed(b"sa\x7fecret\r"), Some("secret".into()));
        assert_eq!(typed(b"\n"), Some(String::new()));
        for given_up in [b"sec\x03".as_slice(), b"\x04", b"secret"] {
            assert_eq!(typed(given_up), None);
        }
    }
}
