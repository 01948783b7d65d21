//! An EnvironmentFile= as systemd reads it: its text and a name in, the value of that variable out.

/// Names of the variables in a command line, `$NAME` or `${NAME}`.
pub fn variables(line: &str) -> impl Iterator<Item = &str> {
    let names = line.split('$').skip(1).map(|rest| rest.strip_prefix('{').unwrap_or(rest));
    let end = |rest: &str| rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    names.map(move |rest| &rest[..end(rest).unwrap_or(rest.len())]).filter(|name| !name.is_empty())
}

/// The value that a file such as /etc/default/docker gives a variable: the last that is not commented out, without
/// quotes, over lines that are continued, up to a zero byte (systemd.exec(5), "EnvironmentFile="). None: it says
/// nothing of it. What a service that runs was started with is in its environment.
pub fn variable(text: &str, name: &str) -> Option<String> {
    let mut found = None;
    let mut rest = text.split('\0').next().unwrap_or_default();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let Some(first) = rest.chars().next() else { return found };
        if first == '#' || first == ';' {
            rest = after_line(rest);
            continue;
        }
        let end = rest.find(['=', '\n', '\r']).unwrap_or(rest.len());
        let key = rest[..end].trim_end_matches([' ', '\t']);
        let Some(value) = rest[end..].strip_prefix('=') else {
            rest = &rest[end..];
            continue;
        };
        let (value, after) = value_of(value);
        if key == name {
            found = Some(value);
        }
        rest = after;
    }
}

/// A comment ends with its line. Before systemd 254 one that ends in a backslash takes the next line too.
fn after_line(text: &str) -> &str {
    &text[text.find(['\n', '\r']).unwrap_or(text.len())..]
}

/// Where in a value a letter stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QuoteState {
    /// Before it, or behind a quoted part.
    Before,
    Bare,
    Single,
    Double,
}

/// A value up to the end of its line, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let (mut value, mut place) = (String::new(), QuoteState::Before);
    let mut kept = 0;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (place, letter) {
            (QuoteState::Before | QuoteState::Bare, '\n' | '\r') => return (chomped(value, place, kept), &text[at..]),
            (QuoteState::Before, '\'') => place = QuoteState::Single,
            (QuoteState::Before, '"') => place = QuoteState::Double,
            (QuoteState::Before, ' ' | '\t') => {}
            (QuoteState::Single, '\'') | (QuoteState::Double, '"') => place = QuoteState::Before,
            (QuoteState::Single, _) => value.push(letter),
            (_, '\\') => {
                escape(place, letters.next().map(|(_, next)| next), &mut value);
                place = if place == QuoteState::Double { place } else { QuoteState::Bare };
                kept = value.len();
            }
            (QuoteState::Before | QuoteState::Bare, _) => {
                place = QuoteState::Bare;
                value.push(letter);
                kept = if letter == ' ' || letter == '\t' { kept } else { value.len() };
            }
            (QuoteState::Double, _) => value.push(letter),
        }
    }
    (chomped(value, place, kept), "")
}

/// A bare value without the space behind it.
fn chomped(mut value: String, place: QuoteState, kept: usize) -> String {
    if place == QuoteState::Bare {
        value.truncate(kept);
    }
    value
}

/// What a backslash and the next letter are: in double quotes as the shell has it, elsewhere the letter alone; a line's
/// end is eaten.
fn escape(place: QuoteState, next: Option<char>, value: &mut String) {
    match next {
        None | Some('\n') => {}
        Some('\r') if place != QuoteState::Double => {}
        Some(next) => {
            if place == QuoteState::Double && !"\"\\`$".contains(next) {
                value.push('\\');
            }
            value.push(next);
        }
    }
}
