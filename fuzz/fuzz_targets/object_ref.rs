//! The owner annotation, which anybody can write: what is read prints as it was, and what we print is read.
#![no_main]

use dockseal::api::{Kind, ObjectRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(reference) = ObjectRef::parse(text) {
        assert_eq!(reference.to_string(), text);
    }
    let (namespace, name) = text.split_once(' ').unwrap_or((text, text));
    let whole = [namespace, name].iter().all(|part| !part.is_empty() && !part.contains('/'));
    for kind in Kind::ALL {
        let reference = ObjectRef::new(kind, namespace, name);
        let read = ObjectRef::parse(&reference.to_string());
        assert_eq!(read, whole.then_some(reference), "{text:?}");
    }
});
