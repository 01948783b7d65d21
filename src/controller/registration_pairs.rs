//! Which PortainerClient registers which host: pairs of objects, found in the index and among the tombstones. A change
//! of an object comes in, and the pairs that it affects are queued. Portainer is not asked here.

use super::state::ControllerState;
use super::workqueue::RegistrationKey;
use crate::api::{Kind, Object, ObjectRef};
use crate::decide::deletion::FINALIZER_TIMEOUT;
use crate::decide::registration::RegistrationStatus;
use crate::decide::registration::conflict::Claim;
use crate::pki::lifecycle::saturating;
use std::sync::Arc;

/// A PortainerClient and a host.
type Pair = (Arc<Object>, Arc<Object>);

impl ControllerState {
    /// How far the registration of an object is.
    pub fn registration(&self, object: &Object) -> RegistrationStatus {
        let index = self.index.read();
        match object.at.kind {
            Kind::DockerHostCert => {
                let selecting = index.clients_of(object);
                let selected = |client: &Arc<Object>| selecting.iter().any(|known| known.at == client.at);
                let others: Vec<_> =
                    index.clients_about(object).into_iter().filter(|client| !selected(client)).collect();
                drop(index);
                self.registrations.reports().of_host(object, &selecting, &others)
            }
            Kind::PortainerClient => {
                let hosts =
                    if object.deleted.is_some() { index.hosts_about(object) } else { index.hosts_of_client(object) };
                drop(index);
                self.registrations.reports().of_client(object, &hosts)
            }
            _ => RegistrationStatus::default(),
        }
    }

    /// An object was reconciled: queues what follows from it for Portainer.
    pub fn enqueue_registrations(&self, object: &Object) {
        match object.at.kind {
            Kind::PortainerClient if self.registrations.needs_refresh(object) => {
                self.registration_queue.add(RegistrationKey::server(object.at.clone()));
            }
            Kind::DockerHostCert => {
                let clients = self.index.read().clients_about(object);
                clients.into_iter().for_each(|client| self.enqueue_pair(&client.at, &object.at));
            }
            _ => {}
        }
    }

    /// Queues every host of a PortainerClient, those too that are gone; with `changed` their statuses as well.
    pub fn enqueue_hosts(&self, client: &Object, changed: bool) {
        let hosts = self.index.read().hosts_about(client);
        let removed = self.tombstones.of_kind(Kind::DockerHostCert, &client.at.namespace);
        for host in hosts.into_iter().chain(removed) {
            if changed {
                self.queue.add(host.at.clone());
            }
            self.enqueue_pair(&client.at, &host.at);
        }
    }

    /// An object is gone: it stays as a tombstone while something of it is in Portainer.
    pub fn deregister_removed(&self, object: &Arc<Object>) {
        let pairs = self.registered_pairs(object);
        if pairs.is_empty() {
            return self.registrations.forget(&object.at);
        }
        self.tombstones.put(Object { deleted: Some(self.ctx.clock.now()), ..Object::clone(object) });
        pairs.iter().for_each(|(client, host)| self.enqueue_pair(&client.at, &host.at));
    }

    /// Forgets an object that is gone, once nothing of it is in Portainer, or after too long.
    pub fn cancel_tombstone(&self, at: &ObjectRef) {
        let Some(removed) = self.tombstones.find(at) else { return };
        let late = removed.deleted.is_some_and(|at| self.ctx.clock.now() >= saturating(at, FINALIZER_TIMEOUT));
        if late || self.registered_pairs(&removed).is_empty() {
            self.tombstones.cancel(at);
            self.registrations.forget(at);
        }
    }

    /// The pairs of an object of which something of ours is still in Portainer.
    fn registered_pairs(&self, object: &Arc<Object>) -> Vec<Pair> {
        let index = self.index.read();
        let mut pairs: Vec<Pair> = match object.at.kind {
            Kind::DockerHostCert => {
                let removed = self.tombstones.of_kind(Kind::PortainerClient, &object.at.namespace);
                let clients = index.clients_about(object).into_iter().chain(removed);
                clients.map(|client| (client, Arc::clone(object))).collect()
            }
            Kind::PortainerClient => {
                index.hosts_about(object).into_iter().map(|host| (Arc::clone(object), host)).collect()
            }
            _ => Vec::new(),
        };
        drop(index);
        pairs.retain(|(client, host)| self.registrations.reports().has_ours(client, host));
        pairs
    }

    fn enqueue_pair(&self, client: &ObjectRef, host: &ObjectRef) {
        self.registration_queue.add(RegistrationKey { client: client.clone(), host: Some(host.clone()) });
    }

    /// An object that is there, or its tombstone.
    pub fn find(&self, at: &ObjectRef) -> Option<Arc<Object>> {
        let found = self.index.read().find(at);
        found.or_else(|| self.tombstones.find(at))
    }

    /// Who would register a host, the oldest first.
    pub fn claims(&self, host: &Object) -> (Vec<Claim>, Vec<ObjectRef>) {
        let clients = self.index.read().clients_of(host);
        let claims = clients.iter().map(|client| self.registrations.reports().claim(client, host)).collect();
        (claims, clients.iter().map(|client| client.at.clone()).collect())
    }
}
