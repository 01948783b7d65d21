//! The dockerd that runs, as the kernel shows it: its arguments, its environment and the files that it sees. It only reads.

use super::docker_host::DockerHost;
use super::error::StepError;
use crate::adapters::host::Host;
use crate::adapters::host::procfs::{MainProcess, ProcessFacts, SeenFile};
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::docker::client_trust::DaemonEnvironment;
use crate::docker::unit::{ExecLine, SERVICE};
use std::path::{Path, PathBuf};

/// The process of a dockerd.
pub struct DockerdProcess {
    pub main: MainProcess,
    /// What it was started as, or why that is not known, as a sentence.
    pub facts: Result<ProcessFacts, String>,
}

impl<H: Host> DockerHost<'_, H> {
    /// docker.service's process; none while there is none.
    pub async fn dockerd_process(&self) -> Result<Option<DockerdProcess>, StepError> {
        let Some(main) = self.host.main_process(SERVICE).await? else { return Ok(None) };
        let facts = self.host.process(main.pid).map_err(|error| error.to_string());
        Ok(Some(DockerdProcess { main, facts: facts.and_then(as_dockerd) }))
    }

    /// A file as a process sees it, or this program where there is none; why it cannot be read, as a sentence.
    pub fn seen(&self, pid: Option<u32>, path: &Path) -> Result<Option<SeenFile>, String> {
        self.host.read_seen(pid, path).map_err(|error| error.to_string())
    }

    /// The home directory of a user by number or name, as the files of the host have it.
    pub fn home_of(&self, pid: Option<u32>, user: &str) -> Result<String, String> {
        let file = self.seen(pid, "/etc/passwd".as_ref())?.map(|file| file.bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&file).into_owned();
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let line = lines.find(|fields| fields.len() > 5 && (fields[0] == user || fields[2] == user));
        let home = line.map(|fields| fields[5].to_owned()).filter(|home| !home.is_empty());
        home.ok_or_else(|| {
            format!("/etc/passwd has no home directory of user {user}, where dockerd looks for .docker/ca.pem: name the file")
        })
    }
}

/// A process that only starts a dockerd, or is something else, tells nothing.
fn as_dockerd(facts: ProcessFacts) -> Result<ProcessFacts, String> {
    match is_dockerd(&facts.program) {
        true => Ok(facts),
        false => Err(format!(
            "docker.service runs {}, and dockerd only behind it, where its settings cannot be seen: have ExecStart= start \
             dockerd itself, and restart it",
            facts.program.display()
        )),
    }
}

/// Whether a program is called dockerd, or as Debian, Red Hat and others call theirs: dockerd-ce, dockerd-current. One
/// that was replaced since, the kernel calls so and adds " (deleted)".
pub fn is_dockerd(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dockerd"))
}

impl DockerdProcess {
    /// Its command line.
    pub fn line(&self) -> Result<ExecLine, String> {
        self.facts.as_ref().map(|facts| ExecLine::literal(&facts.arguments)).map_err(Clone::clone)
    }

    /// Listeners beside the usual ones, and flags of TLS, that it was started with and would not be again.
    pub fn flags_of_the_past(&self, next: Option<&ExecLine>) -> Vec<String> {
        let Ok(line) = self.line() else { return Vec::new() };
        if next.is_some_and(|next| next.arguments() == line.arguments()) {
            return Vec::new();
        }
        let remote = |listener: &String| !listener.starts_with("fd://") && !listener.starts_with("unix://");
        let listeners = line.listeners().into_iter().filter(remote);
        let listeners = listeners.map(|listener| format!("-H {listener} of the dockerd that runs"));
        let tls = line.tls_flags().into_iter().map(|flag| format!("--{} of the dockerd that runs", flag.name));
        listeners.chain(tls).collect()
    }

    /// Where a path that dockerd was given leads.
    pub fn at(&self, path: &str) -> Result<PathBuf, String> {
        self.facts.as_ref().map(|facts| facts.directory.join(path)).map_err(Clone::clone)
    }

    /// The file that it read as daemon.json.
    pub fn daemon_json(&self) -> Result<PathBuf, String> {
        self.at(&self.line()?.config_file().unwrap_or_else(|| DAEMON_JSON.to_owned()))
    }
}

/// The environment of a process, with what is beside it on its host.
pub struct ProcessEnvironment<'a, 'b, H: Host> {
    pub docker: &'a DockerHost<'b, H>,
    pub pid: u32,
    pub facts: &'a ProcessFacts,
}

impl<H: Host> DaemonEnvironment for ProcessEnvironment<'_, '_, H> {
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        let value = |entry: &String| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        Ok(self.facts.environment.iter().find_map(value))
    }

    fn home(&self) -> Result<String, String> {
        self.docker.home_of(Some(self.pid), &self.facts.user.to_string())
    }
}
