//! Reconciles a leaf: its object in; at most one certificate issued, and its status published. Two writes for an
//! issuance, none where nothing is due.

use super::authority_cache::CachedAuthority;
use super::context::{Context, Reconciled, RelatedState, report};
use super::permit::Permit;
use crate::adapters::random::{is_slow, make_key, quick_key, serial};
use crate::adapters::store::{LEAF_TYPE, NewItem, StoredKind, StoredLeaf};
use crate::adapters::{Store, StoreError};
use crate::api::condition::{ConditionType, Reason};
use crate::api::{Object, RENEW_REQUESTED_ANNOTATION};
use crate::decide::Problem;
use crate::decide::delays::{CONFLICT_RECHECK_INTERVAL, RIVAL_RECHECK_INTERVAL};
use crate::decide::delivery::stale_report::applicable;
use crate::decide::delivery::{Deliverer, DeliveryProgress, StoredCertificate, progress};
use crate::decide::leaf::plan::{LeafSecret, Signer, requeue_at};
use crate::decide::leaf::status::{LeafOutcome, status};
use crate::decide::leaf::{AuthorityView, DesiredLeaf, LeafPlan, LeafStep, ObservedLeaf, desired, plan};
use crate::decide::status::previous_reason;
use crate::pki::lifecycle::issued_at;
use crate::pki::material::{self, AUTHORITY_PROOF, Data};
use crate::pki::profile::Usage;
use crate::pki::sign::{Dates, LeafProfile};
use crate::pki::{Authority, Certificate, KeyAlgorithm, PrivateKey, hex};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

/// Common name of the client certificate that proves an authority. It is no name of a host.
const PROOF_NAME: &str = "Dockseal's proof, without a key";

/// Reconciles one leaf: observes, decides, applies and publishes.
pub async fn reconcile<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
) -> Result<Reconciled, StoreError> {
    let entry = match (related.authority_exists, object.authority()) {
        (true, Some(at)) => match ctx.authorities.find(&at) {
            Some(entry) => Some(entry),
            None => return Ok(Reconciled::ended()), // its DockerCA is reconciled first, which requeues this one
        },
        _ => None,
    };
    let known = stored(ctx, object, related).await?;
    match attempt(ctx, object, related, permit, entry.as_ref(), known).await {
        // No watch shows a Secret without our label.
        Err(StoreError::Exists(at)) => {
            let read = ctx.store.read(StoredKind::Secrets, &at).await?;
            attempt(ctx, object, related, permit, entry.as_ref(), read.as_ref().map(StoredLeaf::from)).await
        }
        done => done,
    }
}

/// The Secret from the cache; from the store itself after a conflict, whose end no watch shows. Of several objects that
/// want one Secret the first alone asks.
async fn stored<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
) -> Result<Option<StoredLeaf>, StoreError> {
    let at = object.secret();
    let known = ctx.store.leaf(&at).await?;
    let conflict = previous_reason(&object.previous, ConditionType::Issued) == Some(Reason::SecretConflict.as_str());
    if known.is_some() || !conflict || related.rival.is_some() {
        return Ok(known);
    }
    Ok(ctx.store.read(StoredKind::Secrets, &at).await?.as_ref().map(StoredLeaf::from))
}

async fn attempt<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
    entry: Option<&CachedAuthority>,
    stored: Option<StoredLeaf>,
) -> Result<Reconciled, StoreError> {
    let now = ctx.clock.now();
    let observed = observed(object, related, entry, stored.as_ref());
    let desired = match desired(object) {
        Ok(desired) => desired,
        Err(problem) => return refused(ctx, object, related, &observed, problem).await,
    };
    let LeafPlan { step, current, notice, requeue_at: next } = plan(&desired, &observed, now);
    let bundle = bundle(&step, &observed, entry);
    let mut outcome =
        LeafOutcome { certificate: current, issuer: issuer(entry), problem: notice, ..LeafOutcome::default() };
    outcome.registration = related.registration.clone();
    let mut next = next;
    match step {
        LeafStep::Keep => {}
        LeafStep::Refuse(problem) => {
            let recheck = if related.rival.is_some() { RIVAL_RECHECK_INTERVAL } else { CONFLICT_RECHECK_INTERVAL };
            next = next.or(Some(crate::pki::lifecycle::saturating(now, recheck)));
            outcome.problem = Some(problem);
        }
        LeafStep::Rebundle => rebundle(ctx, &desired, entry).await?,
        LeafStep::Issue { reason, dates, keep_key } => {
            let Some(CachedAuthority::Open(authority, view)) = entry else {
                unreachable!("only an open authority signs")
            };
            let request = LeafRequest { desired: &desired, authority, view, dates, keep_key };
            let certificate = issue(ctx, &request, stored.as_ref(), permit).await?;
            next = requeue_at(&desired, &certificate, &observed, now);
            outcome.certificate = Some(certificate);
            outcome.issued_for = Some(reason);
        }
    }
    let kept = applicable(object, &related.deliverer, &related.registration.delegated);
    if kept != object.companion {
        ctx.store.prune(object, &kept).await?;
    }
    let progress = delivery_progress(object, &related.deliverer, outcome.certificate.as_ref(), bundle, now);
    outcome.delivery = progress.verdict;
    let next = next.into_iter().chain(progress.requeue_at).min();
    let (status, events) = status(object, Some(&desired), &outcome, now);
    report(ctx, object, &status, &events).await?;
    Ok(Reconciled { requeue_at: next, status: Some(status), issued: outcome.issued_for, authority_changed: false })
}

