//! A directory to deliver to, with sets of files that say what they are.

use dockseal::world::host_files::{Directory, Files, Owner};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub const NAME: &str = "pandora";
pub const PUBLIC: [&str; 3] = ["ca.pem", "pandora.pem", "pandora.key"];

/// A fresh directory `allowed`, that a host's administrator lists, and what is around it. Gone when dropped.
pub struct Place(PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("dockseal-{name}-{}-{number}", std::process::id()));
        make(&path, 0o755);
        make(&path.join("allowed"), 0o755);
        Place(path)
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

    pub fn open(&self) -> Directory {
        Directory::open(&self.roots(), &self.certs()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn make(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A set whose files all name it.
pub struct Set([Vec<u8>; 5]);

impl Set {
    pub fn new(word: &str) -> Set {
        let file = |name: &str| format!("{word}\n{name}\n").into_bytes();
        Set(["ca", "cert", "key", "probe cert", "probe key"].map(file))
    }

    /// The same, so large.
    pub fn of_size(word: &str, bytes: usize) -> Set {
        let Set(files) = Set::new(word);
        Set(files.map(|mut file| {
            file.resize(bytes, b'.');
            file
        }))
    }

    pub fn files(&self) -> Files<'_> {
        let [ca, cert, key, probe_cert, probe_key] = &self.0;
        Files { ca, cert, key, probe_cert, probe_key }
    }
}

pub fn owner() -> Owner {
    Owner { object: "DockerHostCert/home/pandora".to_owned(), uid: "42".to_owned() }
}

/// Claims, writes, points and links.
pub fn deliver(directory: &Directory, word: &str) -> u64 {
    directory.claim(&owner(), None).unwrap();
    let number = directory.write_generation(NAME, &Set::new(word).files()).unwrap();
    directory.point(number).unwrap();
    directory.link_names(NAME, dockseal::world::host_files::Over::Nothing).unwrap();
    number
}

/// The word of the set that is behind the public names.
pub fn shown(certs: &Path) -> Vec<String> {
    PUBLIC.iter().map(|name| word(&fs::read(certs.join(name)).unwrap())).collect()
}

pub fn word(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
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
