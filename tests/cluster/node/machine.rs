//! A cluster of one node: a Debian host with systemd, dockerd, containerd and kubelet in a box, the servers beside it.

use crate::support::cluster::Cluster;
use crate::support::hostbox::HostBox;
use crate::support::relay::Relay;
use crate::support::resolver::Resolver;
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// The node's name, in the cluster and as a Docker host.
pub const NAME: &str = "atlas";
/// How long a node may take to be ready: ten times what it needs on a quiet machine.
const SOON: Duration = Duration::from_secs(180);
/// Where pods find the API server: on the node itself, since nothing here is a Service's proxy.
const API: &str = "10.0.0.1";
const PROXY: &str = "/usr/lib/systemd/systemd-socket-proxyd";

/// The cluster.
pub struct Machine {
    pub cluster: &'static Cluster,
    pub host: HostBox,
    /// The cluster's DNS.
    pub dns: Resolver,
    _relay: Relay,
}

impl Machine {
    /// Boots it, and waits until pods can be put on the node.
    pub async fn boot() -> Result<Machine> {
        let host = HostBox::boot()?;
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().await?));
        let binaries = cluster.start_managers().await?;
        let relay = Relay::start(host.outside_ip().into(), cluster.address())?;
        let dns = Resolver::on(host.outside_ip())?;
        let pods = route(&host)?;
        host.network(&["addr", "add", &format!("{API}/32"), "dev", "lo"])?;
        host.sh(&format!("systemd-run --quiet --socket-property=ListenStream={API}:443 {PROXY} {}", relay.address()))?;
        let machine = Machine { cluster, host, dns, _relay: relay };
        let kubeconfig = cluster.kubeconfig_of_node(NAME, &format!("https://{API}")).await?;
        machine.host.write("/etc/node/kubeconfig", kubeconfig, 0o600)?;
        machine.host.write("/usr/local/lib/node", include_str!("start.sh"), 0o755)?;
        machine.host.install(&binaries.join("kubelet"), "/usr/local/bin/kubelet")?;
        machine.host.docker_ready()?;
        machine.host.sh(&format!(
            "systemd-run --quiet --unit=node -p Delegate=yes unshare --mount /usr/local/lib/node {NAME} {} {} {} {pods}",
            machine.host.ip(),
            machine.host.outside_ip(),
            machine.host.cgroup_name(),
        ))?;
        machine.ready().await.with_context(|| machine.told())?;
        Ok(machine)
    }

    async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + SOON;
        // Who puts pods anywhere needs the account that every namespace is given.
        let all =
            [["wait", "node", "--all", "--for=condition=Ready"], ["wait", "sa/default", "--for=create", "-n=default"]];
        for wait in all {
            while let Err(error) = self.cluster.kubectl(&[&wait[..], &["--timeout=2s"]].concat()).await {
                ensure!(Instant::now() < deadline, "{error:#}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }

    /// Runs ctr of the node's containerd, with that behind its words and on its stdin.
    pub fn ctr(&self, words: &[&str], input: &[u8]) -> Result<()> {
        let output =
            self.host.exec_with(&[&["ctr", "-a", "/run/node/containerd.sock"], words, &["-"]].concat(), input)?;
        ensure!(output.status.success(), "ctr {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What a program of the image has in memory, in MiB: its resident set and the greatest that it was, of all pods.
    pub fn memory(&self, verb: &str) -> Result<String> {
        self.host.sh(&format!(
            "for pid in $(pgrep -f '^/usr/bin/dockseal {verb}'); do
            awk '/^Vm(RSS|HWM)/ {{ printf \"%s %.1f MiB \", $1, $2 / 1024 }}' /proc/$pid/status; done"
        ))
    }

    /// Ends the controller in that pod as a crash would: it gives nothing back.
    pub fn kill_controller(&self, pod: &str) -> Result<()> {
        self.host.sh(&format!(
            "for pid in $(pgrep -f '^/usr/bin/dockseal controller'); do
            if grep -qz '^HOSTNAME={pod}$' /proc/$pid/environ; then kill -9 $pid; exit; fi; done; exit 1"
        ))?;
        Ok(())
    }

    /// For a failure's message.
    pub fn told(&self) -> String {
        let script = "journalctl --no-pager -u node -n 60; tail -n 40 /run/node/containerd.log
            tail -n 30 /var/log/pods/*dockseal*/*/*.log; ls -la /etc/docker/certs; systemctl status docker --no-pager -n 5";
        let output = self.host.exec(&["sh", "-c", script]);
        output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The addresses of the node's pods, which are reached from outside through it as long as the box is there.
fn route(host: &HostBox) -> Result<String> {
    let node = host.ip();
    let pods = format!("10.214.{}.0/24", node.octets()[2]);
    let output = Command::new("ip").args(["route", "replace", &pods, "via", &node.to_string()]).output()?;
    ensure!(output.status.success(), "no route to pods: {}", String::from_utf8_lossy(&output.stderr));
    Ok(pods)
}
