//! The log of an unfinished transfer: the pages of its blocks, and how far it is.
//!
//! Only ever appended to, by one owner. What counts is what stands before the last mark, so a torn end costs nothing and
//! a mark costs one write. Pages come in any order; the sidecar is made of them when the snapshot is complete. Where the
//! bytes lie is the store's business: a [`LogPlace`] is a file, or a row of objects.
//! Frames follow each other without gaps. Format 1, integers little-endian:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | kind | 1 | 1 page, 2 cleared, 3 mark |
//! | length | 4 | bytes of the content |
//! | content | | page: block (8), grain map (32), page (512) · cleared: first block (8), end (8) · mark: see [`Mark`], JSON |
//! | checksum | 16 | the first bytes of the BLAKE3 hash of the frame's offset (8), kind, length and content |

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::blocking::blocking;
use super::sidecar::Leafed;
use super::{ImageError, Ranges, SnapshotImage, Verified};
use crate::content::{BLOCK_BYTES, GRAINS_IN_BLOCK, GrainMap, NoPages, Page, PageSink, PageSource, Root, TreeBuilder};

const PAGE: u8 = 1;
const CLEARED: u8 = 2;
const MARK: u8 = 3;
const HEAD_BYTES: usize = 5;
const SUM_BYTES: usize = 16;
const MAP_BYTES: usize = GRAINS_IN_BLOCK / 8;
/// No mark is longer: as many ranges as a file of this length can tell are not made by as few streams as there may be.
const CONTENT_MAX: usize = 1 << 20;
/// Frames are collected in memory up to this many bytes before they are written.
const SPILL_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 1 << 20;
/// Pages read at once when the tree is built.
const PAGES_AT_ONCE: usize = 512;

/// Where a log lies. Its calls may block.
pub(super) trait LogPlace: Send + Sync + Debug {
    /// Fills `buffer` from `offset` on; fewer bytes only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at the end.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Removes what is behind `length`. A frame of a former owner must not appear behind one of the next.
    fn cut(&self, length: u64) -> io::Result<()>;
    /// Makes it durable.
    fn sync(&self) -> io::Result<()>;
}

/// How far a transfer is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// All of these bytes are durable, in data and log.
    pub durable: Ranges,
    /// Bytes written to storage so far.
    pub stored: u64,
}

/// A log that is open for its one owner.
#[derive(Debug)]
pub(super) struct PageLog {
    file: Arc<dyn LogPlace>,
    /// Bytes of the file.
    length: u64,
    waiting: Vec<u8>,
    /// End of the last mark.
    marked: u64,
    /// Where the frame of each block begins.
    pages: BTreeMap<u64, u64>,
}

/// A log as it was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub mark: Mark,
    /// End of the last mark.
    length: u64,
    pages: BTreeMap<u64, u64>,
}

impl Found {
    /// Reads a log up to its last mark.
    pub(super) fn read(file: &dyn LogPlace) -> io::Result<Self> {
        let mut reader = Frames { file, offset: 0, start: 0, buffer: Vec::new() };
        let (mut unmarked, mut found) = (Vec::new(), Self::default());
        while let Some((offset, kind, content)) = reader.next()? {
            match kind {
                PAGE => unmarked.push(Change::Added { block: integer(content), offset }),
                CLEARED => {
                    let end = integer(content.get(8..).unwrap_or_default());
                    unmarked.push(Change::Cleared(integer(content)..end));
                }
                _ => {
                    let Ok(mark) = serde_json::from_slice(content) else { break };
                    (found.mark, found.length) = (mark, reader.offset);
                    unmarked.drain(..).for_each(|change: Change| change.apply(&mut found.pages));
                }
            }
        }
        let Self { mark, pages, .. } = &mut found;
        pages.retain(|block, _| is_begun(&mark.durable, *block));
        Ok(found)
    }
}

/// What a frame says, which counts from the next mark on.
enum Change {
    Added { block: u64, offset: u64 },
    Cleared(Range<u64>),
}

