//! `GET /metrics`: what operators' machinery collects, in Prometheus' text form; names no user. `docs/metrics.md` has a row for each.
//!
//! Counting is an addition to a counter found beforehand; the node's own figures are read when somebody asks.

use crate::{
    api::Api,
    figures::Figures,
    meter::{CLASSES, Meter},
    problem::{Code, Problem},
    request::Answered,
    service::GoodbyeReason,
};
use axum::{extract::State, response::IntoResponse};
use http::{HeaderValue, Method, header};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};
use std::{array, fmt, sync::Arc};

/// Upper bounds of how long answers take, seconds: from a read in memory to the longest wait for a quorum.
const TOOK_BOUNDS_S: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Reasons that a connection is closed for.
const REASONS: [GoodbyeReason; 7] = [
    GoodbyeReason::Drain,
    GoodbyeReason::TokenExpired,
    GoodbyeReason::Replaced,
    GoodbyeReason::Revoked,
    GoodbyeReason::Slow,
    GoodbyeReason::Shutdown,
    GoodbyeReason::Isolated,
];

/// Labels that are known when the program is built, but for a route's class: no client can make up a new one.
type Labels = Vec<(&'static str, &'static str)>;
type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// The counters of one API. They start at zero with the process.
pub(crate) struct Metrics {
    registry: Registry,
    figures: Arc<Mutex<(Figures, u64)>>,
    requests: Family<Labels, Counter>,
    took_s: Durations,
    unrouted: Meter,
    refusals: [Counter; Code::ALL.len()],
    goodbyes: [Counter; REASONS.len()],
    pub(crate) frames_in: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) delivered: Counter,
    pub(crate) conflated: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let figures = Arc::new(Mutex::new((Figures::default(), 0)));
        registry.register_collector(Box::new(NodeFigures(figures.clone())));
        let (requests, refusals, goodbyes) =
            (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default(), Family::default());
        let took_s = Durations::new_with_constructor(|| Histogram::new(TOOK_BOUNDS_S));
        registry.register("rollcall_http_requests", "Answers by route, method and class of status", requests.clone());
        let help = "From the request's head to the answer's head, by route and method, seconds";
        registry.register("rollcall_http_request_duration_seconds", help, took_s.clone());
        registry.register(
            "rollcall_refusals",
            "Refused requests and frames by the code of the problem",
            refusals.clone(),
        );
        registry.register("rollcall_goodbyes", "Connections closed by this node, by reason", goodbyes.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let frames_in = counter("rollcall_websocket_frames_received", "Text and binary frames from clients");
        let frames_out = counter("rollcall_websocket_frames_sent", "Text frames to clients");
        let delivered = counter("rollcall_presences_delivered", "Changed presences written to connections");
        let conflated =
            counter("rollcall_presences_conflated", "Changed presences replaced by newer ones while they waited");
        let code = |at: usize| refusals.get_or_create_owned(&vec![("code", Code::ALL[at].name())]);
        let reason = |at: usize| goodbyes.get_or_create_owned(&vec![("reason", REASONS[at].name())]);
        Self {
            unrouted: meter(&requests, &took_s, "unrouted", "any"),
            refusals: array::from_fn(code),
            goodbyes: array::from_fn(reason),
            registry,
            figures,
            requests,
            took_s,
            frames_in,
            frames_out,
            delivered,
            conflated,
        }
    }
}

fn meter(requests: &Family<Labels, Counter>, took_s: &Durations, route: &'static str, method: &'static str) -> Meter {
    let labels = vec![("route", route), ("method", method)];
    let answers = CLASSES.map(|class| {
        let mut labels = labels.clone();
        labels.push(("class", class));
        requests.get_or_create_owned(&labels)
    });
    Meter::new(answers, took_s.get_or_create_owned(&labels))
}

impl Metrics {
    /// The counters of a route.
    pub(crate) fn route(&self, path: &'static str, method: &Method) -> Meter {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "any",
        };
        meter(&self.requests, &self.took_s, path, method)
    }

    /// The counters of requests that no route takes.
    pub(crate) fn unrouted(&self) -> &Meter {
        &self.unrouted
    }

    /// A request or frame was refused.
    pub(crate) fn refused(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|c| *c == code) {
            self.refusals[at].inc();
        }
    }

    /// A connection is closed.
    pub(crate) fn goodbye(&self, reason: GoodbyeReason) {
        if let Some(at) = REASONS.iter().position(|r| *r == reason) {
            self.goodbyes[at].inc();
        }
    }
}

/// The node's figures and the number of open connections, as read last.
#[derive(Debug)]
struct NodeFigures(Arc<Mutex<(Figures, u64)>>);

impl Collector for NodeFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (figures, connections) = self.0.lock().clone();
        let mut put = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let count = |n: u64| ConstCounter::new(n);
        let gauge = |n: u64| ConstGauge::new(n);
        put("rollcall_uptime_seconds", "How long the node runs", &gauge(figures.uptime_s))?;
        put("rollcall_connections", "Open WebSockets and event streams", &gauge(connections))?;
        put("rollcall_sessions", "Live sessions of the users whose home this node is", &gauge(figures.sessions))?;
        put("rollcall_user_actors", "Actors of users on this node", &gauge(figures.user_actors))?;
        put("rollcall_partitions_led", "Partitions that this node leads", &gauge(figures.partitions_led))?;
        put(
            "rollcall_partitions_held",
            "Partitions of which this node keeps a replica",
            &gauge(figures.partitions_held),
        )?;
        put("rollcall_watches", "Watches of the connections here", &gauge(figures.watches))?;
        put("rollcall_proposals", "Commands proposed to the partitions' groups", &count(figures.proposals))?;
        put("rollcall_commits", "Proposed commands that were committed and applied", &count(figures.commits))?;
        if let Some(bytes) = figures.rss_bytes {
            put("rollcall_rss_bytes", "Resident memory of the process", &gauge(bytes))?;
        }
        let help = "Frames sent by the homes of this node, by the node that watches";
        let kind = prometheus_client::metrics::MetricType::Counter;
        let mut frames = encoder.encode_descriptor("rollcall_frames_sent", help, None, kind)?;
        for (node, sent) in &figures.frames_sent {
            count(*sent).encode(frames.encode_family(&[("node", node.as_str())])?)?;
        }
        let build = [("version", env!("CARGO_PKG_VERSION")), ("node", figures.node.as_str())];
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut info =
            encoder.encode_descriptor("rollcall_build_info", "The program and the node; always 1", None, kind)?;
        gauge(1).encode(info.encode_family(&build)?)
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(api): State<Api>) -> Answered {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let figures = api.service().figures().await;
    let metrics = api.metrics();
    *metrics.figures.lock() = (figures, api.options().connections.open());
    let mut text = String::new();
    prometheus_text::encode(&mut text, &metrics.registry).map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::new(Code::Internal, "internal error")
    })?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}
