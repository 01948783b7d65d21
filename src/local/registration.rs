//! Registration without a cluster: after the walks, each Portainer of the files is looked at and its hosts are visited.

use super::UNPOISONED;
use super::files::Found;
use super::round::{Door, Round};
use crate::api::condition::Reason;
use crate::api::{Kind, Object};
use crate::decide::delivery::Courier;
use crate::decide::registration::Standing;
use crate::decide::registration::contest::Claim;
use crate::decide::registration::patience::patience;
use crate::decide::registration::selection::{names, selects};
use crate::hallway::registration::{Came, Registrations, Visit};
use crate::pki::lifecycle::saturating;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A look may be followed by another one and its visits so often in a round.
const TURNS: usize = 3;

/// The hosts and PortainerClients of the files, in their order.
pub struct Everything {
    clients: Vec<Arc<Object>>,
    hosts: Vec<Arc<Object>>,
}

impl Everything {
    /// Of those objects.
    pub fn of(objects: &[Found]) -> Everything {
        let of_kind = |kind| {
            let found = objects.iter().filter(move |found| found.object.at.kind == kind);
            found.map(|found| Arc::new(found.object.clone())).collect()
        };
        Everything { clients: of_kind(Kind::PortainerClient), hosts: of_kind(Kind::DockerHostCert) }
    }

    /// How far the registration of an object is.
    pub fn standing(&self, registrations: &Registrations, object: &Object) -> Standing {
        match object.at.kind {
            Kind::DockerHostCert => {
                let beside = self.clients.iter().filter(|client| client.at.namespace == object.at.namespace);
                let (selecting, others): (Vec<_>, Vec<_>) = beside.cloned().partition(|client| selects(client, object));
                registrations.of_host(object, &selecting, &others)
            }
            Kind::PortainerClient => {
                let hosts: Vec<_> = self.hosts.iter().filter(|host| selects(object, host)).cloned().collect();
                registrations.of_client(object, &hosts)
            }
            _ => Standing::default(),
        }
    }

    fn visits(&self, registrations: &Registrations, client: &Arc<Object>) -> Vec<Visit> {
        let about = |host: &&Arc<Object>| {
            selects(client, host) || (host.at.namespace == client.at.namespace && names(host, client))
        };
        let visit = |host: &Arc<Object>| Visit {
            client: Arc::clone(client),
            host: Arc::clone(host),
            courier: if host.delivery().is_some() { Courier::Here } else { Courier::Nobody },
            claims: self.claims(registrations, host),
            selected: selects(client, host),
            lent: false,
        };
        self.hosts.iter().filter(about).map(visit).collect()
    }

    fn claims(&self, registrations: &Registrations, host: &Object) -> Vec<Claim> {
        let selecting = self.clients.iter().filter(|client| selects(client, host));
        selecting.map(|client| Claim { created: None, ..registrations.claim(client, host) }).collect()
    }
}

impl Door {
    /// Looks at every Portainer that is due, and visits its hosts. True where a status says something else now.
    pub async fn register(&mut self, round: &mut Round) -> bool {
        let everything = Everything::of(&self.objects);
        let mut news = false;
        for client in everything.clients.iter().filter(|client| client.has_server()) {
            for turn in 0..TURNS {
                let now = self.house.clock.now();
                let due = self.looks.get(&client.at).is_none_or(|wake| now >= *wake);
                if due || self.registrations.wants_look(client) {
                    self.board.lock().expect(UNPOISONED).draw();
                    let came = self.registrations.look(&self.house, client).await;
                    news |= came.news;
                    came.wake.and_then(|wake| self.looks.insert(client.at.clone(), wake));
                }
                let came = self.visit_all(everything.visits(&self.registrations, client)).await;
                news |= came.news;
                round.wake = [round.wake, came.wake].into_iter().flatten().min();
                if !came.look {
                    break;
                }
                let soon = saturating(now, patience(Reason::PortainerFailed, 1));
                self.looks.insert(client.at.clone(), if turn + 1 < TURNS { now } else { soon });
            }
            round.wake = [round.wake, self.looks.get(&client.at).copied()].into_iter().flatten().min();
        }
        news
    }

    async fn visit_all(&self, visits: Vec<Visit>) -> Came {
        let mut all = JoinSet::new();
        for visit in visits {
            let (house, registrations) = (Arc::clone(&self.house), Arc::clone(&self.registrations));
            all.spawn(async move { registrations.visit(&house, &visit).await });
        }
        let mut whole = Came::default();
        while let Some(came) = all.join_next().await {
            let came = came.expect("a visit does not panic");
            whole.news |= came.news;
            whole.look |= came.look;
            whole.wake = [whole.wake, came.wake].into_iter().flatten().min();
        }
        whole
    }
}