/// Digest of the bundle that is stored after the step.
fn bundle(step: &LeafStep, observed: &ObservedLeaf, entry: Option<&CachedAuthority>) -> Option<[u8; 32]> {
    match (step, &observed.stored, entry) {
        (LeafStep::Issue { .. } | LeafStep::Rebundle, _, Some(CachedAuthority::Open(_, view))) => {
            Some(view.bundle_digest)
        }
        (_, LeafSecret::Ours(facts), _) => Some(facts.bundle_digest),
        _ => None,
    }
}

/// How far the delivery of what is stored is; where nothing is stored, Issued says enough.
fn delivery_progress(
    object: &Object,
    deliverer: &Deliverer,
    certificate: Option<&Certificate>,
    bundle: Option<[u8; 32]>,
    now: Timestamp,
) -> DeliveryProgress {
    let Some((certificate, bundle)) = certificate.zip(bundle) else { return DeliveryProgress::default() };
    let stored = StoredCertificate {
        fingerprint: certificate.fingerprint(),
        bundle: hex(&bundle),
        issued_at: issued_at(certificate.not_before),
    };
    progress(object, deliverer, &stored, now)
}

fn observed(
    object: &Object,
    related: &RelatedState,
    entry: Option<&CachedAuthority>,
    stored: Option<&StoredLeaf>,
) -> ObservedLeaf {
    let kept = match stored {
        None => LeafSecret::Absent,
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => LeafSecret::Ours(stored.facts.clone()),
        Some(stored) => LeafSecret::NotOurs(stored.owner.clone()),
    };
    let signer = match entry {
        None => Signer::NotFound,
        Some(CachedAuthority::Closed(why)) => Signer::NotReady(why.clone()),
        Some(CachedAuthority::Open(_, view)) => Signer::Ready(Arc::clone(view)),
    };
    ObservedLeaf {
        stored: kept,
        signer,
        rival: related.rival.clone(),
        requested: object.annotation(RENEW_REQUESTED_ANNOTATION).map(str::to_owned),
        issued_before: object.previous.serial.is_some(),
    }
}

fn issuer(entry: Option<&CachedAuthority>) -> Option<String> {
    match entry {
        Some(CachedAuthority::Open(_, view)) => Some(view.fingerprint.clone()),
        _ => None,
    }
}

/// The spec cannot be used: the stored certificate stays and is reported.
async fn refused<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    observed: &ObservedLeaf,
    problem: Problem,
) -> Result<Reconciled, StoreError> {
    let certificate = match &observed.stored {
        LeafSecret::Ours(facts) => facts.certificate.as_deref().and_then(|der| Certificate::from_der(der).ok()),
        _ => None,
    };
    let requeue_at = certificate.as_ref().map(|certificate| certificate.not_after).filter(|end| *end > ctx.clock.now());
    let registration = related.registration.clone();
    let outcome = LeafOutcome { certificate, problem: Some(problem), registration, ..LeafOutcome::default() };
    let (status, events) = status(object, None, &outcome, ctx.clock.now());
    report(ctx, object, &status, &events).await?;
    Ok(Reconciled { requeue_at, status: Some(status), issued: None, authority_changed: false })
}

/// What is to be signed, and by whom.
struct LeafRequest<'a> {
    desired: &'a DesiredLeaf,
    authority: &'a Authority,
    view: &'a AuthorityView,
    dates: Dates,
    keep_key: bool,
}

