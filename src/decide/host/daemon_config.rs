//! dockerd's configuration as it should be: what others wrote in, the files to write out, or the conflict. It writes
//! nothing.

use super::report::serving;
use crate::api::condition::Reason;
use crate::decide::status::Verdict;
use crate::docker::daemon_json::{DaemonJson, TlsPaths, Wanted};
use crate::docker::listen::Listen;
use crate::docker::unit::{self, ExecLine};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The configuration that others wrote, without Dockseal's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingConfig {
    /// ExecStart of docker.service.
    pub exec: String,
    /// Drop-ins of docker.service that systemd reads after ours, and that override it.
    pub overruling: Vec<String>,
    /// Variables in it, such as DOCKER_OPTS, by the unit and its environment files.
    pub variables: BTreeMap<String, String>,
    /// Why it is not known what docker.service would start dockerd with, and what to do, as a sentence.
    pub unknown: Option<String>,
    /// Listeners and TLS flags of the dockerd that runs, where docker.service no longer says them.
    pub running: Vec<String>,
    /// ListenStream of docker.socket.
    pub streams: Vec<String>,
    /// daemon.json.
    pub daemon_json: Option<Vec<u8>>,
}

/// dockerd's configuration.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

impl ExistingConfig {
    /// The command line that starts dockerd under our configuration, as far as it is known.
    pub fn command(&self) -> Vec<String> {
        let variable = |name: &str| self.variables.get(name).cloned();
        let exec = ExecLine::parse(&self.exec).map(|exec| exec.expanded(&variable).taken_over().argv());
        exec.unwrap_or_else(|_| ["dockerd", "-H", "fd://"].map(str::to_owned).to_vec())
    }
}

/// The files that configure dockerd: as they are, or as they should be. None: no file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFiles {
    /// daemon.json.
    pub daemon_json: Option<Vec<u8>>,
    /// Our drop-in of docker.service.
    pub drop_in: Option<String>,
    /// Our socket unit.
    pub socket: Option<String>,
    /// Our drop-in of docker.socket.
    pub docker_socket: Option<String>,
    /// Our socket unit is enabled.
    pub wanted: bool,
}

/// The wanted configuration of dockerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredConfig {
    /// Addresses to listen on.
    pub listen: Vec<Listen>,
    /// The certificate files to serve.
    pub paths: TlsPaths,
    /// Turn live-restore on.
    pub live_restore: bool,
    /// Settings of others may be replaced.
    pub take_over: bool,
}

/// The files with which dockerd serves as desired.
///
/// # Errors
/// Serving=False: DaemonUnusable where a file cannot be read, DaemonConflict where settings of others are in the way.
pub fn served(found: &ExistingConfig, desired: &DesiredConfig) -> Result<DaemonFiles, Verdict> {
    let read = ParsedConfig::of(found)?;
    check_in_force(found)?;
    let mut conflicts = read.conflicts(Some(&desired.paths));
    conflicts.extend(found.running.iter().cloned());
    if !conflicts.is_empty() && !desired.take_over {
        let message = format!(
            "dockerd is already configured to listen: {}; set delivery.takeOver: true to replace that, or remove it",
            conflicts.join(", ")
        );
        return Err(serving(Reason::DaemonConflict, message));
    }
    let TlsPaths { ca, cert, key } = &desired.paths;
    let live_restore = desired.live_restore && !read.has_live_restore_flag(); // dockerd refuses to start with both
    let wanted = Wanted { ca, cert, key, live_restore, drop_hosts: true };
    Ok(DaemonFiles {
        daemon_json: Some(read.json.merged(&wanted).render()),
        drop_in: Some(unit::drop_in(read.replaced().as_ref())),
        socket: Some(unit::socket_unit(&desired.listen)),
        docker_socket: read.docker_socket(),
        wanted: true,
    })
}

/// Checks that dockerd reads our files.
///
/// # Errors
/// Serving=False DaemonConflict, with the setting that overrides our files.
pub fn check_in_force(found: &ExistingConfig) -> Result<(), Verdict> {
    if let Some(why) = &found.unknown {
        let message =
            format!("what docker.service starts dockerd with cannot be found out, so nothing was changed: {why}");
        return Err(serving(Reason::DaemonConflict, message));
    }
    let exec = ParsedConfig::of(&ExistingConfig { daemon_json: None, ..found.clone() })?.whole_command();
    if let Some(file) = exec.config_file().filter(|file| file != DAEMON_JSON) {
        let message = format!(
            "dockerd is started with --config-file={file}: remove that from its command line, so that it reads \
             {DAEMON_JSON}"
        );
        return Err(serving(Reason::DaemonConflict, message));
    }
    let Some(drop_in) = found.overruling.first() else { return Ok(()) };
    let message = format!(
        "{drop_in} sets what Dockseal's drop-in sets, and systemd reads it later: remove its Exec lines, or rename it so \
         that it comes before {}",
        unit::DROP_IN
    );
    Err(serving(Reason::DaemonConflict, message))
}

