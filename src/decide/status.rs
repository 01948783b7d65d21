//! From verdicts to conditions and events: a status that changes only when something did.

use crate::api::ObjectEvent;
use crate::api::condition::{ConditionType, Reason};
use crate::api::status::CertificateStatus;
use crate::decide::Problem;
use crate::pki::Certificate;
use crate::pki::lifecycle::whole_seconds;
use crate::text::{MAX_MESSAGE, clean};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// One condition before it is compared with what was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Type of the condition.
    pub condition: ConditionType,
    /// Status of the condition: true for True, false for False.
    pub holds: bool,
    /// Reason of the condition and of its event.
    pub reason: Reason,
    /// Says what is wrong and what to do: one line of at most [`MAX_MESSAGE`] bytes.
    pub message: String,
}

impl Verdict {
    /// A condition with its status, reason and message, whoever's words are in that: it is cleaned and cut here.
    pub fn new(condition: ConditionType, holds: bool, reason: Reason, message: impl Into<String>) -> Verdict {
        let message = clean(&message.into(), MAX_MESSAGE).into_owned();
        Verdict { condition, holds, reason, message }
    }
}

/// The Accepted condition: false where one of the problems is in the spec.
pub fn accepted<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> Verdict {
    match problems.into_iter().find(|problem| problem.condition == ConditionType::Accepted) {
        Some(problem) => Verdict::new(ConditionType::Accepted, false, problem.reason, &problem.message),
        None => Verdict::new(ConditionType::Accepted, true, Reason::Accepted, "the spec is accepted"),
    }
}

/// Adds Ready: true where every verdict holds, else with reason and message of the first that does not.
pub fn with_ready(mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let ready = match verdicts.iter().find(|verdict| !verdict.holds) {
        None => Verdict::new(ConditionType::Ready, true, Reason::Ready, ready_message(&verdicts)),
        Some(fault) => Verdict::new(ConditionType::Ready, false, fault.reason, fault.message.clone()),
    };
    verdicts.push(ready);
    verdicts
}

fn ready_message(verdicts: &[Verdict]) -> String {
    let issued = verdicts.iter().find(|verdict| verdict.condition == ConditionType::Issued);
    issued.map(|verdict| verdict.message.clone()).unwrap_or_default()
}

/// The conditions; lastTransitionTime stays where the status stays.
pub fn conditions<'a>(
    verdicts: impl IntoIterator<Item = &'a Verdict>,
    previous: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts.into_iter().map(|verdict| condition(verdict, previous, generation, now)).collect()
}

fn condition(verdict: &Verdict, previous: &[Condition], generation: i64, now: Timestamp) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = previous.iter().find(|condition| condition.type_ == verdict.condition.as_str());
    let since =
        before.filter(|condition| condition.status == status).map(|condition| condition.last_transition_time.clone());
    Condition {
        type_: verdict.condition.as_str().to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
    }
}

/// Events of verdicts that do not hold and were not reported so before.
pub fn fault_events(verdicts: &[Verdict], previous: &[Condition]) -> Vec<ObjectEvent> {
    let faults = verdicts.iter().filter(|verdict| !verdict.holds && verdict.condition != ConditionType::Ready);
    let first = faults.clone().next();
    faults
        .filter(|verdict| match ConditionType::OF_COMPANION.contains(&verdict.condition) {
            // Ready alone says it, where nothing comes before it.
            true => {
                first == Some(verdict)
                    && !passes_by_itself(verdict.reason)
                    && !reported(ConditionType::Ready, verdict, previous)
            }
            false => !passes_by_itself(verdict.reason) && !reported(verdict.condition, verdict, previous),
        })
        .map(|verdict| ObjectEvent { warning: true, reason: verdict.reason, message: verdict.message.clone() })
        .collect()
}

/// Not an error, but a step of every delivery or registration.
fn passes_by_itself(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotDelivered
            | Reason::AwaitingTurn
            | Reason::Removed
            | Reason::NotRegistered
            | Reason::AwaitingServing
            | Reason::Deregistering
    )
}

/// Messages of Registered are not compared: Portainer's differ at every try, with numbers of ports in them.
fn reported(type_: ConditionType, verdict: &Verdict, previous: &[Condition]) -> bool {
    previous.iter().any(|condition| {
        condition.type_ == type_.as_str()
            && condition.status == "False"
            && condition.reason == verdict.reason.as_str()
            && (type_ == ConditionType::Registered || condition.message == verdict.message)
    })
}

/// The status fields of a certificate.
pub fn describe(
    certificate: &Certificate,
    fingerprint: String,
    issuer: String,
    renew_at: Timestamp,
) -> CertificateStatus {
    CertificateStatus {
        serial: Some(certificate.serial.clone()),
        fingerprint: Some(fingerprint),
        issuer_fingerprint: Some(issuer),
        not_before: Some(Time(certificate.not_before)),
        not_after: Some(Time(certificate.not_after)),
        renew_at: Some(Time(whole_seconds(renew_at))),
        ..CertificateStatus::default()
    }
}

/// Reasons as the status that was last published has them.
pub fn previous_reason(previous: &CertificateStatus, condition: ConditionType) -> Option<&str> {
    let found = previous.conditions.iter().find(|known| known.type_ == condition.as_str());
    found.map(|condition| condition.reason.as_str())
}
