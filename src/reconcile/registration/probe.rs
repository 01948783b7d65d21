//! Asks the host's dockerd before Portainer is given anything: each environment that Portainer fails to make leaves a
//! private key on its disk. It changes nothing on the host.

use super::request::RegistrationRequest;
use super::server::RegistrationServer;
use crate::adapters::docker::ping::{DockerAddress, PingError, Pinged};
use crate::api::condition::Reason;
use crate::decide::registration::plan::serves_another;
use crate::decide::registration::{Proof, RegistrationProblem};
use crate::portainer::too_old;

/// dockerd has to be asked what it serves: no companion says so, and it is not what was proved last.
pub fn is_due(request: &RegistrationRequest) -> bool {
    let proved = request.previous.proved_fingerprint.as_ref() == Some(&request.input.stored);
    request.input.proof == Proof::Ask && !(proved && request.previous.is_registered())
}

/// Asks dockerd before anything is written, and puts what it serves into the request. If a companion has seen the right
/// certificate, only the first registration asks: for Docker's version, and whether strangers are let in.
pub async fn ask_docker(server: &RegistrationServer, request: &mut RegistrationRequest) {
    let first = request.previous.id.is_none() && matches!(request.input.proof, Proof::Serves(_));
    if request.input.proof != Proof::Ask && !first {
        return;
    }
    let answer = ping(server, request).await;
    let version = server.snapshot().version.clone();
    request.input.proof = match (answer, &request.input.proof) {
        (Ok(pinged), _) if is_too_new(&version, &pinged) => Proof::Not(too_new(&version, &pinged)),
        (Ok(pinged), Proof::Ask)
            if pinged.leaf_fingerprint != request.input.stored && request.previous.id.is_none() =>
        {
            Proof::Not(serves_another())
        }
        (Ok(pinged), Proof::Ask) => Proof::Serves(pinged.leaf_fingerprint),
        (Err(error), Proof::Ask) => Proof::Not(unreachable(request, &error)),
        (Err(error @ PingError::Exposed(..)), _) => Proof::Not(unreachable(request, &error)),
        (_, known) => known.clone(),
    };
}

/// Why this Portainer cannot talk to the host's Docker, if its version is the reason.
pub async fn version_problem(
    server: &RegistrationServer,
    request: &RegistrationRequest,
) -> Option<RegistrationProblem> {
    let version = server.snapshot().version.clone();
    let pinged = ping(server, request).await.ok()?;
    is_too_new(&version, &pinged).then(|| too_new(&version, &pinged))
}

/// Whether dockerd answers from here, whatever it serves.
pub async fn check_reachable(
    server: &RegistrationServer,
    request: &RegistrationRequest,
) -> Result<(), RegistrationProblem> {
    ping(server, request).await.map(|_| ()).map_err(|error| unreachable(request, &error))
}

async fn ping(server: &RegistrationServer, request: &RegistrationRequest) -> Result<Pinged, PingError> {
    let address = DockerAddress { host: request.desired.host.clone(), port: request.desired.port };
    let trust = request.desired.verify_server.then_some(request.bundle.as_slice());
    server.ping_docker(&address, trust).await
}

fn is_too_new(version: &str, pinged: &Pinged) -> bool {
    pinged.docker_version.as_deref().is_some_and(|docker| too_old(version, docker))
}

fn too_new(version: &str, pinged: &Pinged) -> RegistrationProblem {
    let message = format!(
        "Portainer {version} cannot talk to Docker {} on this host: update Portainer to 2.33.5, 2.36.0 or newer",
        pinged.docker_version.as_deref().unwrap_or_default()
    );
    RegistrationProblem::new(Reason::PortainerTooOld, message)
}

fn unreachable(request: &RegistrationRequest, error: &PingError) -> RegistrationProblem {
    let url = request.desired.url();
    if *error == PingError::NotAllowed {
        let message = format!(
            "this controller may not connect to dockerd at {url}: an administrator must add its address to \
             controller.allowedDestinations of the chart (--allowed-destination)"
        );
        return RegistrationProblem::new(Reason::DestinationRefused, message);
    }
    let reason = match error {
        PingError::Exposed(..) => return RegistrationProblem::new(Reason::ExposedByOthers, error.to_string()),
        PingError::NotTrusted(_) => Reason::AwaitingServing,
        PingError::Uncertain(..) => {
            let message = format!(
                "Dockseal asked dockerd at {url} before giving it to Portainer: {error}; it is asked again. If this stays, \
                 look for a proxy or a firewall before that port, and at dockerd's log"
            );
            return RegistrationProblem::new(Reason::HostUnreachable, message);
        }
        _ => Reason::HostUnreachable,
    };
    let message = format!(
        "Dockseal asked dockerd at {url} before giving it to Portainer: {error}; deliver the files of the host's Secret \
         to the host, restart dockerd, and open the port"
    );
    RegistrationProblem::new(reason, message)
}
