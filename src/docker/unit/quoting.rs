//! systemd's words: a command line taken apart at white space with quotes and escapes removed, and put back.

/// What ends a word.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The end of a text within quotes, or an escape for bytes that are not UTF-8: systemd would have another word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QuotingError {
    Unbalanced,
    NotText,
}

/// A word, and how it was written.
pub(super) struct Word<'a> {
    pub(super) text: String,
    pub(super) written: &'a str,
}

/// The words of a command line, as `extract_first_word` finds them with quotes and C escapes; an escape that is none
/// stays as it is.
pub(super) fn split(text: &str) -> Result<Vec<Word<'_>>, QuotingError> {
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

fn words(text: &str, escapes: Escapes) -> Result<Vec<Word<'_>>, QuotingError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(SPACE);
    while !rest.is_empty() {
        let (word, after) = first_word(rest, escapes)?;
        let text = String::from_utf8(word.0).map_err(|_| QuotingError::NotText)?;
        words.push(Word { text, written: &rest[..rest.len() - after.len()] });
        rest = after.trim_start_matches(SPACE);
    }
    Ok(words)
}

/// The first word of a text that does not begin with space, and what follows it.
fn first_word(text: &str, escapes: Escapes) -> Result<(Bytes, &str), QuotingError> {
    let mut word = Bytes::default();
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
fn escaped<'a>(after: &'a str, escapes: Escapes, word: &mut Bytes, quoted: bool) -> Result<&'a str, QuotingError> {
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
        return Ok(behind);
    }
    let simple = "a\u{7}b\u{8}f\u{c}n\nr\rt\tv\u{b}\\\\\"\"''s ";
    let known: Vec<char> = simple.chars().collect();
    if let Some(pair) = known.chunks(2).find(|pair| pair[0] == letter) {
        word.push(pair[1]);
        return Ok(behind);
    }
    let (digits, radix, length) = match letter {
        'x' => (behind, 16, 2),
        'u' => (behind, 16, 4),
        'U' => (behind, 16, 8),
        '0'..='7' => (after, 8, 3),
        _ => ("", 8, 1),
    };
    let number = digits.get(..length).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)));
    let value = number.and_then(|digits| u32::from_str_radix(digits, radix).ok()).filter(|value| *value != 0);
    match (value, length) {
        (Some(value @ ..=255), 2 | 3) => word.0.push(value as u8),
        (Some(value), 4 | 8) => word.push(char::from_u32(value).ok_or(QuotingError::NotText)?),
        _ => {
            word.push('\\');
            word.push(letter);
            return Ok(behind);
        }
    }
    Ok(&digits[length..])
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
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
