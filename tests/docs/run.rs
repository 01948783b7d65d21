//! Runs what a page marks, in a directory of the page's own, and compares what it shows with what was printed.

use crate::ROOT;
use crate::docs_cluster::DocsCluster;
use crate::running::RunningCommand;
use crate::support::dockerd::Dockerd;
use crate::support::page_commands::PageCommands;
use crate::support::pages::{Block, Marker, Page};
use crate::support::portainer::Portainer;
use crate::support::ports;
use crate::support::scratch::Scratch;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// What pages call the address of the dockerd that the test starts.
const SHOWN: &str = "127.0.0.1:2376";
/// What pages call the Portainer that the test starts, and its administrator's key.
const SHOWN_PORTAINER: &str = "https://portainer.bodkys.house";
const SHOWN_KEY: &str = "ptr_replace-this";
/// A host to which pages log in, below the page's directory: what is typed runs here, and no dockerd is restarted. And
/// what cargo would build is there.
const DOUBLES: [(&str, &str); 3] = [
    ("ssh", "#!/bin/sh\nshift\nexec sh -c \"$*\"\n"),
    ("systemctl", "#!/bin/sh\necho \"$@\" >> restarts\n"),
    ("cargo", "#!/bin/sh\nuntil [ \"$1\" = -- ]; do shift; done\nshift\nexec dockseal \"$@\"\n"),
];
/// Places of a machine, and what they are in the page's directory.
const PLACES: [(&str, &str); 2] =
    [("/etc/docker/certs", "host/etc/docker/certs"), ("/var/lib/dockseal-home", "dockseal-state")];
/// What `make` needs of the repository.
const REPOSITORY: [&str; 4] = ["examples", "Makefile", "charts", "tests"];
/// What pages call the user's directory.
const HOME: &str = "/home/ada";

struct PageRun {
    going: Vec<RunningCommand>, // dropped first
    scratch: Scratch,
    dockerd: Option<(Dockerd, u16)>,
    portainer: Option<Portainer>,
    cluster: Option<DocsCluster>,
    printed: String,
}

/// Runs the marked blocks of a page in their order; how many there were.
pub fn page(page: &Page) -> usize {
    let marked = page.blocks.iter().filter(|block| !matches!(block.marker, Marker::None | Marker::Values));
    let mut page_run: Option<PageRun> = None;
    let mut ran = 0;
    for block in marked {
        let page_run = page_run.get_or_insert_with(PageRun::new);
        let fault = page_run.take(block);
        assert!(fault.is_none(), "{}:{}: {}", page.name, block.line, fault.unwrap_or_default());
        ran += usize::from(matches!(block.marker, Marker::Run(_) | Marker::GoesOn));
    }
    for going in page_run.iter_mut().flat_map(|page_run| page_run.going.drain(..)) {
        going.end().unwrap_or_else(|error| panic!("{}: {error:#}", page.name));
    }
    ran
}

/// Types what is left to `docs`: what goes on until Ctrl-C, and what needs no other page's beginning.
pub fn typed() -> anyhow::Result<()> {
    let page_commands = PageCommands::new("docs");
    for page in ["README.md", "CONTRIBUTING.md"] {
        let page_run = PageRun::new();
        let mut up = page_run.start(&page_commands.command(page, "make up")?)?;
        for ready in ["DockerHostCert/pandora  True", "PortainerClient/portainer  True"] {
            up.says(ready)?;
        }
        up.end()?;
    }
    let mut page_run = PageRun::new();
    let fault = page_run.run(&page_commands.command("CONTRIBUTING.md", "make manifest")?, 0);
    anyhow::ensure!(fault.is_none() && page_run.printed.contains("kind: Deployment"), "{fault:?}");
    page_commands.done()?;
    Ok(())
}

