//! Components, stores and configurations for the tests.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::buffer::BufferPool;
use crate::image::{ImageStore, MemoryStore};
use crate::plugin::bindings::policy::ChainPolicy;
use crate::plugin::bindings::writer::BackendWriter;
use crate::plugin::load::Loader;
use crate::plugin::policy::ComponentPolicy;
use crate::plugin::writer::ComponentWriter;
use crate::plugin::{
    Context, PluginConfig, PluginError, PolicyRequest, SourceSnapshot, TargetSnapshot, TransferDescription,
};
use crate::quantity::{Bytes, Seconds};

/// The build's target directory, in which test programs lie three levels deep.
pub(in crate::plugin) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_path_buf()
}

/// Folders with components.
pub(super) fn path() -> Vec<PathBuf> {
    let folders = vec![target().join("plugins"), target().join("fixtures")];
    for folder in &folders {
        assert!(folder.is_dir(), "{} is missing: run `cargo xtask build` first", folder.display());
    }
    folders
}

/// Two stores, `main` and `secret`, and compiled code kept between test runs.
pub(super) fn context() -> Context {
    let store = || Arc::new(MemoryStore::new()) as Arc<dyn ImageStore>;
    let stores = ["main", "secret"].map(|name| (name.parse().unwrap(), store()));
    Context {
        stores: HashMap::from(stores),
        pool: BufferPool::new(16),
        depth: 4,
        cache: Some(target().join("tests-plugin-cache")),
        path: path(),
        pulled: None,
        keys: None,
    }
}

/// How long a guest may run that is meant to be cut off: short, because a test waits for all of it.
pub(super) const IMPATIENT: Seconds = Seconds::new(1);

/// A component with a small memory and its settings. Its time is long: guests of other tests that loop share the cores
/// and the slow lane with it, and only a test about time may fail by time.
pub(super) fn config(component: &str, settings: &str) -> PluginConfig {
    let mut config = PluginConfig::new(component);
    config.settings = toml::from_str(settings).unwrap();
    config.memory = Bytes::mib(16);
    config.call_timeout = Seconds::new(60);
    config
}

pub(super) fn writer_config(component: &str, settings: &str) -> PluginConfig {
    let mut config = config(component, settings);
    config.stores = vec!["main".parse().unwrap()];
    config
}

pub(super) fn loader(context: Context) -> Loader {
    Loader::start(context, 64 << 20).unwrap()
}

pub(super) async fn policy(component: &str, settings: &str) -> ComponentPolicy {
    load_policy(&config(component, settings)).await
}

pub(super) async fn load_policy(config: &PluginConfig) -> ComponentPolicy {
    let loaded = loader(context()).component::<ChainPolicy>(config).await;
    ComponentPolicy(loaded.unwrap_or_else(|error| panic!("{error}")).0)
}

pub(super) async fn writer(context: Context, component: &str, settings: &str) -> ComponentWriter {
    let mut config = writer_config(component, settings);
    if settings.contains("loop") {
        config.call_timeout = IMPATIENT;
    }
    let loaded = loader(context).component::<BackendWriter>(&config).await;
    ComponentWriter(loaded.unwrap_or_else(|error| panic!("{error}")).0)
}

/// A full transfer of 4 MiB to volume `v1`; `id` is also the snapshot's.
pub(super) fn transfer(id: &str) -> TransferDescription {
    TransferDescription {
        id: id.parse().unwrap(),
        volume: "v1".parse().unwrap(),
        snapshot: id.parse().unwrap(),
        size: 4 << 20,
        base: None,
        upload: None,
    }
}

pub(in crate::plugin) fn source(id: &str, root: Option<&str>) -> SourceSnapshot {
    SourceSnapshot { id: id.to_owned(), size: 4096, root: root.map(str::to_owned) }
}

/// A committed copy of the source's snapshot `of` of volume `sv`.
pub(in crate::plugin) fn copy(id: &str, root: &str, of: &str) -> TargetSnapshot {
    TargetSnapshot {
        id: id.parse().unwrap(),
        size: 4096,
        root: root.to_owned(),
        source_snapshot: Some(of.to_owned()),
        source_volume: Some("sv".to_owned()),
        created: 0,
        stored: 0,
        base: None,
    }
}

/// The last of `source` is wanted as `wanted` on the target.
pub(in crate::plugin) fn request(source: Vec<SourceSnapshot>, target: Vec<TargetSnapshot>) -> PolicyRequest {
    PolicyRequest {
        volume: "v1".parse().unwrap(),
        snapshot: "wanted".parse().unwrap(),
        source_volume: Some("sv".to_owned()),
        wanted: source.last().unwrap().clone(),
        source,
        target,
    }
}

/// What the operator reads when the plugin itself is at fault.
pub(super) fn failure<T>(result: Result<T, PluginError>) -> String {
    match result {
        Err(PluginError::Failed { detail, .. }) => detail,
        Err(other) => panic!("not the plugin's failure: {other}"),
        Ok(_) => panic!("it did not fail"),
    }
}
