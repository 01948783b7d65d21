//! Why must we issue? An ordered list of small checks over what is wanted and what is there; the first hit decides.

use super::{AuthorityView, DesiredLeaf, host_name};
use crate::api::ObjectRef;
use crate::api::condition::Reason;
use crate::decide::Problem;
use crate::pki::constraints::{permits_dns, permits_ip};
use crate::pki::lifecycle::{self, issued_at, jitter};
use crate::pki::material::LeafFacts;
use crate::pki::profile::Usage;
use crate::pki::sign::{Dates, LeafProfile};
use crate::pki::{Certificate, KeyAlgorithm};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The Secret as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafSecret {
    /// There is no such Secret.
    Absent,
    /// It belongs to another object, or to no object: the owner, where it is known.
    Foreign(Option<ObjectRef>),
    /// It belongs to this object: what it holds.
    Ours(LeafFacts),
}

/// The authority as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// There is no DockerCA of that name.
    NotFound,
    /// It cannot sign, and why.
    NotReady(String),
    /// The authority can sign.
    Ready(Arc<AuthorityView>),
}

/// All that the plan needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedLeaf {
    /// The Secret with the leaf.
    pub stored: LeafSecret,
    /// The authority, or why it cannot sign.
    pub signer: Signer,
    /// Another object that has the Secret rather than this one.
    pub rival: Option<ObjectRef>,
    /// `dockseal.dev/renew-requested-at`, as the user wrote it.
    pub requested: Option<String>,
    /// A certificate was issued for the object before.
    pub issued_before: bool,
}

/// What is written to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafStep {
    /// Nothing is written.
    Keep,
    /// Issue a certificate and write the Secret.
    Issue {
        /// Why it is issued, for the event and the metric.
        reason: Reason,
        /// From when until when.
        dates: Dates,
        /// With the key that is stored.
        keep_key: bool,
    },
    /// Write the bundle anew beside the same pair.
    Rebundle,
    /// The user must fix something first.
    Refuse(Problem),
}

/// The step, the certificate that is stored before it, and when to plan again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafPlan {
    /// The one step to apply now.
    pub step: LeafStep,
    /// The sound certificate that is stored.
    pub current: Option<Certificate>,
    /// What the user should fix, although nothing waits for it.
    pub notice: Option<Problem>,
    /// When to plan again, if nothing changes.
    pub requeue_at: Option<Timestamp>,
}

/// Decides what a leaf needs at `now`.
pub fn plan(desired: &DesiredLeaf, observed: &ObservedLeaf, now: Timestamp) -> LeafPlan {
    let current = current(&observed.stored);
    let step = step(desired, observed, current.as_ref(), now).unwrap_or_else(LeafStep::Refuse);
    let requeue_at = current.as_ref().and_then(|certificate| requeue_at(desired, certificate, observed, now));
    LeafPlan { step, current, notice: requested_at(observed).err(), requeue_at }
}

fn current(stored: &LeafSecret) -> Option<Certificate> {
    let LeafSecret::Ours(facts) = stored else { return None };
    facts.certificate.as_deref().and_then(|der| Certificate::from_der(der).ok())
}

fn step(
    desired: &DesiredLeaf,
    observed: &ObservedLeaf,
    current: Option<&Certificate>,
    now: Timestamp,
) -> Result<LeafStep, Problem> {
    claim(desired, observed)?;
    let requested = requested_at(observed).ok().flatten(); // a request that cannot be read must not stop a renewal
    let authority = match &observed.signer {
        Signer::Ready(authority) => authority,
        Signer::NotFound => return Err(no_authority(desired)),
        Signer::NotReady(why) => return without_authority(desired, current, why, now),
    };
    // After a long sleep a leaf may be walked before its authority: what it signed now would be born expired.
    if now >= authority.certificate.not_after {
        return without_authority(desired, current, "its certificate has ended and is renewed first", now);
    }
    permitted(desired, authority)?;
    let dates = lifecycle::dates(now, desired.duration, Some(authority.certificate.not_after));
    let reason = reissue_reason(desired, observed, current, authority)
        .or_else(|| current.filter(|current| due(desired, current, dates, now)).map(|_| Reason::Renewal))
        .or_else(|| current.filter(|current| asked(current, requested, now)).map(|_| Reason::Requested));
    Ok(match (reason, &observed.stored) {
        (Some(reason), _) => LeafStep::Issue { reason, dates, keep_key: desired.keep_key && keeps(desired, current) },
        (None, LeafSecret::Ours(facts)) if !facts.copies_match || facts.bundle_digest != authority.bundle_digest => {
            LeafStep::Rebundle
        }
        _ => LeafStep::Keep,
    })
}

