//! Which files there are and how they are called.
//!
//! ```text
//! <root>/rsnap-store.json           this directory is a store, and of which format (record::Marker)
//! <root>/rsnap-store.id             tells this store from others (one line of text; made when it is first asked for)
//! <root>/images/<image>/
//!     lock                          locked as long as a transfer writes the image, or layers are merged
//!     commit.lock                   locked for the moment in which records change; shared by who reads them
//!     <name>.<transfer>.raw         data of a full snapshot: a plain sparse raw image of exactly its size
//!     <name>.<transfer>.delta       data of an incremental: sparse, changed grains at their own offsets
//!     <name>.<transfer>.tree        sidecar (sidecar)
//!     <name>.snapshot               the record (record::Stored): its creation is the commit
//!     <layer>.hidden                the record of a deleted snapshot whose data others still need
//!     <snapshot>.deleted            tombstone (image::record::Tombstone), kept for at least seven days
//!     <transfer>.upload             who owns an unfinished transfer, and its files (upload::record)
//!     <name>.<transfer>.pages       its log (page_log); its data is a .raw or .delta as above
//!     *.new                         a record on its way to its name
//! ```
//!
//! A data file or sidecar that no record names is nothing: whoever holds `lock` removes it. So nothing has to be
//! renamed at the commit but one record, and what a dead or paused writer still writes goes to a file that does not
//! count.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Lock, LockMode, SyncPoint};
use super::failed;
use crate::id::{ImageName, SnapshotId, SnapshotName, TransferId};
use crate::image::ImageError;
use crate::image::record::{Body, seal};

pub(super) const RECORD: &str = ".snapshot";
pub(super) const HIDDEN: &str = ".hidden";
pub(super) const TOMBSTONE: &str = ".deleted";
pub(super) const RAW: &str = ".raw";
pub(super) const DELTA: &str = ".delta";
pub(super) const TREE: &str = ".tree";
pub(super) const UPLOAD: &str = ".upload";
pub(super) const LOG: &str = ".pages";
pub(super) const UNFINISHED: &str = ".new";
const LOCK: &str = "lock";
const COMMIT_LOCK: &str = "commit.lock";

/// Longest part of a transfer's id in a file name: names of 128 bytes and the suffixes must fit into 255.
const TRANSFER_MAX: usize = 64;
/// How many names are tried for a new file before giving up.
const ATTEMPTS: u32 = 10_000;

/// The directory of one image.
#[derive(Debug, Clone)]
pub(super) struct ImageDirectory {
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
    pub image: ImageName,
}

impl ImageDirectory {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names in the directory; none when it is not there.
    pub(super) fn list(&self) -> Result<Vec<String>, ImageError> {
        match self.disk.list(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(failed(format!("list image {}", self.image))),
        }
    }

    /// Keeps other transfers out.
    pub(super) fn lock(&self) -> Result<Lock, ImageError> {
        let lock = self.disk.lock(&self.file(LOCK), LockMode::TryExclusive);
        let lock = lock.map_err(failed(format!("lock image {}", self.image)))?;
        lock.ok_or_else(|| ImageError::Busy { image: self.image.clone() })
    }

    /// Whether `lock` still is the lock of this image, and not of a directory that was there before.
    pub(super) fn is_lock(&self, lock: &Lock) -> bool {
        let named = self.disk.stamp(&self.file(LOCK)).map(|stamp| stamp.inode);
        matches!((named, lock.inode()), (Ok(named), Ok(held)) if named == held)
    }

    /// Takes the image from a writer that does not go away: puts another lock in the place of the one it holds. What it
    /// still writes goes to files that do not count, and its commit finds that its lock is none. Wants the lock on
    /// records.
    pub(super) fn break_lock(&self) -> Result<Lock, ImageError> {
        let broken = || failed(format!("break the lock of image {}", self.image));
        let temporary = self.file(&format!("{LOCK}{UNFINISHED}"));
        let lock = self.disk.lock(&temporary, LockMode::TryExclusive).map_err(broken())?;
        let lock = lock.ok_or_else(|| ImageError::Busy { image: self.image.clone() })?;
        self.disk.rename(&temporary, &self.file(LOCK)).map_err(broken())?;
        Ok(lock)
    }

