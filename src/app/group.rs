//! What the gateways that write to the same storage have in common.
//!
//! Senders are told any of the gateways that stand together, so all of them must see the same snapshots. Nobody can
//! prove that from outside, but stores have names of their own: the group is made of them, and gateways with other
//! stores find that out before they stand together. A store that only its own process can see never has company.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Config;
use crate::id::StoreName;
use crate::image::{ImageError, ImageStore};

/// Why a gateway cannot stand beside others.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error(
        "store {0} ([stores.{0}]) can be seen by this gateway alone, so it cannot join others: remove [etcd], or give \
         it a store that all of them share"
    )]
    Private(StoreName),
    #[error(
        "store {0} ([stores.{0}]) has no name of its own: set etcd.group to a text that is the same on all gateways \
         that share it, and on no others"
    )]
    Nameless(StoreName),
    #[error("could not read the name of store {name} ([stores.{name}]): {source}")]
    Store { name: StoreName, source: ImageError },
}

/// The group of this gateway; `None` without `[etcd]`.
pub(super) async fn find(
    config: &Config,
    stores: &HashMap<StoreName, Arc<dyn ImageStore>>,
) -> Result<Option<String>, GroupError> {
    let Some(etcd) = &config.etcd else { return Ok(None) };
    let written: Vec<_> =
        config.plugins.writer.stores.iter().filter_map(|name| stores.get(name).map(|store| (name, store))).collect();
    if let Some((name, _)) = written.iter().find(|(_, store)| store.is_private()) {
        return Err(GroupError::Private((*name).clone()));
    }
    let site = &config.gateway.site;
    if let Some(group) = &etcd.group {
        return Ok(Some(format!("{site}/{group}")));
    }
    let mut names = BTreeSet::new();
    for (name, store) in written {
        let own = store.identity().await.map_err(|source| GroupError::Store { name: name.clone(), source })?;
        names.insert(own.ok_or_else(|| GroupError::Nameless(name.clone()))?);
    }
    Ok(Some(format!("{site}/{}", Vec::from_iter(names).join("+"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Overrides;
    use crate::image::{FileStore, MemoryStore};

    fn config(group: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rsnap.toml");
        let text = format!(
            "[auth]\nticket_keys = [{{ id = \"k\", file = \"/k\" }}]\n[etcd]\nendpoints = [\"http://h:1\"]\n{group}"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), &Overrides::default()).unwrap()
    }

    async fn group(group: &str, store: Arc<dyn ImageStore>) -> Result<String, GroupError> {
        let stores = HashMap::from([(StoreName::main(), store)]);
        find(&config(group), &stores).await.map(Option::unwrap)
    }

    #[tokio::test]
    async fn gateways_on_one_store_are_a_group_and_on_two_they_are_not() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = |path: &std::path::Path| -> Arc<dyn ImageStore> { Arc::new(FileStore::open(path).unwrap()) };
        let first = group("", open(one.path())).await.unwrap();
        assert_eq!(group("", open(one.path())).await.unwrap(), first);
        assert_ne!(group("", open(two.path())).await.unwrap(), first);
        assert_eq!(group("group = \"g\"", open(two.path())).await.unwrap(), "local/g");
    }

    #[tokio::test]
    async fn a_private_store_joins_nobody_whatever_the_group_is_called() {
        for text in ["", "group = \"g\""] {
            let fault = group(text, Arc::new(MemoryStore::new())).await.unwrap_err();
            assert!(matches!(fault, GroupError::Private(_)), "{fault}");
        }
    }
}
