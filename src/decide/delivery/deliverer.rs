//! Who brings a host's certificate there.

use crate::api::Object;
use crate::api::docker_host_cert::{Delivery, Target};
use crate::decide::Problem;

/// Who brings it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Deliverer {
    /// Nobody: its Ready does not wait for it.
    #[default]
    Nobody,
    /// The companion on that node.
    Node(String),
    /// The companion that is enrolled for the object.
    Enrolled,
    /// This process, to the machine that it runs on.
    Here,
    /// Nobody, although it is asked for: what the user or the administrator must mend.
    Refused(Problem),
}

impl Deliverer {
    /// The one that a spec asks for.
    pub fn asked(object: &Object) -> Deliverer {
        object.delivery().map_or(Deliverer::Nobody, Deliverer::of)
    }

    /// The one that a delivery asks for.
    pub fn of(delivery: &Delivery) -> Deliverer {
        match (delivery.target, &delivery.node_name) {
            (Some(Target::Node), Some(node)) => Deliverer::Node(node.clone()),
            (Some(Target::Enrolled), _) => Deliverer::Enrolled,
            _ => Deliverer::Nobody,
        }
    }

    /// Who that is, for the middle of a sentence.
    pub fn words(&self) -> String {
        match self {
            Deliverer::Node(node) => format!("the companion on node {node}"),
            Deliverer::Enrolled => "the companion that is enrolled for this object".to_owned(),
            Deliverer::Here => "dockseal up, which delivers to this machine".to_owned(),
            Deliverer::Nobody | Deliverer::Refused(_) => "nobody".to_owned(),
        }
    }

    /// What to look at where it is silent.
    pub(super) fn remedy(&self) -> String {
        match self {
            Deliverer::Node(node) => format!(
                "look whether node {node} is there and Ready, is labelled dockseal.dev/companion=true and runs a pod \
                 of the DaemonSet dockseal-companion, and what its log says"
            ),
            Deliverer::Enrolled => "look on the host: systemctl status dockseal-companion, then journalctl -u \
                                  dockseal-companion"
                .to_owned(),
            Deliverer::Here => "look at what it printed".to_owned(),
            Deliverer::Nobody | Deliverer::Refused(_) => String::new(),
        }
    }
}
