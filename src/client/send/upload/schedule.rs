//! What is missing, cut into pieces, and how many are sent at once.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Pieces begin at multiples of this: a page of the tree, and whole objects of most images.
const STEP: u64 = 64 << 20;
/// A piece costs some round trips, and a broken one is proven by its own digest no more; so neither small nor endless.
const PIECE_MAX: u64 = 4 << 30;
/// Half of the requests that a gateway takes at once by default: sixteen would fill a line of 125 MB/s by a fifth better, and
/// leave no room for another sender.
const STREAMS_MAX: usize = 8;
/// One connection alone fills a short path.
const SHORT: Duration = Duration::from_millis(20);

/// How many streams: what the user says, or one more for each step of the round-trip time.
pub(super) fn streams(wanted: Option<usize>, round_trip: Option<Duration>) -> usize {
    let steps = round_trip.unwrap_or_default().as_millis() / SHORT.as_millis();
    let measured = usize::try_from(steps).unwrap_or(STREAMS_MAX).saturating_add(1).min(STREAMS_MAX);
    wanted.unwrap_or(measured).max(1)
}

/// The pieces of what is not `durable`, in ascending order.
pub(super) fn pieces(durable: &[Range<u64>], size: u64, streams: usize) -> VecDeque<Range<u64>> {
    let gaps = gaps(durable, size);
    let missing: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    let share = missing.div_ceil(streams.max(1) as u64).next_multiple_of(STEP).clamp(STEP, PIECE_MAX);
    let mut pieces = VecDeque::new();
    for gap in gaps {
        let mut start = gap.start;
        while start < gap.end {
            let end = (start + share).next_multiple_of(STEP).min(gap.end);
            // What would be left is less than a step: no piece of its own.
            let end = if gap.end - end < STEP / 2 { gap.end } else { end };
            pieces.push_back(start..end);
            start = end;
        }
    }
    pieces
}

fn gaps(durable: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let ends = std::iter::once(0).chain(durable.iter().map(|range| range.end));
    let starts = durable.iter().map(|range| range.start).chain([size]);
    ends.zip(starts).map(|(end, start)| end..start).filter(|gap| gap.start < gap.end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_long_path_gets_more_streams() {
        let measured = |milliseconds| streams(None, Some(Duration::from_millis(milliseconds)));
        assert_eq!([0, 10, 40, 150, 5000].map(measured), [1, 1, 3, 8, 8]);
        assert_eq!((streams(Some(3), None), streams(Some(0), None), streams(None, None)), (3, 1, 1));
    }

    #[test]
    fn pieces_are_the_gaps_and_each_stream_has_one() {
        let all = pieces(&[], 1000 * MIB, 4);
        assert_eq!(all, [0..256 * MIB, 256 * MIB..512 * MIB, 512 * MIB..768 * MIB, 768 * MIB..1000 * MIB]);
        let all = 0..5;
        assert_eq!(Vec::from(pieces(&[], 5, 8)), std::slice::from_ref(&all));
        assert_eq!(pieces(std::slice::from_ref(&all), 5, 8), []);
        let left = pieces(&[0..MIB, 3 * MIB..500 * MIB], 501 * MIB + 7, 2);
        assert_eq!(left, [MIB..3 * MIB, 500 * MIB..501 * MIB + 7]);
        assert_eq!(pieces(&[], 1 << 40, 1).len(), 256);
    }
}
