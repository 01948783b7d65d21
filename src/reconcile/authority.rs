//! Reconciles a DockerCA: its object in; its Secret and ConfigMap written step by step, its status published, and the
//! authority cached for its leaves. It never replaces an authority on its own.

use super::authority_cache::CachedAuthority;
use super::context::{Context, Reconciled, RelatedState, report};
use super::finalizer::in_use;
use super::leaf;
use super::opened_secrets::Passphrase;
use super::permit::Permit;
use crate::adapters::random::{authority_identity, salt, serial};
use crate::adapters::store::{AUTHORITY_TYPE, LEAF_TYPE, NewItem, StoredItem, StoredKind};
use crate::adapters::{Store, StoreError};
use crate::api::condition::Reason;
use crate::api::{
    AUTHORITY_ANNOTATION, AuthorityIdentity, IDENTITY_ANNOTATION, NamespacedName, Object, REPLACE_AUTHORITY_ANNOTATION,
    Spec,
};
use crate::decide::Problem;
use crate::decide::authority::plan::{AuthoritySecret, PublicBundle, path_length};
use crate::decide::authority::status::{AuthorityOutcome, status};
use crate::decide::authority::{
    AuthorityPlan, AuthorityStep, DesiredAuthority, ObservedAuthority, Origin, desired, plan,
};
use crate::decide::delays::{CONFLICT_RECHECK_INTERVAL, RIVAL_RECHECK_INTERVAL};
use crate::decide::leaf::AuthorityView;
use crate::pki::constraints::closed;
use crate::pki::lifecycle::saturating;
use crate::pki::material::{self, Contents, Data, StoredAuthority};
use crate::pki::pem_blocks::MAX_PEM_BYTES;
use crate::pki::sign::{self, Dates};
use crate::pki::{Authority, Certificate, TrustBundle, file_kind};
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use zeroize::Zeroizing;

/// More steps than any authority needs: make, remember, publish the bundle, keep.
const MAX_STEPS: usize = 8;
/// A leaf's Secret holds the bundle twice, and 1 MiB in all.
const MAX_TRUST: usize = 384 * 1024;

/// Reconciles a DockerCA. With `until` it is being deleted, and signs for its leaves until then.
pub async fn reconcile<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    related: &RelatedState,
    permit: &Permit,
    until: Option<Timestamp>,
) -> Result<Reconciled, StoreError> {
    let desired = match desired(object) {
        Ok(desired) => desired,
        Err(problem) => {
            let outcome = AuthorityOutcome { problem: Some(problem), ..AuthorityOutcome::default() };
            return finish_closed(ctx, object, None, outcome).await;
        }
    };
    let mut outcome = AuthorityOutcome::default();
    let mut remembered = Remembered::by(object);
    for _ in 0..MAX_STEPS {
        let observation = observe(ctx, object, &desired, related, &remembered, permit).await?;
        let plan = plan(&desired, &observation.observed, ctx.clock.now());
        outcome.notice = until.map(|_| in_use()).or(plan.notice.clone());
        let step = labelled(plan.step.clone(), observation.secret.as_ref());
        match step {
            AuthorityStep::Keep => {
                let mut reconciled = finish_open(ctx, object, &desired, outcome, &plan).await?;
                reconciled.requeue_at = reconciled.requeue_at.into_iter().chain(until).min();
                return Ok(reconciled);
            }
            AuthorityStep::Refuse(problem) => {
                outcome.problem = Some(problem);
                let mut reconciled = finish_closed(ctx, object, Some(&desired), outcome).await?;
                if related.rival.is_some() {
                    reconciled.requeue_at = Some(saturating(ctx.clock.now(), RIVAL_RECHECK_INTERVAL));
                }
                return Ok(reconciled);
            }
            AuthorityStep::Remember(fingerprint, identity) => {
                ctx.store.remember(object, &fingerprint, identity).await?;
                remembered = remembered.with(fingerprint, identity);
            }
            step => {
                if let AuthorityStep::Renew(_, cures) = &step {
                    outcome.cures.clone_from(cures);
                }
                let issued_for = apply(ctx, &desired, step, &plan, &observation, permit).await?;
                outcome.issued_for = outcome.issued_for.or(issued_for);
            }
        }
    }
    // An applied plan is a fixed point, so someone else changes it back meanwhile.
    Err(StoreError::Changed(desired.secret))
}

/// No watch shows a Secret without its label, so its end would not be noticed: it is written again with it.
fn labelled(step: AuthorityStep, secret: Option<&StoredItem>) -> AuthorityStep {
    match step {
        AuthorityStep::Keep if secret.is_some_and(|secret| !secret.labelled) => AuthorityStep::Rebundle,
        step => step,
    }
}

