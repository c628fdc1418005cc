//! `rsnap plugin list`: what a running gateway has loaded, by its admin listener.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use indicatif::BinaryBytes;
use tokio::net::TcpStream;

use super::fault::Fault;
use crate::cli::args::PluginList;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, table};
use crate::plugin::PluginInfo;

/// The listener is on this machine or near it.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_MAX: usize = 1 << 20;

pub(super) async fn list(args: &PluginList, output: &Output) -> Result<Exit, Fault> {
    let address = args.admin.trim_start_matches("http://").trim_end_matches('/');
    let body = match tokio::time::timeout(PATIENCE, fetch(address)).await {
        Ok(answer) => answer.map_err(|text| unreachable(address, &text))?,
        Err(_) => return Err(unreachable(address, "it does not answer")),
    };
    let other = |fault| unreachable(address, &format!("its answer is not that of an rsnap gateway: {fault}"));
    let plugins: Vec<PluginInfo> = serde_json::from_slice(&body).map_err(other)?;
    output.answer(&plugins, |plugins| words(plugins))?;
    Ok(Exit::Success)
}

fn unreachable(address: &str, text: &str) -> Fault {
    let remedy = "Check that the gateway runs and give the address of its admin listener (admin.address) with --admin.";
    Fault::failed(format!("cannot ask the gateway at {address}: {text}"), remedy)
}

async fn fetch(address: &str) -> Result<Bytes, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let uri: Uri = format!("http://{address}/plugins").parse().map_err(|_| "that is no address".to_owned())?;
    let stream = TcpStream::connect(address).await.map_err(|error| words(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let driver = tokio::spawn(connection);
    let request = Request::get(uri.path()).header(header::HOST, address).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| words(&error))?).await.map_err(|error| words(&error))?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    Ok(body.to_bytes())
}

fn words(plugins: &[PluginInfo]) -> String {
    let heads =
        ["KIND", "NAME", "CALLS", "FAILED", "GUEST", "HOST", "LONGEST", "RUNNING", "LARGEST", "LOADED", "SHA-256"];
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

fn row(plugin: &PluginInfo) -> [String; 11] {
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
        format!("{}{}", usage.instances, of(limits.map(|limits| limits.instances.to_string()))),
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
        let limits = PluginLimits { instances: 42, memory_bytes: 64 << 20, call_seconds: 5.0, host_seconds: 60.0 };
        let text =
            words(&[PluginInfo { identity, retired: Some("it is retired".into()), usage, limits: Some(limits) }]);
        let lines: Vec<_> = text.lines().collect();
        let row: Vec<_> = lines[1].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let expected =
            ["policy", "nearest-base", "7", "1", "12.5 ms", "0.0 ms", "0.0 ms", "1 of 42", "0 B of 64.00 MiB"];
        assert_eq!(row[..9], expected);
        let below = ["nearest-base: last failure 2026-11-23T01:00:00Z: it gave up", "nearest-base: it is retired"];
        assert_eq!(lines[2..], below);
    }
}
