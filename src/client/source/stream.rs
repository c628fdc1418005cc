//! A stream that `rbd` has made, passed on as it is.
//!
//! It is decoded while it passes: a stream that was cut on its way to us must not be sent as if it were whole, and
//! the names and the size at its front are what the plan and the permission need.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rsnap_wire::{Event, chain, rbd_diff};

use crate::client::ClientError;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Which stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// `rbd export-diff`.
    Diff,
    /// `rbd export --export-format 2`.
    Chain,
}

/// What stands at the front of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Bytes of the image; of a chain, of its first snapshot.
    pub(crate) size: u64,
    /// Snapshots in it.
    pub(crate) snapshots: u64,
}

/// A stream in a file, or one that can be read only once.
#[derive(Debug)]
pub struct StreamInput {
    pub(crate) kind: StreamKind,
    pub(crate) front: Front,
    path: PathBuf,
    once: bool,
    opened: Option<Opened>,
}

/// A stream whose first bytes have been looked at.
pub(crate) struct Opened {
    reader: Box<dyn Read + Send>,
    held: Vec<u8>,
    walker: Walker,
    path: String,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opened").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StreamInput {
    /// Looks at the front of the stream in the file at `path`. Blocks.
    pub fn file(path: &Path, kind: StreamKind) -> Result<Self, ClientError> {
        let file = File::open(path).map_err(ClientError::local("open", path.display().to_string()))?;
        Self::start(Box::new(file), path, kind, false)
    }

    /// Looks at the front of a stream that can be read only once; `name` is what errors call it. Blocks.
    pub fn once(reader: Box<dyn Read + Send>, name: &str, kind: StreamKind) -> Result<Self, ClientError> {
        Self::start(reader, Path::new(name), kind, true)
    }

    fn start(reader: Box<dyn Read + Send>, path: &Path, kind: StreamKind, once: bool) -> Result<Self, ClientError> {
        let (opened, front) = Opened::look(reader, &path.display().to_string(), kind)?;
        Ok(Self { kind, front, path: path.to_owned(), once, opened: Some(opened) })
    }

    /// Whether [`Self::take`] has something to give.
    pub(crate) fn is_ready(&self) -> bool {
        self.opened.is_some() || !self.once
    }

    /// The stream from its first byte; `None` when it has been read already and cannot be read again.
    pub(crate) fn take(&mut self) -> Result<Option<Opened>, ClientError> {
        if self.opened.is_some() || self.once {
            return Ok(self.opened.take());
        }
        let again = Self::file(&self.path, self.kind)?;
        if again.front != self.front {
            return Err(ClientError::Changed(format!("{} was replaced between two tries", self.path.display())));
        }
        Ok(again.opened)
    }
}

impl Opened {
    /// Reads up to the first extent.
    fn look(reader: Box<dyn Read + Send>, path: &str, kind: StreamKind) -> Result<(Self, Front), ClientError> {
        let mut opened = Self { reader, held: Vec::new(), walker: Walker::new(kind), path: path.to_owned() };
        let mut front = Front { snapshots: 1, ..Front::default() };
        let mut complete = false;
        let mut walker = Walker::new(kind);
        while !complete {
            let chunk = opened.read()?;
            if chunk.is_empty() {
                walker.finish().map_err(|fault| opened.malformed(fault))?;
                break;
            }
            let seen = walker.feed(&chunk, |event| complete |= front.see(event));
            seen.map_err(|fault| opened.malformed(fault))?;
            opened.held.extend(chunk);
        }
        front.snapshots = walker.snapshots();
        Ok((opened, front))
    }

    /// The next bytes of the stream, which are checked, and what they say; empty at the end, which is checked too.
    pub(crate) fn next(&mut self, see: impl FnMut(Event<'_>)) -> Result<Vec<u8>, ClientError> {
        let chunk = if self.held.is_empty() { self.read()? } else { std::mem::take(&mut self.held) };
        let checked = if chunk.is_empty() { self.walker.finish() } else { self.walker.feed(&chunk, see) };
        checked.map_err(|fault| self.malformed(fault))?;
        Ok(chunk)
    }

    fn read(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.reader.read(&mut chunk) {
                Ok(length) => {
                    chunk.truncate(length);
                    return Ok(chunk);
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(ClientError::Local { action: "read", path: self.path.clone(), fault }),
            }
        }
    }

    fn malformed(&self, fault: rsnap_wire::Error) -> ClientError {
        ClientError::Malformed { path: self.path.clone(), fault: fault.to_string() }
    }
}

impl Front {
    /// Notes one event of the first diff; whether the front ends here.
    fn see(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::From(name) => self.from = self.from.take().or(Some(name)),
            Event::To(name) => self.to = self.to.take().or(Some(name)),
            Event::Size(size) => self.size = if self.size == 0 { size } else { self.size },
            Event::Protected(_) => {}
            Event::Data { .. } | Event::Zero { .. } | Event::End => return true,
        }
        false
    }
}

/// The decoder of either kind.
#[derive(Debug)]
enum Walker {
    Diff(rbd_diff::Decoder),
    Chain { decoder: chain::Decoder, diffs: u64 },
}

impl Walker {
    fn new(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Diff => Self::Diff(rbd_diff::Decoder::new()),
            StreamKind::Chain => Self::Chain { decoder: chain::Decoder::new(chain::Limits::default()), diffs: 0 },
        }
    }

    fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Event<'_>)) -> Result<(), rsnap_wire::Error> {
        match self {
            Self::Diff(decoder) => {
                while let Some(event) = decoder.next(&mut bytes)? {
                    see(event);
                }
            }
            Self::Chain { decoder, diffs } => {
                while let Some(event) = decoder.next(&mut bytes)? {
                    match event {
                        chain::Event::Diffs(count) => *diffs = count,
                        chain::Event::Diff(event) => see(event),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), rsnap_wire::Error> {
        match self {
            Self::Diff(decoder) => decoder.finish(),
            Self::Chain { decoder, .. } => decoder.finish(),
        }
    }

    /// Snapshots in the stream, as far as its front says it; the last diff of a chain is the volume's head.
    fn snapshots(&self) -> u64 {
        match self {
            Self::Diff(_) => 1,
            Self::Chain { diffs, .. } => diffs.saturating_sub(1),
        }
    }
}