impl Change {
    fn apply(self, pages: &mut BTreeMap<u64, u64>) {
        match self {
            Self::Added { block, offset } => drop(pages.insert(block, offset)),
            Self::Cleared(blocks) => {
                let mut later = pages.split_off(&blocks.start);
                let mut kept = later.split_off(&blocks.end.max(blocks.start));
                pages.append(&mut kept);
            }
        }
    }
}

/// The last mark behind `offset`, where a frame begins, and its end. `None`: there is none.
pub(super) fn last_mark(file: &dyn LogPlace, offset: u64) -> io::Result<Option<(Mark, u64)>> {
    let (mut reader, mut last) = (Frames { file, offset, start: 0, buffer: Vec::new() }, None);
    while let Some((_, kind, content)) = reader.next()? {
        if kind == MARK {
            let Ok(mark) = serde_json::from_slice(content) else { break };
            last = Some((mark, reader.offset));
        }
    }
    Ok(last)
}

/// Whether the first byte of a block is there.
fn is_begun(durable: &Ranges, block: u64) -> bool {
    let start = block * BLOCK_BYTES as u64;
    durable.contains(&(start..start + 1))
}

impl PageLog {
    pub(super) fn new(file: Arc<dyn LogPlace>) -> Self {
        Self { file, length: 0, waiting: Vec::new(), marked: 0, pages: BTreeMap::new() }
    }

    /// Goes on with a log that nobody else writes to.
    pub(super) fn adopt(file: Arc<dyn LogPlace>, found: Found) -> io::Result<Self> {
        file.cut(found.length)?;
        Ok(Self { file, length: found.length, waiting: Vec::new(), marked: found.length, pages: found.pages })
    }

    /// A log to read only, because somebody else may write to it.
    pub(super) fn of_another(file: Arc<dyn LogPlace>, found: Found) -> Self {
        Self { file, length: found.length, waiting: Vec::new(), marked: found.length, pages: found.pages }
    }

    pub(super) fn has(&self, block: u64) -> bool {
        self.pages.contains_key(&block)
    }

    /// The blocks from `first` on, at most `count`.
    pub(super) fn blocks(&self, first: u64, count: usize) -> Vec<u64> {
        self.pages.range(first..).take(count).map(|(block, _)| *block).collect()
    }

    /// Adds a page without writing anything. False: it is time to write, and nothing was added.
    pub(super) fn note(&mut self, block: u64, leafed: &Leafed) -> bool {
        let has_room = self.waiting.len() < SPILL_BYTES;
        if has_room {
            self.collect(block, leafed);
        }
        has_room
    }

    /// Adds a page. Blocks when it is time to write.
    pub(super) fn add(&mut self, block: u64, leafed: &Leafed) -> io::Result<()> {
        self.collect(block, leafed);
        if self.waiting.len() >= SPILL_BYTES { self.spill() } else { Ok(()) }
    }

    fn collect(&mut self, block: u64, leafed: &Leafed) {
        let mut content = Vec::with_capacity(8 + MAP_BYTES + Page::BYTES);
        content.extend_from_slice(&block.to_le_bytes());
        content.extend_from_slice(&leafed.present.to_bytes());
        content.extend_from_slice(&leafed.page.to_bytes());
        let offset = self.append(PAGE, &content);
        self.pages.insert(block, offset);
    }

    /// Forgets the pages of these blocks.
    pub(super) fn clear(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        self.pages.retain(|block, _| !blocks.contains(block));
        let content = [blocks.start.to_le_bytes(), blocks.end.to_le_bytes()].concat();
        self.append(CLEARED, &content);
    }

    /// Bytes up to the last mark.
    pub(super) fn marked(&self) -> u64 {
        self.marked
    }

