//! Plugins that read keys: what was granted is asked for, and nothing else. That etcd answers is tested with a real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::support::{config, context, failure, loader};
use crate::keys::{KeyError, KeySource};
use crate::plugin::addresses::Allowed;
use crate::plugin::resolver::ComponentResolver;
use crate::plugin::{Context, LoadError, PluginConfig, Resolver};
use crate::quantity::Seconds;

/// Keys in memory, which counts how often it is asked. The key `/sites/never` is never answered.
#[derive(Debug, Default)]
pub(super) struct Table {
    values: BTreeMap<String, Vec<u8>>,
    asked: AtomicUsize,
}

impl Table {
    pub(super) fn of(values: &[(&str, &[u8])]) -> Arc<Self> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
        Arc::new(Self { values, asked: AtomicUsize::default() })
    }
}

#[async_trait]
impl KeySource for Table {
    async fn read(&self, key: &str, largest: usize) -> Result<Option<Vec<u8>>, KeyError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if key == "/sites/never" {
            std::future::pending::<()>().await;
        }
        match self.values.get(key) {
            Some(value) if value.len() > largest => Err(KeyError::TooLarge(largest)),
            value => Ok(value.cloned()),
        }
    }
}

fn granted(settings: &str) -> PluginConfig {
    PluginConfig { keys: vec!["/sites/".to_owned()], ..config("frozen-keys", settings) }
}

async fn load(keys: Option<Arc<dyn KeySource>>, config: &PluginConfig) -> Result<ComponentResolver, LoadError> {
    let (guest, _) = loader(Context { keys, ..context() }).component(config).await?;
    Ok(ComponentResolver { guest, allowed: Allowed::new(&[]) })
}

/// The plugin that reads what its settings say, granted what begins with `/sites/`.
pub(super) async fn reading(table: &Arc<Table>, settings: &str) -> Result<ComponentResolver, LoadError> {
    load(Some(Arc::clone(table) as _), &granted(settings)).await
}

async fn told(resolver: &ComponentResolver, name: &str) -> String {
    resolver.resolve(&name.parse().unwrap()).await.unwrap().unwrap().region
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_not_asked_for() {
    let table = Table::of(&[("/sites/dc1", b"there"), ("/secrets/dc1", b"secret")]);
    let refused = told(&reading(&table, "prefix = \"/secrets/\"").await.unwrap(), "dc1").await;
    let expected = "Error::Refused(\"the key \\\"/secrets/dc1\\\" begins with nothing that is granted \
                    (plugins.resolver.keys)\")";
    assert_eq!((refused.as_str(), table.asked.load(Ordering::Relaxed)), (expected, 0));
    let fault = reading(&table, "prefix = \"/secrets/\"\nchecked = true").await.err().unwrap().fault;
    assert!(fault.contains("\"/secrets/check\" begins with nothing that is granted"), "{fault}");
    assert_eq!(told(&reading(&table, "prefix = \"/sites/\"").await.unwrap(), "dc1").await, "there");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_calls_and_time_are_bounded() {
    let long = vec![b'x'; (64 << 10) + 1];
    let table = Table::of(&[("/sites/long", &long), ("/sites/most", &long[1..]), ("/sites/dc1", b"there")]);
    let one = reading(&table, "prefix = \"/sites/\"").await.unwrap();
    assert_eq!(told(&one, "long").await, "Error::Other(\"the value is longer than 65536 bytes\")");
    assert!(told(&one, "most").await.ends_with("xxx… (cut)"), "a region is cut as any text is");
    assert_eq!(told(&reading(&table, "prefix = \"/sites/\"\ntimes = 100").await.unwrap(), "dc1").await, "there");
    let many = reading(&table, "prefix = \"/sites/\"\ntimes = 101").await.unwrap();
    let fault = failure(many.resolve(&"dc1".parse().unwrap()).await);
    assert_eq!(fault, "it sent more than 100 requests in one call");
    let config = PluginConfig { host_timeout: Seconds::new(1), ..granted("prefix = \"/sites/\"") };
    let slow = load(Some(table as _), &config).await.unwrap();
    let fault = failure(slow.resolve(&"never".parse().unwrap()).await);
    assert_eq!(fault, "its calls to the host took longer than the limit of 1s");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_etcd_nothing_is_read() {
    let told = told(&load(None, &granted("prefix = \"/sites/\"")).await.unwrap(), "dc1").await;
    assert_eq!(told, "Error::Unavailable(\"the gateway was started without [etcd]\")");
}
