//! The cluster as a store: objects, accounts, leases and tokens over the API server.

pub mod accounts;
pub mod companion_api;
pub mod leaf_cache;
pub mod lease;
pub mod reader;
pub mod store;
pub mod token;
