//! The store as a whole: its directory, and what is asked of it between transfers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::catalog::Catalog;
use super::collect::collect;
use super::disk::{Disk, SyncPoint};
use super::failed;
use super::layout::{ImageDirectory, UNFINISHED, hidden_file, read_small, tombstone_file, write_record};
use super::overlay::Overlay;
use super::record::Marker;
use super::snapshot::FileSnapshot;
use crate::id::{ImageName, SnapshotId};
use crate::image::readers::Readers;
use crate::image::record::{RecordFault, Tombstone, unseal};
use crate::image::{Chain, ImageError};
use crate::secret;

const MARKER: &str = "rsnap-store.json";
const IDENTITY: &str = "rsnap-store.id";
const IMAGES: &str = "images";
const FORMAT: u32 = 1;

/// What all users of the store have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    root: PathBuf,
    pub readers: Readers,
}

impl Shared {
    pub(super) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, ImageError> {
        let opening = || failed(format!("open the store {}", root.display()));
        make_directories(disk.as_ref(), root).map_err(opening())?;
        match read_small(disk.as_ref(), &root.join(MARKER)) {
            Ok(bytes) => check_marker(&bytes).map_err(opening())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                initialise(disk.as_ref(), root).map_err(opening())?
            }
            Err(error) => return Err(opening()(error)),
        }
        disk.make_directory(&root.join(IMAGES)).map_err(opening())?;
        // Each time: whoever made the names may have died before he made them durable.
        disk.sync_directory(root, SyncPoint::StoreNames).map_err(opening())?;
        if let Some(parent) = root.parent() {
            disk.sync_directory(parent, SyncPoint::StoreParent).map_err(opening())?;
        }
        Ok(Self { disk, root: root.to_owned(), readers: Readers::default() })
    }

    pub(super) fn directory(&self, image: &ImageName) -> ImageDirectory {
        let path = self.root.join(IMAGES).join(image.as_str());
        ImageDirectory { disk: Arc::clone(&self.disk), path, image: image.clone() }
    }

    /// Makes the directory of an image. Its name is durable after [`Shared::sync_images`] only.
    pub(super) fn make_image(&self, image: &ImageName) -> Result<ImageDirectory, ImageError> {
        let directory = self.directory(image);
        self.disk.make_directory(&directory.path).map_err(failed(format!("create image {image}")))?;
        Ok(directory)
    }

    /// All images that have a directory.
    pub(super) fn images(&self) -> Result<Vec<ImageName>, ImageError> {
        let listed = self.disk.list(&self.root.join(IMAGES)).map_err(failed("list the images of the store"))?;
        Ok(listed.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(super) fn sync_images(&self) -> Result<(), ImageError> {
        let synced = self.disk.sync_directory(&self.root.join(IMAGES), SyncPoint::ImageName);
        synced.map_err(failed("sync the directory of images"))
    }

    pub(super) fn chain(&self, image: &ImageName) -> Result<Chain, ImageError> {
        let directory = self.directory(image);
        let Some(_records) = directory.share_records()? else { return Ok(Chain::default()) };
        Ok(Catalog::load(&directory)?.chain())
    }

    pub(super) fn confirm(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<bool, ImageError> {
        let directory = self.directory(image);
        directory.sync_names(SyncPoint::RecordName)?;
        let Some(_records) = directory.share_records()? else { return Ok(false) };
        let catalog = Catalog::load(&directory)?;
        match catalog.find(snapshot) {
            Some(entry) if catalog.is_whole(entry) => Overlay::is_sound(&directory, &catalog, entry),
            _ => Ok(false),
        }
    }

    pub(super) fn open_snapshot(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<FileSnapshot, ImageError> {
        let directory = self.directory(image);
        let missing = || ImageError::NotFound { image: image.clone(), snapshot: snapshot.clone() };
        let _records = directory.share_records()?.ok_or_else(missing)?;
        let catalog = Catalog::load(&directory)?;
        let entry = catalog.find(snapshot).ok_or_else(missing)?;
        let overlay = Overlay::load(&directory, &catalog, entry)?;
        Ok(FileSnapshot::new(overlay, entry.stored.clone(), self.readers.enter(image, snapshot)))
    }

    pub(super) fn delete(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<(), ImageError> {
        let directory = self.directory(image);
        hide(&directory, snapshot)?;
        // Where a transfer has the image, the next one collects.
        if let Ok(_image) = directory.lock()
            && let Err(error) = collect(&directory, &self.readers)
        {
            tracing::warn!(%image, %error, "keep the space of a deleted snapshot until the next transfer");
        }
        Ok(())
    }

    pub(super) fn deleted(&self, image: &ImageName, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
        deleted(&self.directory(image), snapshot)
    }

    /// A name that the first one to ask gives the store. Beside the records and not one of them: a store that loses it
    /// gets another, and no snapshot depends on it.
    pub(super) fn identity(&self) -> Result<String, ImageError> {
        let read = secret::read_or_create(&self.root.join(IDENTITY), || secret::random_text(16));
        let text = read.map_err(|fault| failed("read the name of the store")(io::Error::other(fault)))?;
        Ok(format!("file:{text}"))
    }

    pub(super) fn free_bytes(&self) -> Result<u64, ImageError> {
        self.disk.free_bytes(&self.root).map_err(failed("ask for the free space of the store"))
    }
}

/// When a snapshot was deleted, as its tombstone says.
pub(super) fn deleted(directory: &ImageDirectory, snapshot: &SnapshotId) -> Result<Option<SystemTime>, ImageError> {
    let reading = || failed(format!("read the tombstone of {snapshot}"));
    let bytes = match read_small(directory.disk.as_ref(), &directory.file(&tombstone_file(snapshot))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(reading())?,
    };
    let tombstone = unseal::<Tombstone>(&bytes);
    let tombstone = tombstone.map_err(|fault| reading()(io::Error::new(io::ErrorKind::InvalidData, fault)))?;
    Ok(Some(tombstone.deleted()))
}

/// Makes a snapshot invisible, for good: first the tombstone, so that it never is gone without one.
fn hide(directory: &ImageDirectory, snapshot: &SnapshotId) -> Result<(), ImageError> {
    let missing = || ImageError::NotFound { image: directory.image.clone(), snapshot: snapshot.clone() };
    if directory.list()?.is_empty() {
        return Err(missing());
    }
    let _records = directory.lock_records()?;
    let catalog = Catalog::load(directory)?;
    let entry = catalog.find(snapshot).ok_or_else(missing)?;
    let name = tombstone_file(snapshot);
    let tombstone = Tombstone::now(snapshot);
    let temporary = directory.prepare(&name, &tombstone, SyncPoint::Tombstone)?;
    directory.disk.rename(&temporary, &directory.file(&name)).map_err(failed(format!("create {name}")))?;
    directory.sync_names(SyncPoint::TombstoneName)?;
    let hidden = directory.file(&hidden_file(&entry.stored.layer));
    directory.disk.rename(&directory.file(&entry.file), &hidden).map_err(failed(format!("hide {}", entry.file)))?;
    directory.sync_names(SyncPoint::HiddenName)
}

fn make_directories(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match disk.make_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = parent else { return Err(error) };
            make_directories(disk, parent)?;
            make_directories(disk, path)
        }
        Ok(true) => parent.map_or(Ok(()), |parent| disk.sync_directory(parent, SyncPoint::StoreParent)),
        other => other.map(|_| ()),
    }
}

fn check_marker(bytes: &[u8]) -> io::Result<()> {
    let invalid = |fault: RecordFault| io::Error::new(io::ErrorKind::InvalidData, format!("{MARKER}: {fault}"));
    match unseal::<Marker>(bytes).map_err(invalid)?.format {
        FORMAT => Ok(()),
        found => Err(invalid(RecordFault::Version { found })),
    }
}

/// Makes a store of an empty directory.
fn initialise(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    let temporary = format!("{MARKER}{UNFINISHED}");
    let own = |name: &str| [IMAGES, temporary.as_str(), "lost+found"].contains(&name);
    let images = disk.list(&root.join(IMAGES)).unwrap_or_default();
    if !disk.list(root)?.iter().all(|name| own(name)) || !images.is_empty() {
        let advice = "the directory is not empty and has no store in it (name an empty directory, or a store)";
        return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, advice));
    }
    let temporary = root.join(temporary);
    write_record(disk, &temporary, &Marker { format: FORMAT }, SyncPoint::StoreMarker)?;
    disk.rename(&temporary, &root.join(MARKER))
}
