//! Who brings a host's certificate there.

use crate::api::Object;
use crate::api::docker_host_cert::{Delivery, Target};
use crate::decide::Refusal;

/// Who brings it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Courier {
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
    Refused(Refusal),
}

impl Courier {
    /// The one that a spec asks for.
    pub fn asked(object: &Object) -> Courier {
        object.delivery().map_or(Courier::Nobody, Courier::of)
    }

    /// The one that a delivery asks for.
    pub fn of(delivery: &Delivery) -> Courier {
        match (delivery.target, &delivery.node_name) {
            (Some(Target::Node), Some(node)) => Courier::Node(node.clone()),
            (Some(Target::Enrolled), _) => Courier::Enrolled,
            _ => Courier::Nobody,
        }
    }

    /// Who that is, for the middle of a sentence.
    pub fn words(&self) -> String {
        match self {
            Courier::Node(node) => format!("the companion on node {node}"),
            Courier::Enrolled => "the companion that is enrolled for this object".to_owned(),
            Courier::Here => "dockseal up, which delivers to this machine".to_owned(),
            Courier::Nobody | Courier::Refused(_) => "nobody".to_owned(),
        }
    }

    /// What to look at where it is silent.
    pub(super) fn remedy(&self) -> String {
        match self {
            Courier::Node(node) => format!(
                "look whether node {node} is there and Ready, is labelled dockseal.dev/companion=true and runs a pod \
                 of the DaemonSet dockseal-companion, and what its log says"
            ),
            Courier::Enrolled => "look on the host: systemctl status dockseal-companion, then journalctl -u \
                                  dockseal-companion"
                .to_owned(),
            Courier::Here => "look at what it printed".to_owned(),
            Courier::Nobody | Courier::Refused(_) => String::new(),
        }
    }
}
