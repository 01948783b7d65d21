//! A host leaves a Portainer: its environment goes, or stays without our mark.

use super::RegistrationServer;
use super::error::of_server;
use crate::adapters::portainer::PortainerError;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::deregister::part as decide;
use crate::decide::registration::{DeregisterRequest, Deregistration, DesiredEnvironment, RegistrationProblem};
use crate::portainer::{Environment, EnvironmentChange};

/// Parts from an environment, by what the server showed lately.
///
/// # Errors
/// The [`Fault`] that keeps it from being done: to be tried again.
pub async fn part(
    server: &RegistrationServer,
    namespace: &str,
    order: DesiredEnvironment,
    report: &EnvironmentReport,
    delete: bool,
) -> Result<Deregistration, RegistrationProblem> {
    let name = server.names.of(&server.snapshot().instance, &order.name);
    let _alone = name.lock().await;
    let _place = server.places.acquire().await.expect("it is never closed");
    let leaving = DeregisterRequest { order, delete };
    let parting = decide(&leaving, namespace, &server.snapshot(), report);
    let done = match &parting {
        Deregistration::Nothing => Ok(()),
        Deregistration::Delete(id) => server.portainer.delete(*id).await,
        Deregistration::Untag(id, tag_ids) => {
            let change = EnvironmentChange { tag_ids: Some(tag_ids.clone()), ..EnvironmentChange::default() };
            match server.portainer.change(*id, &change).await {
                Err(PortainerError::NotFound) => Ok(()),
                done => done.map(|_| ()),
            }
        }
    };
    done.map_err(|error| of_server(&error))?;
    match &parting {
        Deregistration::Delete(id) => server.gone(*id),
        Deregistration::Untag(id, tag_ids) => {
            let known = server.snapshot().environments.get(id).cloned();
            known.into_iter().for_each(|known| server.put(Environment { tag_ids: tag_ids.clone(), ..known }));
        }
        Deregistration::Nothing => {}
    }
    Ok(parting)
}
