//! A stream that `rbd` has made, sent as it is.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rsnap_wire::Event;

use super::material::{Choice, Material, Work};
use super::writer::{Halt, StreamWriter};
use crate::api::{Action, PlanAnswer, RBD_DIFF, RBD_IMAGE, SourceSnapshot};
use crate::client::source::{StreamInput, StreamKind};
use crate::client::{ClientError, Reporter, RootMeter};
use crate::content::Root;

/// What the user knows of the base that a diff starts from.
#[derive(Debug, Clone, Default)]
pub struct KnownBase {
    /// The target's id.
    pub snapshot: Option<String>,
    pub root: Option<Root>,
}

/// A stream that is passed on.
#[derive(Debug)]
pub struct PassThrough {
    input: Arc<Mutex<StreamInput>>,
    kind: StreamKind,
    from: Option<String>,
    to: Option<String>,
    size: u64,
    snapshots: u64,
    base: KnownBase,
    failed: Option<ClientError>,
}

impl PassThrough {
    /// Sends `input`. `size` is that of the largest image of a chain, whose front tells only that of the first.
    #[must_use]
    pub fn new(input: StreamInput, base: KnownBase, size: Option<u64>) -> Self {
        let front = input.front.clone();
        let size = size.filter(|_| input.kind == StreamKind::Chain).unwrap_or_default().max(front.size);
        Self {
            kind: input.kind,
            input: Arc::new(Mutex::new(input)),
            size,
            snapshots: front.snapshots,
            from: front.from,
            to: front.to,
            base,
            failed: None,
        }
    }

    /// The name of the snapshot in the stream.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// Snapshots in the stream.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.snapshots
    }
}

#[async_trait]
impl Material for PassThrough {
    fn size(&self) -> u64 {
        self.size
    }

    fn media_type(&self) -> &'static str {
        match self.kind {
            StreamKind::Diff => RBD_DIFF,
            StreamKind::Chain => RBD_IMAGE,
        }
    }

    fn is_planned(&self) -> bool {
        self.kind == StreamKind::Diff
    }

    fn has_root(&self, _choice: &Choice) -> bool {
        self.is_planned() && self.from.is_none()
    }

    async fn prepare(&mut self, _reporter: &dyn Reporter) -> Result<(), ClientError> {
        Ok(())
    }

    /// The stream cannot be read for its root without its base, and only once.
    async fn prove(&mut self, _name: &str, _reporter: &dyn Reporter) -> Result<Option<Root>, ClientError> {
        Ok(None)
    }

    fn bases(&self) -> Vec<SourceSnapshot> {
        let root = self.base.root.map(|root| root.to_string());
        self.from
            .iter()
            .map(|id| SourceSnapshot { id: id.clone(), size: self.size, root: root.clone(), mark: None })
            .collect()
    }

    fn choose(&self, plan: &PlanAnswer) -> Result<Choice, ClientError> {
        let known = Choice::Onto { snapshot: self.base.snapshot.clone(), root: self.base.root };
        match (&self.from, plan.action, &plan.base) {
            (None, Action::Full | Action::Present, _) => Ok(Choice::Full),
            (Some(_), Action::Present, _) => Ok(known),
            (None, ..) => Err(ClientError::Plan(format!("the gateway wants an increment: {}", plan.reason))),
            (Some(_), ..) if self.base.snapshot.is_some() => Ok(known),
            (Some(_), Action::Incremental, Some(base)) => Ok(Choice::Since(base.clone())),
            (Some(from), ..) => Err(ClientError::Plan(format!(
                "the stream starts from {from}, but the gateway wants it in full: {}",
                plan.reason
            ))),
        }
    }

    fn begin(&mut self, _choice: &Choice, _source_snapshot: &str) -> Result<Work, ClientError> {
        if !self.input.lock().unwrap_or_else(PoisonError::into_inner).is_ready() {
            return Err(ClientError::spent(self.failed.take()));
        }
        let input = Arc::clone(&self.input);
        let root = self.has_root(&Choice::Full).then(|| RootMeter::new(self.size));
        Ok(Box::new(move |writer: &mut StreamWriter| pass(&input, root, writer)))
    }

    fn remember(&mut self, error: ClientError) {
        self.failed = Some(error);
    }
}

fn pass(
    input: &Mutex<StreamInput>,
    mut root: Option<RootMeter>,
    writer: &mut StreamWriter,
) -> Result<Option<Root>, Halt> {
    let opened = input.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    let mut opened = opened.ok_or_else(|| ClientError::spent(None))?;
    loop {
        let chunk = opened.next(|event| {
            let end = match event {
                Event::Data { offset, bytes } => {
                    if let Some(root) = &mut root {
                        root.write(offset, bytes);
                    }
                    offset + bytes.len() as u64
                }
                Event::Zero { offset, length } => offset + length,
                _ => return,
            };
            writer.reach(end);
        })?;
        if chunk.is_empty() {
            return Ok(root.map(RootMeter::finish));
        }
        writer.write(Bytes::from(chunk))?;
    }
}
