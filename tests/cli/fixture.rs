//! State directories that `up` made, and the binary run over them, with a terminal and without one.

use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const GOOD: &str = "
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: homelab}
spec: {subject: {commonName: Docker CA}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: pandora, labels: {site: home}}
spec: {caRef: {name: homelab}, hostname: pandora.bodkys.house, address: {host: 127.0.0.1, port: 12376}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: attic, labels: {site: away}}
spec: {caRef: {name: homelab}, ipAddresses: ['fd00::7']}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {name: ci}
spec: {caRef: {name: homelab}, commonName: ci}
---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {name: portainer}
spec: {caRef: {name: homelab}, commonName: portainer.bodkys.house}
";

/// A host that cannot be issued, one of the same name elsewhere, and a client of the same name as a host.
pub const MORE: &str = "
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: broken}
spec: {caRef: {name: nowhere}, hostname: broken.bodkys.house}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: lab, namespace: lab}
spec: {subject: {commonName: Lab CA}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: pandora, namespace: lab}
spec: {caRef: {name: lab}, hostname: pandora.lab}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {name: attic}
spec: {caRef: {name: homelab}, commonName: attic}
";

/// A directory with `state` in it.
pub struct Fixture(pub Scratch);

/// What a run ended with.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> CommandOutput {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl CommandOutput {
    /// It ended with that code, and said those words on standard error.
    #[track_caller]
    pub fn ends(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{words:?}: {self:?}");
    }
}

impl Fixture {
    /// What `up --once` makes of that YAML, Ready or not.
    pub fn of(yaml: &str) -> Fixture {
        let fixture = Fixture(Scratch::new("cli").unwrap());
        fixture.0.write("objects.yaml", yaml).unwrap();
        fixture.up();
        fixture
    }

    /// Everything is Ready.
    pub fn good() -> Fixture {
        Fixture::of(GOOD)
    }

    /// Not everything is.
    pub fn mixed() -> Fixture {
        Fixture::of(&format!("{GOOD}{MORE}"))
    }

    /// Runs `up` on `objects.yaml` again, until it has looked at everything: a busy machine may not in two seconds.
    pub fn up(&self) {
        for patience in ["2s", "10s", "60s"] {
            let mut up = self.command(&["up", "objects.yaml", "--once", "--timeout", patience, "--state", "state"]);
            let ran = CommandOutput::from(up.output().unwrap());
            assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
            if ran.code == Some(0) || self.is_looked_at() {
                return;
            }
        }
        panic!("{:?}", self.run(&["status"]));
    }

    /// Whatever is not Ready is so for a reason that no second look would change.
    fn is_looked_at(&self) -> bool {
        let status = serde_json::from_str(&self.run(&["status", "-o", "json"]).out).unwrap_or(serde_json::Value::Null);
        let passing = ["NotSeen", "AuthorityNotReady"];
        let seen = |object: &serde_json::Value| !passing.iter().any(|reason| object["reason"] == *reason);
        status["objects"].as_array().is_some_and(|objects| objects.iter().all(seen))
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// The binary in this directory, without any of the user's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockseal"));
        command.args(arguments).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path("home"));
        command
    }

    /// A verb over the state directory.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        let with_state = [arguments, &["--state", "state"]].concat();
        self.command(&with_state).output().unwrap().into()
    }

    /// The same on a terminal of so many columns; standard error is there too.
    pub fn on_terminal(&self, columns: usize, settings: &str, arguments: &str) -> CommandOutput {
        let binary = env!("CARGO_BIN_EXE_dockseal");
        let line = format!("stty cols {columns} rows 40 -onlcr; {settings} '{binary}' {arguments} --state state");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path("home"));
        command.env("SHELL", "/bin/sh").env("TERM", "xterm");
        command.output().unwrap().into()
    }

    /// The end of an object's certificate and the time of its renewal, moved by so many days from now.
    pub fn date(&self, status: &str, end: i64, renew: i64) {
        let path = self.path("state/status").join(status);
        let text = std::fs::read_to_string(&path).unwrap();
        let day = k8s_openapi::jiff::SignedDuration::from_hours(24);
        let now = k8s_openapi::jiff::Timestamp::now();
        let dated = |line: &str| match line.split_once(": ") {
            Some(("notAfter", _)) => format!("notAfter: {}", now + day * i32::try_from(end).unwrap() + day / 2),
            Some(("renewAt", _)) => format!("renewAt: {}", now + day * i32::try_from(renew).unwrap()),
            _ => line.to_owned(),
        };
        let text: String = text.lines().map(|line| dated(line) + "\n").collect();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Permissions of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
