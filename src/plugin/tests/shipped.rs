//! What the shipped plugins decide, through the configuration as an operator would write it.

use super::support::{context, copy, policy, request, source, writer};
use crate::plugin::{Config, Decision, Destination, Plugins, Policy, PolicyRequest, Writer};

async fn decide(request: &PolicyRequest) -> (Decision, String) {
    let plan = policy("nearest-base", "").await.decide(request).await.unwrap();
    (plan.decision, plan.reason)
}

fn base(id: &str) -> Decision {
    Decision::Incremental(id.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nearest_base_takes_the_newest_common_snapshot() {
    let chain = || vec![source("s1", Some("r1")), source("s2", Some("r2")), source("s3", Some("r3"))];
    let (decision, reason) = decide(&request(chain(), Vec::new())).await;
    assert_eq!((decision, reason.as_str()), (Decision::Full, "the target has no snapshot of this volume yet"));
    let target = vec![copy("t1", "r1", "s1"), copy("t2", "r2", "s2")];
    let (decision, reason) = decide(&request(chain(), target)).await;
    assert_eq!(decision, base("t2"));
    assert_eq!(reason, "the change since s2 is enough: the target has the same content as t2");
    let other = vec![copy("t1", "r1", "s1"), copy("t2", "changed", "s2")];
    assert_eq!(decide(&request(chain(), other)).await.0, base("t1"));
    let none = vec![copy("t9", "r9", "s1")];
    let (decision, reason) = decide(&request(chain(), none)).await;
    assert_eq!(decision, Decision::Full);
    assert_eq!(reason, "no earlier snapshot of the source is on the target with the same content");
}

#[tokio::test(flavor = "multi_thread")]
async fn nearest_base_never_starts_from_the_wanted_or_a_later_snapshot() {
    let mut request = request(
        vec![source("s1", Some("r1")), source("s2", Some("r2")), source("s3", Some("r3"))],
        vec![copy("t1", "r1", "s1"), copy("t2", "r2", "s2"), copy("t3", "r3", "s3")],
    );
    request.wanted = request.source[1].clone();
    assert_eq!(decide(&request).await.0, base("t1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nearest_base_goes_by_identity_where_roots_are_unknown() {
    let chain = || vec![source("s1", None), source("s2", None)];
    let mut request = request(chain(), vec![copy("t1", "r1", "s1")]);
    assert_eq!(decide(&request).await.0, base("t1"));
    request.source_volume = Some("another".to_owned());
    assert_eq!(decide(&request).await.0, Decision::Full);
    request.source_volume = None;
    assert_eq!(decide(&request).await.0, base("t1"));
    request.source[0].size = 8192;
    assert_eq!(decide(&request).await.0, Decision::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn nearest_base_sees_what_is_there() {
    let there = vec![copy("wanted", "r1", "s1")];
    let (decision, reason) = decide(&request(vec![source("s1", Some("r1"))], there.clone())).await;
    assert_eq!((decision, reason.as_str()), (Decision::Present, "snapshot wanted is on the target already"));
    let (decision, reason) = decide(&request(vec![source("s1", Some("r2"))], there)).await;
    assert_eq!((decision, reason.as_str()), (Decision::Refused, "snapshot wanted is on the target with other content"));
}

async fn decided_by(name: &str, settings: &str, request: &PolicyRequest) -> Decision {
    policy(name, settings).await.decide(request).await.unwrap().decision
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_policies_decide_as_their_names_say() {
    let chain = || vec![source("s1", Some("r1")), source("s2", Some("r2")), source("s3", Some("r3"))];
    let gap = request(chain(), vec![copy("t1", "r1", "s1")]);
    let whole = request(chain(), vec![copy("t1", "r1", "s1"), copy("t2", "r2", "s2")]);
    assert_eq!(decided_by("full-only", "", &whole).await, Decision::Full);
    assert_eq!(decided_by("strict-order", "", &gap).await, Decision::Refused);
    assert_eq!(decided_by("strict-order", "", &whole).await, base("t2"));
    assert_eq!(decided_by("retention", "", &gap).await, base("t1"));
    assert_eq!(decided_by("retention", "source_keep = 3", &gap).await, Decision::Full);
    // Copies without a date are older than any number of days.
    assert_eq!(decided_by("retention", "target_days = 30", &whole).await, Decision::Full);
    for name in ["full-only", "strict-order", "retention"] {
        let there = request(chain(), vec![copy("wanted", "r3", "s3")]);
        assert_eq!(decided_by(name, "", &there).await, Decision::Present, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn image_names_images_and_snapshots_by_its_templates() {
    let settings = "image = \"v.{volume}\"\nsnapshot = \"s.{snapshot}\"";
    let writer = writer(context(), "image", settings).await;
    let place = writer.locate(&"v1".parse().unwrap()).await.unwrap();
    assert_eq!((place.store.as_str(), place.image.as_str()), ("main", "v.v1"));
    let record = commit(writer.begin(&super::support::transfer("t1")).await.unwrap()).await;
    assert_eq!((record.name.as_str(), record.size), ("s.t1", 4 << 20));
}

async fn commit(destination: Destination) -> crate::image::SnapshotRecord {
    let Destination::Image(mut ingest) = destination else { panic!("not the fast path") };
    ingest.write(4096, &[7; 8192]).await.unwrap();
    let done = ingest.finish().await.unwrap();
    let sealed = crate::image::Sealed {
        root: done.root,
        identity: crate::image::Identity::default(),
        created: std::time::SystemTime::now(),
    };
    done.staged.commit(done.durable, sealed).await.unwrap().record().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiled_in_writer_decides_as_the_component() {
    for component in ["image", "builtin:image"] {
        let mut config = Config::default();
        config.writer.component = component.to_owned();
        let plugins = Plugins::load(&config, context()).await.unwrap();
        let place = plugins.writer.now().locate(&"v1".parse().unwrap()).await.unwrap();
        assert_eq!((place.store.as_str(), place.image.as_str()), ("main", "volume-v1"));
        let record = commit(plugins.writer.now().begin(&super::support::transfer("t1")).await.unwrap()).await;
        assert_eq!(record.name.as_str(), "snapshot-t1", "{component}");
        let info = plugins.info();
        assert_eq!(info[0].identity.name, component);
        assert_eq!((info[0].usage.calls, info[0].usage.failures, info[0].usage.instances), (2, 0, 0));
        assert_eq!(
            (info[0].identity.sha256.is_some(), info[0].limits.is_some()),
            (component == "image", component == "image")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn static_answers_the_sites_of_its_table() {
    let text = "[resolver]\ncomponent = \"static\"\n[resolver.settings.sites.dc1]\nkeystone = \"https://k.example/v3\"\n\
                region = \"R1\"\ngateway = \"https://g.example:8443\"";
    let plugins = Plugins::load(&toml::from_str(text).unwrap(), context()).await.unwrap();
    let site = plugins.resolver.now().resolve(&"dc1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((site.keystone.as_str(), site.region.as_str()), ("https://k.example/v3", "R1"));
    assert_eq!(site.gateway, "https://g.example:8443");
    assert_eq!(plugins.resolver.now().resolve(&"dc9".parse().unwrap()).await.unwrap(), None);
}
