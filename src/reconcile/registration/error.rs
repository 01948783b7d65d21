//! An error of Portainer in, a problem for the user out: is the server at fault, or one host?

use super::request::RegistrationRequest;
use crate::adapters::portainer::PortainerError;
use crate::api::condition::Reason;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::RegistrationProblem;

/// Why a registration stops.
pub(super) enum RegistrationError {
    /// It concerns this host alone.
    Host(RegistrationProblem),
    /// It concerns the server, and so each of its hosts.
    Server(RegistrationProblem),
}

/// The problem of a server, whatever it was asked.
pub(super) fn server_problem(error: &PortainerError) -> RegistrationProblem {
    let problem = |reason, message: String| RegistrationProblem::new(reason, message);
    match error {
        PortainerError::Unreachable(cause) => {
            problem(Reason::PortainerUnreachable, format!("Portainer cannot be reached: {cause}"))
        }
        PortainerError::NotAllowed => problem(
            Reason::DestinationRefused,
            "this controller may not connect to the address of spec.server.url: an administrator must add it to \
             controller.allowedDestinations of the chart (--allowed-destination)"
                .to_owned(),
        ),
        PortainerError::TimedOut => {
            problem(Reason::PortainerUnreachable, "Portainer does not answer in time; it is asked again".to_owned())
        }
        PortainerError::Untrusted(cause) => problem(
            Reason::PortainerNotTrusted,
            format!(
                "Portainer's own certificate is not trusted: {cause}; name its CA in spec.server.tls.caSecretRef, and \
                 the name in it in spec.server.tls.serverName"
            ),
        ),
        PortainerError::CredentialsRefused => problem(
            Reason::CredentialsRefused,
            "Portainer refuses the credential: put a valid apiKey, or username and password, into the Secret of \
             spec.server.credentialsSecretRef"
                .to_owned(),
        ),
        PortainerError::Banned => problem(
            Reason::LoginBanned,
            "Portainer refuses logins from this address for an hour, because there were too many: wait, or restart \
             Portainer; use an apiKey to avoid logins"
                .to_owned(),
        ),
        PortainerError::NotInitialised => problem(
            Reason::PortainerNotInitialised,
            "Portainer has no administrator, and refuses everything five minutes after its start: restart it, and \
             make one on its page or by initializeAdmin: true"
                .to_owned(),
        ),
        PortainerError::Forbidden(cause) => problem(
            Reason::NotAdministrator,
            format!("the credential is not an administrator's, which registering needs: {cause}"),
        ),
        other => problem(Reason::PortainerFailed, format!("Portainer refused: {other}")),
    }
}

/// The error of a call about one host.
pub(super) fn call_error(error: &PortainerError, request: &RegistrationRequest) -> RegistrationError {
    match error {
        PortainerError::Refused { .. } | PortainerError::Unreadable(_) | PortainerError::NotFound => {
            RegistrationError::Host(server_problem(error))
        }
        PortainerError::NameInUse => RegistrationError::Host(RegistrationProblem::new(
            Reason::NameConflict,
            format!("Portainer already has an environment {}, but does not list it", request.desired.name),
        )),
        PortainerError::HostUnreachable(cause) => RegistrationError::Host(host_unreachable(request, cause)),
        // The refresh checks whether the credential is an administrator's; a proxy in front may refuse this one call.
        PortainerError::TimedOut | PortainerError::Forbidden(_) => {
            RegistrationError::Host(RegistrationProblem { reason: Reason::PortainerFailed, ..server_problem(error) })
        }
        _ => RegistrationError::Server(server_problem(error)),
    }
}

/// Portainer does not reach the host.
pub(super) fn host_unreachable(request: &RegistrationRequest, cause: &str) -> RegistrationProblem {
    let url = request.desired.url();
    let message = format!(
        "Portainer does not reach dockerd at {url}: {cause}; check whether a firewall is between them, and whether \
         Portainer resolves that name to the host"
    );
    RegistrationProblem::new(Reason::EnvironmentUnreachable, message)
}

/// A report with that problem.
pub(super) fn failed_report(
    client: &str,
    before: EnvironmentReport,
    problem: RegistrationProblem,
) -> EnvironmentReport {
    let (portainer_client, reason) = (client.to_owned(), problem.reason.as_str().to_owned());
    EnvironmentReport { portainer_client, reason, message: problem.message, ..before }
}
