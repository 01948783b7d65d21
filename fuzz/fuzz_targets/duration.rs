//! Durations: what is read is exactly what the schema's pattern and its rule of a century let pass.
#![no_main]

use dockseal::api::duration::{DurationError, MAX_HOURS, PATTERN, parse};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FORM: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(PATTERN).expect("a pattern"));

fuzz_target!(|text: &str| {
    let read = parse(text);
    if !FORM.is_match(text) {
        assert!(matches!(read, Err(DurationError::Malformed(_))), "{text:?}: {read:?}");
        return;
    }
    let (count, unit) = text.split_at(text.len() - 1);
    let hours = count.parse::<i64>().expect("six digits") * if unit == "d" { 24 } else { 1 };
    match read {
        Ok(span) => assert!(span.as_hours() == hours && (1..=MAX_HOURS).contains(&hours), "{text}"),
        Err(error) => assert!(hours > MAX_HOURS && matches!(error, DurationError::TooLong(_)), "{text}"),
    }
});
