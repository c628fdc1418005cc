//! A snapshot in Ceph: in full without its zeroes, or what changed since an earlier one of the same image.
//!
//! Neither the bases nor, for a change, the snapshot's own root is computed: both are known by their marks, and the
//! body is proven by its digest. Every earlier snapshot is offered as a base, because offering costs nothing.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::material::{Choice, Material, PieceWork, Pieces, Work};
use super::rebase::Rebase;
use super::records::Records;
use super::writer::{Halt, StreamWriter};
use crate::api::{Action, PlanAnswer, PlanBase, RBD_DIFF, SourceSnapshot};
use crate::client::progress::telling;
use crate::client::source::{Earlier, Piece, Protection, RbdSnapshot, Reader};
use crate::client::tree::{LocalTree, RemoteTree};
use crate::client::{BlockHashes, ClientError, Meter, Reporter, RootMeter, Stage, on_thread};
use crate::content::{GRAIN_BYTES, Root, is_zero};

/// An earlier snapshot of the same image that the gateway may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdBase {
    /// What the source calls it.
    pub id: String,
    pub snapshot: Earlier,
}

/// A snapshot in Ceph that is sent.
#[derive(Debug)]
pub struct RbdImage {
    snapshot: Arc<RbdSnapshot>,
    bases: Vec<RbdBase>,
    /// Held from the first byte that is read until the job ends, whoever ends it. Behind a lock only because a
    /// material is shared between threads.
    protection: Mutex<Option<Protection>>,
    /// What is compared with what, when that was planned.
    rebase: Option<Rebase>,
    /// Whether it may be compared with what only the gateway has.
    may_rebase: bool,
}

impl RbdImage {
    /// Sends `snapshot`; `bases` are earlier snapshots of its image, oldest first.
    #[must_use]
    pub fn new(snapshot: RbdSnapshot, bases: Vec<RbdBase>) -> Self {
        let protection = Mutex::new(None);
        Self { snapshot: Arc::new(snapshot), bases, protection, rebase: None, may_rebase: true }
    }

    /// The same, to be sent in full whatever could be left out.
    #[must_use]
    pub fn in_full(self) -> Self {
        Self { bases: Vec::new(), may_rebase: false, ..self }
    }

    /// The base of ours that the plan names; one that the gateway knows by its name alone is none.
    fn base(&self, plan: &PlanBase) -> Option<&RbdBase> {
        self.bases.iter().find(|base| plan.source_snapshot.as_deref() == Some(&*base.id))
    }

    fn entry(&self, base: &RbdBase) -> SourceSnapshot {
        let mark = Some(self.snapshot.mark_of(base.snapshot.id));
        SourceSnapshot { id: base.id.clone(), size: base.snapshot.size, root: None, mark }
    }
}

#[async_trait]
impl Material for RbdImage {
    fn size(&self) -> u64 {
        self.snapshot.size()
    }

