//! daemon.json in tables.
