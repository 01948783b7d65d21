//! A DockerCA's walk: step by step until nothing is left to do, then the authority is lent to its leaves.

use super::authority_cache::CachedAuthority;
use super::finalizer::in_use;
use super::{Context, Permit, Reconciled, RelatedState, report};
use crate::adapters::random::{salt, serial};
use crate::adapters::store::{AUTHORITY_TYPE, LEAF_TYPE, NewItem, StoredItem, StoredKind};
use crate::adapters::{Store, StoreError};
use crate::api::condition::Reason;
use crate::api::{AUTHORITY_ANNOTATION, Object, REPLACE_AUTHORITY_ANNOTATION, Spec};
use crate::decide::Problem;
use crate::decide::authority::plan::{AuthoritySecret as Kept, PublicBundle};
use crate::decide::authority::status::{AuthorityOutcome, status};
use crate::decide::authority::{
    AuthorityPlan, AuthorityStep, DesiredAuthority, ObservedAuthority, Origin, desired, plan,
};
use crate::decide::delays::CONFLICT_RECHECK_INTERVAL;
use crate::decide::leaf::AuthorityView;
use crate::pki::lifecycle::saturating;
use crate::pki::material::{self, Contents, Data, StoredAuthority};
use crate::pki::sign::{self, Dates};
use crate::pki::{Authority, Certificate, TrustBundle, certificate};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use zeroize::Zeroizing;

/// More steps than any authority needs: make, remember, publish the bundle, keep.
const MAX_STEPS: usize = 8;
/// A leaf's Secret holds the bundle twice, and 1 MiB in all.
const MAX_TRUST: usize = 384 * 1024;
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

type ReadPassphrase = Option<Zeroizing<Vec<u8>>>;

/// Walks a DockerCA; `until`, one that is to be deleted then and signs for its leaves as long as it waits for them.
pub async fn reconcile<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
    until: Option<Timestamp>,
) -> Result<Reconciled, StoreError> {
    let desired = match desired(object) {
        Ok(desired) => desired,
        Err(refusal) => {
            return end(ctx, object, None, AuthorityOutcome { refusal: Some(refusal), ..AuthorityOutcome::default() })
                .await;
        }
    };
    let mut outcome = AuthorityOutcome::default();
    let mut remembered = fingerprint_in(object, AUTHORITY_ANNOTATION);
    for _ in 0..MAX_STEPS {
        let seen = observe(ctx, object, &desired, related, remembered.clone()).await?;
        let plan = plan(&desired, &seen.observed, ctx.clock.now());
        outcome.notice = until.map(|_| in_use()).or(plan.notice.clone());
        let step = match plan.step.clone() {
            // No watch shows a Secret without its label: nobody would hear of its end.
            AuthorityStep::Keep if seen.secret.as_ref().is_some_and(|secret| !secret.labelled) => {
                AuthorityStep::Rebundle
            }
            step => step,
        };
        match step {
            AuthorityStep::Keep => {
                let mut reconciled = open(ctx, object, &desired, outcome, &plan).await?;
                reconciled.requeue_at = reconciled.requeue_at.into_iter().chain(until).min();
                return Ok(reconciled);
            }
            AuthorityStep::Refuse(refusal) => {
                outcome.refusal = Some(refusal);
                return end(ctx, object, Some(&desired), outcome).await;
            }
            AuthorityStep::Remember(fingerprint) => {
                ctx.store.remember(object, &fingerprint).await?;
                remembered = Some(fingerprint);
            }
            step => outcome.issued_for = apply(ctx, &desired, step, &plan, &seen, permit).await?.or(outcome.issued_for),
        }
    }
    // An applied plan is a fixed point: somebody undoes it as it is written.
    Err(StoreError::Changed(desired.secret))
}