    /// Everything added so far is durable after this, and counts.
    pub(super) fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        let content = serde_json::to_vec(mark)?;
        if content.len() > CONTENT_MAX {
            return Err(io::Error::other("too many ranges"));
        }
        self.append(MARK, &content);
        self.spill()?;
        self.file.sync()?;
        self.marked = self.length;
        Ok(())
    }

    /// Whether everything in it counts.
    pub(super) fn is_marked(&self) -> bool {
        self.marked == self.length + self.waiting.len() as u64
    }

    fn spill(&mut self) -> io::Result<()> {
        self.file.write_at(&self.waiting, self.length)?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// The page of a block, with the grains that were written.
    pub(super) fn page(&self, block: u64) -> io::Result<Option<Leafed>> {
        let Some(offset) = self.pages.get(&block) else { return Ok(None) };
        let size = HEAD_BYTES + 8 + MAP_BYTES + Page::BYTES + SUM_BYTES;
        let frame = match offset.checked_sub(self.length) {
            Some(inside) => {
                let inside = usize::try_from(inside).map_err(io::Error::other)?;
                self.waiting.get(inside..inside + size).unwrap_or_default().to_vec()
            }
            None => {
                let mut frame = vec![0; size];
                let count = self.file.read_at(&mut frame, *offset)?;
                frame.truncate(count);
                frame
            }
        };
        let content = content_of(*offset, &frame).filter(|(kind, content)| *kind == PAGE && integer(content) == block);
        let (_, content) = content.ok_or_else(|| damaged("in a page"))?;
        let parts = content.get(8..).and_then(|content| content.split_at_checked(MAP_BYTES));
        let (map, page) = parts.ok_or_else(|| damaged("in a page"))?;
        let map = map.as_chunks().0.first().copied().unwrap_or_default();
        let page = page.as_chunks().0.first().map(Page::from_bytes).unwrap_or_default();
        Ok(Some(Leafed { page, present: GrainMap::from_bytes(map) }))
    }

    fn append(&mut self, kind: u8, content: &[u8]) -> u64 {
        let offset = self.length + self.waiting.len() as u64;
        let start = self.waiting.len();
        self.waiting.push(kind);
        self.waiting.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.waiting.extend_from_slice(content);
        let sum = checksum(offset, self.waiting.get(start..).unwrap_or_default());
        self.waiting.extend_from_slice(&sum);
        offset
    }
}

/// The frames of a log, until the first that is not whole.
struct Frames<'a> {
    file: &'a dyn LogPlace,
    /// Of the next frame.
    offset: u64,
    /// Where `buffer` begins in the file.
    start: u64,
    buffer: Vec<u8>,
}

impl Frames<'_> {
    fn next(&mut self) -> io::Result<Option<(u64, u8, &[u8])>> {
        let offset = self.offset;
        let head = self.bytes(offset, HEAD_BYTES)?;
        let Some(length) = length_of(head) else { return Ok(None) };
        let size = HEAD_BYTES + length + SUM_BYTES;
        self.bytes(offset, size)?;
        let inside = usize::try_from(offset - self.start).map_err(io::Error::other)?;
        let frame = self.buffer.get(inside..inside + size).unwrap_or_default();
        let Some((kind, content)) = content_of(offset, frame) else { return Ok(None) };
        self.offset = offset + size as u64;
        Ok(Some((offset, kind, content)))
    }

    /// The bytes at `offset`; fewer at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let inside = usize::try_from(offset - self.start).map_err(io::Error::other)?;
        if inside + count > self.buffer.len() {
            self.buffer.resize(READ_BYTES.max(count), 0);
            let read = self.file.read_at(&mut self.buffer, offset)?;
            self.buffer.truncate(read);
            self.start = offset;
            return Ok(self.buffer.get(..count.min(read)).unwrap_or_default());
        }
        Ok(self.buffer.get(inside..inside + count).unwrap_or_default())
    }
}

fn length_of(head: &[u8]) -> Option<usize> {
    let [kind, length @ ..] = head.first_chunk::<HEAD_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    ((PAGE..=MARK).contains(kind) && length <= CONTENT_MAX).then_some(length)
}

/// Kind and content of a whole frame.
fn content_of(offset: u64, frame: &[u8]) -> Option<(u8, &[u8])> {
    let length = length_of(frame)?;
    let (checked, sum) = frame.split_at_checked(HEAD_BYTES + length)?;
    let kind = *checked.first()?;
    (sum == checksum(offset, checked)).then_some((kind, checked.get(HEAD_BYTES..)?))
}

fn checksum(offset: u64, frame: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&offset.to_le_bytes()).update(frame);
    hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
}

fn integer(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default()
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log of the unfinished transfer is damaged {how}"))
}

