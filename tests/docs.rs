//! The documents hold what the code has: each reason its paragraph.
#![allow(clippy::disallowed_methods, reason = "this test reads the documents")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use dockseal::api::condition::Reason;
use std::collections::BTreeSet;

#[test]
fn every_reason_has_its_paragraph_and_every_paragraph_its_reason() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md")).unwrap();
    let mut told = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(reason) = line.strip_prefix("### ") else { continue };
        assert!(told.insert(reason.to_owned()), "{reason} stands there twice");
        assert!(lines.peek().is_some_and(|next| next.len() > 20), "{reason} has no paragraph");
    }
    let known = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(told, known);
}
