//! One piece of an upload.
//!
//! Whatever ends a request early, a cut, a stop, a newer request: what has come by then is kept, and the sender goes on
//! from there. Only a piece whose digest is wrong, or that cannot be unpacked, is taken back. And of one whose digest was
//! announced and never compared the last block does not count: an upload is whole when all its bytes are there, and those
//! would be bytes that nobody vouched for.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rsnap_wire::{Event, SnapshotDecoder};

use super::open::{OpenUpload, Place};
use super::window::Window;
use super::{Piece, UploadId, UploadState};
use crate::content::BLOCK_BYTES;
use crate::image::{ImageError, Ingest, Ranges};
use crate::transfer::digest::BodyCheck;
use crate::transfer::receive::refuse_disguised;
use crate::transfer::registry::Registered;
use crate::transfer::state::State;
use crate::transfer::{Body, BodyError, Digest, DigestTrailers, TransferError, Transfers, Upload};

/// How often a request that waits for its sender looks whether it is still wanted.
const LOOK: Duration = Duration::from_secs(1);

/// More ranges than any number of streams leaves, with each of them cut many times.
const RANGES_MAX: usize = 1024;

/// What the sender says of the body of one request.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    pub length: Option<u64>,
    pub digests: Vec<Digest>,
    pub digest_trailers: DigestTrailers,
    /// There is a digest of the body, plain or packed, in the header or at its end.
    pub has_digest: bool,
    /// On whose account it comes.
    pub sender: Option<String>,
}

impl Transfers {
    /// Adds a piece, and tells what is durable then. Not cancel-safe: run it on the drain's tracker.
    pub async fn append(
        &self,
        id: &UploadId,
        piece: &Piece,
        claims: Claims,
        body: &mut dyn Body,
    ) -> Result<Ranges, TransferError> {
        let open = self.attach(id).await?;
        let result = self.add(&open, piece, claims, body).await;
        let durable = open.durable();
        self.uploads.leave(open).await;
        result.map(|()| durable)
    }

    pub(super) async fn attach(&self, id: &UploadId) -> Result<Arc<OpenUpload>, TransferError> {
        let (store, image) = self.locate(&id.volume).await?;
        let missing = || ImageError::NoUpload { image: image.clone(), transfer: id.transfer.clone() };
        match self.uploads.attach(store, &image, &id.transfer, &self.load).await {
            Ok(open) => {
                let request = open.image.request();
                let is_same = request.volume == id.volume && request.snapshot == id.snapshot;
                if is_same { Ok(open) } else { Err(missing().into()) }
            }
            Err(TransferError::Image(ImageError::NoUpload { .. })) => {
                let state: UploadState = self.upload(id).await?;
                Err(if state.committed.is_some() { TransferError::UploadCompleted } else { missing().into() })
            }
            Err(other) => Err(other),
        }
    }

    async fn add(
        &self,
        open: &Arc<OpenUpload>,
        piece: &Piece,
        claims: Claims,
        body: &mut dyn Body,
    ) -> Result<(), TransferError> {
        let upload = open.note.upload(open.image.request());
        let marked_by = &upload.source.marked_by;
        if marked_by.is_some() && *marked_by != claims.sender {
            // Their mark would say that they vouch for it.
            let text = "the upload was begun by another sender, with a mark of its content; begin one of your own";
            return Err(TransferError::Request(text.to_owned()));
        }
        let upload = Upload {
            length: claims.length,
            digests: claims.digests,
            digest_trailers: claims.digest_trailers,
            ..upload
        };
        let registered = self.registry.enter(&upload)?;
        registered.advance(State::Receiving)?;
        let place = open.enter(whole(piece, open.image.size())).await?;
        let range = range(piece, open)?;
        let ingest = Ingest::piece(Arc::clone(&open.image), range.clone(), self.pool.clone(), self.depth).await;
        let ingest = open.guard(ingest)?;
        let (position, check) = (range.start, BodyCheck::new(&upload));
        let unverified = if claims.has_digest { last_block(&range) } else { range.end };
        let window = Window::new(Arc::clone(open), range.start..unverified);
        let (transfers, place, registered) = (self, &place, &registered);
        let adding = Adding { transfers, open, place, registered, range, unverified, ingest, window, position };
        adding.run(piece, check, body).await
    }
}

/// The place that a piece may need.
fn whole(piece: &Piece, size: u64) -> Range<u64> {
    match piece {
        Piece::Bytes { offset } => *offset..size,
        Piece::Changes { range } => range.clone(),
    }
}

/// Where the last block of a range begins that is inside it, whole or not.
fn last_block(range: &Range<u64>) -> u64 {
    let block = BLOCK_BYTES as u64;
    (range.end.saturating_sub(1) / block * block).max(range.start)
}

