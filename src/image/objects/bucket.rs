//! The object store as the rest of this module sees it: few calls, bounded answers, errors in our words.
//!
//! What is promised by all stores that rsnap takes: an object is there whole or not at all, whoever has written one sees
//! it in the next read and the next list, and of those who create one name at once exactly one succeeds. A name is
//! written once, or always with the same content; the only exception are leases, which mean nothing but their age.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload};

use super::failure::failed;
use crate::image::ImageError;

/// A part of an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// How an attempt to make a name ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    /// Somebody has made it before, or the answer to our own first attempt was lost.
    Taken,
}

/// A name in a folder.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub name: String,
    pub modified: SystemTime,
}

impl Bucket {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    /// The object, if it is there. One of more than `limit` bytes is refused before it is read.
    pub(super) async fn read(&self, name: &str, limit: usize) -> Result<Option<Bytes>, ImageError> {
        let found = match self.store.get_opts(&self.path(name), GetOptions::default()).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(failed(format!("read {name}")))?,
        };
        if found.meta.size > limit as u64 {
            let text = format!("it has {} bytes, more than the {limit} that it can have", found.meta.size);
            return Err(unbelievable(name, text));
        }
        match found.bytes().await {
            // A directory: the name can go between its opening and its reading.
            Err(Error::NotFound { .. }) => Ok(None),
            other => other.map(Some).map_err(failed(format!("read {name}"))),
        }
    }

    /// Writes an object whose name nobody else gives other content.
    pub(super) async fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), ImageError> {
        let put = self.store.put_opts(&self.path(name), PutPayload::from(bytes), PutOptions::default()).await;
        put.map(|_| ()).map_err(failed(format!("write {name}")))
    }

    /// Makes an object, unless there is one. After an error it may be there or not, or come to be there later.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Made, ImageError> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&self.path(name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(Made::New),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Made::Taken),
            Err(error) => Err(failed(format!("create {name}"))(error)),
        }
    }

    /// All objects whose names begin with `folder` and a slash; the rest of their names.
    pub(super) fn list(&self, folder: &str) -> BoxStream<'static, Result<Found, ImageError>> {
        let (path, action) = (self.path(folder), format!("list {folder}"));
        let start = format!("{path}/");
        let found = move |meta: ObjectMeta| {
            let name = meta.location.as_ref().strip_prefix(start.as_str())?.to_owned();
            Some(Found { name, modified: meta.last_modified.into() })
        };
        let listed = self.store.list(Some(&path)).map_err(move |error| failed(action.clone())(error));
        listed.try_filter_map(move |meta| std::future::ready(Ok(found(meta)))).boxed()
    }

    /// The folders in `folder`.
    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, ImageError> {
        let path = self.path(folder);
        let listed = self.store.list_with_delimiter(Some(&path)).await.map_err(failed(format!("list {folder}")))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// When an object was written last, by the clock of the storage.
    pub(super) async fn modified(&self, name: &str) -> Result<Option<SystemTime>, ImageError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.path(name), options).await {
            Ok(found) => Ok(Some(found.meta.last_modified.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(format!("look at {name}"))(error)),
        }
    }

    /// Removes objects; those that are not there are as good.
    pub(super) async fn remove(&self, names: impl IntoIterator<Item = String>) -> Result<(), ImageError> {
        let paths: Vec<Result<Path, Error>> = names.into_iter().map(|name| Ok(self.path(&name))).collect();
        let mut removed = self.store.delete_stream(stream::iter(paths).boxed());
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed("remove objects")(error)),
            }
        }
        Ok(())
    }
}

/// An object that is there and is not what its name says.
pub(super) fn unbelievable(name: &str, detail: impl Into<String>) -> ImageError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, detail.into());
    ImageError::Io { action: format!("believe {name}"), source }
}
