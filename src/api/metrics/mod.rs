//! `/metrics`: what a monitor scrapes.
//!
//! Always true:
//! - What is told is read at that moment from what counts anyway; nothing on disk is
//!   looked at but how full it is, and the files of blocks, those once a minute at most.
//! - What asks for OpenMetrics gets that, everything else the older text.

mod archive;
mod beside;
mod disk;
mod mail;
mod node;
mod process;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::{Api, health};
use crate::metrics::{Exposition, HttpMeters, Route, StatusClass, Word};
use crate::warnings;

pub(super) use disk::DiskFigures;

/// The media type of OpenMetrics, as scrapers ask for it.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// The same, as it is answered.
const OPEN_METRICS_1: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The older text of Prometheus.
const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`.
pub(super) async fn get(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let mut told = Exposition::default();
    about(&mut told, &api);
    node::tell(&mut told, &api.node, api.pulse.read().last_stored);
    archive::tell(&mut told, &api.archive);
    disk::tell(&mut told, &api.archive, api.disk.now(&api.archive).await);
    mail::tell(&mut told, &api);
    beside::tell(&mut told, &api);
    http(&mut told, &api.meters);
    process::tell(&mut told, api.since);
    let (kind, text) = match asks_for_open_metrics(&headers) {
        true => (OPEN_METRICS_1, told.open_metrics()),
        false => (PLAIN_TEXT, told.plain_text()),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (headers, text).into_response()
}

/// Whether a scraper understands OpenMetrics; one that prefers the other text understands
/// this one too, and means the same by it.
fn asks_for_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.to_ascii_lowercase().contains(OPEN_METRICS)
    })
}

/// Counts an answer of any route.
pub(super) async fn count(
    State(meters): State<Arc<HttpMeters>>,
    request: Request,
    next: Next,
) -> Response {
    let route = Route::of(request.uri().path());
    let began = Instant::now();
    let response = next.run(request).await;
    let route = match (route, response.status()) {
        // The page's files stand at the root, beside which there is nothing.
        (Route::Explorer, StatusCode::NOT_FOUND) => Route::None,
        _ => route,
    };
    let status = StatusClass::of(response.status().as_u16());
    meters.answered(route, status, began.elapsed());
    response
}

fn about(told: &mut Exposition, api: &Api) {
    told.gauges(
        "gwa_build_info",
        "Which program this is.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1)],
    );
    let is_failing = health::trouble(api).is_some();
    told.gauge(
        "gwa_healthy",
        "1 where /health answers 200, 0 where it answers 503.",
        u64::from(!is_failing),
    );
    let (warnings, errors) = warnings::counted();
    told.counters(
        "gwa_log_events_total",
        "Warnings and errors logged.",
        [
            (vec![("level", "warn")], warnings),
            (vec![("level", "error")], errors),
        ],
    );
}

fn http(told: &mut Exposition, meters: &HttpMeters) {
    let answers = meters.answers();
    told.counters(
        "gwa_http_requests_total",
        "Requests answered over HTTP, by route and first digit of the status.",
        answers.map(|(route, status, count)| {
            let labels = vec![("route", route.word()), ("status", status.word())];
            (labels, count)
        }),
    );
    told.histograms(
        "gwa_http_request_duration_seconds",
        "Time until an answer over HTTP began.",
        meters
            .durations()
            .map(|(route, told)| (vec![("route", route.word())], told)),
    );
    told.counter(
        "gwa_gateway_blocks_total",
        "Blocks given one by one over HTTP.",
        meters.blocks.get(),
    );
    told.counter(
        "gwa_gateway_cars_total",
        "CARs begun over HTTP.",
        meters.cars.get(),
    );
    told.counter(
        "gwa_gateway_bytes_total",
        "Bytes of blocks and CARs given over HTTP.",
        meters.bytes.get(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_is_given_open_metrics_and_curl_the_older_text() {
        let asks = |accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            asks_for_open_metrics(&headers)
        };
        assert!(asks(Some(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        )));
        assert!(!asks(Some("*/*")));
        assert!(!asks(Some("text/plain;version=0.0.4")));
        assert!(!asks(None));
    }
}
