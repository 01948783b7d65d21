//! Dockseal: mutual TLS for Docker hosts, run by Kubernetes or by one machine alone.
//!
//! A user writes an authority ([`api::DockerCA`]) and who it signs for: hosts ([`api::DockerHostCert`]), people and
//! tools ([`api::DockerClientCert`]), Portainer ([`api::PortainerClient`]). Dockseal keeps each certificate in a
//! Secret, renews it before it ends, repairs it when someone changes it, and reports in the object's conditions.
//!
//! ```text
//!   cli            arguments, what they mean, and one file for each command
//!   -----------------------------------------------------------------------------------------------------------
//!   controller     the cluster's front end: informers, index, work queues, workers, lease, admin server
//!   companion      the host's front end: an assignment and Secrets in, files and dockerd's configuration out
//!   local          the front end without a cluster: files in, a directory out
//!   -----------------------------------------------------------------------------------------------------------
//!   reconcile      observe - desired - plan - apply - status, the same behind every front end
//!   -----------------------------------------------------------------------------------------------------------
//!   decide         what should happen: pure  | adapters   the outside: stores, host, network, clock, randomness
//!   -----------------------------------------------------------------------------------------------------------
//!   api   what users write | pki   what a certificate is | docker, portainer   what each of them says and expects
//!   -----------------------------------------------------------------------------------------------------------
//!   text           text of others, made fit to be shown
//! ```
//!
//! Imports only point down; `decide` and `adapters` never import each other, and front ends never one another
//! (`tests/architecture.rs`). `docs/architecture.md` follows one object through the floors.

pub mod adapters;
pub mod api;
pub mod cli;
pub mod companion;
pub mod controller;
pub mod decide;
pub mod docker;
pub mod local;
pub mod pki;
pub mod portainer;
pub mod reconcile;
pub mod text;
