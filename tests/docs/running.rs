//! A command that runs until Ctrl-C.

use anyhow::{Context, Result, ensure};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

/// It goes on; dropped, it is killed.
pub struct RunningCommand {
    child: Child,
    log: PathBuf,
}

impl RunningCommand {
    /// Starts it, and has it write there.
    pub fn start(mut command: Command, log: PathBuf) -> Result<RunningCommand> {
        command.stdout(std::fs::File::create(&log)?).process_group(0); // which Ctrl-C is for
        Ok(RunningCommand { child: command.spawn()?, log })
    }

    /// Waits until it says that.
    pub fn says(&mut self, words: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while !self.said().contains(words) {
            ensure!(self.child.try_wait()?.is_none(), "it ended: {}", self.said());
            ensure!(Instant::now() < deadline, "it does not say {words:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ctrl-C, which it must have waited for.
    pub fn end(mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "it ended by itself: {}", self.said());
        self.signal("INT")?;
        let deadline = Instant::now() + SOON;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "Ctrl-C does not end it: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, name: &str) -> Result<()> {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill").args(["-s", name, "--", &group]).status().context("failed to start kill")?;
        ensure!(sent.success(), "failed to send {name}");
        Ok(())
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}
