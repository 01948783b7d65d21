//! Deregisters a host from a Portainer: its environment is deleted, or stays without our tags. Nothing that is not marked
//! as ours is touched.

use super::error::server_problem;
use super::server::RegistrationServer;
use crate::adapters::portainer::PortainerError;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::deregister::plan_deregistration;
use crate::decide::registration::{DeregisterRequest, Deregistration, RegistrationProblem};
use crate::portainer::{Environment, EnvironmentChange};

/// Deregisters by the last refresh of the server.
///
/// # Errors
/// The [`RegistrationProblem`] that prevents it for now: to be retried.
pub async fn deregister(
    server: &RegistrationServer,
    namespace: &str,
    request: &DeregisterRequest,
    report: &EnvironmentReport,
) -> Result<Deregistration, RegistrationProblem> {
    let _name = server.lock_name(namespace, &request.desired.name).await;
    let _permit = server.permit().await;
    let plan = plan_deregistration(request, namespace, &server.snapshot(), report);
    match &plan {
        Deregistration::Nothing => {}
        Deregistration::Delete(id) => {
            server.portainer().delete(*id).await.map_err(|error| server_problem(&error))?;
            server.remove(*id);
        }
        Deregistration::Untag(id, tag_ids) => {
            let change = EnvironmentChange { tag_ids: Some(tag_ids.clone()), ..EnvironmentChange::default() };
            match server.portainer().change(*id, &change).await {
                Ok(_) | Err(PortainerError::NotFound) => {}
                Err(error) => return Err(server_problem(&error)),
            }
            let known = server.snapshot().environments.get(id).cloned();
            known.into_iter().for_each(|known| server.put(Environment { tag_ids: tag_ids.clone(), ..known }));
        }
    }
    Ok(plan)
}
