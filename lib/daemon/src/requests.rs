//! The durations of a daemon's HTTP requests, by method, route and status: a histogram that each
//! daemon's `metrics.rs` names.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Histogram, histogram};

use crate::families::MetricLabel;

/// The labels of these histograms.
pub const REQUEST_LABELS: &[MetricLabel] =
    &[MetricLabel::open("method"), MetricLabel::open("route"), MetricLabel::open("status")];

/// The histograms of one daemon's requests, each looked up once.
#[derive(Debug)]
pub struct Requests {
    name: &'static str,
    known: RwLock<BTreeMap<Key, Histogram>>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    method: &'static str,
    route: &'static str,
    status: u16,
}

impl Series {
    /// The addresses of its texts, as numbers are compared quickly. The same text at two addresses
    /// does no harm: both keys lead to the same histogram.
    fn key(self) -> Key {
        (self.route.as_ptr().addr(), self.route.len(), self.method.as_ptr().addr(), self.status)
    }
}

type Key = (usize, usize, usize, u16);

impl Requests {
    /// The histograms of the metric `name`.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, known: RwLock::default() }
    }

    /// The observer for `net::Routes`.
    #[must_use]
    pub fn observer(self) -> net::Observer {
        std::sync::Arc::new(move |method: &Method, route, status: StatusCode, time| {
            self.observe(Series { method: word(method), route, status: status.as_u16() }, time);
        })
    }

    fn observe(&self, series: Series, time: Duration) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(histogram) = known.get(&series.key()) {
            histogram.record(time);
            return;
        }
        drop(known);
        let Series { method, route, status } = series;
        let labels =
            [("method", method.into()), ("route", route.into()), ("status", status.to_string())];
        let histogram = histogram!(self.name, &labels);
        histogram.record(time);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(series.key(), histogram);
    }
}

/// Methods that clients invent must not become labels.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_a_client_invents_is_no_label() {
        for (method, expected) in [("GET", "GET"), ("PUT", "PUT"), ("BREW", "other")] {
            assert_eq!(word(&method.parse().unwrap()), expected);
        }
    }
}
