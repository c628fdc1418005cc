//! Slow guests are no hostile ones: they are not made to wait for others' loops, and not blamed for their pauses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::policies::harm;
use super::support::{config, context, loader};
use crate::plugin::Policy;
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::load::Loader;
use crate::plugin::policy::ComponentPolicy;
use crate::quantity::Seconds;

async fn policy(loader: &Loader, limit: u64) -> Arc<ComponentPolicy> {
    let mut config = config("hostile-policy", "");
    config.call_timeout = Seconds::new(limit);
    Arc::new(ComponentPolicy(loader.component::<ChainPolicy>(&config).await.unwrap().0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_plugin_does_not_wait_for_the_loops_of_another() {
    let loader = loader(context());
    let (looping, slow) = (policy(&loader, 60).await, policy(&loader, 60).await);
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let looping = Arc::clone(&looping);
            tokio::spawn(async move { looping.decide(&harm("loop")).await.unwrap_err() })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    while looping.0.shared.account.usage().paused_seconds == 0.0 {
        assert!(Instant::now() < deadline, "the loops were never made to pause");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let plan = slow.decide(&harm("slow")).await.unwrap();
    assert!(plan.reason.starts_with("worked hard"), "{}", plan.reason);
    let usage = slow.0.shared.account.usage();
    assert!(usage.guest_seconds > 0.02, "it was not slow: {} s", usage.guest_seconds);
    assert_eq!(usage.paused_seconds, 0.0);
    assert!(loops.iter().all(|running| !running.is_finished()), "it had to wait for the loops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_plugin_is_not_slowed_down_however_often_it_answers() {
    let policy = policy(&loader(context()), 60).await;
    policy.0.shared.purse.pay(Duration::from_millis(500), Instant::now());
    let usage = || policy.0.shared.account.usage();
    while usage().guest_seconds < 1.5 {
        policy.decide(&harm("slow")).await.unwrap();
    }
    assert_eq!(usage().paused_seconds, 0.0, "after {} calls", usage().calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_for_the_debt_of_others_do_not_count_as_own_time() {
    let policy = policy(&loader(context()), 5).await;
    // A second is saved; the debt beyond it is a pause of more than five.
    policy.0.shared.purse.pay(Duration::from_millis(1_250), Instant::now());
    policy.decide(&harm("slow")).await.unwrap();
    assert!(policy.0.shared.account.usage().paused_seconds > 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_do_not_go_on_for_ever() {
    let policy = policy(&loader(context()), 1).await;
    policy.0.shared.purse.pay(Duration::from_secs(60), Instant::now());
    let error = policy.decide(&harm("slow")).await.unwrap_err().to_string();
    assert!(error.contains("limit of 1s (and paused for"), "{error}");
    assert_eq!(policy.0.shared.account.usage().limit_hits["time"], 1);
}
