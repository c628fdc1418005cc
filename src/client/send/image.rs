//! A raw image: in full without its zeroes, or the grains in which it differs from an earlier snapshot.
//!
//! Both go out as an rbd-diff, because a raw body would cost the size of the image and not its data. The bases are
//! proven in a first pass, before anything is sent: the plan compares their content roots with what the gateway has.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rsnap_wire::rbd_diff;
use tokio::runtime::Handle;

use super::material::{Choice, Material, Work};
use super::prove::prove;
use super::writer::{Halt, StreamWriter};
use crate::api::{Action, PlanAnswer, RBD_DIFF, SourceSnapshot};
use crate::buffer::BufferPool;
use crate::client::source::{Blocks, Change, ImageFile, Sequential, changes};
use crate::client::{ClientError, Reporter, RootMeter};
use crate::content::{BLOCK_BYTES, Root};

/// Blocks that are read ahead of the socket.
const AHEAD: usize = 8;

/// An earlier snapshot of the source.
#[derive(Debug, Clone)]
pub struct Base {
    /// The source's id.
    pub id: String,
    /// Its raw image.
    pub path: PathBuf,
}

/// An image to be sent.
#[derive(Debug)]
pub struct Image {
    origin: Origin,
    size: u64,
    bases: Vec<Base>,
    proven: Vec<SourceSnapshot>,
    failed: Option<ClientError>,
}

#[derive(Debug)]
enum Origin {
    File(PathBuf),
    Pipe(Pipe),
}

type Pipe = Arc<Mutex<Option<Sequential<Box<dyn Read + Send>>>>>;

impl Image {
    /// A file or block device. `bases` are oldest first.
    pub fn file(path: PathBuf, bases: Vec<Base>) -> Result<Self, ClientError> {
        let size = ImageFile::open(&path)?.size();
        Ok(Self { origin: Origin::File(path), size, bases, proven: Vec::new(), failed: None })
    }

    /// An image of `size` bytes that can be read only once.
    #[must_use]
    pub fn pipe(reader: Box<dyn Read + Send>, size: u64, name: &str, bases: Vec<Base>) -> Self {
        let pipe = Arc::new(Mutex::new(Some(Sequential::new(reader, size, name))));
        Self { origin: Origin::Pipe(pipe), size, bases, proven: Vec::new(), failed: None }
    }

    /// The base of ours that has the content of the plan's.
    fn base(&self, root: &str) -> Option<&Base> {
        let position = self.proven.iter().rposition(|proven| proven.root.as_deref() == Some(root))?;
        self.bases.get(position)
    }

    fn open(&mut self) -> Result<Input, ClientError> {
        match &self.origin {
            Origin::File(path) => {
                let file = ImageFile::open(path)?;
                if file.size() == self.size {
                    return Ok(Input::File(file));
                }
                Err(ClientError::Changed(format!("{} has another size than at the start", path.display())))
            }
            Origin::Pipe(pipe) if pipe.lock().unwrap_or_else(PoisonError::into_inner).is_some() => {
                Ok(Input::Pipe(Arc::clone(pipe)))
            }
            Origin::Pipe(_) => Err(spent(self.failed.take())),
        }
    }
}

/// The error of a source that cannot be read twice: the one that made a second reading necessary.
pub(super) fn spent(failed: Option<ClientError>) -> ClientError {
    let cause = failed.map_or_else(|| "the first try failed".to_owned(), |error| error.to_string());
    ClientError::Changed(format!("{cause}; what came through a pipe cannot be sent again, so start it again"))
}

/// What a try reads; a pipe is taken only when the gateway gave leave.
enum Input {
    File(ImageFile),
    Pipe(Pipe),
}

impl Input {
    fn blocks(self) -> Result<Box<dyn Blocks>, ClientError> {
        match self {
            Self::File(file) => Ok(Box::new(file)),
            Self::Pipe(pipe) => match pipe.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(sequential) => Ok(Box::new(sequential)),
                None => Err(spent(None)),
            },
        }
    }
}

#[async_trait]
impl Material for Image {
    fn size(&self) -> u64 {
        self.size
    }

