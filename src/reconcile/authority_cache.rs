//! The authorities, as their own reconcile left them: one that can sign is opened once, and its leaves sign with it.

use crate::api::NamespacedName;
use crate::decide::leaf::AuthorityView;
use crate::pki::Authority;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum CachedAuthority {
    /// It can sign.
    Open(Arc<Authority>, Arc<AuthorityView>),
    /// It cannot sign, and why.
    Closed(String),
}

/// All authorities, by namespace and name of their DockerCA.
#[derive(Debug, Default)]
pub struct AuthorityCache(RwLock<HashMap<NamespacedName, CachedAuthority>>);

impl AuthorityCache {
    /// The authority, if its DockerCA was reconciled.
    pub fn find(&self, at: &NamespacedName) -> Option<CachedAuthority> {
        self.0.read().get(at).cloned()
    }

    /// Puts in an authority; true where that changes something for its leaves.
    pub fn put(&self, at: &NamespacedName, entry: CachedAuthority) -> bool {
        let before = self.0.write().insert(at.clone(), entry.clone());
        match (before, entry) {
            (Some(CachedAuthority::Open(_, before)), CachedAuthority::Open(_, now)) => before != now,
            (Some(CachedAuthority::Closed(before)), CachedAuthority::Closed(now)) => before != now,
            _ => true,
        }
    }

    pub fn forget(&self, at: &NamespacedName) {
        self.0.write().remove(at);
    }
}
