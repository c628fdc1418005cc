//! A new snapshot on its way.
//!
//! Each block is completed from the base, hashed, and put under its hash, unless it is there. The tree's pages of level 1
//! follow in ascending order and are gathered into segments, so that at most one segment is in memory. What has been put
//! is durable when the storage has answered; a flush puts what is left, the manifest last.
//!
//! "There" is an object that is listed, is not condemned, and was read and held against its hash. To believe the list alone
//! was refused, although it would cost nothing: a block that rotted would become a part of each later snapshot that
//! has it, and those would be committed and not whole. Such a block is put again, as an object of this transfer's own.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;

use super::block;
use super::commit::commit;
use super::condemned::Condemned;
use super::layout::{Piece, Session, block_folder};
use super::lease::{Lease, Place};
use super::manifest::{Manifest, Reference};
use super::segment::{self, Entry, Segment};
use super::snapshot::ObjectsSnapshot;
use super::store::Shared;
use crate::buffer::BlockBuffer;
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, Hash, Page, PageSink, is_zero};
use crate::image::blocking::blocking;
use crate::image::{Committed, Durable, ImageError, Sealed, SnapshotImage, StageRequest, StagedImage};

/// Blocks that a bucket is sent at once, where there are buffers for them.
const AT_ONCE: usize = 32;

/// See the module's text.
#[derive(Debug)]
pub(super) struct ObjectsStaged {
    pub shared: Arc<Shared>,
    pub request: StageRequest,
    pub session: Session,
    pub base: Option<ObjectsSnapshot>,
    condemned: Condemned,
    /// Blocks that were written and whose page has not come yet.
    written: Mutex<BTreeMap<u64, (Hash, Session)>>,
    tree: tokio::sync::Mutex<Tree>,
    pub stored: AtomicU64,
    /// Given up, or committed.
    ended: AtomicBool,
    /// Until the end.
    held: Mutex<Option<(Lease, Place)>>,
}

/// The segments so far.
#[derive(Debug, Default)]
struct Tree {
    /// The one that pages come for.
    open: Option<(u64, Segment)>,
    /// Those that changed; `None`: it has no data any more.
    changed: BTreeMap<u64, Option<Reference>>,
    manifest: Option<Manifest>,
}

impl ObjectsStaged {
    pub(super) fn new(
        shared: Arc<Shared>,
        request: StageRequest,
        session: Session,
        base: Option<ObjectsSnapshot>,
        condemned: Condemned,
        held: (Lease, Place),
    ) -> Self {
        let held = Mutex::new(Some(held));
        let (written, tree, stored, ended) = Default::default();
        Self { shared, request, session, base, condemned, written, tree, stored, ended, held }
    }

