//! Reads all that is stored of a snapshot against its tree, and names what is not what was committed.
//!
//! Other readers stop at the first fault, because nothing wrong may leave; here each fault is a result. A page of the
//! tree that is wrong leaves everything under it without proof, so all of that is named. What no read ever returns,
//! such as bytes in a file under a page that says "zero", is not looked at.

use std::ops::Range;
use std::sync::Arc;

use super::{ImageError, SnapshotImage};
use crate::buffer::BlockBuffer;
use crate::content::{GrainMap, Hash, Page, Place, Root, hash_leaves};

/// A page that was read, or why it is none.
type Read = Result<Page, String>;

/// An inspection on its way through one snapshot.
#[derive(Debug)]
pub struct Inspection {
    image: Arc<dyn SnapshotImage>,
    /// Bytes of the image before it are not looked at.
    from: u64,
    /// Pages to descend into, the next one last; at most those of one node on each level.
    ahead: Vec<(Place, Read)>,
}

/// What one step has looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Looked {
    /// Bytes of the image that are done with this step.
    pub bytes: Range<u64>,
    /// Whether they had to be read.
    pub read: bool,
    pub damaged: Vec<Damage>,
}

/// Bytes that are not provably what was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub bytes: Range<u64>,
    pub detail: String,
    /// Whether the right bytes would mend it: not where the tree itself is damaged.
    pub is_mendable: bool,
}

impl Inspection {
    /// Looks at the bytes of `image` from `from` on. Proves the top of the tree by the root in the record.
    pub async fn begin(image: Arc<dyn SnapshotImage>, from: u64) -> Result<Self, ImageError> {
        let record = image.record();
        let proven = |page: &Page| Root::new(record.size, page.hash()) == record.root;
        let top = read(image.as_ref(), Place::TOP, proven).await?;
        Ok(Self { from, ahead: vec![(Place::TOP, top)], image })
    }

    /// The next block, or the next part of the image that cannot be proven; `None` at the end. `buffer` is for the data.
    pub async fn next(&mut self, buffer: &mut BlockBuffer) -> Result<Option<Looked>, ImageError> {
        while let Some((place, page)) = self.ahead.pop() {
            let bytes = place.bytes(self.size());
            match page {
                _ if bytes.end <= self.from && place != Place::TOP => {}
                Err(detail) => {
                    let damaged = vec![Damage { bytes: bytes.clone(), detail, is_mendable: false }];
                    return Ok(Some(Looked { bytes, read: false, damaged }));
                }
                Ok(page) if place.level() == 1 => {
                    let damaged = self.block(place, &page, buffer).await?;
                    return Ok(Some(Looked { bytes, read: true, damaged }));
                }
                Ok(page) => self.descend(place, &page).await?,
            }
        }
        Ok(None)
    }

    fn size(&self) -> u64 {
        self.image.record().size
    }

    /// Reads the pages below `page` that are not zero, in one call where none of them is broken.
    async fn descend(&mut self, place: Place, page: &Page) -> Result<(), ImageError> {
        let children = page.0.iter().enumerate().filter(|(_, hash)| !hash.is_zero());
        let wanted: Vec<(Place, Hash)> =
            children.filter_map(|(child, hash)| Some((place.child(child)?, *hash))).collect();
        let indices: Vec<u64> = wanted.iter().map(|(child, _)| child.index()).collect();
        let together = self.image.pages(place.level().saturating_sub(1), &indices).await.unwrap_or_default();
        for (position, (child, expected)) in wanted.into_iter().enumerate().rev() {
            let found = match together.get(position) {
                Some(page) if page.hash() == expected => Ok(*page),
                _ => read(self.image.as_ref(), child, |page| page.hash() == expected).await?,
            };
            self.ahead.push((child, found));
        }
        Ok(())
    }

    /// The leaves of one block that differ from its page, neighbours together.
    async fn block(&self, place: Place, page: &Page, buffer: &mut BlockBuffer) -> Result<Vec<Damage>, ImageError> {
        if let Err(error) = self.image.read(place.index(), GrainMap::FULL, buffer).await {
            let detail = fault(error)?;
            return Ok(vec![Damage { bytes: place.bytes(self.size()), detail, is_mendable: true }]);
        }
        let mut damaged: Vec<Damage> = Vec::new();
        let wrong =
            page.0.iter().zip(hash_leaves(buffer)).enumerate().filter(|(_, (expected, found))| *expected != found);
        for bytes in wrong.map(|(leaf, _)| place.leaf(leaf, self.size())) {
            match damaged.last_mut() {
                Some(last) if last.bytes.end == bytes.start => last.bytes.end = bytes.end,
                _ => damaged.push(Damage {
                    bytes,
                    detail: "the bytes do not have the hash recorded at the commit".to_owned(),
                    is_mendable: true,
                }),
            }
        }
        Ok(damaged)
    }
}

/// One page, proven by `is_right`.
async fn read(image: &dyn SnapshotImage, place: Place, is_right: impl Fn(&Page) -> bool) -> Result<Read, ImageError> {
    match image.page(place.level(), place.index()).await {
        Ok(page) if is_right(&page) => Ok(Ok(page)),
        Ok(_) => {
            let (level, index) = (place.level(), place.index());
            Ok(Err(format!("page {index} of level {level} of the content tree is wrong: nothing under it is proven")))
        }
        Err(error) => fault(error).map(Err),
    }
}

/// What a failed read means: damage where these bytes are bad, an error where the storage as a whole fails.
fn fault(error: ImageError) -> Result<String, ImageError> {
    match error {
        ImageError::Damaged { detail, .. } => Ok(detail),
        ImageError::Io { source, action } if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            tracing::warn!(action, error = %source, "read stored bytes");
            Ok("the storage cannot read it".to_owned())
        }
        other => Err(other),
    }
}
