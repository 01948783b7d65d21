//! Dockseal: mutual TLS for Docker hosts, run by Kubernetes or by one machine alone.
//!
//! A user writes an authority ([`api::DockerCA`]) and who it signs for: hosts ([`api::DockerHostCert`]), people and
//! tools ([`api::DockerClientCert`]), Portainer ([`api::PortainerClient`]). Dockseal keeps each certificate in a
//! Secret, renews it before it ends, puts it right when somebody breaks it, and says in the object's conditions where
//! it stands.
//!
//! ```text
//!   cli            what was said, what it means, and the commands
//!   controller     the cluster's door: watches, index, queue, lease, admin server
//!   companion      the host's door: an assignment and Secrets in, files and dockerd's configuration out
//!   local          the door without a cluster: files in, a directory out
//!   -----------------------------------------------------------------------------------
//!   reconcile        observe - desire - plan - apply - report, the same behind every door
//!   -----------------------------------------------------------------------------------
//!   decide         what should happen: pure    | adapters    the outside: clock, entropy, stores
//!   -----------------------------------------------------------------------------------
//!   api   what users write | pki   what a certificate is | docker, portainer   what each of them says and expects
//!                                                                    | portainer   what Portainer says
//! ```
//!
//! Imports only point down; `decide` and `adapters` do not know each other (`tests/architecture.rs`). `docs/architecture.md` follows one
//! object through the rooms.

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
