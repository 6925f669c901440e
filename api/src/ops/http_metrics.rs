//! How long requests take, by route.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::exposition::{Exposition, Kind};
use crate::server::App;

/// Upper bounds in seconds.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// Requests counted by route, method and status code. Routes are those of the router and methods
/// those of the list below, so that no client can add series at will: some hundreds at most, of 120
/// bytes each.
#[derive(Default)]
pub(crate) struct HttpMetrics {
    series: Mutex<BTreeMap<Series, Durations>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    route: String,
    method: &'static str,
    code: u16,
}

#[derive(Default)]
struct Durations {
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl HttpMetrics {
    fn observe(&self, series: Series, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = all.entry(series).or_default();
        durations.counts[bucket] += 1;
        durations.sum += seconds;
    }

    pub(crate) fn add(&self, out: &mut Exposition) {
        let help = "Time from a request's head to its answer's head.";
        let mut family = out.family("flowtap_http_request_duration_seconds", Kind::Histogram, help);
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for (series, durations) in all.iter() {
            let code = series.code.to_string();
            let labels = [
                ("route", series.route.as_str()),
                ("method", series.method),
                ("code", &code),
            ];
            family.histogram(&labels, &BOUNDS, &durations.counts, durations.sum);
        }
    }
}

/// The middleware that observes.
pub(crate) async fn observe(
    State(app): State<std::sync::Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let begin = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let method = method_name(request.method());
    let response = next.run(request).await;
    let code = response.status().as_u16();
    app.http_metrics
        .observe(Series { route, method, code }, begin.elapsed());
    response
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
