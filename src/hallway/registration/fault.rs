//! What Portainer answered, as words for the user: the server's fault or the host's.

use super::Errand;
use crate::api::condition::Reason;
use crate::decide::registration::Fault;
use crate::world::portainer_http::PortainerError;

/// Why an errand ends here.
pub enum Stop {
    /// It concerns this host alone.
    Host(Fault),
    /// It concerns the server.
    Server(Fault),
}

/// A fault of the server's, whatever was asked of it.
pub fn of_server(error: &PortainerError) -> Fault {
    let fault = |reason, message: String| Fault::new(reason, message);
    match error {
        PortainerError::Unreachable(words) => {
            fault(Reason::PortainerUnreachable, format!("Portainer cannot be reached: {words}"))
        }
        PortainerError::TimedOut => {
            fault(Reason::PortainerUnreachable, "Portainer does not answer in time; it is asked again".to_owned())
        }
        PortainerError::Untrusted(words) => fault(
            Reason::PortainerNotTrusted,
            format!(
                "Portainer's own certificate is not trusted: {words}; name its CA in spec.server.tls.caSecretRef, and \
                 the name in it in spec.server.tls.serverName"
            ),
        ),
        PortainerError::CredentialsRefused => fault(
            Reason::CredentialsRefused,
            "Portainer refuses the credential: put a valid apiKey, or username and password, into the Secret of \
             spec.server.credentialsSecretRef"
                .to_owned(),
        ),
        PortainerError::Banned => fault(
            Reason::LoginBanned,
            "Portainer refuses logins from here for an hour, since there were too many; a restart of Portainer ends \
             that, and an apiKey avoids it"
                .to_owned(),
        ),
        PortainerError::NotInitialised => fault(
            Reason::PortainerNotInitialised,
            "Portainer has no administrator, and refuses everything five minutes after its start: restart it, and \
             make one on its page or by initializeAdmin: true"
                .to_owned(),
        ),
        PortainerError::Forbidden(words) => fault(
            Reason::NotAdministrator,
            format!("the credential is not an administrator's, which registering needs: {words}"),
        ),
        other => fault(Reason::PortainerFailed, format!("Portainer refused: {other}")),
    }
}

/// Who is at fault where a call about one host failed.
pub fn of(error: &PortainerError, errand: &Errand) -> Stop {
    match error {
        PortainerError::Refused { .. } | PortainerError::Unreadable(_) | PortainerError::NotFound => {
            Stop::Host(of_server(error))
        }
        PortainerError::NameInUse => Stop::Host(Fault::new(
            Reason::NameConflict,
            format!("Portainer has an environment {} already, which it does not show", errand.order.name),
        )),
        PortainerError::HostUnreachable(words) => Stop::Host(unreachable(errand, words)),
        // The look says whether the credential is an administrator's; who refuses this one call stands in between.
        PortainerError::TimedOut | PortainerError::Forbidden(_) => {
            Stop::Host(Fault { reason: Reason::PortainerFailed, ..of_server(error) })
        }
        _ => Stop::Server(of_server(error)),
    }
}

/// Portainer does not get through to the host.
pub fn unreachable(errand: &Errand, words: &str) -> Fault {
    let url = errand.order.url();
    let message = format!(
        "Portainer does not reach dockerd at {url}: {words}; look whether a firewall is between them, and whether that \
         name leads to the host from Portainer, too"
    );
    Fault::new(Reason::EnvironmentUnreachable, message)
}
