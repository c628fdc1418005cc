//! The body of a raw image: one pass over the source, beside the base where there is one.
//!
//! Grains are compared and not leaves: a gateway's plan names the base, but its hashes would have to be fetched, and
//! reading the base here is faster than the network. Records are not merged over blocks, so that each block goes out
//! as soon as it is read; only runs of zeroes grow, because they cost nothing to hold.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::records::Records;
use super::writer::{Halt, StreamWriter};
use crate::buffer::BufferPool;
use crate::client::source::{Blocks, Change, ImageFile, changes};
use crate::client::{BlockHashes, ClientError, RootMeter};
use crate::content::{BLOCK_BYTES, Root};

/// Blocks that are read ahead of the socket.
const AHEAD: usize = 8;

/// Goes over the source, beside the base where there is one.
pub(super) struct Comparison {
    source: Box<dyn Blocks>,
    base: Option<ImageFile>,
    pool: BufferPool,
    root: RootMeter,
    blocks: Range<u64>,
}

impl Comparison {
    pub(super) fn new(source: Box<dyn Blocks>, base: Option<ImageFile>) -> Self {
        let root = RootMeter::new(source.size());
        Self { source, base, pool: BufferPool::new(AHEAD), root, blocks: 0..u64::MAX }
    }

    /// Goes over these blocks only, and leaves their hashes with `hashes`.
    pub(super) fn within(self, blocks: Range<u64>, hashes: Arc<BlockHashes>) -> Self {
        Self { root: RootMeter::of_piece(hashes), blocks, ..self }
    }

    /// Writes all records and the end marker; gives the content root of the source.
    pub(super) fn run(mut self, records: Records, writer: &mut StreamWriter) -> Result<Root, Halt> {
        self.pour(records, writer)?;
        Ok(self.root.finish())
    }

    /// The same of a piece, whose root nobody knows.
    pub(super) fn run_piece(mut self, records: Records, writer: &mut StreamWriter) -> Result<(), Halt> {
        self.pour(records, writer)?;
        self.root.finish_piece();
        Ok(())
    }

    fn pour(&mut self, mut records: Records, writer: &mut StreamWriter) -> Result<(), Halt> {
        let runtime = Handle::current();
        let mut before = vec![0; BLOCK_BYTES];
        let mut block = self.blocks.start;
        while let Some(next) = self.next(block)? {
            let mut buffer = runtime.block_on(self.pool.take());
            self.source.read(next, &mut buffer)?;
            if let Some(base) = &mut self.base {
                base.read(next, &mut before)?;
            }
            self.root.write(next * BLOCK_BYTES as u64, &buffer);
            self.emit(next, Bytes::from_owner(buffer), &before, &mut records, writer)?;
            block = next + 1;
            writer.reach(block * BLOCK_BYTES as u64);
        }
        self.end(records, writer)
    }

    /// The first block from `block` on that may differ.
    fn next(&mut self, block: u64) -> Result<Option<u64>, ClientError> {
        let inside = |number: &u64| number.saturating_mul(BLOCK_BYTES as u64) < self.source.size();
        let base = self.base.as_mut().map(|base| base.next(block)).transpose()?.flatten().filter(inside);
        let source = self.source.next(block)?;
        Ok(source.into_iter().chain(base).min().filter(|block| *block < self.blocks.end))
    }

    fn emit(
        &mut self,
        block: u64,
        bytes: Bytes,
        before: &[u8],
        records: &mut Records,
        writer: &mut StreamWriter,
    ) -> Result<(), Halt> {
        let start = block * BLOCK_BYTES as u64;
        let inside = usize::try_from(self.source.size() - start).unwrap_or(usize::MAX);
        let base = self.base.as_ref().map(|_| before);
        for change in changes(&bytes, base) {
            match change {
                Change::Data(range) => {
                    let range = range.start..range.end.min(inside);
                    records.data(start + range.start as u64, bytes.slice(range), writer)?;
                }
                Change::Zero(range) if range.start >= inside => {}
                Change::Zero(range) => {
                    let length = range.end.min(inside) - range.start;
                    records.zero(start + range.start as u64, length as u64, writer)?;
                }
            }
        }
        records.breathe(start, writer)
    }

    fn end(&mut self, records: Records, writer: &mut StreamWriter) -> Result<(), Halt> {
        records.end(writer, || {
            self.source.prove()?;
            self.base.as_mut().map_or(Ok(()), ImageFile::prove)
        })
    }
}
