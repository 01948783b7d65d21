//! What a Secret holds: certificates and keys to a map of file names, and back to facts. It decides nothing.

use super::certificate::{self, Certificate};
use super::encrypted::{self, Salt};
use super::file_kind;
use super::key::PrivateKey;
use super::key_error::KeyError;
use super::pem_blocks;
use super::sha256_hex;
use super::sign::Authority;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Data of a Secret, by key. Its Debug names the keys alone, its memory is zeroed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Data {
    /// The bytes under `key`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(|bytes| bytes.as_slice())
    }

    /// Puts `bytes` under `key`.
    pub fn insert(&mut self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.0.insert(key.to_owned(), Zeroizing::new(bytes.into()));
    }

    /// Keys and bytes, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice()))
    }
}

impl FromIterator<(String, Vec<u8>)> for Data {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(entries: I) -> Data {
        Data(entries.into_iter().map(|(key, bytes)| (key, Zeroizing::new(bytes))).collect())
    }
}

/// Names under which a leaf's Secret has certificate, key and bundle: Kubernetes' own, and the Docker CLI's.
const LEAF_FILES: [(&str, &str); 3] = [("tls.crt", "cert.pem"), ("tls.key", "key.pem"), ("ca.crt", "ca.pem")];

/// Name under which a host's Secret has a client certificate of its authority for which nobody has a key, PEM: with it a
/// companion finds out whether its dockerd admits that authority's clients.
pub const AUTHORITY_PROOF: &str = "proof.pem";

/// Data of a leaf's Secret: `tls.crt`, `tls.key` and `ca.crt` in PEM, and Docker's names of them.
pub fn leaf(certificate: &Certificate, key_pem: &str, bundle_pem: &str) -> Data {
    let mut data = Data::default();
    for ((kubernetes, docker), text) in LEAF_FILES.iter().zip([certificate.to_pem().as_str(), key_pem, bundle_pem]) {
        data.insert(kubernetes, text);
        data.insert(docker, text);
    }
    data
}

/// What a leaf's Secret holds. Small: the controller keeps one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// DER of the certificate, where there is a pair that fits together.
    pub certificate: Option<Box<[u8]>>,
    /// SHA-256 of the bytes of `ca.crt`.
    pub bundle_digest: [u8; 32],
    /// `cert.pem`, `key.pem` and `ca.pem` are the same as `tls.crt`, `tls.key` and `ca.crt`.
    pub copies_match: bool,
}

/// Reads a leaf's Secret.
pub fn read_leaf(data: &Data) -> LeafFacts {
    LeafFacts {
        certificate: read_pair(data).map(|certificate| certificate.der.into_boxed_slice()),
        bundle_digest: bundle_digest(data.get("ca.crt").unwrap_or_default()),
        copies_match: LEAF_FILES.iter().all(|(kubernetes, docker)| data.get(kubernetes) == data.get(docker)),
    }
}

/// The facts of a leaf's Secret that we wrote ourselves: the pair fits, so the key is not read again.
pub fn written_leaf(data: &Data) -> LeafFacts {
    let block = data.get("tls.crt").and_then(|text| pem_blocks::blocks(text).ok()?.into_iter().next());
    LeafFacts {
        certificate: block.and_then(|block| Some(block.contents.ok()?.as_slice().into())),
        bundle_digest: bundle_digest(data.get("ca.crt").unwrap_or_default()),
        copies_match: true,
    }
}

/// SHA-256 of a bundle's PEM, as [`LeafFacts`] has it.
pub fn bundle_digest(pem: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pem);
    <[u8; 32]>::try_from(digest.as_ref()).expect("SHA-256 has 32 bytes")
}

fn read_pair(data: &Data) -> Option<Certificate> {
    let certificate = Certificate::from_pem(data.get("tls.crt")?).ok()?;
    let key = PrivateKey::from_pem(data.get("tls.key")?, None).ok()?;
    (key.public_der() == certificate.public_key).then_some(certificate)
}

/// An authority's Secret: what signs, what went before it, and what is trusted.
pub fn authority(certificate: &Certificate, key_pem: &[u8], former: &[Certificate], bundle_pem: &str) -> Data {
    let mut data = Data::default();
    data.insert("tls.crt", certificate.to_pem());
    data.insert("tls.key", key_pem);
    data.insert("ca.crt", bundle_pem);
    if !former.is_empty() {
        let pem: String = former.iter().map(Certificate::to_pem).collect();
        data.insert(&former_key(certificate), pem);
    }
    data
}

/// `authority-<8 hex of the fingerprint>.crt`.
fn former_key(certificate: &Certificate) -> String {
    format!("authority-{}.crt", &certificate.key_fingerprint()[..8])
}

