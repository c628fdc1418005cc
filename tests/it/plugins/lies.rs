//! Plugins that lie to a whole gateway: what they say is held against what is there before anybody relies on it.

use super::{path, plan, put, with_policy, with_writer};
use crate::support::{Gateway, Image, Options};

/// A writer cannot say that bytes are durable, because the host flushes; it can give the image back and have stored
/// nothing, or something else.
#[test]
fn a_writer_that_keeps_other_bytes_is_ended_and_nothing_is_committed() {
    let lies = [
        ("none", "it leaves out"),
        ("zeroes for data", "where it was given data"),
        ("another place", "it leaves out"),
        ("another's bytes", "it writes other bytes at"),
    ];
    for (lie, words) in lies {
        let gateway = with_writer("hostile-writer", &format!("settings = {{ harm = \"{lie}\" }}"));
        let image = Image::random(3 << 20, 7);
        let answer = put(&gateway, "v", "t1", &image.bytes).expect(500);
        assert_eq!(answer.problem(), "plugin-failed", "{lie}");
        let why = gateway.admin("/plugins").1;
        assert!(why.contains(words), "{lie}: {words:?} is not in {why}");
        assert_eq!(gateway.client().chain("v")["snapshots"], serde_json::json!([]), "{lie}");
        put(&gateway, "v", "good", &image.bytes).expect(201);
        assert!(gateway.client().get(&path("v", "good")).expect(200).body == image.bytes, "after {lie}");
    }
}

#[test]
fn a_policy_that_takes_a_snapshot_for_present_is_overruled() {
    let gateway = with_policy("hostile-policy", "");
    put(&gateway, "v", "t1", &Image::random(65_536, 1).bytes).expect(201);
    for (lie, words) in [("lie: present", "there is no snapshot t2 here"), ("lie: base", "not in the target's chain")] {
        let answer = plan(&gateway, lie).expect(200).json();
        assert_eq!(answer["action"], "full", "{lie}: {answer}");
        assert!(answer["reason"].as_str().unwrap().contains(words), "{lie}: {answer}");
    }
    let there = plan(&gateway, "none").expect(200).json();
    assert_eq!(there["action"], "full", "{there}");
}

#[test]
fn a_resolver_that_points_to_a_forbidden_host_is_not_believed() {
    let hosts = [
        ("https://evil.example:8443", "plugins.allow_hosts"),
        ("https://169.254.169.254", "dc1"),
        ("http://good.example:8443", "dc1"),
    ];
    for (host, words) in hosts {
        let gateway = with_resolver(host);
        let answer = gateway.client().request("GET", "/v1/sites/dc1", &[], &[]).expect(500);
        assert_eq!(answer.problem(), "plugin-failed", "{host}");
        let why = gateway.admin("/plugins").1;
        assert!(why.contains("the gateway address of site dc1") && why.contains(words), "{host}: {why}");
    }
    let good = with_resolver("https://good.example:8443");
    let site = good.client().request("GET", "/v1/sites/dc1", &[], &[]).expect(200).json();
    assert_eq!(site["gateway"], "https://good.example:8443", "{site}");
}

fn with_resolver(address: &str) -> Gateway {
    let extra = format!(
        "[plugins.resolver]\ncomponent = \"hostile-resolver\"\n[plugins.resolver.settings]\nname = \"dc1\"\n\
         keystone = \"https://good.example/v3\"\ngateway = \"{address}\"\n\
         [plugins]\nallow_hosts = [\"good.example\"]\n"
    );
    Gateway::start_with(&Options { extra, ..Options::default() })
}