/// The Secret is ours to write.
fn claim(desired: &DesiredLeaf, observed: &ObservedLeaf) -> Result<(), Problem> {
    let (whose, way_out) = match (&observed.rival, &observed.stored) {
        (Some(rival), _) => (rival.to_string(), "choose another secretName"),
        (None, LeafSecret::Foreign(Some(owner))) => (owner.to_string(), "choose another secretName"),
        (None, LeafSecret::Foreign(None)) => ("someone else".to_owned(), "delete it, or choose another secretName"),
        _ => return Ok(()),
    };
    let message = format!("Secret {} belongs to {whose} and stays untouched: {way_out}", desired.secret);
    Err(Problem::issue(Reason::SecretConflict, message))
}

fn no_authority(desired: &DesiredLeaf) -> Problem {
    let message = format!("spec.caRef: there is no DockerCA {}", desired.authority);
    Problem::spec(Reason::AuthorityNotFound, message)
}

/// While the authority cannot sign, a sound certificate goes on until it is due.
fn without_authority(
    desired: &DesiredLeaf,
    current: Option<&Certificate>,
    why: &str,
    now: Timestamp,
) -> Result<LeafStep, Problem> {
    match current {
        Some(current) if matches(desired, current) && now < renew_at(desired, current) => Ok(LeafStep::Keep),
        _ => {
            let message = format!("DockerCA {} cannot sign: {why}", desired.authority);
            Err(Problem::issue(Reason::AuthorityNotReady, message))
        }
    }
}

/// Names and addresses lie within the authority's name constraints.
fn permitted(desired: &DesiredLeaf, authority: &AuthorityView) -> Result<(), Problem> {
    let Some(constraints) = &authority.certificate.name_constraints else { return Ok(()) };
    let profile = &desired.profile;
    let names = profile.dns_names.iter().chain(counted_common_name(profile));
    let name = names.into_iter().find(|name| !permits_dns(constraints, name));
    let address = profile.ip_addresses.iter().find(|address| !permits_ip(constraints, **address));
    let outside = match (name, address) {
        (Some(name), _) if profile.usage == Usage::Server && profile.dns_names.is_empty() => {
            format!("the common name {name}, which OpenSSL takes for a DNS name: give it a hostname that they permit")
        }
        (Some(name), _) => name.clone(),
        (None, Some(address)) if address.is_loopback() => {
            format!("{address} (set includeLoopback: false if no client connects to it)")
        }
        (None, Some(address)) => address.to_string(),
        (None, None) => return Ok(()),
    };
    let message = format!("DockerCA {} has name constraints that do not permit {outside}", desired.authority);
    Err(Problem::spec(Reason::NotPermitted, message))
}

/// The common name, where verifiers hold DNS constraints against it: one that looks like a name in a certificate that
/// has no DNS names. To OpenSSL an IPv4 address looks like one, too.
fn counted_common_name(profile: &LeafProfile) -> Option<&String> {
    let name = &profile.common_name;
    let like_a_name = host_name::looks_like_dns_name(name) || name.parse::<Ipv4Addr>().is_ok();
    (profile.dns_names.is_empty() && like_a_name).then_some(name)
}

/// No Secret, a damaged pair, another issuer, another spec: in this order.
fn reissue_reason(
    desired: &DesiredLeaf,
    observed: &ObservedLeaf,
    current: Option<&Certificate>,
    authority: &AuthorityView,
) -> Option<Reason> {
    let Some(current) = current else {
        return Some(match (&observed.stored, observed.issued_before) {
            (LeafSecret::Absent, false) => Reason::FirstIssuance,
            (LeafSecret::Absent, true) => Reason::SecretMissing,
            _ => Reason::SecretDamaged,
        });
    };
    if !current.is_issued_by(&authority.certificate) {
        return Some(Reason::IssuerChanged);
    }
    (!matches(desired, current)).then_some(Reason::SpecChanged)
}

