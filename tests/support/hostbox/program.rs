//! A program that goes on in a box.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Writes down its number as the box counts, which the outside's child does not have, and becomes the program.
const SAY_AND_BECOME: &str = r#"echo $$ >"$0"; exec "$@""#;

/// Dropped, it is killed. It also ends when its box is switched off or crashes.
pub struct Program {
    /// nsenter, which waits for the program and ends as it does.
    child: Child,
    log: PathBuf,
    /// /proc of the box is not the outside's; so the program is found by the outside's own number.
    outside_pid: u32,
}

impl Program {
    /// `entrance` leads into the box whose directory outside is `dir`, and its /run `run`.
    pub fn start(mut entrance: Command, args: &[&str], dir: &Path, run: &Path) -> Result<Program> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("program-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let log = dir.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
        let said = run.join(&name);
        entrance.args(["sh", "-c", SAY_AND_BECOME, &format!("/run/{name}")]).args(args);
        entrance.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = entrance.spawn().with_context(|| format!("failed to start {}", args.join(" ")))?;
        let mut program = Program { child, log, outside_pid: 0 };
        let deadline = Instant::now() + Duration::from_secs(90);
        while !std::fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n')) {
            ensure!(program.is_running()?, "{} ended: {}", args.join(" "), program.log());
            ensure!(Instant::now() < deadline, "{} does not start", args.join(" "));
            std::thread::sleep(Duration::from_millis(5));
        }
        let nsenter = program.child.id();
        let children = std::fs::read_to_string(format!("/proc/{nsenter}/task/{nsenter}/children"))?;
        program.outside_pid = children.trim().parse().context("the program has ended already")?;
        Ok(program)
    }

    /// What it said, stdout and stderr.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until it says that.
    pub fn says(&mut self, words: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.log().contains(words) {
            ensure!(self.is_running()?, "it ended without {words:?}: {}", self.log());
            ensure!(Instant::now() < deadline, "it does not say {words:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// It has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends it a signal, e.g. `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.outside_pid.to_string()]).status()?;
        ensure!(status.success(), "failed to send {name}: the program has ended");
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not reaped yet, so the number is still its own.
        if matches!(self.child.try_wait(), Ok(None)) && self.outside_pid != 0 {
            let _ = self.signal("KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
