//! Durations as users write them, `8760h` or `365d`: text in, a span out, within the bounds of the schema.

use k8s_openapi::jiff::SignedDuration;

/// What the schemas take for a duration.
pub const PATTERN: &str = "^[1-9][0-9]{0,5}[hd]$";
/// A century, in hours.
pub const MAX_HOURS: i64 = 876_600;

/// What is wrong with a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the form `8760h` or `365d`.
    #[error("{0:?} is not a duration: write hours or days, like 8760h or 365d")]
    Malformed(String),
    /// Over a century, 36525 days.
    #[error("{0} is over a century (36525d)")]
    TooLong(String),
}

/// Reads a duration of one hour to a century.
///
/// # Errors
/// [`DurationError`] where the text is not of the schema's form, or is over a century.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let malformed = || DurationError::Malformed(text.chars().take(40).collect());
    let (digits, hours_each) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 24),
        _ => return Err(malformed()),
    };
    let plain =
        (1..=6).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = digits.parse().ok().filter(|_| plain).ok_or_else(malformed)?;
    let hours = count * hours_each;
    if hours > MAX_HOURS {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    Ok(SignedDuration::from_hours(hours))
}

/// 365d, the default of leaf certificates.
pub fn year() -> String {
    "365d".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_within_a_century() {
        assert_eq!(parse("1h"), Ok(SignedDuration::from_hours(1)));
        assert_eq!(parse("365d"), Ok(SignedDuration::from_hours(8760)));
        assert_eq!(parse("36525d"), Ok(SignedDuration::from_hours(MAX_HOURS)));
        assert_eq!(parse("36526d"), Err(DurationError::TooLong("36526d".into())));
        for bad in ["", "d", "0h", "01d", "1.5d", "1w", "-1d", "1000000h", "30m", "1d ", "１d", "365"] {
            assert_eq!(parse(bad), Err(DurationError::Malformed(bad.into())), "{bad:?}");
        }
    }
}
