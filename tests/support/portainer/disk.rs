//! The files on the server's disk, `tls/<folder>/{ca,cert,key}.pem` with mode 0600: bytes in, paths out.

use super::super::scratch::Scratch;
use super::answer::Answer;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Which of the three.
pub const KINDS: [&str; 3] = ["ca", "cert", "key"];

/// The data directory.
pub struct Disk(Scratch);

impl Disk {
    /// An empty one.
    pub fn new() -> anyhow::Result<Disk> {
        let scratch = Scratch::new("portainer")?;
        std::fs::create_dir_all(scratch.path().join("tls"))?;
        Ok(Disk(scratch))
    }

    /// `tls/`.
    pub fn root(&self) -> PathBuf {
        self.0.path().join("tls")
    }

    /// Where a file of that folder is; a folder's name never leads out of `tls/`.
    pub fn path(&self, dir: &str, kind: &str) -> String {
        self.dir(dir).join(format!("{kind}.pem")).display().to_string()
    }

    /// Writes a file.
    pub fn write(&self, dir: &str, kind: &str, bytes: &[u8]) -> Result<String, Answer> {
        let written = || {
            std::fs::create_dir_all(self.dir(dir))?;
            let path = self.path(dir, kind);
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(bytes)?;
            Ok(path)
        };
        written().map_err(|error: std::io::Error| {
            Answer::refusal(500, "Unable to persist certificate file on disk", &error.to_string())
        })
    }

    /// Deletes a file.
    pub fn delete(&self, dir: &str, kind: &str) {
        let _ = std::fs::remove_file(self.path(dir, kind));
    }

    /// Deletes a folder.
    pub fn delete_all(&self, dir: &str) {
        let _ = std::fs::remove_dir_all(self.dir(dir));
    }

    /// The folders that have such a file.
    pub fn folders_with(&self, kind: &str) -> Vec<String> {
        let folders = std::fs::read_dir(self.root()).into_iter().flatten().flatten();
        let folders = folders.filter(|dir| dir.path().join(format!("{kind}.pem")).exists());
        folders.map(|dir| dir.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Every file, by its path below `tls/`.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for dir in std::fs::read_dir(self.root()).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
                if let Ok(bytes) = std::fs::read(file.path()) {
                    files.insert(Path::new(&dir.file_name()).join(file.file_name()), bytes);
                }
            }
        }
        files
    }

    /// Has these files and no others.
    pub fn set(&self, files: &BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
        std::fs::remove_dir_all(self.root())?;
        std::fs::create_dir_all(self.root())?;
        for (path, bytes) in files {
            let dir = path.parent().unwrap_or(Path::new("")).display().to_string();
            let kind = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.write(&dir, &kind, bytes).map_err(|answer| anyhow::anyhow!("{answer:?}"))?;
        }
        Ok(())
    }

    fn dir(&self, dir: &str) -> PathBuf {
        let steps = Path::new(dir).components().filter_map(|step| match step {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        });
        steps.fold(self.root(), |path, name| path.join(name))
    }
}
