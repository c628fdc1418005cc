//! Giving back the space of what no snapshot needs any more.
//!
//! Blocks are shared by all images, and a transfer relies on blocks that it found before anything names them for it. So
//! what looks like garbage may be needed a moment later, by a transfer of any gateway, one that sleeps, or one whose last
//! request is still on its way. An age limit was refused: it is a guess at how long a transfer lasts. Counters of references
//! were refused: they change with each block, and a crash makes them wrong for ever. What is done instead:
//!
//! 1. **Condemn.** What no head leads to is written into a list, `<number>.condemned`. A transfer that begins
//!    from now on takes none of it for granted: it puts such a block again, as an object of its own.
//! 2. **Wait.** Then the heads are read, and the writers in them are written down (`.waits`). These may rely on what is
//!    condemned, and nobody else: a writer names himself in a head before he reads the list, so one who is not seen here has
//!    read it. A writer has ended when his head names him no more. One who is silent is taken out of it, and whatever of
//!    him is still on its way finds its number taken. Repairs are waited for too, by their leases: they put again what a
//!    head leads to when they look, under the same name, and begin with a lease and a look at the list, as a writer does.
//! 3. **Look again.** What the heads lead to now is needed: the writers that were waited for may have committed it. The rest
//!    is written down (`.doomed`) and cannot come to be needed again: those who could rely on it have ended, and
//!    the base of a writer is kept for as long as he writes, also when it is deleted meanwhile.
//! 4. **Remove** what is doomed, write `.done`, and remove the lists.
//!
//! Each list is created once, by whichever gateway is first, and the others go on from it: a collection that is cut anywhere
//! is continued by the next, and two at once do the same thing twice. The name of an object carries the session that
//! put it and is never given to another, so a removal that comes late removes what was removed before. While writers run a
//! sweep ends at step 2, and the next one goes on; what a running writer has put himself is not condemned at all.
//!
//! One thing rests on time, since no object store removes on a condition: a gateway that sleeps in the middle of step 4
//! until another has ended the collection, and a request to put a doomed block that the storage takes only after that,
//! would together make an object that can be relied on and is then removed. Before each thousand removals the gateway
//! looks whether the collection is over; a request ends at the latest with its time limit, which is far shorter than the silence
//! after which a writer is given up.

use std::collections::HashSet;
use std::time::SystemTime;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::bucket::{Made, unbelievable};
use super::condemned::{MOST, Phase, collections, encode, newest, read};
use super::head::{Advance, advance, load};
use super::layout::{BLOCKS, MANIFESTS, Piece, SEGMENTS, Session, lease_name};
use super::lease::{Lease, is_alive, is_mended, remove_old};
use super::litter;
use super::mark::{Named, mark, writers};
use super::record::RECORD_MAX;
use super::store::Shared;
use crate::image::ImageError;
use crate::image::blocking::blocking;
use crate::image::record::{Body, seal, unseal};

/// Objects removed between two looks at whether the collection is over.
const BATCH: usize = 1000;

/// Whom a collection waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waits {
    writers: Vec<Named>,
}

impl Body for Waits {
    const KIND: &'static str = "objects waits";
}

/// Collects as far as it can be done now, and tells how many objects were removed.
pub(super) async fn sweep(shared: &Shared) -> Result<u64, ImageError> {
    let lease = Lease::begin(&shared.bucket, lease_name(Session::new()), "sweep", shared.lifetime).await?;
    let mut removed = 0;
    while let Some(collection) = begin(shared, &lease).await? {
        match go_on(shared, collection, &lease).await? {
            Some(count) => removed += count,
            None => break,
        }
    }
    let now = lease.now().await?;
    remove_old(&shared.bucket, now, shared.lifetime).await?;
    Ok(removed + litter(shared, now).await?)
}

/// Removes the files of puts that were cut, where objects are files.
async fn litter(shared: &Shared, now: SystemTime) -> Result<u64, ImageError> {
    let Some(directory) = shared.directory.clone() else { return Ok(0) };
    let action = format!("remove what is left of puts in {}", directory.display());
    blocking(move || litter::remove(&directory, now).map_err(|source| ImageError::Io { action, source })).await
}

/// The collection under way, or a new one; `None`: there is nothing to collect.
async fn begin(shared: &Shared, lease: &Lease) -> Result<Option<u64>, ImageError> {
    loop {
        let before = match newest(&shared.bucket).await? {
            Some((collection, false)) => return Ok(Some(collection)),
            Some((collection, true)) => {
                tidy(shared, collection).await?;
                collection
            }
            None => 0,
        };
        let garbage = garbage(shared, lease).await?;
        if garbage.is_empty() {
            return Ok(None);
        }
        // Whose list it is now does not matter, and one that comes after later collections is never looked at.
        shared.bucket.create(&Phase::Condemned.name(before + 1), encode(&garbage)).await?;
    }
}

