//! What Portainer answered, as words for the user: the server's fault or the host's.

use super::RegistrationRequest;
use crate::adapters::portainer::PortainerError;
use crate::api::condition::Reason;
use crate::decide::registration::RegistrationProblem;

/// Why an errand ends here.
pub enum RegistrationError {
    /// It concerns this host alone.
    Host(RegistrationProblem),
    /// It concerns the server.
    Server(RegistrationProblem),
}

/// A fault of the server's, whatever was asked of it.
pub fn of_server(error: &PortainerError) -> RegistrationProblem {
    let fault = |reason, message: String| RegistrationProblem::new(reason, message);
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
pub fn of(error: &PortainerError, errand: &RegistrationRequest) -> RegistrationError {
    match error {
        PortainerError::Refused { .. } | PortainerError::Unreadable(_) | PortainerError::NotFound => {
            RegistrationError::Host(of_server(error))
        }
        PortainerError::NameInUse => RegistrationError::Host(RegistrationProblem::new(
            Reason::NameConflict,
            format!("Portainer has an environment {} already, which it does not show", errand.order.name),
        )),
        PortainerError::HostUnreachable(words) => RegistrationError::Host(unreachable(errand, words)),
        // The look says whether the credential is an administrator's; who refuses this one call stands in between.
        PortainerError::TimedOut | PortainerError::Forbidden(_) => {
            RegistrationError::Host(RegistrationProblem { reason: Reason::PortainerFailed, ..of_server(error) })
        }
        _ => RegistrationError::Server(of_server(error)),
    }
}

/// Portainer does not get through to the host.
pub fn unreachable(errand: &RegistrationRequest, words: &str) -> RegistrationProblem {
    let url = errand.order.url();
    let message = format!(
        "Portainer does not reach dockerd at {url}: {words}; look whether a firewall is between them, and whether that \
         name leads to the host from Portainer, too"
    );
    RegistrationProblem::new(Reason::EnvironmentUnreachable, message)
}
