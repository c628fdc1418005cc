//! What is to be read of a snapshot: all that is there, or what changed since an earlier one.
//!
//! Ceph answers at two prices. From the object map: which objects changed, for a whole image at once. Exactly: which
//! bytes, for one request to an OSD for each object. So the map is asked first where there is a valid one, and only the
//! objects that it names are asked for exactly. For a full snapshot the map is enough, because zeroes are found when the
//! objects are read.
//!
//! Bounded: an image is listed in parts, and a part is given on before the next one is asked for.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use rsnap_rbd::{Extent, Image};

use crate::client::ClientError;
use crate::content::GRAIN_BYTES;

const GRAIN: u64 = GRAIN_BYTES as u64;
/// Objects, or units of stripes, that the map is asked for at once.
const COARSE_UNITS: u64 = 1 << 18;
/// Bytes of the image that are listed exactly at once: a quarter of a million spans, if each second grain changed.
const FINE_BYTES: u64 = 1 << 30;
/// Neighbouring changed objects with no more unchanged ones between are asked for in one call, in which librbd asks
/// several OSDs at once.
const GAP_OBJECTS: u64 = 8;

/// Bytes of the image from `start` to `end`, whole grains but for the image's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// To be read. False: it is zero now, and was not before.
    pub(crate) data: bool,
}

/// Lists the spans of a snapshot in ascending order.
#[derive(Debug)]
pub(super) struct Lister {
    image: Arc<Image>,
    base: Option<String>,
    size: u64,
    /// What of the image is listed.
    wanted: Range<u64>,
    /// Bytes after which objects repeat: one object, or as many as a stripe goes over.
    period: u64,
    object: u64,
    /// Bytes that lie together in one object.
    unit: u64,
    /// There is a valid map of the objects that changed.
    mapped: bool,
    /// Where the coarse listing goes on.
    position: u64,
    /// What is left of it: ranges of objects.
    coarse: VecDeque<Range<u64>>,
}

/// What of the spans lies in the range: objects are listed whole.
fn clipped(spans: Vec<Span>, wanted: &Range<u64>) -> Vec<Span> {
    let clip = |span: Span| Span { start: span.start.max(wanted.start), end: span.end.min(wanted.end), ..span };
    spans.into_iter().map(clip).filter(|span| span.start < span.end).collect()
}

impl Lister {
    /// Lists `image` at the snapshot that it is open at. Blocks.
    pub(super) fn new(image: Arc<Image>, base: Option<&str>, wanted: Range<u64>) -> Result<Self, ClientError> {
        let (size, object, mapped) = (image.size()?, image.object_bytes()?, image.has_change_map(base)?);
        let (unit, stripes) = image.stripe()?;
        let period = object.saturating_mul(stripes.max(1));
        let unit = if stripes > 1 { unit } else { object };
        let base = base.map(str::to_owned);
        let position = wanted.start / period.max(1) * period;
        Ok(Self { image, base, size, wanted, period, object, unit, mapped, position, coarse: VecDeque::new() })
    }

    /// The next spans, of which there may be none; `None` at the end. Blocks.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Span>>, ClientError> {
        Ok(self.list_next()?.map(|spans| clipped(spans, &self.wanted)))
    }

    fn list_next(&mut self) -> Result<Option<Vec<Span>>, ClientError> {
        if self.coarse.is_empty() {
            if self.position >= self.size.min(self.wanted.end) {
                return Ok(None);
            }
            self.survey()?;
        }
        let part = take_part(&mut self.coarse, round_up(FINE_BYTES, self.period));
        if self.mapped && self.base.is_none() {
            return Ok(Some(part.into_iter().map(|Range { start, end }| Span { start, end, data: true }).collect()));
        }
        let mut spans = Vec::new();
        for range in join(part, GAP_OBJECTS.saturating_mul(self.object)) {
            self.list(range, false, |extent| grains(extent, self.size, &mut spans))?;
        }
        // Only within one period is the order not that of the image, and no part cuts one.
        Ok(Some(merged(spans)))
    }

    /// Fills `coarse` with the objects that changed in the next part of the image.
    fn survey(&mut self) -> Result<(), ClientError> {
        let length = round_up(COARSE_UNITS.saturating_mul(self.unit), self.period);
        let end = round_up(self.wanted.end.min(self.size), self.period).min(self.size);
        let range = self.position..self.position.saturating_add(length).min(end);
        self.position = range.end;
        if !self.mapped {
            self.coarse.push_back(range);
            return Ok(());
        }
        let (mut changed, full) = (Vec::new(), self.base.is_none());
        self.list(range, true, |Extent { offset, length, exists }| {
            if exists || !full {
                changed.push(offset..offset.saturating_add(length));
            }
        })?;
        changed.sort_by_key(|range| range.start);
        self.coarse = join(changed, 0).into();
        Ok(())
    }

    fn list(
        &self,
        range: Range<u64>,
        whole_objects: bool,
        mut each: impl FnMut(Extent) + Send,
    ) -> Result<(), ClientError> {
        let visit = |extent| {
            each(extent);
            ControlFlow::Continue(())
        };
        let length = range.end.saturating_sub(range.start);
        Ok(self.image.differences(self.base.as_deref(), whole_objects, range.start, length, visit)?)
    }
}

