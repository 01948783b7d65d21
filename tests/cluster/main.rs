//! The controller on a real kube-apiserver and etcd.

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod faults;
mod main_job;
mod rules;
mod world;
