//! Reading committed snapshots back: every byte is proven by the content tree before it leaves.
//!
//! Blocks are read a few ahead and handed over without a copy. A fault in the middle ends the stream with an error,
//! which the layer above must turn into a cut response: a short body must never look like a complete one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rsnap_wire::rbd_diff as encoder;
use tokio::sync::OwnedSemaphorePermit;

use super::config::READ_DEPTH;
use super::{Stream, TransferError, Transfers};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GRAINS_IN_BLOCK, PageSource, is_zero, next_difference};
use crate::image::{ImageError, SnapshotImage, Verified};

const BLOCK: u64 = BLOCK_BYTES as u64;
static ZEROES: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The permission to read one snapshot. Without a bound on them, readers hold the buffers that each other waits for:
/// blocks leave in order, so one that is read out of order keeps its buffer until those before have got theirs.
#[derive(Debug)]
pub struct ReadPermit {
    _place: OwnedSemaphorePermit,
}

impl Transfers {
    /// Counts a read. To be asked before the snapshot is opened: an open one costs memory, too.
    pub fn admit_read(&self) -> Result<ReadPermit, TransferError> {
        let place = Arc::clone(&self.reads).try_acquire_owned();
        let place = place.map_err(|_| TransferError::TooManyReads { reads: self.reads_allowed })?;
        Ok(ReadPermit { _place: place })
    }

    /// The bytes `range` of the raw image; `range` lies inside it.
    pub fn read_raw(&self, permit: ReadPermit, image: Arc<dyn SnapshotImage>, range: Range<u64>) -> Stream {
        let verified = Arc::new(Verified::new(image));
        let pool = self.read_pool.clone();
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let read = move |block| {
            let _held = &permit;
            raw_block(Arc::clone(&verified), pool.clone(), block, range.clone())
        };
        stream::iter(blocks).map(read).buffered(READ_DEPTH).boxed()
    }

    /// The snapshot as an rbd-diff stream, full or since `base`, which is a snapshot of the same volume.
    pub fn read_diff(
        &self,
        permit: ReadPermit,
        image: Arc<dyn SnapshotImage>,
        base: Option<Arc<dyn SnapshotImage>>,
    ) -> Stream {
        let diff = Arc::new(Diff {
            new: Verified::new(image),
            old: base.map(Verified::new),
            pool: self.read_pool.clone(),
            _permit: permit,
        });
        let header = stream::once(std::future::ready(diff.header()));
        let places = stream::try_unfold((Arc::clone(&diff), 0), next_place);
        let records = places
            .map(move |block| records_of(Arc::clone(&diff), block))
            .buffered(READ_DEPTH)
            .map_ok(|records| stream::iter(records.into_iter().map(Ok)))
            .try_flatten();
        let end = stream::once(std::future::ready(Ok(Bytes::from_static(encoder::END))));
        header.chain(records).chain(end).boxed()
    }
}

async fn raw_block(
    image: Arc<Verified>,
    pool: BufferPool,
    block: u64,
    range: Range<u64>,
) -> Result<Bytes, TransferError> {
    let start = inside(range.start.saturating_sub(block * BLOCK));
    let end = inside(range.end.saturating_sub(block * BLOCK));
    let all_zero = image.page(1, block).await?.hash().is_zero();
    if all_zero {
        return Ok(Bytes::from_static(&ZEROES).slice(start..end));
    }
    let mut buffer = pool.take().await;
    image.read_block(block, &mut buffer).await?;
    Ok(Bytes::from_owner(buffer).slice(start..end))
}

fn inside(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES)
}

/// Two snapshots of one volume, or one and nothing.
struct Diff {
    new: Verified,
    old: Option<Verified>,
    pool: BufferPool,
    _permit: ReadPermit,
}

impl Diff {
    fn header(&self) -> Result<Bytes, TransferError> {
        let header = encoder::Header {
            from: self.old.as_ref().map(|old| old.record().snapshot.as_str()),
            to: Some(self.new.record().snapshot.as_str()),
            size: self.new.record().size,
        };
        header.encode().map(Bytes::from).map_err(|fault| TransferError::Internal(fault.to_string()))
    }

