//! The sidecar of a snapshot: the pages of its content tree that it changed, and which grains it holds.
//!
//! One run of bytes beside the data, written front to back while the transfer runs, so that its cost follows the change
//! and its memory is 8 bytes for each page, 16 once it is opened again. Opening reads the index alone; a page is read
//! when it is asked for. Where the bytes lie is the store's business: a [`Place`] is a file, or a row of objects.
//! Format 1, integers little-endian:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | page, repeated | 568 | key (8), grain map of the block (32; zero above level 1), page (512), checksum of these (16) |
//! | index, repeated | 16 | key (8), position of the page in pages from the start of the file (8); ascending by key |
//! | footer | 48 | `rsnaptr1` (8), number of pages (8), BLAKE3 of index, magic and number (32) |
//!
//! A key is the level in the highest byte and the page's number in the rest. The checksum of a page is the first
//! 16 bytes of its BLAKE3 hash.

use std::io;

use crate::content::{GRAINS_IN_BLOCK, GrainMap, HEIGHT, Page};

const MAGIC: &[u8; 8] = b"rsnaptr1";
const MAP_BYTES: usize = GRAINS_IN_BLOCK / 8;
const CHECKED_BYTES: usize = 8 + MAP_BYTES + Page::BYTES;
const RECORD_BYTES: usize = CHECKED_BYTES + 16;
const FOOTER_BYTES: usize = 48;
/// Pages are collected in memory up to this many bytes before they are written.
const SPILL_BYTES: usize = 256 << 10;

/// Where a sidecar lies. Its calls may block.
pub(super) trait Place {
    /// Bytes written so far.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on; fewer bytes only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. A writer goes from front to back, without gaps.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// Level and number of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(level: u8, index: u64) -> Self {
        Self(u64::from(level) << 56 | index & (u64::MAX >> 8))
    }

    pub(super) fn level(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    pub(super) fn index(self) -> u64 {
        self.0 & (u64::MAX >> 8)
    }

    /// First byte of the image that the page covers.
    pub(super) fn start(self) -> u128 {
        u128::from(self.index()) << (16 + 4 * u32::from(self.level()))
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    position: u64,
}

/// One page with its grain map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leafed {
    pub page: Page,
    /// The grains of the block that this snapshot's own data holds; empty above level 1.
    pub present: GrainMap,
}

/// Writes a sidecar. Within each level, pages are added in ascending order.
#[derive(Debug, Default)]
pub(super) struct SidecarWriter {
    /// Of the pages in the order of their writing: the memory of a transfer of many terabytes is this.
    keys: Vec<Key>,
    waiting: Vec<u8>,
    written: u64,
}

impl SidecarWriter {
    /// Adds a page. `true`: it is time to [`SidecarWriter::spill`].
    pub(super) fn add(&mut self, key: Key, leafed: &Leafed) -> bool {
        let start = self.waiting.len();
        self.keys.push(key);
        self.waiting.extend_from_slice(&key.0.to_le_bytes());
        self.waiting.extend_from_slice(&leafed.present.to_bytes());
        self.waiting.extend_from_slice(&leafed.page.to_bytes());
        let sum = page_checksum(self.waiting.get(start..).unwrap_or_default());
        self.waiting.extend_from_slice(&sum);
        self.waiting.len() >= SPILL_BYTES
    }

