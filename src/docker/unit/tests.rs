//! Command lines in tables.
