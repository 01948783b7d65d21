//! A leaf's walk: facts, plan, at most one certificate, status. Two writes for an issuance, none where nothing is due.

use super::authority_cache::CachedAuthority;
use super::{CONFLICT_PATIENCE, Context, Permit, Reconciled, RelatedState, report};
use crate::adapters::random::{is_slow, serial};
use crate::adapters::store::{LEAF_TYPE, NewItem, StoredKind, StoredLeaf};
use crate::adapters::{Store, StoreError};
use crate::api::condition::{ConditionType, Reason};
use crate::api::{Object, RENEW_REQUESTED_ANNOTATION};
use crate::decide::Problem;
use crate::decide::delivery::stale_report::applicable;
use crate::decide::delivery::{Deliverer, DeliveryProgress, StoredCertificate, progress};
use crate::decide::leaf::plan::{LeafSecret as Kept, Signer, wake};
use crate::decide::leaf::status::{LeafOutcome, status};
use crate::decide::leaf::{AuthorityView, DesiredLeaf, LeafPlan, LeafStep, ObservedLeaf, desired, plan};
use crate::decide::status::previous_reason;
use crate::pki::lifecycle::issued_at;
use crate::pki::material::{self, Data};
use crate::pki::sign::Dates;
use crate::pki::{Authority, Certificate, PrivateKey, hex};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

/// Walks a leaf.
pub async fn reconcile<S: Store>(
    house: &Context<S>,
    object: &Object,
    around: &RelatedState,
    slot: &Permit,
) -> Result<Reconciled, StoreError> {
    let entry = match (around.authority_exists, object.authority()) {
        (true, Some(at)) => match house.authorities.find(&at) {
            Some(entry) => Some(entry),
            None => return Ok(Reconciled::over()), // its DockerCA's own walk comes first, and wakes this one
        },
        _ => None,
    };
    let known = stored(house, object).await?;
    match attempt(house, object, around, slot, entry.as_ref(), known).await {
        // What no watch shows: somebody's Secret, or ours without its label.
        Err(StoreError::Exists(at)) => {
            let read = house.store.read(StoredKind::Secrets, &at).await?;
            attempt(house, object, around, slot, entry.as_ref(), read.as_ref().map(StoredLeaf::from)).await
        }
        done => done,
    }
}

/// The Secret from memory; from the store itself where a conflict was reported, which no watch shows the end of.
async fn stored<S: Store>(house: &Context<S>, object: &Object) -> Result<Option<StoredLeaf>, StoreError> {
    let at = object.secret();
    let known = house.store.leaf(&at).await?;
    let conflict = previous_reason(&object.previous, ConditionType::Issued) == Some(Reason::SecretConflict.as_str());
    if known.is_some() || !conflict {
        return Ok(known);
    }
    Ok(house.store.read(StoredKind::Secrets, &at).await?.as_ref().map(StoredLeaf::from))
}

async fn attempt<S: Store>(
    house: &Context<S>,
    object: &Object,
    around: &RelatedState,
    slot: &Permit,
    entry: Option<&CachedAuthority>,
    stored: Option<StoredLeaf>,
) -> Result<Reconciled, StoreError> {
    let now = house.clock.now();
    let observed = observed(object, around, entry, stored.as_ref());
    let desired = match desired(object) {
        Ok(desired) => desired,
        Err(refusal) => return refused(house, object, around, &observed, refusal).await,
    };
    let LeafPlan { step, current, notice, wake: next } = plan(&desired, &observed, now);
    let bundle = bundle(&step, &observed, entry);
    let mut outcome =
        LeafOutcome { certificate: current, issuer: issuer(entry), refusal: notice, ..LeafOutcome::default() };
    outcome.standing = around.standing.clone();
    let mut next = next;
    match step {
        LeafStep::Keep => {}
        LeafStep::Refuse(refusal) => {
            next = next.or(Some(crate::pki::lifecycle::saturating(now, CONFLICT_PATIENCE)));
            outcome.refusal = Some(refusal);
        }
        LeafStep::Rebundle => rebundle(house, &desired, entry).await?,
        LeafStep::Issue { reason, dates, keep_key } => {
            let Some(CachedAuthority::Open(authority, view)) = entry else {
                unreachable!("only an open authority signs")
            };
            let order = Order { desired: &desired, authority, view, dates, keep_key };
            let certificate = issue(house, &order, stored.as_ref(), slot).await?;
            next = wake(&desired, &certificate, &observed, now);
            outcome.certificate = Some(certificate);
            outcome.issued_for = Some(reason);
        }
    }
    let kept = applicable(object, &around.courier, &around.standing.lent);
    if kept != object.companion {
        house.store.prune(object, &kept).await?;
    }
    let progress = arrived(object, &around.courier, outcome.certificate.as_ref(), bundle, now);
    outcome.delivery = progress.verdict;
    let next = next.into_iter().chain(progress.wake).min();
    let (status, events) = status(object, Some(&desired), &outcome, now);
    report(house, object, &status, &events).await?;
    Ok(Reconciled { wake: next, status: Some(status), issued: outcome.issued_for, authority_changed: false })
}

