//! Why Portainer did not do it, in words that hold no secret.

/// Why there is nobody to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The address is none of HTTP's.
    #[error("failed to read the address of Portainer: {0}")]
    Url(String),
    /// The name that its certificate should have is none.
    #[error("failed to read the name in Portainer's certificate: {0}")]
    ServerName(String),
    /// There are no authorities to verify Portainer's certificate by.
    #[error("failed to read the authorities that Portainer's certificate is verified by: {0}")]
    Roots(String),
    /// The credential cannot be sent in a header.
    #[error("failed to use Portainer's credential: it holds characters that no header may")]
    Credential,
}

/// Why Portainer did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortainerError {
    /// There is no connection: nothing was asked.
    #[error("failed to reach Portainer: {0}")]
    Unreachable(String),
    /// Its own certificate is not trusted, or has another name: nothing was asked.
    #[error("failed to trust Portainer's own certificate: {0}")]
    Untrusted(String),
    /// It was asked and gave no answer, in time or at all: unknown what it did.
    #[error("failed to get an answer from Portainer: unknown whether it did what it was asked")]
    TimedOut,
    /// It does not know the credential, or no longer.
    #[error("failed to log in to Portainer: it refuses the credential")]
    CredentialsRefused,
    /// It does not listen to logins from this address for an hour.
    #[error("failed to log in to Portainer: it bans this address for too many logins")]
    Banned,
    /// The credential is not one of an administrator.
    #[error("failed to ask Portainer: it forbids it: {0}")]
    Forbidden(String),
    /// Nobody made an administrator in time; it waits for a restart.
    #[error("failed to ask Portainer: it was never initialised, and waits for a restart")]
    NotInitialised,
    /// There is one of that name.
    #[error("failed to ask Portainer: the name is in use")]
    NameInUse,
    /// There is none of that id.
    #[error("failed to ask Portainer: it does not know the id")]
    NotFound,
    /// Portainer does not reach the host.
    #[error("failed to reach the host through Portainer: {0}")]
    HostUnreachable(String),
    /// Anything else that it refused.
    #[error("failed to ask Portainer: it answers {status}: {words}")]
    Refused {
        /// HTTP's.
        status: u16,
        /// Portainer's, cleaned.
        words: String,
    },
    /// It answered what Portainer does not.
    #[error("failed to read Portainer's answer: {0}")]
    Unreadable(String),
}
