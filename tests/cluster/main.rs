//! The controller on a real kube-apiserver and etcd.

#![allow(
    clippy::disallowed_methods,
    reason = "tests may touch clock, files and processes; the product only in src/adapters"
)]

#[path = "../support/mod.rs"]
mod support;

mod adoption;
mod backup;
mod chart;
mod cli;
mod companion;
mod companions;
mod faults;
mod fixture;
mod hostile;
mod isolation;
mod main_job;
mod node;
mod outside;
mod portainer;
mod registrar;
mod rules;
mod scope;
