//! The shared cases on a model of an object store and on a directory, and what only objects can show.

mod crashes;
mod sharing;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::ObjectsStore;
use super::bucket::Bucket;
use super::store::Shared;
use crate::image::ImageError;
use crate::image::cases::{Bench, run_cases};

/// A gateway's view of what is in `objects`. Whoever is not of this process is dead.
async fn gateway(objects: &Arc<dyn ObjectStore>) -> ObjectsStore {
    gateway_with(objects, Duration::ZERO).await
}

async fn try_gateway(objects: &Arc<storage::Dying>) -> Result<ObjectsStore, ImageError> {
    let objects: Arc<dyn ObjectStore> = Arc::<storage::Dying>::clone(objects);
    let bucket = Bucket::new(objects, Path::from("some/prefix"));
    Ok(ObjectsStore { shared: Arc::new(Shared::open(bucket, None, Duration::ZERO).await?) })
}

/// The names of all objects.
async fn names(objects: &Arc<dyn ObjectStore>) -> Vec<Path> {
    let listed: Vec<_> = objects.list(None).try_collect().await.unwrap();
    listed.into_iter().map(|object: object_store::ObjectMeta| object.location).collect()
}

async fn gateway_with(objects: &Arc<dyn ObjectStore>, lifetime: Duration) -> ObjectsStore {
    let bucket = Bucket::new(Arc::clone(objects), Path::from("some/prefix"));
    ObjectsStore { shared: Arc::new(Shared::open(bucket, None, lifetime).await.unwrap()) }
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

mod in_memory {
    use super::*;
    run_cases!(Bench::new(Arc::new(gateway(&memory()).await), None));
}

mod in_a_directory {
    use super::*;
    run_cases!(Bench::new(Arc::new(gateway(&directory()).await), None));
}

/// Files, as a configuration with a path makes them.
fn directory() -> Arc<dyn ObjectStore> {
    let folder = tempfile::tempdir().unwrap();
    let files = super::config::directory(folder.path()).unwrap();
    Arc::new(storage::Dying::never(files, folder))
}
