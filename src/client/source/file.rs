//! A raw image in a file or on a block device.
//!
//! Holes are skipped where the file system tells them, so that an image costs its data and not its size. A file that
//! changed while it was read shows in its times; a block device has none, so there the duty stays with the user: a
//! read-only snapshot device, held open until the end.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Advice, SeekFrom as Hole, fadvise, seek};
use rustix::io::Errno;

use super::Blocks;
use crate::client::ClientError;
use crate::content::BLOCK_BYTES;

/// What a file looks like when nobody has written to it: device, inode, size, modification and change time.
type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

/// An opened image.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    path: String,
    size: u64,
    mark: Option<Mark>,
}

impl ImageFile {
    /// Opens the regular file or block device at `path` for reading.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let shown = path.display().to_string();
        let mut file = File::open(path).map_err(ClientError::local("open", &shown))?;
        let kind = file.metadata().map_err(ClientError::local("examine", &shown))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ClientError::Usage(format!("{shown} is neither a file nor a block device")));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(ClientError::local("measure", &shown))?;
        if fadvise(&file, 0, None, Advice::Sequential).is_err() {
            tracing::debug!(path = shown, "the system takes no advice on reading ahead");
        }
        let mark = kind.is_file().then(|| mark(&file)).transpose().map_err(ClientError::local("examine", &shown))?;
        Ok(Self { file, path: shown, size, mark })
    }

    /// `length` bytes from `offset` on.
    pub(in crate::client) fn piece(&self, offset: u64, length: u64) -> Result<Bytes, ClientError> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, offset).map_err(self.fault())?;
        Ok(Bytes::from(bytes))
    }

    fn fault(&self) -> impl FnOnce(io::Error) -> ClientError {
        ClientError::local("read", self.path.clone())
    }
}

fn mark(file: &File) -> io::Result<Mark> {
    let data = file.metadata()?;
    let modified = (data.mtime(), data.mtime_nsec());
    Ok((data.dev(), data.ino(), data.size(), modified, (data.ctime(), data.ctime_nsec())))
}

impl Blocks for ImageFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn next(&mut self, block: u64) -> Result<Option<u64>, ClientError> {
        let from = block.saturating_mul(BLOCK_BYTES as u64);
        if from >= self.size {
            return Ok(None);
        }
        match seek(&self.file, Hole::Data(from)) {
            Ok(data) => Ok((data < self.size).then_some(data / BLOCK_BYTES as u64)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(block)),
            Err(fault) => Err(self.fault()(fault.into())),
        }
    }

    fn read(&mut self, block: u64, buffer: &mut [u8]) -> Result<(), ClientError> {
        let offset = block.saturating_mul(BLOCK_BYTES as u64);
        let inside = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let (data, past) = buffer.split_at_mut(inside);
        past.fill(0);
        self.file.read_exact_at(data, offset).map_err(|fault| match fault.kind() {
            io::ErrorKind::UnexpectedEof => {
                ClientError::Changed(format!("{} became shorter while it was read", self.path))
            }
            _ => self.fault()(fault),
        })
    }

    fn prove(&mut self) -> Result<(), ClientError> {
        let now = self.mark.map(|_| mark(&self.file)).transpose().map_err(self.fault())?;
        let size = self.file.seek(SeekFrom::End(0)).map_err(self.fault())?;
        if now != self.mark || size != self.size {
            return Err(ClientError::Changed(format!("{} was written to while it was read", self.path)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MIB: u64 = BLOCK_BYTES as u64;

    fn sparse(size: u64, data: &[(u64, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        for (offset, bytes) in data {
            file.as_file().write_all_at(bytes, *offset).unwrap();
        }
        file
    }

    #[test]
    fn holes_are_skipped_and_the_end_is_padded() {
        let file = sparse(1 << 40, &[(5 * MIB + 9, b"x"), ((1 << 40) - 3, b"end")]);
        let mut image = ImageFile::open(file.path()).unwrap();
        assert_eq!(image.next(0).unwrap(), Some(5), "the file system of the test must know holes");
        assert_eq!(image.next(6).unwrap(), Some((1 << 20) - 1));
        assert_eq!(image.next(1 << 20).unwrap(), None);
        let mut block = vec![7; BLOCK_BYTES];
        image.read((1 << 20) - 1, &mut block).unwrap();
        assert_eq!((&block[BLOCK_BYTES - 3..], block[0]), (&b"end"[..], 0));

        let short = sparse(MIB + 3, &[(MIB, b"abc")]);
        ImageFile::open(short.path()).unwrap().read(1, &mut block).unwrap();
        assert_eq!((&block[..3], &block[3..9]), (&b"abc"[..], &[0; 6][..]));
    }

    #[test]
    fn a_write_is_noticed() {
        let mut file = sparse(MIB, &[(0, b"before")]);
        let mut image = ImageFile::open(file.path()).unwrap();
        image.prove().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        file.write_all(b"after").unwrap();
        assert!(matches!(image.prove(), Err(ClientError::Changed(_))));
    }

    #[test]
    fn a_directory_is_no_image() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(ImageFile::open(directory.path()), Err(ClientError::Usage(_))));
    }
}
