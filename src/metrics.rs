//! What the gateway counts.
//!
//! Domain-free on purpose: a metrics module that imports the things it measures ends up above everything and below
//! everything. Whoever has something to count holds an [`Arc`](std::sync::Arc) of [`Metrics`] and counts. Names
//! follow the conventions of Prometheus and OpenMetrics: base units, the unit in the name, `_total` for counters.
//! The names are stable: dashboards and alerts depend on them.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

/// Media type of [`Metrics::encode`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the transfer duration buckets, in seconds. A small incremental takes under a second and a full copy of
/// a large volume days; what matters is the order of magnitude, so each bucket is about three times the one before.
const DURATION_BUCKETS: [f64; 12] =
    [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_600.0, 14_400.0, 86_400.0];

/// The ways in which a reload ends. Alerts look for the rise of a counter, so each is there from the start.
const RELOAD_OUTCOMES: [&str; 2] = ["applied", "failed"];

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new snapshot is visible.
    Committed,
    /// The same content was there already.
    Present,
    /// Refused or broken for a reason on the sender's side.
    Refused,
    /// The sender went away or fell silent.
    Cut,
    /// Failed for a reason on the gateway's side.
    Failed,
}

impl Outcome {
    /// The label's value; stable.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Present => "present",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::Failed => "failed",
        }
    }
}

/// Why a connection did not get to its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The TLS handshake failed or took too long.
    Handshake,
    /// It was silent while others waited for its place.
    Evicted,
}

impl Lost {
    const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Evicted => "evicted",
        }
    }
}

/// What is read again while the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Certificate,
    /// Who vouches for the certificates of clients.
    Clients,
    /// Tokens and ticket keys.
    Secrets,
    Plugins,
}

impl Subject {
    /// Its name in metrics and answers; stable.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Clients => "client-authorities",
            Self::Secrets => "secrets",
            Self::Plugins => "plugins",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabel {
    subject: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabel {
    method: &'static str,
    status: u16,
}

/// The counters of one process. Cheap to update from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Transfers that run now.
    pub transfers_running: Gauge,
    /// Bytes of snapshot bodies received.
    pub received_bytes: Counter,
    /// Bytes of snapshots sent; counted by the HTTP layer.
    pub sent_bytes: Counter,
    /// Heads of images that were not as their newest snapshot and were reverted: a transfer failed, or somebody wrote.
    pub heads_reverted: Counter,
    /// Unfinished uploads that were given up because nobody worked on them.
    pub uploads_expired: Counter,
    /// Connections that are open now, on the listener that serves transfers.
    pub connections_open: Gauge,
    transfers: Family<OutcomeLabel, Counter>,
    transfer_duration: Histogram,
    connections_lost: Family<LostLabel, Counter>,
    responses: Family<ResponseLabel, Counter>,
    reloads: Family<ReloadLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counters at zero; the process starts now.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            transfers_running: Gauge::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            heads_reverted: Counter::default(),
            uploads_expired: Counter::default(),
            connections_open: Gauge::default(),
            transfers: Family::default(),
            transfer_duration: Histogram::new(DURATION_BUCKETS),
            connections_lost: Family::default(),
            responses: Family::default(),
            reloads: Family::default(),
        };
        metrics.register_transfers();
        metrics.register_connections();
        metrics.register_process();
        metrics
    }

    fn register_transfers(&self) {
        self.add("rsnap_transfers_running", "Transfers that run now", None, self.transfers_running.clone());
        self.add("rsnap_received", "Snapshot bytes received", Some(Unit::Bytes), self.received_bytes.clone());
        self.add("rsnap_sent", "Snapshot bytes sent", Some(Unit::Bytes), self.sent_bytes.clone());
        self.add("rsnap_transfers", "Transfers that ended, by outcome", None, self.transfers.clone());
        let help = "Heads of images that were not as their newest snapshot and were reverted";
        self.add("rsnap_heads_reverted", help, None, self.heads_reverted.clone());
        let help = "Unfinished uploads that were given up because nobody worked on them";
        self.add("rsnap_uploads_expired", help, None, self.uploads_expired.clone());
        let duration = self.transfer_duration.clone();
        self.add("rsnap_transfer_duration", "Time from admission to outcome", Some(Unit::Seconds), duration);
    }

    fn register_connections(&self) {
        self.add("rsnap_connections_open", "Connections open now", None, self.connections_open.clone());
        let lost = self.connections_lost.clone();
        self.add("rsnap_connections_lost", "Connections that ended before a request, by reason", None, lost);
        self.add("rsnap_http_responses", "Responses, by method and status", None, self.responses.clone());
    }

    fn register_process(&self) {
        let help = "Certificates and secrets that were read again, by outcome; a failure leaves the old ones in use";
        self.add("rsnap_reloads", help, None, self.reloads.clone());
        for subject in [Subject::Certificate, Subject::Clients, Subject::Secrets, Subject::Plugins] {
            for outcome in RELOAD_OUTCOMES {
                drop(self.reloads.get_or_create(&ReloadLabel { subject: subject.label(), outcome }));
            }
        }
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        self.add("process_start_time_seconds", "Start of the process since the Unix epoch", None, start);
        self.add("rsnap_build", "The running build", None, Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    fn add(&self, name: &str, help: &str, unit: Option<Unit>, metric: impl Metric) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, metric),
            None => registry.register(name, help, metric),
        }
    }

    /// Adds a gauge whose value is asked for at each scrape. `name` without the `rsnap_` before it, such as
    /// `buffers_in_use`.
    pub fn sample(&self, name: &str, help: &str, read: impl Fn() -> i64 + Send + Sync + 'static) {
        let sampled = Sampled { name: format!("rsnap_{name}"), help: format!("{help}."), read: Box::new(read) };
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(sampled));
    }

    /// Adds a total that somebody else counts. `name` without the `rsnap_` before it and the `_total` after it.
    pub fn count(&self, name: &str, help: &str, total: Counter) {
        self.add(&format!("rsnap_{name}"), help, None, total);
    }

    /// Adds a family of values that are asked for at each scrape. `name` as for [`Metrics::sample`], without `_total`.
    pub fn family(
        &self,
        name: &str,
        help: &str,
        nature: Nature,
        read: impl Fn() -> Vec<Point> + Send + Sync + 'static,
    ) {
        let family =
            SampledFamily { name: format!("rsnap_{name}"), help: format!("{help}."), nature, read: Box::new(read) };
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(family));
    }

    /// Counts a transfer that ended, `duration` after its admission.
    pub fn transfer_ended(&self, outcome: Outcome, duration: Duration) {
        self.transfers.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
        self.transfer_duration.observe(duration.as_secs_f64());
    }

    /// Counts a connection that ended before its first request.
    pub fn connection_lost(&self, reason: Lost) {
        self.connections_lost.get_or_create(&LostLabel { reason: reason.label() }).inc();
    }

    /// Counts a response. `method` is one of a fixed set: a stranger's word would be a new time series each.
    pub fn responded(&self, method: &'static str, status: u16) {
        self.responses.get_or_create(&ResponseLabel { method, status }).inc();
    }

    /// Counts that something was read again: taken into use, or not.
    pub fn reloaded(&self, subject: Subject, taken: bool) {
        let [applied, failed] = RELOAD_OUTCOMES;
        let outcome = if taken { applied } else { failed };
        self.reloads.get_or_create(&ReloadLabel { subject: subject.label(), outcome }).inc();
    }

    /// Everything in the OpenMetrics text format, see [`MEDIA_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String fails only when a metric's own encoding does.
        if text::encode(&mut text, &registry).is_err() {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// A gauge that is read when it is asked for.
struct Sampled {
    name: String,
    help: String,
    read: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl fmt::Debug for Sampled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sampled").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metric = encoder.encode_descriptor(&self.name, &self.help, None, MetricType::Gauge)?;
        ConstGauge::new((self.read)()).encode(metric)
    }
}

