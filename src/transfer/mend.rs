//! Mending a stored snapshot with what another site still has.
//!
//! The stream has whole leaves, as data of an rbd-diff: what is sent, read and tested already. Each block is proven by
//! the snapshot's tree and written before the next one is taken, so a stream that is cut has mended what came before.

use bytes::Bytes;
use rsnap_wire::{Event, SnapshotDecoder};

use super::{Body, ReadPermit, TransferError, Transfers};
use crate::buffer::{BlockBuffer, BufferPool};
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, LEAF_BYTES};
use crate::id::{SnapshotId, VolumeId};
use crate::image::{Mending, Verified};

/// What became of the leaves that were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Bytes of all of them.
    pub received: u64,
    /// Bytes that were wrong and were written.
    pub written: u64,
}

impl Transfers {
    /// Takes leaves of a committed snapshot and writes what differs. What it takes has exactly the recorded hashes, so a
    /// snapshot can be healed and not changed.
    pub async fn mend(
        &self,
        permit: ReadPermit,
        volume: &VolumeId,
        snapshot: &SnapshotId,
        body: &mut dyn Body,
    ) -> Result<Mended, TransferError> {
        let _held = permit;
        let (store, image) = self.locate(volume).await?;
        let mending = store.mend(&image, snapshot).await?;
        let verified = Verified::new(mending.image());
        let pool = self.read_pool.clone();
        let mut mender =
            Mender { mending: &*mending, verified: &verified, pool, open: None, mended: Mended::default() };
        let taken = mender.take_all(body).await;
        // Also what came before a fault: it is proven, and written.
        let flushed = mending.flush().await;
        taken?;
        flushed?;
        Ok(mender.mended)
    }
}

struct Mender<'a> {
    mending: &'a dyn Mending,
    verified: &'a Verified,
    pool: BufferPool,
    open: Option<Filling>,
    mended: Mended,
}

/// A block of which leaves are on their way.
struct Filling {
    block: u64,
    buffer: BlockBuffer,
    /// Bytes of the block that have come, all of them before.
    ranges: Vec<std::ops::Range<usize>>,
}

impl Mender<'_> {
    async fn take_all(&mut self, body: &mut dyn Body) -> Result<(), TransferError> {
        let mut decoder = SnapshotDecoder::rbd_diff();
        loop {
            let frame = body.next().await?;
            let last = frame.is_none();
            let frame: Bytes = frame.unwrap_or_default();
            let mut input: &[u8] = &frame;
            while let Some(event) = decoder.next(&mut input).map_err(TransferError::malformed)? {
                self.take(event).await?;
            }
            if last {
                decoder.finish().map_err(TransferError::malformed)?;
                body.trailers().await?;
                return self.close().await;
            }
        }
    }

    async fn take(&mut self, event: Event<'_>) -> Result<(), TransferError> {
        let size = self.verified.record().size;
        match event {
            Event::Size(other) if other != size => {
                Err(TransferError::Request(format!("the snapshot has {size} bytes, the stream is of {other}")))
            }
            Event::From(_) => Err(TransferError::Request("leaves are sent as a diff from nothing".to_owned())),
            Event::Zero { .. } => Err(TransferError::Request("leaves of zeroes are sent as data here".to_owned())),
            Event::Data { offset, bytes } => self.data(offset, bytes).await,
            _ => Ok(()),
        }
    }

    async fn data(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<(), TransferError> {
        while !bytes.is_empty() {
            let (block, start) = (offset / BLOCK_BYTES as u64, (offset % BLOCK_BYTES as u64) as usize);
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - start));
            self.fill(block, start, now).await?;
            (offset, bytes) = (offset + now.len() as u64, later);
        }
        Ok(())
    }

    async fn fill(&mut self, block: u64, start: usize, bytes: &[u8]) -> Result<(), TransferError> {
        if self.open.as_ref().is_some_and(|open| open.block != block) {
            self.close().await?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            empty => {
                let mut buffer = self.pool.take().await;
                // What lies past the end of the image counts as zero in its leaf's hash.
                buffer.fill(0);
                empty.insert(Filling { block, buffer, ranges: Vec::new() })
            }
        };
        let end = start + bytes.len();
        if let Some(place) = open.buffer.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        match open.ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => open.ranges.push(start..end),
        }
        Ok(())
    }

    /// Proves what has come of a block and writes it, and reads it back as every reader will.
    async fn close(&mut self) -> Result<(), TransferError> {
        let Some(Filling { block, buffer, ranges }) = self.open.take() else { return Ok(()) };
        let leaves = whole_leaves(block, &ranges, self.verified.record().size)?;
        let proven = self.verified.prove(block, leaves, buffer).await?;
        self.mended.received += ranges.iter().map(|range| range.len() as u64).sum::<u64>();
        let written = self.mending.mend(proven).await?;
        self.mended.written += written;
        if written > 0 {
            let mut read = self.pool.take().await;
            self.verified.read_grains(block, leaves, &mut read).await?;
        }
        Ok(())
    }
}

/// The grains of the leaves that the ranges are made of, which must be whole, as far as the image goes.
fn whole_leaves(block: u64, ranges: &[std::ops::Range<usize>], size: u64) -> Result<GrainMap, TransferError> {
    let start = block.saturating_mul(BLOCK_BYTES as u64);
    let inside = usize::try_from(size.saturating_sub(start)).unwrap_or(usize::MAX).min(BLOCK_BYTES);
    let mut leaves = GrainMap::EMPTY;
    for range in ranges {
        let is_whole = range.start % LEAF_BYTES == 0 && (range.end % LEAF_BYTES == 0 || range.end == inside);
        if !is_whole {
            let text =
                format!("at byte {}: leaves are sent whole, in multiples of {LEAF_BYTES}", start + range.start as u64);
            return Err(TransferError::Request(text));
        }
        let end = range.end.next_multiple_of(LEAF_BYTES);
        leaves = leaves.union(GrainMap::touched(range.start / GRAIN_BYTES * GRAIN_BYTES, end));
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_whole_or_end_with_the_image() {
        let size = 2 * BLOCK_BYTES as u64 + 100;
        let leaf = LEAF_BYTES;
        assert_eq!(whole_leaves(0, &[0..leaf, 2 * leaf..4 * leaf], size).unwrap(), {
            GrainMap::leaf(0).union(GrainMap::leaf(2)).union(GrainMap::leaf(3))
        });
        let one = |block, range: std::ops::Range<usize>| whole_leaves(block, std::slice::from_ref(&range), size);
        assert_eq!(one(2, 0..100).unwrap(), GrainMap::leaf(0));
        for wrong in [0..100, 1..leaf, leaf..2 * leaf - 1] {
            assert!(one(0, wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(one(2, 0..99).is_err());
    }
}
