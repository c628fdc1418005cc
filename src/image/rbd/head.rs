//! Making the head ready for a transfer: proven to be the base, or empty, and of the new size.
//!
//! A record says what was committed, not what the head is now: a transfer may have died in it, or somebody may have
//! written behind our back. So the storage itself is asked what differs between the base's snapshot and the head: by the
//! object map where there is a valid one, which costs one read, and then exactly where that says that something changed.
//! What differs is reverted, and counted, because it is either the trace of a failed transfer or of a stranger.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rsnap_rbd::{Error, Extent, Features, Image, Mode, SnapshotReference};

use super::failure::{failed, sized};
use super::objects::wait;
use super::record::Stored;
use super::revert::{Difference, Revert, choose};
use super::session::Session;
use crate::content::{GRAIN_BYTES, is_zero};
use crate::image::ImageError;

/// Bytes that are read from the base and written to the head at once.
const PIECE: u64 = 1 << 20;
/// Bytes whose differences are listed at once.
const PART: u64 = 1 << 30;
/// Pieces under way at a time.
const DEPTH: usize = 16;
/// More extents than these are not listed: a rollback is cheaper by then.
const EXTENTS_MAX: usize = 1 << 18;

/// Whether the image reads as zeroes everywhere. Blocks.
pub(super) fn is_blank(image: &Image) -> Result<bool, ImageError> {
    let size = image.size().map_err(failed)?;
    let mut blank = true;
    let each = |extent: Extent| {
        blank &= !extent.exists;
        if extent.exists { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    image.differences(None, true, 0, size, each).map_err(failed)?;
    Ok(blank)
}

/// An empty head of `size` bytes. Blocks.
pub(super) fn clear(session: &Session, size: u64) -> Result<(), ImageError> {
    let image = session.image()?;
    // Object maps of an image that has shrunk do not tell everything.
    let is_new = image.snapshots().map_err(failed)?.is_empty();
    if !is_new || !is_blank(image)? {
        session.changed(image.resize(0))?;
    }
    resize(session, size)
}

/// Makes a range of the head what `base` has there, or zeroes. Costs what differs. Blocks.
pub(super) fn revert(session: &Session, base: Option<&Stored>, range: Range<u64>) -> Result<(), ImageError> {
    let limit = base.map_or(0, |base| base.layer.record.size).clamp(range.start, range.end);
    if let Some(base) = base {
        let name = base.layer.record.name.as_str();
        for changed in changed_ranges(session.image()?, name, range.start..limit)? {
            for part in parts(changed) {
                let extents = differing(session.image()?, Some(name), false, &part)?;
                write_back(session, base, extents)?;
            }
        }
        check_base(session, base)?;
    }
    zero(session, limit..range.end)
}

/// Zeroes what there is in a range.
fn zero(session: &Session, range: Range<u64>) -> Result<(), ImageError> {
    let head = session.image()?;
    let there = match maps_tell(head, range.end)? {
        true => differing(head, None, true, &range)?,
        false => vec![Extent { offset: range.start, length: range.end - range.start, exists: true }],
    };
    for extent in there.into_iter().filter(|extent| extent.length > 0) {
        session.changed(wait(head.write_zeroes(extent.offset, extent.length)))?;
    }
    session.changed(wait(head.flush()))
}

/// What differs in a range, merged.
fn differing(image: &Image, from: Option<&str>, whole: bool, range: &Range<u64>) -> Result<Vec<Extent>, ImageError> {
    let mut extents: Vec<Extent> = Vec::new();
    let each = |extent: Extent| {
        let (start, end) = (extent.offset.max(range.start), (extent.offset + extent.length).min(range.end));
        match extents.last_mut() {
            Some(last) if last.offset + last.length == start => last.length = end.saturating_sub(last.offset),
            _ if start < end => extents.push(Extent { offset: start, length: end - start, exists: true }),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    if !range.is_empty() {
        image.differences(from, whole, range.start, range.end - range.start, each).map_err(failed)?;
    }
    Ok(extents)
}

/// The first byte of a range that is not what `base` has there, or not zero. Costs reading what may differ. Blocks.
pub(super) fn first_difference(
    session: &Session,
    base: Option<&Stored>,
    range: Range<u64>,
) -> Result<Option<u64>, ImageError> {
    let head = session.image()?;
    let (name, limit) = base.map_or((None, 0), |base| {
        let record = &base.layer.record;
        (Some(record.name.as_str()), record.size)
    });
    let at = base.map(|base| SnapshotReference::Id(base.snapshot));
    let source = at.map(|at| session.pool.open(session.name.as_str(), Mode::ReadOnly, Some(at)));
    let source = source.transpose().map_err(failed)?;
    let whole = Extent { offset: range.start, length: range.end - range.start, exists: true };
    for part in parts(whole) {
        let extents = differing(head, name, false, &part)?;
        let compared = stream::iter(extents.into_iter().flat_map(pieces))
            .map(|piece| compare_piece(head, source.as_ref().map(|source| (source, limit)), piece));
        let found = compared.buffered(DEPTH).try_filter_map(async |found| Ok(found));
        if let Some(offset) = wait(async { Box::pin(found).try_next().await }).map_err(failed)? {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

async fn compare_piece(
    head: &Image,
    base: Option<(&Image, u64)>,
    (offset, length): (u64, u64),
) -> Result<Option<u64>, Error> {
    let read = async |image: &Image, length: u64| {
        let wanted = usize::try_from(length).unwrap_or_default();
        let (count, mut bytes) =
            if wanted == 0 { (0, Vec::new()) } else { image.read(offset, vec![0; wanted]).await? };
        bytes.truncate(count);
        Ok::<_, Error>(bytes)
    };
    let there = read(head, length).await?;
    let expected = match base {
        Some((image, limit)) => read(image, limit.saturating_sub(offset).min(length)).await?,
        None => Vec::new(),
    };
    let expected = expected.into_iter().chain(std::iter::repeat(0));
    let position = there.into_iter().zip(expected).position(|(there, expected)| there != expected);
    Ok(position.map(|position| offset + position as u64))
}

/// An extent in parts whose differences may be listed.
fn parts(extent: Extent) -> impl Iterator<Item = Range<u64>> {
    let end = extent.offset + extent.length;
    (0..extent.length.div_ceil(PART)).map(move |number| {
        let start = extent.offset + number * PART;
        start..end.min(start + PART)
    })
}

/// Makes the head what a snapshot is, size and all. Blocks.
pub(super) fn roll_back(session: &Session, snapshot: &str) -> Result<(), ImageError> {
    session.changed(session.image()?.rollback(snapshot))
}

/// What differed between a head and its base, and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reverted {
    pub difference: Difference,
    pub way: Revert,
}

/// A head that is `base`, and has `size` bytes. Blocks.
pub(super) fn restore(session: &Session, base: &Stored, size: u64) -> Result<Reverted, ImageError> {
    let record = &base.layer.record;
    resize(session, record.size)?;
    let (difference, extents) = compare(session.image()?, record.name.as_str(), record.size)?;
    let way = choose(difference);
    match way {
        Revert::Nothing => {}
        Revert::Rollback => session.changed(session.image()?.rollback(record.name.as_str()))?,
        Revert::Extents => write_back(session, base, extents)?,
    }
    resize(session, size)?;
    check_base(session, base)?;
    Ok(Reverted { difference, way })
}

/// Snapshots are compared and rolled back to by their names, which somebody may have given to another one meanwhile.
fn check_base(session: &Session, base: &Stored) -> Result<(), ImageError> {
    let record = &base.layer.record;
    let snapshots = session.image()?.snapshots().map_err(failed)?;
    if snapshots.iter().any(|there| there.id == base.snapshot && there.name == record.name.as_str()) {
        return Ok(());
    }
    Err(ImageError::BaseChanged {
        image: session.name.clone(),
        base: record.snapshot.clone(),
        detail: "its RBD snapshot was removed, renamed or made again while the image was made ready".to_owned(),
    })
}

fn resize(session: &Session, size: u64) -> Result<(), ImageError> {
    let image = session.image()?;
    if image.size().map_err(failed)? == size {
        return Ok(());
    }
    let resized = image.resize(size);
    if let Err(error) = &resized
        && let too_large @ ImageError::Size { .. } = sized(size, error.clone())
    {
        return Err(too_large);
    }
    session.changed(resized)
}

/// What differs between a snapshot and the head. Without any difference the objects are not counted.
fn compare(image: &Image, snapshot: &str, size: u64) -> Result<(Difference, Vec<Extent>), ImageError> {
    let mut extents = Vec::new();
    let mut difference = Difference::default();
    for changed in changed_ranges(image, snapshot, 0..size)? {
        let each = |extent: Extent| {
            difference.extents += 1;
            difference.bytes += extent.length;
            if extents.len() < EXTENTS_MAX {
                extents.push(extent);
            }
            ControlFlow::Continue(())
        };
        image.differences(Some(snapshot), false, changed.offset, changed.length, each).map_err(failed)?;
    }
    if difference.extents > 0 {
        difference.objects = count_objects(image, size)?;
    }
    if extents.len() == EXTENTS_MAX {
        difference.objects = 0;
    }
    Ok((difference, extents))
}

/// Whether object maps tell what differs before `end`. Maps are compared one after the other, and what the map of a smaller
/// snapshot in between does not cover counts as never written from there on: then they tell nothing.
fn maps_tell(image: &Image, end: u64) -> Result<bool, ImageError> {
    let flags = image.flags().map_err(failed)?;
    let has_map = image.features().map_err(failed)?.contains(Features::FAST_DIFF);
    let shrank = image.snapshots().map_err(failed)?.iter().any(|between| between.size < end);
    Ok(has_map && !shrank && !flags.fast_diff_invalid && !flags.object_map_invalid)
}

/// The ranges that may differ: whole objects where the object maps tell, else everything.
fn changed_ranges(image: &Image, snapshot: &str, range: Range<u64>) -> Result<Vec<Extent>, ImageError> {
    let everything = Extent { offset: range.start, length: range.end - range.start, exists: true };
    if !maps_tell(image, range.end)? {
        return Ok(vec![everything]);
    }
    differing(image, Some(snapshot), true, &range)
}

fn count_objects(image: &Image, size: u64) -> Result<u64, ImageError> {
    let object = image.object_bytes().map_err(failed)?.max(1);
    let mut bytes = 0;
    let each = |extent: Extent| {
        bytes += extent.length;
        ControlFlow::Continue(())
    };
    image.differences(None, true, 0, size, each).map_err(failed)?;
    Ok(bytes.div_ceil(object))
}

/// Writes what the base has into the head, where they differ.
fn write_back(session: &Session, base: &Stored, extents: Vec<Extent>) -> Result<(), ImageError> {
    let at = SnapshotReference::Id(base.snapshot);
    let source = session.pool.open(session.name.as_str(), Mode::ReadOnly, Some(at)).map_err(failed)?;
    let head = session.image()?;
    let pieces = extents.into_iter().flat_map(pieces);
    let copied = stream::iter(pieces).map(|(offset, length)| copy(&source, head, offset, length));
    session.changed(wait(async { copied.buffer_unordered(DEPTH).try_collect::<()>().await }))?;
    session.changed(wait(head.flush()))
}

/// The offsets and lengths of an extent cut into pieces.
fn pieces(extent: Extent) -> impl Iterator<Item = (u64, u64)> {
    let end = extent.offset + extent.length;
    (0..extent.length.div_ceil(PIECE)).map(move |number| {
        let start = extent.offset + number * PIECE;
        (start, PIECE.min(end - start))
    })
}

async fn copy(source: &Image, head: &Image, offset: u64, length: u64) -> Result<(), Error> {
    let length = usize::try_from(length).unwrap_or_default();
    let (count, mut bytes) = source.read(offset, vec![0; length]).await?;
    bytes.get_mut(count..).unwrap_or_default().fill(0);
    let bytes = Arc::new(bytes);
    for (range, zero) in runs(&bytes) {
        let at = offset + range.start as u64;
        if zero {
            head.write_zeroes(at, range.len() as u64).await?;
        } else {
            head.write(at, Part(Arc::clone(&bytes)), range).await?;
        }
    }
    Ok(())
}

/// A buffer of which several parts are written.
struct Part(Arc<Vec<u8>>);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Ranges of neighbouring grains that are all zero (`true`), or none of which is.
fn runs(bytes: &[u8]) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for (number, grain) in bytes.chunks(GRAIN_BYTES).enumerate() {
        let (start, zero) = (number * GRAIN_BYTES, is_zero(grain));
        let end = start + grain.len();
        match runs.last_mut() {
            Some((range, kind)) if *kind == zero => range.end = end,
            _ => runs.push((start..end, zero)),
        }
    }
    runs
}
