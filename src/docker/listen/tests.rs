//! Addresses in tables.