async fn issue<S: Store>(
    ctx: &Context<S>,
    request: &LeafRequest<'_>,
    stored: Option<&StoredLeaf>,
    permit: &Permit,
) -> Result<Certificate, StoreError> {
    let desired = request.desired;
    let kept = if request.keep_key { stored_key(ctx, desired).await? } else { None };
    let key = match kept {
        Some(key) => key,
        None => make(ctx, desired.object.namespace.shared(), desired.algorithm, permit).await,
    };
    let certificate = sign(request, &key);
    let mut data = material::leaf(&certificate, &key.to_pem(), &request.view.bundle_pem);
    if desired.profile.usage == Usage::Server {
        data.insert(AUTHORITY_PROOF, authority_proof(request).to_pem());
    }
    write(ctx, desired, data, stored.map(|stored| stored.version.as_str())).await?;
    Ok(certificate)
}

/// A new key; a slow one is made without the permit.
pub(super) async fn make<S>(
    ctx: &Context<S>,
    namespace: &Arc<str>,
    algorithm: KeyAlgorithm,
    permit: &Permit,
) -> PrivateKey {
    match is_slow(algorithm) {
        true => permit.without(ctx.slow.run(namespace, move || make_key(algorithm))).await,
        false => make_key(algorithm),
    }
}

/// Clients' certificates say whose they are; hosts have their names.
fn sign(request: &LeafRequest<'_>, key: &PrivateKey) -> Certificate {
    let LeafRequest { desired, authority, view, dates, .. } = request;
    let signed = match view.identity.and_then(|identity| identity.client_uri(&desired.object)) {
        Some(uri) => authority.sign_client(&desired.profile, &uri, key, *dates, serial()),
        None => authority.sign_leaf(&desired.profile, key, *dates, serial()),
    };
    signed.expect("desired checked the name")
}

/// A client certificate for a key that is forgotten at once: a host can show it, and nobody can use it.
fn authority_proof(request: &LeafRequest<'_>) -> Certificate {
    let profile = LeafProfile {
        common_name: PROOF_NAME.to_owned(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Client,
    };
    let signed = request.authority.sign_leaf(&profile, &quick_key(), request.dates, serial());
    signed.expect("a constant name")
}

async fn stored_key<S: Store>(ctx: &Context<S>, desired: &DesiredLeaf) -> Result<Option<PrivateKey>, StoreError> {
    let stored = ctx.store.read(StoredKind::Secrets, &desired.secret).await?;
    let key = stored.as_ref().and_then(|stored| stored.data.get("tls.key"));
    Ok(key.and_then(|pem| PrivateKey::from_pem(pem, None).ok()))
}

/// Writes the bundle beside the same pair.
async fn rebundle<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredLeaf,
    entry: Option<&CachedAuthority>,
) -> Result<(), StoreError> {
    let Some(CachedAuthority::Open(_, view)) = entry else { unreachable!("only an open authority has a bundle") };
    // The cache may lag: what it shows as ours may be gone by now, or belong to another object.
    let read = ctx.store.read(StoredKind::Secrets, &desired.secret).await?;
    let Some(stored) = read.filter(|stored| stored.owner.as_ref() == Some(&desired.object)) else {
        return Err(StoreError::Changed(desired.secret.clone()));
    };
    let pair = stored.data.get("tls.crt").zip(stored.data.get("tls.key"));
    let pair =
        pair.and_then(|(crt, key)| Some((Certificate::from_pem(crt).ok()?, PrivateKey::from_pem(key, None).ok()?)));
    let Some((certificate, key)) = pair else { return Err(StoreError::Changed(desired.secret.clone())) };
    let mut data = material::leaf(&certificate, &key.to_pem(), &view.bundle_pem);
    if let Some(proof) = stored.data.get(AUTHORITY_PROOF) {
        data.insert(AUTHORITY_PROOF, proof);
    }
    write(ctx, desired, data, Some(&stored.version)).await
}

async fn write<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredLeaf,
    data: Data,
    version: Option<&str>,
) -> Result<(), StoreError> {
    let at = desired.secret.clone();
    let owner = desired.object.clone();
    let item =
        NewItem { shelf: StoredKind::Secrets, at, type_: LEAF_TYPE, owner, authority: None, identity: None, data };
    match version {
        None => ctx.store.create(&item).await,
        Some(version) => ctx.store.replace(&item, version).await,
    }
}
