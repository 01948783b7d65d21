//! A server's words, made fit for a status and a log: short, on one line, without PEM and without what looks like a key.

/// Characters that are kept.
const LONGEST: usize = 300;
/// So many characters of a key's alphabet in a row are taken for one.
const KEY_LIKE: usize = 32;

/// `text` without control characters, PEM and keys, cut to 300 characters.
pub fn cleaned(text: &str) -> String {
    let text = without_pem(text);
    let spaced: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let words: Vec<String> = spaced.split_whitespace().map(without_keys).collect();
    let words = words.join(" ");
    match words.char_indices().nth(LONGEST) {
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
        // The last dashes of the block; where there is no end, nothing behind the beginning is kept.
        rest = end.and_then(|end| rest[end..].find("-----").map(|at| &rest[end + at + 5..])).unwrap_or_default();
    }
    kept + rest
}

/// A word in which API keys, session tokens and long runs of base64 or hex are left out.
fn without_keys(word: &str) -> String {
    if word.contains("ptr_") || word.contains("eyJ") {
        return "[redacted]".to_owned();
    }
    let in_key = |letter: char| letter.is_ascii_alphanumeric() || "+/=_-".contains(letter);
    let mut kept = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let inside = in_key(first);
        let end = rest.find(|letter| in_key(letter) != inside).unwrap_or(rest.len());
        let run = &rest[..end];
        let key = inside && run.len() >= KEY_LIKE && run.contains(|letter: char| letter.is_ascii_digit());
        kept.push_str(if key { "[redacted]" } else { run });
        rest = &rest[end..];
    }
    kept
}
