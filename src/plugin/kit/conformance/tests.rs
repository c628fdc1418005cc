//! The suite notices each way of breaking the contract that it knows, and has nothing against the shipped plugins.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Findings, Outcome, policy, resolver, test, writer};
use crate::image::MemoryStore;
use crate::plugin::kit::Options;
use crate::plugin::tests::support::target;
use crate::quantity::{Bytes, Seconds};

fn component(name: &str) -> PathBuf {
    let folders = ["plugins", "fixtures"].map(|folder| target().join(folder).join(format!("{name}.wasm")));
    folders.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("{name}: run `cargo xtask build` first"))
}

async fn findings(name: &str, settings: &str) -> Findings {
    let mut options = Options {
        settings: toml::from_str(settings).unwrap(),
        // Enough for each question, and not for what the broken ones do.
        memory: Some(Bytes::mib(32)),
        call_timeout: Some(Seconds::new(60)),
        cache: Some(target().join("tests-plugin-cache")),
        ..Options::default()
    };
    options.stores.insert("main".parse().unwrap(), Arc::new(MemoryStore::new()));
    test(&component(name), &options, &["dc1".parse().unwrap()]).await.unwrap()
}

/// Breaks each rule in turn; the suite must say so, and say nothing of a plugin that breaks none.
async fn breaks_each(fixture: &str, rules: Vec<&'static str>) {
    let good = findings(fixture, "").await;
    assert!(good.is_good(), "{good}");
    for rule in rules {
        let found = findings(fixture, &format!("breaks = \"{rule}\"")).await;
        assert!(found.broken().any(|broken| broken == rule), "{fixture} breaks {rule}, and the suite says:\n{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_for_policies_can_be_broken() {
    breaks_each("broken-policy", policy::RULES.iter().map(|rule| rule.name).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_for_resolvers_can_be_broken() {
    breaks_each("broken-resolver", resolver::RULES.iter().map(|rule| rule.name).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_for_writers_can_be_broken() {
    breaks_each("broken-writer", writer::RULES.iter().map(|rule| rule.name).collect()).await;
}

/// Those in `plugins/` that a test of the integration suite holds against a real server.
const WITH_A_SERVER: [&str; 2] = ["etcd", "keystone"];

/// The plugins that are shipped, by the folder that they are built in.
fn shipped() -> BTreeSet<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/Cargo.toml")).unwrap();
    let workspace: toml::Table = toml::from_str(&text).unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().iter();
    members.map(|member| member.as_str().unwrap().to_owned()).filter(|name| name != "sdk").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn shipped_plugins_keep_all_rules() {
    let sites =
        "[sites.dc1]\nkeystone = \"https://k.example/v3\"\nregion = \"R1\"\ngateway = \"https://g.example:8443\"";
    let keeps = "source_keep = 7\ntarget_keep = 14\ntarget_days = 30";
    let plugins = [
        ("nearest-base", ""),
        ("full-only", ""),
        ("strict-order", ""),
        ("strict-order", "from_oldest = true\nbegin_anew = true"),
        ("retention", keeps),
        ("static", sites),
        ("image", ""),
    ];
    let tried = plugins.iter().map(|(name, _)| *name).chain(WITH_A_SERVER).map(str::to_owned);
    assert_eq!(tried.collect::<BTreeSet<_>>(), shipped());
    for (name, settings) in plugins {
        let found = findings(name, settings).await;
        assert!(found.verdicts.iter().all(|verdict| verdict.outcome == Outcome::Kept), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_told_in_words() {
    let text = findings("broken-policy", "breaks = \"base-on-target\"").await.to_string();
    assert!(text.contains("NO  base-on-target"), "{text}");
    assert!(
        text.contains("asked for a snapshot after a common one: it proposes the base \"somewhere-else\""),
        "{text}"
    );
    assert!(text.ends_with("bad: 1 of 8 rules broken"), "{text}");
}
