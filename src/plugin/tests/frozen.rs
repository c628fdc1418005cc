//! Plugins that were built for a version of the contract that does not change any more. They are built from a copy of that
//! version's files and use all of it; so whatever the contract becomes, they show that it is still kept.

use std::sync::Arc;

use bytes::Bytes;

use super::http::{self, Kept};
use super::keys::{Table, reading};
use super::support::{config, context, copy, loader, policy, request, source, target, transfer, writer, writer_config};
use crate::image::MemoryStore;
use crate::plugin::addresses::Allowed;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::kit::{Options, conformance};
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{Credential, Decision, Destination, Method, Piece, PluginError, Policy, Resolver, Writer};

#[tokio::test(flavor = "multi_thread")]
async fn frozen_plugins_keep_the_contract_of_today() {
    let plugins = [
        ("frozen-policy", ""),
        ("frozen-resolver", ""),
        ("frozen-writer", "path = \"image\""),
        ("frozen-writer", "path = \"chunks\""),
    ];
    for (name, settings) in plugins {
        let settings = toml::from_str(settings).unwrap();
        let cache = Some(target().join("tests-plugin-cache"));
        let mut options = Options { settings, cache, ..Options::default() };
        options.stores.insert("main".parse().unwrap(), Arc::new(MemoryStore::new()));
        let path = target().join("fixtures").join(format!("{name}.wasm"));
        let found = conformance::test(&path, &options, &["dc1".parse().unwrap()]).await.unwrap();
        assert!(found.verdicts.iter().all(|verdict| verdict.outcome == conformance::Outcome::Kept), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_frozen_policy_is_understood() {
    let request = request(vec![source("s1", Some("r1")), source("s2", None)], vec![copy("t1", "r1", "s1")]);
    let base = Decision::Incremental("t1".parse().unwrap());
    let decisions = [("present", Decision::Present), ("full", Decision::Full), ("incremental", base)];
    for (name, expected) in decisions.into_iter().chain([("refused", Decision::Refused)]) {
        let frozen = policy("frozen-policy", &format!("decision = \"{name}\"")).await;
        let plan = frozen.decide(&request).await.unwrap();
        assert_eq!(plan.decision, expected, "{name}");
        let told = "v1 wanted Some(\"sv\") \"s2\" 4096 None Some(\"\\\"s2\\\" 4096 None\") \
                    Some(\"t1 4096 r1 Some(\\\"s1\\\") Some(\\\"sv\\\") 0 0 None\")";
        assert_eq!(plan.reason, told, "{name}");
    }
    let answer = policy("frozen-policy", "decision = \"error\"").await.decide(&request).await;
    assert!(matches!(&answer, Err(PluginError::Refused { detail, .. }) if detail == "on purpose"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_frozen_resolver_is_understood() {
    for (settings, found) in [("", "Ok(true)"), ("site = \"dc2\"", "Ok(false)"), ("site = \"error\"", "Err")] {
        let (guest, _) = loader(context()).component(&config("frozen-resolver", settings)).await.unwrap();
        let resolver = ComponentResolver { guest, allowed: Allowed::new(&[]) };
        let answer = resolver.resolve(&"dc1".parse().unwrap()).await.map(|site| site.is_some());
        assert!(format!("{answer:?}").starts_with(found), "{settings}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_frozen_writer_is_understood() {
    let begin = async |path: &str| {
        let frozen = writer(context(), "frozen-writer", &format!("path = \"{path}\"")).await;
        frozen.begin(&transfer("t1")).await
    };
    assert!(matches!(begin("image").await, Ok(Destination::Image(_))));
    assert!(matches!(begin("refused").await, Err(PluginError::Refused { .. })));
    assert!(matches!(begin("unavailable").await, Err(PluginError::Unavailable { .. })));
    assert!(matches!(begin("other").await, Err(PluginError::Refused { detail, .. }) if detail == "on purpose"));
    let Ok(Destination::Chunks(mut chunks)) = begin("chunks").await else { panic!("not the path of chunks") };
    let data = |offset, byte| Piece::Data { offset, bytes: Bytes::from(vec![byte; 4096]) };
    let pieces = vec![data(0, 1), data(4096, 0), Piece::Zero { offset: 8192, length: 1 << 20 }];
    chunks.write(pieces).await.unwrap();
    chunks.finish().await.unwrap();
}

/// What is new in 0.1.1 for policies.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_policy_takes_the_chains() {
    let frozen = policy("frozen-chains", "").await;
    let request = request(vec![source("s1", Some("r1")), source("s2", None)], vec![copy("t1", "r1", "s1")]);
    let plan = frozen.decide(&request).await.unwrap();
    let lengths = "[2, 2, 2, 4294967295, 2, 2, 2, 2, 4294967295]";
    assert_eq!(plan.reason, format!("2 s1r1s2t1r1s1sv {lengths} [4096, 4096, 4096, 0, 0]"));
    let path = target().join("fixtures/frozen-chains.wasm");
    let found = conformance::test(&path, &Options::default(), &[]).await.unwrap();
    assert!(found.is_good(), "{found}");
}

/// What is new in 0.1.1 for writers and resolvers: a server is asked in each way that there is, and gets the chunks.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_asks_a_server() {
    let (kept, folder) = (Kept::default(), tempfile::tempdir().unwrap());
    let server = http::server(Arc::clone(&kept)).await;
    let all = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
    let mut grant = http::grant(&server, &all);
    let file = http::secret(folder.path(), "token", "b1");
    grant.credentials.insert("archive".to_owned(), Credential::Bearer { file });
    let mut config = writer_config("frozen-http", &format!("url = {:?}", server.url("")));
    config.http = vec![grant];
    let loaded = loader(context()).component::<BackendWriter>(&config).await;
    let writer = ComponentWriter(loaded.unwrap_or_else(|error| panic!("{error}")).0);
    let Ok(Destination::Chunks(mut chunks)) = writer.begin(&transfer("t1")).await else { panic!("no chunks") };
    chunks.write(vec![Piece::Data { offset: 0, bytes: Bytes::from(vec![7; 4096]) }]).await.unwrap();
    chunks.finish().await.unwrap();
    let kept = kept.lock().unwrap();
    let (headers, body) = &kept["/kept/0"];
    assert_eq!((headers["authorization"].as_bytes(), headers["x-own"].as_bytes()), (&b"Bearer b1"[..], &b"1"[..]));
    assert_eq!(body[..], [b"before: ".as_slice(), &[7; 4096]].concat());
}

/// What is new in 0.1.2 for resolvers.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_resolver_reads_keys() {
    let table = Table::of(&[("/sites/dc1", b"there")]);
    let resolver = reading(&table, "prefix = \"/sites/\"\nchecked = true").await.unwrap();
    let region = async |name: &str| resolver.resolve(&name.parse().unwrap()).await.unwrap().map(|site| site.region);
    assert_eq!((region("dc1").await.as_deref(), region("dc9").await), (Some("there"), None));
}

/// What a gateway of a later version does with a plugin of this one: the runtime links by the rules of semantic
/// versioning, so that old plugins need no host module of their own until the contract breaks.
#[test]
fn a_later_gateway_links_what_was_built_for_an_earlier_one() {
    let links = |offered: &str, wanted: &str, function: &str| {
        let engine = wasmtime::Engine::default();
        let mut linker = wasmtime::component::Linker::<()>::new(&engine);
        let mut clock = linker.instance(&format!("rsnap:plugin/clock@{offered}")).unwrap();
        clock.func_wrap("now", |_, (): ()| Ok((7_u64,))).unwrap();
        clock.func_wrap("resolution", |_, (): ()| Ok((1_u64,))).unwrap();
        let wat = format!(
            "(component (import \"rsnap:plugin/clock@{wanted}\" (instance (export \"{function}\" (func (result u64))))))"
        );
        let component = wasmtime::component::Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        linker.instantiate_pre(&component).is_ok()
    };
    assert!(links("0.1.0", "0.1.0", "now") && links("0.1.7", "0.1.0", "now"));
    assert!(!links("0.1.7", "0.1.0", "later"), "a function that nobody offers");
    assert!(!links("0.2.0", "0.1.0", "now"), "a version that breaks");
}
