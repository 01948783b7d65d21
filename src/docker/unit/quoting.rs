//! Quoting of systemd's command lines: text in, words without quotes and escapes out, and back.

/// What ends a word.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The end of a text within quotes, or an escape for bytes that are not UTF-8: systemd would have another word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QuotingError {
    Unbalanced,
    NotText,
}

/// A word, and how it was written.
pub(super) struct UnitWord<'a> {
    pub(super) text: String,
    pub(super) written: &'a str,
}

/// The words of a command line, as `extract_first_word` finds them with quotes and C escapes; an escape that is none
/// stays as it is.
pub(super) fn split(text: &str) -> Result<Vec<UnitWord<'_>>, QuotingError> {
    words(text, Escapes::C)
}

/// The words of a variable's value, as systemd splits it for `$NAME`: a backslash makes the next letter plain, and
/// quotes end with the text at the latest.
pub(super) fn split_variable(text: &str) -> Vec<String> {
    let words = words(text, Escapes::Plain).unwrap_or_default();
    words.into_iter().map(|word| word.text).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    C,
    Plain,
}

fn words(text: &str, escapes: Escapes) -> Result<Vec<UnitWord<'_>>, QuotingError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(SPACE);
    while !rest.is_empty() {
        let (word, after) = first_word(rest, escapes)?;
        let text = String::from_utf8(word.0).map_err(|_| QuotingError::NotText)?;
        words.push(UnitWord { text, written: &rest[..rest.len() - after.len()] });
        rest = after.trim_start_matches(SPACE);
    }
    Ok(words)
}

/// The first word of a text that does not begin with space, and what follows it.
fn first_word(text: &str, escapes: Escapes) -> Result<(ByteReader, &str), QuotingError> {
    let mut word = ByteReader::default();
    let mut quote = None;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        rest = match letter {
            '\\' => escaped(after, escapes, &mut word, quote.is_some())?,
            _ if quote == Some(letter) => {
                quote = None;
                after
            }
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                after
            }
            _ if quote.is_none() && SPACE.contains(&letter) => return Ok((word, rest)),
            _ => {
                word.push(letter);
                after
            }
        };
    }
    match quote {
        Some(_) if escapes == Escapes::C => Err(QuotingError::Unbalanced),
        _ => Ok((word, "")),
    }
}

/// Takes what stands behind a backslash into the word, and returns what is left.
fn escaped<'a>(after: &'a str, escapes: Escapes, word: &mut ByteReader, quoted: bool) -> Result<&'a str, QuotingError> {
    let Some(letter) = after.chars().next() else {
        match escapes {
            Escapes::C if quoted => return Err(QuotingError::Unbalanced),
            Escapes::C => word.push('\\'),
            Escapes::Plain => {}
        }
        return Ok(after);
    };
    let behind = &after[letter.len_utf8()..];
    if escapes == Escapes::Plain {
        word.push(letter);
    } else if let Some((_, meant)) = SIMPLE.into_iter().find(|(written, _)| *written == letter) {
        word.push(meant);
    } else if let Some((value, left)) = numbered(letter, after) {
        match letter {
            'u' | 'U' => word.push(char::from_u32(value).ok_or(QuotingError::NotText)?),
            _ => word.0.push(u8::try_from(value).map_err(|_| QuotingError::NotText)?),
        }
        return Ok(left);
    } else {
        word.push('\\');
        word.push(letter);
    }
    Ok(behind)
}

/// C's escapes of one letter, and `\s` for a space.
const SIMPLE: [(char, char); 11] = [
    ('a', '\u{7}'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
    ('v', '\u{b}'),
    ('\\', '\\'),
    ('"', '"'),
    ('\'', '\''),
    ('s', ' '),
];

/// The number of `\xHH`, `\uHHHH`, `\UHHHHHHHH` or `\OOO`, and what is left; zero and a byte over 255 are none.
fn numbered(letter: char, after: &str) -> Option<(u32, &str)> {
    let (digits, radix, length) = match letter {
        'x' => (&after[1..], 16, 2),
        'u' => (&after[1..], 16, 4),
        'U' => (&after[1..], 16, 8),
        '0'..='7' => (after, 8, 3),
        _ => return None,
    };
    let number = digits.get(..length).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
    let value =
        u32::from_str_radix(number, radix).ok().filter(|value| *value != 0 && (radix == 16 || *value <= 255))?;
    Some((value, &digits[length..]))
}

#[derive(Default)]
struct ByteReader(Vec<u8>);

impl ByteReader {
    fn push(&mut self, letter: char) {
        self.0.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// A word so that systemd reads it as it is: bare where nothing in it means anything, else in double quotes.
pub(super) fn quoted(word: &str) -> String {
    let bare = |letter: char| letter.is_alphanumeric() || "-_./:=,+@%${}".contains(letter);
    if !word.is_empty() && word.chars().all(bare) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for letter in word.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            control if control.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}
