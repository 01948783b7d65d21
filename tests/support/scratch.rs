//! A directory of one's own, gone when it is dropped, and programs run in it.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The directory.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    pub fn new(name: &str) -> anyhow::Result<Scratch> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("dockseal-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Scratch(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
        let file = self.0.join(name);
        std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// Writes a program in it that can be run at once.
    pub fn program(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let program = self.0.join(name);
        copied(&self.write(&format!("{name}.text"), text)?, &program)?;
        Ok(program)
    }

    /// Runs a shell script in it; its output where it succeeds.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        let output = self.try_run(script)?;
        ensure!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a shell script in it.
    pub fn try_run(&self, script: &str) -> anyhow::Result<Output> {
        Ok(Command::new("sh").args(["-ec", script]).current_dir(&self.0).output()?)
    }

    /// The script fails, and says why with those words.
    pub fn refuses(&self, script: &str, words: &str) -> anyhow::Result<()> {
        let output = self.try_run(script)?;
        ensure!(!output.status.success(), "it passed: {script}");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains(words), "it failed, but not with {words:?}: {said}");
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A copy that can be run at once. Another process writes it: whatever this one opens, a child of another test's has open
/// too until it becomes its program, and a file that is open for writing cannot be run.
pub fn copied(program: &Path, to: &Path) -> anyhow::Result<()> {
    let output = Command::new("install").arg("--mode=755").args([program, to]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
