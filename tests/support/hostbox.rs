//! A Docker host of Debian's own systemd and docker.service, in namespaces of this machine; it does not outlive the
//! test process. How it is made is in tests/hostbox/assets; it takes root.

pub mod debian;
mod docker;
mod hold;
mod permits;
pub mod probe;
pub mod program;

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use debian::Debian;
use hold::BoxGuard;

use permits::BoxPermit;
use program::Program;

/// As long as a busy machine may need; a quiet one boots in half a second.
const BOOTED_WITHIN: Duration = Duration::from_secs(180);
/// systemd's own limit for a unit's stop is 90 s.
const OFF_WITHIN: Duration = Duration::from_secs(120);
/// No command that a test waits for may hang it.
const COMMAND_SECONDS: &str = "120";
const ENVIRONMENT: [&str; 3] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"];

/// A box, switched on or off. Its name is `hostbox`, its disk is in memory, its docker.service is Debian's with the
/// vfs storage driver and without a bridge, its journal persists. Dropping it takes everything away.
///
/// The test process has at most two at a time; another one that is asked for waits, so a test that needs two asks for
/// [`HostBox::boot_pair`].
pub struct HostBox {
    running: Mutex<Option<Running>>,
    hold: BoxGuard,
    /// Given back last.
    _turn: BoxPermit,
}

struct Running {
    /// The parent of its pid 1, which ends with it.
    unshare: Child,
    init: u32,
}

impl HostBox {
    /// A fresh host, whose systemd has finished starting up; so docker.service runs, if it can.
    pub fn boot() -> Result<HostBox> {
        HostBox::boot_with(|_| Ok(()))
    }

    /// As `boot`, but before it is switched on for the first time, `prepare` may write to it.
    pub fn boot_with(prepare: impl FnOnce(&HostBox) -> Result<()>) -> Result<HostBox> {
        HostBox::boot_debian(Debian::default(), prepare)
    }

    /// As `boot_with`, but of that Debian.
    pub fn boot_debian(debian: Debian, prepare: impl FnOnce(&HostBox) -> Result<()>) -> Result<HostBox> {
        let [turn] = permits::take();
        HostBox::boot_in(turn, debian, prepare)
    }

    /// Two at the same time.
    pub fn boot_pair() -> Result<[HostBox; 2]> {
        let [one, other] = permits::take();
        let boot = |turn| HostBox::boot_in(turn, Debian::default(), |_| Ok(()));
        Ok([boot(one)?, boot(other)?])
    }

    fn boot_in(turn: BoxPermit, debian: Debian, prepare: impl FnOnce(&HostBox) -> Result<()>) -> Result<HostBox> {
        let made = HostBox { running: Mutex::new(None), hold: BoxGuard::take(&debian.root()?)?, _turn: turn };
        prepare(&made).context("failed to prepare the box")?;
        made.start()?;
        Ok(made)
    }

