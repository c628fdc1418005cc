//! A file that nobody sees before it is whole.
//!
//! Written beside its destination and renamed into place after fsync; removed when it does not come to that. An
//! unnamed file (`O_TMPFILE`) was refused: it cannot replace an existing name, and not every file system has it.
//!
//! A thread writes it, and who is interrupted does not wait for that thread: the process ends under it. So whoever
//! waits holds the [`Leftover`] too, and the first of both that gives up removes the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::client::ClientError;

/// A file on its way to its name.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    path: PathBuf,
    destination: PathBuf,
    replace: bool,
    leftover: Leftover,
}

/// Removes the file when it is dropped before the file has its name.
#[derive(Debug, Clone)]
pub(super) struct Leftover {
    path: PathBuf,
    /// It has its name, or is gone.
    settled: Arc<AtomicBool>,
}

impl Staged {
    pub(super) fn create(destination: PathBuf, replace: bool) -> Result<Self, ClientError> {
        if !replace && destination.symlink_metadata().is_ok() {
            return Err(exists(&destination));
        }
        let name = destination
            .file_name()
            .ok_or_else(|| ClientError::Usage(format!("{} names no file", destination.display())))?;
        let name = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
        let path = destination.with_file_name(name);
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = opened.map_err(ClientError::local("create", path.display().to_string()))?;
        let leftover = Leftover { path: path.clone(), settled: Arc::default() };
        Ok(Self { file, path, destination, replace, leftover })
    }

    pub(super) fn leftover(&self) -> Leftover {
        self.leftover.clone()
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), ClientError> {
        self.file.write_all_at(bytes, offset).map_err(self.fault("write"))
    }

    pub(super) fn settle(&mut self, size: u64) -> Result<(), ClientError> {
        self.file.set_len(size).and_then(|()| self.file.sync_all()).map_err(self.fault("write"))
    }

    pub(super) fn publish(self) -> Result<(), ClientError> {
        let renamed = if self.replace { std::fs::rename(&self.path, &self.destination) } else { self.claim() };
        renamed.map_err(|fault| match fault.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.destination),
            _ => self.fault("rename")(fault),
        })?;
        self.leftover.settled.store(true, Ordering::Release);
        let directory = self.destination.parent().filter(|parent| !parent.as_os_str().is_empty());
        let synced = File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
        synced.map_err(self.fault("sync the directory of"))
    }

    /// Takes the name if nobody has it; file systems that cannot do this in one step get two.
    fn claim(&self) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, &self.destination, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                std::fs::hard_link(&self.path, &self.destination)?;
                std::fs::remove_file(&self.path)
            }
            renamed => renamed.map_err(io::Error::from),
        }
    }

    fn fault(&self, action: &'static str) -> impl FnOnce(io::Error) -> ClientError + use<> {
        ClientError::local(action, self.path.display().to_string())
    }
}

fn exists(destination: &Path) -> ClientError {
    ClientError::Usage(format!("{} exists already; --force replaces it", destination.display()))
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.settled.swap(true, Ordering::AcqRel) {
            return;
        }
        match std::fs::remove_file(&self.path) {
            // It gets its name in this moment, on the thread that writes.
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => tracing::warn!(path = %self.path.display(), %fault, "cannot remove the partial file"),
            Ok(()) => {}
        }
    }
}