fn fingerprint_in(object: &Object, annotation: &str) -> Option<String> {
    object.annotation(annotation).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What was read, with what apply needs of it.
struct Seen {
    observed: ObservedAuthority,
    secret: Option<StoredItem>,
    config_map: Option<StoredItem>,
    passphrase: ReadPassphrase,
}

async fn observe<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: &DesiredAuthority,
    related: &RelatedState,
    remembered: Option<String>,
) -> Result<Seen, StoreError> {
    let passphrase = passphrase(ctx, desired).await?;
    let given = passphrase.as_ref().ok().cloned().flatten();
    let secret = ctx.store.read(StoredKind::Secrets, &desired.secret).await?;
    let config_map = ctx.store.read(StoredKind::ConfigMaps, &desired.bundle).await?;
    let stored = kept(object, secret.as_ref(), given.clone()).await;
    let observed = ObservedAuthority {
        existing: existing(ctx, desired, &stored, given.clone()).await?,
        trust: trust(ctx, object).await?,
        bundle: public_bundle(object, config_map.as_ref()),
        passphrase: passphrase.map(|_| ()),
        remembered,
        replace: fingerprint_in(object, REPLACE_AUTHORITY_ANNOTATION),
        reported: object.previous.fingerprint.clone(),
        rival: related.rival.clone(),
        stored,
    };
    Ok(Seen { observed, secret, config_map, passphrase: given })
}

/// The passphrase; a line end after it is not part of it, as openssl has it.
async fn passphrase<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
) -> Result<Result<ReadPassphrase, Problem>, StoreError> {
    let Some((from, key)) = &desired.passphrase else { return Ok(Ok(None)) };
    let refuse = |message| Err(Problem::issue(Reason::PassphraseNotFound, message));
    let Some(stored) = ctx.store.read(StoredKind::Secrets, from).await? else {
        return Ok(refuse(format!("spec.passphraseSecretRef: there is no Secret {from}")));
    };
    let bytes = stored.data.get(key).unwrap_or_default();
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok(refuse(format!("spec.passphraseSecretRef: Secret {from} has no key {key}, or it is empty")));
    }
    Ok(Ok(Some(Zeroizing::new(line.to_vec()))))
}

/// Opening a key takes a moment of a core, so it happens beside everything else.
async fn kept(object: &Object, secret: Option<&StoredItem>, passphrase: ReadPassphrase) -> Kept {
    let Some(secret) = secret else { return Kept::Absent };
    if secret.owner.as_ref() != Some(&object.at) {
        return Kept::Foreign(secret.owner.clone());
    }
    let data = secret.data.clone();
    let read = beside(move || material::read_authority(&data, passphrase.as_ref().map(|bytes| bytes.as_slice()))).await;
    match read {
        Ok(stored) => Kept::Sound(Arc::new(stored)),
        Err(error) => Kept::Unsound(Arc::new(error), secret.authority.clone()),
    }
}

async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading and writing keys does not panic")
}

/// The Secret to adopt is read only while no authority is stored: it is copied once.
async fn existing<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    stored: &Kept,
    passphrase: ReadPassphrase,
) -> Result<Option<Arc<Contents>>, StoreError> {
    let Origin::Existing(from) = &desired.origin else { return Ok(None) };
    if matches!(stored, Kept::Sound(_) | Kept::Foreign(_)) {
        return Ok(None);
    }
    let Some(secret) = ctx.store.read(StoredKind::Secrets, from).await? else { return Ok(None) };
    let read = move || material::read_anything(&secret.data, passphrase.as_ref().map(|bytes| bytes.as_slice()));
    Ok(Some(Arc::new(beside(read).await)))
}

async fn trust<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Result<Vec<Certificate>, Problem>, StoreError> {
    let Spec::Authority(spec) = &object.spec else { return Ok(Ok(Vec::new())) };
    let mut trusted = Vec::new();
    for source in &spec.additional_trust {
        let from = object.at.beside(&source.secret_ref.name);
        let refuse = |what| Ok(Err(Problem::spec(Reason::TrustNotFound, format!("spec.additionalTrust: {what}"))));
        match ctx.store.read(StoredKind::Secrets, &from).await?.map(|secret| certificates(&secret.data)) {
            None => return refuse(format!("there is no Secret {from}")),
            Some(Err(key)) => {
                return refuse(format!("Secret {from}, key {key}, holds a certificate that cannot be read"));
            }
            Some(Ok(certificates)) if certificates.is_empty() => {
                return refuse(format!("Secret {from} holds no certificate in PEM"));
            }
            Some(Ok(certificates)) => trusted.extend(certificates),
        }
    }
    let trusted = TrustBundle::new(trusted);
    let (size, most) = (trusted.to_pem().len() / 1024, MAX_TRUST / 1024);
    if size >= most {
        let message = format!("{size} KiB of certificates are too many for a Secret of each host: {most} KiB at most");
        return Ok(Err(Problem::field("additionalTrust", message)));
    }
    Ok(Ok(trusted.certificates().to_vec()))
}

