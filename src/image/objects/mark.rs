//! What is needed: everything that a head leads to.
//!
//! The memory that this takes is bounded, whatever is in the store: the filter of [`super::live`], a part of the names of
//! segments that were read (so that snapshots which share them do not have them read again and again; where there are
//! more, some are), one manifest, as long as its image allows, and a few segments.
//!
//! What cannot be read may name anything, so a manifest or a segment that is damaged ends the marking with an error that
//! names the snapshot, and nothing is removed until that is deleted or sent again.

use std::collections::HashSet;
use std::hash::Hash;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::head::load;
use super::layout::{Piece, Session};
use super::live::Live;
use super::manifest::Reference;
use super::record::Stored;
use super::snapshot::{load_manifest, load_segment};
use super::store::Shared;
use crate::id::ImageName;
use crate::image::ImageError;

/// Segments that are read at once.
const AT_ONCE: usize = 8;
/// Segments of one image that are known to have been read.
const READ: usize = 1 << 20;

/// A writer, as a head names him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub image: ImageName,
    pub session: Session,
}

/// Everything that a head leads to. Looks at all there is.
pub(super) async fn mark(shared: &Shared) -> Result<Live, ImageError> {
    let mut live = Live::new();
    for image in shared.images().await? {
        let head = load(&shared.bucket, &image).await?.head;
        // A segment belongs to one image.
        let mut read = HashSet::new();
        for stored in head.snapshots.iter().chain(&head.hidden) {
            mark_snapshot(&mut live, &mut read, shared, stored).await?;
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

async fn mark_snapshot(
    live: &mut Live,
    read: &mut HashSet<(u64, Session)>,
    shared: &Shared,
    stored: &Stored,
) -> Result<(), ImageError> {
    live.insert(&Piece::Manifest { session: stored.manifest });
    let manifest = load_manifest(&shared.bucket, stored).await?;
    let new = |(segment, reference): &(u64, Reference)| is_new(read, (*segment, reference.session), READ);
    let new = manifest.0.into_iter().filter(new).inspect(|(segment, reference)| {
        live.insert(&Piece::Segment { session: reference.session, segment: *segment });
    });
    let new: Vec<_> = new.collect();
    let load = |(segment, reference)| load_segment(&shared.bucket, &stored.record.snapshot, segment, reference);
    let mut segments = stream::iter(new).map(load).buffer_unordered(AT_ONCE);
    while let Some(segment) = segments.try_next().await? {
        for block in segment.entries() {
            live.insert(&Piece::Block { hash: block.page.hash(), session: block.session });
        }
    }
    Ok(())
}

/// Whether something is not among what is remembered, of which there are at most so many.
fn is_new<T: Eq + Hash>(remembered: &mut HashSet<T>, what: T, most: usize) -> bool {
    if remembered.len() >= most {
        remembered.clear();
    }
    remembered.insert(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_what_was_forgotten_is_new() {
        let mut remembered = HashSet::new();
        let news = [1, 1, 2, 3, 1, 1].map(|what| is_new(&mut remembered, what, 3));
        assert_eq!(news, [true, false, true, true, true, false]);
        assert!(remembered.len() <= 3);
    }
}
