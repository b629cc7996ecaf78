//! The admin listener: `/health`, `/ready`, `/metrics`. Loopback unless an operator says otherwise.

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use server_core::Core;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What the admin listener shows.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) core: Arc<Core>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) metrics: PrometheusHandle,
}

pub(crate) fn router(watched: Watched) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .with_state(watched)
}

/// The process lives and answers.
async fn health() -> &'static str {
    "ok\n"
}

/// Whether the node takes work.
async fn ready(State(watched): State<Watched>) -> impl IntoResponse {
    if watched.core.health().poisoned {
        (StatusCode::SERVICE_UNAVAILABLE, "a store failed; this node must restart\n")
    } else if watched.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn render(State(watched): State<Watched>) -> String {
    let ahead = watched.core.health().stamps_ahead;
    metrics::gauge!("waxwing_stamps_ahead_seconds").set(ahead.0 as f64 / 1_000.0);
    watched.metrics.render()
}