    fn media_type(&self) -> &'static str {
        RBD_DIFF
    }

    fn is_planned(&self) -> bool {
        true
    }

    fn has_root(&self, _choice: &Choice) -> bool {
        true
    }

    async fn prepare(&mut self, reporter: &dyn Reporter) -> Result<(), ClientError> {
        for base in &self.bases {
            let image = ImageFile::open(&base.path)?;
            let size = image.size();
            let root = prove(image, &base.id, reporter).await?;
            self.proven.push(SourceSnapshot { id: base.id.clone(), size, root: Some(root.to_string()) });
        }
        Ok(())
    }

    fn bases(&self) -> Vec<SourceSnapshot> {
        self.proven.clone()
    }

    fn choose(&self, plan: &PlanAnswer) -> Result<Choice, ClientError> {
        match (plan.action, &plan.base) {
            (Action::Incremental, Some(base)) if self.base(&base.root).is_some() => Ok(Choice::Since(base.clone())),
            (Action::Incremental, base) => {
                let wanted = base.as_ref().map_or("nothing", |base| &*base.snapshot);
                Err(ClientError::Plan(format!(
                    "the gateway wants an increment from its snapshot {wanted}, whose content none of --base has"
                )))
            }
            _ => Ok(Choice::Full),
        }
    }

    fn begin(&mut self, choice: &Choice, source_snapshot: &str) -> Result<Work, ClientError> {
        let base = match choice {
            Choice::Since(plan) => self.base(&plan.root).cloned(),
            _ => None,
        };
        let opened = base.as_ref().map(|base| ImageFile::open(&base.path)).transpose()?;
        let (input, from, to) = (self.open()?, base.map(|base| base.id), source_snapshot.to_owned());
        Ok(Box::new(move |writer: &mut StreamWriter| {
            let source = input.blocks()?;
            let header = rbd_diff::Header { from: from.as_deref(), to: Some(&to), size: source.size() };
            let header = header.encode().map_err(|fault| ClientError::Usage(fault.to_string()))?;
            writer.write(Bytes::from(header))?;
            Comparison::new(source, opened).run(writer).map(Some)
        }))
    }

    fn remember(&mut self, error: ClientError) {
        self.failed = Some(error);
    }
}

/// Goes over the source, beside the base where there is one.
struct Comparison {
    source: Box<dyn Blocks>,
    base: Option<ImageFile>,
    pool: BufferPool,
    root: RootMeter,
    /// A run of zeroes that may still grow: offset and length.
    zeroes: Option<(u64, u64)>,
}

impl Comparison {
    fn new(source: Box<dyn Blocks>, base: Option<ImageFile>) -> Self {
        let root = RootMeter::new(source.size());
        Self { source, base, pool: BufferPool::new(AHEAD), root, zeroes: None }
    }

    fn run(mut self, writer: &mut StreamWriter) -> Result<Root, Halt> {
        let runtime = Handle::current();
        let mut before = vec![0; BLOCK_BYTES];
        let mut block = 0;
        while let Some(next) = self.next(block)? {
            let mut buffer = runtime.block_on(self.pool.take());
            self.source.read(next, &mut buffer)?;
            if let Some(base) = &mut self.base {
                base.read(next, &mut before)?;
            }
            self.root.write(next * BLOCK_BYTES as u64, &buffer);
            self.emit(next, Bytes::from_owner(buffer), &before, writer)?;
            block = next + 1;
            writer.reach(block * BLOCK_BYTES as u64);
        }
        self.end(writer)
    }

    /// The first block from `block` on that may differ.
    fn next(&mut self, block: u64) -> Result<Option<u64>, ClientError> {
        let inside = |number: &u64| number.saturating_mul(BLOCK_BYTES as u64) < self.source.size();
        let base = self.base.as_mut().map(|base| base.next(block)).transpose()?.flatten().filter(inside);
        let source = self.source.next(block)?;
        Ok(source.into_iter().chain(base).min())
    }

    fn emit(&mut self, block: u64, bytes: Bytes, before: &[u8], writer: &mut StreamWriter) -> Result<(), Halt> {
        let start = block * BLOCK_BYTES as u64;
        let inside = usize::try_from(self.source.size() - start).unwrap_or(usize::MAX);
        let base = self.base.as_ref().map(|_| before);
        for change in changes(&bytes, base) {
            match change {
                Change::Data(range) => {
                    let range = range.start..range.end.min(inside);
                    self.flush(writer)?;
                    let record = rbd_diff::data(start + range.start as u64, range.len() as u64);
                    writer.write(Bytes::copy_from_slice(&record))?;
                    writer.write(bytes.slice(range))?;
                }
                Change::Zero(range) if range.start >= inside => {}
                Change::Zero(range) => {
                    let length = range.end.min(inside) - range.start;
                    self.zero(start + range.start as u64, length as u64, writer)?;
                }
            }
        }
        self.breathe(start, writer)
    }

    fn zero(&mut self, offset: u64, length: u64, writer: &mut StreamWriter) -> Result<(), Halt> {
        if let Some((start, held)) = &mut self.zeroes
            && *start + *held == offset
        {
            *held += length;
            return Ok(());
        }
        self.flush(writer)?;
        self.zeroes = Some((offset, length));
        Ok(())
    }

    fn flush(&mut self, writer: &mut StreamWriter) -> Result<(), Halt> {
        match self.zeroes.take() {
            Some((offset, length)) => writer.write(Bytes::copy_from_slice(&rbd_diff::zero(offset, length))),
            None => Ok(()),
        }
    }

    /// A record of no bytes says that we are still there; a growing run of zeroes stays open.
    fn breathe(&mut self, start: u64, writer: &mut StreamWriter) -> Result<(), Halt> {
        let offset = self.zeroes.map_or(start, |(offset, _)| offset);
        writer.breathe(&rbd_diff::zero(offset, 0))
    }

    fn end(mut self, writer: &mut StreamWriter) -> Result<Root, Halt> {
        self.flush(writer)?;
        self.source.prove()?;
        if let Some(base) = &mut self.base {
            base.prove()?;
        }
        writer.write(Bytes::from_static(rbd_diff::END))?;
        Ok(self.root.finish())
    }
}
