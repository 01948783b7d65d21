//! The next step of an authority. One at a time, each from what is stored, so that it goes on wherever it was cut off.

use super::adopt;
use super::desired::{DesiredAuthority, Origin};
use crate::api::condition::Reason;
use crate::api::{AuthorityIdentity, IDENTITY_ANNOTATION, ObjectRef};
use crate::decide::Problem;
use crate::pki::KeyError;
use crate::pki::constraints::closed;
use crate::pki::docker_rules::DockerRefusal;
use crate::pki::lifecycle::{self, issued_at, jitter};
use crate::pki::material::{AuthorityError, Contents, StoredAuthority};
use crate::pki::profile::PATH_LENGTH;
use crate::pki::sign::Dates;
use crate::pki::{Authority, Certificate, TrustBundle, docker_rules, name};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use x509_cert::ext::pkix::NameConstraints;

/// No authority is renewed for less.
const MIN_RENEWAL_GAIN: SignedDuration = SignedDuration::from_hours(1);

/// The authority's Secret as it is.
#[derive(Clone, Debug)]
pub enum AuthoritySecret {
    /// There is no such Secret.
    Absent,
    /// It belongs to another object, or to no object: the owner, where it is known.
    NotOurs(Option<ObjectRef>),
    /// Ours, and it can sign.
    Sound(Arc<StoredAuthority>),
    /// Ours, and it cannot. The fingerprint is the one noted on the Secret.
    Unsound(Arc<AuthorityError>, Option<String>),
}

/// The ConfigMap with the public bundle as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicBundle {
    /// There is no such ConfigMap.
    Absent,
    /// It belongs to another object, or to no object.
    NotOurs,
    /// It belongs to this DockerCA: its `ca.crt`.
    Ours(Vec<u8>),
}

/// All that the plan needs to know.
#[derive(Clone, Debug)]
pub struct ObservedAuthority {
    /// The Secret with the authority.
    pub stored: AuthoritySecret,
    /// The ConfigMap with the public bundle.
    pub bundle: PublicBundle,
    /// What is wrong with the passphrase, where one is asked for.
    pub passphrase: Result<(), Problem>,
    /// What the Secret to adopt holds; read only while nothing is stored.
    pub existing: Option<Arc<Contents>>,
    /// The certificates of `additionalTrust`.
    pub trust: Result<Vec<Certificate>, Problem>,
    /// Fingerprint of the authority that was made for the object.
    pub remembered: Option<String>,
    /// Identity of the authority, where its Secret has one.
    pub identity_in_secret: Option<AuthorityIdentity>,
    /// Identity of the authority, where the object has one.
    pub identity_on_object: Option<AuthorityIdentity>,
    /// The lost one that the user wants replaced.
    pub replace: Option<String>,
    /// Fingerprint in the last status.
    pub reported: Option<String>,
    /// Another object that has the Secret rather than this one.
    pub rival: Option<ObjectRef>,
}

impl ObservedAuthority {
    /// The identity that the authority has: the Secret's counts, else the object's. None where one is to be made.
    pub fn identity(&self) -> Option<AuthorityIdentity> {
        self.identity_in_secret.or(self.identity_on_object)
    }
}

/// What to do next.
#[expect(clippy::large_enum_variant, reason = "one step at a time, and for a moment")]
#[derive(Clone, Debug)]
pub enum AuthorityStep {
    /// Nothing is written.
    Keep,
    /// Make a new authority.
    Make(Reason, Dates),
    /// Copy an existing one.
    Adopt(Reason, Authority),
    /// A further certificate for the same key, and what it cures, where that is why.
    Renew(Dates, Vec<String>),
    /// Write `ca.crt` and the identity of the Secret anew.
    Rebundle,
    /// Note the fingerprint on the object, and the identity where it has none.
    Remember(String, Option<AuthorityIdentity>),
    /// Write the ConfigMap with the public bundle.
    PublishBundle,
    /// The user must fix something first.
    Refuse(Problem),
}

/// The step, what is stored before it, and when to plan again.
#[derive(Clone, Debug)]
pub struct AuthorityPlan {
    /// The one step to apply now.
    pub step: AuthorityStep,
    /// The authority, where it can sign.
    pub current: Option<Arc<StoredAuthority>>,
    /// What hosts and clients are to trust.
    pub bundle: TrustBundle,
    /// The identity that its Secret has.
    pub identity: Option<AuthorityIdentity>,
    /// What the user should fix, although the authority signs all the same.
    pub notice: Option<Problem>,
    /// When to plan again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
}