fn fingerprint_in(object: &Object, annotation: &str) -> Option<String> {
    object.annotation(annotation).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What the object's annotations say of its authority.
struct Remembered {
    fingerprint: Option<String>,
    identity: Option<AuthorityIdentity>,
}

impl Remembered {
    fn by(object: &Object) -> Remembered {
        let identity = object.annotation(IDENTITY_ANNOTATION).and_then(AuthorityIdentity::parse);
        Remembered { fingerprint: fingerprint_in(object, AUTHORITY_ANNOTATION), identity }
    }

    fn with(self, fingerprint: String, identity: Option<AuthorityIdentity>) -> Remembered {
        Remembered { fingerprint: Some(fingerprint), identity: identity.or(self.identity) }
    }
}

/// What was observed, with the objects that apply writes.
struct Observation {
    observed: ObservedAuthority,
    secret: Option<StoredItem>,
    config_map: Option<StoredItem>,
    passphrase: Passphrase,
}

async fn observe<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: &DesiredAuthority,
    related: &RelatedState,
    remembered: &Remembered,
    permit: &Permit,
) -> Result<Observation, StoreError> {
    let passphrase = passphrase(ctx, desired).await?;
    let given = passphrase.as_ref().ok().cloned().flatten();
    let secret = ctx.store.read(StoredKind::Secrets, &desired.secret).await?;
    let config_map = ctx.store.read(StoredKind::ConfigMaps, &desired.bundle).await?;
    let stored = authority_secret(ctx, object, secret.as_ref(), given.clone(), permit).await;
    let ours = secret.as_ref().filter(|secret| secret.owner.as_ref() == Some(&object.at));
    let observed = ObservedAuthority {
        existing: existing(ctx, desired, &stored, given.clone(), permit).await?,
        trust: trust(ctx, object).await?,
        bundle: public_bundle(object, config_map.as_ref()),
        passphrase: passphrase.map(|_| ()),
        remembered: remembered.fingerprint.clone(),
        identity_in_secret: ours.and_then(|secret| secret.identity),
        identity_on_object: remembered.identity,
        replace: fingerprint_in(object, REPLACE_AUTHORITY_ANNOTATION),
        reported: object.previous.fingerprint.clone(),
        rival: related.rival.clone(),
        stored,
    };
    Ok(Observation { observed, secret, config_map, passphrase: given })
}

/// The passphrase; a line end after it is not part of it, as openssl has it.
async fn passphrase<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
) -> Result<Result<Passphrase, Problem>, StoreError> {
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

async fn authority_secret<S>(
    ctx: &Context<S>,
    object: &Object,
    secret: Option<&StoredItem>,
    passphrase: Passphrase,
    permit: &Permit,
) -> AuthoritySecret {
    let Some(secret) = secret else { return AuthoritySecret::Absent };
    if secret.owner.as_ref() != Some(&object.at) {
        return AuthoritySecret::NotOurs(secret.owner.clone());
    }
    match ctx.opened.read_authority(&ctx.slow, object.at.namespace.shared(), &secret.data, passphrase, permit).await {
        Ok(stored) => AuthoritySecret::Sound(stored),
        Err(error) => AuthoritySecret::Unsound(error, secret.authority.clone()),
    }
}

/// The Secret to adopt is read only while no authority is stored: it is copied once.
async fn existing<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    stored: &AuthoritySecret,
    passphrase: Passphrase,
    permit: &Permit,
) -> Result<Option<Arc<Contents>>, StoreError> {
    let Origin::Existing(from) = &desired.origin else { return Ok(None) };
    if matches!(stored, AuthoritySecret::Sound(_) | AuthoritySecret::NotOurs(_)) {
        return Ok(None);
    }
    let Some(secret) = ctx.store.read(StoredKind::Secrets, from).await? else { return Ok(None) };
    Ok(Some(
        ctx.opened.read_anything(&ctx.slow, desired.object.namespace.shared(), secret.data, passphrase, permit).await,
    ))
}

