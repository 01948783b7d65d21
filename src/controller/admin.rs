//! `/healthz`, `/readyz` and `/metrics`.

use super::exposition::CachedExposition;
use super::metrics::Metrics;
use crate::adapters::net::http_server::{self, HttpAnswer};
use hyper::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::net::TcpListener;

const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin address is taken or not there.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} ({flag}): {source}")]
pub struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// How far a controller is.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

const STANDING_BY: u8 = 1;
const STARTING: u8 = 0;
const READY: u8 = 2;

impl Health {
    /// Another leads; this one is ready to take over.
    pub fn stand_by(&self) {
        self.0.store(STANDING_BY, Ordering::SeqCst);
    }

    /// It leads and has not looked at everything yet.
    pub fn start(&self) {
        self.0.store(STARTING, Ordering::SeqCst);
    }

    /// It leads and has looked at everything.
    pub fn ready(&self) {
        self.0.store(READY, Ordering::SeqCst);
    }

    fn answer(&self, path: &str) -> Option<HttpAnswer> {
        let (status, text) = match (path, self.0.load(Ordering::SeqCst)) {
            ("/healthz", _) => (StatusCode::OK, "ok\n"),
            ("/readyz", STANDING_BY) => (StatusCode::OK, "standing by\n"),
            ("/readyz", READY) => (StatusCode::OK, "leading\n"),
            ("/readyz", _) => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            _ => return None,
        };
        Some((status, TEXT, text.into()))
    }
}

/// Answers on `address`, in the background; says on which, since its port may be 0.
///
/// # Errors
/// [`ListenError`].
pub async fn listen(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) -> Result<SocketAddr, ListenError> {
    let (listener, bound) = bind(address, "--admin-address").await?;
    let exposition = Arc::new(CachedExposition::new(metrics));
    tokio::spawn(http_server::serve(listener, move |path| {
        let (health, exposition) = (Arc::clone(&health), Arc::clone(&exposition));
        async move {
            match path.as_str() {
                "/metrics" => Some((StatusCode::OK, OPENMETRICS, exposition.text().await)),
                path => health.answer(path),
            }
        }
    }));
    Ok(bound)
}

/// The same without `/metrics`.
///
/// # Errors
/// [`ListenError`].
pub async fn listen_for_probes(address: SocketAddr, health: Arc<Health>) -> Result<SocketAddr, ListenError> {
    let (listener, bound) = bind(address, "--probe-address").await?;
    tokio::spawn(http_server::serve(listener, move |path| std::future::ready(health.answer(&path))));
    Ok(bound)
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, flag, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
