//! Reading ahead: many reads are under way while the socket takes what came back, and what came back keeps its order.
//!
//! The listing runs on a thread of its own, because librbd's call blocks; reads are tasks, which librbd answers from
//! threads of its own. Bounded by bytes and by number: a scattered change is thousands of small reads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rsnap_rbd::Image;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::extents::Lister;
use super::{Earlier, RbdSnapshot, Span};
use crate::client::ClientError;
use crate::client::thread::spawn;

/// Bytes of one read, at most, and what they are multiples of: objects are that large or a part of it.
const READ_MAX: u64 = 4 << 20;
/// Bytes under way, at most: what processors keep near them, because what was read is looked at by another core.
const AHEAD_BYTES: u64 = 24 << 20;
/// Reads under way, at most.
const AHEAD_READS: usize = 128;
/// Unchanged bytes between two changes that are read along with them, because a second read costs more.
const GAP_MAX: u64 = 32 << 10;
/// Reads below this get a buffer of their own size, others one that is used again.
const POOLED: u64 = 256 << 10;
/// Lists of spans that are made ahead.
const AHEAD_LISTS: usize = 2;
/// How long to wait before saying that there is nothing yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// What comes out, in ascending order.
#[derive(Debug)]
pub(crate) enum Piece {
    Data {
        offset: u64,
        bytes: Bytes,
    },
    /// Zero now, and not before.
    Zero {
        offset: u64,
        length: u64,
    },
    /// Nothing for a while; everything before this position has come out.
    Pause {
        position: u64,
    },
}

/// One read: neighbouring spans of data, and the gaps between them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    spans: Vec<Range<u64>>,
}

/// A part of the list; `None` is its end. A list that breaks off without it must not be taken for a whole one.
type List = Result<Option<Vec<Span>>, ClientError>;

enum Waiting {
    Zero(Range<u64>),
    Read(Read, JoinHandle<Result<Bytes, rsnap_rbd::Error>>),
}

/// Reads what a snapshot has over nothing, or over an earlier one. Its thread knows the runtime.
pub(crate) struct Reader {
    image: Arc<Image>,
    runtime: Handle,
    lists: Receiver<List>,
    /// The list has ended, by itself.
    complete: bool,
    /// Listed and not asked for yet.
    listed: VecDeque<Span>,
    waiting: VecDeque<Waiting>,
    /// Bytes of the reads that wait.
    ahead: u64,
    done: VecDeque<Piece>,
    position: u64,
    buffers: Buffers,
}

impl Reader {
    /// Starts to list and to read all of the image.
    pub(crate) fn start(snapshot: &RbdSnapshot, base: Option<&Earlier>) -> Result<Self, ClientError> {
        Self::within(snapshot, base, 0..u64::MAX)
    }

    /// As [`Reader::start`], for a range of the image.
    pub(crate) fn within(
        snapshot: &RbdSnapshot,
        base: Option<&Earlier>,
        wanted: Range<u64>,
    ) -> Result<Self, ClientError> {
        let start = wanted.start;
        let image = Arc::clone(&snapshot.image);
        let (sender, lists) = sync_channel(AHEAD_LISTS);
        let (listed, base) = (Arc::clone(&image), base.map(|base| base.name.clone()));
        spawn("listing", move || list(listed, base.as_deref(), wanted, &sender))?;
        Ok(Self {
            image,
            runtime: Handle::current(),
            lists,
            complete: false,
            listed: VecDeque::new(),
            waiting: VecDeque::new(),
            ahead: 0,
            done: VecDeque::new(),
            position: start,
            buffers: Buffers::default(),
        })
    }

    /// The next piece; `None` at the end. Blocks.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, ClientError> {
        if let Some(piece) = self.done.pop_front() {
            return Ok(Some(piece));
        }
        let open = self.fill()?;
        match self.waiting.pop_front() {
            Some(Waiting::Zero(range)) => {
                self.position = range.end;
                Ok(Some(Piece::Zero { offset: range.start, length: range.end - range.start }))
            }
            Some(Waiting::Read(read, task)) => self.finish(read, task).map(Some),
            None if open => Ok(Some(Piece::Pause { position: self.position })),
            None => Ok(None),
        }
    }

    /// Starts reads as far as the bounds allow; whether more may be listed. Waits only if nothing else is to do.
    fn fill(&mut self) -> Result<bool, ClientError> {
        loop {
            while self.ahead < AHEAD_BYTES && self.waiting.len() < AHEAD_READS {
                match take_read(&mut self.listed) {
                    Some(Next::Zero(range)) => self.waiting.push_back(Waiting::Zero(range)),
                    Some(Next::Read(read)) => self.begin(read),
                    None => break,
                }
            }
            if !self.listed.is_empty() || self.complete {
                return Ok(!self.complete);
            }
            let list = if self.waiting.is_empty() {
                self.lists.recv_timeout(PATIENCE)
            } else {
                self.lists.try_recv().map_err(|fault| match fault {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match list {
                Ok(list) => match list? {
                    Some(spans) => self.listed.extend(spans),
                    None => self.complete = true,
                },
                Err(RecvTimeoutError::Timeout) => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ClientError::Changed("the list of what is to be read broke off".to_owned()));
                }
            }
        }
    }

    fn begin(&mut self, read: Read) {
        let range = read.range();
        let (image, length) = (Arc::clone(&self.image), range.end - range.start);
        let buffer = self.buffers.take(length);
        self.ahead += length;
        let task = async move {
            let (found, mut buffer) = image.read(range.start, buffer).await?;
            // Ceph gives less only behind the image's end.
            buffer.truncate(found);
            Ok(Bytes::from_owner(buffer))
        };
        self.waiting.push_back(Waiting::Read(read, self.runtime.spawn(task)));
    }

    /// Waits for a read and hands out its spans.
    fn finish(
        &mut self,
        read: Read,
        mut task: JoinHandle<Result<Bytes, rsnap_rbd::Error>>,
    ) -> Result<Piece, ClientError> {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut task).await });
        let Ok(ended) = waited else {
            self.waiting.push_front(Waiting::Read(read, task));
            return Ok(Piece::Pause { position: self.position });
        };
        let bytes = ended.map_err(|fault| ClientError::Changed(format!("a read did not end: {fault}")))??;
        let range = read.range();
        if bytes.len() as u64 != range.end - range.start {
            return Err(ClientError::Changed("the image became shorter while it was read".to_owned()));
        }
        self.ahead = self.ahead.saturating_sub(range.end - range.start);
        let place = |at: u64| usize::try_from(at - range.start).unwrap_or(usize::MAX);
        let piece = |span: &Range<u64>| Piece::Data {
            offset: span.start,
            bytes: bytes.slice(place(span.start)..place(span.end)),
        };
        let mut pieces = read.spans.iter().map(piece);
        let first = pieces.next().unwrap_or(Piece::Pause { position: range.end });
        self.done.extend(pieces);
        self.position = range.end;
        Ok(first)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("image", &self.image)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Lists until the end, an error, or until nobody wants to know.
