//! Giving back space: of dead transfers, of deleted snapshots.
//!
//! Runs with the image's lock held, so no transfer is in the middle. RBD keeps the data of a snapshot by itself; what is
//! left to do is its tree. The pages of a deleted snapshot stay as long as another layer stands on them. Where only one
//! does, both are merged into a new tree, unless the deleted one is much larger than the other: each deletion of the
//! oldest of a chain would copy the pages of the whole volume again. So of deleted layers below each other each is
//! several times as large as the one above, and they stay few. While a record cannot be read nothing is removed at all: it
//! may name anything.

use std::collections::BTreeSet;
use std::io;

use super::catalog::Catalog;
use super::failure::tree_failed;
use super::objects::Objects;
use super::record::{
    CLAIM, DELETED, GENERATION, GONE, Generation, Layer, Stored, UPLOAD, Upload, deleted_key, layer_key, snapshot_key,
};
use super::session::Session;
use super::tree::Pages;
use super::upload;
use crate::content::HEIGHT;
use crate::id::{SnapshotId, TransferId};
use crate::image::ImageError;
use crate::image::readers::Readers;
use crate::image::sidecar::{Key, Place as _, SidecarWriter};

/// A deleted layer with no more pages than these (36 MiB) is merged into whatever stands on it.
const SMALL: u64 = 1 << 16;
/// A larger one is merged into a layer that has at least this part of its pages.
const RATIO: u64 = 4;

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
enum Chore<'a> {
    /// Remove an unfinished transfer that was given up, or what is known of a finished one whose snapshot is gone.
    Upload(&'a TransferId),
    /// Remove the log of a transfer that is finished.
    Finish(&'a Upload),
    /// Put the record of a deleted snapshot where those of deleted ones are.
    Hide(&'a Stored),
    /// Remove trees that the last transfers began and that no record names.
    Trees(Vec<String>),
    /// Remove an RBD snapshot that is nobody's any more, by its id.
    Snapshot(u64),
    /// Remove a deleted layer that nothing stands on.
    Layer(&'a Stored),
    /// Merge a deleted layer into the only one that stands on it.
    Merge { parent: &'a Stored, child: &'a Stored, is_visible: bool },
    /// Forget a deletion.
    Tombstone(&'a SnapshotId),
}

impl Chore<'_> {
    /// Tells it from the others, to try each once.
    fn name(&self) -> String {
        match self {
            Self::Upload(transfer) => format!("upload {transfer}"),
            Self::Finish(upload) => format!("finish {}", upload.request.transfer),
            Self::Hide(stored) => format!("hide {}", stored.layer.name),
            Self::Trees(trees) => format!("trees {}", trees.join(" ")),
            Self::Snapshot(id) => format!("snapshot {id}"),
            Self::Layer(stored) => format!("layer {}", stored.layer.name),
            Self::Merge { parent, .. } => format!("merge {}", parent.layer.name),
            Self::Tombstone(snapshot) => format!("tombstone {snapshot}"),
        }
    }
}

/// Does all that can be done now, and gives the records as they are then. Wants the lock. `writing` is the tree of the
/// transfer that is about to begin. Blocks.
pub(super) fn collect(
    session: &Session,
    readers: &Readers,
    mut catalog: Catalog,
    writing: Option<&str>,
) -> Result<Catalog, ImageError> {
    let mut tried = BTreeSet::new();
    let is_read = |stored: &Stored| readers.are_reading(&session.name, &stored.layer.record.snapshot);
    loop {
        let chores = chores(&catalog, is_read, writing);
        let Some(chore) = chores.into_iter().find(|chore| !tried.contains(&chore.name())) else { return Ok(catalog) };
        tried.insert(chore.name());
        match perform(session, &catalog, &chore, writing) {
            // What cannot be done now, such as removing a snapshot with clones, keeps nobody from sending another one.
            Err(ImageError::Fenced) => return Err(ImageError::Fenced),
            Err(error) => tracing::warn!(image = %session.name, chore = chore.name(), %error, "put off clearing up"),
            Ok(()) => {}
        }
        catalog = session.survey()?;
    }
}

/// What there is to do, the first first.
fn chores<'a>(catalog: &'a Catalog, is_read: impl Fn(&Stored) -> bool, writing: Option<&str>) -> Vec<Chore<'a>> {
    let mut chores: Vec<Chore<'_>> = catalog.given_up().map(Chore::Upload).collect();
    let names_nothing = |key: &String| [DELETED, UPLOAD, CLAIM, GONE].iter().any(|prefix| key.starts_with(prefix));
    if !catalog.unreadable.iter().all(names_nothing) {
        return chores;
    }
    // Its snapshot was removed or replaced past us, or by one who died before he had cleared all away.
    let is_forgotten = |upload: &&Upload| upload.is_finished && catalog.committed(upload).is_none();
    let forgotten = catalog.uploads().filter(is_forgotten);
    chores.extend(forgotten.map(|upload| Chore::Upload(&upload.request.transfer)));
    let is_over = |upload: &&Upload| !upload.is_finished && catalog.committed(upload).is_some();
    chores.extend(catalog.uploads().filter(is_over).map(Chore::Finish));
    chores.extend(catalog.misplaced.iter().map(Chore::Hide));
    let abandoned: Vec<String> =
        catalog.abandoned_trees().into_iter().filter(|tree| Some(tree.as_str()) != writing).collect();
    if !abandoned.is_empty() {
        chores.push(Chore::Trees(abandoned));
    }
    chores.extend(catalog.abandoned_snapshots().map(Chore::Snapshot));
    for entry in catalog.entries().filter(|entry| !entry.visible && !is_read(&entry.stored)) {
        if catalog.children(&entry.stored.layer.name).next().is_none() {
            chores.push(Chore::Layer(&entry.stored));
        } else if catalog.snapshot(entry.stored.snapshot).is_some() {
            chores.push(Chore::Snapshot(entry.stored.snapshot));
        } else {
            chores.extend(mergeable(catalog, &entry.stored));
        }
    }
    let forgotten = catalog.tombstones.iter().filter(|tombstone| tombstone.is_forgotten());
    chores.extend(forgotten.map(|tombstone| Chore::Tombstone(&tombstone.snapshot)));
    chores
}

fn perform(session: &Session, catalog: &Catalog, chore: &Chore<'_>, writing: Option<&str>) -> Result<(), ImageError> {
    match chore {
        Chore::Upload(transfer) => upload::remove(session, transfer),
        Chore::Finish(upload) => upload::finish(session, upload),
        Chore::Hide(stored) => hide(session, catalog, stored),
        Chore::Trees(trees) => remove_trees(session, catalog, trees, writing),
        Chore::Snapshot(id) => session.remove_snapshot(*id),
        Chore::Layer(stored) => remove_layer(session, stored),
        Chore::Merge { parent, child, is_visible } => merge(session, catalog, parent, child, *is_visible),
        Chore::Tombstone(snapshot) => session.unset(&deleted_key(snapshot)),
    }
}

/// Removes trees that no record names; afterwards nobody has to look for them again.
fn remove_trees(
    session: &Session,
    catalog: &Catalog,
    abandoned: &[String],
    writing: Option<&str>,
) -> Result<(), ImageError> {
    for tree in abandoned {
        session.changed(Objects::new(&session.pool, &session.id, tree, 0).remove())?;
    }
    let trees = writing.map(str::to_owned).into_iter().collect();
    session.set(GENERATION, &Generation { number: catalog.generation.number, trees })
}

/// Moves the record of a deleted snapshot away from the snapshot's name. Where the layer has its place already, that record
/// is the newer one.
fn hide(session: &Session, catalog: &Catalog, stored: &Stored) -> Result<(), ImageError> {
    if let Some(entry) = catalog.layer(&stored.layer.name) {
        session.set(&layer_key(&stored.layer.name), &entry.stored)?;
    }
    session.unset(&snapshot_key(&stored.layer.record.name))
}

/// Removes a deleted layer that nobody needs, its record last.
fn remove_layer(session: &Session, stored: &Stored) -> Result<(), ImageError> {
    let Stored { snapshot, layer, .. } = stored;
    session.remove_snapshot(*snapshot)?;
    session.changed(Objects::new(&session.pool, &session.id, &layer.tree, layer.tree_bytes).remove())?;
    session.unset(&layer_key(&layer.name))
}

/// The merge of a layer with the only one that stands on it, if that is worth its while.
fn mergeable<'a>(catalog: &'a Catalog, parent: &'a Stored) -> Option<Chore<'a>> {
    let mut children = catalog.children(&parent.layer.name);
    let only = children.next().filter(|_| children.next().is_none())?;
    let child = &only.stored;
    let worth = parent.layer.pages <= SMALL.max(child.layer.pages.saturating_mul(RATIO));
    worth.then_some(Chore::Merge { parent, child, is_visible: only.visible })
}

/// Writes the pages of both layers as a new tree of the child.
fn merge(
    session: &Session,
    catalog: &Catalog,
    parent: &Stored,
    child: &Stored,
    is_visible: bool,
) -> Result<(), ImageError> {
    let (below, above) = (Pages::load(&session.pool, parent)?, Pages::load(&session.pool, child)?);
    let old = &child.layer.tree;
    // No two are merged twice, so the name is new.
    let tree = format!("{}+{}", child.layer.name, parent.layer.name);
    // Whichever of the two no record names, after this or after a death in the middle, is found and removed.
    let mut noted = catalog.generation.clone();
    noted.trees.extend([tree.clone(), old.clone()]);
    session.set(GENERATION, &noted)?;
    let layer = write_merged(session, &below, &above, tree)?;
    let merged = Stored { layer, ..child.clone() };
    let key = if is_visible { snapshot_key(&merged.layer.record.name) } else { layer_key(&merged.layer.name) };
    // From this step on the child is what was merged.
    session.set(&key, &merged)
}

pub(super) fn write_merged(session: &Session, below: &Pages, above: &Pages, tree: String) -> Result<Layer, ImageError> {
    let objects = Objects::new(&session.pool, &session.id, &tree, 0);
    let writing = |error: io::Error| {
        if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Other) {
            session.doubt();
        }
        tree_failed(&tree, error)
    };
    let mut writer = SidecarWriter::default();
    let limit = above.layer.limit;
    let shown = |key: &Key| key.start() < u128::from(limit) && key.level() < HEIGHT;
    let mut pages = 0;
    for (key, from) in in_order(above.index.keys(), below.index.keys().filter(shown)) {
        let source = if from == Side::Above { above } else { below };
        let Some(leafed) = source.read(key)? else { continue };
        pages += 1;
        if writer.add(key, &leafed) {
            writer.spill(&objects).map_err(writing)?;
        }
    }
    writer.finish(&objects).map_err(writing)?;
    let tree_bytes = objects.length().map_err(writing)?;
    Ok(Layer {
        parent: below.layer.parent.clone(),
        tree,
        tree_bytes,
        pages,
        limit: limit.min(below.layer.limit),
        ..above.layer.clone()
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

/// The keys of both sides, ascending and each once; what both have is the upper one's.
fn in_order(above: impl Iterator<Item = Key>, below: impl Iterator<Item = Key>) -> impl Iterator<Item = (Key, Side)> {
    let (mut above, mut below) = (above.peekable(), below.peekable());
    std::iter::from_fn(move || {
        let lower = match (above.peek(), below.peek()) {
            (Some(upper), Some(lower)) => lower < upper,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if lower {
            return below.next().map(|key| (key, Side::Below));
        }
        let key = above.next()?;
        below.next_if_eq(&key);
        Some((key, Side::Above))
    })
}