/// All of them, or the key under which one cannot be read: were it passed over, hosts would refuse whom they should
/// trust, and nobody would know why.
fn certificates(data: &Data) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for (key, bytes) in data.iter() {
        match certificate::all_from_pem(bytes) {
            Ok(certificates) => found.extend(certificates),
            Err(_) if bytes.windows(BEGIN.len()).any(|part| part == BEGIN) => return Err(key.to_owned()),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn public_bundle(object: &Object, stored: Option<&StoredItem>) -> PublicBundle {
    match stored {
        None => PublicBundle::Absent,
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => {
            PublicBundle::Ours(stored.data.get("ca.crt").unwrap_or_default().to_vec())
        }
        Some(_) => PublicBundle::Foreign,
    }
}

/// Does one step; says why, where a certificate was made.
async fn apply<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    step: AuthorityStep,
    plan: &AuthorityPlan,
    seen: &Seen,
    permit: &Permit,
) -> Result<Option<Reason>, StoreError> {
    match step {
        AuthorityStep::Make(reason, dates) => {
            let authority = permit.without(make(ctx, desired, dates)).await;
            install(ctx, desired, authority, seen).await?;
            Ok(Some(reason))
        }
        AuthorityStep::Adopt(reason, authority) => {
            install(ctx, desired, authority, seen).await?;
            Ok(Some(reason))
        }
        AuthorityStep::Renew(dates) => {
            let current = plan.current.as_ref().expect("only what is there is renewed");
            rewrite(ctx, desired, &renewed(current, dates), &plan.bundle, seen).await?;
            Ok(Some(Reason::Renewal))
        }
        AuthorityStep::Rebundle => {
            let current = plan.current.as_ref().expect("only what is there gets a bundle");
            rewrite(ctx, desired, current, &plan.bundle, seen).await?;
            Ok(None)
        }
        AuthorityStep::PublishBundle => publish_bundle(ctx, desired, &plan.bundle, seen).await.map(|()| None),
        AuthorityStep::Keep | AuthorityStep::Remember(_) | AuthorityStep::Refuse(_) => {
            unreachable!("the walk does these itself")
        }
    }
}

async fn make<S: Store>(ctx: &Context<S>, desired: &DesiredAuthority, dates: Dates) -> Authority {
    let Origin::New { subject, algorithm, constraints, .. } = &desired.origin else {
        unreachable!("only a new authority is made")
    };
    let key = ctx.keys.make(*algorithm).await;
    sign::new_authority(subject, constraints.as_ref(), key, dates, serial()).expect("desired checked the subject")
}

/// Writes an authority for the first time, or in place of a damaged one that the user gave up.
async fn install<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    authority: Authority,
    seen: &Seen,
) -> Result<(), StoreError> {
    let trust = seen.observed.trust.clone().unwrap_or_default();
    let own = std::iter::once(authority.certificate.clone());
    let bundle = TrustBundle::new(own.chain(trust)).unexpired(ctx.clock.now());
    let (key, passphrase) = (Arc::clone(&authority.key), seen.passphrase.clone());
    let seal = move || material::stored_key(&key, passphrase.as_ref().map(|bytes| bytes.as_slice()), &salt());
    let key_pem = beside(seal).await;
    let data = material::authority(&authority.certificate, key_pem.as_bytes(), &[], &bundle.to_pem());
    write(ctx, &item(desired, &authority.certificate, data), seen.secret.as_ref()).await
}

fn renewed(current: &StoredAuthority, dates: Dates) -> StoredAuthority {
    let certificate = current.authority.renew(dates, serial());
    let former = std::iter::once(current.authority.certificate.clone()).chain(current.former.iter().cloned()).collect();
    let key = Arc::clone(&current.authority.key);
    StoredAuthority { authority: Authority { certificate, key }, former, ..current.clone() }
}

