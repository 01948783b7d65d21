//! Whose clients dockerd admits by what others configured: as it runs, and as it would start. Files, processes and
//! dockerd's answers in, an [`OldTrust`] out. It only reads and asks.

use super::docker_host::DockerHost;
use super::error::StepError;
use super::next_start::{NextEnvironment, NextStart};
use super::probes::dialled;
use super::running_dockerd::{DockerdProcess, ProcessEnvironment};
use crate::adapters::disk::file_error::FileError;
use crate::adapters::docker::probe::TlsProbe;
use crate::adapters::host::Host;
use crate::adapters::host::procfs::{ProcessFacts, SeenFile};
use crate::decide::host::daemon_plan::paths;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::old_trust::OldTrust;
use crate::docker::client_trust::{TrustSource, trust_source};
use crate::docker::daemon_json::DaemonJson;
use crate::docker::unit::SERVICE;
use crate::pki::certificate::all_from_pem;
use crate::pki::{Certificate, DockerTrust};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Note of whom a dockerd admits: once its files are changed, they tell it no more.
#[derive(Serialize, Deserialize)]
struct NotedTrust {
    /// When that dockerd was started; none where none ran.
    started: Option<Timestamp>,
    /// Authorities, PEM.
    trusted: String,
}

/// Its name.
const NOTED: &str = "trusted.json";

/// What is known already of a host whose old trust is asked for.
pub struct TrustQuestion<'a> {
    /// Its process, if there is one.
    pub process: Option<&'a DockerdProcess>,
    pub next: &'a NextStart,
    /// daemon.json.
    pub json: DaemonJson,
    /// dockerd is known to have loaded our files.
    pub ours_loaded: bool,
    /// A change has begun and not ended.
    pub unfinished: bool,
    /// daemon.json and docker.service are ours, and were proved.
    pub ours_configured: bool,
    /// The authorities of others that the public ca.pem names, copied by us; none where it is not known.
    pub copied: Option<Vec<Certificate>>,
}

