//! Text of a server in, text for a status or a log out: one short line without PEM and without anything like a key.

use crate::text::shown;

const MAX_CHARS: usize = 300;
/// A run of so many characters of a key's alphabet counts as a key.
const KEY_LIKE: usize = 32;

/// `text` of a field as it is kept: with spaces for control characters, without characters that turn its direction or
/// are not seen, and cut to `most` bytes.
pub fn short(text: &str, most: usize) -> String {
    let mut kept = String::new();
    for letter in text.chars().filter_map(shown) {
        if kept.len() + letter.len_utf8() > most {
            break;
        }
        kept.push(letter);
    }
    kept
}

/// `text` without control characters, PEM and keys, cut to 300 characters and `…`.
pub fn sanitize(text: &str) -> String {
    let text = without_pem(text);
    let spaced: String = text.chars().filter_map(shown).collect();
    let words: Vec<String> = spaced.split_whitespace().map(without_keys).collect();
    let words = words.join(" ");
    match words.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

fn without_pem(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN") {
        kept.push_str(&rest[..begin]);
        kept.push_str("[PEM]");
        let end = rest[begin..].find("-----END").map(|at| begin + at + "-----END".len());
        // After the last dashes of the block; without an end, everything after the beginning goes.
        rest = end.and_then(|end| rest[end..].find("-----").map(|at| &rest[end + at + 5..])).unwrap_or_default();
    }
    kept + rest
}

/// Replaces API keys, session tokens and long runs of base64 or hex in a word.
fn without_keys(word: &str) -> String {
    if word.contains("ptr_") || word.contains("eyJ") {
        return "[redacted]".to_owned();
    }
    let in_key = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    let mut kept = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let inside = in_key(first);
        let end = rest.find(|letter| in_key(letter) != inside).unwrap_or(rest.len());
        let run = &rest[..end];
        kept.push_str(if inside && is_key_like(run) { "[redacted]" } else { run });
        rest = &rest[end..];
    }
    kept
}

/// A long run with digits, in mixed case or all hex: names and paths seldom look like that.
fn is_key_like(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    run.len() >= KEY_LIKE && has(u8::is_ascii_digit) && (mixed || run.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_and_keys_go() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        for (text, kept) in [
            ("Unable to create: no such host".to_owned(), "Unable to create: no such host"),
            ("open /data/tls/17/key.pem: no such file".to_owned(), "open /data/tls/17/key.pem: no such file"),
            (
                "host-1.in-the-basement.of.the.office.example.com".into(),
                "host-1.in-the-basement.of.the.office.example.com",
            ),
            ("a\u{1b}[31m\r\nb\tc".to_owned(), "a [31m b c"),
            ("a\u{202e}gnp.exe\u{2069}\u{feff}".to_owned(), "agnp.exe"),
            (format!("bad {pem} end"), "bad [PEM] end"),
            (format!("-----BEGIN RSA PRIVATE KEY-----\n{key}"), "[PEM]"),
            (format!("body \"{key}\""), "body \"[redacted]\""),
            ("key ptr_abc+/=, no".to_owned(), "key [redacted] no"),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2ln".to_owned(), "Bearer [redacted]"),
            ("0123456789abcdef0123456789abcdef".to_owned(), "[redacted]"),
        ] {
            assert_eq!(sanitize(&text), kept);
        }
        assert_eq!(sanitize(&"é ".repeat(500)).chars().count(), 301);
    }
}
