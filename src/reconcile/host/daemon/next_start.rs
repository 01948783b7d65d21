//! What docker.service would start dockerd with: systemd's properties and environment files in, a command line and an
//! environment out, or why they are not known. It only reads.

use super::docker_host::DockerHost;
use super::error::StepError;
use super::running_dockerd::{DockerdProcess, is_dockerd};
use crate::adapters::host::Host;
use crate::docker::client_trust::DaemonEnvironment;
use crate::docker::unit::{ExecLine, SERVICE, StartEnvironment, StartSettings};
use std::path::{Path, PathBuf};

/// The next start of dockerd.
pub struct NextStart {
    pub settings: StartSettings,
    pub environment: StartEnvironment,
    /// The command line, variables replaced, or why it is not known, as a sentence.
    pub line: Result<ExecLine, String>,
}

impl<H: Host> DockerHost<'_, H> {
    /// What systemd has loaded.
    pub async fn next_start(&self) -> Result<NextStart, StepError> {
        let settings = self.host.start_settings(SERVICE).await?;
        let read = |path: &str| match self.seen(None, path.as_ref())? {
            Some(file) if !file.whole => {
                Err(format!("{path}, an EnvironmentFile= of docker.service, is larger than 1 MiB"))
            }
            file => Ok(file.map(|file| file.bytes)),
        };
        let environment = StartEnvironment::of(&settings, read);
        let line = settings.line().and_then(|line| expanded(&line, &environment));
        Ok(NextStart { settings, environment, line })
    }

    /// Why it is not known what dockerd is started with, as a sentence; `exec` is the ExecStart= that was found in the
    /// unit's files, none where it is ours that counts.
    pub fn unknown_start(
        &self,
        next: &NextStart,
        exec: Option<&str>,
        process: Option<&DockerdProcess>,
    ) -> Result<(), String> {
        let line = next.line.as_ref().map_err(Clone::clone)?;
        let loaded = next.settings.line()?;
        if let Some(exec) = exec.and_then(|exec| ExecLine::parse(exec).ok())
            && !exec.is(&loaded)
        {
            return Err(format!(
                "systemd starts dockerd with \"{}\", and the files of docker.service say \"{}\": write that ExecStart= in \
                 one plain line",
                loaded.render(),
                exec.render()
            ));
        }
        let as_it_runs = process.and_then(|process| process.line().ok());
        if as_it_runs.is_some_and(|running| running.arguments() == line.arguments()) {
            return Ok(()); // a script that starts dockerd adds nothing
        }
        self.check_program(line, process.map(|process| process.main.pid))
    }

    /// The program is dockerd itself, and no script of that name.
    fn check_program(&self, line: &ExecLine, pid: Option<u32>) -> Result<(), String> {
        let program = Path::new(line.program());
        let file = self.seen(pid, program)?;
        let file = file.ok_or_else(|| {
            format!("{}, which docker.service starts, is missing, so dockerd would not start again", program.display())
        })?;
        match file.bytes.starts_with(b"\x7fELF") && is_dockerd(&file.path) {
            true => Ok(()),
            false => Err(format!(
                "docker.service starts {}, which is not dockerd itself but may start it with settings of its own: have \
                 ExecStart= start dockerd, with all its flags",
                program.display()
            )),
        }
    }
}

/// The line without variables.
fn expanded(line: &ExecLine, environment: &StartEnvironment) -> Result<ExecLine, String> {
    let text = line.render();
    match environment.all(crate::docker::unit::variables(&text)) {
        (_, Some(why)) => Err(why),
        (values, None) => Ok(line.expanded(&|name| values.get(name).cloned())),
    }
}

/// The environment of the next start, with what is beside it on its host.
pub struct NextEnvironment<'a, 'b, H: Host> {
    pub docker: &'a DockerHost<'b, H>,
    pub next: &'a NextStart,
    pub pid: Option<u32>,
}

impl<H: Host> NextEnvironment<'_, '_, H> {
    /// Where a path that dockerd is given leads.
    pub fn at(&self, path: &str) -> Result<PathBuf, String> {
        let settings = &self.next.settings;
        if !settings.root.is_empty() && self.pid.is_none() {
            return Err(format!(
                "docker.service has dockerd run in {} (RootDirectory= or RootImage=), which can be looked into only while it \
                 runs: start it",
                settings.root
            ));
        }
        let directory = match settings.directory.trim_start_matches(['!', '-']) {
            "" => "/".to_owned(),
            "~" => self.home()?,
            directory => directory.to_owned(),
        };
        Ok(Path::new("/").join(directory).join(path))
    }
}

impl<H: Host> DaemonEnvironment for NextEnvironment<'_, '_, H> {
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        self.next.environment.variable(name)
    }

    fn home(&self) -> Result<String, String> {
        let user = self.next.settings.user.as_str();
        self.docker.home_of(self.pid, if user.is_empty() { "0" } else { user })
    }
}
