//! Text that others wrote, made fit to be shown: one short line that no terminal and no reader can be misled by.

#![warn(missing_docs)]

use std::borrow::Cow;

/// Bytes of the longest message of a condition or note of an event. The API server takes 1024 characters for a note.
pub const MAX_MESSAGE: usize = 1024;
const ELLIPSIS: &str = "…";

/// `text` with spaces for control characters, without characters that turn its direction or are not seen, and cut to
/// `most` bytes, the ellipsis at its end included. What is clean stays as it is.
pub fn clean(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && text.chars().all(|letter| shown(letter) == Some(letter)) {
        return Cow::Borrowed(text);
    }
    let room = most.saturating_sub(ELLIPSIS.len());
    let mut kept = String::with_capacity(text.len().min(most));
    for letter in text.chars().filter_map(shown) {
        if kept.len() + letter.len_utf8() > most {
            let mut end = room.min(kept.len());
            while !kept.is_char_boundary(end) {
                end -= 1;
            }
            kept.truncate(end);
            kept.push_str(ELLIPSIS);
            break;
        }
        kept.push(letter);
    }
    Cow::Owned(kept)
}

/// A character as it is shown; none of one that is left out.
pub fn shown(letter: char) -> Option<char> {
    match letter {
        '\u{2028}' | '\u{2029}' => Some(' '),
        letter if letter.is_control() => Some(' '),
        // Unicode's Bidi_Control, and the byte order mark and spaces without a width.
        '\u{61c}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => None,
        letter => Some(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_short_line_and_cleaning_twice_changes_nothing() {
        for (text, most, kept) in [
            ("dockerd serves it", 40, "dockerd serves it"),
            ("\u{1b}[31mred\r\nb\tc", 40, " [31mred  b c"),
            ("a\u{202e}gnp.exe\u{2069}\u{200b}", 40, "agnp.exe"),
            ("a\u{2028}b\u{85}c\u{0}", 40, "a b c "),
            ("für Größe", 40, "für Größe"),
            ("0123456789", 10, "0123456789"),
            ("0123456789a", 10, "0123456…"),
            ("éééééé", 10, "ééé…"),
            ("", 10, ""),
        ] {
            assert_eq!(clean(text, most), kept, "{text:?}");
            assert_eq!(clean(&clean(text, most), most), kept, "{text:?}");
        }
        let long = "\u{202e}x".repeat(1 << 20);
        assert_eq!(clean(&long, MAX_MESSAGE).len(), MAX_MESSAGE);
    }
}
