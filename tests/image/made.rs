//! The image, made by its script for one test, and its parts.

use crate::scratch::Scratch;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// When the tests' image was made, in seconds since 1970, and of what.
pub const CREATED: (&str, &str) = ("1767225600", "2026-01-01T00:00:00Z");
/// Of what it was made.
pub const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// An image, made and unpacked; dropped, it is gone.
pub struct Image {
    /// Where it is: `made/` from the script, `layout/` and `root/` unpacked.
    pub dir: Scratch,
    /// What the script said that its digest is.
    pub digest: String,
}

impl Image {
    /// Makes it: minutes where the sources have changed, seconds afterwards.
    pub fn make() -> anyhow::Result<Image> {
        Image::make_of(project(), |_| {})
    }

    /// The same of another copy of the sources, in other surroundings.
    pub fn make_of(sources: &Path, surroundings: impl FnOnce(&mut Command)) -> anyhow::Result<Image> {
        let dir = Scratch::new("image")?;
        let mut command = Command::new("bash");
        command.arg(sources.join("image/build.sh")).arg(dir.path().join("made"));
        command.env("SOURCE_DATE_EPOCH", CREATED.0).env("REVISION", REVISION);
        surroundings(command.stdin(Stdio::null()).stderr(Stdio::inherit()));
        let output = command.output()?;
        ensure!(output.status.success(), "image/build.sh failed; it said why above");
        let digest = String::from_utf8(output.stdout)?.trim().to_owned();
        dir.run("mkdir layout root; tar -xf made/dockseal-*.tar -C layout")?;
        let image = Image { dir, digest };
        let layer = image.blob(&image.manifest()?["layers"][0])?;
        image.dir.run(&format!("tar -xpf {} -C root", layer.display()))?;
        Ok(image)
    }

    /// The file for `docker load`.
    pub fn tar(&self) -> PathBuf {
        self.dir.path().join("made").join(format!("dockseal-{}.tar", env!("CARGO_PKG_VERSION")))
    }

    /// The bill of what is in it.
    pub fn bill(&self) -> anyhow::Result<Value> {
        let file = format!("made/dockseal-{}.cdx.json", env!("CARGO_PKG_VERSION"));
        self.json(&self.dir.path().join(file))
    }

    /// Its files, as a container has them.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Its one manifest.
    pub fn manifest(&self) -> anyhow::Result<Value> {
        let index = self.json(&self.dir.path().join("layout/index.json"))?;
        ensure!(index["manifests"].as_array().is_some_and(|all| all.len() == 1), "one manifest: {index}");
        ensure!(index["manifests"][0]["digest"] == self.digest.as_str(), "{} is not in {index}", self.digest);
        self.json(&self.blob(&index["manifests"][0])?)
    }

    /// Its configuration.
    pub fn config(&self) -> anyhow::Result<Value> {
        self.json(&self.blob(&self.manifest()?["config"])?)
    }

    /// The file of a descriptor, which has its size and its digest.
    fn blob(&self, descriptor: &Value) -> anyhow::Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
        let file = self.dir.path().join("layout/blobs").join(digest.replace(':', "/"));
        ensure!(descriptor["size"] == std::fs::metadata(&file)?.len(), "{digest} has another size");
        ensure!(format!("sha256:{}", sha256(&file)?) == digest, "{digest} has other content");
        Ok(file)
    }

    fn json(&self, file: &Path) -> anyhow::Result<Value> {
        serde_json::from_slice(&std::fs::read(file)?).with_context(|| format!("{} is no JSON", file.display()))
    }
}

/// The root of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The digest of a file, in hex.
pub fn sha256(file: &Path) -> anyhow::Result<String> {
    let output = Command::new("sha256sum").arg(file).output()?;
    ensure!(output.status.success(), "{} cannot be read", file.display());
    Ok(String::from_utf8(output.stdout)?.split(' ').next().unwrap_or_default().to_owned())
}
