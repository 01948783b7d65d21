//! Objects and what is stored for them in, a request to register a host out, or what is still missing. It calls nobody.

use super::client_pair::ClientPair;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{NamespacedName, Object};
use crate::decide::delivery::Deliverer;
use crate::decide::delivery::progress::exposure;
use crate::decide::leaf::AuthorityView;
use crate::decide::registration::desired::{RegistrationInput, not_served_yet};
use crate::decide::registration::{DesiredEnvironment, Proof, RegistrationProblem};
use crate::pki::hex;
use crate::portainer::TlsFiles;
use crate::reconcile::Context;
use crate::reconcile::authority_cache::CachedAuthority;
use std::sync::Arc;
use zeroize::Zeroizing;

/// One host to be registered in one Portainer.
#[derive(Clone, Debug)]
pub struct RegistrationRequest {
    /// Namespace of the host and of the PortainerClient.
    pub namespace: String,
    pub desired: DesiredEnvironment,
    pub input: RegistrationInput,
    /// The trust bundle of the host's authority, PEM.
    pub bundle: Vec<u8>,
    /// The last report.
    pub previous: EnvironmentReport,
    /// Who registers.
    pub registrar: Registrar,
}

impl RegistrationRequest {
    pub(super) fn files(&self, pair: &ClientPair) -> TlsFiles {
        TlsFiles { ca: self.bundle.clone(), cert: pair.certificate.clone(), key: Zeroizing::new(pair.key.to_vec()) }
    }
}

pub(super) fn registration_request<S>(
    ctx: &Context<S>,
    client: &Object,
    host: &Object,
    deliverer: &Deliverer,
    previous: EnvironmentReport,
) -> Result<RegistrationRequest, RegistrationProblem> {
    let missing = |what: &str| RegistrationProblem::new(Reason::NotRegistered, format!("{what} is not issued yet"));
    let authority = authority_of(ctx, client).ok_or_else(|| missing("the authority of the PortainerClient"))?;
    let view = view(ctx, host.authority()).ok_or_else(|| missing("the host's authority"))?;
    let desired = DesiredEnvironment::of(client, host, &authority).ok_or_else(no_address)?;
    let input = RegistrationInput {
        client: client.previous.fingerprint.clone().ok_or_else(|| missing("Portainer's client certificate"))?,
        bundle: hex(&view.bundle_digest),
        stored: host.previous.fingerprint.clone().ok_or_else(|| missing("the host's certificate"))?,
        proof: proof(host, deliverer),
    };
    Ok(RegistrationRequest {
        namespace: host.at.namespace.to_string(),
        desired,
        input,
        bundle: view.bundle_pem.clone().into(),
        previous,
        registrar: Registrar::Controller,
    })
}

fn no_address() -> RegistrationProblem {
    let message = "the host has no address: set spec.hostname, spec.ipAddresses or spec.address.host";
    RegistrationProblem::new(Reason::NotRegistered, message)
}

/// Fingerprint of the authority of an object, if it is open.
pub(super) fn authority_of<S>(ctx: &Context<S>, object: &Object) -> Option<String> {
    view(ctx, object.authority()).map(|view| view.fingerprint.clone())
}

fn view<S>(ctx: &Context<S>, at: Option<NamespacedName>) -> Option<Arc<AuthorityView>> {
    match ctx.authorities.find(&at?)? {
        CachedAuthority::Open(_, view) => Some(view),
        CachedAuthority::Closed(_) => None,
    }
}

/// What a companion has seen dockerd serve; a host that lets strangers in is not registered. In mode Files a companion
/// may not see it, and dockerd is asked from here.
fn proof(host: &Object, deliverer: &Deliverer) -> Proof {
    let served = host.companion.host.served_fingerprint.clone();
    if let (Some(problem), false) =
        (exposed(host, deliverer), matches!(deliverer, Deliverer::Nobody | Deliverer::Refused(_)))
    {
        return Proof::Not(problem);
    }
    match (deliverer, served, host.delivery()) {
        (Deliverer::Nobody | Deliverer::Refused(_), ..) => Proof::Ask,
        (_, Some(served), _) => Proof::Serves(served),
        (_, None, Some(delivery)) if delivery.mode == Mode::Daemon => Proof::Not(not_served_yet()),
        (_, None, _) => Proof::Ask,
    }
}

fn exposed(host: &Object, deliverer: &Deliverer) -> Option<RegistrationProblem> {
    let verdict = exposure(host, deliverer)?;
    Some(RegistrationProblem::new(verdict.reason, verdict.message))
}
