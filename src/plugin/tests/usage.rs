//! What each plugin uses is there to be read, with its limits.

use super::support::{context, copy, request, source};
use crate::metrics::Metrics;
use crate::plugin::{Config, Decision, Plugins};

/// The values of one plugin's metrics, by name.
fn value(text: &str, name: &str, kind: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("rsnap_plugin_{name}{{")) && line.contains(kind));
    let line = line.unwrap_or_else(|| panic!("no {name} of {kind} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_used_is_counted_beside_its_limits() {
    let (plugins, metrics) = (Plugins::load(&Config::default(), context()).await.unwrap(), Metrics::new());
    plugins.measure(&metrics);
    let asked = request(vec![source("s1", Some("r1")), source("s2", Some("r2"))], vec![copy("t1", "r1", "s1")]);
    let plan = plugins.policy.now().decide(&asked).await.unwrap();
    let Decision::Incremental(base) = &plan.decision else { panic!("{plan}") };
    let text = metrics.encode();
    let of = |name: &str| value(&text, name, "kind=\"policy\"");
    assert_eq!(of("handed_over_bytes_total"), (plan.reason.len() + base.as_str().len()) as f64);
    assert_eq!((of("calls_total"), of("traps_total"), of("instances")), (1.0, 0.0, 0.0));
    // Of no instance that is alive, and at least a page of the largest one.
    assert_eq!(of("memory_bytes"), 0.0);
    assert!(of("memory_peak_bytes") >= 65_536.0 && of("memory_peak_bytes") <= of("memory_limit_bytes"));
    assert!(of("guest_seconds_total") > 0.0 && of("guest_seconds_total") < of("call_limit_seconds"));
    assert_eq!((of("instances_limit"), of("handed_over_limit_bytes")), (42.0, f64::from(1 << 20)));
    assert_eq!((of("storage_calls_limit"), of("requests_limit")), (1000.0, 100.0));
    assert_eq!((of("host_seconds_total"), of("host_limit_seconds"), of("retired")), (0.0, 60.0, 0.0));
}
