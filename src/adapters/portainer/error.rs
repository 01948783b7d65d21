//! Why a request to Portainer failed. No text here holds a secret.

/// Why no client can be made for a Portainer: its settings are wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("failed to parse the URL of Portainer: {0}")]
    Url(String),
    #[error("failed to parse the server name in Portainer's certificate (tls.serverName): {0}")]
    ServerName(String),
    #[error("failed to read the CA certificates that verify Portainer's certificate: {0}")]
    Roots(String),
    #[error("failed to use Portainer's credential: it contains characters that an HTTP header cannot carry")]
    Credential,
}

/// Why Portainer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortainerError {
    /// There is no connection: Portainer received nothing.
    #[error("failed to reach Portainer: {0}")]
    Unreachable(String),
    /// No connection may be made to its address: nothing was sent.
    #[error("failed to reach Portainer: no connection may be made to its address")]
    NotAllowed,
    /// Its own certificate is not trusted, or has another name: Portainer received nothing.
    #[error("failed to trust Portainer's own certificate: {0}")]
    Untrusted(String),
    /// The request was sent and no answer came: Portainer may have done it.
    #[error("failed to get an answer from Portainer: it may have carried out the request or not")]
    TimedOut,
    #[error("failed to log in to Portainer: it rejects the credential")]
    CredentialsRefused,
    /// Portainer accepts no login from this address for an hour.
    #[error("failed to log in to Portainer: it bans this address for an hour because of too many logins")]
    Banned,
    /// The credential is not one of an administrator.
    #[error("failed to use Portainer: it forbids the request: {0}")]
    Forbidden(String),
    /// No administrator was made in time; Portainer has to be restarted.
    #[error("failed to use Portainer: it has no administrator and has to be restarted")]
    NotInitialised,
    #[error("failed to use Portainer: the name is already in use")]
    NameInUse,
    #[error("failed to use Portainer: it does not know that id")]
    NotFound,
    /// Portainer does not reach the host.
    #[error("failed to reach the host through Portainer: {0}")]
    HostUnreachable(String),
    /// Any other error answer: HTTP's status, and Portainer's message after sanitizing.
    #[error("failed to use Portainer: it answers {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("failed to parse Portainer's answer: {0}")]
    Unreadable(String),
}
