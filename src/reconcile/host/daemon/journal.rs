//! The note of what was there before a change, written before anything is touched, and removed when the change ended.

use super::docker_host::{CHANGED_FILES, DockerHost};
use crate::adapters::disk::file_error::FileError;
use crate::adapters::host::Host;
use crate::adapters::host::system_files::PathEntry;
use crate::decide::host::daemon_config::DAEMON_JSON;
use crate::decide::host::daemon_state::Stage;
use crate::decide::host::observed::ObservedDaemon;
use crate::docker::unit;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Its name among our notes.
pub const JOURNAL: &str = "journal.json";

/// What was there before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// How far the change is.
    pub stage: Stage,
    /// Each file by its path, with what was there.
    pub prior: Vec<(PathBuf, PathEntry)>,
    /// The generation that was current.
    pub current: Option<u64>,
    /// Why it is rolled back, once it is.
    #[serde(default)]
    pub fault: Option<String>,
}

impl Journal {
    pub fn prior(&self, path: &str) -> Option<&PathEntry> {
        self.prior.iter().find(|(there, _)| there == Path::new(path)).map(|(_, entry)| entry)
    }
}

impl<H: Host> DockerHost<'_, H> {
    pub fn journal(&self) -> Result<Option<Journal>, FileError> {
        self.host.read_note(JOURNAL)
    }

    /// Begins a change. The journal of an unfinished one keeps what it has, which is older.
    pub fn begin(&self, observed: &ObservedDaemon, stage: Stage) -> Result<(), FileError> {
        let journal = match self.journal()? {
            Some(journal) => Journal { stage, ..journal },
            None => {
                self.note_trust(observed)?;
                Journal { stage, prior: self.prior_files()?, current: observed.current, fault: None }
            }
        };
        self.host.write_note(JOURNAL, Some(&journal))
    }

    fn prior_files(&self) -> Result<Vec<(PathBuf, PathEntry)>, FileError> {
        let entry = |path: &str| {
            let path = if path == DAEMON_JSON { self.host.resolve(path.as_ref())? } else { path.into() };
            let entry = self.host.read(&path)?;
            Ok((path, entry))
        };
        CHANGED_FILES.into_iter().map(entry).collect()
    }

    pub fn advance(&self, stage: Stage) -> Result<(), FileError> {
        match self.journal()? {
            Some(journal) => self.host.write_note(JOURNAL, Some(&Journal { stage, ..journal })),
            None => Ok(()),
        }
    }

    /// The change has ended, and dockerd was started since it began.
    pub fn end_change(&self) -> Result<(), FileError> {
        self.forget_trust()?;
        self.end_rollback()
    }

    /// The change was rolled back; dockerd may still be the one from before it.
    pub fn end_rollback(&self) -> Result<(), FileError> {
        self.host.write_note(JOURNAL, None::<&Journal>)
    }

    /// Whether units of sockets differ from what they were when systemd opened them.
    pub fn sockets_changed(&self) -> Result<bool, FileError> {
        let Some(journal) = self.journal()? else { return Ok(true) };
        for path in [unit::SOCKET_UNIT, unit::DROP_IN, unit::DOCKER_SOCKET_DROP_IN] {
            if journal.prior(path) != Some(&self.host.read(path.as_ref())?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
