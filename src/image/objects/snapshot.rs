//! A committed snapshot, open for reading.
//!
//! What it is made of never changes, so nothing is locked and nothing is looked up twice. Whoever deletes the snapshot
//! takes nothing away; a collection does, later, and a reader at another gateway then gets an error: never other bytes,
//! since each block is held against its hash. Some segments and blocks are remembered, because a transfer asks for parts
//! of a block one after the other.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::block;
use super::bucket::Bucket;
use super::layout::Piece;
use super::manifest::{self, Manifest, Reference};
use super::record::Stored;
use super::segment::{self, Entry, Segment};
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GrainMap, HEIGHT, Page, PageSource};
use crate::id::SnapshotId;
use crate::image::blocking::blocking;
use crate::image::{ImageError, SnapshotImage, SnapshotRecord};

/// Segments remembered, each of up to 140 KiB.
const SEGMENTS: usize = 4;
/// Blocks remembered.
const BLOCKS: usize = 2;

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ObjectsSnapshot(Arc<Open>);

#[derive(Debug)]
struct Open {
    bucket: Bucket,
    stored: Stored,
    manifest: Manifest,
    upper: HashMap<(u8, u64), Page>,
    segments: Mutex<VecDeque<(u64, Arc<Segment>)>>,
    blocks: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
    /// Held by who loads a segment, so that many who want the same one load it once.
    loading: tokio::sync::Mutex<()>,
}

/// Reads a manifest that a record names.
pub(super) async fn load_manifest(bucket: &Bucket, stored: &Stored) -> Result<Manifest, ImageError> {
    let record = &stored.record;
    let damaged = |detail: String| damaged(&record.snapshot, 0, detail);
    let name = Piece::Manifest { session: stored.manifest }.name();
    let bytes = part(bucket, &name, manifest::object_max(record.size)).await?.map_err(damaged)?;
    let manifest = Manifest::decode(&bytes, record.size).map_err(|fault| damaged(format!("{name}: {fault}")))?;
    if manifest.root(record.size) != record.root {
        return Err(damaged(format!("{name}: it is the manifest of other content")));
    }
    Ok(manifest)
}

/// Reads a segment that a manifest names.
pub(super) async fn load_segment(
    bucket: &Bucket,
    snapshot: &SnapshotId,
    number: u64,
    reference: Reference,
) -> Result<Segment, ImageError> {
    let offset = number.saturating_mul(segment::BLOCKS).saturating_mul(BLOCK_BYTES as u64);
    let damaged = |detail: String| damaged(snapshot, offset, detail);
    let name = Piece::Segment { session: reference.session, segment: number }.name();
    let bytes = part(bucket, &name, segment::OBJECT_MAX).await?.map_err(damaged)?;
    Segment::decode(&bytes, reference.hash).map_err(|fault| damaged(format!("{name}: {fault}")))
}

