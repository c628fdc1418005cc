//! The head of an image, and the one step in which it changes.
//!
//! Heads are numbered objects, and each is created with the number after the one that it was made from: of two who change
//! an image at once, one finds the number taken, reads again and decides again. That creation is the commit point of a
//! commit, a deletion and a takeover alike. Replacing one object on condition of its tag was refused: S3 can do it, a
//! directory cannot, and two ways to commit are two to prove.
//!
//! Old heads are removed, so a gateway that slept could create a number long gone. Nobody would look at that head, since
//! the highest number counts, but the gateway would believe in it. So whoever has created one looks for higher ones, and
//! finds in them whether they come from his.

use futures_util::TryStreamExt as _;

use super::bucket::{Bucket, Made, unbelievable};
use super::layout::{head_name, image_folder, number};
use super::record::{Head, RECORD_MAX};
use crate::id::ImageName;
use crate::image::ImageError;
use crate::image::record::{seal, unseal};

/// How often a head that vanishes while it is read, or whose creation fails, is tried again.
const ATTEMPTS: usize = 8;
/// Heads that are kept behind the newest, for readers who are about to read them.
const KEPT: u64 = 4;

/// The head of an image as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Current {
    /// 0 before the first.
    pub number: u64,
    pub head: Head,
    /// The numbers of all heads that are there.
    numbers: Vec<u64>,
}

/// How an attempt to change a head ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advance {
    Done,
    /// Somebody else was first: read again, decide again.
    Overtaken,
}

/// The newest head; an empty one where there is none.
pub(super) async fn load(bucket: &Bucket, image: &ImageName) -> Result<Current, ImageError> {
    for _ in 0..ATTEMPTS {
        let numbers = numbers(bucket, image).await?;
        let Some(newest) = numbers.iter().copied().max() else { return Ok(Current::default()) };
        if let Some(head) = read(bucket, image, newest).await? {
            return Ok(Current { number: newest, head, numbers });
        }
    }
    Err(unbelievable(&image_folder(image), "its records change faster than they can be read; repeat the request"))
}

async fn numbers(bucket: &Bucket, image: &ImageName) -> Result<Vec<u64>, ImageError> {
    let found = bucket.list(&image_folder(image));
    found.try_filter_map(|found| std::future::ready(Ok(number(&found.name)))).try_collect().await
}

async fn read(bucket: &Bucket, image: &ImageName, number: u64) -> Result<Option<Head>, ImageError> {
    let name = head_name(image, number);
    let Some(bytes) = bucket.read(&name, RECORD_MAX).await? else { return Ok(None) };
    unseal::<Head>(&bytes).map(Some).map_err(|fault| unbelievable(&name, fault.to_string()))
}

/// Puts `next`, which was made from `current`, after it.
pub(super) async fn advance(
    bucket: &Bucket,
    image: &ImageName,
    current: &Current,
    next: &Head,
) -> Result<Advance, ImageError> {
    let number = current.number + 1;
    let name = head_name(image, number);
    let bytes = seal(next).map_err(|fault| unbelievable(&name, fault.to_string()))?;
    let mut unsure = None;
    for _ in 0..ATTEMPTS {
        match bucket.create(&name, bytes.clone()).await {
            Ok(Made::New) => return settle(bucket, image, number, next).await,
            // It may be our own one, whose answer was lost.
            Ok(Made::Taken) => match read(bucket, image, number).await {
                Ok(Some(there)) if there.nonce == next.nonce => return settle(bucket, image, number, next).await,
                Ok(_) => return Ok(Advance::Overtaken),
                Err(error) => unsure = Some(error),
            },
            // Of an attempt before it nobody knows yet.
            Err(error @ ImageError::Full { .. }) if unsure.is_none() => return Err(error),
            Err(error) => unsure = Some(error),
        }
    }
    let detail = unsure.map(|error| error.to_string()).unwrap_or_default();
    Err(ImageError::Unsure { detail })
}

/// Whether the head that was created is in the line of the newest one.
async fn settle(bucket: &Bucket, image: &ImageName, number: u64, made: &Head) -> Result<Advance, ImageError> {
    let unsure = |error: ImageError| ImageError::Unsure { detail: error.to_string() };
    let newest = load(bucket, image).await.map_err(unsure)?;
    if newest.head.nonce != made.nonce && !newest.head.before.contains(&made.nonce) {
        return Ok(Advance::Overtaken);
    }
    let old = newest.numbers.iter().filter(|old| **old + KEPT < number.min(newest.number));
    let old: Vec<String> = old.map(|old| head_name(image, *old)).collect();
    if !old.is_empty()
        && let Err(error) = bucket.remove(old).await
    {
        tracing::debug!(%image, %error, "keep old heads until the next change");
    }
    Ok(Advance::Done)
}