/// Names, usage and key are those that are wanted; dates never count.
fn matches(desired: &DesiredLeaf, current: &Certificate) -> bool {
    let profile = &desired.profile;
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let addresses = |list: &[std::net::IpAddr]| list.iter().copied().collect::<BTreeSet<_>>();
    current.common_name.as_deref() == Some(&profile.common_name)
        && set(&current.dns_names) == set(&profile.dns_names)
        && addresses(&current.ip_addresses) == addresses(&profile.ip_addresses)
        && current.extended_usage.as_deref() == Some(&[profile.usage.oid()])
        && !current.is_ca
        && same_algorithm(desired.algorithm, current)
}

fn same_algorithm(wanted: KeyAlgorithm, current: &Certificate) -> bool {
    current.algorithm == Some(wanted)
}

fn keeps(desired: &DesiredLeaf, current: Option<&Certificate>) -> bool {
    current.is_some_and(|current| same_algorithm(desired.algorithm, current))
}

/// Its time has come, and a new one lasts longer. One from the future (the clock was wrong then) is due as well.
fn due(desired: &DesiredLeaf, current: &Certificate, next: Dates, now: Timestamp) -> bool {
    if now < current.not_before {
        return true;
    }
    let bounded = next.not_after < lifecycle::dates(now, desired.duration, None).not_after;
    let gain = current.not_after.duration_until(next.not_after);
    // Of the life that it has: an authority far shorter than the duration never grants a tenth of the latter.
    let life = issued_at(current.not_before).duration_until(current.not_after);
    let worth =
        !bounded || gain >= tenth(desired.duration.min(life)) || (now >= current.not_after && next.not_after > now);
    now >= renew_at(desired, current) && worth
}

/// Whether `certificate` should have been renewed by `now`, by an authority that ends at `bound`.
pub fn is_due(desired: &DesiredLeaf, certificate: &Certificate, bound: Option<Timestamp>, now: Timestamp) -> bool {
    due(desired, certificate, lifecycle::dates(now, desired.duration, bound), now)
}

fn tenth(span: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(span.as_secs() / 10)
}

/// When `certificate` is renewed.
pub fn renew_at(desired: &DesiredLeaf, certificate: &Certificate) -> Timestamp {
    let dates = Dates { not_before: certificate.not_before, not_after: certificate.not_after };
    lifecycle::renew_at(dates, desired.renew_before, jitter(&desired.object.namespace, &desired.object.name))
}

/// The user's request, rounded up to the second, which is what `notBefore` has.
fn requested_at(observed: &ObservedLeaf) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = &observed.requested else { return Ok(None) };
    let instant: Timestamp = text.parse().map_err(|_| {
        let text: String = text.chars().take(40).collect();
        let message = format!(
            "annotation dockseal.dev/renew-requested-at: {text:?} is not an RFC 3339 time like 2026-11-22T10:00:00Z"
        );
        Problem::spec(Reason::InvalidSpec, message)
    })?;
    let up = i64::from(instant.subsec_nanosecond() > 0);
    Ok(Timestamp::from_second(instant.as_second() + up).ok())
}

fn asked(current: &Certificate, requested: Option<Timestamp>, now: Timestamp) -> bool {
    requested.is_some_and(|requested| requested > issued_at(current.not_before) && requested <= now)
}

/// The next instant at which time alone changes something; none where it has run out.
pub fn requeue_at(
    desired: &DesiredLeaf,
    certificate: &Certificate,
    observed: &ObservedLeaf,
    now: Timestamp,
) -> Option<Timestamp> {
    let requested = requested_at(observed).ok().flatten();
    let last = lifecycle::saturating(certificate.not_after, SignedDuration::from_secs(-1));
    let instants = [Some(renew_at(desired, certificate)), requested, Some(last), Some(certificate.not_after)];
    instants.into_iter().flatten().filter(|instant| *instant > now).min()
}
