//! The outside of a box: its number, directory, network and cgroup, which a guardian takes away with the test process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const DEAD_WITHIN: Duration = Duration::from_secs(90);

/// `box.sh hold` is the guardian: it waits for the end of its stdin, whose other end only the test process holds; so
/// for `drop`, or for that process's death of whatever kind.
pub struct BoxGuard {
    guardian: Child,
    number: u8,
    dir: PathBuf,
    cgroup: PathBuf,
}

impl BoxGuard {
    /// A box of that root, switched off.
    pub fn take(root: &Path) -> Result<BoxGuard> {
        let mut guardian = script()
            .arg("hold")
            .arg(root)
            .arg((std::process::id() % 254).to_string()) // test binaries that run at the same time search apart
            .process_group(0) // Ctrl-C is for the tests; the guardian acts on their end
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the guardian of a box")?;
        let mut said = String::new();
        let stdout = guardian.stdout.take().context("the guardian's stdout is piped")?;
        BufReader::new(stdout).read_line(&mut said).context("failed to hear from the guardian of a box")?;
        let words: Vec<_> = said.split_whitespace().collect();
        let ["box", number, cgroup] = words[..] else {
            let _ = guardian.wait();
            ensure!(rustix::process::geteuid().is_root(), "a box takes root: run the tests as root");
            bail!("failed to make a box: {}", said.trim());
        };
        let dir = Path::new("/run/dockseal-hostbox").join(number);
        Ok(BoxGuard { guardian, number: number.parse()?, dir, cgroup: cgroup.into() })
    }

    /// 1 to 254, on this machine only ours.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// What `box.sh` calls its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of its cgroup.
    pub fn cgroup_name(&self) -> String {
        self.cgroup.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The name of its network namespace.
    pub fn netns(&self) -> String {
        format!("dockseal-{}", self.number)
    }

    /// Ends all that runs in the box, at once, and waits until it has ended.
    pub fn kill(&self) -> Result<()> {
        std::fs::write(self.cgroup.join("cgroup.kill"), "1").context("failed to kill the box")?;
        let deadline = Instant::now() + DEAD_WITHIN;
        while !std::fs::read_to_string(self.cgroup.join("cgroup.events"))?.contains("populated 0") {
            ensure!(Instant::now() < deadline, "the box does not die");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for BoxGuard {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        // Nothing to be done about a failure here; the next box of that number takes away what is left.
        let _ = self.guardian.wait();
    }
}

/// `box.sh`, to be given its verb.
pub fn script() -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostbox/assets/box.sh"));
    // Where users' paths do not lead.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}
