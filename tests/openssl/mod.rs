//! The openssl CLI in a directory of its own, which goes when the test does.
#![allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]

use dockseal::pki::Certificate;
use dockseal::pki::material::{Contents, Data, read_anything};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A workbench: files by name, and openssl among them.
pub struct OpensslDir(PathBuf);

impl OpensslDir {
    /// An empty one.
    pub fn new() -> OpensslDir {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dockseal-openssl-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        OpensslDir(path)
    }

    /// Runs openssl with words split at spaces, and demands that it succeeds. `~` stands for a space within a word.
    pub fn openssl(&self, words: &str) -> String {
        let (succeeded, said) = self.openssl_says(words);
        assert!(succeeded, "openssl {words}: {said}");
        said
    }

    /// Runs openssl; whether it succeeded, and what it said.
    pub fn openssl_says(&self, words: &str) -> (bool, String) {
        let words = words.split_whitespace().map(|word| word.replace('~', " "));
        let output = Command::new("openssl").args(words).current_dir(&self.0).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Puts a file there.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// A file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    /// A certificate in a file.
    pub fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_pem(&self.read(name)).unwrap()
    }

    /// Those files as a Secret that a user made of them.
    pub fn secret(&self, names: &[&str]) -> Data {
        names.iter().map(|name| ((*name).to_owned(), self.read(name))).collect()
    }

    /// What is in such a Secret.
    pub fn contents(&self, names: &[&str], passphrase: Option<&str>) -> Contents {
        read_anything(&self.secret(names), passphrase.map(str::as_bytes))
    }

    /// An authority as how-tos make it: `<name>.key` and `<name>.pem`, with these further words for `openssl req`.
    pub fn authority(&self, name: &str, words: &str) {
        self.openssl(&format!("ecparam -genkey -noout -name prime256v1 -out {name}.key"));
        let subject = if words.contains("-subj") { "" } else { "-subj /CN=docker~ca" };
        let days = if words.contains("-days") { "" } else { "-days 365" };
        self.openssl(&format!("req -x509 -new -key {name}.key {subject} {days} -out {name}.pem {words}"));
    }
}

impl Drop for OpensslDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