/// The place that a piece gets, where it fits what is there.
fn range(piece: &Piece, open: &OpenUpload) -> Result<Range<u64>, TransferError> {
    let (size, durable) = (open.image.size(), open.durable());
    match piece {
        Piece::Bytes { offset } => {
            let expected = durable.end_from(0);
            if *offset != expected {
                return Err(TransferError::UploadOffset { given: *offset, expected });
            }
            Ok(durable.gaps(size).into_iter().find(|gap| gap.start == *offset).unwrap_or(size..size))
        }
        Piece::Changes { range } => {
            let is_edge = |edge: u64| edge.is_multiple_of(BLOCK_BYTES as u64) || edge == size;
            if range.is_empty() || range.end > size || !is_edge(range.start) || !is_edge(range.end) {
                let text = format!(
                    "the range {}-{} must begin and end with a block of {BLOCK_BYTES} bytes inside the image, or with its \
                     end ({size})",
                    range.start, range.end
                );
                return Err(TransferError::Request(text));
            }
            if durable.overlaps(range) {
                return Err(TransferError::UploadRange(range.clone()));
            }
            refuse_scattered(durable, range)?;
            Ok(range.clone())
        }
    }
}

/// Makes durable what counts of what was `stored`: before the digest was compared, what begins before `unverified`.
async fn settle(
    transfers: &Transfers,
    open: &Arc<OpenUpload>,
    stored: Range<u64>,
    unverified: u64,
    ended: &Result<(), TransferError>,
) -> Result<(), TransferError> {
    let counts = match ended {
        Ok(()) => stored.end,
        Err(
            TransferError::Digest { .. }
            | TransferError::Body(BodyError::Trailer(_) | BodyError::Digest(_) | BodyError::Coding(_)),
        ) => stored.start,
        Err(_) => stored.end.min(unverified),
    };
    open.take(stored.start..counts);
    if counts < stored.end {
        take_back(transfers, open, counts..stored.end).await?;
    }
    open.mark().await
}

/// Of two faults of one request the one to tell: once a write has failed, all that follows fails because nobody may go on.
fn cause(settled: Result<(), TransferError>, ended: Result<(), TransferError>) -> Result<(), TransferError> {
    let is_full = |fault: &TransferError| matches!(fault, TransferError::Image(ImageError::Full { .. }));
    match (settled, ended) {
        (Err(TransferError::Image(ImageError::Fenced)), Err(fault)) => Err(fault),
        (Err(_), Err(full)) if is_full(&full) => Err(full),
        (settled, ended) => settled.and(ended),
    }
}

/// Undoes what was stored. Of a block whose first bytes count, the page must say so: it was made of all of them.
async fn take_back(transfers: &Transfers, open: &OpenUpload, range: Range<u64>) -> Result<(), TransferError> {
    open.withdraw(&range);
    if range.start.is_multiple_of(BLOCK_BYTES as u64) {
        return Ok(());
    }
    let again = Ingest::piece(Arc::clone(&open.image), range, transfers.pool.clone(), transfers.depth).await;
    open.guard(open.guard(again)?.end_piece().await)?;
    Ok(())
}

/// Each mark tells all ranges that are there, so their number is what one request can cost.
fn refuse_scattered(mut durable: Ranges, range: &Range<u64>) -> Result<(), TransferError> {
    durable.insert(range.clone());
    match durable.iter().count() > RANGES_MAX {
        true => Err(TransferError::Request(format!(
            "the upload would be there in more than {RANGES_MAX} ranges; send what lies between them first"
        ))),
        false => Ok(()),
    }
}

/// One request at work.
struct Adding<'a> {
    transfers: &'a Transfers,
    open: &'a Arc<OpenUpload>,
    place: &'a Place,
    registered: &'a Registered,
    range: Range<u64>,
    /// What begins here does not count before the digest is compared. The end of the range if there is none.
    unverified: u64,
    ingest: Ingest,
    window: Window,
    /// Everything of the range before it was received.
    position: u64,
}

