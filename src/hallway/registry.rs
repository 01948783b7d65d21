//! The authorities that can sign, opened once by their own walk and lent to their leaves'.

use crate::api::Place;
use crate::decide::leaf::AuthorityView;
use crate::pki::Authority;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// An authority as its last walk left it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// It signs.
    Open(Arc<Authority>, Arc<AuthorityView>),
    /// It does not, and why.
    Closed(String),
}

/// All authorities, by namespace and name of their DockerCA.
#[derive(Debug, Default)]
pub struct Authorities(RwLock<HashMap<Place, Entry>>);

const UNPOISONED: &str = "nothing panics while it holds this lock";

impl Authorities {
    /// The authority, if its DockerCA was walked.
    pub fn find(&self, at: &Place) -> Option<Entry> {
        self.0.read().expect(UNPOISONED).get(at).cloned()
    }

    /// Notes how an authority is; true where that changes something for its leaves.
    pub fn note(&self, at: &Place, entry: Entry) -> bool {
        let before = self.0.write().expect(UNPOISONED).insert(at.clone(), entry.clone());
        match (before, entry) {
            (Some(Entry::Open(_, before)), Entry::Open(_, now)) => before != now,
            (Some(Entry::Closed(before)), Entry::Closed(now)) => before != now,
            _ => true,
        }
    }

    /// Forgets the authority of a DockerCA that is gone.
    pub fn forget(&self, at: &Place) {
        self.0.write().expect(UNPOISONED).remove(at);
    }
}
