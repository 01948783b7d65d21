//! The authorities that can sign, opened once by their own walk and lent to their leaves'.

use crate::api::NamespacedName;
use crate::decide::leaf::AuthorityView;
use crate::pki::Authority;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// An authority as its last walk left it.
#[derive(Clone, Debug)]
pub enum CachedAuthority {
    /// It signs.
    Open(Arc<Authority>, Arc<AuthorityView>),
    /// It does not, and why.
    Closed(String),
}

/// All authorities, by namespace and name of their DockerCA.
#[derive(Debug, Default)]
pub struct AuthorityCache(RwLock<HashMap<NamespacedName, CachedAuthority>>);

impl AuthorityCache {
    /// The authority, if its DockerCA was walked.
    pub fn find(&self, at: &NamespacedName) -> Option<CachedAuthority> {
        self.0.read().get(at).cloned()
    }

    /// Notes how an authority is; true where that changes something for its leaves.
    pub fn note(&self, at: &NamespacedName, entry: CachedAuthority) -> bool {
        let before = self.0.write().insert(at.clone(), entry.clone());
        match (before, entry) {
            (Some(CachedAuthority::Open(_, before)), CachedAuthority::Open(_, now)) => before != now,
            (Some(CachedAuthority::Closed(before)), CachedAuthority::Closed(now)) => before != now,
            _ => true,
        }
    }

    /// Forgets the authority of a DockerCA that is gone.
    pub fn forget(&self, at: &NamespacedName) {
        self.0.write().remove(at);
    }
}
