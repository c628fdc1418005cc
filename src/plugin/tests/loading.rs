//! Each plugin that must not be loaded: the start stops and says which plugin, what is wrong, and what to do.

use std::path::Path;

use super::support::{config, context, target, writer_config};
use crate::plugin::kit::Options;
use crate::plugin::kit::check::check;
use crate::plugin::{Config, Kind, LoadError, PluginConfig, Plugins};
use crate::quantity::Seconds;

async fn load(config: Config) -> LoadError {
    Plugins::load(&config, context()).await.unwrap_err()
}

async fn policy(policy: PluginConfig) -> LoadError {
    load(Config { policy, ..Config::default() }).await
}

fn component(folder: &Path, wat: &str) -> PluginConfig {
    let path = folder.join("own.wasm");
    std::fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
    PluginConfig::new(path.to_str().unwrap())
}

async fn policy_of(wat: &str) -> LoadError {
    let folder = tempfile::tempdir().unwrap();
    policy(component(folder.path(), wat)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_names_plugin_fault_and_remedy() {
    let error = policy(PluginConfig::new("nowhere")).await;
    assert_eq!((error.plugin.as_str(), error.kind), ("nowhere", Kind::Policy));
    assert!(error.fault.starts_with("there is no nowhere.wasm in "), "{}", error.fault);
    assert!(error.remedy.contains("cargo xtask build"), "{}", error.remedy);
    let text = error.to_string();
    assert!(text.starts_with("the policy plugin nowhere cannot be loaded: there is no nowhere.wasm"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_component_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.wasm");
    std::fs::write(&path, "hello").unwrap();
    let noise = policy(PluginConfig::new(path.to_str().unwrap())).await;
    assert_eq!(noise.fault, "the file is not WebAssembly");
    let module = policy_of("(module)").await;
    assert_eq!(module.fault, "the file is a core module, not a component");
    assert!(module.remedy.contains("rsnap plugin pack"));
    let missing = policy(PluginConfig::new(folder.path().join("no.wasm").to_str().unwrap())).await;
    assert!(missing.fault.contains("cannot be read"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.wasm");
    std::fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let error = policy(PluginConfig::new(path.to_str().unwrap())).await;
    assert!(error.fault.ends_with("is larger than 64 MiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_than_the_pinned_one_is_refused() {
    let path = target().join("plugins/nearest-base.wasm");
    let right = check(&path, None, Options::default()).await.sha256.unwrap();
    let mut pinned = PluginConfig::new("nearest-base");
    pinned.sha256 = Some(right.to_uppercase());
    assert!(Plugins::load(&Config { policy: pinned.clone(), ..Config::default() }, context()).await.is_ok());
    pinned.sha256 = Some("0".repeat(64));
    let error = policy(pinned).await;
    assert!(error.fault.contains(&right) && error.fault.ends_with(&format!("not {}", "0".repeat(64))), "{error}");
    assert!(error.remedy.contains("sha256"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_or_world_is_refused() {
    let version = policy_of("(component (instance $i) (export \"rsnap:plugin/policy@0.9.0\" (instance $i)))").await;
    assert_eq!(version.fault, "it was built for rsnap:plugin@0.9.0, this gateway speaks 0.1.2");
    let world = policy(PluginConfig::new("static")).await;
    assert_eq!(world.fault, "it is a resolver (world site-resolver), not a policy (world chain-policy)");
    assert_eq!(world.remedy, "name it under [plugins.resolver], or another component here");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_types_than_those_of_the_world_are_refused() {
    let empty = policy_of("(component (instance $i) (export \"rsnap:plugin/policy@0.1.0\" (instance $i)))").await;
    assert!(empty.fault.starts_with("it does not fit the world chain-policy: "), "{empty}");
    let import = "(component
        (import \"rsnap:plugin/clock@0.1.0\" (instance (export \"now\" (func (result u32)))))
        (instance $i) (export \"rsnap:plugin/policy@0.1.0\" (instance $i)))";
    let import = policy_of(import).await;
    assert!(import.fault.contains("rsnap:plugin/clock@0.1.0"), "{import}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_granted_is_refused() {
    let wasi = "(component (import \"wasi:cli/environment@0.2.0\" (instance))
        (instance $i) (export \"rsnap:plugin/policy@0.1.0\" (instance $i)))";
    let wasi = policy_of(wasi).await;
    assert_eq!(wasi.fault, "it imports wasi:cli/environment@0.2.0, which the world chain-policy does not give");
    assert!(wasi.remedy.contains("wasm32-unknown-unknown"));
    let none = load(Config { writer: PluginConfig::new("image"), ..Config::default() }).await;
    assert_eq!(none.fault, "it opens images, and no store is granted to it");
    assert_eq!(none.remedy, "grant some: plugins.writer.stores = [\"main\"]");
    let mut unknown = PluginConfig::new("image");
    unknown.stores = vec!["nowhere".parse().unwrap()];
    let unknown = load(Config { writer: unknown, ..Config::default() }).await;
    assert_eq!(unknown.fault, "the store nowhere is granted to it, and there is no such store");
    let other = load(Config { writer: writer_config("image", "store = \"secret\""), ..Config::default() }).await;
    assert_eq!(other.fault, "it names the store secret, which is not granted to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_judged_by_the_plugin() {
    let unknown = policy(config("nearest-base", "colour = 1")).await;
    assert_eq!(
        unknown.fault,
        "it rejects its settings: settings: unknown field `colour`, expected `rebase` at line 1 column 9"
    );
    assert_eq!(unknown.remedy, "change the table [plugins.policy.settings]");
    for component in ["image", "builtin:image"] {
        for settings in ["image = \"one\"", "image = \"{volume}{volume}\"", "snapshot = \"{volume}\"", "size = 1"] {
            let error = load(Config { writer: writer_config(component, settings), ..Config::default() }).await;
            assert_eq!(error.remedy, "change the table [plugins.writer.settings]", "{component} {settings}: {error}");
        }
    }
    let site = "sites.dc1 = { keystone = \"http://k\", region = \"r\", gateway = \"https://g\" }";
    let error = load(Config { resolver: config("static", site), ..Config::default() }).await;
    assert!(error.fault.contains("sites.dc1.keystone: \"http://k\" must be an address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_at_load_stops_the_start_and_not_the_gateway() {
    for (harm, words) in [("loop", "it ran longer than its limit of 200ms"), ("trap", "it gave up")] {
        let mut hostile = config("hostile-policy", &format!("harm = \"{harm}\"\nat_load = true"));
        hostile.call_timeout = Seconds(std::time::Duration::from_millis(200));
        let error = policy(hostile).await;
        assert!(error.fault.starts_with(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_what_a_start_would_say() {
    let good = check(&target().join("plugins/image.wasm"), None, Options::default()).await;
    assert!(good.is_good(), "{good}");
    assert_eq!((good.kind, good.interface.as_deref()), (Some(Kind::Writer), Some("0.1.2")));
    assert!(good.imports.contains(&"rsnap:plugin/image-store@0.1.2".to_owned()));
    assert!(good.to_string().ends_with("result     good"));
    let other = check(&target().join("plugins/static.wasm"), Some(Kind::Policy), Options::default()).await;
    assert!(other.problem.unwrap().fault.starts_with("it is a resolver"));
    let settings = toml::from_str("colour = 1").unwrap();
    let rejected = check(&target().join("plugins/image.wasm"), None, Options { settings, ..Options::default() }).await;
    assert!(rejected.to_string().contains("unknown field `colour`"), "{rejected}");
    assert!(!check(Path::new("/nowhere"), None, Options::default()).await.is_good());
}
