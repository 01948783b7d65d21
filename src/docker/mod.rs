//! What Docker expects: daemon.json, units, listeners and files. No I/O, no policy.
