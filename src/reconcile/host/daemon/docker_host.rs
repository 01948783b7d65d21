//! The host that one step works on, and the paths of dockerd's configuration there.

use crate::adapters::Clock;
use crate::adapters::disk::file_error::FileError;
use crate::adapters::host::Host;
use crate::adapters::host::system_files::PathEntry;
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::decide::host::step_request::StepRequest;
use crate::docker::unit;
use std::time::Duration;

/// How long dockerd may take from its start until it says that it is ready.
pub const START_TIMEOUT: Duration = Duration::from_secs(90);
/// How often dockerd is asked until it answers as wanted.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// The files that a change touches.
pub const CHANGED_FILES: [&str; 5] =
    [DAEMON_JSON, unit::SOCKET_UNIT, unit::DROP_IN, unit::DOCKER_SOCKET_DROP_IN, unit::SOCKET_WANT];

/// A host, what is asked of it, and its certificate directory, opened once; None where there is none.
pub struct DockerHost<'a, H: Host> {
    pub host: &'a H,
    pub request: &'a StepRequest,
    pub clock: &'a Clock,
    pub directory: Option<H::Directory>,
}

impl<H: Host> DockerHost<'_, H> {
    /// Writes a file that everybody may read; None removes it.
    pub fn put_text(&self, path: &str, text: Option<&str>) -> Result<(), FileError> {
        self.host.put(path.as_ref(), &text.map_or(PathEntry::Absent, PathEntry::public))
    }

    /// Writes daemon.json where its links lead; its permissions and owner stay. None removes it.
    pub fn put_daemon_json(&self, text: Option<&[u8]>) -> Result<(), FileError> {
        let path = self.host.resolve(DAEMON_JSON.as_ref())?;
        let entry = match (text, self.host.read(&path)?) {
            (None, _) => PathEntry::Absent,
            (Some(text), PathEntry::File { mode, uid, gid, .. }) => {
                PathEntry::File { bytes: text.to_vec(), mode, uid, gid }
            }
            (Some(text), _) => PathEntry::File { bytes: text.to_vec(), mode: 0o644, uid: 0, gid: 0 },
        };
        self.host.put(&path, &entry)
    }
}
