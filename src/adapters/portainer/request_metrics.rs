//! How many requests were sent to a server, for which operation, with which outcome, and how long they took. Numbers only.

use super::error::PortainerError;
use super::reply::Reply;
use hyper::StatusCode;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of the histogram's buckets in seconds; one more bucket counts what takes longer.
pub const BOUNDS: [f64; 8] = [0.01, 0.05, 0.2, 1.0, 5.0, 15.0, 30.0, 150.0];

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The metric's label value.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $label,)* }
            }
        }
    };
}

labels! {
    /// What a request is for.
    Operation {
        /// Its version, and whether it has an administrator.
        Status = "status",
        Login = "login",
        Initialize = "initialize",
        Me = "me",
        List = "list",
        Inspect = "inspect",
        Create = "create",
        Change = "change",
        Upload = "upload",
        /// Pings a host through Portainer's proxy.
        Ping = "ping",
        Snapshot = "snapshot",
        Delete = "delete",
        Groups = "groups",
        Tags = "tags",
        /// A new tag.
        Tag = "tag",
    }
}

labels! {
    /// How a request ended.
    Outcome {
        Ok = "ok",
        /// 401.
        Unauthorized = "unauthorized",
        Refused = "refused",
        /// No trusted connection: Portainer received nothing.
        Unreachable = "unreachable",
        /// No answer, or none in time.
        Timeout = "timeout",
    }
}

impl Outcome {
    pub(super) fn of(sent: &Result<Reply, PortainerError>) -> Outcome {
        match sent {
            Ok(reply) if reply.status.is_success() => Outcome::Ok,
            Ok(reply) if reply.status == StatusCode::UNAUTHORIZED => Outcome::Unauthorized,
            Err(PortainerError::Unreachable(_) | PortainerError::NotAllowed | PortainerError::Untrusted(_)) => {
                Outcome::Unreachable
            }
            Err(PortainerError::TimedOut) => Outcome::Timeout,
            _ => Outcome::Refused,
        }
    }
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many lie in each bucket of [`BOUNDS`]; the last counts those above all bounds.
    pub counts: [u64; BOUNDS.len() + 1],
    pub sum: Duration,
}

impl Durations {
    fn note(&mut self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket] += 1;
        self.sum += took;
    }
}

/// The requests so far: at most one number for each operation and outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub requests: BTreeMap<(Operation, Outcome), u64>,
    pub durations: BTreeMap<Operation, Durations>,
}

/// Counts requests; the clients of one server share it.
#[derive(Debug, Default)]
pub struct RequestMetrics(Mutex<Counts>);

impl RequestMetrics {
    pub fn note(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let mut counts = self.0.lock();
        *counts.requests.entry((operation, outcome)).or_default() += 1;
        counts.durations.entry(operation).or_default().note(took);
    }

    pub fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}
