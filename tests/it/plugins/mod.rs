//! Plugins in a whole gateway: what a configuration changes, and what hostile ones cannot.

mod beside;
mod commands;
mod lies;
mod registry;
mod reload;
mod replay;
mod thousand;

use crate::support::{Gateway, Image, Options, Upload};

fn path(volume: &str, snapshot: &str) -> String {
    format!("/v1/volumes/{volume}/snapshots/{snapshot}")
}

/// A plan request for the second snapshot of a chain of two. Hostile policies do the harm that `source_volume` names.
fn plan(gateway: &Gateway, source_volume: &str) -> crate::support::Answer {
    let chain = [("s1", 65_536), ("s2", 65_536)].map(|(id, size)| serde_json::json!({ "id": id, "size": size }));
    let body = serde_json::json!({ "source_volume": source_volume, "wanted": "s2", "chain": chain });
    let headers = [("Content-Type", "application/json".to_owned())];
    gateway.client().request("POST", &(path("v", "t2") + "/plan"), &headers, body.to_string().as_bytes())
}

fn put(gateway: &Gateway, volume: &str, snapshot: &str, body: &[u8]) -> crate::support::Answer {
    let headers = vec![("rsnap-source-volume", "sv".to_owned()), ("rsnap-source-snapshot", "s1".to_owned())];
    gateway.client().put(&Upload { path: path(volume, snapshot), headers, body, ..Upload::default() })
}

/// The admin listener's page: writer, policy, resolver.
fn plugins(gateway: &Gateway) -> Vec<serde_json::Value> {
    serde_json::from_str(&gateway.admin("/plugins").1).unwrap()
}

fn with_policy(policy: &str, extra: &str) -> Gateway {
    Gateway::start_with(&Options { policy: Some(policy.to_owned()), extra: extra.to_owned(), ..Options::default() })
}

/// The writer's time is short only where it is meant to run out.
fn with_writer(component: &str, settings: &str) -> Gateway {
    let time = if settings.contains("loop") { "500ms" } else { "60s" };
    let table = format!(
        "component = \"{component}\"\nstores = [\"main\"]\nmemory = \"16MiB\"\ncall_timeout = \"{time}\"\n{settings}"
    );
    Gateway::start_with(&Options { writer: Some(table), ..Options::default() })
}

/// Shows 3: loaded by configuration alone, a policy of ten lines changes the plan.
#[test]
fn a_policy_of_ten_lines_changes_the_plan() {
    for (policy, action) in [("nearest-base", "incremental"), ("ten-line-policy", "full")] {
        let gateway = with_policy(policy, "");
        put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
        let answer = plan(&gateway, "sv").expect(200).json();
        assert_eq!((&answer["action"], &answer["policy"]), (&action.into(), &policy.into()), "{answer}");
    }
}

#[test]
fn a_writer_that_takes_chunks_stores_the_same_bytes() {
    let gateway = with_writer("chunk-writer", "");
    let mut image = Image::random(5_000_123, 2);
    image.bytes[1 << 20..3 << 20].fill(0);
    put(&gateway, "v", "t1", &image.bytes).expect(201);
    assert!(gateway.client().get(&path("v", "t1")).expect(200).body == image.bytes);
}

#[test]
fn a_hostile_writer_fails_one_transfer_and_the_next_is_stored() {
    for harm in ["loop", "trap with image", "other image", "other store", "twice", "loop in write", "hoard"] {
        let gateway = with_writer("hostile-writer", &format!("settings = {{ harm = \"{harm}\" }}"));
        let image = Image::random(12 << 20, 3);
        assert_eq!(put(&gateway, "v", "bad", &image.bytes).expect(500).problem(), "plugin-failed", "{harm}");
        put(&gateway, "v", "good", &image.bytes).expect(201);
        assert!(gateway.client().get(&path("v", "good")).expect(200).body == image.bytes, "after {harm}");
        let chain = gateway.client().chain("v");
        assert_eq!(chain["snapshots"].as_array().unwrap().len(), 1, "{harm}: {chain}");
    }
}

#[test]
fn a_plugin_that_cannot_be_loaded_stops_the_start_with_a_remedy() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rsnap"))
        .args(["serve", "--config"])
        .arg(broken_configuration().path().join("rsnap.toml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("the policy plugin nowhere cannot be loaded") && text.contains("cargo xtask build"),
        "{text}"
    );
}

fn broken_configuration() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display();
    let text = format!(
        "[gateway]\ndata = \"{data}\"\n[listen]\naddress = \"127.0.0.1:0\"\n[plugins.policy]\ncomponent = \"nowhere\"\n"
    );
    std::fs::write(directory.path().join("rsnap.toml"), text).unwrap();
    directory
}
