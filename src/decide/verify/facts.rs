//! What is known of a Docker host before it is scanned, and when its certificate is to be renewed. It asks nobody.

use crate::decide::leaf::{DesiredLeaf, plan};
use crate::pki::{Certificate, lifecycle};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

/// The client certificate that the host should accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// There is none, and why: a clause for a message.
    None(String),
    /// The name that messages use for it, and its certificate.
    Known(String, Box<Certificate>),
}

/// A renewal that is due may take this long before it counts as late.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// When the stored certificate is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The renewal time.
    pub at: Timestamp,
    /// It is late, and a new certificate would last longer.
    pub due: bool,
}

/// When `stored` is to be renewed, and whether it is late at `now`. `trust` holds its authority.
pub fn renewal(wanted: &DesiredLeaf, stored: &Certificate, trust: &[Certificate], now: Timestamp) -> Renewal {
    let issuers = trust.iter().filter(|trusted| stored.is_issued_by(trusted));
    let bound = issuers.map(|issuer| issuer.not_after).max();
    let at = plan::renew_at(wanted, stored);
    let due = now >= lifecycle::saturating(at, GRACE) && plan::is_due(wanted, stored, bound, now);
    Renewal { at, due }
}

/// What is known of a host before it is scanned. Without a cluster or a state directory most of it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Namespace and name of the DockerHostCert.
    pub host: Option<(String, String)>,
    /// The authorities that clients trust.
    pub trust: Vec<Certificate>,
    /// DNS names that its certificate must have.
    pub dns_names: Vec<String>,
    /// IP addresses that its certificate must have.
    pub ip_addresses: Vec<IpAddr>,
    /// The certificate in its Secret; none where there is no Secret to read.
    pub stored: Option<Certificate>,
    /// When `stored` is to be renewed.
    pub renewal: Option<Renewal>,
    /// The client that the host should accept.
    pub client: Client,
}