/// What the values of a family do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// They only grow.
    Counter,
    Gauge,
}

/// One value of a family. The labels' values are few and chosen by the operator, never by a stranger.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// A family that is read when it is asked for.
struct SampledFamily {
    name: String,
    help: String,
    nature: Nature,
    read: Box<dyn Fn() -> Vec<Point> + Send + Sync>,
}

impl fmt::Debug for SampledFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SampledFamily").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for SampledFamily {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.nature {
            Nature::Counter => MetricType::Counter,
            Nature::Gauge => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(&self.name, &self.help, None, kind)?;
        for Point { labels, value } in (self.read)() {
            let point = family.encode_family(&labels)?;
            match self.nature {
                Nature::Counter => ConstCounter::new(value).encode(point)?,
                Nature::Gauge => ConstGauge::new(value).encode(point)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_what_dashboards_expect() {
        let metrics = Metrics::new();
        metrics.transfers_running.inc();
        metrics.received_bytes.inc_by(4096);
        metrics.heads_reverted.inc();
        metrics.transfer_ended(Outcome::Committed, Duration::from_secs(2));
        metrics.connection_lost(Lost::Evicted);
        metrics.responded("PUT", 201);
        metrics.reloaded(Subject::Certificate, false);
        metrics.sample("buffers_in_use", "Buffers that hold data now", || 5);
        let point = |name: &str| Point { labels: vec![("plugin", name.to_owned())], value: 1.5 };
        metrics.family("guest_seconds", "Time", Nature::Counter, move || vec![point("a"), point("b")]);
        let text = metrics.encode();
        for line in [
            "rsnap_transfers_running 1\n",
            "rsnap_received_bytes_total 4096\n",
            "rsnap_sent_bytes_total 0\n",
            "rsnap_heads_reverted_total 1\n",
            "rsnap_transfers_total{outcome=\"committed\"} 1\n",
            "rsnap_transfer_duration_seconds_bucket{le=\"1.0\"} 0\n",
            "rsnap_transfer_duration_seconds_bucket{le=\"3.0\"} 1\n",
            "rsnap_connections_lost_total{reason=\"evicted\"} 1\n",
            "rsnap_http_responses_total{method=\"PUT\",status=\"201\"} 1\n",
            "rsnap_reloads_total{subject=\"certificate\",outcome=\"failed\"} 1\n",
            "rsnap_reloads_total{subject=\"secrets\",outcome=\"failed\"} 0\n",
            "rsnap_buffers_in_use 5\n",
            "rsnap_guest_seconds_total{plugin=\"b\"} 1.5\n",
            "rsnap_build_info{version=\"",
            "process_start_time_seconds 1",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
