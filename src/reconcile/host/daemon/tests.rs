//! Journals of version 0.1 are read, and say the same when they are written again.

use super::journal::Journal;
use serde_json::Value;

#[test]
fn journals_of_0_1_are_read() {
    for text in [
        include_str!("../../../../tests/fixtures/notes-0.1/journal.json"),
        include_str!("../../../../tests/fixtures/notes-0.1/journal-writing.json"),
        include_str!("../../../../tests/fixtures/notes-0.1/journal-closing.json"),
        include_str!("../../../../tests/fixtures/notes-0.1/journal-restarting.json"),
    ] {
        let journal: Journal = serde_json::from_str(text).expect("it is read");
        let before: Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(serde_json::to_value(journal).expect("it is JSON"), before);
    }
}
