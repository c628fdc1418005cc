//! `rsnap plugin list`: what a running gateway has loaded, by its admin listener.

use std::time::Duration;

use http::{Method, StatusCode};
use indicatif::BinaryBytes;

use super::admin::Admin;
use super::fault::Fault;
use crate::cli::args::PluginAdmin;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, table};
use crate::plugin::PluginInfo;

/// The listener is on this machine or near it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn list(args: &PluginAdmin, output: &Output) -> Result<Exit, Fault> {
    let admin = Admin::new(&args.admin);
    let plugins: Vec<PluginInfo> = admin.ask(Method::GET, "/plugins", &[StatusCode::OK], PATIENCE).await?;
    output.answer(&plugins, |plugins| words(plugins))?;
    Ok(Exit::Success)
}

fn words(plugins: &[PluginInfo]) -> String {
    let heads = [
        "KIND", "NAME", "CALLS", "FAILED", "GUEST", "HOST", "LONGEST", "RETURNED", "RUNNING", "MEMORY", "LARGEST",
        "LOADED", "SHA-256",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(plugins.iter().map(row));
    let failures = plugins.iter().filter_map(|plugin| {
        let failure = plugin.usage.last_failure.as_ref()?;
        Some(format!("\n{}: last failure {}: {}", plugin.identity.name, failure.time, failure.detail))
    });
    let retired =
        plugins.iter().filter_map(|plugin| Some(format!("\n{}: {}", plugin.identity.name, plugin.retired.as_ref()?)));
    format!("{}{}", table(&rows), failures.chain(retired).collect::<String>())
}

fn row(plugin: &PluginInfo) -> [String; 13] {
    let (identity, usage) = (&plugin.identity, &plugin.usage);
    let of = |limit: Option<String>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let limits = plugin.limits.as_ref();
    [
        identity.kind.to_string(),
        identity.name.clone(),
        usage.calls.to_string(),
        usage.failures.to_string(),
        seconds(usage.guest_seconds),
        seconds(usage.host_seconds),
        seconds(usage.longest_call_seconds),
        BinaryBytes(usage.handed_over_bytes).to_string(),
        format!("{}{}", usage.instances, of(limits.map(|limits| limits.instances.to_string()))),
        BinaryBytes(usage.memory_bytes).to_string(),
        format!(
            "{}{}",
            BinaryBytes(usage.memory_peak_bytes),
            of(limits.map(|limits| BinaryBytes(limits.memory_bytes).to_string()))
        ),
        identity.loaded.clone(),
        identity.sha256.as_deref().and_then(|sum| sum.get(..12)).unwrap_or("-").to_owned(),
    ]
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Failure, Identity, Kind, PluginLimits, Usage};

    #[test]
    fn plugins_are_a_table_with_their_failures_below() {
        let identity = Identity {
            name: "nearest-base".into(),
            kind: Kind::Policy,
            source: "p.wasm".into(),
            sha256: Some("0123456789abcdef".into()),
            interface: None,
            loaded: "2026-11-23T00:00:00Z".into(),
        };
        let last_failure = Some(Failure { time: "2026-11-23T01:00:00Z".into(), detail: "it gave up".into() });
        let usage =
            Usage { calls: 7, failures: 1, instances: 1, guest_seconds: 0.0125, last_failure, ..Usage::default() };
        let usage = Usage { handed_over_bytes: 2048, memory_bytes: 3 << 20, ..usage };
        let limits = PluginLimits {
            instances: 42,
            memory_bytes: 64 << 20,
            call_seconds: 5.0,
            host_seconds: 60.0,
            handed_over_bytes: 1 << 20,
            storage_calls: 1000,
            requests: 100,
        };
        let text =
            words(&[PluginInfo { identity, retired: Some("it is retired".into()), usage, limits: Some(limits) }]);
        let lines: Vec<_> = text.lines().collect();
        let row: Vec<_> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let times = ["policy", "nearest-base", "7", "1", "12.5 ms", "0.0 ms", "0.0 ms"];
        assert_eq!(row[..7], times);
        assert_eq!(row[7..11], ["2.00 KiB", "1 of 42", "3.00 MiB", "0 B of 64.00 MiB"]);
        let below = ["nearest-base: last failure 2026-11-23T01:00:00Z: it gave up", "nearest-base: it is retired"];
        assert_eq!(lines[2..], below);
    }
}