    fn old_pages(&self) -> Option<&dyn PageSource<Error = ImageError>> {
        self.old.as_ref().map(|old| old as &dyn PageSource<Error = ImageError>)
    }

    async fn read(&self, image: Option<&Verified>, block: u64) -> Result<Option<BlockBuffer>, ImageError> {
        let Some(image) = image else { return Ok(None) };
        let mut buffer = self.pool.take().await;
        image.read_block(block, &mut buffer).await?;
        Ok(Some(buffer))
    }
}

/// The next block that differs and lies inside the new image.
async fn next_place((diff, from): (Arc<Diff>, u64)) -> Result<Option<(u64, (Arc<Diff>, u64))>, TransferError> {
    let found = next_difference(diff.old_pages(), &diff.new, from).await?;
    let inside = found.filter(|block| block.saturating_mul(BLOCK) < diff.new.record().size);
    Ok(inside.map(|block| (block, (diff, block + 1))))
}

/// The records of one block, each a header and, for data, its payload.
async fn records_of(diff: Arc<Diff>, block: Result<u64, TransferError>) -> Result<Vec<Bytes>, TransferError> {
    let block = block?;
    let old = diff.read(diff.old.as_ref(), block).await?;
    let Some(new) = diff.read(Some(&diff.new), block).await? else { return Ok(Vec::new()) };
    let start = block * BLOCK;
    let end = inside(diff.new.record().size.saturating_sub(start));
    let runs = differing_runs(&new, old.as_deref(), end);
    drop(old);
    let new = Bytes::from_owner(new);
    let mut records = Vec::with_capacity(runs.len() * 2);
    for (run, kind) in runs {
        let (offset, length) = (start + run.start as u64, run.len() as u64);
        if kind == Kind::Data {
            records.push(Bytes::copy_from_slice(&encoder::data(offset, length)));
            records.push(new.slice(run));
        } else {
            records.push(Bytes::copy_from_slice(&encoder::zero(offset, length)));
        }
    }
    Ok(records)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Data,
    Zero,
}

/// Runs of neighbouring grains that differ from `old` (from zeroes, without one), up to byte `end` of the block.
fn differing_runs(new: &[u8], old: Option<&[u8]>, end: usize) -> Vec<(Range<usize>, Kind)> {
    let mut runs: Vec<(Range<usize>, Kind)> = Vec::new();
    for grain in 0..GRAINS_IN_BLOCK {
        let range = grain * GRAIN_BYTES..((grain + 1) * GRAIN_BYTES).min(end);
        let Some(bytes) = new.get(range.clone()).filter(|bytes| !bytes.is_empty()) else { break };
        let zero = is_zero(bytes);
        let same = old.map_or(zero, |old| old.get(range.clone()) == Some(bytes));
        if same {
            continue;
        }
        let kind = if zero { Kind::Zero } else { Kind::Data };
        match runs.last_mut() {
            Some((run, last)) if *last == kind && run.end == range.start => run.end = range.end,
            _ => runs.push((range, kind)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_by_kind_and_cut_at_the_end() {
        let mut new = vec![0; BLOCK_BYTES];
        let mut old = vec![0; BLOCK_BYTES];
        new[0] = 1;
        new[GRAIN_BYTES] = 1;
        old[2 * GRAIN_BYTES] = 1;
        new[5 * GRAIN_BYTES] = 7;
        let end = 5 * GRAIN_BYTES + 10;
        let runs = differing_runs(&new, Some(&old), end);
        assert_eq!(
            runs,
            vec![
                (0..2 * GRAIN_BYTES, Kind::Data),
                (2 * GRAIN_BYTES..3 * GRAIN_BYTES, Kind::Zero),
                (5 * GRAIN_BYTES..end, Kind::Data)
            ]
        );
        let full = differing_runs(&new, None, BLOCK_BYTES);
        assert!(full.iter().all(|(_, kind)| *kind == Kind::Data) && full.len() == 2);
    }
}