fn round_up(bytes: u64, unit: u64) -> u64 {
    bytes.div_ceil(unit.max(1)).saturating_mul(unit)
}

/// Takes from the front what lies within `length` bytes of the image.
fn take_part(ranges: &mut VecDeque<Range<u64>>, length: u64) -> Vec<Range<u64>> {
    let Some(first) = ranges.front() else { return Vec::new() };
    // Parts end where periods do, so that the end does not depend on where the part begins.
    let limit = round_up(first.start.saturating_add(1), length);
    let mut part = Vec::new();
    while let Some(range) = ranges.pop_front_if(|range| range.start < limit) {
        part.push(range.start..range.end.min(limit));
        if range.end > limit {
            ranges.push_front(limit..range.end);
        }
    }
    part
}

/// Ascending ranges, those joined that lie no more than `gap` apart.
fn join(ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The grains that an extent touches: those that are zero as a whole, and those that have to be read.
fn grains(extent: Extent, size: u64, spans: &mut Vec<Span>) {
    let (start, end) = (extent.offset.min(size), extent.offset.saturating_add(extent.length).min(size));
    if start >= end {
        return;
    }
    let outer = (start / GRAIN * GRAIN, round_up(end, GRAIN).min(size));
    let data = |start, end| Span { start, end, data: true };
    if extent.exists {
        return spans.push(data(outer.0, outer.1));
    }
    let inner = (round_up(start, GRAIN), if end == size { end } else { end / GRAIN * GRAIN });
    if inner.0 >= inner.1 {
        return spans.push(data(outer.0, outer.1));
    }
    let parts = [data(outer.0, inner.0), Span { start: inner.0, end: inner.1, data: false }, data(inner.1, outer.1)];
    spans.extend(parts.into_iter().filter(|span| span.start < span.end));
}

/// In ascending order, neighbours of one kind joined. Extents do not overlap, so only grains that are read can do so.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.data == span.data && span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn touched(offset: u64, length: u64, exists: bool, size: u64) -> Vec<(u64, u64, bool)> {
        let mut spans = Vec::new();
        grains(Extent { offset, length, exists }, size, &mut spans);
        spans.into_iter().map(|span| (span.start, span.end, span.data)).collect()
    }

    #[test]
    fn data_is_read_by_whole_grains() {
        assert_eq!(touched(100, 50, true, 1 << 20), [(0, 4096, true)]);
        assert_eq!(touched(4095, 2, true, 1 << 20), [(0, 8192, true)]);
        assert_eq!(touched(4096, 4096, true, 1 << 20), [(4096, 8192, true)]);
        assert_eq!(touched(4000, 4000, true, 5000), [(0, 5000, true)]);
        assert_eq!(touched(8192, 4096, true, 5000), []);
    }

    #[test]
    fn only_whole_grains_of_zeroes_are_zero() {
        assert_eq!(touched(0, 8192, false, 1 << 20), [(0, 8192, false)]);
        assert_eq!(touched(100, 50, false, 1 << 20), [(0, 4096, true)]);
        assert_eq!(touched(100, 9000, false, 1 << 20), [(0, 4096, true), (4096, 8192, false), (8192, 12288, true)]);
        assert_eq!(touched(4096, 4000, false, 5000), [(4096, 5000, false)]);
    }

    #[test]
    fn parts_end_at_multiples_of_their_length() {
        let mut ranges = VecDeque::from([5..6, 9..25, 40..41]);
        assert_eq!(take_part(&mut ranges, 10), [5..6, 9..10]);
        assert_eq!(take_part(&mut ranges, 10), vec![10..20]);
        assert_eq!(take_part(&mut ranges, 10), vec![20..25]);
        assert_eq!(take_part(&mut ranges, 10), vec![40..41]);
        assert!(ranges.is_empty() && take_part(&mut ranges, 10).is_empty());
    }

    proptest! {
        /// Whatever the extents: every byte that changed is in a span, and no byte that did not become zero is in one of
        /// zeroes.
        #[test]
        fn no_change_is_lost(cuts in proptest::collection::btree_set(0_u64..60_000, 0..24), kinds in any::<u64>(), size in 1_u64..60_000) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let mut zero = vec![None; 60_000];
            let mut spans = Vec::new();
            for (number, pair) in cuts.windows(2).enumerate().filter(|(number, _)| kinds >> (number % 32) & 1 == 1) {
                let exists = kinds >> (32 + number % 32) & 1 == 1;
                grains(Extent { offset: pair[0], length: pair[1] - pair[0], exists }, size, &mut spans);
                (pair[0]..pair[1]).for_each(|at| zero[at as usize] = Some(!exists));
            }
            spans.reverse();
            let spans = merged(spans);
            prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", spans);
            for at in 0..size {
                let span = spans.iter().find(|span| (span.start..span.end).contains(&at));
                match zero[at as usize] {
                    Some(false) => prop_assert!(span.is_some_and(|span| span.data), "byte {at}"),
                    Some(true) => prop_assert!(span.is_some(), "byte {at}"),
                    None => prop_assert!(span.is_none_or(|span| span.data), "byte {at}"),
                }
            }
            prop_assert!(spans.iter().all(|span| span.end <= size && span.start % GRAIN == 0));
        }
    }
}
