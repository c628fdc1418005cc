//! Whether the head still holds what earlier owners have written to it.
//!
//! Between two owners nobody has the lock, for days perhaps, and the pages say what was sent and not what is there now.
//! So what this owner has not written itself is read before the commit and compared: where there are pages, with those, and
//! elsewhere with the base. A byte that somebody else wrote is noticed. To park the head whenever an owner leaves was
//! refused: it says nothing of an owner that died, and an image with snapshots cannot be removed by its user.

use std::sync::Mutex;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rsnap_rbd::Image;

use crate::content::{BLOCK_BYTES, Hash, LEAF_BYTES, hash_leaves};
use crate::image::page_log::{PageLog, locked};
use crate::image::rbd::failure::{failed, tree_failed};
use crate::image::rbd::head;
use crate::image::rbd::objects::wait;
use crate::image::rbd::record::Stored;
use crate::image::rbd::session::Session;
use crate::image::{ImageError, Ranges, StageRequest};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Blocks read at a time.
const DEPTH: usize = 16;

/// Fails unless everything outside of `written` is what was sent. Blocks; costs reading it.
pub(super) fn prove(
    session: &Session,
    request: &StageRequest,
    base: Option<&Stored>,
    log: &Mutex<PageLog>,
    written: &Ranges,
) -> Result<(), ImageError> {
    let image = session.image()?;
    let mut known = written.clone();
    let blocks = locked(log).blocks(0, usize::MAX);
    let inherited = blocks.into_iter().filter(|block| !written.contains(&(block * BLOCK..(block + 1) * BLOCK)));
    let inherited: Vec<u64> = inherited.collect();
    for block in &inherited {
        known.insert(block * BLOCK..(block + 1) * BLOCK);
    }
    let check = |block: u64| prove_block(image, request, log, block);
    let checked = stream::iter(inherited).map(check).buffer_unordered(DEPTH).try_collect::<()>();
    wait(checked)?;
    for gap in known.gaps(request.size) {
        if let Some(offset) = head::first_difference(session, base, gap)? {
            return Err(changed(request, offset / BLOCK));
        }
    }
    Ok(())
}

/// Fails unless a block is what its page says.
pub(super) async fn prove_block(
    image: &Image,
    request: &StageRequest,
    log: &Mutex<PageLog>,
    block: u64,
) -> Result<(), ImageError> {
    let page = locked(log).page(block).map_err(|error| tree_failed("of an unfinished transfer", error))?;
    let found = leaves_of(image, block, request.size).await?;
    let is_same = page.is_some_and(|leafed| leafed.page.0.iter().zip(&found).all(|(page, leaf)| page == leaf));
    if is_same { Ok(()) } else { Err(changed(request, block)) }
}

fn changed(request: &StageRequest, block: u64) -> ImageError {
    ImageError::UploadDamaged {
        image: request.image.clone(),
        transfer: request.transfer.clone(),
        detail: format!(
            "somebody wrote to the head of the image between two of its requests, at byte {}; begin it anew",
            block * BLOCK
        ),
    }
}

/// The hashes of a block's leaves, as far as they are inside the image: of an image that shrank, pages may tell more.
async fn leaves_of(image: &Image, block: u64, size: u64) -> Result<Vec<Hash>, ImageError> {
    let start = block * BLOCK;
    let inside = usize::try_from(size.saturating_sub(start)).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
    let (count, mut bytes) = image.read(start, vec![0; inside]).await.map_err(failed)?;
    bytes.truncate(count);
    bytes.resize(inside.next_multiple_of(LEAF_BYTES), 0);
    Ok(hash_leaves(&bytes).collect())
}
