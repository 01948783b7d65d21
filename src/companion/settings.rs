//! How a companion is started, and how it ends; and whether this host allows the delivery of an object.

use super::credentials::Account;
use crate::api::AssignedHost;
use crate::api::account::of_host;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a companion is started.
#[derive(Clone, Debug)]
pub struct CompanionSettings {
    pub account: Account,
    /// Namespaces whose objects may be delivered here; ignored on a host that was enrolled for one object.
    pub sources: Vec<String>,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
    /// It runs in a container of the dockerd that it configures.
    pub contained: bool,
    /// Address of this host, if dockerd is not reached on loopback.
    pub address: Option<IpAddr>,
    /// Deliver once, then end.
    pub once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanionResult {
    /// With `once`: everything is delivered.
    Delivered,
    /// With `once`: something is not; the reason was logged.
    NotDelivered,
    /// It was asked to stop.
    Stopped,
}

impl CompanionSettings {
    /// Why an object may not be delivered here, whatever the assignment says: the host has the last word.
    pub fn unlisted(&self, host: &AssignedHost) -> Option<String> {
        match &self.account {
            Account::Node { .. } => (!self.sources.iter().any(|listed| *listed == *host.namespace)).then(|| {
                format!("nothing is delivered to nodes from the namespace {}: an administrator lists namespaces in companion.namespaces of the chart", host.namespace)
            }),
            Account::Host { name, .. } => (*name != of_host(&host.namespace, &host.name))
                .then(|| format!("this host was enrolled as {name}, and delivers nothing else")),
        }
    }
}
