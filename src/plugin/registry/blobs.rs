//! What was pulled, on disk: each content under its digest, as in an OCI image layout.
//!
//! A start with a pinned component needs no registry once it is here. What is read is hashed again, so that a damaged or
//! changed file is as good as none. Nothing is ever removed: components are small and few.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::reference::Digest;

/// A folder of contents, or none.
#[derive(Debug)]
pub(super) struct Blobs {
    folder: Option<PathBuf>,
}

impl Blobs {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(|folder| folder.join("blobs/sha256")) }
    }

    /// The content, if it is here and whole.
    pub(super) fn get(&self, digest: &Digest, most: u64) -> Option<Vec<u8>> {
        let path = self.folder.as_ref()?.join(digest.hex());
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(most + 1).read_to_end(&mut bytes).ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        tracing::warn!(file = %path.display(), "pulled plugin: the file is not what was pulled; pulling again");
        None
    }

    /// Keeps a content, durably: a machine that lost power must start without the registry too.
    pub(super) fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let fresh = folder.join(format!("{}.{}.new", digest.hex(), crate::secret::random_text(9)));
        let written = File::create_new(&fresh).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, folder.join(digest.hex()))
        });
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (blobs, digest) = (Blobs::new(Some(folder.path())), Digest::of(b"content"));
        assert_eq!(blobs.get(&digest, 100), None);
        blobs.put(&digest, b"content").unwrap();
        blobs.put(&digest, b"content").unwrap();
        assert_eq!(blobs.get(&digest, 7).unwrap(), b"content");
        assert_eq!(blobs.get(&digest, 3), None, "larger than is allowed");
        fs::write(folder.path().join("blobs/sha256").join(digest.hex()), b"c0ntent").unwrap();
        assert_eq!(blobs.get(&digest, 100), None);
    }
}
