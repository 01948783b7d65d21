//! A host leaves a Portainer: its environment goes, or stays without our mark.

use super::Server;
use super::fault::of_server;
use crate::api::status::EnvironmentReport;
use crate::decide::registration::leave::part as decide;
use crate::decide::registration::{Fault, Leaving, Order, Parting};
use crate::portainer::{Change, Environment};
use crate::world::portainer_http::PortainerError;

/// Parts from an environment, by what the server showed lately.
///
/// # Errors
/// The [`Fault`] that keeps it from being done: to be tried again.
pub async fn part(
    server: &Server,
    namespace: &str,
    order: Order,
    report: &EnvironmentReport,
    delete: bool,
) -> Result<Parting, Fault> {
    let name = server.names.of(&server.ground().instance, &order.name);
    let _alone = name.lock().await;
    let _place = server.places.acquire().await.expect("it is never closed");
    let leaving = Leaving { order, delete };
    let parting = decide(&leaving, namespace, &server.ground(), report);
    let done = match &parting {
        Parting::Nothing => Ok(()),
        Parting::Delete(id) => server.portainer.delete(*id).await,
        Parting::Untag(id, tag_ids) => {
            let change = Change { tag_ids: Some(tag_ids.clone()), ..Change::default() };
            match server.portainer.change(*id, &change).await {
                Err(PortainerError::NotFound) => Ok(()),
                done => done.map(|_| ()),
            }
        }
    };
    done.map_err(|error| of_server(&error))?;
    match &parting {
        Parting::Delete(id) => server.gone(*id),
        Parting::Untag(id, tag_ids) => {
            let known = server.ground().environments.get(id).cloned();
            known.into_iter().for_each(|known| server.put(Environment { tag_ids: tag_ids.clone(), ..known }));
        }
        Parting::Nothing => {}
    }
    Ok(parting)
}
