//! Who delivers the certificate of a host.

use crate::api::Object;
use crate::api::docker_host_cert::{Delivery, Target};
use crate::decide::Problem;

/// The process that writes the files of a host and configures its dockerd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Deliverer {
    /// Nobody: the user copies the Secret, and Ready does not wait for a delivery.
    #[default]
    Nobody,
    /// The companion in the DaemonSet's pod on that Node.
    Node(String),
    /// The companion on the host that `dockseal enroll` enrolled for the object.
    Enrolled,
    /// `dockseal up`, to the machine that it runs on.
    Here,
    /// Nobody, although the spec asks for it, and what the user or the administrator must fix.
    Refused(Problem),
}

impl Deliverer {
    /// The deliverer that the spec of an object asks for.
    pub fn asked(object: &Object) -> Deliverer {
        object.delivery().map_or(Deliverer::Nobody, Deliverer::of)
    }

    /// The deliverer that `spec.delivery` asks for.
    pub fn of(delivery: &Delivery) -> Deliverer {
        match (delivery.target, &delivery.node_name) {
            (Some(Target::Node), Some(node)) => Deliverer::Node(node.to_string()),
            (Some(Target::Enrolled), _) => Deliverer::Enrolled,
            _ => Deliverer::Nobody,
        }
    }

    /// Its name, for the middle of a sentence.
    pub fn name(&self) -> String {
        match self {
            Deliverer::Node(node) => format!("the companion on node {node}"),
            Deliverer::Enrolled => "the companion that is enrolled for this object".to_owned(),
            Deliverer::Here => "dockseal up, which delivers to this machine".to_owned(),
            Deliverer::Nobody | Deliverer::Refused(_) => "nobody".to_owned(),
        }
    }

    /// What to check where it does not report.
    pub(super) fn remedy(&self) -> String {
        match self {
            Deliverer::Node(node) => format!(
                "check that node {node} is Ready, has the label dockseal.dev/companion=true and runs a pod of the \
                 DaemonSet dockseal-companion, and read the log of that pod"
            ),
            Deliverer::Enrolled => "run on the host: systemctl status dockseal-companion, then journalctl -u \
                                  dockseal-companion"
                .to_owned(),
            Deliverer::Here => "read what it printed".to_owned(),
            Deliverer::Nobody | Deliverer::Refused(_) => String::new(),
        }
    }
}
