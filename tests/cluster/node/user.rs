//! A user at a terminal who types what the pages say.

use super::machine::Machine;
use crate::support::helm;
use crate::support::scratch::Scratch;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The node in the pages, which is ours here.
const THEIRS: &str = "pandora";

/// The user, in a directory that looks like the project's.
pub struct User {
    directory: Scratch,
    kubeconfig: PathBuf,
}

impl User {
    /// With `make image` behind him; `files` are what he has edited.
    pub fn new(machine: &Machine, files: &[(&str, String)]) -> Result<User> {
        let directory = Scratch::new("node-user")?;
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = [
            ("helm", helm::program()?),
            ("kubectl", machine.cluster.binaries().join("kubectl")),
            ("dockseal", env!("CARGO_BIN_EXE_dockseal").into()),
        ];
        std::fs::create_dir(directory.path().join("bin"))?;
        for (name, program) in programs {
            std::os::unix::fs::symlink(program, directory.path().join("bin").join(name))?;
        }
        std::os::unix::fs::symlink(project.join("charts"), directory.path().join("charts"))?;
        for (name, text) in files {
            std::fs::create_dir_all(directory.path().join(name).parent().unwrap_or(directory.path()))?;
            directory.write(name, text)?;
        }
        let image = directory.path().join("target/image");
        let made = std::process::Command::new("bash").arg(project.join("image/build.sh")).arg(image).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(User { directory, kubeconfig: machine.cluster.kubeconfig() })
    }

    /// Types the command of a page that begins so, and `more` behind it; what it prints.
    pub async fn types(&self, page: &str, begins: &str, more: &str) -> Result<String> {
        let line = format!("{} {more}", command(page, begins)?.replace(THEIRS, super::machine::NAME));
        let output = Command::new("sh")
            .args(["-ec", &line])
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.directory.path().join("bin").display()))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{line}: {}: {said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// Types the command of a page that has the node's containerd take the image.
    pub fn imports(&self, machine: &Machine, page: &str) -> Result<()> {
        let line = command(page, "ctr -n k8s.io images import")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, words @ .., file] = &words[..] else { bail!("{line:?} names no file") };
        let image = std::fs::read(self.directory.path().join(file)).with_context(|| format!("{file} is not there"))?;
        machine.ctr(words, &image)
    }
}

/// The first command of a page that begins so, without its remark.
fn command(page: &str, begins: &str) -> Result<String> {
    let text = std::fs::read_to_string(page).with_context(|| format!("failed to read {page}"))?;
    let mut shell = false;
    let mut found = text.lines().filter(|line| {
        shell = if line.starts_with("```") { *line == "```sh" } else { shell };
        shell && line.starts_with(begins)
    });
    let one = found.next().with_context(|| format!("{page} has no command {begins:?} any more"))?;
    Ok(one.split(" #").next().unwrap_or_default().to_owned())
}
