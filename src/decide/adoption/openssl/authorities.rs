//! The authorities among the files in, a Secret and a DockerCA for each out. An authority without a key that fits is left
//! out, with the reason.

use super::options::{OpensslAdoption, PLACEHOLDER};
use super::weaknesses;
use crate::api::{Kind, NamespacedName};
use crate::decide::Problem;
use crate::decide::adoption::{Adopted, FindingKind, UniqueNames, object, text_secret};
use crate::decide::authority::adopt;
use crate::pki::import::{FoundFile, FoundKey, ImportedFiles};
use crate::pki::material::{Data, read_anything};
use crate::pki::{Certificate, KeyError, name};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

/// An authority that is adopted.
pub(super) struct AdoptedAuthority<'a> {
    pub(super) name: String,
    pub(super) certificates: Vec<&'a Certificate>,
}

/// The files, and what is made of them.
pub(super) struct Adoption<'a> {
    pub(super) files: &'a [FoundFile],
    pub(super) imported: &'a ImportedFiles,
    options: &'a OpensslAdoption,
    pub(super) now: Timestamp,
    pub(super) names: UniqueNames,
    pub(super) adopted: Adopted,
}

impl<'a> Adoption<'a> {
    pub(super) fn new(
        files: &'a [FoundFile],
        imported: &'a ImportedFiles,
        options: &'a OpensslAdoption,
        now: Timestamp,
    ) -> Adoption<'a> {
        Adoption { files, imported, options, now, names: UniqueNames::default(), adopted: Adopted::default() }
    }

    pub(super) fn path(&self, file: usize) -> &'a str {
        &self.files[file].path
    }

    /// Findings about what no certificate or key could be read from.
    pub(super) fn report_unreadable(&mut self) {
        for (file, why) in &self.imported.unreadable {
            let path = self.path(*file);
            self.adopted.say(FindingKind::LeftOut, path, why);
        }
    }

    /// Findings about private keys.
    pub(super) fn report_keys(&mut self) {
        for found in &self.imported.keys {
            let (path, mode) = (self.path(found.file), self.files[found.file].mode);
            if mode & 0o077 != 0 {
                let text = format!("a private key that others on this machine can read (mode {mode:04o}): chmod 600");
                self.adopted.say(FindingKind::Insecure, path, text);
            }
            match &found.key {
                Err(KeyError::PassphraseNeeded) => {
                    let text = "the private key is encrypted, and was not opened: give --passphrase-file, or run on a terminal";
                    self.adopted.say(FindingKind::Note, path, text);
                }
                Err(error) => self.adopted.say(FindingKind::LeftOut, path, error.to_string()),
                Ok(_) => {}
            }
        }
    }

    /// Each authority once: its certificates by their key.
    pub(super) fn adopt_authorities(&mut self) -> Vec<AdoptedAuthority<'a>> {
        let imported = self.imported;
        let mut groups: Vec<Vec<&(usize, Certificate)>> = Vec::new();
        for found in imported.certificates.iter().filter(|(_, found)| found.is_ca || found.is_issued_by(found)) {
            match groups.iter_mut().find(|group| group[0].1.public_key == found.1.public_key) {
                Some(group) => group.push(found),
                None => groups.push(vec![found]),
            }
        }
        let without_key = groups.iter().filter(|group| self.key_of(&group[0].1).is_none()).count();
        groups.iter().filter_map(|group| self.authority(group, without_key)).collect()
    }

    fn key_of(&self, certificate: &Certificate) -> Option<&'a FoundKey> {
        let fits = |found: &&FoundKey| found.key.as_ref().is_ok_and(|key| key.public_der() == certificate.public_key);
        self.imported.keys.iter().find(fits)
    }

    /// The only key that could not be opened: the one that is missing, most likely.
    fn locked_key(&self) -> Option<&'a FoundKey> {
        let mut locked = self.imported.keys.iter().filter(|found| found.key.as_ref().is_err_and(is_locked));
        let first = locked.next()?;
        locked.next().is_none().then_some(first)
    }

    fn authority(&mut self, group: &[&'a (usize, Certificate)], without_key: usize) -> Option<AdoptedAuthority<'a>> {
        let newest = group.iter().max_by_key(|(_, certificate)| certificate.not_after).expect("a group has one");
        let path = self.path(newest.0);
        group
            .iter()
            .for_each(|(file, certificate)| self.report_weaknesses(*file, weaknesses::of_authority(certificate)));
        let from = NamespacedName::new("files", "adopted");
        if let Err(problem) = adopt::check(&from, &newest.1, self.now) {
            self.leave_out(path, &from, &problem);
            return None;
        }
        let locked = self.locked_key().filter(|_| without_key == 1);
        let Some(key) = self.key_of(&newest.1).or(locked) else {
            let subject = name::display(&newest.1.subject);
            let text = format!(
                "the private key of {subject} is missing or cannot be opened: an authority cannot sign without it"
            );
            self.adopted.say(FindingKind::LeftOut, path, text);
            return None;
        };
        let data = match self.material(group, key) {
            Ok(data) => data,
            Err(text) => {
                self.adopted.say(FindingKind::LeftOut, path, text);
                return None;
            }
        };
        if let Err(problem) = self.sound(&from, &data, key) {
            self.leave_out(path, &from, &problem);
            return None;
        }
        for cure in adopt::cures(&newest.1) {
            let text = format!("{cure}: Dockseal makes a further certificate with the same key at once");
            self.adopted.say(FindingKind::Note, path, text);
        }
        let common_name = newest.1.common_name.as_deref().unwrap_or_default();
        let name = self.names.take(&[self.options.name.as_deref().unwrap_or(common_name)], "docker-ca");
        self.print_authority(&name, &data, key);
        Some(AdoptedAuthority { name, certificates: group.iter().map(|(_, certificate)| certificate).collect() })
    }

    fn leave_out(&mut self, path: &str, from: &NamespacedName, problem: &Problem) {
        let text = problem.message.replacen(&format!("Secret {from}"), "", 1);
        self.adopted.say(FindingKind::LeftOut, path, text.trim_start_matches([' ', ',', ':']));
    }

    /// The rules of `spec.existing` that need the key.
    fn sound(&self, from: &NamespacedName, data: &Data, key: &FoundKey) -> Result<(), Problem> {
        if key.key.is_err() {
            return Ok(());
        }
        let passphrase = self.options.passphrase.as_ref().map(|passphrase| passphrase.text.as_bytes());
        adopt::adopt(from, &read_anything(data, passphrase), self.now).map(drop)
    }

    /// The authority's files: its certificates, and its key as it is.
    fn material(&self, group: &[&(usize, Certificate)], key: &FoundKey) -> Result<Data, String> {
        let file = &self.files[key.file];
        let others = self.imported.keys.iter().filter(|other| other.file == key.file).count() > 1
            || self
                .imported
                .certificates
                .iter()
                .any(|(at, other)| *at == key.file && other.public_key != group[0].1.public_key);
        if others {
            let text = "holds more than the authority's key: put that into a file of its own";
            return Err(format!("{} {text}", file.path));
        }
        let mut data = Data::default();
        let pem: String = group.iter().map(|(_, certificate)| certificate.to_pem()).collect();
        let key_name = file_name(&file.path);
        let name = Some(file_name(self.path(group[0].0))).filter(|name| *name != key_name);
        data.insert(&name.unwrap_or_else(|| "ca.crt".to_owned()), pem);
        data.insert(&key_name, file.bytes.to_vec());
        Ok(data)
    }

    fn print_authority(&mut self, name: &str, data: &Data, key: &FoundKey) {
        let path = self.path(key.file);
        let (secret, passphrase) = (format!("{name}-openssl"), format!("{name}-passphrase"));
        let entries: Map<String, Value> =
            data.iter().map(|(file, bytes)| (file.to_owned(), BASE64_STANDARD.encode(bytes).into())).collect();
        self.adopted
            .manifests
            .push(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret }, "data": entries }));
        let mut spec = json!({ "existing": { "secretRef": { "name": secret } } });
        if key.is_encrypted {
            let printed = self.options.passphrase.as_ref().filter(|given| given.is_printed && key.key.is_ok());
            let text = printed.map_or(PLACEHOLDER, |given| given.text.as_str());
            self.adopted.manifests.push(text_secret(&passphrase, "passphrase", text));
            spec["passphraseSecretRef"] = json!({ "name": passphrase, "key": "passphrase" });
            if printed.is_none() {
                let text = format!("put the passphrase of {path} where {PLACEHOLDER} stands");
                self.adopted.say(FindingKind::Note, &format!("Secret {passphrase}"), text);
            }
        } else {
            let text = "the authority's private key is not encrypted: anyone who reads the file can sign for every host; \
                        spec.passphraseSecretRef makes Dockseal keep it encrypted";
            self.adopted.say(FindingKind::Insecure, path, text);
        }
        self.adopted.manifests.push(object(Kind::DockerCA, name, spec));
    }

    pub(super) fn report_weaknesses(&mut self, file: usize, weaknesses: Vec<String>) {
        let path = self.path(file);
        weaknesses.into_iter().for_each(|text| self.adopted.say(FindingKind::Insecure, path, text));
    }
}

fn is_locked(error: &KeyError) -> bool {
    *error == KeyError::PassphraseNeeded
}

/// The last part of a path, as a Secret's key may be.
fn file_name(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or(path);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    last.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect()
}
