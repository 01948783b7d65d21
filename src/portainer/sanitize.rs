//! A server's words, made fit for a status and a log: short, on one line, without PEM and without what looks like a key.

/// Characters that are kept.
const MAX_CHARS: usize = 300;
/// So many characters of a key's alphabet in a row are taken for one.
const KEY_LIKE: usize = 32;

/// `text` without control characters, PEM and keys, cut to 300 characters.
pub fn sanitize(text: &str) -> String {
    let text = without_pem(text);
    let spaced: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
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

/// Names and paths are seldom this long, and of one case.
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
        for (said, kept) in [
            ("Unable to create: no such host".to_owned(), "Unable to create: no such host"),
            ("open /data/tls/17/key.pem: no such file".to_owned(), "open /data/tls/17/key.pem: no such file"),
            (
                "host-1.in-the-basement.of.the.house.example.com".into(),
                "host-1.in-the-basement.of.the.house.example.com",
            ),
            ("a\u{1b}[31m\r\nb\tc".to_owned(), "a [31m b c"),
            (format!("bad {pem} end"), "bad [PEM] end"),
            (format!("-----BEGIN RSA PRIVATE KEY-----\n{key}"), "[PEM]"),
            (format!("body \"{key}\""), "body \"[redacted]\""),
            ("key ptr_abc+/=, no".to_owned(), "key [redacted] no"),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2ln".to_owned(), "Bearer [redacted]"),
            ("0123456789abcdef0123456789abcdef".to_owned(), "[redacted]"),
        ] {
            assert_eq!(sanitize(&said), kept);
        }
        assert_eq!(sanitize(&"é ".repeat(500)).chars().count(), 301);
    }
}
