//! Why a step on dockerd failed, and whether the change is only put off or counts as tried.

use crate::adapters::disk::file_error::FileError;
use crate::adapters::host::cert_dir;
use crate::adapters::host::systemd::SystemdError;
use crate::api::condition::Reason;
use crate::decide::host::report::serving;
use crate::decide::status::Verdict;

/// Why a step failed. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A file of the host.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate directory.
    #[error(transparent)]
    Directory(#[from] cert_dir::DeliveryError),
    /// A call to systemd.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// dockerd does not come up.
    #[error("dockerd has been starting for {0} seconds and does not say that it is ready")]
    Hangs(u64),
    /// dockerd is not run by systemd's docker.service and docker.socket.
    #[error("{0}")]
    Unsupported(String),
    /// The user must fix something.
    #[error("{}", .0.message)]
    Refused(Verdict),
}

impl StepError {
    /// Serving=False, with the reason.
    pub fn verdict(self) -> Verdict {
        match self {
            StepError::Refused(verdict) => verdict,
            StepError::Unsupported(message) => serving(Reason::UnsupportedHost, message),
            StepError::Directory(error) => serving(Reason::DirectoryUnusable, error.to_string()),
            error => serving(Reason::DaemonUnusable, error.to_string()),
        }
    }
}

/// Why a change is rolled back.
pub enum RollbackCause {
    /// It was tried, and did not work.
    Failed(String),
    /// It cannot be tried now.
    Refused(Verdict),
}

impl<E: Into<StepError>> From<E> for RollbackCause {
    fn from(error: E) -> RollbackCause {
        match error.into() {
            StepError::Refused(verdict) => RollbackCause::Refused(verdict),
            error => RollbackCause::Failed(error.to_string()),
        }
    }
}
