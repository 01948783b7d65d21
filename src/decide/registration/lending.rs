//! Registration by the host's own companion: whether it may, and whether what it reports is so.

use super::order::marker_family;
use super::plan::Fault;
use super::{Ground, Order};
use crate::api::condition::Reason;
use crate::api::docker_host_cert::Target;
use crate::api::status::EnvironmentReport;
use crate::api::{Kind, Object, ObjectRef};
use crate::portainer::environment::{DOCKER_API, same_address};

/// Why no companion registers that host. `allowed` is what the administrator says of companions and Portainer.
pub fn refusal(host: &Object, allowed: bool) -> Option<Fault> {
    let on_node = host.delivery().is_some_and(|delivery| delivery.target == Some(Target::Node));
    let message = match (on_node, allowed) {
        (true, true) => return None,
        (false, _) => {
            "registrar: Companion is for hosts that the companion on a cluster node delivers to (spec.delivery.target: \
             Node), which this one is not: set registrar: Controller, or select such hosts only"
        }
        (true, false) => {
            "companions may not register hosts here: set registrar: Controller, or an administrator allows it by \
             companion.portainer.enabled in the chart (--companion-portainer)"
        }
    };
    Some(Fault::new(Reason::RegistrarNotAllowed, message))
}

/// What a companion reports, held against what the server itself shows: an environment of that number, marked as
/// ours, under that name or address.
///
/// # Errors
/// [`Reason::NotRegistered`], with what is shown instead.
pub fn confirm(order: &Order, namespace: &str, ground: &Ground, report: &EnvironmentReport) -> Result<(), Fault> {
    let unlike = |why: String| Err(Fault::new(Reason::NotRegistered, why));
    let id = report.id.unwrap_or_default();
    if report.instance_id.as_ref() != Some(&ground.instance) {
        return unlike(format!(
            "the companion reports environment {id} of another Portainer than the one at server.url"
        ));
    }
    let Some(environment) = ground.environments.get(&id).filter(|found| found.kind == DOCKER_API) else {
        return unlike(format!("the companion reports environment {id}, which Portainer does not show"));
    };
    let family = marker_family(&ObjectRef::new(Kind::PortainerClient, namespace, &order.client));
    if ground.tags_beginning(environment, &family).next().is_none() {
        return unlike(format!("the companion reports environment {id}, which does not carry our tag in Portainer"));
    }
    if environment.name != order.name && !same_address(&environment.url, &order.url()) {
        return unlike(format!(
            "the companion reports environment {id}, which in Portainer is {} at {}: another host's",
            environment.name, environment.url
        ));
    }
    Ok(())
}