/// The key as it is stored: encrypted where there is a passphrase.
pub fn stored_key(key: &PrivateKey, passphrase: Option<&[u8]>, salt: &Salt) -> Zeroizing<String> {
    match passphrase {
        Some(passphrase) => Zeroizing::new(encrypted::seal(&key.to_pkcs8_der(), passphrase, salt)),
        None => key.to_pem(),
    }
}

/// An authority as its Secret holds it.
#[derive(Clone)]
pub struct StoredAuthority {
    /// Certificate and opened key.
    pub authority: Authority,
    /// Earlier certificates of the same key.
    pub former: Vec<Certificate>,
    /// `ca.crt`, as it is.
    pub bundle: Vec<u8>,
    /// `tls.key`, as it is.
    pub key_pem: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for StoredAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredAuthority({})", self.authority.certificate.key_fingerprint())
    }
}

/// Why an authority's Secret is of no use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthorityError {
    /// The key is encrypted and cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something is missing or cannot be read.
    #[error("{0}")]
    Damaged(&'static str),
}

/// Reads an authority's Secret, its key opened with `passphrase`.
///
/// # Errors
/// [`AuthorityError::Key`] where the passphrase is missing or wrong, else [`AuthorityError::Damaged`].
pub fn read_authority(data: &Data, passphrase: Option<&[u8]>) -> Result<StoredAuthority, AuthorityError> {
    use AuthorityError::Damaged;
    let certificate = data.get("tls.crt").ok_or(Damaged("tls.crt is missing"))?;
    let certificate = Certificate::from_pem(certificate).map_err(|_| Damaged("tls.crt cannot be read"))?;
    let key_pem = data.get("tls.key").ok_or(Damaged("tls.key is missing"))?;
    let key = match PrivateKey::from_pem(key_pem, passphrase) {
        Ok(key) => key,
        Err(KeyError::Malformed) => return Err(Damaged("tls.key cannot be read")),
        Err(error) => return Err(error.into()),
    };
    if key.public_der() != certificate.public_key {
        return Err(Damaged("tls.key is not the key of tls.crt"));
    }
    let former = data.get(&former_key(&certificate)).map(certificate::all_from_pem);
    let former = former.unwrap_or(Ok(Vec::new())).unwrap_or_default();
    let former = former.into_iter().filter(|old| old.public_key == certificate.public_key).collect();
    let bundle = data.get("ca.crt").unwrap_or_default().to_vec();
    Ok(StoredAuthority {
        authority: Authority { certificate, key: Arc::new(key) },
        former,
        bundle,
        key_pem: Zeroizing::new(key_pem.to_vec()),
    })
}

/// Every certificate and every private key of a Secret, whatever its keys are called.
#[derive(Debug, Default)]
pub struct Contents {
    /// The certificates, each once.
    pub certificates: Vec<Certificate>,
    /// The keys, or why one could not be opened.
    pub keys: Vec<Result<Arc<PrivateKey>, KeyError>>,
    /// What cannot be read: a key of the Secret, and what is wrong with what it holds.
    pub unreadable: Vec<(String, String)>,
}

impl Contents {
    /// What cannot be read, in one line; nothing where there is nothing.
    pub fn unreadable_text(&self) -> Option<String> {
        let (key, why) = self.unreadable.first()?;
        let more = match self.unreadable.len() {
            1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        Some(format!("{key}: {why}{more}"))
    }
}

/// Decrypting one takes half a second or more, a Secret can hold thousands, and an authority has one.
const MAX_ENCRYPTED: usize = 1;

/// Reads everything in PEM from `data`. Of encrypted keys the first is opened.
pub fn read_anything(data: &Data, passphrase: Option<&[u8]>) -> Contents {
    let mut contents = Contents::default();
    let mut opened = 0;
    for (name, bytes) in data.iter() {
        let unreadable = file_kind::unreadable(name, bytes).into_iter().map(|why| (name.to_owned(), why));
        contents.unreadable.extend(unreadable);
        for block in pem_blocks::blocks(bytes).unwrap_or_default() {
            if block.contents.is_err() {
                continue; // said among what is unreadable
            }
            if block.is_private_key() {
                opened += usize::from(block.is_encrypted());
                let too_many = block.is_encrypted() && opened > MAX_ENCRYPTED;
                let key = if too_many { Err(KeyError::TooMany) } else { PrivateKey::from_block(&block, passphrase) };
                contents.keys.push(key.map(Arc::new));
            } else if let Ok(certificate) = Certificate::from_block(&block) {
                contents.certificates.push(certificate);
            }
        }
    }
    contents.certificates = super::TrustBundle::new(contents.certificates).certificates().to_vec();
    contents
}

/// SHA-256 of everything in `data`, hex: whether something changed.
pub fn digest(data: &Data) -> String {
    let mut bytes = Zeroizing::new(Vec::new());
    for (key, value) in data.iter() {
        bytes.extend_from_slice(&(key.len() as u64).to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    sha256_hex(&bytes)
}
