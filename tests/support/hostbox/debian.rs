//! Finds the root that boxes are made of, and builds it where the machine has none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

/// Which Debian a box has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Debian {
    /// 13: systemd 257, dockerd 26.1.
    #[default]
    Trixie,
    /// 12: systemd 252, dockerd 20.10.
    Bookworm,
}

impl Debian {
    /// What `build.sh` makes or made before. A failure is remembered: it would take as long again.
    pub fn root(self) -> Result<PathBuf> {
        static TRIXIE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        static BOOKWORM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let (root, name) = match self {
            Debian::Trixie => (&TRIXIE, "trixie"),
            Debian::Bookworm => (&BOOKWORM, "bookworm"),
        };
        let found = root.get_or_init(|| build(name).map_err(|error| format!("{error:#}")));
        found.clone().map_err(|error| anyhow!("{error}"))
    }
}

fn build(name: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostbox/assets/build.sh");
    let output = Command::new("bash")
        .arg(&script)
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit()) // the progress of a long build is worth seeing
        .output()
        .with_context(|| format!("failed to run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({}); it said why above", script.display(), output.status);
    let said = String::from_utf8(output.stdout).context("build.sh printed no UTF-8")?;
    Ok(PathBuf::from(said.lines().last().context("build.sh printed no directory")?))
}
