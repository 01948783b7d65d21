//! Ports for servers that are started after they were chosen, and started again on the same.

use anyhow::{Context, Result};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port that nobody listens on and that no other test has, below those that the kernel gives to outgoing connections:
/// one from there could be taken by any client before the server binds it, and again while the server restarts.
pub fn free() -> Result<u16> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time have numbers near each other; by the golden ratio they search far apart.
    let start = (u64::from(std::process::id()) * 9_271 % u64::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| FIRST + (start + TRIED.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|candidate| TcpListener::bind(("0.0.0.0", *candidate)).is_ok())
        .context("no free port")
}
