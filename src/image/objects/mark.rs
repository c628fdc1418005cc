//! What is needed: everything that a head leads to.
//!
//! What cannot be read may name anything, so a manifest or a segment that is damaged ends the marking with an error that
//! names the snapshot, and nothing is removed until that is deleted or sent again.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::head::load;
use super::layout::{Piece, Session};
use super::manifest::Reference;
use super::record::Stored;
use super::snapshot::{load_manifest, load_segment};
use super::store::Shared;
use crate::id::ImageName;
use crate::image::ImageError;

/// Segments that are read at once.
const AT_ONCE: usize = 8;

/// A writer, as a head names him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub image: ImageName,
    pub session: Session,
}

/// Everything that a head leads to. Looks at all there is.
pub(super) async fn mark(shared: &Shared) -> Result<HashSet<Piece>, ImageError> {
    let mut live = HashSet::new();
    for image in shared.images().await? {
        let head = load(&shared.bucket, &image).await?.head;
        for stored in head.snapshots.iter().chain(&head.hidden) {
            mark_snapshot(&mut live, shared, stored).await?;
        }
    }
    Ok(live)
}

/// All writers there are now.
pub(super) async fn writers(shared: &Shared) -> Result<Vec<Named>, ImageError> {
    let mut writers = Vec::new();
    for image in shared.images().await? {
        let head = load(&shared.bucket, &image).await?.head;
        writers.extend(head.writer.map(|writer| Named { image, session: writer.session }));
    }
    Ok(writers)
}

async fn mark_snapshot(live: &mut HashSet<Piece>, shared: &Shared, stored: &Stored) -> Result<(), ImageError> {
    if !live.insert(Piece::Manifest { session: stored.manifest }) {
        return Ok(());
    }
    let manifest = load_manifest(&shared.bucket, stored).await?;
    let new = |(segment, reference): &(u64, Reference)| {
        live.insert(Piece::Segment { session: reference.session, segment: *segment })
    };
    let new: Vec<_> = manifest.0.into_iter().filter(new).collect();
    let load = |(segment, reference)| load_segment(&shared.bucket, &stored.record.snapshot, segment, reference);
    let mut segments = stream::iter(new).map(load).buffer_unordered(AT_ONCE);
    while let Some(segment) = segments.try_next().await? {
        let blocks = segment.entries();
        live.extend(blocks.map(|block| Piece::Block { hash: block.page.hash(), session: block.session }));
    }
    Ok(())
}