    fn check(&self) -> Result<(), ImageError> {
        match self.ended.load(Ordering::Acquire) {
            true => Err(ImageError::Fenced),
            false => Ok(()),
        }
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The block as it is in the new snapshot: the `present` grains of `bytes`, the others of the base.
    async fn complete(&self, block: u64, present: GrainMap, bytes: Option<&[u8]>) -> Result<Vec<u8>, ImageError> {
        let mut whole = vec![0; BLOCK_BYTES];
        if let Some(base) = self.base.as_ref().filter(|_| !present.is_full())
            && let Some(before) = base.whole_block(block).await?
        {
            whole.copy_from_slice(&before);
        }
        for run in present.runs() {
            let to = whole.get_mut(run.clone()).unwrap_or_default();
            match bytes.and_then(|bytes| bytes.get(run)) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        }
        let inside = self.request.size.saturating_sub(block.saturating_mul(BLOCK_BYTES as u64));
        let inside = usize::try_from(inside).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        whole.get_mut(inside..).unwrap_or_default().fill(0);
        Ok(whole)
    }

    /// Puts a whole block where it is not there yet, and remembers it until its page comes.
    async fn keep(&self, block: u64, whole: Vec<u8>) -> Result<Page, ImageError> {
        let hashed = blocking(move || Ok((block::page_of(&whole), whole)));
        let (page, whole) = hashed.await?;
        let hash = page.hash();
        let session = match hash.is_zero() {
            true => self.session,
            false => match self.find(&page).await? {
                Some(there) => there,
                None => self.put_block(hash, whole).await?,
            },
        };
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(block, (hash, session));
        Ok(page)
    }

    /// Whose object of this block is there and can be relied on.
    async fn find(&self, page: &Page) -> Result<Option<Session>, ImageError> {
        let hash = page.hash();
        let mut there = self.shared.bucket.list(&block_folder(&hash));
        while let Some(found) = there.try_next().await? {
            let Ok(session) = found.name.parse::<Session>() else { continue };
            let piece = Piece::Block { hash, session };
            if !self.condemned.has(&piece) && self.is_whole(&piece.name(), *page).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Whether an object is the block with this page. An object that cannot be one is none.
    async fn is_whole(&self, name: &str, page: Page) -> Result<bool, ImageError> {
        let object = match self.shared.bucket.read(name, block::OBJECT_MAX).await {
            Err(ImageError::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => None,
            other => other?,
        };
        let Some(object) = object else { return Ok(false) };
        let decoded = blocking(move || Ok(block::decode(&object, &page).map(drop))).await?;
        if let Err(fault) = &decoded {
            tracing::warn!(object = name, fault, "a stored block is damaged: putting it again");
        }
        Ok(decoded.is_ok())
    }

    async fn put_block(&self, hash: Hash, whole: Vec<u8>) -> Result<Session, ImageError> {
        let object = blocking(move || Ok(block::encode(&whole))).await?;
        self.shared.bucket.write(&Piece::Block { hash, session: self.session }.name(), object).await?;
        Ok(self.session)
    }

    /// The session of the block whose page has come. Where nothing was written, only the end of the image can have
    /// changed the block.
    async fn session_of(&self, block: u64, page: &Page) -> Result<Session, ImageError> {
        let expected = page.hash();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&block);
        if let Some((_, session)) = written.filter(|(hash, _)| *hash == expected) {
            return Ok(session);
        }
        if expected.is_zero() {
            return Ok(self.session);
        }
        let whole = self.complete(block, GrainMap::EMPTY, None).await?;
        let found = self.keep(block, whole).await?;
        let again = self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&block);
        match again.filter(|_| found == *page) {
            Some((_, session)) => Ok(session),
            None => Err(ImageError::Unproven {
                offset: block.saturating_mul(BLOCK_BYTES as u64),
                expected: format!("{expected:?}"),
                found: format!("{:?}", written.map_or(found.hash(), |(hash, _)| hash)),
            }),
        }
    }

    /// The segment as it begins: the base's, as far as the image goes.
    async fn begin_segment(&self, number: u64) -> Result<Segment, ImageError> {
        let Some(base) = &self.base else { return Ok(Segment::default()) };
        let mut segment = base.segment(number).await?.as_ref().clone();
        segment.truncate(number, self.request.size);
        Ok(segment)
    }

    async fn close_segment(&self, tree: &mut Tree) -> Result<(), ImageError> {
        let Some((number, segment)) = tree.open.take() else { return Ok(()) };
        let hash = segment.hash();
        let before = self.base.as_ref().and_then(|base| base.manifest().0.get(&number));
        let reference = match before {
            _ if hash.is_zero() => None,
            Some(before) if before.hash == hash => Some(*before),
            _ => {
                let name = Piece::Segment { session: self.session, segment: number }.name();
                self.shared.bucket.write(&name, segment.encode()).await?;
                Some(Reference { session: self.session, hash })
            }
        };
        tree.changed.insert(number, reference);
        Ok(())
    }

    /// All segments of the new snapshot.
    async fn assemble(&self, tree: &mut Tree) -> Result<Manifest, ImageError> {
        self.close_segment(tree).await?;
        let mut manifest = self.base.as_ref().map(|base| base.manifest().clone()).unwrap_or_default();
        let end = self.request.size.div_ceil(BLOCK_BYTES as u64);
        manifest.0.retain(|segment, _| segment * segment::BLOCKS < end);
        // The end of the image may be inside a segment of which nothing else has changed.
        let last = end / segment::BLOCKS;
        if manifest.0.contains_key(&last) && !tree.changed.contains_key(&last) {
            tree.open = Some((last, self.begin_segment(last).await?));
            self.close_segment(tree).await?;
        }
        for (segment, reference) in &tree.changed {
            match reference {
                Some(reference) => manifest.0.insert(*segment, *reference),
                None => manifest.0.remove(segment),
            };
        }
        Ok(manifest)
    }

    /// The manifest, once it is durable.
    pub(super) async fn manifest(&self) -> Option<Manifest> {
        self.tree.lock().await.manifest.clone()
    }
}

#[async_trait]
impl PageSink for ObjectsStaged {
    type Error = ImageError;

    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ImageError> {
        self.check()?;
        // The upper levels follow from the first; at the commit, the root is held against what came of them.
        if level > 1 {
            return Ok(());
        }
        let session = self.session_of(index, page).await?;
        let mut tree = self.tree.lock().await;
        let number = index / segment::BLOCKS;
        if tree.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.close_segment(&mut tree).await?;
            tree.open = Some((number, self.begin_segment(number).await?));
        }
        if let Some((_, segment)) = &mut tree.open {
            segment.set(index, Entry { page: *page, session });
        }
        Ok(())
    }
}

#[async_trait]
impl StagedImage for ObjectsStaged {
    fn size(&self) -> u64 {
        self.request.size
    }

    /// A bucket answers late and takes many at once.
    fn appetite(&self) -> usize {
        if self.shared.directory.is_none() { AT_ONCE } else { 0 }
    }

    fn base(&self) -> Option<Arc<dyn SnapshotImage>> {
        let base = self.base.clone()?;
        Some(Arc::new(base))
    }

    async fn write(&self, block: u64, present: GrainMap, buffer: BlockBuffer) -> Result<(), ImageError> {
        self.check()?;
        let whole = self.complete(block, present, Some(&buffer)).await?;
        let data = present.runs().flat_map(|run| buffer.get(run).unwrap_or_default().chunks(GRAIN_BYTES));
        let stored = data.filter(|grain| !is_zero(grain)).count() * GRAIN_BYTES;
        self.stored.fetch_add(stored as u64, Ordering::Relaxed);
        let kept = self.keep(block, whole).await.map(|_| ());
        // Not before: the pool is what bounds the blocks under way, and each has a copy of its own until it is stored.
        drop(buffer);
        kept
    }

    async fn zero(&self, block: u64, present: GrainMap) -> Result<(), ImageError> {
        self.check()?;
        let whole = self.complete(block, present, None).await?;
        self.keep(block, whole).await.map(|_| ())
    }

    async fn flush(&self) -> Result<Durable, ImageError> {
        self.check()?;
        let mut tree = self.tree.lock().await;
        let manifest = self.assemble(&mut tree).await?;
        let name = Piece::Manifest { session: self.session }.name();
        self.shared.bucket.write(&name, manifest.encode()).await?;
        tree.manifest = Some(manifest);
        Ok(Durable::new())
    }

    async fn commit(&self, _durable: Durable, sealed: Sealed) -> Result<Committed, ImageError> {
        self.check()?;
        let committed = commit(self, sealed).await?;
        self.end();
        Ok(committed)
    }

    async fn abort(&self) {
        self.end();
    }
}
