//! Files that are read together, and again when they have changed.
//!
//! Whoever renews them writes one after the other, and a reader may come between. So what was read is taken only when
//! the files lay still from one look to the next and were still the same after they were read. They are looked at again
//! and again: watching them by inotify was refused, because it is silent on network file systems and loses the files
//! behind the symbolic links that certbot and Kubernetes switch over.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::TlsError;

/// Some files, and what they looked like.
#[derive(Debug)]
pub(super) struct Watched {
    paths: Vec<PathBuf>,
    /// When what is in use was read.
    loaded: Stamps,
    /// At the last look.
    seen: Stamps,
    /// The fault that was told last.
    told: Option<String>,
}

impl Watched {
    /// To be made before the first reading.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let stamps = stamps(&paths);
        Self { paths, loaded: stamps.clone(), seen: stamps, told: None }
    }

    /// Reads what lies there now, because somebody says that it is complete.
    pub(super) fn reload<T>(&mut self, read: impl FnOnce() -> Result<T, TlsError>) -> Result<T, TlsError> {
        let taken = self.take(stamps(&self.paths), read);
        self.told = taken.as_ref().err().map(ToString::to_string);
        taken
    }

    /// Looks whether the files have changed, and reads them once they lie still. `None`: nothing is new. The same fault
    /// is told once, and tried again at each look.
    pub(super) fn look<T>(&mut self, read: impl FnOnce() -> Result<T, TlsError>) -> Option<Result<T, TlsError>> {
        let now = stamps(&self.paths);
        let is_settled = self.seen == now;
        self.seen.clone_from(&now);
        if now == self.loaded {
            self.told = None;
            return None;
        }
        if !is_settled {
            return None;
        }
        match self.take(now, read) {
            Err(TlsError::Unsettled { .. }) => None,
            Err(fault) => self.tell(fault).map(Err),
            taken => {
                self.told = None;
                Some(taken)
            }
        }
    }

    fn tell(&mut self, fault: TlsError) -> Option<TlsError> {
        let text = fault.to_string();
        let is_new = self.told.as_ref() != Some(&text);
        self.told = Some(text);
        is_new.then_some(fault)
    }

    fn take<T>(&mut self, before: Stamps, read: impl FnOnce() -> Result<T, TlsError>) -> Result<T, TlsError> {
        let taken = read();
        if stamps(&self.paths) != before {
            return Err(TlsError::Unsettled { files: self.paths.clone() });
        }
        let taken = taken?;
        self.loaded = before;
        Ok(taken)
    }
}

/// What tells one state of the files from another; `None` for one that is not there.
type Stamps = Vec<Option<Stamp>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Changes with permissions too, which decide whether the file can be read.
    changed: (i64, i64),
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}
