//! What a DockerCA reports: conditions, the authority's facts, and the events of what changed.

use super::desired::DesiredAuthority;
use super::plan::renew_at;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::{CertificateStatus, ControllerStatus};
use crate::api::{Object, ObjectEvent};
use crate::decide::Problem;
use crate::decide::status::{Verdict, accepted, conditions, describe, fault_events, with_ready};
use crate::pki::Certificate;
use k8s_openapi::jiff::Timestamp;

/// What came of an authority's steps.
#[derive(Clone, Debug, Default)]
pub struct AuthorityOutcome {
    /// Its newest certificate, where it can sign.
    pub certificate: Option<Certificate>,
    /// Why one was made just now.
    pub issued_for: Option<Reason>,
    /// What was wrong with the certificate that was renewed at once.
    pub cures: Vec<String>,
    /// What keeps it from signing.
    pub problem: Option<Problem>,
    /// What the user should fix, although the authority signs all the same.
    pub notice: Option<Problem>,
}

/// The status to publish and the events to send with it.
pub fn status(
    object: &Object,
    desired: Option<&DesiredAuthority>,
    outcome: &AuthorityOutcome,
    now: Timestamp,
) -> (ControllerStatus, Vec<ObjectEvent>) {
    let verdicts = with_ready(vec![accepted(outcome.problem.iter().chain(&outcome.notice)), issued(object, outcome)]);
    let previous = &object.previous.conditions;
    let mut events = fault_events(&verdicts, previous);
    events.extend(issued_event(object, outcome));
    let mut status = match (&outcome.certificate, desired) {
        (Some(certificate), Some(desired)) => {
            let fingerprint = certificate.key_fingerprint();
            describe(certificate, fingerprint.clone(), fingerprint, renew_at(desired, certificate))
        }
        // What was known of a lost authority stays, since it says which one is lost.
        _ => CertificateStatus { conditions: Vec::new(), ..object.previous.certificate.clone() },
    };
    status.secret_name = Some(object.secret_name().to_string());
    status.conditions = conditions(&verdicts, previous, object.generation, now);
    (status.into(), events)
}

fn issued(object: &Object, outcome: &AuthorityOutcome) -> Verdict {
    let secret = object.secret_name();
    match (&outcome.problem, &outcome.certificate) {
        (Some(problem), _) if problem.condition == ConditionType::Issued => {
            Verdict::new(ConditionType::Issued, false, problem.reason, &problem.message)
        }
        (_, Some(certificate)) => {
            let message = format!("Secret {secret} is valid until {}", certificate.not_after);
            Verdict::new(ConditionType::Issued, true, Reason::Issued, message)
        }
        (problem, None) => {
            let reason = problem.as_ref().map_or(Reason::SecretMissing, |problem| problem.reason);
            Verdict::new(ConditionType::Issued, false, reason, "nothing is made until the spec is fixed")
        }
    }
}

fn issued_event(object: &Object, outcome: &AuthorityOutcome) -> Option<ObjectEvent> {
    let reason = outcome.issued_for.filter(|reason| *reason != Reason::FirstIssuance)?;
    let certificate = outcome.certificate.as_ref()?;
    let secret = object.secret_name();
    let mut message = format!("the authority in Secret {secret} is valid until {}", certificate.not_after);
    if !outcome.cures.is_empty() {
        message += &format!(
            ". It has a further certificate with the same key, since of the old one {}. Clients that hold only the old \
             ca.pem go on as before where they accepted it; those that did not need the new one",
            outcome.cures.join("; ")
        );
    }
    Some(ObjectEvent { warning: false, reason, message })
}
