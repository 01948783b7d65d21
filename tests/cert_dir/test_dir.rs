//! A directory to deliver to, sets of files that say what they are, and the order of calls that a companion keeps.

use dockseal::adapters::host::cert_dir::{CertDir, DeliveryError, DirContents, GenerationFiles, Overwrite, PublicName};
use dockseal::api::marker::Marker;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub const NAME: &str = "pandora";
pub const PUBLIC: [&str; 3] = ["ca.pem", "pandora.pem", "pandora.key"];

/// A fresh directory with `allowed` in it, which the host's administrator lists. Gone when dropped.
pub struct TestDir(PathBuf);

impl TestDir {
    pub fn new(name: &str) -> TestDir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("dockseal-{name}-{}-{number}", std::process::id()));
        make(&path, 0o755);
        make(&path.join("allowed"), 0o755);
        TestDir(path)
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    pub fn roots(&self) -> Vec<PathBuf> {
        vec![self.path("allowed")]
    }

    pub fn certs(&self) -> PathBuf {
        self.path("allowed/certs")
    }

    pub fn open(&self) -> CertDir {
        CertDir::open(&self.roots(), &self.certs()).unwrap()
    }

    /// A file outside that nobody is to write, and nobody else to read.
    pub fn canary(&self) -> Canary {
        let path = self.path("elsewhere");
        make(&path, 0o700);
        fs::write(path.join("ca.pem"), "canary").unwrap();
        fs::set_permissions(path.join("ca.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        Canary { facts: facts(&path), path }
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// See [`Place::canary`].
pub struct Canary {
    pub path: PathBuf,
    facts: Vec<(String, [i64; 6])>,
}

impl Canary {
    pub fn assert_untouched(&self) {
        assert_eq!(facts(&self.path), self.facts, "the canary was touched");
        assert_eq!(fs::read_to_string(self.path.join("ca.pem")).unwrap(), "canary");
    }
}

/// All that can be told of everything below a path, itself included; access times excepted.
pub fn facts(path: &Path) -> Vec<(String, [i64; 6])> {
    let of = |path: &Path| {
        let found = fs::symlink_metadata(path).unwrap();
        [
            found.ino() as i64,
            found.mode().into(),
            found.uid().into(),
            found.nlink() as i64,
            found.ctime(),
            found.ctime_nsec(),
        ]
    };
    let below = tree(path).into_iter().map(|name| (name.clone(), of(&path.join(name))));
    std::iter::once((String::new(), of(path))).chain(below).collect()
}

pub fn make(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A set whose files all name it.
pub struct FileSet([Vec<u8>; 5]);

impl FileSet {
    pub fn new(word: &str) -> FileSet {
        let file = |name: &str| format!("{word}\n{name}\n").into_bytes();
        FileSet(["ca", "cert", "key", "probe cert", "probe key"].map(file))
    }

    /// The same, so large.
    pub fn of_size(word: &str, bytes: usize) -> FileSet {
        let FileSet(files) = FileSet::new(word);
        FileSet(files.map(|mut file| {
            file.resize(bytes, b'.');
            file
        }))
    }

    pub fn files(&self) -> GenerationFiles<'_> {
        let [ca, cert, key, probe_cert, probe_key] = &self.0;
        GenerationFiles { ca, cert, key, probe_cert, probe_key }
    }
}

pub fn marker() -> Marker {
    Marker { object: "DockerHostCert/home/pandora".to_owned(), uid: "42".to_owned(), ..Marker::default() }
}

/// Opens a directory whose parent is allowed.
pub fn open(certs: &Path) -> Result<CertDir, DeliveryError> {
    CertDir::open(&[certs.parent().unwrap().to_owned()], certs)
}

/// Brings a set to its place as a companion does, from wherever an earlier round ended.
pub fn round(certs: &Path, set: &str, take_over: bool) -> Result<(), DeliveryError> {
    let directory = open(certs)?;
    directory.remove_leftovers()?;
    directory.claim(&marker(), None)?;
    let seen = directory.contents(NAME)?;
    let over = if seen.is_delivered_by(&marker()) { Overwrite::Always } else { Overwrite::Never };
    if over == Overwrite::Always {
        directory.link_names(NAME, over)?; // edits, before `current` moves
    } else if take_over {
        directory.take_over(NAME)?;
    }
    if shows(&seen) != Some(set.to_owned()) {
        let number = directory.write_generation(NAME, &FileSet::new(set).files())?;
        directory.set_current(number)?;
    }
    directory.link_names(NAME, over)?;
    directory.prune(&seen.current.into_iter().collect::<Vec<_>>())
}

pub fn release(certs: &Path) -> Result<(), DeliveryError> {
    open(certs)?.release(NAME)
}

fn shows(seen: &DirContents) -> Option<String> {
    let current = seen.current_generation()?;
    let whole = current.problems.is_empty() && current.probe_key.is_some();
    whole.then(|| current.ca.as_deref().map(word)).flatten()
}

/// The word of the set that is behind each public name that is there. A link that leads nowhere fails.
pub fn shown(certs: &Path) -> Vec<String> {
    let there = PUBLIC.iter().map(|name| certs.join(name)).filter(|path| fs::symlink_metadata(path).is_ok());
    there.map(|path| word(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))).collect()
}

pub fn word(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}

pub fn names_are_ours(seen: &DirContents) -> bool {
    [&seen.ca, &seen.cert, &seen.key].iter().all(|name| **name == PublicName::Ours)
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// All paths below, links not followed.
pub fn tree(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    collect(path, path, &mut found);
    found.sort();
    found
}

fn collect(top: &Path, path: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.strip_prefix(top).unwrap().display().to_string());
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            collect(top, &path, found);
        }
    }
}