    /// Where it is reached from outside; its own too, on `eth0`.
    pub fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.hold.number(), 2)
    }

    /// The outside's address on the wire between them.
    pub fn outside_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.hold.number(), 1)
    }

    /// Its cgroup's name. On cgroup 1 it is free to make cgroups of that name, and they go with the box.
    pub fn cgroup_name(&self) -> String {
        self.hold.cgroup_name()
    }

    /// Its file system as the outside sees it, on or off; without what is mounted inside, such as /run and /tmp.
    pub fn root(&self) -> PathBuf {
        self.hold.dir().join("root")
    }

    /// Its /run as the outside sees it: `docker.sock` and `dbus/system_bus_socket` can be used from there.
    pub fn run_dir(&self) -> PathBuf {
        self.hold.dir().join("run")
    }

    /// Switches it on and waits until systemd has finished starting up, whether or not every unit could be started.
    pub fn start(&self) -> Result<()> {
        ensure!(self.init().is_err(), "the box is on already");
        let console = File::options().create(true).append(true).open(self.hold.dir().join("console.log"))?;
        let mut unshare = hold::script()
            .args(["start", &self.hold.number().to_string()])
            .process_group(0) // Ctrl-C is for the tests
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("failed to start the box")?;
        let deadline = Instant::now() + BOOTED_WITHIN;
        let init = self.pid_of_init(&mut unshare, deadline)?;
        *self.running() = Some(Running { unshare, init });
        self.wait_until_started(deadline)
    }

    fn pid_of_init(&self, unshare: &mut Child, deadline: Instant) -> Result<u32> {
        loop {
            let said = std::fs::read_to_string(self.hold.dir().join("init.pid")).unwrap_or_default();
            // With its line's end it is there as a whole. An old one is removed before a new one is written, but
            // perhaps not yet; it names no child of this unshare.
            if let Some(pid) = said.strip_suffix('\n').and_then(|pid| pid.parse().ok())
                && parent(pid) == Some(unshare.id())
            {
                return Ok(pid);
            }
            let ended = unshare.try_wait()?.is_some();
            if ended || Instant::now() > deadline {
                let _ = unshare.kill().and_then(|()| unshare.wait());
                bail!("failed to start the box: {}", self.console());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_until_started(&self, deadline: Instant) -> Result<()> {
        loop {
            let output = self.exec(&["systemctl", "is-system-running", "--wait"])?;
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if ["running", "degraded", "maintenance"].contains(&state.as_str()) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the box does not finish its start-up: {state}\n{}\n{}",
                self.sh("systemctl list-jobs").unwrap_or_default(),
                self.console()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Switches it off as its administrator would, and waits until it is.
    pub fn poweroff(&self) -> Result<()> {
        // How the command itself ends depends on who is faster.
        self.exec(&["systemctl", "poweroff"])?;
        let deadline = Instant::now() + OFF_WITHIN;
        while self.init().is_ok() {
            ensure!(Instant::now() < deadline, "the box does not switch off: {}", self.console());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Off and on again, same disk.
    pub fn reboot(&self) -> Result<()> {
        self.poweroff()?;
        self.start()
    }

    /// A power cut: whatever runs in it ends at once. It stays off until `start`.
    pub fn crash(&self) -> Result<()> {
        self.init()?;
        self.hold.kill()?;
        if let Some(mut running) = self.running().take() {
            running.unshare.wait().context("failed to wait for the box's end")?;
        }
        Ok(())
    }

    /// It is on.
    pub fn is_on(&self) -> bool {
        self.init().is_ok()
    }

    /// Runs a program in it as root and waits for its end, 120 s at most.
    pub fn exec(&self, args: &[&str]) -> Result<Output> {
        self.exec_with(args, b"")
    }

    /// As `exec`, with that on its stdin.
    pub fn exec_with(&self, args: &[&str], input: &[u8]) -> Result<Output> {
        let mut command = self.entrance()?;
        command.args(["timeout", "--kill-after=5", COMMAND_SECONDS]).args(args);
        fed(&mut command, input).with_context(|| format!("failed to run {}", args.join(" ")))
    }

    /// Runs a shell script in it as root; its output where it succeeds.
    pub fn sh(&self, script: &str) -> Result<String> {
        text(self.exec(&["sh", "-ec", script])?).with_context(|| script.to_owned())
    }

    /// Starts a program in it as root that goes on.
    pub fn spawn(&self, args: &[&str]) -> Result<Program> {
        Program::start(self.entrance()?, args, self.hold.dir(), &self.run_dir())
    }

    /// A file of it, links followed as inside; on or off.
    pub fn read(&self, path: &str) -> Result<String> {
        text(fed(self.entrance_or_chroot().args(["cat", "--", path]), b"")?)
            .with_context(|| format!("failed to read {path}"))
    }

    /// Writes a file of it in place, and the directories that lead there; on or off.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        const WRITE: &str = r#"mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1""#;
        let mut command = self.entrance_or_chroot();
        command.args(["sh", "-ec", WRITE, "write", path, &format!("{mode:o}")]);
        text(fed(&mut command, bytes.as_ref())?).with_context(|| format!("failed to write {path}"))?;
        Ok(())
    }

    /// Puts a program of the outside there, mode 0755, also while an older one runs; on or off.
    pub fn install(&self, program: &Path, at: &str) -> Result<()> {
        let target = self.root().join(at.trim_start_matches('/'));
        let fresh = target.with_extension("new");
        let put = || -> Result<()> {
            std::fs::create_dir_all(target.parent().unwrap_or(&target))?;
            super::scratch::copied(program, &fresh)?;
            Ok(std::fs::rename(&fresh, &target)?)
        };
        put().with_context(|| format!("failed to install {} at {at}", program.display()))
    }

    /// What the journal has of a unit: of this boot if it is on, of all if it is off.
    pub fn journal(&self, unit: &str) -> Result<String> {
        let mut command = self.entrance_or_chroot();
        command.args(["journalctl", "--no-pager", "--quiet", "-o", "short-precise", "-u", unit]);
        if self.is_on() {
            // What was said is not written yet.
            self.exec(&["journalctl", "--sync"])?;
            command.arg("-b");
        }
        text(fed(&mut command, b"")?).with_context(|| format!("failed to read the journal of {unit}"))
    }

    /// Runs `ip` on its network, on or off: its address can be taken away and given back.
    pub fn network(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.hold.netns()]).args(args);
        text(fed(&mut command, b"")?).with_context(|| format!("failed to run ip {}", args.join(" ")))
    }

    /// What it said on its console, over all boots.
    pub fn console(&self) -> String {
        std::fs::read_to_string(self.hold.dir().join("console.log")).unwrap_or_default()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of its pid 1, as the outside counts.
    fn init(&self) -> Result<u32> {
        let mut running = self.running();
        let now = running.as_mut().ok_or_else(|| anyhow!("the box is off"))?;
        if now.unshare.try_wait()?.is_some() {
            *running = None;
            bail!("the box is off");
        }
        Ok(now.init)
    }

    fn entrance(&self) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init()?.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]);
        command.args(["env", "-i"]).args(ENVIRONMENT);
        Ok(command)
    }

    fn entrance_or_chroot(&self) -> Command {
        self.entrance().unwrap_or_else(|_| {
            let mut command = Command::new("chroot");
            command.arg(self.root()).args(["env", "-i"]).args(ENVIRONMENT);
            command
        })
    }
}

impl Drop for HostBox {
    fn drop(&mut self) {
        // Reaped here; `hold` takes away the rest whether or not this worked.
        let _ = self.crash();
    }
}

/// Runs it to its end with that on its stdin.
fn fed(command: &mut Command, input: &[u8]) -> Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It may end without reading it all; then its own message says why.
            let _ = stdin.map(|mut stdin| stdin.write_all(input));
        });
        Ok(child.wait_with_output()?)
    })
}

/// Its stdout, if it succeeded.
fn text(output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}: {}{said}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// The parent of a process.
fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
