//! A raw image: in full without its zeroes, or the grains in which it differs from an earlier snapshot.
//!
//! Both go out as an rbd-diff, because a raw body would cost the size of the image and not its data. The bases are
//! proven in a first pass, before anything is sent: the plan compares their content roots with what the gateway has.

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::comparison::Comparison;
use super::material::{Choice, Material, PieceWork, Pieces, Work};
use super::prove::prove;
use super::rebase::Rebase;
use super::records::Records;
use super::writer::StreamWriter;
use crate::api::{Action, PlanAnswer, RBD_DIFF, SourceSnapshot};
use crate::client::source::{Blocks, ImageFile, Sequential};
use crate::client::tree::{LocalTree, RemoteTree};
use crate::client::{BlockHashes, ClientError, Meter, Reporter, leaves_of};
use crate::content::{BLOCK_BYTES, Root};

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
    /// What is compared with what, when that was planned.
    rebase: Option<Rebase>,
    /// Whether it may be compared with what only the gateway has.
    may_rebase: bool,
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
        Ok(Self {
            origin: Origin::File(path),
            size,
            bases,
            proven: Vec::new(),
            failed: None,
            rebase: None,
            may_rebase: true,
        })
    }

    /// An image of `size` bytes that can be read only once.
    #[must_use]
    pub fn pipe(reader: Box<dyn Read + Send>, size: u64, name: &str, bases: Vec<Base>) -> Self {
        let pipe = Arc::new(Mutex::new(Some(Sequential::new(reader, size, name))));
        Self {
            origin: Origin::Pipe(pipe),
            size,
            bases,
            proven: Vec::new(),
            failed: None,
            rebase: None,
            may_rebase: true,
        }
    }

    /// The same, to be sent in full whatever could be left out.
    #[must_use]
    pub fn in_full(self) -> Self {
        Self { bases: Vec::new(), may_rebase: false, ..self }
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
            Origin::Pipe(_) => Err(ClientError::spent(self.failed.take())),
        }
    }
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
                None => Err(ClientError::spent(None)),
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
            let root = prove(Box::new(image), &base.id, reporter).await?;
            self.proven.push(SourceSnapshot { id: base.id.clone(), size, root: Some(root.to_string()), mark: None });
        }
        Ok(())
    }

    async fn prove(&mut self, name: &str, reporter: &dyn Reporter) -> Result<Option<Root>, ClientError> {
        prove(self.open()?.blocks()?, name, reporter).await.map(Some)
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

    fn can_rebase(&self) -> bool {
        self.may_rebase && matches!(self.origin, Origin::File(_))
    }

    async fn rebase(&mut self, target: RemoteTree, reporter: &dyn Reporter) -> Result<(), ClientError> {
        let Input::File(mut image) = self.open()? else { return Err(ClientError::spent(None)) };
        let known = self.rebase.take();
        self.rebase =
            Some(Rebase::prepare(target, known, reporter, move |meter| LocalTree::of_blocks(&mut image, meter)).await?);
        Ok(())
    }

    fn begin(&mut self, choice: &Choice, source_snapshot: &str) -> Result<Work, ClientError> {
        if let (Choice::Rebase(base), Some(rebase)) = (choice, self.rebase.clone()) {
            let Input::File(mut image) = self.open()? else { return Err(ClientError::spent(None)) };
            let (from, to) = (base.snapshot.clone(), source_snapshot.to_owned());
            return Ok(Box::new(move |writer: &mut StreamWriter| {
                let records = Records::begin(writer, Some(&from), &to, Blocks::size(&image))?;
                let read = |offset, length| image.piece(offset, length);
                let records = rebase.pour(read, records, writer)?;
                records.end(writer, || image.prove())?;
                Ok(Some(rebase.root()))
            }));
        }
        let base = match choice {
            Choice::Since(plan) => self.base(&plan.root).cloned(),
            _ => None,
        };
        let opened = base.as_ref().map(|base| ImageFile::open(&base.path)).transpose()?;
        let (input, from, to) = (self.open()?, base.map(|base| base.id), source_snapshot.to_owned());
        Ok(Box::new(move |writer: &mut StreamWriter| {
            let source = input.blocks()?;
            let records = Records::begin(writer, from.as_deref(), &to, source.size())?;
            Comparison::new(source, opened).run(records, writer).map(Some)
        }))
    }

    fn pieces(&self, choice: &Choice, source_snapshot: &str) -> Result<Option<Arc<dyn Pieces>>, ClientError> {
        let Origin::File(path) = &self.origin else { return Ok(None) };
        let base = match choice {
            Choice::Since(plan) => self.base(&plan.root).cloned(),
            _ => None,
        };
        let first = ImageFile::open(path)?;
        if first.size() != self.size {
            return Err(ClientError::Changed(format!("{} has another size than at the start", path.display())));
        }
        Ok(Some(Arc::new(ImagePieces {
            path: path.clone(),
            first: Mutex::new(first),
            base,
            to: source_snapshot.to_owned(),
            size: self.size,
            hashes: Arc::default(),
        })))
    }

    fn remember(&mut self, error: ClientError) {
        self.failed = Some(error);
    }
}

/// A raw image in pieces.
#[derive(Debug)]
struct ImagePieces {
    path: PathBuf,
    /// Opened before anything was read: shows what was written since.
    first: Mutex<ImageFile>,
    base: Option<Base>,
    to: String,
    size: u64,
    hashes: Arc<BlockHashes>,
}

impl Pieces for ImagePieces {
    fn begin(self: Arc<Self>, range: Range<u64>) -> PieceWork {
        Box::new(move |writer: &mut StreamWriter| {
            let source = ImageFile::open(&self.path)?;
            let base = self.base.as_ref().map(|base| ImageFile::open(&base.path)).transpose()?;
            let from = self.base.as_ref().map(|base| &*base.id);
            let records = Records::begin(writer, from, &self.to, self.size)?;
            let comparison = Comparison::new(Box::new(source), base).within(blocks(&range), Arc::clone(&self.hashes));
            comparison.run_piece(records, writer)
        })
    }

    fn read(&self, range: Range<u64>, meter: &Meter) -> Result<(), ClientError> {
        let mut source = ImageFile::open(&self.path)?;
        let (mut buffer, blocks) = (vec![0; BLOCK_BYTES], blocks(&range));
        let mut block = blocks.start;
        while let Some(next) = source.next(block)?.filter(|next| *next < blocks.end) {
            source.read(next, &mut buffer)?;
            self.hashes.take(next, &leaves_of(&buffer));
            block = next + 1;
            meter.reach(block * BLOCK_BYTES as u64);
        }
        Ok(())
    }

    fn root(&self) -> Option<Root> {
        Some(self.hashes.root(self.size))
    }

    fn has_root(&self) -> bool {
        true
    }

    fn prove(&self) -> Result<(), ClientError> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).prove()
    }
}

fn blocks(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES as u64..range.end.div_ceil(BLOCK_BYTES as u64)
}
