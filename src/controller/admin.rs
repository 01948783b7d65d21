//! `/healthz`, `/readyz` and `/metrics`.

use super::metrics::Metrics;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::net::TcpListener;

/// The admin address is taken or not there.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} (--admin-address): {source}")]
pub struct ListenError {
    address: SocketAddr,
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

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::SeqCst) {
            STANDING_BY => (StatusCode::OK, "standing by\n"),
            READY => (StatusCode::OK, "leading\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        }
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
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { health.answer() }))
        .route("/metrics", get(move || async move { exposition(&metrics) }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the admin server ended");
        }
    });
    Ok(bound)
}

fn exposition(metrics: &Metrics) -> impl IntoResponse + use<> {
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, metrics.exposition())
}