impl<H: Host> DockerHost<'_, H> {
    /// Notes whom dockerd admits, before its files are changed.
    pub fn note_trust(&self, observed: &ObservedDaemon) -> Result<(), FileError> {
        let trusted = match &observed.old_trust {
            OldTrust::Nobody => String::new(),
            OldTrust::Known(known) => known.iter().map(Certificate::to_pem).collect(),
            OldTrust::Unknown(_) => return Ok(()),
        };
        self.host.write_note(NOTED, Some(&NotedTrust { started: observed.started, trusted }))
    }

    /// What was noted has no use any more.
    pub fn forget_trust(&self) -> Result<(), FileError> {
        self.host.write_note(NOTED, None::<&NotedTrust>)
    }

    /// What was noted of the dockerd that still runs, or of the one that ran when a change began that has not ended.
    fn noted_trust(&self, question: &TrustQuestion<'_>) -> Result<Option<OldTrust>, FileError> {
        let Some(noted) = self.host.read_note::<NotedTrust>(NOTED)? else { return Ok(None) };
        let counts = match question.process {
            Some(process) => noted.started == Some(process.main.started),
            None => question.unfinished,
        };
        let known = all_from_pem(noted.trusted.as_bytes()).ok().filter(|_| counts);
        Ok(known.map(|known| if known.is_empty() { OldTrust::Nobody } else { OldTrust::Known(known) }))
    }

    /// Whose clients dockerd admits other than by our files.
    pub async fn old_trust(&self, question: &TrustQuestion<'_>) -> Result<OldTrust, StepError> {
        if let Some(noted) = self.noted_trust(question)? {
            return Ok(noted);
        }
        let running = match question.process {
            Some(process) if !question.ours_loaded && !question.ours_configured => {
                match self.trust_of_process(process, question).await? {
                    Ok(trust) => trust,
                    Err(why) => OldTrust::Unknown(why),
                }
            }
            _ => OldTrust::Nobody,
        };
        let next = match self.trust_of_next_start(question) {
            Err(_) if question.ours_loaded || question.ours_configured => OldTrust::Nobody, // nobody uses what others left
            next => next.unwrap_or_else(OldTrust::Unknown),
        };
        Ok(running.and(next))
    }

    /// Whom the dockerd that runs admits.
    async fn trust_of_process(
        &self,
        process: &DockerdProcess,
        question: &TrustQuestion<'_>,
    ) -> Result<Result<OldTrust, String>, StepError> {
        let facts = match &process.facts {
            Ok(facts) => facts,
            Err(why) => return Ok(Err(why.clone())),
        };
        if self.host.listeners(SERVICE).await?.is_empty() {
            return Ok(Ok(OldTrust::Nobody));
        }
        match self.file_of_process(process, facts) {
            Err(why) => Ok(Err(why)),
            Ok(Some(file)) => Ok(self.loaded_from(process, &file, question)),
            Ok(None) if self.speaks_tls().await? => Ok(Err(RESTART_FIRST.to_owned())),
            Ok(None) => Ok(Ok(OldTrust::Nobody)),
        }
    }

    /// The file from which the dockerd that runs has whom it admits; none where its settings ask for no certificate.
    fn file_of_process(&self, process: &DockerdProcess, facts: &ProcessFacts) -> Result<Option<String>, String> {
        let file = self.seen(Some(process.main.pid), &process.daemon_json()?)?;
        let changed = file.as_ref().is_some_and(|file| file.changed > process.main.started);
        let json = DaemonJson::parse(&file.map(|file| file.bytes).unwrap_or_default());
        let environment = ProcessEnvironment { docker: self, pid: process.main.pid, facts };
        let line = process.line()?;
        match json.ok().map(|json| trust_source(&line, &environment, &json)).transpose()? {
            Some(TrustSource::Nobody) => Ok(None),
            // With a flag that names it, dockerd does not start where daemon.json names one too.
            Some(TrustSource::File(file))
                if !changed || line.tls_flags().iter().any(|flag| flag.name == "tlscacert") =>
            {
                Ok(Some(file))
            }
            Some(TrustSource::System) if !changed => Err(SYSTEM_ROOTS.to_owned()),
            _ => Err(RESTART_FIRST.to_owned()),
        }
    }

    /// What the dockerd that runs read from a file.
    fn loaded_from(
        &self,
        process: &DockerdProcess,
        file: &str,
        question: &TrustQuestion<'_>,
    ) -> Result<OldTrust, String> {
        let path = process.at(file)?;
        if self.is_ours(&path)
            && let Some(copied) = &question.copied
        {
            return Ok(OldTrust::Known(copied.clone()));
        }
        let shown = path.display();
        let gone = || {
            format!("dockerd runs with {shown}, which is no longer there: put it back, or restart dockerd without it")
        };
        let read = self.seen(Some(process.main.pid), &path)?.ok_or_else(gone)?;
        if read.changed > process.main.started {
            return Err(format!(
                "{shown} was changed after dockerd was started, and what it held before is not known: restart dockerd, so \
                 that it uses the file as it is"
            ));
        }
        match certificates(&path, &read)? {
            found if found.is_empty() => {
                Err(format!("dockerd runs with {shown}, which holds no certificate: restart dockerd"))
            }
            found => Ok(OldTrust::Known(found)),
        }
    }

    /// Whom dockerd would admit on its next start.
    fn trust_of_next_start(&self, question: &TrustQuestion<'_>) -> Result<OldTrust, String> {
        let pid = question.process.map(|process| process.main.pid);
        let environment = NextEnvironment { docker: self, next: question.next, pid };
        let line = question.next.line.as_ref().map_err(Clone::clone)?;
        let path = match trust_source(line, &environment, &question.json)? {
            TrustSource::Nobody | TrustSource::DoesNotStart(_) => return Ok(OldTrust::Nobody),
            TrustSource::System => return Err(SYSTEM_ROOTS.to_owned()),
            TrustSource::File(file) => environment.at(&file)?,
        };
        if self.is_ours(&path) {
            return Ok(OldTrust::Nobody);
        }
        match self.seen(pid, &path)? {
            Some(read) => match certificates(&path, &read)? {
                found if found.is_empty() => Ok(OldTrust::Nobody), // with which dockerd does not start
                found => Ok(OldTrust::Known(found)),
            },
            None if pid.is_some() => Ok(OldTrust::Nobody), // nor without it
            None => Err(format!(
                "dockerd, which does not run, is to read {}, which is not there: mount or restore it, or take it out of \
                 dockerd's settings",
                path.display()
            )),
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        path == Path::new(&paths(self.request).ca)
    }

    /// Whether dockerd demands certificates somewhere: it showed one, and did not answer without. The listener of a swarm
    /// does so too, among its own.
    async fn speaks_tls(&self) -> Result<bool, StepError> {
        for address in self.host.listeners(SERVICE).await? {
            for dialled in dialled(address) {
                let demands = match self.host.probe_tls(dialled, None).await {
                    TlsProbe::Answered(_) | TlsProbe::Refused(None, _) => false,
                    TlsProbe::Refused(Some(leaf), _) => !is_swarm(&leaf),
                    TlsProbe::Closed(_) => true, // who knows
                };
                if demands {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

const RESTART_FIRST: &str = "dockerd demands client certificates, and daemon.json was changed after it was started, or does \
                             not say whose: restart dockerd, so that it uses the file as it is";
const SYSTEM_ROOTS: &str = "dockerd has TLS without tlscacert, so that it accepts clients of every authority that this system \
                            trusts: name the file of your clients' authority as tlscacert in daemon.json, and restart dockerd";

/// The certificates that Docker reads from a file.
fn certificates(path: &Path, read: &SeenFile) -> Result<Vec<Certificate>, String> {
    if !read.whole {
        return Err(format!(
            "{} is larger than 1 MiB, more than is read here: keep the authorities of your clients",
            path.display()
        ));
    }
    let file = path.display().to_string();
    let trust = DockerTrust::read(&file, &read.bytes);
    match trust.unknown.into_iter().next() {
        Some(why) => Err(format!("{file}: {why}: take it out of the file, and restart dockerd")),
        None => Ok(trust.certificates),
    }
}

/// The certificate of a node of a swarm: its organizational unit says what it is there.
fn is_swarm(leaf: &[u8]) -> bool {
    let unit =
        |name: &[u8], tag: u8| [&[0x55, 0x04, 0x0b, tag, u8::try_from(name.len()).unwrap_or_default()], name].concat();
    let holds = |part: Vec<u8>| leaf.windows(part.len()).any(|window| window == part);
    [&b"swarm-manager"[..], b"swarm-worker"].into_iter().any(|name| holds(unit(name, 0x13)) || holds(unit(name, 0x0c)))
}
