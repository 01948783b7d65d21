//! daemon.json, which anybody wrote: what is not ours survives a merge in value and order, what was merged is sealed,
//! and what is sealed says so to another reader as well.
#![no_main]

use dockseal::docker::{DaemonJson, TlsPaths, NotEnforced, Wanted, enforces_client_auth};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

const OURS: [&str; 5] = ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];

fuzz_target!(|input: &[u8]| {
    let Some((how, text)) = input.split_first() else { return };
    let verdict = enforces_client_auth(text);
    if let Ok(paths) = &verdict {
        assert_eq!(as_others_read(text), Some(paths.clone()));
    }
    let Ok(before) = DaemonJson::parse(text) else { return assert!(verdict.is_err()) };
    if !text.iter().all(u8::is_ascii_whitespace) {
        assert_eq!(before.render(), text);
    }
    let (live_restore, drop_hosts) = (how & 1 == 1, how & 2 == 2);
    let wanted = Wanted { ca: "/a/ca.pem", cert: "/a/cert.pem", key: "/a/key.pem", live_restore, drop_hosts };
    let ours = TlsPaths { ca: wanted.ca.into(), cert: wanted.cert.into(), key: wanted.key.into() };
    let after = before.merged(&wanted);
    assert_eq!(others(&after.render(), &wanted), others(text, &wanted));
    assert_eq!(DaemonJson::parse(&after.render()).as_ref(), Ok(&after));
    assert_eq!(after.merged(&wanted), after);
    match enforces_client_auth(&after.render()) {
        Ok(paths) => assert_eq!(paths, ours),
        Err(reason) => assert!(matches!(reason, NotEnforced::Nested { .. }), "{reason}"),
    }
    let left = after.without_tls(&ours).expect("they are ours").render();
    assert_eq!(others(&left, &wanted), others(text, &wanted));
    assert!(members(&left).iter().all(|(key, _)| !OURS.contains(&fold(key).as_str())));
});

/// The members that a merge must not touch.
fn others(text: &[u8], wanted: &Wanted) -> Vec<(String, String)> {
    let touched = |name: &str| {
        OURS.contains(&name)
            || (name == "hosts" && wanted.drop_hosts)
            || (name == "live-restore" && wanted.live_restore)
    };
    members(text).into_iter().filter(|(key, _)| !touched(&fold(key))).collect()
}

/// A key's name as Go folds it; one with half a surrogate pair is nobody's.
fn fold(key: &str) -> String {
    let name: String = serde_json::from_str(key).unwrap_or_default();
    name.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase()
}

/// All members as they are written, keys too.
fn members(text: &[u8]) -> Vec<(String, String)> {
    serde_json::from_slice::<Members>(text).map(|members| members.0).unwrap_or_default()
}

struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((key.get().to_owned(), value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The last of each name as it is, if it makes dockerd demand certificates.
fn as_others_read(text: &[u8]) -> Option<TlsPaths> {
    let members = members(text);
    let last = |name: &str| members.iter().rev().find(|(key, _)| fold(key) == name).map(|(_, value)| value.clone());
    let path = |name| last(name).and_then(|value| serde_json::from_str(&value).ok());
    let verified = last("tlsverify").as_deref() == Some("true");
    verified.then_some(())?;
    Some(TlsPaths { ca: path("tlscacert")?, cert: path("tlscert")?, key: path("tlskey")? })
}