async fn trust<S: Store>(ctx: &Context<S>, object: &Object) -> Result<Result<Vec<Certificate>, Problem>, StoreError> {
    let refuse = |what| Ok(Err(Problem::spec(Reason::TrustNotFound, format!("spec.additionalTrust: {what}"))));
    let mut secrets = Vec::new();
    let mut size = 0;
    for from in trusted_secrets(object) {
        let Some(secret) = ctx.store.read(StoredKind::Secrets, &from).await? else {
            return refuse(format!("there is no Secret {from}"));
        };
        size += secret.data.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        if size > MAX_PEM_BYTES {
            return refuse(format!("its Secrets hold more than 1 MiB in all, of which Secret {from} is a part"));
        }
        secrets.push((from, secret.data));
    }
    let mut trusted = Vec::new();
    for (from, data) in secrets {
        match certificates(&data) {
            Err(why) => return refuse(format!("Secret {from}, {why}")),
            Ok(certificates) if certificates.is_empty() => {
                return refuse(format!("Secret {from} holds no certificate in PEM"));
            }
            Ok(certificates) => trusted.extend(certificates),
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

/// The Secrets of `additionalTrust`, each once.
fn trusted_secrets(object: &Object) -> Vec<NamespacedName> {
    let Spec::Authority(spec) = &object.spec else { return Vec::new() };
    let mut secrets = Vec::new();
    for source in &spec.additional_trust {
        let from = object.at.beside(&source.secret_ref.name);
        if !secrets.contains(&from) {
            secrets.push(from);
        }
    }
    secrets
}

/// All of them, or what cannot be read: were it passed over, hosts would refuse whom they should trust, without a message.
fn certificates(data: &Data) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    for (key, bytes) in data.iter() {
        let (certificates, unreadable) = file_kind::read_certificates(key, bytes);
        if let Some(why) = unreadable.first() {
            return Err(format!("key {key}: {why}"));
        }
        found.extend(certificates);
    }
    Ok(found)
}

fn public_bundle(object: &Object, stored: Option<&StoredItem>) -> PublicBundle {
    match stored {
        None => PublicBundle::Absent,
        Some(stored) if stored.owner.as_ref() == Some(&object.at) => {
            PublicBundle::Ours(stored.data.get("ca.crt").unwrap_or_default().to_vec())
        }
        Some(_) => PublicBundle::NotOurs,
    }
}

/// Applies one step; returns the reason where a certificate was issued.
async fn apply<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    step: AuthorityStep,
    plan: &AuthorityPlan,
    observation: &Observation,
    permit: &Permit,
) -> Result<Option<Reason>, StoreError> {
    match step {
        AuthorityStep::Make(reason, dates) => {
            let authority = make(ctx, desired, dates, permit).await;
            install(ctx, desired, authority, observation, permit).await?;
            Ok(Some(reason))
        }
        AuthorityStep::Adopt(reason, authority) => {
            install(ctx, desired, authority, observation, permit).await?;
            Ok(Some(reason))
        }
        AuthorityStep::Renew(dates, _) => {
            let current = plan.current.as_ref().expect("only what is there is renewed");
            rewrite(ctx, desired, &renewed(desired, current, dates), &plan.bundle, observation).await?;
            Ok(Some(Reason::Renewal))
        }
        AuthorityStep::Rebundle => {
            let current = plan.current.as_ref().expect("only what is there gets a bundle");
            rewrite(ctx, desired, current, &plan.bundle, observation).await?;
            Ok(None)
        }
        AuthorityStep::PublishBundle => publish_bundle(ctx, desired, &plan.bundle, observation).await.map(|()| None),
        AuthorityStep::Keep | AuthorityStep::Remember(..) | AuthorityStep::Refuse(_) => {
            unreachable!("reconcile does these itself")
        }
    }
}

async fn make<S: Store>(ctx: &Context<S>, desired: &DesiredAuthority, dates: Dates, permit: &Permit) -> Authority {
    let Origin::New { subject, algorithm, constraints, .. } = &desired.origin else {
        unreachable!("only a new authority is made")
    };
    let key = leaf::make(ctx, desired.object.namespace.shared(), *algorithm, permit).await;
    let constraints = constraints.clone().map(closed);
    sign::new_authority(subject, constraints.as_ref(), key, dates, serial()).expect("desired checked the subject")
}

/// Writes an authority for the first time, or in place of a lost one that the user replaces.
async fn install<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    authority: Authority,
    observation: &Observation,
    permit: &Permit,
) -> Result<(), StoreError> {
    let trust = observation.observed.trust.clone().unwrap_or_default();
    let own = std::iter::once(authority.certificate.clone());
    let bundle = TrustBundle::new(own.chain(trust)).unexpired(ctx.clock.now());
    let (key, passphrase) = (Arc::clone(&authority.key), observation.passphrase.clone());
    let key_pem = match passphrase {
        None => key.to_pem(),
        Some(passphrase) => {
            let seal = move || material::stored_key(&key, Some(&passphrase), &salt());
            permit.without(ctx.slow.run(desired.object.namespace.shared(), seal)).await
        }
    };
    let data = material::authority(&authority.certificate, key_pem.as_bytes(), &[], &bundle.to_pem());
    write(ctx, &item(desired, &authority.certificate, data, observation), observation.secret.as_ref()).await
}

