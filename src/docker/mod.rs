//! What Docker expects: daemon.json, units, listeners and files. No I/O, no policy.

pub mod engine;
pub mod unit_file;