/// Reads an object that a snapshot consists of, or says what is wrong with it.
async fn part(bucket: &Bucket, name: &str, limit: usize) -> Result<Result<Bytes, String>, ImageError> {
    match bucket.read(name, limit).await {
        Err(ImageError::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => {
            Ok(Err(format!("{name}: {source}")))
        }
        other => Ok(other?.ok_or_else(|| format!("{name} is missing"))),
    }
}

fn damaged(snapshot: &SnapshotId, offset: u64, detail: String) -> ImageError {
    ImageError::Damaged { snapshot: snapshot.clone(), offset, detail }
}

impl ObjectsSnapshot {
    pub(super) async fn open(bucket: Bucket, stored: Stored) -> Result<Self, ImageError> {
        let manifest = load_manifest(&bucket, &stored).await?;
        let upper = manifest.upper_pages();
        Ok(Self(Arc::new(Open {
            bucket,
            stored,
            manifest,
            upper,
            segments: Mutex::default(),
            blocks: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        })))
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.0.stored
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The segment of this number; empty where all is zero.
    pub(super) async fn segment(&self, number: u64) -> Result<Arc<Segment>, ImageError> {
        let Some(reference) = self.0.manifest.0.get(&number) else { return Ok(Arc::default()) };
        if let Some(segment) = recall(&self.0.segments, number) {
            return Ok(segment);
        }
        let _loading = self.0.loading.lock().await;
        if let Some(segment) = recall(&self.0.segments, number) {
            return Ok(segment);
        }
        let snapshot = &self.0.stored.record.snapshot;
        let segment = Arc::new(load_segment(&self.0.bucket, snapshot, number, *reference).await?);
        remember(&self.0.segments, SEGMENTS, number, &segment);
        Ok(segment)
    }

    /// The bytes of a block with data.
    async fn block(&self, block: u64, entry: Entry) -> Result<Arc<Vec<u8>>, ImageError> {
        if let Some(bytes) = recall(&self.0.blocks, block) {
            return Ok(bytes);
        }
        let offset = block.saturating_mul(BLOCK_BYTES as u64);
        let snapshot = self.0.stored.record.snapshot.clone();
        let name = Piece::Block { hash: entry.page.hash(), session: entry.session }.name();
        let object = part(&self.0.bucket, &name, block::OBJECT_MAX).await?;
        let object = object.map_err(|detail| damaged(&snapshot, offset, detail))?;
        let decoded = blocking(move || {
            block::decode(&object, &entry.page).map_err(|fault| damaged(&snapshot, offset, format!("{name}: {fault}")))
        });
        let bytes = Arc::new(decoded.await?);
        remember(&self.0.blocks, BLOCKS, block, &bytes);
        Ok(bytes)
    }

    /// All of a block; zeroes where it has no data.
    pub(super) async fn whole_block(&self, block: u64) -> Result<Option<Arc<Vec<u8>>>, ImageError> {
        let segment = self.segment(block / segment::BLOCKS).await?;
        match segment.get(block) {
            Some(entry) => self.block(block, *entry).await.map(Some),
            None => Ok(None),
        }
    }
}

fn recall<T>(remembered: &Mutex<VecDeque<(u64, Arc<T>)>>, number: u64) -> Option<Arc<T>> {
    let remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
    remembered.iter().find(|(at, _)| *at == number).map(|(_, found)| Arc::clone(found))
}

fn remember<T>(remembered: &Mutex<VecDeque<(u64, Arc<T>)>>, most: usize, number: u64, what: &Arc<T>) {
    let mut remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
    remembered.truncate(most - 1);
    remembered.push_front((number, Arc::clone(what)));
}

#[async_trait]
impl PageSource for ObjectsSnapshot {
    type Error = ImageError;

    async fn page(&self, level: u8, index: u64) -> Result<Page, ImageError> {
        match level {
            1 => {
                let segment = self.segment(index / segment::BLOCKS).await?;
                Ok(segment.get(index).map(|entry| entry.page).unwrap_or_default())
            }
            2 => Ok(self.segment(index / 16).await?.page(2, index)),
            segment::LEVEL => Ok(self.segment(index).await?.page(segment::LEVEL, index)),
            level => Ok(self.0.upper.get(&(level.min(HEIGHT), index)).copied().unwrap_or_default()),
        }
    }
}

#[async_trait]
impl SnapshotImage for ObjectsSnapshot {
    fn record(&self) -> &SnapshotRecord {
        &self.0.stored.record
    }

    async fn read(&self, block: u64, wanted: GrainMap, buffer: &mut BlockBuffer) -> Result<(), ImageError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let bytes = self.whole_block(block).await?;
        for run in wanted.runs() {
            let to = buffer.get_mut(run.clone()).unwrap_or_default();
            match bytes.as_ref().and_then(|bytes| bytes.get(run)) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        }
        Ok(())
    }
}

/// Whether a committed snapshot's manifest can be read, and is the one that its record names.
pub(super) async fn is_sound(bucket: &Bucket, stored: &Stored) -> Result<bool, ImageError> {
    match load_manifest(bucket, stored).await {
        Ok(_) => Ok(true),
        Err(ImageError::Damaged { detail, snapshot, .. }) => {
            tracing::warn!(%snapshot, detail, "a committed snapshot is damaged; it can be sent again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
