//! Chain policies that do harm: each harm ends one call, in words, and the next call is served.

use super::support::{IMPATIENT, config, failure, load_policy, policy, request, source};
use crate::plugin::policy::ComponentPolicy;
use crate::plugin::{Decision, PluginError, Policy, PolicyRequest};
use crate::quantity::Seconds;

/// The hostile policy with a limit of time that runs out.
async fn impatient(limit: Seconds) -> ComponentPolicy {
    let mut config = config("hostile-policy", "");
    config.call_timeout = limit;
    load_policy(&config).await
}

/// A loop pauses or not, as the machine has time for it.
fn without_pauses(words: &str) -> &str {
    words.split_once(" (and paused").map_or(words, |(words, _)| words)
}

pub(super) fn harm(kind: &str) -> PolicyRequest {
    PolicyRequest { source_volume: Some(kind.to_owned()), ..request(vec![source("s1", None)], Vec::new()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_harm_fails_one_call_and_the_next_is_served() {
    let (patient, impatient) = (policy("hostile-policy", "").await, impatient(IMPATIENT).await);
    let expected = [
        ("loop", "it ran longer than its limit of 1s"),
        ("loop in host calls", "it ran longer than its limit of 1s"),
        ("memory", "it wanted more memory than its limit of 16MiB"),
        ("trap", "it gave up (a panic, or `unreachable`)"),
        ("recursion", "it ran out of stack (a recursion without end?)"),
        ("long reason", "the reason for its plan is longer than 4096 bytes"),
        ("no reason", "it gives no reason for its plan"),
        ("chains twice", "it takes chains a second time, outside of decide, or without saying so before"),
        ("impossible base", "it names an impossible base: a snapshot id starts with a letter or a digit, not with '.'"),
    ];
    for (kind, words) in expected {
        let hostile = if kind.starts_with("loop") { &impatient } else { &patient };
        assert_eq!(without_pauses(&failure(hostile.decide(&harm(kind)).await)), words, "{kind}");
        let good = patient.decide(&harm("none")).await.unwrap();
        assert_eq!(good.reason, "no harm done", "after {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_not_taken_over() {
    let loader = super::support::loader(super::support::context());
    let mut config = config("hostile-policy", "");
    config.memory = crate::quantity::Bytes::mib(64);
    let (guest, _) = loader.component(&config).await.unwrap();
    let hostile = ComponentPolicy(guest);
    for kind in ["huge reason", "huge line"] {
        let words = failure(hostile.decide(&harm(kind)).await);
        assert_eq!(words, "it handed over more than 1MiB in one call", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_no_failure() {
    let hostile = policy("hostile-policy", "").await;
    assert_eq!(hostile.decide(&harm("flood")).await.unwrap().reason, "no harm done");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_log_cannot_be_forged_by_a_reason() {
    let hostile = policy("hostile-policy", "").await;
    assert_eq!(hostile.decide(&harm("forged lines")).await.unwrap().reason, "fine\\nERROR the disk is on fire");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer_and_not_a_failure() {
    let hostile = policy("hostile-policy", "").await;
    let answer = hostile.decide(&harm("refusal")).await;
    assert!(matches!(answer, Err(PluginError::Refused { detail, .. }) if detail == "not today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_ten_lines_changes_the_plan() {
    let (source, target) = (vec![source("s1", None), source("s2", None)], vec![super::support::copy("t1", "r1", "s1")]);
    let request = request(source, target);
    let shipped = policy("nearest-base", "").await.decide(&request).await.unwrap();
    assert_eq!(shipped.decision, Decision::Incremental("t1".parse().unwrap()));
    let own = policy("ten-line-policy", "").await.decide(&request).await.unwrap();
    assert_eq!((own.decision, own.reason.as_str()), (Decision::Full, "house rule: every snapshot of v1 stands alone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_do_not_keep_others_waiting() {
    let hostile = std::sync::Arc::new(impatient(Seconds::new(5)).await);
    let patient = policy("hostile-policy", "").await;
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let hostile = std::sync::Arc::clone(&hostile);
            tokio::spawn(async move { failure(hostile.decide(&harm("loop")).await) })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(patient.decide(&harm("none")).await.unwrap().reason, "no harm done");
    assert!(loops.iter().all(|running| !running.is_finished()), "the call had to wait for the loops");
    for ended in loops {
        assert_eq!(without_pauses(&ended.await.unwrap()), "it ran longer than its limit of 5s");
    }
}
