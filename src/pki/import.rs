//! Files that openssl made by hand: names, modes and bytes in, certificates and keys out. It judges nothing.

use super::certificate::Certificate;
use super::key::PrivateKey;
use super::key_error::KeyError;
use super::material::{Contents, Data, read_anything};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A file. Its memory is zeroed.
#[derive(Clone)]
pub struct FoundFile {
    /// Path below the directory.
    pub path: String,
    /// Permissions, as `chmod` has them.
    pub mode: u32,
    /// The file's whole content.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for FoundFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FoundFile({}, {:o})", self.path, self.mode)
    }
}

/// A private key in a file.
#[derive(Debug)]
pub struct FoundKey {
    /// The file, by its place in the list.
    pub file: usize,
    /// The file has it encrypted.
    pub is_encrypted: bool,
    /// The key, or why it cannot be read.
    pub key: Result<Arc<PrivateKey>, KeyError>,
}

/// Certificates and keys of all files.
#[derive(Debug, Default)]
pub struct ImportedFiles {
    /// Certificates, each once, with the first file that they are in, by its place in the list.
    pub certificates: Vec<(usize, Certificate)>,
    /// Private keys, encrypted ones too.
    pub keys: Vec<FoundKey>,
    /// What cannot be read: the file, by its place in the list, and what is wrong with it.
    pub unreadable: Vec<(usize, String)>,
}

/// Reads all files; encrypted keys are opened with the passphrase.
pub fn read(files: &[FoundFile], passphrase: Option<&[u8]>) -> ImportedFiles {
    let mut imported = ImportedFiles::default();
    for (file, found) in files.iter().enumerate() {
        let mut data = Data::default();
        data.insert(&found.path, found.bytes.to_vec());
        let Contents { certificates, keys, unreadable } = read_anything(&data, None);
        imported.unreadable.extend(unreadable.into_iter().map(|(_, why)| (file, why)));
        let locked = keys.iter().any(|key| key.as_ref().is_err_and(|error| *error == KeyError::PassphraseNeeded));
        let opened = match passphrase {
            Some(passphrase) if locked => read_anything(&data, Some(passphrase)).keys,
            _ => Vec::new(),
        };
        let mut opened = opened.into_iter();
        for key in keys {
            let is_encrypted = matches!(key, Err(KeyError::PassphraseNeeded | KeyError::TooMany));
            imported.keys.push(FoundKey { file, is_encrypted, key: opened.next().unwrap_or(key) });
        }
        for certificate in certificates {
            if !imported.certificates.iter().any(|(_, known)| known.der == certificate.der) {
                imported.certificates.push((file, certificate));
            }
        }
    }
    imported
}