    fn media_type(&self) -> &'static str {
        RBD_DIFF
    }

    fn is_planned(&self) -> bool {
        true
    }

    fn has_root(&self, choice: &Choice) -> bool {
        matches!(choice, Choice::Full | Choice::Rebase(_))
    }

    fn mark(&self) -> Option<String> {
        Some(self.snapshot.mark())
    }

    fn base_mark(&self, plan: &PlanBase) -> Option<String> {
        self.base(plan).map(|base| self.snapshot.mark_of(base.snapshot.id))
    }

    async fn prepare(&mut self, _reporter: &dyn Reporter) -> Result<(), ClientError> {
        Ok(())
    }

    async fn prove(&mut self, name: &str, reporter: &dyn Reporter) -> Result<Option<Root>, ClientError> {
        let (meter, snapshot) = (Arc::new(Meter::default()), Arc::clone(&self.snapshot));
        let counted = Arc::clone(&meter);
        let work = on_thread("proof", move || root_of(&snapshot, &counted));
        telling(reporter, Stage::Proving, name, self.snapshot.size(), &meter, work).await?.map(Some)
    }

    fn bases(&self) -> Vec<SourceSnapshot> {
        self.bases.iter().map(|base| self.entry(base)).collect()
    }

    fn choose(&self, plan: &PlanAnswer) -> Result<Choice, ClientError> {
        match (plan.action, &plan.base) {
            (Action::Incremental, Some(base)) if plan.proven && self.base(base).is_some() => {
                Ok(Choice::Since(base.clone()))
            }
            _ => Ok(Choice::Full),
        }
    }

    fn can_rebase(&self) -> bool {
        self.may_rebase
    }

    async fn rebase(&mut self, target: RemoteTree, reporter: &dyn Reporter) -> Result<(), ClientError> {
        let (snapshot, known) = (Arc::clone(&self.snapshot), self.rebase.take());
        let build = move |meter: &Meter| LocalTree::of_snapshot(&snapshot, meter);
        self.rebase = Some(Rebase::prepare(target, known, reporter, build).await?);
        Ok(())
    }

    async fn hold(&mut self) -> Result<(), ClientError> {
        let snapshot = Arc::clone(&self.snapshot);
        let held = self.protection.get_mut().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = on_thread("protection", move || Protection::try_new(&snapshot)).await?;
        }
        Ok(())
    }

    fn begin(&mut self, choice: &Choice, source_snapshot: &str) -> Result<Work, ClientError> {
        let base = match choice {
            Choice::Since(plan) => self.base(plan).cloned(),
            _ => None,
        };
        let (snapshot, to) = (Arc::clone(&self.snapshot), source_snapshot.to_owned());
        if let (Choice::Rebase(base), Some(rebase)) = (choice, self.rebase.clone()) {
            let from = base.snapshot.clone();
            return Ok(Box::new(move |writer: &mut StreamWriter| {
                let records = Records::begin(writer, Some(&from), &to, snapshot.size())?;
                let records = rebase.pour(|offset, length| snapshot.piece(offset, length), records, writer)?;
                records.end(writer, || snapshot.prove(None))?;
                Ok(Some(rebase.root()))
            }));
        }
        Ok(Box::new(move |writer: &mut StreamWriter| pour(&snapshot, base.as_ref(), &to, writer)))
    }

    fn pieces(&self, choice: &Choice, source_snapshot: &str) -> Result<Option<Arc<dyn Pieces>>, ClientError> {
        let base = match choice {
            Choice::Since(plan) => self.base(plan).cloned(),
            _ => None,
        };
        let (snapshot, to) = (Arc::clone(&self.snapshot), source_snapshot.to_owned());
        Ok(Some(Arc::new(RbdPieces { snapshot, base, to, hashes: Arc::default() })))
    }

    /// Ceph can be read again.
    fn remember(&mut self, _error: ClientError) {}
}

/// A snapshot in Ceph in pieces.
#[derive(Debug)]
struct RbdPieces {
    snapshot: Arc<RbdSnapshot>,
    base: Option<RbdBase>,
    to: String,
    hashes: Arc<BlockHashes>,
}

impl Pieces for RbdPieces {
    fn begin(self: Arc<Self>, range: Range<u64>) -> PieceWork {
        Box::new(move |writer: &mut StreamWriter| {
            let base = self.base.as_ref();
            let mut root = base.is_none().then(|| RootMeter::of_piece(Arc::clone(&self.hashes)));
            pour_range(&self.snapshot, base, &self.to, range, &mut root, writer)?;
            root.into_iter().for_each(RootMeter::finish_piece);
            Ok(())
        })
    }

    fn read(&self, range: Range<u64>, meter: &Meter) -> Result<(), ClientError> {
        let mut root = RootMeter::of_piece(Arc::clone(&self.hashes));
        let mut reader = Reader::within(&self.snapshot, None, range)?;
        while let Some(piece) = reader.next()? {
            if let Piece::Data { offset, bytes } = piece {
                root.write(offset, &bytes);
                meter.reach(offset + bytes.len() as u64);
            }
        }
        root.finish_piece();
        Ok(())
    }

    fn root(&self) -> Option<Root> {
        self.has_root().then(|| self.hashes.root(self.snapshot.size()))
    }

    fn has_root(&self) -> bool {
        self.base.is_none()
    }