/// Writes certificates anew; the key stays as it is stored, byte for byte.
async fn rewrite<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    stored: &StoredAuthority,
    bundle: &TrustBundle,
    seen: &Seen,
) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    let certificate = &stored.authority.certificate;
    let former = TrustBundle::new(stored.former.clone()).unexpired(now);
    let known = [certificate.clone()].into_iter().chain(former.certificates().iter().cloned());
    let bundle = TrustBundle::new(known.chain(bundle.certificates().iter().cloned()));
    let data = material::authority(certificate, &stored.key_pem, former.certificates(), &bundle.to_pem());
    write(ctx, &item(desired, certificate, data), seen.secret.as_ref()).await
}

fn item(desired: &DesiredAuthority, certificate: &Certificate, data: Data) -> NewItem {
    NewItem {
        shelf: StoredKind::Secrets,
        at: desired.secret.clone(),
        type_: AUTHORITY_TYPE,
        owner: desired.object.clone(),
        authority: Some(certificate.key_fingerprint()),
        data,
    }
}

async fn publish_bundle<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    bundle: &TrustBundle,
    seen: &Seen,
) -> Result<(), StoreError> {
    let mut data = Data::default();
    data.insert("ca.crt", bundle.to_pem());
    let at = desired.bundle.clone();
    let owner = desired.object.clone();
    let item = NewItem { shelf: StoredKind::ConfigMaps, at, type_: LEAF_TYPE, owner, authority: None, data };
    write(ctx, &item, seen.config_map.as_ref()).await
}

async fn write<S: Store>(ctx: &Context<S>, item: &NewItem, there: Option<&StoredItem>) -> Result<(), StoreError> {
    match there {
        None => ctx.store.create(item).await,
        Some(stored) => ctx.store.replace(item, &stored.version).await,
    }
}

async fn open<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: &DesiredAuthority,
    mut outcome: AuthorityOutcome,
    plan: &AuthorityPlan,
) -> Result<Reconciled, StoreError> {
    let current = plan.current.as_ref().expect("what is kept is there");
    let certificate = current.authority.certificate.clone();
    let view = AuthorityView::new(certificate.clone(), plan.bundle.to_pem());
    outcome.certificate = Some(certificate);
    let entry = CachedAuthority::Open(Arc::new(current.authority.clone()), Arc::new(view));
    let mut reconciled = finish(ctx, object, Some(desired), outcome, entry).await?;
    reconciled.requeue_at = [reconciled.requeue_at, plan.requeue_at].into_iter().flatten().min();
    Ok(reconciled)
}

async fn end<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: Option<&DesiredAuthority>,
    outcome: AuthorityOutcome,
) -> Result<Reconciled, StoreError> {
    // Its leaves say the fault; the way out stands on the authority itself.
    let fault = |refusal: &Problem| refusal.message.split(". ").next().unwrap_or_default().to_owned();
    let why = outcome.refusal.as_ref().map(fault).unwrap_or_default();
    finish(ctx, object, desired, outcome, CachedAuthority::Closed(why)).await
}

async fn finish<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: Option<&DesiredAuthority>,
    outcome: AuthorityOutcome,
    entry: CachedAuthority,
) -> Result<Reconciled, StoreError> {
    let (status, events) = status(object, desired, &outcome, ctx.clock.now());
    report(ctx, object, &status, &events).await?;
    // Noted last: were the report to fail after it, the next walk would see no change and the leaves never hear of it.
    let authority_changed = ctx.authorities.put(&object.at.beside(&object.at.name), entry);
    let requeue_at = in_conflict(&outcome).then(|| saturating(ctx.clock.now(), CONFLICT_RECHECK_INTERVAL));
    Ok(Reconciled { requeue_at, status: Some(status), issued: outcome.issued_for, authority_changed })
}

/// Something of the name that it needs is somebody else's.
fn in_conflict(outcome: &AuthorityOutcome) -> bool {
    let refusals = outcome.refusal.iter().chain(&outcome.notice);
    refusals.into_iter().any(|refusal| matches!(refusal.reason, Reason::SecretConflict | Reason::ConfigMapConflict))
}
