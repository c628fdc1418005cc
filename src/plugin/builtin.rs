//! The writer `image` compiled in: the same decision as the component of that name, with the same settings.
//!
//! Selected by `component = "builtin:image"`. It is what the cost of WebAssembly is measured against.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::account::Account;
use super::host::not_granted;
use super::{Destination, Location, PluginError, TransferDescription, Writer};
use crate::buffer::BufferPool;
use crate::id::{SnapshotName, StoreName, VolumeId};
use crate::image::{ImageStore, Ingest, StageRequest};

/// How the configuration names it.
pub(super) const NAME: &str = "builtin:image";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    store: String,
    image: String,
    snapshot: String,
}

impl Default for Settings {
    fn default() -> Self {
        let [store, image, snapshot] = ["main", "volume-{volume}", "snapshot-{snapshot}"].map(str::to_owned);
        Self { store, image, snapshot }
    }
}

/// The compiled-in writer.
pub(super) struct ImageWriter {
    settings: Settings,
    name: StoreName,
    store: Arc<dyn ImageStore>,
    pool: BufferPool,
    depth: usize,
    pub(super) account: Arc<Account>,
}

impl ImageWriter {
    /// The error says what is wrong with the settings.
    pub(super) fn new(
        settings: toml::Table,
        stores: &HashMap<StoreName, Arc<dyn ImageStore>>,
        pool: BufferPool,
        depth: usize,
    ) -> Result<Self, String> {
        let settings: Settings = settings.try_into().map_err(|error| error.to_string())?;
        check("image", &settings.image, "{volume}")?;
        check("snapshot", &settings.snapshot, "{snapshot}")?;
        let name: StoreName = settings.store.parse().map_err(|error| format!("store: {error}"))?;
        let store = Arc::clone(stores.get(&name).ok_or_else(|| not_granted(&name))?);
        Ok(Self { settings, name, store, pool, depth, account: Arc::default() })
    }

    fn place(&self, volume: &VolumeId) -> Result<Location, PluginError> {
        let image = self.settings.image.replace("{volume}", volume.as_str());
        Ok(Location { store: self.name.clone(), image: image.parse().map_err(|error| failed(&error))? })
    }

    async fn open(&self, transfer: &TransferDescription) -> Result<Destination, PluginError> {
        let name = self.settings.snapshot.replace("{snapshot}", transfer.snapshot.as_str());
        let name: SnapshotName = name.parse().map_err(|error| failed(&error))?;
        let request = StageRequest {
            transfer: transfer.id.clone(),
            volume: transfer.volume.clone(),
            snapshot: transfer.snapshot.clone(),
            image: self.place(&transfer.volume)?.image,
            name,
            size: transfer.size,
            base: transfer.base.clone(),
            upload: transfer.upload.clone(),
        };
        let staged = self.store.stage(request).await?;
        Ok(Destination::Image(Ingest::new(staged, self.pool.clone(), self.depth)))
    }
}

/// Without its placeholder a template would give all volumes, or all snapshots, one name.
fn check(key: &str, template: &str, needed: &str) -> Result<(), String> {
    let rest = template.replacen(needed, "", 1);
    if rest.len() == template.len() || rest.contains(['{', '}']) {
        return Err(format!("{key}: {template:?} must contain {needed} once and no other placeholder"));
    }
    Ok(())
}

fn failed(detail: &impl ToString) -> PluginError {
    PluginError::Failed { plugin: NAME.to_owned(), detail: detail.to_string() }
}

#[async_trait]
impl Writer for ImageWriter {
    fn name(&self) -> &str {
        NAME
    }

    async fn locate(&self, volume: &VolumeId) -> Result<Location, PluginError> {
        self.account.call(async { self.place(volume) }).await
    }

    async fn begin(&self, transfer: &TransferDescription) -> Result<Destination, PluginError> {
        self.account.call(self.open(transfer)).await
    }
}
