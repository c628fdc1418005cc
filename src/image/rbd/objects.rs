//! A sidecar as RADOS objects: pieces of 4 MiB, one after the other, beside the image in its pool and namespace.
//!
//! ```text
//! rsnap.tree.<Ceph's id of the image>.<tree>.<number of the piece, 8 hexadecimal digits>
//! ```
//!
//! Not image metadata: a page for each block of a large volume is more than an omap of one object should hold. Whoever
//! goes through a tree asks for neighbours, so reads are of 64 KiB and the last few are remembered. Calls block; they run
//! on threads that may.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use rsnap_rbd::{Error, Kind, Pool};

use super::failure::as_io;
use crate::image::page_log::LogPlace;
use crate::image::sidecar::Place;

/// What the names of all these objects begin with.
pub(super) const TREES: &str = "rsnap.tree.";
/// Bytes of one object.
const PIECE: u64 = 4 << 20;
/// Bytes that are read for one page.
const SEGMENT: u64 = 64 << 10;
/// Segments remembered.
const SEGMENTS: usize = 16;

/// A tree's objects.
#[derive(Debug)]
pub(super) struct Objects {
    pool: Pool,
    stem: String,
    length: AtomicU64,
    /// Those used last come first.
    segments: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
}

impl Objects {
    /// The objects of `tree`, of which `length` bytes are written.
    pub(super) fn new(pool: &Pool, image: &str, tree: &str, length: u64) -> Self {
        let stem = format!("{TREES}{image}.{tree}");
        Self { pool: pool.clone(), stem, length: AtomicU64::new(length), segments: Mutex::default() }
    }

    /// The objects of `tree`, of which nobody has noted how much is written behind `known` bytes.
    pub(super) fn find(pool: &Pool, image: &str, tree: &str, known: u64) -> Result<Self, Error> {
        let objects = Self::new(pool, image, tree, 0);
        let mut number = known / PIECE;
        let mut length = number * PIECE;
        while let Some(size) = objects.size(number)? {
            length += size;
            number += 1;
            if size < PIECE {
                break;
            }
        }
        objects.length.store(length, Ordering::Release);
        Ok(objects)
    }

    fn size(&self, number: u64) -> Result<Option<u64>, Error> {
        match wait(self.pool.stat(&self.piece(number))) {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn piece(&self, number: u64) -> String {
        format!("{}.{number:08x}", self.stem)
    }

    /// Removes all objects, also those of a tree of which nobody knows how far it was written. The first ones go last, so
    /// that the rest is found again if this is cut short.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let mut count = self.length.load(Ordering::Relaxed).div_ceil(PIECE);
        while self.has(count)? {
            count += 1;
        }
        for number in (0..count).rev() {
            match wait(self.pool.remove(&self.piece(number))) {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn has(&self, number: u64) -> Result<bool, Error> {
        Ok(self.size(number)?.is_some())
    }

    fn segment(&self, number: u64) -> io::Result<Arc<Vec<u8>>> {
        if let Some(bytes) = self.recall(number) {
            return Ok(bytes);
        }
        let length = SEGMENT.min(self.written().saturating_sub(number * SEGMENT));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.fetch(&mut bytes, number * SEGMENT)?;
        let bytes = Arc::new(bytes);
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.truncate(SEGMENTS - 1);
        segments.push_front((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Forgets what was read from `offset` on.
    fn forget_from(&self, offset: u64) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.retain(|(number, _)| (number + 1) * SEGMENT <= offset);
    }

    fn recall(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let found = segments.iter().position(|(at, _)| *at == number)?;
        let entry = segments.remove(found)?;
        let bytes = Arc::clone(&entry.1);
        segments.push_front(entry);
        Some(bytes)
    }

    /// Reads all of `buffer`, piece by piece.
    fn fetch(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let inside = position % PIECE;
            let length = rest.len().min(usize::try_from(PIECE - inside).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at_mut(length);
            let object = self.piece(position / PIECE);
            let (count, bytes) = wait(self.pool.read(&object, inside, vec![0; length])).map_err(as_io)?;
            if count < length {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("object {object} is too short")));
            }
            now.copy_from_slice(&bytes);
            position += length as u64;
            rest = later;
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }
}

impl Place for Objects {
    fn length(&self) -> io::Result<u64> {
        Ok(self.written())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = usize::try_from(self.written().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(there);
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if wanted as u64 > SEGMENT {
            self.fetch(buffer, offset)?;
            return Ok(wanted);
        }
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let segment = self.segment(position / SEGMENT)?;
            let from = segment.get(usize::try_from(position % SEGMENT).unwrap_or_default()..).unwrap_or_default();
            let (now, later) = rest.split_at_mut(rest.len().min(from.len()));
            now.copy_from_slice(from.get(..now.len()).unwrap_or_default());
            if now.is_empty() {
                break;
            }
            position += now.len() as u64;
            rest = later;
        }
        Ok(wanted)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut position = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let inside = position % PIECE;
            let length = rest.len().min(usize::try_from(PIECE - inside).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at(length);
            wait(self.pool.write(&self.piece(position / PIECE), inside, now.to_vec())).map_err(as_io)?;
            position += length as u64;
            rest = later;
        }
        self.length.fetch_max(position, Ordering::AcqRel);
        self.forget_from(offset);
        Ok(())
    }
}

impl LogPlace for Objects {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Place::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        Place::write_at(self, bytes, offset)
    }

    /// From the end on, so that what is left is a beginning at any moment. An object is cut by writing it anew.
    fn cut(&self, length: u64) -> io::Result<()> {
        let (last, inside) = (length / PIECE, length % PIECE);
        let mut count = self.written().div_ceil(PIECE);
        while self.has(count).map_err(as_io)? {
            count += 1;
        }
        for number in (last + u64::from(inside > 0)..count).rev() {
            match wait(self.pool.remove(&self.piece(number))) {
                Err(error) if error.kind() != Kind::NotFound => return Err(as_io(error)),
                _ => {}
            }
        }
        if inside > 0 && self.size(last).map_err(as_io)?.is_some_and(|size| size > inside) {
            let mut kept = vec![0; usize::try_from(inside).unwrap_or_default()];
            self.fetch(&mut kept, last * PIECE)?;
            wait(self.pool.write_full(&self.piece(last), kept)).map_err(as_io)?;
        }
        self.length.store(length, Ordering::Release);
        self.forget_from(length);
        Ok(())
    }

    /// An object is durable once it is written.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for an answer of the cluster, on a thread that may: not one of the runtime's only, for an image may be closed
/// anywhere.
pub(super) fn wait<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut answer = pin!(answer);
    let waker = Waker::from(Arc::new(Waiting(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A thread that waits for an answer.
struct Waiting(Thread);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
