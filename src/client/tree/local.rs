//! The tree of an image that lies here, built in one read.
//!
//! A tree is a two-thousandth of its image, which is too much memory for a large one: its pages go to a file without a
//! name in the system's folder for temporary files, each at a place of its own, so that pages of zeroes are holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use async_trait::async_trait;

use super::{Tree, Wanted, proven, proven_top};
use crate::client::source::{Blocks, Piece, RbdSnapshot, Reader};
use crate::client::{ClientError, Meter, RootMeter};
use crate::content::{BLOCK_BYTES, GRAIN_BYTES, HEIGHT, Page, PageSink, Place, Root, is_zero};

/// A tree in a file.
#[derive(Debug)]
pub(in crate::client) struct LocalTree {
    pages: PageFile,
    size: u64,
    root: Root,
    data: u64,
}

impl LocalTree {
    /// Reads all of `image` once. Blocks.
    pub(in crate::client) fn of_blocks(image: &mut dyn Blocks, meter: &Meter) -> Result<Self, ClientError> {
        let mut tree = RootMeter::with(image.size(), PageFile::new(image.size())?);
        let mut buffer = vec![0; BLOCK_BYTES];
        let (mut block, mut data) = (0, 0);
        while let Some(next) = image.next(block)? {
            image.read(next, &mut buffer)?;
            let here = data_bytes(&buffer);
            if here > 0 {
                tree.take(next * BLOCK_BYTES as u64, &buffer)?;
            }
            data += here;
            block = next + 1;
            meter.reach(block * BLOCK_BYTES as u64);
            meter.count(BLOCK_BYTES as u64);
        }
        image.prove()?;
        Self::end(image.size(), tree, data)
    }

    /// Reads all of `snapshot` once. Blocks.
    pub(in crate::client) fn of_snapshot(snapshot: &RbdSnapshot, meter: &Meter) -> Result<Self, ClientError> {
        let mut tree = RootMeter::with(snapshot.size(), PageFile::new(snapshot.size())?);
        let mut reader = Reader::start(snapshot, None)?;
        let mut data = 0;
        while let Some(piece) = reader.next()? {
            if let Piece::Data { offset, bytes } = piece {
                tree.take(offset, &bytes)?;
                data += data_bytes(&bytes);
                meter.reach(offset + bytes.len() as u64);
                meter.count(bytes.len() as u64);
            }
        }
        snapshot.prove(None)?;
        Self::end(snapshot.size(), tree, data)
    }

    /// Bytes in grains that are not all zero: what a full copy would send.
    pub(in crate::client) fn data(&self) -> u64 {
        self.data
    }

    fn end(size: u64, tree: RootMeter<PageFile>, data: u64) -> Result<Self, ClientError> {
        let (root, pages) = tree.end()?;
        Ok(Self { pages, size, root, data })
    }
}

#[async_trait]
impl Tree for LocalTree {
    fn size(&self) -> u64 {
        self.size
    }

    fn root(&self) -> Root {
        self.root
    }

    async fn top(&self) -> Result<Page, ClientError> {
        proven_top(self.pages.read(Place::TOP)?, self.size, self.root)
    }

    async fn pages(&self, wanted: &[Wanted]) -> Result<Vec<Page>, ClientError> {
        wanted.iter().map(|wanted| proven(self.pages.read(wanted.place)?, wanted)).collect()
    }
}

fn data_bytes(bytes: &[u8]) -> u64 {
    bytes.chunks(GRAIN_BYTES).filter(|grain| !is_zero(grain)).map(|grain| grain.len() as u64).sum()
}

/// Pages at places of their own; a hole is a page of zeroes.
#[derive(Debug)]
struct PageFile {
    file: File,
    /// By level, the number of the first page of the level in the file.
    first: [u64; HEIGHT as usize + 1],
}

impl PageFile {
    fn new(size: u64) -> Result<Self, ClientError> {
        let mut first = [0; HEIGHT as usize + 1];
        let mut next = 0;
        for (level, first) in (0_u32..).zip(&mut first).skip(1) {
            *first = next;
            next += size.div_ceil(1 << (16 + 4 * level)).max(1);
        }
        let file = nameless().map_err(failed("make"))?;
        Ok(Self { file, first })
    }

    fn offset(&self, level: u8, index: u64) -> u64 {
        let first = self.first.get(usize::from(level)).copied().unwrap_or_default();
        (first + index) * Page::BYTES as u64
    }

    fn read(&self, place: Place) -> Result<Page, ClientError> {
        let mut bytes = [0; Page::BYTES];
        let offset = self.offset(place.level(), place.index());
        match self.file.read_exact_at(&mut bytes, offset) {
            // The file ends with the last page that is not zero.
            Err(fault) if fault.kind() != io::ErrorKind::UnexpectedEof => Err(failed("read")(fault)),
            _ => Ok(Page::from_bytes(&bytes)),
        }
    }
}

#[async_trait]
impl PageSink for PageFile {
    type Error = ClientError;

    async fn put(&self, level: u8, index: u64, page: &Page) -> Result<(), ClientError> {
        self.file.write_all_at(&page.to_bytes(), self.offset(level, index)).map_err(failed("write"))
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> ClientError {
    ClientError::local(action, "a temporary file (TMPDIR names another folder for it)")
}

/// A file that is gone when it is closed.
fn nameless() -> io::Result<File> {
    let folder = std::env::temp_dir();
    let mut number = [0; 16];
    aws_lc_rs::rand::fill(&mut number).map_err(io::Error::other)?;
    let path = folder.join(format!("rsnap-tree-{:032x}", u128::from_le_bytes(number)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