    fn prove(&self) -> Result<(), ClientError> {
        self.snapshot.prove(self.base.as_ref().map(|base| &base.snapshot))
    }
}

/// Writes the whole body; gives the content root of a full one.
fn pour(
    snapshot: &RbdSnapshot,
    base: Option<&RbdBase>,
    to: &str,
    writer: &mut StreamWriter,
) -> Result<Option<Root>, Halt> {
    let mut root = base.is_none().then(|| RootMeter::new(snapshot.size()));
    pour_range(snapshot, base, to, 0..u64::MAX, &mut root, writer)?;
    Ok(root.map(RootMeter::finish))
}

/// Writes the body for a range of the image.
fn pour_range(
    snapshot: &RbdSnapshot,
    base: Option<&RbdBase>,
    to: &str,
    range: Range<u64>,
    root: &mut Option<RootMeter>,
    writer: &mut StreamWriter,
) -> Result<(), Halt> {
    let mut records = Records::begin(writer, base.map(|base| &*base.id), to, snapshot.size())?;
    let earlier = base.map(|base| &base.snapshot);
    let mut reader = Reader::within(snapshot, earlier, range)?;
    while let Some(piece) = reader.next()? {
        let position = match piece {
            Piece::Data { offset, bytes } => {
                write(offset, &bytes, earlier.is_some(), root, &mut records, writer)?;
                offset + bytes.len() as u64
            }
            Piece::Zero { offset, length } => {
                records.zero(offset, length, writer)?;
                offset + length
            }
            Piece::Pause { position } => position,
        };
        records.breathe(position, writer)?;
        writer.reach(position);
    }
    records.end(writer, || snapshot.prove(earlier))
}

/// Writes what was read, its grains of zeroes as zeroes; from nothing, they need not be said. The root is not shown
/// them: of an object that is read whole they are most, and one look through them is enough.
fn write(
    offset: u64,
    bytes: &Bytes,
    say_zeroes: bool,
    root: &mut Option<RootMeter>,
    records: &mut Records,
    writer: &mut StreamWriter,
) -> Result<(), Halt> {
    for (range, zero) in runs(bytes) {
        let at = offset + range.start as u64;
        match zero {
            false => {
                let data = bytes.slice(range);
                root.iter_mut().for_each(|root| root.write(at, &data));
                records.data(at, data, writer)?;
            }
            true if say_zeroes => records.zero(at, range.len() as u64, writer)?,
            true => {}
        }
    }
    Ok(())
}

/// Runs of grains that are all zero, or all not.
pub(super) fn runs(bytes: &[u8]) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for (number, grain) in bytes.chunks(GRAIN_BYTES).enumerate() {
        let (start, zero) = (number * GRAIN_BYTES, is_zero(grain));
        match runs.last_mut() {
            Some((range, last)) if *last == zero => range.end = start + grain.len(),
            _ => runs.push((start..start + grain.len(), zero)),
        }
    }
    runs
}

fn root_of(snapshot: &RbdSnapshot, meter: &Meter) -> Result<Root, ClientError> {
    let mut root = RootMeter::new(snapshot.size());
    let mut reader = Reader::start(snapshot, None)?;
    while let Some(piece) = reader.next()? {
        if let Piece::Data { offset, bytes } = piece {
            root.write(offset, &bytes);
            meter.reach(offset + bytes.len() as u64);
            meter.count(bytes.len() as u64);
        }
    }
    snapshot.prove(None)?;
    Ok(root.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeroes_are_told_from_data() {
        let mut bytes = vec![0; 4 * GRAIN_BYTES + 10];
        bytes[GRAIN_BYTES] = 1;
        bytes[3 * GRAIN_BYTES - 1] = 1;
        let expected = [(0..GRAIN_BYTES, true), (GRAIN_BYTES..3 * GRAIN_BYTES, false)];
        assert_eq!(runs(&bytes)[..2], expected);
        assert_eq!(runs(&bytes)[2..], [(3 * GRAIN_BYTES..4 * GRAIN_BYTES + 10, true)]);
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[1; 5]), [(0..5, false)]);
    }
}
