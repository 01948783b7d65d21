//! What could not be written of an account: errors and objects of someone else come in, the problems of hosts go out.

use crate::adapters::StoreError;
use crate::api::ObjectName;
use crate::api::account::ResourceKey;
use crate::api::condition::Reason;
use crate::decide::Problem;
use std::collections::BTreeMap;

/// What could not be written, with the namespace of the hosts that need it.
#[derive(Default)]
pub(super) struct WriteFailures {
    pub faults: BTreeMap<ObjectName, Problem>,
    pub failed: Option<StoreError>,
}

impl WriteFailures {
    pub fn extend_conflicts(&mut self, key: Option<&ResourceKey>) {
        self.faults.extend(key.map(|key| (key.at.namespace.clone(), conflict_problem(key))));
    }

    pub fn failed(&mut self, namespace: ObjectName, error: StoreError) {
        let message = format!("{error}; Dockseal tries again");
        self.faults.entry(namespace).or_insert_with(|| Problem::delivery(Reason::StoreFailed, message));
        self.failed.get_or_insert(error);
    }
}

fn conflict_problem(key: &ResourceKey) -> Problem {
    let message = format!(
        "{key} belongs to someone else and is not changed: delete it or rename it, so that Dockseal can create the \
         account of the companion"
    );
    Problem::delivery(Reason::AccountConflict, message)
}
