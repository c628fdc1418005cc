//! What plugins do and use, as metrics. The names are stable: dashboards and alerts depend on them.

use super::shared::{PluginInfo, PluginLimits};
use crate::metrics::{Metrics, Nature, Point};

/// A value of each plugin; `None` where it has none.
type Value = fn(&PluginInfo) -> Option<f64>;

const COUNTERS: [(&str, &str, Value); 8] = [
    ("plugin_calls", "Calls of plugins", |info| Some(info.usage.calls as f64)),
    ("plugin_failures", "Calls of plugins that ended with an error of any kind", |info| {
        Some(info.usage.failures as f64)
    }),
    ("plugin_traps", "Calls of plugins that failed by the plugin's own fault", |info| Some(info.usage.traps as f64)),
    ("plugin_call_seconds", "Time from the beginning of calls of plugins to their end", |info| {
        Some(info.usage.call_seconds)
    }),
    ("plugin_guest_seconds", "Time of plugins on a core", |info| Some(info.usage.guest_seconds)),
    ("plugin_host_seconds", "Time that calls of plugins waited for the host's work", |info| {
        Some(info.usage.host_seconds)
    }),
    ("plugin_paused_seconds", "Time that plugins were made to pause for using more than their share", |info| {
        Some(info.usage.paused_seconds)
    }),
    (
        "plugin_handed_over_bytes",
        "Bytes of what plugins answered, and of what they told the host in their calls",
        |info| Some(info.usage.handed_over_bytes as f64),
    ),
];

const GAUGES: [(&str, &str, Value); 11] = [
    ("plugin_retired", "Whether a plugin is retired, because it crashed again and again", |info| {
        Some(f64::from(u8::from(info.retired.is_some())))
    }),
    ("plugin_instances", "Instances of plugins that are alive now", |info| Some(info.usage.instances as f64)),
    ("plugin_memory_bytes", "Memory of all instances that are alive now", |info| Some(info.usage.memory_bytes as f64)),
    ("plugin_memory_peak_bytes", "Memory of the largest instance since the plugin was loaded", |info| {
        Some(info.usage.memory_peak_bytes as f64)
    }),
    ("plugin_instances_limit", "Instances that a plugin may have at once", |info| {
        limit(info, |limits| limits.instances as f64)
    }),
    ("plugin_memory_limit_bytes", "Memory that an instance may have", |info| {
        limit(info, |limits| limits.memory_bytes as f64)
    }),
    ("plugin_call_limit_seconds", "Time of its own code that a call of a plugin may take", |info| {
        limit(info, |limits| limits.call_seconds)
    }),
    ("plugin_host_limit_seconds", "Time that the host may work for a call of a plugin", |info| {
        limit(info, |limits| limits.host_seconds)
    }),
    (
        "plugin_handed_over_limit_bytes",
        "Bytes that a plugin may hand over in one answer or one call to the host",
        |info| limit(info, |limits| limits.handed_over_bytes as f64),
    ),
    ("plugin_storage_calls_limit", "Calls to the storage that a plugin may make in one call", |info| {
        limit(info, |limits| f64::from(limits.storage_calls))
    }),
    ("plugin_requests_limit", "Requests to servers that a plugin may send in one call", |info| {
        limit(info, |limits| f64::from(limits.requests))
    }),
];

fn limit(info: &PluginInfo, value: fn(&PluginLimits) -> f64) -> Option<f64> {
    info.limits.as_ref().map(value)
}

/// Adds the families of what `plugins` answers at each scrape.
pub(super) fn register(metrics: &Metrics, plugins: impl Fn() -> Vec<PluginInfo> + Clone + Send + Sync + 'static) {
    let families = COUNTERS.iter().map(|family| (family, Nature::Counter));
    for ((name, help, value), nature) in families.chain(GAUGES.iter().map(|family| (family, Nature::Gauge))) {
        let plugins = plugins.clone();
        let read = move || plugins().iter().filter_map(|info| point(info, *value)).collect();
        metrics.family(name, help, nature, read);
    }
    let (hits, builds) = (plugins.clone(), plugins);
    let read = move || hits().iter().flat_map(limit_hits).collect();
    metrics.family("plugin_limit_hits", "How often plugins ran into a limit, by limit", Nature::Counter, read);
    let read = move || builds().iter().map(build).collect();
    metrics.family("plugin_loaded", "The plugins that are loaded", Nature::Gauge, read);
}

fn labels(info: &PluginInfo) -> Vec<(&'static str, String)> {
    vec![("kind", info.identity.kind.to_string()), ("plugin", info.identity.name.clone())]
}

fn point(info: &PluginInfo, value: Value) -> Option<Point> {
    Some(Point { labels: labels(info), value: value(info)? })
}

fn limit_hits(info: &PluginInfo) -> Vec<Point> {
    let hit = |(limit, hits): (&String, &u64)| {
        let mut labels = labels(info);
        labels.push(("limit", limit.clone()));
        Point { labels, value: *hits as f64 }
    };
    info.usage.limit_hits.iter().map(hit).collect()
}

fn build(info: &PluginInfo) -> Point {
    let mut labels = labels(info);
    labels.push(("sha256", info.identity.sha256.clone().unwrap_or_default()));
    labels.push(("interface", info.identity.interface.clone().unwrap_or_default()));
    Point { labels, value: 1.0 }
}
