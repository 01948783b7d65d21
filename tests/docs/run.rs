//! Runs what a page marks, in a directory of the page's own, and compares what it shows with what was printed.

use crate::ROOT;
use crate::pages::{Block, Marker, Page};
use crate::support::cluster::Cluster;
use crate::support::controller::Controller;
use crate::support::dockerd::{Dockerd, free_port};
use crate::support::portainer::Portainer;
use crate::support::scratch::Scratch;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

/// What pages call the address of the dockerd that the test starts.
const SHOWN: &str = "127.0.0.1:2376";
/// What pages call the Portainer that the test starts, and its administrator's key.
const SHOWN_PORTAINER: &str = "https://portainer.bodkys.house";
const SHOWN_KEY: &str = "ptr_replace-this";
/// A host to which pages log in, below the page's directory: what is typed runs here, and no dockerd is restarted.
const LOGIN: [(&str, &str); 2] =
    [("ssh", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n"), ("systemctl", "#!/bin/sh\necho \"$@\" >> restarts\n")];
/// Places of a machine, and what they are in the page's directory.
const PLACES: [(&str, &str); 2] =
    [("/etc/docker/certs", "host/etc/docker/certs"), ("/var/lib/dockseal-home", "dockseal-state")];
/// What `make` needs of the repository.
const REPOSITORY: [&str; 4] = ["examples", "Makefile", "charts", "tests"];
/// What pages call the user's directory.
const HOME: &str = "/home/ada";

struct Bench {
    scratch: Scratch,
    dockerd: Option<(Dockerd, u16)>,
    portainer: Option<Portainer>,
    cluster: Option<Small>,
    printed: String,
}

/// Runs the marked blocks of a page in their order; how many there were.
pub fn page(page: &Page) -> usize {
    let marked = page.blocks.iter().filter(|block| !matches!(block.marker, Marker::None | Marker::Values));
    let mut bench: Option<Bench> = None;
    let mut ran = 0;
    for block in marked {
        let bench = bench.get_or_insert_with(Bench::new);
        let fault = bench.take(block);
        assert!(fault.is_none(), "{}:{}: {}", page.name, block.line, fault.unwrap_or_default());
        ran += usize::from(matches!(block.marker, Marker::Run(_)));
    }
    ran
}

/// An API server and a controller.
struct Small {
    _controller: Controller, // dropped first
    cluster: Cluster,
}

impl Small {
    fn start(file: Option<&str>) -> anyhow::Result<Small> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let cluster = Cluster::start().await?;
            let crds = format!("{ROOT}/crds");
            cluster.kubectl(&["apply", "--server-side", "-f", &crds]).await?;
            cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
            let scope = ["--lease-namespace", "default"];
            let controller = Controller::start(&cluster, &cluster.kubeconfig(), "docs", &scope).await?;
            if let Some(file) = file {
                cluster.kubectl(&["apply", "-f", &format!("{ROOT}/{file}")]).await?;
                let kinds = "dockercas,dockerhostcerts,dockerclientcerts,portainerclients";
                cluster.kubectl(&["wait", "--for=condition=Ready", kinds, "--all", "--timeout=60s"]).await?;
            }
            Ok(Small { _controller: controller, cluster })
        })
    }
}

