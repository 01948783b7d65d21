//! Leadership among the replicas: one Lease (coordination.k8s.io/v1) is acquired, renewed while it is held, and released
//! on a clean end.

use super::reader::innermost;
use super::request::FIELD_MANAGER;
use crate::adapters::Clock;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A holder that did not renew for so long has lost the lease.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long stops by itself, before another may start.
const RENEW_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two renewals, and between two reads of another's lease.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);

pub struct Leadership {
    api: Api<Lease>,
    name: String,
    identity: String,
    clock: Clock,
}

impl Leadership {
    /// The lease `name` in `namespace`, for the holder `identity`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, clock: Clock) -> Leadership {
        let api = Api::namespaced(client, namespace);
        Leadership { api, name: name.to_owned(), identity: identity.to_owned(), clock }
    }

    /// Waits until the lease is ours; returns the latest instant at which others may have seen it as free.
    pub async fn acquire(&self) -> Instant {
        let mut seen: Option<(LeaseSpec, Instant)> = None;
        loop {
            let asked = Instant::now();
            match timeout(RENEW_TIMEOUT, self.attempt(&mut seen)).await.map_err(silent).flatten() {
                Ok(true) => return asked,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, error = innermost(&error), "failed to acquire the lease")
                }
            }
            sleep(RENEW_INTERVAL).await;
        }
    }

    /// Renews the lease until it is lost. Time counts from when a renewal was sent: others may have seen it from then on,
    /// however late the answer comes.
    pub async fn hold(&self, since: Instant) {
        let mut renewed = since;
        while renewed.elapsed() < RENEW_TIMEOUT {
            sleep(RENEW_INTERVAL).await;
            let asked = Instant::now();
            match timeout(RENEW_TIMEOUT.saturating_sub(renewed.elapsed()), self.renew()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, error = innermost(&error), "failed to renew the lease")
                }
                Err(_) => tracing::warn!(lease = self.name, "failed to renew the lease: no answer"),
            }
        }
    }

    /// Gives the lease up, so that another replica need not wait for its end.
    pub async fn release(&self) {
        let release = async {
            if let Some(mut lease) = self.api.get_opt(&self.name).await?.filter(|lease| self.is_ours(lease)) {
                let spec = lease.spec.get_or_insert_default();
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.name, &post(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match timeout(RENEW_TIMEOUT, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, error = innermost(&error), "failed to release the lease")
            }
            Err(_) => tracing::warn!(lease = self.name, "failed to release the lease: no answer"),
        }
    }

    /// Takes a lease that is free, or that was not renewed for its whole duration as measured here: clocks of two
    /// machines are never compared.
    async fn attempt(&self, seen: &mut Option<(LeaseSpec, Instant)>) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.settle(self.api.create(&post(), &self.ours(None)).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match seen {
            Some((last, since)) if *last == spec => *since,
            _ => seen.insert((spec.clone(), Instant::now())).1,
        };
        let free = spec.holder_identity.as_deref().is_none_or(str::is_empty) || self.is_ours(&lease);
        let length =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
        if !free && since.elapsed() < length.max(LEASE_DURATION) {
            return Ok(false);
        }
        self.settle(self.api.replace(&self.name, &post(), &self.ours(Some(lease))).await)
    }

    async fn renew(&self) -> kube::Result<bool> {
        match self.api.get_opt(&self.name).await? {
            Some(lease) if self.is_ours(&lease) => {
                self.settle(self.api.replace(&self.name, &post(), &self.ours(Some(lease))).await)
            }
            _ => Ok(false),
        }
    }

    /// A conflict means that another replica was faster, which is not an error.
    fn settle(&self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    fn ours(&self, before: Option<Lease>) -> Lease {
        let now = MicroTime(self.clock.now());
        let old = before.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let held = before.as_ref().is_some_and(|lease| self.is_ours(lease));
        let transitions = old.lease_transitions.unwrap_or_default().saturating_add(i32::from(!held));
        let metadata = before.map(|lease| lease.metadata);
        Lease {
            metadata: metadata.unwrap_or(ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(LEASE_DURATION.as_secs() as i32),
                acquire_time: if held { old.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn silent(_: tokio::time::error::Elapsed) -> kube::Error {
    kube::Error::Service("no answer".into())
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}
