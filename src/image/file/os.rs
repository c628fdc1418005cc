//! The file system of the machine.
//!
//! Aligned writes bypass the page cache where the file system can (`O_DIRECT`): the disk works while the network
//! receives, and a large transfer does not push everything else out of memory. Where it cannot, or for a piece that
//! is not aligned, the same file is written through the cache. What is made is for the gateway's own user alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FallocateFlags, OFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;

use super::disk::{Disk, DiskFile, HeldLock, Lock, LockMode, SyncPoint};
use super::stamp::Stamp;
use crate::content::GRAIN_BYTES;

/// See the module's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile { cached: File::open(path)?, direct: None, refused: AtomicBool::new(false) }))
    }

    fn open_to_change(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let cached = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile { cached, direct: None, refused: AtomicBool::new(false) }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let cached = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let direct = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path).ok();
        Ok(Arc::new(OsFile { cached, direct, refused: AtomicBool::new(false) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system knows the flag; a hard link is refused as safely when the name is there.
            Err(Errno::INVAL | Errno::NOSYS) => {
                std::fs::hard_link(from, to)?;
                // It has the new name: an error now would say that it has not, and its data would be removed.
                if let Err(error) = std::fs::remove_file(from) {
                    tracing::warn!(path = %from.display(), %error, "leave the old name to the next transfer");
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path, _point: SyncPoint) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match mode {
            LockMode::Exclusive => file.lock()?,
            LockMode::Shared => file.lock_shared()?,
            LockMode::TryExclusive => match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            },
        }
        Ok(Some(Box::new(OsLock(file))))
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        Ok(stamp_of(&std::fs::metadata(path)?))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let room = rustix::fs::statvfs(path)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

#[derive(Debug)]
struct OsLock(File);

impl HeldLock for OsLock {
    fn inode(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.ino())
    }
}

#[derive(Debug)]
struct OsFile {
    cached: File,
    direct: Option<File>,
    /// Set once a direct write was refused: then none is tried again.
    refused: AtomicBool,
}

impl OsFile {
    fn direct(&self, bytes: &[u8], offset: u64) -> Option<&File> {
        let aligned = bytes.as_ptr().align_offset(GRAIN_BYTES) == 0
            && bytes.len().is_multiple_of(GRAIN_BYTES)
            && offset.is_multiple_of(GRAIN_BYTES as u64);
        self.direct.as_ref().filter(|_| aligned && !self.refused.load(Ordering::Relaxed))
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.cached.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.direct(bytes, offset) {
            match direct.write_all_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.refused.store(true, Ordering::Relaxed)
                }
                other => return other,
            }
        }
        self.cached.write_all_at(bytes, offset)
    }

    fn clear(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.cached, flags, offset, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeroes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                self.cached.write_all_at(&zeroes, offset)
            }
            other => Ok(other?),
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.cached.set_len(length)
    }

    fn sync(&self, _point: SyncPoint) -> io::Result<()> {
        self.cached.sync_all()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp_of(&self.cached.metadata()?))
    }

    fn next_data(&self, from: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.cached, SeekFrom::Data(from)) {
            Ok(position) => Ok(Some(position)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => {
                Ok(Some(from).filter(|from| self.cached.metadata().is_ok_and(|file| *from < file.len())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn stamp_of(file: &std::fs::Metadata) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        inode: file.ino(),
        length: file.len(),
        modified: nanoseconds(file.mtime(), file.mtime_nsec()),
        changed: nanoseconds(file.ctime(), file.ctime_nsec()),
    }
}