impl Adding<'_> {
    async fn run(mut self, piece: &Piece, mut check: BodyCheck, body: &mut dyn Body) -> Result<(), TransferError> {
        let received = match piece {
            Piece::Bytes { .. } => self.bytes(&mut check, body).await,
            Piece::Changes { .. } => self.changes(&mut check, body).await,
        };
        let is_whole = received.is_ok();
        // What is being made durable must have ended before more is asked for.
        let marked = self.window.end().await;
        let end = match (piece, is_whole) {
            (Piece::Changes { .. }, false) => self.ingest.end_at_block().await,
            _ => self.ingest.end_piece().await,
        };
        let end = self.open.guard(end);
        let ended = match received {
            Ok(()) => body.trailers().await.map_err(TransferError::from).and_then(|trailers| check.verify(&trailers)),
            Err(fault) => Err(fault),
        };
        let stored = marked.and(end).map(|end| match piece {
            Piece::Changes { .. } if is_whole => self.range.end,
            _ => end,
        });
        let settled = match stored {
            Ok(end) => settle(self.transfers, self.open, self.range.start..end, self.unverified, &ended).await,
            Err(fault) => Err(fault),
        };
        cause(settled, ended)
    }

    async fn bytes(&mut self, check: &mut BodyCheck, body: &mut dyn Body) -> Result<(), TransferError> {
        while let Some(frame) = self.next(body).await? {
            if self.position == 0 {
                refuse_disguised(&frame)?;
            }
            let (position, size, end) = (self.position, self.open.image.size(), self.position + frame.len() as u64);
            if end > size {
                return Err(TransferError::UploadLength { length: end, size });
            }
            let free = usize::try_from(self.range.end - position).unwrap_or(usize::MAX);
            let frame = frame.get(..free).unwrap_or(&frame);
            check.update(frame);
            self.registered.count(frame.len());
            self.open.guard(self.ingest.write(position, frame).await)?;
            self.position += frame.len() as u64;
            self.window.advance(frame.len() as u64, self.position, &mut self.ingest).await?;
            if end > self.range.end {
                // What lies there came as changes. Up to it, what came counts.
                return Err(TransferError::UploadRange(self.range.end..end));
            }
        }
        Ok(())
    }

    async fn changes(&mut self, check: &mut BodyCheck, body: &mut dyn Body) -> Result<(), TransferError> {
        let mut decoder = SnapshotDecoder::rbd_diff();
        let mut has_base = false;
        while let Some(frame) = self.next(body).await? {
            check.update(&frame);
            let mut input: &[u8] = &frame;
            while let Some(event) = decoder.next(&mut input).map_err(TransferError::malformed)? {
                has_base |= matches!(event, Event::From(_));
                self.change(event, has_base).await?;
            }
            self.window.advance(frame.len() as u64, self.position, &mut self.ingest).await?;
        }
        decoder.finish().map_err(TransferError::malformed)
    }

    async fn change(&mut self, event: Event<'_>, has_base: bool) -> Result<(), TransferError> {
        match event {
            Event::From(_) | Event::To(_) | Event::Protected(_) => {}
            Event::Size(size) if size != self.open.image.size() => {
                return Err(TransferError::Size { size, allowed: self.open.image.size() });
            }
            Event::Size(_) if has_base != self.open.image.request().base.is_some() => {
                let text = "the stream starts from a base and the upload does not, or the other way round";
                return Err(TransferError::BaseMismatch(text.to_owned()));
            }
            Event::Size(_) => {}
            Event::Data { offset, bytes } => {
                self.registered.count(bytes.len());
                self.open.guard(self.ingest.write(offset, bytes).await)?;
                self.position = offset + bytes.len() as u64;
            }
            Event::Zero { offset, length } => {
                self.open.guard(self.ingest.zero(offset, length).await)?;
                self.position = offset + length;
            }
            Event::End => self.position = self.range.end,
        }
        Ok(())
    }

    /// The next bytes of the body, as long as the place is ours.
    async fn next(&mut self, body: &mut dyn Body) -> Result<Option<Bytes>, TransferError> {
        let mut next = pin!(body.next());
        loop {
            tokio::select! {
                biased;
                () = self.place.stop.cancelled() => return Err(ImageError::Fenced.into()),
                frame = &mut next => return match frame {
                    Err(BodyError::Stopping) => Err(TransferError::Stopping),
                    frame => Ok(frame?),
                },
                () = tokio::time::sleep(LOOK) => {
                    self.open.guard(self.open.image.check().await)?;
                    self.window.look(&mut self.ingest).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    #[test]
    fn the_last_block_is_the_one_that_the_end_is_in() {
        for (range, start) in [
            (0..4 * BLOCK, 3 * BLOCK),
            (0..4 * BLOCK + 1, 4 * BLOCK),
            (5..BLOCK, 5),
            (BLOCK + 7..2 * BLOCK + 3, 2 * BLOCK),
            (BLOCK + 7..BLOCK + 9, BLOCK + 7),
            (7..7, 7),
        ] {
            assert_eq!(last_block(&range), start, "{range:?}");
        }
    }

    #[test]
    fn ranges_are_few() {
        let far = |number: u64| 2 * number * BLOCK..(2 * number + 1) * BLOCK;
        let mut durable = Ranges::default();
        for number in 0..RANGES_MAX as u64 {
            refuse_scattered(durable.clone(), &far(number)).unwrap();
            durable.insert(far(number));
        }
        let refused = refuse_scattered(durable.clone(), &far(RANGES_MAX as u64));
        assert!(matches!(refused, Err(TransferError::Request(_))), "{refused:?}");
        refuse_scattered(durable, &(BLOCK..2 * BLOCK)).unwrap();
    }
}
