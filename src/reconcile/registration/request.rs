//! From objects and what is stored for them to an errand, or to what is still missing.

use super::RegistrationRequest;
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Mode;
use crate::api::registrar::Registrar;
use crate::api::status::EnvironmentReport;
use crate::api::{NamespacedName, Object};
use crate::decide::delivery::Deliverer;
use crate::decide::leaf::AuthorityView;
use crate::decide::registration::desired::RegistrationInput;
use crate::decide::registration::{DesiredEnvironment, Proof, RegistrationProblem};
use crate::pki::hex;
use crate::reconcile::Context;
use crate::reconcile::authority_cache::CachedAuthority;
use std::sync::Arc;

/// What is to be done for a host.
pub fn errand<S>(
    ctx: &Context<S>,
    client: &Object,
    host: &Object,
    deliverer: &Deliverer,
    previous: EnvironmentReport,
) -> Result<RegistrationRequest, RegistrationProblem> {
    let missing = |what: &str| RegistrationProblem::new(Reason::NotRegistered, format!("{what} is not issued yet"));
    let authority = authority_of(ctx, client).ok_or_else(|| missing("the authority of the PortainerClient"))?;
    let view = view(ctx, host.authority()).ok_or_else(|| missing("the host's authority"))?;
    let order = DesiredEnvironment::of(client, host, &authority).ok_or_else(|| missing("the host's address"))?;
    let material = RegistrationInput {
        client: client.previous.fingerprint.clone().ok_or_else(|| missing("Portainer's client certificate"))?,
        bundle: hex(&view.bundle_digest),
        stored: host.previous.fingerprint.clone().ok_or_else(|| missing("the host's certificate"))?,
        proof: proof(host, deliverer),
    };
    let (namespace, bundle) = (host.at.namespace.to_string(), view.bundle_pem.clone());
    Ok(RegistrationRequest {
        namespace,
        order,
        material,
        bundle: bundle.into(),
        previous,
        registrar: Registrar::Controller,
    })
}

/// Fingerprint of the authority of an object, where it is open.
pub fn authority_of<S>(ctx: &Context<S>, object: &Object) -> Option<String> {
    view(ctx, object.authority()).map(|view| view.fingerprint.clone())
}

fn view<S>(ctx: &Context<S>, at: Option<NamespacedName>) -> Option<Arc<AuthorityView>> {
    match ctx.authorities.find(&at?)? {
        CachedAuthority::Open(_, view) => Some(view),
        CachedAuthority::Closed(_) => None,
    }
}

/// What a companion has seen dockerd serve. One that cannot see it says nothing of it in mode Files, and dockerd is
/// asked from here.
fn proof(host: &Object, deliverer: &Deliverer) -> Proof {
    let served = host.companion.host.served_fingerprint.clone();
    match (deliverer, served, host.delivery()) {
        (Deliverer::Nobody | Deliverer::Refused(_), ..) => Proof::Ask,
        (_, Some(served), _) => Proof::Serves(served),
        (_, None, Some(delivery)) if delivery.mode == Mode::Daemon => {
            let message = "the host is registered as soon as its companion has seen dockerd serve the certificate";
            Proof::Not(RegistrationProblem::new(Reason::AwaitingServing, message))
        }
        (_, None, _) => Proof::Ask,
    }
}
