//! What is known of a Docker host before it is scanned, and when its certificate is to be renewed. It asks nobody.

use crate::decide::leaf::{DesiredLeaf, plan};
use crate::pki::{Certificate, lifecycle};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

/// Our client, as far as there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// There is none, and why.
    None(String),
    /// There is one: what it is called, and its certificate.
    Known(String, Box<Certificate>),
}

/// A renewal that is due is done within a moment, and no fault until then.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// When the stored certificate is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// When.
    pub at: Timestamp,
    /// It is overdue, and a new one would last longer.
    pub due: bool,
}

/// When `stored` is to be renewed, and whether it should have been by `now`; its authority is among `trust`.
pub fn renewal(wanted: &DesiredLeaf, stored: &Certificate, trust: &[Certificate], now: Timestamp) -> Renewal {
    let issuers = trust.iter().filter(|trusted| stored.is_issued_by(trusted));
    let bound = issuers.map(|issuer| issuer.not_after).max();
    let at = plan::renew_at(wanted, stored);
    let due = now >= lifecycle::saturating(at, GRACE) && plan::is_due(wanted, stored, bound, now);
    Renewal { at, due }
}

/// What is known of a host before it is asked. Without a cluster or a state directory most of it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Namespace and name of the DockerHostCert.
    pub host: Option<(String, String)>,
    /// What clients trust.
    pub trust: Vec<Certificate>,
    /// DNS names that its certificate should have.
    pub dns_names: Vec<String>,
    /// IP addresses that it should have.
    pub ip_addresses: Vec<IpAddr>,
    /// The certificate in its Secret; none where there is no Secret to read.
    pub stored: Option<Certificate>,
    /// Renewal of that.
    pub renewal: Option<Renewal>,
    /// Our client.
    pub client: Client,
}
