//! A look at the host's dockerd itself, before Portainer is given anything: each environment that it fails to make
//! leaves a private key on its disk.

use super::{RegistrationRequest, RegistrationServer};
use crate::adapters::docker::ping::{DockerAddress, PingError, Pinged, docker_ping};
use crate::api::condition::Reason;
use crate::decide::registration::plan::serves_another;
use crate::decide::registration::{Proof, RegistrationProblem};
use crate::portainer::too_old;

/// dockerd is to be asked what it serves: nobody else knows, and it is not what was proved last.
pub fn is_due(errand: &RegistrationRequest) -> bool {
    let proved = errand.previous.proved_fingerprint.as_ref() == Some(&errand.material.stored);
    errand.material.proof == Proof::Ask && !(proved && errand.previous.is_registered())
}

/// Asks dockerd where that is due, and puts what it serves into the errand. Where a companion has seen that it serves
/// the right certificate, the first look is for its version alone.
pub async fn ask(server: &RegistrationServer, errand: &mut RegistrationRequest) {
    let first = errand.previous.id.is_none() && matches!(errand.material.proof, Proof::Serves(_));
    if !is_due(errand) && !first {
        return;
    }
    let answer = ping(server, errand).await;
    let version = server.snapshot().version.clone();
    errand.material.proof = match (answer, &errand.material.proof) {
        (Ok(pinged), _) if is_too_new(&version, &pinged) => Proof::Not(too_new(&version, &pinged)),
        (Ok(pinged), Proof::Ask)
            if pinged.leaf_fingerprint != errand.material.stored && errand.previous.id.is_none() =>
        {
            Proof::Not(serves_another())
        }
        (Ok(pinged), Proof::Ask) => Proof::Serves(pinged.leaf_fingerprint),
        (Err(error), Proof::Ask) => Proof::Not(unreachable(errand, &error)),
        (_, known) => known.clone(),
    };
}

/// Why this Portainer cannot talk to the host's Docker, where that is its version.
pub async fn too_new_for(server: &RegistrationServer, errand: &RegistrationRequest) -> Option<RegistrationProblem> {
    let version = server.snapshot().version.clone();
    let pinged = ping(server, errand).await.ok()?;
    is_too_new(&version, &pinged).then(|| too_new(&version, &pinged))
}

/// Whether dockerd answers from here, whatever it serves.
pub async fn reaches(server: &RegistrationServer, errand: &RegistrationRequest) -> Result<(), RegistrationProblem> {
    ping(server, errand).await.map(|_| ()).map_err(|error| unreachable(errand, &error))
}

/// As Portainer will do it: by the same address, trust and certificate.
async fn ping(server: &RegistrationServer, errand: &RegistrationRequest) -> Result<Pinged, PingError> {
    let _place = server.probes.acquire().await.expect("it is never closed");
    let pair = server.pair();
    let address = DockerAddress { host: errand.order.host.clone(), port: errand.order.port };
    let trust = errand.order.verify_server.then_some(errand.bundle.as_slice());
    docker_ping(&address, trust, &pair.certificate, &pair.key).await
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

fn unreachable(errand: &RegistrationRequest, error: &PingError) -> RegistrationProblem {
    let url = errand.order.url();
    let reason = match error {
        PingError::NotTrusted(_) => Reason::AwaitingServing,
        _ => Reason::HostUnreachable,
    };
    let message = format!(
        "dockerd at {url} was asked before Portainer is: {error}; deliver the files of the host's Secret to it, restart \
         it, and open the port"
    );
    RegistrationProblem::new(reason, message)
}