/// Decides what an authority needs next at `now`.
pub fn plan(desired: &DesiredAuthority, observed: &ObservedAuthority, now: Timestamp) -> AuthorityPlan {
    match current(desired, observed) {
        Ok(Some(current)) => keep_alive(desired, observed, current, now),
        Ok(None) => resting(create(desired, observed, now).unwrap_or_else(AuthorityStep::Refuse)),
        Err(problem) => resting(AuthorityStep::Refuse(problem)),
    }
}

fn resting(step: AuthorityStep) -> AuthorityPlan {
    AuthorityPlan {
        step,
        current: None,
        bundle: TrustBundle::default(),
        identity: None,
        notice: None,
        requeue_at: None,
    }
}

/// The authority that is stored, or none where one may be made; lost, it is never silently replaced.
fn current(desired: &DesiredAuthority, observed: &ObservedAuthority) -> Result<Option<Arc<StoredAuthority>>, Problem> {
    let secret = &desired.secret;
    let conflict = |whose: &str| {
        let message = format!("Secret {secret} belongs to {whose} and stays untouched: choose another secretName");
        Problem::issue(Reason::SecretConflict, message)
    };
    if let Some(rival) = &observed.rival {
        return Err(conflict(&rival.to_string()));
    }
    let known = observed.remembered.as_ref().or(observed.reported.as_ref());
    let replaced = |lost: &Option<&String>| lost.is_some() && observed.replace.as_ref() == *lost;
    match &observed.stored {
        AuthoritySecret::NotOurs(owner) => {
            Err(conflict(&owner.as_ref().map_or("someone else".into(), ToString::to_string)))
        }
        AuthoritySecret::Sound(stored) => {
            let fingerprint = stored.authority.certificate.key_fingerprint();
            if known.is_none_or(|known| *known == fingerprint) || replaced(&known) {
                return Ok(Some(Arc::clone(stored)));
            }
            Err(lost(known, &format!("Secret {secret} holds another authority, {fingerprint}")))
        }
        AuthoritySecret::Unsound(error, _) if matches!(**error, AuthorityError::Key(_)) && !replaced(&known) => {
            Err(locked(desired, observed, error))
        }
        AuthoritySecret::Unsound(error, noted) => {
            let known = known.or(noted.as_ref());
            if replaced(&known) { Ok(None) } else { Err(lost(known, &format!("Secret {secret} is damaged: {error}"))) }
        }
        AuthoritySecret::Absent if known.is_none() || replaced(&known) => Ok(None),
        AuthoritySecret::Absent => Err(lost(known, &format!("Secret {secret} is gone"))),
    }
}

fn lost(known: Option<&String>, what: &str) -> Problem {
    let way_out = match known {
        Some(known) => format!(
            "Restore it from a backup. Only if it is gone for good, and every host and client may get a new certificate, \
             annotate the DockerCA with dockseal.dev/replace-authority: {known}"
        ),
        None => "Restore it from a backup, or delete it if its authority is of no use".to_owned(),
    };
    Problem::issue(Reason::AuthorityLost, format!("{what}. {way_out}"))
}

/// The stored key does not open.
fn locked(desired: &DesiredAuthority, observed: &ObservedAuthority, error: &AuthorityError) -> Problem {
    if let Err(problem) = &observed.passphrase {
        return problem.clone();
    }
    let secret = &desired.secret;
    let AuthorityError::Key(error) = error else { unreachable!("asked for a locked key") };
    match (error, &desired.passphrase) {
        (KeyError::PassphraseWrong, Some((from, key))) => {
            let message = format!(
                "the passphrase in Secret {from}, key {key}, does not open tls.key of Secret {secret}: put back the passphrase that the key was stored with"
            );
            Problem::issue(Reason::PassphraseWrong, message)
        }
        _ => adopt::unreadable(secret, error),
    }
}