/// The files with which dockerd listens only on its unix socket: they close a listener that others left open. TLS
/// settings stay as they are.
///
/// # Errors
/// Serving=False DaemonUnusable.
pub fn closed(found: &ExistingConfig, listen: &[Listen]) -> Result<DaemonFiles, Verdict> {
    let read = ParsedConfig::of(found)?;
    Ok(DaemonFiles {
        daemon_json: match read.json.hosts() {
            Some(_) => Some(read.json.without_hosts().render()),
            None => found.daemon_json.clone(),
        },
        drop_in: Some(unit::drop_in(read.replaced().as_ref())),
        socket: Some(unit::socket_unit(listen)),
        docker_socket: read.docker_socket(),
        wanted: false,
    })
}

/// The files after ours are removed. A drop-in that removes a listener of others stays, so that none is opened again.
///
/// # Errors
/// Serving=False DaemonUnusable.
pub fn removed(found: &ExistingConfig, paths: &TlsPaths) -> Result<DaemonFiles, Verdict> {
    let read = ParsedConfig::of(found)?;
    let ours = read.json.tls().paths().as_ref() == Some(paths);
    let daemon_json = match ours {
        true => read.json.without_tls(paths).map(|json| Some(json.render())).unwrap_or(found.daemon_json.clone()),
        false => found.daemon_json.clone(),
    };
    Ok(DaemonFiles {
        daemon_json,
        drop_in: read.replaced().map(|exec| unit::closed_drop_in(&exec)),
        socket: None,
        docker_socket: read.docker_socket(),
        wanted: false,
    })
}

/// How unix sockets begin: with a path, or as abstract ones.
const UNIX: [char; 2] = ['/', '@'];

/// What others wrote, parsed.
struct ParsedConfig {
    exec: ExecLine,
    variables: BTreeMap<String, String>,
    streams: Vec<String>,
    json: DaemonJson,
}

impl ParsedConfig {
    fn of(found: &ExistingConfig) -> Result<ParsedConfig, Verdict> {
        let unusable = |what: String| serving(Reason::DaemonUnusable, what);
        let bytes = found.daemon_json.as_deref().unwrap_or_default();
        let json = DaemonJson::parse(bytes);
        let json =
            json.map_err(|error| unusable(format!("{error}: correct the file; until then it is not changed")))?;
        let exec = ExecLine::parse(&found.exec);
        let exec =
            exec.map_err(|error| unusable(format!("{error}: correct docker.service; until then nothing is changed")))?;
        let streams = found.streams.iter().map(|stream| stream.replace("%t", "/run").replace("%%", "%")).collect();
        Ok(ParsedConfig { exec, variables: found.variables.clone(), streams, json })
    }

    /// The command line as dockerd gets it.
    fn whole_command(&self) -> ExecLine {
        self.exec.expanded(&|name| self.variable(name))
    }

    fn has_live_restore_flag(&self) -> bool {
        let argv = self.whole_command().argv();
        argv.iter().any(|word| word.split('=').next() == Some("--live-restore"))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The whole command line, with the variables put in that tell dockerd how to listen.
    fn command(&self) -> ExecLine {
        self.exec.inlined(&|name| self.variable(name))
    }

    /// The command line without others' listeners, where there are any.
    fn replaced(&self) -> Option<ExecLine> {
        (!self.flag_conflicts().is_empty()).then(|| self.command().taken_over())
    }

    fn docker_socket(&self) -> Option<String> {
        let (unix, others): (Vec<String>, Vec<String>) =
            self.streams.iter().cloned().partition(|stream| stream.starts_with(UNIX));
        (!others.is_empty()).then(|| unit::docker_socket_drop_in(&unix))
    }

    fn flag_conflicts(&self) -> Vec<String> {
        let command = self.command();
        if !command.must_change() {
            return Vec::new();
        }
        let listeners: Vec<String> = command.listeners().iter().map(|host| format!("-H {host} in ExecStart")).collect();
        let none = listeners.is_empty().then(|| "ExecStart without -H fd://".to_owned());
        let tls = command.tls_flags().into_iter().map(|flag| format!("--{} in ExecStart", flag.name));
        listeners.into_iter().chain(none).chain(tls).collect()
    }

    fn conflicts(&self, ours: Option<&TlsPaths>) -> Vec<String> {
        let mut found = self.flag_conflicts();
        found.extend(self.json.hosts().map(|_| "hosts in daemon.json".to_owned()));
        let tls = self.json.tls();
        if tls.is_set() && (tls.paths().is_none() || tls.paths().as_ref() != ours) {
            found.push("TLS settings in daemon.json".to_owned());
        }
        let tcp = self.streams.iter().filter(|stream| !stream.starts_with(UNIX));
        found.extend(tcp.map(|stream| format!("ListenStream={stream} in docker.socket")));
        found
    }
}
