//! Shows 5, with a gateway's own recording: what another policy would have decided, and what that costs.

use std::process::Command;

use super::{path, plugins, put};
use crate::support::{Gateway, Image, Options, binary, components, wait_for};

const SIZE: usize = 65_536;

fn replay(policy: &str, recording: &std::path::Path, extra: &[&str]) -> String {
    let output = Command::new(binary())
        .args(["plugin", "replay", policy])
        .arg(recording)
        .args(extra)
        .env("RSNAP_PLUGIN_PATH", components("plugins"))
        .env("XDG_CACHE_HOME", components("plugins").join("../tmp"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ask(gateway: &Gateway, volume: &str, source: &[&str]) {
    let chain: Vec<_> = source.iter().map(|id| serde_json::json!({ "id": id, "size": SIZE })).collect();
    let body = serde_json::json!({ "source_volume": "sv", "wanted": source.last(), "chain": chain }).to_string();
    let headers = [("Content-Type", "application/json".to_owned())];
    gateway.client().request("POST", &(path(volume, "wanted") + "/plan"), &headers, body.as_bytes()).expect(200);
}

#[test]
fn what_a_gateway_recorded_is_asked_of_another_policy() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("decisions.jsonl");
    let extra = format!("[plugins.recording]\nfile = \"{}\"\n", recording.display());
    let gateway = Gateway::start_with(&Options { extra, ..Options::default() });
    // One decision for the transfer itself: a full copy, whatever the policy.
    put(&gateway, "v", "t1", &Image::random(SIZE, 1).bytes).expect(201);
    for number in 0..40 {
        match number {
            // Only here the source has a snapshot that the target has, so only here a change is enough.
            7 | 31 => ask(&gateway, "v", &["s1", "s2"]),
            _ => ask(&gateway, &format!("v{number}"), &["s1", "s2"]),
        }
    }
    let lines = || std::fs::read_to_string(&recording).unwrap_or_default().lines().count();
    wait_for("the recording", || lines() == 41);
    assert_eq!(plugins(&gateway)[1]["calls"], 41);

    assert!(replay("nearest-base", &recording, &[]).starts_with("0 of 41 decisions would change"));
    let text = replay("full-only", &recording, &["--json"]);
    let found: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second, summary] = found.as_slice() else { panic!("{text}") };
    for (change, line) in [(first, 9), (second, 33)] {
        assert_eq!((change["line"].as_u64(), change["volume"].as_str()), (Some(line), Some("v")), "{change}");
        assert_eq!(change["before"]["decision"], serde_json::json!({ "incremental": "t1" }));
        // No change was ever stored, so nobody knows what one costs; a full copy costs what the first one did.
        assert_eq!((&change["before"]["bytes"], &change["after"]["bytes"]), (&().into(), &SIZE.into()));
        assert_eq!(change["after"]["decision"], "full");
    }
    assert_eq!((summary["decisions"].as_u64(), summary["changed"].as_u64()), (Some(41), Some(2)), "{summary}");
    assert_eq!(summary["unknown"], 2);
}