    /// Waits until no other one changes records.
    pub(super) fn lock_records(&self) -> Result<Lock, ImageError> {
        self.records_lock(LockMode::Exclusive)
    }

    /// Waits until nobody changes records, and keeps it so. `None`: there is no image.
    pub(super) fn share_records(&self) -> Result<Option<Lock>, ImageError> {
        match self.records_lock(LockMode::Shared) {
            Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn records_lock(&self, mode: LockMode) -> Result<Lock, ImageError> {
        let lock = self.disk.lock(&self.file(COMMIT_LOCK), mode);
        let lock = lock.map_err(failed(format!("lock the records of image {}", self.image)))?;
        lock.ok_or_else(|| ImageError::Busy { image: self.image.clone() })
    }

    /// Makes a file with a name that starts with `stem` and that was not there.
    pub(super) fn create(&self, stem: &str, suffix: &str) -> Result<(String, Arc<dyn DiskFile>), ImageError> {
        for attempt in 1..=ATTEMPTS {
            let name = if attempt == 1 { format!("{stem}{suffix}") } else { format!("{stem}-{attempt}{suffix}") };
            match self.disk.create(&self.file(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|file| (name, file)).map_err(failed(format!("create {stem}{suffix}"))),
            }
        }
        Err(failed(format!("create {stem}{suffix}"))(io::ErrorKind::AlreadyExists.into()))
    }

    /// Writes a record under a temporary name, with its bytes durable. Wants the lock on records.
    pub(super) fn prepare<T: Body>(&self, name: &str, body: &T, point: SyncPoint) -> Result<PathBuf, ImageError> {
        let temporary = self.file(&format!("{name}{UNFINISHED}"));
        write_record(self.disk.as_ref(), &temporary, body, point).map_err(failed(format!("write {name}")))?;
        Ok(temporary)
    }

    pub(super) fn sync_names(&self, point: SyncPoint) -> Result<(), ImageError> {
        self.disk
            .sync_directory(&self.path, point)
            .map_err(failed(format!("sync the directory of image {}", self.image)))
    }

    /// Removes a file; one that is not there is as good.
    pub(super) fn remove(&self, name: &str) -> Result<(), ImageError> {
        match self.disk.remove(&self.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed(format!("remove {name}"))),
        }
    }
}

/// Writes a record to a new file at `path`, durable in its bytes but not in its name.
pub(super) fn write_record<T: Body>(disk: &dyn Disk, path: &Path, body: &T, point: SyncPoint) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(path)?;
    file.write_at(&seal(body)?, 0)?;
    file.sync(point)
}

/// Reads a whole small file.
pub(super) fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = usize::try_from(file.stamp()?.length).map_err(io::Error::other)?;
    let mut bytes = vec![0; length.min(1 << 20)];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

pub(super) fn record_file(name: &SnapshotName) -> String {
    format!("{name}{RECORD}")
}

pub(super) fn hidden_file(layer: &str) -> String {
    format!("{layer}{HIDDEN}")
}

pub(super) fn tombstone_file(snapshot: &SnapshotId) -> String {
    format!("{snapshot}{TOMBSTONE}")
}

/// The start of the names of a transfer's files.
pub(super) fn stem(name: &SnapshotName, transfer: &TransferId) -> String {
    let transfer = transfer.as_str();
    if transfer.len() <= TRANSFER_MAX {
        return format!("{name}.{transfer}");
    }
    let short = blake3::hash(transfer.as_bytes()).to_hex();
    format!("{name}.{}", short.get(..TRANSFER_MAX / 2).unwrap_or_default())
}
