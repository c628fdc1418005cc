//! Other plugins while the gateway runs.

use std::path::Path;

use super::support::{context, copy, failure, request, source, target, transfer};
use crate::plugin::{Change, Config, Decision, Destination, PluginConfig, PluginError, Plugins};

fn with_policy(policy: &str) -> Config {
    Config { policy: PluginConfig::new(policy), ..Config::default() }
}

async fn decision(plugins: &Plugins) -> Decision {
    let chain = vec![source("s1", Some("r1")), source("s2", Some("r2"))];
    plugins.policy.now().decide(&request(chain, vec![copy("t1", "r1", "s1")])).await.unwrap().decision
}

fn incremental() -> Decision {
    Decision::Incremental("t1".parse().unwrap())
}

async fn changes(plugins: &Plugins, config: &Config) -> Vec<Change> {
    plugins.reload(config).await.unwrap().into_iter().map(|reloaded| reloaded.change).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_loaded_and_the_rest_stays() {
    let plugins = Plugins::load(&Config::default(), context()).await.unwrap();
    assert_eq!(decision(&plugins).await, incremental());
    assert_eq!(changes(&plugins, &Config::default()).await, [Change::Kept; 3]);
    assert_eq!(changes(&plugins, &with_policy("full-only")).await, [Change::Kept, Change::Loaded, Change::Kept]);
    assert_eq!(decision(&plugins).await, Decision::Full);
    let info = plugins.info();
    assert_eq!((info[1].identity.name.as_str(), info[1].usage.calls), ("full-only", 1));
    let hosts = Config { allow_hosts: vec!["*.example".to_owned()], ..with_policy("full-only") };
    assert_eq!(changes(&plugins, &hosts).await, [Change::Kept, Change::Kept, Change::Loaded]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_noticed_and_the_counters_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.wasm");
    let put = |name: &str| std::fs::copy(target().join("plugins").join(name), &path).unwrap();
    put("nearest-base.wasm");
    let config = with_policy(path.to_str().unwrap());
    let plugins = Plugins::load(&config, context()).await.unwrap();
    assert_eq!(decision(&plugins).await, incremental());
    put("full-only.wasm");
    assert_eq!(changes(&plugins, &config).await, [Change::Kept, Change::Loaded, Change::Kept]);
    assert_eq!(decision(&plugins).await, Decision::Full);
    let info = &plugins.info()[1];
    assert_eq!(info.usage.calls, 2);
    let sha256 = info.identity.sha256.clone().unwrap();
    assert_eq!(sha256, sha256_of(&path));
}

fn sha256_of(path: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &std::fs::read(path).unwrap());
    crate::plugin::source::hex(digest.as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_leaves_everything_as_it_was() {
    let plugins = Plugins::load(&Config::default(), context()).await.unwrap();
    let mut other_writer = PluginConfig::new("chunk-writer");
    other_writer.stores = vec!["main".parse().unwrap()];
    let mut rejected = PluginConfig::new("nearest-base");
    rejected.settings = toml::from_str("colour = 1").unwrap();
    for (policy, words) in [(PluginConfig::new("nowhere"), "nowhere.wasm"), (rejected, "rejects its settings")] {
        let config = Config { writer: other_writer.clone(), policy, ..Config::default() };
        let error = plugins.reload(&config).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let names: Vec<_> = plugins.info().into_iter().map(|info| info.identity.name).collect();
    assert_eq!(names, ["image", "nearest-base", "static"]);
    assert_eq!(decision(&plugins).await, incremental());
    let stores = Config { writer: PluginConfig::new("image"), ..Config::default() };
    assert!(plugins.reload(&stores).await.unwrap_err().remedy.contains("restart"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_ends_on_the_version_that_it_began_with() {
    let chunks = |settings: &str| {
        let mut writer = PluginConfig::new("broken-writer");
        writer.stores = vec!["main".parse().unwrap()];
        writer.settings = toml::from_str(settings).unwrap();
        Config { writer, ..Config::default() }
    };
    let plugins = Plugins::load(&chunks(""), context()).await.unwrap();
    let Destination::Chunks(mut running) = plugins.writer.now().begin(&transfer("t1")).await.unwrap() else {
        panic!("not the path of chunks")
    };
    let data = |offset| crate::plugin::Piece::Data { offset, bytes: vec![1; 4096].into() };
    running.write(vec![data(0)]).await.unwrap();
    plugins.reload(&chunks("breaks = \"begins\"")).await.unwrap();
    let begun = plugins.writer.now().begin(&transfer("t2")).await;
    assert!(matches!(begun, Err(PluginError::Refused { .. })), "the new version takes nothing");
    assert_eq!(plugins.info()[0].usage.instances, 1, "the old one is still at work");
    running.write(vec![data(4096)]).await.unwrap();
    running.finish().await.unwrap().finish().await.unwrap();
    assert_eq!(plugins.info()[0].usage.instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn larger_instances_get_a_larger_pool() {
    let plugins = Plugins::load(&Config::default(), context()).await.unwrap();
    let mut config = with_policy("full-only");
    config.policy.memory = crate::quantity::Bytes::mib(256);
    assert_eq!(changes(&plugins, &config).await, [Change::Kept, Change::Loaded, Change::Kept]);
    assert_eq!(decision(&plugins).await, Decision::Full);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_crashes_again_and_again_is_retired_until_a_reload() {
    let plugins = Plugins::load(&with_policy("hostile-policy"), context()).await.unwrap();
    let ask = async |volume: &str, harm: &str| {
        let request = crate::plugin::PolicyRequest { volume: volume.parse().unwrap(), ..super::policies::harm(harm) };
        plugins.policy.now().decide(&request).await
    };
    for number in 0..10 {
        assert_eq!(plugins.fault(), None);
        failure(ask(&format!("v{}", number % 3), "trap").await);
    }
    let fault = plugins.fault().unwrap();
    assert!(fault.starts_with("the policy plugin hostile-policy: it is retired"), "{fault}");
    let refused = ask("v1", "none").await.unwrap_err();
    assert!(
        matches!(&refused, PluginError::Unavailable { detail, .. } if detail.contains("after a reload")),
        "{refused}"
    );
    assert_eq!(plugins.info()[1].usage.calls, 10, "a retired plugin is not called");
    plugins.reload(&with_policy("hostile-policy")).await.unwrap();
    assert_eq!(plugins.fault(), None);
    ask("v1", "none").await.unwrap();
}