pub(super) fn locked(log: &Mutex<PageLog>) -> MutexGuard<'_, PageLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pages from block `first` on, at most some.
async fn pages(log: &Arc<Mutex<PageLog>>, first: u64) -> Result<Vec<(u64, Leafed)>, ImageError> {
    let log = Arc::clone(log);
    blocking(move || {
        let log = locked(&log);
        let blocks = log.blocks(first, PAGES_AT_ONCE);
        let page = |block: u64| Ok(log.page(block)?.map(|leafed| (block, leafed)));
        let pages = blocks.into_iter().filter_map(|block| page(block).transpose());
        pages.collect::<io::Result<_>>().map_err(|source| match source.kind() {
            io::ErrorKind::NotConnected => ImageError::Fenced,
            _ => ImageError::Io { action: "read the pages of an unfinished transfer".to_owned(), source },
        })
    })
    .await
}

/// Makes the tree of all pages in a log, for an image of `size` bytes over `base`. `announce` is told the grains of each
/// block before its page goes to `sink`.
pub(super) async fn plant(
    log: &Arc<Mutex<PageLog>>,
    size: u64,
    base: Option<Arc<dyn SnapshotImage>>,
    sink: &dyn PageSink<Error = ImageError>,
    announce: impl Fn(u64, GrainMap) + Send,
) -> Result<Root, ImageError> {
    let base = base.map(Verified::new);
    let below: &dyn PageSource<Error = ImageError> = match &base {
        Some(base) => base,
        None => const { &NoPages::new() },
    };
    let (mut tree, mut first) = (TreeBuilder::new(size), 0);
    loop {
        let pages = pages(log, first).await?;
        let Some((last, _)) = pages.last() else { break };
        first = last + 1;
        for (block, leafed) in pages {
            announce(block, leafed.present);
            tree.push(block, leafed.page, below, sink).await?;
        }
    }
    tree.finish(below, sink).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Memory(Mutex<Vec<u8>>);

    impl LogPlace for Memory {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let bytes = self.0.lock().unwrap();
            let there = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let count = there.len().min(buffer.len());
            buffer[..count].copy_from_slice(&there[..count]);
            Ok(count)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let mut all = self.0.lock().unwrap();
            all.truncate(usize::try_from(offset).unwrap());
            all.extend_from_slice(bytes);
            Ok(())
        }

        fn cut(&self, length: u64) -> io::Result<()> {
            self.0.lock().unwrap().truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn mark(blocks: u64) -> Mark {
        let durable = Ranges::try_from(vec![(0, blocks * BLOCK_BYTES as u64)]).unwrap();
        Mark { durable, stored: blocks }
    }

    fn add(log: &mut PageLog, blocks: Range<u64>) {
        for block in blocks {
            log.add(block, &Leafed { page: Page::default(), present: GrainMap::EMPTY }).unwrap();
        }
    }

    #[test]
    fn what_was_added_and_cleared_counts_up_to_the_last_mark() {
        let place = Arc::new(Memory::default());
        let mut log = PageLog::new(Arc::clone(&place) as Arc<dyn LogPlace>);
        add(&mut log, 0..10);
        log.clear(3..5);
        log.mark(&mark(10)).unwrap();
        let first = log.marked();
        log.clear(0..2);
        add(&mut log, 4..5);
        log.clear(9..10);
        log.mark(&mark(8)).unwrap();
        let second = log.marked();
        assert!(log.is_marked());
        log.clear(0..10);
        add(&mut log, 20..21);
        log.spill().unwrap();
        assert!(!log.is_marked());

        let found = Found::read(place.as_ref()).unwrap();
        assert_eq!((found.mark.stored, found.length), (8, second));
        assert_eq!(found.pages.keys().copied().collect::<Vec<_>>(), [2, 4, 5, 6, 7]);
        let last = |from| last_mark(place.as_ref(), from).unwrap().map(|(mark, end)| (mark.stored, end));
        assert_eq!([last(0), last(first), last(second)], [Some((8, second)), Some((8, second)), None]);
        let log = PageLog::adopt(place, found).unwrap();
        assert!(log.is_marked() && log.page(4).unwrap().is_some() && log.page(3).unwrap().is_none());
    }
}