/// Digest of the bundle that is stored once the step is done.
fn bundle(step: &LeafStep, observed: &ObservedLeaf, entry: Option<&CachedAuthority>) -> Option<[u8; 32]> {
    match (step, &observed.stored, entry) {
        (LeafStep::Issue { .. } | LeafStep::Rebundle, _, Some(CachedAuthority::Open(_, view))) => {
            Some(view.bundle_digest)
        }
        (_, Kept::Ours(facts), _) => Some(facts.bundle_digest),
        _ => None,
    }
}

/// How far the delivery of what is stored is; where nothing is stored, Issued says enough.
fn arrived(
    object: &Object,
    courier: &Deliverer,
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
    progress(object, courier, &stored, now)
}

fn observed(
    object: &Object,
    around: &RelatedState,
    entry: Option<&CachedAuthority>,
    stored: Option<&StoredLeaf>,
) -> ObservedLeaf {
    let kept = match stored {
        None => Kept::Absent,
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => Kept::Ours(stored.facts.clone()),
        Some(stored) => Kept::Foreign(stored.owner.clone()),
    };
    let signer = match entry {
        None => Signer::NotFound,
        Some(CachedAuthority::Closed(why)) => Signer::NotReady(why.clone()),
        Some(CachedAuthority::Open(_, view)) => Signer::Ready(Arc::clone(view)),
    };
    ObservedLeaf {
        stored: kept,
        signer,
        rival: around.rival.clone(),
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

/// The spec cannot be used: what is stored stays, and its facts are reported on.
async fn refused<S: Store>(
    house: &Context<S>,
    object: &Object,
    around: &RelatedState,
    observed: &ObservedLeaf,
    refusal: Problem,
) -> Result<Reconciled, StoreError> {
    let certificate = match &observed.stored {
        Kept::Ours(facts) => facts.certificate.as_deref().and_then(|der| Certificate::from_der(der).ok()),
        _ => None,
    };
    let wake = certificate.as_ref().map(|certificate| certificate.not_after).filter(|end| *end > house.clock.now());
    let standing = around.standing.clone();
    let outcome = LeafOutcome { certificate, refusal: Some(refusal), standing, ..LeafOutcome::default() };
    let (status, events) = status(object, None, &outcome, house.clock.now());
    report(house, object, &status, &events).await?;
    Ok(Reconciled { wake, status: Some(status), issued: None, authority_changed: false })
}

/// What is to be signed, and by whom.
struct Order<'a> {
    desired: &'a DesiredLeaf,
    authority: &'a Authority,
    view: &'a AuthorityView,
    dates: Dates,
    keep_key: bool,
}

async fn issue<S: Store>(
    house: &Context<S>,
    order: &Order<'_>,
    stored: Option<&StoredLeaf>,
    slot: &Permit,
) -> Result<Certificate, StoreError> {
    let desired = order.desired;
    let kept = if order.keep_key { stored_key(house, desired).await? } else { None };
    let key = match kept {
        Some(key) => key,
        None if is_slow(desired.algorithm) => slot.aside(house.forge.make(desired.algorithm)).await,
        None => house.forge.make(desired.algorithm).await,
    };
    let signed = order.authority.sign_leaf(&desired.profile, &key, order.dates, serial());
    let certificate = signed.expect("desired checked the name");
    let data = material::leaf(&certificate, &key.to_pem(), &order.view.bundle_pem);
    write(house, desired, data, stored.map(|stored| stored.version.as_str())).await?;
    Ok(certificate)
}

async fn stored_key<S: Store>(house: &Context<S>, desired: &DesiredLeaf) -> Result<Option<PrivateKey>, StoreError> {
    let stored = house.store.read(StoredKind::Secrets, &desired.secret).await?;
    let key = stored.as_ref().and_then(|stored| stored.data.get("tls.key"));
    Ok(key.and_then(|pem| PrivateKey::from_pem(pem, None).ok()))
}

/// Writes the bundle beside the same pair.
async fn rebundle<S: Store>(
    house: &Context<S>,
    desired: &DesiredLeaf,
    entry: Option<&CachedAuthority>,
) -> Result<(), StoreError> {
    let Some(CachedAuthority::Open(_, view)) = entry else { unreachable!("only an open authority has a bundle") };
    // Memory may lag: what it shows as ours may be gone by now, or somebody else's.
    let read = house.store.read(StoredKind::Secrets, &desired.secret).await?;
    let Some(stored) = read.filter(|stored| stored.owner.as_ref() == Some(&desired.object)) else {
        return Err(StoreError::Changed(desired.secret.clone()));
    };
    let pair = stored.data.get("tls.crt").zip(stored.data.get("tls.key"));
    let pair =
        pair.and_then(|(crt, key)| Some((Certificate::from_pem(crt).ok()?, PrivateKey::from_pem(key, None).ok()?)));
    let Some((certificate, key)) = pair else { return Err(StoreError::Changed(desired.secret.clone())) };
    let data = material::leaf(&certificate, &key.to_pem(), &view.bundle_pem);
    write(house, desired, data, Some(&stored.version)).await
}

async fn write<S: Store>(
    house: &Context<S>,
    desired: &DesiredLeaf,
    data: Data,
    version: Option<&str>,
) -> Result<(), StoreError> {
    let at = desired.secret.clone();
    let owner = desired.object.clone();
    let item = NewItem { shelf: StoredKind::Secrets, at, type_: LEAF_TYPE, owner, authority: None, data };
    match version {
        None => house.store.create(&item).await,
        Some(version) => house.store.replace(&item, version).await,
    }
}
