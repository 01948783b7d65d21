//! A Docker host as it is: its units, files, certificate directory and dockerd in, an [`ObservedDaemon`] out. It only
//! reads and asks, but has systemd read unit files that were changed.

use super::docker_host::DockerHost;
use super::error::StepError;
use super::next_start::NextStart;
use super::old_trust::TrustQuestion;
use super::running_dockerd::DockerdProcess;
use crate::adapters::host::cert_dir::DirContents;
use crate::adapters::host::system_files::PathEntry;
use crate::adapters::host::systemd::Unit;
use crate::adapters::host::{DeliveryDirectory, Host};
use crate::decide::host::daemon_config::{DAEMON_JSON, DaemonFiles, ExistingConfig};
use crate::decide::host::daemon_plan::paths;
use crate::decide::host::observed::{ObservedDaemon, WantedFiles};
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit;
use crate::docker::unit::parse::{self, values};
use crate::pki::Certificate;
use crate::pki::certificate::all_from_pem;
use std::path::Path;

impl<H: Host> DockerHost<'_, H> {
    /// Reads everything that a plan needs.
    pub async fn observe(&self) -> Result<ObservedDaemon, StepError> {
        let service = self.host.unit(unit::SERVICE).await?;
        self.observe_with(&service).await
    }

    /// As [`DockerHost::observe`], with docker.service as it was a moment ago. A client may start it by its socket at any
    /// time: it is not looked at twice, else one that starts just now would pass for one that hangs.
    pub async fn observe_with(&self, service: &Unit) -> Result<ObservedDaemon, StepError> {
        let socket = self.host.unit(unit::SOCKET).await?;
        if service.stale || socket.stale {
            self.host.reload().await?;
        }
        let contents = self.contents()?;
        let (written, journal) = (self.written()?, self.journal()?);
        let process = self.dockerd_process().await?;
        let next = self.next_start().await?;
        let proved = written.drop_in.is_some() && journal.is_none();
        let found = self.found(&next, process.as_ref(), &written, proved).await?;
        let unix = found.streams.iter().find(|stream| stream.starts_with('/')).cloned();
        let unix = unix.unwrap_or_else(|| "/run/docker.sock".into());
        let running = matches!(service.active.as_str(), "active" | "reloading");
        let (listeners, ends): (Vec<_>, Vec<_>) = self.served_addresses(&contents).await.into_iter().unzip();
        let (exposed, uncertain) = self.exposures().await?;
        let loaded = listeners.iter().find_map(|listener| listener.accepts);
        let json = DaemonJson::parse(found.daemon_json.as_deref().unwrap_or_default());
        let json = json.unwrap_or_default(); // one that cannot be read is refused before
        let question = TrustQuestion {
            process: process.as_ref(),
            next: &next,
            ours_loaded: loaded.is_some(),
            ours_configured: proved && json.tls().paths().as_ref() == Some(&paths(self.request)),
            unfinished: journal.is_some(),
            copied: copied_anchors(&contents),
            json,
        };
        Ok(ObservedDaemon {
            old_trust: self.old_trust(&question).await?,
            started: process.as_ref().map(|process| process.main.started),
            written,
            running,
            failed: matches!(service.active.as_str(), "failed" | "activating"), // see settled_service()
            stale: self.host.unit(unit::SOCKET_NAME).await?.stale,
            guarded: self.host.exists(unit::BINARY),
            engine: if running { self.host.probe_engine(Path::new(&unix)).await.ok() } else { None },
            exposed,
            uncertain,
            refused_authority: self.refused_authority(&listeners).await,
            current: contents.current,
            loaded: loaded.and_then(|number| files_of(&contents, number)).map(|files| files.anchors),
            listeners,
            files: self.request.files.and_then(|number| files_of(&contents, number)),
            served_until: ends.into_iter().flatten().min(),
            kubelet: self.host.unit("cri-docker.service").await?.active == "active",
            unfinished: journal.map(|journal| journal.stage),
            found,
        })
    }

    fn contents(&self) -> Result<DirContents, StepError> {
        let Some(directory) = &self.directory else { return Ok(DirContents::default()) };
        Ok(directory.contents(&self.request.host.name)?)
    }

    /// Text of a unit's files in systemd's order, ours left out.
    fn texts(&self, unit: &Unit) -> Result<Vec<String>, StepError> {
        let files = [&unit.fragment].into_iter().chain(&unit.drop_ins);
        let others =
            files.filter(|file| !file.is_empty() && *file != unit::DROP_IN && *file != unit::DOCKER_SOCKET_DROP_IN);
        others.map(|file| Ok(self.text(file)?.unwrap_or_default())).collect()
    }

    fn text(&self, path: &str) -> Result<Option<String>, StepError> {
        Ok(self.bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, StepError> {
        let entry = self.host.read(&self.host.resolve(path.as_ref())?)?;
        Ok(entry.bytes().map(<[u8]>::to_vec))
    }

    /// Drop-ins that systemd reads after ours, and that set what it sets.
    fn overruling(&self, drop_ins: &[String]) -> Result<Vec<String>, StepError> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut found = Vec::new();
        for path in drop_ins.iter().filter(|path| name(path) > name(unit::DROP_IN)) {
            let text = self.text(path)?.unwrap_or_default();
            let sets = |key| parse::mentions(&text, "Service", key);
            if ["ExecStart", "ExecStartPre", "ExecStartPost"].into_iter().any(sets) {
                found.push(path.clone());
            }
        }
        Ok(found)
    }

    /// What others wrote. With what is `proved` dockerd was started before: it is not asked again whether it would be.
    async fn found(
        &self,
        next: &NextStart,
        process: Option<&DockerdProcess>,
        written: &DaemonFiles,
        proved: bool,
    ) -> Result<ExistingConfig, StepError> {
        let service = self.host.unit(unit::SERVICE).await?;
        let overruling = self.overruling(&service.drop_ins)?;
        let service = self.texts(&service)?;
        let service: Vec<&str> = service.iter().map(String::as_str).collect();
        let socket = self.texts(&self.host.unit(unit::SOCKET).await?)?;
        let socket: Vec<&str> = socket.iter().map(String::as_str).collect();
        let exec = values(&service, "Service", "ExecStart").pop().unwrap_or_default();
        let (variables, unknown) = next.environment.all(unit::variables(&exec));
        let replaced = written.drop_in.as_deref().is_some_and(|text| parse::mentions(text, "Service", "ExecStart"));
        let unknown_start = || self.unknown_start(next, (!replaced).then_some(&*exec), process).err();
        let flags_of_the_past = |process: &DockerdProcess| process.flags_of_the_past(next.line.as_ref().ok());
        let unknown = if proved { None } else { unknown.or_else(unknown_start) };
        let running = process.filter(|_| !proved).map(flags_of_the_past).unwrap_or_default();
        Ok(ExistingConfig {
            exec,
            overruling,
            variables,
            streams: values(&socket, "Socket", "ListenStream"),
            daemon_json: written.daemon_json.clone(),
            unknown,
            running,
        })
    }

    /// What is there of ours, and daemon.json.
    fn written(&self) -> Result<DaemonFiles, StepError> {
        Ok(DaemonFiles {
            daemon_json: self.bytes(DAEMON_JSON)?,
            drop_in: self.text(unit::DROP_IN)?,
            socket: self.text(unit::SOCKET_UNIT)?,
            docker_socket: self.text(unit::DOCKER_SOCKET_DROP_IN)?,
            wanted: self.host.read(unit::SOCKET_WANT.as_ref())? != PathEntry::Absent,
        })
    }
}

/// What the public ca.pem names, where it leads to files of others that were copied; nothing where it leads to ours.
fn copied_anchors(contents: &DirContents) -> Option<Vec<Certificate>> {
    let current = contents.generations.iter().find(|generation| Some(generation.number) == contents.current)?;
    match current.probe_cert {
        Some(_) => Some(Vec::new()),
        None => files_of(contents, current.number).map(|files| files.anchors),
    }
}

fn files_of(contents: &DirContents, number: u64) -> Option<WantedFiles> {
    let generation = contents.generations.iter().find(|generation| generation.number == number)?;
    let leaf = Certificate::from_pem(generation.cert.as_ref()?).ok()?.fingerprint();
    let probe = generation.probe_cert.as_ref().and_then(|pem| Certificate::from_pem(pem).ok());
    let mut anchors = all_from_pem(generation.ca.as_ref()?).ok()?;
    anchors.retain(|anchor| probe.as_ref().is_none_or(|probe| probe.der != anchor.der));
    Some(WantedFiles { generation: number, leaf, anchors })
}
