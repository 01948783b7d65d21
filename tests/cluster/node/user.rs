//! A user at a terminal who types what the pages say.

use super::machine::Machine;
use crate::support::helm;
use crate::support::page_commands::PageCommands;
use crate::support::scratch::Scratch;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// What pages say, and what it is here: the node, an object, and where programs go.
const THEIRS: [(&str, &str); 3] =
    [("pandora", super::machine::NAME), (" NAME ", " titan "), ("/usr/local/bin/", "bin/")];
/// What `make image` and the chart need of the project.
const PROJECT: &str = "Makefile Cargo.toml Cargo.lock rust-toolchain.toml src image tests charts";
/// Where tools that the user has keep what they have, below his real home.
const KEPT: [(&str, &str); 3] = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup"), ("XDG_CACHE_HOME", ".cache")];

/// The user, in a copy of the project.
pub struct User {
    directory: Scratch,
    kubeconfig: PathBuf,
    docker: String,
    page_commands: PageCommands,
}

impl User {
    /// `files` are what he has edited. The image's binary is there already, or is made here: others' crates are
    /// compiled anew in other surroundings.
    pub fn new(machine: &Machine, files: &[(&str, String)]) -> Result<User> {
        let directory = Scratch::new("node-user")?;
        directory.run(concat!(env!("CARGO_MANIFEST_DIR"), "/image/binary.sh"))?;
        let programs = [("helm", helm::program()?), ("kubectl", machine.cluster.binaries().join("kubectl"))];
        std::fs::create_dir(directory.path().join("bin"))?;
        for (name, program) in programs {
            std::os::unix::fs::symlink(program, directory.path().join("bin").join(name))?;
        }
        directory.run(&format!("(cd {} && tar -c {PROJECT}) | tar -x", env!("CARGO_MANIFEST_DIR")))?;
        for (name, text) in files {
            std::fs::create_dir_all(directory.path().join(name).parent().unwrap_or(directory.path()))?;
            directory.write(name, text)?;
        }
        let docker = format!("unix://{}", machine.host.run_dir().join("docker.sock").display());
        Ok(User {
            directory,
            kubeconfig: machine.cluster.kubeconfig(),
            docker,
            page_commands: PageCommands::new("node"),
        })
    }

    /// The next command of a page that begins so, with what it means here.
    fn command(&self, page: &str, begins: &str) -> Result<String> {
        let line = self.page_commands.command(page, begins)?;
        Ok(THEIRS.iter().fold(line, |line, (theirs, here)| line.replace(theirs, here)))
    }

    /// All that the pages have for a node was typed.
    pub fn done(&self) -> Result<()> {
        self.page_commands.done()?;
        Ok(())
    }

    /// Types the command of a page that begins so, and `more` behind it; what it prints.
    pub async fn types(&self, page: &str, begins: &str, more: &str) -> Result<String> {
        let line = format!("{} {more}", self.command(page, begins)?);
        let (bin, path) = (self.directory.path().join("bin"), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-ec", &line]).current_dir(self.directory.path()).stdin(Stdio::null()).env_clear();
        shell.env("HOME", self.directory.path()).env("PATH", format!("{}:{path}", bin.display()));
        shell.env("KUBECONFIG", &self.kubeconfig).env("DOCKER_HOST", &self.docker);
        let home = std::env::var("HOME").unwrap_or_default();
        shell.envs(KEPT.map(|(name, at)| (name, std::env::var(name).unwrap_or_else(|_| format!("{home}/{at}")))));
        let output = shell.output().await?;
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
        let line = self.command(page, "ctr -n k8s.io images import")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, words @ .., file] = &words[..] else { bail!("{line:?} names no file") };
        let image = std::fs::read(self.directory.path().join(file)).with_context(|| format!("{file} is not there"))?;
        machine.ctr(words, &image)
    }
}
