//! Values of arguments: text in, a value or a message out.

use std::time::Duration;

/// Reads `60s`, `5m` or `1h`.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time span: write 60s, 5m or 1h");
    let seconds_each = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds_each))
}

/// Reads an absolute path.
pub fn absolute(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not an absolute path like /etc/docker/certs")),
    }
}