/// What is there and not needed.
async fn garbage(shared: &Shared, lease: &Lease) -> Result<Vec<Piece>, ImageError> {
    let mut running: HashSet<Session> = HashSet::new();
    for writer in writers(shared).await? {
        if !has_ended(shared, &writer, lease).await? {
            running.insert(writer.session);
        }
    }
    let live = mark(shared).await?;
    let mut garbage = Vec::new();
    for folder in [MANIFESTS, SEGMENTS, BLOCKS] {
        let mut there = shared.bucket.list(folder);
        while let Some(found) = there.try_next().await? {
            let Some(piece) = Piece::parse(folder, &found.name) else { continue };
            let (Piece::Manifest { session } | Piece::Segment { session, .. } | Piece::Block { session, .. }) = piece;
            if garbage.len() < MOST && !running.contains(&session) && !live.may_have(&piece) {
                garbage.push(piece);
            }
        }
    }
    Ok(garbage)
}

/// Goes on with a collection; `None`: it must wait.
async fn go_on(shared: &Shared, collection: u64, lease: &Lease) -> Result<Option<u64>, ImageError> {
    let Some(condemned) = read(&shared.bucket, &Phase::Condemned.name(collection)).await? else {
        return Ok(Some(0));
    };
    for writer in waits(shared, collection).await? {
        if !has_ended(shared, &writer, lease).await? {
            tracing::info!(image = %writer.image, "collect later: a transfer began before this collection and still runs");
            return Ok(None);
        }
    }
    if is_mended(&shared.bucket, lease.now().await?, shared.lifetime).await? {
        tracing::info!("collect later: a repair runs");
        return Ok(None);
    }
    let doomed = doomed(shared, collection, condemned).await?;
    for batch in doomed.chunks(BATCH) {
        if newest(&shared.bucket).await? != Some((collection, false)) {
            return Ok(Some(0));
        }
        shared.bucket.remove(batch.iter().map(Piece::name)).await?;
    }
    end(shared, collection).await?;
    Ok(Some(doomed.len() as u64))
}

/// The writers that may rely on what is condemned.
async fn waits(shared: &Shared, collection: u64) -> Result<Vec<Named>, ImageError> {
    let name = Phase::Waits.name(collection);
    loop {
        if let Some(bytes) = shared.bucket.read(&name, RECORD_MAX).await? {
            let waits = unseal::<Waits>(&bytes).map_err(|fault| unbelievable(&name, fault.to_string()))?;
            return Ok(waits.writers);
        }
        let waits = Waits { writers: writers(shared).await? };
        let bytes = seal(&waits).map_err(|fault| unbelievable(&name, fault.to_string()))?;
        if shared.bucket.create(&name, bytes).await? == Made::New {
            return Ok(waits.writers);
        }
    }
}

/// Whether nothing that the writer does counts any more. One who is dead is taken out of the head.
async fn has_ended(shared: &Shared, writer: &Named, lease: &Lease) -> Result<bool, ImageError> {
    loop {
        let current = load(&shared.bucket, &writer.image).await?;
        let Some(there) = current.head.writer.as_ref().filter(|there| there.session == writer.session) else {
            return Ok(true);
        };
        let is_running = match there.process == shared.process {
            true => shared.writing.is_written(&writer.image),
            false => is_alive(&shared.bucket, writer.session, lease.now().await?, shared.lifetime).await?,
        };
        if is_running {
            return Ok(false);
        }
        let mut next = current.head.next();
        next.end_writer();
        if advance(&shared.bucket, &writer.image, &current, &next).await? == Advance::Done {
            return Ok(true);
        }
    }
}

/// What of the condemned is needed by nobody, for good.
async fn doomed(shared: &Shared, collection: u64, condemned: Vec<Piece>) -> Result<Vec<Piece>, ImageError> {
    let name = Phase::Doomed.name(collection);
    loop {
        if let Some(doomed) = read(&shared.bucket, &name).await? {
            return Ok(doomed);
        }
        let live = mark(shared).await?;
        let doomed: Vec<Piece> = condemned.iter().filter(|piece| !live.may_have(piece)).copied().collect();
        if shared.bucket.create(&name, encode(&doomed)).await? == Made::New {
            return Ok(doomed);
        }
    }
}

/// Ends a collection.
async fn end(shared: &Shared, collection: u64) -> Result<(), ImageError> {
    shared.bucket.create(&Phase::Done.name(collection), Vec::new()).await?;
    tidy(shared, collection).await
}

/// Removes what is left of a collection that is over, and of those before.
async fn tidy(shared: &Shared, collection: u64) -> Result<(), ImageError> {
    let all = collections(&shared.bucket).await?;
    let names = all.into_iter().flat_map(|(number, phases)| {
        let old = move |phase: &Phase| number < collection || number == collection && *phase != Phase::Done;
        phases.into_iter().filter(old).map(move |phase| phase.name(number))
    });
    shared.bucket.remove(names).await
}
