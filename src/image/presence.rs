//! Which grains of a block count.

use crate::content::{BLOCK_BYTES, GRAIN_BYTES, GrainMap, is_zero};

/// The grains of a block that begin before byte `limit` of the image.
pub(super) fn below(block: u64, limit: u64) -> GrainMap {
    let inside = limit.saturating_sub(block.saturating_mul(BLOCK_BYTES as u64));
    GrainMap::touched(0, usize::try_from(inside).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES))
}

/// Those of the `present` grains of a block that are zero.
pub(super) fn zero_grains(block: &[u8], present: GrainMap) -> GrainMap {
    let grains = block.chunks_exact(GRAIN_BYTES).enumerate();
    let zero = grains.filter(|(grain, bytes)| present.contains(*grain) && is_zero(bytes));
    zero.fold(GrainMap::EMPTY, |map, (grain, _)| {
        map.union(GrainMap::inside(grain * GRAIN_BYTES, (grain + 1) * GRAIN_BYTES))
    })
}