impl PageRun {
    fn new() -> PageRun {
        let scratch = Scratch::new("docs").unwrap();
        for directory in ["bin", "home"] {
            std::fs::create_dir(scratch.path().join(directory)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_dockseal"), scratch.path().join("bin/dockseal")).unwrap();
        for name in REPOSITORY {
            symlink(format!("{ROOT}/{name}"), scratch.path().join(name)).unwrap();
        }
        for (name, script) in DOUBLES {
            scratch.program(&format!("bin/{name}"), script).unwrap();
        }
        std::fs::create_dir(scratch.path().join("home/.kube")).unwrap();
        PageRun { going: Vec::new(), scratch, dockerd: None, portainer: None, cluster: None, printed: String::new() }
    }

    /// Does what the marker says; what is wrong then.
    fn take(&mut self, block: &Block) -> Option<String> {
        match &block.marker {
            Marker::Run(code) => return self.run(&block.text, *code),
            Marker::Prints => return self.prints(&block.text),
            Marker::GoesOn => self.going.push(self.start(&block.text).unwrap()),
            Marker::File(name) => {
                self.scratch.write(name, block.text.replace(HOME, &self.home())).unwrap();
            }
            Marker::Dockerd(host) => self.serve(host),
            Marker::Portainer(host) => self.clicked(host),
            Marker::Cluster(file) => {
                let file = file.as_ref().map(|file| self.scratch.path().join(file));
                self.join(|| DocsCluster::start(file.as_deref()));
            }
            Marker::ApiServer => self.join(DocsCluster::bare),
            Marker::HowTo => return self.how_to(),
            Marker::None | Marker::Values | Marker::Typed(_) => {}
        }
        None
    }

    fn serve(&mut self, host: &str) {
        self.dockerd = None;
        let files = self.scratch.path().join(format!("dockseal-state/secrets/default/{host}-docker-host"));
        let port = ports::free().unwrap();
        let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| files.join(name));
        self.dockerd = Some((Dockerd::start_on(port, &cert, &key, &ca).unwrap(), port));
    }

    /// A user has made a host's environment by hand, and kept the authority's certificate.
    fn clicked(&mut self, host: &str) {
        let portainer = Portainer::start().unwrap();
        let environment = portainer.add_environment(host, &format!("tcp://{host}.bodkys.house:2376"));
        portainer.equip(environment, "ca", "cert", "key");
        self.scratch.write("ca.pem", "ca").unwrap();
        self.portainer = Some(portainer);
    }

    /// From now on there is that cluster, and a kubeconfig where users have theirs.
    fn join(&mut self, cluster: impl FnOnce() -> anyhow::Result<DocsCluster>) {
        self.cluster = None;
        let small = cluster().unwrap();
        let config = self.scratch.path().join("home/.kube/config");
        let _ = std::fs::remove_file(&config);
        symlink(small.cluster.kubeconfig(), config).unwrap();
        self.cluster = Some(small);
    }

    /// A user has followed the how-to in the home directory.
    fn how_to(&mut self) -> Option<String> {
        let page = Page::of("docs/howto-openssl.md");
        self.run(&format!("cd\n{}", page.block_with("openssl genrsa")), 0)
    }

    fn home(&self) -> String {
        self.scratch.path().join("home").display().to_string()
    }

    fn live(&self) -> Option<String> {
        self.dockerd.as_ref().map(|(_, port)| format!("127.0.0.1:{port}"))
    }

    /// As it is typed, with what this machine has instead of the pages'.
    fn command(&self, script: &str) -> Command {
        let mut script = self.live().map_or(script.to_owned(), |live| script.replace(SHOWN, &live));
        for (place, here) in PLACES {
            script = script.replace(place, here);
        }
        let mut command = Command::new("bash");
        let mut path = vec![self.scratch.path().join("bin").display().to_string()];
        command.env_clear();
        if let Some(portainer) = &self.portainer {
            script = script.replace(SHOWN_PORTAINER, &format!("{} --allow-http", portainer.url()));
            script = script.replace(SHOWN_KEY, portainer.admin_key());
            command.env("PORTAINER_API_KEY", portainer.admin_key());
        }
        path.extend(self.cluster.as_ref().map(|small| small.cluster.binaries().display().to_string()));
        path.push(std::env::var("PATH").unwrap_or_default());
        command.args(["-ec", &format!("exec 2>&1\n{script}")]).current_dir(self.scratch.path()).stdin(Stdio::null());
        command.env("PATH", path.join(":")).env("HOME", self.home());
        command.env("XDG_CACHE_HOME", below_home("XDG_CACHE_HOME", ".cache")); // Helm is there
        command.env("RUSTUP_HOME", below_home("RUSTUP_HOME", ".rustup"));
        command.env("DOCKSEAL_ADMIN_ADDRESS", "127.0.0.1:0");
        command
    }

    fn start(&self, script: &str) -> anyhow::Result<RunningCommand> {
        RunningCommand::start(self.command(script), self.scratch.path().join(format!("going-{}", self.going.len())))
    }

    fn run(&mut self, script: &str, code: i32) -> Option<String> {
        let output = self.command(script).output().unwrap();
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

/// What a variable says, or a directory of the real home.
fn below_home(variable: &str, directory: &str) -> String {
    let of_home = || format!("{}/{directory}", std::env::var("HOME").unwrap_or_default());
    std::env::var(variable).unwrap_or_else(|_| of_home())
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
