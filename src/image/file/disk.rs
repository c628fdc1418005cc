//! What the file store asks of a file system, so that a power cut can be tested.
//!
//! A store whose fsyncs are scattered over `std::fs` calls can only be tested by believing in it. Here every access
//! goes through one small trait: [`super::os`] is the real one, and the tests have one that forgets, tears and
//! reorders whatever was not synced. Each sync carries a [`SyncPoint`], its reason to be there; the tests take each
//! one out in turn and expect damage. Blocking on purpose: the callers are on blocking threads.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::stamp::Stamp;
use crate::image::sidecar::Place;

/// Why something is made durable at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SyncPoint {
    /// The name of the store's own directory.
    StoreParent,
    /// The bytes of the store's marker.
    StoreMarker,
    /// The names of the marker and of the directory of images.
    StoreNames,
    /// The name of an image's directory.
    ImageName,
    /// The data of a staged snapshot.
    Data,
    /// The sidecar of a staged snapshot.
    Tree,
    /// The names of both, before a record can name them.
    StagedNames,
    /// The bytes of a snapshot's record.
    Record,
    /// The name of the record: the commit is durable.
    RecordName,
    /// The bytes of a tombstone.
    Tombstone,
    /// The name of the tombstone, before the snapshot disappears.
    TombstoneName,
    /// The new name of a hidden record: the delete is durable.
    HiddenName,
    /// The data that a child has written into its deleted parent's file.
    MergedData,
    /// The sidecar of parent and child together.
    MergedTree,
    /// Its name, before the child's record can name it.
    MergedTreeName,
    /// The bytes of the child's new record.
    MergedRecord,
    /// The name of that record, before the child's old files are removed.
    MergedRecordName,
    /// Bytes that rotted and were written again.
    MendedData,
    /// The bytes of a record whose stamp was renewed.
    RenewedRecord,
    /// The data of an unfinished transfer, before its log says so.
    UploadData,
    /// That log.
    UploadLog,
    /// The bytes of the record that names its owner.
    UploadRecord,
    /// The name of that record.
    UploadName,
}

/// How a lock is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    /// For one alone; do not wait.
    TryExclusive,
    /// For one alone.
    Exclusive,
    /// Together with others that share it.
    Shared,
}

/// A lock that is held until it is dropped, or until the process dies.
pub(super) type Lock = Box<dyn HeldLock>;

/// See [`Lock`].
pub(super) trait HeldLock: Send + Sync + Debug {
    /// Inode of the locked file: a lock on a file that is no longer the one with that name protects nothing.
    fn inode(&self) -> io::Result<u64>;
}

/// A file system.
pub(super) trait Disk: Send + Sync + Debug {
    /// Makes one directory. `false`: it was there.
    fn make_directory(&self, path: &Path) -> io::Result<bool>;
    /// The names in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens for reading and writing in place.
    fn open_to_change(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a file that must not be there yet, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames, failing with [`io::ErrorKind::AlreadyExists`] if the new name is there.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path, point: SyncPoint) -> io::Result<()>;
    /// Locks a file, which is made if it is not there. `None`: another one has the lock.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Lock>>;
    /// The stamp of a file by its name.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;
    /// Bytes that may still be written under `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub(super) trait DiskFile: Send + Sync + Debug {
    /// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes a range read as zeroes, without data where the file system can.
    fn clear(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Cuts or extends the file; what is new reads as zeroes.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes bytes, length and times durable.
    fn sync(&self, point: SyncPoint) -> io::Result<()>;
    /// The file's stamp.
    fn stamp(&self) -> io::Result<Stamp>;
    /// The first byte at or after `from` that may not be in a hole.
    fn next_data(&self, from: u64) -> io::Result<Option<u64>>;
}

impl Place for dyn DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.stamp()?.length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        DiskFile::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        DiskFile::write_at(self, bytes, offset)
    }
}
