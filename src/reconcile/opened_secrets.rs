//! Secrets with encrypted keys, as they were read: opening a key takes a core for a moment, so what was read once, a wrong
//! passphrase too, is not read again while neither the Secret nor the passphrase changes.

use super::permit::Permit;
use crate::adapters::slow_work::SlowWork;
use crate::pki::material::{self, AuthorityError, Contents, Data, StoredAuthority};
use crate::pki::sha256_hex;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) type Passphrase = Option<Zeroizing<Vec<u8>>>;
pub(super) type ReadAuthority = Result<Arc<StoredAuthority>, Arc<AuthorityError>>;

/// Of a namespace so many bytes of Secrets are remembered; the oldest go first.
const MAX_BYTES: usize = 2 << 20;

#[derive(Default)]
pub struct OpenedSecrets(Mutex<HashMap<Arc<str>, VecDeque<Entry>>>);

struct Entry {
    /// Digest of what was read, and of the passphrase.
    input: String,
    bytes: usize,
    opened: Opened,
}

#[derive(Clone)]
enum Opened {
    Authority(ReadAuthority),
    Anything(Arc<Contents>),
}

impl OpenedSecrets {
    /// An authority's Secret, its key opened. A slow key is opened without the permit.
    pub(super) async fn read_authority(
        &self,
        slow: &SlowWork,
        namespace: &Arc<str>,
        data: &Data,
        passphrase: Passphrase,
        permit: &Permit,
    ) -> ReadAuthority {
        let Some(passphrase) = passphrase else { return read_authority(data, None) };
        let input = input("authority", data, &passphrase);
        if let Some(Opened::Authority(read)) = self.find(namespace, &input) {
            return read;
        }
        let (data, bytes) = (data.clone(), size(data));
        let read = permit.without(slow.run(namespace, move || read_authority(&data, Some(&passphrase)))).await;
        self.put(namespace, Entry { input, bytes, opened: Opened::Authority(read.clone()) });
        read
    }

    /// Everything in a Secret that somebody else made, its keys opened. It is read without the permit.
    pub(super) async fn read_anything(
        &self,
        slow: &SlowWork,
        namespace: &Arc<str>,
        data: Data,
        passphrase: Passphrase,
        permit: &Permit,
    ) -> Arc<Contents> {
        let input = input("anything", &data, passphrase.as_ref().map_or(&[], |bytes| bytes.as_slice()));
        if let Some(Opened::Anything(read)) = self.find(namespace, &input) {
            return read;
        }
        let bytes = size(&data);
        let read = move || Arc::new(material::read_anything(&data, passphrase.as_ref().map(|bytes| bytes.as_slice())));
        let read = permit.without(slow.run(namespace, read)).await;
        self.put(namespace, Entry { input, bytes, opened: Opened::Anything(Arc::clone(&read)) });
        read
    }
}

fn read_authority(data: &Data, passphrase: Option<&[u8]>) -> ReadAuthority {
    material::read_authority(data, passphrase).map(Arc::new).map_err(Arc::new)
}

fn input(what: &str, data: &Data, passphrase: &[u8]) -> String {
    let passphrase = Zeroizing::new(sha256_hex(passphrase));
    sha256_hex(format!("{what} {} {}", material::digest(data), *passphrase).as_bytes())
}

fn size(data: &Data) -> usize {
    data.iter().map(|(key, bytes)| key.len() + bytes.len()).sum()
}

impl OpenedSecrets {
    fn find(&self, namespace: &Arc<str>, input: &str) -> Option<Opened> {
        let opened = self.0.lock();
        opened.get(namespace)?.iter().find(|entry| entry.input == input).map(|entry| entry.opened.clone())
    }

    fn put(&self, namespace: &Arc<str>, entry: Entry) {
        let mut opened = self.0.lock();
        let entries = opened.entry(Arc::clone(namespace)).or_default();
        entries.retain(|known| known.input != entry.input);
        entries.push_back(entry);
        let mut bytes: usize = entries.iter().map(|entry| entry.bytes).sum();
        while bytes > MAX_BYTES {
            bytes -= entries.pop_front().map_or(bytes, |oldest| oldest.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(input: &str, bytes: usize) -> Entry {
        Entry { input: input.to_owned(), bytes, opened: Opened::Anything(Arc::default()) }
    }

    #[test]
    fn the_oldest_of_the_same_namespace_goes_for_one_more() {
        let (opened, home, away) = (OpenedSecrets::default(), Arc::from("home"), Arc::from("away"));
        opened.put(&away, entry("one", 10));
        opened.put(&home, entry("one", MAX_BYTES / 2));
        opened.put(&home, entry("two", MAX_BYTES / 2));
        opened.put(&home, entry("three", MAX_BYTES / 2));
        opened.put(&home, entry("too big", MAX_BYTES + 1));
        opened.put(&home, entry("four", 1));
        let known =
            |namespace, names: &[&str]| names.iter().map(|name| opened.find(namespace, name).is_some()).collect();
        let home_knows: Vec<bool> = known(&home, &["one", "two", "three", "too big", "four"]);
        let away_knows: Vec<bool> = known(&away, &["one", "two"]);
        assert_eq!(home_knows, [false, false, false, false, true]);
        assert_eq!(away_knows, [true, false]);
    }

    #[tokio::test]
    async fn what_was_read_is_not_read_again_until_it_changes() {
        let (opened, slow) = (OpenedSecrets::default(), SlowWork::default());
        let (permit, home) = (Permit::unlimited(), Arc::from("home"));
        let read = async |passphrase: &str| {
            let data = Data::from_iter([("tls.key".to_owned(), b"rubbish".to_vec())]);
            let passphrase = Some(Zeroizing::new(passphrase.as_bytes().to_vec()));
            let anything = opened.read_anything(&slow, &home, data.clone(), passphrase.clone(), &permit).await;
            let authority = opened.read_authority(&slow, &home, &data, passphrase, &permit).await;
            (anything, authority.expect_err("it holds no authority"))
        };
        let (first, again, other) = (read("wrong").await, read("wrong").await, read("other").await);
        assert!(Arc::ptr_eq(&first.0, &again.0) && Arc::ptr_eq(&first.1, &again.1));
        assert!(!Arc::ptr_eq(&first.0, &other.0) && !Arc::ptr_eq(&first.1, &other.1));
    }

    #[test]
    fn another_passphrase_or_another_content_is_another_input() {
        let data = |text: &str| Data::from_iter([("tls.key".to_owned(), text.as_bytes().to_vec())]);
        let inputs = [
            input("authority", &data("a"), b"secret"),
            input("authority", &data("a"), b"other"),
            input("authority", &data("b"), b"secret"),
            input("anything", &data("a"), b"secret"),
        ];
        assert_eq!(inputs.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(inputs[0], input("authority", &data("a"), b"secret"));
    }
}