fn list(image: Arc<Image>, base: Option<&str>, wanted: Range<u64>, sender: &SyncSender<List>) {
    let mut lister = match Lister::new(image, base, wanted) {
        Ok(lister) => lister,
        Err(fault) => return drop(sender.send(Err(fault))),
    };
    loop {
        let list = lister.next();
        let goes_on = matches!(list, Ok(Some(_)));
        if sender.send(list).is_err() || !goes_on {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Zero(Range<u64>),
    Read(Read),
}

impl Read {
    fn range(&self) -> Range<u64> {
        let end = self.spans.last().map_or(0, |span| span.end);
        self.spans.first().map_or(end..end, |first| first.start..end)
    }
}

/// Takes from the front what is read at once: a part of a large span, or small ones that lie near each other.
fn take_read(listed: &mut VecDeque<Span>) -> Option<Next> {
    let first = *listed.front()?;
    if !first.data {
        listed.pop_front();
        return Some(Next::Zero(first.start..first.end));
    }
    let limit = (first.start / READ_MAX + 1).saturating_mul(READ_MAX);
    let mut read = Read::default();
    let mut end = first.start;
    while let Some(span) = listed.front_mut() {
        if !span.data || span.start >= limit || span.start > end.saturating_add(GAP_MAX) {
            break;
        }
        end = span.end.min(limit);
        read.spans.push(span.start..end);
        if span.end > limit {
            span.start = limit;
            break;
        }
        listed.pop_front();
    }
    Some(Next::Read(read))
}

/// Large buffers, used again: a fresh one costs the kernel a page fault for each of its pages.
#[derive(Debug, Clone, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Memory for one read, which goes back when it is dropped.
struct Buffer {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

impl Buffers {
    fn take(&self, length: u64) -> Buffer {
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if length < POOLED {
            return Buffer { bytes: vec![0; size], home: None };
        }
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(size, 0);
        Buffer { bytes, home: Some(self.clone()) }
    }
}

impl Buffer {
    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.0.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn reads(spans: &[(u64, u64, bool)]) -> Vec<Next> {
        let mut listed = spans.iter().map(|&(start, end, data)| Span { start, end, data }).collect();
        std::iter::from_fn(|| take_read(&mut listed)).collect()
    }

    fn read(spans: &[(u64, u64)]) -> Next {
        Next::Read(Read { spans: spans.iter().map(|&(start, end)| start..end).collect() })
    }

    #[test]
    fn large_spans_are_cut_at_objects() {
        let expected = [read(&[(MIB, 4 * MIB)]), read(&[(4 * MIB, 8 * MIB)]), read(&[(8 * MIB, 9 * MIB)])];
        assert_eq!(reads(&[(MIB, 9 * MIB, true)]), expected);
    }

    #[test]
    fn small_spans_that_lie_near_are_read_at_once() {
        let spans = [(0, 4096, true), (12288, 16384, true), (16384 + GAP_MAX + 4096, MIB, true)];
        assert_eq!(reads(&spans), [read(&[(0, 4096), (12288, 16384)]), read(&[(16384 + GAP_MAX + 4096, MIB)])]);
        let across = [(4 * MIB - 4096, 4 * MIB, true), (4 * MIB + 4096, 4 * MIB + 8192, true)];
        assert_eq!(reads(&across).len(), 2, "one read goes over two objects");
    }

    #[test]
    fn zeroes_are_not_read_and_keep_their_place() {
        let spans = [(0, 4096, true), (4096, 8192, false), (8192, 12288, true)];
        assert_eq!(reads(&spans), [read(&[(0, 4096)]), Next::Zero(4096..8192), read(&[(8192, 12288)])]);
    }

    #[test]
    fn large_buffers_come_back() {
        let buffers = Buffers::default();
        drop(buffers.take(POOLED));
        drop(buffers.take(POOLED - 1));
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
        assert_eq!(buffers.take(2 * POOLED).as_ref().len() as u64, 2 * POOLED);
    }
}
