//! The API server: objects, Secrets, accounts, leases and tokens are read and written by single requests. Nothing is
//! retried or decided here.

pub mod accounts;
pub mod cluster_id;
pub mod companion_api;
pub mod guard;
pub mod leaf_cache;
pub mod lease;
pub mod reader;
mod request;
mod status_write;
pub mod store;
pub mod token;
