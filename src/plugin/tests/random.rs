//! Random components in each of the three worlds: whatever they do, it ends within its limits and leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::support::{context, copy, loader, request, source, target, transfer, writer_config};
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::resolver::SiteResolver;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::load::Loader;
use crate::plugin::policy::ComponentPolicy;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::world::World;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{Destination, HostGrant, Kind, Piece, PluginConfig, PluginError, Policy, Resolver, Writer};

/// Components of each world.
const SEEDS: u32 = 60;

/// How often something ended how.
type Ends = BTreeMap<String, u32>;

/// The component number `seed`, as a stranger's file would be configured; the time is short because some loop.
fn config(kind: Kind, seed: u32) -> PluginConfig {
    let path = target().join("corpus").join(kind.world()).join(format!("{seed:04}.wasm"));
    assert!(path.exists(), "{} is missing: run `cargo xtask build` first", path.display());
    let mut config = writer_config(path.to_str().unwrap(), "");
    config.call_timeout = "300ms".parse().unwrap();
    config.http = vec![HostGrant::new("nowhere.invalid")];
    config
}

/// The words without what differs from one component to the next.
fn kind_of_end<T>(result: Result<T, PluginError>) -> String {
    let text = match result {
        Ok(_) => "answered".to_owned(),
        Err(PluginError::Failed { detail, .. }) => detail,
        Err(_) => "said no".to_owned(),
    };
    text.split([':', '(', '"']).next().unwrap_or_default().trim().to_owned()
}

/// Loads each component and gives those that can be loaded to `call`.
async fn each<W: World>(call: impl AsyncFn(super::super::call::Guest<W>) -> String) -> Ends {
    let mut context = context();
    context.cache = None;
    let loader = loader(context);
    let mut ends = Ends::new();
    for seed in 0..SEEDS {
        let end = one(&loader, &config(W::KIND, seed), &call).await;
        *ends.entry(end).or_default() += 1;
    }
    println!("{}: {ends:#?}", W::KIND);
    ends
}

async fn one<W: World>(
    loader: &Loader,
    config: &PluginConfig,
    call: impl AsyncFn(super::super::call::Guest<W>) -> String,
) -> String {
    let (guest, entry) = match loader.component::<W>(config).await {
        Ok(loaded) => loaded,
        Err(error) => return format!("not loaded: {}", error.fault.split([':', '(', '"']).next().unwrap_or_default()),
    };
    let end = call(guest).await;
    let usage = entry.account.usage();
    assert_eq!((usage.instances, usage.memory_bytes), (0, 0), "{end}");
    assert!(usage.memory_peak_bytes <= config.memory.0, "{end}");
    end
}

/// Neither all are refused nor all end in one way: the corpus reaches into the plugins' calls.
fn assert_ends_differ(ends: &Ends) {
    let loaded = ends.iter().filter(|(end, _)| !end.starts_with("not loaded")).count();
    assert!(ends.len() > 3 && loaded > 1, "{ends:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_policies_end_within_their_limits() {
    let ends = each::<ChainPolicy>(async |guest| {
        let asked = request(vec![source("s1", Some("r1")), source("s2", None)], vec![copy("t1", "r1", "s1")]);
        kind_of_end(ComponentPolicy(guest).decide(&asked).await)
    });
    assert_ends_differ(&ends.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_resolvers_end_within_their_limits() {
    let ends = each::<SiteResolver>(async |guest| {
        let allowed = crate::plugin::addresses::Allowed::new(&[]);
        kind_of_end(ComponentResolver { guest, allowed }.resolve(&"dc1".parse().unwrap()).await)
    });
    assert_ends_differ(&ends.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_writers_end_within_their_limits() {
    let ends = each::<BackendWriter>(async |guest| {
        let writer = Arc::new(ComponentWriter(guest));
        let located = kind_of_end(writer.locate(&"v1".parse().unwrap()).await);
        match writer.begin(&transfer("t1")).await {
            Ok(Destination::Chunks(mut chunks)) => {
                let piece = Piece::Data { offset: 0, bytes: vec![1; 4096].into() };
                format!("{located}, write: {}", kind_of_end(chunks.write(vec![piece]).await))
            }
            begun => format!("{located}, begin: {}", kind_of_end(begun.map(drop))),
        }
    });
    assert_ends_differ(&ends.await);
}
