//! How many requests were sent to a server, what for, how they ended and how long they took. It holds numbers only, and
//! does not know who reads them.

use super::connection::Reply;
use super::error::PortainerError;
use hyper::StatusCode;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of the durations that are told apart, in seconds. Whatever takes longer is counted behind them.
pub const BOUNDS: [f64; 8] = [0.01, 0.05, 0.2, 1.0, 5.0, 15.0, 30.0, 150.0];

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// Its stable name.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// What a request is for.
    Operation {
        /// What the server is, and whether it has an administrator.
        Status = "status",
        /// A login.
        Login = "login",
        /// The first administrator is made.
        Initialize = "initialize",
        /// Who we are to it.
        Me = "me",
        /// Environments, all or those of a name.
        List = "list",
        /// One environment.
        Inspect = "inspect",
        /// An environment is made.
        Create = "create",
        /// An environment is changed.
        Change = "change",
        /// A file of an environment is replaced.
        Upload = "upload",
        /// A host is reached through it.
        Ping = "ping",
        /// A snapshot is taken of a host.
        Snapshot = "snapshot",
        /// An environment is removed.
        Delete = "delete",
        /// Groups of environments.
        Groups = "groups",
        /// Tags.
        Tags = "tags",
        /// A tag is made.
        Tag = "tag",
    }
}

words! {
    /// How a request ended, as HTTP says it.
    Outcome {
        /// An answer of success.
        Ok = "ok",
        /// 401: it does not know the credential, or no longer.
        Unauthorized = "unauthorized",
        /// Any other answer.
        Refused = "refused",
        /// No connection that could be trusted: nothing was asked.
        Unreachable = "unreachable",
        /// No answer, in time or at all.
        Timeout = "timeout",
    }
}

impl Outcome {
    pub(super) fn of(sent: &Result<Reply, PortainerError>) -> Outcome {
        match sent {
            Ok(reply) if reply.status.is_success() => Outcome::Ok,
            Ok(reply) if reply.status == StatusCode::UNAUTHORIZED => Outcome::Unauthorized,
            Err(PortainerError::Unreachable(_) | PortainerError::Untrusted(_)) => Outcome::Unreachable,
            Err(PortainerError::TimedOut) => Outcome::Timeout,
            _ => Outcome::Refused,
        }
    }
}

/// How long requests took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many of them lie below each of [`BOUNDS`] and above the one before; the last is of those above all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    fn note(&mut self, took: Duration) {
        let place = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.counts[place] += 1;
        self.sum += took;
    }
}

/// The requests that were counted: at most as many numbers as there are operations and outcomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// How many.
    pub requests: BTreeMap<(Operation, Outcome), u64>,
    /// How long.
    pub durations: BTreeMap<Operation, Durations>,
}

/// Counts requests, whichever client of a server sends them.
#[derive(Debug, Default)]
pub struct RequestMetrics(Mutex<Counts>);

impl RequestMetrics {
    /// Counts one.
    pub fn note(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let mut counts = self.0.lock();
        *counts.requests.entry((operation, outcome)).or_default() += 1;
        counts.durations.entry(operation).or_default().note(took);
    }

    /// All that were counted.
    pub fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}
