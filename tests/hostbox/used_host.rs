//! A box on which others were before, or come after: `up` there, refusals and what they touch, restarts and crashes.

use crate::homelab::{Homelab, InstalledHost, ReportedCondition, UP};
use crate::support::hostbox::HostBox;
use crate::support::hostbox::probe::{Count, Probe};
use crate::support::hostbox::program::Program;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::Duration;

/// As long as a busy machine may need until dockerd is back, crashes included.
const SOON: Duration = Duration::from_secs(90);
/// `up` waits for longer.
const UP_TIMEOUT: &str = "110s";
/// All that a delivery could touch, and dockerd's process; what changes by itself is left out.
const EVERYTHING: &str = "find /etc /usr/lib/systemd /srv /root /var/lib/dockseal /home -xdev \
    -not -path '/root/state*' -not -path '/root/home.yaml' -not -path '/var/lib/dockseal*' \
    -printf '%p %y %m %U %G %l\\n' | sort; \
    find /etc -xdev -type f | sort | xargs sha256sum; systemctl show -p MainPID docker.service";

/// A box with the program, its objects, and what others do to it.
pub struct UsedHost<'a> {
    pub host: &'a HostBox,
    at: InstalledHost<'a>,
    pub homelab: Homelab,
}

impl<'a> UsedHost<'a> {
    /// The program is put there; others' settings are not taken over, restarts are made at once.
    pub fn to(host: &'a HostBox) -> Result<UsedHost<'a>> {
        Ok(UsedHost { host, at: InstalledHost::on(host)?, homelab: Homelab::default() })
    }

    /// As `to`, and others' settings are taken over.
    pub fn taking_over(host: &'a HostBox) -> Result<UsedHost<'a>> {
        let mut used = UsedHost::to(host)?;
        used.take_over();
        Ok(used)
    }

    /// As `to`, and it is delivered to.
    pub fn served(host: &'a HostBox) -> Result<UsedHost<'a>> {
        let used = UsedHost::to(host)?;
        used.up_serving()?;
        Ok(used)
    }

    /// From now on others' settings are taken over.
    pub fn take_over(&mut self) {
        self.homelab.delivery = ", takeOver: true".into();
    }

    /// The user consents to a restart.
    pub fn consent(&mut self, at: &str) {
        self.homelab.annotations = format!("dockseal.dev/restart-requested-at: \"{at}\"");
    }

    /// `up --once`, after which the host serves.
    pub fn up_serving(&self) -> Result<()> {
        self.write()?;
        self.host.exec(&[&UP[..], &[UP_TIMEOUT]].concat())?;
        let said = self.at.condition("Serving")?;
        ensure!(said.holds, "{said:?}\n{}", self.facts());
        ensure!(self.client_is_served()?, "{}", self.facts());
        self.runs()
    }

    /// `up --once` until a condition is false for that reason; what it says then.
    pub fn up_refused(&self, condition: &str, reason: &str) -> Result<String> {
        self.write()?;
        self.host.sh("rm -rf /root/state/status/DockerHostCert")?;
        let mut up = self.host.spawn(&[&UP[..], &[UP_TIMEOUT]].concat())?;
        let refused = |said: ReportedCondition| !said.holds && said.reason == reason;
        let waited = eventually(|| Ok(self.at.condition(condition).is_ok_and(refused)));
        up.signal("TERM")?;
        up.wait(SOON)?;
        waited.with_context(|| {
            format!("not {reason}: {:?}\n{}\n{}", self.at.condition(condition), up.log(), self.facts())
        })?;
        Ok(self.at.condition(condition)?.message)
    }

    /// `up` that goes on until it is dropped.
    pub fn up_that_stays(&self) -> Result<Program> {
        self.write()?;
        let mut up =
            self.host.spawn(&["dockseal", "up", "/root/home.yaml", "--state=/root/state", "--host=pandora"])?;
        up.says("Ready", SOON)?;
        Ok(up)
    }

    /// Whether dockerd answers there without TLS.
    pub fn is_open(&self, address: &str) -> Result<bool> {
        Ok(self.host.exec(&["docker", "-H", &format!("tcp://{address}"), "version"])?.status.success())
    }

    fn write(&self) -> Result<()> {
        self.host.write("/root/home.yaml", self.homelab.yaml(self.host), 0o600)
    }

    /// As `up_refused`, and nothing of the host's is another than before.
    pub fn up_refused_untouched(&self, condition: &str, reason: &str) -> Result<String> {
        let before = self.everything()?;
        let message = self.up_refused(condition, reason)?;
        let after = self.everything()?;
        let differs: Vec<&str> = after.lines().filter(|line| !before.contains(*line)).collect();
        ensure!(before == after, "touched: {differs:#?}");
        Ok(message)
    }

    /// Names, kinds, modes, owners and content of all files that could be touched, and dockerd's process.
    pub fn everything(&self) -> Result<String> {
        self.host.sh(EVERYTHING)
    }

    /// dockerd runs for systemd, and answers on its unix socket.
    pub fn runs(&self) -> Result<()> {
        let active = || Ok(self.host.sh("systemctl is-active docker || true")? == "active\n");
        eventually(active).with_context(|| self.facts())?;
        self.host.docker_ready()
    }

    /// Whether the client that `up` made is served.
    pub fn client_is_served(&self) -> Result<bool> {
        Ok(self.host.exec(&["sh", "-c", &self.at.client("version")])?.status.success())
    }

    /// From now on nobody without a certificate is to get an answer there.
    pub fn probe(&self) -> Result<Probe> {
        Probe::start([self.at.address(), SocketAddr::from((self.host.ip(), 2375))])
    }

    /// dockerd's process.
    pub fn pid(&self) -> Result<String> {
        self.at.dockerd()
    }

    /// systemd reads its files again and restarts dockerd, whatever comes of it, without its limit of starts.
    pub fn restart(&self) -> Result<()> {
        let script = "systemctl daemon-reload; systemctl reset-failed docker.service docker.socket || true; \
            systemctl restart docker.service || true";
        self.host.sh(script)?;
        Ok(())
    }

    /// dockerd dies, and systemd starts another one.
    pub fn kill_dockerd(&self) -> Result<()> {
        let before = self.pid()?;
        self.host.sh(&format!("systemctl reset-failed docker.service; kill -9 {before}"))?;
        eventually(|| Ok(self.pid()? != before && self.pid()? != "0\n"))?;
        self.runs()
    }

    /// Whether TCP takes connections.
    pub fn listens(&self) -> bool {
        std::net::TcpStream::connect_timeout(&self.at.address(), Duration::from_secs(2)).is_ok()
    }

    /// For a failure's message.
    pub fn facts(&self) -> String {
        self.at.facts()
    }
}

/// Waits until it is so.
pub fn eventually(so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = std::time::Instant::now() + SOON;
    while !so()? {
        ensure!(std::time::Instant::now() < deadline, "it never comes about");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What a probe has seen, of which nothing may be a leak, and something must be a refusal.
pub fn sealed(probe: Probe) -> Result<Count> {
    let count = probe.finish();
    ensure!(count.leaked == 0, "{:?}", count.first_leak);
    ensure!(count.denied > 0, "nobody was there to refuse: {count:?}");
    Ok(count)
}
