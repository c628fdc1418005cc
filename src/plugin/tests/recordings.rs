//! A recording of thousands of decisions, asked of another policy: exactly those that change are told, with their cost.

use std::io::BufReader;

use super::support::{context, copy, request, source};
use crate::plugin::kit::replay::{Change, Summary, replay};
use crate::plugin::{Config, Decision, PluginConfig, Plugins, PolicyRequest, RecordingConfig, TargetSnapshot};
use crate::quantity::Bytes;

const DECISIONS: u64 = 3000;

fn config(policy: &str, folder: &std::path::Path) -> Config {
    let file = folder.join("decisions.jsonl");
    let recording = Some(RecordingConfig { file, size: Bytes::mib(64) });
    Config { policy: PluginConfig::new(policy), recording, ..Config::default() }
}

fn stored(snapshot: TargetSnapshot, stored: u64, base: Option<&str>) -> TargetSnapshot {
    TargetSnapshot { stored, base: base.map(|base| base.parse().unwrap()), ..snapshot }
}

/// Decision number `number`. In most, the snapshot before the wanted one is the newest on the target, and `nearest-base`
/// and `strict-order` agree. In those of [`CHANGED`], they do not.
fn asked(number: u64) -> PolicyRequest {
    let chain = |names: &[&str]| names.iter().map(|name| source(name, Some(&format!("r-{name}")))).collect();
    let t1 = stored(copy("t1", "r-s1", "s1"), 4000, None);
    let t2 = stored(copy("t2", "r-s2", "s2"), 300, Some("t1"));
    let mut request = match number {
        // A gap: s2 was left out. A change of s2 and s3 would cost twice the usual 300.
        100 | 2000 => request(chain(&["s1", "s2x", "s3"]), vec![t1, t2]),
        // The target has gone on: s3 follows s1, and t2 is there.
        777 => request(chain(&["s1", "s3"]), vec![t1, t2]),
        // Nothing in common, so the source's tree is compared with that of t2: nobody knows what differs.
        1234 => request(chain(&["s9"]), vec![t1, t2]),
        // No change was ever stored, so nobody knows what one costs.
        2999 => request(chain(&["s1", "s2x", "s3"]), vec![t1]),
        number if number % 2 == 0 => request(chain(&["s1", "s2", "s3"]), vec![t1, t2]),
        _ => request(chain(&["s1"]), Vec::new()),
    };
    request.volume = format!("v{number}").parse().unwrap();
    request
}

/// By hand: the decision's number, what `nearest-base` decided and what it cost, what `strict-order` would cost.
const CHANGED: [(u64, &str, Option<u64>, Option<u64>); 5] = [
    (100, "t1", Some(600), Some(0)),
    (777, "t1", Some(300), Some(0)),
    (1234, "t2", None, Some(0)),
    (2000, "t1", Some(600), Some(0)),
    (2999, "t1", None, Some(0)),
];

async fn record(folder: &std::path::Path) {
    let plugins = Plugins::load(&config("nearest-base", folder), context()).await.unwrap();
    for number in 0..DECISIONS {
        plugins.policy.now().decide(&asked(number)).await.unwrap();
        // The queue is bounded, and the test may be faster than the disk.
        while plugins.state.lock().await.recorder.as_ref().unwrap().waiting() > 100 {
            tokio::task::yield_now().await;
        }
    }
}

async fn replayed(folder: &std::path::Path) -> (Summary, Vec<Change>) {
    let config = Config { policy: PluginConfig::new("strict-order"), ..Config::default() };
    let policy = Plugins::load(&config, context()).await.unwrap().policy.now();
    let file = std::fs::File::open(folder.join("decisions.jsonl")).unwrap();
    let mut changes = Vec::new();
    let tell = |change: &Change| {
        changes.push(change.clone());
        Ok(())
    };
    let summary = replay(&policy, &mut BufReader::new(file), tell).await.unwrap();
    (summary, changes)
}

fn words(decision: Option<&Decision>) -> String {
    match decision {
        Some(Decision::Incremental(base)) => base.to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_tells_exactly_what_would_change_and_its_cost() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path()).await;
    let path = folder.path().join("decisions.jsonl");
    let torn = std::fs::read_to_string(&path).unwrap() + "{\"version\":1,\"time\":\"2026";
    std::fs::write(&path, torn).unwrap();
    let (summary, changes) = replayed(folder.path()).await;
    let found: Vec<_> = changes
        .iter()
        .map(|change| {
            (change.volume.clone(), words(change.before.decision.as_ref()), change.before.bytes, change.after.bytes)
        })
        .collect();
    let expected = CHANGED.map(|(number, before, cost, after)| (format!("v{number}"), before.to_owned(), cost, after));
    assert_eq!(found, expected);
    assert!(changes.iter().all(|change| change.after.decision == Some(Decision::Refused)), "{changes:#?}");
    assert_eq!(changes[0].line, 101);
    assert!(changes[0].after.reason.contains("send that first"), "{}", changes[0].after.reason);

    // Of the even ones three are in the table, of the odd ones two.
    let same = 1497 * 300 + 1498 * 4096;
    let expected = Summary {
        decisions: DECISIONS,
        changed: 5,
        unreadable: 1,
        bytes_before: same + 600 + 300 + 600,
        bytes_after: same,
        unknown: 2,
    };
    assert_eq!(summary, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_recorded_too_and_a_recording_can_be_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = Plugins::load(&config("hostile-policy", folder.path()), context()).await.unwrap();
    plugins.policy.now().decide(&super::policies::harm("trap")).await.unwrap_err();
    let without = Config { recording: None, ..config("hostile-policy", folder.path()) };
    plugins.reload(&without).await.unwrap();
    plugins.policy.now().decide(&super::policies::harm("none")).await.unwrap();
    drop(plugins);
    let text = std::fs::read_to_string(folder.path().join("decisions.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("it gave up") && !text.contains("\"plan\""), "{text}");
}
