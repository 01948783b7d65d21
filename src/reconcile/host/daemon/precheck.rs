//! Whether a change can be made, asked before anything is touched: room for its files, dockerd's own opinion of its
//! configuration, and nobody else on its addresses.

use super::docker_host::DockerHost;
use super::error::StepError;
use super::journal::JOURNAL;
use crate::adapters::host::Host;
use crate::adapters::host::cert_dir::CertDir;
use crate::adapters::host::system_files::{HOME, PathEntry};
use crate::api::condition::Reason;
use crate::decide::host::daemon_config::{DAEMON_JSON, DaemonFiles};
use crate::decide::host::daemon_plan::paths;
use crate::decide::host::observed::ObservedDaemon;
use crate::decide::host::report::serving;
use crate::decide::host::step_request::listen_addresses;
use crate::docker::daemon_json::{DaemonJson, TlsPaths, Wanted, enforces_client_auth};
use crate::docker::unit;
use std::path::Path;

/// A configuration that dockerd is asked about.
const CANDIDATE: &str = "candidate.json";

impl<H: Host> DockerHost<'_, H> {
    /// Fails where the change cannot be made.
    pub async fn check(&self, observed: &ObservedDaemon, files: &DaemonFiles) -> Result<(), StepError> {
        let refused = |what: String| StepError::Refused(serving(Reason::DaemonUnusable, what));
        let journal = format!("{HOME}/{JOURNAL}");
        for file in [&journal, DAEMON_JSON, unit::SOCKET_UNIT] {
            let room = self.host.check_room(file.as_ref());
            room.map_err(|error| refused(format!("{error}; dockerd was not touched")))?;
        }
        let text = files.daemon_json.as_deref().unwrap_or_default();
        enforces_client_auth(text)
            .map_err(|error| refused(format!("daemon.json would not demand client certificates: {error}")))?;
        if let Some(answer) = self.validate(observed, text)? {
            return Err(refused(format!(
                "dockerd --validate refuses the configuration that it would have, so it was not touched: {answer}"
            )));
        }
        self.check_addresses().await
    }

    /// What dockerd says against the configuration, with the files of the generation that it is to serve.
    fn validate(&self, observed: &ObservedDaemon, text: &[u8]) -> Result<Option<String>, StepError> {
        let Some((files, json)) = observed.files.as_ref().zip(DaemonJson::parse(text).ok()) else { return Ok(None) };
        let TlsPaths { ca, cert, key } = paths(self.request);
        let inside = |path: String| {
            let (directory, name) = path.rsplit_once('/').unwrap_or_default();
            let file = CertDir::generation_file(Path::new(directory), files.generation, name);
            file.to_string_lossy().into_owned()
        };
        let (ca, cert, key) = (inside(ca), inside(cert), inside(key));
        let wanted = Wanted { ca: &ca, cert: &cert, key: &key, live_restore: false, drop_hosts: true };
        let candidate = format!("{HOME}/{CANDIDATE}");
        self.host.put(candidate.as_ref(), &PathEntry::private(json.merged(&wanted).render()))?;
        let mut command = observed.found.command();
        command.extend(["--config-file".to_owned(), candidate.clone()]);
        let answer = self.host.validate(&command);
        self.host.put(candidate.as_ref(), &PathEntry::Absent)?;
        Ok(answer.map(|answer| answer.replace(&candidate, DAEMON_JSON)))
    }

    /// Nobody but dockerd, or systemd for it, listens where dockerd is to.
    async fn check_addresses(&self) -> Result<(), StepError> {
        for listen in listen_addresses(&self.request.host).unwrap_or_default() {
            let in_the_way = |address: &std::net::SocketAddr| listen.overlaps(address);
            if let Some((address, process)) = self.host.other_listener(unit::SERVICE, in_the_way).await? {
                let message = format!(
                    "{process} listens on {address}, where dockerd is to: stop it, or choose another port; dockerd was \
                     not touched"
                );
                return Err(StepError::Refused(serving(Reason::DaemonConflict, message)));
            }
        }
        Ok(())
    }
}