fn renewed(desired: &DesiredAuthority, current: &StoredAuthority, dates: Dates) -> StoredAuthority {
    let certificate = current.authority.renew(path_length(desired, &current.authority.certificate), dates, serial());
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
    observation: &Observation,
) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    let certificate = &stored.authority.certificate;
    let former = TrustBundle::new(stored.former.clone()).unexpired(now);
    let known = [certificate.clone()].into_iter().chain(former.certificates().iter().cloned());
    let bundle = TrustBundle::new(known.chain(bundle.certificates().iter().cloned()));
    let data = material::authority(certificate, &stored.key_pem, former.certificates(), &bundle.to_pem());
    write(ctx, &item(desired, certificate, data, observation), observation.secret.as_ref()).await
}

/// Every write carries the identity; it is made where none is known.
fn item(desired: &DesiredAuthority, certificate: &Certificate, data: Data, observation: &Observation) -> NewItem {
    NewItem {
        shelf: StoredKind::Secrets,
        at: desired.secret.clone(),
        type_: AUTHORITY_TYPE,
        owner: desired.object.clone(),
        authority: Some(certificate.key_fingerprint()),
        identity: Some(observation.observed.identity().unwrap_or_else(authority_identity)),
        data,
    }
}

async fn publish_bundle<S: Store>(
    ctx: &Context<S>,
    desired: &DesiredAuthority,
    bundle: &TrustBundle,
    observation: &Observation,
) -> Result<(), StoreError> {
    let mut data = Data::default();
    data.insert("ca.crt", bundle.to_pem());
    let at = desired.bundle.clone();
    let owner = desired.object.clone();
    let item =
        NewItem { shelf: StoredKind::ConfigMaps, at, type_: LEAF_TYPE, owner, authority: None, identity: None, data };
    write(ctx, &item, observation.config_map.as_ref()).await
}

async fn write<S: Store>(ctx: &Context<S>, item: &NewItem, there: Option<&StoredItem>) -> Result<(), StoreError> {
    match there {
        None => ctx.store.create(item).await,
        Some(stored) => ctx.store.replace(item, &stored.version).await,
    }
}

async fn finish_open<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: &DesiredAuthority,
    mut outcome: AuthorityOutcome,
    plan: &AuthorityPlan,
) -> Result<Reconciled, StoreError> {
    let current = plan.current.as_ref().expect("what is kept is there");
    let certificate = current.authority.certificate.clone();
    let view = AuthorityView::new(certificate.clone(), plan.bundle.to_pem()).with_identity(plan.identity);
    outcome.certificate = Some(certificate);
    let entry = CachedAuthority::Open(Arc::new(current.authority.clone()), Arc::new(view));
    let mut reconciled = finish(ctx, object, Some(desired), outcome, entry).await?;
    reconciled.requeue_at = [reconciled.requeue_at, plan.requeue_at].into_iter().flatten().min();
    Ok(reconciled)
}

async fn finish_closed<S: Store>(
    ctx: &Context<S>,
    object: &Object,
    desired: Option<&DesiredAuthority>,
    outcome: AuthorityOutcome,
) -> Result<Reconciled, StoreError> {
    // The leaves' messages have the problem; what to do is in the authority's own.
    let first_sentence = |problem: &Problem| problem.message.split(". ").next().unwrap_or_default().to_owned();
    let why = outcome.problem.as_ref().map(first_sentence).unwrap_or_default();
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
    // Cached last: if the report failed after it, the next run would see no change and the leaves would not be requeued.
    let authority_changed = ctx.authorities.put(&object.at.beside(&object.at.name), entry);
    let requeue_at = in_conflict(&outcome).then(|| saturating(ctx.clock.now(), CONFLICT_RECHECK_INTERVAL));
    Ok(Reconciled { requeue_at, status: Some(status), issued: outcome.issued_for, authority_changed })
}

/// A Secret or ConfigMap of its name belongs to another object.
fn in_conflict(outcome: &AuthorityOutcome) -> bool {
    let problems = outcome.problem.iter().chain(&outcome.notice);
    problems.into_iter().any(|problem| matches!(problem.reason, Reason::SecretConflict | Reason::ConfigMapConflict))
}
