//! What a leaf's object reports: conditions, the certificate's facts, and the events of what changed.

use super::DesiredLeaf;
use super::plan::renew_at;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::ControllerStatus;
use crate::api::{Object, ObjectEvent};
use crate::decide::Problem;
use crate::decide::delivery::Deliverer;
use crate::decide::delivery::progress::begins_to_wait;
use crate::decide::registration::RegistrationStatus;
use crate::decide::status::{Verdict, accepted, conditions, describe, fault_events, with_ready};
use crate::pki::Certificate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct LeafOutcome {
    /// The sound certificate that is stored now.
    pub certificate: Option<Certificate>,
    /// Fingerprint of the authority that signed it.
    pub issuer: Option<String>,
    /// Why it was issued just now.
    pub issued_for: Option<Reason>,
    /// What the user must fix.
    pub problem: Option<Problem>,
    /// How far its delivery is, for Ready.
    pub delivery: Option<Verdict>,
    /// How far its registration is.
    pub registration: RegistrationStatus,
}

/// The status to publish and the events to send with it.
pub fn status(
    object: &Object,
    desired: Option<&DesiredLeaf>,
    outcome: &LeafOutcome,
    now: Timestamp,
) -> (ControllerStatus, Vec<ObjectEvent>) {
    let mut verdicts =
        vec![said(object, accepted(&outcome.problem), outcome.delivery.is_some()), issued(object, outcome, now)];
    verdicts.extend(outcome.delivery.clone());
    verdicts.extend(outcome.registration.verdict.clone());
    let verdicts = with_ready(verdicts);
    let previous = &object.previous.conditions;
    let mut events = fault_events(&verdicts, previous);
    events.extend(outcome.issued_for.and_then(|reason| issued_event(object, outcome, reason)));
    let described = outcome.certificate.as_ref().map(|certificate| {
        let issuer = outcome.issuer.clone().or_else(|| object.previous.issuer_fingerprint.clone()).unwrap_or_default();
        let renew_at = match desired {
            Some(desired) => renew_at(desired, certificate),
            None => object.previous.renew_at.as_ref().map_or(certificate.not_after, |time| time.0),
        };
        describe(certificate, certificate.fingerprint(), issuer, renew_at)
    });
    let mut status = described.unwrap_or_default();
    status.secret_name = Some(object.secret_name().to_string());
    let ours = verdicts.iter().filter(|verdict| !ConditionType::OF_COMPANION.contains(&verdict.condition));
    status.conditions = conditions(ours, &remembered(object, &verdicts), object.generation, now);
    let (environments, server) = (outcome.registration.environments.clone(), outcome.registration.server.clone());
    (ControllerStatus { certificate: status, environments, server }, events)
}

/// The conditions before; without Ready where a wait begins, which its lastTransitionTime dates.
fn remembered(object: &Object, verdicts: &[Verdict]) -> Vec<Condition> {
    let is_ready = |verdict: &&Verdict| verdict.condition == ConditionType::Ready;
    let begins = verdicts.iter().find(is_ready).is_some_and(|ready| begins_to_wait(object, ready));
    let kept = object.previous.conditions.iter();
    kept.filter(|known| !begins || known.type_ != ConditionType::Ready.as_str()).cloned().collect()
}

/// A delivery without a target is for `up --host` on the machine itself; in a cluster it is as if there were none.
fn said(object: &Object, accepted: Verdict, delivered: bool) -> Verdict {
    match object.delivery() {
        Some(delivery) if delivery.target.is_none() && accepted.holds && !delivered => {
            let message = "the spec is accepted; no companion delivers it, since spec.delivery has no target: set \
                           target to Node or Enrolled, or run dockseal up --host on the machine itself";
            Verdict { message: message.to_owned(), ..accepted }
        }
        _ => accepted,
    }
}

/// The status of an object that is going, while what was delivered goes before it. All else is as it was.
pub fn removing(object: &Object, now: Timestamp) -> ControllerStatus {
    let said = ConditionType::OF_COMPANION.iter().filter_map(|type_| object.companion.condition(*type_));
    let said = said.filter(|said| said.status == "False").map(|said| said.message.clone()).next();
    let said = said.map(|said| format!(" (it says: {said})")).unwrap_or_default();
    let message = format!(
        "it is to be deleted, and waits for {} to remove what it delivered{said}; the annotation {}=true lets it go \
         at once, and leaves that there",
        Deliverer::asked(object).name(),
        crate::api::FORCE_REMOVE_ANNOTATION
    );
    waiting(object, Reason::Removing, message, now)
}

/// The status of an object that is going, while its environments go before it.
pub fn deregistering(object: &Object, registration: &RegistrationStatus, now: Timestamp) -> ControllerStatus {
    let message = format!(
        "it is to be deleted, and its environments in Portainer go before it; the annotation {}=true lets it go at \
         once, and leaves them there",
        crate::api::FORCE_REMOVE_ANNOTATION
    );
    let (environments, server) = (registration.environments.clone(), registration.server.clone());
    ControllerStatus { environments, server, ..waiting(object, Reason::Deregistering, message, now) }
}

fn waiting(object: &Object, reason: Reason, message: String, now: Timestamp) -> ControllerStatus {
    let verdict = Verdict::new(ConditionType::Ready, false, reason, message);
    let ready = conditions(&[verdict], &object.previous.conditions, object.generation, now);
    let mut status = object.previous.clone();
    status.conditions.retain(|known| known.type_ != ConditionType::Ready.as_str());
    status.conditions.extend(ready);
    status
}

fn issued(object: &Object, outcome: &LeafOutcome, now: Timestamp) -> Verdict {
    let verdict = |holds, reason, message: String| Verdict::new(ConditionType::Issued, holds, reason, message);
    let secret = object.secret_name();
    match (&outcome.problem, &outcome.certificate) {
        (Some(problem), _) if problem.condition == ConditionType::Issued => {
            verdict(false, problem.reason, problem.message.clone())
        }
        (Some(problem), None) => verdict(false, problem.reason, "nothing is issued until the spec is fixed".into()),
        (None, None) => verdict(false, Reason::SecretMissing, format!("Secret {secret} is not there yet")),
        (_, Some(certificate)) if now >= certificate.not_after => verdict(
            false,
            Reason::Expired,
            format!("the certificate in Secret {secret} ended at {}", certificate.not_after),
        ),
        (_, Some(certificate)) => {
            verdict(true, Reason::Issued, format!("Secret {secret} is valid until {}", certificate.not_after))
        }
    }
}

/// A first issuance sends none.
fn issued_event(object: &Object, outcome: &LeafOutcome, reason: Reason) -> Option<ObjectEvent> {
    let certificate = outcome.certificate.as_ref()?;
    let message =
        format!("issued a certificate into Secret {}, valid until {}", object.secret_name(), certificate.not_after);
    (reason != Reason::FirstIssuance).then_some(ObjectEvent { warning: false, reason, message })
}