    /// Writes what waits in memory.
    pub(super) fn spill(&mut self, place: &(impl Place + ?Sized)) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        place.write_at(&self.waiting, self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Writes the rest, the index and the footer. The sidecar is whole then, not yet durable.
    pub(super) fn finish(&mut self, place: &(impl Place + ?Sized)) -> io::Result<()> {
        self.spill(place)?;
        let mut checksum = blake3::Hasher::new();
        for level in 0..=HEIGHT {
            self.index_level(level, &mut checksum, place)?;
        }
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(MAGIC);
        footer.extend_from_slice(&(self.keys.len() as u64).to_le_bytes());
        let sum = *checksum.update(&footer).finalize().as_bytes();
        footer.extend_from_slice(&sum);
        self.waiting = footer;
        self.spill(place)
    }

    /// Writes the index of one level: ascending as its pages were added, so that nothing has to be sorted.
    fn index_level(
        &mut self,
        level: u8,
        checksum: &mut blake3::Hasher,
        place: &(impl Place + ?Sized),
    ) -> io::Result<()> {
        let keys = std::mem::take(&mut self.keys);
        let mut before = None;
        for (position, key) in keys.iter().enumerate().filter(|(_, key)| key.level() == level) {
            if before.replace(*key) >= Some(*key) {
                return Err(io::Error::other("pages of one level came out of order"));
            }
            self.waiting.extend_from_slice(&key.0.to_le_bytes());
            self.waiting.extend_from_slice(&(position as u64).to_le_bytes());
            if self.waiting.len() >= SPILL_BYTES {
                checksum.update(&self.waiting);
                self.spill(place)?;
            }
        }
        self.keys = keys;
        checksum.update(&self.waiting);
        self.spill(place)
    }
}

/// The index of a sidecar, in memory.
#[derive(Debug)]
pub(super) struct Index(Vec<Entry>);

impl Index {
    /// Reads and checks the index at the end of `place`.
    pub(super) fn load(place: &(impl Place + ?Sized)) -> io::Result<Self> {
        let length = place.length()?;
        let footer_at = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| broken("too short"))?;
        let footer: [u8; FOOTER_BYTES] = exactly(place, footer_at)?;
        let (head, sum) = footer.split_at(16);
        let (magic, count) = head.split_at(8);
        if magic != MAGIC {
            return Err(broken("without its end"));
        }
        let count = little_endian(count);
        let index_at =
            count.checked_mul(RECORD_BYTES as u64).filter(|at| footer_at.checked_sub(*at) == count.checked_mul(16));
        let index_at = index_at.ok_or_else(|| broken("of the wrong length"))?;
        let mut bytes = vec![0; usize::try_from(footer_at - index_at).map_err(io::Error::other)?];
        place.read_at(&mut bytes, index_at)?;
        if blake3::Hasher::new().update(&bytes).update(head).finalize().as_bytes() != sum {
            return Err(broken("damaged in its index"));
        }
        let entry = |bytes: &[u8; 16]| {
            let (key, position) = bytes.split_at(8);
            Entry { key: Key(little_endian(key)), position: little_endian(position) }
        };
        Ok(Self(bytes.as_chunks::<16>().0.iter().map(entry).collect()))
    }

    /// Whether the sidecar has this page.
    pub(super) fn has(&self, key: Key) -> bool {
        self.0.binary_search_by_key(&key, |entry| entry.key).is_ok()
    }

    /// The keys of all pages, by level and number, ascending.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.iter().map(|entry| entry.key)
    }

    /// Reads one page from the sidecar's `place`; `None`: the sidecar does not have it.
    pub(super) fn read(&self, place: &(impl Place + ?Sized), key: Key) -> io::Result<Option<Leafed>> {
        let Ok(found) = self.0.binary_search_by_key(&key, |entry| entry.key) else { return Ok(None) };
        let Some(entry) = self.0.get(found) else { return Ok(None) };
        let record: [u8; RECORD_BYTES] = exactly(place, entry.position.saturating_mul(RECORD_BYTES as u64))?;
        let (checked, sum) = record.split_at(CHECKED_BYTES);
        let (stored_key, content) = checked.split_at(8);
        if page_checksum(checked) != sum || little_endian(stored_key) != key.0 {
            return Err(broken("damaged in a page"));
        }
        let (map, page) = content.split_at(MAP_BYTES);
        let map = map.as_chunks().0.first().copied().unwrap_or_default();
        let page = page.as_chunks().0.first().map(Page::from_bytes).unwrap_or_default();
        Ok(Some(Leafed { page, present: GrainMap::from_bytes(map) }))
    }
}

fn page_checksum(bytes: &[u8]) -> [u8; 16] {
    blake3::hash(bytes).as_bytes().as_chunks().0.first().copied().unwrap_or_default()
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.as_chunks().0.first().copied().map(u64::from_le_bytes).unwrap_or_default()
}

fn exactly<const N: usize>(place: &(impl Place + ?Sized), offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match place.read_at(&mut bytes, offset)? {
        count if count == N => Ok(bytes),
        _ => Err(broken("too short")),
    }
}

fn broken(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the sidecar is {how}"))
}