fn create(desired: &DesiredAuthority, observed: &ObservedAuthority, now: Timestamp) -> Result<AuthorityStep, Problem> {
    observed.passphrase.clone()?;
    observed.trust.clone()?;
    let replaced = observed.remembered.is_some()
        || observed.reported.is_some()
        || !matches!(observed.stored, AuthoritySecret::Absent);
    match &desired.origin {
        Origin::New { duration, .. } => {
            let reason = if replaced { Reason::AuthorityReplaced } else { Reason::FirstIssuance };
            Ok(AuthorityStep::Make(reason, lifecycle::dates(now, *duration, None)))
        }
        Origin::Existing(from) => {
            let contents = observed.existing.as_ref().ok_or_else(|| {
                Problem::issue(Reason::ExistingNotFound, format!("spec.existing: there is no Secret {from}"))
            })?;
            let reason = if replaced { Reason::AuthorityReplaced } else { Reason::Adopted };
            adopt::adopt(from, contents, now).map(|authority| AuthorityStep::Adopt(reason, authority))
        }
    }
}

fn keep_alive(
    desired: &DesiredAuthority,
    observed: &ObservedAuthority,
    current: Arc<StoredAuthority>,
    now: Timestamp,
) -> AuthorityPlan {
    let certificate = &current.authority.certificate;
    let fingerprint = certificate.key_fingerprint();
    let (bundle, notice) = match &observed.trust {
        Ok(trust) => (bundle(&current, trust, now), None),
        Err(problem) => (stored_bundle(&current, now), Some(problem.clone())),
    };
    let identity = observed.identity_in_secret;
    let noted = observed.remembered.as_ref() == Some(&fingerprint) && observed.identity_on_object.is_some();
    let cures = cures(observed, certificate);
    let next = || lifecycle::dates(now, duration(desired, certificate), None);
    let step = if identity.is_none() {
        AuthorityStep::Rebundle // an older version made it: first the Secret, then the object, and no certificate
    } else if !cures.is_empty() {
        AuthorityStep::Renew(next(), cures)
    } else if !noted {
        AuthorityStep::Remember(fingerprint, identity.filter(|_| observed.identity_on_object.is_none()))
    } else if now >= renew_at(desired, certificate) || now < certificate.not_before {
        AuthorityStep::Renew(next(), Vec::new())
    } else if bundle.to_pem().as_bytes() != current.bundle {
        AuthorityStep::Rebundle
    } else {
        publish(&observed.bundle, &bundle).unwrap_or(AuthorityStep::Keep)
    };
    let notice = notice
        .or_else(|| foreign_config_map(desired, &observed.bundle))
        .or_else(|| other_identity(desired, observed))
        .or_else(|| other_wishes(desired, certificate))
        .or_else(|| refused_trust(observed));
    let requeue_at = requeue_at(desired, certificate, &bundle, now);
    AuthorityPlan { step, bundle, identity, notice, requeue_at: Some(requeue_at), current: Some(current) }
}

/// What a renewal cures at once: all that Docker refuses, and in an authority that was adopted just now what strict
/// verifiers refuse besides. One that hosts know already waits for its time with the latter.
fn cures(observed: &ObservedAuthority, certificate: &Certificate) -> Vec<String> {
    if observed.remembered.is_none() && observed.reported.is_none() {
        return adopt::cures(certificate);
    }
    adopt::docker_cures(certificate)
}

/// A certificate of `additionalTrust` that Docker passes over: its clients are refused, and nobody says so.
fn refused_trust(observed: &ObservedAuthority) -> Option<Problem> {
    let refusal = |trusted: &Certificate| {
        let refusals = docker_rules::refusals(&trusted.der);
        refusals.into_iter().find(|refusal| !matches!(refusal, DockerRefusal::Extension(_))) // that may be strict of us
    };
    let refused = |trusted: &Certificate| Some((name::display(&trusted.subject), refusal(trusted)?));
    let (subject, refusal) = observed.trust.as_ref().ok()?.iter().find_map(refused)?;
    let message = format!(
        "spec.additionalTrust: Docker does not accept {subject}, since {refusal}: clients of it are refused by hosts"
    );
    Some(Problem::spec(Reason::TrustNotFound, message))
}

/// The newest certificate, the earlier ones that still run, and what is trusted besides.
fn bundle(current: &StoredAuthority, trust: &[Certificate], now: Timestamp) -> TrustBundle {
    let own = std::iter::once(&current.authority.certificate).chain(&current.former);
    TrustBundle::new(own.chain(trust).cloned()).unexpired(now)
}

