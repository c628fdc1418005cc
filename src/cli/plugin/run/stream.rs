//! A file or standard input as the body of a transfer.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

use crate::transfer::{Body, BodyError, Trailers};

/// As much as a busy connection hands over at once.
const PIECE: usize = 256 << 10;

pub(super) struct Stream {
    file: File,
    /// Bytes of a regular file.
    pub(super) length: Option<u64>,
}

impl Stream {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = match path == Path::new("-") {
            true => File::from(std::io::stdin().as_fd().try_clone_to_owned()?),
            false => File::open(path)?,
        };
        let metadata = file.metadata()?;
        Ok(Self { length: metadata.is_file().then_some(metadata.len()), file })
    }
}

#[async_trait]
impl Body for Stream {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let mut piece = vec![0; PIECE];
        let read = tokio::task::block_in_place(|| self.file.read(&mut piece));
        piece.truncate(read.map_err(|fault| BodyError::Cut(fault.to_string()))?);
        Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
    }

    async fn trailers(&mut self) -> Result<Trailers, BodyError> {
        Ok(Trailers::default())
    }
}
