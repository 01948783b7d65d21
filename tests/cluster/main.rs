//! The controller on a real kube-apiserver and etcd.

#[path = "../support/mod.rs"]
mod support;

mod adoption;
mod backup;
mod faults;
mod main_job;
mod outside;
mod rules;
mod world;