/// While a Secret of `additionalTrust` is away, what was trusted stays.
fn stored_bundle(current: &StoredAuthority, now: Timestamp) -> TrustBundle {
    TrustBundle::from_pem(&current.bundle)
        .ok()
        .filter(|bundle| bundle.certificates().contains(&current.authority.certificate))
        .unwrap_or_else(|| bundle(current, &[], now))
}

fn publish(stored: &PublicBundle, bundle: &TrustBundle) -> Option<AuthorityStep> {
    match stored {
        PublicBundle::NotOurs => None,
        PublicBundle::Ours(pem) if *pem == bundle.to_pem().into_bytes() => None,
        _ => Some(AuthorityStep::PublishBundle),
    }
}

fn foreign_config_map(desired: &DesiredAuthority, stored: &PublicBundle) -> Option<Problem> {
    (*stored == PublicBundle::NotOurs).then(|| {
        let message = format!("ConfigMap {} belongs to someone else and stays untouched: delete it", desired.bundle);
        Problem::spec(Reason::ConfigMapConflict, message)
    })
}

/// Object and Secret name two identities, and neither is overwritten: the Secret's counts, since it is beside the key.
fn other_identity(desired: &DesiredAuthority, observed: &ObservedAuthority) -> Option<Problem> {
    let (stored, noted) = observed.identity_in_secret.zip(observed.identity_on_object)?;
    let DesiredAuthority { object, secret, .. } = desired;
    (stored != noted).then(|| {
        let message = format!(
            "annotation {IDENTITY_ANNOTATION}: it is {noted}, and that of Secret {secret} is {stored}, which counts: \
             remove the DockerCA's (without a cluster the file identities/{}/{} in the state directory)",
            object.namespace, object.name
        );
        Problem::spec(Reason::InvalidSpec, message)
    })
}

/// An authority is made once: a spec that asks for another one, in a file or on an object made again, is told so.
fn other_wishes(desired: &DesiredAuthority, certificate: &Certificate) -> Option<Problem> {
    let Origin::New { subject, algorithm, constraints, .. } = &desired.origin else { return None };
    let field = if subject.to_der().ok().as_ref() != Some(&certificate.subject) {
        "subject"
    } else if certificate.algorithm != Some(*algorithm) {
        "privateKey"
    } else if !are_wanted(certificate.name_constraints.as_deref(), constraints.as_ref()) {
        "nameConstraints"
    } else {
        return None;
    };
    let message = format!(
        "it differs from the authority in Secret {}, which is not changed: put it back, or make another DockerCA",
        desired.secret
    );
    Some(Problem::field(field, message))
}

/// As they are wanted; an authority of an older version says nothing of addresses where names alone are limited.
fn are_wanted(there: Option<&NameConstraints>, wanted: Option<&NameConstraints>) -> bool {
    there == wanted || there == wanted.cloned().map(closed).as_ref()
}

/// An adopted authority is renewed for as long as it was made for, yet not for minutes: it would be due at once.
fn duration(desired: &DesiredAuthority, certificate: &Certificate) -> SignedDuration {
    match &desired.origin {
        Origin::New { duration, .. } => *duration,
        Origin::Existing(_) => {
            issued_at(certificate.not_before).duration_until(certificate.not_after).max(MIN_RENEWAL_GAIN)
        }
    }
}

/// Path length of a renewed certificate: one of our own gets the profile's, an adopted one keeps what it has, which its
/// owner may have meant.
pub fn path_length(desired: &DesiredAuthority, certificate: &Certificate) -> Option<u8> {
    match &desired.origin {
        Origin::New { .. } => Some(PATH_LENGTH),
        Origin::Existing(_) => certificate.path_length,
    }
}

/// When the authority's certificate is renewed: at two thirds of its life.
pub fn renew_at(desired: &DesiredAuthority, certificate: &Certificate) -> Timestamp {
    let dates = Dates { not_before: certificate.not_before, not_after: certificate.not_after };
    lifecycle::renew_at(dates, None, jitter(&desired.object.namespace, &desired.object.name))
}

/// Renewal, or the end of something in the bundle.
fn requeue_at(
    desired: &DesiredAuthority,
    certificate: &Certificate,
    bundle: &TrustBundle,
    now: Timestamp,
) -> Timestamp {
    let ends = bundle.certificates().iter().map(|trusted| trusted.not_after).filter(|end| *end > now);
    ends.chain([renew_at(desired, certificate)]).min().unwrap_or(now)
}
