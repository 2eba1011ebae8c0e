//! The routes that every daemon serves besides `/v1`. They are open to all, as they reveal nothing
//! of files and jobs.

use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use net::{Access, Problem, Routes};

use crate::{Health, Metrics};

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/healthz` (the process answers), `/readyz` (200, or 503 with the reasons), `/metrics`.
pub fn routes<S: Clone + Send + Sync + 'static>(health: Health, metrics: Metrics) -> Routes<S> {
    let known = health.clone();
    let render = move || metrics.render(known.reasons().is_empty());
    Routes::new()
        .route("/healthz", Access::Public, get(async || "ok\n"))
        .route("/readyz", Access::Public, get(async move || readiness(&health)))
        .route(
            "/metrics",
            Access::Public,
            get(async move || ([(CONTENT_TYPE, METRICS_TYPE)], render())),
        )
}

fn readiness(health: &Health) -> Result<&'static str, Problem> {
    let reasons = health.reasons();
    if reasons.is_empty() {
        return Ok("ready\n");
    }
    Err(Problem::new(503, "not-ready", format!("not ready: {}", reasons.join("; "))).retry_after(1))
}
