//! A block device, overwritten in place.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, OFlags, fallocate};

use crate::client::ClientError;

/// A device that nobody else uses.
#[derive(Debug)]
pub(super) struct Device {
    file: File,
    path: String,
}

impl Device {
    /// Opens the device exclusively, which fails while it is mounted.
    pub(super) fn open(path: PathBuf, size: u64) -> Result<Self, ClientError> {
        let shown = path.display().to_string();
        let exclusive = i32::try_from(OFlags::EXCL.bits()).unwrap_or_default();
        let opened = OpenOptions::new().write(true).custom_flags(exclusive).open(&path);
        let mut file = opened.map_err(ClientError::local("open", &shown))?;
        let held = file.seek(SeekFrom::End(0)).map_err(ClientError::local("measure", &shown))?;
        if held < size {
            return Err(ClientError::Usage(format!("{shown} has {held} bytes, the snapshot has {size}")));
        }
        Ok(Self { file, path: shown })
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        self.file.write_all_at(bytes, offset).map_err(ClientError::local("write", &self.path))
    }

    /// Whether the device zeroed the range by itself.
    pub(super) fn zero(&self, offset: u64, length: u64) -> bool {
        fallocate(&self.file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, offset, length).is_ok()
    }

    pub(super) fn settle(&mut self) -> Result<(), ClientError> {
        self.file.sync_all().map_err(ClientError::local("flush", &self.path))
    }
}