impl Bench {
    fn new() -> Bench {
        let scratch = Scratch::new("docs").unwrap();
        for directory in ["bin", "home"] {
            std::fs::create_dir(scratch.path().join(directory)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_dockseal"), scratch.path().join("bin/dockseal")).unwrap();
        for name in REPOSITORY {
            symlink(format!("{ROOT}/{name}"), scratch.path().join(name)).unwrap();
        }
        for (name, script) in LOGIN {
            scratch.write(&format!("bin/{name}"), script).unwrap();
            std::fs::set_permissions(scratch.path().join("bin").join(name), Permissions::from_mode(0o755)).unwrap();
        }
        Bench { scratch, dockerd: None, portainer: None, cluster: None, printed: String::new() }
    }

    fn take(&mut self, block: &Block) -> Option<String> {
        match &block.marker {
            Marker::Run(code) => self.run(&block.text, *code),
            Marker::Prints => self.prints(&block.text),
            Marker::File(name) => {
                self.scratch.write(name, block.text.replace(HOME, &self.home())).unwrap();
                None
            }
            Marker::Dockerd(host) => {
                self.dockerd = None;
                let files = self.scratch.path().join(format!("dockseal-state/secrets/default/{host}-docker-host"));
                let port = free_port().unwrap();
                let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| files.join(name));
                self.dockerd = Some((Dockerd::start_on(port, &cert, &key, &ca).unwrap(), port));
                None
            }
            Marker::Portainer(host) => {
                let portainer = Portainer::start().unwrap();
                let environment = portainer.add_environment(host, &format!("tcp://{host}.bodkys.house:2376"));
                portainer.equip(environment, "ca", "cert", "key");
                self.portainer = Some(portainer);
                None
            }
            Marker::Cluster(file) => {
                self.cluster = None;
                self.cluster = Some(Small::start(file.as_deref()).unwrap());
                None
            }
            Marker::None | Marker::Values => None,
        }
    }

    fn home(&self) -> String {
        self.scratch.path().join("home").display().to_string()
    }

    fn live(&self) -> Option<String> {
        self.dockerd.as_ref().map(|(_, port)| format!("127.0.0.1:{port}"))
    }

    fn run(&mut self, script: &str, code: i32) -> Option<String> {
        let mut script = self.live().map_or(script.to_owned(), |live| script.replace(SHOWN, &live));
        for (place, here) in PLACES {
            script = script.replace(place, here);
        }
        if let Some(portainer) = &self.portainer {
            script = script.replace(SHOWN_PORTAINER, &format!("{} --allow-http", portainer.url()));
            script = script.replace(SHOWN_KEY, portainer.admin_key());
        }
        let kubectl = self.cluster.as_ref().map(|small| small.cluster.binaries().display().to_string());
        let path =
            format!("{}:{}", self.scratch.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-ec", &format!("exec 2>&1\n{script}")]).current_dir(self.scratch.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", &path).env("HOME", self.home());
        command.env("XDG_CACHE_HOME", cache()); // Helm is there
        if let (Some(small), Some(kubectl)) = (&self.cluster, kubectl) {
            command.env("KUBECONFIG", small.cluster.kubeconfig()).env("PATH", format!("{kubectl}:{path}"));
        }
        let output = command.output().unwrap();
        self.printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some(live) = self.live() {
            self.printed = self.printed.replace(&live, SHOWN);
        }
        self.printed = self.printed.replace(&self.home(), HOME);
        let ended = output.status.code();
        (ended != Some(code)).then(|| format!("it ended with {ended:?}, not {code}:\n{script}\n{}", self.printed))
    }

    fn prints(&self, shown: &str) -> Option<String> {
        let printed: Vec<String> = self.printed.lines().map(stable).collect();
        let is_there = |line: &&str| match stable(line).strip_suffix("...") {
            Some(start) => printed.iter().any(|line| line.starts_with(start.trim_end())),
            None => printed.contains(&stable(line)),
        };
        let missing = shown.lines().filter(|line| !line.trim().is_empty()).find(|line| !is_there(line))?;
        Some(format!("{missing:?} was not printed; this was:\n{}", self.printed))
    }
}

/// Where the tests keep what they built.
fn cache() -> String {
    let of_home = || format!("{}/.cache", std::env::var("HOME").unwrap_or_default());
    std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| of_home())
}

/// A line without what differs from run to run: dates, spans, fingerprints, columns' widths.
fn stable(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(steady).collect();
    words.join(" ")
}

fn steady(word: &str) -> String {
    let bytes = word.as_bytes();
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let date = bytes.len() >= 10 && digits(&bytes[..4]) && bytes[4] == b'-' && bytes[7] == b'-';
    let span = word.strip_suffix(['d', 'h', 's']).is_some_and(|count| digits(count.as_bytes()));
    let fingerprint = bytes.len() >= 40 && bytes.iter().all(u8::is_ascii_hexdigit);
    match () {
        () if date => "DATE".to_owned(),
        () if span => "SPAN".to_owned(),
        () if fingerprint => "FINGERPRINT".to_owned(),
        () => word.to_owned(),
    }
}
